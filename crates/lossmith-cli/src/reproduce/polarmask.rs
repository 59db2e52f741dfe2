//! PolarMask (Xie et al. 2020): what rays can hold, the loss on the rays, their number, centerness, and the main table.
//!
//! The published rows are those of the paper's ablations and of the authors' page (`notes` mark the ablations unverified): COCO minival,
//! ResNet-50, 12 epochs. Ours are of another network on other data: the order of the rows is what can be compared, not their level.

use anyhow::ensure;
use lossmith::polar::{Point, Polygon, RayFan, Runs, contour, published};
use lossmith::stats::{Verdict, mean};
use lossmith_burn::polarmask::{DetectSettings, Detection, draw, paint};
use lossmith_data::coco::{self, Annotation, Coco, Image};
use lossmith_data::make::shapes;
use lossmith_data::picture;
use rayon::prelude::*;
use serde_json::{Value, json};

use super::{Context, Experiment, Made};
use crate::commands::evaluate::coco as protocol;
use crate::interrupt;
use crate::output::Table;
use crate::plot::{Axis, Bars, Chart, Picture, Row, Series, Strip};
use crate::recipe::{self, Presets};
use crate::tasks::polarmask::Recipe;
use crate::tasks::polarmask::compare::trained;
use crate::tasks::polarmask::score::{Scores, mask};
use crate::tasks::trainings::Trainings;

/// Short trainings, many of them.
const PRESETS: Presets = Presets {
    task: "polarmask",
    laptop: include_str!("../../../../recipes/polarmask-ablation.toml"),
    full: include_str!("../../../../recipes/polarmask-full.toml"),
};

/// What rays can hold.
pub static UPPER_BOUND: Experiment = Experiment {
    id: "polarmask/upper-bound",
    title: "Mean IoU and oracle AP of ground truth as rays and back, against the number of rays, the centre and the procedure",
    data: "a COCO file of instances with --data, made figures without; no pictures are needed",
    time: "seconds",
    published: "COCO: mean IoU above 0.9 with many rays, 90 rays +0.4 % over 72, mass centre above box centre (a curve, no table)",
    make: upper_bound,
};

/// Polar IoU against smooth-L1.
pub static LOSS: Experiment = Experiment {
    id: "polarmask/loss",
    title: "The loss on the rays: Polar IoU against smooth-L1 at three scales, five seeds in pairs",
    data: "made figures; COCO's folder or label images with --data",
    time: "half an hour",
    published: "COCO, ResNet-50: Polar IoU AP 27.7; smooth-L1 24.7 (scale 0.05), 25.1 (0.30), 20.2 (1.00)",
    make: loss,
};

/// The number of rays.
pub static RAYS: Experiment = Experiment {
    id: "polarmask/rays",
    title: "Mask AP against the number of rays",
    data: "made figures; COCO's folder or label images with --data",
    time: "10 minutes",
    published: "COCO, ResNet-50: AP 26.2 (18 rays), 27.3 (24), 27.7 (36), 27.6 (72)",
    make: rays,
};

/// The form of centerness.
pub static CENTERNESS: Experiment = Experiment {
    id: "polarmask/centerness",
    title: "Polar centerness against that of FCOS and the soft one of PolarMask++",
    data: "made figures; COCO's folder or label images with --data",
    time: "10 minutes",
    published: "COCO, ResNet-50: AP 27.7 (FCOS), 29.1 (polar); soft: +0.6 or more over polar (PolarMask++)",
    make: centerness,
};

/// The main table.
pub static TABLE2: Experiment = Experiment {
    id: "polarmask/table2",
    title: "AP, AP50, AP75, S, M, L of one full training",
    data: "made figures; COCO's folder or label images with --data",
    time: "15 minutes",
    published: "COCO test-dev: ResNet-101 30.4 / 51.9 / 31.0 / 13.4 / 32.4 / 42.8",
    make: table2,
};

/// The representation.
pub static REPRESENTATION: Experiment = Experiment {
    id: "polarmask/representation",
    title: "Pictures of the polar form, after the paper's Fig. 1 and 3: outline, rays, what comes back, and centerness by point",
    data: "made figures",
    time: "no time",
    published: "pictures",
    make: representation,
};

// ---------------------------------------------------------------------------------------------------------- upper bound

/// How an object is turned into rays and back.
#[derive(Clone, Copy)]
struct Encoder {
    rays: usize,
    exact: bool,
    box_centre: bool,
}

fn upper_bound(context: &Context) -> anyhow::Result<Made> {
    let truth = match &context.data {
        Some(path) => coco::read(path)?,
        None => shapes::make(0, 200, shapes::SIDE, 1)?.truth,
    };
    context.keep(&format!("data = {:?}\n", context.data), "")?;
    let exact = |rays| Encoder { rays, exact: true, box_centre: false };
    let few = [18, 24, 36, 72, 90, 120];
    let mut encoders: Vec<Encoder> = few.map(exact).to_vec();
    encoders.extend(few.map(|rays| Encoder { box_centre: true, ..exact(rays) }));
    encoders.push(Encoder { exact: false, ..exact(36) });
    let mut table = Table::new(["rays", "casting", "centre", "mean IoU", "AP", "AP50", "AP75", "S", "M", "L"]);
    let mut rows = Vec::new();
    for encoder in encoders {
        let (iou, figures) = oracle(&truth, encoder)?;
        let casting = if encoder.exact { "exact" } else { "published" };
        let centre = if encoder.box_centre { "box" } else { "mass" };
        let cells = [figures.AP, figures.AP50, figures.AP75, figures.APs, figures.APm, figures.APl];
        let cells = cells.map(|v| if v < 0.0 { "-".to_owned() } else { format!("{:.1}", 100.0 * v) });
        let heads = [encoder.rays.to_string(), casting.to_owned(), centre.to_owned(), format!("{iou:.3}")];
        table.row(heads.into_iter().chain(cells));
        rows.push(
            json!({ "rays": encoder.rays, "casting": casting, "centre": centre, "mean_iou": iou, "figures": figures }),
        );
    }
    let line = |centre: &str| {
        let of = rows.iter().filter(|r| r["centre"] == centre && r["casting"] == "exact");
        let number = |v: &Value| v.as_f64().unwrap_or(f64::NAN);
        Series::line(
            format!("{centre} centre"),
            of.map(|r| (number(&r["rays"]), number(&r["mean_iou"]))).collect::<Vec<_>>(),
        )
    };
    let published =
        Series::line("published", [(36.0, rows.last().and_then(|r| r["mean_iou"].as_f64()).unwrap_or(f64::NAN))]);
    let title = "What rays can hold".to_owned();
    let chart = Chart {
        title,
        x: Axis::new("rays"),
        y: Axis::new("mean IoU"),
        series: vec![line("mass"), line("box"), published],
    };
    context.run.write("figure.svg", chart.draw().file().as_bytes())?;
    let data = context.data.as_ref().map_or_else(|| "made figures".to_owned(), |p| p.display().to_string());
    let objects = truth.annotations.iter().filter(|a| a.iscrowd == 0).count();
    let text = format!(
        "{table}\ndata: {data}, {objects} objects; published casting with its own drawing: truncated corners, border filled\n\npicture {}\n",
        context.run.path("figure.svg").display()
    );
    Ok(Made { text, json: json!({ "data": data, "objects": objects, "rows": rows }) })
}

/// The mean IoU of the objects, and COCO's figures of them as detections of score 1.
fn oracle(truth: &Coco, encoder: Encoder) -> anyhow::Result<(f64, protocol::Figures)> {
    let fan = RayFan::new(encoder.rays).ok_or_else(|| anyhow::anyhow!("{} rays are none", encoder.rays))?;
    let images: std::collections::BTreeMap<&coco::Id, &Image> = truth.images.iter().map(|i| (&i.id, i)).collect();
    let objects: Vec<&Annotation> = truth.annotations.iter().filter(|a| a.iscrowd == 0).collect();
    let found: Vec<Option<(f64, coco::Detection)>> = objects
        .par_iter()
        .map(|object| {
            let image = images[&object.image_id];
            let whole = mask(object, image)?;
            let back = encoded(object, image, &whole, encoder, &fan)?;
            let rle = coco::Rle::compressed(image.width, image.height, back.counts());
            let detection = coco::Detection {
                image_id: object.image_id.clone(),
                category_id: object.category_id.clone(),
                score: 1.0,
                bbox: None,
                segmentation: Some(coco::Segmentation::Mask(rle)),
            };
            Some((whole.iou(&back), detection))
        })
        .collect();
    ensure!(!objects.is_empty(), "there is no object to encode");
    let iou = found.iter().flatten().map(|f| f.0).sum::<f64>() / objects.len() as f64;
    let detections: Vec<coco::Detection> = found.into_iter().flatten().map(|f| f.1).collect();
    Ok((iou, protocol::of_masks(truth, &detections)?))
}

/// An object as rays and back.
fn encoded(object: &Annotation, image: &Image, whole: &Runs, encoder: Encoder, fan: &RayFan) -> Option<Runs> {
    let (width, height) = (image.width as usize, image.height as usize);
    let mut rays = vec![0.0; fan.rays()];
    if !encoder.exact {
        let pixels = contour::largest(&whole.to_mask(), width, height, true)?.pixels;
        let centre = published::mass_centre(&pixels)?;
        published::cast(&pixels, centre, &mut rays);
        return Runs::from_mask(&filled(&fan.outline(centre, &rays), width, height), width, height).ok();
    }
    let outline = match &object.segmentation {
        coco::Segmentation::Polygons(parts) => {
            let parts = parts.iter().filter_map(|part| Polygon::from_flat(part).ok());
            parts.max_by(|a, b| a.area().total_cmp(&b.area()))?
        }
        coco::Segmentation::Mask(_) => contour::largest(&whole.to_mask(), width, height, true)?.outline,
    };
    let centre = if encoder.box_centre { outline.bounds().centre() } else { outline.mass_centre() };
    fan.cast(&outline, centre, &mut rays);
    Runs::from_outline(&fan.outline(centre, &rays), width, height).ok()
}

/// The mask that the published code draws: corners cut to whole pixels inside of the image, filled with the border.
fn filled(outline: &[Point], width: usize, height: usize) -> Vec<bool> {
    let most = [width as f64 - 1.0, height as f64 - 1.0];
    let corners: Vec<Point> = outline.iter().map(|p| [0, 1].map(|i| p[i].clamp(0.0, most[i]).trunc())).collect();
    let mut mask = vec![false; width * height];
    let edges = || corners.iter().zip(corners.iter().cycle().skip(1));
    for y in 0..height {
        let row = y as f64;
        let crossed = edges().filter(|(a, b)| (a[1] > row) != (b[1] > row));
        let mut crossings: Vec<f64> =
            crossed.map(|(a, b)| a[0] + (row - a[1]) / (b[1] - a[1]) * (b[0] - a[0])).collect();
        crossings.sort_by(f64::total_cmp);
        for pair in crossings.chunks_exact(2) {
            (pair[0].ceil() as usize..=pair[1].floor() as usize).for_each(|x| mask[y * width + x] = true);
        }
    }
    for (a, b) in edges() {
        let steps = (b[0] - a[0]).abs().max((b[1] - a[1]).abs()).max(1.0);
        for step in 0..=steps as usize {
            let [x, y] = [0, 1].map(|i| (a[i] + step as f64 / steps * (b[i] - a[i])).round() as usize);
            mask[y * width + x] = true;
        }
    }
    mask
}

// ------------------------------------------------------------------------------------------------------------ ablations

/// One row of an ablation: its name, what it changes, and the published AP.
struct Case {
    name: String,
    change: Box<dyn Fn(&mut Recipe)>,
    published: Option<f64>,
    seeds: u64,
}

impl Case {
    fn new(name: &str, published: Option<f64>, change: impl Fn(&mut Recipe) + 'static) -> Self {
        Self { name: name.to_owned(), change: Box::new(change), published, seeds: 2 }
    }
}

fn recipe(context: &Context) -> anyhow::Result<Recipe> {
    let mut recipe: Recipe = if context.resume {
        recipe::parse_text(&context.run.read("recipe.toml")?)?
    } else {
        recipe::load(PRESETS, &context.recipe, &context.set)?
    };
    if let Some(data) = context.data.as_ref().filter(|_| !context.resume) {
        recipe.data = data.display().to_string();
    }
    context.keep(&recipe::to_text(&recipe)?, &recipe.data)?;
    interrupt::listen();
    Ok(recipe)
}

/// Trains every case with each of its seeds: the scores of each.
fn train(context: &Context, recipe: &Recipe, cases: &[Case]) -> anyhow::Result<Vec<Vec<Scores>>> {
    let mut trainings = Trainings::open(&context.run)?;
    trainings.begin("trainings", cases.iter().map(|c| c.seeds as usize).sum());
    let mut all = vec![Vec::new(); cases.len()];
    // Seed by seed: a run that is stopped has whole pairs.
    for at in 0..cases.iter().map(|c| c.seeds).max().unwrap_or(0) {
        for (case, scores) in cases.iter().zip(&mut all).filter(|(case, _)| at < case.seeds) {
            let mut recipe = recipe.clone();
            recipe.train.seed += at;
            (case.change)(&mut recipe);
            scores.push(trained(&mut trainings, &case.name, &recipe)?.unwrap_or_default());
        }
    }
    Ok(all)
}

/// Table, chart and JSON of cases with their scores.
fn made(
    context: &Context,
    recipe: &Recipe,
    head: &str,
    cases: &[Case],
    scores: &[Vec<Scores>],
) -> anyhow::Result<Made> {
    let number =
        |v: Option<f64>| v.filter(|v| *v >= 0.0).map_or_else(|| "-".to_owned(), |v| format!("{:.1}", 100.0 * v));
    let of = |scores: &[Scores], f: fn(&Scores) -> f64| mean(&scores.iter().map(f).collect::<Vec<_>>());
    let mut table = Table::new([head, "AP", "AP50", "AP75", "S", "M", "L", "F1", "seeds", "published AP"]);
    let mut bars = Vec::new();
    for (case, scores) in cases.iter().zip(scores) {
        let figures: [fn(&Scores) -> f64; 7] = [
            |s| s.coco.AP,
            |s| s.coco.AP50,
            |s| s.coco.AP75,
            |s| s.coco.APs,
            |s| s.coco.APm,
            |s| s.coco.APl,
            |s| s.f1_50,
        ];
        let cells = figures.map(|f| number(of(scores, f)));
        let ends = [scores.len().to_string(), case.published.map_or_else(|| "-".to_owned(), |v| format!("{v:.1}"))];
        table.row([case.name.clone()].into_iter().chain(cells).chain(ends));
        let aps = scores.iter().map(|s| 100.0 * s.coco.AP);
        bars.push(Row {
            name: case.name.clone(),
            value: 100.0 * of(scores, |s| s.coco.AP).unwrap_or(f64::NAN),
            spread: Some((aps.clone().fold(f64::INFINITY, f64::min), aps.fold(f64::NEG_INFINITY, f64::max))),
            published: case.published,
            colour: None,
        });
    }
    let drawing = Bars { title: format!("Mask AP by {head}"), axis: Axis::new("mask AP, %"), rows: bars }.draw();
    context.run.write("figure.svg", drawing.file().as_bytes())?;
    let n = &recipe.network;
    let setting =
        format!("{}, {:?} at {} x {}, {} epochs", recipe.data, n.backbone, n.width, n.height, recipe.train.epochs);
    let text = format!(
        "{table}\nours: {setting}; published: COCO, ResNet-50, 12 epochs: neither data nor setting is the same\n\npicture {}\n",
        context.run.path("figure.svg").display()
    );
    let rows: Vec<_> = cases
        .iter()
        .zip(scores)
        .map(|(case, scores)| json!({ "name": case.name, "published_ap": case.published, "scores": scores }))
        .collect();
    Ok(Made { text, json: json!({ "setting": setting, "rows": rows }) })
}

fn loss(context: &Context) -> anyhow::Result<Made> {
    let recipe = recipe(context)?;
    let case = |loss: &str, published: f64, seeds: u64| {
        let text = loss.to_owned();
        let change = move |recipe: &mut Recipe| recipe.train.loss.clone_from(&text);
        Case { seeds, ..Case::new(loss, Some(published), change) }
    };
    // Smooth-L1's scale is chosen on a seed of its own, so that it meets Polar IoU at its best.
    let scales = [("0.05", 24.7), ("0.3", 25.1), ("1.0", 20.2)];
    let scales = scales.map(|(scale, published)| case(&format!("smooth-l1-rays(scale={scale})"), published, 1));
    let tuning = Recipe {
        train: lossmith_burn::polarmask::TrainSettings { seed: recipe.train.seed + 1000, ..recipe.train.clone() },
        ..recipe.clone()
    };
    let tuned = train(context, &tuning, &scales)?;
    let best = (0..scales.len()).max_by(|a, b| tuned[*a][0].coco.AP.total_cmp(&tuned[*b][0].coco.AP)).unwrap_or(0);
    let cases = [
        case("polar-iou", 27.7, 5),
        Case { seeds: 5, ..case(&scales[best].name, scales[best].published.unwrap_or(f64::NAN), 5) },
    ];
    let scores = train(context, &recipe, &cases)?;
    let values: Vec<Vec<f64>> = scores.iter().map(|s| s.iter().map(|s| s.coco.AP).collect()).collect();
    let verdict = Verdict::new(&[&cases[0].name, &cases[1].name], &values, 0.05)?;
    let chosen = scales.iter().zip(&tuned).map(|(c, s)| format!("{} {:.1}", c.name, 100.0 * s[0].coco.AP));
    let chosen = chosen.collect::<Vec<_>>().join(", ");
    let mut made = made(context, &recipe, "loss on the rays", &cases, &scores)?;
    made.text = format!("{}\nscale chosen on seed {}: {chosen}\n{}\n", made.text, tuning.train.seed, verdict.verdict);
    made.json["verdict"] = serde_json::to_value(&verdict)?;
    made.json["tuning"] = json!(
        scales.iter().zip(&tuned).map(|(c, s)| json!({ "loss": c.name, "AP": s[0].coco.AP })).collect::<Vec<_>>()
    );
    Ok(made)
}

fn rays(context: &Context) -> anyhow::Result<Made> {
    let recipe = recipe(context)?;
    let cases = [(18, 26.2), (24, 27.3), (36, 27.7), (72, 27.6)];
    let cases =
        cases.map(|(rays, published)| Case::new(&rays.to_string(), Some(published), move |r| r.network.rays = rays));
    let scores = train(context, &recipe, &cases)?;
    made(context, &recipe, "rays", &cases, &scores)
}

fn centerness(context: &Context) -> anyhow::Result<Made> {
    use lossmith::loss::Centerness::{Box, Hard, Soft};
    use lossmith_burn::polarmask::Score;
    let recipe = recipe(context)?;
    let case = |name: &str, published, form, score| {
        let change = move |r: &mut Recipe| {
            r.train.centerness = form;
            r.detect = DetectSettings { score, ..r.detect };
        };
        Case::new(name, published, change)
    };
    let cases = [
        case("none in the score", None, Hard, Score::Class),
        case("box (FCOS)", Some(27.7), Box, Score::Product),
        case("polar", Some(29.1), Hard, Score::Product),
        case("polar, score + 0.5", None, Hard, Score::Published),
        case("soft (PolarMask++)", None, Soft, Score::Product),
    ];
    let scores = train(context, &recipe, &cases)?;
    made(context, &recipe, "centerness", &cases, &scores)
}

fn table2(context: &Context) -> anyhow::Result<Made> {
    use crate::tasks::polarmask::PRESETS;
    let mut recipe: Recipe = if context.resume {
        recipe::parse_text(&context.run.read("recipe.toml")?)?
    } else {
        recipe::load(PRESETS, &context.recipe, &context.set)?
    };
    if let Some(data) = context.data.as_ref().filter(|_| !context.resume) {
        recipe.data = data.display().to_string();
    }
    context.keep(&recipe::to_text(&recipe)?, &recipe.data)?;
    interrupt::listen();
    let cases = [Case { seeds: 1, ..Case::new("ours", None, |_| ()) }];
    let scores = train(context, &recipe, &cases)?;
    let mut made = made(context, &recipe, "network", &cases, &scores)?;
    let mut table = Table::new(["published, COCO test-dev", "AP", "AP50", "AP75", "S", "M", "L"]);
    for (name, row) in [
        ("PolarMask, ResNet-101", ["30.4", "51.9", "31.0", "13.4", "32.4", "42.8"]),
        ("PolarMask, ResNeXt-101", ["32.9", "55.4", "33.8", "15.5", "35.1", "46.3"]),
    ] {
        table.row([name].into_iter().chain(row));
    }
    made.text = format!("{}\n{table}", made.text);
    Ok(made)
}

// ------------------------------------------------------------------------------------------------------- representation

fn representation(context: &Context) -> anyhow::Result<Made> {
    const RAYS: usize = 36;
    const ZOOM: usize = 4;
    let made = shapes::make(0, 40, shapes::SIDE, 3)?;
    context.keep("data = \"shapes\"\n", "")?;
    let fan = RayFan::new(RAYS).ok_or_else(|| anyhow::anyhow!("no rays"))?;
    let mut pictures = Vec::new();
    let mut rows = Vec::new();
    // One whole figure of each of three kinds: even, dented, and one whose mass centre lies outside.
    for class in ["ellipse", "star", "horseshoe"] {
        let Some((object, outline)) = largest_of(&made.truth, class) else { continue };
        let at = made.truth.images.iter().position(|i| i.id == object.image_id).unwrap_or(0);
        let picture = &made.pictures[at];
        let whole = Runs::from_outline(outline.points(), picture.width, picture.height)?;
        let detection = |centre: Point, outline: Polygon| -> anyhow::Result<Detection> {
            let mask = Runs::from_outline(outline.points(), picture.width, picture.height)?;
            Ok(Detection { class: 0, score: 1.0, centre, outline, mask })
        };
        let centre = outline.mass_centre();
        let mut rays = vec![0.0; RAYS];
        fan.cast(&outline, centre, &mut rays);
        let back = detection(centre, Polygon::new(fan.outline(centre, &rays))?)?;
        let iou = back.mask.iou(&whole);
        let mut add = |caption: String, picture: &picture::Picture| -> anyhow::Result<()> {
            let png = cropped(picture, &outline, ZOOM).png().map_err(|e| anyhow::anyhow!(e))?;
            pictures.push(Picture { caption, png });
            Ok(())
        };
        add(format!("{class}: outline"), &draw(picture, &[detection(centre, outline.clone())?], false, ZOOM))?;
        add(format!("{RAYS} rays"), &draw(picture, std::slice::from_ref(&back), true, ZOOM))?;
        add(format!("rays and back: IoU {iou:.2}"), &draw(&covered(picture, &back.mask), &[], false, ZOOM))?;
        add("centerness by point".to_owned(), &draw(&even(picture, &outline, &fan), &[], false, ZOOM))?;
        rows.push(json!({ "class": class, "iou": iou, "centerness": lossmith::loss::Centerness::Hard.of(&rays) }));
    }
    let strip = Strip { title: "The polar form".to_owned(), columns: 4, side: 190.0, pictures };
    context.run.write("figure.svg", strip.draw().file().as_bytes())?;
    let mut table = Table::new(["figure", "IoU of rays and back", "centerness of the mass centre"]);
    for row in &rows {
        let cell = |key: &str| format!("{:.3}", row[key].as_f64().unwrap_or(f64::NAN));
        table.row([row["class"].as_str().unwrap_or_default().to_owned(), cell("iou"), cell("centerness")]);
    }
    let text = format!("{table}\npicture {}\n", context.run.path("figure.svg").display());
    Ok(Made { text, json: Value::Array(rows) })
}

/// The largest figure of a class that nothing covers.
fn largest_of<'a>(truth: &'a Coco, class: &str) -> Option<(&'a Annotation, Polygon)> {
    let id = truth.categories.iter().find(|c| c.name == class)?.id.clone();
    let of_class = truth.annotations.iter().filter(|a| a.category_id == id);
    let whole = of_class.filter_map(|a| match &a.segmentation {
        coco::Segmentation::Polygons(parts) => Some((a, Polygon::from_flat(parts.first()?).ok()?)),
        coco::Segmentation::Mask(_) => None,
    });
    whole.max_by(|a, b| a.1.area().total_cmp(&b.1.area()))
}

/// The square about an outline, cut from a picture that is drawn so many times larger.
fn cropped(picture: &picture::Picture, outline: &Polygon, zoom: usize) -> picture::Picture {
    const MARGIN: f64 = 4.0;
    let (bounds, [x, y]) = (outline.bounds(), outline.bounds().centre());
    let half = 0.5 * bounds.width().max(bounds.height()) + MARGIN;
    let side = ((2.0 * half) as usize * zoom).min(picture.width).min(picture.height);
    let start = |middle: f64, all: usize| (((middle - half).max(0.0)) as usize * zoom).min(all - side);
    let (left, top) = (start(x, picture.width), start(y, picture.height));
    let row = |row: usize| &picture.pixels[3 * (row * picture.width + left)..][..3 * side];
    let pixels = (top..top + side).flat_map(|y| row(y).iter().copied()).collect();
    picture::Picture { width: side, height: side, pixels }
}

/// The picture with a mask in colour.
fn covered(picture: &picture::Picture, mask: &Runs) -> picture::Picture {
    let mut ids = vec![0; picture.width * picture.height];
    paint(mask, 1, &mut ids);
    tinted(picture, |at| f64::from(ids[at]) * 0.65)
}

/// The picture with the centerness that each point inside of an outline would have.
fn even(picture: &picture::Picture, outline: &Polygon, fan: &RayFan) -> picture::Picture {
    let mut rays = vec![0.0; fan.rays()];
    let mut values = vec![0.0; picture.width * picture.height];
    for (at, value) in values.iter_mut().enumerate() {
        let point = [(at % picture.width) as f64 + 0.5, (at / picture.width) as f64 + 0.5];
        if outline.contains(point) {
            fan.cast(outline, point, &mut rays);
            *value = f64::from(lossmith::loss::Centerness::Hard.of(&rays));
        }
    }
    tinted(picture, |at| values[at])
}

/// The picture in grey, each pixel mixed with orange by a share.
fn tinted(picture: &picture::Picture, share: impl Fn(usize) -> f64) -> picture::Picture {
    const ORANGE: [f64; 3] = [230.0, 159.0, 0.0];
    let mut tinted = picture.clone();
    for (at, pixel) in tinted.pixels.chunks_exact_mut(3).enumerate() {
        let grey = 0.5 * pixel.iter().map(|v| f64::from(*v)).sum::<f64>() / 3.0;
        let share = share(at);
        pixel.iter_mut().zip(ORANGE).for_each(|(v, colour)| *v = (grey + share * (colour - grey)) as u8);
    }
    tinted
}
