//! Named arrays in safetensors files: what other programs hand to lossmith, and what it hands back.
//!
//! Floats are f32 and integers i64; other integer types and booleans are widened to i64, which loses nothing.

use std::collections::BTreeMap;
use std::path::Path;

use ndarray::{ArrayD, IxDyn};
use safetensors::tensor::{TensorInfo, TensorView};
use safetensors::{Dtype, SafeTensorError, SafeTensors};

use crate::source::Source;
use crate::{DataError, Result, atomic, limits};

/// An array of one of the two types that the rest of the program works with.
#[derive(Clone, Debug, PartialEq)]
pub enum Tensor {
    /// Predictions, images, weights.
    F32(ArrayD<f32>),
    /// Labels and indices.
    I64(ArrayD<i64>),
}

impl Tensor {
    /// The length of each dimension.
    pub fn shape(&self) -> &[usize] {
        match self {
            Self::F32(a) => a.shape(),
            Self::I64(a) => a.shape(),
        }
    }

    /// The name of the element type, as safetensors writes it.
    pub fn dtype(&self) -> &'static str {
        match self {
            Self::F32(_) => "F32",
            Self::I64(_) => "I64",
        }
    }
}

impl From<ArrayD<f32>> for Tensor {
    fn from(array: ArrayD<f32>) -> Self {
        Self::F32(array)
    }
}

impl From<ArrayD<i64>> for Tensor {
    fn from(array: ArrayD<i64>) -> Self {
        Self::I64(array)
    }
}

/// Tensors by name, in alphabetical order.
pub type Tensors = BTreeMap<String, Tensor>;

/// Reads all tensors of a file.
///
/// # Errors
/// A file that cannot be read or is no safetensors file; a header that speaks of more bytes than there are; an element
/// type that does not fit into f32 or i64.
pub fn read(path: &Path) -> Result<Tensors> {
    parse(&Source::open(path)?.all()?, path)
}

/// Reads all tensors from the bytes of a file; `path` only serves the errors.
///
/// # Errors
/// As [`read`].
pub fn parse(bytes: &[u8], path: &Path) -> Result<Tensors> {
    if let Some((name, message)) = misfit(bytes) {
        return Err(DataError::record(path, format!("tensor '{name}'"), message));
    }
    let file = SafeTensors::deserialize(bytes).map_err(|e| DataError::content(path, fault(&e, bytes)))?;
    let in_memory = file.iter().map(|(_, view)| memory_of(&view)).sum();
    limits::check(path, "its tensors", in_memory)?;
    file.iter()
        .map(|(name, view)| {
            let tensor =
                convert(&view).map_err(|message| DataError::record(path, format!("tensor '{name}'"), message))?;
            Ok((name.to_owned(), tensor))
        })
        .collect()
}

/// Writes tensors to a new file, whole or not at all.
///
/// # Errors
/// The file exists, or the system refuses.
pub fn write<'a>(path: &Path, tensors: impl IntoIterator<Item = (&'a str, &'a Tensor)>) -> Result<()> {
    atomic::write(path, &to_bytes(tensors)?)
}

/// The bytes of a safetensors file: the same for the same tensors.
///
/// # Errors
/// A tensor of a size that no file can hold.
pub fn to_bytes<'a>(tensors: impl IntoIterator<Item = (&'a str, &'a Tensor)>) -> Result<Vec<u8>> {
    let raw: Vec<(&str, Dtype, &[usize], Vec<u8>)> = tensors
        .into_iter()
        .map(|(name, tensor)| match tensor {
            Tensor::F32(a) => (name, Dtype::F32, a.shape(), a.iter().flat_map(|v| v.to_le_bytes()).collect()),
            Tensor::I64(a) => (name, Dtype::I64, a.shape(), a.iter().flat_map(|v| v.to_le_bytes()).collect()),
        })
        .collect();
    let wrong = |e: SafeTensorError| DataError::argument(format!("these tensors cannot be written: {e}"));
    let views = raw
        .iter()
        .map(|(name, dtype, shape, bytes)| Ok((*name, TensorView::new(*dtype, shape.to_vec(), bytes)?)))
        .collect::<std::result::Result<Vec<_>, SafeTensorError>>()
        .map_err(wrong)?;
    safetensors::serialize(views, None).map_err(wrong)
}

/// What a tensor takes once it is widened.
fn memory_of(view: &TensorView<'_>) -> u128 {
    let elements = view.data().len() as u128 * 8 / view.dtype().bitsize() as u128;
    elements * if view.dtype() == Dtype::F32 { 4 } else { 8 }
}

fn convert(view: &TensorView<'_>) -> std::result::Result<Tensor, String> {
    let bytes = view.data();
    let integers = |numbers: Vec<i64>| Ok(Tensor::I64(shaped(view, numbers)?));
    match view.dtype() {
        Dtype::F32 => Ok(Tensor::F32(shaped(view, elements(bytes, f32::from_le_bytes))?)),
        Dtype::I64 => integers(elements(bytes, i64::from_le_bytes)),
        Dtype::I32 => integers(elements(bytes, |b| i32::from_le_bytes(b).into())),
        Dtype::I16 => integers(elements(bytes, |b| i16::from_le_bytes(b).into())),
        Dtype::I8 => integers(elements(bytes, |b| i8::from_le_bytes(b).into())),
        Dtype::U32 => integers(elements(bytes, |b| u32::from_le_bytes(b).into())),
        Dtype::U16 => integers(elements(bytes, |b| u16::from_le_bytes(b).into())),
        Dtype::U8 | Dtype::BOOL => integers(elements(bytes, |b| u8::from_le_bytes(b).into())),
        other => Err(format!("element type {other} (shape {:?}): expected F32 or an integer type", view.shape())),
    }
}

/// The numbers in the bytes, `N` bytes each, lowest first.
fn elements<const N: usize, T>(bytes: &[u8], number: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks().0.iter().map(|chunk| number(*chunk)).collect()
}

/// ndarray takes no shape whose product without its zero lengths overflows, which an empty tensor's header may state.
fn shaped<T>(view: &TensorView<'_>, numbers: Vec<T>) -> std::result::Result<ArrayD<T>, String> {
    let shape = view.shape();
    ArrayD::from_shape_vec(IxDyn(shape), numbers).map_err(|e| format!("shape {shape:?}: {e}"))
}

/// As the crate has it.
const MOST_HEADER: usize = 100_000_000;

/// The first tensor of the header that the file cannot hold as stated. The crate would refuse it too, but without its
/// name, and adds up the stated sizes unchecked.
fn misfit(bytes: &[u8]) -> Option<(String, String)> {
    let length = usize::try_from(u64::from_le_bytes(*bytes.first_chunk()?)).ok()?;
    let data = bytes.len().checked_sub(8)?.checked_sub(length)?;
    if length > MOST_HEADER {
        return None;
    }
    let header: BTreeMap<String, serde_json::Value> = serde_json::from_slice(&bytes[8..8 + length]).ok()?;
    header.into_iter().find_map(|(name, value)| {
        let TensorInfo { dtype, shape, data_offsets: (start, end) } = serde_json::from_value(value).ok()?;
        let bits = shape.iter().try_fold(dtype.bitsize(), |n, d| n.checked_mul(*d));
        let stated = match bits {
            _ if start > end || end > data => {
                return Some((name, format!("its bytes {start} to {end} are not in the file; is it cut off?")));
            }
            Some(bits) if bits / 8 == end - start => return None,
            Some(bits) => format!("{} bytes", bits / 8),
            None => "more than any memory".to_owned(),
        };
        Some((name, format!("{dtype} of shape {shape:?} takes {stated}, but it has {} bytes", end - start)))
    })
}

fn fault(error: &SafeTensorError, bytes: &[u8]) -> String {
    let what = match error {
        SafeTensorError::HeaderTooSmall => format!("it has {} bytes", bytes.len()),
        SafeTensorError::HeaderTooLarge | SafeTensorError::InvalidHeaderLength => {
            "the stated length of its header is more than the file holds".to_owned()
        }
        SafeTensorError::InvalidHeader(e) => format!("its header is no text: {e}"),
        SafeTensorError::InvalidHeaderDeserialization(e) | SafeTensorError::JsonError(e) => {
            format!("its header is not as it should be: {e}")
        }
        SafeTensorError::InvalidOffset(name) => format!("the place of tensor '{name}' does not follow its neighbours"),
        SafeTensorError::MetadataIncompleteBuffer => "there are bytes that belong to no tensor".to_owned(),
        other => other.to_string(),
    };
    format!("this is no intact safetensors file: {what}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{arr1, arr2};
    use proptest::prelude::*;

    fn sample() -> Tensors {
        let logits: ArrayD<f32> = arr2(&[[0.5, -1.0], [f32::INFINITY, 3.0]]).into_dyn();
        let target: ArrayD<i64> = arr1(&[1i64, 0]).into_dyn();
        Tensors::from([("logits".to_owned(), logits.into()), ("target".to_owned(), target.into())])
    }

    fn bytes(tensors: &Tensors) -> Vec<u8> {
        to_bytes(tensors.iter().map(|(n, t)| (n.as_str(), t))).unwrap()
    }

    fn with_header(header: &str, data: &[u8]) -> Vec<u8> {
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
    }

    fn message(bytes: &[u8]) -> String {
        parse(bytes, Path::new("t.safetensors")).unwrap_err().to_string()
    }

    #[test]
    fn tensors_come_back_as_they_were() {
        assert_eq!(parse(&bytes(&sample()), Path::new("t")).unwrap(), sample());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.safetensors");
        write(&path, sample().iter().map(|(n, t)| (n.as_str(), t))).unwrap();
        assert_eq!(read(&path).unwrap(), sample());
    }

    #[test]
    fn rows_are_written_in_order_whatever_the_memory_layout() {
        let turned: ArrayD<f32> = arr2(&[[1.0, 2.0], [3.0, 4.0]]).reversed_axes().into_dyn();
        let tensors = Tensors::from([("a".to_owned(), turned.into())]);
        assert_eq!(parse(&bytes(&tensors), Path::new("t")).unwrap(), tensors);
    }

    #[test]
    fn integers_are_widened_and_other_types_refused_by_name() {
        let read = |dtype: &str, data: &[u8]| {
            let header = format!(r#"{{"m":{{"dtype":"{dtype}","shape":[2],"data_offsets":[0,{}]}}}}"#, data.len());
            parse(&with_header(&header, data), Path::new("t.safetensors"))
        };
        for (dtype, data, values) in [
            ("BOOL", &[0, 1][..], [0, 1]),
            ("U8", &[255, 1], [255, 1]),
            ("I8", &[255, 1], [-1, 1]),
            ("I16", &[0, 128, 1, 0], [-32768, 1]),
            ("U32", &[255, 255, 255, 255, 1, 0, 0, 0], [4_294_967_295, 1]),
        ] {
            assert_eq!(read(dtype, data).unwrap()["m"], arr1(&values).into_dyn().into(), "{dtype}");
        }
        assert_eq!(
            read("F64", &[0; 16]).unwrap_err().to_string(),
            "t.safetensors, tensor 'm': element type F64 (shape [2]): expected F32 or an integer type"
        );
    }

    #[test]
    fn headers_that_lie_are_refused() {
        assert!(message(b"").ends_with("it has 0 bytes"));
        assert!(message(&[255; 64]).contains("more than the file holds"));
        let stated = |shape: &str, end: &str, data: &[u8]| {
            let header = format!(r#"{{"a":{{"dtype":"F32","shape":{shape},"data_offsets":[0,{end}]}}}}"#);
            message(&with_header(&header, data))
        };
        assert_eq!(
            stated("[1000000000000]", "4", &[0; 4]),
            "t.safetensors, tensor 'a': F32 of shape [1000000000000] takes 4000000000000 bytes, but it has 4 bytes"
        );
        assert!(stated("[18446744073709551615,4]", "4", &[0; 4]).contains("takes more than any memory"));
        assert!(stated("[0,9223372036854775807,9223372036854775807]", "0", &[]).starts_with("t.safetensors, tensor"));
        assert!(stated("[1]", "18446744073709551615", &[0; 4]).contains("are not in the file; is it cut off?"));
        assert!(stated("[1]", "4", &[0; 5]).contains("bytes that belong to no tensor"));
        let mut cut = bytes(&sample());
        cut.truncate(cut.len() - 1);
        assert!(message(&cut).contains("are not in the file; is it cut off?"));
    }

    proptest! {
        #[test]
        fn flipped_and_cut_bytes_never_panic(at in 0usize..1000, flip in 1u8.., keep in 0usize..1000) {
            let mut bytes = bytes(&sample());
            let length = bytes.len();
            bytes[at % length] ^= flip;
            bytes.truncate(keep % (length + 1));
            let _ = parse(&bytes, Path::new("t"));
        }
    }
}
