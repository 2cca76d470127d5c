// SPDX-License-Identifier: MIT OR Apache-2.0

//! Programs of the GPU, and what it takes to launch them.
//!
//! The instructions are encoded as Mesa's `src/asahi/isa/AGX2.xml` has them; `vagx disasm` gives the
//! text beside them. State words and blocks of control streams are those of Mesa's
//! `src/asahi/genxml/cmdbuf.xml`.

use anyhow::{Context, Result, ensure};

use crate::{
    device::{Bo, Mapping, PAGE, Vm},
    uapi::*,
};

/// What a queue's programs and state words are relative to: what [`Vm::queue`] asks for.
pub const EXEC_BASE: u64 = 0x11_0000_0000;

/// Where a [`Gpu`] keeps what it launches.
const ROOM: u64 = 16 * PAGE;

/// A program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// `moves(table)`: each thread takes one entry of a table of two addresses, and copies the 32-bit
    /// word at the first to the second. That reads and writes any addresses in one launch.
    Moves,
    /// `sum(in, out, threads | n << 32)`: thread `i` stores the sum of `in[i + threads * j]` for all
    /// `j` below `n` at `out[i]`.
    Sum,
    /// `hammer(to, flag)`: thread `i` stores `i` at `to[i]` again and again, for as long as the 32-bit
    /// word at `flag` is zero.
    Hammer,
    /// `wait(flag)`: goes on for as long as the 32-bit word at `flag` is zero.
    Wait,
}

impl Program {
    fn code(self) -> &'static [&'static str] {
        match self {
            Self::Moves => &[
                "72011004",         // mov r0, thread_in_grid_x
                "0521000e00c8f200", // load r4_r5_r6_r7, du0, r0, lsl 2, i32, xyzw, a
                "3800",             // wait a
                "0541080500c01200", // load r8, dr4, 0, i32, x, a
                "3800",             // wait a
                "45410c0500c01200", // store r8, dr6, 0, i32, x, a
                "8800",             // stop
            ],
            Self::Sum => &[
                "62000000",         // ldimm r0l, 0
                "72051004",         // mov r1, thread_in_grid_x
                "7e09420a8000",     // mov r2, r1
                "620d00000000",     // ldimm r3, 0
                "621500000000",     // ldimm r5, 0
                "0521400e00c01200", // load r4, du0, r2, i32, x, a
                "3800",             // wait a
                "0e0d468664000000", // iadd r3, r3.sx, r4.sx
                "0e09448658000000", // iadd r2, r2.sx, u4.sx
                "0e154a1600000000", // iadd r5, r5.sx, 1
                "522c4aa21800",     // while r5, u5, 1, ult
                "00c0d8ffffff",     // jmp_any -40: to the load
                "520e00000000",     // pop_exec 1
                "4519240e00c01200", // store r3, du2, r1, i32, x, a
                "8800",             // stop
            ],
            Self::Hammer => &[
                "62000000",         // ldimm r0l, 0
                "72051004",         // mov r1, thread_in_grid_x
                "4509200e00c01200", // store r1, du0, r1, i32, x, a
                "0521040d00d01200", // load r4, du2, 0, i32, x, coherent1, a
                "3800",             // wait a
                "520c48020000",     // while r4, 0, 1, ieq
                "00c0e8ffffff",     // jmp_any -24: to the store
                "520e00000000",     // pop_exec 1
                "8800",             // stop
            ],
            Self::Wait => &[
                "62000000",         // ldimm r0l, 0
                "0521000d00d01200", // load r4, du0, 0, i32, x, coherent1, a
                "3800",             // wait a
                "520c48020000",     // while r4, 0, 1, ieq
                "00c0f0ffffff",     // jmp_any -16: to the load
                "520e00000000",     // pop_exec 1
                "8800",             // stop
            ],
        }
    }
}

/// A launch of a program.
#[derive(Clone, Copy, Debug)]
pub struct Launch {
    pub program: Program,
    /// What the program has in its first uniforms.
    pub args: [u64; 3],
    pub threads: u32,
}

/// Copies words between any addresses.
pub fn moves(table: u64, threads: u32) -> Launch {
    Launch {
        program: Program::Moves,
        args: [table, 0, 0],
        threads,
    }
}

/// Adds up.
pub fn sum(from: u64, to: u64, threads: u32, n: u32) -> Launch {
    Launch {
        program: Program::Sum,
        args: [from, to, u64::from(threads) | u64::from(n) << 32],
        threads,
    }
}

/// Stores into a page until the CPU sets a flag.
pub fn hammer(to: u64, flag: u64) -> Launch {
    Launch {
        program: Program::Hammer,
        args: [to, flag, 0],
        threads: (PAGE / 4) as u32,
    }
}

/// Goes on until the CPU sets a flag.
pub fn wait(flag: u64) -> Launch {
    Launch {
        program: Program::Wait,
        args: [flag, 0, 0],
        threads: 32,
    }
}

/// CDM Launch: direct, one group of uniforms; the state words; grid and workgroup.
pub fn launch_block(state: u32, threads: u32) -> Vec<u8> {
    let local = threads.min(64);
    [1 << 1, state, threads, 1, 1, local, 1, 1]
        .into_iter()
        .flat_map(u32::to_le_bytes)
        .collect()
}

/// Memory of a VM with programs, state words, uniforms and control streams.
pub struct Gpu<'a> {
    _room: Bo<'a>,
    map: Mapping,
    used: u64,
    programs: Vec<(Program, u64)>,
}

impl<'a> Gpu<'a> {
    /// Makes it, at the address that queues take their programs from.
    pub fn new(vm: &Vm<'a>) -> Result<Self> {
        let room = vm.device.bo(ROOM, GEM_WRITEBACK, 0)?;
        vm.map(&room, EXEC_BASE)?;
        Ok(Self {
            map: room.mmap()?,
            _room: room,
            // State words at zero would read as none.
            used: 64,
            programs: Vec::new(),
        })
    }

    /// Puts bytes where there is room, and tells the address.
    fn put(&mut self, bytes: &[u8]) -> Result<u64> {
        let at = self.used.next_multiple_of(64);
        let end = at + bytes.len().next_multiple_of(8) as u64;
        ensure!(end <= ROOM, "no room for what is to be launched");
        for (offset, chunk) in (at..).step_by(8).zip(bytes.chunks(8)) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.map.write(offset as usize, u64::from_le_bytes(word));
        }
        self.used = end;
        Ok(EXEC_BASE + at)
    }

    /// A command that does launches, one after the other.
    pub fn command(&mut self, launches: &[Launch]) -> Result<CmdCompute> {
        let mut stream = Vec::new();
        for launch in launches {
            let state = self.state(launch)?;
            stream.extend(launch_block(state, launch.threads));
            // CDM Barrier, as Mesa writes it behind each launch.
            stream.extend(u32::to_le_bytes(
                3 << 29 | 1 << 3 | 1 << 5 | 1 << 6 | 1 << 8,
            ));
        }
        // CDM Stream Terminate.
        stream.extend(u64::to_le_bytes(2 << 29));
        self.stream(&stream)
    }

    /// A command of a control stream.
    pub fn stream(&mut self, stream: &[u8]) -> Result<CmdCompute> {
        let base = self.put(stream)?;
        Ok(CmdCompute {
            cdm_ctrl_stream_base: base,
            cdm_ctrl_stream_end: base + stream.len() as u64,
            ..Default::default()
        })
    }

    /// Writes the state words of a launch, and tells where they are from the base on.
    fn state(&mut self, launch: &Launch) -> Result<u32> {
        let code = self.program(launch.program)?;
        let args: Vec<u8> = launch
            .args
            .iter()
            .flat_map(|arg| arg.to_le_bytes())
            .collect();
        let uniforms = self.put(&args)?;
        self.state_of(code, uniforms)
    }

    /// Writes a program if it is not there yet, and tells its address.
    pub fn program(&mut self, program: Program) -> Result<u64> {
        if let Some((_, at)) = self.programs.iter().find(|(known, _)| *known == program) {
            return Ok(*at);
        }
        let hex = program.code().concat();
        let code: Vec<u8> = (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16))
            .collect::<Result<_, _>>()
            .context("a program in hexadecimal")?;
        let at = self.put(&code)?;
        self.programs.push((program, at));
        Ok(at)
    }

    /// The state words for a program and its uniforms.
    pub fn state_of(&mut self, code: u64, uniforms: u64) -> Result<u32> {
        let mut state = Vec::new();
        // USC Uniform: twelve halves from the first on.
        state.extend(u64::to_le_bytes(0x1d | 12 << 20 | uniforms << 24));
        // USC Shared: none. USC Shader. USC Registers: 24 halves. USC No Preshader.
        state.extend(u32::to_le_bytes(0x4d | 0x24 << 10));
        state.extend([0x0d, 0]);
        state.extend(u32::to_le_bytes(code.wrapping_sub(EXEC_BASE) as u32));
        state.extend(u32::to_le_bytes(0x8d | 3 << 8 | 1 << 13));
        state.extend([0x88, 0]);
        Ok((self.put(&state)? - EXEC_BASE) as u32)
    }
}
