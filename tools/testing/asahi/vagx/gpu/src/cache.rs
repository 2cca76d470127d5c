// SPDX-License-Identifier: MIT OR Apache-2.0

//! Decoded programs.
//!
//! Mesa reuses addresses for other programs, and different address spaces have different programs at the same address. So
//! a program is found by its address and then compared with memory, byte by byte, at every launch.

use crate::Unsupported;
use crate::debug::{Debugger, Watch};
use crate::exec::REGISTERS;
use crate::isa::{self, Instr, MAX_LENGTH, Operand, Place};
use crate::lower::{lower, mark};
use crate::memory::Memory;
use crate::uop::{Flow, TileOp, Uop};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A program that is longer is taken for garbage.
const LONGEST: u32 = 16 << 20;

/// The encoding of `trap`.
const TRAP: [u8; 2] = [0x08, 0x00];

/// Programs kept. Beyond it all are forgotten, which costs little.
const KEPT: usize = 4096;

/// A decoded program.
pub(crate) struct Program {
    pub(crate) address: u64,
    code: Vec<u8>,
    pub(crate) uops: Vec<Uop>,
    /// Offset of each operation's instruction.
    offsets: Vec<u32>,
    /// Registers from the first on that it may touch.
    pub(crate) registers: usize,
}

impl Program {
    /// Offset of an operation's instruction from the program's start.
    pub(crate) fn offset(&self, index: usize) -> u32 {
        self.offsets
            .get(index)
            .copied()
            .unwrap_or(self.code.len() as u32)
    }

    /// Whether all that it does is to write to its pixel what depends on uniforms alone: so it is with programs that
    /// clear a tile.
    pub(crate) fn is_plain(&self) -> bool {
        self.uops.iter().all(|uop| match uop {
            Uop::Nop
            | Uop::Stop
            | Uop::Const { .. }
            | Uop::Mov { .. }
            | Uop::Bit { .. }
            | Uop::Add { .. }
            | Uop::Convert { .. }
            | Uop::Float { .. }
            | Uop::Half { .. } => true,
            Uop::Tile(op) => matches!(**op, TileOp::Store { pixel: None, .. }),
            _ => false,
        })
    }

    /// Whether it writes to the memory of its tile.
    pub(crate) fn writes_tile(&self) -> bool {
        let writes =
            |uop: &Uop| matches!(uop, Uop::Tile(op) if matches!(**op, TileOp::Store { .. }));
        self.uops.iter().any(writes)
    }

    /// What to say of an operation that cannot be executed.
    pub(crate) fn unsupported(&self, index: usize) -> Unsupported {
        let start = self.offset(index) as usize;
        let end = (self.offset(index + 1) as usize).min(self.code.len());
        let bytes = self.code.get(start..end).unwrap_or_default().to_vec();
        let why = match self.uops.get(index) {
            Some(Uop::Unsupported {
                instr: Some(instr),
                why,
            }) => {
                format!("{}: {why}", isa::disassemble(instr))
            }
            Some(Uop::Unsupported { instr: None, why }) => why.to_string(),
            Some(_) => match isa::decode(&bytes) {
                Ok(instr) => format!("{}: not in this kind of program", isa::disassemble(&instr)),
                Err(error) => error.to_string(),
            },
            None => "the program goes on where it should have ended".into(),
        };
        Unsupported {
            va: self.address.wrapping_add(start as u64),
            bytes,
            why,
        }
    }

    /// Decodes from `address` up to the `stop` that no jump passes over and that is in no branch. As levels of nesting
    /// are counted in too simple a way for all programs, the traps that Mesa puts behind a program end it too.
    fn decode(memory: &mut Memory<'_>, address: u64, watch: Option<&Watch>) -> Self {
        let stop = watch.and_then(|watch| watch.0.breakpoint());
        let mut program = Program {
            address,
            code: Vec::new(),
            uops: Vec::new(),
            offsets: Vec::new(),
            registers: 2,
        };
        let mut at = 0u32;
        let mut farthest = 0u32;
        let mut depth = 0u32;
        loop {
            let mut bytes = [0; MAX_LENGTH];
            let mut have = MAX_LENGTH;
            let here = address.wrapping_add(at.into());
            if let Err(va) = memory.read(here, &mut bytes) {
                have = (va.wrapping_sub(here) as usize).min(MAX_LENGTH);
            }
            program.offsets.push(at);
            if let (Some(watch), Some(stop)) = (watch, stop)
                && stop == address.wrapping_add(at.into())
            {
                program.uops.push(Uop::Watch(watch.clone()));
                program.offsets.push(at);
            }
            let (mut uop, length) = match isa::decode(&bytes[..have]) {
                Ok(instr) => {
                    program.registers = program.registers.max(registers(&instr));
                    (lower(&instr, at), u32::from(instr.length))
                }
                Err(_) if have < MAX_LENGTH => {
                    program.code.extend_from_slice(&bytes[..have]);
                    program.uops.push(Uop::Unmapped);
                    break;
                }
                Err(error) => {
                    // Where it ends is unknown, and so is what comes after.
                    program.code.extend_from_slice(&bytes);
                    let why = error.to_string().into();
                    program.uops.push(Uop::Unsupported { instr: None, why });
                    break;
                }
            };
            if let Some(&mut target) = uop.target()
                && target < LONGEST
            {
                farthest = farthest.max(target);
            }
            match uop {
                Uop::Flow {
                    flow: Flow::If | Flow::While,
                    nest,
                    ..
                } => depth = depth.saturating_add(nest.into()),
                Uop::Pop { nest } => depth = depth.saturating_sub(nest.into()),
                _ => (),
            }
            let trap = bytes.get(length as usize..length as usize + 2) == Some(&TRAP);
            let end = match uop {
                Uop::Stop => at >= farthest && (depth == 0 || trap),
                Uop::Return { .. } => at >= farthest,
                _ => false,
            };
            program.code.extend_from_slice(&bytes[..length as usize]);
            program.uops.push(uop);
            at += length;
            if end || at > LONGEST {
                break;
            }
        }
        program.resolve();
        mark(&mut program.uops);
        program
    }

    /// A program of these instructions and a stop, for tests.
    #[cfg(test)]
    pub(crate) fn of_instructions(instrs: &[&Instr]) -> Self {
        let mut uops: Vec<Uop> = instrs.iter().map(|instr| lower(instr, 0)).collect();
        uops.push(Uop::Stop);
        mark(&mut uops);
        let offsets = vec![0; uops.len()];
        Program {
            address: 0,
            code: Vec::new(),
            uops,
            offsets,
            registers: REGISTERS,
        }
    }

    /// Makes the targets of jumps indices.
    fn resolve(&mut self) {
        for uop in &mut self.uops {
            if let Some(target) = uop.target() {
                // Where there is a breakpoint, it is the first of two with the same offset.
                let index = self.offsets.partition_point(|offset| *offset < *target);
                match self.offsets.get(index) == Some(&*target) {
                    true => *target = index as u32,
                    false => {
                        let why = format!("jump to +{target:#x}, which is not an instruction");
                        *uop = Uop::Unsupported {
                            instr: None,
                            why: why.into(),
                        };
                    }
                }
            }
        }
    }

    /// The operation at an address, of which only the low word is known.
    pub(crate) fn at(&self, address: u32) -> Option<usize> {
        let offset = address.wrapping_sub(self.address as u32);
        self.offsets.binary_search(&offset).ok()
    }

    /// Whether memory still holds this program.
    fn is_current(&self, memory: &mut Memory<'_>) -> bool {
        memory.holds(self.address, &self.code)
    }
}

/// One more than the highest register that an instruction names.
fn registers(instr: &Instr) -> usize {
    let end = |op: &Operand| match op.place {
        Place::Reg => {
            (op.value as usize + usize::from(op.count) * usize::from(op.size / 16)).div_ceil(2)
        }
        _ => 0,
    };
    instr
        .dest
        .iter()
        .chain(&instr.sources)
        .map(end)
        .max()
        .unwrap_or(0)
        .min(REGISTERS)
}

/// Programs by address.
#[derive(Default)]
pub(crate) struct Cache {
    programs: Mutex<HashMap<u64, Vec<Arc<Program>>>>,
    watch: Option<Watch>,
}

impl Cache {
    /// With somebody who looks on.
    pub(crate) fn watched(debugger: Arc<dyn Debugger>) -> Self {
        Cache {
            watch: Some(Watch(debugger)),
            ..Cache::default()
        }
    }

    pub(crate) fn debugger(&self) -> Option<&dyn Debugger> {
        self.watch.as_ref().map(|watch| &*watch.0)
    }

    /// Address and code of all programs, by address.
    pub(crate) fn all(&self) -> Vec<(u64, Vec<u8>)> {
        let programs = self.programs.lock().unwrap_or_else(PoisonError::into_inner);
        let all = programs.values().flatten();
        let mut all: Vec<_> = all.map(|p| (p.address, p.code.clone())).collect();
        all.sort();
        all
    }

    /// The program at `address`, decoded if it has not been seen before.
    pub(crate) fn program(&self, memory: &mut Memory<'_>, address: u64) -> Arc<Program> {
        let known = {
            let programs = self.programs.lock().unwrap_or_else(PoisonError::into_inner);
            programs.get(&address).cloned().unwrap_or_default()
        };
        if let Some(program) = known.into_iter().find(|p| p.is_current(memory)) {
            return program;
        }
        let program = Arc::new(Program::decode(memory, address, self.watch.as_ref()));
        if matches!(program.uops.last(), Some(Uop::Unmapped)) {
            // What is missing may be there next time.
            return program;
        }
        let mut programs = self.programs.lock().unwrap_or_else(PoisonError::into_inner);
        if programs.len() >= KEPT {
            programs.clear();
        }
        let there = programs.entry(address).or_default();
        if there.len() >= 16 {
            there.clear();
        }
        there.push(program.clone());
        program
    }
}
