//! What a user writes for a loss: `baikal`, `discriminative(delta_v=0.5, pull="abs(d)")`, or a formula in `x` and `y`.

use std::fmt;

use super::{ClassLoss, Entry, InputSpec, Inputs, Loss, LossError, Param, ParamKind, cross_entropy, structural_risk};
use crate::expr::{CLASS_VARIABLES, Expr, Variables, function_names, is_name};

/// A loss as a user names it; its text form is its identity in recipes, logs and reports.
#[derive(Clone, Debug, PartialEq)]
pub enum Spec {
    /// A loss of the catalogue, with the parameters that were given.
    Named(Arguments),
    /// A formula over label `x`, probability `y` and number of classes `n`, summed over the classes.
    Formula(Expr),
}

/// The checked arguments of a catalogue loss: what was given, and defaults for the rest.
#[derive(Clone)]
pub struct Arguments {
    entry: &'static Entry,
    given: Vec<(&'static Param, Value)>,
}

/// The value of one parameter.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A number.
    Number(f64),
    /// One of the parameter's choices.
    Choice(&'static str),
    /// A word that the parameter takes.
    Word(String),
    /// A kernel.
    Kernel(Expr),
}

impl Spec {
    /// Parses what a user wrote. A text that is a name, or a name followed by an argument list that ends the text, and
    /// that name is no function of the formula language, is a catalogue loss; anything else is a formula.
    ///
    /// # Errors
    /// An unknown loss or parameter, a value out of range, a formula that does not parse.
    pub fn parse(text: &str) -> Result<Self, LossError> {
        let text = text.trim();
        let (head, list) = match text.split_once('(') {
            Some((head, rest)) => (head.trim(), rest.strip_suffix(')')),
            None => (text, Some("")),
        };
        // `log` is a loss, but `log(y)` is a formula.
        let call = is_function(head) && list != Some("");
        if let (Some(entry), Some(list), false) = (Entry::find(head), list, call) {
            return Ok(Self::Named(Arguments::parse(entry, list)?));
        }
        match Expr::parse(text, CLASS_VARIABLES) {
            Ok(formula) => Ok(Self::Formula(formula)),
            // A single word, or one with arguments, was meant as a name.
            Err(_) if is_name(head) && !is_function(head) && list.is_some() => {
                Err(unknown(head, list.unwrap_or_default()))
            }
            Err(e) => Err(e.into()),
        }
    }

    /// The arrays that the loss reads.
    pub fn inputs(&self) -> &'static [InputSpec] {
        match self {
            Self::Named(arguments) => arguments.entry.inputs,
            Self::Formula(_) => cross_entropy::ENTRY.inputs,
        }
    }

    /// Checks that the loss reads every one of these arrays: one that it does not was meant for something.
    ///
    /// # Errors
    /// Names the first array that the loss does not read, and those that it does.
    pub fn check_names(&self, given: &Inputs) -> Result<(), LossError> {
        let known = self.inputs();
        let Some(unknown) = given.names().find(|name| known.iter().all(|k| k.name != *name)) else { return Ok(()) };
        let reads = known.iter().map(|k| if k.optional { format!("{} (optional)", k.name) } else { k.name.to_owned() });
        let guess = nearest(unknown, known.iter().map(|k| k.name))
            .map_or_else(String::new, |n| format!(", did you mean '{n}'?"));
        let reads = reads.collect::<Vec<_>>().join(", ");
        Err(LossError::input(unknown, format!("the loss reads no such array{guess} (it reads {reads})")))
    }

    /// Makes the loss.
    ///
    /// # Errors
    /// Parameters that do not fit together.
    pub fn build(&self) -> Result<Box<dyn Loss>, LossError> {
        match self {
            Self::Named(arguments) => (arguments.entry.build)(arguments),
            Self::Formula(formula) => Ok(Box::new(ClassLoss::from_formula(formula.clone()))),
        }
    }
}

fn is_function(name: &str) -> bool {
    Expr::parse(&format!("{name}(1)"), &[]).is_ok() || Expr::parse(&format!("{name}(1,1)"), &[]).is_ok()
}

/// `list` is what stands in the brackets behind the name: a function of formulas may have been meant where it is no `name=value`.
fn unknown(name: &str, list: &str) -> LossError {
    let losses = super::catalogue::ENTRIES.iter().map(|e| e.name);
    let called = !list.is_empty() && !list.contains('=');
    let near = if called { nearest(name, function_names().chain(losses)) } else { nearest(name, losses) };
    let guess = near.map_or_else(String::new, |n| format!(", did you mean '{n}'?"));
    let functions = || function_names().collect::<Vec<_>>().join(", ");
    let hint = if called { format!(" and no function of formulas ({}){guess}", functions()) } else { guess };
    LossError::Unknown { name: name.to_owned(), hint }
}

/// The known word that an unknown one was probably meant to be, if one is like it.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let (edits, near) = known.into_iter().map(|k| (distance(word, k), k)).min()?;
    (edits <= 1 + word.len() / 3).then_some(near)
}

/// The number of single-letter edits between two names.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(arguments) => arguments.fmt(f),
            Self::Formula(formula) => formula.display(CLASS_VARIABLES).fmt(f),
        }
    }
}

impl std::str::FromStr for Spec {
    type Err = LossError;

    fn from_str(text: &str) -> Result<Self, LossError> {
        Self::parse(text)
    }
}

impl Arguments {
    /// All defaults.
    pub fn defaults(entry: &'static Entry) -> Self {
        Self { entry, given: Vec::new() }
    }

    /// Parses `name=value, name="formula"`.
    fn parse(entry: &'static Entry, list: &str) -> Result<Self, LossError> {
        let mut arguments = Self::defaults(entry);
        for argument in split_list(list) {
            let (name, value) = argument.split_once('=').ok_or_else(|| {
                LossError::param(entry.name, format!("expected name=value, found '{}'", argument.trim()))
            })?;
            arguments = arguments.with(name.trim(), value.trim())?;
        }
        Ok(arguments)
    }

    /// The same arguments with one more given, as text.
    ///
    /// # Errors
    /// No such parameter, given twice, or a value that it does not take.
    pub fn with(mut self, name: &str, value: &str) -> Result<Self, LossError> {
        let entry = self.entry;
        let Some(param) = entry.params.iter().find(|p| p.name == name) else {
            let names: Vec<&str> = entry.params.iter().map(|p| p.name).collect();
            let has = if names.is_empty() { "it has none".to_owned() } else { format!("it has {}", names.join(", ")) };
            return Err(LossError::param(entry.name, format!("no parameter '{name}': {has}")));
        };
        if self.given.iter().any(|(p, _)| p.name == name) {
            return Err(LossError::param(entry.name, format!("parameter '{name}' is given twice")));
        }
        self.given.push((param, Value::parse(entry, param, value)?));
        Ok(self)
    }

    /// The loss these arguments belong to.
    pub fn entry(&self) -> &'static Entry {
        self.entry
    }

    /// What was given, in the order in which it was given.
    pub fn given(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.given.iter().map(|(p, v)| (p.name, v))
    }

    /// The value of a number parameter.
    ///
    /// # Panics
    /// If the entry has no such number parameter: a mistake in the loss's own file.
    pub fn number(&self, name: &str) -> f64 {
        match self.value(name) {
            Value::Number(v) => v,
            other => panic!("{}: '{name}' is no number but {other:?}", self.entry.name),
        }
    }

    /// The value of a choice parameter.
    ///
    /// # Panics
    /// If the entry has no such choice parameter: a mistake in the loss's own file.
    pub fn choice(&self, name: &str) -> &'static str {
        match self.value(name) {
            Value::Choice(v) => v,
            other => panic!("{}: '{name}' is no choice but {other:?}", self.entry.name),
        }
    }

    /// The value of a word parameter.
    ///
    /// # Panics
    /// If the entry has no such word parameter: a mistake in the loss's own file.
    pub fn word(&self, name: &str) -> String {
        match self.value(name) {
            Value::Word(v) => v,
            other => panic!("{}: '{name}' is no word but {other:?}", self.entry.name),
        }
    }

    /// The kernel given for a slot, or `None` where the published one stays, so that its hand-written form may serve.
    pub fn kernel(&self, name: &str) -> Option<&Expr> {
        self.given.iter().find(|(p, _)| p.name == name).and_then(|(_, v)| match v {
            Value::Kernel(e) => Some(e),
            _ => None,
        })
    }

    fn value(&self, name: &str) -> Value {
        if let Some((_, v)) = self.given.iter().find(|(p, _)| p.name == name) {
            return v.clone();
        }
        let param = self.entry.params.iter().find(|p| p.name == name);
        match param.map(|p| p.kind) {
            Some(ParamKind::Number { default, .. }) => Value::Number(default),
            Some(ParamKind::Choice { default, .. }) => Value::Choice(default),
            Some(ParamKind::Word { default, .. }) => Value::Word(default.to_owned()),
            Some(ParamKind::Kernel { .. }) | None => panic!("{} has no value '{name}'", self.entry.name),
        }
    }
}

impl Value {
    fn parse(entry: &Entry, param: &'static Param, text: &str) -> Result<Self, LossError> {
        let bare = text.trim_matches('"');
        let wrong = |message: String| LossError::param(entry.name, format!("{}: {message}", param.name));
        match param.kind {
            ParamKind::Number { least, most, .. } => {
                let value: f64 = bare.parse().map_err(|_| wrong(format!("expected a number, found '{bare}'")))?;
                if (least..=most).contains(&value) {
                    return Ok(Self::Number(value));
                }
                Err(wrong(format!("expected a number from {least} to {most}, found {value}")))
            }
            ParamKind::Choice { choices, .. } => choices
                .iter()
                .find(|c| **c == bare)
                .map(|c| Self::Choice(c))
                .ok_or_else(|| wrong(format!("expected {}, found '{bare}'", choices.join(" or ")))),
            ParamKind::Word { check, .. } => match check(bare) {
                Ok(()) => Ok(Self::Word(bare.to_owned())),
                Err(message) => Err(wrong(message)),
            },
            ParamKind::Kernel { variables, .. } => {
                Ok(Self::Kernel(Expr::parse(structural_risk::spelled_out(bare, variables), variables)?))
            }
        }
    }

    fn text(&self, variables: Variables) -> String {
        match self {
            Self::Number(v) => v.to_string(),
            Self::Choice(c) => (*c).to_owned(),
            Self::Word(w) => w.clone(),
            Self::Kernel(e) => format!("\"{}\"", e.display(variables)),
        }
    }
}

/// Splits at commas outside brackets and quotes; empty pieces are left out.
pub fn split_list(list: &str) -> Vec<&str> {
    let (mut depth, mut quoted, mut start) = (0i32, false, 0);
    let mut pieces = Vec::new();
    for (at, c) in list.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth -= 1,
            ',' if !quoted && depth == 0 => {
                pieces.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    pieces.push(&list[start..]);
    pieces.retain(|p| !p.trim().is_empty());
    pieces
}

impl fmt::Display for Arguments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.entry.name)?;
        if self.given.is_empty() {
            return Ok(());
        }
        let pieces = self.given.iter().map(|(p, v)| {
            let variables = if let ParamKind::Kernel { variables, .. } = p.kind { variables } else { &[] };
            format!("{}={}", p.name, v.text(variables))
        });
        write!(f, "({})", pieces.collect::<Vec<_>>().join(", "))
    }
}

impl fmt::Debug for Arguments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PartialEq for Arguments {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}
