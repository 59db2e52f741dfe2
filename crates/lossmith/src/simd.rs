//! Run-time choice of vector width around plain Rust.
//!
//! Work that is inlined whole is compiled once for every instruction set, with its vectors. No fused multiply-add is
//! brought in, so the results are the same to the bit.

/// The vectors that the processor has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// What every processor of the target has.
    Baseline,
    /// 256 bits.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// 512 bits.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Level {
    /// The widest that this processor has.
    #[inline]
    pub(crate) fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512bw")
            {
                return Self::Avx512;
            }
            if is_x86_feature_detected!("avx2") {
                return Self::Avx2;
            }
        }
        Self::Baseline
    }

    /// Every level that this processor has.
    #[cfg(test)]
    pub(crate) fn all() -> &'static [Self] {
        match Self::best() {
            Self::Baseline => &[Self::Baseline],
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => &[Self::Baseline, Self::Avx2],
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => &[Self::Baseline, Self::Avx2, Self::Avx512],
        }
    }
}

/// Calls `work` compiled for the widest vectors that the processor has. It must be inlined whole: mark the closure, and
/// the functions it calls, `#[inline(always)]`.
#[inline]
pub fn widest<R>(work: impl FnOnce() -> R) -> R {
    at(Level::best(), work)
}

/// Calls `work` compiled for a level, which comes from [`Level::best`] or is below it; see [`widest`].
#[inline]
pub(crate) fn at<R>(level: Level, work: impl FnOnce() -> R) -> R {
    match level {
        Level::Baseline => work(),
        // SAFETY: levels are made by detection only, so the processor has these instructions.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { with_avx2(work) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { with_avx512(work) },
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw")]
fn with_avx512<R>(work: impl FnOnce() -> R) -> R {
    work()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn with_avx2<R>(work: impl FnOnce() -> R) -> R {
    work()
}
