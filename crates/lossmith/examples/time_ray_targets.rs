//! Times the targets of COCO annotations at 1280 x 768, 36 rays; `bench/ray_targets.py` sets the published procedure beside it.
//!
//! Usage: `time_ray_targets instances.json [RUNS]`. Prints seconds (median) and the number of positive points.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Instant;

use lossmith::polar::targets::{Assigner, Object, Shape};
use lossmith::polar::{Bounds, Polygon, RayFan};
use rayon::prelude::*;
use serde_json::Value;

const WIDTH: usize = 1280;
const HEIGHT: usize = 768;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("expected the path of a COCO instances file")?;
    let runs: usize = arguments.next().map_or(Ok(21), |n| n.parse())?;
    let images = images(&serde_json::from_slice(&std::fs::read(path)?)?).ok_or("the file is no COCO instances file")?;
    let assigner = Assigner::published(RayFan::new(36).ok_or("36 rays are allowed")?);
    let mut times = Vec::new();
    let mut positives = 0;
    for _ in 0..runs.max(1) {
        let start = Instant::now();
        positives = images.par_iter().map(|objects| assigner.targets(objects, WIDTH, HEIGHT).positives.len()).sum();
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    println!("{} {positives}", times[times.len() / 2]);
    Ok(())
}

/// The objects of every image: of each annotation that is no crowd, the largest polygon, stretched to 1280 x 768.
fn images(file: &Value) -> Option<Vec<Vec<Object>>> {
    let mut images = BTreeMap::new();
    for image in file["images"].as_array()? {
        let factors = (WIDTH as f64 / image["width"].as_f64()?, HEIGHT as f64 / image["height"].as_f64()?);
        images.insert(image["id"].as_i64()?, (factors, Vec::new()));
    }
    for annotation in file["annotations"].as_array()? {
        let Some(parts) = annotation["segmentation"].as_array() else { continue };
        let (factors, objects) = images.get_mut(&annotation["image_id"].as_i64()?)?;
        let parts = parts.iter().filter_map(|part| {
            let numbers: Vec<f64> = part.as_array()?.iter().filter_map(Value::as_f64).collect();
            Polygon::from_flat(&numbers).ok()
        });
        let outline = parts.max_by(|a, b| a.area().total_cmp(&b.area()))?.scaled(factors.0, factors.1);
        let side: Vec<f64> = annotation["bbox"].as_array()?.iter().filter_map(Value::as_f64).collect();
        let bounds = Bounds {
            left: side.first()? * factors.0,
            top: side.get(1)? * factors.1,
            right: (side[0] + side.get(2)?) * factors.0,
            bottom: (side[1] + side.get(3)?) * factors.1,
        };
        objects.push(Object { class: annotation["category_id"].as_i64()?, bounds, shape: Shape::Outline(outline) });
    }
    Some(images.into_values().map(|(_, objects)| objects).collect())
}
