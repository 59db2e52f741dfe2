//! Products by AMX tiles: 32 x 32 sums in four tiles, from two tiles of each side.
//!
//! The driver cuts a block into such squares and adds what comes of them to the target. What multiplies a square is a [`TileUnit`]:
//! the processor ([`Amx`](super::tiles_x86::Amx)), or a model of its instructions, by which the driver is tested everywhere.

use super::product::{Block, LANES, Left, Start, TILE_DEPTH};

/// The side of a square of sums.
pub(super) const ROWS: usize = 32;
/// The rows of a tile, which are 16 words each.
pub(super) const TILE_ROWS: usize = 16;

/// The sums of a square, row by row.
pub(super) type Square = [f32; ROWS * ROWS];

/// What multiplies tiles.
pub(super) trait TileUnit: Copy {
    /// `square = left right` over `steps` tiles of depth. `left`: 32 rows, and how many words they are apart. `right`: a
    /// row for each word of depth, how many words they are apart, and how many words after the first its second tile of columns begins.
    fn square(self, left: (&[u32], usize), right: (&[u32], usize, usize), steps: usize, square: &mut Square);
}

/// Adds a block's products to the rows of `target`.
///
/// # Panics
/// If a slice is shorter than places and sizes say.
pub(super) fn multiply(unit: impl TileUnit, block: Block<'_>, places: &[usize], columns: usize, target: &mut [f32]) {
    let Left::Rows(left, left_pitch) = block.left else { unreachable!("tiles read the left side row by row") };
    let steps = block.depth.div_ceil(TILE_DEPTH);
    let pitch = block.width * LANES;
    let mut square = [0.0; ROWS * ROWS];
    for (number, places) in places.chunks(ROWS).enumerate() {
        let left = &left[number * ROWS * left_pitch..][..ROWS * left_pitch];
        for at in (0..pitch).step_by(ROWS) {
            let column = block.column + at;
            if column >= columns {
                break;
            }
            // A panel of one tile is read twice; what comes of its second half is not used.
            let second = if pitch - at > LANES { LANES } else { 0 };
            let right = &block.right[at..];
            assert!(right.len() >= (steps * TILE_DEPTH - 1) * pitch + second + LANES, "the right side is too short");
            unit.square((left, left_pitch), (right, pitch, second), steps, &mut square);
            let valid = (second + LANES).min(columns - column);
            for (sums, place) in square.chunks_exact(ROWS).zip(places) {
                add(&block, &sums[..valid], column, &mut target[place + column..][..valid]);
            }
        }
    }
}

fn add(block: &Block<'_>, sums: &[f32], column: usize, row: &mut [f32]) {
    for (i, (value, sum)) in row.iter_mut().zip(sums).enumerate() {
        let start = match block.start {
            Start::Zero => 0.0,
            Start::Bias(bias) => bias[column + i],
            Start::Old => *value,
        };
        let sum = start + sum;
        *value = if block.relu && sum < 0.0 { 0.0 } else { sum };
    }
}

/// The tile instructions in software, as Intel's manual defines them.
#[cfg(test)]
#[derive(Clone, Copy)]
pub(super) struct Model;

/// A tile register: 16 rows of 64 bytes.
#[cfg(test)]
pub(super) type Tile = [[u32; LANES]; TILE_ROWS];

#[cfg(test)]
impl TileUnit for Model {
    fn square(
        self,
        (left, left_pitch): (&[u32], usize),
        (right, pitch, second): (&[u32], usize, usize),
        steps: usize,
        square: &mut Square,
    ) {
        let mut sums = [[[[0; LANES]; TILE_ROWS]; 2]; 2];
        for step in 0..steps {
            let depth = step * TILE_DEPTH;
            let lefts = [0, TILE_ROWS].map(|row| load(&left[row * left_pitch + depth..], left_pitch));
            let rights = [0, second].map(|column| load(&right[depth * pitch + column..], pitch));
            for (left, sums) in lefts.iter().zip(&mut sums) {
                for (right, sums) in rights.iter().zip(sums) {
                    dot_products(sums, left, right);
                }
            }
        }
        for (i, row) in square.chunks_exact_mut(ROWS).enumerate() {
            for (j, value) in row.iter_mut().enumerate() {
                *value = f32::from_bits(sums[i / TILE_ROWS][j / LANES][i % TILE_ROWS][j % LANES]);
            }
        }
    }
}

/// TILELOADD.
#[cfg(test)]
fn load(words: &[u32], pitch: usize) -> Tile {
    std::array::from_fn(|row| std::array::from_fn(|i| words[row * pitch + i]))
}

/// TDPBF16PS: two chains of fused multiply-adds for each sum, for even and odd depths, which are added to each other and then to
/// the sum; denormal operands and results count as zero.
#[cfg(test)]
pub(super) fn dot_products(sums: &mut Tile, left: &Tile, right: &Tile) {
    let flush = |v: f32| if v.is_subnormal() { 0.0_f32.copysign(v) } else { v };
    let halves = |word: u32| [word as u16, (word >> 16) as u16].map(|half| flush(super::widen(half)));
    for (sums, left) in sums.iter_mut().zip(left) {
        for (n, sum) in sums.iter_mut().enumerate() {
            let mut chains = [0.0_f32; 2];
            for (l, r) in left.iter().zip(right) {
                let (l, r) = (halves(*l), halves(r[n]));
                chains = [0, 1].map(|i| flush(l[i].mul_add(r[i], chains[i])));
            }
            let both = flush(chains[0] + chains[1]);
            *sum = flush(flush(f32::from_bits(*sum)) + both).to_bits();
        }
    }
}
