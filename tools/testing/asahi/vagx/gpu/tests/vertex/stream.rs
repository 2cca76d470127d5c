// SPDX-License-Identifier: MIT OR Apache-2.0

//! Control streams of vertex jobs on a small memory.

use super::memory::{BASE as STREAM, Memory, WORDS};
use vagx_gpu::{
    Access, Gpu, GpuConfig, GpuFault, JobError, Observer, Unit, VertexJob, VertexStats,
};

fn run_with(words: &[(usize, &[u32])], observer: &dyn Observer) -> Result<VertexStats, JobError> {
    let mut page = [0xe000_0000; WORDS];
    for (at, words) in words {
        page[*at..at + words.len()].copy_from_slice(words);
    }
    let job = VertexJob {
        vdm_ctrl_stream_base: STREAM,
        ..VertexJob::default()
    };
    let memory = Memory::new(page);
    Gpu::new(GpuConfig::default())
        .run_vertex(&memory, &job, observer)
        .map(|geometry| geometry.stats)
}

fn run(words: &[(usize, &[u32])]) -> Result<VertexStats, JobError> {
    run_with(words, &())
}

const END: u32 = 6 << 29;
const DRAW: u32 = 3 << 29;
const COUNT: u32 = 7 << 22;
const INDEXED: u32 = 1 << 21 | 1 << 20;
const INDIRECT: u32 = 1 << 26;
const LINK: u32 = 4 << 29;

fn fault(va: u64, unit: Unit) -> JobError {
    JobError::Fault(GpuFault {
        va,
        access: Access::Read,
        unit,
        pc: 0,
    })
}

#[test]
fn draws_are_counted() {
    let stream = [
        // State of one record of two words, then state with three words and one that pads them.
        2 << 8 | 0x20,
        0x100,
        2 << 29 | 0b1011,
        1,
        2,
        3,
        DRAW | COUNT,
        30,
        2,
        0,
        DRAW | COUNT | INDEXED,
        0x1000,
        12,
        1,
        0,
        64,
        // A barrier.
        1 << 29 | 0x160,
        END,
    ];
    let stats = run(&[(0, &stream), (0x40, &[0, 0])]).unwrap();
    let expected = VertexStats {
        blocks: 6,
        draws: 2,
        vertices: 72,
        state_updates: 1,
    };
    assert_eq!(stats, expected);
}

#[test]
fn an_indirect_draw_has_its_counts_in_memory() {
    let stream = [DRAW | INDIRECT, 0x20, 0x200, END];
    let stats = run(&[(0, &stream), (0x80, &[7, 3, 0, 0])]).unwrap();
    assert_eq!((stats.draws, stats.vertices), (1, 21));
    let stream = [DRAW | INDIRECT, 0x21, 0x200, END];
    let error = run(&[(0, &stream)]).unwrap_err();
    assert_eq!(error, fault(0x21_0000_0200, Unit::IndexList));
}

#[test]
fn streams_link_call_and_return() {
    let call = LINK | 1 << 28 | 0x20;
    let main = [call, 0x100, LINK | 0x20, 0x200];
    let called = [DRAW | COUNT, 3, 1, 0, 1 << 29 | 1 << 27];
    let stats = run(&[(0, &main), (0x40, &called), (0x80, &[END])]).unwrap();
    assert_eq!((stats.blocks, stats.draws), (5, 1));
}

#[test]
fn what_is_not_mapped_is_a_fault() {
    let error = run(&[(0, &[LINK | 0x30, 0x40])]).unwrap_err();
    assert_eq!(error, fault(0x30_0000_0040, Unit::Vdm));
    // A record of state whose end is in the next page.
    let error = run(&[(0, &[2 << 8 | 0x20, 0x3ffc])]).unwrap_err();
    assert_eq!(error, fault(0x20_0000_4000, Unit::Ppp));
    // A stream without an end.
    let barriers = vec![1 << 29; WORDS];
    let error = run(&[(0, &barriers)]).unwrap_err();
    assert_eq!(error, fault(0x20_0000_4000, Unit::Vdm));
}

#[test]
fn what_is_unknown_is_refused() {
    for (word, why) in [
        (7 << 29, "unknown VDM block"),
        (5 << 29, "unknown VDM block"),
        (1 << 29 | 1 << 27, "return without a call"),
        (LINK | 1 << 28 | 0x20, "calls nested too deep"),
    ] {
        let error = run(&[(0, &[word, 0])]).unwrap_err();
        let JobError::Unsupported(unsupported) = error else {
            panic!("{error}");
        };
        assert_eq!((unsupported.va, unsupported.why.as_str()), (STREAM, why));
    }
}

#[test]
fn an_endless_stream_can_be_cancelled() {
    struct Cancel;
    impl Observer for Cancel {
        fn cancelled(&self) -> bool {
            true
        }
    }
    let error = run_with(&[(0, &[LINK | 0x20, 0])], &Cancel).unwrap_err();
    assert_eq!(error, JobError::Cancelled);
}
