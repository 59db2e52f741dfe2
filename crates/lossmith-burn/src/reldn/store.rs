//! A model as safetensors bytes.

use burn::prelude::*;
use burn_store::{ModuleSnapshot, SafetensorsStore};

use super::ReldnError;
use super::model::{Config, Reldn};

fn fault(message: impl std::fmt::Display) -> ReldnError {
    ReldnError::Argument(format!("model: {message}"))
}

/// The weights as a safetensors file.
///
/// # Errors
/// The store refuses.
pub fn to_bytes(model: &Reldn) -> Result<Vec<u8>, ReldnError> {
    // The store's own metadata come in random order; the same model is to be the same bytes.
    let mut store = SafetensorsStore::from_bytes(None).clear_metadata().metadata("format", "safetensors");
    model.save_into(&mut store).map_err(fault)?;
    store.get_bytes().map_err(fault)
}

/// A model of these sizes with the weights of a safetensors file.
///
/// # Errors
/// Sizes out of range; bytes that are no such file, lack a weight or have one of another shape.
pub fn from_bytes(config: &Config, bytes: Vec<u8>) -> Result<Reldn, ReldnError> {
    config.check()?;
    let mut model = config.init(None, 0, &Device::flex());
    let mut store = SafetensorsStore::from_bytes(Some(bytes));
    let applied = model.load_from(&mut store).map_err(fault)?;
    if !applied.missing.is_empty() || !applied.unused.is_empty() || !applied.errors.is_empty() {
        let (missing, unused) = (applied.missing.len(), applied.unused.len());
        return Err(fault(format!("the weights do not fit model.json: {missing} missing, {unused} unused")));
    }
    Ok(model)
}
