// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which lane is asked for, and its registers as text.

use std::fmt::Write;
use std::str::FromStr;

use vagx_gpu::{Place, Stopped};

/// What the lane works on: a pixel, perhaps of one draw only, or a thread of a grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lane {
    x: u32,
    y: u32,
    /// Draw, or z.
    third: Option<u32>,
}

impl FromStr for Lane {
    type Err = String;

    fn from_str(text: &str) -> Result<Lane, String> {
        let numbers: Result<Vec<u32>, _> = text.split(',').map(str::parse).collect();
        match numbers.as_deref() {
            Ok([x, y]) => Ok((*x, *y, None)),
            Ok([x, y, third]) => Ok((*x, *y, Some(*third))),
            _ => Err("neither X,Y nor X,Y,DRAW".to_owned()),
        }
        .map(|(x, y, third)| Lane { x, y, third })
    }
}

impl Lane {
    /// Whether it is this one. `draw` is the draw that is being drawn, if one is.
    fn is(&self, place: Place, draw: Option<usize>) -> bool {
        match place {
            Place::Pixel { x, y, .. } => {
                let wanted = self.third.map(|third| third as usize);
                (x, y) == (self.x, self.y) && (wanted.is_none() || wanted == draw)
            }
            Place::Thread(at) => at == [self.x, self.y, self.third.unwrap_or(0)],
            Place::Vertex => false,
        }
    }

    /// What there is to say of this lane where a SIMD-group has stopped; nothing if it is not among its lanes.
    pub fn describe(&self, stop: &Stopped<'_>, draw: Option<usize>) -> Option<String> {
        let lanes = stop.lanes();
        let (lane, place) = lanes.iter().find(|(_, place)| self.is(*place, draw))?;
        let mut text = match (place, draw) {
            (Place::Pixel { x, y, covered, .. }, Some(draw)) => {
                format!("pixel {x},{y} of draw {draw}, samples {covered:#b}")
            }
            (Place::Pixel { x, y, covered, .. }, None) => {
                format!("pixel {x},{y} of the background, samples {covered:#b}")
            }
            (Place::Thread([x, y, z]), _) => format!("thread {x},{y},{z}"),
            (Place::Vertex, _) => String::new(),
        };
        let state = if stop.active(*lane) {
            "active"
        } else {
            "not active"
        };
        let _ = writeln!(text, ", lane {lane}, {state}");
        rows(&mut text, 'r', &stop.registers(*lane));
        rows(&mut text, 'u', stop.uniforms());
        Some(text)
    }
}

/// Four registers a line, as bits and as numbers, without lines of zeroes. Uniforms are numbered by halves.
fn rows(text: &mut String, name: char, values: &[u32]) {
    let step = if name == 'u' { 2 } else { 1 };
    for (row, values) in values.chunks(4).enumerate() {
        if values.iter().all(|value| *value == 0) {
            continue;
        }
        for (column, value) in values.iter().enumerate() {
            let number = format!("{name}{}", (4 * row + column) * step);
            let _ = write!(text, "  {number:>5} {value:08x} {:<12}", float(*value));
        }
        while text.ends_with(' ') {
            text.pop();
        }
        text.push('\n');
    }
}

/// A float in few characters, if the bits look like one.
fn float(bits: u32) -> String {
    let value = f32::from_bits(bits);
    match value.abs() {
        1e-9..1e9 => {
            let text = format!("{value:.6}");
            if text.trim_matches(['0', '.', '-']).is_empty() {
                format!("{value:e}")
            } else {
                text
            }
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_are_named() {
        let lane: Lane = "3,4,5".parse().unwrap();
        let pixel = |x, y| Place::Pixel {
            x,
            y,
            layer: 0,
            covered: 1,
        };
        assert!(lane.is(pixel(3, 4), Some(5)) && !lane.is(pixel(3, 4), Some(6)));
        assert!(!lane.is(pixel(4, 4), Some(5)) && !lane.is(pixel(3, 4), None));
        assert!(lane.is(Place::Thread([3, 4, 5]), None));
        let any: Lane = "3,4".parse().unwrap();
        assert!(any.is(pixel(3, 4), Some(6)) && any.is(Place::Thread([3, 4, 0]), None));
        assert!("3".parse::<Lane>().is_err() && "a,b".parse::<Lane>().is_err());
    }

    #[test]
    fn registers_are_shown() {
        let mut text = String::new();
        rows(
            &mut text,
            'r',
            &[0, 0, 0, 0, 0x3f80_0000, 7, 0, 0xbf00_0000],
        );
        let words: Vec<&str> = text.split_whitespace().collect();
        let expected = "r4 3f800000 1.000000 r5 00000007 r6 00000000 r7 bf000000 -0.500000";
        assert_eq!(words.join(" "), expected);
        text.clear();
        rows(&mut text, 'u', &[0, 1]);
        assert!(text.starts_with("     u0 00000000 ") && text.ends_with(" u2 00000001\n"));
    }
}
