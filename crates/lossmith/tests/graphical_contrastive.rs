//! Graphical contrastive losses against a naive oracle, PyTorch, and the worked examples of the notes.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use lossmith::expr::Expr;
use lossmith::loss::graphical_contrastive::{
    ClassMean, Compensation, GraphicalContrastive, MARGIN_VARIABLES, Normaliser, Pairs, Terms, Variant,
};
use lossmith::loss::{Entry, LossError, Spec};
use proptest::prelude::*;
use serde::Deserialize;

#[derive(Clone, Debug, Deserialize)]
struct Case {
    width: usize,
    logits: Vec<f32>,
    subject: Vec<i64>,
    object: Vec<i64>,
    subject_class: Vec<i64>,
    object_class: Vec<i64>,
    predicate: Vec<i64>,
    #[serde(default)]
    wanted: std::collections::BTreeMap<String, Wanted>,
}

#[derive(Clone, Debug, Deserialize)]
struct Wanted {
    terms: [f64; 7],
    grad: Vec<f64>,
}

impl Case {
    fn pairs(&self) -> Pairs<'_> {
        Pairs {
            logits: &self.logits,
            width: self.width,
            subject: &self.subject,
            object: &self.object,
            subject_class: &self.subject_class,
            object_class: &self.object_class,
            predicate: &self.predicate,
            lists: None,
        }
    }

    fn evaluate(&self, loss: &GraphicalContrastive) -> (Terms, Vec<f32>) {
        let mut grad = vec![0.0; self.logits.len()];
        let terms = loss.value_and_gradient(&self.pairs(), &mut grad).unwrap();
        (terms, grad)
    }

    /// One predicate, one subject; a related pair or an unrelated one for each affinity, objects of the class given.
    fn one_anchor(positives: &[(f64, i64)], negatives: &[(f64, i64)]) -> Self {
        let all: Vec<(f64, i64)> = positives.iter().chain(negatives).copied().collect();
        let rows = all.len();
        Self {
            width: 2,
            logits: all.iter().flat_map(|(phi, _)| [0.0, (phi / (1.0 - phi)).ln() as f32]).collect(),
            subject: vec![0; rows],
            object: (1..=rows as i64).collect(),
            subject_class: vec![9; rows],
            object_class: all.iter().map(|(_, class)| *class).collect(),
            predicate: (0..rows).map(|at| i64::from(at < positives.len())).collect(),
            wanted: Default::default(),
        }
    }
}

fn flat(terms: &Terms) -> [f64; 7] {
    let (s, o) = (terms.subject, terms.object);
    [terms.l0, s[0], s[1], s[2], o[0], o[1], o[2]]
}

/// The paper's formulas as they are written, from logits in f64, with the published weights and margins.
fn oracle(case: &Case, logits: &[f64]) -> [f64; 7] {
    let rows = case.predicate.len();
    let (mut affinity, mut said, mut cross_entropy) = (vec![], vec![], 0.0);
    for (z, &truth) in logits.chunks(case.width).zip(&case.predicate) {
        let max = z.iter().copied().fold(f64::MIN, f64::max);
        let total: f64 = z.iter().map(|v| (v - max).exp()).sum();
        affinity.push(1.0 - (z[0] - max).exp() / total);
        said.push((1..z.len()).rev().max_by(|&a, &b| z[a].total_cmp(&z[b])).unwrap() as i64);
        cross_entropy += total.ln() + max - z[truth as usize];
    }
    let mut terms = [cross_entropy / rows as f64, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
    let sides = [(&case.subject, &case.object_class), (&case.object, &case.subject_class)];
    for (side, (anchor, free)) in sides.into_iter().enumerate() {
        let positives = |a: i64| (0..rows).filter(move |&r| anchor[r] == a && case.predicate[r] > 0);
        let negatives = |a: i64| (0..rows).filter(move |&r| anchor[r] == a && case.predicate[r] == 0);
        let anchors: BTreeSet<i64> = anchor.iter().copied().filter(|&a| positives(a).count() > 0).collect();
        let hinge = |p: &mut dyn Iterator<Item = usize>, n: &mut dyn Iterator<Item = usize>| {
            let lowest = p.map(|r| affinity[r]).fold(f64::INFINITY, f64::min);
            let highest = n.map(|r| affinity[r]).fold(f64::NEG_INFINITY, f64::max);
            (0.2 - (lowest - highest)).max(0.0)
        };
        for &a in &anchors {
            let share = 1.0 / anchors.len() as f64;
            terms[1 + 3 * side] += share * hinge(&mut positives(a), &mut negatives(a));
            let classes: BTreeSet<i64> = positives(a).map(|r| free[r]).collect();
            for &c in &classes {
                let margin =
                    hinge(&mut positives(a).filter(|&r| free[r] == c), &mut negatives(a).filter(|&r| free[r] == c));
                terms[2 + 3 * side] += 0.5 * share / classes.len() as f64 * margin;
            }
            let predicates: BTreeSet<i64> = positives(a).map(|r| case.predicate[r]).collect();
            for &e in &predicates {
                let margin = hinge(
                    &mut positives(a).filter(|&r| case.predicate[r] == e),
                    &mut negatives(a).filter(|&r| said[r] == e),
                );
                terms[3 + 3 * side] += 0.1 * share / predicates.len() as f64 * margin;
            }
        }
    }
    terms
}

fn cases() -> Vec<Case> {
    serde_json::from_str(include_str!("fixtures/graphical_contrastive.json")).unwrap()
}

#[test]
fn equals_pytorch() {
    for (at, case) in cases().iter().enumerate() {
        for (variant, wanted) in &case.wanted {
            let loss = match variant.as_str() {
                "paper" => GraphicalContrastive::new(Variant::Paper),
                "code" => GraphicalContrastive::new(Variant::Code),
                _ => GraphicalContrastive::new(Variant::Code).with_compensation(Compensation::On),
            };
            let (terms, grad) = case.evaluate(&loss);
            for (ours, theirs) in flat(&terms).iter().zip(&wanted.terms) {
                assert!((ours - theirs).abs() < 1e-6, "case {at}, {variant}: {terms:?}, wanted {:?}", wanted.terms);
            }
            for (k, (ours, theirs)) in grad.iter().zip(&wanted.grad).enumerate() {
                assert!((f64::from(*ours) - theirs).abs() < 3e-7, "case {at}, {variant}, {k}: {ours}, wanted {theirs}");
            }
        }
    }
}

#[test]
fn worked_examples() {
    let code = GraphicalContrastive::new(Variant::Code).with_lambda([0.0, 1.0, 1.0, 0.0]);
    let paper = GraphicalContrastive::new(Variant::Paper).with_lambda([0.0, 1.0, 1.0, 0.0]);
    let near = |found: f64, wanted: f64| assert!((found - wanted).abs() < 1e-6, "{found}, wanted {wanted}");

    let a = Case::one_anchor(&[(0.9, 1), (0.6, 1)], &[(0.5, 1), (0.1, 1)]);
    near(a.evaluate(&code).0.subject[0], 0.05);
    near(a.evaluate(&paper).0.subject[0], 0.1);
    // Every object is the anchor of a single pair: no group has both signs.
    assert_eq!(a.evaluate(&code).0.object, [0.0; 3]);
    // One active margin, so the slopes are -1/n and +1/n; d phi/d z = (-phi (1 - phi), phi (1 - phi)).
    let grad = a.evaluate(&paper.clone().with_lambda([0.0, 1.0, 0.0, 0.0])).1;
    let wanted = [0.0, 0.0, 0.24, -0.24, -0.25, 0.25, 0.0, 0.0];
    assert!(grad.iter().zip(wanted).all(|(g, w)| (g - w).abs() < 1e-6), "{grad:?}");

    let b = Case::one_anchor(&[(0.9, 1), (0.6, 1)], &[]);
    assert_eq!(b.evaluate(&code).0.value(), 0.0);

    let c = Case::one_anchor(&[(0.6, 1), (0.9, 2)], &[(0.55, 1), (0.95, 3)]);
    near(c.evaluate(&code).0.subject[0], 0.55 / 2.0);
    near(c.evaluate(&code).0.subject[1], 0.075);
    near(c.evaluate(&code.clone().with_compensation(Compensation::On)).0.subject[1], 0.4 / 3.0);
    // Class B has no negatives: counted by the nested mean, not by the flat one.
    near(c.evaluate(&paper).0.subject[1], 0.075);
    near(c.evaluate(&paper.clone().with_class_mean(ClassMean::Flat)).0.subject[1], 0.15);
    near(c.evaluate(&paper.with_normaliser(Normaliser::Entities)).0.subject[1], 0.025);
    near(c.evaluate(&code.with_normaliser(Normaliser::Items)).0.subject[1], 0.15);
}

#[test]
fn a_background_box_is_of_no_class() {
    let mut case = Case::one_anchor(&[(0.6, 0)], &[(0.9, 0)]);
    let loss = GraphicalContrastive::new(Variant::Code).with_lambda([0.0, 0.0, 1.0, 0.0]);
    assert!(case.evaluate(&loss).0.value() > 0.0);
    case.object_class[1] = -1;
    assert_eq!(case.evaluate(&loss).0.value(), 0.0);
}

#[test]
fn lists_say_where_a_row_counts() {
    let case = &cases()[1];
    let loss = GraphicalContrastive::new(Variant::Paper);
    let with = |list: i64| {
        let lists = vec![list; case.predicate.len()];
        let pairs = Pairs { lists: Some(&lists), ..case.pairs() };
        let mut grad = vec![0.0; case.logits.len()];
        flat(&loss.value_and_gradient(&pairs, &mut grad).unwrap())
    };
    let all = flat(&case.evaluate(&loss).0);
    assert_eq!(with(7), all);
    assert_eq!(with(1), [all[0], 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    assert_eq!(with(2)[..4], [0.0, all[1], all[2], all[3]]);
    assert_eq!(with(4)[4..], all[4..]);
    assert_eq!(with(0), [0.0; 7]);
}

#[test]
fn any_kernel_goes_into_the_slot() {
    let case = &cases()[1];
    let soft = Expr::parse("log(1 + exp(5*(n - p)))", MARGIN_VARIABLES).unwrap();
    let loss = GraphicalContrastive::new(Variant::Paper).with_margin(&soft);
    let (_, grad) = case.evaluate(&loss);
    let step = 1e-2;
    for k in (0..case.logits.len()).step_by(7) {
        let at = |by: f32| {
            let mut moved = case.clone();
            moved.logits[k] += by;
            moved.evaluate(&loss).0.value()
        };
        let slope = (at(step) - at(-step)) / (2.0 * f64::from(step));
        assert!((slope - f64::from(grad[k])).abs() < 2e-4, "{k}: {slope} against {}", grad[k]);
    }
}

#[test]
fn specs_reach_every_switch() {
    let build = |text: &str| Spec::parse(text).unwrap().build();
    let inputs = (Entry::find("graphical-contrastive").unwrap().example)(1);
    let value = |text: &str| build(text).unwrap().evaluate(&inputs).unwrap().value;
    let plain = value("graphical-contrastive");
    assert_eq!(plain, value("graphical-contrastive(margin=\"max(0.2 - (p - n), 0)\")"));
    assert_eq!(
        value("graphical-contrastive(variant=code)"),
        value("graphical-contrastive(normaliser=items-and-dummy, class_mean=flat)")
    );
    for other in ["lambda1=0", "alpha2=0.5", "variant=code", "normaliser=items", "class_mean=flat", "compensation=on"] {
        assert_ne!(plain, value(&format!("graphical-contrastive({other})")), "{other}");
    }
    let error = build("graphical-contrastive(alpha1=0.3, margin=\"n - p\")").unwrap_err().to_string();
    assert!(error.contains("alpha1: the kernel 'margin' takes the hinge's place"), "{error}");
}

#[test]
fn bad_input_is_named() {
    let good = &cases()[0];
    let error = |change: &dyn Fn(&mut Case)| {
        let mut case = good.clone();
        change(&mut case);
        let mut grad = vec![0.0; case.logits.len()];
        match GraphicalContrastive::new(Variant::Paper).value_and_gradient(&case.pairs(), &mut grad) {
            Err(LossError::Input { name, message }) => format!("{name}: {message}"),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(error(&|c| c.predicate[3] = 4), "predicate: 4 at [3]; expected 0 (none) to 3");
    assert_eq!(error(&|c| c.predicate[3] = -1), "predicate: -1 at [3]; expected 0 (none) to 3");
    assert_eq!(error(&|c| c.object[2] = c.subject[2]), "object: entity 0 at [2] is also its subject");
    assert!(error(&|c| c.object.truncate(2)).starts_with("object: expected 20 numbers"));
    assert!(error(&|c| c.width = 1).starts_with("logits: expected columns"));
    assert!(error(&|c| c.width = 3).starts_with("logits: 80 numbers are not 20 rows of 3"));
}

fn any_case() -> impl Strategy<Value = Case> {
    (2usize..9, 1i64..4, 1usize..6, any::<u64>()).prop_map(|(entities, classes, predicates, seed)| {
        use rand::{RngExt, SeedableRng};
        let mut rng = rand::rngs::ChaCha8Rng::seed_from_u64(seed);
        let labels: Vec<i64> = (0..entities).map(|_| rng.random_range(0..classes)).collect();
        let mut case = Case::one_anchor(&[], &[]);
        case.width = predicates + 1;
        for (s, o) in (0..entities).flat_map(|s| (0..entities).map(move |o| (s, o))).filter(|(s, o)| s != o) {
            case.logits.extend((0..=predicates).map(|_| rng.random_range(-3.0f32..3.0)));
            case.subject.push(100 * s as i64);
            case.object.push(100 * o as i64);
            case.subject_class.push(labels[s]);
            case.object_class.push(labels[o]);
            case.predicate.push(if rng.random_bool(0.3) { rng.random_range(1..=predicates as i64) } else { 0 });
        }
        case
    })
}

proptest! {
    #[test]
    fn equals_the_oracle(case in any_case()) {
        let logits: Vec<f64> = case.logits.iter().map(|&z| f64::from(z)).collect();
        let (terms, grad) = case.evaluate(&GraphicalContrastive::new(Variant::Paper));
        for (ours, right) in flat(&terms).iter().zip(oracle(&case, &logits)) {
            prop_assert!((ours - right).abs() < 1e-6, "{ours} against {right}");
        }
        let total = |z: &[f64]| oracle(&case, z).iter().sum::<f64>();
        for k in (0..logits.len()).step_by(5) {
            // One-sided slopes that disagree mean a kink or a change of the chosen pair within the step.
            let step = 1e-6;
            let mut moved = logits.clone();
            moved[k] += step;
            let up = (total(&moved) - total(&logits)) / step;
            moved[k] -= 2.0 * step;
            let down = (total(&logits) - total(&moved)) / step;
            if (up - down).abs() < 1e-5 {
                prop_assert!((up - f64::from(grad[k])).abs() < 2e-5, "{k}: {up} against {}", grad[k]);
            }
        }
    }

    #[test]
    fn the_order_of_rows_does_not_matter(case in any_case()) {
        let mut turned = case.clone();
        turned.logits = case.logits.chunks(case.width).rev().flatten().copied().collect();
        for (to, from) in [
            (&mut turned.subject, &case.subject),
            (&mut turned.object, &case.object),
            (&mut turned.subject_class, &case.subject_class),
            (&mut turned.object_class, &case.object_class),
            (&mut turned.predicate, &case.predicate),
        ] {
            *to = from.iter().rev().copied().collect();
        }
        let loss = GraphicalContrastive::new(Variant::Code);
        let ((a, grad_a), (b, grad_b)) = (case.evaluate(&loss), turned.evaluate(&loss));
        prop_assert!((a.value() - b.value()).abs() < 1e-12);
        let back: Vec<f32> = grad_b.chunks(case.width).rev().flatten().copied().collect();
        prop_assert!(grad_a.iter().zip(&back).all(|(x, y)| (x - y).abs() < 1e-7));
    }
}
