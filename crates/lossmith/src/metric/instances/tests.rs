use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Fixture {
    images: Vec<Image>,
    summary: BTreeMap<String, (f64, f64)>,
    long: Long,
}

#[derive(Deserialize)]
struct Image {
    truth: Vec<u32>,
    prediction: Vec<u32>,
    corrected: BTreeMap<String, f64>,
    lsc: Option<BTreeMap<String, f64>>,
}

#[derive(Deserialize)]
struct Long {
    values: Vec<f64>,
    mean: f64,
    std: f64,
}

fn by_name(s: &Scores, name: &str) -> f64 {
    match name {
        "sbd" => s.sbd,
        "best_dice" => s.best_dice,
        "fg_dice" => s.fg_dice,
        "dic" => s.dic,
        "f1_50" => s.f1_50,
        "ap_dsb" => s.ap_dsb,
        "pq" => s.pq,
        "aji" => s.aji,
        other => panic!("no score {other}"),
    }
}

#[test]
fn agrees_with_the_numpy_programs_to_the_last_bit() {
    let f: Fixture = serde_json::from_str(include_str!("../../../tests/fixtures/instances.json")).unwrap();
    let mut all = Vec::new();
    for (at, image) in f.images.iter().enumerate() {
        let overlaps = Overlaps::between(&image.truth, &image.prediction).unwrap();
        let corrected = overlaps.scores(Mode::Corrected);
        for (name, expected) in &image.corrected {
            assert_eq!(by_name(&corrected, name), *expected, "image {at}, corrected {name}");
        }
        for (name, expected) in image.lsc.iter().flatten() {
            assert_eq!(by_name(&overlaps.scores(Mode::Lsc), name), *expected, "image {at}, lsc {name}");
        }
        all.push(corrected);
    }
    let summary = Summary::of(&all).unwrap();
    for (name, (mean, std)) in &f.summary {
        assert_eq!((by_name(&summary.mean, name), by_name(&summary.std, name)), (*mean, *std), "{name}");
    }
    assert_eq!((numpy::mean(&f.long.values), numpy::std(&f.long.values)), (f.long.mean, f.long.std));
}

#[test]
fn an_iou_of_one_half_is_no_match() {
    // Three pixels in common of six.
    let overlaps = Overlaps::between(&[1, 1, 1, 1, 1, 0, 0], &[0, 0, 9, 9, 9, 9, 0]).unwrap();
    let found = overlaps.matching(0.5).unwrap();
    assert_eq!((found.true_positives, found.false_positives, found.false_negatives), (0, 1, 1));
    assert_eq!(overlaps.matching(0.3), None);
    assert_eq!(overlaps.matching(1.0), None);
    let error = Overlaps::between(&[1], &[]).unwrap_err().to_string();
    assert_eq!(error, "the true labels have 1 pixels, the predicted ones 0; they must be of one size");
}

#[test]
fn both_wordings_of_the_absolute_difference() {
    let image = |p: &[u32]| Overlaps::between(&[1, 1, 2, 2], p).unwrap().scores(Mode::Corrected);
    let summary = Summary::of(&[image(&[1, 1, 1, 1]), image(&[1, 2, 3, 3]), image(&[1, 2, 3, 3])]).unwrap();
    assert_eq!((summary.mean.abs_dic, summary.abs_mean_dic), (1.0, 1.0 / 3.0));
    assert_eq!((summary.exact_counts, summary.squared_dic), (0.0, 1.0));
    assert_eq!(Summary::of(&[]), None);
}

proptest! {
    #[test]
    fn scores_are_bounded_and_a_perfect_prediction_scores_one(
        truth in prop::collection::vec(0u32..5, 1..80),
        seed in 0u32..1000,
    ) {
        let prediction: Vec<u32> = truth.iter().zip(0u32..).map(|(t, i)| if (i * 7 + seed) % 3 == 0 { i % 4 } else { *t }).collect();
        let s = Overlaps::between(&truth, &prediction).unwrap().scores(Mode::Corrected);
        for v in [s.sbd, s.best_dice, s.fg_dice, s.f1_50, s.ap_dsb, s.pq, s.aji] {
            prop_assert!((0.0..=1.0).contains(&v));
        }
        // Other ids for the same instances change nothing.
        let renamed: Vec<u32> = truth.iter().map(|t| if *t == 0 { 0 } else { 70_000 - t }).collect();
        let s = Overlaps::between(&truth, &renamed).unwrap().scores(Mode::Corrected);
        prop_assert_eq!([s.sbd, s.best_dice, s.fg_dice, s.f1_50, s.ap_dsb, s.pq, s.aji], [1.0; 7]);
    }
}
