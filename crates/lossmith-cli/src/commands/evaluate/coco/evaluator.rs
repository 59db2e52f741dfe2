//! COCO's objects and results as the evaluator's own types, and its figures.

use std::collections::HashMap;

use anyhow::{anyhow, bail};
use hotcoco::params::IouType;
use hotcoco::{Annotation, COCO, COCOeval, Category, Dataset, Image, mask};
use lossmith_data::coco::{self, Coco, Counts, Detection, Id, Segmentation, extent};

use super::{Compared, Figures, Settings, id_zero};

/// Evaluates detections against ground truth.
pub fn figures(truth: &Coco, detections: &[Detection], settings: Settings) -> anyhow::Result<Figures> {
    let numbers = Numbers::of(truth);
    let data = dataset(truth, &numbers);
    let results = Dataset { annotations: results(truth, detections, &numbers)?, ..without_objects(&data) };
    let iou_type = match settings.compared {
        Compared::Segm => IouType::Segm,
        Compared::Bbox => IouType::Bbox,
    };
    let mut evaluation = COCOeval::new(COCO::from_dataset(data), COCO::from_dataset(results), iou_type);
    // Fewer than ten of an image are not asked for, so these are in order.
    evaluation.params.max_dets = vec![1, 10, settings.most];
    evaluation.evaluate().map_err(|e| anyhow!("{e}"))?;
    let zero = truth.annotations.iter().find(|a| super::is_zero(&a.id)).filter(|_| settings.id_zero_unmatched);
    if let Some(zero) = zero {
        return Ok(id_zero::figures(&evaluation, numbers.annotation(&zero.id)));
    }
    evaluation.accumulate();
    evaluation.summarize_lines();
    let stats = evaluation.stats().unwrap_or_default();
    Ok(Figures::of(|at| stats.get(at).copied().unwrap_or(-1.0)))
}

/// The evaluator's numbers for ids: those of the file where all of a kind are numbers that it can hold, otherwise their places in
/// their order, which is pycocotools' own.
struct Numbers<'a> {
    images: HashMap<&'a Id, u64>,
    categories: HashMap<&'a Id, u64>,
    annotations: HashMap<&'a Id, u64>,
}

impl<'a> Numbers<'a> {
    fn of(truth: &'a Coco) -> Self {
        Self {
            images: numbered(truth.images.iter().map(|i| &i.id).collect()),
            categories: numbered(truth.categories.iter().map(|c| &c.id).collect()),
            annotations: numbered(truth.annotations.iter().map(|a| &a.id).collect()),
        }
    }

    fn annotation(&self, id: &Id) -> u64 {
        self.annotations[id]
    }
}

fn numbered(mut ids: Vec<&Id>) -> HashMap<&Id, u64> {
    let own = |id: &Id| match id {
        Id::Number(number) => u64::try_from(*number).ok(),
        Id::Text(_) => None,
    };
    if let Some(numbers) = ids.iter().map(|id| own(id)).collect::<Option<Vec<u64>>>() {
        return ids.into_iter().zip(numbers).collect();
    }
    ids.sort_unstable();
    ids.dedup();
    ids.into_iter().zip(1..).collect()
}

fn dataset(truth: &Coco, numbers: &Numbers) -> Dataset {
    let image = |image: &coco::Image| Image {
        id: numbers.images[&image.id],
        width: image.width,
        height: image.height,
        ..Image::default()
    };
    let category =
        |c: &coco::Category| Category { id: numbers.categories[&c.id], name: c.name.clone(), ..Category::default() };
    let annotation = |a: &coco::Annotation| Annotation {
        id: numbers.annotations[&a.id],
        image_id: numbers.images[&a.image_id],
        category_id: numbers.categories[&a.category_id],
        bbox: Some(a.bbox),
        area: Some(a.area),
        segmentation: Some(segmentation(&a.segmentation)),
        iscrowd: a.iscrowd != 0,
        ..Annotation::default()
    };
    Dataset {
        images: truth.images.iter().map(image).collect(),
        annotations: truth.annotations.iter().map(annotation).collect(),
        categories: truth.categories.iter().map(category).collect(),
        ..Dataset::default()
    }
}

fn without_objects(data: &Dataset) -> Dataset {
    Dataset { images: data.images.clone(), categories: data.categories.clone(), ..Dataset::default() }
}

fn segmentation(of: &Segmentation) -> hotcoco::Segmentation {
    match of {
        Segmentation::Polygons(parts) => hotcoco::Segmentation::Polygon(parts.clone()),
        Segmentation::Mask(rle) => match rle.counts.clone() {
            Counts::Text(counts) => hotcoco::Segmentation::CompressedRle { size: rle.size, counts },
            Counts::Numbers(counts) => hotcoco::Segmentation::UncompressedRle { size: rle.size, counts },
        },
    }
}

/// Results with the size and the box that pycocotools gives them: those of their boxes if the first has one, otherwise those of
/// their masks.
fn results(truth: &Coco, detections: &[Detection], numbers: &Numbers) -> anyhow::Result<Vec<Annotation>> {
    let boxes = detections.first().is_some_and(|d| d.bbox.is_some());
    let images: HashMap<&Id, &coco::Image> = truth.images.iter().map(|i| (&i.id, i)).collect();
    let result = |(id, found): (u64, &Detection)| {
        let outline = found.segmentation.as_ref();
        let (area, bbox) = match (boxes, found.bbox, outline) {
            (true, Some(bbox), _) => (Some(bbox[2] * bbox[3]), Some(bbox)),
            (_, own, Some(outline)) => {
                let (pixels, around) = measured(outline, images[&found.image_id])?;
                (Some(pixels as f64), own.or(Some(around)))
            }
            (_, own, None) => (None, own),
        };
        Ok(Annotation {
            id,
            image_id: numbers.images[&found.image_id],
            category_id: numbers.categories[&found.category_id],
            bbox,
            area,
            segmentation: outline.map(segmentation),
            score: Some(found.score),
            ..Annotation::default()
        })
    };
    (1..).zip(detections).map(result).collect()
}

/// The pixels of an outline or a mask, and the box around them.
fn measured(outline: &Segmentation, image: &coco::Image) -> anyhow::Result<(u64, [f64; 4])> {
    match outline {
        Segmentation::Mask(rle) => Ok(extent(&rle.runs().map_err(|e| anyhow!(e))?, rle.size[0])),
        Segmentation::Polygons(_) if image.width == 0 || image.height == 0 => {
            bail!("outlines are drawn at the size of their image, which the truth does not say of image {}", image.id)
        }
        Segmentation::Polygons(parts) => {
            let drawn = mask::fr_polys(parts, image.height, image.width).map_err(|e| anyhow!("{e}"))?;
            Ok(extent(&drawn.counts, image.height))
        }
    }
}
