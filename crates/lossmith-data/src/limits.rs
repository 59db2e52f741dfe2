//! How much is taken from one file, whatever the file says of itself.
//!
//! Every reader counts what it decodes and stops at [`Limits::bytes`]; what a header states is compared with the limits,
//! and with what a file of its length can hold at all, before anything is allocated. A program sets its limits once, at
//! its start.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::source::MOST_UNPACKED_PER_BYTE;
use crate::{DataError, Result};

/// The variable of the environment in which the command line looks for [`Limits`], which errors name.
pub const VARIABLE: &str = "LOSSMITH_LIMITS";

/// What a reader may take from one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes in memory: of arrays, or of a text and its values (each comma, bracket and line counts as 24 bytes more). 2 GiB.
    pub bytes: u64,
    /// Pixels of a picture. 2^27.
    pub pixels: u64,
}

impl Limits {
    /// The limits unless others are [set].
    pub const DEFAULT: Self = Self { bytes: 2 << 30, pixels: 1 << 27 };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

static BYTES: AtomicU64 = AtomicU64::new(Limits::DEFAULT.bytes);
static PIXELS: AtomicU64 = AtomicU64::new(Limits::DEFAULT.pixels);

/// Sets the limits of all readers of this process.
pub fn set(limits: Limits) {
    BYTES.store(limits.bytes, Ordering::Relaxed);
    PIXELS.store(limits.pixels, Ordering::Relaxed);
}

/// The limits of all readers of this process.
pub fn current() -> Limits {
    Limits { bytes: BYTES.load(Ordering::Relaxed), pixels: PIXELS.load(Ordering::Relaxed) }
}

/// Reads `bytes=8GiB,pixels=300000000`; what is not named keeps its default.
impl FromStr for Limits {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self> {
        let mut limits = Self::DEFAULT;
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let wrong = || {
                let expected = "expected bytes=N or pixels=N, N a whole number above 0 or one of KiB, MiB, GiB";
                DataError::argument(format!("{VARIABLE}: '{part}': {expected}"))
            };
            let (name, value) = part.split_once('=').ok_or_else(wrong)?;
            let value = number(value.trim()).filter(|value| *value > 0).ok_or_else(wrong)?;
            match name.trim() {
                "bytes" => limits.bytes = value,
                "pixels" => limits.pixels = value,
                _ => return Err(wrong()),
            }
        }
        Ok(limits)
    }
}

const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

fn number(text: &str) -> Option<u64> {
    let unit = UNITS.iter().find_map(|(name, size)| Some((text.strip_suffix(name)?, *size)));
    let (digits, size) = unit.unwrap_or((text, 1));
    digits.trim().parse::<u64>().ok()?.checked_mul(size)
}

/// A number of bytes as people write it.
pub(crate) struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UNITS.iter().find(|(_, size)| self.0 >= *size) {
            Some((name, size)) if self.0.is_multiple_of(*size) => write!(f, "{} {name}", self.0 / size),
            Some((name, size)) => write!(f, "{:.1} {name}", self.0 as f64 / *size as f64),
            None => write!(f, "{} bytes", self.0),
        }
    }
}

/// Refuses what would take more memory than is allowed; `what` begins the message.
///
/// # Errors
/// It would.
pub fn check(path: &Path, what: &str, bytes: u128) -> Result<()> {
    let most = current().bytes;
    if bytes <= u128::from(most) {
        return Ok(());
    }
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    Err(DataError::content(path, format!("{what} would take {} of memory; {}", Bytes(bytes), allowed(most))))
}

/// Refuses a picture of more pixels than are allowed, or than a file of this length can say: no packing of one takes less
/// than a bit for what deflate makes of a byte of it.
pub(crate) fn check_pixels(path: &Path, length: u64, [width, height]: [usize; 2]) -> Result<()> {
    let (pixels, most) = (width as u128 * height as u128, current().pixels);
    if pixels > u128::from(length) * u128::from(8 * MOST_UNPACKED_PER_BYTE) {
        let message = format!("its header speaks of {width} x {height} pixels, which this file is too small to hold");
        return Err(DataError::content(path, message));
    }
    if pixels <= u128::from(most) {
        return Ok(());
    }
    let message = format!(
        "{width} x {height} pixels are more than the {most} that are read; {VARIABLE}=pixels=N sets another limit"
    );
    Err(DataError::content(path, message))
}

/// What a reader says that met the end of what it may take.
pub(crate) fn exceeded() -> String {
    format!("it is more than is read: {}", allowed(current().bytes))
}

/// The part of a message that says what the limit is and how to change it.
pub(crate) fn allowed(most: u64) -> String {
    format!("at most {} are taken from one file; {VARIABLE}=bytes=N sets another limit", Bytes(most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_from_text() {
        let read = |text: &str| text.parse::<Limits>();
        assert_eq!(read("").unwrap(), Limits::DEFAULT);
        assert_eq!(read("bytes=8GiB, pixels=300").unwrap(), Limits { bytes: 8 << 30, pixels: 300 });
        assert_eq!(read("bytes = 5 MiB").unwrap(), Limits { bytes: 5 << 20, ..Limits::DEFAULT });
        for wrong in ["8GiB", "bytes=", "bytes=0", "bytes=-1", "bytes=1e9", "memory=1", "bytes=99999999999GiB"] {
            let message = read(wrong).unwrap_err().to_string();
            assert!(message.starts_with(&format!("LOSSMITH_LIMITS: '{wrong}': expected bytes=N")), "{message}");
        }
    }

    #[test]
    fn bytes_are_shown_in_their_unit() {
        let shown = [7, 2048, 3 << 30, (5 << 30) / 2].map(|n| Bytes(n).to_string());
        assert_eq!(shown, ["7 bytes", "2 KiB", "3 GiB", "2.5 GiB"]);
    }
}
