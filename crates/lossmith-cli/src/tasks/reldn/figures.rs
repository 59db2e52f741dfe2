//! What a model reaches on the test images, by the protocols that given boxes allow.

use lossmith::graph::{GraphScores, NOT_PREDICTED};
use lossmith::metric::openimages_vrd::{self, reldn_detections};
use lossmith::metric::relation_order::RelationOrder;
use lossmith::metric::visual_genome::{Mode, VisualGenome};
use lossmith::metric::vrd::{Matcher, PerPair, Protocol, Task, Vrd};
use lossmith_burn::reldn::{Config, Example, Reldn, predict};
use serde::{Deserialize, Serialize};

use super::Data;

/// Every figure is a share, the larger the better.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Recall at as many triplets as an image has relations.
    pub recall_at_truth: f64,
    /// Groups in order: by anchor, by anchor and class, by anchor and predicate.
    pub order: [f64; 3],
    /// Visual Genome's PredCls: R@20, 50, 100, mean over images.
    pub predcls: [f64; 3],
    /// The same, pooled.
    pub predcls_pooled: [f64; 3],
    /// Mean recall over predicates.
    pub mean_recall: [f64; 3],
    /// VRD's predicate detection; the pairs are known to be related.
    pub predicate: Vec<PredicateRecall>,
    /// RelDN's evaluator for Open Images, boxes given.
    pub openimages: OpenImages,
}

/// Recall of predicate detection, annotated pairs alone, one-to-one matching.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PredicateRecall {
    /// Predicates of a pair.
    pub k: usize,
    /// Relations with classes never seen together in training alone.
    pub zero_shot: bool,
    /// R@20, 50, 100.
    pub recall: [f64; 3],
    /// The rows found.
    pub hits: [usize; 3],
    /// The rows that counted.
    pub rows: usize,
}

/// The columns of RelDN's tables.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OpenImages {
    pub recall_50: f64,
    pub wmap_relation: f64,
    pub wmap_phrase: f64,
    pub score_wtd: f64,
    /// AP of relationships of each predicate from 1.
    pub ap_relation: Vec<f64>,
}

/// The figure that a comparison is decided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// Recall at as many triplets as an image has relations
    RecallAtTruth,
    /// Groups in order, by anchor
    Order,
    /// Groups in order, by anchor and class
    OrderClass,
    /// Groups in order, by anchor and predicate
    OrderPredicate,
    /// PredCls of Visual Genome, R@50
    Predcls,
    /// Predicate detection of VRD, one predicate of a pair, R@50
    PredicateK1,
    /// Predicate detection of VRD, 70 predicates of a pair, R@50
    PredicateK70,
    /// The same, R@100
    PredicateK70At100,
    /// Predicate detection of VRD, 70 predicates, R@50 of classes never seen together
    ZeroShotK70,
    /// Weighted AP of relationships of RelDN's evaluator for Open Images
    Wmap,
    /// score_wtd of RelDN's evaluator for Open Images
    ScoreWtd,
}

impl By {
    /// Every figure, with the head of its column.
    pub const ALL: [(Self, &'static str); 11] = [
        (Self::RecallAtTruth, "R@G"),
        (Self::Order, "order"),
        (Self::OrderClass, "same class"),
        (Self::OrderPredicate, "same predicate"),
        (Self::Predcls, "PredCls R@50"),
        (Self::PredicateK1, "k=1 R@50"),
        (Self::PredicateK70, "k=70 R@50"),
        (Self::PredicateK70At100, "k=70 R@100"),
        (Self::ZeroShotK70, "zero-shot k=70 R@50"),
        (Self::Wmap, "wmAP_rel"),
        (Self::ScoreWtd, "score_wtd"),
    ];

    pub fn head(self) -> &'static str {
        Self::ALL.iter().find(|(by, _)| *by == self).map_or("", |(_, head)| head)
    }
}

/// The same for pairs that are known to be related, as those of predicate detection are: "none" is left out, and the predicates of a pair
/// add up to 1. Without this a pair of classes that training never showed together, which frequencies hold for unrelated, could not compete
/// with the other pairs of its image.
pub fn related(scores: &GraphScores) -> GraphScores {
    let mut scores = scores.clone();
    for mut row in scores.predicates.outer_iter_mut() {
        let some: f64 = row.iter().skip(1).filter(|score| **score > NOT_PREDICTED).sum();
        if some > 0.0 {
            row[0] = 0.0;
            row.mapv_inplace(|v| v / some);
        }
    }
    scores
}

/// k and whether zero-shot, of the runs of VRD's predicate detection.
const RUNS: [(usize, bool); 5] = [(1, false), (10, false), (70, false), (1, true), (70, true)];

impl Figures {
    /// Predicts all pairs of the test images and judges them.
    pub fn of(model: &Reldn, config: &Config, data: &Data) -> anyhow::Result<Self> {
        let scores = predict(model, config, &data.test, Example::pairs)?;
        let rows = match &data.test_rows {
            None => None,
            // A pair of a box with itself is annotated in places, and asked for.
            Some(rows) => Some(predict(model, config, rows, |e| {
                let mut pairs: Vec<[u32; 2]> = e.graph.relations.iter().map(|r| [r.subject, r.object]).collect();
                pairs.sort_unstable();
                pairs.dedup();
                pairs
            })?),
        };
        Self::judge(data, config.predicates, &scores, rows.as_deref())
    }

    /// Judges what a model says of the test images; `rows` is for VRD's own nodes, where they differ.
    pub fn judge(
        data: &Data,
        predicates: usize,
        scores: &[GraphScores],
        rows: Option<&[GraphScores]>,
    ) -> anyhow::Result<Self> {
        let mut order = RelationOrder::default();
        let mut graphs = VisualGenome::new(Mode::PredCls, predicates, Some(data.seen.clone()));
        let mut openimages = openimages_vrd::Reldn::new(predicates);
        for (example, scores) in data.test.iter().zip(scores) {
            order.add(&example.graph, scores)?;
            graphs.add(&graphs.judge(&example.graph, scores)?);
            openimages.add(&openimages.judge(&example.graph.located(), &reldn_detections(scores)));
        }
        let examples = data.test_rows.as_ref().filter(|_| rows.is_some()).unwrap_or(&data.test);
        let row_scores: Vec<GraphScores> = rows.unwrap_or(scores).iter().map(related).collect();
        let mut predicate = Vec::new();
        for (k, zero_shot) in RUNS {
            let mut metric = Vrd::new(Protocol {
                task: Task::Predicate,
                matcher: Matcher::OneToOne,
                per_pair: PerPair::Fixed(k),
                predicates,
                zero_shot: zero_shot.then(|| data.seen.clone()),
            });
            for (example, scores) in examples.iter().zip(&row_scores) {
                metric.add(&metric.judge(&example.graph, scores)?);
            }
            let report = metric.report();
            predicate.push(PredicateRecall {
                k,
                zero_shot,
                recall: report.recall,
                hits: report.hits,
                rows: report.rows,
            });
        }
        let (graphs, openimages) = (graphs.report(), openimages.report());
        Ok(Self {
            recall_at_truth: order.recall(),
            order: order.order.map(|rate| rate.share()),
            predcls: graphs.constraint.mean,
            predcls_pooled: graphs.constraint.pooled,
            mean_recall: graphs.constraint.mean_recall,
            predicate,
            openimages: OpenImages {
                recall_50: openimages.recall[4],
                wmap_relation: openimages.wmap_relation,
                wmap_phrase: openimages.wmap_phrase,
                score_wtd: openimages.score_wtd,
                ap_relation: openimages.ap_relation,
            },
        })
    }

    /// One figure.
    pub fn get(&self, by: By) -> f64 {
        let predicate = |k: usize, zero_shot: bool, cut: usize| {
            self.predicate.iter().find(|p| p.k == k && p.zero_shot == zero_shot).map_or(0.0, |p| p.recall[cut])
        };
        match by {
            By::RecallAtTruth => self.recall_at_truth,
            By::Order => self.order[0],
            By::OrderClass => self.order[1],
            By::OrderPredicate => self.order[2],
            By::Predcls => self.predcls[1],
            By::PredicateK1 => predicate(1, false, 1),
            By::PredicateK70 => predicate(70, false, 1),
            By::PredicateK70At100 => predicate(70, false, 2),
            By::ZeroShotK70 => predicate(70, true, 1),
            By::Wmap => self.openimages.wmap_relation,
            By::ScoreWtd => self.openimages.score_wtd,
        }
    }
}
