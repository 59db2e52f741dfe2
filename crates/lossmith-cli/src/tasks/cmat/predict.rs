//! `lossmith predict cmat`: scene graphs as JSON and pictures, and what a graph would score had a node been something else.

use std::path::{Path, PathBuf};

use anyhow::Context;
use burn::prelude::Device;
use lossmith::critic::{Bias, Reward, Scene};
use lossmith::graph::{GraphScores, Vocabulary};
use lossmith_burn::cmat::evaluate::{Given, scores};
use lossmith_burn::cmat::predict::explain;
use lossmith_burn::cmat::scene::Seen;
use lossmith_burn::cmat::train::{Numbers, bias};
use lossmith_burn::cmat::{Agents, Config, store};
use lossmith_data::node_graphs::{About, NodeGraph, NodeGraphs};
use lossmith_data::scene_graphs;
use serde_json::{Value, json};

use super::Recipe;
use super::picture::picture;
use super::train::MODEL;
use crate::output::{self, Answer, Table, WholeFolder};
use crate::recipe;
use crate::run::Run;

/// Predict the scene graphs of your own scenes (JSON lines with boxes and features), or of the test images of annotations
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A run of `lossmith train cmat`
    #[arg(long, value_name = "RUN")]
    model: PathBuf,
    /// Files of scenes, one JSON object a line: boxes and features; labels and relations where they are known. Or what the run was trained
    /// on: a folder of scenes or of annotations, VG-SGG.h5; its test part is taken
    #[arg(required = true)]
    inputs: Vec<PathBuf>,
    /// How many relations of each scene to print
    #[arg(long, default_value_t = 20, value_parser = crate::args::whole::<usize>(..))]
    top: usize,
    /// Only the scene on this line, from 1
    #[arg(long, value_name = "LINE", value_parser = crate::args::whole::<usize>(..))]
    scene: Option<usize>,
    /// For this node: what the graph's score would be had it been something else (needs true labels and relations)
    #[arg(long, value_name = "NODE", value_parser = crate::args::whole::<usize>(..))]
    explain: Option<usize>,
    /// The score that --explain asks about: recall@K or spice
    #[arg(long, default_value = "recall@20")]
    reward: String,
    /// Draw each scene into this folder, which must be new
    #[arg(long, value_name = "DIR")]
    pictures: Option<PathBuf>,
}

/// Whether scenes are lines of the file, not the test part of a data set.
fn has_lines(path: &Path) -> bool {
    !path.is_dir() && !scene_graphs::is_h5(path)
}

struct Model {
    run: Run,
    agents: Agents,
    bias: Bias,
    config: Config,
    names: Vocabulary,
}

/// A scene as its file says it: labels and relations may be missing.
#[derive(serde::Deserialize)]
struct Input {
    boxes: Vec<[f64; 4]>,
    features: Vec<Vec<f32>>,
    labels: Option<Vec<u32>>,
    #[serde(default)]
    relations: Vec<lossmith::graph::Relation>,
}

pub fn run(args: Args) -> anyhow::Result<Answer> {
    let reward: Reward = args.reward.parse().map_err(|e| anyhow::anyhow!("--{e}"))?;
    let model = Model::open(&args.model)?;
    let pictures = args.pictures.as_deref().map(WholeFolder::begin).transpose()?;
    let mut text = String::new();
    let mut seen_any = false;
    for file in &args.inputs {
        let scenes = model.scenes(file)?;
        let asked = scenes.into_iter().enumerate().filter(|(at, _)| args.scene.is_none_or(|only| only == at + 1));
        for (at, scene) in asked {
            let place = || format!("{}, {} {}", file.display(), if has_lines(file) { "line" } else { "scene" }, at + 1);
            seen_any = true;
            let judged = scene.and_then(|scene| model.judge(scene, at)).with_context(place)?;
            if let Some(folder) = &pictures {
                let path = folder.path().join(format!("scene-{}.svg", at + 1));
                lossmith_data::atomic::write(&path, picture(&judged.scores, &model.names, args.top).as_bytes())
                    .map_err(|e| folder.known(e.into()))?;
            }
            text += &match args.explain {
                Some(node) => model.explain(&judged, node, reward).with_context(place)?,
                None => format!("{}\n", graph(&judged.scores, &model.names, args.top)),
            };
        }
    }
    anyhow::ensure!(seen_any, "there is no such scene: --scene counts from 1");
    pictures.map_or(Ok(()), WholeFolder::finish)?;
    output::print(&text)?;
    Ok(Answer::Yes)
}

struct Judged {
    numbers: Numbers,
    seen: Seen,
    scores: GraphScores,
    known: bool,
}

impl Model {
    fn open(folder: &Path) -> anyhow::Result<Self> {
        let run = Run::open(folder)?;
        let config: Config = serde_json::from_str(&run.read("model.json")?).context("model.json")?;
        let about: About = serde_json::from_str(&run.read("vocabulary.json")?).context("vocabulary.json")?;
        let path = run.path(MODEL);
        let bytes = lossmith_data::whole_bytes(&path).map_err(|e| {
            let run = folder.display();
            anyhow::anyhow!("{e}; if its training was stopped, go on with: lossmith train cmat --resume {run}")
        })?;
        let agents = store::from_bytes(&config, bytes, &Device::flex()).with_context(|| path.display().to_string())?;
        let bias = bias(&agents, config.classes).with_context(|| path.display().to_string())?;
        Ok(Self { run, agents, bias, config, names: about.vocabulary })
    }

    /// The scenes of a file, each as it was read; those of annotations show the labels through the noise that the model was trained with.
    fn scenes(&self, path: &Path) -> anyhow::Result<Vec<anyhow::Result<Input>>> {
        if has_lines(path) {
            let text = lossmith_data::whole_text(path)?;
            return Ok(text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect());
        }
        let recipe: Recipe = recipe::parse_text(&self.run.read("recipe.toml")?)?;
        let data = NodeGraphs::open(path, recipe.data.confusion, recipe.seed)?;
        anyhow::ensure!(
            data.about.vocabulary == self.names,
            "{}: its classes or predicates are others than the model's",
            path.display()
        );
        let input = |scene: NodeGraph| Input {
            boxes: scene.graph.boxes,
            features: scene.features,
            labels: Some(scene.graph.labels),
            relations: scene.graph.relations,
        };
        Ok(data.test.into_iter().map(|scene| Ok(input(scene))).collect())
    }

    fn judge(&self, input: Input, at: usize) -> anyhow::Result<Judged> {
        let known = input.labels.is_some() && !input.relations.is_empty();
        let labels = input.labels.unwrap_or_else(|| vec![1; input.boxes.len()]);
        let graph = lossmith::graph::SceneGraph { boxes: input.boxes, labels, relations: input.relations };
        graph.check(self.config.predicates)?;
        let scene = NodeGraph { graph, features: input.features };
        let fits = scene.features.iter().all(|v| v.len() == self.config.width && v.iter().all(|x| x.is_finite()));
        let n = scene.graph.boxes.len();
        anyhow::ensure!(n <= lossmith_data::node_graphs::MOST_NODES, "{n} nodes are too many");
        anyhow::ensure!(
            fits && scene.features.len() == n,
            "features: expected {n} vectors of {} finite numbers, as the model was trained on",
            self.config.width
        );
        let seen = Seen::new(&scene, at, &Device::flex())?;
        let numbers = Numbers::of(&self.agents.forward(&seen));
        let scores = scores(&numbers, &self.bias, &seen, &scene.graph, Given::Boxes)?;
        Ok(Judged { numbers, seen, scores, known })
    }

    /// The advantage of each class of one node, as a table.
    fn explain(&self, judged: &Judged, node: usize, reward: Reward) -> anyhow::Result<String> {
        anyhow::ensure!(
            judged.known,
            "--explain needs the scene's true labels and relations: without them nothing is scored"
        );
        let n = &judged.numbers;
        let scene = Scene::new(n.policy.view(), n.pair_logits.view(), Some(&self.bias), &judged.seen.truth)?;
        let labels: Vec<usize> = judged.scores.labels.iter().map(|&l| l as usize).collect();
        let rows = explain(&scene, &labels, node, reward).map_err(|e| anyhow::anyhow!("--explain: {}", e.message))?;
        let name = |class: usize| self.names.objects[class].clone();
        let mut table =
            Table::new(["had it been".to_owned(), "probability".into(), reward.to_string(), "advantage".into()]);
        for row in rows {
            let chosen = if row.class == labels[node] { " *" } else { "" };
            table.row([
                format!("{}{chosen}", name(row.class)),
                format!("{:.4}", row.probability),
                format!("{:.4}", row.reward),
                format!("{:+.4}", row.advantage),
            ]);
        }
        let truth = name(judged.seen.truth.labels()[node]);
        Ok(format!("node {node}: {} is chosen (*), {truth} is true\n{table}", name(labels[node])))
    }
}

/// Labels and the best relations, one for each ordered pair, with their scores.
fn graph(scores: &GraphScores, names: &Vocabulary, top: usize) -> Value {
    let nodes: Vec<Value> = (0..scores.labels.len())
        .map(|i| json!({"box": scores.boxes[i], "label": names.objects[scores.labels[i] as usize], "score": scores.scores[i]}))
        .collect();
    let relations: Vec<Value> = best(scores, top)
        .into_iter()
        .map(|(score, [s, o], p)| json!({"subject": s, "object": o, "predicate": names.predicates[p - 1], "score": score}))
        .collect();
    json!({"nodes": nodes, "relations": relations})
}

/// The best predicate of each pair, the surest first: score, pair, predicate.
pub fn best(scores: &GraphScores, top: usize) -> Vec<(f64, [u32; 2], usize)> {
    let row = |(at, &[s, o]): (usize, &[u32; 2])| {
        let row = scores.predicates.row(at);
        let p = (1..row.len()).fold(1, |best, p| if row[p] > row[best] { p } else { best });
        (row[p] * scores.scores[s as usize] * scores.scores[o as usize], [s, o], p)
    };
    let mut all: Vec<_> = scores.pairs.iter().enumerate().map(row).collect();
    all.sort_by(|a, b| b.0.total_cmp(&a.0));
    all.truncate(top);
    all
}
