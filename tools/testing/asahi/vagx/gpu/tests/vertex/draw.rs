// SPDX-License-Identifier: MIT OR Apache-2.0

//! Draws by hand: records, index lists and a program whose vertices come from the index buffer itself.

use super::memory::{BASE, Memory, WORDS};
use vagx_gpu::geometry::{Primitive, Shape, Vertex};
use vagx_gpu::{Geometry, Gpu, GpuConfig, JobError, VertexJob};

// Where things are, in words.
const RECORD: usize = 0x100;
const USC: usize = 0x200;
const CODE: usize = 0x240;
const INDICES: usize = 0x300;
const SIZES: usize = 0x400;

/// A register is written to an output.
fn st_var(register: u32, output: u32) -> u32 {
    0x8080_0011 | register << 10 | output << 16
}

/// A draw of vertices whose x is the bits of their number, whose y is next to nothing, and whose varying
/// is x again.
struct Drawing {
    primitive: u32,
    cull: u32,
    front_face: u32,
    output_select: u32,
    /// What output 5 is, if there is one: point size, layer, or a clip distance.
    extra: Option<u32>,
    restart: Option<u32>,
    indices: Vec<f32>,
    instances: u32,
    indirect: bool,
    /// Vertices without indices: the first one and their number.
    range: Option<(u32, u32)>,
    config: GpuConfig,
}

const POINTS: u32 = 0;
const LINES: u32 = 1;
const LINE_LOOP: u32 = 5;
const TRIANGLES: u32 = 6;

impl Drawing {
    fn new(primitive: u32, indices: &[f32]) -> Self {
        Drawing {
            primitive,
            cull: 1 << 10,
            front_face: 15 << 8,
            output_select: 0,
            extra: None,
            restart: None,
            indices: indices.to_vec(),
            instances: 1,
            indirect: false,
            range: None,
            config: GpuConfig::default(),
        }
    }

    fn run(&self) -> Result<Geometry, JobError> {
        let mut page = [0; WORDS];
        let mut put = |at: usize, words: &[u32]| page[at..at + words.len()].copy_from_slice(words);
        let address = |at: usize| BASE as u32 + 4 * at as u32;
        let f = f32::to_bits;
        let (outputs, size) = match self.extra {
            Some(_) => (self.output_select, 6),
            None => (self.output_select, 5),
        };

        // Front face, viewport, output select, varyings, cull.
        let record = [
            1 << 2 | 1 << 11 | 1 << 17 | 1 << 18 | 1 << 21,
            self.front_face,
            0,
            f(50.0),
            f(50.0),
            f(50.0),
            f(50.0),
            f(0.0),
            f(1.0),
            outputs,
            1,
            self.cull,
        ];
        put(RECORD, &record);
        // "Shader", padded to six bytes by what follows it, and "no preshader".
        let code = 4 * CODE as u32;
        put(USC, &[0x000d | code << 16, 0x0088_0000 | code >> 16]);
        let extra = self.extra.unwrap_or(0);
        let mut bytes: Vec<u8> = Vec::new();
        for (register, value) in [(0u8, f(0.5)), (1, f(1.0)), (2, extra)] {
            bytes.extend([0x62, register << 2 | 1]);
            bytes.extend(value.to_le_bytes());
        }
        let mut stores = vec![(5, 0), (6, 1), (0, 2), (1, 3), (5, 4)];
        if self.extra.is_some() {
            stores.push((2, 5));
        }
        for (register, output) in stores {
            bytes.extend(st_var(register, output).to_le_bytes());
        }
        bytes.extend([0x88, 0, 0, 0]);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        let words: Vec<u32> = bytes
            .chunks_exact(4)
            .map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect();
        put(CODE, &words);
        let indices: Vec<u32> = self.indices.iter().map(|x| f(*x)).collect();
        put(INDICES, &indices);
        let count = indices.len() as u32;
        put(SIZES, &[count, self.instances, 0, 0, 0]);

        let mut stream = vec![
            (record.len() as u32) << 8 | 0x20,
            address(RECORD),
            2 << 29 | 0b101110,
            0,
            4 * USC as u32,
            size | size << 8,
            2,
            0,
        ];
        if let Some(restart) = self.restart {
            stream.extend([2 << 29 | 1, restart]);
        }
        let list = 3 << 29 | 1 << 20 | 1 << 21 | 2 << 17 | self.primitive << 8 | 0x20;
        let list = list | u32::from(self.restart.is_some()) << 16;
        if let Some((first, count)) = self.range {
            let list = 3 << 29 | 7 << 22 | self.primitive << 8;
            stream.extend([list, count, self.instances, first]);
        } else if self.indirect {
            stream.extend([
                list | 1 << 26,
                address(INDICES),
                0x20,
                address(SIZES),
                count,
            ]);
        } else {
            let counts = [
                list | 7 << 22,
                address(INDICES),
                count,
                self.instances,
                0,
                count,
            ];
            stream.extend(counts);
        }
        stream.extend([6 << 29, 0]);
        put(0, &stream);
        let job = VertexJob {
            vdm_ctrl_stream_base: BASE,
            usc_exec_base: BASE,
            width_px: 100,
            height_px: 100,
            ppp_ctrl: 0x202,
            ..VertexJob::default()
        };
        let memory = Memory::new(page);
        Gpu::new(self.config.clone()).run_vertex(&memory, &job, &())
    }

    /// The primitives: for each the x of its vertices, and of the submitted ones.
    fn primitives(&self) -> Vec<(Shape, Vec<f32>, Vec<f32>)> {
        let geometry = self.run().unwrap();
        let corners = |p: &Primitive| match p.shape {
            Shape::Point => 1,
            Shape::Line => 2,
            Shape::Triangle => 3,
        };
        let mut all = Vec::new();
        for draw in &geometry.draws {
            for p in &draw.primitives {
                let xs = p.vertices[..corners(p)].iter().map(|v| draw.vertex(*v).x);
                let flat = p.flat[..corners(p)]
                    .iter()
                    .map(|v| f32::from_bits(draw.varyings(*v)[0]));
                all.push((p.shape, xs.collect(), flat.collect()));
            }
        }
        all
    }
}

#[test]
fn vertices_come_to_their_pixels() {
    let geometry = Drawing::new(POINTS, &[0.5]).run().unwrap();
    let [draw] = &geometry.draws[..] else {
        panic!("{geometry:?}");
    };
    let vertex = Vertex {
        x: 75.0,
        y: 50.0,
        z: 0.5,
        rhw: 1.0,
        point_size: 1.0,
    };
    assert_eq!(draw.vertices, [vertex]);
    assert_eq!(draw.varyings(0), [0.5f32.to_bits()]);
    assert_eq!(draw.state.viewports.len(), 1);
    assert_eq!(geometry.stats.vertices, 1);
}

#[test]
fn indirect_draws_have_their_sizes_in_memory() {
    let mut drawing = Drawing::new(LINES, &[0.5, -0.5]);
    drawing.indirect = true;
    drawing.instances = 2;
    let line = (Shape::Line, vec![75.0, 25.0], vec![0.5, -0.5]);
    assert_eq!(drawing.primitives(), [line.clone(), line]);
}

#[test]
fn restarts_close_loops() {
    let mut drawing = Drawing::new(LINE_LOOP, &[0.0, 0.25, 0.5, 0.75, 1.0]);
    drawing.restart = Some(0.75f32.to_bits());
    let flat: Vec<_> = drawing.primitives().into_iter().map(|p| p.2).collect();
    let expected = [[0.0, 0.25], [0.25, 0.5], [0.5, 0.0]];
    assert_eq!(flat, expected);
}

#[test]
fn lines_far_away_are_cut() {
    // From x = -1e6 to 1: the vertex that gives flat values stays what it was.
    let [line] = &Drawing::new(LINES, &[-1e6, 0.5]).primitives()[..] else {
        panic!("one line");
    };
    assert!((-32768.0..-32000.0).contains(&line.1[0]), "{line:?}");
    assert_eq!((line.1[1], &line.2), (75.0, &vec![-1e6, 0.5]));
    // All of it beside the frame.
    assert_eq!(Drawing::new(LINES, &[-3.0, -2.0]).primitives(), []);
}

#[test]
fn what_is_no_number_is_not_drawn() {
    assert_eq!(Drawing::new(LINES, &[f32::NAN, 0.5]).primitives(), []);
    assert_eq!(Drawing::new(POINTS, &[f32::INFINITY]).primitives(), []);
}

#[test]
fn clip_distances_and_point_sizes() {
    let mut drawing = Drawing::new(POINTS, &[0.0]);
    drawing.output_select = 1;
    drawing.extra = Some((-1.0f32).to_bits());
    assert_eq!(drawing.primitives(), []);
    drawing.extra = Some(0.0f32.to_bits());
    assert_eq!(drawing.primitives().len(), 1);
    drawing.output_select = 1 << 18;
    drawing.extra = Some(7.5f32.to_bits());
    let geometry = drawing.run().unwrap();
    assert_eq!(geometry.draws[0].vertices[0].point_size, 7.5);
}

#[test]
fn layers_come_with_vertices() {
    let mut drawing = Drawing::new(POINTS, &[0.0]);
    drawing.output_select = 3 << 19;
    drawing.extra = Some(5 | 3 << 16);
    let geometry = drawing.run().unwrap();
    // There is one viewport only.
    let primitive = geometry.draws[0].primitives[0];
    assert_eq!((primitive.layer, primitive.viewport), (5, 0));
}

#[test]
fn flat_triangles_are_nothing_but_their_edges_are() {
    let indices = [0.0, 0.5, -0.5];
    assert_eq!(Drawing::new(TRIANGLES, &indices).primitives(), []);
    let mut lines = Drawing::new(TRIANGLES, &indices);
    lines.front_face |= 1 << 18;
    let edges: Vec<_> = lines.primitives().into_iter().map(|p| p.1).collect();
    assert_eq!(edges, [[50.0, 75.0], [75.0, 25.0], [25.0, 50.0]]);
    let mut points = Drawing::new(TRIANGLES, &indices);
    points.front_face |= 2 << 18;
    assert_eq!(points.primitives().len(), 3);
}

#[test]
fn discarded_primitives_are_gone() {
    let mut drawing = Drawing::new(POINTS, &[0.0]);
    drawing.cull |= 1 << 17;
    let geometry = drawing.run().unwrap();
    assert_eq!((geometry.stats.draws, geometry.draws.len()), (1, 0));
}

#[test]
fn unknown_primitives_are_refused() {
    let error = Drawing::new(14, &[0.0]).run().unwrap_err();
    assert!(matches!(error, JobError::Unsupported(_)), "{error}");
}

#[test]
fn threads_make_no_difference() {
    let mut drawing = Drawing::new(TRIANGLES, &[]);
    // Edges, as the triangles themselves are flat.
    drawing.front_face |= 1 << 18;
    drawing.range = Some((0.5f32.to_bits(), 40_000));
    drawing.instances = 2;
    let made: Vec<_> = [1, 3]
        .into_iter()
        .map(|threads| {
            drawing.config.threads = threads;
            drawing.run().unwrap()
        })
        .collect();
    assert_eq!(made[0].draws[0].primitives.len(), 2 * 3 * 13_333);
    assert_eq!(made[0], made[1]);
}
