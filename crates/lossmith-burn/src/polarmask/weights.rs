//! Weights from files: a run's own, a ResNet of torchvision, a published PolarMask.

use std::path::{Path, PathBuf};

use burn::module::Module;
use burn_store::{ApplyError, ApplyResult, ModuleSnapshot, ModuleStore, PytorchStore, SafetensorsStore};

use super::network::{Backbone, PolarMask};

/// What can be wrong with a file of weights.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The file cannot be read as what its name says it is.
    #[error("{}: {message}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        message: String,
    },
    /// A tensor of another shape.
    #[error("{}: tensor '{name}' has shape {found}, the network needs {expected}", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// The tensor, as the network names it.
        name: String,
        /// The shape in the file.
        found: String,
        /// The shape that fits.
        expected: String,
    },
    /// A tensor that is not there.
    #[error("{}: tensor '{name}' is missing{more}", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// The first tensor that is missing, as the network names it.
        name: String,
        /// How many more are.
        more: String,
    },
    /// A tensor with a number that is infinite or none.
    #[error("{}: tensor '{name}' has numbers that are not finite: the training that wrote it had diverged", path.display())]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The tensor, as the network names it.
        name: String,
    },
    /// Weights that cannot be turned into a file.
    #[error("the weights cannot be written: {0}")]
    Unwritten(String),
    /// Weights for a backbone that the network does not have.
    #[error("the light backbone has no pretrained weights; choose resnet50 or resnet101")]
    Light,
}

/// How names in a file become names of the network: pattern and replacement.
type Names<'a> = &'a [(&'a str, &'a str)];

/// torchvision's names of ResNet: only the two parts of a shortcut are named otherwise.
const TORCHVISION: Names = &[(r"downsample\.0\.", "downsample.conv."), (r"downsample\.1\.", "downsample.norm.")];

/// The published PolarMask's names. Its box head has no place here.
const PUBLISHED: Names = &[
    (r"downsample\.0\.", "downsample.conv."),
    (r"downsample\.1\.", "downsample.norm."),
    (r"^neck\.(lateral_convs|fpn_convs)\.(\d+)\.conv\.", "neck.$1.$2."),
    (r"^bbox_head\.", "head."),
];

/// Loads a ResNet of torchvision (`.pth` or `.safetensors`) into the backbone; its classifier is passed over.
///
/// # Errors
/// No such file or no such format, a missing tensor, a tensor of another shape; the light backbone.
pub fn load_backbone(network: &mut PolarMask, path: &Path) -> Result<(), WeightsError> {
    match &mut network.backbone {
        Backbone::Light(_) => Err(WeightsError::Light),
        Backbone::Resnet(resnet) => load(resnet, path, TORCHVISION, None),
    }
}

/// Loads a published PolarMask's checkpoint, whose tensors lie under `state_dict`. It was learned on colours as Caffe has
/// them; its first layer is changed so that it sees the same in ours.
///
/// # Errors
/// As [`load_backbone`].
pub fn load_published(network: &mut PolarMask, path: &Path) -> Result<(), WeightsError> {
    load(network, path, PUBLISHED, Some("state_dict"))?;
    if let Backbone::Resnet(resnet) = &mut network.backbone {
        resnet.take_caffe_colours();
    }
    Ok(())
}

/// Loads what [`to_bytes`] made.
///
/// # Errors
/// As [`load_backbone`].
pub fn load_own(network: &mut PolarMask, path: &Path) -> Result<(), WeightsError> {
    load(network, path, &[], None)
}

/// All weights as a safetensors file.
///
/// # Errors
/// The weights cannot be read from their device.
pub fn to_bytes(network: &PolarMask) -> Result<Vec<u8>, WeightsError> {
    let refused = |e: &dyn std::fmt::Display| WeightsError::Unwritten(e.to_string());
    // One entry of metadata: Burn's own three are written in random order, and the same weights are to be the same bytes.
    let mut store =
        SafetensorsStore::from_bytes(None).skip_enum_variants(true).clear_metadata().metadata("format", "safetensors");
    network.save_into(&mut store).map_err(|e| refused(&e))?;
    store.get_bytes().map_err(|e| refused(&e))
}

fn load<M: Module + ModuleSnapshot>(
    module: &mut M,
    path: &Path,
    names: Names,
    under: Option<&str>,
) -> Result<(), WeightsError> {
    if !path.is_file() {
        return Err(read_error(path, "there is no such file"));
    }
    let torch = path.extension().is_some_and(|e| e == "pth" || e == "pt");
    let wrong = |e: &dyn std::fmt::Display| read_error(path, e);
    let mut tensors: Vec<_> = if torch {
        let mut store = PytorchStore::from_file(path);
        if let Some(key) = under {
            store = store.with_top_level_key(key);
        }
        for (from, to) in names {
            store = store.with_key_remapping(*from, *to);
        }
        store.get_all_tensors().map_err(|e| wrong(&e))?.values().cloned().collect()
    } else {
        let mut store = SafetensorsStore::from_file(path);
        for (from, to) in names {
            store = store.with_key_remapping(*from, *to);
        }
        store.get_all_tensors().map_err(|e| wrong(&e))?.values().cloned().collect()
    };
    // PyTorch keeps a single number without a dimension, Burn has none such.
    for tensor in tensors.iter_mut().filter(|t| t.shape.as_slice().is_empty()) {
        tensor.shape = [1].into();
    }
    let foreign = torch || !names.is_empty();
    let adapter = foreign.then(|| Box::new(burn_store::PyTorchToBurnAdapter) as Box<dyn burn_store::ModuleAdapter>);
    complete(path, &module.apply(tensors, None, adapter, true))?;
    finite(path, module)
}

/// A network of such numbers finds nothing, and would not say why.
fn finite<M: ModuleSnapshot>(path: &Path, module: &M) -> Result<(), WeightsError> {
    for tensor in module.collect(None, None, false) {
        let bytes = tensor.to_bytes().map_err(|e| read_error(path, e))?;
        let (numbers, _) = bytes.as_chunks();
        if !numbers.iter().all(|number| f32::from_le_bytes(*number).is_finite()) {
            return Err(WeightsError::NotFinite { path: path.to_owned(), name: tensor.name });
        }
    }
    Ok(())
}

fn complete(path: &Path, result: &ApplyResult) -> Result<(), WeightsError> {
    let path = path.to_owned();
    match result.errors.first() {
        Some(ApplyError::ShapeMismatch { path: name, expected, found }) => Err(WeightsError::Shape {
            path,
            name: name.clone(),
            found: format!("{:?}", found.as_slice()),
            expected: format!("{:?}", expected.as_slice()),
        }),
        Some(other) => Err(read_error(&path, other)),
        None => match result.missing.split_first() {
            None => Ok(()),
            Some(((name, _), rest)) => {
                let more = if rest.is_empty() { String::new() } else { format!(", and {} more", rest.len()) };
                Err(WeightsError::Missing { path, name: name.clone(), more })
            }
        },
    }
}

fn read_error(path: &Path, message: impl std::fmt::Display) -> WeightsError {
    WeightsError::Read { path: path.to_owned(), message: message.to_string() }
}
