// SPDX-License-Identifier: MIT OR Apache-2.0

//! Coefficient bindings: what a shader's coefficient registers hold (Mesa, `src/asahi/genxml/cmdbuf.xml`, "CF binding";
//! `docs/drivers/asahi.rst`, "Coefficient registers").

use crate::geometry::DrawState;
use crate::memory::Memory;
use crate::{JobError, Unit, Unsupported};

/// Where the values of a binding come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// 1 / w.
    Rhw,
    Depth,
    /// The varying of one vertex.
    Flat {
        vertex: usize,
        varying: usize,
    },
    /// A varying, by number.
    Varying(usize),
    PointCoord,
    Id,
    Barycentric,
}

/// Neighbouring coefficient registers and what they hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Binding {
    pub(super) components: usize,
    /// Values are divided by w, and the shader divides by the interpolated 1 / w.
    pub(super) perspective: bool,
    pub(super) source: Source,
    pub(super) register: usize,
}

/// The bindings of a draw and the number of registers.
pub(super) fn read(
    memory: &mut Memory<'_>,
    exec_base: u64,
    state: &DrawState,
) -> Result<(Vec<Binding>, usize), JobError> {
    let shader = state.fragment_shader;
    let count = shader.cf_binding_count();
    if count == 0 {
        return Ok((Vec::new(), 0));
    }
    let table = exec_base.wrapping_add(shader.cf_bindings().into());
    let mut word = |index: usize| {
        let va = table.wrapping_add(4 * index as u64);
        Ok::<_, JobError>((va, memory.word(va, Unit::Ppp)?))
    };
    let (_, header) = word(0)?;
    let slots_32 = (header & 0xff) as usize;
    let registers = (header >> 8 & 0xff) as usize;
    let first_varying = if state.output_select.frag_coord_z() {
        2
    } else {
        1
    };
    let mut bindings = Vec::new();
    for index in 0..count {
        let (va, word) = word(index + 1)?;
        let refuse = |why: &str| {
            JobError::from(Unsupported {
                va,
                bytes: word.to_le_bytes().to_vec(),
                why: why.into(),
            })
        };
        let components = (word & 3) as usize + 1;
        let slot = (word >> 8 & 0xff) as usize;
        let model = word >> 2 & 7;
        let source = match (word >> 5 & 7, model) {
            // Mesa binds what the vertex shader does not write to slot 0, which is w, whatever the model.
            (0, _) if slot == 0 => Source::Rhw,
            // Where there are none of 16 bits, these are components that the vertex shader does not write.
            (0, _) if slot + components > slots_32 && state.varying_counts_16.total() != 0 => {
                return Err(refuse("coefficients of 16-bit varyings"));
            }
            (0, _) if slot < first_varying => Source::Depth,
            (0, 0 | 2 | 6) => Source::Flat {
                vertex: match model {
                    0 => 0,
                    2 => 2,
                    _ => 1,
                },
                varying: slot - first_varying,
            },
            (0, 3 | 7) => Source::Varying(slot - first_varying),
            (1, _) => Source::Depth,
            (2, _) => Source::PointCoord,
            (3, _) => Source::Id,
            (5, _) => Source::Barycentric,
            _ => return Err(refuse("kind of coefficient")),
        };
        let register = (word >> 16 & 0xff) as usize;
        if register + components > registers {
            return Err(refuse("coefficients beyond the last register"));
        }
        bindings.push(Binding {
            components,
            perspective: model == 7,
            source,
            register,
        });
    }
    Ok((bindings, registers))
}
