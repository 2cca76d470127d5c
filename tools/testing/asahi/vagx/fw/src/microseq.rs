// SPDX-License-Identifier: MIT OR Apache-2.0

//! Microsequences: what the firmware does for a command, step by step.
//!
//! m1n1 `fw/agx/microsequence.py` (`MicroSequence`). The whole sequence is read and checked before its first step is
//! taken, as the driver may not change it any more.

use crate::layout::compute::op;
use crate::layout::{Abi, Field, Layout, Shape};
use crate::mem::{FwMem, Place, Record, Refused, Result};
use crate::queue::Pipe;

/// The longest sequence that is looked at; real ones have a few hundred bytes.
const MAX_SIZE: u32 = 0x4000;

/// One step.
pub(crate) enum Step {
    Start(Record),
    Timestamp { start: bool, record: Record },
    WaitForIdle,
    Finalize(Record),
    RetireStamp,
}

/// What the sequences of a pipe are made of.
pub(crate) struct Dialect<'a> {
    start: u32,
    finalize: u32,
    wait: u32,
    start_shape: Shape,
    finalize_shape: Shape,
    restart: Field,
    pub start_layout: &'a dyn Layout,
    pub finalize_layout: &'a dyn Layout,
}

/// The sequences of a pipe.
pub(crate) fn dialect(abi: &Abi, pipe: Pipe) -> Dialect<'_> {
    match pipe {
        Pipe::Vertex => Dialect {
            start: op::START_VERTEX,
            finalize: op::FINALIZE_VERTEX,
            wait: op::WAIT_VERTEX,
            start_shape: abi.start_vertex.shape,
            finalize_shape: abi.finalize_vertex.shape,
            restart: abi.finalize_vertex.restart_branch_offset,
            start_layout: &abi.start_vertex,
            finalize_layout: &abi.finalize_vertex,
        },
        Pipe::Fragment => Dialect {
            start: op::START_FRAGMENT,
            finalize: op::FINALIZE_FRAGMENT,
            wait: op::WAIT_FRAGMENT,
            start_shape: abi.start_fragment.shape,
            finalize_shape: abi.finalize_fragment.shape,
            restart: abi.finalize_fragment.restart_branch_offset,
            start_layout: &abi.start_fragment,
            finalize_layout: &abi.finalize_fragment,
        },
        Pipe::Compute => Dialect {
            start: op::START_COMPUTE,
            finalize: op::FINALIZE_COMPUTE,
            wait: op::WAIT_COMPUTE,
            start_shape: abi.start_compute.shape,
            finalize_shape: abi.finalize_compute.shape,
            restart: abi.finalize_compute.restart_branch_offset,
            start_layout: &abi.start_compute,
            finalize_layout: &abi.finalize_compute,
        },
    }
}

/// Where a step's bytes are.
#[derive(Clone, Copy)]
struct Cursor<'a> {
    mem: &'a FwMem,
    base: u64,
    offset: u32,
}

impl Cursor<'_> {
    fn place(self, field: &'static str) -> Place {
        Place {
            structure: "microsequence",
            field,
            offset: self.offset.into(),
            address: self.base.wrapping_add(self.offset.into()),
        }
    }
}

/// Reads the sequence of `size` bytes at `va`; `at` is where the command names them.
pub(crate) fn parse(
    mem: &FwMem,
    abi: &Abi,
    pipe: Pipe,
    at: Place,
    va: u64,
    size: u32,
) -> Result<Vec<Step>> {
    if size == 0 || size > MAX_SIZE {
        let why = format!("a microsequence of {size:#x} bytes");
        return Err(mem.complain(at, va, why));
    }
    mem.check(at, va, size.into(), vagx_uat::Access::Read)?;
    let mut bytes = vec![0; size as usize];
    mem.read(at, va, &mut bytes)?;

    let dialect = dialect(abi, pipe);
    let mut steps = Vec::new();
    let mut start = None;
    let mut cursor = Cursor {
        mem,
        base: va,
        offset: 0,
    };
    loop {
        let rest = bytes.get(cursor.offset as usize..).unwrap_or_default();
        let Some(word) = rest.first_chunk::<4>() else {
            let place = cursor.place("opcode");
            return Err(mem.complain(place, 0, "the sequence ends without RetireStamp"));
        };
        let word = u32::from_le_bytes(*word);
        let (step, len) = step(cursor, abi, &dialect, pipe, word, rest)?;
        match &step {
            Step::Start(_) => start = Some(cursor.offset),
            Step::Finalize(record) => {
                check_restart(&dialect, pipe, record, start, cursor.offset)?;
            }
            _ => {}
        }
        let last = matches!(step, Step::RetireStamp);
        steps.push(step);
        cursor.offset += len;
        if last {
            break;
        }
    }
    if cursor.offset != size {
        let why =
            format!("the command says that the sequence has {size:#x} bytes, but this is its end");
        mem.complain(cursor.place("RetireStamp"), cursor.offset.into(), why);
    }
    check_order(mem, at, va, &steps)?;
    Ok(steps)
}

fn step(
    cursor: Cursor<'_>,
    abi: &Abi,
    dialect: &Dialect<'_>,
    pipe: Pipe,
    word: u32,
    rest: &[u8],
) -> Result<(Step, u32)> {
    let record = |shape: Shape| {
        if rest.len() < shape.size as usize {
            let why = format!(
                "the sequence ends inside {}, which has {:#x} bytes",
                shape.name, shape.size
            );
            return Err(cursor
                .mem
                .complain(cursor.place("opcode"), word.into(), why));
        }
        let base = cursor.base.wrapping_add(cursor.offset.into());
        let bytes = rest.get(..shape.size as usize).unwrap_or_default();
        Ok(Record::from_bytes(cursor.mem, shape, base, bytes))
    };
    let refuse = |why: String| -> Refused {
        cursor
            .mem
            .complain(cursor.place("opcode"), word.into(), why)
    };
    match word & 0x3f {
        code if code == dialect.start => {
            let shape = dialect.start_shape;
            Ok((Step::Start(record(shape)?), shape.size))
        }
        code if code == dialect.finalize => {
            let shape = dialect.finalize_shape;
            Ok((Step::Finalize(record(shape)?), shape.size))
        }
        op::TIMESTAMP => {
            let shape = abi.timestamp.shape;
            let step = Step::Timestamp {
                start: word & op::TIMESTAMP_START != 0,
                record: record(shape)?,
            };
            Ok((step, shape.size))
        }
        op::WAIT_FOR_IDLE => {
            let waits = word >> 8;
            if waits != dialect.wait {
                return Err(refuse(format!(
                    "waits for {waits:#x}, the {} pipe is {:#x}",
                    pipe.name(),
                    dialect.wait
                )));
            }
            Ok((Step::WaitForIdle, 4))
        }
        op::RETIRE_STAMP => {
            if word & !0x3f != op::RETIRE_FLAG {
                refuse(format!(
                    "RetireStamp has the flags {:#x} in every known sequence",
                    op::RETIRE_FLAG
                ));
            }
            Ok((Step::RetireStamp, 4))
        }
        other => Err(refuse(format!(
            "unsupported operation {other:#x} in a {} sequence",
            pipe.name()
        ))),
    }
}

/// The way back, for a job that is taken up again after it was interrupted.
fn check_restart(
    dialect: &Dialect<'_>,
    pipe: Pipe,
    record: &Record,
    start: Option<u32>,
    here: u32,
) -> Result<()> {
    let Some(start) = start else {
        let why = format!("the {} sequence has no start to go back to", pipe.name());
        return Err(record.complain(dialect.restart, why));
    };
    let want = start.wrapping_sub(here);
    record.expect(
        dialect.restart,
        want.into(),
        "the way back from here to the start",
    )
}

/// Start, wait, finalize, each once and in that order; timestamps anywhere between the outer two.
fn check_order(mem: &FwMem, at: Place, va: u64, steps: &[Step]) -> Result<()> {
    let order: String = steps
        .iter()
        .filter_map(|s| match s {
            Step::Start(_) => Some('S'),
            Step::WaitForIdle => Some('W'),
            Step::Finalize(_) => Some('F'),
            Step::RetireStamp => Some('R'),
            Step::Timestamp { .. } => None,
        })
        .collect();
    if order == "SWFR" {
        return Ok(());
    }
    let why =
        format!("the operations are {order}, and must be start, wait, finalize, retire (SWFR)");
    Err(mem.complain(at, va, why))
}
