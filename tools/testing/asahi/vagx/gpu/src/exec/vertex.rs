// SPDX-License-Identifier: MIT OR Apache-2.0

//! What vertex programs do that others do not.

use super::{Context, Lanes, Simd};
use crate::cache::Program;
use crate::uop::Val;

/// Words that a vertex can have: indices are bytes (Mesa, `src/asahi/genxml/cmdbuf.xml`, "VDM State Vertex Outputs").
const MOST_OUTPUTS: usize = 256;

/// What the threads of a SIMD-group write for their vertices.
pub(crate) struct VertexOutputs {
    words: Vec<Lanes>,
    count: usize,
}

impl Default for VertexOutputs {
    fn default() -> Self {
        VertexOutputs {
            words: vec![Lanes::ZERO; MOST_OUTPUTS],
            count: 0,
        }
    }
}

impl VertexOutputs {
    /// All words of all lanes become zero; there are `count` of them.
    pub(crate) fn clear(&mut self, count: usize) {
        self.count = count.min(MOST_OUTPUTS);
        self.words[..self.count].fill(Lanes::ZERO);
    }

    /// A word of each lane. Those that do not exist are zero.
    pub(crate) fn word(&self, index: usize) -> &Lanes {
        self.words[..self.count].get(index).unwrap_or(&Lanes::ZERO)
    }
}

impl Simd {
    /// Makes the first `count` lanes the threads of vertices, at the start of `program`. Vertex and instance come in r5
    /// and r6 (Mesa, `src/asahi/compiler/agx_compile.c`, preloads of vertex programs).
    pub(crate) fn start_vertices(
        &mut self,
        program: &Program,
        vertices: &Lanes,
        instances: &Lanes,
        count: u32,
    ) {
        self.group = [0; 3];
        self.threads = [count, 1, 1];
        self.thread = [Lanes::ZERO; 3];
        self.index = 0;
        self.program = program.address;
        self.reset(program, u32::MAX >> 32u32.saturating_sub(count).min(31));
        self.regs[5] = *vertices;
        self.regs[6] = *instances;
    }

    /// Writes an output of the vertices. False if this is no vertex program.
    pub(super) fn store_varying(&self, context: &mut Context<'_>, value: u8, index: Val) -> bool {
        let value = &self.regs[usize::from(value) % super::REGISTERS];
        let index = self.val(&context.launch.uniforms, index);
        let Some(outputs) = &mut context.outputs else {
            return false;
        };
        let words = &mut outputs.words[..outputs.count];
        let first = index.0[0];
        if index == Lanes::splat(first) {
            if let Some(word) = words.get_mut(first as usize) {
                *word = value.select(*word, self.mask);
            }
            return true;
        }
        for lane in 0..32 {
            if self.exec >> lane & 1 != 0
                && let Some(word) = words.get_mut(index.0[lane] as usize)
            {
                word.0[lane] = value.0[lane];
            }
        }
        true
    }
}
