// SPDX-License-Identifier: MIT OR Apache-2.0

//! State words: which program a launch runs, and with what (Mesa, `src/asahi/genxml/cmdbuf.xml`, "USC").

use crate::exec::Launch;
use crate::memory::{Access, Memory};
use crate::{GpuFault, JobError, Unit, Unsupported};

/// Words that one list may have. Mesa writes fewer than a hundred.
const MOST_WORDS: usize = 4096;

/// What a list of state words says, besides what it loads into a [`Launch`].
pub(crate) struct State {
    /// Address of the program.
    pub(crate) shader: u64,
    /// Address of the preamble.
    pub(crate) preshader: Option<u64>,
    /// Bytes of local memory that a workgroup uses.
    pub(crate) shared: usize,
}

/// Reads the list at `address` and loads uniforms and states into `launch`. `extended` says that sampler states carry a
/// border colour.
pub(crate) fn read(
    memory: &mut Memory<'_>,
    exec_base: u64,
    address: u64,
    extended: bool,
    launch: &mut Launch,
) -> Result<State, JobError> {
    let mut shader = None;
    let mut shared = 0;
    let mut at = address;
    for _ in 0..MOST_WORDS {
        let tag = fetch::<1>(memory, at)?[0];
        match tag {
            0x1d | 0x3d => {
                let word = u64::from_le_bytes(fetch(memory, at)?);
                let start = (word >> 8 & 0xff) as usize + if tag == 0x3d { 256 } else { 0 };
                let size = match word >> 20 & 0x3f {
                    0 => 64,
                    n => n as usize,
                };
                let buffer = word >> 26 << 2;
                if start + size > 512 {
                    return refuse(at, &word.to_le_bytes(), "uniforms beyond the last register");
                }
                for half in 0..size {
                    let [low, high] = fetch::<2>(memory, buffer + 2 * half as u64)?;
                    let value = u32::from(low) | u32::from(high) << 8;
                    let to = start + half;
                    let shift = to % 2 * 16;
                    let register = &mut launch.uniforms[to / 2];
                    *register = (*register & !(0xffff << shift)) | value << shift;
                }
                at += 8;
            }
            0xdd | 0x9d => {
                let word = u64::from_le_bytes(fetch(memory, at)?);
                let start = (word >> 8 & 0xff) as usize;
                let count = (word >> 20 & 0x7f) as usize;
                let buffer = word >> 27 << 3;
                let (states, size) = match tag {
                    0xdd => (&mut launch.textures, 24),
                    _ => (&mut launch.samplers, if extended { 24 } else { 8 }),
                };
                if states.len() < start + count {
                    states.resize(start + count, [0; 24]);
                }
                for (i, state) in states[start..start + count].iter_mut().enumerate() {
                    read_bytes(memory, buffer + (i * size) as u64, &mut state[..size])?;
                }
                at += 8;
            }
            0x4d => {
                let word = u32::from_le_bytes(fetch(memory, at)?);
                shared = if word >> 8 & 1 != 0 {
                    match word >> 24 {
                        0 => 65536,
                        n => n as usize * 256,
                    }
                } else {
                    0
                };
                at += 4;
            }
            0x0d => {
                let word = fetch::<6>(memory, at)?;
                let code = u32::from_le_bytes([word[2], word[3], word[4], word[5]]);
                shader = Some(exec_base + u64::from(code));
                at += 6;
            }
            // Counts of registers, which the model has in plenty; properties of fragments.
            0x8d | 0x58 => at += 4,
            0x38 => {
                let word = u64::from_le_bytes(fetch(memory, at)?);
                let code = exec_base + (word >> 32);
                return finish(at, shader, Some(code), shared);
            }
            0x88 => return finish(at, shader, None, shared),
            _ => {
                let word = fetch::<4>(memory, at)?;
                return refuse(at, &word, "unknown USC word");
            }
        }
    }
    refuse(address, &[], "USC words without an end")
}

fn finish(
    at: u64,
    shader: Option<u64>,
    preshader: Option<u64>,
    shared: usize,
) -> Result<State, JobError> {
    match shader {
        Some(shader) => Ok(State {
            shader,
            preshader,
            shared,
        }),
        None => refuse(at, &[], "USC words without a shader"),
    }
}

fn refuse<T>(va: u64, bytes: &[u8], why: &str) -> Result<T, JobError> {
    Err(Unsupported {
        va,
        bytes: bytes.to_vec(),
        why: why.into(),
    }
    .into())
}

fn read_bytes(memory: &mut Memory<'_>, va: u64, bytes: &mut [u8]) -> Result<(), JobError> {
    memory.read(va, bytes).map_err(|va| {
        GpuFault {
            va,
            access: Access::Read,
            unit: Unit::Usc,
            pc: 0,
        }
        .into()
    })
}

fn fetch<const N: usize>(memory: &mut Memory<'_>, va: u64) -> Result<[u8; N], JobError> {
    let mut bytes = [0; N];
    read_bytes(memory, va, &mut bytes)?;
    Ok(bytes)
}
