//! What was seen: a hall of fame of the best different formulas, and a cache of what is known about each.
//!
//! Formulas that are equal after simplification are one: see [`identity`].

use std::collections::{BTreeMap, HashMap};

use lossmith::expr::{Expr, Variables};
use serde::{Deserialize, Serialize};

/// The text of the simplified formula: equal for formulas that simplification shows to be equal. It is stable, so that a
/// cache may be kept in a file.
pub fn identity(formula: &Expr, variables: Variables) -> String {
    formula.canonical().display(variables).to_string()
}

/// Which formulas of a list are to be evaluated, so that equal ones are evaluated once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distinct {
    /// The index of the first of each kind, ascending.
    pub first: Vec<usize>,
    /// For each formula of the list, the place of its kind in `first`.
    pub kind: Vec<usize>,
}

impl Distinct {
    /// Finds the equal ones.
    pub fn new(formulas: &[Expr], variables: Variables) -> Self {
        let mut known = HashMap::new();
        let mut first = Vec::new();
        let kind = formulas.iter().enumerate().map(|(i, formula)| {
            *known.entry(identity(formula, variables)).or_insert_with(|| {
                first.push(i);
                first.len() - 1
            })
        });
        let kind = kind.collect();
        Self { first, kind }
    }

    /// One value per formula, from one value per kind.
    ///
    /// # Panics
    /// If there are not as many values as kinds.
    pub fn spread<T: Clone>(&self, values: &[T]) -> Vec<T> {
        assert_eq!(values.len(), self.first.len(), "one value per kind");
        self.kind.iter().map(|k| values[*k].clone()).collect()
    }
}

/// What is known about formulas, by identity. Saved as an object from formula to value, in the order of the texts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cache<T> {
    known: BTreeMap<String, T>,
}

impl<T> Default for Cache<T> {
    fn default() -> Self {
        Self { known: BTreeMap::new() }
    }
}

impl<T> Cache<T> {
    /// What is known about a formula.
    pub fn get(&self, formula: &Expr, variables: Variables) -> Option<&T> {
        self.known.get(&identity(formula, variables))
    }

    /// Remembers a value and returns the one it takes the place of.
    pub fn insert(&mut self, formula: &Expr, variables: Variables, value: T) -> Option<T> {
        self.known.insert(identity(formula, variables), value)
    }

    /// How many formulas are known.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }
}

/// The best different formulas, best first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HallOfFame {
    capacity: usize,
    members: Vec<Member>,
}

/// A formula in the hall of fame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// The formula as it was found.
    pub formula: String,
    /// Its simplified text.
    pub identity: String,
    /// Larger is better.
    pub fitness: f64,
    /// Its nodes.
    pub size: usize,
    /// Where it comes from.
    pub origin: Origin,
}

/// Where a formula comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The generation, from 0.
    pub generation: u64,
    /// The place in it, from 0.
    pub index: usize,
}

impl HallOfFame {
    /// An empty hall for so many.
    pub fn new(capacity: usize) -> Self {
        Self { capacity, members: Vec::new() }
    }

    /// The members, best first; of equal fitness the smaller, then the earlier one first.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Takes a formula in if it is good enough, and says whether it did. A formula that is known keeps its better fitness;
    /// a fitness that is not finite never enters.
    pub fn offer(&mut self, formula: &Expr, variables: Variables, fitness: f64, origin: Origin) -> bool {
        let identity = identity(formula, variables);
        let known = self.members.iter().position(|m| m.identity == identity);
        if !fitness.is_finite() || known.is_some_and(|at| self.members[at].fitness >= fitness) {
            return false;
        }
        if let Some(at) = known {
            self.members.remove(at);
        }
        let formula_text = formula.display(variables).to_string();
        let size = formula.nodes().len();
        let goes_before = |m: &Member| m.fitness > fitness || (m.fitness == fitness && m.size <= size);
        let at = self.members.partition_point(goes_before);
        self.members.insert(at, Member { formula: formula_text, identity, fitness, size, origin });
        self.members.truncate(self.capacity);
        at < self.capacity
    }
}

#[cfg(test)]
mod tests {
    use lossmith::expr::CLASS_VARIABLES;

    use super::*;

    fn parse(text: &str) -> Expr {
        Expr::parse(text, CLASS_VARIABLES).unwrap()
    }

    const ORIGIN: Origin = Origin { generation: 3, index: 1 };

    #[test]
    fn equal_formulas_are_evaluated_once() {
        let formulas = ["x/y", "x*y", "x/y", "log(y)", "x*y"].map(parse);
        let distinct = Distinct::new(&formulas, CLASS_VARIABLES);
        assert_eq!((&distinct.first[..], &distinct.kind[..]), (&[0, 1, 3][..], &[0, 1, 0, 2, 1][..]));
        assert_eq!(distinct.spread(&['a', 'b', 'c']), ['a', 'b', 'a', 'c', 'b']);
    }

    #[test]
    fn the_cache_knows_and_saves() {
        let mut cache = Cache::default();
        assert_eq!(cache.insert(&parse("x/y"), CLASS_VARIABLES, 0.5), None);
        assert_eq!(cache.insert(&parse("x/y"), CLASS_VARIABLES, 0.75), Some(0.5));
        let text = serde_json::to_string(&cache).unwrap();
        assert_eq!(text, r#"{"x/y":0.75}"#);
        let again: Cache<f64> = serde_json::from_str(&text).unwrap();
        assert_eq!((again.get(&parse("x/y"), CLASS_VARIABLES), again.len()), (Some(&0.75), 1));
        assert_eq!(again.get(&parse("x"), CLASS_VARIABLES), None);
    }

    #[test]
    fn the_hall_of_fame_holds_the_best_different_ones() {
        let mut hall = HallOfFame::new(3);
        let mut offer = |text: &str, fitness| hall.offer(&parse(text), CLASS_VARIABLES, fitness, ORIGIN);
        assert!(offer("x", 0.5));
        assert!(offer("x/y", 0.7));
        assert!(!offer("x/y", 0.6), "known, and not better");
        assert!(!offer("y", f64::NAN));
        assert!(offer("log(y) - x/y", 0.7), "as good, but larger: behind");
        assert!(offer("x", 0.9), "known, and better");
        assert!(!offer("sqrt(y)", 0.1), "no room");
        assert!(offer("y", 0.8));
        let formulas: Vec<&str> = hall.members().iter().map(|m| m.formula.as_str()).collect();
        assert_eq!(formulas, ["x", "y", "x/y"]);
        assert_eq!(hall.members()[0].origin, ORIGIN);
        let again: HallOfFame = serde_json::from_str(&serde_json::to_string(&hall).unwrap()).unwrap();
        assert_eq!(again, hall);
    }
}
