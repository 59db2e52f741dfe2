//! `lossmith data info DIR`: what a folder holds.

use std::path::PathBuf;

use lossmith_data::folder;

use crate::output::{self, Answer};

/// The arguments of `data info`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder
    folder: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> anyhow::Result<Answer> {
    let format = folder::recognise(&args.folder)?;
    let description = (format.describe)(&args.folder)?;
    if args.json {
        let mut object = serde_json::Map::new();
        object.insert("format".to_owned(), format.name.into());
        object.extend(description.into_iter().map(|(name, value)| (name, value.into())));
        output::print_json(&object)?;
    } else {
        let mut text = format!("{:<12} {}\n", "format", format.name);
        for (name, value) in description {
            text += &format!("{name:<12} {value}\n");
        }
        output::print(&text)?;
    }
    Ok(Answer::Yes)
}
