//! Detections on their picture: outlines in the colour of the class, rays if asked for.

use lossmith::polar::Point;
use lossmith_data::picture::Picture;

use super::detect::Detection;

/// Colours of the classes, in turn; told apart by colour-blind readers too.
const COLOURS: [[u8; 3]; 7] =
    [[230, 159, 0], [86, 180, 233], [0, 158, 115], [240, 228, 66], [213, 94, 0], [204, 121, 167], [0, 114, 178]];

/// The picture, so many times larger, with the outlines of what was found, worst first, so that the best lies on top.
pub fn draw(picture: &Picture, detections: &[Detection], rays: bool, zoom: usize) -> Picture {
    let mut drawn = picture.resized(picture.width * zoom, picture.height * zoom);
    let place = |point: Point| point.map(|v| v * zoom as f64);
    for detection in detections.iter().rev() {
        let colour = COLOURS[detection.class % COLOURS.len()];
        let centre = place(detection.centre);
        if rays {
            for end in detection.outline.points() {
                line(&mut drawn, centre, place(*end), colour, 1);
            }
        }
        for (a, b) in detection.outline.edges() {
            line(&mut drawn, place(a), place(b), colour, zoom.min(2));
        }
        if rays {
            let [x, y] = centre;
            line(&mut drawn, [x - 2.0, y], [x + 2.0, y], [255, 255, 255], 3);
        }
    }
    drawn
}

/// Steps of at most a pixel along the longer axis, each a square of `thick` pixels; what is outside of the picture is not
/// drawn.
fn line(picture: &mut Picture, a: Point, b: Point, colour: [u8; 3], thick: usize) {
    let steps = (b[0] - a[0]).abs().max((b[1] - a[1]).abs()).ceil().clamp(1.0, 1e5);
    for step in 0..=steps as usize {
        let t = step as f64 / steps;
        let corner = [0, 1].map(|i| (a[i] + t * (b[i] - a[i]) - 0.5 * (thick - 1) as f64).floor());
        for at in 0..thick * thick {
            let (x, y) = (corner[0] + (at % thick) as f64, corner[1] + (at / thick) as f64);
            if x >= 0.0 && y >= 0.0 && (x as usize) < picture.width && (y as usize) < picture.height {
                let at = 3 * (y as usize * picture.width + x as usize);
                picture.pixels[at..at + 3].copy_from_slice(&colour);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use lossmith::polar::{Polygon, Runs};

    use super::*;

    #[test]
    fn an_outline_is_drawn_around_what_it_holds() {
        let picture = Picture { width: 12, height: 9, pixels: vec![7; 3 * 12 * 9] };
        let outline = Polygon::from_flat(&[2.0, 2.0, 8.0, 2.0, 8.0, 6.0, 2.0, 20.0]).unwrap();
        let mask = Runs::from_outline(outline.points(), 12, 9).unwrap();
        let detection = Detection { class: 8, score: 1.0, centre: [5.0, 4.0], outline, mask };
        let pixel = |picture: &Picture, x: usize, y: usize| picture.pixels[3 * (12 * y + x)];
        let plain = draw(&picture, std::slice::from_ref(&detection), false, 1);
        assert_eq!((pixel(&plain, 4, 2), pixel(&plain, 5, 4), pixel(&plain, 11, 8)), (86, 7, 7));
        let rays = draw(&picture, std::slice::from_ref(&detection), true, 1);
        assert_eq!((pixel(&rays, 5, 4), pixel(&rays, 8, 2)), (255, 86));
        let large = draw(&picture, &[detection], false, 3);
        assert_eq!((large.width, large.height, large.pixels[3 * (36 * 6 + 12)]), (36, 27, 86));
        assert!(draw(&picture, &[], true, 1) == picture);
    }
}
