//! `lossmith::stats` against scipy; `fixtures/stats.py` made the figures.

#![allow(clippy::unwrap_used)]

use lossmith::stats::{StatsError, Verdict, effect_size, holm, mean, paired_t, sd, spearman, welch_t, wilcoxon};
use serde_json::Value;

fn fixture() -> Value {
    serde_json::from_str(include_str!("fixtures/stats.json")).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

#[track_caller]
fn close(found: f64, expected: &Value, what: &str) {
    let expected = expected.as_f64().unwrap();
    let error = (found - expected).abs() / expected.abs().max(1e-300);
    assert!(error < 1e-9, "{what}: {found}, scipy {expected}, relative error {error:e}");
}

#[test]
fn values_are_those_of_scipy() {
    let fixture = fixture();
    for case in fixture["cases"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let (a, b) = (numbers(&case["a"]), numbers(&case["b"]));
        let paired = paired_t(&a, &b, 0.95).unwrap();
        let wide = paired_t(&a, &b, 0.99).unwrap();
        let welch = welch_t(&a, &b, 0.95).unwrap();
        close(mean(&a).unwrap(), &case["mean"], name);
        close(sd(&a).unwrap(), &case["sd"], name);
        close(paired.difference, &case["difference"], name);
        close(paired.p, &case["paired_p"], name);
        close(welch.p, &case["welch_p"], name);
        close(welch.freedom, &case["welch_freedom"], name);
        for side in 0..2 {
            close(paired.interval.unwrap()[side], &case["paired_ci95"][side], name);
            close(wide.interval.unwrap()[side], &case["paired_ci99"][side], name);
            close(welch.interval.unwrap()[side], &case["welch_ci95"][side], name);
        }
        close(wilcoxon(&a, &b).unwrap(), &case["wilcoxon_p"], name);
        close(effect_size(&a, &b).unwrap().unwrap(), &case["effect_size"], name);
        close(spearman(&a, &b).unwrap().unwrap(), &case["spearman"], name);
    }
    let corrected = holm(&numbers(&fixture["holm"]["p"]));
    assert_eq!(corrected, numbers(&fixture["holm"]["corrected"]));
}

/// GLO's own test on published figures: BaikalCMA 0.9947 and cross-entropy 0.9899, both with sd 0.0003, ten networks each
/// (as TaylorGLO, arXiv 2002.00059, reports them).
#[test]
fn published_accuracies_are_far_apart() {
    let around = |m: f64, s: f64| -> Vec<f64> { (0..10).map(|i| m + s * (f64::from(i) - 4.5) / 3.0277).collect() };
    let p = welch_t(&around(0.9947, 0.0003), &around(0.9899, 0.0003), 0.95).unwrap().p;
    assert!(p < 1e-15 && p > 0.0, "{p}");
}

#[test]
fn what_has_no_answer_is_said_so() {
    let one = paired_t(&[1.0], &[0.0], 0.95).unwrap();
    assert_eq!((one.difference, one.interval, one.p), (1.0, None, 1.0));
    assert_eq!(paired_t(&[], &[], 0.95).unwrap().p, 1.0);
    assert_eq!(welch_t(&[1.0], &[0.0, 2.0], 0.95).unwrap().p, 1.0);

    let same = paired_t(&[1.0, 2.0, 3.0], &[1.0, 2.0, 3.0], 0.95).unwrap();
    assert_eq!((same.difference, same.interval, same.p), (0.0, Some([0.0; 2]), 1.0));
    assert_eq!(wilcoxon(&[1.0, 2.0], &[1.0, 2.0]), Ok(1.0));
    assert_eq!(effect_size(&[1.0, 2.0], &[1.0, 2.0]), Ok(Some(0.0)));

    // Equal differences but for rounding: 0.3 - 0.2 is not 0.2 - 0.1 in binary.
    let shifted = paired_t(&[0.2, 0.3, 0.4], &[0.1, 0.2, 0.3], 0.95).unwrap();
    assert_eq!(shifted.p, 0.0);
    assert_eq!(effect_size(&[0.2, 0.3, 0.4], &[0.1, 0.2, 0.3]), Ok(None));

    assert_eq!((mean(&[]), sd(&[1.0]), spearman(&[1.0, 1.0], &[1.0, 2.0])), (None, None, Ok(None)));
    assert_eq!(holm(&[]), Vec::<f64>::new());

    assert_eq!(wilcoxon(&[1.0], &[]), Err(StatsError::Unpaired { a: 1, b: 0 }));
    let not_finite = paired_t(&[1.0, f64::NAN], &[1.0, 1.0], 0.95).unwrap_err();
    assert_eq!(not_finite.to_string(), "value 1 of the first list is not finite");
    assert!(paired_t(&[f64::MAX, 0.0], &[f64::MIN, 0.0], 0.95).is_err());
}

#[test]
fn the_verdict_names_the_winner_or_nobody() {
    let base: Vec<f64> = (0..10).map(|i| 0.95 + 0.001 * f64::from(i)).collect();
    let wobble = |by: f64| base.iter().enumerate().map(|(i, v)| v + by + 0.0004 * (i % 3) as f64).collect::<Vec<_>>();
    let verdict = |names: &[&str], lists: &[Vec<f64>]| Verdict::new(names, lists, 0.01).unwrap();

    let two = verdict(&["cross-entropy", "baikal"], &[base.clone(), wobble(0.01)]);
    assert_eq!(two.winner.as_deref(), Some("baikal"));
    assert!(
        two.verdict.starts_with("baikal wins against cross-entropy: +0.01036, 95 % interval 0.01"),
        "{}",
        two.verdict
    );
    assert!(two.pairs[0].difference < 0.0 && two.pairs[0].p_holm == two.pairs[0].p);

    let three = verdict(&["a", "b", "c"], &[base.clone(), wobble(0.01), wobble(0.02)]);
    assert_eq!((three.pairs.len(), three.winner.as_deref()), (3, Some("c")));
    assert!(three.verdict.contains("all 2 others, most narrowly b"), "{}", three.verdict);
    assert!(three.pairs.iter().all(|c| c.p_holm >= c.p));

    let noisy: Vec<f64> = base.iter().enumerate().map(|(i, v)| if i % 2 == 0 { v + 0.02 } else { v - 0.019 }).collect();
    let nobody = verdict(&["a", "b"], &[base.clone(), noisy]);
    assert_eq!(nobody.winner, None);
    assert!(nobody.verdict.starts_with("nobody wins at the level 0.01: b has the highest mean"), "{}", nobody.verdict);

    assert_eq!(verdict(&["a", "b"], &[vec![1.0], vec![2.0]]).winner, None);
    // A metric at its ceiling, or equal by chance: nobody has a highest mean, and no difference is -0.
    for (lists, said) in [
        (
            [vec![1.0; 10], vec![1.0; 10], vec![1.0; 10]],
            "nobody wins: all have 1 every time, so these data cannot tell them apart",
        ),
        (
            [base.clone(), base.clone(), base.clone()],
            "nobody wins: all have the same value in every pair, so these data cannot tell them apart",
        ),
    ] {
        let same = verdict(&["a", "b", "c"], &lists);
        assert_eq!((same.winner, same.verdict.as_str()), (None, said));
        assert!(same.pairs.iter().all(|c| c.difference.is_sign_positive()));
    }
    let tied = verdict(&["a", "b", "c"], &[vec![0.5, 0.25, 0.5], vec![1.0, 0.75, 1.0], vec![0.75, 1.0, 1.0]]);
    assert!(tied.verdict.contains("b and c have the same, highest mean: +0.00000, 95 % interval"), "{}", tied.verdict);
    assert!(Verdict::new(&["a"], std::slice::from_ref(&base), 0.01).is_err());
    let error = Verdict::new(&["a", "b"], &[base, vec![f64::INFINITY; 10]], 0.01).unwrap_err().to_string();
    assert_eq!(error, "value 0 of b is not finite");
}
