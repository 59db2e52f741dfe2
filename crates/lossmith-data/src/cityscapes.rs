//! Cityscapes folders: true instances as `..._gtFine_instanceIds.png`, predictions as one text file per image.
//!
//! A line of a prediction file is `MASK CLASS CONFIDENCE`: the path of a mask relative to the file, the id of a class, a
//! number. Which file belongs to which image is told by the name: both begin with `CITY_SEQUENCE_FRAME`.

use std::path::{Path, PathBuf};

use crate::label_images::{decode, every_file};
use crate::picture_file::Pixels;
use crate::{DataError, Result, whole_text};

/// How the name of a picture of true instances ends.
const TRUTH: &str = "_gtFine_instanceIds.png";

/// The files of one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// City, sequence and frame.
    pub name: String,
    /// The true instances.
    pub truth: PathBuf,
    /// The list of predictions.
    pub prediction: PathBuf,
}

/// One line of a list of predictions.
#[derive(Clone, Debug, PartialEq)]
pub struct Predicted {
    /// The mask: non-zero where the instance is.
    pub mask: PathBuf,
    /// The id of its class.
    pub class: u32,
    /// How sure it is.
    pub confidence: f64,
}

/// Pairs the true instances below one folder with the lists of predictions below another.
///
/// # Errors
/// No true instances, an image without a list or with several.
pub fn find(truth: &Path, predictions: &Path) -> Result<Vec<Image>> {
    let truths: Vec<PathBuf> = every_file(truth)?.into_iter().filter(|p| name(p).ends_with(TRUTH)).collect();
    if truths.is_empty() {
        return Err(DataError::content(
            truth,
            format!("no file of it or its folders is called CITY_SEQUENCE_FRAME{TRUTH}"),
        ));
    }
    let lists: Vec<PathBuf> = every_file(predictions)?.into_iter().filter(|p| name(p).ends_with(".txt")).collect();
    truths.into_iter().map(|truth| pair(truth, &lists, predictions)).collect()
}

fn pair(truth: PathBuf, lists: &[PathBuf], folder: &Path) -> Result<Image> {
    let key = name(&truth).trim_end_matches(TRUTH).to_owned();
    let mut own = lists.iter().filter(|l| name(l).starts_with(&key));
    match (own.next(), own.next()) {
        (Some(list), None) => Ok(Image { name: key, truth, prediction: list.clone() }),
        (None, _) => Err(DataError::content(folder, format!("no prediction file for {key}: expected {key}*.txt"))),
        (Some(a), Some(b)) => {
            let message = format!("both it and {} are predictions for {key}", b.display());
            Err(DataError::content(a, message))
        }
    }
}

fn name(path: &Path) -> &str {
    path.file_name().and_then(|n| n.to_str()).unwrap_or_default()
}

/// A mask as one byte for each pixel, 1 where the picture is not black. Its numbers are taken as they are: 16 bits stay 16 bits.
///
/// # Errors
/// No readable picture, one of another size than the truth (width, height), or one that is black but for its transparency.
pub fn read_mask(path: &Path, size: (usize, usize)) -> Result<Vec<u8>> {
    let image = decode(path, Pixels::Stored)?;
    let found = (image.width() as usize, image.height() as usize);
    if found != size {
        let ((width, height), (w, h)) = (found, size);
        let message = format!("it is {width} x {height} pixels, but the image of its true instances {w} x {h}");
        return Err(DataError::content(path, message));
    }
    let alpha = image.color().has_alpha();
    let pixels = image.into_rgba16().into_raw();
    let (pixels, _) = pixels.as_chunks::<4>();
    let mask: Vec<u8> = pixels.iter().map(|[r, g, b, _]| u8::from(*r | *g | *b != 0)).collect();
    if alpha && !mask.contains(&1) && pixels.iter().any(|p| p[3] != pixels[0][3]) {
        return Err(DataError::content(
            path,
            "it is all black, and only its transparency is not: expected a mask in grey",
        ));
    }
    Ok(mask)
}

/// Reads a list of predictions below the folder `root`, outside of which no mask may lie.
///
/// # Errors
/// A line that is not as it should be, named by its number.
pub fn read_predictions(list: &Path, root: &Path) -> Result<Vec<Predicted>> {
    let text = whole_text(list)?;
    let root = root.canonicalize().map_err(DataError::io(root, "read the folder"))?;
    let mut found: Vec<Predicted> = Vec::new();
    for (at, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
        let wrong = |message: String| DataError::record(list, format!("line {}", at + 1), message);
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [mask, class, confidence] = fields[..] else {
            return Err(wrong(format!("{} fields; expected MASK CLASS CONFIDENCE", fields.len())));
        };
        let mask = list.parent().unwrap_or(Path::new(".")).join(mask);
        let place =
            mask.canonicalize().map_err(|_| wrong(format!("mask '{}': there is no such file", mask.display())))?;
        if !place.starts_with(&root) {
            return Err(wrong(format!("mask '{}' lies outside of {}", mask.display(), root.display())));
        }
        // As in the benchmark's program, classes may be written as floats, and the last line of a mask counts.
        let class: f64 = class.parse().map_err(|_| wrong(format!("class '{class}' is no number")))?;
        let confidence: f64 =
            confidence.parse().map_err(|_| wrong(format!("confidence '{confidence}' is no number")))?;
        let predicted = Predicted { mask: place, class: class as u32, confidence };
        match found.iter_mut().find(|p| p.mask == predicted.mask) {
            Some(earlier) => *earlier = predicted,
            None => found.push(predicted),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use image::{DynamicImage, GrayImage, ImageBuffer, Luma, Rgba, RgbaImage};

    use super::*;

    #[test]
    fn masks_are_numbers_and_no_photographs() {
        let folder = tempfile::tempdir().unwrap();
        let read = |image: DynamicImage, size| {
            let path = folder.path().join("m.png");
            image.save(&path).unwrap();
            read_mask(&path, size).map_err(|e| e.to_string())
        };
        let inside = |x: u32, y: u32| x == 2 && y == 0;
        for value in [1u16, 100, 255, 256, 65535] {
            let mask: ImageBuffer<Luma<u16>, Vec<u16>> =
                ImageBuffer::from_fn(3, 2, |x, y| Luma([if inside(x, y) { value } else { 0 }]));
            assert_eq!(read(mask.into(), (3, 2)).unwrap(), [0, 0, 1, 0, 0, 0], "{value}");
        }
        let eight = GrayImage::from_fn(3, 2, |x, y| Luma([u8::from(inside(x, y))]));
        assert_eq!(read(eight.clone().into(), (3, 2)).unwrap(), [0, 0, 1, 0, 0, 0]);
        // As many pixels, but turned or cut otherwise.
        for size in [(2, 3), (6, 1)] {
            let error = read(eight.clone().into(), size).unwrap_err();
            assert!(error.contains("m.png: it is 3 x 2 pixels, but the image of its true instances"), "{error}");
        }
        let clear = RgbaImage::from_fn(3, 2, |x, y| Rgba([0, 0, 0, if inside(x, y) { 255 } else { 0 }]));
        assert!(read(clear.into(), (3, 2)).unwrap_err().contains("only its transparency is not"));
        assert_eq!(read(RgbaImage::new(3, 2).into(), (3, 2)).unwrap(), [0; 6]);
    }

    #[test]
    fn images_and_their_lists_are_paired_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let (truth, predictions) = (folder.path().join("gtFine/val/ulm"), folder.path().join("results"));
        fs::create_dir_all(&truth).unwrap();
        fs::create_dir_all(&predictions).unwrap();
        let error = || find(folder.path(), &predictions).unwrap_err().to_string();
        assert!(error().contains("is called CITY_SEQUENCE_FRAME_gtFine_instanceIds.png"));
        fs::write(truth.join("ulm_000001_000019_gtFine_instanceIds.png"), "").unwrap();
        assert!(error().contains("no prediction file for ulm_000001_000019"));
        fs::write(predictions.join("ulm_000001_000019_pred.txt"), "m.png 26 0.5\nm.png 24.0 0.7\n").unwrap();
        let images = find(folder.path(), &predictions).unwrap();
        assert_eq!((images.len(), images[0].name.as_str()), (1, "ulm_000001_000019"));
        let read = || read_predictions(&images[0].prediction, &predictions);
        assert!(read().unwrap_err().to_string().contains("line 1: mask"));
        fs::write(predictions.join("m.png"), "").unwrap();
        let found = read().unwrap();
        assert_eq!((found.len(), found[0].class, found[0].confidence), (1, 24, 0.7));
        for (text, part) in
            [("m.png 26", "2 fields"), ("m.png car 1", "class 'car'"), ("../gtFine/val 26 1", "outside of")]
        {
            fs::write(&images[0].prediction, text).unwrap();
            assert!(read().unwrap_err().to_string().contains(part), "{text}");
        }
        fs::write(&images[0].prediction, "\u{feff}m.png 26 0.5\r\n").unwrap();
        assert_eq!(read().unwrap()[0].class, 26);
        fs::write(predictions.join("ulm_000001_000019_b.txt"), "").unwrap();
        assert!(error().contains("are predictions for ulm_000001_000019"));
    }
}
