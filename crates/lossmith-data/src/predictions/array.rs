//! Arrays of plain numbers as numpy keeps them: in `.npy` files, in the `.npz` archives of these, and inside pickles.

use std::io::{Cursor, Read};

/// What numpy calls a dtype, of the kinds that are numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    letter: u8,
    size: usize,
    big_end: bool,
}

/// An array as it lies in a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    shape: Vec<usize>,
    kind: Kind,
    columns_first: bool,
    bytes: Vec<u8>,
}

impl Kind {
    /// From numpy's text: `<f4`, `|u1`, `i8`.
    ///
    /// # Errors
    /// Anything that is no number, such as `|O`, an object.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (order, rest) = match text.as_bytes().first() {
            Some(b'<' | b'>' | b'=' | b'|') => text.split_at(1),
            _ => ("<", text),
        };
        let wrong =
            || format!("its numbers are of type '{text}': expected plain numbers (f2, f4, f8, i1 to i8, u1 to u8, b1)");
        let letter = *rest.as_bytes().first().ok_or_else(wrong)?;
        let size: usize = rest.get(1..).and_then(|s| s.parse().ok()).ok_or_else(wrong)?;
        let known = match letter {
            b'f' => matches!(size, 2 | 4 | 8),
            b'i' | b'u' => matches!(size, 1 | 2 | 4 | 8),
            b'b' => size == 1,
            _ => false,
        };
        if known { Ok(Self { letter, size, big_end: order == ">" }) } else { Err(wrong()) }
    }

    /// The same with another order of bytes, as numpy's state of a dtype says it.
    pub fn ordered(self, order: &str) -> Self {
        Self { big_end: order == ">", ..self }
    }

    /// One number.
    ///
    /// # Errors
    /// Bytes that are not as many as one number has.
    pub fn number(self, bytes: &[u8]) -> Result<f64, String> {
        if bytes.len() != self.size {
            return Err(format!("a number of {} bytes: expected {}", bytes.len(), self.size));
        }
        let mut own = [0u8; 8];
        for (at, byte) in bytes.iter().enumerate() {
            own[if self.big_end { self.size - 1 - at } else { at }] = *byte;
        }
        let whole = u64::from_le_bytes(own);
        let spare = 64 - 8 * self.size as u32;
        Ok(match (self.letter, self.size) {
            (b'f', 8) => f64::from_bits(whole),
            (b'f', 4) => f64::from(f32::from_bits(whole as u32)),
            (b'f', _) => half(whole as u16),
            (b'i', _) => ((whole << spare) as i64 >> spare) as f64,
            _ => whole as f64,
        })
    }
}

/// A half-precision number.
fn half(bits: u16) -> f64 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
    sign * match exponent {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1.0 + fraction / 1024.0) * 2f64.powi(exponent - 15),
    }
}

impl Array {
    /// An array whose bytes are as many as its shape needs.
    ///
    /// # Errors
    /// They are more or fewer.
    pub fn new(shape: Vec<usize>, kind: Kind, columns_first: bool, bytes: Vec<u8>) -> Result<Self, String> {
        let count = shape.iter().try_fold(1usize, |product, side| product.checked_mul(*side));
        match count.and_then(|count| count.checked_mul(kind.size)) {
            Some(needed) if needed == bytes.len() => Ok(Self { shape, kind, columns_first, bytes }),
            _ => Err(format!(
                "an array of shape {shape:?} with {} bytes, which are not as many as it needs",
                bytes.len()
            )),
        }
    }

    /// How many bytes its numbers take.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Reads a `.npy` file.
    ///
    /// # Errors
    /// No such file, or one of things that are no numbers.
    pub fn of_npy(bytes: &[u8]) -> Result<Self, String> {
        let cut = || "it is no .npy file, or cut off".to_owned();
        let head = bytes.strip_prefix(b"\x93NUMPY").ok_or_else(cut)?;
        let [major, _, rest @ ..] = head else { return Err(cut()) };
        let (length, rest) = match (*major, rest) {
            (1, [a, b, rest @ ..]) => (usize::from(u16::from_le_bytes([*a, *b])), rest),
            (2 | 3, [a, b, c, d, rest @ ..]) => (u32::from_le_bytes([*a, *b, *c, *d]) as usize, rest),
            _ => return Err(cut()),
        };
        let (header, data) = rest.split_at_checked(length).ok_or_else(cut)?;
        let header = String::from_utf8_lossy(header);
        let descr = quoted_after(&header, "'descr'").ok_or("its header names no single type of numbers")?;
        let shape = header.split("'shape'").nth(1).and_then(|rest| rest.split_once('(')?.1.split_once(')'));
        let sides = shape.ok_or("its header has no shape")?.0.split(',').map(str::trim).filter(|side| !side.is_empty());
        let shape: Result<Vec<usize>, _> = sides.map(str::parse).collect();
        let shape = shape.map_err(|_| "its header has no shape")?;
        let columns_first = header
            .split("'fortran_order'")
            .nth(1)
            .is_some_and(|rest| rest.trim_start_matches([':', ' ']).starts_with("True"));
        Self::new(shape, Kind::parse(descr)?, columns_first, data.to_vec())
    }

    /// Rows and columns; an array of one dimension is a column, and one without elements has the columns that are asked for.
    ///
    /// # Errors
    /// Another number of dimensions.
    pub fn table(&self) -> Result<(usize, usize, Vec<f64>), String> {
        let (rows, columns) = match self.shape[..] {
            [rows] => (rows, 1),
            [rows, columns] => (rows, columns),
            _ => return Err(format!("an array of shape {:?}: expected one or two dimensions", self.shape)),
        };
        let number = |at: usize| self.kind.number(&self.bytes[at * self.kind.size..][..self.kind.size]);
        let place =
            |row: usize, column: usize| if self.columns_first { column * rows + row } else { row * columns + column };
        let numbers: Result<Vec<f64>, String> =
            (0..rows * columns).map(|at| number(place(at / columns, at % columns))).collect();
        Ok((rows, columns, numbers?))
    }
}

/// The text in quotes that follows a key.
fn quoted_after<'a>(header: &'a str, key: &str) -> Option<&'a str> {
    let rest = header.split_once(key)?.1.trim_start_matches([':', ' ']);
    rest.strip_prefix('\'')?.split_once('\'').map(|(text, _)| text)
}

/// The arrays of a `.npz` file, by name without `.npy`. Of all together no more than `most` bytes are unpacked.
///
/// # Errors
/// No archive, an entry that is no array of numbers, more than is allowed: the message names the entry.
pub fn of_npz(bytes: &[u8], most: u64) -> Result<Vec<(String, Array)>, String> {
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(|e| format!("no readable .npz archive: {e}"))?;
    let (mut arrays, mut left) = (Vec::new(), most);
    for at in 0..archive.len() {
        let mut entry = archive.by_index(at).map_err(|e| format!("no readable .npz archive: {e}"))?;
        let name = entry.name().map_err(|e| format!("no readable .npz archive: {e}"))?.into_owned();
        if name.ends_with('/') {
            continue;
        }
        let wrong = |message: String| format!("'{name}': {message}");
        let mut data = Vec::new();
        entry.by_ref().take(left.saturating_add(1)).read_to_end(&mut data).map_err(|e| wrong(e.to_string()))?;
        left = left.checked_sub(data.len() as u64).ok_or_else(|| format!("it unpacks to more than {most} bytes"))?;
        let own = name.strip_suffix(".npy").ok_or_else(|| wrong("expected entries IMAGE/KEY.npy".to_owned()))?;
        arrays.push((own.to_owned(), Array::of_npy(&data).map_err(wrong)?));
    }
    Ok(arrays)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn npy(header: &str, data: &[u8]) -> Vec<u8> {
        let length = (header.len() as u16).to_le_bytes();
        [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), data].concat()
    }

    #[test]
    fn arrays_of_numbers_are_read() {
        let read = |header: &str, data: &[u8]| Array::of_npy(&npy(header, data)).and_then(|a| a.table());
        let rows = read("{'descr': '<i2', 'fortran_order': False, 'shape': (2, 2), }", &[1, 0, 2, 0, 255, 255, 4, 0]);
        assert_eq!(rows.unwrap(), (2, 2, vec![1.0, 2.0, -1.0, 4.0]));
        let columns = read("{'descr': '>u2', 'fortran_order': True, 'shape': (2, 2), }", &[0, 1, 0, 2, 255, 255, 0, 4]);
        assert_eq!(columns.unwrap(), (2, 2, vec![1.0, 65535.0, 2.0, 4.0]));
        let half = read("{'descr': '<f2', 'fortran_order': False, 'shape': (3,), }", &[0, 0x3c, 0, 0xc0, 1, 0]);
        assert_eq!(half.unwrap().2, [1.0, -2.0, 2f64.powi(-24)]);
        assert_eq!(read("{'descr': '|b1', 'fortran_order': False, 'shape': (0, 5), }", &[]).unwrap(), (0, 5, vec![]));
    }

    #[test]
    fn what_is_no_array_of_numbers_is_refused() {
        for (header, data, wanted) in [
            ("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", &b"\x80\x04K\x01."[..], "type '|O'"),
            ("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", &[0; 4], "no single type"),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4), }", &[0; 4], "not as many"),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", &[0; 4], "not as many"),
            ("{'descr': '<f4', 'fortran_order': False}", &[0; 4], "no shape"),
        ] {
            let message = Array::of_npy(&npy(header, data)).unwrap_err();
            assert!(message.contains(wanted), "{message}");
        }
        let three =
            Array::of_npy(&npy("{'descr': '|u1', 'fortran_order': False, 'shape': (1, 1, 1), }", &[1])).unwrap();
        assert!(three.table().unwrap_err().contains("one or two dimensions"));
        assert!(Array::of_npy(b"PK").is_err() && of_npz(b"PK\x03\x04", 10).is_err());
    }
}
