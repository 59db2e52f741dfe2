//! A strip of pictures in rows, with captions: images, truths and predictions side by side.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{Anchor, Drawing, append, cut, escape, short, text};

const GAP: f64 = 8.0;
const CAPTION: f64 = 18.0;

/// One picture.
#[derive(Clone, Debug)]
pub struct Picture {
    /// What stands below it.
    pub caption: String,
    /// The bytes of a PNG file.
    pub png: Vec<u8>,
}

/// Pictures in rows.
#[derive(Clone, Debug)]
pub struct Strip {
    /// What is to be seen, for those who do not see it.
    pub title: String,
    /// How many in a row.
    pub columns: usize,
    /// The side of the square that each is fitted into, in pixels.
    pub side: f64,
    /// The pictures, row by row.
    pub pictures: Vec<Picture>,
}

impl Strip {
    /// Draws the strip; the pictures are part of it, no file is referred to.
    pub fn draw(&self) -> Drawing {
        let columns = self.columns.max(1);
        let (pitch, row_pitch) = (self.side + GAP, self.side + CAPTION + GAP);
        let letters = (self.side / 7.0) as usize;
        let mut body = String::new();
        for (at, picture) in self.pictures.iter().enumerate() {
            let (x, y) = ((at % columns) as f64 * pitch, (at / columns) as f64 * row_pitch);
            append(
                &mut body,
                format_args!(
                    "<image x=\"{}\" y=\"{}\" width=\"{3}\" height=\"{3}\" href=\"data:image/png;base64,{2}\"><title>{4}</title></image>",
                    short(x),
                    short(y),
                    STANDARD.encode(&picture.png),
                    short(self.side),
                    escape(&picture.caption)
                ),
            );
            let foot = (x + self.side / 2.0, y + self.side + 13.0);
            text(&mut body, foot, Anchor::Middle, "soft", &cut(&picture.caption, letters));
        }
        let rows = self.pictures.len().div_ceil(columns);
        let captions: Vec<&str> = self.pictures.iter().map(|p| p.caption.as_str()).collect();
        let label = format!("{}: {}", self.title, captions.join(", "));
        let width = columns.min(self.pictures.len()).max(1) as f64 * pitch - GAP;
        Drawing { width, height: (rows.max(1) as f64 * row_pitch) - GAP, label, body }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_stand_in_rows_and_carry_their_bytes() {
        let picture = |caption: &str| Picture { caption: caption.to_owned(), png: vec![1, 2, 3] };
        let strip = Strip {
            title: "Test".to_owned(),
            columns: 2,
            side: 50.0,
            pictures: vec![picture("a"), picture("b"), picture("c")],
        };
        let drawing = strip.draw();
        assert_eq!((drawing.width, drawing.height), (108.0, 144.0));
        assert_eq!(drawing.body.matches("base64,AQID").count(), 3);
        assert!(drawing.label.ends_with("a, b, c"));
    }
}
