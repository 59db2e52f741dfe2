//! What is read off a row of logits: log-probabilities and the class answered.

/// `log(softmax(logits))` of each row of `classes` values, stable for any finite logit.
pub fn log_softmax(logits: &[f32], classes: usize, output: &mut [f32]) {
    for (row, out) in logits.chunks_exact(classes).zip(output.chunks_exact_mut(classes)) {
        let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let above = |z: f32| f64::from(z) - f64::from(most);
        // One largest logit stands for the 1 of log1p: so nothing is lost where one probability is nearly 1.
        let first = row.iter().position(|z| *z == most);
        let others = row.iter().enumerate().filter(|(class, _)| Some(*class) != first);
        let log = others.map(|(_, z)| above(*z).exp()).sum::<f64>().ln_1p();
        out.iter_mut().zip(row).for_each(|(o, z)| *o = (above(*z) - log) as f32);
    }
}

/// The first class with the greatest logit; `None` if a logit is not a number.
pub fn answer(logits: &[f32]) -> Option<usize> {
    let mut best = 0;
    for (class, z) in logits.iter().enumerate() {
        if z.is_nan() {
            return None;
        }
        if *z > logits[best] {
            best = class;
        }
    }
    (!logits.is_empty()).then_some(best)
}

/// How many rows of logits have their greatest value at the label.
pub fn correct(logits: &[f32], labels: &[u32], classes: usize) -> usize {
    logits.chunks_exact(classes).zip(labels).filter(|(row, label)| answer(row) == Some(**label as usize)).count()
}
