//! A network with its weights: what it answers, and the gradient of its weights.

use crate::kernel::softmax;
use crate::network::{Network, Shape};
use crate::pass::{Batch, Pass};
use crate::train::{Candidate, Control, Data, Event, Outcome, Recipe, train_from};
use crate::weights::{self, Weight, Weights};
use crate::{BatchLoss, Dataset, Layer, NetsError, init};

#[cfg(test)]
mod tests;

/// A network with its weights.
#[derive(Debug)]
pub struct Model {
    network: Network,
    parameters: Vec<f32>,
}

impl Model {
    /// The weights that training of this seed starts from.
    ///
    /// # Errors
    /// As [`Network::new`].
    pub fn new(layers: &[Layer], shape: Shape, classes: usize, seed: u64) -> Result<Self, NetsError> {
        let network = Network::new(layers, shape, classes)?;
        let parameters = init::parameters(&network, seed);
        Ok(Self { network, parameters })
    }

    /// Weights by name, as training gives them.
    ///
    /// # Errors
    /// As [`Network::new`], and a weight that is missing or of another shape.
    pub fn from_weights(layers: &[Layer], shape: Shape, classes: usize, weights: &[Weight]) -> Result<Self, NetsError> {
        let network = Network::new(layers, shape, classes)?;
        let parameters = weights::import(&network, weights)?;
        Ok(Self { network, parameters })
    }

    /// The weights by name.
    pub fn weights(&self) -> Weights {
        weights::export(&self.network, &self.parameters)
    }

    /// The logits of every image, row by row.
    ///
    /// # Errors
    /// Images of another shape than the network takes.
    pub fn logits(&self, images: &Dataset) -> Result<Vec<f32>, NetsError> {
        let batch = self.batch(images)?;
        Ok(Pass::new(&self.network).forward(&self.network, &self.parameters, &batch).to_vec())
    }

    /// The share of images that are answered right.
    ///
    /// # Errors
    /// Images of another shape than the network takes.
    pub fn accuracy(&self, images: &Dataset) -> Result<f64, NetsError> {
        let (logits, batch) = (self.logits(images)?, self.batch(images)?);
        Ok(softmax::correct(&logits, &batch.labels, self.network.classes) as f64 / images.len() as f64)
    }

    /// The loss of all images as one batch, without dropout, and its gradient by name.
    ///
    /// # Errors
    /// Images of another shape than the network takes.
    pub fn gradient(&self, images: &Dataset, loss: &dyn BatchLoss) -> Result<(f64, Weights), NetsError> {
        let batch = self.batch(images)?;
        let mut pass = Pass::new(&self.network);
        pass.forward(&self.network, &self.parameters, &batch);
        let (logits, gradient) = pass.logits_and_gradient();
        let value = loss.value_and_gradient(logits, &batch.labels, self.network.classes, gradient);
        pass.backward(&self.network, &self.parameters, &batch);
        Ok((value, weights::export(&self.network, &pass.gradient)))
    }

    /// Trains the candidates in lock-step from these weights, as [`crate::train`] does from fresh ones.
    ///
    /// # Errors
    /// Data that do not fit together or to the network, a setting that training cannot take.
    pub fn train(
        &self,
        data: Data<'_>,
        recipe: &Recipe,
        candidates: &[Candidate<'_>],
        watch: &mut dyn FnMut(Event) -> Control,
    ) -> Result<Vec<Outcome>, NetsError> {
        train_from(&self.network, &self.parameters, data, recipe, candidates, watch)
    }

    fn batch(&self, images: &Dataset) -> Result<Batch, NetsError> {
        let (shape, input) = (images.shape(), &self.network.input);
        if (shape.height, shape.width, shape.channels) != (input.height, input.width, input.channels) {
            return Err(NetsError::Data(format!("images of {shape:?}, the network takes {input:?}")));
        }
        Ok(images.batch(0..images.len(), input))
    }
}
