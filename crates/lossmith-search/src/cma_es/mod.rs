//! CMA-ES: minimisation of a function of real numbers by sampling from a normal distribution that learns its shape.
//!
//! The (mu/mu_w, lambda) evolution strategy with cumulative step-size control, rank-one and weighted rank-mu update of the
//! covariance matrix, by default *active*: bad directions are unlearned by negative weights. With [`Settings::without_negative_weights`] it
//! is the variant of GLO and SwiftCMA.
//!
//! Reference: N. Hansen, The CMA Evolution Strategy: A Tutorial, arXiv 1604.00772v2. The equation numbers below are its.
//!
//! ```
//! use lossmith_search::cma_es::{CmaEs, Settings};
//! let mut es = CmaEs::new(vec![1.0; 3], 0.5, 7, Settings::default()).unwrap();
//! while es.stop().is_none() {
//!     let values: Vec<f64> = es.ask().iter().map(|x| x.iter().map(|v| v * v).sum()).collect();
//!     es.tell(&values).unwrap();
//! }
//! assert!(es.best().unwrap().value < 1e-8);
//! ```

mod constants;
mod eigen;
mod linear;
mod restarts;
mod stop;

pub use restarts::{RestartSettings, Restarts, Schedule};
pub use stop::{Stop, Tolerances};

use std::collections::VecDeque;

use lossmith::simd::widest;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

use crate::Stream;
use constants::{Constants, default_population};
use linear::{add_scaled, dot, identity, mirror, norm};

/// The largest dimension; the covariance matrix has its square.
pub const MAX_DIMENSION: usize = 2_000;
/// The largest population.
pub const MAX_POPULATION: usize = 100_000;
/// No coordinate of the mean and no step size grows past this, so that nothing overflows.
const LARGEST: f64 = 1e32;
/// An eigenvalue below this share of the largest is lifted to it: rounding must not make a variance negative.
const LEAST_EIGENVALUE: f64 = 1e-20;
/// A sample outside the bounds is drawn again this often, then moved to the nearest point inside. Few times, because
/// redrawing alone would keep the mean away from an optimum that lies on a bound.
const MOST_RESAMPLES: usize = 3;

/// What may be chosen; the default is what the tutorial recommends.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Candidates per generation, at least 3; by default 4 + floor(3 ln n).
    pub population: Option<usize>,
    /// Leaves out the negative weights of the covariance update (equation 53).
    pub without_negative_weights: bool,
    /// Lower and upper bound per coordinate.
    pub bounds: Option<Vec<[f64; 2]>>,
    /// When to stop.
    pub stop: Tolerances,
}

/// A point and its value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// The coordinates.
    pub x: Vec<f64>,
    /// The function's value there.
    pub value: f64,
}

/// What cannot be asked of CMA-ES.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cma-es: {0}")]
pub struct CmaEsError(String);

/// The optimiser and its whole state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Saved", into = "Saved")]
pub struct CmaEs {
    settings: Settings,
    constants: Constants,
    state: State,
}

/// Everything that changes from generation to generation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct State {
    stream: Stream,
    generation: u64,
    evaluations: u64,
    mean: Vec<f64>,
    sigma: f64,
    /// Row-major and symmetric.
    covariance: Vec<f64>,
    /// Evolution path of the step size.
    path_sigma: Vec<f64>,
    /// Evolution path of the covariance matrix.
    path_c: Vec<f64>,
    /// Row i is the i-th unit eigenvector, the i-th column of B.
    basis: Vec<f64>,
    /// Square roots of the eigenvalues, the diagonal of D.
    scales: Vec<f64>,
    /// The generation in which the covariance matrix was last decomposed.
    decomposed_in: u64,
    /// Asked and not yet told.
    asked: Option<Vec<Vec<f64>>>,
    best: Option<Point>,
    /// Best and median value of the latest generations.
    history: VecDeque<[f64; 2]>,
    /// The values of the last generation that lay furthest apart.
    last_range: Option<f64>,
    initial_sigma: f64,
}

/// What is written: the constants follow from the rest.
#[derive(Serialize, Deserialize)]
struct Saved {
    settings: Settings,
    state: State,
}

impl CmaEs {
    /// Starts at a mean with the step size `sigma`, about a third of the distance at which the optimum is expected.
    ///
    /// # Errors
    /// An empty or too long mean, numbers that are not finite, a step size that is not above 0, a population below 3,
    /// bounds of another length, in the wrong order or around nothing of the mean.
    pub fn new(mean: Vec<f64>, sigma: f64, seed: u64, settings: Settings) -> Result<Self, CmaEsError> {
        Self::on_stream(mean, sigma, Stream::new(seed, 0), settings)
    }

    fn on_stream(mean: Vec<f64>, sigma: f64, stream: Stream, settings: Settings) -> Result<Self, CmaEsError> {
        let n = mean.len();
        check_start(&mean, sigma, &settings)?;
        let population = settings.population.unwrap_or_else(|| default_population(n).max(4));
        let constants = Constants::new(n, population, !settings.without_negative_weights);
        let state = State {
            stream,
            generation: 0,
            evaluations: 0,
            mean,
            sigma,
            covariance: identity(n),
            path_sigma: vec![0.0; n],
            path_c: vec![0.0; n],
            basis: identity(n),
            scales: vec![1.0; n],
            decomposed_in: 0,
            asked: None,
            best: None,
            history: VecDeque::new(),
            last_range: None,
            initial_sigma: sigma,
        };
        Ok(Self { settings, constants, state })
    }

    /// The candidates of this generation; the same ones until [`tell`](Self::tell) is called.
    pub fn ask(&mut self) -> &[Vec<f64>] {
        if self.state.asked.is_none() {
            self.decompose_if_due();
            let candidates = widest(
                #[inline(always)]
                || self.sample_all(),
            );
            self.state.asked = Some(candidates);
        }
        self.state.asked.as_deref().unwrap_or_default()
    }

    /// Takes the values of the candidates, in the order in which they were asked; smaller is better.
    ///
    /// A value that is not finite ranks last. A generation without any finite value teaches nothing: the distribution stays,
    /// and the next [`ask`](Self::ask) draws new candidates from it.
    ///
    /// # Errors
    /// Nothing was asked, or the number of values is not the number of candidates. Nothing is changed then.
    pub fn tell(&mut self, values: &[f64]) -> Result<(), CmaEsError> {
        let expected = self.state.asked.as_ref().map_or(0, Vec::len);
        if values.len() != expected || expected == 0 {
            return Err(CmaEsError(format!(
                "expected {expected} values, one per candidate asked, found {}",
                values.len()
            )));
        }
        let candidates = self.state.asked.take().unwrap_or_default();
        self.state.generation += 1;
        self.state.evaluations += values.len() as u64;

        let worth = |i: &usize| if values[*i].is_finite() { values[*i] } else { f64::INFINITY };
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by(|a, b| worth(a).total_cmp(&worth(b)));
        if !values[order[0]].is_finite() {
            return Ok(());
        }
        self.remember(&candidates, values, &order);
        widest(
            #[inline(always)]
            || self.update(&candidates, &order),
        );
        Ok(())
    }

    /// The number of candidates per generation.
    pub fn population_size(&self) -> usize {
        self.constants.weights.len()
    }

    /// The number of coordinates.
    pub fn dimension(&self) -> usize {
        self.state.mean.len()
    }

    /// The best finite value that was told, and its point.
    pub fn best(&self) -> Option<&Point> {
        self.state.best.as_ref()
    }

    /// The mean of the distribution: under noise a better answer than [`best`](Self::best).
    pub fn mean(&self) -> &[f64] {
        &self.state.mean
    }

    /// The step size.
    pub fn sigma(&self) -> f64 {
        self.state.sigma
    }

    /// The standard deviation of each coordinate.
    pub fn deviations(&self) -> Vec<f64> {
        let n = self.dimension();
        (0..n).map(|i| self.state.sigma * self.state.covariance[i * n + i].max(0.0).sqrt()).collect()
    }

    /// How many generations were told.
    pub fn generation(&self) -> u64 {
        self.state.generation
    }

    /// How many values were told.
    pub fn evaluations(&self) -> u64 {
        self.state.evaluations
    }

    /// Why it is time to stop, if it is.
    pub fn stop(&self) -> Option<Stop> {
        stop::stop(self)
    }

    #[inline(always)]
    fn sample_all(&mut self) -> Vec<Vec<f64>> {
        let mut candidates = Vec::with_capacity(self.population_size());
        for _ in 0..self.population_size() {
            candidates.push(self.sample());
        }
        candidates
    }

    /// A candidate within the bounds: drawn again while it lies outside, at last moved inside.
    #[inline(always)]
    fn sample(&mut self) -> Vec<f64> {
        let mut x = draw(&mut self.state);
        let Some(bounds) = &self.settings.bounds else { return x };
        let inside = |x: &[f64]| x.iter().zip(bounds).all(|(x, [low, high])| (*low..=*high).contains(x));
        for _ in 0..MOST_RESAMPLES {
            if inside(&x) {
                return x;
            }
            x = draw(&mut self.state);
        }
        for (x, [low, high]) in x.iter_mut().zip(bounds) {
            *x = x.clamp(*low, *high);
        }
        x
    }

    /// Equations 41 to 47.
    #[inline(always)]
    fn update(&mut self, candidates: &[Vec<f64>], order: &[usize]) {
        let Self { constants: k, state: s, .. } = self;
        let n = s.mean.len();

        // y_i:lambda = (x_i - m) / sigma, best first, one row each; recomputed because repaired candidates moved.
        let mut steps = vec![0.0; n * candidates.len()];
        for (step, &i) in steps.chunks_exact_mut(n).zip(order) {
            for ((y, x), m) in step.iter_mut().zip(&candidates[i]).zip(&s.mean) {
                *y = (x - m) / s.sigma;
            }
        }

        // Equations 41 and 42, with c_m = 1 (equation 54).
        let mut step = vec![0.0; n];
        for (y, weight) in steps.chunks_exact(n).zip(&k.weights[..k.parents]) {
            add_scaled(&mut step, *weight, y);
        }
        for (m, y) in s.mean.iter_mut().zip(&step) {
            *m = (*m + s.sigma * y).clamp(-LARGEST, LARGEST);
        }

        // Equation 43.
        let whitened = whiten(&s.basis, &s.scales, &step);
        let gain = (k.c_sigma * (2.0 - k.c_sigma) * k.mu_eff).sqrt();
        for (p, w) in s.path_sigma.iter_mut().zip(&whitened) {
            *p = (1.0 - k.c_sigma) * *p + gain * w;
        }

        // h_sigma holds the rank-one update back while the step size still grows fast.
        let length = norm(&s.path_sigma);
        let generations = i32::try_from(s.generation.saturating_mul(2)).unwrap_or(i32::MAX);
        let expected = (1.0 - (1.0 - k.c_sigma).powi(generations)).sqrt();
        let h_sigma = length / expected < (1.4 + 2.0 / (n as f64 + 1.0)) * k.chi_n;

        // Equation 45.
        let gain = if h_sigma { (k.c_c * (2.0 - k.c_c) * k.mu_eff).sqrt() } else { 0.0 };
        for (p, y) in s.path_c.iter_mut().zip(&step) {
            *p = (1.0 - k.c_c) * *p + gain * y;
        }

        // Equation 46: a negative weight is scaled by the candidate's length, so that no direction loses more than it has.
        let weights: Vec<f64> = steps
            .chunks_exact(n)
            .zip(&k.weights)
            .map(|(y, &w)| if w >= 0.0 { w } else { w * n as f64 / whitened_square(&s.basis, &s.scales, y) })
            .collect();

        // Equation 47.
        let delta = if h_sigma { 0.0 } else { k.c_c * (2.0 - k.c_c) };
        let keep = 1.0 + k.c_1 * delta - k.c_1 - k.c_mu * k.weights.iter().sum::<f64>();
        for i in 0..n {
            let row = &mut s.covariance[i * n..=i * n + i];
            for (c, p) in row.iter_mut().zip(&s.path_c) {
                *c = keep * *c + k.c_1 * s.path_c[i] * p;
            }
            for (y, w) in steps.chunks_exact(n).zip(&weights) {
                add_scaled(row, k.c_mu * w * y[i], &y[..=i]);
            }
        }
        mirror(&mut s.covariance, n);

        // Equation 44; one generation changes the step size by a factor of e at most.
        s.sigma *= (k.c_sigma / k.d_sigma * (length / k.chi_n - 1.0)).min(1.0).exp();
        s.sigma = s.sigma.clamp(f64::MIN_POSITIVE, LARGEST);
    }

    /// Decomposes the covariance matrix when enough has changed (appendix B.2).
    fn decompose_if_due(&mut self) {
        let s = &mut self.state;
        let n = s.mean.len();
        if s.generation < s.decomposed_in + self.constants.eigen_gap {
            return;
        }
        s.decomposed_in = s.generation;
        let largest = |values: &[f64]| values.iter().fold(0.0f64, |m, v| m.max(*v));
        match eigen::eigen(&s.covariance, n) {
            Some(found) if largest(&found.values) > 0.0 => {
                let floor = largest(&found.values) * LEAST_EIGENVALUE;
                let lifted = found.values.iter().any(|v| *v < floor);
                s.scales = found.values.iter().map(|v| v.max(floor).sqrt()).collect();
                s.basis = found.vectors;
                if lifted {
                    s.covariance = recompose(&s.basis, &s.scales);
                }
            }
            // Overflow is the only way here: the shape is lost, the place and the step size are not.
            _ => {
                s.covariance = identity(n);
                s.basis = identity(n);
                s.scales = vec![1.0; n];
                s.path_c.fill(0.0);
            }
        }
    }

    /// Keeps what the stop criteria and the user ask for.
    fn remember(&mut self, candidates: &[Vec<f64>], values: &[f64], order: &[usize]) {
        let s = &mut self.state;
        let first = order[0];
        if s.best.as_ref().is_none_or(|b| values[first] < b.value) {
            s.best = Some(Point { x: candidates[first].clone(), value: values[first] });
        }
        let finite = order.iter().take_while(|i| values[**i].is_finite()).count();
        s.last_range = Some(values[order[finite - 1]] - values[first]);
        s.history.push_back([values[first], values[order[finite / 2]]]);
        let window = stop::history_window(s.mean.len(), values.len());
        while s.history.len() > window {
            s.history.pop_front();
        }
    }
}

/// Equations 38 to 40: x = m + sigma B D z.
#[inline(always)]
fn draw(s: &mut State) -> Vec<f64> {
    let n = s.mean.len();
    let mut x = vec![0.0; n];
    for (scale, direction) in s.scales.iter().zip(s.basis.chunks_exact(n)) {
        let z: f64 = StandardNormal.sample(&mut s.stream);
        add_scaled(&mut x, z * scale, direction);
    }
    for (x, m) in x.iter_mut().zip(&s.mean) {
        *x = m + s.sigma * *x;
    }
    x
}

/// C^(-1/2) y = B D^(-1) B' y.
#[inline(always)]
fn whiten(basis: &[f64], scales: &[f64], y: &[f64]) -> Vec<f64> {
    let mut white = vec![0.0; y.len()];
    for (direction, scale) in basis.chunks_exact(y.len()).zip(scales) {
        add_scaled(&mut white, dot(direction, y) / scale, direction);
    }
    white
}

/// |C^(-1/2) y|^2, never 0.
#[inline(always)]
fn whitened_square(basis: &[f64], scales: &[f64], y: &[f64]) -> f64 {
    let squares = basis.chunks_exact(y.len()).zip(scales).map(|(direction, scale)| (dot(direction, y) / scale).powi(2));
    squares.sum::<f64>().max(f64::MIN_POSITIVE)
}

/// B D^2 B'.
fn recompose(basis: &[f64], scales: &[f64]) -> Vec<f64> {
    let n = scales.len();
    let mut matrix = vec![0.0; n * n];
    for (direction, scale) in basis.chunks_exact(n).zip(scales) {
        for i in 0..n {
            add_scaled(&mut matrix[i * n..=i * n + i], scale * scale * direction[i], &direction[..=i]);
        }
    }
    mirror(&mut matrix, n);
    matrix
}

fn check_start(mean: &[f64], sigma: f64, settings: &Settings) -> Result<(), CmaEsError> {
    let n = mean.len();
    let fault = |text: String| Err(CmaEsError(text));
    if n == 0 || n > MAX_DIMENSION {
        return fault(format!("expected 1 to {MAX_DIMENSION} coordinates, found {n}"));
    }
    if mean.iter().any(|m| m.is_nan() || m.abs() > LARGEST) {
        return fault(format!("the mean must hold numbers from -{LARGEST:e} to {LARGEST:e}"));
    }
    if !(sigma > 0.0 && sigma <= LARGEST) {
        return fault(format!("the step size must be above 0 and at most {LARGEST:e}, found {sigma}"));
    }
    if let Some(population) = settings.population.filter(|p| !(3..=MAX_POPULATION).contains(p)) {
        return fault(format!("the population must be from 3 to {MAX_POPULATION}, found {population}"));
    }
    let Some(bounds) = &settings.bounds else { return Ok(()) };
    if bounds.len() != n {
        return fault(format!("expected bounds for {n} coordinates, found {}", bounds.len()));
    }
    for (i, ([low, high], m)) in bounds.iter().zip(mean).enumerate() {
        if !(low < high && low <= m && m <= high) {
            return fault(format!("coordinate {i}: the mean {m} must lie within the bounds, found {low} to {high}"));
        }
    }
    Ok(())
}

impl From<CmaEs> for Saved {
    fn from(es: CmaEs) -> Self {
        Self { settings: es.settings, state: es.state }
    }
}

impl TryFrom<Saved> for CmaEs {
    type Error = CmaEsError;

    /// A saved state is input like any other: sizes that do not fit would be panics later.
    fn try_from(Saved { settings, state }: Saved) -> Result<Self, CmaEsError> {
        let fresh = Self::on_stream(state.mean.clone(), state.sigma, state.stream.clone(), settings)?;
        let n = fresh.dimension();
        let fits = |v: &[f64], length: usize| v.len() == length && v.iter().all(|v| v.is_finite());
        let sound = fits(&state.covariance, n * n)
            && fits(&state.basis, n * n)
            && fits(&state.scales, n)
            && fits(&state.path_sigma, n)
            && fits(&state.path_c, n)
            && state.best.iter().all(|b| fits(&b.x, n))
            && state.asked.iter().all(|a| a.len() == fresh.population_size() && a.iter().all(|x| fits(x, n)));
        if !sound {
            return Err(CmaEsError("the saved state is damaged: its arrays do not fit together".to_owned()));
        }
        Ok(Self { state, ..fresh })
    }
}
