//! CIFAR-10 in its binary version: rows of 3073 bytes, a label and then 1024 red, 1024 green and 1024 blue values.
//!
//! Read are the batches `data_batch_1.bin` ... and `test_batch.bin`, plain or `.gz`, or the archive
//! `cifar-10-binary.tar.gz` as it is published. A batch may hold fewer rows than the published 10,000.
//! Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::classification::{Classification, LabelledImages, Shape};
use crate::source::Source;
use crate::{DataError, Result, limits};

/// The classes, in the order of their labels.
pub const CLASSES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

/// The published archive.
pub const ARCHIVE: &str = "cifar-10-binary.tar.gz";

const SHAPE: Shape = Shape { channels: 3, height: 32, width: 32 };
const ROW: usize = 1 + 3 * 32 * 32;
/// Five times the published batch: a batch is never larger, and no gzip bomb gets further.
const MOST_ROWS: usize = 50_000;

/// Whether a folder with these files holds CIFAR-10.
pub fn is_here(names: &[String]) -> bool {
    names.iter().any(|name| name == ARCHIVE || is_train(name))
}

/// Reads a folder of batches, or of the archive; the test batch may be missing.
///
/// # Errors
/// A cut off or damaged file, a row that is not whole, a label out of range, no rows.
pub fn read_folder(folder: &Path) -> Result<Classification> {
    let mut names: Vec<String> = crate::folder::names(folder)?;
    names.sort();
    // A batch that is there twice, plain and packed, is read once.
    names.dedup_by(|packed, plain| packed.strip_suffix(".gz") == Some(plain));
    let batches: Vec<PathBuf> = names.iter().filter(|n| is_train(n)).map(|n| folder.join(n)).collect();
    if batches.is_empty() {
        return read_archive(&folder.join(ARCHIVE));
    }
    let mut rows = Rows::default();
    for path in &batches {
        rows.read(Source::open(path)?, path)?;
    }
    let train = rows.images()?;
    let test = match names.iter().find(|n| is_test(n)).map(|n| folder.join(n)) {
        None => None,
        Some(path) => {
            let mut rows = Rows::default();
            rows.read(Source::open(&path)?, &path)?;
            Some(rows.images()?)
        }
    };
    Ok(classification(train, test))
}

/// Reads the images from the bytes of one batch; `path` only serves the errors.
///
/// # Errors
/// As [`read_folder`].
pub fn batch(bytes: &[u8], path: &Path) -> Result<LabelledImages> {
    let mut rows = Rows::default();
    rows.read(Source::of_bytes(bytes, path)?, path)?;
    rows.images()
}

fn read_archive(path: &Path) -> Result<Classification> {
    let mut source = Source::open(path)?;
    let (mut train, mut test) = (Rows::default(), Rows::default());
    let mut archive = tar::Archive::new(&mut source);
    let damaged = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::FileTooLarge => DataError::content(path, limits::exceeded()),
        _ => DataError::content(path, format!("the archive cannot be read ({e}); fetch it again")),
    };
    // The published archive holds the batches in no particular order.
    let mut batches = Vec::new();
    for entry in archive.entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        let name = entry.path().ok().and_then(|p| Some(p.file_name()?.to_str()?.to_owned())).unwrap_or_default();
        if is_train(&name) || is_test(&name) {
            // Its holes would be read as zeros that nobody has written.
            if entry.header().entry_type().is_gnu_sparse() {
                return Err(DataError::content(&path.join(name), "it is packed as a sparse file, which no batch is"));
            }
            let mut bytes = Vec::new();
            entry.by_ref().take((MOST_ROWS * ROW + 1) as u64).read_to_end(&mut bytes).map_err(damaged)?;
            batches.push((name, bytes));
        }
    }
    batches.sort();
    for (name, bytes) in &batches {
        let rows = if is_test(name) { &mut test } else { &mut train };
        rows.append(bytes, &path.join(name))?;
    }
    if train.labels.is_empty() || test.labels.is_empty() {
        return Err(DataError::content(
            path,
            "data_batch_1.bin to data_batch_5.bin and test_batch.bin are not all in it",
        ));
    }
    Ok(classification(train.images()?, Some(test.images()?)))
}

fn classification(train: LabelledImages, test: Option<LabelledImages>) -> Classification {
    Classification { classes: CLASSES.map(str::to_owned).to_vec(), train, test }
}

fn is_train(name: &str) -> bool {
    name.starts_with("data_batch_") && is_batch(name)
}

fn is_test(name: &str) -> bool {
    name.starts_with("test_batch") && is_batch(name)
}

fn is_batch(name: &str) -> bool {
    name.ends_with(".bin") || name.ends_with(".bin.gz")
}

/// Rows taken apart into pixels and labels.
#[derive(Default)]
struct Rows {
    pixels: Vec<u8>,
    labels: Vec<u8>,
}

impl Rows {
    fn read(&mut self, mut source: Source<'_>, path: &Path) -> Result<()> {
        let bytes = source.at_most((MOST_ROWS * ROW) as u64)?;
        self.append(&bytes, path)
    }

    fn append(&mut self, bytes: &[u8], path: &Path) -> Result<()> {
        let (rows, rest) = bytes.as_chunks::<ROW>();
        if !rest.is_empty() {
            let message = format!("it has {} of {ROW} bytes: the file is cut off, or no CIFAR-10 batch", rest.len());
            return Err(DataError::record(path, format!("row {}", rows.len()), message));
        }
        if rows.is_empty() || rows.len() > MOST_ROWS {
            let found = if rows.is_empty() { "it is empty" } else { "it is too long" };
            return Err(DataError::content(path, format!("{found}: a batch has 1 to {MOST_ROWS} rows of {ROW} bytes")));
        }
        for (at, row) in rows.iter().enumerate() {
            if usize::from(row[0]) >= CLASSES.len() {
                let message = format!("label {} is no class: expected 0 to 9", row[0]);
                return Err(DataError::record(path, format!("row {at}"), message));
            }
            self.labels.push(row[0]);
            self.pixels.extend_from_slice(&row[1..]);
        }
        Ok(())
    }

    fn images(self) -> Result<LabelledImages> {
        LabelledImages::new(SHAPE, self.pixels, self.labels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;
    use std::io::Write;

    fn at() -> &'static Path {
        Path::new("d/data_batch_1.bin")
    }

    /// A row whose pixels are all `label + 1`, so that rows are told apart.
    fn row(label: u8) -> Vec<u8> {
        [vec![label], vec![label + 1; ROW - 1]].concat()
    }

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        out.write_all(bytes).unwrap();
        out.finish().unwrap()
    }

    #[test]
    fn a_row_is_a_label_and_three_planes() {
        let mut bytes = [row(3), row(9)].concat();
        bytes[1 + 1024 + 5] = 200;
        let images = batch(&packed(&bytes), at()).unwrap();
        assert_eq!((images.labels(), images.shape()), (&[3, 9][..], SHAPE));
        assert_eq!(images.image(0)[1024 + 5], 200, "pixel 5 of the green plane");
        assert_eq!(images.image(1), [10; 3072]);
    }

    #[test]
    fn what_is_wrong_with_a_batch_is_said() {
        let message = |bytes: &[u8]| batch(bytes, at()).unwrap_err().to_string();
        assert_eq!(
            message(&[row(1), vec![0; 7]].concat()),
            "d/data_batch_1.bin, row 1: it has 7 of 3073 bytes: the file is cut off, or no CIFAR-10 batch"
        );
        assert_eq!(message(&[]), "d/data_batch_1.bin: it is empty: a batch has 1 to 50000 rows of 3073 bytes");
        assert_eq!(
            message(&[row(1), row(10)].concat()),
            "d/data_batch_1.bin, row 1: label 10 is no class: expected 0 to 9"
        );
        let whole = packed(&row(1));
        assert_eq!(message(&whole[..whole.len() - 1]), "d/data_batch_1.bin: it ends too early: it was cut off");
        let mut flipped = whole;
        let last = flipped.len() - 6;
        flipped[last] ^= 1;
        assert!(message(&flipped).contains("its gzip data is damaged"));
    }

    #[test]
    fn batches_and_the_archive_give_the_same_data() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
        write("data_batch_2.bin.gz", &packed(&row(2)));
        write("data_batch_1.bin", &[row(0), row(1)].concat());
        write("data_batch_1.bin.gz", &packed(&[row(0), row(1)].concat()));
        write("test_batch.bin", &row(7));
        let plain = read_folder(folder.path()).unwrap();
        assert_eq!((plain.train.labels(), plain.test.as_ref().unwrap().labels()), (&[0, 1, 2][..], &[7][..]));

        let archived = tempfile::tempdir().unwrap();
        let mut tar = tar::Builder::new(Vec::new());
        for (name, bytes) in
            [("test_batch.bin", row(7)), ("data_batch_2.bin", row(2)), ("data_batch_1.bin", [row(0), row(1)].concat())]
        {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            tar.append_data(&mut header, format!("cifar-10-batches-bin/{name}"), &bytes[..]).unwrap();
        }
        let bytes = packed(&tar.into_inner().unwrap());
        fs::write(archived.path().join(ARCHIVE), &bytes).unwrap();
        assert_eq!(read_folder(archived.path()).unwrap(), plain);

        fs::write(archived.path().join(ARCHIVE), &bytes[..bytes.len() / 2]).unwrap();
        let message = read_folder(archived.path()).unwrap_err().to_string();
        assert!(message.contains("the archive cannot be read"), "{message}");
    }

    proptest! {
        #[test]
        fn corrupted_batches_never_panic(at_byte: u16, flip in 1u8.., keep: u16, gzip: bool) {
            let mut bytes = [row(1), row(2)].concat();
            if gzip {
                bytes = packed(&bytes);
            }
            let length = bytes.len();
            bytes[usize::from(at_byte) % length] ^= flip;
            bytes.truncate(usize::from(keep) % (length + 1));
            let _ = batch(&bytes, at());
        }
    }
}
