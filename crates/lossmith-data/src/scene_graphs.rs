//! Annotated images, whatever they are kept in: a VRD folder, a folder of graph JSON, VG-SGG.h5, the scenes of Visual Genome, Open Images.

use std::path::{Path, PathBuf};

use crate::folder::names;
use crate::graph_json::GraphSet;
pub use crate::parts::Part;
use crate::vrd::Nodes;
use crate::{DataError, Result, openimages, visual_genome, vrd};

/// The graphs of a folder to train on.
pub const TRAIN: &str = "train-graphs.json";
/// The graphs of a folder to judge by.
pub const TEST: &str = "test-graphs.json";
/// The pictures beside the graphs of a folder.
pub const IMAGES: &str = "images";
/// The feature vectors beside the graphs of a folder.
pub const FEATURES: &str = "features.safetensors";

/// The graphs of one part in a folder: the names above, or another word for the part.
///
/// # Errors
/// A file of graphs whose name is that of no part.
pub(crate) fn file(folder: &Path, names: &[String], part: Part) -> Result<Option<PathBuf>> {
    let found = part.file(folder, names, ("", "-graphs.json"), "test")?;
    Ok(found.map(|name| folder.join(name)))
}

/// Reads one part of a data set; a file that has no parts is read whole.
///
/// `nodes` says what a node of VRD is; `dictionary` is that of VG-SGG.h5, the one beside it unless given.
///
/// # Errors
/// Nothing that is known, or a fault of its reader, which names file and record.
pub fn read(path: &Path, part: Part, nodes: Nodes, dictionary: Option<&Path>) -> Result<GraphSet> {
    if path.is_dir() {
        if let Some(file) = file(path, &names(path)?, part)? {
            return GraphSet::read(&file);
        }
        if !vrd::recognised(path) {
            let message = format!(
                "expected a folder with {TRAIN} and {TEST}, or one of VRD with annotations_test.json and predicates.json"
            );
            return Err(DataError::content(path, message));
        }
        let split = if part == Part::Train { vrd::Split::Train } else { vrd::Split::Test };
        return vrd::read(path, split, nodes);
    }
    match path.extension().and_then(|e| e.to_str()) {
        _ if is_h5(path) => {
            let dictionary =
                dictionary.map_or_else(|| visual_genome::dictionary_beside(path), |own| Ok(own.to_owned()))?;
            let split = if part == Part::Train { visual_genome::Split::Train } else { visual_genome::Split::Test };
            visual_genome::read_h5(path, &dictionary, split)
        }
        Some("csv") => openimages::read_truth(path, None),
        _ => match GraphSet::read(path) {
            // The scenes of Visual Genome are a list, users' graphs an object.
            Err(e) if e.to_string().contains("invalid type: sequence") => visual_genome::read_json_scenes(path),
            set => set,
        },
    }
}

/// Whether the name is that of an HDF5 file.
pub fn is_h5(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "h5" || e == "hdf5")
}
