//! What is fuzzed: for every reader of files and every parser of text a body that takes any bytes, and seeds from which a
//! fuzzer begins. A new reader joins with one line in [`TARGETS`].
//!
//! Used by the fuzz targets, by the program that writes the corpora, and by the replay in `cargo test`.

#![allow(dead_code, reason = "each user takes a part of it")]

#[path = "replay.rs"]
pub mod replay;

use std::cell::OnceCell;
use std::io::Write;
use std::path::{Path, PathBuf};

use hdf5_pure::FileBuilder;
use lossmith::expr::emit::Language;
use lossmith::expr::{CLASS_VARIABLES, Expr};
use lossmith::loss::{ClassLoss, Spec};
use lossmith_data::coco::{self, Coco, Reading};
use lossmith_data::graph_features::Features;
use lossmith_data::graph_json::GraphSet;
use lossmith_data::label_images::{self, Labels, Picture};
use lossmith_data::limits::{self, Limits};
use lossmith_data::make::{holds, hubs, shapes};
use lossmith_data::node_graphs::NodeGraphs;
use lossmith_data::predictions::Predictions;
use lossmith_data::visual_genome::Split;
use lossmith_data::vrd::Nodes;
use lossmith_data::{cifar, cityscapes, idx, openimages, predicate_groups, tensors, visual_genome, vrd};

use replay::{Target, target};

pub const TARGETS: &[Target] = &[
    target("formula", formula, || {
        texts(&["-(log(y) - x/y)/n", "-x*log(1.5*y)", "discriminative(alpha=2, pull=\"max(d, 1)\")"])
    }),
    target("idx", idx, || vec![idx_images(), packed(&idx_images()), b"\0\0\x08\x01\0\0\0\x02\x03\x04".to_vec()]),
    target("cifar", cifar, || vec![cifar_row(3), packed(&cifar_row(9))]),
    target("cifar_archive", cifar_archive, || vec![tar_of_batches()]),
    target("tensors", tensors, || vec![features()]),
    target("features", features_file, || vec![features()]),
    target("label_png", label_png, || {
        vec![written("l.png", |path| label_images::write_labels(path, &labels()).unwrap())]
    }),
    target("picture", picture, pictures),
    target("index_csv", index_csv, || texts(&["image,label,split\na.png,b.png,train\n", "image,label\na.png,b.png\n"])),
    target("coco", coco_truth, || vec![coco_bytes()]),
    target("coco_results", coco_results, || {
        texts(&[
            r#"[{"image_id":1,"category_id":1,"score":0.5,"bbox":[0,0,9,9],"segmentation":{"size":[128,128],"counts":"PPP4"}}]"#,
        ])
    }),
    target("graphs", graphs, || vec![serde_json::to_vec(&made_graphs().train).unwrap()]),
    // What the file is is told by its first bytes.
    target("graph_lines", graph_lines, || {
        let line = r#"{"image":"a","pairs":[[0,1]],"predicates":[[0.25,0.75]],"boxes":[[0,0,9,9],[5,5,7,7]],"labels":[0,1],"scores":[1,0.5]}"#;
        let pickle = include_bytes!("../crates/lossmith-data/tests/fixtures/predictions-4.pkl");
        let arrays = include_bytes!("../crates/lossmith-data/tests/fixtures/predictions.npz");
        [texts(&[line]), vec![pickle.to_vec(), arrays.to_vec()]].concat()
    }),
    target("vrd", vrd_annotations, || {
        texts(&[
            r#"{"a.jpg":[{"predicate":0,"subject":{"category":0,"bbox":[1,9,2,8]},"object":{"category":1,"bbox":[3,5,3,5]}}]}"#,
        ])
    }),
    target("vg_h5", vg_h5, || vec![small_h5()]),
    target("vg_json", vg_json, || {
        texts(&[
            r#"[["a",{"objs":[{"cls":0,"bbox":[0,0,9,9]},{"cls":1,"bbox":[1,1,5,5]}],"rels":[{"sub":0,"obj":1,"pred":[0]}]}],[null,null]]"#,
        ])
    }),
    target("open_images", open_images, || {
        texts(&[
            "ImageID,LabelName1,LabelName2,XMin1,XMax1,YMin1,YMax1,XMin2,XMax2,YMin2,YMax2,RelationshipLabel,Score,LabelName\n\
                 a,/m/2,/m/1,0.1,0.5,0.2,0.6,0.3,0.4,0.3,0.5,holds,0.5,/m/3\n",
        ])
    }),
    target("node_graphs", node_graphs, || {
        let scene = &hubs::make(hubs::Settings::default(), 1, 1, 1).unwrap().train[0];
        vec![serde_json::to_vec(scene).unwrap()]
    }),
    target("predicate_groups", groups, || texts(&[r#"{"spatial":["on"],"action":["holds"]}"#])),
    target("cityscapes", cityscapes_list, || texts(&["a.png 26 0.5\nb.png 24.0 0.7\n"])),
];

/// Small, so that a reader that allocates what it is told is not hidden by a large machine.
pub fn set_limits() {
    limits::set(Limits { bytes: 16 << 20, pixels: 1 << 20 });
}

/// The body of a target.
pub fn body(name: &str) -> fn(&[u8]) {
    set_limits();
    TARGETS.iter().find(|target| target.name == name).expect("a target of the table").run
}

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

// A folder of each thread's own, so that a target that needs files has them.

thread_local! {
    static FOLDER: OnceCell<tempfile::TempDir> = const { OnceCell::new() };
}

fn at(name: &str) -> PathBuf {
    FOLDER.with(|folder| folder.get_or_init(|| tempfile::tempdir().unwrap()).path().join(name))
}

fn put(name: &str, bytes: &[u8]) -> PathBuf {
    let path = at(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, bytes).unwrap();
    path
}

/// Puts a file that does not change.
fn once(name: &str, bytes: impl FnOnce() -> Vec<u8>) -> PathBuf {
    let path = at(name);
    if path.exists() { path } else { put(name, &bytes()) }
}

fn written(name: &str, write: impl FnOnce(&Path)) -> Vec<u8> {
    let path = at(name);
    let _ = std::fs::remove_file(&path);
    write(&path);
    std::fs::read(path).unwrap()
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

// The bodies.

/// What parses prints, reads back the same, has a canonical form that is its own, can be evaluated and can be emitted.
fn formula(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = Spec::parse(text).map(|spec| spec.build());
    let Ok(expr) = Expr::parse(text, CLASS_VARIABLES) else { return };
    let printed = expr.display(CLASS_VARIABLES).to_string();
    // Brackets may put a printed text over the limits; then it is an error, not another formula.
    if let Ok(again) = Expr::parse(&printed, CLASS_VARIABLES) {
        assert_eq!(again, expr, "{printed}");
    }
    let _ = expr.canonical().fingerprint();
    let loss = ClassLoss::from_formula(expr);
    let _ = loss.value(&[0.5, -1.0, 100.0], &[1], 3);
    for (language, _) in Language::ALL {
        let _ = loss.source(language, text, text);
    }
}

fn idx(bytes: &[u8]) {
    let path = Path::new("fuzz");
    if let Ok((shape, pixels)) = idx::images(bytes, path) {
        assert!(!pixels.is_empty() && pixels.len() % shape.len() == 0);
    }
    if let Ok(labels) = idx::labels(bytes, path, 10) {
        assert!(!labels.is_empty() && labels.iter().all(|&label| label < 10));
    }
}

fn cifar(bytes: &[u8]) {
    if let Ok(images) = cifar::batch(bytes, Path::new("fuzz")) {
        assert_eq!(images.pixels().len(), images.len() * 3072);
        assert!(images.labels().iter().all(|&label| label < 10));
    }
}

fn cifar_archive(bytes: &[u8]) {
    let path = put(&format!("cifar/{}", cifar::ARCHIVE), bytes);
    let _ = cifar::read_folder(path.parent().unwrap());
}

/// What is read survives being written and read again.
fn tensors(bytes: &[u8]) {
    let path = Path::new("fuzz");
    if let Ok(read) = tensors::parse(bytes, path) {
        let written = tensors::to_bytes(read.iter().map(|(name, tensor)| (name.as_str(), tensor))).unwrap();
        // NaN is unequal to itself, so the bytes are compared.
        let again = tensors::parse(&written, path).unwrap();
        assert_eq!(tensors::to_bytes(again.iter().map(|(n, t)| (n.as_str(), t))).unwrap(), written);
    }
}

fn features_file(bytes: &[u8]) {
    if let Ok(features) = Features::read(&put("f.safetensors", bytes)) {
        assert!(features.images().all(|(_, f)| f.boxes.ncols() == features.width()));
    }
}

fn label_png(bytes: &[u8]) {
    if let Ok(labels) = label_images::read_labels(&put("a.png", bytes)) {
        assert_eq!(labels.ids.len(), labels.width * labels.height);
    }
}

fn picture(bytes: &[u8]) {
    if let Ok(picture) = label_images::read_picture(&put("a.png", bytes)) {
        assert_eq!(picture.samples.len(), picture.width * picture.height * picture.channels);
    }
}

fn index_csv(bytes: &[u8]) {
    for name in ["index/a.png", "index/b.png"] {
        once(name, Vec::new);
    }
    let path = put("index/index.csv", bytes);
    let folder = path.parent().unwrap();
    let _ = (label_images::find(folder), label_images::find_pictures(folder), label_images::find_unlabelled(folder));
}

/// What is read survives being written and read again.
fn coco_truth(bytes: &[u8]) {
    let Ok(truth) = coco::read(&put("a.json", bytes)) else { return };
    // Python's NaN has no place in JSON.
    if truth.annotations.iter().any(|a| !a.area.is_finite()) {
        return;
    }
    let again = at("again.json");
    let _ = std::fs::remove_file(&again);
    truth.write(&again).unwrap();
    assert_eq!(coco::read(&again).unwrap(), truth);
}

fn coco_results(bytes: &[u8]) {
    let truth: Coco = coco::read(&once("truth.json", coco_bytes)).unwrap();
    if let Ok(found) = coco::read_detections(&put("r.json", bytes), &truth, Reading::default()) {
        assert!(found.detections.iter().all(|d| !d.score.is_nan()));
    }
}

/// What is read survives being written and read again.
fn graphs(bytes: &[u8]) {
    let Ok(set) = GraphSet::read(&put("g.json", bytes)) else { return };
    let again = at("again.json");
    let _ = std::fs::remove_file(&again);
    set.write(&again).unwrap();
    assert_eq!(GraphSet::read(&again).unwrap(), set);
}

fn graph_lines(bytes: &[u8]) {
    let path = put("p.jsonl", bytes);
    let Ok(mut entries) = Predictions::open(&path, &GraphSet::default()) else { return };
    while let Ok(batch) = entries.batch(4)
        && !batch.is_empty()
    {
        for prediction in batch.iter().filter_map(|entry| entry.read(&path).ok()) {
            let _ = prediction.scores(&lossmith::graph::SceneGraph::default());
        }
    }
}

fn names() {
    once("names/objects.json", || br#"["a","b"]"#.to_vec());
    once("names/predicates.json", || br#"["on","holds"]"#.to_vec());
}

fn vrd_annotations(bytes: &[u8]) {
    names();
    let path = put("names/annotations_test.json", bytes);
    for nodes in [Nodes::Boxes, Nodes::LabelledBoxes] {
        if let Ok(set) = vrd::read(path.parent().unwrap(), vrd::Split::Test, nodes) {
            let _ = NodeGraphs::from_graphs(set.clone(), set, 0.3, 1);
        }
    }
}

fn vg_h5(bytes: &[u8]) {
    let dictionary = once("d.json", || br#"{"label_to_idx":{"a":1,"b":2},"predicate_to_idx":{"on":1}}"#.to_vec());
    let path = put("VG-SGG.h5", bytes);
    for split in [Split::Train, Split::Validation, Split::Test] {
        let _ = visual_genome::read_h5(&path, &dictionary, split);
    }
}

fn vg_json(bytes: &[u8]) {
    names();
    let _ = visual_genome::read_json_scenes(&put("names/scenes.json", bytes));
}

fn open_images(bytes: &[u8]) {
    let path = put("o.csv", bytes);
    if let Ok(truth) = openimages::read_truth(&path, None) {
        let _ = [false, true].map(|skip_bad| openimages::read_predictions(&path, &truth, skip_bad).is_ok());
    }
    let _ = openimages::read_truth(&path, Some(&path));
}

fn node_graphs(bytes: &[u8]) {
    let about = &hubs::make(hubs::Settings::default(), 1, 1, 1).unwrap().about;
    once("nodes/vocabulary.json", || serde_json::to_vec(about).unwrap());
    once("nodes/test.jsonl", Vec::new);
    let path = put("nodes/train.jsonl", bytes);
    let _ = NodeGraphs::read(path.parent().unwrap());
}

fn groups(bytes: &[u8]) {
    let predicates = ["on", "holds", "wears"].map(str::to_owned);
    if let Ok(groups) = predicate_groups::read(&put("groups.json", bytes), &predicates) {
        assert_eq!(groups.iter().map(|(_, own)| own.len()).sum::<usize>(), predicates.len());
    }
}

fn cityscapes_list(bytes: &[u8]) {
    for name in ["city/a.png", "city/b.png"] {
        once(name, Vec::new);
    }
    let path = put("city/list.txt", bytes);
    let _ = cityscapes::read_predictions(&path, path.parent().unwrap());
}

// The seeds.

fn idx_images() -> Vec<u8> {
    let sizes = [2051u32, 2, 2, 3].iter().flat_map(|n| n.to_be_bytes());
    sizes.chain(0..12).collect()
}

fn cifar_row(label: u8) -> Vec<u8> {
    [vec![label], vec![label + 1; 3072]].concat()
}

fn tar_of_batches() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, label) in [("data_batch_1.bin", 3), ("test_batch.bin", 7)] {
        let mut header = tar::Header::new_gnu();
        header.set_size(3073);
        tar.append_data(&mut header, format!("cifar-10-batches-bin/{name}"), &cifar_row(label)[..]).unwrap();
    }
    tar.into_inner().unwrap()
}

fn made_graphs() -> holds::Holds {
    holds::make(holds::Settings::default(), 1, 1, 1).unwrap()
}

fn features() -> Vec<u8> {
    written("made.safetensors", |path| made_graphs().features.write(path).unwrap())
}

fn labels() -> Labels {
    Labels { height: 4, width: 5, ids: (0..20).map(|i| i * 40).collect() }
}

fn pictures() -> Vec<Vec<u8>> {
    let picture = |channels: usize| Picture {
        height: 9,
        width: 7,
        channels,
        samples: (0..63 * channels).map(|i| (i * 3) as u8).collect(),
    };
    let mut all: Vec<Vec<u8>> = [1, 3].map(|channels| label_images::png(&picture(channels)).unwrap()).into();
    for (channels, color) in [(1, image::ExtendedColorType::L8), (3, image::ExtendedColorType::Rgb8)] {
        let mut bytes = Vec::new();
        let mut encoder = image::codecs::jpeg::JpegEncoder::new(&mut bytes);
        encoder.encode(&picture(channels).samples, 7, 9, color).unwrap();
        all.push(bytes);
    }
    all
}

fn coco_bytes() -> Vec<u8> {
    let mut truth = shapes::make(0, 1, shapes::SIDE, 1).unwrap().truth;
    // Short, so that a mutation meets something.
    truth.annotations.truncate(2);
    serde_json::to_vec(&truth).unwrap()
}

fn small_h5() -> Vec<u8> {
    let mut builder = FileBuilder::new();
    let tables: [(&str, &[i32], u64); 9] = [
        ("boxes_1024", &[10, 10, 5, 4, 20, 20, 4, 4, 10, 10, 5, 4, 20, 20, 4, 4], 4),
        ("labels", &[1, 2, 2, 1], 1),
        ("relationships", &[0, 1, 3, 2], 2),
        ("predicates", &[1, 1], 1),
        ("img_to_first_box", &[0, 2], 1),
        ("img_to_last_box", &[1, 3], 1),
        ("img_to_first_rel", &[0, 1], 1),
        ("img_to_last_rel", &[0, 1], 1),
        ("split", &[0, 2], 1),
    ];
    for (name, values, width) in tables {
        builder.create_dataset(name).with_data(values).with_shape(&[values.len() as u64 / width, width]);
    }
    written("small.h5", |path| builder.write(path.to_str().unwrap()).unwrap())
}
