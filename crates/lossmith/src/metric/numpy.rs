//! Sums in the order in which numpy adds, so that means agree with the Python programs to the last bit.

/// The sum as `numpy.sum` of a contiguous f64 array takes it: pairwise, in blocks of 128, eight sums at a time.
pub fn sum(values: &[f64]) -> f64 {
    let n = values.len();
    if n < 8 {
        return values.iter().fold(0.0, |s, v| s + v);
    }
    if n > 128 {
        let half = n / 2 - n / 2 % 8;
        return sum(&values[..half]) + sum(&values[half..]);
    }
    let (eights, rest) = values.as_chunks::<8>();
    let mut r = eights[0];
    for eight in &eights[1..] {
        for (r, v) in r.iter_mut().zip(eight) {
            *r += v;
        }
    }
    let all = ((r[0] + r[1]) + (r[2] + r[3])) + ((r[4] + r[5]) + (r[6] + r[7]));
    rest.iter().fold(all, |s, v| s + v)
}

/// The mean as `numpy.mean` takes it; NaN of nothing.
pub fn mean(values: &[f64]) -> f64 {
    sum(values) / values.len() as f64
}

/// The population standard deviation as `numpy.std` takes it.
pub fn std(values: &[f64]) -> f64 {
    let mean = mean(values);
    let squares: Vec<f64> = values.iter().map(|v| (v - mean) * (v - mean)).collect();
    self::mean(&squares).sqrt()
}
