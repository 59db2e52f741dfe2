//! Times class losses on request, for `bench/class_loss.py`: every line of standard input is `ROWS CLASSES LOSS` (or
//! `ROWS CLASSES copy` for a copy of the same bytes); every answer is the best of a few times in seconds.

use std::io::BufRead;
use std::time::Instant;

use lossmith::loss::{ClassLoss, Spec};

fn main() {
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("a line of text");
        let mut words = line.splitn(3, ' ');
        let mut number = || words.next().and_then(|w| w.parse::<usize>().ok()).expect("ROWS CLASSES LOSS");
        let (rows, classes) = (number(), number());
        println!("{}", time(rows, classes, words.next().expect("a loss")));
    }
}

fn time(rows: usize, classes: usize, loss: &str) -> f64 {
    let logits: Vec<f32> = (0..rows * classes).map(|i| 3.0 * (i as f32 * 0.37).sin()).collect();
    let labels: Vec<u32> = (0..rows).map(|i| (i * 7 % classes) as u32).collect();
    let mut grad = vec![0.0f32; rows * classes];
    if loss == "copy" {
        return best(|| grad.copy_from_slice(std::hint::black_box(&logits)));
    }
    let loss = ClassLoss::from_spec(&Spec::parse(loss).expect("a loss")).expect("a class loss");
    best(|| {
        std::hint::black_box(loss.value_and_gradient(&logits, &labels, classes, &mut grad));
    })
}

/// The least of a few times, after one run to warm up; short jobs are repeated.
fn best(mut job: impl FnMut()) -> f64 {
    job();
    let start = Instant::now();
    job();
    let repeats = (2e-3 / start.elapsed().as_secs_f64()).ceil().max(1.0) as u32;
    let one = |_| {
        let start = Instant::now();
        (0..repeats).for_each(|_| job());
        start.elapsed().as_secs_f64() / f64::from(repeats)
    };
    (0..5).map(one).fold(f64::INFINITY, f64::min)
}
