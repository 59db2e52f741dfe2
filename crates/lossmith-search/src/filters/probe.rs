//! Static rejection: looks at a formula and at its values on fixed points.

use lossmith::expr::{Expr, Kernel};

use super::Rejection;

/// Slopes below this are none.
const NO_SLOPE: f64 = 1e-12;

/// What a formula must use and where it must be finite.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    /// The variables that must occur, by index.
    pub needed: Vec<u8>,
    /// The variables that are predicted: at least one must have a slope.
    pub predicted: Vec<u8>,
    /// The points, one value per variable.
    pub points: Vec<Vec<f64>>,
}

impl Probe {
    /// For class losses over label `x`, probability `y` and number of classes `n`: probabilities from 0.001 to 0.999.
    pub fn class(classes: usize) -> Self {
        let edge = [0.001, 0.01, 0.99, 0.999];
        let middle = (1..20).map(|i| f64::from(i) / 20.0);
        let probabilities: Vec<f64> = edge.into_iter().chain(middle).collect();
        let points =
            [0.0, 1.0].into_iter().flat_map(|x| probabilities.iter().map(move |y| vec![x, *y, classes as f64]));
        Self { needed: vec![0, 1], predicted: vec![1], points: points.collect() }
    }

    /// For a kernel of which every variable is predicted, such as a distance or a pair of affinities: a grid over the
    /// range of each of its variables.
    pub fn kernel(ranges: &[[f64; 2]]) -> Self {
        const PER_AXIS: usize = 7;
        let place = |[low, high]: [f64; 2], i: usize| low + (high - low) * i as f64 / (PER_AXIS - 1) as f64;
        let point = |k: usize| {
            let axis = |(v, range): (usize, &[f64; 2])| place(*range, k / PER_AXIS.pow(v as u32) % PER_AXIS);
            ranges.iter().enumerate().map(axis).collect()
        };
        let all: Vec<u8> = (0..ranges.len() as u8).collect();
        let points = (0..PER_AXIS.pow(ranges.len() as u32)).map(point).collect();
        Self { needed: all.clone(), predicted: all, points }
    }

    /// Judges a formula.
    ///
    /// # Errors
    /// The reason for which it is worthless.
    pub fn check(&self, formula: &Expr) -> Result<(), Rejection> {
        if !self.needed.iter().all(|v| formula.uses(*v)) {
            return Err(Rejection::MissingVariable);
        }
        let kernel = Kernel::new(formula);
        let mut steepest = 0.0f64;
        for point in &self.points {
            let at = kernel.at(point);
            let slope: f64 = self.predicted.iter().map(|v| at.slope[usize::from(*v)].abs()).sum();
            if !(at.value.is_finite() && slope.is_finite()) {
                return Err(Rejection::NotFinite);
            }
            steepest = steepest.max(slope);
        }
        if steepest < NO_SLOPE { Err(Rejection::NoSlope) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use lossmith::expr::CLASS_VARIABLES;

    use super::*;

    #[test]
    fn published_losses_pass_and_worthless_ones_do_not() {
        let probe = Probe::class(10);
        for (text, expected) in [
            ("-x*log(y)", Ok(())),
            ("-(log(y) - x/y)", Ok(())),
            ("square(x - y)", Ok(())),
            ("log(y)", Err(Rejection::MissingVariable)),
            ("x*n", Err(Rejection::MissingVariable)),
            ("x + y - y", Err(Rejection::NoSlope)),
            ("x*log(y - 1)", Err(Rejection::NotFinite)),
            ("y/x", Err(Rejection::NotFinite)),
            ("sqrt(x - y)", Err(Rejection::NotFinite)),
        ] {
            assert_eq!(probe.check(&Expr::parse(text, CLASS_VARIABLES).unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn kernels_of_other_slots_are_probed_on_their_grid() {
        let margin = Probe::kernel(&[[-1.0, 1.0]; 2]);
        assert_eq!(margin.points.len(), 49);
        let parse = |text| Expr::parse(text, &["p", "n"]).unwrap();
        assert_eq!(margin.check(&parse("max(0.2 - (p - n), 0)")), Ok(()));
        assert_eq!(margin.check(&parse("log(p - n)")), Err(Rejection::NotFinite));
        assert_eq!(margin.check(&parse("max(p, 0)")), Err(Rejection::MissingVariable));
        let of_each = Probe::kernel(&[[-4.0, 4.0], [-8.0, -1.0]]);
        let surrogate = |text| of_each.check(&Expr::parse(text, &["a", "l"]).unwrap());
        assert_eq!((surrogate("-a*log(-l)"), surrogate("l*log(a)")), (Ok(()), Err(Rejection::NotFinite)));
    }
}
