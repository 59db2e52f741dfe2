//! The agents: extract (LSTM), message (unary and pairwise attention), update, for some rounds; then classes and relations.
//!
//! ```text
//! h_i = LSTM(h_i, [x_i; e_i])            s_i = F_s(h_i)            e_i = softmax(s_i) E
//! M_i = sum_j alpha_j F_m1(h_j) + alpha_ij F_m2(h_ij)              alpha = softmax_j F_u(h_j),  alpha_ij = softmax_j F_p(h_ij)
//! x_i = F_u1(relu(x_i + M_i))            h_ij = F_u2(relu(h_ij + F_w(h_i, h_j)))
//! r_ij = W_r(F_a(h_i) * F_b(h_j) * F_c(h_ij)) + b[o_i, o_j]
//! ```
//!
//! Free choices where the paper is silent: every `F` is one linear layer; `F_w` is a sum of one layer for each end; an agent
//! sends nothing to itself in the pairwise message; pair states start from box geometry instead of the union box's picture; the
//! relation head reads classes through the bias alone, so that counterfactuals are exact (`lossmith::critic`).

use burn::module::{Initializer, Param};
use burn::nn::{Linear, LinearConfig};
use burn::prelude::*;
use burn::tensor::activation::{relu, sigmoid, softmax, tanh};

use super::geometry;
use super::scene::Seen;

/// The sizes of the agents.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Config {
    /// The length of a node's vector.
    pub width: usize,
    /// The number of classes with background.
    pub classes: usize,
    /// The number of predicates without none.
    pub predicates: usize,
    /// The length of an agent's state.
    pub hidden: usize,
    /// The length of a pair's state.
    pub pair: usize,
    /// How many rounds the agents talk; 1 means that each decides alone.
    pub rounds: usize,
}

/// The weights of the agents, shared by all of them.
#[derive(Module, Debug)]
pub struct Agents {
    detect: Linear,
    state: Linear,
    input: Linear,
    pair: Linear,
    gates_in: Linear,
    gates_state: Linear,
    score: Linear,
    embed: Linear,
    attend: Linear,
    attend_pair: Linear,
    message: Linear,
    message_pair: Linear,
    update: Linear,
    update_pair: Linear,
    from_subject: Linear,
    from_object: Linear,
    head_subject: Linear,
    head_object: Linear,
    head_pair: Linear,
    relate: Linear,
    /// `[C*C,1+P]`: the frequency bias, trained further.
    pub bias: Param<Tensor<2>>,
    #[module(skip)]
    rounds: usize,
}

/// What the agents say about a scene.
#[derive(Clone, Debug)]
pub struct Said {
    /// `[n,C]`
    pub class_logits: Tensor<2>,
    /// `[n*(n-1),1+P]`, without the bias.
    pub pair_logits: Tensor<2>,
}

impl Config {
    /// Agents with random weights from the device's seed and this frequency bias, `[C*C,1+P]` row-major.
    ///
    /// # Panics
    /// If the bias has another size.
    pub fn init(&self, bias: Vec<f32>, device: &Device) -> Agents {
        let Config { width, classes, predicates, hidden, pair, rounds } = *self;
        let layer = |from, to| LinearConfig::new(from, to).init(device);
        let bias = Tensor::from_data(TensorData::new(bias, [classes * classes, predicates + 1]), device);
        let quiet =
            LinearConfig::new(pair, predicates + 1).with_initializer(Initializer::Uniform { min: -0.3, max: 0.3 });
        Agents {
            detect: layer(width, classes),
            state: layer(width, hidden),
            input: layer(width, hidden),
            pair: layer(geometry::WIDTH, pair),
            gates_in: layer(hidden + hidden / 2, 4 * hidden),
            gates_state: layer(hidden, 4 * hidden),
            score: layer(hidden, classes),
            embed: LinearConfig::new(classes, hidden / 2).with_bias(false).init(device),
            attend: layer(hidden, 1),
            attend_pair: layer(pair, 1),
            message: layer(hidden, hidden),
            message_pair: layer(pair, hidden),
            update: layer(hidden, hidden),
            update_pair: layer(pair, pair),
            from_subject: layer(hidden, pair),
            from_object: layer(hidden, pair),
            head_subject: layer(hidden, pair),
            head_object: layer(hidden, pair),
            head_pair: layer(pair, pair),
            relate: quiet.init(device),
            bias: Param::from_tensor(bias),
            rounds,
        }
    }
}

impl Agents {
    /// Class scores and pair scores after all rounds.
    pub fn forward(&self, seen: &Seen) -> Said {
        let n = seen.agents();
        let mut h = tanh(self.state.forward(seen.nodes.clone()));
        let mut cell = h.zeros_like();
        let mut x = self.input.forward(seen.nodes.clone());
        let mut e = self.embed.forward(softmax(self.detect.forward(seen.nodes.clone()), 1));
        let mut pairs = relu(self.pair.forward(seen.pairs.clone()));
        let mut scores = None;
        for round in 0..self.rounds.max(1) {
            (h, cell) = self.extract(h, cell, Tensor::cat(vec![x.clone(), e], 1));
            let s = self.score.forward(h.clone());
            e = self.embed.forward(softmax(s.clone(), 1));
            scores = Some(s);
            if round + 1 < self.rounds {
                x = self.update.forward(relu(x + self.messages(h.clone(), pairs.clone(), n)));
            }
            pairs = self.update_pair.forward(relu(pairs + self.ends(h.clone(), n)));
        }
        let class_logits = scores.unwrap_or_else(|| self.score.forward(h.clone()));
        Said { class_logits, pair_logits: self.relate(h, pairs, n).select(0, seen.apart.clone()) }
    }

    /// One step of an LSTM: the new state and cell.
    fn extract(&self, h: Tensor<2>, cell: Tensor<2>, input: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        let gates = self.gates_in.forward(input) + self.gates_state.forward(h);
        let [input, forget, output, change]: [Tensor<2>; 4] =
            gates.chunk(4, 1).try_into().expect("four gates of equal size");
        let cell = sigmoid(forget) * cell + sigmoid(input) * tanh(change);
        (sigmoid(output) * tanh(cell.clone()), cell)
    }

    fn messages(&self, h: Tensor<2>, pairs: Tensor<2>, n: usize) -> Tensor<2> {
        let alpha = softmax(self.attend.forward(h.clone()), 0);
        let to_all = (alpha * self.message.forward(h)).sum_dim(0);
        let itself = Tensor::<2>::eye(n, &pairs.device()) * -1e9;
        let alpha = softmax(self.attend_pair.forward(pairs.clone()).reshape([n, n]) + itself, 1).reshape([n, n, 1]);
        let hidden = to_all.dims()[1];
        let from_pairs =
            (alpha * self.message_pair.forward(pairs).reshape([n, n, hidden])).sum_dim(1).reshape([n, hidden]);
        from_pairs + to_all
    }

    /// `F_w(h_i, h_j)` for every ordered pair.
    fn ends(&self, h: Tensor<2>, n: usize) -> Tensor<2> {
        both_ends(self.from_subject.forward(h.clone()), self.from_object.forward(h), n, |a, b| a + b)
    }

    fn relate(&self, h: Tensor<2>, pairs: Tensor<2>, n: usize) -> Tensor<2> {
        let ends = both_ends(self.head_subject.forward(h.clone()), self.head_object.forward(h), n, |a, b| a * b);
        self.relate.forward(ends * self.head_pair.forward(pairs))
    }
}

/// Joins a row of each end for every ordered pair, `i = i` among them: `[n*n,width]`.
fn both_ends(
    subject: Tensor<2>,
    object: Tensor<2>,
    n: usize,
    join: impl Fn(Tensor<3>, Tensor<3>) -> Tensor<3>,
) -> Tensor<2> {
    let width = subject.dims()[1];
    join(subject.reshape([n, 1, width]), object.reshape([1, n, width])).reshape([n * n, width])
}
