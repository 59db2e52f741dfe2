//! The page in a real browser: opened in headless Chromium where there is one.

use std::path::Path;
use std::process::Command;

use lossmith::expr::{CLASS_VARIABLES, Expr};

use super::*;
use crate::plot::{self, Axis, Bars, Chart, Drawing, Picture, Row, Series, Strip};

/// A page with everything on it, with the published values of GLO where there are some.
pub fn sample() -> ReportData {
    let curve = |name: &str, end: f64, speed: f64, xs: &[f64]| {
        let point = |&at: &f64| {
            let mean = end - 0.35 * (-at * speed).exp();
            CurvePoint { at, mean, low: mean - 0.01, high: (mean + 0.008).min(1.0) }
        };
        Curve { name: name.to_owned(), points: xs.iter().map(point).collect() }
    };
    let steps: Vec<f64> = (1..=40).map(|i| f64::from(i) * 50.0).collect();
    let sizes = [600.0, 1500.0, 3000.0, 6000.0, 15_000.0, 30_000.0, 55_000.0];
    let measured = |name: &str, rate, mean| Measured {
        name: name.to_owned(),
        formula: (name == "baikal-cma").then(|| "-2.7279*log(1.5352*y)".to_owned()),
        rate,
        mean,
        sd: Some(0.0007),
        n: 10,
        diverged: 0,
    };
    let pair = |a: &str, b: &str, difference, p| Pair {
        a: a.to_owned(),
        b: b.to_owned(),
        difference,
        ci95: Some((difference - 0.0006, difference + 0.0006)),
        p: Some(p),
        p_holm: Some(2.0 * p),
        verdict: format!("{a} wins"),
    };
    let comparison = |condition: &str, rate| Comparison {
        condition: condition.to_owned(),
        losses: vec![
            measured("cross-entropy", rate, 0.9899),
            measured("baikal", rate, 0.9933),
            measured("baikal-cma", rate, 0.9947),
        ],
        pairs: vec![pair("baikal", "cross-entropy", 0.0034, 2.4e-11), pair("baikal-cma", "baikal", 0.0014, 8.5e-6)],
        verdict: "BaikalCMA wins over both others.".to_owned(),
    };
    let probability: Vec<f64> = (1..100).map(|i| f64::from(i) / 100.0).collect();
    let on_grid = |f: &dyn Fn(f64) -> f64| probability.iter().map(|y| Some(f(*y))).collect::<Vec<_>>();
    let candidate = |formula: &str, fitness, origin: &str| Candidate {
        formula: formula.to_owned(),
        fitness,
        size: Expr::parse(formula, CLASS_VARIABLES).map_or(0, |e| e.nodes().len()),
        origin: origin.to_owned(),
    };
    ReportData {
        metric: "accuracy".to_owned(),
        running: false,
        trainings: Some(2_100),
        savings: "100 training steps instead of 1000.".to_owned(),
        title: "A loss for digits".to_owned(),
        summary: "BaikalCMA wins: 0.9947 against 0.9899 of cross-entropy on 10,000 test images, 10 seeds.".to_owned(),
        found: Some("-2.7279*(0.9863*log(1.5352*y) + 1.1135*(1.3716*x)/(-0.8411*y))".to_owned()),
        provenance: Provenance {
            version: "0.1.0".to_owned(),
            command: "lossmith search classifier --data mnist --seed 1".to_owned(),
            seed: 1,
            data: "mnist: 55,000 / 5,000 / 10,000".to_owned(),
            machine: "2 cores".to_owned(),
            date: "2026-11-23".to_owned(),
            seconds: Some(281.4),
        },
        recipe: "[search]\npopulation = 80\ngenerations = 100\n".to_owned(),
        generations: (0..30u32)
            .map(|i| Generation {
                index: i as usize,
                best: 0.97 - 0.2 * (-f64::from(i) / 5.0).exp(),
                mean: 0.8 - 0.4 * (-f64::from(i) / 8.0).exp() + 0.01 * f64::from(i * 7 % 5),
                evaluated: 60 + (i as usize * 13) % 20,
                rejected: vec![("not finite".to_owned(), 8), ("duplicate".to_owned(), i as usize)],
            })
            .collect(),
        hall_of_fame: vec![
            candidate("-(log(y) - x/y)", 0.9712, "generation 12, crossover"),
            candidate(
                "max(x*log(y), 2.7279*(0.9863 - 1.5352*y))^2 + sqrt(abs(tanh(exp(min(x, y)))))",
                0.9701,
                "CMA-ES",
            ),
            candidate("-x*log(y)", 0.9634, "seed"),
        ],
        binary_curves: Some(BinaryCurves {
            losses: vec![
                ("log loss".to_owned(), on_grid(&|y| -0.5 * y.ln())),
                ("baikal".to_owned(), on_grid(&|y| -0.5 * (y.ln() + (1.0 - y).ln() - 1.0 / y))),
                (
                    "baikal-cma".to_owned(),
                    on_grid(&|y| -1.345_264 * (y.ln() + (1.0 - y).ln() + 0.857_13) + 2.476_672 / y),
                ),
            ],
            probability,
        }),
        training: vec![curve("cross-entropy", 0.96, 0.002, &steps), curve("baikal", 0.975, 0.004, &steps)],
        training_size: vec![
            curve("cross-entropy", 0.9899, 0.0005, &sizes),
            curve("baikal", 0.9933, 0.0007, &sizes),
            curve("-(log(y) - x/y) with a name that is longer than any legend", 0.99, 0.0006, &sizes),
        ],
        comparisons: vec![
            comparison("The same learning rate for all", Some(0.01)),
            comparison("Each loss at its own best rate", Some(0.1)),
        ],
    }
}

fn chromium() -> Option<&'static str> {
    let names = ["chromium", "chromium-browser", "google-chrome", "chrome"];
    names.into_iter().find(|name| Command::new(name).arg("--version").output().is_ok_and(|o| o.status.success()))
}

/// Runs the browser on a file; its standard output and error.
fn open(browser: &str, folder: &Path, file: &Path, flags: &[&str]) -> (String, String) {
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--virtual-time-budget=3000"])
        .arg(format!("--user-data-dir={}", folder.join("profile").display()))
        .args(flags)
        .arg(format!("file://{}", file.display()))
        .output()
        .unwrap();
    (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Shows the page in a frame as wide as a phone, for a window cannot be made so narrow, and lists what sticks out of it.
fn in_a_phone(page: &str) -> String {
    let escaped = page.replace('&', "&amp;").replace('"', "&quot;");
    let script = r#"
        addEventListener('load', () => {
          const page = document.getElementById('phone').contentDocument;
          const { scrollWidth, clientWidth } = page.documentElement;
          const out = [...page.querySelectorAll('body *')].filter(e => !e.parentElement.closest('.scroll, pre, svg'))
            .filter(e => e.getBoundingClientRect().right > clientWidth + 0.5 || e.getBoundingClientRect().left < -0.5).map(e => e.tagName);
          const count = page.querySelectorAll('body *').length;
          document.getElementById('found').textContent = `checked ${count > 100}; sticking out: ${out.join(' ') || 'none'}; wider than its frame: ${scrollWidth > clientWidth}`;
        });"#;
    format!(
        "<!doctype html><p id=found></p><script>{script}</script>\
         <iframe id=phone style='border:0;width:390px;height:9000px' srcdoc=\"{escaped}\"></iframe>"
    )
}

#[test]
fn the_page_opens_without_complaint_and_fits_on_a_phone() {
    let Some(browser) = chromium() else {
        eprintln!("skipped: no Chromium is installed");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let mut data = sample();
    data.found = Some("x*log(y)*".repeat(20));
    data.hall_of_fame[0].formula = format!("{}1", "x*log(y)*".repeat(20));
    data.provenance.command = "no/space/in/this/path/".repeat(10);
    data.recipe = format!("line = \"{}\"", "long ".repeat(100));
    let opened = page(&data).replace("<details>", "<details open>");
    let (whole, phone) = (folder.path().join("page.html"), folder.path().join("phone.html"));
    std::fs::write(&whole, &opened).unwrap();
    std::fs::write(&phone, in_a_phone(&opened)).unwrap();

    let (dom, log) = open(browser, folder.path(), &whole, &["--dump-dom"]);
    assert!(dom.contains("Hall of fame"), "the page was not shown: {log}");
    assert!(!log.contains("CONSOLE"), "{log}");
    let (dom, log) = open(browser, folder.path(), &phone, &["--dump-dom"]);
    assert_eq!(found(&dom), "checked true; sticking out: none; wider than its frame: false", "{log}");
}

/// A file of its own is XML, where every slip is an error that the browser shows instead of the picture.
#[test]
fn drawings_are_files_of_their_own() {
    let Some(browser) = chromium() else {
        eprintln!("skipped: no Chromium is installed");
        return;
    };
    let files: Vec<(&str, String)> = drawings().into_iter().map(|(name, drawing)| (name, drawing.file())).collect();
    let json = serde_json::to_string(&files).unwrap().replace('<', "\\u003c");
    let script = format!(
        "const parse = ([name, text]) => {{
           const root = new DOMParser().parseFromString(text, 'image/svg+xml').documentElement;
           return root.tagName == 'svg' && !root.querySelector('parsererror') ? 'good' : name;
         }};
         document.getElementById('found').textContent = {json}.map(parse).join(' ');"
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("files.html");
    std::fs::write(&path, format!("<!doctype html><p id=found></p><script>{script}</script>")).unwrap();
    let (dom, log) = open(browser, folder.path(), &path, &["--dump-dom"]);
    assert_eq!(found(&dom), "good good good good good", "{log}");
}

/// What the script of a test page wrote.
fn found(dom: &str) -> &str {
    dom.split("<p id=\"found\">").nth(1).and_then(|d| d.split('<').next()).unwrap_or("nothing")
}

fn drawings() -> Vec<(&'static str, Drawing)> {
    let line = Series::banded("ours <&> \"mine\"", [(1.0, 0.9, 0.88, 0.91), (2.0, 0.95, 0.94, 0.96)]);
    let published = Series::line("published", [(1.0, 0.93), (2.0, 0.94)]).dashed().coloured(1);
    let chart = Chart {
        title: "A & B".to_owned(),
        x: Axis::new("share < 1").log(),
        y: Axis::new("accuracy"),
        series: vec![line, published],
    };
    let row = |name: &str, value| Row {
        name: name.to_owned(),
        value,
        spread: Some((value - 0.02, value + 0.02)),
        published: Some(0.95),
        colour: None,
    };
    let bars = |axis| Bars { title: "Bars".to_owned(), axis, rows: vec![row("a < b", 0.9), row("c", 0.6)] };
    // One red pixel.
    let png = "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415478da63f8cfc0000003010100\
               c9fe92ef0000000049454e44ae426082";
    let png: Vec<u8> = (0..png.len()).step_by(2).map(|i| u8::from_str_radix(&png[i..i + 2], 16).unwrap()).collect();
    let pictures = (0..5).map(|i| Picture { caption: format!("image <{i}>"), png: png.clone() }).collect();
    let strip = Strip { title: "Pictures".to_owned(), columns: 3, side: 96.0, pictures };
    let formula = Expr::parse("max(x, y) - log(y)^2", CLASS_VARIABLES).unwrap();
    vec![
        ("chart.svg", chart.draw()),
        ("points.svg", bars(Axis::new("accuracy")).draw()),
        ("bars.svg", bars(Axis::new("accuracy").range(0.0, 1.0)).draw()),
        ("strip.svg", strip.draw()),
        ("tree.svg", plot::tree(&formula, CLASS_VARIABLES)),
    ]
}

/// Keeps the page and its frame where `LOSSMITH_KEEP_PAGE` says, to be looked at.
#[test]
#[ignore = "writes the page, to be looked at"]
fn the_sample_page_can_be_kept() {
    let Some(folder) = std::env::var_os("LOSSMITH_KEEP_PAGE") else { return };
    let folder = Path::new(&folder);
    std::fs::write(folder.join("page.html"), page(&sample())).unwrap();
    std::fs::write(folder.join("phone.html"), in_a_phone(&page(&sample()))).unwrap();
    for (name, drawing) in drawings() {
        std::fs::write(folder.join(name), drawing.file()).unwrap();
    }
}
