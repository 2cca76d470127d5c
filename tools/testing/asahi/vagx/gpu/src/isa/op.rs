// SPDX-License-Identifier: MIT OR Apache-2.0

//! The names of the instructions.

/// One instruction of the G13 instruction set, as Mesa's AGX2.xml names them.
///
/// Several share an encoding and differ in what is fixed in it (`Imul` is `Imadd` without an addend).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[rustfmt::skip]
#[allow(missing_docs)]
pub enum Op {
    Ldimm16, Ldimm32, Mfsr, Iadd, Isub, Imul, Imadd, Imsub, Shl, Shr, Bfi, Bfeil, Extr, Shlhi,
    Shrhi, Asr, Asrh, NotA, Mov, Not, MovA, Zero, And, Andn1, Andn2, Xor, Or, Nor, Xnor, Orn1, Orn2,
    Nand, One, Bitrev, Popcnt, Ffs, Intl, Icsel, U8ToF, S8ToF, FToU16, FToS16, U16ToF, S16ToF,
    FToU32, FToS32, U32ToF, S32ToF, Ffma, Hfma, Fadd, Fmul, Hadd, Hmul, Floor, Rsqrts, Rcp, Rsqrt,
    Sinr, Dfdx, Dfdy, Sinc, Log2, Exp2, Ceil, Trunc, Rint, Fcsel, Stop, Trap, JmpIncomplete, Ret,
    CallReg, JmpAny, Call, JmpNone, PopExec, IfIcmp, ElseIcmp, WhileIcmp, UpdateExec, IfFcmp,
    ElseFcmp, WhileFcmp, Ballot, IcmpBallot, FcmpBallot, Shuffle, Quad, Simd, Load, Atomic, Latomic,
    StackLoad, StackAdjust, StackStore, UniformStore, UniformStoreUnk, TexStateStore,
    SamplerStateStore, Store, Lload, Lstore, Pixwait, Pixrel, Wait, Barrier, Doorbell,
    JmpIfSkippingDoorbell, Unmap, Map, MemoryBarrier, ImageBarrier1, ImageBarrier2, ImageBarrier3,
    ImageBarrier4, FlushMemoryToTexture, MemoryBarrier2, MemoryBarrier3, UnknownBarrier1,
    UnknownBarrier2, DeviceBarrier1, DeviceBarrier2, NoVar, StVar, LdTile, StTile, SampleMask,
    ZsEmit, Iter, Iterproj, Ldcf, Smpf, Smpi, Imgw, Imgwblk,
}
