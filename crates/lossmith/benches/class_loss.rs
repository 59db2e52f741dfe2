//! Class losses on a small batch, as a trainer sees them, and on a large one; formulas on blocks.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use lossmith::expr::{CLASS_VARIABLES, Expr, Kernel};
use lossmith::loss::{ClassLoss, Spec};

const LOSSES: [&str; 4] = ["cross-entropy", "baikal", "-(log(y) - x/y)/n", "tanh(x - y)*log(y) + exp(y)/sqrt(y + n)"];

fn value_and_gradient(c: &mut Criterion) {
    for (rows, classes) in [(100, 10), (100_000, 10), (1_000, 1_000)] {
        let mut group = c.benchmark_group(format!("value_and_gradient/{rows}x{classes}"));
        group.throughput(Throughput::Elements((rows * classes) as u64));
        let logits: Vec<f32> = (0..rows * classes).map(|i| 3.0 * (i as f32 * 0.37).sin()).collect();
        let labels: Vec<u32> = (0..rows).map(|i| (i * 7 % classes) as u32).collect();
        let mut grad = vec![0.0; logits.len()];
        for text in LOSSES {
            let loss = ClassLoss::from_spec(&Spec::parse(text).expect("a loss")).expect("a class loss");
            group.bench_function(BenchmarkId::from_parameter(text), |b| {
                b.iter(|| black_box(loss.value_and_gradient(black_box(&logits), &labels, classes, &mut grad)));
            });
        }
    }
}

fn blocks(c: &mut Criterion) {
    let mut group = c.benchmark_group("block/4096");
    group.throughput(Throughput::Elements(4096));
    let numbers: Vec<f32> = (0..4096).map(|i| 0.1 + (i % 97) as f32 / 100.0).collect();
    let (mut value, mut slope) = (vec![0.0; 4096], vec![vec![0.0; 4096]; 3]);
    for text in ["x*log(y) + (1 - x)*log(1.1 - y)", "max(1 - x*y, 0)", "tanh(x)*sqrt(y) - exp(-n)"] {
        let kernel = Kernel::new(&Expr::parse(text, CLASS_VARIABLES).expect("a formula"));
        group.bench_function(BenchmarkId::from_parameter(text), |b| {
            b.iter(|| {
                let mut slopes: Vec<&mut [f32]> = slope.iter_mut().map(Vec::as_mut_slice).collect();
                kernel.block(black_box(&[&numbers, &numbers, &numbers]), &mut value, &mut slopes);
            });
        });
    }
}

criterion_group!(benches, value_and_gradient, blocks);
criterion_main!(benches);
