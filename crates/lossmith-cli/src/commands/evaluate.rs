//! `lossmith evaluate PROTOCOL --truth T --predictions P`.

mod cityscapes;
pub mod coco;
mod instances;
mod openimages_vrd;
mod relations;
mod visual_genome;
mod vrd;

use clap::Subcommand;

use crate::output::Answer;

/// The arguments of `evaluate`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    protocol: Protocol,
}

#[derive(Debug, Subcommand)]
enum Protocol {
    Coco(coco::Args),
    /// Label images: SBD, counts, F1, AP, PQ, AJI
    Instances(instances::Args),
    /// Instances by the Cityscapes benchmark: AP and AP50
    Cityscapes(cityscapes::Args),
    /// Score relations by the protocols of VRD
    Vrd(vrd::Args),
    /// Score relations by either protocol of Open Images
    OpenimagesVrd(openimages_vrd::Args),
    /// Score relations by the protocol of Visual Genome
    VisualGenome(visual_genome::Args),
}

pub fn run(args: Args) -> anyhow::Result<Answer> {
    match args.protocol {
        Protocol::Coco(args) => coco::run(&args),
        Protocol::Instances(args) => instances::run(&args),
        Protocol::Cityscapes(args) => cityscapes::run(&args),
        Protocol::Vrd(args) => vrd::run(&args),
        Protocol::OpenimagesVrd(args) => openimages_vrd::run(&args),
        Protocol::VisualGenome(args) => visual_genome::run(&args),
    }
}
