//! Masks as run lengths, and the text that COCO makes of them.

use serde::Serialize;

/// Run lengths down the columns, outside first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rle {
    /// Rows, columns.
    pub size: [u32; 2],
    /// The lengths.
    pub counts: Counts,
}

/// The two ways in which COCO writes run lengths.
#[derive(Clone, Debug, PartialEq, Serialize)]
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
    pub fn runs(&self) -> Result<Vec<u32>, String> {
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

    /// The mask of all that is in one of several.
    ///
    /// # Errors
    /// Sizes that differ, or as [`Self::runs`].
    pub(super) fn union(parts: &[Self]) -> Result<Self, String> {
        let Some(first) = parts.first() else { return Err("no mask".to_owned()) };
        let mut inside: Vec<[u64; 2]> = Vec::new();
        for part in parts {
            if part.size != first.size {
                let ([h, w], [height, width]) = (part.size, first.size);
                return Err(format!("one of its masks is {h} x {w}, another {height} x {width} (rows x columns)"));
            }
            let mut at = 0;
            for (place, run) in part.runs()?.into_iter().enumerate() {
                let end = at + u64::from(run);
                if place % 2 == 1 && run > 0 {
                    inside.push([at, end]);
                }
                at = end;
            }
        }
        inside.sort_unstable();
        let (mut counts, mut at): (Vec<u32>, u64) = (Vec::new(), 0);
        for [start, end] in inside {
            if start > at || counts.is_empty() {
                // Sums of runs stay below the image's pixels, which `runs` has counted in u32.
                counts.extend([(start - at) as u32, (end - start) as u32]);
            } else if end > at
                && let Some(run) = counts.last_mut()
            {
                *run += (end - at) as u32;
            }
            at = at.max(end);
        }
        let [height, width] = first.size;
        let all = u64::from(width) * u64::from(height);
        if at < all {
            counts.push((all - at) as u32);
        }
        Ok(Self { size: first.size, counts: Counts::Numbers(counts) })
    }
}

/// The pixels inside, and the box around them as pycocotools' `toBbox` has it: left, top, width, height; all 0 around nothing.
pub fn extent(runs: &[u32], height: u32) -> (u64, [f64; 4]) {
    let height = u64::from(height.max(1));
    let (mut at, mut pixels) = (0u64, 0u64);
    let (mut left, mut top, mut right, mut bottom) = (u64::MAX, u64::MAX, 0, 0);
    for (place, run) in runs.iter().enumerate() {
        let end = at + u64::from(*run);
        if place % 2 == 1 && *run > 0 {
            pixels += u64::from(*run);
            let (first, last) = (at / height, (end - 1) / height);
            // A run that goes on in the next column touches the image's upper and lower edge.
            let rows = if first == last { [at % height, (end - 1) % height + 1] } else { [0, height] };
            (left, right) = (left.min(first), right.max(last + 1));
            (top, bottom) = (top.min(rows[0]), bottom.max(rows[1]));
        }
        at = end;
    }
    let around = if pixels == 0 { [0; 4] } else { [left, top, right - left, bottom - top] };
    (pixels, around.map(|v| v as f64))
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
fn expand(text: &str) -> Result<Vec<u32>, String> {
    if text.starts_with("b'") {
        return Err("the counts begin with b', so they were written by Python's str(); expected .decode()".to_owned());
    }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_text_of_run_lengths_is_that_of_pycocotools() {
        // mask.encode of a 4 x 6 mask with 1 at [1:3, 1:3], and of one that is full.
        assert_eq!(compress(&[5, 2, 2, 2, 13]), "5220;");
        assert_eq!(expand("5220;").unwrap(), [5, 2, 2, 2, 13]);
        assert_eq!(compress(&[0, 24]), "0h0");
        // mask.toBbox of the same, of one from [2, 1] to [1, 2], and of an empty one.
        assert_eq!(extent(&[5, 2, 2, 2, 13], 4), (4, [1.0, 1.0, 2.0, 2.0]));
        assert_eq!(extent(&[6, 4, 14], 4), (4, [1.0, 0.0, 2.0, 4.0]));
        assert_eq!(extent(&[24], 4), (0, [0.0; 4]));
    }

    #[test]
    fn several_masks_become_one() {
        let mask = |counts: &[u32]| Rle { size: [4, 6], counts: Counts::Numbers(counts.to_vec()) };
        let union = |parts: &[Rle]| Rle::union(parts).unwrap().runs().unwrap();
        assert_eq!(union(&[mask(&[5, 2, 17]), mask(&[6, 4, 14])]), [5, 5, 14]);
        assert_eq!(union(&[mask(&[0, 3, 21]), mask(&[20, 4])]), [0, 3, 17, 4]);
        assert_eq!(union(&[mask(&[24])]), [24]);
        let other = Rle { size: [6, 4], ..mask(&[24]) };
        assert!(Rle::union(&[mask(&[24]), other]).unwrap_err().contains("6 x 4, another 4 x 6"));
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
