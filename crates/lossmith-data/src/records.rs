//! JSON records one after the other: a line each, or the entries of one list.

use std::io::BufRead;
use std::iter::Enumerate;
use std::path::Path;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, SeqAccess, Visitor};
use serde_json::Value;

use crate::source::{BYTE_ORDER_MARK, Source};
use crate::{DataError, Result};

/// Records with where they were found: "line 7", "entry 3".
pub(crate) enum JsonRecords {
    Lines { source: Source<'static>, number: usize, forget: bool },
    List(Enumerate<std::vec::IntoIter<Value>>),
}

impl JsonRecords {
    /// The records of what is left of a file; a list is read whole, lines are not. A caller that keeps none of the lines forgets what they
    /// counted against the limits.
    ///
    /// # Errors
    /// The system refuses, more than the limits allow, or a list that is no JSON.
    pub fn new(path: &Path, source: Source<'static>, forget: bool) -> Result<Self> {
        let mut source = source.text();
        if source.ahead()?.starts_with(BYTE_ORDER_MARK) {
            source.consume(BYTE_ORDER_MARK.len());
        }
        if !source.ahead()?.trim_ascii_start().starts_with(b"[") {
            return Ok(Self::Lines { source, number: 0, forget });
        }
        let list: Vec<Value> = serde_json::from_slice(&source.all()?)
            .map_err(|e| DataError::content(path, format!("no JSON list of records: {e}")))?;
        Ok(Self::List(list.into_iter().enumerate()))
    }
}

impl Iterator for JsonRecords {
    type Item = Result<(String, Vec<u8>)>;

    /// The next that is not an empty line.
    fn next(&mut self) -> Option<Self::Item> {
        let (source, number, forget) = match self {
            Self::List(list) => {
                return list.next().map(|(at, value)| Ok((format!("entry {at}"), value.to_string().into_bytes())));
            }
            Self::Lines { source, number, forget } => (source, number, *forget),
        };
        loop {
            *number += 1;
            match source.line(forget).transpose()? {
                Ok(line) if line.trim().is_empty() => {}
                line => return Some(line.map(|line| (format!("line {number}"), line.into_bytes()))),
            }
        }
    }
}

/// Hands over the values of a JSON list one by one with their places, so that no more than one is in memory as JSON and an error can
/// name it; the reading ends where `take` says false.
pub(crate) struct Each<'a> {
    /// What the list has: "image records".
    pub what: &'static str,
    pub take: &'a mut dyn FnMut(usize, Value) -> bool,
}

impl<'de> DeserializeSeed<'de> for Each<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> std::result::Result<(), D::Error> {
        source.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Each<'_> {
    type Value = ();

    fn expecting(&self, out: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(out, "a list of {}", self.what)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> std::result::Result<(), A::Error> {
        let mut at = 0;
        while let Some(value) = sequence.next_element()? {
            if !(self.take)(at, value) {
                return Err(A::Error::custom("a record is wrong"));
            }
            at += 1;
        }
        Ok(())
    }
}
