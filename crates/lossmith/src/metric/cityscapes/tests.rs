use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Fixture {
    overlaps: [f64; OVERLAPS],
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    images: Vec<Image>,
    ap: Vec<[Option<f64>; OVERLAPS]>,
    mean_ap: f64,
    mean_ap50: f64,
}

#[derive(Deserialize)]
struct Image {
    truth: Runs,
    predictions: Vec<Prediction>,
}

#[derive(Deserialize)]
struct Prediction {
    mask: Runs,
    class: u32,
    confidence: f64,
}

/// Value and length of each run.
type Runs = Vec<(u32, usize)>;

fn pixels(runs: &Runs) -> Vec<u32> {
    runs.iter().flat_map(|(value, length)| std::iter::repeat_n(*value, *length)).collect()
}

fn add(all: &mut Cityscapes, image: &Image) {
    let masks: Vec<Vec<u8>> =
        image.predictions.iter().map(|p| pixels(&p.mask).iter().map(|v| *v as u8).collect()).collect();
    let predictions: Vec<PredictedInstance<'_>> = image
        .predictions
        .iter()
        .zip(&masks)
        .map(|(p, mask)| PredictedInstance { mask, class: p.class, confidence: p.confidence })
        .collect();
    all.add(&pixels(&image.truth), &predictions).unwrap();
}

#[test]
fn agrees_with_cityscapes_scripts() {
    let f: Fixture = serde_json::from_str(include_str!("../../../tests/fixtures/cityscapes.json")).unwrap();
    assert_eq!(overlaps(), f.overlaps);
    for case in &f.cases {
        let mut all = Cityscapes::new();
        case.images.iter().for_each(|image| add(&mut all, image));
        let report = all.report();
        for ((ours, theirs), (_, class)) in report.ap.iter().zip(&case.ap).zip(CLASSES) {
            for (ours, theirs) in ours.iter().zip(theirs) {
                // The program's dot product is BLAS's, whose order of summation depends on the processor.
                let same = theirs.map_or(ours.is_nan(), |t| (ours - t).abs() <= 2.0 * f64::EPSILON);
                assert!(same, "{class}: {ours} {theirs:?}");
            }
        }
        assert!((report.mean_ap - case.mean_ap).abs() <= 2.0 * f64::EPSILON);
        assert!((report.mean_ap50 - case.mean_ap50).abs() <= 2.0 * f64::EPSILON);
    }
}

/// One instance of a car of 200 pixels, and its prediction.
fn car(confidence: f64) -> Cityscapes {
    let truth = [vec![26_000; 200], vec![7; 300]].concat();
    let mask = [vec![1; 200], vec![0; 300]].concat();
    let mut all = Cityscapes::new();
    all.add(&truth, &[PredictedInstance { mask: &mask, class: 26, confidence }]).unwrap();
    all
}

#[test]
fn with_one_confidence_the_ap_is_half_of_recall_times_one_plus_precision() {
    let report = car(1.0).report();
    assert_eq!((report.mean_ap, report.mean_ap50, report.class_ap(2)), (1.0, 1.0, 1.0));
    assert!(report.class_ap(0).is_nan());
    // A second car that is missed, and a false positive: precision and recall 1/2.
    let mut all = car(1.0);
    let mask = [vec![0; 200], vec![1; 300]].concat();
    all.add(
        &[vec![26_000; 200], vec![7; 300]].concat(),
        &[PredictedInstance { mask: &mask, class: 26, confidence: 1.0 }],
    )
    .unwrap();
    assert_eq!(all.report().mean_ap50, 0.5 * 1.5 / 2.0);
}

#[test]
fn nothing_predicted_is_zero_and_nothing_true_is_no_number() {
    let mut all = Cityscapes::new();
    assert!(all.report().mean_ap.is_nan());
    all.add(&[24_001; 150], &[]).unwrap();
    assert_eq!(all.report().mean_ap, 0.0);
}

#[test]
fn bad_images_are_named_and_add_nothing() {
    let mut all = car(0.5);
    let before = all.report().mean_ap;
    let p = |mask, class, confidence| PredictedInstance { mask, class, confidence };
    for (truth, predictions, message) in [
        ([26_000; 2], vec![p(&[1], 26, 1.0)], "mask 0 has 1 pixels, the truth 2"),
        ([26_000; 2], vec![p(&[1, 1], 99, 1.0)], "prediction 0 has class 99"),
        ([65_535; 2], vec![p(&[1, 1], 26, 1.0)], "true value 65535 has class 65"),
        ([26_000; 2], vec![p(&[1, 1], 26, f64::NAN)], "confidence NaN"),
    ] {
        let error = all.add(&truth, &predictions).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
    assert_eq!(all.report().mean_ap, before);
}
