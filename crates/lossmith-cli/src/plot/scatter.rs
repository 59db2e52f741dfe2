//! Panels of points side by side: the same points at several times, one colour a group, with rings around places.

use super::{Anchor, Drawing, append, short, text};

const GAP: f64 = 10.0;
const CAPTION: f64 = 18.0;
const RADIUS: f64 = 1.3;

/// A point of a group.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dot {
    /// Where.
    pub at: [f64; 2],
    /// Which group, which decides the colour.
    pub group: usize,
}

/// A ring around a place, in the units of the points.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ring {
    /// The middle.
    pub at: [f64; 2],
    /// The radius.
    pub radius: f64,
}

/// One panel.
#[derive(Clone, Debug, Default)]
pub struct Panel {
    /// What stands below it.
    pub caption: String,
    /// The points.
    pub dots: Vec<Dot>,
    /// The rings.
    pub rings: Vec<Ring>,
}

/// Panels in rows, all with the same scale.
#[derive(Clone, Debug)]
pub struct Scatter {
    /// What is to be seen, for those who do not see it.
    pub title: String,
    /// How many in a row.
    pub columns: usize,
    /// The side of a panel in pixels.
    pub side: f64,
    /// The panels, row by row.
    pub panels: Vec<Panel>,
}

impl Scatter {
    /// Draws the panels.
    pub fn draw(&self) -> Drawing {
        let columns = self.columns.max(1);
        let (pitch, row_pitch) = (self.side + GAP, self.side + CAPTION + GAP);
        let place = self.place();
        let mut body = String::new();
        for (at, panel) in self.panels.iter().enumerate() {
            let (left, top) = ((at % columns) as f64 * pitch, (at / columns) as f64 * row_pitch);
            let point = |p: [f64; 2]| (short(left + place.of(p[0], 0)), short(top + self.side - place.of(p[1], 1)));
            append(
                &mut body,
                format_args!(
                    "<rect x=\"{}\" y=\"{}\" width=\"{2}\" height=\"{2}\" fill=\"none\" class=\"rule\"/>",
                    short(left),
                    short(top),
                    short(self.side)
                ),
            );
            for ring in &panel.rings {
                let ((x, y), radius) = (point(ring.at), short(ring.radius * place.scale));
                append(
                    &mut body,
                    format_args!("<circle cx=\"{x}\" cy=\"{y}\" r=\"{radius}\" fill=\"none\" class=\"edge\"/>"),
                );
            }
            for dot in &panel.dots {
                let ((x, y), hue) = (point(dot.at), hue(dot.group));
                append(
                    &mut body,
                    format_args!("<circle cx=\"{x}\" cy=\"{y}\" r=\"{RADIUS}\" fill=\"hsl({hue} 65% 50%)\"/>"),
                );
            }
            text(&mut body, (left + self.side / 2.0, top + self.side + 13.0), Anchor::Middle, "soft", &panel.caption);
        }
        let rows = self.panels.len().div_ceil(columns).max(1);
        let width = columns.min(self.panels.len()).max(1) as f64 * pitch - GAP;
        Drawing { width, height: rows as f64 * row_pitch - GAP, label: self.title.clone(), body }
    }

    /// The scale that holds every dot and ring, the same in both directions.
    fn place(&self) -> Place {
        let rings = |p: &Panel| {
            let corner = |r: &Ring, sign: f64| r.at.map(|v| v + sign * r.radius);
            p.rings.iter().flat_map(|r| [corner(r, -1.0), corner(r, 1.0)]).collect::<Vec<_>>()
        };
        let points = self.panels.iter().flat_map(|p| p.dots.iter().map(|d| d.at).chain(rings(p)));
        let (low, high) = points
            .filter(|p| p.iter().all(|v| v.is_finite()))
            .fold(([f64::MAX; 2], [f64::MIN; 2]), |(low, high), p| {
                (std::array::from_fn(|i| low[i].min(p[i])), std::array::from_fn(|i| high[i].max(p[i])))
            });
        let extent = (high[0] - low[0]).max(high[1] - low[1]);
        let extent = if extent > 0.0 { 1.06 * extent } else { 1.0 };
        let middle = [0, 1].map(|i| if low[i] <= high[i] { f64::midpoint(low[i], high[i]) } else { 0.0 });
        Place { scale: self.side / extent, low: middle.map(|m| m - extent / 2.0) }
    }
}

struct Place {
    scale: f64,
    low: [f64; 2],
}

impl Place {
    fn of(&self, value: f64, axis: usize) -> f64 {
        (value - self.low[axis]) * self.scale
    }
}

/// Neighbouring groups get hues far apart.
fn hue(group: usize) -> u32 {
    (group as f64 * 0.618_033_988_749_895 % 1.0 * 360.0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_panel_has_the_same_scale_and_holds_its_points() {
        let panel = |at: [f64; 2]| Panel {
            caption: "0".to_owned(),
            dots: vec![Dot { at, group: 1 }],
            rings: vec![Ring { at, radius: 1.0 }],
        };
        let scatter = Scatter {
            title: "t".to_owned(),
            columns: 2,
            side: 106.0,
            panels: vec![panel([0.0, 0.0]), panel([8.0, 4.0])],
        };
        let drawing = scatter.draw();
        assert_eq!((drawing.width, drawing.height), (222.0, 124.0));
        // 10 units from ring to ring over 106 pixels with a margin of 6 percent.
        assert_eq!(drawing.body.matches("r=\"10\"").count(), 2);
        assert!(drawing.body.contains("cx=\"13\" cy=\"73\" r=\"10\""), "{}", drawing.body);
        assert!(drawing.body.contains("cx=\"209\" cy=\"33\" r=\"10\""), "{}", drawing.body);
    }
}
