//! One form for expressions that are the same by the rules of arithmetic.
//!
//! An expression becomes a sum of terms; a term is a coefficient times factors with constant exponents. Equal terms and
//! factors come together, both are sorted by their text, and signs are pulled out. So order, constants, double
//! negation, `x*1`, `x + 0`, `x - x`, `x/x`, `x*x` and nested constant factors no longer tell expressions apart.
//!
//! Wherever the value of the original is finite, the canonical form has the same value up to rounding. Elsewhere it may
//! be finite where the original is not: `x/x` is 1, also at 0. Search with it, print it, compare it; train the original.

use std::fmt::Write;

use super::{Binary, Expr, Node, ShapeError, Unary};

/// `constant + sum of terms`
#[derive(Clone, Debug, PartialEq)]
struct Sum {
    constant: f64,
    terms: Vec<Term>,
}

/// `coefficient * product of factors`; coefficient not 0, at least one factor.
#[derive(Clone, Debug, PartialEq)]
struct Term {
    coefficient: f64,
    factors: Vec<Factor>,
}

/// `base ^ exponent`; exponent not 0.
#[derive(Clone, Debug, PartialEq)]
struct Factor {
    base: Base,
    exponent: f64,
}

#[derive(Clone, Debug, PartialEq)]
enum Base {
    Var(u8),
    Unary(Unary, Sum),
    /// A power with an exponent that is not constant, or a maximum or minimum.
    Binary(Binary, Sum, Sum),
    /// A sum of several parts, or a term under an exponent that cannot be spread over its factors.
    Sum(Sum),
}

impl Expr {
    /// The canonical form: equal for expressions that are the same by the rules of arithmetic (see the
    /// head of this file for which); itself where a constant or the size would go out of bounds.
    ///
    /// ```
    /// use lossmith::expr::{CLASS_VARIABLES, Expr};
    /// let canonical = |text| Expr::parse(text, CLASS_VARIABLES).unwrap().canonical().display(CLASS_VARIABLES).to_string();
    /// assert_eq!(canonical("-(log(y) - x/y)"), "x/y - log(y)");
    /// assert_eq!(canonical("x*1/y + 0 - log(y)*2/2"), "x/y - log(y)");
    /// ```
    pub fn canonical(&self) -> Self {
        let mut nodes = Vec::with_capacity(self.nodes().len());
        sum_of(&mut self.nodes()).write(&mut nodes);
        Self::from_nodes(nodes).unwrap_or_else(|_: ShapeError| self.clone())
    }

    /// A number that is the same for expressions of the same canonical form, on every machine and in every version:
    /// the 64-bit FNV-1a hash of the canonical text, variables written `v0`, `v1`, `v2`.
    pub fn fingerprint(&self) -> u64 {
        let text = self.canonical().display(&[]).to_string();
        text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    }
}

/// The canonical sum of the subtree at the head of `rest`, which it takes off.
fn sum_of(rest: &mut &[Node]) -> Sum {
    let Some((node, tail)) = rest.split_first() else { return Sum::constant(0.0) };
    *rest = tail;
    match *node {
        Node::Num(v) => Sum::constant(v),
        Node::Var(i) => Sum::base(Base::Var(i)),
        Node::Unary(op) => unary(op, sum_of(rest)),
        Node::Binary(op) => {
            let a = sum_of(rest);
            let b = sum_of(rest);
            binary(op, a, b)
        }
    }
}

fn unary(op: Unary, a: Sum) -> Sum {
    if let Some(v) = a.as_constant() {
        let value = match op {
            Unary::Neg => -v,
            Unary::Log => v.ln(),
            Unary::Exp => v.exp(),
            Unary::Sqrt => v.sqrt(),
            Unary::Square => v * v,
            Unary::Abs => v.abs(),
            Unary::Tanh => v.tanh(),
        };
        // What has no finite value stays as it is written.
        return if value.is_finite() { Sum::constant(value) } else { Sum::base(Base::Unary(op, a)) };
    }
    match op {
        Unary::Neg => a.times(-1.0),
        Unary::Square => a.into_term().power(2.0),
        Unary::Abs => Sum::base(Base::Unary(op, a.unsigned().1)),
        Unary::Tanh => {
            let (sign, a) = a.unsigned();
            Sum::base(Base::Unary(op, a)).times(sign)
        }
        Unary::Log | Unary::Exp | Unary::Sqrt => Sum::base(Base::Unary(op, a)),
    }
}

fn binary(op: Binary, a: Sum, b: Sum) -> Sum {
    match op {
        Binary::Add => a.plus(b),
        Binary::Sub => a.plus(b.times(-1.0)),
        Binary::Mul => a.into_term().product(b.into_term()),
        Binary::Div => {
            if b.as_constant() == Some(0.0) {
                // Never finite: with this, the whole expression stays as it is written.
                return Sum::constant(f64::NAN);
            }
            let inverse = b.into_term().power(-1.0).into_term();
            a.into_term().product(inverse)
        }
        Binary::Pow => match (a.as_constant(), b.as_constant()) {
            (Some(v), Some(w)) if v.powf(w).is_finite() => Sum::constant(v.powf(w)),
            (None, Some(exponent)) => a.into_term().power(exponent),
            _ => Sum::base(Base::Binary(op, a, b)),
        },
        Binary::Max | Binary::Min => match (a.as_constant(), b.as_constant()) {
            (Some(v), Some(w)) => Sum::constant(if op == Binary::Max { v.max(w) } else { v.min(w) }),
            _ if a == b => a,
            _ if a.key() > b.key() => Sum::base(Base::Binary(op, b, a)),
            _ => Sum::base(Base::Binary(op, a, b)),
        },
    }
}

impl Sum {
    fn constant(constant: f64) -> Self {
        // No negative zero.
        Self { constant: constant + 0.0, terms: Vec::new() }
    }

    fn base(base: Base) -> Self {
        Self { constant: 0.0, terms: vec![Term::of(base, 1.0)] }
    }

    fn as_constant(&self) -> Option<f64> {
        self.terms.is_empty().then_some(self.constant)
    }

    fn key(&self) -> String {
        let mut nodes = Vec::new();
        self.write(&mut nodes);
        key(&nodes)
    }

    fn times(mut self, factor: f64) -> Self {
        self.constant = self.constant * factor + 0.0;
        self.terms.iter_mut().for_each(|t| t.coefficient *= factor);
        self.terms.retain(|t| t.coefficient != 0.0);
        self
    }

    /// The sum of both; equal terms come together.
    fn plus(mut self, other: Self) -> Self {
        self.constant = self.constant + other.constant + 0.0;
        for term in other.terms {
            match self.terms.iter_mut().find(|t| t.factors == term.factors) {
                Some(same) => same.coefficient += term.coefficient,
                None => self.terms.push(term),
            }
        }
        self.terms.retain(|t| t.coefficient != 0.0);
        self.terms.sort_by_cached_key(Term::key);
        self.unfolded()
    }

    /// A sum that is nothing but another sum in brackets is that sum.
    fn unfolded(self) -> Self {
        if self.constant != 0.0 || self.terms.len() != 1 {
            return self;
        }
        match self.terms[0].factors.as_slice() {
            [Factor { base: Base::Sum(inner), exponent: 1.0 }] if self.terms[0].coefficient.abs() == 1.0 => {
                inner.clone().times(self.terms[0].coefficient)
            }
            _ => self,
        }
    }

    /// The sign of the first term (or of the constant), and the sum times that sign.
    fn unsigned(self) -> (f64, Self) {
        let leading = self.terms.first().map_or(self.constant, |t| t.coefficient);
        let sign = if leading < 0.0 { -1.0 } else { 1.0 };
        (sign, self.times(sign))
    }

    /// This sum as one factor of a product, its sign pulled out. A term without factors is a constant.
    fn into_term(self) -> Term {
        match self.terms.as_slice() {
            [] => Term { coefficient: self.constant, factors: Vec::new() },
            [term] if self.constant == 0.0 => term.clone(),
            _ => {
                let (sign, sum) = self.unsigned();
                Term { coefficient: sign, ..Term::of(Base::Sum(sum), 1.0) }
            }
        }
    }

    fn write(&self, nodes: &mut Vec<Node>) {
        // A positive part leads where there is one, so that no sign stands in front.
        let first = self.terms.iter().position(|t| t.coefficient > 0.0);
        let mut parts: Vec<(bool, Vec<Node>)> = Vec::new();
        let lead_constant = first.is_none() && self.constant > 0.0;
        let order = first.into_iter().chain((0..self.terms.len()).filter(|i| Some(*i) != first));
        parts.extend(order.map(|i| (self.terms[i].coefficient < 0.0, self.terms[i].magnitude())));
        if self.constant != 0.0 || self.terms.is_empty() {
            let part = (self.constant < 0.0, vec![Node::Num(self.constant.abs())]);
            parts.insert(if lead_constant { 0 } else { parts.len() }, part);
        }
        // Prefix order: the last operation stands first.
        for (negative, _) in parts[1..].iter().rev() {
            nodes.push(Node::Binary(if *negative { Binary::Sub } else { Binary::Add }));
        }
        for (at, (negative, part)) in parts.iter().enumerate() {
            match (at, negative, part.as_slice()) {
                (0, true, [Node::Num(v)]) => nodes.push(Node::Num(-v)),
                (0, true, _) => {
                    nodes.push(Node::Unary(Unary::Neg));
                    nodes.extend(part);
                }
                _ => nodes.extend(part),
            }
        }
    }
}

impl Term {
    fn of(base: Base, exponent: f64) -> Self {
        Self { coefficient: 1.0, factors: vec![Factor { base, exponent }] }
    }

    fn key(&self) -> String {
        let mut nodes = Vec::new();
        Self { coefficient: 1.0, factors: self.factors.clone() }.write(&mut nodes);
        key(&nodes)
    }

    fn into_sum(self) -> Sum {
        if self.coefficient == 0.0 || self.factors.is_empty() {
            return Sum::constant(self.coefficient);
        }
        Sum { constant: 0.0, terms: vec![self] }.unfolded()
    }

    /// The product of both; powers of equal bases come together.
    fn product(mut self, other: Self) -> Sum {
        self.coefficient *= other.coefficient;
        for factor in other.factors {
            match self.factors.iter_mut().find(|f| f.base == factor.base) {
                Some(same) => same.exponent += factor.exponent,
                None => self.factors.push(factor),
            }
        }
        self.tidied().into_sum()
    }

    /// This term to a constant power. A whole power is spread over the factors; any other only over nothing.
    fn power(mut self, exponent: f64) -> Sum {
        if exponent == 0.0 {
            return Sum::constant(1.0);
        }
        if exponent == 1.0 {
            return self.into_sum();
        }
        if self.factors.is_empty() {
            return Self { coefficient: self.coefficient.powf(exponent), ..self }.into_sum();
        }
        if self.takes_power(exponent) {
            self.coefficient = self.coefficient.powf(exponent);
            self.factors.iter_mut().for_each(|f| f.exponent *= exponent);
            return self.tidied().into_sum();
        }
        if let (1.0, [Factor { exponent: 1.0, .. }]) = (self.coefficient, self.factors.as_mut_slice()) {
            self.factors[0].exponent = exponent;
            return self.tidied().into_sum();
        }
        Self::of(Base::Sum(self.into_sum()), exponent).into_sum()
    }

    /// Whether a power may be spread over the factors: an inverse always, any other where all exponents are whole.
    fn takes_power(&self, exponent: f64) -> bool {
        exponent.abs() == 1.0 || exponent.fract() == 0.0 && self.factors.iter().all(|f| f.exponent.fract() == 0.0)
    }

    /// Without factors of exponent 0, in order, and a bracket that needs none taken apart.
    fn tidied(mut self) -> Self {
        self.factors.retain(|f| f.exponent != 0.0);
        let loose = |f: &Factor| match &f.base {
            Base::Sum(sum) => sum.constant == 0.0 && sum.terms.len() == 1 && sum.terms[0].takes_power(f.exponent),
            _ => false,
        };
        if let Some(at) = self.factors.iter().position(loose) {
            let Factor { base, exponent } = self.factors.remove(at);
            let Base::Sum(sum) = base else { return self };
            let inner = sum.into_term().power(exponent).into_term();
            return self.product(inner).into_term();
        }
        self.factors.sort_by_cached_key(|f| {
            let mut nodes = Vec::new();
            f.base.write(&mut nodes);
            (key(&nodes), f.exponent.to_bits())
        });
        self
    }

    /// The nodes of this term without its sign.
    fn magnitude(&self) -> Vec<Node> {
        let mut nodes = Vec::new();
        Self { coefficient: self.coefficient.abs(), factors: self.factors.clone() }.write(&mut nodes);
        nodes
    }

    /// `coefficient * numerator / denominator`; the coefficient is not negative.
    fn write(&self, nodes: &mut Vec<Node>) {
        let (above, below): (Vec<_>, Vec<_>) = self.factors.iter().partition(|f| f.exponent > 0.0);
        let number = self.coefficient != 1.0 || above.is_empty();
        if !below.is_empty() {
            nodes.push(Node::Binary(Binary::Div));
        }
        let count = above.len() + usize::from(number);
        nodes.extend(std::iter::repeat_n(Node::Binary(Binary::Mul), count - 1));
        if number {
            nodes.push(Node::Num(self.coefficient));
        }
        above.iter().for_each(|f| f.write(nodes));
        nodes.extend(std::iter::repeat_n(Node::Binary(Binary::Mul), below.len().saturating_sub(1)));
        below.iter().for_each(|f| f.write(nodes));
    }
}

impl Factor {
    /// The base to the size of the exponent.
    fn write(&self, nodes: &mut Vec<Node>) {
        if self.exponent.abs() != 1.0 {
            nodes.push(Node::Binary(Binary::Pow));
        }
        self.base.write(nodes);
        if self.exponent.abs() != 1.0 {
            nodes.push(Node::Num(self.exponent.abs()));
        }
    }
}

impl Base {
    fn write(&self, nodes: &mut Vec<Node>) {
        match self {
            Self::Var(i) => nodes.push(Node::Var(*i)),
            Self::Unary(op, a) => {
                nodes.push(Node::Unary(*op));
                a.write(nodes);
            }
            Self::Binary(op, a, b) => {
                nodes.push(Node::Binary(*op));
                a.write(nodes);
                b.write(nodes);
            }
            Self::Sum(sum) => sum.write(nodes),
        }
    }
}

/// What nodes are sorted by: variables first, then functions, constants last; otherwise any fixed order would do.
fn key(nodes: &[Node]) -> String {
    let mut key = String::new();
    for node in nodes {
        let _ = match node {
            Node::Var(i) => write!(key, "a{i} "),
            Node::Unary(op) => write!(key, "b{} ", op.name()),
            Node::Binary(op) => write!(key, "c{} ", op.name()),
            Node::Num(v) => write!(key, "d{v:?} "),
        };
    }
    key
}

#[cfg(test)]
mod tests {
    use super::super::{CLASS_VARIABLES, Kernel};
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Expr {
        Expr::parse(text, CLASS_VARIABLES).unwrap()
    }

    fn canonical(text: &str) -> String {
        parse(text).canonical().display(CLASS_VARIABLES).to_string()
    }

    #[test]
    fn the_same_by_arithmetic_is_the_same_text() {
        for (same, other) in [
            ("x + y", "y + x"),
            ("-(log(y) - x/y)", "x/y - log(y)"),
            ("x - x", "0"),
            ("x/x", "1"),
            ("x*1 + 0", "x"),
            ("--x", "x"),
            ("2*(3*x)", "x*6"),
            ("2*x/4", "0.5*x"),
            ("x*x*x", "x^3"),
            ("square(x - y)", "(y - x)^2"),
            ("abs(-x)", "abs(x)"),
            ("tanh(-x)", "-tanh(x)"),
            ("max(x, y)", "max(y, x)"),
            ("x - (y - n)", "n + x - y"),
            ("(-x)*y/(-n)", "x*y/n"),
            ("log(2 + 3)", "log(5)"),
            ("x^0", "1"),
            ("0*log(y)", "0"),
            ("(x^2)^3", "x^6"),
            ("1/(x/y)", "y/x"),
        ] {
            assert_eq!(canonical(same), canonical(other), "{same} and {other}");
            assert_eq!(parse(same).fingerprint(), parse(other).fingerprint());
        }
        for (one, other) in
            [("x", "y"), ("log(0)", "log(y)"), ("(x^2)^0.5", "x"), ("x - y", "y - x"), ("sqrt(x)^2", "abs(x)")]
        {
            assert_ne!(parse(one).fingerprint(), parse(other).fingerprint(), "{one} and {other}");
        }
    }

    #[test]
    fn the_fingerprint_never_changes() {
        assert_eq!(parse("-(log(y) - x/y)").canonical().display(&[]).to_string(), "v0/v1 - log(v1)");
        assert_eq!(format!("{:016x}", parse("-(log(y) - x/y)").fingerprint()), "a70f311928959588");
    }

    /// Random trees over three variables and a few numbers.
    fn trees() -> impl Strategy<Value = Expr> {
        let number = prop::sample::select(vec![-2.0, -1.0, 0.0, 0.5, 1.0, 3.0, 1e-7, 2.5e20]);
        let leaf = prop_oneof![
            3 => (0u8..3).prop_map(|i| vec![Node::Var(i)]),
            1 => number.prop_map(|v| vec![Node::Num(v)]),
        ];
        let tree = leaf.prop_recursive(6, 40, 2, |inner| {
            prop_oneof![
                (0usize..7, inner.clone()).prop_map(|(op, a)| [vec![Node::Unary(Unary::ALL[op].0)], a].concat()),
                (0usize..7, inner.clone(), inner)
                    .prop_map(|(op, a, b)| [vec![Node::Binary(Binary::ALL[op].0)], a, b].concat()),
            ]
        });
        tree.prop_map(|nodes| Expr::from_nodes(nodes).unwrap())
    }

    /// The largest size of any subtree's value: how much rounding may be magnified.
    fn reach(expr: &Expr, point: &[f64]) -> f64 {
        let size = |at| Kernel::new(&expr.subtree(at)).at(point).value.abs();
        (0..expr.nodes().len()).map(size).fold(1.0, |m, v| if v <= m { m } else { v })
    }

    proptest! {
        #[test]
        fn text_reads_back_as_the_same_tree(expr in trees()) {
            let text = expr.display(CLASS_VARIABLES).to_string();
            prop_assert_eq!(Expr::parse(&text, CLASS_VARIABLES).unwrap(), expr, "{}", text);
        }

        #[test]
        fn canonical_twice_is_canonical_once(expr in trees()) {
            let once = expr.canonical();
            prop_assert_eq!(once.canonical().display(CLASS_VARIABLES).to_string(), once.display(CLASS_VARIABLES).to_string());
        }

        #[test]
        fn canonical_has_the_same_value_where_that_is_finite(expr in trees(), point in prop::array::uniform3(0.1f64..2.0)) {
            let once = expr.canonical();
            let (before, after) = (Kernel::new(&expr).at(&point).value, Kernel::new(&once).at(&point).value);
            let reach = reach(&expr, &point).max(reach(&once, &point));
            let judged = before.is_finite() && reach < 1e4;
            prop_assert!(!judged || (before - after).abs() <= 1e-6 * reach, "{} {}", before, after);
        }
    }
}
