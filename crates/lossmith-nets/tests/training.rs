//! Training in lock-step: it learns, and a candidate's course depends on nothing but itself.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::sync::OnceLock;

use lossmith_nets::{
    Augment, BatchLoss, Candidate, Control, Data, Dataset, End, Event, Layer, NetsError, Outcome, Penalty, Precision,
    Recipe, Shape, preset, train,
};
use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};

const SHAPE: Shape = Shape { height: 12, width: 12, channels: 1 };

/// Noisy images with a bright block in one of four corners, which is the class.
fn corners(seed: u64, count: usize) -> Dataset {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let labels: Vec<u8> = (0..count).map(|_| rng.random_range(0..4)).collect();
    let mut pixels = Vec::new();
    for label in &labels {
        let (top, left) = (usize::from(label / 2) * 7, usize::from(label % 2) * 7);
        for at in 0..144 {
            let (y, x) = (at / 12, at % 12);
            let bright = (top..top + 5).contains(&y) && (left..left + 5).contains(&x);
            pixels.push(rng.random_range(0..180) + if bright { 60 } else { 0 });
        }
    }
    Dataset::new(SHAPE, 4, &pixels, &labels, &[(0.4, 0.2)]).unwrap()
}

fn data() -> Data<'static> {
    static PARTS: OnceLock<[Dataset; 3]> = OnceLock::new();
    let [train, validation, test] = PARTS.get_or_init(|| [corners(1, 500), corners(2, 300), corners(3, 300)]);
    Data { train, validation, test: Some(test) }
}

fn small() -> Vec<Layer> {
    vec![
        Layer::Conv { out: 4, kernel: 3, stride: 1, pad: 1 },
        Layer::Relu,
        Layer::MaxPool { kernel: 2, stride: 2 },
        Layer::Dense { out: 16 },
        Layer::Relu,
        Layer::Dropout { p: 0.25 },
    ]
}

fn recipe() -> Recipe {
    Recipe { steps: 60, batch: 50, rate: 0.1, momentum: 0.5, eval_every: 20, ..Recipe::default() }
}

fn cross_entropy(logits: &[f32], labels: &[u32], classes: usize, gradient: &mut [f32]) -> f64 {
    let mut total = 0.0;
    for ((z, label), g) in logits.chunks(classes).zip(labels).zip(gradient.chunks_mut(classes)) {
        let most = z.iter().copied().fold(f32::MIN, f32::max);
        let sum: f64 = z.iter().map(|z| f64::from(z - most).exp()).sum();
        total += sum.ln() - f64::from(z[*label as usize] - most);
        for (j, (g, z)) in g.iter_mut().zip(z).enumerate() {
            let wanted = f64::from(u8::from(j == *label as usize));
            *g = ((f64::from(z - most).exp() / sum - wanted) / labels.len() as f64) as f32;
        }
    }
    total / labels.len() as f64
}

/// Twice cross-entropy.
fn doubled(logits: &[f32], labels: &[u32], classes: usize, gradient: &mut [f32]) -> f64 {
    let value = cross_entropy(logits, labels, classes, gradient);
    gradient.iter_mut().for_each(|g| *g *= 2.0);
    2.0 * value
}

/// A loss that drives every logit up, faster and faster.
fn runaway(logits: &[f32], _: &[u32], _: usize, gradient: &mut [f32]) -> f64 {
    gradient.iter_mut().zip(logits).for_each(|(g, z)| *g = -100.0 * (1.0 + z.abs()));
    logits.iter().map(|z| -f64::from(*z)).sum()
}

fn on(threads: usize, candidates: &[Candidate<'_>], recipe: &Recipe) -> Vec<Outcome> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| train(&small(), data(), recipe, candidates, &mut |_| Control::Continue)).unwrap()
}

#[test]
fn it_learns() {
    for layers in [small(), preset("mlp").unwrap(), preset("lenet").unwrap()] {
        let candidates = [Candidate::new(&cross_entropy)];
        let outcome = train(&layers, data(), &recipe(), &candidates, &mut |_| Control::Continue).unwrap().remove(0);
        assert_eq!((outcome.end, outcome.steps, outcome.points.len()), (End::Done, 60, 3));
        assert!(outcome.test.unwrap() > 0.9, "{:?}", outcome.points);
        assert!(outcome.points[2].loss < outcome.points[0].loss);
        assert_eq!(outcome.validation, Some(outcome.points[2].accuracy));
    }
}

#[test]
fn a_candidate_depends_neither_on_the_others_nor_on_threads() {
    let wanted = on(1, &[Candidate::new(&cross_entropy)], &recipe()).remove(0);
    let slow = Candidate { rate: Some(0.01), ..Candidate::new(&cross_entropy) };
    let pulled = Candidate { penalty: Some(Penalty::L1(0.01)), ..Candidate::new(&cross_entropy) };
    let crowd = [Candidate::new(&runaway), slow, Candidate::new(&cross_entropy), Candidate::new(&doubled), pulled];
    for threads in [1, 2, 3] {
        let outcomes = on(threads, &crowd, &recipe());
        assert_eq!(outcomes[2], wanted, "{threads} threads");
        assert_eq!(on(threads, &crowd[2..3], &recipe()).remove(0), wanted, "{threads} threads, alone");
        assert!(outcomes.iter().enumerate().all(|(i, o)| i == 2 || o.weights != wanted.weights));
    }
}

/// Convolutions by tiles and by positions, and a dense layer, all large enough for bf16.
fn wide() -> Vec<Layer> {
    let conv = |out| Layer::Conv { out, kernel: 3, stride: 1, pad: 1 };
    let pool = Layer::MaxPool { kernel: 2, stride: 2 };
    let dense = [Layer::Dense { out: 48 }, Layer::Relu, Layer::Dropout { p: 0.25 }];
    let features = [conv(16), Layer::Relu, pool, conv(32), Layer::Relu, pool, conv(32), Layer::Relu];
    [features.as_slice(), &dense].concat()
}

#[test]
fn bf16_learns_as_f32_and_does_not_depend_on_others_or_threads() {
    let plain = [Candidate::new(&cross_entropy)];
    let slow = Candidate { rate: Some(0.01), ..Candidate::new(&cross_entropy) };
    let on = |threads, candidates: &[Candidate<'_>], precision| {
        let recipe = Recipe { precision, ..recipe() };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| train(&wide(), data(), &recipe, candidates, &mut |_| Control::Continue)).unwrap()
    };
    let exact = on(2, &plain, Precision::F32).remove(0);
    let rounded = on(1, &plain, Precision::Bf16).remove(0);
    let (a, b) = (exact.test.unwrap(), rounded.test.unwrap());
    assert!(a > 0.9 && (a - b).abs() < 0.03, "{a} {b}");
    // Without a unit, bf16 is f32.
    assert_eq!(exact.weights == rounded.weights, Precision::Bf16.unit().is_none());
    let crowd = [Candidate::new(&runaway), slow, Candidate::new(&cross_entropy)];
    for threads in [1, 2, 3] {
        assert_eq!(on(threads, &crowd, Precision::Bf16)[2], rounded, "{threads} threads");
        assert_eq!(on(threads, &plain, Precision::Bf16)[0], rounded, "{threads} threads, alone");
    }
}

#[test]
fn doubling_the_loss_is_doubling_the_rate() {
    let recipe = Recipe { momentum: 0.0, rate: 0.125, ..recipe() };
    let twice = Candidate { rate: Some(0.25), ..Candidate::new(&cross_entropy) };
    let outcomes = on(2, &[twice, Candidate::new(&doubled)], &recipe);
    assert_eq!(outcomes[0].weights, outcomes[1].weights);
}

#[test]
fn what_diverges_stops_alone_and_says_where() {
    let nan = |_: &[f32], _: &[u32], _: usize, gradient: &mut [f32]| {
        gradient.fill(0.0);
        f64::NAN
    };
    let hidden = |_: &[f32], _: &[u32], _: usize, gradient: &mut [f32]| {
        gradient.fill(f32::INFINITY);
        1.0
    };
    let losses: [&dyn BatchLoss; 4] = [&runaway, &nan, &hidden, &cross_entropy];
    let crowd = losses.map(Candidate::new);
    let outcomes = on(2, &crowd, &recipe());
    let ends: Vec<End> = outcomes.iter().map(|o| o.end).collect();
    assert_eq!(ends, [End::Diverged, End::Diverged, End::Diverged, End::Done]);
    assert_eq!((outcomes[1].steps, outcomes[2].steps), (1, 1));
    assert!((2..60).contains(&outcomes[0].steps), "{}", outcomes[0].steps);
    assert_eq!((outcomes[1].validation, outcomes[1].test), (None, None));
}

#[test]
fn seeds_penalties_rates_and_augmentation_matter() {
    let plain = [Candidate::new(&cross_entropy)];
    let weights = |recipe: &Recipe| on(2, &plain, recipe).remove(0).weights;
    let wanted = weights(&recipe());
    let others = [
        Recipe { seed: 1, ..recipe() },
        Recipe { rate_steps: vec![(30, 0.5)], ..recipe() },
        Recipe { weight_decay: 0.01, ..recipe() },
        Recipe { augment: Augment { shift: 1, flip: false }, ..recipe() },
        Recipe { augment: Augment { shift: 0, flip: true }, ..recipe() },
    ];
    assert!(others.iter().all(|recipe| weights(recipe) != wanted));
    let size = |penalty| {
        let candidate = Candidate { penalty, ..Candidate::new(&cross_entropy) };
        let weights = on(2, &[candidate], &recipe()).remove(0).weights;
        weights[0].values.iter().map(|w| w.abs()).sum::<f32>()
    };
    let free = size(None);
    assert!(size(Some(Penalty::L1(0.05))) < 0.8 * free && size(Some(Penalty::L2(0.05))) < 0.8 * free);
}

#[test]
fn it_can_be_watched_stopped_and_given_up() {
    let candidates = [Candidate::new(&cross_entropy), Candidate::new(&doubled)];
    let mut steps = Vec::new();
    let mut watch = |event| match event {
        Event::Step(step) => {
            steps.push(step);
            if step >= 40 { Control::Stop } else { Control::Continue }
        }
        Event::Judged(1, _) => Control::Stop,
        Event::Judged(..) => Control::Continue,
    };
    let outcomes = train(&small(), data(), &recipe(), &candidates, &mut watch).unwrap();
    assert_eq!((outcomes[0].end, outcomes[0].steps), (End::Stopped, 40));
    assert_eq!((outcomes[1].end, outcomes[1].steps), (End::Stopped, 20));
    assert!(steps.is_sorted() && steps.last() == Some(&40));

    let recipe = Recipe { floor: Some((10, 1.01)), ..recipe() };
    let outcome = on(2, &candidates, &recipe).remove(0);
    assert_eq!((outcome.end, outcome.steps, outcome.points.len()), (End::GivenUp, 10, 1));
}

#[test]
fn wrong_settings_and_data_are_named() {
    let plain = [Candidate::new(&cross_entropy)];
    let message =
        |recipe: Recipe| train(&small(), data(), &recipe, &plain, &mut |_| Control::Continue).unwrap_err().to_string();
    assert_eq!(message(Recipe { steps: 0, ..recipe() }), "recipe: steps: expected at least 1, found 0");
    assert_eq!(message(Recipe { batch: 0, ..recipe() }), "recipe: batch: expected at least 1, found 0");
    assert_eq!(
        message(Recipe { rate: -0.1, ..recipe() }),
        "recipe: rate: expected a number that is not below 0, found -0.1"
    );
    assert!(message(Recipe { momentum: f32::NAN, ..recipe() }).contains("momentum"));
    let labelled = |labels: &[u8], pixels: usize| Dataset::new(SHAPE, 4, &vec![0; pixels], labels, &[(0.0, 1.0)]);
    let wrong = |result: Result<Dataset, NetsError>| result.unwrap_err().to_string();
    assert_eq!(wrong(labelled(&[0, 4], 288)), "data: image 1 has the label 4, expected one below 4");
    assert_eq!(wrong(labelled(&[0, 1], 287)), "data: 2 labels and images of 12 x 12 x 1, but 287 pixels");
    assert_eq!(wrong(labelled(&[], 0)), "data: no images: 0 of 12 x 12 x 1");
    assert!(wrong(Dataset::new(SHAPE, 4, &[0; 144], &[0], &[(0.0, 0.0)])).contains("deviation above 0"));

    let other = Dataset::new(SHAPE, 3, &[0; 144], &[0], &[(0.0, 1.0)]).unwrap();
    let mixed = Data { validation: &other, ..data() };
    let error = train(&small(), mixed, &recipe(), &plain, &mut |_| Control::Continue).unwrap_err();
    assert_eq!(error, NetsError::Data("the network has 4 classes, validation has 3".to_owned()));
}

#[test]
fn a_batch_is_never_larger_than_the_training_set() {
    let few = corners(4, 7);
    let data = Data { train: &few, ..data() };
    let candidates = [Candidate::new(&cross_entropy)];
    let outcome = train(&small(), data, &recipe(), &candidates, &mut |_| Control::Continue).unwrap().remove(0);
    assert_eq!(outcome.end, End::Done);
}
