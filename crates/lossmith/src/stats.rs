//! The statistics behind a verdict: paired tests, their correction for several, effect sizes and rank correlation.
//!
//! Formulas, with the n differences d = a - b of paired values:
//!
//! ```text
//! paired t      t = mean(d) / (sd(d) / sqrt(n)),  n - 1 degrees of freedom
//! interval      mean(d) +- t(1 - alpha/2; n - 1) * sd(d) / sqrt(n)
//! effect size   d_z = mean(d) / sd(d)                                        Cohen 1988
//! Wilcoxon      W = sum of the ranks of |d| where d > 0                      Wilcoxon 1945
//! Welch         t = (mean(a) - mean(b)) / sqrt(sd(a)^2/n_a + sd(b)^2/n_b)    Welch 1947; the test of GLO
//! Holm          p_(i) -> max over j <= i of min(1, (m - j + 1) p_(j))        Holm 1979
//! ```
//!
//! All p-values are two-sided. Nothing here returns NaN: what has no answer is `None` or an error, and where the test says
//! nothing (fewer than two values, no difference at all) p is 1.

use serde::{Deserialize, Serialize};
use statrs::distribution::{Continuous, ContinuousCDF, Normal, StudentsT};

/// Up to this many non-zero differences the Wilcoxon test is exact.
pub const WILCOXON_EXACT: usize = 50;

/// Values that cannot be compared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatsError {
    /// A value is infinite or not a number.
    #[error("value {index} of {what} is not finite")]
    NotFinite {
        /// Which list.
        what: String,
        /// The place in the list, from 0.
        index: usize,
    },
    /// Paired lists of different lengths.
    #[error("paired values must be equally many: {a} and {b} were given")]
    Unpaired {
        /// The length of the first list.
        a: usize,
        /// The length of the second list.
        b: usize,
    },
    /// Fewer than two lists, or lists without names.
    #[error(
        "a comparison needs at least two lists of values, each with its name; found {lists} lists and {names} names"
    )]
    TooFew {
        /// How many lists.
        lists: usize,
        /// How many names.
        names: usize,
    },
}

/// A t-test.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TTest {
    /// mean(a) - mean(b).
    pub difference: f64,
    /// The confidence interval of the difference; `None` for fewer than two values.
    pub interval: Option<[f64; 2]>,
    /// Degrees of freedom.
    pub freedom: f64,
    /// Two-sided p-value.
    pub p: f64,
}

/// The arithmetic mean; `None` of nothing.
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The standard deviation with n - 1; `None` of fewer than two values.
pub fn sd(values: &[f64]) -> Option<f64> {
    let mean = mean(values).filter(|_| values.len() > 1)?;
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    Some((squares / (values.len() - 1) as f64).sqrt())
}

/// Cohen's d_z of paired values; 0 where all differences are 0, `None` for fewer than two pairs or where all differences are
/// equal and not 0 (the effect would be infinite).
///
/// # Errors
/// Lists of different lengths, or values that are not finite.
pub fn effect_size(a: &[f64], b: &[f64]) -> Result<Option<f64>, StatsError> {
    let d = Differences::new(a, b)?;
    Ok(match d.spread() {
        Some(spread) if spread > 0.0 => Some(d.mean() / spread),
        Some(_) if d.mean() == 0.0 => Some(0.0),
        _ => None,
    })
}

/// The paired t-test of a against b, with the interval for a confidence such as 0.95.
///
/// Fewer than two pairs: no interval, p = 1. All differences equal: p = 1 if they are 0, else p = 0, and the interval is one point.
///
/// # Errors
/// Lists of different lengths, or values that are not finite.
pub fn paired_t(a: &[f64], b: &[f64], confidence: f64) -> Result<TTest, StatsError> {
    let d = Differences::new(a, b)?;
    let n = d.values.len() as f64;
    let error = d.spread().map(|s| s / n.sqrt());
    Ok(t_test(d.mean(), error, n - 1.0, confidence))
}

/// Welch's t-test of two lists that are not paired and need not be equally long or equally spread.
///
/// Fewer than two values in a list: no interval, p = 1. Both without spread: as [`paired_t`].
///
/// # Errors
/// Values that are not finite.
pub fn welch_t(a: &[f64], b: &[f64], confidence: f64) -> Result<TTest, StatsError> {
    check_finite("the first list", a)?;
    check_finite("the second list", b)?;
    let difference = mean(a).unwrap_or(0.0) - mean(b).unwrap_or(0.0);
    let (Some(sd_a), Some(sd_b)) = (sd(a), sd(b)) else { return Ok(t_test(difference, None, 0.0, confidence)) };
    let (n_a, n_b) = (a.len() as f64, b.len() as f64);
    let (va, vb) = (sd_a * sd_a / n_a, sd_b * sd_b / n_b);
    // Welch and Satterthwaite.
    let freedom = if va + vb > 0.0 {
        (va + vb).powi(2) / (va * va / (n_a - 1.0) + vb * vb / (n_b - 1.0))
    } else {
        n_a + n_b - 2.0
    };
    Ok(t_test(difference, Some((va + vb).sqrt()), freedom, confidence))
}

/// The p-value of Wilcoxon's signed-rank test.
///
/// Differences of 0 are left out (Wilcoxon's own rule); equal sizes share the mean of their ranks. Up to [`WILCOXON_EXACT`]
/// differences the permutation distribution is computed exactly, with ties as they are; beyond, the normal approximation
/// with the correction for ties and without one for continuity. No difference left: p = 1.
///
/// # Errors
/// Lists of different lengths, or values that are not finite.
pub fn wilcoxon(a: &[f64], b: &[f64]) -> Result<f64, StatsError> {
    let d: Vec<f64> = Differences::new(a, b)?.values.into_iter().filter(|d| *d != 0.0).collect();
    let sizes: Vec<f64> = d.iter().map(|d| d.abs()).collect();
    let ranks = ranks(&sizes);
    let positive: f64 = ranks.iter().zip(&d).filter(|(_, d)| **d > 0.0).map(|(r, _)| r).sum();
    if d.is_empty() {
        return Ok(1.0);
    }
    if d.len() <= WILCOXON_EXACT {
        return Ok(exact_signed_rank(&ranks, positive));
    }
    let n = d.len() as f64;
    let variance: f64 = ranks.iter().map(|r| r * r).sum::<f64>() / 4.0;
    let z = (positive - n * (n + 1.0) / 4.0) / variance.sqrt();
    Ok((2.0 * Normal::standard().cdf(-z.abs())).min(1.0))
}

/// p-values corrected for being several, by Holm's step-down method; in the order in which they came.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|a, b| p[*a].total_cmp(&p[*b]));
    let mut corrected = vec![0.0; p.len()];
    let mut largest = 0.0f64;
    for (i, &at) in order.iter().enumerate() {
        largest = largest.max((p[at] * (p.len() - i) as f64).min(1.0));
        corrected[at] = largest;
    }
    corrected
}

/// Spearman's rank correlation; ties share the mean of their ranks. `None` where a list has no two different values.
///
/// # Errors
/// Lists of different lengths, or values that are not finite.
pub fn spearman(a: &[f64], b: &[f64]) -> Result<Option<f64>, StatsError> {
    check_pairs(a, b)?;
    let (a, b) = (ranks(a), ranks(b));
    let middle = (a.len() as f64 + 1.0) / 2.0;
    let product = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| (x - middle) * (y - middle)).sum::<f64>();
    let size = (product(&a, &a) * product(&b, &b)).sqrt();
    Ok((size > 0.0).then(|| (product(&a, &b) / size).clamp(-1.0, 1.0)))
}

/// Ranks from 1; equal values share the mean of their ranks.
pub fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    for equal in order.chunk_by(|a, b| values[*a] == values[*b]) {
        let first = order.partition_point(|i| values[*i] < values[equal[0]]);
        let shared = first as f64 + (equal.len() as f64 + 1.0) / 2.0;
        equal.iter().for_each(|i| ranks[*i] = shared);
    }
    ranks
}

/// One pair of lists, compared; the difference is `a` minus `b`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The name of the first.
    pub a: String,
    /// The name of the second.
    pub b: String,
    /// The mean paired difference.
    pub difference: f64,
    /// Its 95 % confidence interval; `None` for fewer than two pairs.
    pub ci95: Option<[f64; 2]>,
    /// Cohen's d_z; `None` where it has no value.
    pub effect_size: Option<f64>,
    /// p of the paired t-test.
    pub p: f64,
    /// p of Wilcoxon's signed-rank test.
    pub p_wilcoxon: f64,
    /// p of the paired t-test after Holm's correction over all pairs of the verdict.
    pub p_holm: f64,
}

/// Who wins, of two or more lists of paired values of which larger is better.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The level below which a corrected p-value counts.
    pub alpha: f64,
    /// Every pair, in the order of the lists.
    pub pairs: Vec<Comparison>,
    /// The winner's name: its mean is above every other's, each with a corrected p below alpha. `None` if nobody wins.
    pub winner: Option<String>,
    /// The answer in one sentence.
    pub verdict: String,
}

impl Verdict {
    /// Compares every pair of lists; `values[i]` belongs to `names[i]`, and place k of every list to the same seed.
    ///
    /// # Errors
    /// Fewer than two lists, names missing, lists of different lengths, or values that are not finite.
    pub fn new(names: &[&str], values: &[Vec<f64>], alpha: f64) -> Result<Self, StatsError> {
        if values.len() < 2 || names.len() != values.len() {
            return Err(StatsError::TooFew { lists: values.len(), names: names.len() });
        }
        for (name, list) in names.iter().zip(values) {
            check_finite(name, list)?;
        }
        let mut pairs = Vec::new();
        for i in 0..values.len() {
            for j in i + 1..values.len() {
                pairs.push(Comparison::new(names[i], &values[i], names[j], &values[j])?);
            }
        }
        let p: Vec<f64> = pairs.iter().map(|c| c.p).collect();
        for (pair, p) in pairs.iter_mut().zip(holm(&p)) {
            pair.p_holm = p;
        }
        let (winner, verdict) = judge(names, values, &pairs, alpha);
        Ok(Self { alpha, pairs, winner, verdict })
    }
}

impl Comparison {
    fn new(name_a: &str, a: &[f64], name_b: &str, b: &[f64]) -> Result<Self, StatsError> {
        let t = paired_t(a, b, 0.95)?;
        Ok(Self {
            a: name_a.to_owned(),
            b: name_b.to_owned(),
            difference: t.difference,
            ci95: t.interval,
            effect_size: effect_size(a, b)?,
            p: t.p,
            p_wilcoxon: wilcoxon(a, b)?,
            p_holm: t.p,
        })
    }

    /// The same comparison seen from `name`, which is one of the two.
    fn seen_from(&self, name: &str) -> (f64, Option<[f64; 2]>) {
        // Subtracted from 0, for a minus would make a 0 negative.
        let turned = |[l, h]: [f64; 2]| [0.0 - h, 0.0 - l];
        if self.a == name { (self.difference, self.ci95) } else { (0.0 - self.difference, self.ci95.map(turned)) }
    }
}

/// The winner and the sentence.
fn judge(names: &[&str], values: &[Vec<f64>], pairs: &[Comparison], alpha: f64) -> (Option<String>, String) {
    let n = values[0].len();
    if n < 2 {
        return (None, format!("nobody wins: {n} paired value{} cannot tell; at least 2 are needed", plural(n)));
    }
    if values.iter().all(|list| *list == values[0]) {
        return (None, format!("nobody wins: {}", cannot_tell(&values[0])));
    }
    let means: Vec<f64> = values.iter().map(|v| mean(v).unwrap_or(0.0)).collect();
    let best = (0..means.len()).fold(0, |best, i| if means[i] > means[best] { i } else { best });
    // The sentence is about the rival that stands in the way, or else about the one that comes closest.
    let against = || pairs.iter().filter(|c| c.a == names[best] || c.b == names[best]);
    let in_the_way = against().filter(|c| c.p_holm >= alpha).max_by(|c, d| c.p_holm.total_cmp(&d.p_holm));
    let nearest = || against().min_by(|c, d| c.difference.abs().total_cmp(&d.difference.abs()));
    let Some(closest) = in_the_way.or_else(nearest) else { return (None, "nobody wins".to_owned()) };
    let rival = if closest.a == names[best] { &closest.b } else { &closest.a };
    let (difference, interval) = closest.seen_from(names[best]);
    let interval = interval.map_or(String::new(), |[l, h]| format!(", 95 % interval {l:.5} to {h:.5}"));
    let facts =
        format!("{difference:+.5}{interval}, p = {} ({n} pairs{})", p_text(closest.p_holm), holm_text(pairs.len()));
    let others =
        if names.len() > 2 { format!("all {} others, most narrowly {rival}", names.len() - 1) } else { rival.clone() };
    if closest.p_holm < alpha && difference > 0.0 {
        (Some(names[best].to_owned()), format!("{} wins against {others}: {facts}", names[best]))
    } else {
        let tied: Vec<&str> =
            names.iter().zip(&means).filter(|(_, m)| **m == means[best]).map(|(name, _)| *name).collect();
        let claim = match &tied[..] {
            [only] => format!("{only} has the highest mean but is not shown to be better than {rival}"),
            several => format!("{} have the same, highest mean", several.join(" and ")),
        };
        (None, format!("nobody wins at the level {alpha}: {claim}: {facts}"))
    }
}

/// What is said where every list has the same values, of which these are one.
pub fn cannot_tell(values: &[f64]) -> String {
    let what = match values {
        [first, rest @ ..] if rest.iter().all(|v| v == first) => format!("{first} every time"),
        _ => "the same value in every pair".to_owned(),
    };
    format!("all have {what}, so these data cannot tell them apart")
}

fn plural(n: usize) -> &'static str {
    if n == 1 { "" } else { "s" }
}

fn holm_text(pairs: usize) -> &'static str {
    if pairs > 1 { ", Holm's correction" } else { "" }
}

fn p_text(p: f64) -> String {
    if p == 0.0 || p >= 0.001 { format!("{p:.3}") } else { format!("{p:.1e}") }
}

/// Paired differences that are finite.
struct Differences {
    values: Vec<f64>,
    /// The size below which a difference between differences is rounding.
    rounding: f64,
}

impl Differences {
    fn new(a: &[f64], b: &[f64]) -> Result<Self, StatsError> {
        check_pairs(a, b)?;
        let values: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
        // Finite values may still lie further apart than f64 reaches.
        check_finite("the differences", &values)?;
        let largest = a.iter().chain(b).fold(0.0f64, |m, v| m.max(v.abs()));
        Ok(Self { values, rounding: 4.0 * f64::EPSILON * largest })
    }

    fn mean(&self) -> f64 {
        mean(&self.values).unwrap_or(0.0)
    }

    /// The standard deviation; 0 where the differences differ by rounding only.
    fn spread(&self) -> Option<f64> {
        sd(&self.values).map(|s| if s <= self.rounding { 0.0 } else { s })
    }
}

fn check_pairs(a: &[f64], b: &[f64]) -> Result<(), StatsError> {
    if a.len() != b.len() {
        return Err(StatsError::Unpaired { a: a.len(), b: b.len() });
    }
    check_finite("the first list", a)?;
    check_finite("the second list", b)
}

fn check_finite(what: &str, values: &[f64]) -> Result<(), StatsError> {
    match values.iter().position(|v| !v.is_finite()) {
        Some(index) => Err(StatsError::NotFinite { what: what.to_owned(), index }),
        None => Ok(()),
    }
}

/// From a difference and its standard error, which is `None` where too few values were given.
fn t_test(difference: f64, error: Option<f64>, freedom: f64, confidence: f64) -> TTest {
    let freedom = freedom.max(0.0);
    let Some(error) = error else { return TTest { difference, interval: None, freedom, p: 1.0 } };
    let distribution = StudentsT::new(0.0, 1.0, freedom);
    let (Ok(t), true) = (distribution, error > 0.0) else {
        let p = if difference == 0.0 { 1.0 } else { 0.0 };
        return TTest { difference, interval: Some([difference; 2]), freedom, p };
    };
    let p = (2.0 * t.cdf(-(difference / error).abs())).min(1.0);
    let reach = quantile(&t, 0.5 + 0.5 * confidence.clamp(0.0, 1.0)) * error;
    TTest { difference, interval: Some([difference - reach, difference + reach]), freedom, p }
}

/// The quantile of a t distribution, with one Newton step: statrs's own is good to about eight digits.
fn quantile(t: &StudentsT, q: f64) -> f64 {
    let x = t.inverse_cdf(q);
    let slope = t.pdf(x);
    if slope > 0.0 { x - (t.cdf(x) - q) / slope } else { x }
}

/// Two-sided p of a signed-rank sum: each rank carries either sign with equal chance.
fn exact_signed_rank(ranks: &[f64], positive: f64) -> f64 {
    // Shared ranks are multiples of one half, so doubled ones are whole. `chance[s]` is that of the doubled sum s.
    let doubled: Vec<usize> = ranks.iter().map(|r| (2.0 * r) as usize).collect();
    let most: usize = doubled.iter().sum();
    let mut chance = vec![0.0; most + 1];
    chance[0] = 1.0;
    for rank in doubled {
        for s in (0..=most).rev() {
            let with = if s >= rank { chance[s - rank] } else { 0.0 };
            chance[s] = 0.5 * (chance[s] + with);
        }
    }
    let observed = (2.0 * positive) as usize;
    let below: f64 = chance[..=observed].iter().sum();
    let above: f64 = chance[observed..].iter().sum();
    (2.0 * below.min(above)).min(1.0)
}
