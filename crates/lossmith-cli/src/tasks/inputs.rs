//! What a user names as input: pictures and folders of pictures.

use std::path::{Path, PathBuf};

use anyhow::bail;
use lossmith_data::label_images;

/// The pictures, by names that are different from each other.
pub fn pictures(inputs: &[PathBuf]) -> anyhow::Result<Vec<(String, PathBuf)>> {
    let mut pictures: Vec<(String, PathBuf)> = Vec::new();
    for input in inputs {
        let files = if input.is_dir() { label_images::find_pictures(input)? } else { vec![input.clone()] };
        for file in files {
            let name = file.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
            if let Some((_, other)) = pictures.iter().find(|(n, _)| *n == name) {
                bail!(
                    "{} and {} would both be written as {name}; give them to two calls",
                    other.display(),
                    file.display()
                );
            }
            pictures.push((name, file));
        }
    }
    Ok(pictures)
}

/// Says which pictures of a folder of label images take no part, because nobody has marked instances in them, and whether an
/// `index.csv` takes none.
pub fn warn_of_unlabelled(folder: &Path) -> anyhow::Result<()> {
    if let Some(index) = label_images::unread_index(folder) {
        tracing::warn!("{}: it is not read, for it has no columns image and label", index.display());
    }
    let left_out = label_images::find_unlabelled(folder)?;
    if let Some(first) = left_out.first() {
        tracing::warn!(
            "{} pictures have no label image and are left out; the first: {}",
            left_out.len(),
            first.display()
        );
    }
    Ok(())
}

/// A picture's name without what marks it as a picture.
pub fn bare(name: &str) -> &str {
    ["_image", "_rgb", "_img"].iter().find_map(|e| name.strip_suffix(e)).unwrap_or(name)
}
