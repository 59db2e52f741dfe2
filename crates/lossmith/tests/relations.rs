//! The relationship protocols against numpy versions of the published algorithms (`fixtures/relations.py`): hits exactly,
//! figures to rounding, with and without ties.

#![allow(clippy::unwrap_used)]

use std::collections::HashSet;

use lossmith::graph::{Corners, GraphScores, Relation, SceneGraph, Triple};
use lossmith::metric::openimages_vrd::{Challenge, Reldn, reldn_detections};
use lossmith::metric::visual_genome::{Mode, Recall, VisualGenome};
use lossmith::metric::vrd::{Matcher, PerPair, Protocol, Task, Vrd};
use ndarray::Array2;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Fixture {
    images: Vec<Image>,
    seen: Vec<[u32; 3]>,
    visual_genome: Value,
    vrd: Vec<Value>,
    reldn: Value,
    challenge: Value,
}

#[derive(Deserialize)]
struct Image {
    boxes: Vec<Corners>,
    labels: Vec<u32>,
    relations: Vec<[u32; 3]>,
    found: Vec<Corners>,
    found_labels: Vec<u32>,
    scores: Vec<f64>,
    pairs: Vec<[u32; 2]>,
    predicates: Vec<Vec<f64>>,
    verified: Vec<u32>,
}

const PREDICATES: usize = 5;

impl Image {
    fn truth(&self) -> SceneGraph {
        let relation = |&[subject, object, predicate]: &[u32; 3]| Relation { subject, object, predicate };
        SceneGraph {
            boxes: self.boxes.clone(),
            labels: self.labels.clone(),
            relations: self.relations.iter().map(relation).collect(),
        }
    }

    fn prediction(&self, boxes: &[Corners], labels: &[u32]) -> GraphScores {
        let table = self.predicates.iter().flatten().copied().collect();
        GraphScores {
            boxes: boxes.to_vec(),
            labels: labels.to_vec(),
            scores: self.scores.clone(),
            pairs: self.pairs.clone(),
            predicates: Array2::from_shape_vec((self.pairs.len(), PREDICATES + 1), table).unwrap(),
        }
    }

    fn detected(&self) -> GraphScores {
        self.prediction(&self.found, &self.found_labels)
    }
}

impl Fixture {
    fn all() -> Vec<Fixture> {
        serde_json::from_str(include_str!("fixtures/relations.json")).unwrap()
    }

    fn seen(&self) -> HashSet<Triple> {
        self.seen.iter().map(|&[subject, predicate, object]| Triple { subject, predicate, object }).collect()
    }
}

fn close(found: &[f64], wanted: &Value, what: &str) {
    let wanted: Vec<f64> = match wanted {
        Value::Array(a) => a.iter().map(|v| v.as_f64().unwrap()).collect(),
        one => vec![one.as_f64().unwrap()],
    };
    assert_eq!(found.len(), wanted.len(), "{what}");
    for (f, w) in found.iter().zip(&wanted) {
        assert!((f - w).abs() < 1e-12, "{what}: {found:?}, wanted {wanted:?}");
    }
}

#[test]
fn visual_genome() {
    for fixture in Fixture::all() {
        for (mode, name) in [(Mode::PredCls, "predcls"), (Mode::SgCls, "sgcls"), (Mode::SgDet, "sgdet")] {
            let mut metric = VisualGenome::new(mode, PREDICATES, Some(fixture.seen()));
            for image in &fixture.images {
                let boxes = if mode == Mode::SgDet { &image.found } else { &image.boxes };
                let labels = if mode == Mode::PredCls { &image.labels } else { &image.found_labels };
                let judged = metric.judge(&image.truth(), &image.prediction(boxes, labels)).unwrap();
                metric.add(&judged);
            }
            let report = metric.report();
            let wanted = &fixture.visual_genome[name];
            let check = |recall: &Recall, wanted: &Value, what: &str| {
                assert_eq!(serde_json::json!(recall.hits), wanted["hits"], "{name} {what}");
                close(&recall.mean, &wanted["mean"], what);
                close(&recall.pooled, &wanted["pooled"], what);
                close(&recall.mean_recall, &wanted["mean_recall"], what);
                close(&recall.zero_shot.unwrap(), &wanted["zero_shot"], what);
            };
            check(&report.constraint, &wanted["constraint"], "constraint");
            check(&report.no_constraint, &wanted["no_constraint"], "no constraint");
            if mode != Mode::SgDet {
                close(&report.annotated_pairs.unwrap(), &wanted["annotated_pairs"]["pooled"], "annotated pairs");
            }
            let empty = fixture.images.iter().filter(|i| i.relations.is_empty()).count();
            assert_eq!((report.images, report.images_without_relations), (12 - empty, empty));
        }
    }
}

#[test]
fn vrd() {
    for fixture in Fixture::all() {
        for wanted in &fixture.vrd {
            let task = match wanted["task"].as_str().unwrap() {
                "relationship" => Task::Relationship,
                "phrase" => Task::Phrase,
                _ => Task::Predicate,
            };
            let mut metric = Vrd::new(Protocol {
                task,
                matcher: if wanted["matcher"] == "cover" { Matcher::Cover } else { Matcher::OneToOne },
                per_pair: PerPair::Fixed(wanted["k"].as_u64().unwrap() as usize),
                predicates: PREDICATES,
                zero_shot: wanted["zero_shot"].as_bool().unwrap().then(|| fixture.seen()),
            });
            for image in &fixture.images {
                let prediction = match task {
                    Task::Predicate => image.prediction(&image.boxes, &image.labels),
                    _ => image.detected(),
                };
                let judged = metric.judge(&image.truth(), &prediction).unwrap();
                metric.add(&judged);
            }
            let report = metric.report();
            assert_eq!(serde_json::json!(report.hits), wanted["hits"], "{wanted}");
            assert_eq!(serde_json::json!(report.rows), wanted["rows"], "{wanted}");
        }
    }
}

#[test]
fn free_k_is_the_best_k() {
    let fixture = &Fixture::all()[0];
    let score = |per_pair| {
        let mut metric = Vrd::new(Protocol {
            task: Task::Relationship,
            matcher: Matcher::Cover,
            per_pair,
            predicates: PREDICATES,
            zero_shot: None,
        });
        for image in &fixture.images {
            let judged = metric.judge(&image.truth(), &image.detected()).unwrap();
            metric.add(&judged);
        }
        metric.report()
    };
    let fixed: Vec<_> = [1, 2, 3, 4, 5].map(|k| score(PerPair::Fixed(k))).into();
    let free = score(PerPair::Free);
    for n in 0..3 {
        let best = fixed.iter().map(|r| r.hits[n]).max().unwrap();
        assert_eq!(free.hits[n], best);
        assert_eq!(fixed[free.k[n] - 1].hits[n], best);
    }
}

#[test]
fn open_images_by_reldn() {
    for fixture in Fixture::all() {
        let mut metric = Reldn::new(PREDICATES);
        for image in &fixture.images {
            let judged = metric.judge(&image.truth().located(), &reldn_detections(&image.detected()));
            metric.add(&judged);
        }
        let (report, wanted) = (metric.report(), &fixture.reldn);
        close(&report.recall, &wanted["recall"], "recall");
        close(&report.ap_relation, &wanted["ap_relation"], "AP of relations");
        close(&report.ap_phrase, &wanted["ap_phrase"], "AP of phrases");
        close(&[report.wmap_relation], &wanted["wmap_relation"], "wmAP of relations");
        close(&[report.wmap_phrase], &wanted["wmap_phrase"], "wmAP of phrases");
        close(&[report.map_relation], &wanted["map_relation"], "mAP of relations");
        close(&[report.score_wtd], &wanted["score_wtd"], "score_wtd");
    }
}

#[test]
fn open_images_by_the_challenge_tool() {
    for fixture in Fixture::all() {
        let mut metric = Challenge::new();
        let normalised = |boxes: &[Corners]| boxes.iter().map(|b| b.map(|v| v / 32.0)).collect::<Vec<_>>();
        for image in &fixture.images {
            let truth = SceneGraph { boxes: normalised(&image.boxes), ..image.truth() };
            let found = GraphScores { boxes: normalised(&image.found), ..image.detected() };
            let verified = image.verified.iter().copied().collect();
            let judged = metric.judge(&truth.located(), &verified, &reldn_detections(&found));
            metric.add(&judged);
        }
        let (report, wanted) = (metric.report(), &fixture.challenge);
        assert_eq!(serde_json::json!(report.ignored_detections), wanted["ignored_detections"]);
        close(&[report.score], &wanted["score"], "score");
        for (task, name) in [(&report.relation, "relation"), (&report.phrase, "phrase")] {
            close(&[task.map], &wanted[name]["map"], name);
            close(&[task.pooled_ap], &wanted[name]["pooled_ap"], name);
            close(&task.recall, &wanted[name]["recall"], name);
            for ((predicate, ap), wanted) in task.ap.iter().zip(wanted[name]["ap"].as_array().unwrap()) {
                assert_eq!(serde_json::json!(predicate), wanted[0]);
                close(&[*ap], &wanted[1], name);
            }
        }
    }
}

#[test]
fn nothing_at_all_scores_nothing() {
    let empty = GraphScores {
        boxes: vec![],
        labels: vec![],
        scores: vec![],
        pairs: vec![],
        predicates: Array2::zeros((0, PREDICATES + 1)),
    };
    let image = &Fixture::all()[0].images[0];
    let mut metric = VisualGenome::new(Mode::SgDet, PREDICATES, None);
    assert_eq!(metric.report().constraint.mean, [0.0; 3]);
    let judged = metric.judge(&image.truth(), &empty).unwrap();
    metric.add(&judged);
    assert_eq!((metric.report().images, metric.report().constraint.mean), (1, [0.0; 3]));
    assert_eq!(metric.report().constraint.zero_shot, None);
    assert_eq!(Reldn::new(PREDICATES).report().score_wtd, 0.0);
    assert_eq!(Challenge::new().report().score, 0.0);
}

#[test]
fn given_boxes_must_be_given() {
    let image = &Fixture::all()[0].images[0];
    let metric = VisualGenome::new(Mode::PredCls, PREDICATES, None);
    let error = metric.judge(&image.truth(), &image.detected()).unwrap_err().to_string();
    assert!(error.contains("but boxes are given"), "{error}");
    let wide = VisualGenome::new(Mode::SgDet, 7, None).judge(&image.truth(), &image.detected()).unwrap_err();
    assert!(wide.to_string().contains("rows of 6 predicate scores, expected 8"), "{wide}");
}
