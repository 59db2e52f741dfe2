//! COCO instances: objects of images with boxes, outlines and masks, and the results of detectors.
//!
//! What is read is checked once, here: ids that meet, coordinates that are finite, run lengths that cover the image. Keys
//! that COCO does not have are passed over. Images may be absent from the disk; only their sizes count.

use std::collections::BTreeMap;
use std::path::Path;

use serde::de::{DeserializeOwned, DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::source::Source;
use crate::{DataError, Result, atomic, limits};

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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Image {
    /// Its number in the file.
    pub id: u64,
    /// Its name in the folder of images; may be empty.
    #[serde(default)]
    pub file_name: String,
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

/// One class of objects.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Category {
    /// Its number in the file.
    pub id: u64,
    /// What it is called.
    pub name: String,
}

/// One object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Annotation {
    /// Its number in the file.
    pub id: u64,
    /// The image that it is in.
    pub image_id: u64,
    /// Its class.
    pub category_id: u64,
    /// Its outline or mask.
    #[serde(default)]
    pub segmentation: Segmentation,
    /// Left, top, width, height.
    pub bbox: [f64; 4],
    /// Its pixels, by which it counts as small, medium or large.
    #[serde(default)]
    pub area: f64,
    /// 1 where this is a crowd of objects that nobody told apart.
    #[serde(default)]
    pub iscrowd: u8,
}

/// One object that a detector found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Detection {
    /// The image that it is in.
    pub image_id: u64,
    /// Its class.
    pub category_id: u64,
    /// How sure the detector is; higher is surer.
    pub score: f64,
    /// Left, top, width, height.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bbox: Option<[f64; 4]>,
    /// Its mask; COCO's evaluation wants compressed run lengths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segmentation: Option<Segmentation>,
}

/// An outline or a mask.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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

/// Run lengths down the columns, outside first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rle {
    /// Rows, columns.
    pub size: [u32; 2],
    /// The lengths.
    pub counts: Counts,
}

/// The two ways in which COCO writes run lengths.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Counts {
    /// Compressed to a text.
    Text(String),
    /// As numbers.
    Numbers(Vec<u32>),
}

impl Rle {
    /// Run lengths as the compressed text that results are written in.
    pub fn compressed(width: u32, height: u32, counts: &[u32]) -> Self {
        Self { size: [height, width], counts: Counts::Text(compress(counts)) }
    }

    /// Compressed run lengths of a row-major mask.
    ///
    /// # Panics
    /// If the mask is not of `width * height` pixels.
    pub fn from_mask(mask: &[bool], width: usize, height: usize) -> Self {
        assert_eq!(mask.len(), width * height, "one number for each pixel");
        let (mut counts, mut inside, mut run) = (Vec::new(), false, 0);
        for x in 0..width {
            for y in 0..height {
                if mask[y * width + x] != inside {
                    counts.push(run);
                    (inside, run) = (!inside, 0);
                }
                run += 1;
            }
        }
        counts.push(run);
        Self::compressed(width as u32, height as u32, &counts)
    }

    /// The run lengths, which cover the image of [`Self::size`] exactly.
    ///
    /// # Errors
    /// A text that is no compressed run lengths; lengths that do not add up to the image. The message says what.
    pub fn runs(&self) -> std::result::Result<Vec<u32>, String> {
        let counts = match &self.counts {
            Counts::Text(text) => expand(text)?,
            Counts::Numbers(numbers) => numbers.clone(),
        };
        let sum: u64 = counts.iter().map(|c| u64::from(*c)).sum();
        let [height, width] = self.size;
        if sum == u64::from(width) * u64::from(height) {
            return Ok(counts);
        }
        Err(format!(
            "the counts add up to {sum} pixels, expected {height} x {width} = {}",
            u64::from(width) * u64::from(height)
        ))
    }
}

/// Run lengths as text: from the fourth on the difference to the one before the last, in groups of five bits, least first;
/// bit 0x20 says that more follow, and each group is written as the character 48 later.
fn compress(counts: &[u32]) -> String {
    let mut text = String::new();
    for (i, count) in counts.iter().enumerate() {
        let before = if i > 2 { counts[i - 2] } else { 0 };
        let mut rest = i64::from(*count) - i64::from(before);
        loop {
            let group = (rest & 0x1f) as u8;
            rest >>= 5;
            let last = rest == if group & 0x10 == 0 { 0 } else { -1 };
            text.push(char::from(48 + group + if last { 0 } else { 0x20 }));
            if last {
                break;
            }
        }
    }
    text
}

/// Undoes [`compress`].
fn expand(text: &str) -> std::result::Result<Vec<u32>, String> {
    let mut counts: Vec<u32> = Vec::new();
    let (mut value, mut shift) = (0i64, 0);
    for (at, byte) in text.bytes().enumerate() {
        let group = byte.wrapping_sub(48);
        if group > 0x3f || shift > 30 {
            return Err(format!("the counts are no compressed run lengths: '{}' at {at}", char::from(byte)));
        }
        value |= i64::from(group & 0x1f) << shift;
        shift += 5;
        if group & 0x20 != 0 {
            continue;
        }
        if group & 0x10 != 0 {
            value |= -1 << shift;
        }
        let before = if counts.len() > 2 { counts[counts.len() - 2] } else { 0 };
        let count = u32::try_from(value + i64::from(before));
        counts.push(count.map_err(|_| format!("run {} is negative or too long", counts.len()))?);
        (value, shift) = (0, 0);
    }
    if shift > 0 { Err("the counts end in the middle of a number".to_owned()) } else { Ok(counts) }
}

/// Reads and checks a file of ground truth.
///
/// # Errors
/// No such file, no JSON, a record that lacks something or is wrong: the error names it.
pub fn read(path: &Path) -> Result<Coco> {
    let text = Source::open(path)?.text().all()?;
    let (mut coco, mut fault) = (Coco::default(), None);
    let mut there = [false; SECTIONS.len()];
    let sections = Sections { path, coco: &mut coco, there: &mut there, fault: &mut fault };
    let mut source = serde_json::Deserializer::from_slice(&text);
    let read = source.deserialize_map(sections).and_then(|()| source.end());
    finish(path, read, fault, "COCO ground truth, a JSON object")?;
    if let Some((_, name)) = there.iter().zip(SECTIONS).find(|(there, _)| !**there) {
        return Err(DataError::content(path, format!("it has no '{name}', which COCO ground truth has")));
    }
    coco.check(path)?;
    Ok(coco)
}

/// Reads the results of a detector and checks them against their ground truth.
///
/// # Errors
/// No such file, no JSON list, a record that lacks something, names an unknown image or category, or whose score or mask
/// is wrong.
pub fn read_detections(path: &Path, truth: &Coco) -> Result<Vec<Detection>> {
    let text = Source::open(path)?.text().all()?;
    let (mut detections, mut fault) = (Vec::<Detection>::new(), None);
    let records = Records { path, kind: "result", list: &mut detections, fault: &mut fault };
    let mut source = serde_json::Deserializer::from_slice(&text);
    let read = records.deserialize(&mut source).and_then(|()| source.end());
    finish(path, read, fault, "COCO results, a JSON list")?;
    let known = Known::of(truth);
    for (at, detection) in detections.iter().enumerate() {
        let wrong = |message: String| DataError::record(path, format!("result {at}"), message);
        let image = known.check(detection.image_id, detection.category_id).map_err(wrong)?;
        if !detection.score.is_finite() {
            return Err(wrong(format!("its score is {}: expected a finite number", detection.score)));
        }
        if detection.bbox.is_none() && detection.segmentation.is_none() {
            return Err(wrong("it has neither 'bbox' nor 'segmentation'".to_owned()));
        }
        if let Some(bbox) = &detection.bbox {
            check_bbox(bbox).map_err(wrong)?;
        }
        if let Some(segmentation) = &detection.segmentation {
            segmentation.check(image).map_err(wrong)?;
        }
    }
    Ok(detections)
}

/// The sections of ground truth.
const SECTIONS: [&str; 3] = ["images", "categories", "annotations"];

/// Reads the sections as they come; of what COCO does not have nothing is kept.
struct Sections<'a> {
    path: &'a Path,
    coco: &'a mut Coco,
    there: &'a mut [bool; SECTIONS.len()],
    fault: &'a mut Option<DataError>,
}

/// Reads the records of one section, each by itself, so that no more than one is in memory as JSON and an error can name
/// it. JSON's own errors have no place for that: the first of ours is put aside.
struct Records<'a, T> {
    path: &'a Path,
    kind: &'static str,
    list: &'a mut Vec<T>,
    fault: &'a mut Option<DataError>,
}

impl<'de> Visitor<'de> for Sections<'_> {
    type Value = ();

    fn expecting(&self, out: &mut std::fmt::Formatter) -> std::fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<(), A::Error> {
        let Self { path, coco, there, fault } = self;
        while let Some(name) = map.next_key::<String>()? {
            if let Some(at) = SECTIONS.iter().position(|section| *section == name) {
                there[at] = true;
            }
            match name.as_str() {
                "images" => map.next_value_seed(Records { path, kind: "image", list: &mut coco.images, fault })?,
                "categories" => {
                    map.next_value_seed(Records { path, kind: "category", list: &mut coco.categories, fault })?;
                }
                "annotations" => {
                    map.next_value_seed(Records { path, kind: "annotation", list: &mut coco.annotations, fault })?;
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

impl<'de, T: DeserializeOwned> DeserializeSeed<'de> for Records<'_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> std::result::Result<(), D::Error> {
        source.deserialize_seq(self)
    }
}

impl<'de, T: DeserializeOwned> Visitor<'de> for Records<'_, T> {
    type Value = ();

    fn expecting(&self, out: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(out, "a list of {} records", self.kind)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> std::result::Result<(), A::Error> {
        while let Some(value) = sequence.next_element::<Value>()? {
            let id = value.get("id").map_or_else(String::new, |id| format!(" (id {id})"));
            match serde_json::from_value(value) {
                Ok(record) => self.list.push(record),
                Err(e) => {
                    let record = format!("{} {}{id}", self.kind, self.list.len());
                    *self.fault = Some(DataError::record(self.path, record, e.to_string()));
                    return Err(A::Error::custom("a record is wrong"));
                }
            }
        }
        Ok(())
    }
}

/// Our own error if there is one, otherwise that of JSON.
fn finish(path: &Path, read: serde_json::Result<()>, fault: Option<DataError>, expected: &str) -> Result<()> {
    match (fault, read) {
        (Some(fault), _) => Err(fault),
        (None, Err(e)) => Err(DataError::content(path, format!("expected {expected}: {e}"))),
        (None, Ok(())) => Ok(()),
    }
}

/// The ids of a ground truth.
struct Known<'a> {
    images: BTreeMap<u64, &'a Image>,
    categories: BTreeMap<u64, &'a Category>,
}

impl<'a> Known<'a> {
    fn of(truth: &'a Coco) -> Self {
        Self {
            images: truth.images.iter().map(|i| (i.id, i)).collect(),
            categories: truth.categories.iter().map(|c| (c.id, c)).collect(),
        }
    }

    fn check(&self, image: u64, category: u64) -> std::result::Result<&'a Image, String> {
        if !self.categories.contains_key(&category) {
            return Err(format!("its category_id {category} is not among the {} categories", self.categories.len()));
        }
        let count = self.images.len();
        self.images.get(&image).copied().ok_or_else(|| format!("its image_id {image} is not among the {count} images"))
    }
}

impl Coco {
    /// Checks what holds between records, and what a type cannot say.
    fn check(&self, path: &Path) -> Result<()> {
        let known = Known::of(self);
        if known.images.len() < self.images.len() || known.categories.len() < self.categories.len() {
            return Err(DataError::content(path, "two images, or two categories, have the same id"));
        }
        let most = limits::current().pixels;
        for (at, image) in self.images.iter().enumerate() {
            let pixels = u64::from(image.width) * u64::from(image.height);
            if !(1..=most).contains(&pixels) {
                let (w, h) = (image.width, image.height);
                let message = format!("its size is {w} x {h}: expected 1 to {most} pixels in all");
                return Err(DataError::record(path, format!("image {at} (id {})", image.id), message));
            }
        }
        for (at, annotation) in self.annotations.iter().enumerate() {
            let checked = known.check(annotation.image_id, annotation.category_id).and_then(|image| {
                check_bbox(&annotation.bbox)?;
                annotation.segmentation.check(image)
            });
            checked.map_err(|m| DataError::record(path, format!("annotation {at} (id {})", annotation.id), m))?;
        }
        Ok(())
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

fn check_bbox(bbox: &[f64; 4]) -> std::result::Result<(), String> {
    if bbox.iter().all(|v| v.is_finite()) && bbox[2] >= 0.0 && bbox[3] >= 0.0 {
        return Ok(());
    }
    Err(format!("its bbox is {bbox:?}: expected left, top, and a width and height of 0 or more"))
}

impl Segmentation {
    fn check(&self, image: &Image) -> std::result::Result<(), String> {
        match self {
            Self::Polygons(parts) => parts.iter().enumerate().try_for_each(|(at, part)| check_polygon(at, part, image)),
            Self::Mask(rle) => {
                if rle.size != [image.height, image.width] {
                    let [height, width] = rle.size;
                    let (h, w) = (image.height, image.width);
                    return Err(format!("its mask is {height} x {width}, but the image is {h} x {w} (rows x columns)"));
                }
                rle.runs().map(drop)
            }
        }
    }
}

/// How often an image's own size a polygon may reach beyond it: more is a mistake in the coordinates, not a cut object.
const REACH: f64 = 10.0;

fn check_polygon(at: usize, part: &[f64], image: &Image) -> std::result::Result<(), String> {
    if part.len() < 6 || part.len() % 2 == 1 {
        return Err(format!("its polygon {at} has {} numbers: expected pairs of x and y, 3 pairs or more", part.len()));
    }
    let far = REACH * f64::from(image.width.max(image.height));
    match part.iter().find(|v| v.is_nan() || v.abs() > far) {
        Some(v) => Err(format!("its polygon {at} has the coordinate {v}, far outside of the image")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    const TRUTH: &str = r#"{
        "images": [{"id": 7, "file_name": "a.png", "width": 6, "height": 4, "license": 3}],
        "categories": [{"id": 2, "name": "disc", "supercategory": "shape"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 2, "bbox": [1, 1, 2, 2], "area": 4, "iscrowd": 0,
             "segmentation": [[1, 1, 3, 1, 3, 3, 1, 3]]},
            {"id": 5, "image_id": 7, "category_id": 2, "bbox": [0, 0, 6, 4], "area": 20, "iscrowd": 1,
             "segmentation": {"size": [4, 6], "counts": [4, 20]}}
        ]}"#;

    fn file(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gt.json");
        fs::write(&path, text).unwrap();
        (folder, path)
    }

    fn fault(from: &str, to: &str) -> String {
        assert!(TRUTH.contains(from));
        let (_folder, path) = file(&TRUTH.replace(from, to));
        let text = read(&path).unwrap_err().to_string();
        text.strip_prefix(&path.display().to_string()).unwrap().to_owned()
    }

    #[test]
    fn what_is_written_is_read_again() {
        let (folder, path) = file(TRUTH);
        let coco = read(&path).unwrap();
        assert_eq!((coco.images.len(), coco.annotations.len(), coco.annotations[1].iscrowd), (1, 2, 1));
        let copy = folder.path().join("copy.json");
        coco.write(&copy).unwrap();
        assert_eq!(read(&copy).unwrap(), coco);
        assert!(matches!(coco.write(&copy), Err(DataError::Exists(_))));
    }

    #[test]
    fn faults_name_the_record() {
        assert_eq!(
            fault(r#""image_id": 7, "category_id": 2, "bbox": [1"#, r#""image_id": 8, "category_id": 2, "bbox": [1"#),
            ", annotation 0 (id 1): its image_id 8 is not among the 1 images"
        );
        assert_eq!(
            fault("[4, 20]", "[4, 21]"),
            ", annotation 1 (id 5): the counts add up to 25 pixels, expected 4 x 6 = 24"
        );
        assert_eq!(
            fault("[4, 6]", "[6, 4]"),
            ", annotation 1 (id 5): its mask is 6 x 4, but the image is 4 x 6 (rows x columns)"
        );
        assert_eq!(
            fault("[[1, 1, 3, 1, 3, 3, 1, 3]]", "[[1, 1, 3, 1]]"),
            ", annotation 0 (id 1): its polygon 0 has 4 numbers: expected pairs of x and y, 3 pairs or more"
        );
        assert_eq!(
            fault("[[1, 1, 3, 1, 3, 3, 1, 3]]", "[[1, 1, 3, 1, 3e9, 3]]"),
            ", annotation 0 (id 1): its polygon 0 has the coordinate 3000000000, far outside of the image"
        );
        assert_eq!(fault(r#""width": 6, "#, ""), ", image 0 (id 7): missing field `width`");
        assert_eq!(fault(r#""categories""#, r#""classes""#), ": it has no 'categories', which COCO ground truth has");
        assert_eq!(
            fault(r#""width": 6"#, r#""width": 4000000000"#),
            ", image 0 (id 7): its size is 4000000000 x 4: expected 1 to 134217728 pixels in all"
        );
        assert!(fault(r#""images": [{"#, r#""images": {"id": [{"#).contains("expected a list of image records"));
        assert!(fault("{\n", "").contains("expected COCO ground truth, a JSON object"));
    }

    #[test]
    fn detections_are_checked_against_their_truth() {
        let (_folder, path) = file(TRUTH);
        let truth = read(&path).unwrap();
        let fault = |text: &str| {
            let (_folder, path) = file(text);
            let text = read_detections(&path, &truth).unwrap_err().to_string();
            text.strip_prefix(&path.display().to_string()).unwrap().to_owned()
        };
        assert_eq!(
            fault(r#"[{"image_id": 7, "category_id": 3, "score": 1, "bbox": [0, 0, 1, 1]}]"#),
            ", result 0: its category_id 3 is not among the 1 categories"
        );
        assert_eq!(
            fault(r#"[{"image_id": 7, "category_id": 2, "score": 1}]"#),
            ", result 0: it has neither 'bbox' nor 'segmentation'"
        );
        assert_eq!(
            fault(r#"[{"image_id": 7, "category_id": 2, "score": 1, "bbox": [0, 0, -1, 1]}]"#),
            ", result 0: its bbox is [0.0, 0.0, -1.0, 1.0]: expected left, top, and a width and height of 0 or more"
        );
        assert_eq!(
            fault(
                r#"[{"image_id": 7, "category_id": 2, "score": 1, "segmentation": {"size": [4, 6], "counts": "é"}}]"#
            ),
            ", result 0: the counts are no compressed run lengths: 'Ã' at 0"
        );
        assert!(
            fault("{}")
                .contains("expected COCO results, a JSON list: invalid type: map, expected a list of result records")
        );
        assert!(fault("[] 1").contains("trailing characters"));
    }

    #[test]
    fn the_text_of_run_lengths_is_that_of_pycocotools() {
        // mask.encode of a 4 x 6 mask with 1 at [1:3, 1:3], and of one that is full.
        assert_eq!(compress(&[5, 2, 2, 2, 13]), "5220;");
        assert_eq!(expand("5220;").unwrap(), [5, 2, 2, 2, 13]);
        assert_eq!(compress(&[0, 24]), "0h0");
    }

    proptest! {
        #[test]
        fn run_lengths_survive_their_text(counts in prop::collection::vec(any::<u32>(), 0..30)) {
            prop_assert_eq!(expand(&compress(&counts)).unwrap(), counts);
        }

        #[test]
        fn no_text_is_a_panic(text in ".{0,40}") {
            let _ = expand(&text);
        }
    }
}
