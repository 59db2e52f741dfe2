//! RelDN (Zhang et al. 2019): what each contrastive loss adds, where the two confusions happen, VRD from its annotations, the
//! confusions drawn, and recall against the number of training scenes.
//!
//! The paper's Open Images splits, images and detections are not public, so tables 1 and 2 are made on generated scenes of who holds
//! what, which have both confusions. Published figures are from the paper's tables, unverified here but for their sums.

use anyhow::{Context as _, bail};
use lossmith::frequency::{Candidates, Frequency};
use lossmith::graph::{Edge, SceneGraph, enclosing};
use lossmith::stats::{mean, paired_t, sd};
use lossmith_burn::reldn::{Example, Sight, Source, predict};
use serde_json::{Value, json};

use super::{Context, Experiment, Made};
use crate::interrupt;
use crate::output::Table;
use crate::plot::{Axis, Bars, Chart, Row, Series};
use crate::tasks::reldn::compare::{Compared, compare, pairs};
use crate::tasks::reldn::{Arrow, By, Data, Figures, PRESETS, Place, Recipe, Session, losses, picture};
use crate::tasks::trainings::Trainings;

/// What each loss adds.
pub static TABLE1: Experiment = Experiment {
    id: "reldn/table1",
    title: "Ablation of L0 to L3, with the AP of each predicate",
    data: "generated scenes of who holds what, or --data (Open Images mini is not public as a split)",
    time: "8 minutes",
    published: "Open Images mini: score_wtd L0 43.94, L0+L1+L2+L3 44.61; every subset below the whole",
    make: table1,
};

/// Where the two confusions happen.
pub static TABLE2: Experiment = Experiment {
    id: "reldn/table2",
    title: "L0 against the full loss on the images where the two confusions can happen",
    data: "generated scenes of who holds what, or --data (the paper's 100 images are not listed)",
    time: "3 minutes",
    published: "100 hand-picked images: largest gain on 'holds', +4.1 AP",
    make: table2,
};

/// VRD from annotations.
pub static VRD: Experiment = Experiment {
    id: "reldn/vrd",
    title: "VRD predicate detection from annotations alone: FREQ, L0, the full loss",
    data: "VRD with --data (needed)",
    time: "10 minutes",
    published: "predicate detection: Lu et al. 47.87 (k=1), Yu et al. 55.16 (k=1), 85.64/94.65 (k=70), DSR 86.01/93.18 (k=70)",
    make: vrd,
};

/// The confusions drawn.
pub static CONFUSION: Experiment = Experiment {
    id: "reldn/confusion",
    title: "The two confusions drawn: affinities of one scene with L0 and with the full loss",
    data: "generated scenes of who holds what",
    time: "1 minute",
    published: "figures of the paper, no numbers",
    make: confusion,
};

/// Recall against training scenes.
pub static SCENES: Experiment = Experiment {
    id: "reldn/scenes",
    title: "Recall against the number of training scenes, L0 and the full loss",
    data: "generated scenes of who holds what",
    time: "10 minutes",
    published: "none",
    make: scenes,
};

const FULL: &str = "l0+l1+l2+l3";

fn recipe(context: &Context) -> anyhow::Result<Recipe> {
    interrupt::listen();
    let recipe: Recipe = if context.resume {
        crate::recipe::parse_text(&context.run.read("recipe.toml")?)?
    } else {
        crate::recipe::load(PRESETS, &context.recipe, &context.set)?
    };
    recipe.check()?;
    context.keep(&crate::recipe::to_text(&recipe)?, "")?;
    Ok(recipe)
}

fn place(context: &Context) -> Place {
    Place { data: context.data.clone(), ..Place::default() }
}

/// Trains all losses over the recipe's seeds, keeping what is done in the run's folder.
fn compared(context: &Context, recipe: &Recipe, of: &str, mark: &str) -> anyhow::Result<Compared> {
    let losses = losses(of, &recipe.train.variant)?;
    compare(recipe, &place(context), &losses, recipe.compare.seeds, &mut Trainings::open(&context.run)?, mark)
        .with_context(|| format!("go on with: lossmith reproduce ID --resume {}", context.run.folder().display()))
}

fn percent(share: f64) -> String {
    format!("{:.2}", 100.0 * share)
}

fn mean_of(figures: &[Figures], of: impl Fn(&Figures) -> f64) -> f64 {
    mean(&figures.iter().map(of).collect::<Vec<_>>()).unwrap_or(0.0)
}

fn data_words(context: &Context) -> &'static str {
    if context.data.is_some() { "yours" } else { "generated" }
}

fn table1(context: &Context) -> anyhow::Result<Made> {
    let recipe = recipe(context)?;
    let of = "l0,l0+l1,l0+l2,l0+l3,l0+l1+l2,l0+l1+l3,l0+l2+l3,l0+l1+l2+l3";
    let compared = compared(context, &recipe, of, "table 1")?;
    let names = Data::read(&place(context), &recipe, recipe.seed)?.names.predicates;
    let shown = if names.len() <= 10 { names.as_slice() } else { &[] };
    let heads = ["losses", "R@50", "wmAP_rel", "wmAP_phr", "score_wtd", "sd"].map(str::to_owned);
    let more = ["R@G".to_owned(), "data; setting".to_owned()];
    let mut table = Table::new(heads.into_iter().chain(shown.iter().map(|n| format!("AP {n}"))).chain(more));
    let mut rows = Vec::new();
    for (name, figures) in compared.names.iter().zip(&compared.figures) {
        let score: Vec<f64> = figures.iter().map(|f| f.openimages.score_wtd).collect();
        let ap: Vec<f64> = (0..names.len()).map(|p| mean_of(figures, |f| f.openimages.ap_relation[p])).collect();
        let [recall, relation, phrase] = [
            mean_of(figures, |f| f.openimages.recall_50),
            mean_of(figures, |f| f.openimages.wmap_relation),
            mean_of(figures, |f| f.openimages.wmap_phrase),
        ];
        let cells = [
            name.clone(),
            percent(recall),
            percent(relation),
            percent(phrase),
            percent(mean(&score).unwrap_or(0.0)),
            percent(sd(&score).unwrap_or(0.0)),
        ];
        let more = [percent(mean_of(figures, |f| f.recall_at_truth)), format!("{}; smaller", data_words(context))];
        table.row(cells.into_iter().chain(ap.iter().take(shown.len()).map(|a| percent(*a))).chain(more));
        rows.push(json!({"losses": name, "recall_50": recall, "wmap_relation": relation, "wmap_phrase": phrase, "score_wtd": score, "ap_relation": ap}));
    }
    for (name, figures) in
        [("l0, published", [74.67, 34.63, 37.89, 43.94]), ("l0+l1+l2+l3, published", [74.94, 35.54, 38.52, 44.61])]
    {
        let cells = figures.map(|f: f64| format!("{f:.2}"));
        let blank = std::iter::repeat_n("-".to_owned(), 2 + shown.len());
        table.row(
            std::iter::once(name.to_owned())
                .chain(cells)
                .chain(blank)
                .chain(["Open Images mini; VGG detections".to_owned()]),
        );
    }
    let verdict = compared.verdict(By::ScoreWtd, 0.05)?;
    let rank = compared.verdict(By::RecallAtTruth, 0.05)?;
    let bars = compared.names.iter().zip(&compared.figures).map(|(name, figures)| {
        let values: Vec<f64> = figures.iter().map(|f| f.recall_at_truth).collect();
        let (value, spread) = (mean(&values).unwrap_or(0.0), sd(&values).unwrap_or(0.0));
        Row { name: name.clone(), value, spread: Some((value - spread, value + spread)), published: None, colour: None }
    });
    let chart = Bars {
        title: "Recall at as many triplets as relations".to_owned(),
        axis: Axis::new("R@G"),
        rows: bars.collect(),
    };
    context.run.write("table1.svg", chart.draw().file().as_bytes())?;
    let text = format!(
        "{table}\nAP and score_wtd: RelDN's evaluator for Open Images with given boxes; R@G: recall at as many triplets as relations; {} seeds.\n\
         by score_wtd: {}\nby R@G: {}\n\npicture {}\n",
        recipe.compare.seeds,
        verdict.verdict,
        rank.verdict,
        context.run.path("table1.svg").display()
    );
    Ok(Made {
        text,
        json: json!({"data": data_words(context), "rows": rows, "by_score": verdict, "by_recall_at_truth": rank}),
    })
}

/// Whether either confusion can happen in an image: another box of the object's class nearer to the subject than the object; two
/// relations of one predicate whose boxes around both, as they are or crossed, overlap by more than a half.
pub fn confusions(graph: &SceneGraph) -> [bool; 2] {
    let middle = |b: [f64; 4]| [(b[0] + b[2]) / 2.0, (b[1] + b[3]) / 2.0];
    let boxes = &graph.boxes;
    let distance = |a: u32, b: u32| {
        let ([ax, ay], [bx, by]) = (middle(boxes[a as usize]), middle(boxes[b as usize]));
        (ax - bx).hypot(ay - by)
    };
    let class = |node: u32| graph.labels[node as usize];
    let instance = graph.relations.iter().any(|r| {
        (0..boxes.len() as u32).any(|o| {
            o != r.object
                && o != r.subject
                && class(o) == class(r.object)
                && distance(r.subject, o) < distance(r.subject, r.object)
        })
    });
    let union = |s: u32, o: u32| enclosing(boxes[s as usize], boxes[o as usize]);
    let overlap = |a: [f64; 4], b: [f64; 4]| Edge::Inclusive.iou(a, b) > 0.5;
    let proximal = graph.relations.iter().enumerate().any(|(at, a)| {
        graph.relations[at + 1..].iter().any(|b| {
            a.predicate == b.predicate
                && a.subject != b.subject
                && a.object != b.object
                && (overlap(union(a.subject, a.object), union(b.subject, b.object))
                    || overlap(union(a.subject, b.object), union(b.subject, a.object)))
        })
    });
    [instance, proximal]
}

/// A figure by name.
type Measure = (String, Box<dyn Fn(&Figures) -> f64>);

fn table2(context: &Context) -> anyhow::Result<Made> {
    let recipe = recipe(context)?;
    let subsets = [
        ("all images", None),
        ("entity instance confusion", Some([true, false])),
        ("proximal ambiguity", Some([false, true])),
        ("either", Some([true, true])),
    ];
    let losses = losses(&format!("l0,{FULL}"), &recipe.train.variant)?;
    let mut trainings = Trainings::open(&context.run)?;
    trainings.begin("table 2", losses.len() * subsets.len() * recipe.compare.seeds as usize);
    let mut figures: Vec<[Vec<Figures>; 2]> = vec![Default::default(); subsets.len()];
    let mut sizes = vec![0; subsets.len()];
    for seed in recipe.seed..recipe.seed + recipe.compare.seeds {
        let mut data = Data::read(&place(context), &recipe, seed)?;
        let all = std::mem::take(&mut data.test);
        let of = |subset: Option<[bool; 2]>| -> Vec<Example> {
            let keep = |e: &&Example| match subset {
                None => true,
                Some(asked) => confusions(&e.graph).iter().zip(asked).any(|(found, asked)| *found && asked),
            };
            all.iter().filter(keep).cloned().collect()
        };
        for (at, (name, spec)) in losses.iter().enumerate() {
            let mut model = None;
            for (row, (subset_name, subset)) in subsets.iter().enumerate() {
                let test = of(*subset);
                sizes[row] = test.len();
                if test.is_empty() {
                    bail!("no test image is in the subset '{subset_name}'");
                }
                data.test = test;
                data.test_rows = None;
                let found = trainings.outcome(&format!("table 2, {subset_name}, {name}, seed {seed}"), || {
                    let session = Session::new(&data, &recipe)?;
                    if model.is_none() {
                        model = Some(session.train(&recipe, spec.build()?.as_ref(), seed, |_| Ok(()))?.0);
                    }
                    session.figures(model.as_ref().expect("it was just trained"))
                })?;
                figures[row][at].push(found.unwrap_or_default());
            }
        }
    }
    let names = Data::read(&place(context), &recipe, recipe.seed)?.names.predicates;
    let few = names.len() <= 10;
    let mut table = Table::new(["images, measure", "n", "l0", FULL, "gain", "95 %", "p"]);
    let mut rows = Vec::new();
    for (row, (subset, _)) in subsets.iter().enumerate() {
        let [l0, full] = &figures[row];
        let mut measures: Vec<Measure> = vec![
            ("R@G".to_owned(), Box::new(|f: &Figures| f.recall_at_truth)),
            ("wmAP_rel".to_owned(), Box::new(|f: &Figures| f.openimages.wmap_relation)),
        ];
        for (p, name) in names.iter().enumerate().filter(|_| few) {
            measures.push((format!("AP {name}"), Box::new(move |f: &Figures| f.openimages.ap_relation[p])));
        }
        for (measure, of) in &measures {
            let (a, b): (Vec<f64>, Vec<f64>) = (l0.iter().map(of).collect(), full.iter().map(of).collect());
            let t = paired_t(&b, &a, 0.95)?;
            let interval =
                t.interval.map_or("-".to_owned(), |[low, high]| format!("{:+.2} to {:+.2}", 100.0 * low, 100.0 * high));
            let [ours, theirs] = [&a, &b].map(|v| percent(mean(v).unwrap_or(0.0)));
            table.row([
                format!("{subset}, {measure}"),
                sizes[row].to_string(),
                ours,
                theirs,
                format!("{:+.2}", 100.0 * t.difference),
                interval,
                format!("{:.1e}", t.p),
            ]);
            rows.push(
                json!({"images": subset, "measure": measure, "l0": a, "full": b, "gain": t.difference, "p": t.p}),
            );
        }
    }
    let text = format!(
        "{table}\ndata: {}; {} seeds, paired t. A test image is in a subset if the confusion can happen in it: another box of the object's class\n\
         nearer than the object; two relations of one predicate whose boxes around both, as they are or crossed, overlap by more than a half.\n\
         published (100 images that are not listed): AP of 'holds' +4.1 by all losses\n",
        data_words(context),
        recipe.compare.seeds
    );
    Ok(Made { text, json: json!({"data": data_words(context), "rows": rows}) })
}

fn vrd(context: &Context) -> anyhow::Result<Made> {
    if context.data.is_none() {
        bail!(
            "reldn/vrd needs --data: the folder of VRD (annotations_train.json, annotations_test.json, objects.json, predicates.json; .gz too)"
        );
    }
    let recipe = recipe(context)?;
    let compared = compared(context, &recipe, &format!("l0,{FULL}"), "vrd")?;
    let data = Data::read(&place(context), &recipe, recipe.seed)?;
    let frequency = frequency_figures(&data)?;
    let columns = [(1, false, 1), (70, false, 1), (70, false, 2), (70, true, 1), (70, true, 2)];
    let cell = |f: &Figures, (k, zero_shot, cut): (usize, bool, usize)| {
        f.predicate.iter().find(|p| p.k == k && p.zero_shot == zero_shot).map_or(0.0, |p| p.recall[cut])
    };
    let mut table = Table::new([
        "predicate detection",
        "k=1 R@50",
        "k=70 R@50",
        "k=70 R@100",
        "zero-shot k=70 R@50",
        "R@100",
        "PredCls R@50",
        "R@100",
        "input",
    ]);
    let mut rows = Vec::new();
    let mut ours = |name: &str, figures: &[Figures]| {
        let cells = columns.map(|c| {
            let values: Vec<f64> = figures.iter().map(|f| cell(f, c)).collect();
            spread(&values)
        });
        let graphs = [1, 2].map(|cut| spread(&figures.iter().map(|f| f.predcls[cut]).collect::<Vec<_>>()));
        rows.push(json!({"name": name, "figures": figures}));
        [vec![name.to_owned()], cells.to_vec(), graphs.to_vec(), vec!["annotations".to_owned()]].concat()
    };
    table.row(ours("FREQ", &[frequency]));
    for (name, figures) in compared.names.iter().zip(&compared.figures) {
        table.row(ours(name, figures));
    }
    for (name, cells, input) in [
        ("Lu et al. 2016, published", ["47.87", "-", "-", "-", "-"], "pictures, words"),
        ("Yu et al. 2017, published", ["55.16", "85.64", "94.65", "54.20", "74.65"], "pictures, words"),
        ("DSR 2018, published", ["-", "86.01", "93.18", "60.90", "79.81"], "pictures, words"),
        ("measured elsewhere, L0", ["52.93", "88.22", "93.93", "55.18", "77.84"], "annotations, each pair once"),
    ] {
        let cells = cells.map(str::to_owned).to_vec();
        table.row([vec![name.to_owned()], cells, vec!["-".to_owned(); 2], vec![input.to_owned()]].concat());
    }
    let mut text = format!(
        "{table}\nVRD's predicate detection, one-to-one matching, rows as candidates, pairs known to be related (\"none\" left out); PredCls: Visual Genome's protocol, all pairs, mean over images.\n\
         {} seeds, mean (sd). RelDN's own VRD rows (relationship and phrase detection) need pictures.\n\n",
        recipe.compare.seeds
    );
    let mut verdicts = Vec::new();
    for by in [By::PredicateK1, By::PredicateK70, By::Predcls] {
        let verdict = compared.verdict(by, 0.05)?;
        text += &pairs(&verdict, by);
        verdicts.push(json!({"by": by, "verdict": verdict}));
    }
    let bars = compared.names.iter().zip(&compared.figures).flat_map(|(name, figures)| {
        [(By::PredicateK1, Some(0.5516)), (By::PredicateK70, Some(0.8564))].map(|(by, published)| {
            let values: Vec<f64> = figures.iter().map(|f| f.get(by)).collect();
            let (value, spread) = (mean(&values).unwrap_or(0.0), sd(&values).unwrap_or(0.0));
            Row {
                name: format!("{name}, {}", by.head()),
                value,
                spread: Some((value - spread, value + spread)),
                published,
                colour: None,
            }
        })
    });
    let chart = Bars {
        title: "VRD predicate detection from annotations alone; diamonds: Yu et al. 2017".to_owned(),
        axis: Axis::new("recall").range(0.0, 1.0),
        rows: bars.collect(),
    };
    context.run.write("vrd.svg", chart.draw().file().as_bytes())?;
    text += &format!("\npicture {}\n", context.run.path("vrd.svg").display());
    Ok(Made { text, json: json!({"rows": rows, "verdicts": verdicts}) })
}

fn spread(values: &[f64]) -> String {
    let centre = percent(mean(values).unwrap_or(0.0));
    sd(values).map_or(centre.clone(), |sd| format!("{centre} ({})", percent(sd)))
}

/// The frequencies of the training images as a model; rows are judged by those of rows, or a box with two labels would make a triplet
/// that no row has.
fn frequency_figures(data: &Data) -> anyhow::Result<Figures> {
    let predicates = data.names.predicates.len();
    let count = |examples: &[Example]| Frequency::count(examples.iter().map(|e| &e.graph), predicates, Candidates::All);
    let of = |frequency: &Frequency, e: &Example| frequency.predict(&e.graph.boxes, &e.graph.labels, Candidates::All);
    let frequency = count(&data.train);
    let scores: Vec<_> = data.test.iter().map(|e| of(&frequency, e)).collect();
    let frequency = count(data.train_rows.as_ref().unwrap_or(&data.train));
    let rows = data.test_rows.as_ref().map(|rows| {
        let with_loops = |e: &Example| {
            let mut scores = of(&frequency, e);
            // Annotated pairs of a box with itself are asked for too.
            let mut own: Vec<u32> =
                e.graph.relations.iter().filter(|r| r.subject == r.object).map(|r| r.subject).collect();
            own.sort_unstable();
            own.dedup();
            for node in own {
                let label = e.graph.labels[node as usize];
                let row: Vec<f64> = frequency.scores(label, label).collect();
                scores.pairs.push([node, node]);
                scores.predicates.push_row(ndarray::ArrayView1::from(&row)).expect("rows of one width");
            }
            scores
        };
        rows.iter().map(with_loops).collect::<Vec<_>>()
    });
    Figures::judge(data, predicates, &scores, rows.as_deref())
}

fn confusion(context: &Context) -> anyhow::Result<Made> {
    let recipe = recipe(context)?;
    if context.data.is_some() {
        bail!("reldn/confusion is drawn on generated scenes: leave --data out");
    }
    let data = Data::read(&Place::default(), &recipe, recipe.seed)?;
    let session = Session::new(&data, &recipe)?;
    let mut scores = Vec::new();
    for (_, spec) in losses(&format!("l0,{FULL}"), &recipe.train.variant)? {
        let (model, _) = session.train(&recipe, spec.build()?.as_ref(), recipe.seed, |_| Ok(()))?;
        if interrupt::asked() {
            return Err(interrupt::Interrupted.into());
        }
        scores.push(predict(&model, &session.config, &data.test, Example::pairs)?);
    }
    let [l0, full] = &scores[..] else { unreachable!("two losses were trained") };
    // For every relation: whether the object stands first among those of its class, by the affinity of its pair with the subject.
    let affinity = |scores: &lossmith::graph::GraphScores, s: u32, o: u32| {
        scores.pairs.iter().position(|p| *p == [s, o]).map_or(0.0, |at| 1.0 - scores.predicates[[at, 0]])
    };
    let mut counts = [[0usize; 2]; 2];
    let mut drawn: [Option<(usize, u32)>; 2] = [None, None];
    for (at, example) in data.test.iter().enumerate() {
        let graph = &example.graph;
        for r in &graph.relations {
            let plays = data.names.predicates[r.predicate as usize - 1] == "plays";
            let rivals = (0..graph.boxes.len() as u32).filter(|&o| {
                let same = graph.labels[o as usize] == graph.labels[r.object as usize];
                let instrument = graph.relations.iter().any(|q| q.object == o && q.predicate == r.predicate);
                o != r.object && o != r.subject && if plays { instrument } else { same }
            });
            let rivals: Vec<u32> = rivals.collect();
            let right = [l0, full].map(|scores| {
                let own = affinity(&scores[at], r.subject, r.object);
                rivals.iter().all(|&o| affinity(&scores[at], r.subject, o) < own)
            });
            counts[usize::from(right[0])][usize::from(right[1])] += 1;
            let slot = &mut drawn[usize::from(plays)];
            if right == [false, true] && slot.is_none() {
                *slot = Some((at, r.subject));
            }
        }
    }
    let mut text = String::new();
    for (kind, chosen) in ["instance", "proximal"].iter().zip(drawn) {
        let Some((at, subject)) = chosen else {
            text += &format!("no test scene in which L0 alone falls for the {kind} confusion\n");
            continue;
        };
        for (name, scores) in [("l0", &l0[at]), ("full", &full[at])] {
            let file = format!("{kind}-{name}.svg");
            let svg = affinities(&data, at, subject, scores);
            let path = context.run.write(&file, svg.as_bytes())?;
            text += &format!("picture {}\n", path.display());
        }
    }
    let [[neither, only_full], [only_l0, both]] = counts;
    let mut table = Table::new(["relations of the test scenes whose object comes first", "count"]);
    for (words, count) in [
        ("by both losses", both),
        ("by the full loss alone", only_full),
        ("by L0 alone", only_l0),
        ("by neither", neither),
    ] {
        table.row([words.to_owned(), count.to_string()]);
    }
    let text = format!(
        "{table}\none seed, {} training scenes; drawn are the first test scenes of either kind that the full loss alone gets right, so the pictures\n\
         show what it does where it helps, and the counts how often\n\n{text}",
        recipe.data.train
    );
    Ok(Made { text, json: json!({"both": both, "full": only_full, "l0": only_l0, "neither": neither}) })
}

/// A scene with the affinities of one subject and all that it could be related to.
fn affinities(data: &Data, at: usize, subject: u32, scores: &lossmith::graph::GraphScores) -> String {
    let example = &data.test[at];
    let names: Vec<String> = example.graph.labels.iter().map(|&l| data.names.objects[l as usize].clone()).collect();
    let mut arrows: Vec<Arrow> = scores
        .pairs
        .iter()
        .enumerate()
        .filter(|(_, pair)| pair[0] == subject)
        .map(|(row, pair)| {
            let own = scores.predicates.row(row);
            let best = (1..own.len()).fold(1, |best, p| if own[p] > own[best] { p } else { best });
            let right = example.graph.relations.iter().any(|r| [r.subject, r.object] == *pair);
            Arrow {
                subject: pair[0] as usize,
                object: pair[1] as usize,
                predicate: data.names.predicates[best - 1].clone(),
                score: 1.0 - own[0],
                right: Some(right),
            }
        })
        .collect();
    arrows.sort_by(|a, b| b.score.total_cmp(&a.score));
    arrows.truncate(5);
    let bytes = match &example.sight {
        Sight::Picture(Source::Here(picture)) => picture.to_png().ok(),
        _ => data.drawn(&example.name).and_then(|picture| picture.to_png().ok()),
    };
    picture(example.size, &example.graph.boxes, &names, &arrows, bytes.as_deref())
}

fn scenes(context: &Context) -> anyhow::Result<Made> {
    if context.data.is_some() {
        bail!("reldn/scenes is made on generated scenes: leave --data out");
    }
    let recipe = recipe(context)?;
    let mut points: Vec<(usize, Compared)> = Vec::new();
    for train in [50, 100, 200, 500] {
        let mut recipe = recipe.clone();
        recipe.data.train = train;
        // As many steps for few scenes as for many, within reason.
        recipe.train.epochs = (recipe.train.epochs * recipe.compare.scenes_steps / train).max(recipe.train.epochs);
        points.push((train, compared(context, &recipe, &format!("l0,{FULL}"), &format!("{train} scenes"))?));
    }
    let mut table = Table::new(["training scenes", "measure", "l0", FULL, "gain", "95 %", "p"]);
    let mut rows = Vec::new();
    for (train, compared) in &points {
        for by in [By::RecallAtTruth, By::OrderClass, By::OrderPredicate, By::Wmap] {
            let values = compared.values(by);
            let t = paired_t(&values[1], &values[0], 0.95)?;
            let interval =
                t.interval.map_or("-".to_owned(), |[low, high]| format!("{:+.2} to {:+.2}", 100.0 * low, 100.0 * high));
            table.row([
                train.to_string(),
                by.head().to_owned(),
                spread(&values[0]),
                spread(&values[1]),
                format!("{:+.2}", 100.0 * t.difference),
                interval,
                format!("{:.1e}", t.p),
            ]);
            rows.push(
                json!({"scenes": train, "by": by, "l0": values[0], "full": values[1], "gain": t.difference, "p": t.p}),
            );
        }
    }
    let series = (0..2).map(|loss| {
        let name = ["l0", FULL][loss];
        Series::banded(
            name,
            points.iter().map(move |(train, compared)| {
                let values = &compared.values(By::RecallAtTruth)[loss];
                let (value, spread) = (mean(values).unwrap_or(0.0), sd(values).unwrap_or(0.0));
                (*train as f64, value, value - spread, value + spread)
            }),
        )
    });
    let chart = Chart {
        title: "Recall against training scenes".to_owned(),
        x: Axis::new("training scenes").log(),
        y: Axis::new("recall at as many triplets as relations"),
        series: series.collect(),
    };
    context.run.write("scenes.svg", chart.draw().file().as_bytes())?;
    let text = format!(
        "{table}\n{} seeds, other scenes for each; paired t; bands are one standard deviation\n\npicture {}\n",
        recipe.compare.seeds,
        context.run.path("scenes.svg").display()
    );
    Ok(Made { text, json: Value::Array(rows) })
}

#[cfg(test)]
mod tests {
    use lossmith::graph::Relation;

    use super::*;

    #[test]
    fn confusions_are_found() {
        let cup = |x: f64| [x, 0.0, x + 9.0, 9.0];
        let relation = |subject, object| Relation { subject, object, predicate: 1 };
        let graph = |boxes: Vec<[f64; 4]>, labels: Vec<u32>, relations| SceneGraph { boxes, labels, relations };
        let near_other = graph(vec![cup(0.0), cup(50.0), cup(20.0)], vec![0, 1, 1], vec![relation(0, 1)]);
        assert_eq!(confusions(&near_other), [true, false]);
        let far_other = graph(vec![cup(0.0), cup(50.0), cup(90.0)], vec![0, 1, 1], vec![relation(0, 1)]);
        assert_eq!(confusions(&far_other), [false, false]);
        let crossed = graph(
            vec![[0.0, 0.0, 9.0, 9.0], [20.0, 0.0, 29.0, 9.0], [0.0, 30.0, 9.0, 39.0], [20.0, 30.0, 29.0, 39.0]],
            vec![0, 0, 1, 2],
            vec![relation(0, 3), relation(1, 2)],
        );
        assert_eq!(confusions(&crossed), [false, true]);
    }
}
