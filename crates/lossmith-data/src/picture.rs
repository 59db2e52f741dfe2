//! Colour pictures as plain bytes.

use std::path::Path;

use image::imageops::FilterType;

use crate::{DataError, Result};

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
    /// Reads a PNG or JPEG file; grey becomes colour, what shows through is dropped.
    ///
    /// # Errors
    /// No such file, or no picture in it.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(DataError::io(path, "read"))?;
        let picture = image::load_from_memory(&bytes)
            .map_err(|e| DataError::content(path, format!("expected a PNG or JPEG picture: {e}")))?
            .into_rgb8();
        let (width, height) = (picture.width() as usize, picture.height() as usize);
        Ok(Self { width, height, pixels: picture.into_raw() })
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
        assert!(message.contains("expected a PNG or JPEG picture"), "{message}");
    }
}
