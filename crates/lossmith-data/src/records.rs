//! JSON records one after the other: a line each, or the entries of one list.

use std::io::{BufRead, Read, Split};
use std::iter::Enumerate;
use std::path::{Path, PathBuf};

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, SeqAccess, Visitor};
use serde_json::Value;

use crate::source::BYTE_ORDER_MARK;
use crate::{DataError, Result};

/// Records with where they were found: "line 7", "entry 3".
pub(crate) struct JsonRecords {
    path: PathBuf,
    from: From,
}

enum From {
    Lines(Enumerate<Split<Box<dyn BufRead>>>),
    List(Enumerate<std::vec::IntoIter<Value>>),
}

impl JsonRecords {
    /// The records of what is left of a file; a list is read whole, lines are not.
    ///
    /// # Errors
    /// The system refuses, or a list that is no JSON.
    pub fn new(path: &Path, mut reader: Box<dyn BufRead>) -> Result<Self> {
        let fault = || DataError::io(path, "read");
        if reader.fill_buf().map_err(fault())?.starts_with(BYTE_ORDER_MARK) {
            reader.consume(BYTE_ORDER_MARK.len());
        }
        let from = if reader.fill_buf().map_err(fault())?.trim_ascii_start().starts_with(b"[") {
            let mut text = Vec::new();
            reader.read_to_end(&mut text).map_err(fault())?;
            let list: Vec<Value> = serde_json::from_slice(&text)
                .map_err(|e| DataError::content(path, format!("no JSON list of records: {e}")))?;
            From::List(list.into_iter().enumerate())
        } else {
            From::Lines(reader.split(b'\n').enumerate())
        };
        Ok(Self { path: path.to_owned(), from })
    }
}

impl Iterator for JsonRecords {
    type Item = Result<(String, Vec<u8>)>;

    /// The next that is not an empty line.
    fn next(&mut self) -> Option<Self::Item> {
        let lines = match &mut self.from {
            From::List(list) => {
                return list.next().map(|(at, value)| Ok((format!("entry {at}"), value.to_string().into_bytes())));
            }
            From::Lines(lines) => lines,
        };
        loop {
            let (at, line) = lines.next()?;
            match line {
                Ok(line) if line.trim_ascii().is_empty() => {}
                Ok(line) => return Some(Ok((format!("line {}", at + 1), line))),
                Err(e) => return Some(Err(DataError::io(&self.path, "read")(e))),
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
