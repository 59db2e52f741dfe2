//! `lossmith data make`: generated data, in the file formats of the published data sets.

use std::path::{Path, PathBuf};

use anyhow::{bail, ensure};
use lossmith_data::make::scenes::{self, Scenes};
use lossmith_data::make::{digits, holds, hubs, shapes};

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
    #[arg(long, value_name = "N", value_parser = crate::args::whole::<usize>(..))]
    train: Option<usize>,
    /// Test images or scenes
    #[arg(long, value_name = "N", value_parser = crate::args::whole::<usize>(..))]
    test: Option<usize>,
    /// Where every random number comes from
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = crate::args::whole::<u64>(..))]
    seed: u64,
    /// hubs: pairs of blocks in a scene; 1 makes about 18 nodes, 3 about 48
    #[arg(long, value_name = "N", value_parser = crate::args::whole::<usize>(..))]
    blocks: Option<usize>,
    /// hubs: groups in a scene, whose labels need communication; 8 nodes each
    #[arg(long, value_name = "N", value_parser = crate::args::whole::<usize>(..))]
    groups: Option<usize>,
    /// hubs: the standard deviation of the noise on what nodes show
    #[arg(long, value_name = "SIGMA")]
    noise: Option<f64>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Kind {
    /// Handwritten-looking digits, as MNIST files
    Digits,
    /// Scene graphs of who holds what, with feature vectors and pictures
    Holds,
    /// Several classes of shapes with outlines, as COCO
    Shapes,
    /// Bars that cross each other, as pictures and label images
    Sticks,
    /// Plants with 5 to 20 leaves, as pictures and label images in the CVPPP layout
    Rosettes,
    /// Scene graphs in which errors at hubs are dear and labels ambiguous, with known ceilings
    Hubs,
}

/// The most examples of a part.
const MOST: usize = 10_000_000;

/// Writes `train` and `test` examples from a seed into a folder.
type Write = Box<dyn Fn(&Path, usize, usize, u64) -> lossmith_data::Result<()>>;

pub fn run(args: Args) -> anyhow::Result<Answer> {
    if !matches!(args.kind, Kind::Hubs) && (args.blocks.is_some() || args.groups.is_some() || args.noise.is_some()) {
        bail!("--blocks, --groups and --noise are for hubs");
    }
    let (write, train, test): (Write, usize, usize) = match args.kind {
        Kind::Digits => (Box::new(digits::write), digits::TRAIN, digits::TEST),
        Kind::Shapes => (Box::new(shapes::write), 400, 100),
        Kind::Sticks => (write_scenes(scenes::Kind::Sticks), 240, 40),
        Kind::Rosettes => (write_scenes(scenes::Kind::Rosettes), 240, 40),
        Kind::Hubs => (write_hubs(&args), hubs::TRAIN, hubs::TEST),
        Kind::Holds => (Box::new(holds::write), holds::TRAIN, holds::TEST),
    };
    let (train, test) = (args.train.unwrap_or(train), args.test.unwrap_or(test));
    for (flag, count) in [("--train", train), ("--test", test)] {
        ensure!((1..=MOST).contains(&count), "{flag}: expected 1 to {MOST}, found {count}");
    }
    write(&args.out, train, test, args.seed)?;
    output::print(&format!("{train} training and {test} test examples in {}\n", args.out.display()))?;
    Ok(Answer::Yes)
}

fn write_scenes(kind: scenes::Kind) -> Write {
    Box::new(move |out, train, test, seed| Scenes { train, test, ..Scenes::new(kind, seed) }.write(out))
}

fn write_hubs(args: &Args) -> Write {
    let usual = hubs::Settings::default();
    let settings = hubs::Settings {
        blocks: args.blocks.unwrap_or(usual.blocks),
        groups: args.groups.unwrap_or(usual.groups),
        noise: args.noise.unwrap_or(usual.noise),
    };
    Box::new(move |out, train, test, seed| hubs::write(settings, out, train, test, seed))
}
