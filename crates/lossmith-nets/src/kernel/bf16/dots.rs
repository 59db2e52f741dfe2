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

#[target_feature(enable = "avx512f,avx512bf16")]
fn panel<const W: usize>(block: &Block<'_>, places: &[usize], columns: usize, target: &mut [f32]) {
    let right = &block.right.as_chunks::<LANES>().0.as_chunks::<W>().0[..block.depth];
    let valid = (W * LANES).min(columns - block.column);
    let masks: [__mmask16; W] = std::array::from_fn(|w| {
        let lanes = valid.saturating_sub(w * LANES).min(LANES);
        ((1_u32 << lanes) - 1) as __mmask16
    });
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
        for (r, place) in places.iter().enumerate() {
            let row = &mut target[place + block.column..][..valid];
            store(std::array::from_fn(|w| sums[r][w]), block.relu, masks, row);
        }
    }
}

/// What the sums of a tile begin with.
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
            for (row, place) in sums.iter_mut().zip(places) {
                *row = load(&target[place + block.column..][..valid], masks);
            }
            sums
        }
    }
}

/// `sums[r] += left[r, t] right[t]`, the left side row by row.
#[target_feature(enable = "avx512f,avx512bf16")]
fn by_rows<const W: usize>(sums: &mut Sums<W>, left: &[u32], pitch: usize, right: &[Row<W>]) {
    let depth = right.len();
    let rows: [&[u32]; TILE] = std::array::from_fn(|r| &left[r * pitch..][..depth]);
    let mut s = *sums;
    for t in 0..depth {
        let right = registers(&right[t]);
        for r in 0..TILE {
            let left = spread(rows[r][t]);
            for w in 0..W {
                s[r][w] = _mm512_dpbf16_ps(s[r][w], left, right[w]);
            }
        }
    }
    *sums = s;
}

/// The same, the left side word by word of depth.
#[target_feature(enable = "avx512f,avx512bf16")]
fn by_panels<const W: usize>(sums: &mut Sums<W>, left: &[[[u32; TILE]; PANEL / TILE]], tile: usize, right: &[Row<W>]) {
    let mut s = *sums;
    for (left, right) in left.iter().zip(right) {
        let right = registers(right);
        let left = &left[tile];
        for r in 0..TILE {
            let left = spread(left[r]);
            for w in 0..W {
                s[r][w] = _mm512_dpbf16_ps(s[r][w], left, right[w]);
            }
        }
    }
    *sums = s;
}

#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn registers<const W: usize>(words: &Row<W>) -> [__m512bh; W] {
    // SAFETY: 16 words are as large as a register, and any bits are valid.
    std::array::from_fn(|w| unsafe { std::mem::transmute::<[u32; LANES], __m512bh>(words[w]) })
}

/// A word in all lanes.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn spread(word: u32) -> __m512bh {
    // SAFETY: both are registers of 512 bits, and any bits are valid.
    unsafe { std::mem::transmute::<__m512i, __m512bh>(_mm512_set1_epi32(word.cast_signed())) }
}

/// The values of a row, zeros after its end.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn load<const W: usize>(row: &[f32], masks: [__mmask16; W]) -> [__m512; W] {
    let start = row.as_ptr();
    // SAFETY: a mask has a lane for each value of the row and no more: nothing else is read.
    std::array::from_fn(|w| unsafe { _mm512_maskz_loadu_ps(masks[w], start.wrapping_add(w * LANES)) })
}

#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn store<const W: usize>(sums: [__m512; W], relu: bool, masks: [__mmask16; W], row: &mut [f32]) {
    let start = row.as_mut_ptr();
    let zero = _mm512_setzero_ps();
    for w in 0..W {
        // Zero first: so the maximum with what is not a number is not a number.
        let sum = if relu { _mm512_max_ps(zero, sums[w]) } else { sums[w] };
        // SAFETY: a mask has a lane for each value of the row and no more: nothing else is written.
        unsafe { _mm512_mask_storeu_ps(start.wrapping_add(w * LANES), masks[w], sum) };
    }
}
