//! Formula text to [`Expr`], by precedence climbing.
//!
//! Precedence, loosest first: `+ -`, then `* /`, then unary minus, then `^` (which groups to the right). `**` is another way to write
//! `^`, and the functions of [`SPELLINGS`] are other ways to write what the language has.

use super::{Binary, Expr, MAX_DEPTH, MAX_NODES, MAX_TEXT, Node, Unary, Variables};

/// A function that stands for an expression of the others.
#[derive(Clone, Copy)]
enum Spelling {
    /// `ln(a)`: `log(a)`.
    Ln,
    /// `log1p(a)`: `log(1 + a)`.
    Log1p,
    /// `sigmoid(a)`: `1/(1 + exp(-a))`.
    Sigmoid,
    /// `pow(a, b)`: `a^b`.
    Pow,
}

/// Names that other languages have for what can be said here; they are read, not printed.
const SPELLINGS: [(Spelling, &str); 4] =
    [(Spelling::Ln, "ln"), (Spelling::Log1p, "log1p"), (Spelling::Sigmoid, "sigmoid"), (Spelling::Pow, "pow")];

/// The names of all functions that a formula may call.
pub fn function_names() -> impl Iterator<Item = &'static str> {
    let unary = Unary::ALL[1..].iter().map(|(_, name)| *name);
    let binary = Binary::ALL[5..].iter().map(|(_, name)| *name);
    unary.chain(binary).chain(SPELLINGS.iter().map(|(_, name)| *name))
}

/// What is wrong with a formula, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}\n  {}\n  {}^", excerpt(text, *at).0, " ".repeat(excerpt(text, *at).1))]
pub struct ParseError {
    /// What is wrong and what would be right.
    pub message: String,
    /// The formula.
    pub text: String,
    /// The byte at which it goes wrong.
    pub at: usize,
}

/// The part of a long text around `at`, on one line, and the column of `at` in it.
fn excerpt(text: &str, at: usize) -> (String, usize) {
    const REACH: usize = 60;
    let before: Vec<char> = text[..at].chars().collect();
    let cut = before.len().saturating_sub(REACH);
    let mut line: String = before[cut..].iter().collect();
    let column = before.len() - cut;
    line.extend(text[at..].chars().take(REACH));
    (line.replace(|c: char| c.is_control(), " "), column)
}

/// Whether a text has the form of a name: a letter, then letters, digits, `_`, `-`.
pub fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

pub(super) fn parse(text: &str, variables: Variables) -> Result<Expr, ParseError> {
    let mut parser = Parser { text, variables, at: 0, nodes: 0 };
    if text.len() > MAX_TEXT {
        return Err(ParseError {
            message: format!("the formula is longer than {MAX_TEXT} bytes"),
            text: String::new(),
            at: 0,
        });
    }
    let nodes = parser.sum(0)?;
    parser.skip_space();
    if parser.at < text.len() {
        return Err(parser.fault("expected an operator or the end of the formula"));
    }
    Expr::from_nodes(nodes).map_err(|e| parser.fault_at(0, e.to_string()))
}

struct Parser<'a> {
    text: &'a str,
    variables: Variables,
    at: usize,
    nodes: usize,
}

type Parsed = Result<Vec<Node>, ParseError>;

impl Parser<'_> {
    fn fault(&self, message: impl Into<String>) -> ParseError {
        self.fault_at(self.at, message)
    }

    fn fault_at(&self, at: usize, message: impl Into<String>) -> ParseError {
        ParseError { message: message.into(), text: self.text.to_owned(), at }
    }

    fn skip_space(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }

    fn peek(&mut self) -> Option<char> {
        self.skip_space();
        self.text[self.at..].chars().next()
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn count(&mut self, nodes: usize) -> Result<(), ParseError> {
        self.nodes += nodes;
        if self.nodes > MAX_NODES {
            return Err(self.fault(format!("the formula has more than {MAX_NODES} nodes")));
        }
        Ok(())
    }

    fn deeper(&self, depth: usize) -> Result<usize, ParseError> {
        if depth >= MAX_DEPTH {
            return Err(self.fault(format!("the formula is nested deeper than {MAX_DEPTH}")));
        }
        Ok(depth + 1)
    }

    fn binary(&mut self, op: Binary, left: Vec<Node>, right: Vec<Node>) -> Parsed {
        self.count(1)?;
        let mut nodes = vec![Node::Binary(op)];
        nodes.extend(left);
        nodes.extend(right);
        Ok(nodes)
    }

    fn unary(&mut self, op: Unary, operand: Vec<Node>) -> Parsed {
        self.count(1)?;
        let mut nodes = vec![Node::Unary(op)];
        nodes.extend(operand);
        Ok(nodes)
    }

    fn sum(&mut self, depth: usize) -> Parsed {
        let depth = self.deeper(depth)?;
        let mut left = self.product(depth)?;
        loop {
            let op = match self.peek() {
                Some('+') => Binary::Add,
                Some('-') => Binary::Sub,
                _ => return Ok(left),
            };
            self.at += 1;
            let right = self.product(depth)?;
            left = self.binary(op, left, right)?;
        }
    }

    fn product(&mut self, depth: usize) -> Parsed {
        let mut left = self.signed(depth)?;
        loop {
            let op = match self.peek() {
                Some('*') => Binary::Mul,
                Some('/') => Binary::Div,
                _ => return Ok(left),
            };
            self.at += 1;
            let right = self.signed(depth)?;
            left = self.binary(op, left, right)?;
        }
    }

    /// Unary minus; a minus directly before a number literal makes a negative number, unless a power follows.
    fn signed(&mut self, depth: usize) -> Parsed {
        let depth = self.deeper(depth)?;
        if !self.take('-') {
            return self.power(depth);
        }
        let literal = self.peek().is_some_and(|c| c.is_ascii_digit() || c == '.');
        if literal {
            let number = self.number()?;
            if !self.at_power() {
                return Ok(vec![Node::Num(-number)]);
            }
            let power = self.power_of(vec![Node::Num(number)], depth)?;
            return self.unary(Unary::Neg, power);
        }
        let operand = self.signed(depth)?;
        self.unary(Unary::Neg, operand)
    }

    fn power(&mut self, depth: usize) -> Parsed {
        let base = self.atom(depth)?;
        self.power_of(base, depth)
    }

    fn power_of(&mut self, base: Vec<Node>, depth: usize) -> Parsed {
        if !self.at_power() {
            return Ok(base);
        }
        self.at += if self.text[self.at..].starts_with('^') { 1 } else { 2 };
        let exponent = self.signed(depth)?;
        self.binary(Binary::Pow, base, exponent)
    }

    /// Whether `^` or `**` comes next.
    fn at_power(&mut self) -> bool {
        self.skip_space();
        let rest = &self.text[self.at..];
        rest.starts_with('^') || rest.starts_with("**")
    }

    fn atom(&mut self, depth: usize) -> Parsed {
        match self.peek() {
            Some('(') => {
                let open = self.at;
                self.at += 1;
                let inner = self.sum(depth)?;
                self.close(open)?;
                Ok(inner)
            }
            Some(c) if c.is_ascii_digit() || c == '.' => Ok(vec![Node::Num(self.number()?)]),
            Some(c) if c.is_ascii_alphabetic() || c == '_' => self.name(depth),
            Some(_) => Err(self.fault("expected a number, a variable, a function or a bracket")),
            None => {
                Err(self.fault("the formula ends too early: expected a number, a variable, a function or a bracket"))
            }
        }
    }

    fn close(&mut self, open: usize) -> Result<(), ParseError> {
        if self.take(')') {
            return Ok(());
        }
        match self.peek() {
            None => Err(self.fault_at(open, "this bracket is never closed")),
            Some(_) => Err(self.fault("expected an operator or a closing bracket")),
        }
    }

    fn number(&mut self) -> Result<f64, ParseError> {
        let start = self.at;
        let rest = &self.text.as_bytes()[start..];
        let digits = |from: usize| rest[from..].iter().take_while(|b| b.is_ascii_digit()).count();
        let mut length = digits(0);
        if rest.get(length) == Some(&b'.') {
            length += 1 + digits(length + 1);
        }
        if matches!(rest.get(length), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(rest.get(length + 1), Some(b'+' | b'-')));
            let exponent = digits(length + 1 + sign);
            if exponent > 0 {
                length += 1 + sign + exponent;
            }
        }
        let value: f64 =
            self.text[start..start + length].parse().map_err(|_| self.fault_at(start, "this is not a number"))?;
        if !value.is_finite() {
            return Err(self.fault_at(start, "this number is too large"));
        }
        self.at += length;
        self.count(1)?;
        Ok(value)
    }

    fn name(&mut self, depth: usize) -> Parsed {
        let start = self.at;
        let rest = &self.text[start..];
        let length = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let name = &rest[..length];
        if let Some(index) = self.variables.iter().position(|v| *v == name) {
            self.at += length;
            self.count(1)?;
            return Ok(vec![Node::Var(index as u8)]);
        }
        let unary = Unary::ALL.iter().skip(1).find(|(_, n)| *n == name).map(|(op, _)| *op);
        let binary = Binary::ALL.iter().skip(5).find(|(_, n)| *n == name).map(|(op, _)| *op);
        let spelling = SPELLINGS.iter().find(|(_, n)| *n == name).map(|(spelling, _)| *spelling);
        if unary.is_none() && binary.is_none() && spelling.is_none() {
            return Err(self.unknown(start, name));
        }
        self.at += length;
        let open = self.at;
        if !self.take('(') {
            return Err(self.fault(format!("expected a bracket after {name}")));
        }
        let first = self.sum(depth)?;
        let nodes = match (unary, binary, spelling) {
            (Some(op), _, _) => self.unary(op, first)?,
            (_, Some(op), _) => {
                let second = self.second(name, depth)?;
                self.binary(op, first, second)?
            }
            (_, _, Some(Spelling::Pow)) => {
                let second = self.second(name, depth)?;
                self.binary(Binary::Pow, first, second)?
            }
            (_, _, Some(Spelling::Ln)) => self.unary(Unary::Log, first)?,
            (_, _, Some(Spelling::Log1p)) => {
                let sum = self.one_and(first)?;
                self.unary(Unary::Log, sum)?
            }
            (_, _, Some(Spelling::Sigmoid)) => {
                let negative = self.unary(Unary::Neg, first)?;
                let exponential = self.unary(Unary::Exp, negative)?;
                let sum = self.one_and(exponential)?;
                self.count(1)?;
                self.binary(Binary::Div, vec![Node::Num(1.0)], sum)?
            }
            (None, None, None) => unreachable!("checked above"),
        };
        self.close(open)?;
        Ok(nodes)
    }

    /// The second operand of a function of two.
    fn second(&mut self, name: &str, depth: usize) -> Parsed {
        if !self.take(',') {
            return Err(self.fault(format!("{name} takes two operands: expected a comma")));
        }
        self.sum(depth)
    }

    /// `1 + a`
    fn one_and(&mut self, operand: Vec<Node>) -> Parsed {
        self.count(1)?;
        self.binary(Binary::Add, vec![Node::Num(1.0)], operand)
    }

    fn unknown(&self, start: usize, name: &str) -> ParseError {
        let functions: Vec<&str> = function_names().collect();
        self.fault_at(
            start,
            format!(
                "unknown name '{name}': the variables are {}, the functions {}",
                self.variables.join(", "),
                functions.join(", ")
            ),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::CLASS_VARIABLES;
    use super::*;

    fn reprint(text: &str) -> String {
        parse(text, CLASS_VARIABLES).unwrap().display(CLASS_VARIABLES).to_string()
    }

    #[test]
    fn precedence_and_grouping() {
        for (text, printed) in [
            ("x - y - 1", "x - y - 1"),
            ("x - (y - 1)", "x - (y - 1)"),
            ("x/y/2", "x/y/2"),
            ("x/(y*2)", "x/(y*2)"),
            ("-x^2", "-x^2"),
            ("(-x)^2", "(-x)^2"),
            ("-2^2", "-2^2"),
            ("(-2)^2", "(-2)^2"),
            ("2^-x", "2^(-x)"),
            ("x^y^2", "x^y^2"),
            ("(x^y)^2", "(x^y)^2"),
            ("x*-y", "x*(-y)"),
            ("- 3", "-3"),
            ("x--3", "x - (-3)"),
            ("max(x, min(y,1e-7))", "max(x, min(y, 1e-7))"),
            ("tanh(abs(square(x)))", "tanh(abs(square(x)))"),
            ("--x", "-(-x)"),
            (".5*x", "0.5*x"),
            ("x**2*y", "x^2*y"),
            ("-2**2", "-2^2"),
            ("2 ** -x ** 2", "2^(-x^2)"),
            ("pow(x, y + 1)", "x^(y + 1)"),
            ("ln(y)", "log(y)"),
            ("log1p(-y)", "log(1 + (-y))"),
            ("sigmoid(x - y)", "1/(1 + exp(-(x - y)))"),
        ] {
            assert_eq!(reprint(text), printed, "{text}");
            assert_eq!(parse(text, CLASS_VARIABLES), parse(printed, CLASS_VARIABLES), "{text}");
        }
    }

    #[test]
    fn faults_point_at_their_place() {
        let nested = "(".repeat(10_000);
        for (text, at, part) in [
            ("log(q)", 4, "unknown name 'q'"),
            ("(x + y", 0, "never closed"),
            ("x + y)", 5, "expected an operator"),
            ("x +", 3, "ends too early"),
            ("", 0, "ends too early"),
            ("log x", 4, "expected a bracket"),
            ("max(x)", 5, "comma"),
            ("pow(x)", 5, "pow takes two operands"),
            ("ln y", 3, "expected a bracket after ln"),
            ("x***y", 3, "expected a number"),
            ("logs(y)", 0, "the functions log, exp, sqrt, square, abs, tanh, max, min, ln, log1p, sigmoid, pow"),
            ("1e999", 0, "too large"),
            (nested.as_str(), 50, "nested deeper"),
            ("x § y", 2, "expected an operator"),
        ] {
            let e = parse(text, CLASS_VARIABLES).unwrap_err();
            assert!(e.message.contains(part), "{e}");
            assert!(e.at == at || text.len() > 100, "{e:?}");
        }
        assert!(parse(&"x+".repeat(6_000), CLASS_VARIABLES).is_err());
        let e = parse("log(q)", CLASS_VARIABLES).unwrap_err().to_string();
        assert!(e.ends_with("\n  log(q)\n      ^"), "{e}");
    }
}
