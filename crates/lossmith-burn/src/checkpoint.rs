//! The state of a training between two steps, as one file: a training that is given it goes on in the same numbers as if it had
//! never been stopped.
//!
//! Layout: a line of text that names the format, the SHA-256 of the rest, steps done, bytes of the network (both 64 bits,
//! little-endian), the network, the optimiser; the last two as Burn writes records, and takes them on trust: a damaged file is told by its
//! checksum. Random numbers are not kept: a training draws them anew up to its step.

use burn::module::Module;
use burn::optim::{ModuleOptimizer, OptimizerRecord};
use burn::store::ModuleRecord;
use burn::tensor::Bytes;
use sha2::{Digest, Sha256};

const MAGIC: &[u8] = b"lossmith checkpoint 2\n";
const CHECKSUM: usize = 32;
const NUMBER: usize = size_of::<u64>();

/// What can be wrong with a checkpoint.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Not as it was written.
    #[error("this is no whole checkpoint of a training")]
    Format,
    /// Of another network.
    #[error("the checkpoint does not fit the recipe: {0}")]
    Misfit(String),
    /// The state cannot be written.
    #[error("the state of the training cannot be written: {0}")]
    Unwritten(String),
}

/// Gives the state of a training to who watches it.
pub type Save<'a> = dyn Fn() -> Result<Checkpoint, CheckpointError> + 'a;

/// The state of a training between two steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Steps done.
    pub step: usize,
    network: Vec<u8>,
    optimiser: Vec<u8>,
}

impl Checkpoint {
    /// The state after `step` steps.
    ///
    /// # Errors
    /// [`CheckpointError::Unwritten`].
    pub fn of<M: Module>(step: usize, network: &M, optimiser: &ModuleOptimizer) -> Result<Self, CheckpointError> {
        let refused = |e: &dyn std::fmt::Display| CheckpointError::Unwritten(e.to_string());
        let network = network.clone().into_record().into_bytes().map_err(|e| refused(&e))?.to_vec();
        let optimiser = optimiser.to_record().into_bytes().map_err(|e| refused(&e))?.to_vec();
        Ok(Self { step, network, optimiser })
    }

    /// Puts the state into a network and an optimiser of the same make.
    ///
    /// # Errors
    /// [`CheckpointError::Misfit`].
    pub fn restore<M: Module>(
        &self,
        network: M,
        optimiser: ModuleOptimizer,
    ) -> Result<(M, ModuleOptimizer), CheckpointError> {
        let misfit = |e: &dyn std::fmt::Display| CheckpointError::Misfit(e.to_string());
        let bytes = |bytes: &[u8]| Bytes::from_bytes_vec(bytes.to_vec());
        let record = ModuleRecord::from_bytes(bytes(&self.network)).map_err(|e| misfit(&e))?;
        let network = network.try_load_record(record).map_err(|e| misfit(&e))?;
        let record = OptimizerRecord::from_bytes(bytes(&self.optimiser)).map_err(|e| misfit(&e))?;
        Ok((network, optimiser.load_record(record)))
    }

    /// As a file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let number = |n: usize| (n as u64).to_le_bytes();
        let rest = [&number(self.step)[..], &number(self.network.len()), &self.network, &self.optimiser].concat();
        [MAGIC, &Sha256::digest(&rest), &rest].concat()
    }

    /// From a file.
    ///
    /// # Errors
    /// [`CheckpointError::Format`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CheckpointError> {
        let read = || {
            let (checksum, rest) = bytes.strip_prefix(MAGIC)?.split_first_chunk::<CHECKSUM>()?;
            if Sha256::digest(rest)[..] != checksum[..] {
                return None;
            }
            let (step, rest) = rest.split_first_chunk::<NUMBER>()?;
            let (length, rest) = rest.split_first_chunk::<NUMBER>()?;
            let [step, length] = [step, length].map(|n| usize::try_from(u64::from_le_bytes(*n)).ok());
            let (network, optimiser) = rest.split_at_checked(length?)?;
            Some(Self { step: step?, network: network.to_vec(), optimiser: optimiser.to_vec() })
        };
        read().ok_or(CheckpointError::Format)
    }
}

#[cfg(test)]
mod tests {
    use burn::nn::{Linear, LinearConfig};
    use burn::optim::{AdamConfig, GradientsParams};
    use burn::tensor::{Device, Tensor};

    use super::*;

    fn step(network: Linear, optimiser: &mut ModuleOptimizer) -> Linear {
        let x = Tensor::<2>::ones([2, 3], &Device::flex().autodiff());
        let loss = network.forward(x).powf_scalar(2.0).sum();
        let gradients = GradientsParams::from_grads(loss.backward(), &network);
        optimiser.step(0.1, network, gradients)
    }

    fn weights(network: &Linear) -> Vec<f32> {
        network.weight.val().into_data().try_to_vec().unwrap()
    }

    #[test]
    fn a_restored_training_takes_the_same_steps() {
        let device = Device::flex().autodiff();
        let mut optimiser = AdamConfig::new().init();
        let network = step(step(LinearConfig::new(3, 2).init(&device), &mut optimiser), &mut optimiser);
        let bytes = Checkpoint::of(2, &network, &optimiser).unwrap().to_bytes();
        let saved = Checkpoint::from_bytes(&bytes).unwrap();
        assert_eq!(saved.step, 2);
        let fresh = (LinearConfig::new(3, 2).init(&device), AdamConfig::new().init());
        let (restored, mut other) = saved.restore(fresh.0, fresh.1).unwrap();
        assert_eq!(weights(&restored), weights(&network));
        let (on, also) = (step(network, &mut optimiser), step(restored, &mut other));
        assert_eq!(weights(&step(on, &mut optimiser)), weights(&step(also, &mut other)));
    }

    #[test]
    fn what_is_no_checkpoint_is_refused() {
        let device = Device::flex().autodiff();
        let whole = Checkpoint::of(0, &LinearConfig::new(3, 2).init(&device), &AdamConfig::new().init()).unwrap();
        let bytes = whole.to_bytes();
        for wrong in [&b""[..], b"lossmith checkpoint 1\n", &bytes[..MAGIC.len() + 12], &bytes[..MAGIC.len() + 20]] {
            assert!(matches!(Checkpoint::from_bytes(wrong), Err(CheckpointError::Format)), "{}", wrong.len());
        }
        for at in (0..bytes.len()).step_by(7) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 4;
            assert_eq!(Checkpoint::from_bytes(&damaged), Err(CheckpointError::Format), "{at}");
        }
        let other = LinearConfig::new(4, 2).init(&device);
        let refused = whole.restore(other, AdamConfig::new().init());
        assert!(matches!(refused, Err(CheckpointError::Misfit(_))));
    }
}
