//! Times value and gradient of the graphical contrastive loss on the pairs of a JSON file, for `bench/graphical_contrastive.py`.

use std::time::Instant;

use lossmith::loss::graphical_contrastive::{GraphicalContrastive, Pairs, Variant};
use serde::Deserialize;

#[derive(Deserialize)]
struct Input {
    width: usize,
    logits: Vec<f32>,
    subject: Vec<i64>,
    object: Vec<i64>,
    subject_class: Vec<i64>,
    object_class: Vec<i64>,
    predicate: Vec<i64>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("expected a JSON file")?;
    let input: Input = serde_json::from_str(&std::fs::read_to_string(path)?)?;
    let pairs = Pairs {
        logits: &input.logits,
        width: input.width,
        subject: &input.subject,
        object: &input.object,
        subject_class: &input.subject_class,
        object_class: &input.object_class,
        predicate: &input.predicate,
        lists: None,
    };
    let loss = GraphicalContrastive::new(Variant::Code);
    let mut grad = vec![0.0; input.logits.len()];
    let mut times = Vec::new();
    let mut value = 0.0;
    for _ in 0..50 {
        let start = Instant::now();
        value = loss.value_and_gradient(&pairs, &mut grad)?.value();
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    println!("{{\"seconds\": {}, \"value\": {value}}}", times[times.len() / 2]);
    Ok(())
}
