//! Trains agents on `hubs` under several objectives from one shared stage 1, and prints recall beside the ceilings.
//! `cargo run --release -p lossmith-burn --example cmat_hubs -- key=value ...` (see the list of keys below)

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::time::Instant;

use burn::prelude::*;
use lossmith::critic::{Kind, Reward};
use lossmith_burn::cmat::scene::{Seen, frequency_bias};
use lossmith_burn::cmat::{Config, Objective, Settings, Trainer, evaluate};
use lossmith_data::make::hubs;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let given: BTreeMap<String, String> =
        std::env::args().skip(1).filter_map(|a| a.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned()))).collect();
    let number = |key: &str, default: f64| given.get(key).and_then(|v| v.parse().ok()).unwrap_or(default);
    let (blocks, seed) = (number("blocks", 1.0) as usize, number("seed", 1.0) as u64);
    let settings = hubs::Settings { blocks, ..hubs::Settings::default() };
    let data = hubs::make(settings, number("train", 600.0) as usize, number("test", 200.0) as usize, seed)?;
    let device = Device::flex().autodiff();
    let plain = Device::flex();
    let train: Vec<Seen> =
        data.train.iter().enumerate().map(|(at, s)| Seen::new(s, at, &device)).collect::<Result<_, _>>()?;
    let test: Vec<_> = data
        .test
        .iter()
        .enumerate()
        .map(|(at, s)| Ok((Seen::new(s, at, &plain)?, s.graph.clone())))
        .collect::<Result<_, lossmith_burn::cmat::CmatError>>()?;
    let config = Config {
        width: data.width(),
        classes: data.about.vocabulary.objects.len(),
        predicates: data.about.vocabulary.predicates.len(),
        hidden: number("hidden", 32.0) as usize,
        pair: number("pair", 16.0) as usize,
        rounds: number("rounds", 2.0) as usize,
    };
    eprintln!("{:?}", settings.ceilings());
    let reward = Reward::Recall(number("k", 20.0) as usize);
    let policy = |critic| Objective::Policy { reward, critic };
    let objectives = [
        ("cross-entropy", Objective::CrossEntropy),
        ("degree", Objective::Degree),
        ("node-priority", Objective::NodePriority),
        ("exact", policy(Kind::Exact)),
        ("self-critical", policy(Kind::SelfCritical)),
        ("moving-average", policy(Kind::MovingAverage)),
        ("none", policy(Kind::None)),
    ];
    let set = |objective| Settings {
        epochs: number("epochs", 2.0) as usize,
        policy_epochs: number("policy-epochs", 2.0) as usize,
        rate: number("rate", 5e-3),
        policy_rate: number("policy-rate", 1e-3),
        node_weight: number("node-weight", 0.1),
        ..Settings::new(objective, seed)
    };
    let report = |name: &str, trainer: &Trainer, start: Instant| -> Result<(), Box<dyn std::error::Error>> {
        let outcome = evaluate::evaluate(&trainer.agents.valid(), config.classes, &test, evaluate::Given::Boxes)?;
        let recall = outcome.graphs.constraint.mean;
        println!(
            "{{\"seed\":{seed},\"objective\":\"{name}\",\"recall\":{recall:?},\"nodes\":{:.4},\"seconds\":{:.1}}}",
            outcome.node_accuracy,
            start.elapsed().as_secs_f64()
        );
        Ok(())
    };
    let start = Instant::now();
    let shared = set(Objective::CrossEntropy);
    let mut first = Trainer::new(&config, frequency_bias(&data.about, &data.train), shared.clone(), &device);
    for _ in 0..shared.epochs {
        eprintln!("{:?}", first.cross_entropy_epoch(&train)?);
    }
    report("stage 1", &first, start)?;
    let some: Vec<Seen> = test.iter().take(20).map(|(seen, _)| seen.clone()).collect();
    for kind in [Kind::Exact, Kind::SelfCritical, Kind::MovingAverage, Kind::None] {
        let variance =
            evaluate::gradient_variance(&first.agents.valid(), config.classes, &some, (kind, reward), 50, seed)?;
        println!("{{\"seed\":{seed},\"critic\":\"{kind}\",\"gradient_variance\":{variance:.6}}}");
    }
    let only = given.get("only").cloned().unwrap_or_default();
    for (name, objective) in
        objectives.into_iter().filter(|(name, _)| only.is_empty() || only.split(',').any(|o| o == *name))
    {
        let start = Instant::now();
        let mut trainer = Trainer::from_agents(first.agents.clone(), config.classes, set(objective));
        for _ in 0..trainer.settings().policy_epochs {
            eprintln!("{:?}", trainer.policy_epoch(&train)?);
        }
        report(name, &trainer, start)?;
    }
    Ok(())
}
