//! A scene graph as a picture: the image with its boxes to the left, the graph to the right.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lossmith::graph::Corners;

/// A relation with how sure the model is of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Arrow {
    pub subject: usize,
    pub object: usize,
    pub predicate: String,
    pub score: f64,
    /// Whether it is true, where that is known.
    pub right: Option<bool>,
}

/// Either half is a square of so many units.
const SIDE: f64 = 480.0;
const GAP: f64 = 20.0;
/// From the middle of the graph to its nodes.
const RADIUS: f64 = 180.0;
const RIGHT: &str = "#0072b2";
const WRONG: &str = "#d55e00";

/// An SVG file; `picture` are the bytes of a PNG or JPEG file of the image, whose size is `size`.
pub fn picture(
    size: [f64; 2],
    boxes: &[Corners],
    names: &[String],
    arrows: &[Arrow],
    picture: Option<&[u8]>,
) -> String {
    let scale = SIDE / size[0].max(size[1]).max(1.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {w} {SIDE}\" width=\"{w}\" height=\"{SIDE}\" font-family=\"sans-serif\" \
         font-size=\"12\" role=\"img\" aria-label=\"{}\">\n<defs>",
        escape(&words(names, arrows)),
        w = 2.0 * SIDE + GAP,
    );
    for (id, colour) in [("right", RIGHT), ("wrong", WRONG)] {
        let _ = write!(
            svg,
            "<marker id=\"{id}\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\">\
             <path d=\"M0 0 L8 4 L0 8 z\" fill=\"{colour}\"/></marker>"
        );
    }
    let _ = writeln!(svg, "</defs>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>");
    let (width, height) = (size[0] * scale, size[1] * scale);
    match picture {
        Some(bytes) => {
            let kind = if bytes.starts_with(&[0x89, b'P']) { "png" } else { "jpeg" };
            let _ = writeln!(
                svg,
                "<image width=\"{width:.1}\" height=\"{height:.1}\" preserveAspectRatio=\"none\" href=\"data:image/{kind};base64,{}\"/>",
                STANDARD.encode(bytes)
            );
        }
        None => {
            let _ = writeln!(svg, "<rect width=\"{width:.1}\" height=\"{height:.1}\" fill=\"#f4f4f4\"/>");
        }
    }
    let mut labels = Labels::default();
    for (i, b) in boxes.iter().enumerate() {
        let corners = b.map(|v| v * scale);
        let [x1, y1, x2, y2] = corners;
        let (name, label) = (escape(&names[i]), format!("{i} {}", names[i]));
        let (x, y) = labels.place(corners, &label, [width, height]);
        let _ = writeln!(
            svg,
            "<rect x=\"{x1:.1}\" y=\"{y1:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"none\" stroke=\"#222\"><title>{i} {name}</title></rect>\
             <text x=\"{x:.1}\" y=\"{y:.1}\" stroke=\"#fff\" stroke-width=\"3\" paint-order=\"stroke\">{i} {name}</text>",
            x2 - x1,
            y2 - y1,
        );
    }
    graph(&mut svg, names, arrows);
    svg + "</svg>\n"
}

/// The labels of boxes that are placed already: left, top, right, bottom.
#[derive(Default)]
struct Labels(Vec<Corners>);

impl Labels {
    /// Where the base line of a box's label begins: above the box, or where that is taken below it, else inside, at either end of its
    /// width; never outside of the picture.
    fn place(&mut self, [x1, y1, x2, y2]: Corners, label: &str, [width, height]: [f64; 2]) -> (f64, f64) {
        const LINE: f64 = 13.0;
        // About the width of a sans-serif letter at 12 units.
        let long = 6.7 * label.chars().count() as f64;
        let within = |x: f64, y: f64| (x.min(width - long).max(0.0), y.clamp(10.0, (height - 3.0).max(10.0)));
        let lines = [y1 - 3.0, y2 + LINE - 2.0, y1 + LINE, y2 - 3.0];
        let places = lines.into_iter().flat_map(|y| [within(x1, y), within(x2 - long, y)]);
        let taken = |(x, y): (f64, f64)| [x, y - LINE + 3.0, x + long, y + 3.0];
        let apart = |a: Corners, b: Corners| a[2] <= b[0] || b[2] <= a[0] || a[3] <= b[1] || b[3] <= a[1];
        let free = |place: &(f64, f64)| self.0.iter().all(|other| apart(taken(*place), *other));
        let place = places.clone().find(free).unwrap_or_else(|| within(x1, y1 - 3.0));
        self.0.push(taken(place));
        place
    }
}

fn graph(svg: &mut String, names: &[String], arrows: &[Arrow]) {
    // Nodes that no arrow touches would only fill the circle.
    let touched: Vec<usize> =
        (0..names.len()).filter(|i| arrows.iter().any(|a| a.subject == *i || a.object == *i)).collect();
    let place = |node: usize| {
        let at = touched.iter().position(|&t| t == node).unwrap_or(0) as f64;
        let angle = std::f64::consts::TAU * at / touched.len().max(1) as f64 - std::f64::consts::FRAC_PI_2;
        (SIDE + GAP + SIDE / 2.0 + RADIUS * angle.cos(), SIDE / 2.0 + RADIUS * angle.sin())
    };
    for a in arrows {
        let ((x1, y1), (x2, y2)) = (place(a.subject), place(a.object));
        let length = (x2 - x1).hypot(y2 - y1).max(1.0);
        // A bow to the left keeps the two directions of a pair apart.
        let bow = (0.12 * (y2 - y1), -0.12 * (x2 - x1));
        let (mx, my) = ((x1 + x2) / 2.0 + bow.0, (y1 + y2) / 2.0 + bow.1);
        let (ex, ey) = (x2 - 20.0 * (x2 - mx) / (0.55 * length), y2 - 20.0 * (y2 - my) / (0.55 * length));
        let (id, colour) = if a.right == Some(false) { ("wrong", WRONG) } else { ("right", RIGHT) };
        let _ = writeln!(
            svg,
            "<path d=\"M{x1:.1} {y1:.1} Q{mx:.1} {my:.1} {ex:.1} {ey:.1}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.6\" \
             stroke-opacity=\"{:.2}\" marker-end=\"url(#{id})\"><title>{}</title></path>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" font-size=\"11\" fill=\"{colour}\" stroke=\"#fff\" stroke-width=\"3\" \
             paint-order=\"stroke\">{} {:.2}</text>",
            a.score.clamp(0.25, 1.0),
            escape(&sentence(names, a)),
            (x1 + 2.0 * mx + x2) / 4.0,
            (y1 + 2.0 * my + y2) / 4.0,
            escape(&a.predicate),
            a.score,
        );
    }
    for &node in &touched {
        let (x, y) = place(node);
        let name = escape(&names[node]);
        let _ = writeln!(
            svg,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"17\" fill=\"#f5e6c8\" stroke=\"#222\"/>\
             <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{node}</text>\
             <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\" stroke=\"#fff\" stroke-width=\"3\" paint-order=\"stroke\">{name}</text>",
            y + 4.0,
            y + 31.0,
        );
    }
}

fn sentence(names: &[String], a: &Arrow) -> String {
    format!("{} {} {} {} {}: {:.3}", a.subject, names[a.subject], a.predicate, a.object, names[a.object], a.score)
}

fn words(names: &[String], arrows: &[Arrow]) -> String {
    let listed: Vec<String> = arrows.iter().map(|a| sentence(names, a)).collect();
    format!("scene graph: {}", listed.join("; "))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_keep_apart_and_inside() {
        let mut labels = Labels::default();
        let corner = [90.0, 5.0, 100.0, 30.0];
        let first = labels.place(corner, "0 person", [100.0, 100.0]);
        assert!(first.0 + 6.7 * 8.0 <= 100.0 && first.1 >= 10.0, "{first:?}");
        let second = labels.place(corner, "1 person", [100.0, 100.0]);
        assert!((second.1 - first.1).abs() >= 13.0, "{first:?} {second:?}");
    }

    #[test]
    fn boxes_and_arrows_are_drawn_and_names_cannot_break_out() {
        let boxes = [[0.0, 0.0, 50.0, 50.0], [50.0, 0.0, 99.0, 99.0], [1.0, 1.0, 2.0, 2.0]];
        let names = ["a<b".to_owned(), "cup".to_owned(), "alone".to_owned()];
        let arrow = Arrow { subject: 0, object: 1, predicate: "on".into(), score: 0.75, right: Some(false) };
        let svg = picture([100.0, 100.0], &boxes, &names, &[arrow], Some(&[0x89, b'P']));
        assert_eq!((svg.matches("<circle").count(), svg.matches("marker-end=\"url(#wrong)\"").count()), (2, 1));
        assert!(
            svg.contains("data:image/png;base64,iVA=")
                && svg.contains("0 a&lt;b on 1 cup: 0.750")
                && !svg.contains("a<b")
        );
    }
}
