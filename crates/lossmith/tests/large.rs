//! Losses of very many terms against the same formula in f64: no sum may lose what is small in it.

#![allow(clippy::unwrap_used)]

use lossmith::loss::{Evaluation, Inputs, Spec};
use ndarray::{ArrayD, IxDyn};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

/// Value and gradient in f64; the gradient in rows of this length.
struct Truth {
    value: f64,
    grad: Vec<f64>,
    row: usize,
}

fn evaluate(loss: &str, inputs: &Inputs) -> Evaluation {
    let loss = Spec::parse(loss).unwrap().build().unwrap();
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| loss.evaluate(inputs).unwrap())
    };
    let (one, three) = (on(1), on(3));
    assert!(one == three, "the number of threads matters");
    one
}

/// Value within a millionth, and in each row the gradient within a millionth of its largest.
fn check(what: &str, found: &Evaluation, truth: &Truth) {
    let away = (found.value - truth.value).abs();
    assert!(away <= 1e-6 * truth.value.abs(), "{what}: {:e}, not {:e}", found.value, truth.value);
    let grad = found.grad.as_slice().unwrap();
    assert_eq!(grad.len(), truth.grad.len(), "{what}");
    for (at, (found, right)) in grad.chunks(truth.row).zip(truth.grad.chunks(truth.row)).enumerate() {
        let largest = right.iter().fold(0.0, |m: f64, g| m.max(g.abs()));
        let away = found.iter().zip(right).fold(0.0, |m: f64, (a, b)| m.max((f64::from(*a) - b).abs()));
        assert!(away <= 1e-6 * largest, "{what}, row {at}: gradient {away:e} away, largest {largest:e}");
    }
}

fn floats(shape: &[usize], values: Vec<f32>) -> ArrayD<f32> {
    ArrayD::from_shape_vec(IxDyn(shape), values).unwrap()
}

fn integers(values: impl IntoIterator<Item = i64>) -> ArrayD<i64> {
    ndarray::Array1::from_iter(values).into_dyn()
}

fn random(count: usize, seed: u64, draw: impl Fn(&mut ChaCha8Rng) -> f32) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|_| draw(&mut rng)).collect()
}

/// About normal with this deviation.
fn normal(deviation: f32) -> impl Fn(&mut ChaCha8Rng) -> f32 {
    move |rng| deviation * ((0..12).map(|_| rng.random::<f32>()).sum::<f32>() - 6.0)
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|v| f64::from(*v)).collect()
}

const MILLION: usize = 1_000_000;

/// 1 above 0, 0 below, and the mean of both at 0.
fn beyond(open: f64) -> f64 {
    if open == 0.0 { 0.5 } else { f64::from(u8::from(open > 0.0)) }
}

#[test]
fn pointwise() {
    type Pair = fn(f64, f64) -> (f64, f64);
    let losses: [(&str, Pair); 6] = [
        ("perceptron", |x, y| ((-x * y).max(0.0), -x * beyond(-x * y))),
        ("hinge", |x, y| ((1.0 - x * y).max(0.0), -x * beyond(1.0 - x * y))),
        ("absolute", |x, y| ((x - y).abs(), beyond(y - x) - beyond(x - y))),
        ("squared", |x, y| ((x - y).powi(2), 2.0 * (y - x))),
        ("log", |x, y| ((-x * y).max(0.0) + (-(x * y).abs()).exp().ln_1p(), -x / (1.0 + (x * y).exp()))),
        ("exponential", |x, y| ((-x * y).exp(), -x * (-x * y).exp())),
    ];
    let target = random(MILLION, 1, |rng| if rng.random() { 1.0 } else { -1.0 });
    let near = random(MILLION, 2, normal(3.0));
    // All on the right side, by margins from 15 to 60.
    let far: Vec<f32> =
        target.iter().zip(random(MILLION, 3, |rng| rng.random_range(15.0..60.0))).map(|(t, m)| t * m).collect();
    for (name, pair) in losses {
        for (what, prediction) in [("near", &near), ("far", &far)] {
            let inputs = Inputs::new()
                .with("prediction", floats(&[MILLION], prediction.clone()))
                .with("target", floats(&[MILLION], target.clone()));
            let each: Vec<(f64, f64)> =
                wide(&target).into_iter().zip(wide(prediction)).map(|(x, y)| pair(x, y)).collect();
            let count = MILLION as f64;
            let truth = Truth {
                value: each.iter().map(|e| e.0).sum::<f64>() / count,
                grad: each.iter().map(|e| e.1 / count).collect(),
                row: MILLION,
            };
            check(&format!("{name}, {what}"), &evaluate(name, &inputs), &truth);
        }
    }
}

#[test]
fn regularisers() {
    let weights = random(MILLION, 4, normal(0.1));
    let inputs = Inputs::new()
        .with("prediction", floats(&[1], vec![1.0]))
        .with("target", floats(&[1], vec![1.0]))
        .with("weights", floats(&[MILLION], weights.clone()));
    let found = evaluate("structural-risk(loss=squared, lambda=0.5)", &inputs);
    let grad = wide(&weights);
    let truth = Truth { value: 0.5 * grad.iter().map(|w| w * w).sum::<f64>(), grad, row: MILLION };
    let found = Evaluation { grad: found.more_grads[0].1.clone(), ..found };
    check("structural-risk", &found, &truth);
}

#[test]
fn focal() {
    let (points, classes) = (250_000, 4);
    let logits = random(points * classes, 5, normal(4.0));
    let labels: Vec<i64> = (0..points as i64).map(|i| i % 97 % 6 - 1).collect();
    let divisor = labels.iter().filter(|l| **l > 0).count() as f64;
    let mut truth = Truth { value: 0.0, grad: Vec::new(), row: points * classes };
    for (at, z) in wide(&logits).into_iter().enumerate() {
        let (label, class) = (labels[at / classes], (at % classes) as i64 + 1);
        let (sign, alpha) = if label == class { (1.0, 0.25) } else { (-1.0, 0.75) };
        let (q, miss) = (1.0 / (1.0 + (-sign * z).exp()), 1.0 / (1.0 + (sign * z).exp()));
        let log_q = -(-sign * z).exp().ln_1p();
        let counts = f64::from(u8::from(label >= 0)) / divisor;
        truth.value -= counts * alpha * miss * miss * log_q;
        truth.grad.push(counts * sign * alpha * miss * miss * (2.0 * q * log_q - miss));
    }
    let inputs = Inputs::new().with("prediction", floats(&[points, classes], logits)).with("target", integers(labels));
    check("focal", &evaluate("focal", &inputs), &truth);
}

#[test]
fn rays() {
    for (objects, rays) in [(1, MILLION), (20_000, 50)] {
        let prediction = random(objects * rays, 6, |rng| rng.random_range(1.0..40.0));
        let target = random(objects * rays, 7, |rng| rng.random_range(1.0..40.0));
        let weight = random(objects, 8, |rng| rng.random_range(0.1..1.0));
        let inputs = Inputs::new()
            .with("prediction", floats(&[objects, rays], prediction.clone()))
            .with("target", floats(&[objects, rays], target.clone()))
            .with("weight", floats(&[objects], weight.clone()));
        let total: f64 = wide(&weight).iter().sum();
        let mut iou = Truth { value: 0.0, grad: Vec::new(), row: rays };
        let mut smooth = Truth { value: 0.0, grad: Vec::new(), row: rays };
        for ((p, t), w) in prediction.chunks(rays).zip(target.chunks(rays)).zip(wide(&weight)) {
            let (p, t) = (wide(p), wide(t));
            let (a, b) = p.iter().zip(&t).fold((0.0, 0.0), |(a, b), (p, t)| (a + p.min(*t), b + p.max(*t)));
            iou.value += w / total * (b / a).ln();
            for (p, t) in p.into_iter().zip(t) {
                let slope = if p < t {
                    -1.0 / a
                } else if p > t {
                    1.0 / b
                } else {
                    0.5 / b - 0.5 / a
                };
                iou.grad.push(w / total * slope);
                let d = (p - t).abs();
                let value = if d < 1.0 { 0.5 * d * d } else { d - 0.5 };
                smooth.value += w / total * value / rays as f64;
                smooth.grad.push(w / total / rays as f64 * (p - t).clamp(-1.0, 1.0));
            }
        }
        check(&format!("polar-iou of {rays} rays"), &evaluate("polar-iou", &inputs), &iou);
        check(&format!("smooth-l1-rays of {rays} rays"), &evaluate("smooth-l1-rays", &inputs), &smooth);
    }
}

#[test]
fn centerness() {
    // Sums that f32 cannot hold: 3 and many times 1e-5 of it.
    let quarter = MILLION / 4;
    let ray = |i: usize| if i.is_multiple_of(quarter) { 1e4 } else { 0.01 + (i / quarter) as f32 * 0.003 };
    let rays: Vec<f32> = (0..MILLION).map(ray).collect();
    let sums: Vec<f64> = rays.chunks(quarter).map(|q| wide(q).iter().sum()).collect();
    let c = (sums[0] / sums[2] * sums[1] / sums[3]).sqrt();
    let z = 0.7f32;
    let inputs = Inputs::new().with("prediction", floats(&[1], vec![z])).with("target", floats(&[1, MILLION], rays));
    let z = f64::from(z);
    let truth = Truth { value: z - z * c + (-z).exp().ln_1p(), grad: vec![1.0 / (1.0 + (-z).exp()) - c], row: 1 };
    check("polar-centerness(form=soft)", &evaluate("polar-centerness(form=soft)", &inputs), &truth);
}

/// Log-probabilities of a row, and one less each probability, in f64.
fn softmax(logits: &[f32]) -> (Vec<f64>, Vec<f64>) {
    let z = wide(logits);
    let most = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let first = z.iter().position(|v| *v == most).unwrap();
    let others: f64 = z.iter().enumerate().filter(|(i, _)| *i != first).map(|(_, v)| (v - most).exp()).sum();
    let log: Vec<f64> = z.iter().map(|v| v - most - others.ln_1p()).collect();
    let missed = log.iter().map(|l| -l.exp_m1()).collect();
    (log, missed)
}

/// One class far ahead of very many others, and none ahead.
fn rows(count: usize, classes: usize) -> Vec<f32> {
    let mut logits = random(count * classes, 9, normal(4.0));
    logits[..classes].fill(-17.0);
    logits[0] = 0.0;
    logits
}

#[test]
fn graphical_contrastive() {
    for (count, width) in [(64, 50_257), (6, 250_000), (2, MILLION)] {
        let logits = rows(count, width);
        let column = |of: &dyn Fn(i64) -> i64| integers((0..count as i64).map(of));
        let inputs = Inputs::new()
            .with("logits", floats(&[count, width], logits.clone()))
            .with("subject", column(&|i| i))
            .with("object", column(&|i| i + 1))
            .with("subject_class", column(&|_| 1))
            .with("object_class", column(&|_| 1))
            .with("predicate", column(&|i| 3 * i));
        let mut truth = Truth { value: 0.0, grad: Vec::new(), row: width };
        for (at, row) in logits.chunks(width).enumerate() {
            let (log, missed) = softmax(row);
            let share = 1.0 / count as f64;
            truth.value -= share * log[3 * at];
            let slope = |k: usize| if k == 3 * at { -missed[k] } else { f64::exp(log[k]) };
            truth.grad.extend((0..width).map(|k| share * slope(k)));
        }
        // No anchor has two pairs: what is left is the cross-entropy.
        check(&format!("graphical-contrastive of {width}"), &evaluate("graphical-contrastive", &inputs), &truth);
    }
}

#[test]
fn critic() {
    let (agents, classes) = (3, 50_257);
    let logits = rows(agents, classes);
    let actions = [0, 7, 9];
    let inputs = Inputs::new()
        .with("class_logits", floats(&[agents, classes], logits.clone()))
        .with("pair_logits", floats(&[6, 3], random(18, 10, normal(1.0))))
        .with("actions", integers(actions.map(|a| a as i64)))
        .with("truth_labels", integers([0, 7, 9]))
        .with("truth_triplets", ArrayD::from_shape_vec(IxDyn(&[1, 3]), vec![1i64, 2, 1]).unwrap());
    let found = evaluate("counterfactual-critic(critic=none, reward=recall@6)", &inputs);
    let advantages = found.lists[0].1.clone();
    let mut truth = Truth { value: 0.0, grad: Vec::new(), row: classes };
    for ((row, action), a) in logits.chunks(classes).zip(actions).zip(advantages) {
        let (log, missed) = softmax(row);
        truth.value -= a * log[action];
        truth.grad.extend((0..classes).map(|k| if k == action { -a * missed[k] } else { a * log[k].exp() }));
    }
    assert!(truth.value > 0.0);
    check("counterfactual-critic", &found, &truth);
}

/// The paper's loss of one image by its formula, in f64.
fn discriminative_truth(x: &[f64], labels: &[i64], channels: usize) -> Truth {
    let pixels = labels.len();
    let clusters = *labels.iter().max().unwrap() as usize;
    let count = |c: usize| labels.iter().filter(|l| **l == c as i64 + 1).count() as f64;
    let sizes: Vec<f64> = (0..clusters).map(count).collect();
    let mut centres = vec![vec![0.0; channels]; clusters];
    for (p, l) in labels.iter().enumerate().filter(|(_, l)| **l > 0) {
        (0..channels).for_each(|e| centres[*l as usize - 1][e] += x[e * pixels + p] / sizes[*l as usize - 1]);
    }
    let norm = |v: &[f64]| v.iter().map(|v| v * v).sum::<f64>().sqrt();
    let n = clusters as f64;
    let mut truth = Truth { value: 0.0, grad: vec![0.0; x.len()], row: x.len() };
    let mut toward = vec![vec![0.0; channels]; clusters];
    for a in 0..clusters {
        for b in (0..clusters).filter(|b| *b != a) {
            let offset: Vec<f64> = (0..channels).map(|e| centres[a][e] - centres[b][e]).collect();
            let (d, scale) = (norm(&offset), 1.0 / (n * (n - 1.0)));
            let h = (3.0 - d).max(0.0);
            truth.value += scale * h * h;
            (0..channels).for_each(|e| toward[a][e] -= 4.0 * scale * h * offset[e] / d);
        }
        let d = norm(&centres[a]);
        truth.value += 0.001 / n * d;
        (0..channels).for_each(|e| toward[a][e] += 0.001 / n * centres[a][e] / d);
    }
    for (p, l) in labels.iter().enumerate().filter(|(_, l)| **l > 0) {
        let c = *l as usize - 1;
        let offset: Vec<f64> = (0..channels).map(|e| x[e * pixels + p] - centres[c][e]).collect();
        let (d, scale) = (norm(&offset), 1.0 / (n * sizes[c]));
        let h = (d - 0.5).max(0.0);
        truth.value += scale * h * h;
        for e in 0..channels {
            let g = 2.0 * scale * h * offset[e] / d;
            truth.grad[e * pixels + p] += g;
            toward[c][e] -= g;
        }
    }
    for (p, l) in labels.iter().enumerate().filter(|(_, l)| **l > 0) {
        let c = *l as usize - 1;
        (0..channels).for_each(|e| truth.grad[e * pixels + p] += toward[c][e] / sizes[c]);
    }
    truth
}

#[test]
fn discriminative() {
    // Many pixels; many channels; a cloud far from the origin.
    for (height, width, channels, away) in [(1000, 1000, 4, 1.0), (20, 20, 2_000, 0.05), (100, 100, 8, 100.0)] {
        let pixels = height * width;
        let labels: Vec<i64> = (0..pixels as i64).map(|i| i * 7 / pixels as i64).collect();
        let noise = random(pixels * channels, 11, normal(0.6));
        let place = |i: usize| away * ((labels[i % pixels] * 5 + (i / pixels) as i64 * 3) % 7) as f32;
        let x: Vec<f32> = noise.into_iter().enumerate().map(|(i, v)| place(i) + v).collect();
        let truth = discriminative_truth(&wide(&x), &labels, channels);
        let shape = IxDyn(&[1, height, width]);
        let inputs = Inputs::new()
            .with("embedding", floats(&[1, channels, height, width], x))
            .with("labels", ArrayD::from_shape_vec(shape, labels).unwrap());
        check(&format!("discriminative, {pixels} x {channels}"), &evaluate("discriminative", &inputs), &truth);
    }
}
