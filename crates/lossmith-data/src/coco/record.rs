//! One record of COCO's JSON, as exporters write it: whole numbers as `1.0`, flags as `false`, keys that are null or missing.
//! A message says which key, what was found and what would be right.

use serde_json::{Map, Value};

use super::id::whole;
use super::{Annotation, Category, Counts, Detection, Geometry, Id, Image, Reading, Rle, Segmentation};

type Read<T> = Result<T, String>;

/// What becomes of a JSON object.
pub(super) trait Record: Sized {
    fn read(fields: &Fields, reading: Reading) -> Read<Self>;
}

/// The keys of an object; one that is null is not there.
pub(super) struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    pub fn of(value: &'a Value) -> Read<Self> {
        value.as_object().map(Self).ok_or_else(|| format!("it is {}: expected an object", shown(value)))
    }

    fn get(&self, key: &str) -> Option<&'a Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    fn need(&self, key: &str) -> Read<&'a Value> {
        self.get(key).ok_or_else(|| format!("it has no '{key}'"))
    }

    fn id(&self, key: &str) -> Read<Id> {
        let value = self.need(key)?;
        Id::of(value).ok_or_else(|| wrong(key, value, "a whole number or a text"))
    }

    /// A whole number of pixels; 0 where it is not said.
    fn pixels(&self, key: &str) -> Read<u32> {
        let Some(value) = self.get(key) else { return Ok(0) };
        let pixels = whole(value).and_then(|v| u32::try_from(v).ok());
        pixels.ok_or_else(|| wrong(key, value, "a whole number of pixels"))
    }

    /// A name, which some write as a number; `None` where it is not said.
    fn name(&self, key: &str) -> Read<Option<String>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(value) => Err(wrong(key, value, "a name")),
        }
    }

    fn number(&self, key: &str) -> Read<Option<f64>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        number(value).map(Some).ok_or_else(|| wrong(key, value, "a number"))
    }

    fn flag(&self, key: &str) -> Read<u8> {
        let flag = match self.get(key) {
            None => Some(0),
            Some(Value::Bool(flag)) => Some(u8::from(*flag)),
            Some(value) => whole(value).and_then(|v| u8::try_from(v).ok()),
        };
        flag.ok_or_else(|| wrong(key, &self.0[key], "0 or 1"))
    }

    /// A box; `None` where it is missing or an empty list.
    fn bbox(&self, key: &str) -> Read<Option<[f64; 4]>> {
        const EXPECTED: &str = "left, top, width, height";
        let Some(value) = self.get(key) else { return Ok(None) };
        let list = value.as_array().ok_or_else(|| wrong(key, value, EXPECTED))?;
        if list.is_empty() {
            return Ok(None);
        }
        let bbox: Option<Vec<f64>> = list.iter().map(number).collect();
        let bbox = bbox.and_then(|b| <[f64; 4]>::try_from(b).ok()).ok_or_else(|| wrong(key, value, EXPECTED))?;
        if bbox.iter().all(|v| v.is_finite()) && bbox[2] >= 0.0 && bbox[3] >= 0.0 {
            return Ok(Some(bbox));
        }
        Err(format!("its {key} is {bbox:?}: expected left, top, and a width and height of 0 or more"))
    }

    /// As much of an outline as is wanted of an object that has a box or has none.
    fn outline(&self, wanted: Geometry, boxed: bool) -> Read<Segmentation> {
        if wanted == Geometry::Boxes && boxed {
            return Ok(Segmentation::default());
        }
        let outline = self.segmentation()?;
        if wanted == Geometry::Masks && outline.is_empty() {
            return Err("it has no 'segmentation'; expected masks, or --iou-type bbox".to_owned());
        }
        Ok(outline)
    }

    /// An outline or a mask; an empty list of outlines where it is missing.
    fn segmentation(&self) -> Read<Segmentation> {
        match self.get("segmentation") {
            None => Ok(Segmentation::default()),
            Some(Value::Object(fields)) => Ok(Segmentation::Mask(rle(&Fields(fields))?)),
            Some(Value::Array(parts)) if parts.first().is_some_and(Value::is_object) => {
                let masks: Vec<Rle> = parts.iter().map(|part| rle(&Fields::of(part)?)).collect::<Read<_>>()?;
                match <[Rle; 1]>::try_from(masks) {
                    Ok([one]) => Ok(Segmentation::Mask(one)),
                    Err(several) => Ok(Segmentation::Mask(Rle::union(&several)?)),
                }
            }
            Some(Value::Array(parts)) => polygons(parts),
            Some(value) => Err(wrong(
                "segmentation",
                value,
                "polygons [[x0, y0, x1, y1, ...], ...] or run lengths {\"size\": [rows, columns], \"counts\": ...}",
            )),
        }
    }
}

/// A number; Python's NaN and infinities come as their names.
fn number(value: &Value) -> Option<f64> {
    match value.as_str() {
        Some("NaN") => Some(f64::NAN),
        Some("Infinity") => Some(f64::INFINITY),
        Some("-Infinity") => Some(f64::NEG_INFINITY),
        _ => value.as_f64(),
    }
}

fn polygons(parts: &[Value]) -> Read<Segmentation> {
    if parts.iter().all(Value::is_number) && !parts.is_empty() {
        return Err(
            "its segmentation is one list of numbers: expected a list of such lists, one for each part".to_owned()
        );
    }
    let part = |(at, part): (usize, &Value)| {
        let numbers: Option<Vec<f64>> = part.as_array().and_then(|list| list.iter().map(number).collect());
        numbers.ok_or_else(|| format!("its polygon {at} is {}: expected a list [x0, y0, x1, y1, ...]", shown(part)))
    };
    Ok(Segmentation::Polygons(parts.iter().enumerate().map(part).collect::<Read<_>>()?))
}

fn rle(fields: &Fields) -> Read<Rle> {
    let size = fields.need("size")?;
    let sides: Option<Vec<u32>> =
        size.as_array().and_then(|list| list.iter().map(|v| whole(v).and_then(|v| u32::try_from(v).ok())).collect());
    let sides = sides.and_then(|s| <[u32; 2]>::try_from(s).ok());
    let size = sides.ok_or_else(|| wrong("mask's size", size, "[rows, columns]"))?;
    let counts = match fields.need("counts")? {
        Value::String(text) => Counts::Text(text.clone()),
        Value::Array(list) => {
            let run = |(at, v): (usize, &Value)| {
                whole(v)
                    .and_then(|v| u32::try_from(v).ok())
                    .ok_or_else(|| format!("its run length {at} is {}: expected a whole number from 0 on", shown(v)))
            };
            Counts::Numbers(list.iter().enumerate().map(run).collect::<Read<_>>()?)
        }
        value => return Err(wrong("mask's counts", value, "run lengths, as a text or as a list of whole numbers")),
    };
    Ok(Rle { size, counts })
}

fn wrong(key: &str, value: &Value, expected: &str) -> String {
    format!("its {key} is {}: expected {expected}", shown(value))
}

/// A value as JSON, cut where it is long.
fn shown(value: &Value) -> String {
    const MOST: usize = 60;
    let text = value.to_string();
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

impl Record for Image {
    fn read(fields: &Fields, _: Reading) -> Read<Self> {
        Ok(Self {
            id: fields.id("id")?,
            file_name: fields.name("file_name")?.unwrap_or_default(),
            width: fields.pixels("width")?,
            height: fields.pixels("height")?,
        })
    }
}

impl Record for Category {
    fn read(fields: &Fields, _: Reading) -> Read<Self> {
        let id = fields.id("id")?;
        let name = fields.name("name")?.unwrap_or_else(|| match &id {
            Id::Number(number) => format!("category {number}"),
            Id::Text(text) => text.clone(),
        });
        Ok(Self { id, name })
    }
}

impl Record for Annotation {
    fn read(fields: &Fields, reading: Reading) -> Read<Self> {
        let bbox = fields.bbox("bbox")?;
        let segmentation = fields.outline(reading.geometry, bbox.is_some())?;
        let bbox = match bbox {
            None if segmentation.is_empty() => return Err("it has neither a 'bbox' nor a 'segmentation'".to_owned()),
            None => segmentation.bounds().unwrap_or_default(),
            Some(bbox) => bbox,
        };
        let outlined = || segmentation.area().or_else(|| fields.segmentation().ok()?.area());
        Ok(Self {
            id: fields.id("id")?,
            image_id: fields.id("image_id")?,
            category_id: fields.id("category_id")?,
            area: fields.number("area")?.or_else(outlined).unwrap_or(bbox[2] * bbox[3]),
            bbox,
            segmentation,
            iscrowd: fields.flag("iscrowd")?,
        })
    }
}

impl Record for Detection {
    fn read(fields: &Fields, reading: Reading) -> Read<Self> {
        let bbox = fields.bbox("bbox")?;
        let segmentation = Some(fields.outline(reading.geometry, bbox.is_some())?).filter(|s| !s.is_empty());
        if bbox.is_none() && segmentation.is_none() {
            return Err("it has neither 'bbox' nor 'segmentation'".to_owned());
        }
        let score = fields.number("score")?.ok_or("it has no 'score'")?;
        if score.is_nan() {
            return Err("its score is NaN: expected a number".to_owned());
        }
        let (image_id, category_id) = (fields.id("image_id")?, fields.id("category_id")?);
        Ok(Self { image_id, category_id, score, bbox, segmentation })
    }
}

impl Segmentation {
    /// Whether nothing is outlined.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Polygons(parts) if parts.iter().all(Vec::is_empty))
    }
}
