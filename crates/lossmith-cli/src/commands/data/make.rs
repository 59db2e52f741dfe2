//! `lossmith data make`: generated data, in the file formats of the published data sets.

use std::path::{Path, PathBuf};

use lossmith_data::make::scenes::{self, Scenes};
use lossmith_data::make::{digits, shapes};

use crate::output::{self, Answer};

/// The arguments of `data make`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to make
    #[arg(value_enum)]
    kind: Kind,
    /// The folder, which must not hold anything yet
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Training images or scenes
    #[arg(long, value_name = "N")]
    train: Option<usize>,
    /// Test images or scenes
    #[arg(long, value_name = "N")]
    test: Option<usize>,
    /// Where every random number comes from
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Kind {
    /// Handwritten-looking digits, as MNIST files
    Digits,
    /// Several classes of shapes with outlines, as COCO
    Shapes,
    /// Bars that cross each other, as pictures and label images
    Sticks,
    /// Plants with 5 to 20 leaves, as pictures and label images in the CVPPP layout
    Rosettes,
}

/// Writes `train` and `test` examples from a seed into a folder.
type Write = fn(&Path, usize, usize, u64) -> lossmith_data::Result<()>;

pub fn run(args: Args) -> anyhow::Result<Answer> {
    let (write, train, test): (Write, usize, usize) = match args.kind {
        Kind::Digits => (digits::write, digits::TRAIN, digits::TEST),
        Kind::Shapes => (shapes::write, 400, 100),
        Kind::Sticks => (|out, train, test, seed| write_scenes(scenes::Kind::Sticks, out, train, test, seed), 240, 40),
        Kind::Rosettes => {
            (|out, train, test, seed| write_scenes(scenes::Kind::Rosettes, out, train, test, seed), 240, 40)
        }
    };
    let (train, test) = (args.train.unwrap_or(train), args.test.unwrap_or(test));
    write(&args.out, train, test, args.seed)?;
    output::print(&format!("{train} training and {test} test examples in {}\n", args.out.display()))?;
    Ok(Answer::Yes)
}

fn write_scenes(kind: scenes::Kind, out: &Path, train: usize, test: usize, seed: u64) -> lossmith_data::Result<()> {
    Scenes { train, test, ..Scenes::new(kind, seed) }.write(out)
}
