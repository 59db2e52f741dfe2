//! Images with instance labels: a picture, and a PNG whose pixels are 0 for background or the id of an instance.
//!
//! Labels are read as the file has them: 1 to 16 bits, grey or palette (whose indices, not colours, are the ids).
//! [`find`] knows these ways to keep them in a folder, in subfolders too, whose names may be those of [parts](crate::parts):
//!
//! | label | picture beside it |
//! |---|---|
//! | `NAME_label.png` (or `_labels`, `_mask`, `_masks`) | `NAME_image`, `NAME_rgb`, `NAME_img` or `NAME` `.png`, `.jpg`, `.jpeg` |
//! | `label/NAME.png` (or `labels/`, `mask/`, `masks/`) | `image/NAME` (or `images/`), the same endings |
//! | the column `label` of `index.csv` | its column `image`; `split` names the part; it has no other columns |
//!
//! An `index.csv` that speaks of neither images nor labels is left alone.

mod index;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};

use image::ImageDecoder;
use index::read_index;
pub use index::unread_index;

use crate::companions::Pictures;
pub use crate::parts::Part;
use crate::picture_file::{self, Pixels};
use crate::source::open_regular;
use crate::{DataError, Result, atomic, limits};

/// A picture of 8-bit samples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Pixels per column.
    pub height: usize,
    /// Pixels per row.
    pub width: usize,
    /// 1 = grey, 3 = red, green, blue.
    pub channels: usize,
    /// Row by row, the channels of a pixel side by side.
    pub samples: Vec<u8>,
}

/// The instance of every pixel, 0 = background.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels {
    /// Pixels per column.
    pub height: usize,
    /// Pixels per row.
    pub width: usize,
    /// Row by row.
    pub ids: Vec<u32>,
}

/// A picture and its labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Its name: the path of the files without what marks picture and label.
    pub name: String,
    /// The picture.
    pub picture: Picture,
    /// Its instances.
    pub labels: Labels,
}

/// Where one sample's files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// Its name.
    pub name: String,
    /// The picture, if there is one.
    pub picture: Option<PathBuf>,
    /// The labels.
    pub label: PathBuf,
    /// The part that the folder or the index says.
    pub part: Option<Part>,
}

/// A folder's samples, in the order of their names.
#[derive(Clone, Debug, Default)]
pub struct LabelledSet {
    /// To train on.
    pub train: Vec<Sample>,
    /// To judge by.
    pub test: Vec<Sample>,
}

pub(crate) const LABEL_ENDINGS: [&str; 4] = ["_label", "_labels", "_mask", "_masks"];
pub(crate) const PICTURE_ENDINGS: [&str; 4] = ["_image", "_rgb", "_img", ""];
const LABEL_FOLDERS: [&str; 4] = ["label", "labels", "mask", "masks"];
const PICTURE_FOLDERS: [&str; 2] = ["image", "images"];
const PICTURE_TYPES: [&str; 3] = ["png", "jpg", "jpeg"];
const LOOKED_FOR: &str = "looked for NAME_label.png beside NAME_image.png or NAME_rgb.png, for label/NAME.png beside image/NAME.png, and for index.csv with the columns image and label";
/// Subfolders are searched so deep.
const DEEPEST: usize = 4;

/// Reads a label PNG.
///
/// # Errors
/// No such file, no PNG, a truncated one, one of more pixels than the [`limits`] allow, or one with several numbers per pixel.
pub fn read_labels(path: &Path) -> Result<Labels> {
    let (file, length) = open_regular(path)?;
    let wrong = |e: png::DecodingError| DataError::content(path, format!("no readable PNG: {e}"));
    let most = usize::try_from(limits::current().pixels).unwrap_or(usize::MAX);
    let limits = png::Limits { bytes: most.saturating_mul(2) };
    let mut reader = png::Decoder::new_with_limits(BufReader::new(file), limits).read_info().map_err(wrong)?;
    let info = reader.info();
    let (width, height) = (info.width as usize, info.height as usize);
    limits::check_pixels(path, length, [width, height])?;
    if !matches!(info.color_type, png::ColorType::Grayscale | png::ColorType::Indexed) {
        let kind = format!("{:?}", info.color_type);
        let message = format!("its pixels are {kind}: a label image has one number per pixel, grey or palette");
        return Err(DataError::content(path, message));
    }
    let bits = info.bit_depth as usize;
    let row_bytes = (width * bits).div_ceil(8);
    let mut bytes = vec![0; reader.output_buffer_size().unwrap_or(row_bytes * height)];
    reader.next_frame(&mut bytes).map_err(wrong)?;
    let id = |row: &[u8], x: usize| match bits {
        16 => u32::from(u16::from_be_bytes([row[2 * x], row[2 * x + 1]])),
        8 => u32::from(row[x]),
        // Several pixels share a byte, the first in the highest bits.
        _ => u32::from(row[x * bits / 8] >> (8 - bits - x * bits % 8)) & ((1 << bits) - 1),
    };
    let ids = bytes.chunks_exact(row_bytes).take(height).flat_map(|row| (0..width).map(move |x| id(row, x))).collect();
    Ok(Labels { height, width, ids })
}

/// Reads a PNG or JPEG as grey, if it is, or as colours, turned as its file says; transparency is left out, 16 bits become 8
/// by the rule of [`picture_file`].
///
/// # Errors
/// No such file, no readable picture, a truncated one, or one of more pixels than the [`limits`] allow.
pub fn read_picture(path: &Path) -> Result<Picture> {
    read_picture_as(path, Pixels::Shown)
}

/// The same of either pixels of a file that asks to be turned.
///
/// # Errors
/// As [`read_picture`].
pub fn read_picture_as(path: &Path, pixels: Pixels) -> Result<Picture> {
    let image = decode(path, pixels)?;
    let (width, height) = (image.width() as usize, image.height() as usize);
    let (channels, samples) = picture_file::eight_bits(image);
    Ok(Picture { height, width, channels, samples })
}

/// A picture with all bits that the file has.
pub(crate) fn decode(path: &Path, pixels: Pixels) -> Result<image::DynamicImage> {
    let wrong = |e: image::ImageError| DataError::content(path, format!("no readable picture: {e}"));
    let (file, length) = open_regular(path)?;
    limits::check(path, "it", length.into())?;
    let mut reader =
        image::ImageReader::new(BufReader::new(file)).with_guessed_format().map_err(DataError::io(path, "read"))?;
    let mut limits = image::Limits::default();
    limits.max_alloc = Some(limits::current().pixels.saturating_mul(8));
    reader.limits(limits.clone());
    if reader.format() == Some(image::ImageFormat::Jpeg) {
        picture_file::check_whole_jpeg(path)?;
    }
    let mut decoder = reader.into_decoder().map_err(wrong)?;
    let (width, height) = decoder.dimensions();
    limits::check_pixels(path, length, [width as usize, height as usize])?;
    limits.reserve(decoder.total_bytes()).map_err(wrong)?;
    let orientation = decoder.orientation().map_err(wrong)?;
    let mut image = image::DynamicImage::from_decoder(decoder).map_err(wrong)?;
    if pixels == Pixels::Shown {
        image.apply_orientation(orientation);
    }
    Ok(image)
}

/// Writes labels as a 16-bit grey PNG; a new file.
///
/// # Errors
/// An id above 65535, a file that is there already, the system's refusal.
pub fn write_labels(path: &Path, labels: &Labels) -> Result<()> {
    let mut bytes = Vec::with_capacity(labels.ids.len() * 2);
    for id in &labels.ids {
        let id = u16::try_from(*id)
            .map_err(|_| DataError::content(path, format!("instance {id}: a label PNG holds ids up to 65535")))?;
        bytes.extend(id.to_be_bytes());
    }
    write_png(path, labels.width, labels.height, png::ColorType::Grayscale, png::BitDepth::Sixteen, &bytes)
}

/// Writes a picture as PNG; a new file.
///
/// # Errors
/// A file that is there already, the system's refusal.
pub fn write_picture(path: &Path, picture: &Picture) -> Result<()> {
    let Picture { width, height, samples, .. } = picture;
    write_png(path, *width, *height, color_type(picture), png::BitDepth::Eight, samples)
}

/// A picture as the bytes of a PNG file.
///
/// # Errors
/// More pixels in a row or column than a PNG can have.
pub fn png(picture: &Picture) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let side = |n: usize| u32::try_from(n).map_err(|_| DataError::argument(format!("{n} pixels are too many")));
    let (width, height) = (side(picture.width)?, side(picture.height)?);
    encode(&mut bytes, (width, height), color_type(picture), png::BitDepth::Eight, &picture.samples)
        .map_err(|e| DataError::argument(format!("a picture cannot be written: {e}")))?;
    Ok(bytes)
}

fn color_type(picture: &Picture) -> png::ColorType {
    if picture.channels == 3 { png::ColorType::Rgb } else { png::ColorType::Grayscale }
}

fn write_png(
    path: &Path,
    width: usize,
    height: usize,
    color: png::ColorType,
    depth: png::BitDepth,
    bytes: &[u8],
) -> Result<()> {
    let side = |n: usize| u32::try_from(n).map_err(|_| DataError::content(path, format!("{n} pixels are too many")));
    let size = (side(width)?, side(height)?);
    atomic::write_with(path, |out| Ok(encode(out, size, color, depth, bytes)?))
}

fn encode(
    out: impl Write,
    (width, height): (u32, u32),
    color: png::ColorType,
    depth: png::BitDepth,
    bytes: &[u8],
) -> std::result::Result<(), png::EncodingError> {
    let mut encoder = png::Encoder::new(out, width, height);
    encoder.set_color(color);
    encoder.set_depth(depth);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(bytes)?;
    writer.finish()
}

/// The picture in colours with the contour of every instance, neighbours in colours far apart.
pub fn overlay(picture: &Picture, labels: &Labels) -> Picture {
    let (height, width) = (picture.height, picture.width);
    let mut samples = Vec::with_capacity(3 * height * width);
    for (i, pixel) in picture.samples.chunks_exact(picture.channels).enumerate() {
        let id = labels.ids[i];
        let (y, x) = (i / width, i % width);
        let differs = |y: usize, x: usize| y < height && x < width && labels.ids[y * width + x] != id;
        let edge =
            differs(y, x + 1) || differs(y + 1, x) || differs(y.wrapping_sub(1), x) || differs(y, x.wrapping_sub(1));
        samples.extend(if id > 0 && edge {
            contour_color(id)
        } else {
            std::array::from_fn(|c| pixel[c.min(picture.channels - 1)])
        });
    }
    Picture { height, width, channels: 3, samples }
}

/// Colours whose hues are spread by the golden ratio.
fn contour_color(id: u32) -> [u8; 3] {
    let hue = f64::from(id) * 0.618_033_988_749_895 % 1.0 * 6.0;
    [5.0, 3.0, 1.0].map(|shift: f64| {
        let k = (shift + hue) % 6.0;
        (255.0 * (1.0 - k.min(4.0 - k).clamp(0.0, 1.0))) as u8
    })
}

impl Labels {
    /// The number of different ids, without background.
    pub fn instances(&self) -> usize {
        self.distinct().len()
    }

    /// The different ids, without background, in order.
    pub(crate) fn distinct(&self) -> Vec<u32> {
        let mut ids: Vec<u32> = self.ids.clone();
        ids.dedup();
        ids.sort_unstable();
        ids.dedup();
        ids.retain(|id| *id > 0);
        ids
    }
}

/// The samples of a folder by name.
///
/// # Errors
/// No such folder, nothing in it that is known, two files of one name, a wrong index.
pub fn find(folder: &Path) -> Result<Vec<Files>> {
    if let Some(files) = read_index(folder)? {
        return Ok(files);
    }
    find_among(folder, &every_file(folder)?)
}

/// The samples among all files of a folder that has no index.
fn find_among(folder: &Path, all: &[PathBuf]) -> Result<Vec<Files>> {
    let found = labels_among(folder, all)?;
    if found.is_empty() {
        let message = format!("none of its {} files is a label image; {LOOKED_FOR}", all.len());
        return Err(DataError::content(folder, message));
    }
    Ok(found)
}

/// The same, where there may be none.
fn labels_among(folder: &Path, all: &[PathBuf]) -> Result<Vec<Files>> {
    let mut found: BTreeMap<String, Files> = BTreeMap::new();
    for path in all {
        let Some(files) = as_label(folder, path) else { continue };
        if let Some(other) = found.get(&files.name) {
            let message = format!("both it and {} are labels of '{}'", other.label.display(), files.name);
            return Err(DataError::content(path, message));
        }
        found.insert(files.name.clone(), files);
    }
    Ok(found.into_values().collect())
}

/// The label images of a folder of which nothing else is expected: as [`find`], or else every PNG in it.
///
/// # Errors
/// No such folder, a wrong index, two label images of one name, or no PNG in it.
pub fn find_labels(folder: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let all = every_file(folder)?;
    let by_name = |files: Vec<Files>| files.into_iter().map(|f| (f.name, f.label)).collect();
    if let Some(files) = read_index(folder)? {
        return Ok(by_name(files));
    }
    let files = labels_among(folder, &all)?;
    if !files.is_empty() {
        return Ok(by_name(files));
    }
    let is_png = |p: &PathBuf| p.extension().is_some_and(|e| e.eq_ignore_ascii_case("png"));
    let named: BTreeMap<String, PathBuf> =
        all.iter().filter(|p| is_png(p)).map(|p| (name_of(folder, &p.with_extension("")), p.clone())).collect();
    if named.is_empty() {
        let message = format!("none of its {} files is a PNG; {LOOKED_FOR}", all.len());
        return Err(DataError::content(folder, message));
    }
    Ok(named)
}

/// The pictures of a folder, labelled or not: every PNG and JPEG that is no label image and does not belong to another picture;
/// those of the index if there is one.
///
/// # Errors
/// No such folder, a wrong index, or no picture in it.
pub fn find_pictures(folder: &Path) -> Result<Pictures> {
    let mut found = match read_index(folder)? {
        Some(samples) => {
            Pictures { pictures: samples.into_iter().filter_map(|f| f.picture).collect(), companions: Vec::new() }
        }
        None => {
            let all = every_file(folder)?;
            let samples = labels_among(folder, &all)?;
            let mut found = unlabelled(&all, &samples);
            found.pictures.extend(samples.into_iter().filter_map(|f| f.picture));
            found
        }
    };
    if found.pictures.is_empty() {
        let message = "none of its files is a picture; looked for .png, .jpg, .jpeg that is no label image";
        return Err(DataError::content(folder, message));
    }
    found.pictures.sort();
    Ok(found)
}

/// The pictures in which nobody has marked instances: no label image, nor the picture of one, nor what belongs to one. None where an
/// index chooses, or where there are no label images at all.
///
/// # Errors
/// No such folder, or one that may not be read.
pub fn find_unlabelled(folder: &Path) -> Result<Vec<PathBuf>> {
    let all = every_file(folder)?;
    if read_index(folder)?.is_some() {
        return Ok(Vec::new());
    }
    Ok(find_among(folder, &all).map_or_else(|_| Vec::new(), |samples| unlabelled(&all, &samples).pictures))
}

/// The pictures that belong to no sample.
fn unlabelled(all: &[PathBuf], samples: &[Files]) -> Pictures {
    let known: BTreeSet<&Path> =
        samples.iter().flat_map(|f| [Some(&f.label), f.picture.as_ref()]).flatten().map(PathBuf::as_path).collect();
    Pictures::among(all.iter().filter(|path| is_picture(path) && !known.contains(path.as_path())).cloned(), all)
}

/// Reads one sample, its picture as it is shown.
///
/// # Errors
/// Its picture is missing, a file is not readable, or the two differ in size.
pub fn read_sample(files: &Files) -> Result<Sample> {
    with_picture(files, read_labels(&files.label)?, Pixels::Shown)
}

/// The labels with the picture that they are of.
fn with_picture(files: &Files, labels: Labels, pixels: Pixels) -> Result<Sample> {
    let Some(path) = &files.picture else {
        return Err(DataError::content(&files.label, format!("no picture beside it; {LOOKED_FOR}")));
    };
    let picture = read_picture_as(path, pixels)?;
    if (picture.height, picture.width) != (labels.height, labels.width) {
        let size = |h: usize, w: usize| format!("{w} x {h} pixels");
        let (labels, picture) = (size(labels.height, labels.width), size(picture.height, picture.width));
        return Err(DataError::content(&files.label, format!("{labels}, but {} has {picture}", path.display())));
    }
    Ok(Sample { name: files.name.clone(), picture, labels })
}

/// Reads a folder. Where it names no part to judge by, every sixth sample is for that. Which pixels of pictures that ask to be turned
/// the labels are of is told by their sizes: see [`picture_file`].
///
/// # Errors
/// As [`find`] and [`read_sample`]; some samples are in a part and others are not, or none is to train on.
pub fn read_folder(folder: &Path) -> Result<LabelledSet> {
    let files = find(folder)?;
    check_parts(folder, &files)?;
    let parts = files.iter().any(|f| f.part == Some(Part::Test));
    let labels = files.iter().map(|f| read_labels(&f.label)).collect::<Result<Vec<_>>>()?;
    let sizes: Vec<(&Path, [usize; 2])> = files
        .iter()
        .zip(&labels)
        .map(|(f, l)| (f.picture.as_deref().unwrap_or(Path::new("")), [l.width, l.height]))
        .collect();
    let pixels = picture_file::pixels_of(&sizes);
    let mut set = LabelledSet::default();
    for (at, ((files, labels), pixels)) in files.iter().zip(labels).zip(pixels).enumerate() {
        let test = if parts { files.part == Some(Part::Test) } else { at % 6 == 5 };
        let sample = with_picture(files, labels, pixels)?;
        if test { set.test.push(sample) } else { set.train.push(sample) }
    }
    Ok(set)
}

/// Checks that all samples are in a part or none is: what is in no part beside others would be trained on, whatever it is for.
fn check_parts(folder: &Path, files: &[Files]) -> Result<()> {
    let Some(named) = files.iter().find(|f| f.part.is_some()) else { return Ok(()) };
    if let Some(unknown) = files.iter().find(|f| f.part.is_none()) {
        let message = format!(
            "its folder names no part of the data, though that of {} does; {}",
            named.label.display(),
            Part::known()
        );
        return Err(DataError::content(&unknown.label, message));
    }
    if files.iter().all(|f| f.part == Some(Part::Test)) {
        let message = format!("all {} label images are in a part to judge by, none is to train on", files.len());
        return Err(DataError::content(folder, message));
    }
    Ok(())
}

/// Every file below a folder, sorted, hidden ones left out.
pub(crate) fn every_file(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    walk(folder, 0, &mut all)?;
    Ok(all)
}

fn walk(folder: &Path, depth: usize, all: &mut Vec<PathBuf>) -> Result<()> {
    let refused = || DataError::io(folder, "read the folder");
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)
        .map_err(refused())?
        .map(|e| e.map(|e| e.path()))
        .collect::<std::io::Result<_>>()
        .map_err(refused())?;
    entries.sort();
    for path in entries {
        let hidden = path.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.'));
        if hidden {
            continue;
        }
        // Names pair files and are written into tables: one that is no text would fall out or meet another.
        if path.file_name().is_some_and(|n| n.to_str().is_none()) && (path.is_dir() || is_picture(&path)) {
            return Err(DataError::content(&path, "its name is not UTF-8; rename it"));
        }
        if path.is_dir() && depth < DEEPEST {
            walk(&path, depth + 1, all)?;
        } else if path.is_file() {
            all.push(path);
        }
    }
    Ok(())
}

pub(crate) fn is_picture(path: &Path) -> bool {
    path.extension().is_some_and(|e| PICTURE_TYPES.iter().any(|t| e.eq_ignore_ascii_case(t)))
}

/// The sample whose label this file is, if it is one.
fn as_label(root: &Path, path: &Path) -> Option<Files> {
    if !path.extension()?.eq_ignore_ascii_case("png") {
        return None;
    }
    let (folder, stem) = (path.parent()?, path.file_stem()?.to_str()?);
    if let Some(base) = LABEL_ENDINGS.iter().find_map(|e| stem.strip_suffix(e)) {
        let picture = PICTURE_ENDINGS.iter().find_map(|e| with_type(&folder.join(format!("{base}{e}"))));
        return Some(files(root, &folder.join(base), picture, path));
    }
    let parent = folder.file_name()?.to_str()?;
    if !LABEL_FOLDERS.contains(&parent) {
        return None;
    }
    let above = folder.parent()?;
    let picture = PICTURE_FOLDERS.iter().find_map(|f| with_type(&above.join(f).join(stem)));
    Some(files(root, &above.join(stem), picture, path))
}

fn with_type(stem: &Path) -> Option<PathBuf> {
    PICTURE_TYPES.iter().map(|t| PathBuf::from(format!("{}.{t}", stem.display()))).find(|p| p.is_file())
}

fn files(root: &Path, base: &Path, picture: Option<PathBuf>, label: &Path) -> Files {
    let name = name_of(root, base);
    let part = name.split('/').rev().skip(1).find_map(Part::of);
    Files { name, picture, label: label.to_owned(), part }
}

/// Relative to the root; the root can itself be the folder of label images, which names leave out.
fn name_of(root: &Path, base: &Path) -> String {
    let own = Path::new(base.file_name().unwrap_or_default());
    base.strip_prefix(root).unwrap_or(own).to_string_lossy().replace('\\', "/")
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    fn labels(height: usize, width: usize, ids: &[u32]) -> Labels {
        Labels { height, width, ids: ids.to_vec() }
    }

    fn grey(height: usize, width: usize) -> Picture {
        Picture { height, width, channels: 1, samples: vec![100; height * width] }
    }

    fn write_raw(path: &Path, color: png::ColorType, depth: png::BitDepth, width: usize, bytes: &[u8]) {
        let mut encoder = png::Encoder::new(File::create(path).unwrap(), width as u32, 1);
        encoder.set_color(color);
        encoder.set_depth(depth);
        if color == png::ColorType::Indexed {
            encoder.set_palette(vec![7; 3 * 16]);
        }
        encoder.write_header().unwrap().write_image_data(bytes).unwrap();
    }

    #[test]
    fn pictures_without_labels_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let none: [PathBuf; 0] = [];
        write_picture(&at("a_image.png"), &grey(1, 1)).unwrap();
        assert_eq!(find_unlabelled(folder.path()).unwrap(), none, "no label image at all");
        write_labels(&at("a_label.png"), &labels(1, 1, &[1])).unwrap();
        assert_eq!(find_unlabelled(folder.path()).unwrap(), none);
        write_picture(&at("b_image.png"), &grey(1, 1)).unwrap();
        assert_eq!(find_unlabelled(folder.path()).unwrap(), [at("b_image.png")]);
        fs::write(at("index.csv"), "image,label\na_image.png,a_label.png\n").unwrap();
        assert_eq!(find_unlabelled(folder.path()).unwrap(), none, "the index chooses");
        assert!(find_unlabelled(&at("nowhere")).is_err());
    }

    #[test]
    fn labels_are_read_as_the_file_has_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        let sixteen = labels(2, 3, &[0, 1, 256, 65_535, 2, 3]);
        write_labels(&path, &sixteen).unwrap();
        assert_eq!(read_labels(&path).unwrap(), sixteen);
        assert_eq!(sixteen.instances(), 5);
        for (color, depth, bytes, ids) in [
            (png::ColorType::Grayscale, png::BitDepth::Eight, [0, 255, 7].as_slice(), [0, 255, 7]),
            (png::ColorType::Indexed, png::BitDepth::Eight, &[0, 15, 3], [0, 15, 3]),
            (png::ColorType::Indexed, png::BitDepth::Four, &[0x0f, 0x30], [0, 15, 3]),
            (png::ColorType::Grayscale, png::BitDepth::One, &[0b0110_0000], [0, 1, 1]),
        ] {
            write_raw(&path, color, depth, 3, bytes);
            assert_eq!(read_labels(&path).unwrap().ids, ids, "{color:?} {depth:?}");
        }
    }

    #[test]
    fn wrong_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        let error = || read_labels(&path).unwrap_err().to_string();
        assert!(error().ends_with("there is no such file or folder"));
        write_raw(&path, png::ColorType::Rgb, png::BitDepth::Eight, 1, &[1, 2, 3]);
        assert!(error().contains("its pixels are Rgb: a label image has one number per pixel"), "{}", error());
        fs::write(&path, b"no picture at all").unwrap();
        assert!(error().contains("no readable PNG"));
        assert!(read_picture(&path).unwrap_err().to_string().contains("no readable picture"));
        // Cut off in the middle.
        fs::remove_file(&path).unwrap();
        let noise: Vec<u32> = (0..10_000u32).map(|i| i.wrapping_mul(2_654_435_761) >> 17).collect();
        write_labels(&path, &labels(100, 100, &noise)).unwrap();
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        assert!(error().contains("no readable PNG"), "{}", error());
        // A header that promises 60,000 x 60,000 pixels.
        let mut bomb = whole;
        bomb[16..24].copy_from_slice(&[0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60]);
        fs::write(&path, &bomb).unwrap();
        assert!(read_labels(&path).is_err());
        let many = labels(1, 1, &[65_536]);
        let error = write_labels(&folder.path().join("b.png"), &many).unwrap_err().to_string();
        assert!(error.ends_with("instance 65536: a label PNG holds ids up to 65535"), "{error}");
    }

    #[test]
    fn every_layout_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let one = labels(2, 2, &[0, 1, 1, 2]);
        let put = |picture: &str, label: &str| {
            for path in [picture, label] {
                fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            }
            write_picture(&root.join(picture), &grey(2, 2)).unwrap();
            write_labels(&root.join(label), &one).unwrap();
        };
        put("A1/plant007_rgb.png", "A1/plant007_label.png");
        put("test/005_image.png", "test/005_label.png");
        put("train/image/x.png", "train/label/x.png");
        put("y.png", "y_masks.png");
        let found = find(root).unwrap();
        let names: Vec<(&str, Option<Part>)> = found.iter().map(|f| (f.name.as_str(), f.part)).collect();
        let expected =
            [("A1/plant007", None), ("test/005", Some(Part::Test)), ("train/x", Some(Part::Train)), ("y", None)];
        assert_eq!(names, expected);
        let own: Vec<String> = find_labels(&root.join("train/label")).unwrap().into_keys().collect();
        assert_eq!(own, ["x"], "a folder of label images by itself");
        let error = read_folder(root).unwrap_err().to_string();
        assert!(
            error.contains("A1/plant007_label.png: its folder names no part of the data, though that of"),
            "{error}"
        );
        for name in ["A1/plant007_rgb.png", "A1/plant007_label.png", "y.png", "y_masks.png"] {
            fs::create_dir_all(root.join("train/A1")).unwrap();
            fs::rename(root.join(name), root.join("train").join(name)).unwrap();
        }
        let set = read_folder(root).unwrap();
        assert_eq!((set.train.len(), set.test.len()), (3, 1));
        assert_eq!(set.test[0].labels, one);
        for name in ["y.png", "y_masks.png"] {
            fs::rename(root.join("train").join(name), root.join(name)).unwrap();
        }

        fs::write(root.join("index.csv"), "image,label,split\ny.png,y_masks.png,train\n").unwrap();
        assert_eq!(find(root).unwrap().len(), 1);
        fs::write(root.join("index.csv"), "image,label\nnone.png,y_masks.png\n").unwrap();
        let error = find(root).unwrap_err().to_string();
        assert!(error.ends_with("index.csv, line 2: image 'none.png': there is no such file"), "{error}");
    }

    /// Whatever folders and splits are called: judged by, or told, never trained on in silence.
    #[test]
    fn the_words_for_parts_are_known() {
        let one = labels(2, 2, &[0, 1, 1, 2]);
        let put = |folder: &Path, part: &str| {
            fs::create_dir_all(folder.join(part)).unwrap();
            write_picture(&folder.join(part).join("x_image.png"), &grey(2, 2)).unwrap();
            write_labels(&folder.join(part).join("x_label.png"), &one).unwrap();
        };
        for (train, test) in
            [("train", "valid"), ("Training", "val2"), ("trn", "dev"), ("stage1_train", "tst"), ("train", "x/eval/y")]
        {
            let folder = tempfile::tempdir().unwrap();
            put(folder.path(), train);
            put(folder.path(), test);
            let set = read_folder(folder.path()).unwrap();
            assert_eq!((set.train.len(), set.test[0].name.as_str()), (1, format!("{test}/x").as_str()));
        }
        for (first, second, said) in [
            ("train", "tset", "tset/x_label.png: its folder names no part"),
            ("dev", "other", "other/x_label.png: its folder names no part"),
            ("valid", "test", "all 2 label images are in a part to judge by"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            put(folder.path(), first);
            put(folder.path(), second);
            let error = read_folder(folder.path()).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn an_overlay_draws_the_contours_and_leaves_the_rest() {
        // An instance of 3 x 3 in the middle of 5 x 5: its own middle pixel is no contour.
        let ids: Vec<u32> =
            (0..25).map(|i| u32::from((1..4).contains(&(i / 5)) && (1..4).contains(&(i % 5)))).collect();
        let overlay = overlay(&grey(5, 5), &labels(5, 5, &ids));
        let drawn: Vec<usize> = (0..25).filter(|i| overlay.samples[3 * i..3 * i + 3] != [100; 3]).collect();
        assert_eq!(drawn, [6, 7, 8, 11, 13, 16, 17, 18]);
        assert_ne!(contour_color(1), contour_color(2));
    }

    #[test]
    fn folders_without_data_and_pictures_of_another_size_are_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("notes.txt"), "").unwrap();
        let error = find(folder.path()).unwrap_err().to_string();
        assert!(error.contains("none of its 1 files is a label image; looked for NAME_label.png"), "{error}");
        assert!(find_labels(folder.path()).unwrap_err().to_string().contains("is a PNG"));
        write_labels(&folder.path().join("a_label.png"), &labels(1, 2, &[1, 1])).unwrap();
        let other = folder.path().join("a_labels.png");
        write_labels(&other, &labels(1, 2, &[1, 1])).unwrap();
        // What is wrong is said, and not every PNG taken for a label image.
        assert!(find_labels(folder.path()).unwrap_err().to_string().contains("are labels of 'a'"));
        fs::remove_file(other).unwrap();
        let error = read_folder(folder.path()).unwrap_err().to_string();
        assert!(error.contains("no picture beside it"), "{error}");
        write_picture(&folder.path().join("a_image.png"), &grey(2, 2)).unwrap();
        let error = read_folder(folder.path()).unwrap_err().to_string();
        assert!(error.contains("2 x 1 pixels, but") && error.ends_with("a_image.png has 2 x 2 pixels"), "{error}");
    }

    #[test]
    fn the_nuclei_are_read() {
        let Ok(data) = std::env::var("LOSSMITH_TEST_DATA") else {
            eprintln!("skipped: LOSSMITH_TEST_DATA is not set");
            return;
        };
        let set = read_folder(&Path::new(&data).join("nuclei-dsb2018")).unwrap();
        let count = |part: &[Sample]| part.iter().map(|s| s.labels.instances()).sum::<usize>();
        assert_eq!((set.train.len(), set.test.len()), (279, 55));
        assert_eq!((count(&set.train), count(&set.test)), (7_779, 1_764));
    }
}
