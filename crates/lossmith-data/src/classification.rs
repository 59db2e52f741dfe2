//! Images with one label each, in memory, and their parts for training, validation and test.

use std::fmt;
use std::ops::Range;

use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use rand::seq::SliceRandom;

use crate::{DataError, Result};

/// The size of an image. In memory its channels come first, then rows, then columns (CHW), a byte each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// 1 for grey, 3 for red, green, blue.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl Shape {
    /// The bytes of one image.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.channels.saturating_mul(self.height).saturating_mul(self.width)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} x {} x {}", self.channels, self.height, self.width)
    }
}

/// At least one image, all of one shape, each with its label; pixels lie in the order NCHW.
#[derive(Clone, PartialEq, Eq)]
pub struct LabelledImages {
    shape: Shape,
    pixels: Vec<u8>,
    labels: Vec<u8>,
}

impl LabelledImages {
    /// Images from their pixels in the order NCHW.
    ///
    /// # Errors
    /// No image at all, or another number of pixels than the labels and the shape ask for.
    pub fn new(shape: Shape, pixels: Vec<u8>, labels: Vec<u8>) -> Result<Self> {
        if labels.is_empty() || shape.len() == 0 {
            return Err(DataError::argument(format!("no images: {} of {shape}", labels.len())));
        }
        match labels.len().checked_mul(shape.len()) {
            Some(wanted) if wanted == pixels.len() => Ok(Self { shape, pixels, labels }),
            _ => {
                let count = labels.len();
                let message = format!("{count} labels for images of {shape}, but {} pixels", pixels.len());
                Err(DataError::argument(message))
            }
        }
    }

    /// How many images.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// The shape of every image.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// All pixels, in the order NCHW.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The labels, from 0.
    pub fn labels(&self) -> &[u8] {
        &self.labels
    }

    /// The pixels of one image, in the order CHW.
    ///
    /// # Panics
    /// If there is no such image.
    pub fn image(&self, index: usize) -> &[u8] {
        &self.pixels[index * self.shape.len()..][..self.shape.len()]
    }

    /// The images of these indices, in this order.
    ///
    /// # Errors
    /// No index, or one past the end.
    pub fn select(&self, indices: &[usize]) -> Result<Self> {
        if let Some(&past) = indices.iter().find(|&&i| i >= self.len()) {
            return Err(DataError::argument(format!("there is no image {past} among {}", self.len())));
        }
        let mut pixels = Vec::with_capacity(indices.len() * self.shape.len());
        for &index in indices {
            pixels.extend_from_slice(self.image(index));
        }
        Self::new(self.shape, pixels, indices.iter().map(|&i| self.labels[i]).collect())
    }

    /// The first `count` images. Parts of a [`Split`] are shuffled, so that this is a random sample of them, and a larger
    /// sample contains the smaller.
    ///
    /// # Errors
    /// More than there are, or none.
    pub fn first(&self, count: usize) -> Result<Self> {
        if count > self.len() {
            return Err(DataError::argument(format!("{count} images asked for, there are {}", self.len())));
        }
        Self::new(self.shape, self.pixels[..count * self.shape.len()].to_vec(), self.labels[..count].to_vec())
    }

    /// Mean and standard deviation of each channel, of values scaled to 0 to 1.
    pub fn mean_and_sd(&self) -> Vec<(f64, f64)> {
        let plane = self.shape.height * self.shape.width;
        let counts = |channel: usize| {
            let mut counts = [0u64; 256];
            for values in self.pixels.chunks_exact(plane).skip(channel).step_by(self.shape.channels) {
                values.iter().for_each(|&v| counts[usize::from(v)] += 1);
            }
            counts
        };
        // Over the 256 values instead of the pixels: exact sums, in any order.
        let moment = |counts: &[u64; 256], f: &dyn Fn(f64) -> f64| {
            let sum: f64 = counts.iter().enumerate().map(|(v, &n)| n as f64 * f(v as f64 / 255.0)).sum();
            sum / (self.len() * plane) as f64
        };
        (0..self.shape.channels)
            .map(counts)
            .map(|counts| {
                let mean = moment(&counts, &|v| v);
                (mean, moment(&counts, &|v| (v - mean).powi(2)).sqrt())
            })
            .collect()
    }
}

impl fmt::Debug for LabelledImages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} images of {}", self.len(), self.shape)
    }
}

/// A data set for classifiers as it was read or made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classification {
    /// The name of each label.
    pub classes: Vec<String>,
    /// What may be looked at: for training and validation.
    pub train: LabelledImages,
    /// What is looked at once, if the data set has such a part.
    pub test: Option<LabelledImages>,
}

/// The three parts of a data set, the first two shuffled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// The name of each label.
    pub classes: Vec<String>,
    /// For the gradients.
    pub train: LabelledImages,
    /// For choices: fitness, learning rates.
    pub validation: LabelledImages,
    /// For the verdict only.
    pub test: LabelledImages,
}

impl Classification {
    /// How many images are set apart for the test where the data set has no such part, and how many are left.
    fn available(&self) -> (usize, usize) {
        let all = self.train.len();
        let testing = if self.test.is_some() { 0 } else { all / 6 };
        (testing, all - testing)
    }

    /// The number of validation images that is asked for, or a sixth of what there is where that is not more.
    pub fn fitting_validation(&self, asked: usize) -> usize {
        let (_, available) = self.available();
        if asked < available { asked } else { (available / 6).max(1) }
    }

    /// Shuffles by the seed and sets the last `validation` training images apart. Where the data set has no test part, a
    /// sixth of the images is set apart for it first, the share that MNIST and CIFAR-10 have as well.
    ///
    /// # Errors
    /// Nothing would be left for one of the parts.
    pub fn split(&self, validation: usize, seed: u64) -> Result<Split> {
        let mut order: Vec<usize> = (0..self.train.len()).collect();
        order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        let (testing, available) = self.available();
        if validation == 0 || validation >= available || (self.test.is_none() && testing == 0) {
            let message =
                format!("validation of {validation} out of {available} images: expected 1 to one less than them");
            return Err(DataError::argument(message));
        }
        let part = |range: Range<usize>| self.train.select(&order[range]);
        Ok(Split {
            classes: self.classes.clone(),
            train: part(0..available - validation)?,
            validation: part(available - validation..available)?,
            test: match &self.test {
                Some(test) => test.clone(),
                None => part(available..order.len())?,
            },
        })
    }
}

/// The names "0", "1", ... of classes that have no better ones.
pub fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|c| c.to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Images of two channels and three pixels; image `i` is all `i`, of class `i % 3`.
    fn sample(count: u8) -> LabelledImages {
        let shape = Shape { channels: 2, height: 1, width: 3 };
        LabelledImages::new(shape, (0..count).flat_map(|i| [i; 6]).collect(), (0..count).map(|i| i % 3).collect())
            .unwrap()
    }

    #[test]
    fn pixels_and_labels_must_fit_together() {
        let shape = Shape { channels: 1, height: 2, width: 2 };
        assert!(LabelledImages::new(shape, vec![0; 8], vec![0, 1]).is_ok());
        for (pixels, labels) in [(7, 2), (9, 2), (8, 1), (0, 0)] {
            assert!(LabelledImages::new(shape, vec![0; pixels], vec![0; labels]).is_err());
        }
        let huge = Shape { channels: 1, height: usize::MAX, width: usize::MAX };
        assert!(LabelledImages::new(huge, vec![0; 8], vec![0, 1]).is_err());
    }

    #[test]
    fn a_split_is_a_partition_that_follows_from_the_seed() {
        let data = Classification { classes: numbered(3), train: sample(60), test: None };
        let split = data.split(10, 7).unwrap();
        assert_eq!([&split.train, &split.validation, &split.test].map(LabelledImages::len), [40, 10, 10]);
        let parts = [&split.train, &split.validation, &split.test];
        let mut seen: Vec<u8> = parts.iter().flat_map(|p| (0..p.len()).map(|i| p.image(i)[5])).collect();
        assert!(parts.iter().all(|p| (0..p.len()).all(|i| p.labels()[i] == p.image(i)[0] % 3)), "labels went along");
        assert!(!seen.is_sorted());
        seen.sort_unstable();
        assert_eq!(seen, (0..60).collect::<Vec<u8>>());
        assert_eq!(data.split(10, 7).unwrap(), split);
        assert_ne!(data.split(10, 8).unwrap(), split);
    }

    #[test]
    fn a_validation_part_fits_the_data() {
        for (test, asked, fitting) in [
            (None, 10, 10),
            (None, 49, 49),
            (None, 50, 8),
            (None, 5_000, 8),
            (Some(sample(5)), 59, 59),
            (Some(sample(5)), 60, 10),
        ] {
            let data = Classification { classes: numbered(3), train: sample(60), test };
            assert_eq!(data.fitting_validation(asked), fitting);
            assert_eq!(data.split(fitting, 1).unwrap().validation.len(), fitting);
        }
    }

    #[test]
    fn a_test_part_is_left_alone() {
        let data = Classification { classes: numbered(3), train: sample(20), test: Some(sample(5)) };
        let split = data.split(4, 0).unwrap();
        assert_eq!((split.train.len(), split.validation.len(), &split.test), (16, 4, &sample(5)));
        for wrong in [0, 20, 21] {
            assert!(data.split(wrong, 0).is_err());
        }
    }

    #[test]
    fn a_larger_sample_contains_the_smaller() {
        let images = sample(9);
        assert_eq!(images.first(6).unwrap().first(2).unwrap(), images.first(2).unwrap());
        assert!(images.first(0).is_err() && images.first(10).is_err() && images.select(&[9]).is_err());
    }

    #[test]
    fn mean_and_deviation_are_those_of_the_pixels() {
        let shape = Shape { channels: 2, height: 1, width: 2 };
        let images = LabelledImages::new(shape, vec![0, 255, 51, 51, 0, 255, 51, 51], vec![0, 1]).unwrap();
        let found = images.mean_and_sd();
        assert!((found[0].0 - 0.5).abs() < 1e-15 && (found[0].1 - 0.5).abs() < 1e-15);
        assert!((found[1].0 - 0.2).abs() < 1e-15 && found[1].1 < 1e-15);
    }
}
