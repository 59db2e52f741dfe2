//! The plan of a search, with made-up outcomes.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use lossmith::expr::Expr;
use lossmith_search::discovery::{Discovery, Settings, Taylor};
use lossmith_search::filters::Scale;
use lossmith_search::gp;
use lossmith_search::savings::{self, Fate, Memory, Rungs, Savings, Trained};
use lossmith_search::space::Space;
use lossmith_search::trial::{End, Outcome, Trial};

fn settings() -> Settings {
    Settings {
        seed: 3,
        space: Space::Class { classes: 10 },
        gp: gp::Settings { population: 20, elites: 2, ..Default::default() },
        generations: 4,
        taylor: None,
        cma_generations: 2,
        cma_sigma: 0.3,
        cma_population: None,
        steps: 10,
        rates: vec![0.1],
        confirm: 3,
        confirm_seeds: 2,
        full_steps: 100,
        savings: all(),
    }
}

fn all() -> Savings {
    Savings {
        cache: true,
        probe: true,
        equal_gradients: Some(Scale::Kept),
        raw_predictions: true,
        redraws: 10,
        floor: Some((4, 0.1)),
        halving: Some(Rungs { least_steps: 2, share: 3 }),
    }
}

/// Prefers short formulas: anything deterministic will do.
fn outcome(trial: &Trial) -> Outcome {
    let accuracy = 1.0 / trial.loss.len() as f64;
    Outcome { end: End::Done, accuracy, steps: trial.steps, curve: Vec::new() }
}

fn step(search: &mut Discovery) {
    let trials = search.trials().unwrap();
    search.tell(&trials.iter().map(outcome).collect::<Vec<_>>()).unwrap();
}

fn run(settings: Settings) -> Discovery {
    let mut search = Discovery::new(settings, BTreeMap::new()).unwrap();
    while !search.is_done() {
        step(&mut search);
    }
    search
}

fn taylor() -> Settings {
    let taylor = Taylor { generations: 3, population: 12, sigma: 1.2, invariant: false };
    Settings { taylor: Some(taylor), ..settings() }
}

#[test]
fn a_search_that_was_saved_between_all_stages_ends_the_same() {
    let none = Settings { savings: Savings::default(), ..settings() };
    for settings in [settings(), none, taylor()] {
        let whole = run(settings.clone());
        assert!(whole.trials().unwrap().is_empty());
        assert_eq!(whole.log.len(), if settings.taylor.is_some() { 3 } else { 6 });
        assert_eq!(whole.confirmed.len(), 3);
        let mut pieces = Discovery::new(settings, BTreeMap::new()).unwrap();
        while !pieces.is_done() {
            step(&mut pieces);
            pieces = serde_json::from_str(&serde_json::to_string(&pieces).unwrap()).unwrap();
        }
        assert_eq!(pieces, whole);
    }
}

#[test]
fn no_formula_is_trained_twice_in_a_rung_and_every_loss_parses() {
    let mut search = Discovery::new(settings(), BTreeMap::new()).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    while !search.is_done() {
        for trial in &search.trials().unwrap() {
            assert!(seen.insert((trial.loss.clone(), trial.steps, trial.seed)), "{}", trial.loss);
            Expr::parse(&trial.loss, search.settings.space.variables()).unwrap();
        }
        step(&mut search);
    }
}

#[test]
fn every_candidate_is_accounted_for_and_savings_save() {
    let (saved, plain) = (run(settings()), run(Settings { savings: Savings::default(), ..settings() }));
    for search in [&saved, &plain] {
        for g in &search.log {
            let spared: usize = g.spared.values().sum();
            let behind = g.cut_short.get("fell behind").copied().unwrap_or(0);
            let trained = g.candidates - spared;
            assert!(trained <= g.trained && behind < trained.max(1), "{g:?}");
            assert_eq!(search.log[0].candidates, 20);
        }
    }
    let steps = |search: &Discovery| search.log.iter().map(|g| g.steps).sum::<u64>();
    assert_eq!(steps(&plain), plain.log.iter().map(|g| g.steps_unsaved).sum::<u64>(), "everything is trained");
    assert!(plain.log.iter().all(|g| g.spared.is_empty() && g.cut_short.is_empty()));
    assert!(3 * steps(&saved) < steps(&plain), "{} {}", steps(&saved), steps(&plain));
    let reasons = saved.log.iter().flat_map(|g| g.spared.keys().chain(g.redrawn.keys()));
    let reasons: std::collections::BTreeSet<&String> = reasons.collect();
    assert!(plain.log.iter().all(|g| g.redrawn.is_empty()));
    for reason in [savings::KNOWN, savings::SAME, "a needed variable does not occur", "raw predictions do not learn"] {
        assert!(reasons.contains(&reason.to_owned()), "{reason}: {reasons:?}");
    }
}

#[test]
fn what_another_run_knows_is_not_trained_again() {
    let first = run(settings());
    let foreign: BTreeMap<String, Trained> = first.known().iter().cloned().collect();
    let second = {
        let mut search = Discovery::new(settings(), foreign).unwrap();
        while !search.is_done() {
            step(&mut search);
        }
        search
    };
    assert_eq!(second.log.iter().map(|g| g.trained).sum::<usize>(), 0, "the same search finds all in the file");
    assert!(second.log[0].spared[savings::FOREIGN] > 0);
    assert_eq!(second.found().unwrap().loss, first.found().unwrap().loss);
}

#[test]
fn baikal_and_baikal_cma_pass_every_filter() {
    let space = Space::Class { classes: 10 };
    let parse = |text: &str| Ok(Expr::parse(text, space.variables()).unwrap());
    let baikal_cma = "2.7279*(0.9863*log(1.5352*y) + 1.1135*(1.3716*x)/(-0.8411*y))";
    let trees = vec![parse("log(y) - x/y"), parse(baikal_cma), parse("x*log(y)"), parse("x + log(y) - x/y")];
    let sorted = savings::sort(trees, &all(), &space, &mut Memory::default(), &BTreeMap::new());
    let fates: Vec<&Fate> = sorted.iter().map(|c| &c.fate).collect();
    let same = Fate::Like(0, savings::SAME.to_owned());
    assert_eq!(fates, [&Fate::Train, &Fate::Train, &Fate::Train, &same]);
}

#[test]
fn the_short_and_the_full_order_are_correlated() {
    let mut search = Discovery::new(settings(), BTreeMap::new()).unwrap();
    while !search.stage().starts_with("training") {
        step(&mut search);
    }
    let trials = search.trials().unwrap();
    // The full training turns the order round.
    let outcomes: Vec<Outcome> = (0..trials.len())
        .map(|i| Outcome { end: End::Done, accuracy: 0.5 + i as f64 / 100.0, steps: 100, curve: Vec::new() })
        .collect();
    let first = search.hall.members()[0].fitness;
    search.tell(&outcomes).unwrap();
    let short: Vec<f64> = search.confirmed.iter().map(|c| c.short).collect();
    assert_eq!(short.iter().copied().fold(0.0, f64::max), first);
    assert!(search.rank_correlation.unwrap() < 0.0);
}
