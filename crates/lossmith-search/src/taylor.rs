//! The genome of TaylorGLO: a loss as a polynomial of third degree around a point, eight numbers in all.
//!
//! ```text
//! loss = -(1/n) sum_i [ t2 (y-t1) + t3 (y-t1)^2 + t4 (y-t1)^3
//!                     + t5 (x-t0)(y-t1) + t6 (x-t0)(y-t1)^2 + t7 (x-t0)^2 (y-t1) ]
//! ```
//!
//! with label `x`, probability `y` and `n` classes. The factorials of the expansion are part of the parameters, as in the
//! authors' code; terms without `y` have no gradient and are left out. The search is CMA-ES from all zeros with step size
//! 1.2 ([`START`], [`SIGMA`]); a genome that breaks the trainability invariant is not trained and has fitness 0.
//!
//! Reference: S. Gonzalez and R. Miikkulainen, Optimizing Loss Functions Through Multi-Variate Taylor Polynomial
//! Parameterization, arXiv 2002.00059.

use lossmith::expr::{CLASS_VARIABLES, Expr, ParseError};

/// Where the search starts.
pub const START: [f64; 8] = [0.0; 8];
/// The first step size of the search.
pub const SIGMA: f64 = 1.2;
/// The authors' population on MNIST; 20 on CIFAR and SVHN.
pub const POPULATION: usize = 28;

/// The loss of eight parameters, as a formula over label, probability and number of classes.
///
/// # Errors
/// A parameter that is not finite.
pub fn formula(t: &[f64; 8]) -> Result<Expr, ParseError> {
    Expr::parse(&format!("-({})/n", sum(t)), CLASS_VARIABLES)
}

/// The sum in brackets alone: the tree of which the loss is `-T/n`.
///
/// # Errors
/// A parameter that is not finite.
pub fn tree(t: &[f64; 8]) -> Result<Expr, ParseError> {
    Expr::parse(&sum(t), CLASS_VARIABLES)
}

fn sum(t: &[f64; 8]) -> String {
    let [t0, t1, t2, t3, t4, t5, t6, t7] = t;
    let (x, y) = (difference("x", *t0), difference("y", *t1));
    let terms = [
        (t2, y.clone()),
        (t3, format!("square({y})")),
        (t4, format!("{y}^3")),
        (t5, format!("{x}*{y}")),
        (t6, format!("{x}*square({y})")),
        (t7, format!("square({x})*{y}")),
    ];
    let terms: Vec<String> =
        terms.iter().filter(|(t, _)| **t != 0.0).map(|(t, term)| format!("({t})*{term}")).collect();
    if terms.is_empty() { "0".to_owned() } else { terms.join(" + ") }
}

fn difference(name: &str, centre: f64) -> String {
    if centre == 0.0 { name.to_owned() } else { format!("({name} - ({centre}))") }
}

/// The authors' trainability invariant for `n` classes, from the gradient at an undecided network:
///
/// ```text
/// c_y + c_yy + c_hy/n >= (n-2)(c_1 + c_h/n + c_hh/n^2)
/// ```
///
/// where `c_1 + c_h y + c_hh y^2 + c_hy x y + c_y x + c_yy x^2` is the slope in `y` of the sum in brackets.
///
/// It is strict: of random genomes that break it about one in three still brings raw predictions to the right class
/// ([`crate::filters::RawPredictions`]), so it belongs behind a switch.
pub fn is_trainable(t: &[f64; 8], classes: usize) -> bool {
    let n = classes as f64;
    let [c_1, c_h, c_hh, c_hy, c_y, c_yy] = slope(t);
    c_y + c_yy + c_hy / n >= (n - 2.0) * (c_1 + c_h / n + c_hh / (n * n))
}

/// The coefficients of 1, y, y^2, x y, x, x^2 in the slope.
fn slope(&[t0, t1, t2, t3, t4, t5, t6, t7]: &[f64; 8]) -> [f64; 6] {
    [
        t2 - 2.0 * t1 * t3 + 3.0 * t4 * t1 * t1 - t5 * t0 + 2.0 * t0 * t1 * t6 + t7 * t0 * t0,
        2.0 * t3 - 2.0 * t6 * t0 - 6.0 * t4 * t1,
        3.0 * t4,
        2.0 * t6,
        t5 - 2.0 * t1 * t6 - 2.0 * t7 * t0,
        t7,
    ]
}

#[cfg(test)]
mod tests {
    use lossmith::expr::Kernel;
    use proptest::prelude::*;

    use super::*;
    use crate::filters::RawPredictions;

    proptest! {
        #[test]
        fn the_formula_has_the_slope_of_the_invariant(t in proptest::array::uniform8(-3.0..3.0f64), x in 0.0..1.0f64, y in 0.0..1.0f64) {
            let kernel = Kernel::new(&formula(&t).unwrap());
            let [c_1, c_h, c_hh, c_hy, c_y, c_yy] = slope(&t);
            let expected = c_1 + c_h * y + c_hh * y * y + c_hy * x * y + c_y * x + c_yy * x * x;
            let found = -10.0 * kernel.at(&[x, y, 10.0]).slope[1];
            prop_assert!((found - expected).abs() < 1e-9, "{found} {expected}");
        }
    }

    /// The squared error is `-(-y^2 + 2 x y - x^2)`; turned around it leads away from the label.
    #[test]
    fn the_squared_error_is_trainable_and_its_opposite_is_not() {
        let squared = [0.0, 0.0, 0.0, -1.0, 0.0, 2.0, 0.0, 0.0];
        assert_eq!(formula(&squared).unwrap().display(CLASS_VARIABLES).to_string(), "-(-1*square(y) + 2*x*y)/n");
        assert!(is_trainable(&squared, 10) && !is_trainable(&squared.map(|t| -t), 10));
        assert_eq!(RawPredictions::default().check(&formula(&squared).unwrap()), Ok(()));
        assert!(is_trainable(&START, 10));
        assert!(formula(&START).is_ok());
    }
}
