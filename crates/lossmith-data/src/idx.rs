//! IDX files, plain or gzip: the format of MNIST and Fashion-MNIST.
//!
//! A file of images: big-endian u32 2051, count, rows, columns, then the grey values (u8) image by image, row by row.
//! A file of labels: big-endian u32 2049, count, then the labels (u8).
//! Source: Y. LeCun, C. Cortes, C. J. C. Burges, The MNIST database of handwritten digits.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use flate2::{Compression, GzBuilder};

use crate::classification::{Classification, LabelledImages, Shape};
use crate::folder::names;
use crate::parts::Part;
use crate::source::Source;
use crate::{DataError, Result, atomic};

const IMAGES: u32 = 2051;
const LABELS: u32 = 2049;

/// What follows the word for the part in the names of a pair of files, images first.
const ENDINGS: [&str; 2] = ["-images-idx3-ubyte", "-labels-idx1-ubyte"];
/// The pairs of files as MNIST names them.
const TRAIN: [&str; 2] = ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"];
const TEST: [&str; 2] = ["t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"];
/// MNIST's word for its part to judge by.
const TEST_WORD: &str = "t10k";

/// Whether a folder with these files holds IDX training data.
pub fn is_here(names: &[String]) -> bool {
    TRAIN.iter().all(|stem| spellings(stem).iter().any(|s| names.contains(s)))
}

/// Reads a folder with MNIST's file names, each plain or `.gz`; the test pair may be missing, or have another word for `t10k`.
///
/// # Errors
/// A missing, cut off or damaged file, sizes that are not true, labels out of range, an image without label.
pub fn read_folder(folder: &Path, classes: Vec<String>) -> Result<Classification> {
    let word = test_word(folder)?;
    let part = |pair: [&str; 2]| -> Result<Option<LabelledImages>> {
        match [find(folder, pair[0]), find(folder, pair[1])] {
            [None, None] => Ok(None),
            [Some(images), Some(labels)] => read_pair(&images, &labels, classes.len()).map(Some),
            [images, _] => {
                let missing = if images.is_none() { pair[0] } else { pair[1] };
                Err(DataError::content(folder, format!("{missing}.gz (or without .gz) is missing")))
            }
        }
    };
    let train = part(TRAIN)?.ok_or_else(|| DataError::content(folder, format!("{}.gz is missing", TRAIN[0])))?;
    let test = part(ENDINGS.map(|ending| format!("{word}{ending}")).each_ref().map(String::as_str))?;
    if let Some(test) = &test
        && test.shape() != train.shape()
    {
        let message = format!("its training images are {}, its test images {}", train.shape(), test.shape());
        return Err(DataError::content(folder, message));
    }
    Ok(Classification { classes, train, test })
}

/// Reads one file of images and the file of their labels.
///
/// # Errors
/// As [`read_folder`].
pub fn read_pair(images: &Path, labels: &Path, classes: usize) -> Result<LabelledImages> {
    let (shape, pixels) = parse_images(Source::open(images)?, images)?;
    let read = parse_labels(Source::open(labels)?, labels, classes)?;
    let count = pixels.len() / shape.len();
    if count != read.len() {
        let message = format!("it holds {} labels, but {} holds {count} images", read.len(), images.display());
        return Err(DataError::content(labels, message));
    }
    LabelledImages::new(shape, pixels, read)
}

/// Reads the shape and the pixels from the bytes of a file of images; `path` only serves the errors.
///
/// # Errors
/// A wrong magic number, sizes that are not true, damaged gzip data, an empty set.
pub fn images(bytes: &[u8], path: &Path) -> Result<(Shape, Vec<u8>)> {
    parse_images(Source::of_bytes(bytes, path)?, path)
}

/// Reads the labels from the bytes of a file of labels; `path` only serves the errors.
///
/// # Errors
/// As [`images`], and a label that is no class.
pub fn labels(bytes: &[u8], path: &Path, classes: usize) -> Result<Vec<u8>> {
    parse_labels(Source::of_bytes(bytes, path)?, path, classes)
}

/// Writes training and test images under MNIST's names as `.gz` into a folder.
///
/// # Errors
/// A file that is there already, or the system's refusal.
pub fn write_folder(folder: &Path, train: &LabelledImages, test: &LabelledImages) -> Result<()> {
    for (names, part) in [(TRAIN, train), (TEST, test)] {
        let Shape { channels, height, width } = part.shape();
        if channels != 1 {
            return Err(DataError::argument(format!("IDX files hold grey images, these have {channels} channels")));
        }
        let path = |name: &str| folder.join(format!("{name}.gz"));
        write(&path(names[0]), IMAGES, &[part.len(), height, width], part.pixels())?;
        write(&path(names[1]), LABELS, &[part.len()], part.labels())?;
    }
    Ok(())
}

fn write(path: &Path, magic: u32, sizes: &[usize], bytes: &[u8]) -> Result<()> {
    atomic::write_with(path, |out| {
        // No time and no name in the gzip header: the same data gives the same file.
        let mut out = GzBuilder::new().write(out, Compression::default());
        out.write_all(&magic.to_be_bytes())?;
        for size in sizes {
            let size = u32::try_from(*size).map_err(io::Error::other)?;
            out.write_all(&size.to_be_bytes())?;
        }
        out.write_all(bytes)?;
        out.finish().map(drop)
    })
}

/// The names under which one file is found in the wild.
fn spellings(stem: &str) -> [String; 4] {
    let dotted = stem.replace("-idx", ".idx");
    [stem.to_owned(), format!("{stem}.gz"), format!("{dotted}.gz"), dotted]
}

/// The word for the part to judge by in the names of a folder's files, MNIST's if there is none.
fn test_word(folder: &Path) -> Result<String> {
    let mut words = BTreeSet::new();
    for name in names(folder)? {
        let stem = name.strip_suffix(".gz").unwrap_or(&name).replace(".idx", "-idx");
        let Some(word) = ENDINGS.iter().find_map(|ending| stem.strip_suffix(ending)) else { continue };
        let part = if word == TEST_WORD { Some(Part::Test) } else { Part::of(word) };
        let Some(part) = part else {
            let message = format!("'{word}' names no part of a data set; {}, {TEST_WORD}", Part::known());
            return Err(DataError::content(&folder.join(name), message));
        };
        if part == Part::Test {
            words.insert(word.to_owned());
        }
    }
    let other = words.first().filter(|_| !words.contains(TEST_WORD));
    Ok(other.cloned().unwrap_or_else(|| TEST_WORD.to_owned()))
}

fn find(folder: &Path, stem: &str) -> Option<PathBuf> {
    spellings(stem).iter().map(|name| folder.join(name)).find(|path| path.is_file())
}

fn parse_images(mut source: Source<'_>, path: &Path) -> Result<(Shape, Vec<u8>)> {
    magic(&mut source, path, IMAGES)?;
    let mut size = || source.array().map(u32::from_be_bytes);
    let [count, height, width] = [size()?, size()?, size()?];
    if count == 0 || height == 0 || width == 0 {
        return Err(DataError::content(path, format!("it is empty: {count} images of {height} x {width}")));
    }
    let wanted = u64::from(count).saturating_mul(u64::from(height)).saturating_mul(u64::from(width));
    let pixels = source.exactly(wanted, &format!("{count} images of {height} x {width}"))?;
    Ok((Shape { channels: 1, height: height as usize, width: width as usize }, pixels))
}

fn parse_labels(mut source: Source<'_>, path: &Path, classes: usize) -> Result<Vec<u8>> {
    magic(&mut source, path, LABELS)?;
    let count = source.array().map(u32::from_be_bytes)?;
    if count == 0 {
        return Err(DataError::content(path, "it is empty: 0 labels"));
    }
    let labels = source.exactly(u64::from(count), &format!("{count} labels"))?;
    match labels.iter().position(|&label| usize::from(label) >= classes) {
        None => Ok(labels),
        Some(at) => {
            let message = format!("{} is no class: expected 0 to {}", labels[at], classes.saturating_sub(1));
            Err(DataError::record(path, format!("label {at}"), message))
        }
    }
}

fn magic(source: &mut Source<'_>, path: &Path, wanted: u32) -> Result<()> {
    let name = |magic| match magic {
        IMAGES => " (images)",
        LABELS => " (labels)",
        _ => "",
    };
    match u32::from_be_bytes(source.array()?) {
        found if found == wanted => Ok(()),
        found => {
            let message = format!(
                "it begins with {found}{}: expected {wanted}{}, the mark of an IDX file",
                name(found),
                name(wanted)
            );
            Err(DataError::content(path, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classification::numbered;
    use proptest::prelude::*;
    use std::fs;

    fn at() -> &'static Path {
        Path::new("d/f")
    }

    fn image_file(count: u32, height: u32, width: u32, pixels: usize) -> Vec<u8> {
        let header = [IMAGES, count, height, width].map(u32::to_be_bytes).concat();
        header.into_iter().chain((0..pixels).map(|i| i as u8)).collect()
    }

    fn label_file(count: u32, labels: &[u8]) -> Vec<u8> {
        [&[LABELS, count].map(u32::to_be_bytes).concat(), labels].concat()
    }

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut out = GzBuilder::new().write(Vec::new(), Compression::default());
        out.write_all(bytes).unwrap();
        out.finish().unwrap()
    }

    fn image_error(bytes: &[u8]) -> String {
        images(bytes, at()).unwrap_err().to_string()
    }

    #[test]
    fn plain_and_packed_files_read_the_same() {
        let bytes = image_file(2, 2, 3, 12);
        let expected = (Shape { channels: 1, height: 2, width: 3 }, (0..12).collect::<Vec<u8>>());
        assert_eq!(images(&bytes, at()).unwrap(), expected);
        assert_eq!(images(&packed(&bytes), at()).unwrap(), expected);
        assert_eq!(labels(&label_file(3, &[0, 9, 4]), at(), 10).unwrap(), [0, 9, 4]);
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said() {
        let expected = [
            (image_file(2, 2, 3, 11), "d/f: its header speaks of 2 images of 2 x 3, 12 bytes, but only 11 follow"),
            (image_file(2, 2, 3, 13), "d/f: its header speaks of 2 images of 2 x 3, 12 bytes, but more follow"),
            (image_file(0, 2, 3, 0), "d/f: it is empty: 0 images of 2 x 3"),
            (image_file(1, 0, 3, 0), "d/f: it is empty: 1 images of 0 x 3"),
            (label_file(1, &[1]), "d/f: it begins with 2049 (labels): expected 2051 (images), the mark of an IDX file"),
            (vec![], "d/f: it ends too early: it was cut off"),
            (vec![0; 3], "d/f: it ends too early: it was cut off"),
        ];
        for (bytes, message) in expected {
            assert_eq!(image_error(&bytes), message);
        }
        let wrong = labels(&label_file(3, &[0, 10, 4]), at(), 10).unwrap_err();
        assert_eq!(wrong.to_string(), "d/f, label 1: 10 is no class: expected 0 to 9");
    }

    /// 2^96 pixels in 16 bytes must be refused before memory is asked for, packed or not.
    #[test]
    fn sizes_that_lie_are_refused_at_once() {
        let lie = image_file(u32::MAX, u32::MAX, u32::MAX, 0);
        assert!(image_error(&lie).ends_with("which this file is too small to hold"));
        assert!(image_error(&packed(&lie)).ends_with("which this file is too small to hold"));
    }

    #[test]
    fn a_cut_gzip_file_and_every_flipped_byte_is_noticed() {
        let whole = packed(&image_file(3, 5, 7, 105));
        for length in 2..whole.len() {
            assert_eq!(image_error(&whole[..length]), "d/f: it ends too early: it was cut off", "{length} bytes");
        }
        // A few bits say nothing about the content (time, system, filling); any other must be noticed.
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            match images(&bytes, self::at()) {
                Ok((_, pixels)) => assert_eq!(pixels, (0..105).collect::<Vec<u8>>(), "byte {at}"),
                Err(e) => assert!(e.to_string().starts_with("d/f: it"), "byte {at}: {e}"),
            }
        }
    }

    #[test]
    fn a_folder_comes_back_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let shape = Shape { channels: 1, height: 2, width: 3 };
        let train = LabelledImages::new(shape, (0..24).collect(), vec![3, 1, 4, 1]).unwrap();
        let test = LabelledImages::new(shape, (30..36).collect(), vec![9]).unwrap();
        write_folder(folder.path(), &train, &test).unwrap();
        let read = read_folder(folder.path(), numbered(10)).unwrap();
        assert_eq!((&read.train, read.test.as_ref()), (&train, Some(&test)));
        assert!(matches!(write_folder(folder.path(), &train, &test), Err(DataError::Exists(_))));

        let rename = |from: &str, to: &str| {
            for ending in ENDINGS.map(|ending| format!("{ending}.gz")) {
                fs::rename(folder.path().join(format!("{from}{ending}")), folder.path().join(format!("{to}{ending}")))
                    .unwrap();
            }
        };
        rename("t10k", "valid");
        assert_eq!(read_folder(folder.path(), numbered(10)).unwrap(), read);
        rename("valid", "t20k");
        let unknown = read_folder(folder.path(), numbered(10)).unwrap_err().to_string();
        assert!(unknown.contains("t20k-") && unknown.contains("'t20k' names no part of a data set"), "{unknown}");
        rename("t20k", "t10k");

        fs::remove_file(folder.path().join("t10k-labels-idx1-ubyte.gz")).unwrap();
        let missing = read_folder(folder.path(), numbered(10)).unwrap_err().to_string();
        assert!(missing.ends_with("t10k-labels-idx1-ubyte.gz (or without .gz) is missing"), "{missing}");
    }

    #[test]
    fn counts_that_differ_name_both_files() {
        let folder = tempfile::tempdir().unwrap();
        let (images, labels) = (folder.path().join("i"), folder.path().join("l"));
        fs::write(&images, image_file(2, 2, 3, 12)).unwrap();
        fs::write(&labels, label_file(3, &[1, 2, 3])).unwrap();
        let message = read_pair(&images, &labels, 10).unwrap_err().to_string();
        let expected = format!("{}: it holds 3 labels, but {} holds 2 images", labels.display(), images.display());
        assert_eq!(message, expected);
    }

    proptest! {
        #[test]
        fn any_bytes_give_data_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200), known: bool) {
            let bytes = if known { [&IMAGES.to_be_bytes()[..], &bytes].concat() } else { bytes };
            let _ = images(&bytes, at());
            let _ = labels(&bytes, at(), 10);
        }

        #[test]
        fn corrupted_files_never_panic(at_byte in 0usize..300, flip in 1u8.., keep in 0usize..300, gzip: bool) {
            let mut bytes = image_file(3, 5, 7, 105);
            if gzip {
                bytes = packed(&bytes);
            }
            let length = bytes.len();
            bytes[at_byte % length] ^= flip;
            bytes.truncate(keep % (length + 1));
            if let Ok((shape, pixels)) = images(&bytes, at()) {
                prop_assert_eq!(pixels.len() % shape.len(), 0);
            }
        }
    }
}
