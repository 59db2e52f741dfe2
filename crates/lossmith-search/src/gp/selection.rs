//! Choosing parents.

use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::Stream;

/// How parents are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Selection {
    /// With a chance proportional to fitness, which is then meant to be 0 or more; GLO's choice.
    #[default]
    Roulette,
    /// The best of some drawn at random.
    Tournament,
}

/// The fitness a candidate is ranked by: what is not a number is worst.
pub(super) fn worth(fitness: f64) -> f64 {
    if fitness.is_nan() { f64::NEG_INFINITY } else { fitness }
}

/// The index of one parent.
pub(super) fn select(fitness: &[f64], selection: Selection, tournament: usize, rng: &mut Stream) -> usize {
    match selection {
        Selection::Roulette => roulette(fitness, rng),
        Selection::Tournament => {
            let first = rng.random_range(0..fitness.len());
            (1..tournament).fold(first, |best, _| {
                let other = rng.random_range(0..fitness.len());
                if worth(fitness[other]) > worth(fitness[best]) { other } else { best }
            })
        }
    }
}

/// Without any fitness above 0 all have the same chance.
fn roulette(fitness: &[f64], rng: &mut Stream) -> usize {
    let share = |f: f64| if f.is_finite() { f.max(0.0) } else { 0.0 };
    let mut rest = rng.random::<f64>() * fitness.iter().map(|f| share(*f)).sum::<f64>();
    if rest == 0.0 {
        return rng.random_range(0..fitness.len());
    }
    for (i, f) in fitness.iter().enumerate() {
        if rest < share(*f) {
            return i;
        }
        rest -= share(*f);
    }
    fitness.len() - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(fitness: &[f64], selection: Selection, tournament: usize) -> Vec<usize> {
        let mut rng = Stream::new(1, 0);
        let mut counts = vec![0; fitness.len()];
        for _ in 0..10_000 {
            counts[select(fitness, selection, tournament, &mut rng)] += 1;
        }
        counts
    }

    #[test]
    fn roulette_is_proportional_to_fitness() {
        let found = counts(&[0.0, 0.25, f64::NAN, 0.75, -3.0], Selection::Roulette, 0);
        assert_eq!((found[0], found[2], found[4]), (0, 0, 0));
        assert!((2_350..2_650).contains(&found[1]), "{found:?}");
        assert!(counts(&[0.0; 4], Selection::Roulette, 0).iter().all(|n| (2_300..2_700).contains(n)));
    }

    #[test]
    fn a_tournament_prefers_the_best() {
        let found = counts(&[0.1, f64::NAN, 0.3], Selection::Tournament, 2);
        // The best of two draws out of three: 5/9, 3/9, 1/9.
        assert!((5_350..5_760).contains(&found[2]) && (1_000..1_220).contains(&found[1]), "{found:?}");
        assert!(counts(&[0.1, 0.2, 0.3], Selection::Tournament, 1).iter().all(|n| (3_100..3_560).contains(n)));
    }
}
