//! The strategy constants, all from the dimension and the population. Equation numbers as in [the tutorial](super).

/// What stays fixed during a run.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Constants {
    /// Weights of all candidates, best first: positive ones sum to 1, the others are 0 or, if active, negative.
    pub weights: Vec<f64>,
    /// How many weights are positive.
    pub parents: usize,
    /// Variance effective selection mass of the positive weights.
    pub mu_eff: f64,
    pub c_sigma: f64,
    pub d_sigma: f64,
    pub c_c: f64,
    pub c_1: f64,
    pub c_mu: f64,
    /// Expected length of a standard normal vector.
    pub chi_n: f64,
    /// Generations between two decompositions of the covariance matrix (appendix B.2).
    pub eigen_gap: u64,
}

/// The default population, equation 48.
pub(super) fn default_population(dimension: usize) -> usize {
    4 + (3.0 * (dimension as f64).ln()).floor() as usize
}

impl Constants {
    pub fn new(dimension: usize, population: usize, active: bool) -> Self {
        let n = dimension as f64;
        // Equation 49.
        let raw: Vec<f64> =
            (1..=population).map(|i| ((population as f64 + 1.0) / 2.0).ln() - (i as f64).ln()).collect();
        let parents = population / 2;
        let mu_eff = effective(&raw[..parents]);

        // Equations 55 and 56.
        let c_sigma = (mu_eff + 2.0) / (n + mu_eff + 5.0);
        let d_sigma = 1.0 + 2.0 * (((mu_eff - 1.0) / (n + 1.0)).sqrt() - 1.0).max(0.0) + c_sigma;
        let c_c = (4.0 + mu_eff / n) / (n + 4.0 + 2.0 * mu_eff / n);

        // Equations 57 and 58.
        let c_1 = 2.0 / ((n + 1.3).powi(2) + mu_eff);
        let c_mu = (1.0 - c_1).min(2.0 * (0.25 + mu_eff + 1.0 / mu_eff - 2.0) / ((n + 2.0).powi(2) + mu_eff));

        // Equations 50 to 53.
        let negative = if active {
            let mu_eff_minus = effective(&raw[parents..]);
            let alpha_mu = 1.0 + c_1 / c_mu;
            let alpha_mu_eff = 1.0 + 2.0 * mu_eff_minus / (mu_eff + 2.0);
            let alpha_pos_def = (1.0 - c_1 - c_mu) / (n * c_mu);
            alpha_mu.min(alpha_mu_eff).min(alpha_pos_def)
        } else {
            0.0
        };
        let positive_sum: f64 = raw[..parents].iter().sum();
        let negative_sum: f64 = raw[parents..].iter().map(|w| w.abs()).sum();
        let weights = raw
            .iter()
            .enumerate()
            .map(|(i, w)| if i < parents { w / positive_sum } else { negative * w / negative_sum })
            .collect();

        Self {
            weights,
            parents,
            mu_eff,
            c_sigma,
            d_sigma,
            c_c,
            c_1,
            c_mu,
            chi_n: n.sqrt() * (1.0 - 1.0 / (4.0 * n) + 1.0 / (21.0 * n * n)),
            eigen_gap: ((1.0 / (10.0 * n * (c_1 + c_mu))).floor() as u64).max(1),
        }
    }
}

/// (sum w)^2 / sum w^2, from equation 49's text.
fn effective(weights: &[f64]) -> f64 {
    let sum: f64 = weights.iter().sum();
    let squares: f64 = weights.iter().map(|w| w * w).sum();
    if squares > 0.0 { sum * sum / squares } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_sum_as_they_must() {
        for (dimension, population) in [(1, 4), (2, 5), (6, 9), (10, 10), (20, 12), (100, 500)] {
            let c = Constants::new(dimension, population, true);
            let sum: f64 = c.weights[..c.parents].iter().sum();
            assert!((sum - 1.0).abs() < 1e-14);
            assert!(c.weights[c.parents..].iter().all(|w| *w <= 0.0));
            assert!(c.weights.windows(2).all(|w| w[0] >= w[1]));
            // Equation 52 keeps the matrix positive definite.
            let negative: f64 = c.weights[c.parents..].iter().sum();
            assert!(1.0 - c.c_1 - c.c_mu + dimension as f64 * c.c_mu * negative >= -1e-12, "{dimension}");
        }
        assert_eq!(Constants::new(10, 10, false).weights[5..], [0.0; 5]);
        assert_eq!(default_population(10), 10);
        assert_eq!(default_population(20), 12);
    }
}
