//! Scene graphs as JSON: users' own graphs, in and out. All readers of scene graphs give [`GraphSet`].
//!
//! ```json
//! {"objects": ["person", "cup"], "predicates": ["holds", "near"],
//!  "images": [{"image": "a.jpg", "size": [640, 480], "boxes": [[10, 20, 110, 220], [90, 100, 130, 140]], "labels": [0, 1],
//!              "relations": [{"subject": 0, "object": 1, "predicate": 1}]}]}
//! ```
//! `boxes` are `[x1, y1, x2, y2]`; `labels` count from 0 and are indices into `objects`; predicates count from 1 (0 means
//! none), so predicate `p` is `predicates[p - 1]`. `size` (width, height) may be left out.

use std::path::Path;

use lossmith::graph::{Corners, SceneGraph, Vocabulary};
use serde::de::{Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::records::Each;
use crate::{DataError, Result, atomic, limits, source};

/// Annotated images and the names of their classes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct GraphSet {
    /// The names of classes and predicates.
    #[serde(flatten)]
    pub vocabulary: Vocabulary,
    /// The images, in the order of the file.
    pub images: Vec<ImageGraph>,
}

/// One annotated image.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ImageGraph {
    /// Its name.
    #[serde(deserialize_with = "name")]
    pub image: String,
    /// Width and height in pixels, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<[u32; 2]>,
    /// Boxes, labels, relations.
    #[serde(flatten)]
    pub graph: SceneGraph,
    /// The classes that image-level labels verify to be present or absent (Open Images).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verified: Vec<u32>,
}

impl ImageGraph {
    /// Checks that no box lies wholly outside of the image, where its size is known. Boxes that reach past an edge are let through, and
    /// so are those of the annotation itself: VRD has some of either.
    ///
    /// # Errors
    /// The first box that does, in words.
    pub fn check_inside(&self, boxes: &[Corners]) -> std::result::Result<(), String> {
        match boxes.iter().position(|b| self.is_outside(b) && !self.graph.boxes.contains(b)) {
            Some(at) => Err(self.outside(at, &boxes[at])),
            None => Ok(()),
        }
    }

    fn is_outside(&self, b: &Corners) -> bool {
        let past = |[width, height]: [u32; 2]| b[0] > f64::from(width) || b[1] > f64::from(height);
        self.size.is_some_and(|size| b[2] < 0.0 || b[3] < 0.0 || past(size))
    }

    fn outside(&self, at: usize, b: &Corners) -> String {
        let [width, height] = self.size.unwrap_or_default();
        format!("box {at} is {b:?}, outside of the image, which is {width} x {height}")
    }
}

/// Names may be written as numbers.
pub(crate) fn name<'de, D: serde::Deserializer<'de>>(from: D) -> std::result::Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a name or a whole number")]
    enum Name {
        Number(i64),
        Text(String),
    }
    Ok(match Name::deserialize(from)? {
        Name::Number(n) => n.to_string(),
        Name::Text(t) => t,
    })
}

impl GraphSet {
    /// Reads a file, which may be gzip.
    ///
    /// # Errors
    /// No JSON of this form, or a graph that is not sound: the error names the image.
    pub fn read(path: &Path) -> Result<Self> {
        let text = source::read_text(path)?;
        let (mut set, mut fault) = (Self::default(), None);
        let mut source = serde_json::Deserializer::from_slice(&text);
        let read = Parts { path, set: &mut set, fault: &mut fault };
        let read = source.deserialize_map(read).and_then(|()| source.end());
        if let Some(fault) = fault {
            return Err(fault);
        }
        read.map_err(|e| DataError::content(path, format!("no JSON of this form: {e}")))?;
        set.check(path)?;
        set.check_outside(path, &[])?;
        for image in &set.images {
            if let Some(at) = image.graph.relations.iter().position(|r| r.subject == r.object) {
                let message = format!("relation {at}: subject and object are the same box");
                return Err(DataError::record(path, format!("image {}", image.image), message));
            }
        }
        Ok(set)
    }

    /// Writes a new file, whole or not at all.
    ///
    /// # Errors
    /// The file is there already, or the system refuses.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_vec(self).map_err(|e| DataError::argument(e.to_string()))?;
        atomic::write(path, &text)
    }

    /// Checks that no annotated box lies wholly outside of its image, where the size of that is known; `known` are images of published data
    /// that have such boxes.
    pub(crate) fn check_outside(&self, path: &Path, known: &[&str]) -> Result<()> {
        for image in self.images.iter().filter(|image| !known.contains(&image.image.as_str())) {
            if let Some((at, b)) = image.graph.boxes.iter().enumerate().find(|(_, b)| image.is_outside(b)) {
                return Err(DataError::record(path, format!("image {}", image.image), image.outside(at, b)));
            }
        }
        Ok(())
    }

    /// Checks every graph against the names, and that no image is there twice.
    pub(crate) fn check(&self, path: &Path) -> Result<()> {
        let mut seen = std::collections::HashSet::with_capacity(self.images.len());
        for image in &self.images {
            let wrong = |message: String| DataError::record(path, format!("image {}", image.image), message);
            if !seen.insert(image.image.as_str()) {
                return Err(wrong("it is there twice".to_owned()));
            }
            check_pairs(path, image, self.vocabulary.predicates.len())?;
            image.graph.check(self.vocabulary.predicates.len()).map_err(|e| wrong(e.to_string()))?;
            let classes = self.vocabulary.objects.len();
            if let Some(at) = image.graph.labels.iter().position(|&l| l as usize >= classes) {
                let label = image.graph.labels[at];
                return Err(wrong(format!("label {at} is {label}, but there are {classes} classes, counted from 0")));
            }
        }
        Ok(())
    }
}

/// Refuses an image of so many boxes that a score for every predicate of every pair would not fit: models and baselines
/// make such a table.
fn check_pairs(path: &Path, image: &ImageGraph, predicates: usize) -> Result<()> {
    let n = image.graph.boxes.len() as u128;
    let bytes = n * n * (predicates as u128 + 1) * size_of::<f64>() as u128;
    limits::check(path, &format!("image {}: the scores of all pairs of its {n} boxes", image.image), bytes)
}

/// Reads the keys of a set as they come, its images one by one.
struct Parts<'a> {
    path: &'a Path,
    set: &'a mut GraphSet,
    fault: &'a mut Option<DataError>,
}

impl<'de> Visitor<'de> for Parts<'_> {
    type Value = ();

    fn expecting(&self, out: &mut std::fmt::Formatter) -> std::fmt::Result {
        out.write_str("an object with objects, predicates and images")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<(), A::Error> {
        let Self { path, set, fault } = self;
        let mut missing = vec!["objects", "predicates", "images"];
        while let Some(key) = map.next_key::<String>()? {
            missing.retain(|wanted| *wanted != key);
            match key.as_str() {
                "objects" => set.vocabulary.objects = map.next_value()?,
                "predicates" => set.vocabulary.predicates = map.next_value()?,
                "images" => {
                    let take = &mut |at, value: Value| {
                        let name = value.get("image").map_or_else(String::new, |name| format!(" ({name})"));
                        match serde_json::from_value(value) {
                            Ok(image) => set.images.push(image),
                            Err(e) => {
                                *fault = Some(DataError::record(path, format!("image {at}{name}"), e.to_string()));
                            }
                        }
                        fault.is_none()
                    };
                    map.next_value_seed(Each { what: "images", take })?;
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        match missing.first() {
            Some(key) => Err(A::Error::custom(format!("missing field `{key}`"))),
            None => Ok(()),
        }
    }
}

/// Reads a JSON file, which may be gzip and begin with a byte order mark.
pub(crate) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let text = source::read_text(path)?;
    serde_json::from_slice(&text).map_err(|e| DataError::content(path, format!("no JSON of this form: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRAPHS: &str = r#"{"objects": ["person", "cup"], "predicates": ["holds"], "images": [
        {"image": 7, "size": [20, 20], "boxes": [[0, 0, 9, 9], [5, 5, 7, 7]], "labels": [0, 1],
         "relations": [{"subject": 0, "object": 1, "predicate": 1}]}]}"#;

    fn read(text: &str) -> Result<GraphSet> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("g.json");
        std::fs::write(&path, text).unwrap();
        GraphSet::read(&path)
    }

    #[test]
    fn graphs_go_out_and_in() {
        let set = read(GRAPHS).unwrap();
        assert_eq!(set.images[0].image, "7");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.json");
        set.write(&path).unwrap();
        assert_eq!(GraphSet::read(&path).unwrap(), set);
        assert!(set.write(&path).unwrap_err().to_string().contains("is there already"));
    }

    #[test]
    fn faults_name_the_image() {
        for (from, to, wanted) in [
            (r#""labels": [0, 1]"#, r#""labels": [0, 2]"#, "image 7: label 1 is 2, but there are 2 classes"),
            (r#""predicate": 1"#, r#""predicate": 0"#, "image 7: relation 0: predicate 0 is not in 1..=1"),
            (r#""object": 1,"#, r#""object": 0,"#, "image 7: relation 0: subject and object are the same box"),
            (r#""object": 1,"#, r#""object": 9,"#, "there is no box 9, the image has 2"),
            ("[0, 0, 9, 9]", "[9, 0, 0, 9]", "image 7: box 0 is"),
            (
                "[0, 0, 9, 9]",
                "[0, 30, 9, 39]",
                "image 7: box 0 is [0.0, 30.0, 9.0, 39.0], outside of the image, which is 20 x 20",
            ),
            ("[0, 0, 9, 9]", "[0, 0, 9]", "g.json, image 0 (7): invalid length 3, expected an array of length 4"),
            (
                r#""labels": [0, 1]"#,
                r#""labels": [0, "1"]"#,
                "g.json, image 0 (7): invalid type: string \"1\", expected u32",
            ),
            (r#""objects""#, r#""classes""#, "g.json: no JSON of this form: missing field `objects`"),
        ] {
            let error = read(&GRAPHS.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
    }
}
