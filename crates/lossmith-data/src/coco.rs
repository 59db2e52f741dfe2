//! COCO instances: objects of images with boxes, outlines and masks, and the results of detectors.
//!
//! What pycocotools takes is taken: ids that are whole numbers (also as `7.0`) or texts, sizes as `200.0`, `iscrowd` as
//! `false`, Python's NaN, a missing or empty bbox beside an outline (it is the box around it), a missing outline beside a
//! bbox, parts of an outline with fewer than three points beside one with more, keys that COCO does not have. Beyond it: a
//! byte order mark, gzip, a pipe, `null` for what may be missing, a list of masks (their union), an id whose digits are a text in
//! one file and a number in the other. What is left is checked once, here, and an error names the record: ids that meet,
//! coordinates that are finite, run lengths that cover the image. Images may be absent from the disk; only their sizes count.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde::{Deserializer, Serialize};
use serde_json::Value;

pub use self::id::Id;
use self::record::{Fields, Record};
pub use self::rle::{Counts, Rle, extent};
use crate::records::Each;
use crate::{DataError, Result, atomic, limits, source};

mod id;
mod record;
mod rle;
#[cfg(test)]
mod tests;

/// Images, categories and objects.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Coco {
    /// In the file's order.
    pub images: Vec<Image>,
    /// In the file's order.
    pub annotations: Vec<Annotation>,
    /// In the file's order.
    pub categories: Vec<Category>,
}

/// One image.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Image {
    /// What the file calls it.
    pub id: Id,
    /// Its name in the folder of images; may be empty.
    pub file_name: String,
    /// Columns; 0 where only boxes are read and the file does not say.
    pub width: u32,
    /// Rows; 0 likewise.
    pub height: u32,
}

/// One class of objects.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Category {
    /// What the file knows it by.
    pub id: Id,
    /// What it is called; `category 3` where the file does not say.
    pub name: String,
}

/// One object.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Annotation {
    /// What the file calls it.
    pub id: Id,
    /// The image that it is in.
    pub image_id: Id,
    /// Its class.
    pub category_id: Id,
    /// Its outline or mask.
    pub segmentation: Segmentation,
    /// Left, top, width, height; around the outline where the file does not say.
    pub bbox: [f64; 4],
    /// Its pixels, by which it counts as small, medium or large; derived from the outline where the file has none.
    pub area: f64,
    /// 1 where this is a crowd of objects that nobody told apart.
    pub iscrowd: u8,
}

/// One object that a detector found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Detection {
    /// The image that it is in.
    pub image_id: Id,
    /// Its class.
    pub category_id: Id,
    /// How sure the detector is; higher is surer.
    pub score: f64,
    /// Left, top, width, height.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bbox: Option<[f64; 4]>,
    /// Its mask; COCO's evaluation wants compressed run lengths.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub segmentation: Option<Segmentation>,
}

/// An outline or a mask.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Segmentation {
    /// Outlines of the parts, each `x0, y0, x1, y1, ...`; none for an object that is known by its box alone.
    Polygons(Vec<Vec<f64>>),
    /// Run lengths.
    Mask(Rle),
}

impl Default for Segmentation {
    fn default() -> Self {
        Self::Polygons(Vec::new())
    }
}

/// What every object must have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Geometry {
    /// A box or an outline.
    #[default]
    Any,
    /// A box, or an outline to put one around: outlines beside boxes are passed over, and images need no size.
    Boxes,
    /// An outline or a mask.
    Masks,
}

/// What of a file is read, and what becomes of a record that is wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// What every object must have.
    pub geometry: Geometry,
    /// Records that are wrong are left out and counted instead of ending the reading.
    pub skip_bad: bool,
}

/// The records that were left out of a file.
#[derive(Debug, Default)]
pub struct Skipped {
    /// How many.
    pub count: usize,
    /// What was wrong with the first.
    pub first: Option<DataError>,
}

impl Skipped {
    /// The fault of one record: counted where records may be left out.
    ///
    /// # Errors
    /// The fault itself where they may not.
    fn note(&mut self, fault: DataError, reading: Reading) -> Result<()> {
        if !reading.skip_bad {
            return Err(fault);
        }
        self.count += 1;
        self.first.get_or_insert(fault);
        Ok(())
    }
}

/// What a detector found.
#[derive(Debug, Default)]
pub struct Results {
    /// In the file's order; all of categories that the ground truth has.
    pub detections: Vec<Detection>,
    /// How many detections are of categories that the ground truth does not have: they are left out, and change no figure.
    pub unknown_categories: HashMap<Id, usize>,
    /// Records that were left out because they are wrong.
    pub skipped: Skipped,
}

/// Reads and checks a file of ground truth, which may be gzip.
///
/// # Errors
/// No such file, no JSON, a record that lacks something or is wrong: the error names it.
pub fn read(path: &Path) -> Result<Coco> {
    Ok(read_as(path, Reading::default())?.0)
}

/// The same, with a choice of what is read; says what was left out.
///
/// # Errors
/// As [`read`]; with [`Reading::skip_bad`] records that are wrong are no errors.
pub fn read_as(path: &Path, reading: Reading) -> Result<(Coco, Skipped)> {
    let text = json_text(path)?;
    let mut state = State { path, reading, skipped: Skipped::default(), fault: None };
    let (mut found, mut there) = (Found::default(), [false; SECTIONS.len()]);
    let sections = Sections { state: &mut state, found: &mut found, there: &mut there };
    let mut source = serde_json::Deserializer::from_slice(&text);
    let read = source.deserialize_map(sections).and_then(|()| source.end());
    state.finish(read, "COCO ground truth, a JSON object")?;
    if let Some((_, name)) = there.iter().zip(SECTIONS).find(|(there, _)| !**there) {
        return Err(DataError::content(path, format!("it has no '{name}', which COCO ground truth has")));
    }
    let coco = Coco::check(found, &mut state)?;
    Ok((coco, state.skipped))
}

/// Reads the results of a detector, which may be gzip, and checks them against their ground truth.
///
/// # Errors
/// No such file, no JSON list; without [`Reading::skip_bad`] a record that lacks something, names an unknown image, or whose
/// score or mask is wrong.
pub fn read_detections(path: &Path, truth: &Coco, reading: Reading) -> Result<Results> {
    let text = json_text(path)?;
    let mut state = State { path, reading, skipped: Skipped::default(), fault: None };
    let mut list: Vec<(usize, Detection)> = Vec::new();
    let take = &mut |at, value| state.take("result", at, &value, &mut list);
    let mut source = serde_json::Deserializer::from_slice(&text);
    let read = Each { what: "result records", take }.deserialize(&mut source).and_then(|()| source.end());
    state.finish(read, "COCO results, a JSON list")?;
    let known = Known::of(truth);
    // What sort of results these are the first one tells, as in pycocotools.
    let mut boxes = None;
    let mut results = Results::default();
    for (at, mut detection) in list {
        let checked = known.image(&detection.image_id).and_then(|image| {
            if *boxes.get_or_insert(detection.bbox.is_some()) && detection.bbox.is_none() {
                return Err("it has no 'bbox', but the first result has one".to_owned());
            }
            detection.segmentation.as_ref().map_or(Ok(()), |s| s.check(image))?;
            Ok(image.id.clone())
        });
        match checked {
            Err(message) => state.skipped.note(DataError::record(path, format!("result {at}"), message), reading)?,
            Ok(image_id) => match known.category(&detection.category_id) {
                Some(category) => {
                    (detection.image_id, detection.category_id) = (image_id, category.id.clone());
                    results.detections.push(detection);
                }
                None => *results.unknown_categories.entry(detection.category_id).or_default() += 1,
            },
        }
    }
    results.skipped = state.skipped;
    Ok(results)
}

/// The whole of a file as JSON's own text: Python writes NaN and infinities, which JSON does not have, as bare words.
fn json_text(path: &Path) -> Result<Vec<u8>> {
    let text = source::read_text(path)?;
    Ok(match quoted(&text) {
        Cow::Owned(changed) => changed,
        Cow::Borrowed(_) => text,
    })
}

/// The text with quotes around bare NaN and Infinity.
fn quoted(text: &[u8]) -> Cow<'_, [u8]> {
    const WORDS: [&[u8]; 3] = [b"NaN", b"Infinity", b"-Infinity"];
    let (mut changed, mut kept): (Vec<u8>, usize) = (Vec::new(), 0);
    let (mut at, mut inside) = (0, false);
    while at < text.len() {
        match text[at] {
            b'"' => inside = !inside,
            b'\\' if inside => at += 1,
            b'N' | b'I' | b'-' if !inside => {
                if let Some(word) = WORDS.iter().find(|word| text[at..].starts_with(word)) {
                    changed.extend([&text[kept..at], b"\"", word, b"\""].concat());
                    at += word.len();
                    kept = at;
                    continue;
                }
            }
            _ => {}
        }
        at += 1;
    }
    if kept == 0 {
        return Cow::Borrowed(text);
    }
    changed.extend(&text[kept..]);
    Cow::Owned(changed)
}

/// The sections of ground truth.
const SECTIONS: [&str; 3] = ["images", "categories", "annotations"];

/// What all parts of a reading share. JSON's own errors have no place for ours: the first is put aside.
struct State<'a> {
    path: &'a Path,
    reading: Reading,
    skipped: Skipped,
    fault: Option<DataError>,
}

impl State<'_> {
    /// Keeps what a value of the file's list says; false where it is wrong and may not be left out.
    fn take<T: Record>(&mut self, kind: &str, at: usize, value: &Value, list: &mut Vec<(usize, T)>) -> bool {
        match Fields::of(value).and_then(|fields| T::read(&fields, self.reading)) {
            Ok(record) => list.push((at, record)),
            Err(message) => {
                let id = value.get("id").map_or_else(String::new, |id| format!(" (id {id})"));
                let fault = DataError::record(self.path, format!("{kind} {at}{id}"), message);
                self.fault = self.skipped.note(fault, self.reading).err();
            }
        }
        self.fault.is_none()
    }

    /// Our own error if there is one, otherwise that of JSON.
    fn finish(&mut self, read: serde_json::Result<()>, expected: &str) -> Result<()> {
        match (self.fault.take(), read) {
            (Some(fault), _) => Err(fault),
            (None, Err(e)) => Err(DataError::content(self.path, format!("expected {expected}: {e}"))),
            (None, Ok(())) => Ok(()),
        }
    }
}

/// The records of ground truth with their places in the file.
#[derive(Default)]
struct Found {
    images: Vec<(usize, Image)>,
    categories: Vec<(usize, Category)>,
    annotations: Vec<(usize, Annotation)>,
}

/// Reads the sections as they come; of what COCO does not have nothing is kept.
struct Sections<'a, 'b> {
    state: &'a mut State<'b>,
    found: &'a mut Found,
    there: &'a mut [bool; SECTIONS.len()],
}

impl<'de> Visitor<'de> for Sections<'_, '_> {
    type Value = ();

    fn expecting(&self, out: &mut std::fmt::Formatter) -> std::fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<(), A::Error> {
        let Self { state, found, there } = self;
        while let Some(name) = map.next_key::<String>()? {
            if let Some(at) = SECTIONS.iter().position(|section| *section == name) {
                there[at] = true;
            }
            match name.as_str() {
                "images" => {
                    let take = &mut |at, value| state.take("image", at, &value, &mut found.images);
                    map.next_value_seed(Each { what: "image records", take })?;
                }
                "categories" => {
                    let take = &mut |at, value| state.take("category", at, &value, &mut found.categories);
                    map.next_value_seed(Each { what: "category records", take })?;
                }
                "annotations" => {
                    let take = &mut |at, value| state.take("annotation", at, &value, &mut found.annotations);
                    map.next_value_seed(Each { what: "annotation records", take })?;
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// The ids of a ground truth.
struct Known<'a> {
    images: HashMap<&'a Id, &'a Image>,
    categories: HashMap<&'a Id, &'a Category>,
}

impl<'a> Known<'a> {
    fn of(truth: &'a Coco) -> Self {
        Self {
            images: truth.images.iter().map(|i| (&i.id, i)).collect(),
            categories: truth.categories.iter().map(|c| (&c.id, c)).collect(),
        }
    }

    fn image(&self, id: &Id) -> std::result::Result<&'a Image, String> {
        let count = self.images.len();
        by_id(&self.images, id).ok_or_else(|| format!("its image_id {id} is not among the {count} images"))
    }

    fn category(&self, id: &Id) -> Option<&'a Category> {
        by_id(&self.categories, id)
    }
}

/// What has an id, or the same digits as a text or a number.
fn by_id<'a, T>(records: &HashMap<&'a Id, &'a T>, id: &Id) -> Option<&'a T> {
    records.get(id).or_else(|| records.get(&id.respelt()?)).copied()
}

impl Coco {
    /// Checks what holds between records, and what a type cannot say.
    fn check(found: Found, state: &mut State) -> Result<Self> {
        let (path, reading) = (state.path, state.reading);
        let mut coco = Self {
            images: once(found.images, "image", |image| &image.id, state)?,
            categories: once(found.categories, "category", |category| &category.id, state)?,
            annotations: Vec::with_capacity(found.annotations.len()),
        };
        let known = Known::of(&coco);
        let mut annotations = Vec::with_capacity(found.annotations.len());
        for (at, mut annotation) in found.annotations {
            let category = known.category(&annotation.category_id).ok_or_else(|| {
                let count = known.categories.len();
                format!("its category_id {} is not among the {count} categories", annotation.category_id)
            });
            let checked = category.and_then(|category| {
                let image = known.image(&annotation.image_id)?;
                annotation.segmentation.check(image)?;
                Ok((image.id.clone(), category.id.clone()))
            });
            match checked {
                Ok(ids) => {
                    (annotation.image_id, annotation.category_id) = ids;
                    annotations.push(annotation);
                }
                Err(message) => {
                    let record = format!("annotation {at} (id {})", annotation.id);
                    state.skipped.note(DataError::record(path, record, message), reading)?;
                }
            }
        }
        coco.annotations = annotations;
        Ok(coco)
    }

    /// Writes a new file.
    ///
    /// # Errors
    /// [`DataError::Exists`] if there is one of this name; the system's refusal.
    pub fn write(&self, path: &Path) -> Result<()> {
        atomic::write_with(path, |out| Ok(serde_json::to_writer(out, self)?))
    }
}

/// Writes the results of a detector as a new file.
///
/// # Errors
/// [`DataError::Exists`] if there is one of this name; the system's refusal.
pub fn write_detections(path: &Path, detections: &[Detection]) -> Result<()> {
    atomic::write_with(path, |out| Ok(serde_json::to_writer(out, detections)?))
}

/// The records without those whose id was there before: the same record may be there again, another may not.
fn once<T: PartialEq + Sound>(
    records: Vec<(usize, T)>,
    kind: &str,
    id: fn(&T) -> &Id,
    state: &mut State,
) -> Result<Vec<T>> {
    let mut places: HashMap<Id, usize> = HashMap::with_capacity(records.len());
    let mut kept: Vec<T> = Vec::with_capacity(records.len());
    for (at, record) in records {
        let sound = match places.get(id(&record)) {
            None => record.sound(state.reading),
            Some(place) if kept[*place] == record => continue,
            Some(_) => Err(format!("another {kind} has the same id")),
        };
        match sound {
            Ok(()) => {
                places.insert(id(&record).clone(), kept.len());
                kept.push(record);
            }
            Err(message) => {
                let fault = DataError::record(state.path, format!("{kind} {at} (id {})", id(&record)), message);
                state.skipped.note(fault, state.reading)?;
            }
        }
    }
    Ok(kept)
}

/// What a record must be by itself.
trait Sound {
    fn sound(&self, reading: Reading) -> std::result::Result<(), String>;
}

impl Sound for Category {
    fn sound(&self, _: Reading) -> std::result::Result<(), String> {
        Ok(())
    }
}

impl Sound for Image {
    fn sound(&self, reading: Reading) -> std::result::Result<(), String> {
        let Self { width, height, .. } = self;
        let (pixels, most) = (u64::from(*width) * u64::from(*height), limits::current().pixels);
        if (1..=most).contains(&pixels) || (reading.geometry == Geometry::Boxes && pixels == 0) {
            return Ok(());
        }
        let expected =
            if pixels == 0 { "a 'width' and a 'height'".to_owned() } else { format!("1 to {most} pixels in all") };
        Err(format!("its size is {width} x {height}: expected {expected}"))
    }
}

impl Segmentation {
    fn check(&self, image: &Image) -> std::result::Result<(), String> {
        match self {
            Self::Polygons(parts) => check_polygons(parts, image),
            Self::Mask(rle) => {
                let [height, width] = rle.size;
                let (h, w) = (image.height, image.width);
                if rle.size != [h, w] && [h, w] != [0, 0] {
                    return Err(format!("its mask is {height} x {width}, but the image is {h} x {w} (rows x columns)"));
                }
                rle.runs().map(drop)
            }
        }
    }
}

/// How often an image's own size a polygon may reach beyond it: more is a mistake in the coordinates, not a cut object.
const REACH: f64 = 10.0;

/// Parts of fewer than three points, which have no area, and a last x without its y are let through, as pycocotools does, beside a
/// part that is whole.
fn check_polygons(parts: &[Vec<f64>], image: &Image) -> std::result::Result<(), String> {
    let far = REACH * f64::from(image.width.max(image.height));
    for (at, part) in parts.iter().enumerate() {
        if let Some(v) = part.iter().find(|v| !v.is_finite() || (far > 0.0 && v.abs() > far)) {
            return Err(format!("its polygon {at} has the coordinate {v}, far outside of the image"));
        }
    }
    match parts.iter().enumerate().find(|(_, part)| !part.is_empty()) {
        Some((at, part)) if parts.iter().all(|part| part.len() < 6) => {
            Err(format!("its polygon {at} has {} numbers: expected pairs of x and y, 3 pairs or more", part.len()))
        }
        _ => Ok(()),
    }
}
