// SPDX-License-Identifier: MIT OR Apache-2.0

//! What only fragment programs do.

use super::{Dst, Val};

/// A coefficient register.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Coefficient {
    Number(u8),
    /// Its number is in a register.
    Indirect(Val),
}

/// Where in the pixel a value is interpolated.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    Centre,
    /// The centre, or a covered sample if the pixel is not wholly covered.
    Centroid,
    /// The sample of this number.
    Sample(Val),
}

/// An operation of a fragment program.
#[derive(Clone, Copy, Debug)]
pub(crate) enum FragmentOp {
    /// Interpolates `count` neighbouring coefficients, divided by the one at `w`.
    Iterate {
        d: [Dst; 4],
        count: u8,
        from: Coefficient,
        w: Option<u8>,
        place: Place,
    },
    /// The three numbers of a coefficient.
    Load { d: u8, from: Coefficient },
    /// Tests the samples of `target` that are in `live`, and kills the others.
    SampleMask { target: Val, live: Val },
    /// Tests samples with the depth or stencil value of the program.
    Emit {
        samples: Val,
        depth: Option<Val>,
        stencil: Option<Val>,
    },
}
