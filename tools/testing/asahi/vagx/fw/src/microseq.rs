// SPDX-License-Identifier: MIT OR Apache-2.0

//! Microsequences: what the firmware does for a command, step by step.
//!
//! m1n1 `fw/agx/microsequence.py` (`MicroSequence`). The whole sequence is read and checked before its first step is
//! taken, as the driver may not change it any more.

use crate::layout::Abi;
use crate::layout::compute::op;
use crate::mem::{FwMem, Place, Record, Refused, Result};

/// The longest sequence that is looked at; real ones have a few hundred bytes.
const MAX_SIZE: u32 = 0x4000;

/// One step.
pub(crate) enum Step {
    StartCompute(Record),
    Timestamp { start: bool, record: Record },
    WaitForIdle,
    FinalizeCompute(Record),
    RetireStamp,
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

/// Reads the sequence of `size` bytes at `va` for a compute command; `at` is where the command names them.
pub(crate) fn parse_compute(
    mem: &FwMem,
    abi: &Abi,
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
        let (step, len) = step(cursor, abi, word, rest)?;
        match &step {
            Step::StartCompute(_) => start = Some(cursor.offset),
            Step::FinalizeCompute(record) => check_restart(abi, record, start, cursor.offset)?,
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

fn step(cursor: Cursor<'_>, abi: &Abi, word: u32, rest: &[u8]) -> Result<(Step, u32)> {
    let record = |shape: crate::layout::Shape, name: &'static str| {
        if rest.len() < shape.size as usize {
            let why = format!(
                "the sequence ends inside {name}, which has {:#x} bytes",
                shape.size
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
        op::START_COMPUTE => {
            let shape = abi.start_compute.shape;
            Ok((
                Step::StartCompute(record(shape, "StartCompute")?),
                shape.size,
            ))
        }
        op::FINALIZE_COMPUTE => {
            let shape = abi.finalize_compute.shape;
            Ok((
                Step::FinalizeCompute(record(shape, "FinalizeCompute")?),
                shape.size,
            ))
        }
        op::TIMESTAMP => {
            let shape = abi.timestamp.shape;
            let step = Step::Timestamp {
                start: word & op::TIMESTAMP_START != 0,
                record: record(shape, "Timestamp")?,
            };
            Ok((step, shape.size))
        }
        op::WAIT_FOR_IDLE => {
            let pipe = word >> 8;
            if pipe != op::WAIT_COMPUTE {
                return Err(refuse(format!(
                    "waits for {pipe:#x}, the compute pipe is {:#x}",
                    op::WAIT_COMPUTE
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
            "unsupported operation {other:#x} in a compute sequence"
        ))),
    }
}

/// The way back, for a job that is taken up again after it was interrupted.
fn check_restart(abi: &Abi, record: &Record, start: Option<u32>, here: u32) -> Result<()> {
    let field = abi.finalize_compute.restart_branch_offset;
    let Some(start) = start else {
        return Err(record.complain(field, "the sequence has no StartCompute to go back to"));
    };
    let want = start.wrapping_sub(here);
    record.expect(field, want.into(), "the way back from here to StartCompute")
}

/// Start, wait, finalize, each once and in that order; timestamps anywhere between the outer two.
fn check_order(mem: &FwMem, at: Place, va: u64, steps: &[Step]) -> Result<()> {
    let order: String = steps
        .iter()
        .filter_map(|s| match s {
            Step::StartCompute(_) => Some('S'),
            Step::WaitForIdle => Some('W'),
            Step::FinalizeCompute(_) => Some('F'),
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
