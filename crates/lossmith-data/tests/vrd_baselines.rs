//! Known figures of VRD that need no training, to the last hit: reader, frequencies, ranking and matching all have to be right.
//! Those of FREQ are also made by `fixtures/vrd_freq.py`. Read from the folder that LOSSMITH_TEST_DATA names, and skipped without it.

#![allow(clippy::unwrap_used)]

use std::collections::HashSet;
use std::path::PathBuf;

use lossmith::frequency::{Candidates, Frequency};
use lossmith::graph::{GraphScores, NOT_PREDICTED, SceneGraph, Triple};
use lossmith::metric::visual_genome::{Mode, Report, VisualGenome};
use lossmith::metric::vrd::{Matcher, PerPair, Protocol, Task, Vrd};
use lossmith_data::graph_json::GraphSet;
use lossmith_data::vrd::{Nodes, Split, read};
use ndarray::Array2;

fn sets(nodes: Nodes) -> Option<(GraphSet, GraphSet)> {
    let Some(data) = std::env::var_os("LOSSMITH_TEST_DATA") else {
        eprintln!("skipped: LOSSMITH_TEST_DATA is not set");
        return None;
    };
    let folder = PathBuf::from(data).join("vrd");
    Some((read(&folder, Split::Train, nodes).unwrap(), read(&folder, Split::Test, nodes).unwrap()))
}

fn triples(set: &GraphSet) -> HashSet<Triple> {
    set.images.iter().flat_map(|i| i.graph.located()).map(|l| l.triple).collect()
}

fn graphs(set: &GraphSet) -> impl Iterator<Item = &SceneGraph> {
    set.images.iter().map(|i| &i.graph)
}

fn predcls(train: &GraphSet, test: &GraphSet, frequency: &Frequency, candidates: Candidates) -> Report {
    let mut metric = VisualGenome::new(Mode::PredCls, 70, Some(triples(train)));
    for graph in graphs(test) {
        let image = metric.judge(graph, &frequency.predict(&graph.boxes, &graph.labels, candidates)).unwrap();
        metric.add(&image);
    }
    metric.report()
}

fn percent(shares: [f64; 3]) -> [f64; 3] {
    shares.map(|s| (s * 10_000.0).round() / 100.0)
}

#[test]
fn freq_on_all_pairs() {
    let Some((train, test)) = sets(Nodes::Boxes) else { return };
    let frequency = Frequency::count(graphs(&train), 70, Candidates::All);
    let report = predcls(&train, &test, &frequency, Candidates::All);
    assert_eq!((report.images, report.relations), (955, 7474));

    let constraint = report.constraint;
    assert_eq!(constraint.hits, [2962, 3629, 3789]);
    assert_eq!(percent(constraint.mean), [43.19, 49.39, 50.64]);
    assert_eq!(percent(constraint.pooled), [39.63, 48.55, 50.70]);
    assert_eq!(percent(constraint.mean_recall), [7.73, 9.61, 10.07]);
    // What training never showed is never predicted.
    assert_eq!(constraint.zero_shot.unwrap(), [0.0; 3]);

    // With exact ties.
    let free = report.no_constraint;
    assert_eq!(free.hits, [3199, 4490, 5314]);
    assert_eq!(percent(free.mean), [50.31, 65.20, 73.78]);
    assert_eq!(percent(free.pooled), [42.80, 60.07, 71.10]);
    assert_eq!(percent(free.mean_recall), [13.08, 24.59, 34.22]);
    assert_eq!(free.zero_shot.unwrap(), [0.0; 3]);
}

/// Predicate detection: pairs are known to be related.
#[test]
fn freq_on_annotated_pairs() {
    let Some((train, test)) = sets(Nodes::LabelledBoxes) else { return };
    let frequency = Frequency::count(graphs(&train), 70, Candidates::All);
    let related = |s: u32, o: u32| {
        let counts = &frequency.counts(s, o)[1..];
        let sum = counts.iter().sum::<u64>() as f64;
        counts.iter().map(|&c| if c == 0 { NOT_PREDICTED } else { c as f64 / sum }).collect()
    };
    let seen = || Some(triples(&train));
    assert_eq!(predicate_detection(&test, None, 1, related), [3937, 3938, 3938]);
    assert_eq!(predicate_detection(&test, None, 70, related), [5206, 6124, 6420]);
    assert_eq!(predicate_detection(&test, seen(), 1, related), [0; 3]);
    assert_eq!(predicate_detection(&test, seen(), 70, related), [0; 3]);
}

/// One prediction for every annotated pair, from a function of the classes.
fn predicate_detection(
    test: &GraphSet,
    seen: Option<HashSet<Triple>>,
    k: usize,
    row: impl Fn(u32, u32) -> Vec<f64>,
) -> [usize; 3] {
    let mut metric = Vrd::new(Protocol {
        task: Task::Predicate,
        matcher: Matcher::OneToOne,
        per_pair: PerPair::Fixed(k),
        predicates: 70,
        zero_shot: seen,
    });
    for graph in graphs(test) {
        let mut pairs: Vec<[u32; 2]> = Vec::new();
        for r in &graph.relations {
            if !pairs.contains(&[r.subject, r.object]) {
                pairs.push([r.subject, r.object]);
            }
        }
        let rows = pairs.iter().flat_map(|&[s, o]| {
            let mut row = row(graph.labels[s as usize], graph.labels[o as usize]);
            row.insert(0, 0.0);
            row
        });
        let table: Vec<f64> = rows.collect();
        let scores = GraphScores {
            boxes: graph.boxes.clone(),
            labels: graph.labels.clone(),
            scores: vec![1.0; graph.boxes.len()],
            predicates: Array2::from_shape_vec((pairs.len(), 71), table).unwrap(),
            pairs,
        };
        metric.add(&metric.judge(graph, &scores).unwrap());
    }
    assert_eq!(metric.report().rows_without_prediction, 0);
    metric.report().hits
}

#[test]
fn predicate_detection_from_counts() {
    let Some((train, test)) = sets(Nodes::LabelledBoxes) else { return };
    let frequency = Frequency::count(graphs(&train), 70, Candidates::All);
    let mut marginal = [0.0; 70];
    for relation in graphs(&train).flat_map(|g| &g.relations) {
        marginal[relation.predicate as usize - 1] += 1.0 / 30_355.0;
    }
    let conditional = |s: u32, o: u32| {
        let counts = &frequency.counts(s, o)[1..];
        let sum = counts.iter().sum::<u64>().max(1) as f64;
        counts.iter().zip(marginal).map(|(&c, m)| c as f64 / sum + 1e-3 * m).collect()
    };
    let seen = || Some(triples(&train));

    assert_eq!(predicate_detection(&test, None, 1, |_, _| marginal.to_vec())[1], 1385);
    assert_eq!(predicate_detection(&test, None, 70, |_, _| marginal.to_vec())[1..], [4478, 5962]);
    assert_eq!(predicate_detection(&test, seen(), 1, |_, _| marginal.to_vec())[1], 87);
    assert_eq!(predicate_detection(&test, seen(), 70, |_, _| marginal.to_vec())[1..], [457, 730]);

    assert_eq!(predicate_detection(&test, None, 1, conditional)[1], 3990);
    assert_eq!(predicate_detection(&test, None, 70, conditional)[1..], [6334, 6940]);
    assert_eq!(predicate_detection(&test, seen(), 1, conditional)[1], 53);
    assert_eq!(predicate_detection(&test, seen(), 70, conditional)[1..], [214, 522]);
}
