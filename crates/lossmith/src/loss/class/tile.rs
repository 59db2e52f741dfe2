//! The softmax losses on tiles: a few rows of logits at a time, turned so that one class of all rows lies side by side.
//! Then everything, the sums over the classes too, is element by element, and becomes vectors.

use std::cell::RefCell;

use super::{LEAST_PROBABILITY, LabelTerms};
use crate::expr::math;
use crate::expr::program::{self, BLOCK, Block, Program, Source};
use crate::simd::{self, Level};

/// Rows come in multiples of this, the widest vector.
const LANES: usize = 16;
/// The most rows of a tile, so that a row's sums fit a block.
const MOST_ROWS: usize = 128;
/// About as many logits as fit the first-level cache with all that is computed from them.
const CELLS: usize = 5 * BLOCK;

/// One number for every row of a tile.
type Rows = [f32; MOST_ROWS];

/// How many rows a tile has: it depends on the classes alone, so sums do not depend on threads.
pub(super) fn rows_of_tile(classes: usize) -> usize {
    (CELLS / classes / LANES * LANES).clamp(LANES, MOST_ROWS)
}

/// A few rows of a batch.
pub(super) struct Slab<'a> {
    pub logits: &'a [f32],
    pub labels: &'a [u32],
    pub classes: usize,
    /// What the gradient is multiplied by: one by the number of rows of the whole batch.
    pub scale: f32,
}

/// The two programs of a formula: for the classes that are not the label (`x = 0`) and for the label (`x = 1`).
/// Inputs are log-probability and probability; outputs the value and its slope in the log-probability.
#[derive(Clone, Debug)]
pub(super) struct ByLabel {
    pub others: Program,
    pub own: Program,
}

/// What a slab is evaluated with.
#[derive(Clone, Copy)]
pub(super) enum Kind<'a> {
    Fused(&'a LabelTerms),
    Formula(&'a ByLabel),
}

/// Working memory of one thread, class after class; grows to what is needed and is kept.
#[derive(Default)]
struct Scratch {
    /// Probabilities (for fused losses before they are divided by their sum).
    y: Vec<Block>,
    /// Log-probabilities.
    u: Vec<Block>,
    values: Vec<Block>,
    slopes: Vec<Block>,
    registers: Vec<Block>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// The sum of the losses of the slab's rows; the gradient goes to `grad`, if there is one.
pub(super) fn sum(level: Level, kind: Kind, slab: &Slab, mut grad: Option<&mut [f32]>) -> f64 {
    let height = rows_of_tile(slab.classes);
    let cells = height * slab.classes;
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.reserve(kind, cells.div_ceil(BLOCK));
        let mut sum = 0.0;
        for (index, labels) in slab.labels.chunks(height).enumerate() {
            let from = index * cells;
            let range = from..from + labels.len() * slab.classes;
            let tile = Slab { logits: &slab.logits[range.clone()], labels, ..*slab };
            let grad = grad.as_deref_mut().map(|g| &mut g[range]);
            sum += match kind {
                Kind::Fused(terms) => simd::at(
                    level,
                    #[inline(always)]
                    || fused(terms, &tile, height, scratch, grad),
                ),
                Kind::Formula(programs) => {
                    simd::at(
                        level,
                        #[inline(always)]
                        || softmax(&tile, height, scratch),
                    );
                    evaluate(level, programs, &tile, height, scratch);
                    simd::at(
                        level,
                        #[inline(always)]
                        || finish(&tile, height, scratch, grad),
                    )
                }
            };
        }
        sum
    })
}

impl Scratch {
    fn reserve(&mut self, kind: Kind, blocks: usize) {
        let grow = |buffer: &mut Vec<Block>, blocks| {
            if buffer.len() < blocks {
                buffer.resize(blocks, [0.0; BLOCK]);
            }
        };
        grow(&mut self.y, blocks);
        if let Kind::Formula(programs) = kind {
            grow(&mut self.u, blocks);
            grow(&mut self.values, blocks);
            grow(&mut self.slopes, blocks);
            grow(&mut self.registers, programs.others.registers().max(programs.own.registers()));
        }
    }
}

/// Runs `f` on the lanes of one class: `rows` and `cells` have the tile's height.
#[inline(always)]
fn each(rows: &mut [f32], cells: &mut [f32], f: impl Fn(&mut f32, &mut f32)) {
    for (row, cell) in rows.iter_mut().zip(cells) {
        f(row, cell);
    }
}

/// How many rows and classes are turned at once: a register of each.
const SQUARE: usize = 4;

/// Where squares start that cover the classes: the last one overlaps the one before where they do not come out even.
#[inline(always)]
fn squares(classes: usize) -> impl Iterator<Item = usize> {
    let last = classes.checked_sub(SQUARE);
    (0..classes).step_by(SQUARE).filter_map(move |start| last.map(|last| start.min(last)))
}

/// Rows to columns; rows that the tile lacks are zeros.
#[inline(always)]
fn turn(slab: &Slab, height: usize, into: &mut [f32]) {
    if slab.labels.len() < height {
        into.fill(0.0);
    }
    let classes = slab.classes;
    let turned = if classes < SQUARE { 0 } else { slab.labels.len() / SQUARE * SQUARE };
    for (at, rows) in slab.logits[..turned * classes].chunks_exact(SQUARE * classes).enumerate() {
        for class in squares(classes) {
            let mut square = [[0.0; SQUARE]; SQUARE];
            for (r, row) in square.iter_mut().enumerate() {
                row.copy_from_slice(&rows[r * classes + class..][..SQUARE]);
            }
            for (c, column) in transposed(square).iter().enumerate() {
                into[(class + c) * height + at * SQUARE..][..SQUARE].copy_from_slice(column);
            }
        }
    }
    for (row, logits) in slab.logits[turned * classes..].chunks_exact(classes).enumerate() {
        for (class, z) in logits.iter().enumerate() {
            into[class * height + turned + row] = *z;
        }
    }
}

/// Columns back to rows.
#[inline(always)]
fn turn_back(from: &[f32], height: usize, classes: usize, into: &mut [f32]) {
    let turned = if classes < SQUARE { 0 } else { into.len() / classes / SQUARE * SQUARE };
    let (turned_rows, rest) = into.split_at_mut(turned * classes);
    for (at, rows) in turned_rows.chunks_exact_mut(SQUARE * classes).enumerate() {
        for class in squares(classes) {
            let mut square = [[0.0; SQUARE]; SQUARE];
            for (c, column) in square.iter_mut().enumerate() {
                column.copy_from_slice(&from[(class + c) * height + at * SQUARE..][..SQUARE]);
            }
            for (r, row) in transposed(square).iter().enumerate() {
                rows[r * classes + class..][..SQUARE].copy_from_slice(row);
            }
        }
    }
    for (row, grads) in rest.chunks_exact_mut(classes).enumerate() {
        for (class, g) in grads.iter_mut().enumerate() {
            *g = from[class * height + turned + row];
        }
    }
}

/// A square with rows and columns exchanged. Left to itself the compiler moves number by number.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn transposed(square: [[f32; SQUARE]; SQUARE]) -> [[f32; SQUARE]; SQUARE] {
    use std::arch::x86_64::{__m128, _mm_movehl_ps, _mm_movelh_ps, _mm_unpackhi_ps, _mm_unpacklo_ps};
    type Registers = [__m128; SQUARE];
    // SAFETY: both types are sixteen f32, for which every pattern of bits is valid; every x86-64 processor has SSE.
    unsafe {
        let [a, b, c, d] = std::mem::transmute::<[[f32; SQUARE]; SQUARE], Registers>(square);
        let (ab0, ab2) = (_mm_unpacklo_ps(a, b), _mm_unpackhi_ps(a, b));
        let (cd0, cd2) = (_mm_unpacklo_ps(c, d), _mm_unpackhi_ps(c, d));
        let columns =
            [_mm_movelh_ps(ab0, cd0), _mm_movehl_ps(cd0, ab0), _mm_movelh_ps(ab2, cd2), _mm_movehl_ps(cd2, ab2)];
        std::mem::transmute::<Registers, [[f32; SQUARE]; SQUARE]>(columns)
    }
}

/// A square with rows and columns exchanged.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn transposed(square: [[f32; SQUARE]; SQUARE]) -> [[f32; SQUARE]; SQUARE] {
    std::array::from_fn(|c| square.map(|row| row[c]))
}

/// The largest logit of every row; anything but a number is left to show later.
#[inline(always)]
fn largest(cells: &mut [f32], height: usize) -> Rows {
    let mut max = [f32::NEG_INFINITY; MOST_ROWS];
    for class in cells.chunks_exact_mut(height) {
        each(&mut max[..height], class, |m, z| *m = if *z > *m { *z } else { *m });
    }
    max
}

/// A loss of few terms: one exponential for every logit and little else.
#[inline(always)]
fn fused(terms: &LabelTerms, slab: &Slab, height: usize, scratch: &mut Scratch, grad: Option<&mut [f32]>) -> f64 {
    let (classes, per_class) = (slab.classes as f32, 1.0 / slab.classes as f64);
    let cells = &mut scratch.y.as_flattened_mut()[..height * slab.classes];
    turn(slab, height, cells);
    let mut max = largest(cells, height);
    let (mut sums, mut distances) = ([0.0; MOST_ROWS], [0.0; MOST_ROWS]);
    for class in cells.chunks_exact_mut(height) {
        each(&mut max[..height], class, |m, z| *z -= *m);
        each(&mut distances[..height], class, |d, z| *d += *z);
        each(&mut sums[..height], class, |s, z| {
            *z = math::exp(*z);
            *s += *z;
        });
    }
    let (mut own_z, mut own_e) = ([0.0; MOST_ROWS], [1.0; MOST_ROWS]);
    for (r, (&label, row)) in slab.labels.iter().zip(slab.logits.chunks_exact(slab.classes)).enumerate() {
        own_z[r] = row[label as usize] - max[r];
        own_e[r] = cells[label as usize * height + r];
    }
    let (all, own_log, scale) = (terms.mean_log as f32, terms.own_log as f32, slab.scale);
    let (mut slopes, mut steps, mut values) = ([0.0; MOST_ROWS], [0.0; MOST_ROWS], [0.0f64; MOST_ROWS]);
    for r in 0..height {
        let log = math::log(sums[r]);
        let y = own_e[r] / sums[r];
        let y = if y < LEAST_PROBABILITY { LEAST_PROBABILITY } else { y };
        let inverse = terms.mean_inverse as f32 / (classes * y);
        let own = own_log + terms.own as f32 * y - inverse;
        steps[r] = scale * own;
        slopes[r] = -(scale * (all + own)) / sums[r];
        let mean_log = f64::from(distances[r]) * per_class - f64::from(log);
        let logarithms = terms.own_log * f64::from(own_z[r] - log) + terms.mean_log * mean_log;
        values[r] = logarithms + terms.own * f64::from(y) + f64::from(inverse) + terms.constant;
    }
    let sum = values[..slab.labels.len()].iter().sum();
    let Some(grad) = grad else { return sum };
    let start = scale * all / classes;
    for class in cells.chunks_exact_mut(height) {
        each(&mut slopes[..height], class, |slope, e| *e = start + *e * *slope);
    }
    for (r, &label) in slab.labels.iter().enumerate() {
        cells[label as usize * height + r] += steps[r];
    }
    turn_back(cells, height, slab.classes, grad);
    sum
}

/// Log-probabilities and probabilities, the latter no less than the least normal number.
#[inline(always)]
fn softmax(slab: &Slab, height: usize, scratch: &mut Scratch) {
    let u = &mut scratch.u.as_flattened_mut()[..height * slab.classes];
    let y = &mut scratch.y.as_flattened_mut()[..height * slab.classes];
    turn(slab, height, u);
    let mut max = largest(u, height);
    let mut sums = [0.0; MOST_ROWS];
    for (u, y) in u.chunks_exact_mut(height).zip(y.chunks_exact_mut(height)) {
        each(&mut max[..height], u, |m, z| *z -= *m);
        each(u, y, |u, y| *y = math::exp(*u));
        each(&mut sums[..height], y, |s, y| *s += *y);
    }
    let (mut logs, mut inverses) = (sums, sums);
    logs.iter_mut().for_each(|s| *s = math::log(*s));
    inverses.iter_mut().for_each(|s| *s = 1.0 / *s);
    for (u, y) in u.chunks_exact_mut(height).zip(y.chunks_exact_mut(height)) {
        each(&mut logs[..height], u, |log, u| *u -= *log);
        each(&mut inverses[..height], y, |inverse, y| {
            let p = *y * *inverse;
            *y = if p < LEAST_PROBABILITY { LEAST_PROBABILITY } else { p };
        });
    }
}

/// Values and slopes of all cells: first as if none were a label's, then the labels' own.
fn evaluate(level: Level, programs: &ByLabel, slab: &Slab, height: usize, scratch: &mut Scratch) {
    let Scratch { y, u, values, slopes, registers } = scratch;
    let blocks = (height * slab.classes).div_ceil(BLOCK);
    for at in 0..blocks {
        let inputs = [&u[at], &y[at]];
        program::run(level, &programs.others, &inputs, registers);
        programs.others.output(0, &inputs, registers).copy_to(&mut values[at]);
        programs.others.output(1, &inputs, registers).copy_to(&mut slopes[at]);
    }
    let cell = |(row, &label): (usize, &u32)| label as usize * height + row;
    let (mut own_u, mut own_y) = ([0.0; BLOCK], [1.0; BLOCK]);
    for (row, at) in slab.labels.iter().enumerate().map(cell).enumerate() {
        own_u[row] = u.as_flattened()[at];
        own_y[row] = y.as_flattened()[at];
    }
    let inputs = [&own_u, &own_y];
    program::run(level, &programs.own, &inputs, registers);
    let [own_value, own_slope] = [0, 1].map(|k| programs.own.output(k, &inputs, registers));
    for (row, at) in slab.labels.iter().enumerate().map(cell).enumerate() {
        values.as_flattened_mut()[at] = own_value.at(row);
        slopes.as_flattened_mut()[at] = own_slope.at(row);
    }
}

impl Source<'_> {
    fn at(&self, index: usize) -> f32 {
        match *self {
            Source::Block(block) => block[index],
            Source::Number(v) => v,
        }
    }
}

/// Sums the values and turns slopes in the log-probabilities into the gradient.
#[inline(always)]
fn finish(slab: &Slab, height: usize, scratch: &mut Scratch, grad: Option<&mut [f32]>) -> f64 {
    let cells = height * slab.classes;
    let mut sums = [0.0f64; MOST_ROWS];
    for class in scratch.values.as_flattened()[..cells].chunks_exact(height) {
        for (sum, value) in sums.iter_mut().zip(class) {
            *sum += f64::from(*value);
        }
    }
    let sum = sums[..slab.labels.len()].iter().sum();
    let Some(grad) = grad else { return sum };
    let slopes = &mut scratch.slopes.as_flattened_mut()[..cells];
    let y = &mut scratch.y.as_flattened_mut()[..cells];
    let mut totals = [0.0; MOST_ROWS];
    for class in slopes.chunks_exact_mut(height) {
        each(&mut totals[..height], class, |total, slope| *total += *slope);
    }
    for (slopes, y) in slopes.chunks_exact_mut(height).zip(y.chunks_exact_mut(height)) {
        each(&mut totals[..height], y, |total, y| *y *= *total);
        each(y, slopes, |y, slope| *slope = (*slope - *y) * slab.scale);
    }
    turn_back(slopes, height, slab.classes, grad);
    sum
}
