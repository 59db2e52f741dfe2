//! From f32 to bf16: rounding, and pairing into words.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    __m512, __m512bh, __m512i, _mm512_cvtne2ps_pbh, _mm512_loadu_epi16, _mm512_permutexvar_epi16, _mm512_shuffle_i32x4,
    _mm512_unpackhi_epi32, _mm512_unpackhi_epi64, _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
};

#[cfg(target_arch = "x86_64")]
use super::product::LANES;

/// The nearest bf16, of two equally near ones the even one. As the instructions do it: a magnitude below the normal
/// numbers becomes zero of its sign, one beyond the largest infinity, and what is not a number stays so.
pub fn round(value: f32) -> u16 {
    let bits = value.to_bits();
    let upper = (bits >> 16) as u16;
    if value.is_nan() {
        return upper | 0x40;
    }
    if value.abs() < f32::MIN_POSITIVE {
        return upper & 0x8000;
    }
    ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16
}

/// The f32 of the same value.
pub fn widen(half: u16) -> f32 {
    f32::from_bits(u32::from(half) << 16)
}

fn word(even: f32, odd: f32) -> u32 {
    u32::from(round(even)) | u32::from(round(odd)) << 16
}

/// Whether this processor rounds by AVX512-BF16.
#[cfg(target_arch = "x86_64")]
pub(super) fn in_hardware() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512bf16")
}

/// Words of consecutive values, for each of some lines: `values[start..start + depth]` to the next `pitch` words, filled up
/// with zeros.
pub(super) fn along(values: &[f32], starts: &[usize], depth: usize, words: &mut [u32], pitch: usize) {
    #[cfg(target_arch = "x86_64")]
    if in_hardware() {
        // SAFETY: the processor has the features that the function is compiled for.
        return unsafe { along_x86(values, starts, depth, words, pitch) };
    }
    for (&start, words) in starts.iter().zip(words.chunks_exact_mut(pitch)) {
        along_line(&values[start..start + depth], words);
    }
}

fn along_line(values: &[f32], words: &mut [u32]) {
    let (pairs, last) = values.as_chunks::<2>();
    let (full, rest) = words.split_at_mut(pairs.len());
    full.iter_mut().zip(pairs).for_each(|(w, [even, odd])| *w = word(*even, *odd));
    rest.fill(0);
    if let ([first, ..], [value]) = (rest, last) {
        *first = word(*value, 0.0);
    }
}

/// Words of two lines of values, one below the other: pair `p` of lines, from `starts[2 p]` and `starts[2 p + 1]`, to the words from
/// `p pitch` on. Zeros after `count` values, and for a line that is missing.
pub(super) fn across(values: &[f32], starts: &[usize], count: usize, words: &mut [u32], pitch: usize, width: usize) {
    #[cfg(target_arch = "x86_64")]
    if in_hardware() {
        // SAFETY: the processor has the features that the function is compiled for.
        return unsafe { across_x86(values, starts, count, words, pitch, width) };
    }
    for (pair, words) in starts.chunks(2).zip(words.chunks_mut(pitch)) {
        let (even, odd) = lines(values, pair, count);
        across_line(even, odd, &mut words[..width]);
    }
}

/// A line and the one below it, which is empty if there is none.
#[inline]
fn lines<'a>(values: &'a [f32], pair: &[usize], count: usize) -> (&'a [f32], &'a [f32]) {
    let line = |start: &usize| &values[*start..*start + count];
    (line(&pair[0]), pair.get(1).map(line).unwrap_or_default())
}

fn across_line(even: &[f32], odd: &[f32], words: &mut [u32]) {
    for (i, w) in words.iter_mut().enumerate() {
        let at = |line: &[f32]| line.get(i).copied().unwrap_or(0.0);
        *w = word(at(even), at(odd));
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn along_x86(values: &[f32], starts: &[usize], depth: usize, words: &mut [u32], pitch: usize) {
    for (&start, words) in starts.iter().zip(words.chunks_exact_mut(pitch)) {
        let values = &values[start..start + depth];
        let (blocks, rest) = values.as_chunks::<{ 2 * LANES }>();
        let (full, last) = words.split_at_mut(blocks.len() * LANES);
        for (block, words) in blocks.iter().zip(full.as_chunks_mut::<LANES>().0) {
            // SAFETY: arrays of 32 f32, of two registers and of the 32 halves of 16 words have the same size, and any bits are valid.
            unsafe {
                let [low, high] = std::mem::transmute::<[f32; 2 * LANES], [__m512; 2]>(*block);
                *words = std::mem::transmute::<__m512bh, [u32; LANES]>(_mm512_cvtne2ps_pbh(high, low));
            }
        }
        if !last.is_empty() {
            along_line(rest, last);
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn across_x86(values: &[f32], starts: &[usize], count: usize, words: &mut [u32], pitch: usize, width: usize) {
    const ORDER: [u16; 2 * LANES] = {
        let mut order = [0; 2 * LANES];
        let mut i = 0;
        while i < LANES {
            order[2 * i] = i as u16;
            order[2 * i + 1] = (LANES + i) as u16;
            i += 1;
        }
        order
    };
    // SAFETY: the array is as large as the register.
    let order = unsafe { _mm512_loadu_epi16(ORDER.as_ptr().cast()) };
    let zeros = [0.0; LANES];
    for (pair, words) in starts.chunks(2).zip(words.chunks_mut(pitch)) {
        let (even, odd) = lines(values, pair, count);
        let (blocks, rest) = even.as_chunks::<LANES>();
        let (full, last) = words[..width].split_at_mut(blocks.len() * LANES);
        let below = odd.as_chunks::<LANES>().0;
        for (i, words) in full.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
            // SAFETY: arrays of 16 f32 and of 16 words are as large as a register, and any bits are valid.
            unsafe {
                let low = std::mem::transmute::<[f32; LANES], __m512>(blocks[i]);
                let high = std::mem::transmute::<[f32; LANES], __m512>(*below.get(i).unwrap_or(&zeros));
                let halves = std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low));
                *words = std::mem::transmute::<__m512i, [u32; LANES]>(_mm512_permutexvar_epi16(order, halves));
            }
        }
        if !last.is_empty() {
            across_line(rest, odd.get(blocks.len() * LANES..).unwrap_or_default(), last);
        }
    }
}

/// Exchanges lines and words: word `i` of line `j` to word `j` of line `i`, for `lines` x `count` of the result, multiples of 16.
pub(super) fn turn(from: &[u32], from_pitch: usize, to: &mut [u32], to_pitch: usize, lines: usize, count: usize) {
    #[cfg(target_arch = "x86_64")]
    if in_hardware() {
        // SAFETY: the processor has the features that the function is compiled for.
        return unsafe { turn_x86(from, from_pitch, to, to_pitch, lines, count) };
    }
    for line in 0..lines {
        for (word, at) in to[line * to_pitch..][..count].iter_mut().zip(0..) {
            *word = from[at * from_pitch + line];
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn turn_x86(from: &[u32], from_pitch: usize, to: &mut [u32], to_pitch: usize, lines: usize, count: usize) {
    for line in (0..lines).step_by(LANES) {
        for at in (0..count).step_by(LANES) {
            let mut square = [[0_u32; LANES]; LANES];
            for (i, row) in square.iter_mut().enumerate() {
                row.copy_from_slice(&from[(at + i) * from_pitch + line..][..LANES]);
            }
            for (i, row) in turned(square).iter().enumerate() {
                to[(line + i) * to_pitch + at..][..LANES].copy_from_slice(row);
            }
        }
    }
}

/// A square of words, rows and columns exchanged: first inside quarters of registers, then between them.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512f")]
fn turned(square: [[u32; LANES]; LANES]) -> [[u32; LANES]; LANES] {
    // SAFETY: 16 words are as large as a register, and any bits are valid.
    let rows = unsafe { std::mem::transmute::<[[u32; LANES]; LANES], [__m512i; LANES]>(square) };
    let mut quads = rows;
    for i in (0..LANES).step_by(4) {
        let (low, high) = (_mm512_unpacklo_epi32(rows[i], rows[i + 1]), _mm512_unpackhi_epi32(rows[i], rows[i + 1]));
        let (low2, high2) =
            (_mm512_unpacklo_epi32(rows[i + 2], rows[i + 3]), _mm512_unpackhi_epi32(rows[i + 2], rows[i + 3]));
        quads[i] = _mm512_unpacklo_epi64(low, low2);
        quads[i + 1] = _mm512_unpackhi_epi64(low, low2);
        quads[i + 2] = _mm512_unpacklo_epi64(high, high2);
        quads[i + 3] = _mm512_unpackhi_epi64(high, high2);
    }
    let mut result = quads;
    for i in 0..4 {
        let [a, b, c, d] = [quads[i], quads[i + 4], quads[i + 8], quads[i + 12]];
        let (even, odd) = (_mm512_shuffle_i32x4::<0x88>(a, b), _mm512_shuffle_i32x4::<0xdd>(a, b));
        let (even2, odd2) = (_mm512_shuffle_i32x4::<0x88>(c, d), _mm512_shuffle_i32x4::<0xdd>(c, d));
        result[i] = _mm512_shuffle_i32x4::<0x88>(even, even2);
        result[i + 4] = _mm512_shuffle_i32x4::<0x88>(odd, odd2);
        result[i + 8] = _mm512_shuffle_i32x4::<0xdd>(even, even2);
        result[i + 12] = _mm512_shuffle_i32x4::<0xdd>(odd, odd2);
    }
    // SAFETY: as above.
    unsafe { std::mem::transmute::<[__m512i; LANES], [[u32; LANES]; LANES]>(result) }
}
