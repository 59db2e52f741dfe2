//! Label images as runs of pixels, in blocks that are worked on in parallel.

use std::ops::Range;

use rayon::prelude::*;

/// Pixels per block: one block's offsets from the centres stay in the second-level cache.
pub(super) const BLOCK: usize = 2048;

/// Runs shorter than this on the mean are not worth their own loops.
const SHORT: usize = 8;

/// Neighbouring pixels of one instance, or of the background, within a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub start: u32,
    pub end: u32,
    /// Index into [`Block::clusters`]; one past the last is background.
    pub slot: u32,
}

impl Run {
    pub fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// The runs of one block; they cover it without gaps.
#[derive(Debug)]
pub(super) struct Block {
    pub range: Range<usize>,
    pub runs: Vec<Run>,
    /// The clusters that occur in this block.
    pub clusters: Vec<u32>,
    /// The slot of every pixel, where runs are so short that going by pixels is faster; else empty.
    pub slots: Vec<u16>,
}

impl Block {
    /// The slot of background runs.
    pub fn background(&self) -> usize {
        self.clusters.len()
    }
}

/// The clusters of one image, numbered by class and then by label, and the blocks of its pixels.
#[derive(Debug)]
pub(super) struct Segments {
    pub blocks: Vec<Block>,
    counts: Vec<usize>,
    /// The first cluster of each class, and the number of clusters.
    starts: Vec<usize>,
    background: usize,
}

/// Class and label.
type Key = (i64, i64);

impl Segments {
    /// Finds runs and clusters. Label 0 is background; `skip_single` makes background of instances of one pixel.
    ///
    /// # Errors
    /// The index of a pixel whose label is negative.
    pub fn new(labels: &[i64], classes: Option<&[i64]>, skip_single: bool) -> Result<Self, usize> {
        if let Some(at) = labels.iter().position(|l| *l < 0) {
            return Err(at);
        }
        let found: Vec<Found> = labels
            .par_chunks(BLOCK)
            .enumerate()
            .map(|(at, labels)| {
                let start = at * BLOCK;
                find_runs(start, labels, classes.map(|c| &c[start..start + labels.len()]))
            })
            .collect();
        let keys = merged_keys(&found, skip_single);
        let counts: Vec<usize> = keys.iter().map(|(_, count)| *count).collect();
        let starts =
            (0..keys.len()).filter(|&i| i == 0 || keys[i].0.0 != keys[i - 1].0.0).chain([keys.len()]).collect();
        let background = labels.len() - counts.iter().sum::<usize>();
        let blocks = found.into_par_iter().map(|f| f.into_block(&keys)).collect();
        Ok(Self { blocks, counts, starts, background })
    }

    /// The number of clusters.
    pub fn clusters(&self) -> usize {
        self.counts.len()
    }

    /// The number of pixels of a cluster.
    pub fn count(&self, cluster: usize) -> usize {
        self.counts[cluster]
    }

    /// The number of background pixels.
    pub fn background(&self) -> usize {
        self.background
    }

    /// The clusters of each class.
    pub fn classes(&self) -> impl Iterator<Item = Range<usize>> {
        self.starts.windows(2).map(|w| w[0]..w[1])
    }
}

/// Runs and keys of one block before clusters are numbered.
struct Found {
    range: Range<usize>,
    runs: Vec<(u32, u32, Key)>,
    /// Every key that occurs, sorted, with its number of pixels.
    keys: Vec<(Key, usize)>,
}

fn find_runs(start: usize, labels: &[i64], classes: Option<&[i64]>) -> Found {
    // Background is one key whatever its class.
    let key = |i: usize| match classes {
        Some(classes) if labels[i] != 0 => (classes[i], labels[i]),
        _ => (0, labels[i]),
    };
    let mut runs: Vec<(u32, u32, Key)> = Vec::new();
    for i in 0..labels.len() {
        let key = key(i);
        match runs.last_mut() {
            Some(last) if last.2 == key => last.1 = i as u32 + 1,
            _ => runs.push((i as u32, i as u32 + 1, key)),
        }
    }
    let mut keys: Vec<(Key, usize)> = Vec::new();
    for (start, end, key) in &runs {
        if key.1 != 0 {
            keys.push((*key, (end - start) as usize));
        }
    }
    Found { range: start..start + labels.len(), runs, keys: counted(keys) }
}

/// Sorted keys, each once, with the sum of its counts.
fn counted(mut keys: Vec<(Key, usize)>) -> Vec<(Key, usize)> {
    keys.sort_unstable();
    keys.dedup_by(|next, kept| {
        let same = next.0 == kept.0;
        if same {
            kept.1 += next.1;
        }
        same
    });
    keys
}

fn merged_keys(found: &[Found], skip_single: bool) -> Vec<(Key, usize)> {
    let mut keys = counted(found.iter().flat_map(|f| f.keys.iter().copied()).collect());
    if skip_single {
        keys.retain(|(_, count)| *count > 1);
    }
    keys
}

impl Found {
    fn into_block(self, keys: &[(Key, usize)]) -> Block {
        let cluster = |key: &Key| keys.binary_search_by(|(k, _)| k.cmp(key)).ok();
        let mut clusters = Vec::new();
        // The slot of each of this block's keys; keys that were skipped are background.
        let slots: Vec<Option<u32>> = self
            .keys
            .iter()
            .map(|(key, _)| {
                cluster(key).map(|c| {
                    clusters.push(c as u32);
                    clusters.len() as u32 - 1
                })
            })
            .collect();
        let background = clusters.len() as u32;
        let slot = |key: &Key| {
            self.keys.binary_search_by(|(k, _)| k.cmp(key)).ok().and_then(|at| slots[at]).unwrap_or(background)
        };
        let runs: Vec<Run> =
            self.runs.iter().map(|(start, end, key)| Run { start: *start, end: *end, slot: slot(key) }).collect();
        let mut slots = Vec::new();
        if runs.len() * SHORT > self.range.len() {
            slots.extend(runs.iter().flat_map(|run| run.range().map(|_| run.slot as u16)));
        }
        Block { range: self.range, runs, clusters, slots }
    }
}
