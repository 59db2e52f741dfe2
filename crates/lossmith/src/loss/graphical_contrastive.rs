//! Graphical contrastive losses: a pair that is related must look more related than every unrelated pair it could be
//! confused with - by the same anchor at all (L1), with an object of the same class (L2), for the same predicate (L3).
//!
//! Affinity of a pair: `phi = 1 - softmax(logits)[0]`, the probability of any relation.
//! A group is the pairs of one anchor (subject side; then object side). Its margins are, with `p` the lowest affinity of
//! its positives and `n` the highest of its negatives:
//! - L1: one margin, all pairs of the anchor;
//! - L2: one for each class at the free end of the positives, positives and negatives of that class;
//! - L3: one for each true predicate of the positives, against the negatives for which the model now says that predicate
//!   (the largest logit but that of "none").
//!
//! ```text
//! L = lambda0 mean cross-entropy + sum over l of lambda_l (subject side + object side of L_l),   L_l = sum of margin(p, n) / N
//! ```
//!
//! Gradient: through the chosen `p` and `n` only. `d phi/d z_k = y_0 y_k` for a predicate and `-y_0 (1 - y_0)` for "none".
//!
//! Corners: a group without negatives has no margin. Among equal affinities the first row is chosen, and at the kink of
//! the hinge half the slope is taken, as the formula language does. No group at all: the terms are 0.
//!
//! Paper and released code differ, and [`Variant`] chooses between them; each difference has a switch of its own:
//! the divisor ([`Normaliser`]), the mean over classes ([`ClassMean`]), what a class without negatives meets
//! ([`Compensation`]). What remains is in the input: the code's anchors are sampled boxes and the paper's are entities, and both are
//! ids here; the code draws three lists of pairs, which `lists` tells apart; a box that fits no entity has class -1, which
//! is no one's class. The code's labels of L3 are a softmax's, whose order is that of the logits.
//!
//! Reference: Zhang, Shih, Elgammal, Tao, Catanzaro, Graphical Contrastive Losses for Scene Graph Parsing, CVPR 2019,
//! arXiv 1903.02728; NVIDIA/ContrastiveLosses4VRD, `lib/modeling_rel/reldn_heads.py`.

use ndarray::{ArrayD, IxDyn};
use rayon::prelude::*;

use super::{Arguments, Entry, Evaluation, Family, InputSpec, Inputs, Loss, LossError, Param, ParamKind, ScalarType};
use crate::expr::math::exp_to_one;
use crate::expr::{Expr, Kernel, Variables};

/// `p`: lowest affinity of the related pairs, `n`: highest affinity of the unrelated ones.
pub const MARGIN_VARIABLES: Variables = &["p", "n"];

/// In `lists`: the row takes part in the cross-entropy.
pub const IN_CROSS_ENTROPY: i64 = 1;
/// In `lists`: the row takes part in the margins of its subject.
pub const IN_SUBJECT_LIST: i64 = 2;
/// In `lists`: the row takes part in the margins of its object.
pub const IN_OBJECT_LIST: i64 = 4;

/// Paper or released code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// As published: divided by the annotated anchors, mean over an anchor's classes first.
    Paper,
    /// As released: flat mean over all margins, and one more in the divisor.
    Code,
}

/// What the sum of the margins of one side is divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Normaliser {
    /// The anchors of that side that have a positive pair, whether or not they have a negative one.
    Anchors,
    /// The entities that take part in any positive pair of that side's list, as subject or as object.
    Entities,
    /// The margins.
    Items,
    /// The margins and one more: the released code starts its list with an item whose loss is 0.
    ItemsAndDummy,
}

/// How the margins of one anchor are weighted in L2 and L3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClassMean {
    /// Each by one over the classes (or predicates) of the anchor's positives.
    Nested,
    /// Each by one.
    Flat,
}

/// What the positives of a class meet for which there are no negatives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compensation {
    /// Nothing: there is no margin.
    Off,
    /// The anchor's highest negative of any class (`USE_SPO_AGNOSTIC_COMPENSATION`).
    On,
}

/// The function of `p` and `n` that is summed.
#[derive(Clone, Debug)]
enum Margin {
    /// `max(alpha_l - (p - n), 0)` for L1, L2, L3.
    Hinge([f64; 3]),
    /// A formula over [`MARGIN_VARIABLES`], for all three.
    Formula(Kernel),
}

/// The graphical contrastive loss.
#[derive(Clone, Debug)]
pub struct GraphicalContrastive {
    lambda: [f64; 4],
    margin: Margin,
    normaliser: Normaliser,
    class_mean: ClassMean,
    compensation: Compensation,
}

/// The scored pairs of one or more images, one row each; entity ids are unique over the images.
#[derive(Clone, Copy, Debug)]
pub struct Pairs<'a> {
    /// Row-major scores before softmax: "none", then the predicates.
    pub logits: &'a [f32],
    /// The width of `logits`, 1 + P.
    pub width: usize,
    /// The entity of each row's subject.
    pub subject: &'a [i64],
    /// The entity of each row's object.
    pub object: &'a [i64],
    /// The class of each row's subject; negative for none.
    pub subject_class: &'a [i64],
    /// The class of each row's object; negative for none.
    pub object_class: &'a [i64],
    /// The true predicate of each row, 0 for none.
    pub predicate: &'a [i64],
    /// The lists that each row is in, as a sum of [`IN_CROSS_ENTROPY`], [`IN_SUBJECT_LIST`] and [`IN_OBJECT_LIST`]; all where
    /// not given.
    pub lists: Option<&'a [i64]>,
}

/// The terms of the loss, weighted: they add up to it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Terms {
    /// `lambda0` times the mean cross-entropy.
    pub l0: f64,
    /// `lambda_l` times the subject side of L1, L2, L3.
    pub subject: [f64; 3],
    /// `lambda_l` times the object side of L1, L2, L3.
    pub object: [f64; 3],
}

impl Terms {
    /// The loss.
    pub fn value(&self) -> f64 {
        self.l0 + self.subject.iter().chain(&self.object).sum::<f64>()
    }

    /// The terms by name.
    pub fn named(&self) -> Vec<(&'static str, f64)> {
        let [s1, s2, s3] = self.subject;
        let [o1, o2, o3] = self.object;
        vec![
            ("l0", self.l0),
            ("l1_subject", s1),
            ("l1_object", o1),
            ("l2_subject", s2),
            ("l2_object", o2),
            ("l3_subject", s3),
            ("l3_object", o3),
        ]
    }
}

impl GraphicalContrastive {
    /// The published weights (1, 1, 0.5, 0.1) and margins (0.2).
    pub fn new(variant: Variant) -> Self {
        let (normaliser, class_mean) = match variant {
            Variant::Paper => (Normaliser::Anchors, ClassMean::Nested),
            Variant::Code => (Normaliser::ItemsAndDummy, ClassMean::Flat),
        };
        Self {
            lambda: [1.0, 1.0, 0.5, 0.1],
            margin: Margin::Hinge([0.2; 3]),
            normaliser,
            class_mean,
            compensation: Compensation::Off,
        }
    }

    /// With the weights of cross-entropy, L1, L2 and L3; a weight of 0 leaves a term out.
    #[must_use]
    pub fn with_lambda(self, lambda: [f64; 4]) -> Self {
        Self { lambda, ..self }
    }

    /// With the hinge margins of L1, L2 and L3.
    #[must_use]
    pub fn with_alpha(self, alpha: [f64; 3]) -> Self {
        Self { margin: Margin::Hinge(alpha), ..self }
    }

    /// With a formula over [`MARGIN_VARIABLES`] in the place of the hinge.
    #[must_use]
    pub fn with_margin(self, margin: &Expr) -> Self {
        Self { margin: Margin::Formula(Kernel::new(margin)), ..self }
    }

    /// With another divisor.
    #[must_use]
    pub fn with_normaliser(self, normaliser: Normaliser) -> Self {
        Self { normaliser, ..self }
    }

    /// With another mean over the classes.
    #[must_use]
    pub fn with_class_mean(self, class_mean: ClassMean) -> Self {
        Self { class_mean, ..self }
    }

    /// With or without compensation for classes that have no negatives.
    #[must_use]
    pub fn with_compensation(self, compensation: Compensation) -> Self {
        Self { compensation, ..self }
    }

    /// The terms of the loss, and its gradient with respect to the logits into `grad`.
    ///
    /// # Errors
    /// Lengths that do not fit together, predicates out of range, a pair of an entity with itself.
    pub fn value_and_gradient(&self, pairs: &Pairs<'_>, grad: &mut [f32]) -> Result<Terms, LossError> {
        pairs.check()?;
        if grad.len() != pairs.logits.len() {
            return Err(LossError::input(
                "grad",
                format!("expected {} numbers, found {}", pairs.logits.len(), grad.len()),
            ));
        }
        let rows: Vec<Row> = grad
            .par_chunks_mut(pairs.width)
            .zip(pairs.logits.par_chunks(pairs.width))
            .zip(pairs.predicate.par_iter())
            .with_min_len(256)
            .map(|((probabilities, logits), &predicate)| Row::softmax(logits, predicate as usize, probabilities))
            .collect();
        let mut terms = Terms::default();
        let mut slope = vec![0.0; rows.len()];
        self.margins(Side::Subject, pairs, &rows, &mut terms.subject, &mut slope);
        self.margins(Side::Object, pairs, &rows, &mut terms.object, &mut slope);
        let (sum, count) = rows
            .iter()
            .enumerate()
            .filter(|&(at, _)| pairs.is_in(at, IN_CROSS_ENTROPY))
            .fold((0.0, 0usize), |(sum, count), (_, row)| (sum + row.cross_entropy, count + 1));
        let share = if count > 0 { self.lambda[0] / count as f64 } else { 0.0 };
        terms.l0 = share * sum;
        grad.par_chunks_mut(pairs.width).enumerate().with_min_len(256).for_each(|(at, g)| {
            let share = if pairs.is_in(at, IN_CROSS_ENTROPY) { share } else { 0.0 };
            chain_to_logits(g, pairs.predicate[at] as usize, &rows[at], share, slope[at]);
        });
        Ok(terms)
    }

    /// Adds the three margin terms of one side, and their slopes with respect to the affinities.
    fn margins(&self, side: Side, pairs: &Pairs<'_>, rows: &[Row], terms: &mut [f64; 3], slope: &mut [f64]) {
        if self.lambda[1..].iter().all(|&l| l == 0.0) {
            return;
        }
        let anchors = Anchors::new(side, pairs);
        let entities = if self.normaliser == Normaliser::Entities { related_entities(side, pairs) } else { 0 };
        let free_class = side.free_class(pairs);
        let mut related = 0usize;
        let mut items: [Vec<Item>; 3] = Default::default();
        let (mut positives, mut negatives) = (Vec::new(), Vec::new());
        for group in anchors.groups() {
            positives.clear();
            negatives.clear();
            for &at in group {
                let side = if pairs.predicate[at as usize] > 0 { &mut positives } else { &mut negatives };
                side.push(at);
            }
            related += usize::from(!positives.is_empty());
            if positives.is_empty() || negatives.is_empty() {
                continue;
            }
            let group = Group { rows, positives: &positives, negatives: &negatives, rule: self };
            if self.lambda[1] != 0.0 {
                group.one_margin(&mut items[0]);
            }
            if self.lambda[2] != 0.0 {
                let class = |at: u32| Some(free_class[at as usize]).filter(|&c| c >= 0);
                group.margin_per_class(class, class, &mut items[1]);
            }
            if self.lambda[3] != 0.0 {
                let truth = |at: u32| Some(pairs.predicate[at as usize]);
                let said = |at: u32| Some(i64::from(rows[at as usize].said));
                group.margin_per_class(truth, said, &mut items[2]);
            }
        }
        for (l, items) in items.iter().enumerate() {
            let count = match self.normaliser {
                Normaliser::Anchors => related as f64,
                Normaliser::Entities => entities as f64,
                Normaliser::Items => items.iter().map(|i| i.weight).sum(),
                Normaliser::ItemsAndDummy => items.iter().map(|i| i.weight).sum::<f64>() + 1.0,
            };
            for item in items {
                let share = self.lambda[l + 1] * item.weight / count;
                let (p, n) = (item.positive as usize, item.negative as usize);
                let [value, dp, dn] = self.margin.at(l, rows[p].affinity, rows[n].affinity);
                terms[l] += share * value;
                slope[p] += share * dp;
                slope[n] += share * dn;
            }
        }
    }
}

impl Margin {
    /// The value of margin `l` and its slopes in `p` and `n`.
    fn at(&self, l: usize, p: f64, n: f64) -> [f64; 3] {
        match self {
            Self::Hinge(alpha) => {
                let open = alpha[l] - (p - n);
                let active = if open > 0.0 { 1.0 } else { 0.5 * f64::from(u8::from(open == 0.0)) };
                [open.max(0.0), -active, active]
            }
            Self::Formula(kernel) => {
                let dual = kernel.at(&[p, n]);
                [dual.value, dual.slope[0], dual.slope[1]]
            }
        }
    }
}

/// What the groups need of one row.
#[derive(Clone, Copy, Debug)]
struct Row {
    cross_entropy: f64,
    affinity: f64,
    /// One less the probability of the true predicate, no digit of which is lost where that is nearly 1.
    missed: f64,
    /// The predicate with the largest logit; the first among equals.
    said: u32,
}

impl Row {
    /// Fills in the probabilities of one row.
    fn softmax(logits: &[f32], target: usize, probabilities: &mut [f32]) -> Self {
        let max = largest(logits);
        for (y, &z) in probabilities.iter_mut().zip(logits) {
            *y = exp_of_difference(z, max);
        }
        let none = f64::from(probabilities[0]);
        let some = sum(&probabilities[1..]);
        let own = f64::from(probabilities[target]);
        // Of all but the true one: taken off the whole sum, it would be what rounding has left of it.
        let others = sum(&probabilities[..target]) + sum(&probabilities[target + 1..]);
        let inverse = (1.0 / (none + some)) as f32;
        for y in probabilities.iter_mut() {
            *y *= inverse;
        }
        let real = &logits[1..];
        let top = if logits[0] == max { largest(real) } else { max };
        let said = real.iter().position(|&z| z == top).map_or(0, |at| at as u32 + 1);
        Self {
            cross_entropy: (own - 1.0 + others).ln_1p() + (f64::from(max) - f64::from(logits[target])),
            affinity: some / (none + some),
            missed: others / (none + some),
            said,
        }
    }
}

/// Turns a row of probabilities into the gradient: `share` of the cross-entropy and `slope` of the affinity.
fn chain_to_logits(row: &mut [f32], target: usize, said: &Row, share: f64, slope: f64) {
    let (none, own) = (f64::from(row[0]), f64::from(row[target]));
    let scale = (share + slope * none) as f32;
    for y in row.iter_mut() {
        *y *= scale;
    }
    let to_none = -slope * none * said.affinity;
    row[0] = (none * share + to_none) as f32;
    let to_own = if target == 0 { to_none } else { slope * none * own };
    row[target] = (to_own - share * said.missed) as f32;
}

/// `exp(z - max)` of `z <= max`: what rounding takes off the difference would be a millionth of the result from 16 on.
fn exp_of_difference(z: f32, max: f32) -> f32 {
    let difference = z - max;
    let back = difference - z;
    let lost = (z - (difference - back)) - (max + back);
    let e = exp_to_one(difference);
    // Below -87 the result is no normal number and 0 will do; what an infinite difference has lost is not a number.
    if difference < -87.0 { 0.0 } else { e + e * lost }
}

/// The sum in f64, over eight lanes.
fn sum(numbers: &[f32]) -> f64 {
    let mut lanes = [0.0f64; 8];
    let chunks = numbers.chunks_exact(8);
    let rest: f64 = chunks.remainder().iter().map(|&v| f64::from(v)).sum();
    for chunk in chunks {
        for (lane, &v) in lanes.iter_mut().zip(chunk) {
            *lane += f64::from(v);
        }
    }
    lanes.iter().sum::<f64>() + rest
}

/// The largest number, over eight lanes.
fn largest(numbers: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; 8];
    let chunks = numbers.chunks_exact(8);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, &v) in lanes.iter_mut().zip(chunk) {
            *lane = if v > *lane { v } else { *lane };
        }
    }
    lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |m, &v| m.max(v))
}

/// Which end of a pair is the anchor.
#[derive(Clone, Copy, Debug)]
enum Side {
    Subject,
    Object,
}

impl Side {
    fn anchor<'a>(self, pairs: &Pairs<'a>) -> &'a [i64] {
        match self {
            Side::Subject => pairs.subject,
            Side::Object => pairs.object,
        }
    }

    fn free_class<'a>(self, pairs: &Pairs<'a>) -> &'a [i64] {
        match self {
            Side::Subject => pairs.object_class,
            Side::Object => pairs.subject_class,
        }
    }

    fn list(self) -> i64 {
        match self {
            Side::Subject => IN_SUBJECT_LIST,
            Side::Object => IN_OBJECT_LIST,
        }
    }
}

/// The rows of a list by anchor: anchors in the order of their ids, rows in the order of the input.
struct Anchors {
    rows: Vec<u32>,
    ends: Vec<u32>,
}

impl Anchors {
    fn new(side: Side, pairs: &Pairs<'_>) -> Self {
        let anchor = side.anchor(pairs);
        let listed: Vec<u32> = (0..anchor.len() as u32).filter(|&at| pairs.is_in(at as usize, side.list())).collect();
        let mut ids: Vec<i64> = listed.iter().map(|&at| anchor[at as usize]).collect();
        ids.sort_unstable();
        ids.dedup();
        // Ids are mostly 0..A, and then an id is its own place.
        let dense = ids.iter().enumerate().all(|(at, &id)| at as i64 == id);
        let place = |id: i64| if dense { id as usize } else { ids.partition_point(|&other| other < id) };
        let mut ends = vec![0u32; ids.len() + 1];
        for &at in &listed {
            ends[place(anchor[at as usize]) + 1] += 1;
        }
        for i in 1..ends.len() {
            ends[i] += ends[i - 1];
        }
        let mut next = ends.clone();
        let mut rows = vec![0; listed.len()];
        for &at in &listed {
            let next = &mut next[place(anchor[at as usize])];
            rows[*next as usize] = at;
            *next += 1;
        }
        Self { rows, ends }
    }

    fn groups(&self) -> impl Iterator<Item = &[u32]> {
        self.ends.windows(2).map(|w| &self.rows[w[0] as usize..w[1] as usize])
    }
}

/// How many entities are in a positive pair of a side's list.
fn related_entities(side: Side, pairs: &Pairs<'_>) -> usize {
    let related = (0..pairs.predicate.len()).filter(|&at| pairs.predicate[at] > 0 && pairs.is_in(at, side.list()));
    let mut ids: Vec<i64> = related.flat_map(|at| [pairs.subject[at], pairs.object[at]]).collect();
    ids.sort_unstable();
    ids.dedup();
    ids.len()
}

/// One margin: the rows of its `p` and `n`, and its weight before the divisor.
struct Item {
    positive: u32,
    negative: u32,
    weight: f64,
}

/// The pairs of one anchor; neither side is empty.
struct Group<'a> {
    rows: &'a [Row],
    positives: &'a [u32],
    negatives: &'a [u32],
    rule: &'a GraphicalContrastive,
}

impl Group<'_> {
    fn one_margin(&self, items: &mut Vec<Item>) {
        if let (Some(positive), Some(negative)) = (self.lowest(|_| true), self.highest(|_| true)) {
            items.push(Item { positive, negative, weight: 1.0 });
        }
    }

    /// One margin for each class among the positives, against the negatives that `confusable` puts into that class.
    fn margin_per_class(
        &self,
        class: impl Fn(u32) -> Option<i64>,
        confusable: impl Fn(u32) -> Option<i64>,
        items: &mut Vec<Item>,
    ) {
        let mut classes: Vec<i64> = Vec::with_capacity(self.positives.len());
        for c in self.positives.iter().filter_map(|&at| class(at)) {
            if !classes.contains(&c) {
                classes.push(c);
            }
        }
        let weight = match self.rule.class_mean {
            ClassMean::Nested => 1.0 / classes.len() as f64,
            ClassMean::Flat => 1.0,
        };
        for c in classes {
            let own = self.highest(|at| confusable(at) == Some(c));
            let negative = match self.rule.compensation {
                Compensation::Off => own,
                Compensation::On => own.or_else(|| self.highest(|_| true)),
            };
            if let (Some(positive), Some(negative)) = (self.lowest(|at| class(at) == Some(c)), negative) {
                items.push(Item { positive, negative, weight });
            }
        }
    }

    fn lowest(&self, keep: impl Fn(u32) -> bool) -> Option<u32> {
        let better = |a: f64, b: f64| a < b;
        first_best(self.rows, self.positives, keep, better)
    }

    fn highest(&self, keep: impl Fn(u32) -> bool) -> Option<u32> {
        let better = |a: f64, b: f64| a > b;
        first_best(self.rows, self.negatives, keep, better)
    }
}

/// The first of the kept rows that no other is better than.
fn first_best(rows: &[Row], of: &[u32], keep: impl Fn(u32) -> bool, better: impl Fn(f64, f64) -> bool) -> Option<u32> {
    let mut best: Option<u32> = None;
    for &at in of {
        if keep(at) && best.is_none_or(|b| better(rows[at as usize].affinity, rows[b as usize].affinity)) {
            best = Some(at);
        }
    }
    best
}

impl Pairs<'_> {
    fn is_in(&self, at: usize, list: i64) -> bool {
        self.lists.is_none_or(|lists| lists[at] & list != 0)
    }

    /// Checks lengths, ids, predicates and lists.
    fn check(&self) -> Result<(), LossError> {
        let rows = self.subject.len();
        if self.width < 2 {
            let message = format!("expected columns for \"none\" and at least one predicate, found {}", self.width);
            return Err(LossError::input("logits", message));
        }
        if self.logits.len() != rows * self.width || u32::try_from(rows).is_err() {
            let message = format!("{} numbers are not {rows} rows of {}", self.logits.len(), self.width);
            return Err(LossError::input("logits", message));
        }
        let columns = [
            ("object", Some(self.object)),
            ("subject_class", Some(self.subject_class)),
            ("object_class", Some(self.object_class)),
            ("predicate", Some(self.predicate)),
            ("lists", self.lists),
        ];
        for (name, column) in columns {
            if let Some(column) = column.filter(|c| c.len() != rows) {
                let message = format!("expected {rows} numbers, one for each row of logits, found {}", column.len());
                return Err(LossError::input(name, message));
            }
        }
        if let Some(at) = self.predicate.iter().position(|&p| p < 0 || p >= self.width as i64) {
            let message = format!("{} at [{at}]; expected 0 (none) to {}", self.predicate[at], self.width - 1);
            return Err(LossError::input("predicate", message));
        }
        if let Some(at) = (0..rows).find(|&at| self.subject[at] == self.object[at]) {
            let message = format!("entity {} at [{at}] is also its subject", self.object[at]);
            return Err(LossError::input("object", message));
        }
        let all = IN_CROSS_ENTROPY | IN_SUBJECT_LIST | IN_OBJECT_LIST;
        if let Some((at, list)) =
            self.lists.and_then(|lists| lists.iter().enumerate().find(|&(_, &l)| !(0..=all).contains(&l)))
        {
            return Err(LossError::input("lists", format!("{list} at [{at}]; expected 0 to {all}")));
        }
        Ok(())
    }
}

impl Loss for GraphicalContrastive {
    fn evaluate(&self, inputs: &Inputs) -> Result<Evaluation, LossError> {
        let logits = inputs.f32("logits", 2)?;
        let width = logits.shape()[1];
        let logits = logits.as_standard_layout();
        let column = |name: &str| Ok::<_, LossError>(inputs.i64(name, 1)?.iter().copied().collect::<Vec<i64>>());
        let (subject, object) = (column("subject")?, column("object")?);
        let (subject_class, object_class) = (column("subject_class")?, column("object_class")?);
        let predicate = column("predicate")?;
        let lists = if inputs.has("lists") { Some(column("lists")?) } else { None };
        let pairs = Pairs {
            logits: logits.as_slice().unwrap_or_default(),
            width,
            subject: &subject,
            object: &object,
            subject_class: &subject_class,
            object_class: &object_class,
            predicate: &predicate,
            lists: lists.as_deref(),
        };
        let mut grad = ArrayD::zeros(IxDyn(logits.shape()));
        let terms = self.value_and_gradient(&pairs, grad.as_slice_mut().unwrap_or_default())?;
        Ok(Evaluation::new(terms.value(), grad).with_parts(terms.named()))
    }
}

/// `graphical-contrastive`
pub(super) static ENTRY: Entry = Entry {
    name: "graphical-contrastive",
    family: Family::Groups,
    summary: "Related pairs must look more related than the unrelated pairs they could be confused with: by anchor, entity class and predicate.",
    formula: "lambda0 mean(-log y[predicate]) + sum over l of lambda_l (1/N) sum of margin(p, n) over the groups of subjects, then of objects; y = softmax(logits), affinity 1 - y_0, p the lowest of the related, n the highest of the unrelated pairs",
    gradient: "lambda0/N (y_k - [k = predicate]) + g y_0 (y_k - [k = 0]), with g the slope of the margins with respect to the row's affinity",
    space: "logits [N,1+P], column 0 for no relation (any finite numbers; the softmax is inside); entity ids unique over the images of a batch; a class below 0 is no one's class",
    corners: "Groups without negatives, and no groups at all, add 0. Among equal affinities the first row is chosen; at the kink of the hinge half the slope.",
    reference: "Zhang et al., Graphical Contrastive Losses for Scene Graph Parsing, CVPR 2019 (arXiv 1903.02728)",
    inputs: &[
        InputSpec {
            name: "logits",
            scalar: ScalarType::F32,
            shape: "[N,1+P]",
            optional: false,
            doc: "scores of no relation and of the predicates, before softmax",
        },
        column("subject", false, "the entity that is the subject of each pair"),
        column("object", false, "the entity that is the object of each pair"),
        column("subject_class", false, "the class of the subject; below 0 for none"),
        column("object_class", false, "the class of the object; below 0 for none"),
        column("predicate", false, "the true predicate of each pair, 0 for none"),
        column("lists", true, "where each row counts: 1 cross-entropy + 2 subject margins + 4 object margins"),
    ],
    params: &[
        weight("lambda0", 1.0, "weight of the cross-entropy L0"),
        weight("lambda1", 1.0, "weight of the class-agnostic margins L1"),
        weight("lambda2", 0.5, "weight of the entity-class-aware margins L2"),
        weight("lambda3", 0.1, "weight of the predicate-class-aware margins L3"),
        margin("alpha1", "hinge margin of L1"),
        margin("alpha2", "hinge margin of L2"),
        margin("alpha3", "hinge margin of L3"),
        Param {
            name: "margin",
            kind: ParamKind::Kernel { default: "max(0.2 - (p - n), 0)", variables: MARGIN_VARIABLES },
            doc: "kernel of all three in place of the hinge: p lowest related, n highest unrelated affinity",
        },
        choice("variant", "paper", &["paper", "code"], "as published, or as released; sets the next two"),
        choice(
            "normaliser",
            "variant",
            &["variant", "anchors", "entities", "items", "items-and-dummy"],
            "divisor of each sum: anchors (paper) or items-and-dummy (code)",
        ),
        choice(
            "class_mean",
            "variant",
            &["variant", "nested", "flat"],
            "mean over an anchor's classes first: nested (paper) or flat (code)",
        ),
        choice(
            "compensation",
            "off",
            &["off", "on"],
            "whether a class without negatives meets the anchor's highest negative",
        ),
    ],
    example,
    build,
};

const fn column(name: &'static str, optional: bool, doc: &'static str) -> InputSpec {
    InputSpec { name, scalar: ScalarType::I64, shape: "[N]", optional, doc }
}

const fn weight(name: &'static str, default: f64, doc: &'static str) -> Param {
    Param { name, kind: ParamKind::Number { default, least: 0.0, most: 1e9 }, doc }
}

const fn margin(name: &'static str, doc: &'static str) -> Param {
    Param { name, kind: ParamKind::Number { default: 0.2, least: -1.0, most: 1e9 }, doc }
}

const fn choice(
    name: &'static str,
    default: &'static str,
    choices: &'static [&'static str],
    doc: &'static str,
) -> Param {
    Param { name, kind: ParamKind::Choice { default, choices }, doc }
}

fn build(arguments: &Arguments) -> Result<Box<dyn Loss>, LossError> {
    let variant = if arguments.choice("variant") == "code" { Variant::Code } else { Variant::Paper };
    let mut loss = GraphicalContrastive::new(variant)
        .with_lambda(["lambda0", "lambda1", "lambda2", "lambda3"].map(|name| arguments.number(name)))
        .with_alpha(["alpha1", "alpha2", "alpha3"].map(|name| arguments.number(name)));
    if let Some(kernel) = arguments.kernel("margin") {
        if let Some((name, _)) = arguments.given().find(|(name, _)| name.starts_with("alpha")) {
            let message = format!("{name}: the kernel 'margin' takes the hinge's place; write the number into it");
            return Err(LossError::param(arguments.entry().name, message));
        }
        loss = loss.with_margin(kernel);
    }
    match arguments.choice("normaliser") {
        "anchors" => loss.normaliser = Normaliser::Anchors,
        "entities" => loss.normaliser = Normaliser::Entities,
        "items" => loss.normaliser = Normaliser::Items,
        "items-and-dummy" => loss.normaliser = Normaliser::ItemsAndDummy,
        _ => {}
    }
    match arguments.choice("class_mean") {
        "nested" => loss.class_mean = ClassMean::Nested,
        "flat" => loss.class_mean = ClassMean::Flat,
        _ => {}
    }
    if arguments.choice("compensation") == "on" {
        loss.compensation = Compensation::On;
    }
    Ok(Box::new(loss))
}

/// All pairs of five entities of two classes, four predicates, every third pair related. The affinities are evenly
/// spaced in random order, and one predicate of each row is clearly the largest: no choice is near a tie.
fn example(seed: u64) -> Inputs {
    use rand::seq::SliceRandom;
    use rand::{RngExt, SeedableRng};
    const PREDICATES: usize = 4;
    let mut rng = rand::rngs::ChaCha8Rng::seed_from_u64(seed);
    let pairs: Vec<[i64; 2]> = (0..5).flat_map(|s| (0..5).filter(move |&o| o != s).map(move |o| [s, o])).collect();
    let rows = pairs.len();
    let mut ranks: Vec<usize> = (0..rows).collect();
    ranks.shuffle(&mut rng);
    let mut logits = Vec::with_capacity(rows * (1 + PREDICATES));
    for rank in ranks {
        let mut scores: Vec<f64> = (0..PREDICATES).map(|_| rng.random_range(-1.0..1.0)).collect();
        scores[rng.random_range(0..PREDICATES)] = 1.5;
        let affinity = (rank + 1) as f64 / (rows + 1) as f64;
        let some: f64 = scores.iter().map(|z| z.exp()).sum();
        logits.push((some * (1.0 - affinity) / affinity).ln() as f32);
        logits.extend(scores.iter().map(|&z| z as f32));
    }
    let column = |of: &dyn Fn(usize) -> i64| ArrayD::from_shape_fn(IxDyn(&[rows]), |at| of(at[0]));
    let predicate: Vec<i64> =
        (0..rows).map(|at| if at % 3 == 0 { rng.random_range(1..=PREDICATES as i64) } else { 0 }).collect();
    let logits = ArrayD::from_shape_fn(IxDyn(&[rows, 1 + PREDICATES]), |at| logits[at[0] * (1 + PREDICATES) + at[1]]);
    Inputs::new()
        .with("logits", logits)
        .with("subject", column(&|at| pairs[at][0]))
        .with("object", column(&|at| pairs[at][1]))
        .with("subject_class", column(&|at| pairs[at][0] % 2))
        .with("object_class", column(&|at| pairs[at][1] % 2))
        .with("predicate", column(&|at| predicate[at]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fast_exponential_is_the_exponential() {
        for at in 0..=100_000 {
            let x = -90.0 * at as f32 / 100_000.0;
            let (fast, right) = (f64::from(exp_of_difference(x, 0.0)), f64::from(x).exp());
            let allowed = if x < -87.0 { 1e-37 } else { 1.5e-7 * right };
            assert!((fast - right).abs() <= allowed, "exp({x}) = {fast}, should be {right}");
        }
        assert_eq!(exp_of_difference(3.0, 3.0), 1.0);
        assert_eq!(exp_of_difference(-3e38, 3e38), 0.0);
        assert!(exp_of_difference(f32::NAN, 0.0).is_nan());
    }

    #[test]
    fn the_kernel_in_the_slot_is_the_hinge() {
        let text = "max(0.2 - (p - n), 0)";
        let formula = Margin::Formula(Kernel::new(&Expr::parse(text, MARGIN_VARIABLES).unwrap()));
        let hinge = Margin::Hinge([0.2; 3]);
        for (p, n) in [(0.9, 0.1), (0.3, 0.4), (0.5, 0.5), (0.2, 0.0), (1.0, 0.8)] {
            assert_eq!(hinge.at(0, p, n), formula.at(0, p, n), "p = {p}, n = {n}");
        }
    }
}
