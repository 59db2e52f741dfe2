//! From values to places on an axis, and the round values that are marked on it.

/// What one axis shows.
#[derive(Clone, Debug, Default)]
pub struct Axis {
    label: String,
    log: bool,
    range: Option<(f64, f64)>,
}

impl Axis {
    /// A linear axis over all values.
    pub fn new(label: impl Into<String>) -> Self {
        Self { label: label.into(), ..Self::default() }
    }

    /// The same axis, logarithmic; values of 0 and below have no place on it.
    #[must_use]
    pub fn log(mut self) -> Self {
        self.log = true;
        self
    }

    /// The same axis from `low` to `high`, whatever the values are.
    #[must_use]
    pub fn range(mut self, low: f64, high: f64) -> Self {
        self.range = Some((low, high));
        self
    }

    /// What it measures, with the unit.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Lays the axis out over the values from `start` to `end` in pixels.
    pub(super) fn scale(&self, values: impl Iterator<Item = f64>, start: f64, end: f64) -> Scale {
        let shown = values.filter(|v| v.is_finite() && (!self.log || *v > 0.0));
        let (low, high) =
            self.range.unwrap_or_else(|| shown.fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(v), high.max(v))));
        let (low, high) = if low <= high { (low, high) } else { (1.0, 2.0) };
        let (low, high, ticks) = if self.log { decades(low, high) } else { rounded(low, high, self.range.is_some()) };
        Scale { log: self.log, low, high, start, end, ticks }
    }
}

/// A laid out axis.
pub(super) struct Scale {
    log: bool,
    low: f64,
    high: f64,
    start: f64,
    end: f64,
    /// The marked values.
    pub ticks: Vec<f64>,
}

impl Scale {
    /// The pixel of a value, if it has one.
    pub fn place(&self, value: f64) -> Option<f64> {
        let map = |v: f64| if self.log { v.ln() } else { v };
        let share = (map(value) - map(self.low)) / (map(self.high) - map(self.low));
        share.is_finite().then_some(self.start + share * (self.end - self.start))
    }

    /// The same axis over other pixels.
    pub fn over(mut self, start: f64, end: f64) -> Self {
        (self.start, self.end) = (start, end);
        self
    }

    /// The marked values as text, all with the same number of decimals.
    pub fn tick_texts(&self) -> Vec<String> {
        if self.log {
            return self
                .ticks
                .iter()
                .map(|v| grouped(*v, if *v < 1.0 { (-v.log10()).ceil() as usize } else { 0 }))
                .collect();
        }
        let step = self.ticks.windows(2).map(|w| w[1] - w[0]).next().unwrap_or(1.0);
        // A step of 0.25 needs a decimal more than its magnitude says; the text shows whether it does.
        let decimals = (0..9).find(|d| ((step * 10f64.powi(*d)).round() - step * 10f64.powi(*d)).abs() < 1e-6);
        self.ticks.iter().map(|v| grouped(*v, decimals.unwrap_or(9) as usize)).collect()
    }
}

/// Round values in and around a range; the range grows to the next ones unless it is fixed.
fn rounded(low: f64, high: f64, fixed: bool) -> (f64, f64, Vec<f64>) {
    let (low, high) =
        if high > low { (low, high) } else { (low - 0.5 * low.abs().max(1e-3), high + 0.5 * high.abs().max(1e-3)) };
    let rough = (high - low) / 4.5;
    let magnitude = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].map(|m| m * magnitude).into_iter().find(|s| *s >= rough).unwrap_or(rough);
    let (first, last) = if fixed {
        ((low / step - 1e-9).ceil(), (high / step + 1e-9).floor())
    } else {
        ((low / step + 1e-9).floor(), (high / step - 1e-9).ceil())
    };
    let ticks: Vec<f64> = (0..=(last - first).max(0.0) as usize).map(|i| (first + i as f64) * step).collect();
    if fixed { (low, high, ticks) } else { (first * step, last * step, ticks) }
}

/// Powers of ten in a range; with few of them also their multiples by 2 and 5.
fn decades(low: f64, high: f64) -> (f64, f64, Vec<f64>) {
    let (low, high) = if high > low { (low, high) } else { (low / 2.0, high * 2.0) };
    let span = (high / low).log10();
    let factors: &[f64] = if span < 2.5 { &[1.0, 2.0, 5.0] } else { &[1.0] };
    let every = (span / 6.0).ceil().max(1.0) as usize;
    let powers = (low.log10().floor() as i32..=high.log10().ceil() as i32).step_by(every);
    let ticks = powers.flat_map(|p| factors.iter().map(move |f| f * 10f64.powi(p)));
    (low, high, ticks.filter(|v| *v >= low * (1.0 - 1e-9) && *v <= high * (1.0 + 1e-9)).collect())
}

/// A number with a comma between thousands.
fn grouped(value: f64, decimals: usize) -> String {
    let text = format!("{:.decimals$}", value.abs());
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let digits: Vec<char> = whole.chars().collect();
    let groups: Vec<String> = digits.rchunks(3).rev().map(|group| group.iter().collect()).collect();
    let sign = if value < 0.0 && text.bytes().any(|b| (b'1'..=b'9').contains(&b)) { "−" } else { "" };
    format!("{sign}{}{rest}", groups.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(axis: &Axis, values: &[f64]) -> Vec<String> {
        axis.scale(values.iter().copied(), 0.0, 100.0).tick_texts()
    }

    #[test]
    fn marks_are_round_and_hold_all_values() {
        assert_eq!(texts(&Axis::new(""), &[0.0, 20_000.0]), ["0", "5,000", "10,000", "15,000", "20,000"]);
        assert_eq!(texts(&Axis::new(""), &[0.912, 0.987]), ["0.90", "0.92", "0.94", "0.96", "0.98", "1.00"]);
        assert_eq!(texts(&Axis::new(""), &[-1.0, 1.0]), ["−1.0", "−0.5", "0.0", "0.5", "1.0"]);
        assert_eq!(texts(&Axis::new("").range(0.0, 1.0), &[7.0]), ["0.00", "0.25", "0.50", "0.75", "1.00"]);
        assert_eq!(texts(&Axis::new("").log(), &[100.0, 60_000.0, -3.0]), ["100", "1,000", "10,000"]);
        assert_eq!(texts(&Axis::new("").log(), &[0.02, 0.3]), ["0.02", "0.05", "0.1", "0.2"]);
    }

    #[test]
    fn values_are_placed_and_odd_ones_left_out() {
        let linear = Axis::new("").scale([0.0, 10.0, f64::NAN].into_iter(), 20.0, 120.0);
        assert_eq!((linear.place(0.0), linear.place(5.0), linear.place(f64::NAN)), (Some(20.0), Some(70.0), None));
        let log = Axis::new("").log().scale([1.0, 100.0].into_iter(), 0.0, 100.0);
        assert!((log.place(10.0).unwrap() - 50.0).abs() < 1e-9);
        assert_eq!(log.place(0.0), None);
    }

    #[test]
    fn one_value_or_none_still_makes_an_axis() {
        for values in [&[][..], &[3.0], &[0.0], &[f64::INFINITY]] {
            for axis in [Axis::new(""), Axis::new("").log()] {
                let scale = axis.scale(values.iter().copied(), 0.0, 1.0);
                assert!(scale.low < scale.high && !scale.ticks.is_empty(), "{values:?}");
            }
        }
    }
}
