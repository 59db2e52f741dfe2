//! `exp`, `log` and `tanh` of f32 as straight-line code, so that the compiler turns a loop over them into vectors.
//!
//! No branch, no table, no fused multiply-add: every vector width gives the same bits. Errors are below 2 units in the
//! last place (3 for `tanh`); the polynomials are fitted by `bench/polynomials.py`.

/// `1.5 * 2^23`: adding it rounds to the nearest integer, which then stands in the lowest bits.
const ROUND: f32 = 12_582_912.0;
/// ln 2 in two parts; the first has so few digits that its product with an exponent is exact.
const LN2_HIGH: f32 = 0.693_359_4;
const LN2_LOW: f32 = -2.121_944_4e-4;

/// The polynomial with these coefficients, constant first.
#[inline(always)]
fn polynomial<const N: usize>(x: f32, coefficients: [f32; N]) -> f32 {
    let mut sum = coefficients[N - 1];
    for i in (0..N - 1).rev() {
        sum = sum * x + coefficients[i];
    }
    sum
}

/// Either of two numbers, without a branch.
#[inline(always)]
fn select(condition: bool, yes: f32, no: f32) -> f32 {
    if condition { yes } else { no }
}

/// `e^x`, subnormal results included.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    // Beyond these bounds the result is 0 or infinite; a comparison with NaN is false, so NaN goes on.
    let x = select(x > 89.0, 89.0, x);
    let x = select(x < -104.5, -104.5, x);
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = (x - n * LN2_HIGH) - n * LN2_LOW;
    #[expect(clippy::excessive_precision, reason = "as the minimax fit gave them")]
    let p = polynomial(r, [0.499_999_93, 0.166_665_21, 0.041_668_388, 0.008_368_717, 0.001_381_459_8]);
    let e = p * (r * r) + r + 1.0;
    // 2^n in two factors, since n may lie outside the exponents of normal numbers.
    let n = rounded.to_bits() as i32 - ROUND.to_bits() as i32;
    let half = n >> 1;
    e * two_to(half) * two_to(n - half)
}

/// `e^x` for `x <= 0`, exactly 1 at 0, in fewer steps than [`exp`]. Below -87 it stays at `e^-87`, about 1.6e-38.
#[inline(always)]
pub(crate) fn exp_to_one(x: f32) -> f32 {
    // Written so that NaN stays NaN.
    let x = if x < -87.0 { -87.0 } else { x };
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = (x - n * LN2_HIGH) - n * LN2_LOW;
    let p = 1.987_569_1e-4;
    let p = p * r + 1.398_199_9e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 0.5;
    let value = p * r * r + r + 1.0;
    value * two_to(rounded.to_bits().wrapping_sub(ROUND.to_bits()) as i32)
}

#[inline(always)]
fn two_to(n: i32) -> f32 {
    f32::from_bits(((n + 127) << 23) as u32)
}

/// The natural logarithm: of 0 minus infinity, of negative numbers NaN.
#[inline(always)]
pub(crate) fn log(x: f32) -> f32 {
    let subnormal = x < f32::MIN_POSITIVE;
    let scaled = select(subnormal, x * 8_388_608.0, x);
    // x = m 2^n with m from sqrt(1/2) to sqrt(2).
    let bits = (scaled.to_bits() as i32).wrapping_sub(std::f32::consts::FRAC_1_SQRT_2.to_bits() as i32);
    let n = (bits >> 23) as f32 - select(subnormal, 23.0, 0.0);
    let m = f32::from_bits(((bits & 0x007f_ffff) + std::f32::consts::FRAC_1_SQRT_2.to_bits() as i32) as u32);
    let f = m - 1.0;
    let p = polynomial(
        f,
        [
            0.333_333_3,
            -0.250_008_2,
            0.200_012_27,
            -0.166_233_57,
            0.142_017_58,
            -0.131_601_82,
            0.127_615_77,
            -0.076_344_96,
        ],
    );
    let square = f * f;
    let tail = f * square * p + n * LN2_LOW - 0.5 * square;
    let result = n * LN2_HIGH + (f + tail);
    let result = select(x == f32::INFINITY, x, result);
    let result = select(x == 0.0, f32::NEG_INFINITY, result);
    // Also true of NaN.
    select(x < 0.0 || x.is_nan(), f32::NAN, result)
}

/// The natural logarithm of `1 + x`, with all digits where x is small.
#[inline(always)]
pub(crate) fn log_1p(x: f32) -> f32 {
    let sum = 1.0 + x;
    // What the sum lost of x, to first order.
    let rest = x - (sum - 1.0);
    log(sum) + rest / sum
}

/// The hyperbolic tangent.
#[inline(always)]
pub(crate) fn tanh(x: f32) -> f32 {
    let size = x.abs();
    let square = x * x;
    let near = x + x
        * square
        * polynomial(square, [-0.333_332_76, 0.133_312_74, -0.053_725_127, 0.020_589_826, -0.005_648_316]);
    let far = (1.0 - 2.0 / (exp(2.0 * size) + 1.0)).copysign(x);
    select(size < 0.6, near, far)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest error in units in the last place, over about a million numbers spread evenly over the bits.
    fn worst(f: fn(f32) -> f32, truth: fn(f64) -> f64) -> (f64, f32) {
        let mut worst = (0.0, 0.0);
        for bits in (0..=u32::MAX).step_by(3_571) {
            let x = f32::from_bits(bits);
            let (is, should) = (f(x), truth(f64::from(x)));
            if should.is_nan() || (should as f32).is_infinite() {
                assert!(
                    is.is_nan() == should.is_nan() && (is.is_nan() || is == should as f32),
                    "{x}: {is}, not {should}"
                );
                continue;
            }
            let rounded = should as f32;
            let unit = f64::from(f32::from_bits((rounded.abs().to_bits()).max(f32::MIN_POSITIVE.to_bits()) + 1))
                - f64::from(f32::from_bits(rounded.abs().to_bits().max(f32::MIN_POSITIVE.to_bits())));
            let error = (f64::from(is) - should).abs() / unit;
            if error.is_nan() || error > worst.0 {
                worst = (error, x);
            }
        }
        worst
    }

    #[test]
    fn exp_to_one_is_close_everywhere_and_exact_at_0() {
        assert_eq!(exp_to_one(0.0), 1.0);
        assert!(exp_to_one(f32::NAN).is_nan());
        for step in 0..=870_000 {
            let x = -(step as f32) * 1e-4;
            let (is, should) = (exp_to_one(x), f64::from(x).exp());
            assert!((f64::from(is) / should - 1.0).abs() < 2.4e-7, "{x}: {is}, not {should}");
        }
    }

    #[test]
    fn errors_are_a_few_units_in_the_last_place() {
        for (name, f, truth, most) in [
            ("exp", exp as fn(f32) -> f32, f64::exp as fn(f64) -> f64, 2.0),
            ("log", log, f64::ln, 2.0),
            ("tanh", tanh, f64::tanh, 3.0),
        ] {
            let (error, at) = worst(f, truth);
            assert!(error <= most, "{name}: {error} units at {at}");
        }
    }

    #[test]
    fn log_1p_keeps_the_digits_of_small_numbers() {
        for exponent in -300..=300 {
            for sign in [1.0, -1.0] {
                let x = sign * 1.1f32.powi(exponent);
                if x > -0.75 {
                    let (is, should) = (f64::from(log_1p(x)), f64::from(x).ln_1p());
                    assert!((is - should).abs() <= 3e-7 * should.abs(), "{x}: {is}, not {should}");
                }
            }
        }
        assert!(log_1p(f32::NAN).is_nan() && log_1p(0.0) == 0.0);
    }

    #[test]
    fn exact_where_it_matters() {
        assert_eq!((exp(0.0), log(1.0), tanh(0.0)), (1.0, 0.0, 0.0));
        assert_eq!((exp(f32::NEG_INFINITY), exp(f32::INFINITY), log(0.0)), (0.0, f32::INFINITY, f32::NEG_INFINITY));
        assert!(exp(f32::NAN).is_nan() && log(f32::NAN).is_nan() && log(-1.0).is_nan() && tanh(f32::NAN).is_nan());
        assert_eq!((tanh(100.0), tanh(f32::NEG_INFINITY)), (1.0, -1.0));
    }
}
