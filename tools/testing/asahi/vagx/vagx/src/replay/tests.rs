// SPDX-License-Identifier: MIT OR Apache-2.0

//! A small frame of Mesa's, captured and looked into.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use vagx_capture::{GpuJob, Recorder};
use vagx_fuzz::{Kind, seeds};
use vagx_gpu::Gpu;

use super::*;

/// Captures a render of that name that fuzzers start from, as a process would that runs it.
fn capture(name: &str, dir: &Path) -> u32 {
    let seed = seeds(Kind::Render).iter().find(|seed| seed.name == name);
    let seed = seed.expect("a seed of this name");
    let memory = seed.image();
    let recorder = Recorder::create(dir, 0x8103).unwrap();
    let recording = recorder.begin(&memory, 1);
    let GpuJob::Fragment(job) = &seed.job else {
        panic!("{name} is no render");
    };
    let gpu = Gpu::new(config(true));
    let geometry = gpu.run_vertex(&recording, &job.vertex, &()).unwrap();
    gpu.run_fragment(&recording, job, &geometry, &()).unwrap();
    recording.end(&seed.job, "done").unwrap();
    job.fragment.width_px
}

fn args(dir: &Path) -> Args {
    Args {
        dir: dir.to_owned(),
        job: Some(1),
        until: None,
        png: None,
        shaders: false,
        lane: None,
        at: None,
    }
}

fn told_of(args: &Args) -> (ReplayReport, String) {
    let mut out = Vec::new();
    let report = replay(args, &mut out).unwrap();
    (report, String::from_utf8(out).unwrap())
}

/// The colour of a pixel in a picture.
fn pixel(path: &Path, x: usize, y: usize) -> [u8; 3] {
    let file = BufReader::new(File::open(path).unwrap());
    let mut reader = png::Decoder::new(file).read_info().unwrap();
    let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut bytes).unwrap();
    let at = (y * info.width as usize + x) * 3;
    [bytes[at], bytes[at + 1], bytes[at + 2]]
}

#[test]
fn a_frame_is_replayed_and_drawn_draw_by_draw() {
    let dir = tempfile::tempdir().unwrap();
    let width = capture("triangle", dir.path());
    let same = ReplayReport {
        jobs: 1,
        failed: 0,
        different: 0,
    };
    assert_eq!(told_of(&args(dir.path())).0, same);
    let pictures = dir.path().join("pictures");
    let looked = Args {
        png: Some(pictures.clone()),
        ..args(dir.path())
    };
    let (report, text) = told_of(&looked);
    assert_eq!(report, same, "{text}");
    // The test that was captured fills its window with green.
    let picture = |draw: &str| pictures.join(format!("job-000001-{draw}-layer-0-target-0.png"));
    let middle = width as usize / 2;
    assert_eq!(
        pixel(&picture("draw-0000"), middle, middle),
        [0, 255, 0],
        "{text}"
    );
    assert_ne!(pixel(&picture("background"), middle, middle), [0, 255, 0]);
}

#[test]
fn a_lane_is_shown_before_an_instruction() {
    let dir = tempfile::tempdir().unwrap();
    capture("triangle", dir.path());
    let listed = Args {
        shaders: true,
        ..args(dir.path())
    };
    let text = told_of(&listed).1;
    // The store of the colour is the fragment program's.
    let store = text.lines().filter(|line| line.contains("st_tile"));
    let addresses = store.map(|line| line.split_whitespace().next().unwrap());
    let mut met = 0;
    for at in addresses {
        let looked = Args {
            lane: Some("20,30,0".parse().unwrap()),
            at: Some(address(at).unwrap()),
            ..args(dir.path())
        };
        let (report, text) = told_of(&looked);
        assert_eq!(report.failed, 0, "{text}");
        assert!(text.contains(&format!("before {at}: st_tile")), "{text}");
        if text.contains("pixel 20,30 of draw 0, samples 0b1") {
            // Green and opaque.
            assert!(text.contains("3f800000 1.000000"), "{text}");
            met += 1;
        }
    }
    assert_eq!(met, 1, "{text}");
}

#[test]
fn later_draws_are_left_out() {
    let dir = tempfile::tempdir().unwrap();
    capture("clip", dir.path());
    let looked = Args {
        until: Some(0),
        png: Some(dir.path().join("pictures")),
        ..args(dir.path())
    };
    let (report, text) = told_of(&looked);
    assert_eq!(report.failed, 0, "{text}");
    assert!(
        text.contains("draw-0000") && !text.contains("draw-0001"),
        "{text}"
    );
}
