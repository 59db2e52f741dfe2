//! What a user names as input: pictures and folders of pictures.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use anyhow::{bail, ensure};
use lossmith_data::companions::Pictures;
use lossmith_data::label_doubts::{Oddity, doubts};
use lossmith_data::label_images;
use rayon::prelude::*;

/// The pictures, by names that are different from each other. What belongs to another picture is left out, and said.
pub fn pictures(inputs: &[PathBuf]) -> anyhow::Result<Vec<(String, PathBuf)>> {
    let named: Vec<&PathBuf> = inputs.iter().filter(|input| !input.is_dir()).collect();
    let beside = Pictures::among(named.iter().copied().cloned(), named.iter().copied()).companions;
    let beside: HashSet<PathBuf> = beside.into_iter().collect();
    let mut found = Pictures::default();
    for input in inputs {
        if input.is_dir() {
            let some = label_images::find_pictures(input)?;
            found.pictures.extend(some.pictures);
            found.companions.extend(some.companions);
        } else if beside.contains(input) {
            found.companions.push(input.clone());
        } else {
            found.pictures.push(input.clone());
        }
    }
    if let Some(first) = found.companions.first() {
        let count = found.companions.len();
        tracing::info!("{count} files belong to other pictures and are left out; the first: {}", first.display());
    }
    let mut pictures: BTreeMap<String, PathBuf> = BTreeMap::new();
    let mut names = Vec::new();
    for file in found.pictures {
        ensure!(file.to_str().is_some(), "{}: its name is not UTF-8; rename it", file.display());
        let name = file.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        let written = bare(&name).to_owned();
        if let Some(other) = pictures.get(&written) {
            bail!(
                "{} and {} would both be written as {written}; give them to two calls",
                other.display(),
                file.display()
            );
        }
        pictures.insert(written, file.clone());
        names.push((name, file));
    }
    Ok(names)
}

/// Says which pictures of a folder of label images take no part, because nobody has marked instances in them, whether an `index.csv`
/// takes none, and which label images may not mean what they say.
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
    // What is no label image was refused by those who learn from it.
    let files = label_images::find(folder).unwrap_or_default();
    let odd = |f: &label_images::Files| Some((f.name.clone(), label_images::read_labels(&f.label).ok()?.oddity()));
    warn_of_doubts("", &files.par_iter().filter_map(odd).collect::<Vec<_>>());
    Ok(())
}

/// Says that data of this name are made, where a folder of the same name may have been meant.
pub fn warn_of_folder(made: &str) {
    if Path::new(made).exists() {
        tracing::warn!(
            "{made}: these are the data that the program makes; the {made} in this folder is not read: write ./{made} for it"
        );
    }
}

/// Says which label images may not mean what they say.
pub fn warn_of_doubts(which: &str, images: &[(String, Oddity)]) {
    for doubt in doubts(images.iter().map(|(name, oddity)| (name.as_str(), *oddity))) {
        tracing::warn!("{which}{doubt}");
    }
}

/// A picture's name without what marks it as a picture.
pub fn bare(name: &str) -> &str {
    ["_image", "_rgb", "_img"].iter().find_map(|e| name.strip_suffix(e)).unwrap_or(name)
}
