//! How much of real objects the polar form holds: the 830 objects of 100 COCO images, if LOSSMITH_TEST_DATA names the
//! folder of test data.

#![allow(clippy::unwrap_used)]

use lossmith::polar::{Polygon, RayFan, Runs};
use serde_json::Value;

/// The mean IoU of every object that is no crowd with its largest part, seen along so many rays from its mass centre.
fn mean_iou(file: &Value, rays: usize) -> (f64, usize) {
    let fan = RayFan::new(rays).unwrap();
    let size = |id: &Value| {
        let image = file["images"].as_array().unwrap().iter().find(|i| i["id"] == *id).unwrap();
        (image["width"].as_u64().unwrap() as usize, image["height"].as_u64().unwrap() as usize)
    };
    let (mut sum, mut count) = (0.0, 0);
    for annotation in file["annotations"].as_array().unwrap() {
        let Ok(parts) = serde_json::from_value::<Vec<Vec<f64>>>(annotation["segmentation"].clone()) else { continue };
        let parts: Vec<Polygon> = parts.iter().map(|p| Polygon::from_flat(p).unwrap()).collect();
        let (width, height) = size(&annotation["image_id"]);
        let largest = parts.iter().max_by(|a, b| a.area().total_cmp(&b.area())).unwrap();
        let mut distances = vec![0.0; rays];
        fan.cast(largest, largest.mass_centre(), &mut distances);
        let seen = Runs::from_outline(&fan.outline(largest.mass_centre(), &distances), width, height).unwrap();
        sum += seen.iou(&Runs::from_parts(&parts, width, height).unwrap());
        count += 1;
    }
    (sum / count as f64, count)
}

#[test]
fn exact_rays_hold_coco_objects() {
    let Ok(folder) = std::env::var("LOSSMITH_TEST_DATA") else {
        eprintln!("skipped: LOSSMITH_TEST_DATA names no folder");
        return;
    };
    let path = std::path::Path::new(&folder).join("coco/instances_val2014_100.json");
    let file: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    for (rays, least) in [(18, 0.832), (24, 0.865), (36, 0.897), (72, 0.923), (120, 0.932)] {
        let (iou, count) = mean_iou(&file, rays);
        eprintln!("{rays} rays: mean IoU {iou:.4} of {count} objects");
        assert_eq!(count, 830);
        assert!(iou >= least, "{rays} rays: {iou}");
    }
}
