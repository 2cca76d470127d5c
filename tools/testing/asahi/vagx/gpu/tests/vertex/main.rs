// SPDX-License-Identifier: MIT OR Apache-2.0

//! Vertex jobs on a small memory.

mod draw;
mod memory;
mod stream;
