//! The evolution as a whole: it finds, it is exact on resuming, and it refuses what cannot be.

#![allow(clippy::unwrap_used)]

use lossmith::expr::{CLASS_VARIABLES, Expr, Kernel};
use lossmith_search::gp::{Gp, GpState, Selection, Settings};

/// How well a tree equals a formula on a grid: 1 / (1 + mean absolute error).
fn likeness(tree: &Expr, wanted: &str) -> f64 {
    let (tree, wanted) = (Kernel::new(tree), Kernel::new(&Expr::parse(wanted, CLASS_VARIABLES).unwrap()));
    let points = (0..=1).flat_map(|x| (1..20).map(move |y| [f64::from(x), f64::from(y) / 20.0]));
    let error: f64 = points.map(|p| (tree.at(&p).value - wanted.at(&p).value).abs()).sum::<f64>() / 38.0;
    if error.is_finite() { 1.0 / (1.0 + error) } else { 0.0 }
}

fn evolve(gp: &mut Gp, wanted: &str, generations: u64) -> f64 {
    let mut best = 0.0f64;
    for _ in 0..generations {
        let fitness: Vec<f64> = gp.generation().iter().map(|tree| likeness(tree, wanted)).collect();
        best = fitness.iter().fold(best, |b, f| b.max(*f));
        gp.tell(&fitness).unwrap();
    }
    best
}

#[test]
fn finds_cross_entropy_and_baikal_where_fitness_shows_the_way() {
    for selection in [Selection::Roulette, Selection::Tournament] {
        for (wanted, least) in [("x*log(y)", 8), ("log(y) - x/y", 3)] {
            let found = (0..10)
                .filter(|&seed| {
                    let settings = Settings { selection, ..Settings::default() };
                    evolve(&mut Gp::new(settings, CLASS_VARIABLES, seed).unwrap(), wanted, 100) > 0.999_999
                })
                .count();
            println!("{selection:?} {wanted}: {found} of 10 seeds");
            assert!(found >= least, "{selection:?} {wanted}: {found} of 10");
        }
    }
}

#[test]
fn the_best_go_on_unchanged() {
    let mut gp = Gp::new(Settings::default(), CLASS_VARIABLES, 1).unwrap();
    let first = gp.generation().to_vec();
    let fitness: Vec<f64> = (0..80).map(|i| if i == 7 { f64::NAN } else { f64::from(i % 40) }).collect();
    gp.tell(&fitness).unwrap();
    assert_eq!(gp.generation().len(), 80);
    let mut expected: Vec<Expr> = Vec::new();
    for i in [39, 79, 38, 78, 37, 77, 36, 76, 35, 75, 34, 74] {
        if !expected.contains(&first[i]) {
            expected.push(first[i].clone());
        }
    }
    assert_eq!(gp.generation()[..6], expected[..6]);
}

#[test]
fn a_saved_evolution_goes_on_as_if_it_had_never_stopped() {
    let new = || Gp::new(Settings::default(), CLASS_VARIABLES, 11).unwrap();
    let (mut straight, mut resumed) = (new(), new());
    for _ in 0..30 {
        evolve(&mut straight, "x*log(y)", 1);
        let text = serde_json::to_string(&resumed.state()).unwrap();
        let state: GpState = serde_json::from_str(&text).unwrap();
        resumed = Gp::resume(state, CLASS_VARIABLES).unwrap();
        evolve(&mut resumed, "x*log(y)", 1);
        assert_eq!(resumed, straight);
    }
    assert_ne!(straight.generation(), Gp::new(Settings::default(), CLASS_VARIABLES, 12).unwrap().generation());
}

#[test]
fn impossible_settings_and_answers_are_refused() {
    let refused = |change: fn(&mut Settings), part: &str| {
        let mut settings = Settings::default();
        change(&mut settings);
        let error = Gp::new(settings, CLASS_VARIABLES, 1).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    refused(|s| s.population = 0, "population must be from 1");
    refused(|s| s.population = usize::MAX, "population must be from 1");
    refused(|s| s.elites = 81, "elites must be from 0 to 80");
    refused(|s| s.crossover = 1.5, "crossover must be from 0 to 1, found 1.5");
    refused(|s| s.mutation.grow = f64::NAN, "mutation.grow must be from 0 to 1, found NaN");
    refused(|s| s.initial_depth = 0, "initial_depth must be from 1");
    refused(|s| s.size.nodes = 10_000, "size.nodes must be from 3 to 333");
    refused(|s| s.tournament = 0, "tournament must be from 1");
    refused(|s| s.operators.clear(), "at least one operator");
    refused(|s| s.leaves.clear(), "at least one operator and one leaf");
    refused(|s| _ = s.operators.insert("sin".into(), 1.0), "unknown operator 'sin': expected one of + - * /");
    refused(|s| _ = s.operators.insert("log".into(), -1.0), "weight of 'log'");
    refused(|s| _ = s.leaves.insert("z".into(), 1.0), "leaf 'z': unknown name");
    refused(|s| _ = s.leaves.insert("x + y".into(), 1.0), "no single variable or number");

    let mut gp = Gp::new(Settings::default(), CLASS_VARIABLES, 1).unwrap();
    let before = gp.clone();
    assert!(gp.tell(&[1.0]).unwrap_err().to_string().contains("expected 80 fitness values"));
    assert!(gp.replace(80, before.generation()[0].clone()).is_err());
    assert_eq!(gp, before);

    let mut state = serde_json::to_value(gp.state()).unwrap();
    state["generation"][3] = "log(".into();
    let error = Gp::resume(serde_json::from_value(state.clone()).unwrap(), CLASS_VARIABLES).unwrap_err();
    assert!(error.to_string().starts_with("gp: saved tree: "), "{error}");
    state["generation"].as_array_mut().unwrap().pop();
    assert!(Gp::resume(serde_json::from_value(state).unwrap(), CLASS_VARIABLES).is_err());
}

#[test]
fn settings_are_read_by_name() {
    let settings: Settings =
        serde_json::from_str(r#"{"population": 20, "selection": "tournament", "mutation": {"grow": 0.1}}"#).unwrap();
    assert_eq!((settings.population, settings.elites, settings.selection), (20, 6, Selection::Tournament));
    assert_eq!((settings.mutation.grow, settings.mutation.nudge), (0.1, 0.05));
    assert!(serde_json::from_str::<Settings>(r#"{"popluation": 20}"#).is_err());
}
