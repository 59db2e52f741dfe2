//! Draws the first images of a generated or read data set as one PNG, sorted by class: the eye is the last test.
//!
//! `cargo run --release -p lossmith-data --example contact_sheet -- OUT.png [FOLDER]`

use std::path::Path;

use lossmith_data::{folder, make::digits};

const ROWS: usize = 16;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let out = arguments.next().ok_or("expected OUT.png")?;
    let data = match arguments.next() {
        Some(path) => folder::classification(Path::new(&path))?,
        None => digits::make(2_000, 1, 1)?,
    };
    let (images, shape) = (&data.train, data.train.shape());
    let (cell_h, cell_w) = (shape.height + 2, shape.width + 2);
    let mut sheet = image::RgbImage::new((data.classes.len() * cell_w) as u32, (ROWS * cell_h) as u32);
    for class in 0..data.classes.len() {
        let of_class = (0..images.len()).filter(|&i| usize::from(images.labels()[i]) == class);
        for (row, index) in of_class.take(ROWS).enumerate() {
            let pixels = images.image(index);
            for at in 0..shape.height * shape.width {
                let value = |c: usize| pixels[(c % shape.channels) * shape.height * shape.width + at];
                let (x, y) = (class * cell_w + at % shape.width, row * cell_h + at / shape.width);
                sheet.put_pixel(x as u32, y as u32, image::Rgb([value(0), value(1), value(2)]));
            }
        }
    }
    sheet.save(out)?;
    Ok(())
}
