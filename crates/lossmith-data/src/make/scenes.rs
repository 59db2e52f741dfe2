//! What generators of labelled scenes share: a canvas on which instances are painted one over the other, and folders.

use std::path::Path;

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use rayon::prelude::*;

use super::check_count;
use super::{rosettes, sticks};
use crate::label_images::{LabelledSet, Labels, Picture, Sample, write_labels, write_picture};
use crate::{DataError, Result, atomic};

/// Which scenes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Crossing bars.
    Sticks,
    /// Plants seen from above.
    Rosettes,
}

/// What is to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scenes {
    /// Which scenes.
    pub kind: Kind,
    /// Rows and columns of a picture.
    pub side: usize,
    /// Pictures to train on.
    pub train: usize,
    /// Pictures to judge by.
    pub test: usize,
    /// The seed.
    pub seed: u64,
}

impl Scenes {
    /// The usual amount of a kind: pictures of 96 pixels, 240 to train on and 40 to judge by.
    pub fn new(kind: Kind, seed: u64) -> Self {
        Self { kind, side: 96, train: 240, test: 40, seed }
    }

    /// Makes them; the same for the same settings, for any number of threads.
    ///
    /// # Errors
    /// A side below 32 or above 4096, no picture to train on, more than memory should hold.
    pub fn make(&self) -> Result<LabelledSet> {
        if !(32..=4096).contains(&self.side) {
            return Err(DataError::argument(format!("a side of {} pixels: expected 32 to 4096", self.side)));
        }
        if self.train == 0 || self.test == 0 {
            return Err(DataError::argument("expected at least one picture to train on and one to judge by"));
        }
        // Samples of three channels, and a number for each pixel.
        check_count("scenes", self.train, self.test, self.side * self.side * (3 + size_of::<u32>()))?;
        let sample = match self.kind {
            Kind::Sticks => sticks::sample,
            Kind::Rosettes => rosettes::sample,
        };
        let mut all: Vec<Sample> = (0..self.train + self.test).into_par_iter().map(|i| sample(self, i)).collect();
        let test = all.split_off(self.train);
        Ok(LabelledSet { train: all, test })
    }

    /// Makes them and writes a folder with `train/` and `test/`: for rosettes in the layout of the CVPPP challenge
    /// (`plantNNN_rgb.png`, `_label.png`, `_fg.png`), for sticks `NAME_image.png` and `NAME_label.png`.
    ///
    /// # Errors
    /// As [`Self::make`]; a folder that is there and holds something, the system's refusal.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let set = self.make()?;
        atomic::folder_with(folder, |folder| {
            for (part, samples) in [("train", &set.train), ("test", &set.test)] {
                let folder = folder.join(part);
                atomic::new_folder(&folder)?;
                samples.par_iter().try_for_each(|sample| self.write_sample(&folder, sample))?;
            }
            Ok(())
        })
    }

    fn write_sample(&self, folder: &Path, sample: &Sample) -> Result<()> {
        let file = |ending: &str| folder.join(format!("{}_{ending}.png", sample.name));
        let picture = if self.kind == Kind::Rosettes { "rgb" } else { "image" };
        write_picture(&file(picture), &sample.picture)?;
        write_labels(&file("label"), &sample.labels)?;
        if self.kind == Kind::Rosettes {
            let Labels { height, width, ids } = &sample.labels;
            let samples = ids.iter().map(|id| u8::from(*id > 0)).collect();
            write_picture(&file("fg"), &Picture { height: *height, width: *width, channels: 1, samples })?;
        }
        Ok(())
    }
}

/// The random numbers of one picture.
pub(super) fn rng(seed: u64, index: usize) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(index as u64);
    rng
}

/// A picture in colours and the instance of each pixel.
pub(super) struct Canvas {
    side: usize,
    samples: Vec<u8>,
    ids: Vec<u32>,
}

impl Canvas {
    /// A square of one colour, all background.
    pub fn new(side: usize, color: [u8; 3]) -> Self {
        Self { side, samples: color.repeat(side * side), ids: vec![0; side * side] }
    }

    /// Paints an instance over what is there, wherever `color` has one for the middle of a pixel (x, y).
    pub fn paint(&mut self, id: u32, color: impl Fn(f32, f32) -> Option<[u8; 3]>) {
        for (at, (pixel, own)) in self.samples.as_chunks_mut::<3>().0.iter_mut().zip(&mut self.ids).enumerate() {
            let (x, y) = ((at % self.side) as f32 + 0.5, (at / self.side) as f32 + 0.5);
            if let Some(color) = color(x, y) {
                (*pixel, *own) = (color, id);
            }
        }
    }

    /// The number of pixels of the least visible of the instances 1 to the greatest that is visible at all; 0 without any.
    pub fn least_visible(&self) -> usize {
        let most = self.ids.iter().copied().max().unwrap_or(0) as usize;
        let mut sizes = vec![0; most + 1];
        self.ids.iter().for_each(|id| sizes[*id as usize] += 1);
        sizes.into_iter().skip(1).min().unwrap_or(0)
    }

    /// Adds noise of this standard deviation, near enough to normal: the sum of four uniform numbers.
    pub fn add_noise(&mut self, rng: &mut ChaCha8Rng, deviation: f32) {
        for v in &mut self.samples {
            let sum: f32 = (0..4).map(|_| rng.random_range(-0.5..0.5f32)).sum();
            *v = (f32::from(*v) + sum * deviation * 3f32.sqrt()).round().clamp(0.0, 255.0) as u8;
        }
    }

    /// The finished sample.
    pub fn into_sample(self, name: String) -> Sample {
        let (height, width) = (self.side, self.side);
        let picture = Picture { height, width, channels: 3, samples: self.samples };
        Sample { name, picture, labels: Labels { height, width, ids: self.ids } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::label_images::read_folder;

    fn small(kind: Kind) -> Scenes {
        Scenes { train: 5, test: 2, side: 64, ..Scenes::new(kind, 3) }
    }

    #[test]
    fn the_same_seed_makes_the_same_pictures_and_another_one_others() {
        for kind in [Kind::Sticks, Kind::Rosettes] {
            let one = small(kind).make().unwrap();
            let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
            let two = pool.install(|| small(kind).make().unwrap());
            assert_eq!((&one.train, &one.test), (&two.train, &two.test));
            let other = Scenes { seed: 4, ..small(kind) }.make().unwrap();
            assert_ne!(one.train[0], other.train[0]);
        }
    }

    #[test]
    fn every_instance_can_be_seen_and_ids_are_consecutive() {
        for (kind, counts) in [(Kind::Sticks, 8..=8), (Kind::Rosettes, 5..=20)] {
            for sample in small(kind).make().unwrap().train {
                let most = sample.labels.ids.iter().copied().max().unwrap() as usize;
                assert_eq!(sample.labels.instances(), most);
                assert!(counts.contains(&most), "{kind:?} {most}");
                for id in 1..=most as u32 {
                    assert!(sample.labels.ids.iter().filter(|i| **i == id).count() > 3);
                }
            }
        }
    }

    #[test]
    fn folders_are_read_back() {
        for kind in [Kind::Sticks, Kind::Rosettes] {
            let folder = tempfile::tempdir().unwrap();
            small(kind).write(folder.path()).unwrap();
            let (read, made) = (read_folder(folder.path()).unwrap(), small(kind).make().unwrap());
            assert_eq!((read.train.len(), read.test.len()), (5, 2));
            assert_eq!(read.test[1].picture, made.test[1].picture);
            assert_eq!(read.test[1].labels, made.test[1].labels);
            assert_eq!(read.test[1].name, format!("test/{}", made.test[1].name));
            assert!(matches!(small(kind).write(folder.path()), Err(DataError::Exists(_))));
        }
    }

    #[test]
    fn wrong_sizes_are_refused() {
        let error = Scenes { side: 8, ..small(Kind::Sticks) }.make().unwrap_err().to_string();
        assert_eq!(error, "a side of 8 pixels: expected 32 to 4096");
        assert!(Scenes { test: 0, ..small(Kind::Sticks) }.make().is_err());
    }
}
