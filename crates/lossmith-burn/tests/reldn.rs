//! RelDN end to end on a few scenes of who holds what.

#![allow(clippy::unwrap_used)]

use burn::prelude::Device;
use lossmith::frequency::{Candidates, Frequency};
use lossmith::loss::Spec;
use lossmith::metric::relation_order::RelationOrder;
use lossmith_burn::reldn::model::Visual;
use lossmith_burn::reldn::{
    Config, Example, Optimizer, Reldn, Sampling, Settings, Several, Sight, Trainer, predict, store,
};
use lossmith_data::graph_json::GraphSet;
use lossmith_data::make::holds;

struct World {
    train: Vec<Example>,
    test: Vec<Example>,
}

fn world() -> World {
    let made = holds::make(holds::Settings { noise: 0.05, clutter: 0 }, 60, 30, 5).unwrap();
    let examples = |set: &GraphSet| -> Vec<Example> {
        let sight = |image: &str| Sight::Features(made.features.of(image).unwrap().clone());
        set.images.iter().map(|i| Example::new(i, sight(&i.image))).collect()
    };
    World { train: examples(&made.train), test: examples(&made.test) }
}

fn config(semantic: bool, spatial: bool, visual: bool) -> Config {
    Config {
        prior: 0.0,
        classes: 4,
        predicates: 2,
        semantic,
        spatial: spatial.then_some(16),
        visual: visual.then_some(Visual { width: holds::WIDTH, hidden: 32, image: None }),
        groups: vec![],
    }
}

fn settings(epochs: usize, optimizer: Optimizer, rate: f64) -> Settings {
    let sampling = Sampling { several: Several::All, ..Sampling::published() };
    Settings { epochs, batch: 8, optimizer, rate, table: 1.0, decay: 1e-4, sampling, seed: 2 }
}

fn trained(world: &World, config: &Config, settings: Settings, loss: &str) -> (Reldn, Vec<f64>) {
    let graphs = world.train.iter().map(|e| &e.graph);
    let frequency = Frequency::count(graphs, config.predicates, Candidates::All);
    let loss = Spec::parse(loss).unwrap().build().unwrap();
    let fresh = config.init(Some(&frequency), settings.seed, &Device::flex().autodiff());
    let mut trainer = Trainer::new(fresh, config.clone(), settings, loss.as_ref());
    let losses = (0..settings.epochs).map(|_| trainer.epoch(&world.train, || true).unwrap().unwrap().loss).collect();
    (trainer.model(), losses)
}

fn recall(world: &World, config: &Config, model: &Reldn) -> f64 {
    let mut order = RelationOrder::default();
    for (example, scores) in world.test.iter().zip(predict(model, config, &world.test, Example::pairs).unwrap()) {
        assert!(scores.predicates.outer_iter().all(|row| (row.sum() - 1.0).abs() < 1e-6));
        order.add(&example.graph, &scores).unwrap();
    }
    order.recall()
}

#[test]
fn what_the_union_shows_decides() {
    let world = world();
    let loss = "graphical-contrastive(variant=code)";
    let reached = |config: &Config| {
        let (model, losses) = trained(&world, config, settings(15, Optimizer::Adam, 0.005), loss);
        assert!(losses[14] < 0.8 * losses[0], "{losses:?}");
        recall(&world, config, &model)
    };
    let (blind, seeing) = (reached(&config(true, true, false)), reached(&config(true, false, true)));
    assert!(seeing > 0.8 && seeing > blind + 0.2, "{blind} {seeing}");
}

#[test]
fn heads_of_groups_say_together_what_adds_up() {
    let world = world();
    let config = Config { groups: vec![vec![2], vec![1]], ..config(true, false, true) };
    config.check().unwrap();
    let (model, _) = trained(&world, &config, settings(10, Optimizer::Adam, 0.005), "graphical-contrastive(lambda1=0)");
    assert!(recall(&world, &config, &model) > 0.6);
    let bytes = store::to_bytes(&model).unwrap();
    let again = store::from_bytes(&config, bytes.clone()).unwrap();
    assert_eq!(recall(&world, &config, &again), recall(&world, &config, &model));
    let other = Config { groups: vec![], ..config };
    assert!(store::from_bytes(&other, bytes).is_err());
}

#[test]
fn the_published_schedule_learns_and_the_table_is_trained() {
    let world = world();
    let config = config(true, true, false);
    let (model, losses) =
        trained(&world, &config, settings(6, Optimizer::Sgd, 0.02), "graphical-contrastive(variant=code)");
    assert!(losses[5] < losses[0], "{losses:?}");
    let (same, _) = trained(&world, &config, settings(6, Optimizer::Sgd, 0.02), "graphical-contrastive(variant=code)");
    assert!(store::to_bytes(&same).unwrap() == store::to_bytes(&model).unwrap(), "the same seed makes the same bytes");
    let graphs = world.train.iter().map(|e| &e.graph);
    let frequency = Frequency::count(graphs, 2, Candidates::All);
    let fresh = config.init(Some(&frequency), 2, &Device::flex());
    // Persons and glasses are met, drums and drums are not.
    let semantic = Config { spatial: None, ..config };
    let alone = |model: &Reldn, labels: [u32; 2]| {
        let mut example = world.test[0].clone();
        example.graph.boxes.truncate(2);
        example.graph.labels = labels.to_vec();
        example.graph.relations.clear();
        predict(model, &semantic, &[example], Example::pairs).unwrap()[0].predicates.row(0).to_vec()
    };
    assert!(alone(&model, [0, 1]) != alone(&fresh, [0, 1]));
    assert_eq!(alone(&model, [3, 3]), alone(&fresh, [3, 3]));
}

#[test]
fn what_does_not_fit_is_named() {
    let world = world();
    let wide = Config { visual: Some(Visual { width: 5, hidden: 8, image: None }), ..config(false, false, true) };
    let model = wide.init(None, 1, &Device::flex());
    let error = predict(&model, &wide, &world.test, Example::pairs).unwrap_err().to_string();
    assert!(error.contains("image test-00000.png: feature vectors of shape"), "{error}");
    for (broken, wanted) in [
        (config(false, false, false), "at least one of semantic, spatial, visual"),
        (Config { groups: vec![vec![1]], ..config(true, false, false) }, "every predicate in one group"),
        (Config { spatial: Some(0), ..config(true, true, false) }, "spatial is 0"),
    ] {
        let error = broken.check().unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
    }
}
