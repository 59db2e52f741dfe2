//! What an outline says of its object: its area and the box around it, where a record leaves them out or contradicts them.

use crate::coco::{Annotation, Segmentation, extent};

impl Segmentation {
    /// The area of the parts together, in pixels; `None` where the object is known by its box alone, or its run lengths are
    /// wrong.
    pub fn area(&self) -> Option<f64> {
        match self {
            _ if self.is_empty() => None,
            Self::Polygons(parts) => Some(parts.iter().map(|part| polygon_area(part)).sum()),
            Self::Mask(rle) => Some(extent(&rle.runs().ok()?, rle.size[0]).0 as f64),
        }
    }

    /// The box around it, as pycocotools has it: left, top, width, height; `None` where there is no point or pixel.
    pub fn bounds(&self) -> Option<[f64; 4]> {
        let parts = match self {
            Self::Polygons(parts) => parts,
            Self::Mask(rle) => {
                let (pixels, around) = extent(&rle.runs().ok()?, rle.size[0]);
                return (pixels > 0).then_some(around);
            }
        };
        let mut points = parts.iter().flat_map(|part| points(part));
        let [x, y] = points.next()?;
        let [left, top, right, bottom] =
            points.fold([x, y, x, y], |[l, t, r, b], [x, y]| [l.min(x), t.min(y), r.max(x), b.max(y)]);
        Some([left, top, right - left, bottom - top])
    }
}

impl Annotation {
    /// Derives a box or an area of nothing from the outline, for those who learn from them.
    ///
    /// # Errors
    /// The box is another one than that around the outline; the message says both.
    pub(crate) fn reconcile(&mut self) -> Result<(), String> {
        let (Some(own), [_, _, width, height]) = (self.segmentation.bounds(), self.bbox) else { return Ok(()) };
        if self.area == 0.0 {
            self.area = self.segmentation.area().unwrap_or_default();
        }
        if width == 0.0 || height == 0.0 {
            self.bbox = own;
        } else if contradict(self.bbox, own) {
            let message = "does not fit its outline, which spans";
            return Err(format!("its bbox {:?} {message} {own:?}: expected left, top, width, height", self.bbox));
        }
        Ok(())
    }
}

/// Whether two boxes cannot be of the same object. Boxes are rounded, and drawn by hand around what a mask leaves out.
fn contradict(a: [f64; 4], b: [f64; 4]) -> bool {
    const ROUNDED: f64 = 3.0;
    let edges = |[x, y, w, h]: [f64; 4]| [x, y, x + w, y + h];
    let (a, b) = (edges(a), edges(b));
    let shared = (a[2].min(b[2]) - a[0].max(b[0])).max(0.0) * (a[3].min(b[3]) - a[1].max(b[1])).max(0.0);
    let area = |[left, top, right, bottom]: [f64; 4]| (right - left) * (bottom - top);
    let far = a.iter().zip(b).any(|(a, b)| (a - b).abs() > ROUNDED);
    far && 2.0 * shared < area(a) + area(b) - shared
}

fn points(part: &[f64]) -> impl Iterator<Item = [f64; 2]> + Clone + '_ {
    part.as_chunks::<2>().0.iter().copied()
}

/// Gauss's formula.
fn polygon_area(part: &[f64]) -> f64 {
    let next = points(part).cycle().skip(1);
    points(part).zip(next).map(|([x, y], [u, v])| x * v - u * y).sum::<f64>().abs() / 2.0
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::{Value, json};

    use super::*;
    use crate::coco::{self, Rle};

    /// Made by `tests/fixtures/outlines.py`: areas and boxes as pycocotools has them.
    #[derive(Deserialize)]
    struct Case {
        segmentation: Value,
        area: f64,
        bbox: [f64; 4],
    }

    #[test]
    fn areas_and_boxes_are_those_of_pycocotools() {
        let cases: Vec<Case> = serde_json::from_str(include_str!("../tests/fixtures/outlines.json")).unwrap();
        let annotation = |(at, case): (usize, &Case)| json!({"id": at, "image_id": 1, "category_id": 1, "segmentation": case.segmentation});
        let truth = json!({
            "images": [{"id": 1, "width": 90, "height": 70}],
            "categories": [{"id": 1}],
            "annotations": cases.iter().enumerate().map(annotation).collect::<Vec<_>>(),
        });
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("truth.json");
        std::fs::write(&path, truth.to_string()).unwrap();
        for (at, (found, case)) in coco::read(&path).unwrap().annotations.iter().zip(&cases).enumerate() {
            let [_, _, width, height] = case.bbox;
            let (rounded, side) = match found.segmentation {
                Segmentation::Mask(_) => (0.0, 0.0),
                // Its polygons are rounded to pixels, at either side of the box.
                Segmentation::Polygons(_) => (width + height, 2.0),
            };
            assert!((found.area - case.area).abs() <= rounded, "{at}: {} {}", found.area, case.area);
            let far = |(a, b): (&f64, f64)| (a - b).abs() > side;
            assert!(!found.bbox.iter().zip(case.bbox).any(far), "{at}: {:?} {:?}", found.bbox, case.bbox);
        }
        assert_eq!(Segmentation::default().area(), None);
        assert_eq!(Segmentation::default().bounds(), None);
        assert_eq!(Segmentation::Mask(Rle::from_mask(&[false; 6], 3, 2)).bounds(), None);
    }

    #[test]
    fn what_is_missing_is_derived_and_what_contradicts_is_named() {
        let square = |bbox, area| Annotation {
            id: 1.into(),
            image_id: 1.into(),
            category_id: 1.into(),
            segmentation: Segmentation::Polygons(vec![vec![10., 20., 50., 20., 50., 60., 10., 60.]]),
            bbox,
            area,
            iscrowd: 0,
        };
        for (bbox, area, derived) in [
            ([0.0; 4], 1600.0, ([10., 20., 40., 40.], 1600.0)),
            ([10., 20., 40., 0.], 0.0, ([10., 20., 40., 40.], 1600.0)),
            ([15., 25., 35., 35.], 7.0, ([15., 25., 35., 35.], 7.0)),
        ] {
            let mut annotation = square(bbox, area);
            annotation.reconcile().unwrap();
            assert_eq!((annotation.bbox, annotation.area), derived);
        }
        // Left, top, right, bottom.
        let error = square([10., 20., 50., 60.], 1600.0).reconcile();
        assert_eq!(error, Ok(()), "half of it is shared: it cannot be told");
        let error = square([100., 200., 140., 240.], 1600.0).reconcile().unwrap_err();
        assert!(error.starts_with("its bbox [100.0, 200.0, 140.0, 240.0] does not fit its outline, which spans [10.0"));
        let mut boxed = Annotation { segmentation: Segmentation::default(), ..square([5., 5., 3., 4.], 12.0) };
        assert_eq!((boxed.reconcile(), boxed.area), (Ok(()), 12.0));
    }
}
