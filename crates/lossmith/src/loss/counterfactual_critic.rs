//! Counterfactual critic: the policy gradient of a scene graph's reward, where every agent answers for its own class alone.
//!
//! ```text
//! L = -sum_i A_i log p_i(v_i)        A_i = R(V) - sum_c p_i(c) R(V with i -> c)
//! ```
//!
//! Gradient: `dL/dz_ic = -A_i ([c = v_i] - p_i(c))`; the advantages `A_i` are constants under it, so that it is the gradient of
//! the expected reward and not the slope of `L`. With another kernel `f(a, l)`: `dL/dz_ic = f_l ([c = v_i] - p_i(c))`.
//!
//! Input space: class logits, one sampled class per agent, pair logits; see [`Scene`] and [`Reward`] for ranking and ties.
//! Corner cases: without true triplets, or with a single agent, every reward is 0, and with it value and gradient. An agent
//! whose class cannot change the reward has advantage 0.
//!
//! Reference: Chen et al., "Counterfactual Critic Multi-Agent Training for Scene Graph Generation", ICCV 2019.

use ndarray::{Array2, ArrayD, ArrayView2, ArrayViewD, Ix2, Ix3, IxDyn};

use super::{
    Arguments, Array, Entry, Evaluation, Family, InputSpec, Inputs, Loss, LossError, Param, ParamKind, ScalarType,
};
use crate::critic::{Bias, Critic, CriticError, Judgement, Kind, Reward, Scene, Truth};
use crate::expr::{Expr, Kernel, Variables};

const VARIABLES: Variables = &["a", "l"];
const SURROGATE: &str = "-a*l";

/// `counterfactual-critic`
pub(super) static ENTRY: Entry = Entry {
    name: "counterfactual-critic",
    family: Family::Agents,
    summary: "The policy gradient of a scene graph's reward, where each agent is judged against what its other classes \
              would have earned.",
    formula: "-sum_i A_i log p_i(v_i), with A_i = R(V) - sum_c p_i(c) R(V with i -> c), the exact sum over all classes",
    gradient: "-A_i ([c = v_i] - p_i(c)) with respect to class logit c of agent i; A_i is constant under it",
    space: "class_logits [n,C] and pair_logits [n*(n-1),1+P] (any finite numbers up to 1e30; the softmax is inside), ordered \
            pairs row-major without i = i; class 0 is background, predicate 0 is none; the value is a sum over agents",
    corners: "Value and gradient are 0 without true triplets and for a single agent. The gradient is that of the expected \
              reward, not the slope of the value, since advantages and ranking are held fixed. Equal scores rank by pair index.",
    reference: "Chen et al., Counterfactual Critic Multi-Agent Training for Scene Graph Generation, ICCV 2019",
    inputs: INPUTS,
    params: &[
        Param {
            name: "reward",
            kind: ParamKind::Word {
                default: "recall@20",
                check: |word| word.parse::<Reward>().map(drop).map_err(|e| e.message),
            },
            doc: "what the graph earns: recall@K with graph constraint, or spice",
        },
        Param {
            name: "critic",
            kind: ParamKind::Choice {
                default: "exact",
                choices: &["exact", "truncated", "truncated-renormalised", "naive", "self-critical", "none"],
            },
            doc: "what it is measured against: all classes, fast; the published shortcut; the slow oracle; greedy labels; 0",
        },
        Param {
            name: "surrogate",
            kind: ParamKind::Kernel { default: SURROGATE, variables: VARIABLES },
            doc: "what is summed over the agents, of advantage a and log-probability l of the chosen class",
        },
    ],
    example,
    build,
};

const INPUTS: &[InputSpec] = &[
    InputSpec {
        name: "class_logits",
        scalar: ScalarType::F32,
        shape: "[n,C]",
        optional: false,
        doc: "class scores of each agent before softmax",
    },
    InputSpec {
        name: "pair_logits",
        scalar: ScalarType::F32,
        shape: "[n*(n-1),1+P]",
        optional: false,
        doc: "predicate scores of each ordered pair before softmax and bias",
    },
    InputSpec {
        name: "actions",
        scalar: ScalarType::I64,
        shape: "[n]",
        optional: false,
        doc: "the sampled class of each agent",
    },
    InputSpec {
        name: "truth_labels",
        scalar: ScalarType::I64,
        shape: "[n]",
        optional: false,
        doc: "the true class of each agent, 0 where it is no object",
    },
    InputSpec {
        name: "truth_triplets",
        scalar: ScalarType::I64,
        shape: "[m,3]",
        optional: false,
        doc: "the true relations: subject agent, object agent, predicate",
    },
    InputSpec {
        name: "bias",
        scalar: ScalarType::F32,
        shape: "[C,C,1+P]",
        optional: true,
        doc: "added to the pair logits by the classes of subject and object; without it they do not depend on the classes",
    },
    InputSpec {
        name: "boxes",
        scalar: ScalarType::F32,
        shape: "[n,4]",
        optional: true,
        doc: "x1, y1, x2, y2 in pixels; an agent may then stand for every agent that it overlaps by 0.5, else only for itself",
    },
];

#[derive(Debug)]
struct CounterfactualCritic {
    kind: Kind,
    reward: Reward,
    surrogate: Kernel,
}

fn build(arguments: &Arguments) -> Result<Box<dyn Loss>, LossError> {
    let surrogate = match arguments.kernel("surrogate") {
        Some(formula) => Kernel::new(formula),
        None => Kernel::new(&Expr::parse(SURROGATE, VARIABLES)?),
    };
    let kind = arguments.choice("critic").parse::<Kind>()?;
    Ok(Box::new(CounterfactualCritic { kind, reward: arguments.word("reward").parse::<Reward>()?, surrogate }))
}

impl From<CriticError> for LossError {
    fn from(error: CriticError) -> Self {
        let name = if error.input == "probabilities" { "class_logits" } else { error.input };
        Self::input(name, error.message)
    }
}

impl Loss for CounterfactualCritic {
    fn evaluate(&self, inputs: &Inputs) -> Result<Evaluation, LossError> {
        let logits = fixed::<Ix2>("class_logits", inputs.f32("class_logits", 2)?)?;
        let pair_logits = fixed::<Ix2>("pair_logits", inputs.f32("pair_logits", 2)?)?;
        let bias =
            if inputs.has("bias") { Some(Bias::new(fixed::<Ix3>("bias", inputs.f32("bias", 3)?)?)?) } else { None };
        let truth = truth(inputs)?;
        let actions = indices("actions", inputs.i64("actions", 1)?)?;
        let (policy, log_policy) = softmax(logits);
        let scene = Scene::new(policy.view(), pair_logits, bias.as_ref(), &truth)?;
        let judged = Critic::new(self.kind, self.reward).judge(&scene, &actions)?;
        Ok(self.surrogate(judged, &policy, &log_policy, &actions))
    }
}

impl CounterfactualCritic {
    fn surrogate(
        &self,
        judged: Judgement,
        policy: &Array2<f32>,
        log_policy: &Array2<f64>,
        actions: &[usize],
    ) -> Evaluation {
        let mut value = 0.0;
        let mut grad = Array2::zeros(policy.raw_dim());
        for (agent, (&action, &advantage)) in actions.iter().zip(&judged.advantages).enumerate() {
            let term = self.surrogate.at(&[advantage, log_policy[[agent, action]]]);
            value += term.value;
            for (class, g) in grad.row_mut(agent).iter_mut().enumerate() {
                let l = log_policy[[agent, class]];
                // 1 - p of the chosen class, no digit of which is lost where p is nearly 1.
                let score = if class == action { -l.exp_m1() } else { -l.exp() };
                *g = (term.slope[1] * score) as f32;
            }
        }
        let mut parts = vec![("reward", judged.reward)];
        if let Some(counterfactuals) = judged.counterfactuals {
            parts.push(("evaluated", counterfactuals.evaluated as f64));
        }
        Evaluation::new(value, grad.into_dyn()).with_parts(parts).with_list("advantages", judged.advantages)
    }
}

/// The softmax of each row, and its logarithm in f64, which does not underflow.
fn softmax(logits: ArrayView2<'_, f32>) -> (Array2<f32>, Array2<f64>) {
    let mut log_policy = logits.mapv(f64::from);
    for mut row in log_policy.rows_mut() {
        let top = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        // One largest logit stands for the 1 of log1p.
        let first = row.iter().position(|z| *z == top);
        let others = row.iter().enumerate().filter(|(class, _)| Some(*class) != first);
        let log = others.map(|(_, z)| (z - top).exp()).sum::<f64>().ln_1p();
        row.mapv_inplace(|z| z - top - log);
    }
    (log_policy.mapv(|l| l.exp() as f32), log_policy)
}

fn truth(inputs: &Inputs) -> Result<Truth, LossError> {
    let labels = indices("truth_labels", inputs.i64("truth_labels", 1)?)?;
    let triplets = inputs.i64("truth_triplets", 2)?;
    if triplets.shape()[1] != 3 {
        let message = format!("expected shape [m,3], found {:?}", triplets.shape());
        return Err(LossError::input("truth_triplets", message));
    }
    let flat = indices("truth_triplets", triplets)?;
    let truth = Truth::new(labels, flat.chunks_exact(3).map(|t| [t[0], t[1], t[2]]).collect())?;
    if !inputs.has("boxes") {
        return Ok(truth);
    }
    let boxes = inputs.f32("boxes", 2)?;
    if boxes.shape()[1] != 4 {
        return Err(LossError::input("boxes", format!("expected shape [n,4], found {:?}", boxes.shape())));
    }
    let corners: Vec<[f64; 4]> = boxes.rows().into_iter().map(|b| std::array::from_fn(|i| f64::from(b[i]))).collect();
    Ok(truth.with_boxes(&corners, &corners)?)
}

fn fixed<'a, D: ndarray::Dimension>(
    name: &str,
    array: ArrayViewD<'a, f32>,
) -> Result<ndarray::ArrayView<'a, f32, D>, LossError> {
    array.into_dimensionality().map_err(|e| LossError::input(name, e.to_string()))
}

/// Indices of any shape, row-major.
fn indices(name: &str, array: ArrayViewD<'_, i64>) -> Result<Vec<usize>, LossError> {
    let index = |(at, &i): (usize, &i64)| {
        let message = || format!("expected indices from 0, found {i} at place {at}");
        usize::try_from(i).map_err(|_| LossError::input(name, message()))
    };
    array.iter().enumerate().map(index).collect()
}

/// Four agents of five classes with four true relations of three predicates, of which a bias makes the most found.
fn example(seed: u64) -> Inputs {
    use rand::{RngExt, SeedableRng};
    let mut rng = rand::rngs::ChaCha8Rng::seed_from_u64(seed);
    let labels: Vec<usize> = (0..4).map(|_| rng.random_range(1..5)).collect();
    let triplets = [[0, 1], [1, 2], [2, 3], [3, 0]].map(|[s, o]| [s, o, rng.random_range(1..4)]);
    let mut logits = |count: usize| -> Vec<f32> { (0..count).map(|_| rng.random_range(-2.0..2.0)).collect() };
    let (class_logits, pair_logits, mut bias) = (logits(20), logits(48), logits(100));
    for &[subject, object, predicate] in &triplets[1..] {
        bias[(labels[subject] * 5 + labels[object]) * 4 + predicate] += 4.0;
    }
    let as_i64 = |numbers: &[usize]| numbers.iter().map(|&i| i as i64).collect();
    Inputs::new()
        .with("class_logits", floats(&[4, 5], class_logits))
        .with("pair_logits", floats(&[12, 4], pair_logits))
        .with("bias", floats(&[5, 5, 4], bias))
        .with("actions", integers(&[4], as_i64(&labels)))
        .with("truth_labels", integers(&[4], as_i64(&labels)))
        .with("truth_triplets", integers(&[4, 3], as_i64(triplets.as_flattened())))
}

fn floats(shape: &[usize], numbers: Vec<f32>) -> Array {
    ArrayD::from_shape_vec(IxDyn(shape), numbers).expect("as many numbers as the shape holds").into()
}

fn integers(shape: &[usize], numbers: Vec<i64>) -> Array {
    ArrayD::from_shape_vec(IxDyn(shape), numbers).expect("as many numbers as the shape holds").into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::Spec;

    fn evaluate(text: &str, inputs: &Inputs) -> Result<Evaluation, LossError> {
        Spec::parse(text)?.build()?.evaluate(inputs)
    }

    fn logits_of(inputs: &Inputs) -> Array2<f32> {
        inputs.f32("class_logits", 2).unwrap().to_owned().into_dimensionality().unwrap()
    }

    /// Three agents, two classes and background: over all 27 graphs the losses' gradients, weighed by how probable each
    /// graph is, are the gradient of the expected reward, whatever the baseline.
    #[test]
    fn the_mean_gradient_is_that_of_the_expected_reward() {
        let base = Inputs::new()
            .with("class_logits", floats(&[3, 3], vec![0.1, 0.9, -0.3, 0.0, -0.2, 0.4, 0.5, 0.2, 0.3]))
            .with("pair_logits", floats(&[6, 3], (0..18).map(|i| ((i * 7) % 5) as f32 - 2.0).collect()))
            .with("bias", floats(&[3, 3, 3], (0..27).map(|i| ((i * 11) % 7) as f32 * 0.5).collect()))
            .with("truth_labels", integers(&[3], vec![1, 2, 1]))
            .with("truth_triplets", integers(&[3, 3], vec![0, 1, 2, 1, 2, 1, 2, 0, 1]));
        let (policy, log_policy) = softmax(logits_of(&base).view());
        for text in
            ["reward=recall@2", "reward=spice", "reward=recall@2, critic=none", "reward=recall@2, critic=truncated"]
        {
            let (mut found, mut expected, mut varied) =
                (Array2::<f64>::zeros((3, 3)), Array2::<f64>::zeros((3, 3)), 0.0);
            for graph in 0..27 {
                let actions = [graph / 9, graph / 3 % 3, graph % 3];
                let inputs = base.clone().with("actions", integers(&[3], actions.map(|a| a as i64).to_vec()));
                let evaluation = evaluate(&format!("counterfactual-critic({text})"), &inputs).unwrap();
                let probability: f64 = (0..3).map(|i| log_policy[[i, actions[i]]]).sum::<f64>().exp();
                for ((i, c), g) in evaluation.grad.view().into_dimensionality::<Ix2>().unwrap().indexed_iter() {
                    found[[i, c]] -= probability * f64::from(*g);
                    let score = f64::from(u8::from(actions[i] == c)) - f64::from(policy[[i, c]]);
                    expected[[i, c]] += probability * evaluation.parts[0].1 * score;
                }
                varied += f64::from(u8::from(evaluation.parts[0].1 > 0.0));
            }
            assert!((&found - &expected).iter().all(|d| d.abs() < 1e-7), "{text}: {found} {expected}");
            assert!(varied > 0.0 && expected.iter().any(|g| g.abs() > 1e-3), "{text}");
        }
    }

    #[test]
    fn value_parts_and_advantages_fit_together() {
        for text in
            ["counterfactual-critic", "counterfactual-critic(reward=recall@1)", "counterfactual-critic(reward=spice)"]
        {
            let inputs = example(3);
            let evaluation = evaluate(text, &inputs).unwrap();
            let (_, log_policy) = softmax(logits_of(&inputs).view());
            let actions = indices("actions", inputs.i64("actions", 1).unwrap()).unwrap();
            let (name, advantages) = &evaluation.lists[0];
            let value: f64 = (0..4).map(|i| -advantages[i] * log_policy[[i, actions[i]]]).sum();
            assert_eq!((*name, evaluation.parts[0].0), ("advantages", "reward"));
            assert!((evaluation.value - value).abs() < 1e-12, "{text}: {} {value}", evaluation.value);
            let naive = text.trim_end_matches(')').replace("critic(", "critic(critic=naive, ");
            if naive.contains("naive") {
                let slow = evaluate(&format!("{naive})"), &inputs).unwrap();
                assert_eq!((slow.value, slow.grad), (evaluation.value, evaluation.grad));
            }
        }
    }

    #[test]
    fn another_surrogate_takes_the_slot() {
        let inputs = example(5);
        let published = evaluate("counterfactual-critic", &inputs).unwrap();
        let twice = evaluate("counterfactual-critic(surrogate=\"-2*a*l\")", &inputs).unwrap();
        assert_eq!(twice.grad, published.grad.mapv(|g| 2.0 * g));
        assert!(published.grad.iter().any(|&g| g != 0.0));
    }

    #[test]
    fn bad_input_is_named() {
        let error = |inputs: &Inputs| evaluate("counterfactual-critic", inputs).unwrap_err().to_string();
        let good = example(1);
        let nan = good.clone().with("class_logits", floats(&[4, 5], vec![f32::NAN; 20]));
        assert!(error(&nan).starts_with("input 'class_logits': NaN at [0, 0]"), "{}", error(&nan));
        let negative = good.clone().with("actions", integers(&[4], vec![0, -1, 0, 0]));
        assert_eq!(error(&negative), "input 'actions': expected indices from 0, found -1 at place 1");
        let missing = good.clone().with("truth_triplets", integers(&[1, 3], vec![0, 4, 1]));
        assert_eq!(error(&missing), "input 'truth_triplets': row 0: names node 4, but there are only 4 nodes");
        let narrow = good.clone().with("truth_triplets", integers(&[1, 2], vec![0, 1]));
        assert_eq!(error(&narrow), "input 'truth_triplets': expected shape [m,3], found [1, 2]");
        let none = good.with("truth_triplets", integers(&[0, 3], Vec::new()));
        let evaluation = evaluate("counterfactual-critic", &none).unwrap();
        assert_eq!((evaluation.value, evaluation.grad.sum()), (0.0, 0.0));
        let zero = Spec::parse("counterfactual-critic(reward=recall@0)").unwrap_err().to_string();
        assert!(zero.contains("reward: expected recall@K with K at least 1"), "{zero}");
        assert_eq!(
            Spec::parse("counterfactual-critic(reward=recall@50)").unwrap().to_string(),
            "counterfactual-critic(reward=recall@50)"
        );
    }
}
