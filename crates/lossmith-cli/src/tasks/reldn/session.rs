//! Data as the model sees them, and trainings on them.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use burn::prelude::Device;
use lossmith::frequency::{Candidates, Frequency};
use lossmith::graph::{Edge, Triple, Vocabulary};
use lossmith::loss::Loss;
use lossmith_burn::reldn::model::{Image, Visual};
use lossmith_burn::reldn::{Config, Example, Progress, Reldn, Sight, Source, Trainer};
use lossmith_data::graph_features::Features;
use lossmith_data::graph_json::{GraphSet, ImageGraph};
use lossmith_data::make::holds;
use lossmith_data::picture::Picture;
use lossmith_data::predicate_groups;
use lossmith_data::scene_graphs::{self, Part};
use lossmith_data::vrd::{self, Nodes};

use super::{Figures, Recipe};
use crate::interrupt;
use crate::tasks::fingerprint::Fingerprint;

/// Where the data come from.
#[derive(Clone, Debug, Default)]
pub struct Place {
    pub data: Option<PathBuf>,
    pub images: Option<PathBuf>,
    pub features: Option<PathBuf>,
    pub groups: Option<String>,
    pub limit: Option<usize>,
}

/// Images to train on and to judge by, with what is to be seen in them.
pub struct Data {
    pub names: Vocabulary,
    pub train: Vec<Example>,
    pub test: Vec<Example>,
    /// The test images of VRD with a node for each label of a box, which its own protocol asks for.
    pub test_rows: Option<Vec<Example>>,
    /// The same of the training images.
    pub train_rows: Option<Vec<Example>>,
    /// The classes of all relations to train on.
    pub seen: HashSet<Triple>,
    pub sight: Seeing,
    /// The scenes as they were made, which can be drawn.
    made: Option<holds::Holds>,
    /// The groups of predicates that have heads of their own.
    pub groups: Vec<Vec<u32>>,
}

/// What there is for the visual module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seeing {
    Nothing,
    Features(usize),
    Pictures,
}

impl Data {
    /// The user's data, or scenes made by the recipe from a seed.
    pub fn read(place: &Place, recipe: &Recipe, seed: u64) -> anyhow::Result<Self> {
        let mut data = match &place.data {
            Some(path) => Self::read_from(path, place)?,
            None => Self::made(recipe, seed)?,
        };
        if let Some(limit) = place.limit {
            data.train.truncate(limit);
            data.train_rows = None;
            data.seen = triples(&data.train);
        }
        if data.train.iter().all(|e| e.graph.relations.is_empty()) || data.test.is_empty() {
            bail!("--data: there is no relation to train on, or no image to judge by");
        }
        if let Some(choice) = &place.groups {
            let groups = predicate_groups::choose(choice, &data.names.predicates).context("--predicate-groups")?;
            data.groups = groups.into_iter().map(|(_, own)| own).collect();
        }
        if recipe.data.validation > 0.0 {
            let count = (data.train.len() as f64 * recipe.data.validation).ceil() as usize;
            anyhow::ensure!(count < data.train.len(), "data.validation: of {} images none is left", data.train.len());
            data.hold_back(count);
        }
        Ok(data)
    }

    /// Judges by the last so many of the training images from now on, which are trained on no more; gives the same names with the test
    /// images.
    pub fn hold_back(&mut self, count: usize) -> Self {
        let held_back = self.train.split_off(self.train.len().saturating_sub(count));
        let rows = self.train_rows.take().map(|rows| {
            let names: HashSet<&str> = held_back.iter().map(|e| e.name.as_str()).collect();
            rows.into_iter().partition::<Vec<_>, _>(|e| names.contains(e.name.as_str()))
        });
        let (judged_rows, left) = rows.map_or((None, None), |(judged, left)| (Some(judged), Some(left)));
        self.seen = triples(left.as_ref().unwrap_or(&self.train));
        self.train_rows = left;
        Self {
            names: self.names.clone(),
            train: Vec::new(),
            test: std::mem::replace(&mut self.test, held_back),
            test_rows: std::mem::replace(&mut self.test_rows, judged_rows),
            train_rows: None,
            seen: self.seen.clone(),
            sight: self.sight,
            made: None,
            groups: self.groups.clone(),
        }
    }

    fn made(recipe: &Recipe, seed: u64) -> anyhow::Result<Self> {
        let settings = holds::Settings { noise: recipe.data.noise, clutter: recipe.data.clutter };
        let made = holds::make(settings, recipe.data.train, recipe.data.test, seed)?;
        let sight = |image: &ImageGraph| match made.features.of(&image.image) {
            _ if recipe.data.pictures => {
                made.picture(&image.image).map_or(Sight::None, |p| Sight::Picture(Source::Here(p)))
            }
            Some(features) => Sight::Features(features.clone()),
            None => Sight::None,
        };
        let examples = |set: &GraphSet| set.images.iter().map(|i| Example::new(i, sight(i))).collect::<Vec<_>>();
        let (train, test) = (examples(&made.train), examples(&made.test));
        let names = made.train.vocabulary.clone();
        Ok(Self {
            names,
            seen: triples(&train),
            train,
            test,
            test_rows: None,
            train_rows: None,
            sight: if recipe.data.pictures { Seeing::Pictures } else { Seeing::Features(holds::WIDTH) },
            made: Some(made),
            groups: Vec::new(),
        })
    }

    fn read_from(path: &Path, place: &Place) -> anyhow::Result<Self> {
        let read = |part, nodes| scene_graphs::read(path, part, nodes, None).context("--data");
        let (train, test) = (read(Part::Train, Nodes::Boxes)?, read(Part::Test, Nodes::Boxes)?);
        if train.vocabulary != test.vocabulary {
            bail!(
                "--data {}: the test images have other classes or predicates than the training images",
                path.display()
            );
        }
        let looks = Looks::find(path, place)?;
        for set in [&train, &test] {
            looks.check(set)?;
        }
        let examples = |set: &GraphSet| looks.examples(set);
        // Only VRD has boxes with several labels.
        let rows = path.is_dir() && vrd::recognised(path) && matches!(looks, Looks::Nothing);
        let of = |part| anyhow::Ok(examples(&read(part, Nodes::LabelledBoxes)?));
        let [train_rows, test_rows] = if rows { [Some(of(Part::Train)?), Some(of(Part::Test)?)] } else { [None, None] };
        let (names, train, test) = (train.vocabulary.clone(), examples(&train), examples(&test));
        let seen = triples(train_rows.as_ref().unwrap_or(&train));
        let sight = looks.seeing();
        Ok(Self { names, train, test, test_rows, train_rows, seen, sight, made: None, groups: Vec::new() })
    }

    /// Adds names, scenes and what is to be seen in them to a checksum.
    pub fn digest(&self, print: &mut Fingerprint) -> anyhow::Result<()> {
        print.json(&self.names)?;
        print.json(&self.groups)?;
        let rows = self.train_rows.iter().chain(&self.test_rows);
        [&self.train, &self.test].into_iter().chain(rows).try_for_each(|part| digest(print, part))
    }

    /// The picture of a made scene.
    pub fn drawn(&self, image: &str) -> Option<Picture> {
        self.made.as_ref().and_then(|made| made.picture(image))
    }

    /// The model that the recipe asks for on these data.
    pub fn config(&self, recipe: &Recipe) -> anyhow::Result<Config> {
        let m = &recipe.model;
        let has_sight = self.sight != Seeing::Nothing;
        let auto = if has_sight { "semantic,spatial,visual" } else { "semantic,spatial" };
        let asked = if m.modules == "auto" { auto } else { &m.modules };
        let asked: Vec<&str> = asked.split(',').map(str::trim).filter(|a| !a.is_empty()).collect();
        if let Some(unknown) = asked.iter().find(|a| !["semantic", "spatial", "visual"].contains(a)) {
            bail!("--modules: expected semantic, spatial or visual, found '{unknown}'");
        }
        let has = |module: &str| asked.contains(&module);
        if has("visual") && !has_sight {
            bail!("--modules: the visual module needs pictures (--images DIR) or feature vectors (--features FILE)");
        }
        let visual = match self.sight {
            Seeing::Features(width) => Visual { width, hidden: m.hidden, image: None },
            _ => Visual { width: m.width, hidden: m.hidden, image: Some(Image { side: m.side, channels: m.channels }) },
        };
        let config = Config {
            classes: self.names.objects.len(),
            predicates: self.names.predicates.len(),
            semantic: has("semantic"),
            prior: m.prior,
            spatial: has("spatial").then_some(m.spatial),
            visual: has("visual").then_some(visual),
            groups: self.groups.clone(),
        };
        config.check()?;
        Ok(config)
    }
}

/// Adds scenes, and what is to be seen in them, to a checksum.
pub fn digest(print: &mut Fingerprint, examples: &[Example]) -> anyhow::Result<()> {
    print.numbers([examples.len()]);
    for example in examples {
        print.json(&(&example.name, &example.graph, example.size))?;
        match &example.sight {
            Sight::Features(features) => {
                let values = features.boxes.iter().chain(&features.unions);
                print.numbers(values.map(|v| v.to_bits() as usize));
            }
            Sight::Picture(Source::Here(picture)) => print.bytes(&picture.pixels),
            Sight::Picture(Source::File(path)) => print.file(path)?,
            Sight::None => {}
        }
    }
    Ok(())
}

fn triples(examples: &[Example]) -> HashSet<Triple> {
    examples.iter().flat_map(|e| e.graph.located()).map(|l| l.triple).collect()
}

/// Pictures or feature vectors beside graphs.
pub enum Looks {
    Nothing,
    Features(Features, PathBuf),
    Pictures(PathBuf),
}

impl Looks {
    /// What the user names, or what lies beside the graphs: feature vectors, or else pictures.
    pub fn find(data: &Path, place: &Place) -> anyhow::Result<Self> {
        let (features, images) = (data.join(scene_graphs::FEATURES), data.join(scene_graphs::IMAGES));
        let features = place.features.clone().or_else(|| features.is_file().then_some(features));
        let images = place.images.clone().or_else(|| images.is_dir().then_some(images));
        match (place.images.is_some(), features, images) {
            (false, Some(file), _) => Ok(Self::Features(Features::read(&file).context("--features")?, file)),
            (_, _, Some(folder)) => {
                anyhow::ensure!(folder.is_dir(), "--images {}: there is no such folder", folder.display());
                Ok(Self::Pictures(folder))
            }
            _ => Ok(Self::Nothing),
        }
    }

    pub fn seeing(&self) -> Seeing {
        match self {
            Self::Nothing => Seeing::Nothing,
            Self::Features(features, _) => Seeing::Features(features.width()),
            Self::Pictures(_) => Seeing::Pictures,
        }
    }

    /// Checks that every image has what it needs, before anything is trained.
    pub fn check(&self, set: &GraphSet) -> anyhow::Result<()> {
        match self {
            Self::Nothing => Ok(()),
            Self::Features(features, path) => Ok(features.check(set, path).context("--features")?),
            Self::Pictures(folder) => match set.images.iter().find(|i| !folder.join(&i.image).is_file()) {
                Some(missing) => bail!("--images {}: there is no picture {}", folder.display(), missing.image),
                None => Ok(()),
            },
        }
    }

    pub fn of(&self, image: &str) -> Sight {
        match self {
            Self::Nothing => Sight::None,
            Self::Features(features, _) => features.of(image).map_or(Sight::None, |f| Sight::Features(f.clone())),
            Self::Pictures(folder) => Sight::Picture(Source::File(folder.join(image))),
        }
    }

    fn examples(&self, set: &GraphSet) -> Vec<Example> {
        set.images.iter().map(|i| Example::new(i, self.of(&i.image))).collect()
    }
}

/// Trainings on the same data.
pub struct Session<'a> {
    pub data: &'a Data,
    pub config: Config,
    frequency: Option<Frequency>,
}

impl<'a> Session<'a> {
    pub fn new(data: &'a Data, recipe: &Recipe) -> anyhow::Result<Self> {
        let config = data.config(recipe)?;
        let candidates =
            if recipe.sampling.overlap { Candidates::Overlapping(Edge::Inclusive) } else { Candidates::All };
        let count = || Frequency::count(data.train.iter().map(|e| &e.graph), config.predicates, candidates);
        let frequency = config.semantic.then(count);
        Ok(Self { data, config, frequency })
    }

    /// Trains a model. `progress` hears of each epoch. After Ctrl-C the model so far comes back, with the number of whole epochs.
    pub fn train(
        &self,
        recipe: &Recipe,
        loss: &dyn Loss,
        seed: u64,
        progress: impl FnMut(&Progress) -> anyhow::Result<()>,
    ) -> anyhow::Result<(Reldn, usize)> {
        self.train_on(&self.data.train, recipe, loss, seed, progress)
    }

    /// The same on some of the training images.
    pub fn train_on(
        &self,
        examples: &[Example],
        recipe: &Recipe,
        loss: &dyn Loss,
        seed: u64,
        mut progress: impl FnMut(&Progress) -> anyhow::Result<()>,
    ) -> anyhow::Result<(Reldn, usize)> {
        let device = Device::flex().autodiff();
        let fresh = self.config.init(self.frequency.as_ref(), seed, &device);
        let mut trainer = Trainer::new(fresh, self.config.clone(), recipe.settings(seed), loss);
        for epoch in 0..recipe.train.epochs {
            match trainer.epoch(examples, || !interrupt::asked())? {
                Some(done) => progress(&done)?,
                None => return Ok((trainer.model(), epoch)),
            }
        }
        Ok((trainer.model(), recipe.train.epochs))
    }

    /// What the model reaches on the test images.
    pub fn figures(&self, model: &Reldn) -> anyhow::Result<Figures> {
        Figures::of(model, &self.config, self.data)
    }
}
