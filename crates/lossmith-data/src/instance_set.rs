//! Pictures with the outlines of their objects, in two parts: to train on and to judge by.
//!
//! | what a user has | how it is read |
//! |---|---|
//! | a folder with `train.json`, `test.json` and `images/`, as `data make shapes` writes | [`read`] |
//! | COCO's own folder: `annotations/instances_train*.json` beside `train*/`, and the same of `val*` (or [another word](crate::parts)) | [`read`] |
//! | one file of ground truth and a folder of pictures; every sixth picture is for the test | [`read_file`] |
//! | label images: a picture beside a PNG whose pixels are numbers of instances | [`from_labels`] |
//! | nothing: figures are made | [`made`] |

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::coco::{self, Annotation, Category, Coco, Id, Image, Rle, Segmentation};
use crate::folder::{Description, names};
use crate::label_images::{self, LabelledSet, Labels};
use crate::make::shapes::{self, Shapes};
use crate::parts as words;
use crate::picture::Picture;
use crate::picture_file::{Pixels, pixels_of};
use crate::{DataError, Result};

/// What the objects of label images are called: their files name no class.
pub const ONE_CLASS: &str = "object";

/// Where a picture is.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// In memory.
    Here(Picture),
    /// In a file, read whenever it is wanted.
    File(PathBuf),
    /// The same, of which the pixels as they are stored are meant: see [`picture_file`](crate::picture_file).
    Stored(PathBuf),
}

impl Source {
    /// The picture.
    ///
    /// # Errors
    /// No such file, or no picture in it.
    pub fn load(&self) -> Result<Picture> {
        match self {
            Self::Here(picture) => Ok(picture.clone()),
            Self::File(path) => Picture::read(path),
            Self::Stored(path) => Picture::read_as(path, Pixels::Stored),
        }
    }

    /// Files of pictures, given the width and height that the annotation of each says.
    pub fn files(pictures: Vec<(PathBuf, [usize; 2])>) -> Vec<Self> {
        let pixels = pixels_of(&pictures);
        let source = |((path, _), pixels)| match pixels {
            Pixels::Shown => Self::File(path),
            Pixels::Stored => Self::Stored(path),
        };
        pictures.into_iter().zip(pixels).map(source).collect()
    }
}

/// Ground truth and its pictures.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Part {
    /// What is in the pictures.
    pub truth: Coco,
    /// One for each of the truth's images, in their order.
    pub pictures: Vec<Source>,
}

/// The two parts of a data set; they have the same classes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InstanceSet {
    /// To train on.
    pub train: Part,
    /// To judge by.
    pub test: Part,
}

impl From<Shapes> for Part {
    fn from(made: Shapes) -> Self {
        Self { truth: made.truth, pictures: made.pictures.into_iter().map(Source::Here).collect() }
    }
}

impl Part {
    /// Ground truth and the folder that its file names are in. A box or an area of nothing is derived from the outline.
    ///
    /// # Errors
    /// The ground truth is wrong, a box contradicts its outline, or a picture is not there.
    pub fn read(truth: &Path, folder: &Path) -> Result<Self> {
        let mut coco = coco::read(truth)?;
        for (at, annotation) in coco.annotations.iter_mut().enumerate() {
            annotation
                .reconcile()
                .map_err(|m| DataError::record(truth, format!("annotation {at} (id {})", annotation.id), m))?;
        }
        let paths: Vec<PathBuf> = coco.images.iter().map(|image| folder.join(&image.file_name)).collect();
        let mut missing = coco.images.iter().enumerate().zip(&paths).filter(|(_, path)| !path.is_file());
        if let Some(((at, image), path)) = missing.next() {
            let more = missing.count();
            let others = if more == 0 { String::new() } else { format!(", nor are {more} others") };
            let message = format!("its picture {} is not there{others}", path.display());
            return Err(DataError::record(truth, format!("image {at} (id {})", image.id), message));
        }
        let sizes = coco.images.iter().map(|image| [image.width as usize, image.height as usize]);
        let pictures = Source::files(paths.into_iter().zip(sizes).collect());
        Ok(Self { truth: coco, pictures })
    }

    /// The images at some places, with their objects.
    fn only(&self, keep: impl Fn(usize) -> bool) -> Self {
        let places = || (0..self.truth.images.len()).filter(|at| keep(*at));
        let images: Vec<Image> = places().map(|at| self.truth.images[at].clone()).collect();
        let ids: std::collections::BTreeSet<&Id> = images.iter().map(|image| &image.id).collect();
        let annotations = self.truth.annotations.iter().filter(|a| ids.contains(&a.image_id)).cloned().collect();
        Self {
            truth: Coco { images, annotations, categories: self.truth.categories.clone() },
            pictures: places().map(|at| self.pictures[at].clone()).collect(),
        }
    }

    /// The first images with their objects.
    #[must_use]
    pub fn first(&self, count: usize) -> Self {
        self.only(|at| at < count)
    }

    /// The first images with their objects, and the others with theirs.
    #[must_use]
    pub fn split(&self, count: usize) -> [Self; 2] {
        [self.first(count), self.only(|at| at >= count)]
    }
}

/// Makes figures; seeds of the two parts differ by the numbers of their pictures.
///
/// # Errors
/// As [`shapes::make`].
pub fn made(train: usize, test: usize, side: usize, seed: u64) -> Result<InstanceSet> {
    Ok(InstanceSet {
        train: shapes::make(0, train, side, seed)?.into(),
        test: shapes::make(train, test, side, seed)?.into(),
    })
}

/// Reads one file of ground truth; every sixth picture is for the test.
///
/// # Errors
/// As [`Part::read`].
pub fn read_file(truth: &Path, pictures: &Path) -> Result<InstanceSet> {
    let all = Part::read(truth, pictures)?;
    Ok(InstanceSet { train: all.only(|at| at % 6 != 5), test: all.only(|at| at % 6 == 5) })
}

/// Reads a folder of any of the kinds above.
///
/// # Errors
/// Nothing in it that is known, and all that its kind's reader says.
pub fn read(folder: &Path) -> Result<InstanceSet> {
    let Some([train, test]) = files(folder)? else { return Ok(from_labels(label_images::read_folder(folder)?)) };
    let (train, test) = (Part::read(&train.0, &train.1)?, Part::read(&test.0, &test.1)?);
    if train.truth.categories != test.truth.categories {
        return Err(DataError::content(folder, "its two files of ground truth have different categories"));
    }
    Ok(InstanceSet { train, test })
}

/// The files of ground truth of the two parts, each with its folder of pictures; `None` where these are not COCO's.
fn files(folder: &Path) -> Result<Option<[(PathBuf, PathBuf); 2]>> {
    if let Some(files) = made_files(&names(folder)?) {
        let pictures = folder.join(shapes::PICTURES);
        return Ok(Some(files.map(|file| (folder.join(file), pictures.clone()))));
    }
    let annotations = folder.join("annotations");
    if !annotations.is_dir() {
        return Ok(None);
    }
    let there = names(&annotations)?;
    let part = |part: words::Part, word: &str| -> Result<(PathBuf, PathBuf)> {
        let file = part.file(&annotations, &there, ("instances_", ".json"), word)?.ok_or_else(|| {
            DataError::content(&annotations, format!("there is no instances_{word}*.json, which COCO's folder has"))
        })?;
        // instances_train2017.json belongs to train2017/.
        let pictures = file.trim_start_matches("instances_").trim_end_matches(".json");
        Ok((annotations.join(file), folder.join(pictures)))
    };
    Ok(Some([part(words::Part::Train, "train")?, part(words::Part::Test, "val")?]))
}

/// The files of ground truth of a folder as [`shapes::write`] makes it; the word for the part to judge by may be another.
fn made_files(names: &[String]) -> Option<[&str; 2]> {
    let has = |file: &str| names.iter().find(|name| *name == file).map(String::as_str);
    let other = || names.iter().map(String::as_str).find(|name| words::Part::Test.names(name, ".json"));
    let test = has(shapes::TEST_FILE).or_else(|| names.iter().any(|n| n == shapes::PICTURES).then(other).flatten());
    Some([has(shapes::TRAIN_FILE)?, test?])
}

/// Whether these are the names in a folder of COCO ground truth.
pub(crate) fn is_coco(names: &[String]) -> bool {
    made_files(names).is_some() || names.iter().any(|name| name == "annotations")
}

/// Whether these may be the names in a folder of label images.
pub(crate) fn is_labels(names: &[String]) -> bool {
    let is_train = |name: &str| words::Part::of(name) == Some(words::Part::Train) && !name.contains('.');
    names.iter().any(|name| name.ends_with("_label.png") || name == "label" || is_train(name))
}

/// Label images as ground truth of one class.
pub fn from_labels(set: LabelledSet) -> InstanceSet {
    let part = |samples: Vec<label_images::Sample>| {
        let category = Category { id: 1.into(), name: ONE_CLASS.to_owned() };
        let mut part = Part { truth: Coco { categories: vec![category], ..Coco::default() }, pictures: Vec::new() };
        for (id, sample) in (1u64..).zip(samples) {
            let (width, height) = (sample.labels.width as u32, sample.labels.height as u32);
            part.truth.images.push(Image { id: id.into(), file_name: format!("{}.png", sample.name), width, height });
            for mut annotation in annotations(&sample.labels) {
                annotation.id = (part.truth.annotations.len() as u64 + 1).into();
                annotation.image_id = id.into();
                part.truth.annotations.push(annotation);
            }
            part.pictures.push(Source::Here(sample.picture.into()));
        }
        part
    };
    InstanceSet { train: part(set.train), test: part(set.test) }
}

/// The run lengths of one instance as far as they are known.
#[derive(Default)]
struct Growing {
    counts: Vec<u32>,
    /// The pixel after the last one inside.
    end: usize,
    columns: [usize; 2],
    rows: [usize; 2],
}

impl Growing {
    fn add(&mut self, at: usize, column: usize, row: usize) {
        match self.counts.last_mut() {
            Some(run) if self.end == at => *run += 1,
            Some(_) => self.counts.extend([(at - self.end) as u32, 1]),
            None => {
                self.counts.extend([at as u32, 1]);
                (self.columns, self.rows) = ([column; 2], [row; 2]);
            }
        }
        self.end = at + 1;
        self.columns[1] = column;
        self.rows = [self.rows[0].min(row), self.rows[1].max(row)];
    }
}

/// One record for each instance, in the order of their numbers; one pass, however many there are.
fn annotations(labels: &Labels) -> Vec<Annotation> {
    let mut growing: BTreeMap<u32, Growing> = BTreeMap::new();
    for column in 0..labels.width {
        for row in 0..labels.height {
            let id = labels.ids[row * labels.width + column];
            if id > 0 {
                growing.entry(id).or_default().add(column * labels.height + row, column, row);
            }
        }
    }
    let all = labels.width * labels.height;
    let annotation = |mut object: Growing| {
        let area: u32 = object.counts.iter().skip(1).step_by(2).sum();
        if object.end < all {
            object.counts.push((all - object.end) as u32);
        }
        let ([left, right], [top, bottom]) = (object.columns, object.rows);
        let mask = Rle::compressed(labels.width as u32, labels.height as u32, &object.counts);
        Annotation {
            id: 0.into(),
            image_id: 0.into(),
            category_id: 1.into(),
            segmentation: Segmentation::Mask(mask),
            bbox: [left, top, right + 1 - left, bottom + 1 - top].map(|v| v as f64),
            area: f64::from(area),
            iscrowd: 0,
        }
    };
    growing.into_values().map(annotation).collect()
}

/// What a folder holds, for a table.
///
/// # Errors
/// As [`read`].
pub(crate) fn describe(folder: &Path) -> Result<Description> {
    let set = read(folder)?;
    let names: Vec<&str> = set.train.truth.categories.iter().map(|c| c.name.as_str()).collect();
    Ok(vec![
        ("classes".to_owned(), format!("{}: {}", names.len(), names.join(", "))),
        ("train".to_owned(), summary(&set.train.truth)),
        ("test".to_owned(), summary(&set.test.truth)),
    ])
}

fn summary(truth: &Coco) -> String {
    let objects = truth.annotations.iter().filter(|a| a.iscrowd == 0);
    let (mut small, mut large, mut all) = (0, 0, 0);
    for object in objects {
        all += 1;
        small += usize::from(object.area < 32.0 * 32.0);
        large += usize::from(object.area > 96.0 * 96.0);
    }
    let sizes = truth.images.iter().map(|i| (i.width, i.height));
    let (least, most) = (sizes.clone().min().unwrap_or_default(), sizes.max().unwrap_or_default());
    let size = if least == most {
        format!("{} x {}", most.0, most.1)
    } else {
        format!("{} x {} to {} x {}", least.0, least.1, most.0, most.1)
    };
    format!(
        "{} images of {size}, {all} objects ({small} small, {} medium, {large} large), {} crowds",
        truth.images.len(),
        all - small - large,
        truth.annotations.len() - all
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels() -> Labels {
        #[rustfmt::skip]
        let ids = vec![
            0, 7, 7, 0,
            2, 2, 7, 0,
            2, 0, 0, 9,
        ];
        Labels { width: 4, height: 3, ids }
    }

    #[test]
    fn label_images_become_masks_of_their_instances() {
        let found = annotations(&labels());
        assert_eq!(found.len(), 3);
        for (annotation, (id, bbox)) in
            found.iter().zip([(2, [0., 1., 2., 2.]), (7, [1., 0., 2., 2.]), (9, [3., 2., 1., 1.])])
        {
            let Segmentation::Mask(rle) = &annotation.segmentation else { panic!("a mask") };
            let mask: Vec<bool> = labels().ids.iter().map(|i| *i == id).collect();
            assert_eq!(rle, &Rle::from_mask(&mask, 4, 3));
            assert_eq!((annotation.bbox, annotation.area), (bbox, mask.iter().filter(|m| **m).count() as f64));
        }
    }

    #[test]
    fn made_folders_and_single_files_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("shapes");
        shapes::write(&root, 7, 2, 4).unwrap();
        let set = read(&root).unwrap();
        let made = made(7, 2, shapes::SIDE, 4).unwrap();
        assert_eq!((&set.train.truth, &set.test.truth), (&made.train.truth, &made.test.truth));
        assert_eq!(set.test.pictures[1].load().unwrap(), made.test.pictures[1].load().unwrap());
        let split = read_file(&root.join(shapes::TRAIN_FILE), &root.join(shapes::PICTURES)).unwrap();
        assert_eq!((split.train.pictures.len(), split.test.pictures.len()), (6, 1));
        assert_eq!(split.test.truth.images[0].id, 6);
        assert!(split.test.truth.annotations.iter().all(|a| a.image_id == 6));

        std::fs::rename(root.join(shapes::TEST_FILE), root.join("valid.json")).unwrap();
        assert_eq!(read(&root).unwrap().test.truth, made.test.truth);

        std::fs::remove_file(root.join("images/000003.png")).unwrap();
        let message = read(&root).unwrap_err().to_string();
        assert!(message.contains("train.json, image 3 (id 4): its picture") && message.ends_with("is not there"));
    }

    #[test]
    fn boxes_that_contradict_their_outline_are_derived_or_named() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("shapes");
        shapes::write(&root, 2, 1, 4).unwrap();
        let (truth, pictures) = (root.join(shapes::TRAIN_FILE), root.join(shapes::PICTURES));
        let sound = Part::read(&truth, &pictures).unwrap();
        let with = |change: &dyn Fn(&mut Annotation)| {
            let mut coco = sound.truth.clone();
            coco.annotations.iter_mut().for_each(change);
            std::fs::remove_file(&truth).unwrap();
            coco.write(&truth).unwrap();
            Part::read(&truth, &pictures)
        };
        let found = with(&|a| (a.bbox, a.area) = ([0.0; 4], 0.0)).unwrap().truth;
        for (found, sound) in found.annotations.iter().zip(&sound.truth.annotations) {
            assert!(found.bbox.iter().zip(sound.bbox).all(|(a, b)| (a - b).abs() <= 2.0), "{found:?} {sound:?}");
            assert!((found.area - sound.area).abs() <= 0.1 * sound.area + 10.0, "{found:?} {sound:?}");
        }
        let error = with(&|a| a.bbox = [500.0, 500.0, 9.0, 9.0]).unwrap_err().to_string();
        assert!(
            error.contains("train.json, annotation 0 (id 1): its bbox [500.0, 500.0, 9.0, 9.0] does not fit"),
            "{error}"
        );
    }

    #[test]
    fn cocos_own_folder_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        std::fs::create_dir(at("annotations")).unwrap();
        for (part, first) in [("train2017", 0), ("val2017", 2)] {
            shapes::write(&at(part), 2, 1, first).unwrap();
            std::fs::rename(at(part).join("train.json"), at(&format!("annotations/instances_{part}.json"))).unwrap();
            for entry in std::fs::read_dir(at(part).join("images")).unwrap() {
                let path = entry.unwrap().path();
                std::fs::rename(&path, at(part).join(path.file_name().unwrap())).unwrap();
            }
        }
        let set = read(folder.path()).unwrap();
        assert_eq!((set.train.pictures.len(), set.test.pictures.len()), (2, 2));
        let rows = describe(folder.path()).unwrap();
        assert!(rows[0].1.starts_with("5: ellipse, polygon") && rows[1].1.starts_with("2 images of 128 x 128, "));
        let rename = |from: &str, to: &str| std::fs::rename(at(from), at(to)).unwrap();
        for (before, word) in [("val2017", "valid"), ("valid", "test-dev"), ("test-dev", "val2")] {
            rename(&format!("annotations/instances_{before}.json"), &format!("annotations/instances_{word}.json"));
            rename(before, word);
            assert_eq!(
                read(folder.path()).unwrap().test,
                Part::read(&at(&format!("annotations/instances_{word}.json")), &at(word)).unwrap()
            );
        }
        rename("annotations/instances_val2.json", "annotations/instances_tset.json");
        let error = read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("instances_tset.json: 'tset' names no part of a data set; expected train, "), "{error}");
        std::fs::remove_file(at("annotations/instances_tset.json")).unwrap();
        assert!(read(folder.path()).unwrap_err().to_string().contains("no instances_val*.json"));
    }
}
