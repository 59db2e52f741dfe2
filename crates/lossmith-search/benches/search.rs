//! The searchers' own cost, the objective left out: CMA-ES per generation and genetic programming per generation.

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use lossmith::expr::CLASS_VARIABLES;
use lossmith_search::{cma_es, gp};

fn ask_and_tell(c: &mut Criterion) {
    for dimension in [6, 20] {
        let mut es =
            cma_es::CmaEs::new(vec![1.0; dimension], 0.5, 1, cma_es::Settings::default()).expect("a valid start");
        c.bench_function(&format!("cma_es/ask_tell/{dimension}"), |b| {
            b.iter(|| {
                let values: Vec<f64> = es.ask().iter().map(|x| x.iter().map(|v| v * v).sum()).collect();
                es.tell(&values).expect("one value per candidate");
            });
        });
    }
    let evolution = gp::Gp::new(gp::Settings::default(), CLASS_VARIABLES, 1).expect("valid settings");
    let fitness: Vec<f64> = evolution.generation().iter().map(|t| 1.0 / t.nodes().len() as f64).collect();
    c.bench_function("gp/tell/80", |b| {
        b.iter_batched_ref(|| evolution.clone(), |gp| gp.tell(&fitness), BatchSize::SmallInput);
    });
}

criterion_group!(benches, ask_and_tell);
criterion_main!(benches);
