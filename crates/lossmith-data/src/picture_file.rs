//! What a picture's file says beside its pixels: how it is to be turned, how many bits a sample has, whether it is whole.
//!
//! Pixels are those that a viewer shows: Exif's orientation is applied, as labelme, CVAT and Detectron2 do. An annotation may
//! have been made on the pixels as they are stored, by a program that knows no Exif: its sizes tell, see [`pixels_of`].
//!
//! 16 bits become 8 by one rule for all pictures: the lowest and the highest value, one pixel in 10,000 left out at either end,
//! become 0 and 255. Cameras use 10 to 14 of the 16 bits, and a single hot pixel all of them, so that the upper half of the bits
//! would leave next to nothing.

use std::io::{self, BufRead, BufReader, Read, Seek};
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageReader};
use rayon::prelude::*;

use crate::source::open_regular;
use crate::{DataError, Result};

/// Which pixels of a file that asks to be turned are meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pixels {
    /// As a viewer shows them.
    #[default]
    Shown,
    /// As they are stored.
    Stored,
}

/// Which pixels the annotations of a data set were made on, given each picture and the width and height that its annotation says.
///
/// Where the two sizes of a picture differ, the one that is said decides. Turns that keep the size tell nothing: these pictures
/// follow the others, if all others were annotated as stored, and are else taken as shown.
pub fn pixels_of<P: AsRef<Path> + Sync>(pictures: &[(P, [usize; 2])]) -> Vec<Pixels> {
    let evidence: Vec<Evidence> = pictures.par_iter().map(|(path, said)| evidence(path.as_ref(), *said)).collect();
    let stored = evidence.contains(&Evidence::Stored) && !evidence.contains(&Evidence::Shown);
    let pixels = |evidence| match evidence {
        Evidence::Stored => Pixels::Stored,
        Evidence::Both if stored => Pixels::Stored,
        _ => Pixels::Shown,
    };
    evidence.into_iter().map(pixels).collect()
}

/// Which of its sizes is the one that the annotation says, for a picture that asks to be turned.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Evidence {
    Nothing,
    Shown,
    Stored,
    Both,
}

fn evidence(path: &Path, said: [usize; 2]) -> Evidence {
    // What cannot be read says so when its pixels are wanted.
    let Some((stored, orientation)) = size_and_orientation(path) else { return Evidence::Nothing };
    let [width, height] = stored;
    match (said == stored, said == if swaps(orientation) { [height, width] } else { stored }) {
        _ if orientation == Orientation::NoTransforms => Evidence::Nothing,
        (true, true) => Evidence::Both,
        (true, false) => Evidence::Stored,
        (false, true) => Evidence::Shown,
        (false, false) => Evidence::Nothing,
    }
}

fn swaps(orientation: Orientation) -> bool {
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    matches!(orientation, Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH)
}

/// Width and height as stored, and how the picture is to be turned; the pixels are not read.
fn size_and_orientation(path: &Path) -> Option<([usize; 2], Orientation)> {
    let mut file = BufReader::new(open_regular(path).ok()?.0);
    if file.fill_buf().ok()?.starts_with(&[0xff, SOI]) {
        // The decoder would read the file to its end.
        return jpeg_header(&mut file);
    }
    let mut decoder = ImageReader::new(file).with_guessed_format().ok()?.into_decoder().ok()?;
    let (width, height) = decoder.dimensions();
    Some(([width as usize, height as usize], decoder.orientation().ok()?))
}

/// Checks that a JPEG goes on to its end: decoders fill what is missing with grey.
///
/// # Errors
/// The file ends before.
pub(crate) fn check_whole_jpeg(path: &Path) -> Result<()> {
    let mut file = BufReader::new(open_regular(path)?.0);
    loop {
        match segment(&mut file) {
            Ok(Segment { marker: EOI, .. }) => return Ok(()),
            Ok(segment) => segment.skip(&mut file).map_err(DataError::io(path, "read"))?,
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
                let message = "no readable picture: the JPEG ends too early: it was cut off; copy or fetch it again";
                return Err(DataError::content(path, message));
            }
            Err(e) => return Err(DataError::io(path, "read")(e)),
        }
    }
}

const SOI: u8 = 0xd8;
const EOI: u8 = 0xd9;
/// The application segment of Exif.
const APP1: u8 = 0xe1;

/// A piece of a JPEG file: its marker, and how many bytes follow.
struct Segment {
    marker: u8,
    length: u16,
}

impl Segment {
    fn skip(&self, file: &mut (impl BufRead + Seek)) -> io::Result<()> {
        file.seek_relative(i64::from(self.length))
    }

    fn read(&self, file: &mut impl Read) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::from(self.length)];
        file.read_exact(&mut bytes).map(|()| bytes)
    }

    /// Whether it begins a frame, and so has the size.
    fn is_frame(&self) -> bool {
        matches!(self.marker, 0xc0..=0xcf) && !matches!(self.marker, 0xc4 | 0xc8 | 0xcc)
    }
}

/// The next segment; compressed data on the way, in which 0xff is followed by 0 or by the number of a restart, is passed over.
fn segment(file: &mut impl BufRead) -> io::Result<Segment> {
    loop {
        file.skip_until(0xff)?;
        let mut marker = [0xff];
        while marker == [0xff] {
            file.read_exact(&mut marker)?;
        }
        match marker[0] {
            0 | 1 | SOI | 0xd0..=0xd7 => {}
            EOI => return Ok(Segment { marker: EOI, length: 0 }),
            marker => {
                let mut length = [0; 2];
                file.read_exact(&mut length)?;
                return Ok(Segment { marker, length: u16::from_be_bytes(length).saturating_sub(2) });
            }
        }
    }
}

fn jpeg_header(file: &mut (impl BufRead + Seek)) -> Option<([usize; 2], Orientation)> {
    let mut orientation = Orientation::NoTransforms;
    loop {
        let segment = segment(file).ok()?;
        if segment.marker == EOI {
            return None;
        }
        if segment.marker == APP1 {
            let found = segment.read(file).ok()?;
            let found = found.strip_prefix(b"Exif\0\0").and_then(Orientation::from_exif_chunk);
            orientation = found.unwrap_or(orientation);
        } else if segment.is_frame() {
            let frame = segment.read(file).ok()?;
            let number = |at: usize| Some(usize::from(u16::from_be_bytes([*frame.get(at)?, *frame.get(at + 1)?])));
            return Some(([number(3)?, number(1)?], orientation));
        } else {
            segment.skip(file).ok()?;
        }
    }
}

/// Grey or red, green and blue of 8 bits, and which of the two: what shows through is left out.
pub(crate) fn eight_bits(image: DynamicImage) -> (usize, Vec<u8>) {
    use DynamicImage::{ImageLuma16, ImageLumaA16, ImageRgb16, ImageRgba16};
    let deep = matches!(image, ImageLuma16(_) | ImageLumaA16(_) | ImageRgb16(_) | ImageRgba16(_));
    match (image.color().has_color(), deep) {
        (true, true) => (3, stretched(&image.into_rgb16().into_raw())),
        (false, true) => (1, stretched(&image.into_luma16().into_raw())),
        (true, false) => (3, image.into_rgb8().into_raw()),
        (false, false) => (1, image.into_luma8().into_raw()),
    }
}

/// One sample in so many is left out at either end.
const SPARED: usize = 10_000;

fn stretched(values: &[u16]) -> Vec<u8> {
    let mut counts = vec![0usize; 1 << 16];
    values.iter().for_each(|v| counts[usize::from(*v)] += 1);
    let ends = |spare: usize| {
        let beyond = |sum: &mut usize, count: &usize| {
            *sum += count;
            Some(*sum > spare)
        };
        let low = counts.iter().scan(0, beyond).position(|b| b).unwrap_or(0);
        let high = counts.iter().rev().scan(0, beyond).position(|b| b).map_or(0, |at| counts.len() - 1 - at);
        (low, high)
    };
    // Few bright pixels on one dark value: they are the picture.
    let (low, high) = [ends(values.len() / SPARED), ends(0)].into_iter().find(|(l, h)| l < h).unwrap_or((0, 0xffff));
    let range = high - low;
    values.iter().map(|v| (((usize::from(*v).clamp(low, high) - low) * 255 + range / 2) / range) as u8).collect()
}

#[cfg(test)]
mod tests {
    use image::ImageEncoder;
    use image::codecs::jpeg::JpegEncoder;
    use serde::Deserialize;

    use super::*;
    use crate::label_images::{read_picture, read_picture_as};

    /// Made by `tests/fixtures/exif.py`: the same picture under all orientations, and what Pillow shows of it.
    #[derive(Deserialize)]
    struct Case {
        orientation: u8,
        jpeg: Vec<u8>,
        shown: [usize; 2],
        samples: Vec<u8>,
    }

    fn cases() -> Vec<Case> {
        serde_json::from_str(include_str!("../tests/fixtures/exif.json")).unwrap()
    }

    #[test]
    fn pictures_are_turned_as_pillow_turns_them() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(cases().iter().map(|c| c.orientation).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7, 8]);
        for case in cases() {
            let path = folder.path().join("a.jpg");
            std::fs::write(&path, &case.jpeg).unwrap();
            let picture = read_picture(&path).unwrap();
            assert_eq!([picture.width, picture.height], case.shown, "{}", case.orientation);
            assert_eq!(picture.samples.len(), case.samples.len());
            // Decoders of JPEG differ by little.
            let far = picture.samples.iter().zip(&case.samples).map(|(a, b)| a.abs_diff(*b)).max();
            assert!(far <= Some(4), "{} {far:?}", case.orientation);
            let stored = read_picture_as(&path, Pixels::Stored).unwrap();
            assert_eq!([stored.width, stored.height], [24, 16], "{}", case.orientation);
        }
    }

    #[test]
    fn the_size_that_an_annotation_says_tells_which_pixels_are_meant() {
        let folder = tempfile::tempdir().unwrap();
        let paths: Vec<_> = cases()
            .iter()
            .map(|case| {
                let path = folder.path().join(format!("{}.jpg", case.orientation));
                std::fs::write(&path, &case.jpeg).unwrap();
                path
            })
            .collect();
        let of = |said: &dyn Fn(usize) -> [usize; 2]| {
            let said: Vec<_> = paths.iter().enumerate().map(|(at, path)| (path, said(at))).collect();
            pixels_of(&said)
        };
        let (s, t) = (Pixels::Shown, Pixels::Stored);
        let shown: Vec<[usize; 2]> = cases().iter().map(|c| c.shown).collect();
        assert_eq!(of(&|at| shown[at]), [s; 8]);
        // Where nothing is to be turned there is one reading; the others follow those whose size tells.
        assert_eq!(of(&|_| [24, 16]), [s, t, t, t, t, t, t, t]);
        // Some of either kind: what keeps its size is taken as shown.
        assert_eq!(of(&|at| if at == 4 { [24, 16] } else { shown[at] }), [s, s, s, s, t, s, s, s]);
        assert_eq!(of(&|_| [7, 7]), [s; 8]);
        assert_eq!(pixels_of(&[(folder.path().join("none.jpg"), [1, 1])]), [s]);
    }

    #[test]
    fn what_was_cut_off_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let noise: Vec<u8> = (0..64 * 48u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let gray = image::GrayImage::from_raw(64, 48, noise).unwrap();
        for (name, format) in [("a.jpg", image::ImageFormat::Jpeg), ("a.png", image::ImageFormat::Png)] {
            let path = folder.path().join(name);
            gray.save_with_format(&path, format).unwrap();
            read_picture(&path).unwrap();
            let whole = std::fs::read(&path).unwrap();
            for share in [1, 3, 5, 6, 7] {
                std::fs::write(&path, &whole[..whole.len() * share / 8]).unwrap();
                let error = read_picture(&path).unwrap_err().to_string();
                assert!(error.contains(name) && error.contains("no readable picture"), "{error}");
            }
            std::fs::write(&path, [whole.as_slice(), b"what a camera adds"].concat()).unwrap();
            read_picture(&path).unwrap();
        }
        // The thumbnail in Exif has an end of its own.
        let mut jpeg = Vec::new();
        let mut encoder = JpegEncoder::new(&mut jpeg);
        encoder.set_exif_metadata(vec![0xff, SOI, 0xff, EOI]).unwrap();
        encoder.write_image(gray.as_raw(), 64, 48, image::ExtendedColorType::L8).unwrap();
        let path = folder.path().join("thumbnail.jpg");
        std::fs::write(&path, &jpeg).unwrap();
        read_picture(&path).unwrap();
        std::fs::write(&path, &jpeg[..jpeg.len() - 40]).unwrap();
        assert!(read_picture(&path).unwrap_err().to_string().contains("it was cut off"));
    }

    #[test]
    fn sixteen_bits_fill_eight() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        let read = |values: Vec<u16>, width: u32| {
            let height = values.len() as u32 / width;
            image::ImageBuffer::<image::Luma<u16>, _>::from_raw(width, height, values).unwrap().save(&path).unwrap();
            read_picture(&path).unwrap().samples
        };
        // A camera of 12 bits that sees little.
        let dim = |i: u32| 90 + (i % 341) as u16;
        let found = read((0..341 * 20).map(dim).collect(), 341);
        assert_eq!((found[0], found[170], found[340]), (0, 128, 255));
        assert_eq!(found.iter().collect::<std::collections::BTreeSet<_>>().len(), 256);
        // A hot pixel, and a dead one, change nothing.
        let mut hot: Vec<u16> = (0..341 * 60).map(dim).collect();
        (hot[1000], hot[1001]) = (65_535, 0);
        let found = read(hot, 341);
        assert_eq!((found[0], found[170], found[340], found[1000], found[1001]), (0, 128, 255, 255, 0));
        // All that is not background is a single pixel; and nothing at all.
        let mut one = vec![7; 40_000];
        one[5] = 9;
        assert_eq!(read(one, 200).iter().map(|v| u32::from(*v)).sum::<u32>(), 255);
        assert_eq!(read(vec![0x8000; 4], 2), [128; 4]);
        // One range for all colours.
        let colors: Vec<u16> = [[0, 100, 200], [50, 150, 255]].concat();
        image::ImageBuffer::<image::Rgb<u16>, _>::from_raw(2, 1, colors).unwrap().save(&path).unwrap();
        assert_eq!(read_picture(&path).unwrap().samples, [0, 100, 200, 50, 150, 255]);
    }
}
