use ndarray::{Array2, Array3};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use super::*;

/// A policy, a truth and what was sampled, small and full of ties.
struct Example {
    policy: Array2<f32>,
    pair_logits: Array2<f32>,
    bias: Option<Bias>,
    truth: Truth,
    actions: Vec<usize>,
}

impl Example {
    fn scene(&self) -> Scene<'_> {
        Scene::new(self.policy.view(), self.pair_logits.view(), self.bias.as_ref(), &self.truth).unwrap()
    }
}

/// Logits on a coarse grid tie often, so that the order of equal scores matters.
fn example(rng: &mut ChaCha8Rng) -> Example {
    let agents = rng.random_range(1..9);
    example_of(rng, agents)
}

fn example_of(rng: &mut ChaCha8Rng, agents: usize) -> Example {
    let classes = rng.random_range(2..8);
    let columns = rng.random_range(2..6);
    let coarse = rng.random_bool(0.7);
    let logit = |rng: &mut ChaCha8Rng, spread: f32| {
        let x: f32 = rng.random_range(-spread..spread);
        if coarse { x.round() } else { x }
    };
    let sharp = if rng.random_bool(0.5) { 1.5 } else { 5.0 };
    let mut policy = Array2::from_shape_simple_fn((agents, classes), || logit(rng, sharp).exp());
    policy.rows_mut().into_iter().for_each(|mut row| row /= row.sum());
    let pair_logits = Array2::from_shape_simple_fn((agents * (agents - 1), columns), || logit(rng, 2.0));
    let with_bias = rng.random_bool(0.8);
    let table = Array3::from_shape_simple_fn((classes, classes, columns), || logit(rng, 2.0));
    let bias = with_bias.then(|| Bias::new(table.view()).unwrap());
    let actions: Vec<usize> = (0..agents).map(|_| rng.random_range(0..classes)).collect();
    Example { policy, pair_logits, bias, truth: truth(rng, agents, classes, columns, &actions), actions }
}

/// Mostly what was sampled, so that there is something to hit; boxes on a coarse grid overlap and coincide.
fn truth(rng: &mut ChaCha8Rng, agents: usize, classes: usize, columns: usize, actions: &[usize]) -> Truth {
    let label =
        |rng: &mut ChaCha8Rng, a: usize| if rng.random_bool(0.7) { actions[a] } else { rng.random_range(0..classes) };
    let labels: Vec<usize> = (0..agents).map(|a| label(rng, a)).collect();
    let things: Vec<usize> = (0..agents).filter(|&a| labels[a] != 0).collect();
    let mut triplets = Vec::new();
    if things.len() > 1 {
        for _ in 0..rng.random_range(0..10) {
            let pick = |rng: &mut ChaCha8Rng| things[rng.random_range(0..things.len())];
            let (subject, object) = (pick(rng), pick(rng));
            if subject != object {
                triplets.push([subject, object, rng.random_range(1..columns)]);
            }
        }
    }
    let truth = Truth::new(labels, triplets).unwrap();
    if rng.random_bool(0.5) {
        return truth;
    }
    let corner = |rng: &mut ChaCha8Rng| f64::from(rng.random_range(0..3));
    let boxes: Vec<[f64; 4]> = (0..agents)
        .map(|_| {
            let (x, y) = (corner(rng), corner(rng));
            [x, y, x + 4.0, y + 4.0]
        })
        .collect();
    truth.with_boxes(&boxes, &boxes).unwrap()
}

#[test]
fn exact_is_naive_to_the_last_bit() {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let (mut rewards, mut changed, mut hit, mut pruned) = (0, 0, 0, 0);
    while rewards < 120_000 {
        let example = example(&mut rng);
        let scene = example.scene();
        let all = [Reward::Recall(1), Reward::Recall(3), Reward::Recall(20), Reward::Recall(100), Reward::Spice];
        let reward = all[rng.random_range(0..all.len())];
        let exact = Critic::new(Kind::Exact, reward).judge(&scene, &example.actions).unwrap();
        let naive = Critic::new(Kind::Naive, reward).judge(&scene, &example.actions).unwrap();
        let (fast, slow) = (exact.counterfactuals.unwrap(), naive.counterfactuals.unwrap());
        assert_eq!(fast.rewards, slow.rewards, "{reward}, {:?}", example.truth);
        assert_eq!((fast.reward, exact.reward, exact.baselines), (slow.reward, naive.reward, naive.baselines));
        rewards += fast.rewards.len();
        hit += fast.rewards.iter().filter(|&&r| r > 0.0).count();
        changed += fast.rewards.iter().filter(|&&r| r != fast.reward).count();
        pruned += slow.evaluated - fast.evaluated;
    }
    // The examples are worth something: rewards are earned, actions matter, and not everything is pruned.
    assert!(hit > 30_000 && changed > 20_000 && pruned > 60_000 && pruned < 110_000, "{hit} {changed} {pruned}");
}

/// With many agents, scoring is cut short where too few pairs are left to push a hit out.
#[test]
fn exact_is_naive_among_many_agents() {
    let mut rng = ChaCha8Rng::seed_from_u64(12);
    let mut pushed_out = 0;
    for _ in 0..120 {
        let agents = rng.random_range(12..32);
        let example = example_of(&mut rng, agents);
        let scene = example.scene();
        let reward = [Reward::Recall(5), Reward::Recall(20), Reward::Recall(100)][rng.random_range(0..3)];
        let judge = |kind| Critic::new(kind, reward).judge(&scene, &example.actions).unwrap();
        let (fast, slow) = (judge(Kind::Exact), judge(Kind::Naive));
        assert_eq!(fast.baselines, slow.baselines, "{reward}");
        let rewards = fast.counterfactuals.unwrap().rewards;
        assert_eq!(rewards, slow.counterfactuals.unwrap().rewards, "{reward}");
        // A class that costs more than the agent's absence has pushed hits of others out.
        pushed_out += rewards.rows().into_iter().map(|row| row.iter().filter(|&&r| r < row[0]).count()).sum::<usize>();
    }
    assert!(pushed_out > 200, "{pushed_out}");
}

#[test]
fn truncated_is_the_same_either_way_and_keeps_three_classes() {
    let mut rng = ChaCha8Rng::seed_from_u64(8);
    for _ in 0..300 {
        let example = example(&mut rng);
        let scene = example.scene();
        for reward in [Reward::Recall(3), Reward::Spice] {
            let judge = |naive| {
                let kind = Kind::Truncated { renormalise: true, naive };
                Critic::new(kind, reward).judge(&scene, &example.actions).unwrap()
            };
            let (fast, slow) = (judge(false), judge(true));
            assert_eq!((&fast.advantages, &fast.baselines), (&slow.advantages, &slow.baselines));
            let kept = fast.counterfactuals.unwrap().rewards.map(|r| usize::from(!r.is_nan()));
            assert!(kept.rows().into_iter().all(|row| row.sum() == 3.min(scene.classes())));
        }
    }
}

#[test]
fn advantages_vanish_on_average_over_an_agents_own_policy() {
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    for _ in 0..300 {
        let mut example = example(&mut rng);
        let agent = rng.random_range(0..example.actions.len());
        let mut mean = 0.0;
        for class in 0..example.policy.ncols() {
            example.actions[agent] = class;
            let judged = Critic::new(Kind::Exact, Reward::Recall(3)).judge(&example.scene(), &example.actions).unwrap();
            mean += f64::from(example.policy[[agent, class]]) * judged.advantages[agent];
        }
        assert!(mean.abs() < 1e-15, "{mean}");
    }
}

/// Taking an agent out of the scene is the same as calling it background.
#[test]
fn background_is_absence() {
    let mut rng = ChaCha8Rng::seed_from_u64(10);
    let mut seen = 0;
    while seen < 200 {
        let mut example = example(&mut rng);
        let last = example.actions.len() - 1;
        let touched = example.truth.triplets().iter().any(|t| t[0] == last || t[1] == last);
        if last == 0 || touched || example.truth.matches(0).len() > 1 {
            continue;
        }
        example.truth = Truth::new(example.truth.labels().to_vec(), example.truth.triplets().to_vec()).unwrap();
        example.actions[last] = 0;
        let with = Reward::Recall(2).of(&example.scene(), &example.actions).unwrap();
        let scene = example.scene();
        let kept: Vec<usize> =
            (0..scene.pairs()).filter(|&p| scene.ends(p).0 != last && scene.ends(p).1 != last).collect();
        let without = Example {
            policy: example.policy.slice(ndarray::s![..last, ..]).to_owned(),
            pair_logits: example.pair_logits.select(ndarray::Axis(0), &kept),
            bias: example.bias.clone(),
            truth: Truth::new(example.truth.labels()[..last].to_vec(), example.truth.triplets().to_vec()).unwrap(),
            actions: example.actions[..last].to_vec(),
        };
        assert_eq!(with, Reward::Recall(2).of(&without.scene(), &without.actions).unwrap());
        seen += 1;
    }
}

#[test]
fn other_baselines_are_what_they_say() {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let example = example(&mut rng);
    let scene = example.scene();
    let recall = Reward::Recall(20);
    let reward = recall.of(&scene, &example.actions).unwrap();
    let judge = |kind: Kind| Critic::new(kind, recall).judge(&scene, &example.actions).unwrap();
    assert!(judge(Kind::None).advantages.iter().all(|&a| a == reward));
    let greedy = recall.of(&scene, &scene.greedy()).unwrap();
    assert!(judge(Kind::SelfCritical).advantages.iter().all(|&a| a == reward - greedy));
    let mut moving = Critic::new(Kind::MovingAverage, Reward::Recall(20));
    let first = moving.judge(&scene, &example.actions).unwrap();
    assert!(first.advantages.iter().all(|&a| a == 0.0));
    let none = vec![0; scene.agents()];
    moving.judge(&scene, &none).unwrap();
    let third = moving.judge(&scene, &none).unwrap();
    let mean = MEMORY * reward;
    assert!(third.baselines.iter().all(|b| (b - mean).abs() < 1e-15));
}

#[test]
fn one_node_no_truth_and_many_nodes_have_documented_values() {
    let one = Example {
        policy: ndarray::array![[0.25, 0.75]],
        pair_logits: Array2::zeros((0, 3)),
        bias: None,
        truth: Truth::new(vec![1], Vec::new()).unwrap(),
        actions: vec![1],
    };
    for reward in [Reward::Recall(20), Reward::Spice] {
        let judged = Critic::new(Kind::Exact, reward).judge(&one.scene(), &one.actions).unwrap();
        assert_eq!((judged.reward, judged.advantages), (0.0, vec![0.0]));
    }
    let n = 1_000;
    let labels: Vec<usize> = (0..n).map(|i| 1 + i % 2).collect();
    let many = Example {
        policy: Array2::from_elem((n, 4), 0.25),
        pair_logits: Array2::from_shape_fn((n * (n - 1), 3), |(pair, r)| ((pair * 7 + r * 3) % 11) as f32),
        bias: None,
        truth: Truth::new(labels.clone(), vec![[0, 1, 1], [998, 999, 2]]).unwrap(),
        actions: labels,
    };
    let judged = Critic::new(Kind::Exact, Reward::Recall(100)).judge(&many.scene(), &many.actions).unwrap();
    assert_eq!(judged.advantages.len(), n);
}

#[test]
fn errors_say_what_and_where() {
    let scene_error = |policy: Array2<f32>, pairs: Array2<f32>, truth: &Truth| {
        Scene::new(policy.view(), pairs.view(), None, truth).unwrap_err().to_string()
    };
    let truth = Truth::new(vec![1, 2], vec![[0, 1, 1]]).unwrap();
    let policy = Array2::from_elem((2, 4), 0.25);
    let pairs = Array2::zeros((2, 2));
    let found = scene_error(policy.clone(), Array2::zeros((3, 2)), &truth);
    assert_eq!(found, "pair_logits: expected [n*(n-1),1+P] with n = 2 and P at least 1, found shape [3,2]");
    let mut bad = pairs.clone();
    bad[[1, 0]] = f32::NAN;
    let found = scene_error(policy.clone(), bad, &truth);
    assert_eq!(found, "pair_logits: row 1: expected logits between -1e30 and 1e30, found NaN");
    let found = scene_error(Array2::from_elem((2, 4), 0.5), pairs.clone(), &truth);
    assert_eq!(found, "probabilities: row 0: expected probabilities that sum to 1, found the sum 2");
    let wide = Truth::new(vec![1, 9], vec![[0, 1, 1]]).unwrap();
    let found = scene_error(policy.clone(), pairs.clone(), &wide);
    assert_eq!(found, "truth_labels: node 1: expected a class below 4, found 9");
    let far = Truth::new(vec![1, 2], vec![[0, 1, 2]]).unwrap();
    let found = scene_error(policy.clone(), pairs.clone(), &far);
    assert_eq!(found, "truth_triplets: row 0: expected a predicate below 2, found 2");
    for (triplet, what) in [
        ([0, 7, 1], "names node 7, but there are only 3 nodes"),
        ([0, 2, 1], "names node 2, whose label is 0 (background)"),
        ([1, 1, 1], "relates node 1 to itself"),
        ([0, 1, 0], "has predicate 0 (none); predicates count from 1"),
    ] {
        let found = Truth::new(vec![1, 2, 0], vec![triplet]).unwrap_err().to_string();
        assert_eq!(found, format!("truth_triplets: row 0: {what}"));
    }
    let scene = Scene::new(policy.view(), pairs.view(), None, &truth).unwrap();
    let judge =
        |actions: &[usize]| Critic::new(Kind::Exact, Reward::Spice).judge(&scene, actions).unwrap_err().to_string();
    assert_eq!(judge(&[1]), "actions: expected 2 (one per agent), found 1");
    assert_eq!(judge(&[1, 4]), "actions: agent 1: expected a class below 4, found 4");
    for text in ["recall@0", "recall", "spicy", "recall@-1"] {
        assert!(text.parse::<Reward>().unwrap_err().to_string().contains("recall@K with K at least 1"), "{text}");
    }
    assert!("exakt".parse::<Kind>().unwrap_err().to_string().contains("expected one of exact, truncated"));
    for (kind, word) in Kind::ALL {
        assert_eq!((word.parse(), kind.to_string()), (Ok(kind), word.to_owned()));
    }
}
