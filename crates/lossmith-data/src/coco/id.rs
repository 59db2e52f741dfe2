//! What COCO's records are known by.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// The id of a record: a whole number, which may be written as `7.0`, or a text. Numbers come before texts, as they would
/// in pycocotools if it could order them; texts are in the order of their characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(untagged)]
pub enum Id {
    /// A whole number.
    Number(i128),
    /// A text.
    Text(String),
}

impl Id {
    /// The id that a JSON value spells.
    pub(super) fn of(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => Some(Self::Text(text.clone())),
            number => whole(number).map(Self::Number),
        }
    }

    /// The same digits as a text for a number, as a number for a text of digits.
    pub(super) fn respelt(&self) -> Option<Self> {
        match self {
            Self::Number(number) => Some(Self::Text(number.to_string())),
            Self::Text(text) => {
                text.parse::<i128>().ok().filter(|number| number.to_string() == *text).map(Self::Number)
            }
        }
    }
}

/// A number without a fraction, however it is written.
pub(super) fn whole(value: &Value) -> Option<i128> {
    /// From here on floats leave whole numbers out.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let Value::Number(number) = value else { return None };
    let exact = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
    exact.or_else(|| number.as_f64().filter(|v| v.fract() == 0.0 && v.abs() < EXACT).map(|v| v as i128))
}

impl From<u64> for Id {
    fn from(number: u64) -> Self {
        Self::Number(number.into())
    }
}

impl PartialEq<u64> for Id {
    fn eq(&self, number: &u64) -> bool {
        matches!(self, Self::Number(own) if *own == i128::from(*number))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(out),
            Self::Text(text) => write!(out, "{text:?}"),
        }
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(source)?;
        Self::of(&value)
            .ok_or_else(|| serde::de::Error::custom(format!("{value} is no id: expected a whole number or a text")))
    }
}
