use lossmith::loss::{Discriminative, Evaluation, Inputs, Loss, LossError};
use lossmith::metric::instances::{Mode, Overlaps, Summary};
use lossmith_data::label_images::{Labels, Picture, Sample};
use lossmith_data::make::scenes::{Kind, Scenes};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use super::*;

fn tiny() -> Recipe {
    Recipe { dim: 4, widths: vec![8, 12], side: 32, steps: 40, batch: 2, least_size: 8, ..Recipe::default() }
}

fn data() -> lossmith_data::label_images::LabelledSet {
    Scenes { side: 32, train: 8, test: 2, ..Scenes::new(Kind::Sticks, 1) }.make().unwrap()
}

#[test]
fn the_loss_falls_and_the_same_seed_trains_the_same_model() {
    let data = data();
    let run = || {
        let mut steps = Vec::new();
        let model = train(&data.train, &tiny(), &Discriminative::default(), |step| {
            steps.push(step.clone());
            true
        });
        (steps, model.unwrap())
    };
    let (steps, model) = run();
    let mean = |steps: &[Step]| steps.iter().map(|s| s.loss + s.foreground).sum::<f64>() / steps.len() as f64;
    assert_eq!(steps.len(), 40);
    assert!(mean(&steps[35..]) < 0.8 * mean(&steps[..5]), "{} {}", mean(&steps[35..]), mean(&steps[..5]));
    assert_eq!(steps[0].parts.iter().map(|p| p.0).collect::<Vec<_>>(), ["var", "dist", "reg"]);
    let (again, same) = run();
    assert_eq!(steps, again);

    // Saved and loaded, it predicts the same.
    let loaded = Model::from_bytes(tiny(), model.to_bytes().unwrap()).unwrap();
    let predict = |m: &Model| m.predict(&data.test[0].picture, Cluster::MeanShift, Given::default()).unwrap();
    assert_eq!(predict(&model), predict(&loaded));
    assert_eq!(predict(&model), predict(&same));
    let other = Recipe { dim: 5, ..tiny() };
    assert!(matches!(Model::from_bytes(other, model.to_bytes().unwrap()), Err(EmbeddingError::Weights(_))));
    assert!(matches!(Model::from_bytes(tiny(), b"no weights".to_vec()), Err(EmbeddingError::Weights(_))));
}

#[test]
fn pictures_of_any_size_are_predicted_and_truth_helps() {
    let data = data();
    let model = train(&data.train, &Recipe { steps: 60, ..tiny() }, &Discriminative::default(), |_| true).unwrap();
    let big = Scenes { side: 70, train: 1, test: 1, ..Scenes::new(Kind::Sticks, 2) }.make().unwrap().test.remove(0);
    let given = Given { truth: Some(&big.labels), true_foreground: true };
    for cluster in [Cluster::MeanShift, Cluster::Authors(1), Cluster::Centre] {
        let found = model.predict(&big.picture, cluster, given).unwrap();
        assert_eq!(found.labels.ids.len(), 70 * 70);
        assert_eq!(found.labels.instances(), found.instances.len());
        let area: usize = found.instances.iter().map(|i| i.area).sum();
        assert_eq!(area, found.labels.ids.iter().filter(|i| **i > 0).count());
        assert!(found.instances.iter().all(|i| (0.0..=1.0).contains(&i.score)));
    }
    let score = |cluster| {
        let found = model.predict(&big.picture, cluster, given).unwrap();
        Overlaps::between(&big.labels.ids, &found.labels.ids).unwrap().scores(Mode::Corrected)
    };
    let (found, centre) = (score(Cluster::MeanShift), score(Cluster::Centre));
    assert!(centre.fg_dice > 0.2 && Summary::of(&[found, centre]).is_some());
    assert!(model.predict(&big.picture, Cluster::Centre, Given::default()).is_err());
}

/// Bright discs that hardly touch on a dark ground.
fn cells(side: usize, count: u32, seed: u64) -> Sample {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut ids = vec![0; side * side];
    let mut discs: Vec<[f32; 3]> = Vec::new();
    while discs.len() < count as usize {
        let [y, x] = std::array::from_fn(|_| rng.random_range(0.0..side as f32));
        let radius = rng.random_range(3.0..5.5f32);
        if discs.iter().all(|[v, u, r]| (y - v).hypot(x - u) > radius + r + 1.0) {
            discs.push([y, x, radius]);
        }
    }
    for (id, [y, x, radius]) in (1..).zip(discs) {
        let inside = |i: usize| ((i / side) as f32 - y).hypot((i % side) as f32 - x) < radius;
        (0..ids.len()).filter(|i| inside(*i)).for_each(|i| ids[i] = id);
    }
    let samples = ids.iter().map(|id| if *id > 0 { 180 } else { 40 } + rng.random_range(0..20u8)).collect();
    let picture = Picture { height: side, width: side, channels: 1, samples };
    Sample { name: seed.to_string(), picture, labels: Labels { height: side, width: side, ids } }
}

/// Pixels whose lower neighbour belongs to another instance, row by row.
fn cuts(labels: &Labels) -> Vec<usize> {
    let row = |y: usize| &labels.ids[y * labels.width..][..labels.width];
    let cut = |y: usize| row(y).iter().zip(row(y + 1)).filter(|(a, b)| **a > 0 && **b > 0 && a != b).count();
    (0..labels.height - 1).map(cut).collect()
}

#[test]
fn tiles_cut_no_instances() {
    const SIDE: usize = 96;
    let recipe = Recipe {
        dim: 4,
        widths: vec![8, 16, 16],
        steps: 600,
        batch: 4,
        zoom: 1.0,
        bandwidth: 1.0,
        separation: 1.5,
        connected: true,
        ..tiny()
    };
    let train_on: Vec<Sample> = (0..6).map(|seed| cells(64, 22, seed)).collect();
    let loss =
        lossmith::loss::Spec::parse("discriminative(alpha=0.1, beta=0.1, gamma=0.0001)").unwrap().build().unwrap();
    let tiled = train(&train_on, &recipe, loss.as_ref(), |_| true).unwrap();
    // The same weights on the whole picture at once.
    let whole = Model::from_bytes(Recipe { side: SIDE, ..recipe }, tiled.to_bytes().unwrap()).unwrap();
    let (mut counts, mut sums) = (Vec::new(), vec![0; SIDE - 1]);
    for seed in 100..104 {
        let cells = cells(SIDE, 50, seed);
        let found = [&tiled, &whole].map(|m| m.predict(&cells.picture, Cluster::MeanShift, Given::default()).unwrap());
        sums.iter_mut().zip(cuts(&found[0].labels)).for_each(|(sum, cuts)| *sum += cuts);
        counts.push([found[0].instances.len(), found[1].instances.len(), cells.labels.instances()]);
    }
    // Where clusters were joined instead of their pieces, every cell at a seam was cut. At once the network sees more cells than it was
    // trained to tell apart, and splits some.
    let best = |[tiled, whole, truth]: &[usize; 3]| tiled.abs_diff(*truth) <= 1.min(whole.abs_diff(*truth));
    assert!(counts.iter().all(best), "{counts:?}");
    assert!(sums.iter().sum::<usize>() <= 5, "{sums:?}");
}

#[test]
fn wrong_recipes_and_no_data_are_named() {
    let loss = Discriminative::default();
    for (recipe, part) in [
        (Recipe { dim: 0, ..tiny() }, "dim is 0"),
        (Recipe { side: 33, ..tiny() }, "a multiple of 2"),
        (Recipe { widths: vec![4], ..tiny() }, "2 to 6 levels"),
        (Recipe { learning_rate: f64::NAN, ..tiny() }, "learning_rate is NaN"),
        (Recipe { steps: 0, ..tiny() }, "0 steps"),
        (Recipe { zoom: 0.5, ..tiny() }, "zoom is 0.5"),
    ] {
        let error = train(&data().train, &recipe, &loss, |_| true).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    assert!(matches!(train(&[], &tiny(), &loss, |_| true), Err(EmbeddingError::NoData)));
    assert!(Recipe::full().check().is_ok() && Recipe::default().check().is_ok());
}

/// A loss whose gradient is no number.
#[derive(Debug)]
struct Undefined;

impl Loss for Undefined {
    fn evaluate(&self, inputs: &Inputs) -> Result<Evaluation, LossError> {
        Ok(Evaluation::new(1.0, inputs.f32("embedding", 4)?.mapv(|_| f32::NAN)))
    }
}

#[test]
fn a_training_that_diverged_says_so() {
    let error = train(&data().train, &tiny(), &Undefined, |_| true).unwrap_err();
    assert!(matches!(error, EmbeddingError::Diverged { step: 2, .. }), "{error}");
}
