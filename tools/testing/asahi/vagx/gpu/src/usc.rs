// SPDX-License-Identifier: MIT OR Apache-2.0

//! State words: which program a launch runs, and with what (Mesa, `src/asahi/genxml/cmdbuf.xml`, "USC").

use crate::exec::Launch;
use crate::memory::{Access, Memory};
use crate::{GpuFault, JobError, Unit, Unsupported};

/// Words that one list may have. Mesa writes fewer than a hundred.
const MOST_WORDS: usize = 4096;

/// What a list of state words says, besides what it loads into a [`Launch`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct State {
    /// Address of the program.
    pub(crate) shader: u64,
    /// Address of the preamble.
    pub(crate) preshader: Option<u64>,
    /// Bytes of local memory that a workgroup uses.
    pub(crate) shared: usize,
    /// The word "Shared", which also says how samples lie in an imageblock.
    pub(crate) shared_word: Option<u32>,
    /// The word "Fragment properties".
    pub(crate) fragment_properties: Option<u32>,
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
    let mut state = State::default();
    let mut found = false;
    let mut at = address;
    for _ in 0..MOST_WORDS {
        let tag = fetch::<1>(memory, at)?[0];
        let length = match tag {
            0x1d | 0x3d => {
                let word = u64::from_le_bytes(fetch(memory, at)?);
                let start = (word >> 8 & 0xff) as usize + if tag == 0x3d { 256 } else { 0 };
                let size = match word >> 20 & 0x3f {
                    0 => 64,
                    n => n as usize,
                };
                if start + size > 512 {
                    return refuse(at, &word.to_le_bytes(), "uniforms beyond the last register");
                }
                let mut bytes = [0; 128];
                read_bytes(memory, word >> 26 << 2, &mut bytes[..2 * size])?;
                for (half, value) in bytes.chunks_exact(2).take(size).enumerate() {
                    let value = u32::from(value[0]) | u32::from(value[1]) << 8;
                    let to = start + half;
                    let shift = to % 2 * 16;
                    let register = &mut launch.uniforms[to / 2];
                    *register = (*register & !(0xffff << shift)) | value << shift;
                }
                8
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
                    let from = buffer.wrapping_add((i * size) as u64);
                    read_bytes(memory, from, &mut state[..size])?;
                }
                8
            }
            0x4d => {
                let word = u32::from_le_bytes(fetch(memory, at)?);
                state.shared_word = Some(word);
                state.shared = match (word >> 8 & 1, word >> 24) {
                    (0, _) => 0,
                    (_, 0) => 65536,
                    (_, n) => n as usize * 256,
                };
                4
            }
            0x0d => {
                let word = fetch::<6>(memory, at)?;
                let code = u32::from_le_bytes([word[2], word[3], word[4], word[5]]);
                state.shader = exec_base.wrapping_add(code.into());
                found = true;
                6
            }
            // Counts of registers, which the model has in plenty.
            0x8d => 4,
            0x58 => {
                state.fragment_properties = Some(u32::from_le_bytes(fetch(memory, at)?));
                4
            }
            0x38 | 0x88 => {
                if tag == 0x38 {
                    let word = u64::from_le_bytes(fetch(memory, at)?);
                    state.preshader = Some(exec_base.wrapping_add(word >> 32));
                }
                return match found {
                    true => Ok(state),
                    false => refuse(at, &[], "USC words without a shader"),
                };
            }
            _ => {
                let word = fetch::<4>(memory, at)?;
                return refuse(at, &word, "unknown USC word");
            }
        };
        at = at.wrapping_add(length);
    }
    refuse(address, &[], "USC words without an end")
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
    memory
        .read(va, bytes)
        .map_err(|va| GpuFault::new(va, Access::Read, Unit::Usc).into())
}

fn fetch<const N: usize>(memory: &mut Memory<'_>, va: u64) -> Result<[u8; N], JobError> {
    let mut bytes = [0; N];
    read_bytes(memory, va, &mut bytes)?;
    Ok(bytes)
}
