//! Products by AVX512-BF16: a register tile of 6 rows by up to 64 columns, two products a lane and instruction.

#![expect(clippy::needless_range_loop, reason = "a register that is indexed by a variable would live in memory")]

use std::arch::x86_64::{
    __m512, __m512bh, __m512i, __mmask16, _mm512_dpbf16_ps, _mm512_mask_storeu_ps, _mm512_maskz_loadu_ps,
    _mm512_max_ps, _mm512_set1_epi32, _mm512_setzero_ps,
};

use super::product::{Block, LANES, Left, PANEL, Start, TILE};

/// Adds a block's products to the rows of `target`.
///
/// # Panics
/// If a slice is shorter than places and sizes say, and without AVX512-BF16.
pub(super) fn multiply(block: Block<'_>, places: &[usize], columns: usize, target: &mut [f32]) {
    assert!(super::round::in_hardware(), "this processor has no AVX512-BF16");
    // SAFETY: the processor has the features that the function is compiled for.
    unsafe {
        match block.width {
            4 => panel::<4>(&block, places, columns, target),
            2 => panel::<2>(&block, places, columns, target),
            _ => panel::<1>(&block, places, columns, target),
        }
    }
}

type Sums<const W: usize> = [[__m512; W]; TILE];
/// The words of one depth.
type Row<const W: usize> = [[u32; LANES]; W];

// Loops instead of closures: a closure that `array::from_fn` calls is compiled with these features, `from_fn` without, so
// that every call of it would be one through memory.

#[target_feature(enable = "avx512f,avx512bf16")]
fn panel<const W: usize>(block: &Block<'_>, places: &[usize], columns: usize, target: &mut [f32]) {
    let right = &block.right.as_chunks::<LANES>().0.as_chunks::<W>().0[..block.depth];
    let valid = (W * LANES).min(columns - block.column);
    let mut masks = [0; W];
    for w in 0..W {
        let lanes = valid.saturating_sub(w * LANES).min(LANES);
        masks[w] = ((1_u32 << lanes) - 1) as __mmask16;
    }
    for (number, places) in places.chunks(TILE).enumerate() {
        let mut sums = begin(block, places, valid, masks, target);
        match block.left {
            Left::Rows(words, pitch) => by_rows(&mut sums, &words[number * TILE * pitch..], pitch, right),
            Left::Panels(words) => {
                let (panel, tile) = (number / (PANEL / TILE), number % (PANEL / TILE));
                let words = &words[panel * PANEL * block.depth..][..PANEL * block.depth];
                by_panels(&mut sums, words.as_chunks::<TILE>().0.as_chunks::<{ PANEL / TILE }>().0, tile, right);
            }
        }
        for r in 0..TILE {
            if let Some(place) = places.get(r) {
                store(&sums[r], block.relu, masks, &mut target[place + block.column..][..valid]);
            }
        }
    }
}

/// What the sums of a tile begin with.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn begin<const W: usize>(
    block: &Block<'_>,
    places: &[usize],
    valid: usize,
    masks: [__mmask16; W],
    target: &[f32],
) -> Sums<W> {
    let zero = [_mm512_setzero_ps(); W];
    match block.start {
        Start::Zero => [zero; TILE],
        Start::Bias(bias) => [load(&bias[block.column..][..valid], masks); TILE],
        Start::Old => {
            let mut sums = [zero; TILE];
            for r in 0..TILE {
                if let Some(place) = places.get(r) {
                    sums[r] = load(&target[place + block.column..][..valid], masks);
                }
            }
            sums
        }
    }
}

/// `sums[r] += left[r, t] right[t]`, the left side row by row.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn by_rows<const W: usize>(sums: &mut Sums<W>, left: &[u32], pitch: usize, right: &[Row<W>]) {
    let depth = right.len();
    let (a, b, c) = (&left[..depth], &left[pitch..][..depth], &left[2 * pitch..][..depth]);
    let (d, e, f) = (&left[3 * pitch..][..depth], &left[4 * pitch..][..depth], &left[5 * pitch..][..depth]);
    let mut s = *sums;
    for ((((((right, a), b), c), d), e), f) in right.iter().zip(a).zip(b).zip(c).zip(d).zip(e).zip(f) {
        step(&mut s, (a, b, c, d, e, f), right);
    }
    *sums = s;
}

/// The same, the left side word by word of depth.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn by_panels<const W: usize>(sums: &mut Sums<W>, left: &[[[u32; TILE]; PANEL / TILE]], tile: usize, right: &[Row<W>]) {
    let mut s = *sums;
    for (left, right) in left.iter().zip(right) {
        let [a, b, c, d, e, f] = &left[tile];
        step(&mut s, (a, b, c, d, e, f), right);
    }
    *sums = s;
}

/// One word of depth.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn step<const W: usize>(sums: &mut Sums<W>, (a, b, c, d, e, f): (&u32, &u32, &u32, &u32, &u32, &u32), right: &Row<W>) {
    // Written out: an array of the words would be put into memory, and read from there.
    add(&mut sums[0], a, right);
    add(&mut sums[1], b, right);
    add(&mut sums[2], c, right);
    add(&mut sums[3], d, right);
    add(&mut sums[4], e, right);
    add(&mut sums[5], f, right);
}

/// One word of depth, for one row.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn add<const W: usize>(sums: &mut [__m512; W], left: &u32, right: &Row<W>) {
    // SAFETY: both are registers of 512 bits, and any bits are valid.
    let left = unsafe { std::mem::transmute::<__m512i, __m512bh>(_mm512_set1_epi32(left.cast_signed())) };
    for w in 0..W {
        // SAFETY: 16 words are as large as a register, and any bits are valid.
        let right = unsafe { std::mem::transmute::<[u32; LANES], __m512bh>(right[w]) };
        sums[w] = _mm512_dpbf16_ps(sums[w], left, right);
    }
}

/// The values of a row, zeros after its end.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn load<const W: usize>(row: &[f32], masks: [__mmask16; W]) -> [__m512; W] {
    let (start, mut values) = (row.as_ptr(), [_mm512_setzero_ps(); W]);
    for w in 0..W {
        // SAFETY: a mask has a lane for each value of the row and no more: nothing else is read.
        values[w] = unsafe { _mm512_maskz_loadu_ps(masks[w], start.wrapping_add(w * LANES)) };
    }
    values
}

#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn store<const W: usize>(sums: &[__m512; W], relu: bool, masks: [__mmask16; W], row: &mut [f32]) {
    let (start, zero) = (row.as_mut_ptr(), _mm512_setzero_ps());
    for w in 0..W {
        // Zero first: so the maximum with what is not a number is not a number.
        let sum = if relu { _mm512_max_ps(zero, sums[w]) } else { sums[w] };
        // SAFETY: a mask has a lane for each value of the row and no more: nothing else is written.
        unsafe { _mm512_mask_storeu_ps(start.wrapping_add(w * LANES), masks[w], sum) };
    }
}
