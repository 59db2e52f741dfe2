//! The product of two matrices: cut into blocks that stay in the cache, rounded, paired, and multiplied by a unit.

use super::Unit;
use super::round::{across, along, turn};
#[cfg(any(target_arch = "x86_64", test))]
use super::tiles;
use crate::kernel::slices::{grow, row_starts};

/// The rows of one register tile of dot products.
pub(super) const TILE: usize = 6;
/// The values of a register.
pub(super) const LANES: usize = 16;
/// The rows of a panel of the left side: whole tiles and whole registers.
pub(super) const PANEL: usize = 48;
/// Words of depth in a block: a panel of the right side is 32 KiB, which the first cache holds.
pub(super) const DEPTH: usize = 128;
/// Rows in a block: what is packed of the left side is at most 512 KiB.
const ROWS: usize = 22 * PANEL;
/// Words of depth of a tile.
pub(super) const TILE_DEPTH: usize = 16;

/// One side of a product: lines (rows of the left side, columns of the right one) of numbers along the depth.
#[derive(Clone, Copy, Debug)]
pub enum Side<'a> {
    /// Line `i` is `values[starts[i]..][..depth]`.
    Lines {
        /// What the lines lie in.
        values: &'a [f32],
        /// Where each line starts.
        starts: &'a [usize],
    },
    /// All lines' numbers at depth `k` are `values[starts[k]..][..lines]`.
    Depths {
        /// What the numbers lie in.
        values: &'a [f32],
        /// Where the numbers of each depth start.
        starts: &'a [usize],
    },
}

/// The right side of a product.
#[derive(Clone, Copy, Debug)]
pub enum Right<'a> {
    /// Packed before, from this word of depth on.
    Packed(&'a Panels, usize),
    /// Packed block by block.
    Side(Side<'a>),
}

/// What a product begins with.
#[derive(Clone, Copy, Debug)]
pub enum Start<'a> {
    /// Zero.
    Zero,
    /// A bias for each column.
    Bias(&'a [f32]),
    /// What is there.
    Old,
}

/// Where a product goes: row `r` to `values[places[r]..][..columns]`, with `relu` its positive part.
#[derive(Debug)]
pub struct Target<'a> {
    /// What the rows lie in.
    pub values: &'a mut [f32],
    /// Where each row starts.
    pub places: &'a [usize],
    /// How many columns there are.
    pub columns: usize,
    /// What the sums begin with.
    pub start: Start<'a>,
    /// Whether sums below zero become zero.
    pub relu: bool,
}

/// Blocks on their way into a product.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    left: Vec<u32>,
    right: Vec<u32>,
    turned: Vec<u32>,
}

/// The right side of a product in panels of 64, 32 or 16 columns: word by word of depth, the last panel filled up with zeros.
#[derive(Clone, Debug, Default)]
pub struct Panels {
    columns: usize,
    /// Words of depth, with those that tiles may read past the end: zeros.
    depth: usize,
    words: Vec<u32>,
}

/// First column and registers of each panel.
pub(super) fn panels(columns: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let left = columns.checked_sub(at).filter(|left| *left > 0)?;
        let width = [4, 2, 1].into_iter().find(|w| w * LANES <= left).unwrap_or(1);
        let start = at;
        at += width * LANES;
        Some((start, width))
    })
}

impl Panels {
    /// Packs a matrix of `columns` columns, row by row along the depth.
    pub fn pack(&mut self, values: &[f32], columns: usize) {
        let starts = row_starts(values.len() / columns, columns);
        self.resize(starts.len(), columns);
        self.set(0, Side::Depths { values, starts: &starts }, starts.len(), &mut Scratch::default());
    }

    /// Makes room for so many numbers of depth.
    pub fn resize(&mut self, depth: usize, columns: usize) {
        let depth = depth.div_ceil(2) + TILE_DEPTH;
        if (self.columns, self.depth) != (columns, depth) {
            let words = vec![0; depth * columns.next_multiple_of(LANES)];
            *self = Self { columns, depth, words };
        }
    }

    /// Packs `count` numbers of depth from a word of depth on; those behind it are to be packed later.
    ///
    /// # Panics
    /// If there is no room.
    pub fn set(&mut self, word: usize, side: Side<'_>, count: usize, scratch: &mut Scratch) {
        for (column, width) in panels(self.columns) {
            let valid = (width * LANES).min(self.columns - column);
            let panel = &mut self.words[column * self.depth..][..self.depth * width * LANES];
            for k in (0..count).step_by(2 * DEPTH) {
                let room = &mut panel[(word + k / 2) * width * LANES..];
                pack_right(side, (column, valid, width), k, (count - k).min(2 * DEPTH), room, &mut scratch.turned);
            }
        }
    }

    /// The words of the panel of this column and width from a word of depth on, and those that follow.
    fn panel(&self, column: usize, width: usize, from: usize) -> &[u32] {
        let width = width * LANES;
        &self.words[column * self.depth..][from * width..self.depth * width]
    }
}

/// The left side of a block.
#[derive(Clone, Copy, Debug)]
pub(super) enum Left<'a> {
    /// Row by row, so many words each.
    Rows(&'a [u32], usize),
    /// Panels of `PANEL` rows, each word by word of depth.
    Panels(&'a [u32]),
}

/// One panel of one block, ready to be multiplied.
pub(super) struct Block<'a> {
    pub left: Left<'a>,
    pub right: &'a [u32],
    /// Registers in a row of `right`.
    pub width: usize,
    /// Words of depth.
    pub depth: usize,
    pub column: usize,
    pub start: Start<'a>,
    pub relu: bool,
}

/// `target = start + left right`, over `depth` numbers: operands rounded to bf16, sums in f32.
///
/// # Panics
/// If a slice is shorter than starts, places and sizes say.
pub fn multiply(unit: Unit, left: Side<'_>, right: Right<'_>, depth: usize, target: Target<'_>, scratch: &mut Scratch) {
    let Target { values, places, columns, start, relu } = target;
    for rows in (0..places.len()).step_by(ROWS) {
        let places = &places[rows..places.len().min(rows + ROWS)];
        for k in (0..depth).step_by(2 * DEPTH) {
            let count = (depth - k).min(2 * DEPTH);
            let words = count.div_ceil(2);
            pack_left(unit, left, rows, places.len(), k, count, scratch);
            for (column, width) in panels(columns) {
                let Scratch { left: packed, right: buffer, turned } = &mut *scratch;
                let right = match right {
                    Right::Packed(panels, from) => panels.panel(column, width, from + k / 2),
                    Right::Side(side) => {
                        grow(buffer, DEPTH * width * LANES);
                        let valid = (width * LANES).min(columns - column);
                        pack_right(side, (column, valid, width), k, count, buffer, turned);
                        buffer
                    }
                };
                let left = match (left, unit) {
                    (Side::Depths { .. }, Unit::Dots) => Left::Panels(packed),
                    _ => Left::Rows(packed, pitch(words)),
                };
                let start = if k == 0 { start } else { Start::Old };
                let relu = relu && k + count == depth;
                let block = Block { left, right, width, depth: words, column, start, relu };
                run(unit, block, places, columns, values);
            }
        }
    }
}

fn run(unit: Unit, block: Block<'_>, places: &[usize], columns: usize, target: &mut [f32]) {
    match unit {
        #[cfg(target_arch = "x86_64")]
        Unit::Dots => super::dots::multiply(block, places, columns, target),
        #[cfg(target_arch = "x86_64")]
        Unit::Tiles => tiles::multiply(super::tiles_x86::Amx, block, places, columns, target),
        #[cfg(test)]
        Unit::Model => tiles::multiply(tiles::Model, block, places, columns, target),
        #[cfg(not(target_arch = "x86_64"))]
        _ => unreachable!("only x86 has a unit: {:?}", (block.width, places.len(), columns, target.len())),
    }
}

/// Words from one row of a block's left side to the next: whole tiles.
fn pitch(words: usize) -> usize {
    words.next_multiple_of(TILE_DEPTH)
}

fn pack_left(unit: Unit, side: Side<'_>, first: usize, rows: usize, k: usize, count: usize, scratch: &mut Scratch) {
    let Scratch { left, turned, .. } = scratch;
    let (words, padded) = (count.div_ceil(2), rows.next_multiple_of(2 * PANEL));
    let pitch = pitch(words);
    grow(left, padded * pitch);
    match side {
        Side::Lines { values, starts } => {
            along(&values[k..], &starts[first..first + rows], count, left, pitch);
        }
        Side::Depths { values, starts } if unit == Unit::Dots => {
            for (at, panel) in (0..rows).step_by(PANEL).zip(left.chunks_exact_mut(words * PANEL)) {
                let valid = PANEL.min(rows - at);
                across(&values[first + at..], &starts[k..k + count], valid, panel, PANEL, PANEL);
            }
        }
        Side::Depths { values, starts } => {
            grow(turned, pitch * padded);
            turned[count / 2 * padded..pitch * padded].fill(0);
            across(&values[first..], &starts[k..k + count], rows, turned, padded, padded);
            turn(turned, padded, left, pitch, padded, pitch);
        }
    }
}

/// Packs some columns of a block, and zeros up to whole tiles of depth.
fn pack_right(
    side: Side<'_>,
    (column, valid, width): (usize, usize, usize),
    k: usize,
    count: usize,
    right: &mut [u32],
    turned: &mut Vec<u32>,
) {
    let width = width * LANES;
    let words = count.div_ceil(2).next_multiple_of(TILE_DEPTH);
    match side {
        Side::Depths { values, starts } => {
            right[count / 2 * width..words * width].fill(0);
            across(&values[column..], &starts[k..k + count], valid, right, width, width);
        }
        Side::Lines { values, starts } => {
            grow(turned, width * DEPTH);
            turned[valid * DEPTH..width * DEPTH].fill(0);
            along(&values[k..], &starts[column..column + valid], count, turned, DEPTH);
            turn(turned, DEPTH, right, width, words, width);
        }
    }
}
