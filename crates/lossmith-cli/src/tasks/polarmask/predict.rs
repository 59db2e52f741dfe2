//! `lossmith predict polarmask`: objects of the user's own images, as COCO results, label images, pictures and counts.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use clap::ValueEnum;
use lossmith_burn::polarmask::{Detection, draw, label_image};
use lossmith_data::atomic;
use lossmith_data::coco::{self, Category, Coco, Id, Image};
use lossmith_data::instance_set::Source;
use lossmith_data::label_images::{self, Labels};
use serde_json::json;

use super::limits;
use super::model::Model;
use super::train::zoom;
use crate::interrupt::{self, Interrupted};
use crate::output::{self, Answer, Table, WholeFolder};
use crate::progress::Steps;
use crate::run::Run;
use crate::tasks::inputs;

/// The arguments of `predict polarmask`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
For all images OUT/results.json (COCO results, every detection) and OUT/images.json (COCO's record of images and classes), for every\n\
image NAME the sure detections as OUT/NAME_overlay.png (outlines) and OUT/NAME_label.png (16 bits, 0 = background); OUT/counts.csv is the\n\
table that is printed. With --truth the ids are those of that file: `evaluate coco` and `evaluate instances` take the results as they are.\n\n\
Example: lossmith predict polarmask --model runs/polarmask-1 photos/*.png --draw rays --out found")]
pub struct Args {
    /// The folder of the run
    #[arg(long, value_name = "RUN")]
    model: PathBuf,
    /// Images, or folders of images; masks, label images and results that lie beside their picture are left out
    #[arg(required = true, value_name = "INPUT")]
    inputs: Vec<PathBuf>,
    /// The folder for the results, which must be new
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// What is drawn
    #[arg(long, value_enum, default_value = "outlines")]
    draw: What,
    /// The score from which a detection is drawn and counted; chosen on the training pictures unless given
    #[arg(long, value_name = "SCORE")]
    sure: Option<f64>,
    /// At most so many objects for each picture, 0 for all; chosen on the training pictures unless given
    #[arg(long, value_name = "N", value_parser = crate::args::whole::<usize>(..))]
    most: Option<usize>,
    /// COCO ground truth that has the images by their file names: gives the results its ids
    #[arg(long, value_name = "FILE")]
    truth: Option<PathBuf>,
    /// Print the counts as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// The outline of every object
    Outlines,
    /// Its centre and rays too
    Rays,
}

/// One image with what was found in it.
struct Found {
    image: Image,
    name: String,
    detections: Vec<Detection>,
}

pub fn run(args: &Args) -> anyhow::Result<Answer> {
    let mut model = Model::open(&Run::open(&args.model)?)?;
    if let Some(most) = args.most {
        model.about.detect = model.about.detect.keeping(most);
    }
    let sure = args.sure.unwrap_or(model.about.sure);
    ensure!((0.0..=2.0).contains(&sure), "--sure: expected a score from 0 to 2, found {sure}");
    let images = inputs::pictures(&args.inputs)?;
    let truth = args.truth.as_deref().map(coco::read).transpose()?;
    let records = records(&images, truth.as_ref())?;
    let out = WholeFolder::begin(&args.out)?;
    interrupt::listen();
    let mut steps = Steps::new("picture", images.len());
    let (mut all, mut failed) = (Vec::new(), 0);
    for (at, ((name, path), (id, source))) in images.iter().zip(records).enumerate() {
        if interrupt::asked() {
            return Err(Interrupted.into());
        }
        // One image that cannot be read does not stop the others.
        match predict(&model, args, out.path(), sure, name, path, id, &source) {
            Ok(found) => all.push(found),
            Err(e) => {
                failed += 1;
                steps.suspend(|| tracing::error!("{:#}", out.known(e)));
            }
        }
        steps.at(at + 1, "");
    }
    steps.finish();
    if all.is_empty() {
        bail!("none of the {} images could be read, as said above; {} is not made", images.len(), args.out.display());
    }
    let most = model.about.detect.most;
    if let Some(truth) = &truth {
        limits::warn_of_truth("--truth", truth, most);
    }
    limits::warn_of_found(
        all.iter().map(|f| (f.name.as_str(), f.detections.as_slice())),
        most,
        "raise it with --most N",
    );
    write_coco(out.path(), &model, truth, &all).map_err(|e| out.known(e))?;
    report(args, out, &model, sure, &all)?;
    if failed > 0 {
        bail!("{failed} of {} images failed, as said above; the others are in {}", images.len(), args.out.display());
    }
    Ok(Answer::Yes)
}

/// The id of each image, that of the ground truth or its place from 1 on, and where its pixels are: those that the ground truth is of.
fn records(images: &[(String, PathBuf)], truth: Option<&Coco>) -> anyhow::Result<Vec<(Id, Source)>> {
    let Some(truth) = truth else {
        return Ok((1..).map(Id::from).zip(images.iter().map(|(_, path)| Source::File(path.clone()))).collect());
    };
    let known = truth.images.iter().map(|image| (Path::new(&image.file_name).file_name(), image));
    let mut by_name: HashMap<_, Vec<&Image>> = HashMap::new();
    known.for_each(|(name, image)| by_name.entry(name).or_default().push(image));
    let record =
        |(_, path): &(String, PathBuf)| of_path(path, by_name.get(&path.file_name()).map_or(&[][..], Vec::as_slice));
    let records = images.iter().map(record).collect::<anyhow::Result<Vec<&Image>>>()?;
    let mut taken: HashMap<&Id, &Path> = HashMap::new();
    for (record, (_, path)) in records.iter().zip(images) {
        if let Some(other) = taken.insert(&record.id, path) {
            bail!("--truth: {} and {} are both its image {}", other.display(), path.display(), record.id);
        }
    }
    let said = |image: &Image| [image.width as usize, image.height as usize];
    let pictures = images.iter().zip(&records).map(|((_, path), image)| (path.clone(), said(image))).collect();
    Ok(records.iter().map(|image| image.id.clone()).zip(Source::files(pictures)).collect())
}

/// Which of the images of its name a file is: the only one, or the one whose folders are those of the file.
fn of_path<'a>(path: &Path, named: &[&'a Image]) -> anyhow::Result<&'a Image> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    match named {
        [] => bail!("--truth: none of its images is named {name}"),
        [image] => Ok(*image),
        [first, second, ..] => {
            let whole = path.canonicalize().unwrap_or_else(|_| path.to_owned());
            let ending = |image: &&&Image| whole.ends_with(&image.file_name);
            let longest = named.iter().filter(ending).max_by_key(|image| image.file_name.len());
            longest.copied().with_context(|| {
                let (count, one, two) = (named.len(), &first.file_name, &second.file_name);
                format!("--truth: {count} of its images are named {name} ({one}, {two}), and {} is none of them: keep its folders", path.display())
            })
        }
    }
}

#[allow(clippy::too_many_arguments, reason = "what one picture needs")]
fn predict(
    model: &Model,
    args: &Args,
    out: &Path,
    sure: f64,
    name: &str,
    path: &Path,
    id: Id,
    source: &Source,
) -> anyhow::Result<Found> {
    let picture = source.load()?;
    let detections = model.detect(std::slice::from_ref(&picture)).pop().unwrap_or_default();
    let (width, height) = (picture.width, picture.height);
    let bare = inputs::bare(name);
    let file = |ending: &str| out.join(format!("{bare}{ending}"));
    let shown: Vec<Detection> = detections.iter().filter(|d| d.score >= sure).cloned().collect();
    draw(&picture, &shown, args.draw == What::Rays, zoom(width, height)).write(&file("_overlay.png"))?;
    let ids = label_image(&detections, sure, width, height);
    label_images::write_labels(&file("_label.png"), &Labels { width, height, ids })?;
    let file_name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let image = Image { id, file_name, width: width as u32, height: height as u32 };
    Ok(Found { image, name: bare.to_owned(), detections })
}

/// The results as COCO has them, and the images and classes that they are about.
fn write_coco(out: &Path, model: &Model, truth: Option<Coco>, all: &[Found]) -> anyhow::Result<()> {
    let ids = &model.about.category_ids;
    let results: Vec<_> = all.iter().flat_map(|f| f.detections.iter().map(|d| d.to_coco(&f.image.id, ids))).collect();
    coco::write_detections(&out.join("results.json"), &results)?;
    let named = || {
        ids.iter().zip(&model.about.network.classes).map(|(id, name)| Category { id: id.clone(), name: name.clone() })
    };
    let categories = truth.map_or_else(|| named().collect(), |t| t.categories);
    let images = all.iter().map(|f| f.image.clone()).collect();
    Coco { images, categories, annotations: Vec::new() }.write(&out.join("images.json"))?;
    Ok(())
}

/// The table of counts of the sure detections: printed, and as a file for a spreadsheet.
fn report(args: &Args, out: WholeFolder, model: &Model, sure: f64, all: &[Found]) -> anyhow::Result<Answer> {
    let classes = &model.about.network.classes;
    let heads = || ["image"].into_iter().chain(classes.iter().map(String::as_str)).chain(["all"]);
    let mut table = Table::new(heads());
    let mut csv = heads().map(output::csv_field).collect::<Vec<_>>().join(",") + "\n";
    let mut rows = Vec::new();
    for found in all {
        let sure: Vec<&Detection> = found.detections.iter().filter(|d| d.score >= sure).collect();
        let counts: Vec<usize> = (0..classes.len()).map(|c| sure.iter().filter(|d| d.class == c).count()).collect();
        let cells = || counts.iter().copied().chain([sure.len()]).map(|n| n.to_string());
        table.row([found.name.clone()].into_iter().chain(cells()));
        csv += &format!("{},{}\n", output::csv_field(&found.name), cells().collect::<Vec<_>>().join(","));
        let by_class: serde_json::Map<_, _> = classes.iter().cloned().zip(counts.iter().map(|n| json!(n))).collect();
        rows.push(json!({ "image": found.name, "id": found.image.id, "counts": by_class, "all": sure.len() }));
    }
    atomic::write(&out.path().join("counts.csv"), csv.as_bytes()).map_err(|e| out.known(e.into()))?;
    out.finish()?;
    if args.json {
        output::print_json(&rows)?;
    } else {
        output::print(&table.to_string())?;
    }
    Ok(Answer::Yes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_names_in_two_folders_have_their_own_ids() {
        let image =
            |id: u64, file_name: &str| Image { id: id.into(), file_name: file_name.to_owned(), width: 4, height: 3 };
        let images = vec![image(4, "a/1.png"), image(9, "b/1.png"), image(2, "2.png")];
        let truth = Coco { images, ..Coco::default() };
        let ids = |paths: &[&str]| {
            let images: Vec<_> = paths.iter().map(|p| (String::new(), PathBuf::from(p))).collect();
            records(&images, Some(&truth)).map(|found| found.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>())
        };
        assert_eq!(ids(&["x/b/1.png", "x/a/1.png", "somewhere/2.png"]).unwrap(), [9, 4, 2]);
        for (paths, said) in [
            (&["1.png"][..], "2 of its images are named 1.png (a/1.png, b/1.png), and 1.png is none of them"),
            (&["3.png"], "none of its images is named 3.png"),
            (&["2.png", "x/2.png"], "2.png and x/2.png are both its image 2"),
        ] {
            let error = ids(paths).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
        let images: Vec<_> = ["a.png", "b.png"].map(|p| (String::new(), PathBuf::from(p))).into();
        assert_eq!(records(&images, None).unwrap().into_iter().map(|(id, _)| id).collect::<Vec<_>>(), [1, 2]);
    }
}
