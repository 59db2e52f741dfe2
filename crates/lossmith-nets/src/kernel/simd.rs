//! Run-time choice of the widest vector instructions the processor has.

use pulp::{Simd, WithSimd};

/// Runs `op` with the widest instructions there are: AVX-512, AVX2 with FMA, what the target's baseline has.
#[inline]
pub(super) fn dispatch<Op: WithSimd>(op: Op) -> Op::Output {
    #[cfg(target_arch = "x86_64")]
    {
        if let Some(simd) = pulp::x86::V4::try_new() {
            return Simd::vectorize(simd, op);
        }
        if let Some(simd) = pulp::x86::V3::try_new() {
            return Simd::vectorize(simd, op);
        }
    }
    pulp::Arch::new().dispatch(op)
}

/// The vectors that [`dispatch`] chooses, in words.
pub(super) fn vectors() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if pulp::x86::V4::try_new().is_some() {
            return "AVX-512";
        }
        if pulp::x86::V3::try_new().is_some() {
            return "AVX2";
        }
    }
    std::env::consts::ARCH
}
