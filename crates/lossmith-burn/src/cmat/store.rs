//! Agents as safetensors bytes.

use burn::prelude::*;
use burn_store::{ModuleSnapshot, SafetensorsStore};

use super::CmatError;
use super::agents::{Agents, Config};

fn fault(message: impl std::fmt::Display) -> CmatError {
    CmatError::Argument(format!("model: {message}"))
}

/// The agents' weights as a safetensors file.
///
/// # Errors
/// The weights cannot be read from their device.
pub fn to_bytes(agents: &Agents) -> Result<Vec<u8>, CmatError> {
    // One entry of metadata: Burn's own three are written in random order, and the same agents are to be the same bytes.
    let mut store = SafetensorsStore::from_bytes(None).clear_metadata().metadata("format", "safetensors");
    agents.save_into(&mut store).map_err(fault)?;
    store.get_bytes().map_err(fault)
}

/// Agents of these sizes with the weights of a safetensors file.
///
/// # Errors
/// The file is none, lacks a weight, or has one of another shape.
pub fn from_bytes(config: &Config, bytes: Vec<u8>, device: &Device) -> Result<Agents, CmatError> {
    let bias = vec![0.0; config.classes * config.classes * (config.predicates + 1)];
    let mut agents = config.init(bias, device);
    let mut store = SafetensorsStore::from_bytes(Some(bytes));
    agents.load_from(&mut store).map_err(fault)?;
    Ok(agents)
}
