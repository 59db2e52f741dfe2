//! Which pictures are to be worked on, and which only belong to another one: masks, centres, earlier results.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::label_images::{LABEL_ENDINGS, PICTURE_ENDINGS, is_picture};

/// What CVPPP has beside a plant and its labels, and what a prediction leaves beside its own.
const ENDINGS: [&str; 4] = ["_fg", "_centers", "_centres", "_overlay"];

/// Pictures, and what was found beside them that is none to work on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pictures {
    /// To work on.
    pub pictures: Vec<PathBuf>,
    /// `NAME_fg`, `NAME_centers`, `NAME_overlay`, `NAME_label` and the like of a NAME whose picture or labels lie beside them.
    pub companions: Vec<PathBuf>,
}

impl Pictures {
    /// Parts what belongs to a picture or label image of `all` from what stands for itself.
    pub fn among<'a>(some: impl IntoIterator<Item = PathBuf>, all: impl IntoIterator<Item = &'a PathBuf>) -> Self {
        let all: HashSet<PathBuf> =
            all.into_iter().filter(|path| is_picture(path)).map(|path| path.with_extension("")).collect();
        let (companions, pictures) = some.into_iter().partition(|path| is_companion(path, &all));
        Self { pictures, companions }
    }
}

/// `all` are without what says their type.
fn is_companion(path: &Path, all: &HashSet<PathBuf>) -> bool {
    let Some(stem) = path.file_stem().and_then(|s| s.to_str()) else { return false };
    let base = ENDINGS.iter().chain(&LABEL_ENDINGS).find_map(|ending| stem.strip_suffix(ending));
    base.is_some_and(|base| {
        let mut beside = PICTURE_ENDINGS.iter().chain(&LABEL_ENDINGS).map(|ending| format!("{base}{ending}"));
        !base.is_empty() && beside.any(|name| name != stem && all.contains(&path.with_file_name(name)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_a_picture_is_told_from_what_stands_for_itself() {
        for (files, pictures) in [
            (&["a_rgb.png", "a_label.png", "a_fg.png", "a_centers.png"][..], &["a_rgb.png"][..]),
            (&["a.jpg", "a_mask.jpg", "a_overlay.png", "b/a_overlay.png"], &["a.jpg", "b/a_overlay.png"]),
            (&["a_label.png", "a_overlay.png", "b.png"], &["a_label.png", "b.png"]),
            (&["a_overlay.png", "a.json", "b_fg.png"], &["a_overlay.png", "b_fg.png"]),
            (&["_fg.png", ".png"], &["_fg.png", ".png"]),
        ] {
            let files: Vec<PathBuf> = files.iter().map(PathBuf::from).collect();
            let found = Pictures::among(files.clone(), &files);
            let json = |path: &&PathBuf| path.ends_with("a.json");
            let found: Vec<_> = found.pictures.iter().filter(|p| !json(p)).collect();
            assert_eq!(found, pictures.iter().map(PathBuf::from).collect::<Vec<_>>().iter().collect::<Vec<_>>());
        }
    }
}
