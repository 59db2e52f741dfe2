//! Times ask and tell of CMA-ES, per generation; `bench/cma_es.py` sets pycma beside it.
//!
//! Arguments: dimension, generations. Prints seconds per generation, the objective left out.

#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use lossmith_search::cma_es::{CmaEs, Settings};

fn main() {
    let mut arguments = std::env::args().skip(1).map(|a| a.parse::<usize>().expect("a whole number"));
    let (dimension, generations) = (arguments.next().unwrap_or(20), arguments.next().unwrap_or(1_000));
    let mut es = CmaEs::new(vec![1.0; dimension], 0.5, 1, Settings::default()).expect("a valid start");
    let mut spent = Duration::ZERO;
    for _ in 0..generations {
        let start = Instant::now();
        let candidates = es.ask();
        spent += start.elapsed();
        let values: Vec<f64> = candidates.iter().map(|x| ellipsoid(x)).collect();
        let start = Instant::now();
        es.tell(&values).expect("one value per candidate");
        spent += start.elapsed();
    }
    println!("{}", spent.as_secs_f64() / generations as f64);
}

fn ellipsoid(x: &[f64]) -> f64 {
    let last = (x.len() - 1).max(1) as f64;
    x.iter().enumerate().map(|(i, v)| 10f64.powf(6.0 * i as f64 / last) * v * v).sum()
}
