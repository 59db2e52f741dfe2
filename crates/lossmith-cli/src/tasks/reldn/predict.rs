//! `lossmith predict reldn`: scene graphs of boxes, as triplets, JSON and pictures.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use lossmith::graph::{Corners, Edge, GraphScores, Relation, SceneGraph, Vocabulary};
use lossmith_burn::reldn::{Config, Example, Reldn, predict, store};
use lossmith_data::atomic;
use lossmith_data::graph_json::ImageGraph;
use lossmith_data::predictions::Prediction;
use lossmith_data::scene_graphs::{self, Part};
use lossmith_data::vrd::Nodes;
use lossmith_data::{whole_bytes, whole_text};
use serde::Deserialize;
use serde_json::{Value, json};

use super::figures::related;
use super::picture::{Arrow, picture};
use super::session::{Looks, Place};
use crate::output::{self, Answer, WholeFolder};
use crate::run::Run;

/// Images of which predictions are in memory at a time.
const BATCH: usize = 64;

/// The arguments of `predict reldn`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
An input is a file of scene graphs (graph JSON), a file with one image a line\n  \
{\"image\": \"a.jpg\", \"size\": [640, 480], \"boxes\": [[10, 20, 110, 220], [90, 100, 130, 140]], \"labels\": [\"person\", 1]}\n\
(size may be left out; labels are names or numbers from 0; true relations colour the picture where they are there), or a data folder, whose\n\
test images are taken. --out writes predictions.jsonl, which `lossmith evaluate vrd|openimages-vrd|visual-genome` reads, graphs.jsonl and\n\
a picture of each image.")]
pub struct Args {
    /// A run of `lossmith train reldn`
    #[arg(long, value_name = "RUN")]
    model: PathBuf,
    /// Images with boxes as JSON, or data folders
    #[arg(required = true)]
    inputs: Vec<PathBuf>,
    /// The pictures, named as the images; beside the graphs of a folder unless given
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    /// Feature vectors of boxes and pairs (safetensors)
    #[arg(long, value_name = "FILE", conflicts_with = "images")]
    features: Option<PathBuf>,
    /// Write predictions.jsonl, graphs.jsonl and pictures into this folder, which must not hold anything yet
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// How many relations of each image to print and to draw
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = crate::args::whole::<usize>(..))]
    top: usize,
    /// Print and draw relations of at least this score
    #[arg(long, value_name = "P", default_value_t = 0.1)]
    least: f64,
    /// Look at pairs of boxes that overlap only, as published
    #[arg(long)]
    overlap: bool,
    /// VRD: a node for each label of a box, and annotated pairs of a box with itself, as `evaluate vrd` asks for
    #[arg(long)]
    labelled_boxes: bool,
    /// The pairs are known to be related, as in predicate detection: leave "none" out of the probabilities
    #[arg(long)]
    related: bool,
    /// Draw no pictures
    #[arg(long)]
    no_pictures: bool,
    /// Print the scene graphs as JSON, one image a line
    #[arg(long)]
    json: bool,
}

/// A file of images; names, where it has any, must be the model's.
#[derive(Deserialize)]
struct InputSet {
    objects: Option<Vec<String>>,
    predicates: Option<Vec<String>>,
    images: Vec<Input>,
}

/// An image as its file says it.
#[derive(Deserialize)]
struct Input {
    image: Value,
    size: Option<[u32; 2]>,
    boxes: Vec<Corners>,
    labels: Vec<Label>,
    #[serde(default)]
    relations: Vec<Relation>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected the name or the number of a class")]
enum Label {
    Number(u32),
    Name(String),
}

struct Model {
    model: Reldn,
    config: Config,
    names: Vocabulary,
}

pub fn run(args: Args) -> anyhow::Result<Answer> {
    let model = Model::open(&args.model)?;
    let mut work = Vec::new();
    for path in &args.inputs {
        let images = model.read(path, args.labelled_boxes)?;
        let place = Place { images: args.images.clone(), features: args.features.clone(), ..Place::default() };
        let looks = if model.config.visual.is_some() || args.images.is_some() {
            Looks::find(path, &place)?
        } else {
            Looks::Nothing
        };
        work.push((images, looks));
    }
    let Some(out) = &args.out else {
        return model.predict(&args, &work, &mut std::io::sink(), None).map(|()| Answer::Yes);
    };
    let whole = WholeFolder::begin(out)?;
    model.write(&args, &work, whole.path()).map_err(|e| whole.known(e))?;
    whole.finish()?;
    Ok(Answer::Yes)
}

impl Model {
    fn open(folder: &Path) -> anyhow::Result<Self> {
        let run = Run::open(folder)?;
        let (config, names): (Config, Vocabulary) = (run.read_json("model.json")?, run.read_json("vocabulary.json")?);
        let path = run.path("model.safetensors");
        anyhow::ensure!(
            (config.classes, config.predicates) == (names.objects.len(), names.predicates.len()),
            "{}: model.json and vocabulary.json do not belong together",
            folder.display()
        );
        let bytes = whole_bytes(&path).map_err(|e| anyhow::anyhow!("{e}; has its training ended?"))?;
        let model = store::from_bytes(&config, bytes).with_context(|| path.display().to_string())?;
        Ok(Self { model, config, names })
    }

    fn read(&self, path: &Path, labelled_boxes: bool) -> anyhow::Result<Vec<ImageGraph>> {
        if path.is_dir() || scene_graphs::is_h5(path) {
            let nodes = if labelled_boxes { Nodes::LabelledBoxes } else { Nodes::Boxes };
            let set = scene_graphs::read(path, Part::Test, nodes, None)?;
            self.check_names(path, &set.vocabulary.objects, &set.vocabulary.predicates)?;
            return Ok(set.images);
        }
        let place = || path.display().to_string();
        let text = whole_text(path)?;
        let whole: Result<Value, _> = serde_json::from_str(&text);
        if let Ok(whole) = whole
            && whole.get("images").is_some()
        {
            let set: InputSet = serde_json::from_value(whole).with_context(place)?;
            self.check_names(
                path,
                set.objects.as_ref().unwrap_or(&self.names.objects),
                set.predicates.as_ref().unwrap_or(&self.names.predicates),
            )?;
            return set.images.into_iter().map(|input| self.image(input).with_context(place)).collect();
        }
        let line = |(at, line): (usize, &str)| {
            let place = || format!("{}, line {}", path.display(), at + 1);
            self.image(serde_json::from_str(line).with_context(place)?).with_context(place)
        };
        text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).map(line).collect()
    }

    fn check_names(&self, path: &Path, objects: &[String], predicates: &[String]) -> anyhow::Result<()> {
        if objects != self.names.objects || predicates != self.names.predicates {
            bail!("{}: its classes or predicates are not those that the model was trained on", path.display());
        }
        Ok(())
    }

    fn image(&self, input: Input) -> anyhow::Result<ImageGraph> {
        let image = match input.image {
            Value::String(name) => name,
            Value::Number(number) => number.to_string(),
            other => bail!("image: expected a name or a number, found {other}"),
        };
        let class = |(at, label): (usize, &Label)| -> anyhow::Result<u32> {
            let objects = &self.names.objects;
            match label {
                Label::Number(n) if (*n as usize) < objects.len() => Ok(*n),
                Label::Number(n) => bail!("label {at} is {n}, but there are {} classes, counted from 0", objects.len()),
                Label::Name(name) => match objects.iter().position(|o| o == name) {
                    Some(n) => Ok(n as u32),
                    None => bail!("label {at} is '{name}', which is no class of the model"),
                },
            }
        };
        let place = format!("image {image}");
        let labels = input.labels.iter().enumerate().map(class).collect::<anyhow::Result<_>>();
        let graph =
            SceneGraph { boxes: input.boxes, labels: labels.context(place.clone())?, relations: input.relations };
        graph.check(self.names.predicates.len()).context(place)?;
        Ok(ImageGraph { image, size: input.size, graph, verified: Vec::new() })
    }

    fn write(&self, args: &Args, work: &[(Vec<ImageGraph>, Looks)], out: &Path) -> anyhow::Result<()> {
        if !args.no_pictures {
            atomic::new_folder(&out.join("pictures"))?;
        }
        let mut fault = None;
        let written = atomic::write_with(&out.join("predictions.jsonl"), |to| {
            self.predict(args, work, to, Some(out)).map_err(|e| {
                let text = e.to_string();
                fault = Some(e);
                std::io::Error::other(text)
            })
        });
        match fault {
            Some(error) => Err(error),
            None => Ok(written?),
        }
    }

    /// Writes the predictions, prints triplets or graphs, and draws.
    fn predict(
        &self,
        args: &Args,
        work: &[(Vec<ImageGraph>, Looks)],
        to: &mut dyn Write,
        out: Option<&Path>,
    ) -> anyhow::Result<()> {
        let mut graphs = String::new();
        let mut drawn = std::collections::HashSet::new();
        for (images, looks) in work {
            for batch in images.chunks(BATCH) {
                let examples: Vec<Example> = batch.iter().map(|i| Example::new(i, looks.of(&i.image))).collect();
                let mut scores = predict(&self.model, &self.config, &examples, |e| pairs(e, args))?;
                if args.related {
                    scores = scores.iter().map(related).collect();
                }
                let mut text = String::new();
                for (example, scores) in examples.iter().zip(&scores) {
                    writeln!(to, "{}", Prediction::line(&example.name, scores))?;
                    let arrows = self.arrows(example, scores, args);
                    let graph = self.graph(example, &arrows);
                    if args.json {
                        text += &format!("{graph}\n");
                    } else {
                        text += &self.triplets(example, &arrows);
                    }
                    let Some(out) = out else { continue };
                    graphs += &format!("{graph}\n");
                    if !args.no_pictures {
                        let name = example.name.replace(['/', '\\'], "-");
                        anyhow::ensure!(drawn.insert(name.clone()), "image {}: it is there twice", example.name);
                        self.draw(&out.join("pictures").join(format!("{name}.svg")), example, looks, &arrows)?;
                    }
                }
                match output::print(&text) {
                    // The reader of stdout has seen enough; the files are wanted whole.
                    Err(e) if out.is_some() && output::is_closed_pipe(&e) => {}
                    printed => printed?,
                }
            }
        }
        if let Some(out) = out {
            atomic::write(&out.join("graphs.jsonl"), graphs.as_bytes())?;
        }
        Ok(())
    }

    /// The best predicate of each pair, the surest first.
    fn arrows(&self, example: &Example, scores: &GraphScores, args: &Args) -> Vec<Arrow> {
        let arrow = |(at, &[s, o]): (usize, &[u32; 2])| {
            let row = scores.predicates.row(at);
            let best = (1..row.len()).fold(1, |best, p| if row[p] > row[best] { p } else { best });
            let (subject, object) = (s as usize, o as usize);
            let known = !example.graph.relations.is_empty();
            let right = Relation { subject: s, object: o, predicate: best as u32 };
            Arrow {
                subject,
                object,
                predicate: self.names.predicates[best - 1].clone(),
                score: row[best],
                right: known.then(|| example.graph.relations.contains(&right)),
            }
        };
        let mut arrows: Vec<Arrow> = scores
            .pairs
            .iter()
            .enumerate()
            .map(arrow)
            .filter(|a| a.score >= args.least && a.subject != a.object)
            .collect();
        arrows.sort_by(|a, b| b.score.total_cmp(&a.score));
        arrows.truncate(args.top);
        arrows
    }

    fn label(&self, example: &Example, node: usize) -> &str {
        &self.names.objects[example.graph.labels[node] as usize]
    }

    fn graph(&self, example: &Example, arrows: &[Arrow]) -> Value {
        let nodes: Vec<Value> = (0..example.graph.boxes.len())
            .map(|i| json!({"box": example.graph.boxes[i], "label": self.label(example, i)}))
            .collect();
        let relations: Vec<Value> = arrows
            .iter()
            .map(|a| json!({"subject": a.subject, "object": a.object, "predicate": a.predicate, "score": a.score}))
            .collect();
        json!({"image": example.name, "nodes": nodes, "relations": relations})
    }

    fn triplets(&self, example: &Example, arrows: &[Arrow]) -> String {
        let mut text = format!("{}: {} boxes\n", example.name, example.graph.boxes.len());
        for a in arrows {
            let right = a.right.map_or("", |right| if right { "  (true)" } else { "" });
            text += &format!(
                "  {:.3}  {} {}  {}  {} {}{right}\n",
                a.score,
                self.label(example, a.subject),
                a.subject,
                a.predicate,
                self.label(example, a.object),
                a.object
            );
        }
        text
    }

    fn draw(&self, path: &Path, example: &Example, looks: &Looks, arrows: &[Arrow]) -> anyhow::Result<()> {
        let names: Vec<String> = (0..example.graph.boxes.len()).map(|i| self.label(example, i).to_owned()).collect();
        let bytes = match looks {
            Looks::Pictures(folder) => {
                let file = folder.join(&example.name);
                Some(whole_bytes(&file)?)
            }
            _ => None,
        };
        let svg = picture(example.size, &example.graph.boxes, &names, arrows, bytes.as_deref());
        Ok(atomic::write(path, svg.as_bytes())?)
    }
}

/// The pairs that are looked at.
fn pairs(example: &Example, args: &Args) -> Vec<[u32; 2]> {
    let boxes = &example.graph.boxes;
    let meet = |p: &[u32; 2]| Edge::Inclusive.intersection(boxes[p[0] as usize], boxes[p[1] as usize]) > 0.0;
    let mut pairs: Vec<[u32; 2]> = example.pairs().into_iter().filter(|p| !args.overlap || meet(p)).collect();
    if args.labelled_boxes {
        let mut own: Vec<[u32; 2]> =
            example.graph.relations.iter().filter(|r| r.subject == r.object).map(|r| [r.subject; 2]).collect();
        own.sort_unstable();
        own.dedup();
        pairs.extend(own);
    }
    pairs
}
