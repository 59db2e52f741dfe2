//! Matrix products of bf16 operands with f32 sums.
//!
//! A bf16 number is the upper half of an f32: its exponent, and 8 bits of precision. Processors that multiply them sum
//! two products at once, so operands lie in *words*: two numbers of consecutive depth, the even one in the lower half.
//! Operands are f32 where they come from, are rounded (to nearest, ties to even) and paired on the way into blocks that
//! stay in the cache, and meet in one of three ways, chosen once per process ([`Unit::detect`]): AMX tiles, AVX512-BF16
//! dot products, or, where a processor has neither, not at all: then the caller stays with f32.
//!
//! The units sum in different orders, so their last bits differ; each alone gives the same bits for the same input.

#[cfg(target_arch = "x86_64")]
mod dots;
#[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "only x86 has a unit"))]
mod product;
mod round;
#[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "only x86 has a unit"))]
mod tiles;
#[cfg(target_arch = "x86_64")]
mod tiles_x86;

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use super::arithmetic;
pub use product::{Panels, Right, Scratch, Side, Start, Target, multiply};
pub use round::{round, widen};

/// How exactly the operands of matrix products are kept. Sums, and everything else, are f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// In f32.
    #[default]
    F32,
    /// In bf16, where the processor multiplies that faster and the product is large enough to gain by it.
    Bf16,
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "f32" => Ok(Self::F32),
            "bf16" => Ok(Self::Bf16),
            other => Err(format!("there is no '{other}'; there is: f32, bf16")),
        }
    }
}

impl Precision {
    /// What multiplies at this precision on this processor; `None`: the f32 kernels.
    pub fn unit(self) -> Option<Unit> {
        match self {
            Self::F32 => None,
            Self::Bf16 => Unit::detect(),
        }
    }

    /// The arithmetic that this precision stands for on this processor, in words. What is trained by different
    /// arithmetic may not be mixed: it is equal in the first digits only.
    pub fn arithmetic(self) -> String {
        match self.unit() {
            Some(unit) => format!("bf16 products by {unit}, {}", arithmetic::name()),
            None => arithmetic::name().to_owned(),
        }
    }
}

/// What multiplies bf16 numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// AVX512-BF16: sums of two products in each of 16 lanes.
    Dots,
    /// AMX: products of tiles of 16 x 32 and 32 x 16 numbers.
    Tiles,
    /// The tile instructions in software, so that the driver of the tiles is tested where there is no AMX.
    #[cfg(test)]
    Model,
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dots => "AVX512-BF16",
            Self::Tiles => "AMX",
            #[cfg(test)]
            Self::Model => "a model of AMX",
        })
    }
}

impl Unit {
    /// The best unit of this processor, if it has one. Asks the system for leave to use tiles, once per process.
    pub fn detect() -> Option<Self> {
        static UNIT: OnceLock<Option<Unit>> = OnceLock::new();
        *UNIT.get_or_init(Self::look)
    }

    #[cfg(target_arch = "x86_64")]
    fn look() -> Option<Self> {
        // Operands are rounded and paired by AVX512-BF16 in both cases: every processor with AMX has it.
        round::in_hardware().then(|| if tiles_x86::permitted() { Self::Tiles } else { Self::Dots })
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn look() -> Option<Self> {
        None
    }
}

#[cfg(test)]
mod tests;
