//! Times the Visual Genome protocol on generated images, for `bench/relations.py`: IMAGES BOXES [DUMP].
//!
//! Images are made one after the other and thrown away, as a stream of predictions is. With DUMP the first images are printed with what
//! was found in them, so that the published algorithm can be timed on the same.

use std::time::Instant;

use lossmith::graph::{GraphScores, Relation, SceneGraph};
use lossmith::metric::visual_genome::{Mode, VisualGenome};
use ndarray::Array2;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use rayon::prelude::*;
use serde_json::json;

const PREDICATES: usize = 50;
const CLASSES: u32 = 150;
const RELATIONS: usize = 10;
const BATCH: usize = 64;

fn image(index: u64, boxes: usize) -> (SceneGraph, GraphScores) {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    rng.set_stream(index);
    let corners: Vec<[f64; 4]> = (0..boxes)
        .map(|_| {
            let [x, y, w, h]: [f64; 4] = std::array::from_fn(|_| f64::from(rng.random_range(1..400u32)));
            [x, y, x + w, y + h]
        })
        .collect();
    let labels: Vec<u32> = (0..boxes).map(|_| rng.random_range(0..CLASSES)).collect();
    let n = boxes as u32;
    let pairs: Vec<[u32; 2]> = (0..n).flat_map(|s| (0..n).filter(move |&o| o != s).map(move |o| [s, o])).collect();
    let relations = (0..RELATIONS).map(|_| {
        let [subject, object] = pairs[rng.random_range(0..pairs.len())];
        Relation { subject, object, predicate: rng.random_range(1..=PREDICATES as u32) }
    });
    let relations: Vec<Relation> = relations.collect();
    let mut table = Array2::<f64>::zeros((pairs.len(), PREDICATES + 1));
    for mut row in table.outer_iter_mut() {
        row.mapv_inplace(|_| rng.random::<f64>());
        row[0] += 20.0 * rng.random::<f64>();
        let sum = row.sum();
        row.mapv_inplace(|v| v / sum);
    }
    for (at, relation) in relations.iter().enumerate().filter(|(at, _)| at % 2 == 0) {
        let row = pairs.iter().position(|p| *p == [relation.subject, relation.object]).unwrap_or(at);
        table[[row, relation.predicate as usize]] += 0.5;
    }
    let scores = GraphScores {
        boxes: corners.clone(),
        labels: labels.clone(),
        scores: vec![1.0; boxes],
        pairs,
        predicates: table,
    };
    (SceneGraph { boxes: corners, labels, relations }, scores)
}

/// The most memory that the process had, in MB; 0 where the system does not say.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<u64>().ok()).unwrap_or(0) / 1024
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let numbers: Vec<usize> = std::env::args().skip(1).map(|a| a.parse()).collect::<Result<_, _>>()?;
    let [images, boxes, rest @ ..] = &numbers[..] else { return Err("expected IMAGES BOXES [DUMP]".into()) };
    let mut metric = VisualGenome::new(Mode::PredCls, PREDICATES, None);
    let mut seconds = 0.0;
    let mut dumped = Vec::new();
    for first in (0..*images).step_by(BATCH) {
        let batch: Vec<_> =
            (first..(first + BATCH).min(*images)).into_par_iter().map(|i| image(i as u64, *boxes)).collect();
        let start = Instant::now();
        let judged: Vec<_> =
            batch.par_iter().map(|(truth, scores)| metric.judge(truth, scores)).collect::<Result<_, _>>()?;
        judged.iter().for_each(|j| metric.add(j));
        seconds += start.elapsed().as_secs_f64();
        for (truth, scores) in batch.iter().take(rest.first().map_or(0, |dump| dump.saturating_sub(first))) {
            let mut alone = VisualGenome::new(Mode::PredCls, PREDICATES, None);
            alone.add(&alone.judge(truth, scores)?);
            let (report, table) = (alone.report(), scores.predicates.iter().copied().collect::<Vec<f64>>());
            dumped.push(json!({"boxes": truth.boxes, "labels": truth.labels, "relations": truth.relations, "pairs": scores.pairs,
                "predicates": table, "hits": [report.constraint.hits, report.no_constraint.hits]}));
        }
    }
    let recall = metric.report().constraint.mean;
    println!(
        "{}",
        json!({"images": images, "seconds": seconds, "peak_mb": peak(), "recall": recall, "dumped": dumped})
    );
    Ok(())
}
