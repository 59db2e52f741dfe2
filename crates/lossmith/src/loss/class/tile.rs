//! The softmax losses on tiles: a few rows of logits at a time, turned so that one class of all rows lies side by side.
//! Then everything, the sums over the classes too, is element by element, and becomes vectors.

use std::cell::RefCell;

use super::LabelTerms;
use crate::expr::graph::probability::{LEAST_PROBABILITY, LOG_MISSED, LOG_MISSED_SLOPE, MISSED};
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
/// The inputs are those of [`crate::expr::graph::probability`]; outputs the value and its slope, in the direction
/// that the slopes among the inputs say.
#[derive(Clone, Debug)]
pub(super) struct ByLabel {
    pub others: Program,
    pub own: Program,
}

impl ByLabel {
    /// What of `1 - y` is asked for.
    fn missed(&self) -> Missed {
        let read = |input| self.others.reads(input) || self.own.reads(input);
        match (read(LOG_MISSED), read(MISSED) || read(LOG_MISSED_SLOPE)) {
            (true, _) => Missed::WithLogarithm,
            (_, true) => Missed::Alone,
            _ => Missed::Not,
        }
    }
}

/// What of `1 - y` a formula asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missed {
    Not,
    Alone,
    WithLogarithm,
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
    /// The slope of the log-probability in the direction in which slopes are taken.
    direction: Vec<Block>,
    /// `1 - y` from the other classes, `log(1 - y)` and its slope without the sign, where they are asked for.
    q: Vec<Block>,
    v: Vec<Block>,
    missed_slope: Vec<Block>,
    /// The rows of which one class is all but certain.
    certain: Vec<Certain>,
    values: Vec<Block>,
    slopes: Vec<Block>,
    registers: Vec<Block>,
}

/// A row whose largest probability leaves so little to the others that their sum underflows.
struct Certain {
    row: usize,
    /// The certain class.
    class: usize,
    /// The largest of the other logits.
    second: f64,
    /// The sum of the others' exponentials, relative to the largest of them.
    sum: f64,
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
                        || softmax(&tile, height, scratch, programs.missed()),
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
            for buffer in [&mut self.u, &mut self.direction, &mut self.q, &mut self.v, &mut self.missed_slope] {
                grow(buffer, blocks);
            }
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

/// So many classes are summed in f32 before the sum goes on in f64: few enough to keep the digits of f32, enough to make
/// the change of width cost nothing.
const FEW: usize = 16;

/// Adds the sums of a few classes to those of all.
#[inline(always)]
fn widen(totals: &mut [f64], part: &Rows) {
    for (total, part) in totals.iter_mut().zip(part) {
        *total += f64::from(*part);
    }
}

/// What the exponentials of a row's logits come to, relative to the largest.
struct Sums {
    /// The sum of all but the largest.
    rest: Rows,
    /// The sum of all.
    all: Rows,
    /// The logarithm of the sum of all.
    log: Rows,
}

/// Logits, from which the largest is subtracted, and their exponentials. What is not the largest is summed by itself: next
/// to a 1 it would be rounded away. With `DISTANCES`, how far all logits lie below the largest is added up, too.
#[inline(always)]
fn exponentials<const DISTANCES: bool>(
    cells: &mut [f32],
    height: usize,
    max: &mut Rows,
    mut keep: impl FnMut(usize, &[f32]),
) -> (Sums, [f64; MOST_ROWS]) {
    let mut ties = [0.0; MOST_ROWS];
    let (mut totals, mut distances) = ([0.0f64; MOST_ROWS], [0.0f64; MOST_ROWS]);
    for (at, classes) in cells.chunks_mut(FEW * height).enumerate() {
        let (mut part, mut distance) = ([0.0; MOST_ROWS], [0.0; MOST_ROWS]);
        for (class, cells) in classes.chunks_exact_mut(height).enumerate() {
            each(&mut max[..height], cells, |m, z| *z -= *m);
            keep(at * FEW + class, cells);
            if DISTANCES {
                each(&mut distance[..height], cells, |d, z| *d += *z);
            }
            each(&mut ties[..height], cells, |ties, z| *ties += if *z >= 0.0 { 1.0 } else { 0.0 });
            each(&mut part[..height], cells, |sum, z| {
                let e = math::exp(*z);
                // Written so that NaN stays in the sum.
                *sum += if *z >= 0.0 { 0.0 } else { e };
                *z = e;
            });
        }
        widen(&mut totals[..height], &part);
        if DISTANCES {
            widen(&mut distances[..height], &distance);
        }
    }
    let mut sums = Sums { rest: [0.0; MOST_ROWS], all: [0.0; MOST_ROWS], log: [0.0; MOST_ROWS] };
    for r in 0..height {
        let rest = (totals[r] + f64::from(ties[r] - 1.0)) as f32;
        sums.rest[r] = rest;
        sums.all[r] = 1.0 + rest;
        sums.log[r] = math::log_1p(rest);
    }
    (sums, distances)
}

/// A loss of few terms: one exponential for every logit and little else.
#[inline(always)]
fn fused(terms: &LabelTerms, slab: &Slab, height: usize, scratch: &mut Scratch, grad: Option<&mut [f32]>) -> f64 {
    let (classes, per_class) = (slab.classes as f32, 1.0 / slab.classes as f64);
    let cells = &mut scratch.y.as_flattened_mut()[..height * slab.classes];
    turn(slab, height, cells);
    let mut max = largest(cells, height);
    let (sums, mut distances) = if terms.mean_log == 0.0 {
        exponentials::<false>(cells, height, &mut max, |_, _| {})
    } else {
        exponentials::<true>(cells, height, &mut max, |_, _| {})
    };
    for (r, row) in slab.logits.chunks_exact(slab.classes).enumerate() {
        // Finite logits may lie farther apart than f32 reaches.
        if distances[r] == f64::NEG_INFINITY {
            distances[r] = row.iter().map(|z| f64::from(*z) - f64::from(max[r])).sum();
        }
    }
    let (mut own_z, mut own_e) = ([0.0f64; MOST_ROWS], [1.0; MOST_ROWS]);
    for (r, (&label, row)) in slab.labels.iter().zip(slab.logits.chunks_exact(slab.classes)).enumerate() {
        own_z[r] = f64::from(row[label as usize]) - f64::from(max[r]);
        own_e[r] = cells[label as usize * height + r];
    }
    let (all, scale) = (terms.mean_log as f32, slab.scale);
    let (mut slopes, mut owns, mut values) = ([0.0; MOST_ROWS], [0.0; MOST_ROWS], [0.0f64; MOST_ROWS]);
    for r in 0..height {
        let y = own_e[r] / sums.all[r];
        let y = if y < LEAST_PROBABILITY { LEAST_PROBABILITY } else { y };
        // From the others alone where the label is the largest: 1 - y has lost the digits.
        let missed = if own_e[r] >= 1.0 { sums.rest[r] } else { sums.all[r] - own_e[r] } / sums.all[r];
        let inverse = terms.mean_inverse as f32 / (classes * y);
        let own = terms.own_log as f32 - terms.own_missed as f32 * y - inverse;
        owns[r] = scale * (all * (1.0 / classes - y) + own * missed);
        slopes[r] = -(scale * (all + own)) / sums.all[r];
        let log = f64::from(sums.log[r]);
        let logarithms = terms.own_log * (own_z[r] - log) + terms.mean_log * (distances[r] * per_class - log);
        values[r] = logarithms + terms.own_missed * f64::from(missed) + f64::from(inverse) + terms.constant;
    }
    let sum = values[..slab.labels.len()].iter().sum();
    let Some(grad) = grad else { return sum };
    let start = scale * all / classes;
    for class in cells.chunks_exact_mut(height) {
        each(&mut slopes[..height], class, |slope, e| *e = start + *e * *slope);
    }
    for (r, &label) in slab.labels.iter().enumerate() {
        cells[label as usize * height + r] = owns[r];
    }
    turn_back(cells, height, slab.classes, grad);
    sum
}

/// Below this sum of the other classes, relative to the largest, probabilities among them lose digits.
const LEAST_REST: f32 = 1e-30;

/// The inputs of a formula. Probabilities and what they miss to 1 are no less than the least normal number.
#[inline(always)]
fn softmax(slab: &Slab, height: usize, scratch: &mut Scratch, missed: Missed) {
    let cells = height * slab.classes;
    let Scratch { y, u, direction, q, v, missed_slope, certain, .. } = scratch;
    let [y, u, direction, q, v, missed_slope] =
        [y, u, direction, q, v, missed_slope].map(|blocks| &mut blocks.as_flattened_mut()[..cells]);
    turn(slab, height, y);
    let mut max = largest(y, height);
    let keep = |class: usize, z: &[f32]| u[class * height..][..height].copy_from_slice(z);
    let (mut sums, _) = exponentials::<false>(y, height, &mut max, keep);
    let (mut inverses, mut missed_of_top) = ([0.0; MOST_ROWS], [0.0; MOST_ROWS]);
    for r in 0..height {
        inverses[r] = 1.0 / sums.all[r];
        missed_of_top[r] = sums.rest[r] * inverses[r];
    }
    let classes = u.chunks_exact_mut(height).zip(y.chunks_exact_mut(height)).zip(direction.chunks_exact_mut(height));
    for ((u, y), direction) in classes {
        each(&mut sums.log[..height], u, |log, u| *u = lifted(*u - *log, f32::MIN));
        each(&mut inverses[..height], y, |inverse, y| *y = lifted(*y * *inverse, LEAST_PROBABILITY));
        for ((direction, y), missed) in direction.iter_mut().zip(&*y).zip(&missed_of_top) {
            *direction = if *y > APART { *missed } else { 1.0 };
        }
    }
    certain.clear();
    if missed == Missed::Not {
        return;
    }
    for (q, y) in q.chunks_exact_mut(height).zip(y.chunks_exact(height)) {
        for ((q, y), missed) in q.iter_mut().zip(y).zip(&missed_of_top) {
            *q = if *y > APART { lifted(*missed, LEAST_PROBABILITY) } else { 1.0 - *y };
        }
    }
    for ((slope, y), q) in missed_slope.iter_mut().zip(&*y).zip(&*q) {
        *slope = if *y > APART { *y } else { *y / *q };
    }
    if missed == Missed::WithLogarithm {
        for ((v, y), q) in v.iter_mut().zip(&*y).zip(&*q) {
            *v = if *y > APART { math::log(*q) } else { math::log_1p(-*y) };
        }
    }
    for (row, logits) in slab.logits.chunks_exact(slab.classes).enumerate() {
        if sums.rest[row] < LEAST_REST {
            let found = Certain::of(row, logits);
            v[found.class * height + row] = found.log_missed(logits);
            certain.push(found);
        }
    }
}

/// The class with more of the probability than this stands apart from the others: only its `1 - y` may be anything down to 0.
const APART: f32 = 0.5;

/// No less than a bound; NaN stays NaN.
#[inline(always)]
fn lifted(number: f32, least: f32) -> f32 {
    if number < least { least } else { number }
}

impl Certain {
    fn of(row: usize, logits: &[f32]) -> Self {
        let class = (1..logits.len()).fold(0, |top, class| if logits[class] > logits[top] { class } else { top });
        let others = || logits.iter().enumerate().filter(move |(at, _)| *at != class).map(|(_, z)| f64::from(*z));
        // A row of one class misses nothing: as if there were another, as far off as can be.
        let second = others().fold(f64::from(f32::MIN), f64::max);
        let sum = others().map(|z| (z - second).exp()).sum::<f64>();
        Self { row, class, second, sum: if logits.len() == 1 { 1.0 } else { sum } }
    }

    fn log_missed(&self, logits: &[f32]) -> f32 {
        let log = self.second - f64::from(logits[self.class]) + self.sum.ln();
        (log as f32).max(f32::MIN)
    }
}

/// Values and slopes of all cells: first as if none were a label's, then the labels' own.
fn evaluate(level: Level, programs: &ByLabel, slab: &Slab, height: usize, scratch: &mut Scratch) {
    let Scratch { y, u, direction, q, v, missed_slope, values, slopes, registers, .. } = scratch;
    let blocks = (height * slab.classes).div_ceil(BLOCK);
    for at in 0..blocks {
        let inputs = [&u[at], &y[at], &q[at], &v[at], &direction[at], &missed_slope[at]];
        program::run(level, &programs.others, &inputs, registers);
        programs.others.output(0, &inputs, registers).copy_to(&mut values[at]);
        programs.others.output(1, &inputs, registers).copy_to(&mut slopes[at]);
    }
    let cell = |(row, &label): (usize, &u32)| label as usize * height + row;
    let mut own = [[0.5; BLOCK]; 6];
    for (input, all) in own.iter_mut().zip([&*u, &*y, &*q, &*v, &*direction, &*missed_slope]) {
        for (row, at) in slab.labels.iter().enumerate().map(cell).enumerate() {
            input[row] = all.as_flattened()[at];
        }
    }
    let inputs = own.each_ref();
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

/// Sums the values and turns slopes into the gradient.
///
/// The slope of a class is that in its log-probability, `t_j`, but for the class that stands apart: there it is that in its
/// margin, `s = (1 - y) t`, which the others share by their probabilities among themselves, `y_j/(1 - y)`.
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
    let Scratch { y, direction, slopes, certain, .. } = scratch;
    let [y, direction, slopes] = [y, direction, slopes].map(|blocks| &mut blocks.as_flattened_mut()[..cells]);
    let (mut totals, mut top, mut top_missed) = ([0.0f64; MOST_ROWS], [0.0; MOST_ROWS], [1.0; MOST_ROWS]);
    let rows = y.chunks(FEW * height).zip(direction.chunks(FEW * height)).zip(slopes.chunks(FEW * height));
    for ((y, direction), slopes) in rows {
        let mut part = [0.0; MOST_ROWS];
        let classes = y.chunks_exact(height).zip(direction.chunks_exact(height)).zip(slopes.chunks_exact(height));
        for ((y, direction), slopes) in classes {
            for ((y, slope), (part, top)) in y.iter().zip(slopes).zip(part.iter_mut().zip(&mut top)) {
                let apart = *y > APART;
                *part += if apart { 0.0 } else { *slope };
                *top += if apart { *slope } else { 0.0 };
            }
            for ((y, direction), missed) in y.iter().zip(direction).zip(&mut top_missed) {
                *missed = if *y > APART { *direction } else { *missed };
            }
        }
        widen(&mut totals[..height], &part);
    }
    for found in certain.iter() {
        // Its slope is shared out below.
        top_missed[found.row] = f32::INFINITY;
    }
    let totals = totals.map(|total| total as f32);
    let shares = top_missed.map(|missed| 1.0 / lifted(missed, LEAST_PROBABILITY));
    for (slopes, y) in slopes.chunks_exact_mut(height).zip(y.chunks_exact(height)) {
        let rows = totals.iter().zip(top.iter().zip(&shares));
        for ((slope, y), (total, (top, share))) in slopes.iter_mut().zip(y).zip(rows) {
            // The share comes first: the slope divided by a small `1 - y` may be out of range.
            let from_top = if *y > APART { 0.0 } else { *y * *share * *top };
            *slope = (*slope - *y * *total - from_top) * slab.scale;
        }
    }
    for found in certain.drain(..) {
        found.share(slab, height, top[found.row], slopes);
    }
    turn_back(slopes, height, slab.classes, grad);
    sum
}

impl Certain {
    /// Takes from the other classes their shares of the slope of the certain one.
    fn share(&self, slab: &Slab, height: usize, slope: f32, gradient: &mut [f32]) {
        if slab.classes == 1 {
            gradient[self.row] = 0.0;
            return;
        }
        let logits = &slab.logits[self.row * slab.classes..][..slab.classes];
        for (class, z) in logits.iter().enumerate().filter(|(class, _)| *class != self.class) {
            let share = (f64::from(*z) - self.second).exp() / self.sum;
            gradient[class * height + self.row] -= (share as f32) * slope * slab.scale;
        }
    }
}
