//! Dropout: each value is kept with probability `1 - p` and then divided by it, so that nothing is to be done at test time.

use rand::Rng;

use lossmith::simd::widest;

/// Fills a mask with 0 (probability `p`) and `1 / (1 - p)`.
pub fn fill_mask(rng: &mut impl Rng, p: f32, mask: &mut [f32]) {
    let keep = 1.0 / (1.0 - p);
    // The chance is resolved to 1/65536: two decisions per 32 random bits.
    let dropped = (p * 65_536.0) as u32;
    for pair in mask.chunks_mut(2) {
        let bits = rng.next_u32();
        for (value, bits) in pair.iter_mut().zip([bits & 0xffff, bits >> 16]) {
            *value = if bits < dropped { 0.0 } else { keep };
        }
    }
}

/// `values *= mask`: forward on the outputs, backward on their gradient.
pub fn apply(values: &mut [f32], mask: &[f32]) {
    widest(
        #[inline(always)]
        || values.iter_mut().zip(mask).for_each(|(v, m)| *v *= m),
    );
}
