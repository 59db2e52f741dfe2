//! All-point interpolated average precision, with sentinels, as in Pascal VOC since 2010.

/// A detection, judged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Judged {
    pub score: f64,
    pub predicate: u32,
    pub right: bool,
}

/// The average precision of the judged detections against `positives` true ones. Equal scores keep their order. `slack` is added to
/// `positives` where recall is computed (RelDN's evaluator adds 1e-12). 0 where there are no detections or no true ones.
pub(super) fn average_precision<'a>(judged: impl Iterator<Item = &'a Judged>, positives: usize, slack: f64) -> f64 {
    let mut order: Vec<(f64, bool)> = judged.map(|j| (j.score, j.right)).collect();
    if order.is_empty() || positives == 0 {
        return 0.0;
    }
    order.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (mut right, mut curve) = (0.0, Vec::with_capacity(order.len() + 2));
    curve.push((0.0, 0.0));
    for (rank, (_, is_right)) in order.iter().enumerate() {
        right += f64::from(u8::from(*is_right));
        curve.push((right / (positives as f64 + slack), right / (rank + 1) as f64));
    }
    curve.push((1.0, 0.0));
    for i in (1..curve.len()).rev() {
        curve[i - 1].1 = curve[i - 1].1.max(curve[i].1);
    }
    curve.windows(2).filter(|w| w[0].0 != w[1].0).map(|w| (w[1].0 - w[0].0) * w[1].1).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let ap = |judged: &[(f64, bool)], positives| {
            let judged: Vec<Judged> =
                judged.iter().map(|&(score, right)| Judged { score, predicate: 1, right }).collect();
            average_precision(judged.iter(), positives, 0.0)
        };
        let judged = [(0.9, true), (0.8, false), (0.7, true)];
        assert_eq!(ap(&judged, 2), 0.5 + 0.5 * (2.0 / 3.0));
        assert_eq!(ap(&judged, 4), 0.25 + 0.25 * (2.0 / 3.0));
        assert_eq!(ap(&[], 4), 0.0);
        assert_eq!(ap(&judged, 0), 0.0);
        // Equal scores keep their order.
        assert_eq!(ap(&[(0.5, true), (0.5, false)], 1), 1.0);
        assert_eq!(ap(&[(0.5, false), (0.5, true)], 1), 0.5);
    }
}
