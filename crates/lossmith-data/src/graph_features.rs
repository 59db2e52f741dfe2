//! Feature vectors of boxes and of pairs of boxes: what a model sees of images that it is not given.
//!
//! A safetensors file. For each image `NAME` of the graphs a tensor `NAME/boxes`, `[n,D]` f32, a vector for each box in the order of
//! the graph, and, if there are any, `NAME/unions`, `[n*(n-1),D]`, a vector for the box around each ordered pair: pairs
//! by subject, then by object, none of a box with itself. One D for the whole file.

use std::collections::BTreeMap;
use std::path::Path;

use ndarray::{Array2, Ix2};

use crate::graph_json::GraphSet;
use crate::tensors::{self, Tensor};
use crate::{DataError, Result, limits};

/// The features of some images, by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Features {
    images: BTreeMap<String, ImageFeatures>,
}

/// The features of one image.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageFeatures {
    /// `[n,D]`: of each box.
    pub boxes: Array2<f32>,
    /// `[n*(n-1),D]`: of the box around each ordered pair; zeros where the file has none.
    pub unions: Array2<f32>,
}

/// The row of an ordered pair among the pairs of `n` boxes, `subject` and `object` not the same.
pub fn pair_row(n: usize, subject: usize, object: usize) -> usize {
    subject * (n - 1) + object - usize::from(object > subject)
}

impl Features {
    /// Features by the names of images.
    pub fn new(images: BTreeMap<String, ImageFeatures>) -> Self {
        Self { images }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// No such file; a tensor of another name or shape; numbers that are not finite.
    pub fn read(path: &Path) -> Result<Self> {
        let mut found: BTreeMap<String, [Option<Array2<f32>>; 2]> = BTreeMap::new();
        for (name, tensor) in tensors::read(path)? {
            let wrong = |message: &str| DataError::record(path, format!("tensor '{name}'"), message);
            let (image, place) = match (name.strip_suffix("/boxes"), name.strip_suffix("/unions")) {
                (Some(image), _) => (image, 0),
                (_, Some(image)) => (image, 1),
                _ => return Err(wrong("expected a name IMAGE/boxes or IMAGE/unions")),
            };
            let Tensor::F32(array) = tensor else { return Err(wrong("expected f32, found whole numbers")) };
            let array = array.into_dimensionality::<Ix2>().map_err(|_| wrong("expected two dimensions, [boxes, D]"))?;
            if array.iter().any(|v| !v.is_finite()) {
                return Err(wrong("expected finite numbers"));
            }
            found.entry(image.to_owned()).or_default()[place] = Some(array);
        }
        let mut images = BTreeMap::new();
        let (mut width, mut made) = (None, 0);
        for (image, [boxes, unions]) in found {
            let wrong = |message: String| DataError::record(path, format!("image {image}"), message);
            let boxes = boxes.ok_or_else(|| wrong("there is no tensor IMAGE/boxes of it".to_owned()))?;
            let (n, d) = boxes.dim();
            let expected = *width.get_or_insert(d);
            if d != expected || d == 0 {
                return Err(wrong(format!(
                    "its vectors have {d} numbers, those before {expected}; expected one length"
                )));
            }
            // In wide numbers: a shape without numbers may state any count.
            let pairs = n as u128 * n.saturating_sub(1) as u128;
            let unions = match unions {
                Some(unions) => unions,
                None => {
                    made += pairs * d as u128 * size_of::<f32>() as u128;
                    limits::check(path, &format!("the vectors of all pairs up to image {image}"), made)?;
                    Array2::zeros((pairs as usize, d))
                }
            };
            if unions.ncols() != d || unions.nrows() as u128 != pairs {
                return Err(wrong(format!(
                    "unions of shape {:?}, expected [{pairs}, {d}] for {n} boxes",
                    unions.shape()
                )));
            }
            images.insert(image, ImageFeatures { boxes, unions });
        }
        Ok(Self { images })
    }

    /// Writes a new file, whole or not at all.
    ///
    /// # Errors
    /// The file is there already, or the system refuses.
    pub fn write(&self, path: &Path) -> Result<()> {
        let tensor = |array: &Array2<f32>| Tensor::F32(array.clone().into_dyn());
        let named: Vec<(String, Tensor)> = self
            .images
            .iter()
            .flat_map(|(name, f)| {
                [(format!("{name}/boxes"), tensor(&f.boxes)), (format!("{name}/unions"), tensor(&f.unions))]
            })
            .collect();
        tensors::write(path, named.iter().map(|(name, tensor)| (name.as_str(), tensor)))
    }

    /// The features of an image.
    pub fn of(&self, image: &str) -> Option<&ImageFeatures> {
        self.images.get(image)
    }

    /// The images by name.
    pub fn images(&self) -> impl Iterator<Item = (&str, &ImageFeatures)> {
        self.images.iter().map(|(name, features)| (name.as_str(), features))
    }

    /// The length of a vector, 0 where there is none.
    pub fn width(&self) -> usize {
        self.images.values().next().map_or(0, |f| f.boxes.ncols())
    }

    /// Checks that every image of the graphs has as many vectors as boxes; `path` serves the errors.
    ///
    /// # Errors
    /// The first image that has not.
    pub fn check(&self, set: &GraphSet, path: &Path) -> Result<()> {
        for image in &set.images {
            let (n, found) = (image.graph.boxes.len(), self.of(&image.image).map(|f| f.boxes.nrows()));
            if found != Some(n) {
                let found = found.map_or("none".to_owned(), |f| f.to_string());
                let message = format!("{found} feature vectors for {n} boxes, expected as many");
                return Err(DataError::record(path, format!("image {}", image.image), message));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::graph_json::ImageGraph;

    fn features() -> Features {
        let image = ImageFeatures {
            boxes: array![[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]],
            unions: Array2::from_shape_fn((6, 2), |(r, c)| (10 * r + c) as f32),
        };
        Features::new(BTreeMap::from([("a/1.png".to_owned(), image)]))
    }

    #[test]
    fn a_file_comes_back_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f.safetensors");
        features().write(&path).unwrap();
        assert_eq!(Features::read(&path).unwrap(), features());
        assert_eq!(features().width(), 2);
        let rows: Vec<usize> =
            (0..3).flat_map(|s| (0..3).filter(move |&o| o != s).map(move |o| pair_row(3, s, o))).collect();
        assert_eq!(rows, [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn faults_name_image_and_tensor() {
        let folder = tempfile::tempdir().unwrap();
        let read = |at: usize, named: &[(&str, Tensor)]| {
            let path = folder.path().join(format!("{at}.safetensors"));
            tensors::write(&path, named.iter().map(|(n, t)| (*n, t))).unwrap();
            Features::read(&path).unwrap_err().to_string()
        };
        let table = |rows, columns| Tensor::F32(Array2::<f32>::zeros((rows, columns)).into_dyn());
        for (at, named, wanted) in [
            (0, vec![("a/box", table(2, 3))], "tensor 'a/box': expected a name IMAGE/boxes"),
            (1, vec![("a/unions", table(2, 3))], "image a: there is no tensor IMAGE/boxes"),
            (
                2,
                vec![("a/boxes", table(2, 3)), ("a/unions", table(1, 3))],
                "image a: unions of shape [1, 3], expected [2, 3]",
            ),
            (3, vec![("a/boxes", table(2, 3)), ("b/boxes", table(2, 4))], "image b: its vectors have 4 numbers"),
        ] {
            let error = read(at, &named);
            assert!(error.contains(wanted), "{error}");
        }
        let graph = |image: &str| ImageGraph { image: image.to_owned(), ..ImageGraph::default() };
        let set = GraphSet { images: vec![graph("a/1.png"), graph("b")], ..GraphSet::default() };
        let error = features().check(&set, Path::new("f")).unwrap_err().to_string();
        assert_eq!(error, "f, image a/1.png: 3 feature vectors for 0 boxes, expected as many");
    }
}
