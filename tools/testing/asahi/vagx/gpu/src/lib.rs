// SPDX-License-Identifier: MIT OR Apache-2.0

//! The AGX GPU core as a software model.

pub mod isa;
