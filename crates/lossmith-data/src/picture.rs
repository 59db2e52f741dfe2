//! Colour pictures as plain bytes.

use std::path::Path;

use image::ImageEncoder;
use image::codecs::png::PngEncoder;
use image::imageops::FilterType;

use crate::picture_file::Pixels;
use crate::{DataError, Result, atomic, label_images};

/// A picture of red, green and blue bytes, row by row.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `3 * width * height` bytes.
    pub pixels: Vec<u8>,
}

impl std::fmt::Debug for Picture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Picture({} x {})", self.width, self.height)
    }
}

impl Picture {
    /// Reads a PNG or JPEG file as it is shown; grey becomes colour, what shows through is dropped.
    ///
    /// # Errors
    /// No such file, or no picture in it.
    pub fn read(path: &Path) -> Result<Self> {
        Self::read_as(path, Pixels::Shown)
    }

    /// The same of either pixels of a file that asks to be turned.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_as(path: &Path, pixels: Pixels) -> Result<Self> {
        Ok(label_images::read_picture_as(path, pixels)?.into())
    }

    /// Writes a new PNG file.
    ///
    /// # Errors
    /// [`DataError::Exists`] if there is one of this name; the system's refusal.
    pub fn write(&self, path: &Path) -> Result<()> {
        atomic::write(path, &self.png().map_err(|e| DataError::content(path, e))?)
    }

    /// The bytes of a PNG file.
    ///
    /// # Errors
    /// No pixels.
    pub fn png(&self) -> std::result::Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        PngEncoder::new(&mut bytes)
            .write_image(&self.pixels, self.width as u32, self.height as u32, image::ExtendedColorType::Rgb8)
            .map_err(|e| e.to_string())?;
        Ok(bytes)
    }

    /// The bytes of a PNG file.
    ///
    /// # Errors
    /// A picture of more pixels than a PNG file can say.
    pub fn to_png(&self) -> Result<Vec<u8>> {
        let refused = |e: &dyn std::fmt::Display| DataError::argument(format!("the picture cannot be encoded: {e}"));
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, self.width as u32, self.height as u32);
        encoder.set_color(png::ColorType::Rgb);
        let mut writer = encoder.write_header().map_err(|e| refused(&e))?;
        writer.write_image_data(&self.pixels).map_err(|e| refused(&e))?;
        writer.finish().map_err(|e| refused(&e))?;
        Ok(bytes)
    }

    /// Stretched to another size, bilinear; the aspect ratio is not kept.
    #[must_use]
    pub fn resized(&self, width: usize, height: usize) -> Self {
        if (width, height) == (self.width, self.height) {
            return self.clone();
        }
        let (from, to) = ((self.width as u32, self.height as u32), (width as u32, height as u32));
        let Some(buffer) = image::RgbImage::from_raw(from.0, from.1, self.pixels.clone()) else { return self.clone() };
        let pixels = image::imageops::resize(&buffer, to.0, to.1, FilterType::Triangle).into_raw();
        Self { width, height, pixels }
    }
}

/// Grey becomes colour.
impl From<label_images::Picture> for Picture {
    fn from(picture: label_images::Picture) -> Self {
        let label_images::Picture { width, height, channels, samples } = picture;
        let pixels = if channels == 3 { samples } else { samples.iter().flat_map(|grey| [*grey; 3]).collect() };
        Self { width, height, pixels }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretching_keeps_flat_colour_and_size() {
        let flat = Picture { width: 4, height: 2, pixels: [10, 20, 30].repeat(8) };
        let wide = flat.resized(9, 5);
        assert_eq!(wide, Picture { width: 9, height: 5, pixels: [10, 20, 30].repeat(45) });
    }

    #[test]
    fn what_is_no_picture_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let message = Picture::read(file.path()).unwrap_err().to_string();
        assert!(message.contains("no readable picture"), "{message}");
    }
}
