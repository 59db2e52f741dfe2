//! The outlines that rays make of COCO objects; `bench/polar_upper_bound.py` scores them.
//!
//! Usage: `polar_outlines instances.json RAYS exact|published mass|box`. Prints a JSON list of objects with the ids of image
//! and category and the corners of the outline.

use std::error::Error;

use lossmith::polar::{Point, Polygon, RayFan, Runs, contour, published};
use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, rays, procedure, centre] = arguments.as_slice() else {
        return Err("expected: instances.json RAYS exact|published mass|box".into());
    };
    let file: Value = serde_json::from_slice(&std::fs::read(path)?)?;
    let fan = RayFan::new(rays.parse()?).ok_or("expected 3 to 3600 rays")?;
    let mut outlines = Vec::new();
    for annotation in file["annotations"].as_array().ok_or("the file has no annotations")? {
        let Ok(parts) = serde_json::from_value::<Vec<Vec<f64>>>(annotation["segmentation"].clone()) else { continue };
        let parts = parts.iter().map(|part| Polygon::from_flat(part)).collect::<Result<Vec<_>, _>>()?;
        let images = file["images"].as_array().ok_or("the file has no images")?;
        let image = images.iter().find(|i| i["id"] == annotation["image_id"]).ok_or("an image is missing")?;
        let size = |key: &str| image[key].as_u64().map(|v| v as usize).ok_or("an image has no size");
        let (width, height) = (size("width")?, size("height")?);
        let outline = match (procedure.as_str(), centre.as_str()) {
            ("exact", centre) => exact(&parts, &fan, centre == "box"),
            ("published", "mass") => by_bins(&Runs::from_parts(&parts, width, height)?, &fan),
            _ => return Err("expected exact or published; published has the mass centre only".into()),
        };
        let outline = outline.ok_or("an object has no outline")?;
        outlines.push(json!({
            "image_id": annotation["image_id"], "category_id": annotation["category_id"], "outline": outline,
        }));
    }
    println!("{}", Value::Array(outlines));
    Ok(())
}

/// Rays to the polygon of the largest part.
fn exact(parts: &[Polygon], fan: &RayFan, from_box: bool) -> Option<Vec<Point>> {
    let largest = parts.iter().max_by(|a, b| a.area().total_cmp(&b.area()))?;
    let centre = if from_box { largest.bounds().centre() } else { largest.mass_centre() };
    let mut rays = vec![0.0; fan.rays()];
    fan.cast(largest, centre, &mut rays);
    Some(fan.outline(centre, &rays))
}

/// Rays by integer-degree bins to the pixels of the largest contour.
fn by_bins(mask: &Runs, fan: &RayFan) -> Option<Vec<Point>> {
    let pixels = contour::largest(&mask.to_mask(), mask.width(), mask.height(), true)?.pixels;
    let centre = published::mass_centre(&pixels)?;
    let mut rays = vec![0.0; fan.rays()];
    published::cast(&pixels, centre, &mut rays);
    Some(fan.outline(centre, &rays))
}
