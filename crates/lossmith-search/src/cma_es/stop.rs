//! When to stop: the criteria of the tutorial's appendix B.3.

use serde::{Deserialize, Serialize};

use super::CmaEs;

/// Thresholds of the stop criteria. A threshold of 0 turns its criterion off.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tolerances {
    /// [`Stop::Target`]: a value at or below it is good enough.
    pub target: Option<f64>,
    /// [`Stop::Evaluations`]: the most values to be told.
    pub evaluations: Option<u64>,
    /// [`Stop::TolFun`].
    pub fun: f64,
    /// [`Stop::TolX`], as a share of the initial step size.
    pub x: f64,
    /// [`Stop::TolXUp`], as a multiple of the initial step size.
    pub x_up: f64,
    /// [`Stop::ConditionCov`].
    pub condition: f64,
    /// Whether [`Stop::Stagnation`], [`Stop::NoEffectAxis`] and [`Stop::NoEffectCoord`] are looked for.
    pub stagnation: bool,
}

impl Default for Tolerances {
    fn default() -> Self {
        Self { target: None, evaluations: None, fun: 1e-12, x: 1e-12, x_up: 1e4, condition: 1e14, stagnation: true }
    }
}

impl Tolerances {
    /// Nothing stops the run but the target and the number of evaluations.
    pub fn off() -> Self {
        Self { fun: 0.0, x: 0.0, x_up: 0.0, condition: 0.0, stagnation: false, ..Self::default() }
    }
}

/// Why it is time to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Stop {
    /// The target value is reached.
    Target,
    /// As many evaluations as were allowed.
    Evaluations,
    /// The best values of the latest generations, and all of the last one, lie closer together than the tolerance.
    TolFun,
    /// The standard deviation of every coordinate, and the evolution path, are below the tolerance.
    TolX,
    /// A standard deviation grew far past the initial one: divergence, or a much too small start.
    TolXUp,
    /// The longest axis of the distribution is too many times the shortest.
    ConditionCov,
    /// A step of 0.1 standard deviations along one axis of the distribution does not change the mean.
    NoEffectAxis,
    /// A step of 0.2 standard deviations in one coordinate does not change the mean.
    NoEffectCoord,
    /// Neither the best nor the median values have become better for long.
    Stagnation,
}

/// How many generations [`Stop::TolFun`] looks back.
fn fun_window(dimension: usize, population: usize) -> usize {
    10 + (30 * dimension).div_ceil(population)
}

/// How many generations are remembered: what [`Stop::Stagnation`] needs.
pub(super) fn history_window(dimension: usize, population: usize) -> usize {
    120 + (30 * dimension).div_ceil(population)
}

pub(super) fn stop(es: &CmaEs) -> Option<Stop> {
    let t = &es.settings.stop;
    let s = &es.state;
    let n = es.dimension();
    let reached = |target: f64| s.best.as_ref().is_some_and(|b| b.value <= target);
    if t.target.is_some_and(reached) {
        return Some(Stop::Target);
    }
    if t.evaluations.is_some_and(|most| s.evaluations >= most) {
        return Some(Stop::Evaluations);
    }
    if s.generation == 0 {
        return None;
    }
    if t.fun > 0.0 && values_are_equal(es) {
        return Some(Stop::TolFun);
    }
    let deviations = es.deviations();
    let small = |v: f64| v < t.x * s.initial_sigma;
    if deviations.iter().all(|d| small(*d)) && s.path_c.iter().all(|p| small(s.sigma * p.abs())) {
        return Some(Stop::TolX);
    }
    if t.x_up > 0.0 && deviations.iter().any(|d| *d > t.x_up * s.initial_sigma) {
        return Some(Stop::TolXUp);
    }
    let longest = s.scales.iter().fold(0.0f64, |m, d| m.max(*d));
    let shortest = s.scales.iter().fold(f64::INFINITY, |m, d| m.min(*d));
    if t.condition > 0.0 && (longest / shortest).powi(2) > t.condition {
        return Some(Stop::ConditionCov);
    }
    if !t.stagnation {
        return None;
    }
    // One axis per generation, in turn.
    let axis = (s.generation % n as u64) as usize;
    let direction = &s.basis[axis * n..(axis + 1) * n];
    let reach = 0.1 * s.sigma * s.scales[axis];
    if s.mean.iter().zip(direction).all(|(m, b)| *m == m + reach * b) {
        return Some(Stop::NoEffectAxis);
    }
    if s.mean.iter().zip(&deviations).any(|(m, d)| *m == m + 0.2 * d) {
        return Some(Stop::NoEffectCoord);
    }
    has_stagnated(es).then_some(Stop::Stagnation)
}

fn values_are_equal(es: &CmaEs) -> bool {
    let s = &es.state;
    let window = fun_window(es.dimension(), es.population_size());
    if s.history.len() < window || s.last_range.is_none_or(|r| r >= es.settings.stop.fun) {
        return false;
    }
    let latest = || s.history.iter().rev().take(window).map(|h| h[0]);
    latest().fold(f64::NEG_INFINITY, f64::max) - latest().fold(f64::INFINITY, f64::min) < es.settings.stop.fun
}

/// Compares the medians of the oldest and the newest 30 % of the remembered generations.
fn has_stagnated(es: &CmaEs) -> bool {
    let history = &es.state.history;
    if history.len() < history_window(es.dimension(), es.population_size()) {
        return false;
    }
    let share = history.len() * 3 / 10;
    let is_no_better = |which: usize| {
        let old = median(history.iter().take(share).map(|h| h[which]).collect());
        let new = median(history.iter().rev().take(share).map(|h| h[which]).collect());
        new >= old
    };
    is_no_better(0) && is_no_better(1)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
