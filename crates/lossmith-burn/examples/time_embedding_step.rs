//! Times training steps of the embedding network for `bench/embedding_step.py`: prints seconds per step, the median of
//! the steps after the first two. Arguments: STEPS BATCH SIDE DIM WIDTH...

use std::time::Instant;

use lossmith::loss::Spec;
use lossmith_burn::embedding::{Recipe, train};
use lossmith_data::make::scenes::{Kind, Scenes};

fn main() {
    let numbers: Vec<usize> = std::env::args().skip(1).map(|a| a.parse().expect("a number")).collect();
    let [steps, batch, side, dim, widths @ ..] = numbers.as_slice() else { panic!("STEPS BATCH SIDE DIM WIDTH...") };
    let scenes = Scenes { side: *side, train: 8, test: 1, ..Scenes::new(Kind::Rosettes, 1) }.make().expect("scenes");
    let recipe =
        Recipe { steps: *steps, batch: *batch, side: *side, dim: *dim, widths: widths.to_vec(), ..Recipe::default() };
    let loss = Spec::parse("discriminative").and_then(|spec| spec.build()).expect("a loss");
    let mut times = Vec::new();
    let mut last = Instant::now();
    train(&scenes.train, &recipe, loss.as_ref(), |_| {
        times.push(last.elapsed().as_secs_f64());
        last = Instant::now();
        true
    })
    .expect("a training");
    let mut times = times.split_off(2);
    times.sort_by(f64::total_cmp);
    println!("{}", times[times.len() / 2]);
}
