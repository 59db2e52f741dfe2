//! Files made to block a reader or to exhaust memory: each reader refuses them in words, and takes no more than the limits.
//!
//! A new reader joins with one line in [`READERS`]; a new kind of file with one in [`files`].
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use hdf5_pure::FileBuilder;
use lossmith_data::coco::{Coco, Reading};
use lossmith_data::graph_features::Features;
use lossmith_data::graph_json::GraphSet;
use lossmith_data::limits::{self, Limits};
use lossmith_data::node_graphs::NodeGraphs;
use lossmith_data::predictions::Predictions;
use lossmith_data::visual_genome::{self, Split};
use lossmith_data::vrd::{self, Nodes};
use lossmith_data::{
    Result, cifar, cityscapes, coco, folder, idx, label_images, openimages, predicate_groups, tensors, whole_bytes,
    whole_text,
};

/// Counts what is allocated, to see what a reader takes at its peak.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: hands everything to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(now, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const LIMITS: Limits = Limits { bytes: 16 << 20, pixels: 1 << 20 };

/// A text and its values in memory: lists double as they grow, and for a moment old and new are there.
const MOST: usize = 6 * (16 << 20);

type Read = fn(&Path) -> Result<()>;

/// Every reader of files, by a file of its own.
const READERS: &[(&str, Read)] = &[
    ("bytes", |path| whole_bytes(path).map(drop)),
    ("text", |path| whole_text(path).map(drop)),
    ("IDX images", |path| idx::read_pair(path, &written("labels", &[0, 0, 8, 1, 0, 0, 0, 1, 0]), 10).map(drop)),
    ("IDX labels", |path| {
        let one = [2051u32, 1, 1, 1].iter().flat_map(|n| n.to_be_bytes()).chain([0]).collect::<Vec<u8>>();
        idx::read_pair(&written("images", &one), path, 10).map(drop)
    }),
    ("CIFAR-10 batch", |path| cifar::read_folder(&beside(path, "data_batch_1.bin", &[])).map(drop)),
    ("CIFAR-10 archive", |path| cifar::read_folder(&beside(path, cifar::ARCHIVE, &[])).map(drop)),
    ("names of classes", |path| {
        let others = [("train-images-idx3-ubyte", ""), ("train-labels-idx1-ubyte", "")];
        folder::classification(&beside(path, "classes.txt", &others)).map(drop)
    }),
    ("tensors", |path| tensors::read(path).map(drop)),
    ("features", |path| Features::read(path).map(drop)),
    ("label image", |path| label_images::read_labels(path).map(drop)),
    ("picture", |path| label_images::read_picture(path).map(drop)),
    ("index.csv", |path| label_images::find(&beside(path, "index.csv", &[("a_label.png", "")])).map(drop)),
    ("COCO", |path| coco::read(path).map(drop)),
    ("COCO results", |path| coco::read_detections(path, &Coco::default(), Reading::default()).map(drop)),
    ("graphs", |path| GraphSet::read(path).map(drop)),
    ("predictions", |path| Predictions::open(path, &GraphSet::default())?.batch(256).map(drop)),
    ("VRD", |path| {
        let names = [("objects.json", "[]"), ("predicates.json", "[]")];
        vrd::read(&beside(path, "annotations_test.json", &names), vrd::Split::Test, Nodes::Boxes).map(drop)
    }),
    ("VG-SGG.h5", |path| {
        let dictionary = r#"{"label_to_idx":{"a":1},"predicate_to_idx":{"on":1}}"#;
        visual_genome::read_h5(path, &written("dictionary", dictionary.as_bytes()), Split::Test).map(drop)
    }),
    ("dictionary of VG-SGG.h5", |path| visual_genome::read_h5(path, path, Split::Test).map(drop)),
    ("Visual Genome JSON", |path| {
        let folder = beside(path, "scenes.json", &[("objects.json", "[]"), ("predicates.json", "[]")]);
        visual_genome::read_json_scenes(&folder.join("scenes.json")).map(drop)
    }),
    ("Open Images", |path| openimages::read_truth(path, None).map(drop)),
    ("node graphs", |path| {
        let about = r#"{"objects":["a","b"],"predicates":["on"]}"#;
        NodeGraphs::read(&beside(path, "train.jsonl", &[("vocabulary.json", about), ("test.jsonl", "")])).map(drop)
    }),
    ("vocabulary of node graphs", |path| {
        NodeGraphs::read(&beside(path, "vocabulary.json", &[("train.jsonl", ""), ("test.jsonl", "")])).map(drop)
    }),
    ("graphs as scenes", |path| {
        let set = GraphSet::read(path)?;
        NodeGraphs::from_graphs(set.clone(), set, 0.3, 1).map(drop)
    }),
    ("groups of predicates", |path| predicate_groups::read(path, &[]).map(drop)),
    ("Cityscapes list", |path| cityscapes::read_predictions(path, Path::new("/")).map(drop)),
];

fn reader(name: &str) -> Read {
    READERS.iter().find(|(own, _)| *own == name).expect("a reader of the table").1
}

/// A new folder of this process, which stays until the end.
fn new_folder() -> PathBuf {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!(
        "hostile-{}-{}",
        std::process::id(),
        NUMBER.fetch_add(1, Ordering::Relaxed)
    ));
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn written(name: &str, bytes: &[u8]) -> PathBuf {
    let path = new_folder().join(name);
    fs::write(&path, bytes).unwrap();
    path
}

/// A folder in which the file has this name, with others.
fn beside(path: &Path, name: &str, others: &[(&str, &str)]) -> PathBuf {
    let folder = new_folder();
    symlink(path, folder.join(name)).unwrap();
    others.iter().for_each(|(name, text)| fs::write(folder.join(name), text).unwrap());
    folder
}

fn gzip(fill: impl FnOnce(&mut dyn Write)) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::fast());
    fill(&mut out);
    out.finish().unwrap()
}

/// A text that begins well and then says the same for ever: so many bytes of it.
fn endless(start: &str, again: &str, bytes: usize) -> Vec<u8> {
    gzip(|out| {
        out.write_all(start.as_bytes()).unwrap();
        let block = again.repeat((1 << 16) / again.len());
        (0..bytes / block.len()).for_each(|_| out.write_all(block.as_bytes()).unwrap());
    })
}

fn safetensors(shape: &str, dtype: &str, name: &str, data: &[u8]) -> Vec<u8> {
    let header = format!(r#"{{"{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[0,{}]}}}}"#, data.len());
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

fn png(side: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, side, side);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.write_header().unwrap().write_image_data(&vec![0; (side * side) as usize]).unwrap();
    bytes
}

/// A small JPEG whose header speaks of a large picture.
fn jpeg(side: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = image::codecs::jpeg::JpegEncoder::new(&mut bytes);
    encoder.encode(&[0; 64], 8, 8, image::ExtendedColorType::L8).unwrap();
    let frame = bytes.windows(2).position(|w| w == [0xff, 0xc0]).unwrap();
    bytes[frame + 5..frame + 7].copy_from_slice(&side.to_be_bytes());
    bytes[frame + 7..frame + 9].copy_from_slice(&side.to_be_bytes());
    bytes
}

/// An archive in which a batch is a hole of 140 MB.
fn sparse_archive() -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_path("data_batch_1.bin").unwrap();
    header.set_entry_type(tar::EntryType::GNUSparse);
    header.set_size(0);
    let gnu = header.as_gnu_mut().unwrap();
    gnu.set_real_size(50_000 * 3073);
    gnu.sparse[0].set_offset(50_000 * 3073);
    gnu.sparse[0].set_length(0);
    header.set_cksum();
    let mut tar = tar::Builder::new(Vec::new());
    tar.append(&header, &[][..]).unwrap();
    gzip(|out| out.write_all(&tar.into_inner().unwrap()).unwrap())
}

/// A graph of one image.
fn graph(classes: usize, boxes: usize) -> Vec<u8> {
    let list = |text: &str, count: usize| vec![text; count].join(",");
    let (names, corners, labels) = (list(r#""a""#, classes), list("[0,0,9,9]", boxes), list("0", boxes));
    let relation = r#"{"subject":0,"object":1,"predicate":1}"#;
    format!(
        r#"{{"objects":[{names}],"predicates":["on"],
            "images":[{{"image":"a","boxes":[{corners}],"labels":[{labels}],"relations":[{relation}]}}]}}"#
    )
    .into_bytes()
}

/// An archive of more batches than there are.
fn many_batches() -> Vec<u8> {
    let batch = vec![0; 3073 * 1000];
    let mut tar = tar::Builder::new(Vec::new());
    for at in 0..10 {
        let mut header = tar::Header::new_gnu();
        header.set_size(batch.len() as u64);
        tar.append_data(&mut header, format!("data_batch_{at}.bin"), &batch[..]).unwrap();
    }
    gzip(|out| out.write_all(&tar.into_inner().unwrap()).unwrap())
}

/// Tables of so many rows, all zeros, well packed; `labels` may have another number.
fn h5(rows: usize, labels: usize) -> Vec<u8> {
    let mut builder = FileBuilder::new();
    for (name, width) in [("boxes_1024", 4), ("labels", 1), ("relationships", 2), ("predicates", 1)] {
        let rows = if name == "labels" { labels } else { rows };
        builder
            .create_dataset(name)
            .with_data(&vec![0i32; rows * width])
            .with_shape(&[rows as u64, width as u64])
            .with_chunks(&[rows.min(100_000) as u64, width as u64])
            .with_deflate(9);
    }
    for name in ["img_to_first_box", "img_to_last_box", "img_to_first_rel", "img_to_last_rel", "split"] {
        builder.create_dataset(name).with_data(&[0i32]).with_shape(&[1]);
    }
    let path = new_folder().join("made.h5");
    builder.write(path.to_str().unwrap()).unwrap();
    fs::read(path).unwrap()
}

/// Reader, file, and a part of what is said.
fn files() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    const MORE: &str = "it is more than is read: at most 16 MiB are taken from one file; LOSSMITH_LIMITS=bytes=N";
    const SMALL: &str = "which this file is too small to hold";
    const BYTES: usize = 64 << 20;
    let idx = [2051u32, 4_000, 100, 100].iter().flat_map(|n| n.to_be_bytes()).collect::<Vec<u8>>();
    let lying = [2051u32, u32::MAX, u32::MAX, u32::MAX].iter().flat_map(|n| n.to_be_bytes()).collect::<Vec<u8>>();
    let zeros = vec![0u8; 1 << 20];
    let packed_idx = gzip(|out| {
        out.write_all(&idx).unwrap();
        (0..40).for_each(|_| out.write_all(&zeros).unwrap());
    });
    vec![
        ("bytes", endless("", "0", BYTES), MORE),
        ("text", endless("", "0", BYTES), MORE),
        (
            "IDX images",
            packed_idx,
            "its header speaks of 4000 images of 100 x 100, which would take 38.1 MiB of memory",
        ),
        ("IDX images", lying, SMALL),
        ("CIFAR-10 batch", endless("", "\0", BYTES), MORE),
        ("CIFAR-10 archive", many_batches(), MORE),
        ("CIFAR-10 archive", sparse_archive(), "data_batch_1.bin: it is packed as a sparse file"),
        ("names of classes", endless("", "a\n", BYTES), MORE),
        ("tensors", safetensors("[3000000]", "U8", "a", &vec![0; 3_000_000]), "its tensors would take 22.9 MiB"),
        ("tensors", safetensors("[1000000000000]", "F32", "a", &[0; 4]), "takes 4000000000000 bytes, but it has 4"),
        ("features", safetensors("[4294967296,0]", "F32", "a/boxes", &[]), "image a: its vectors have 0 numbers"),
        ("features", safetensors("[100000,1]", "F32", "a/boxes", &vec![0; 400_000]), "the vectors of all pairs up to"),
        (
            "label image",
            png(2_000),
            "2000 x 2000 pixels are more than the 1048576 that are read; LOSSMITH_LIMITS=pixels",
        ),
        ("picture", png(2_000), "2000 x 2000 pixels are more than"),
        ("picture", jpeg(11_000), "its header speaks of 11000 x 11000 pixels, which this file is too small to hold"),
        ("index.csv", endless("image,label\n", "a,b\n", BYTES), "a"),
        ("index.csv", endless("image,label\n\"", "a", BYTES), MORE),
        ("COCO", endless(r#"{"images":["#, r#"{"id":1},"#, BYTES), MORE),
        ("COCO", endless(r#"{"info":["#, "[],", 10 << 20), MORE),
        ("COCO results", endless("[", "0,", 10 << 20), MORE),
        ("graphs", endless(r#"{"objects":["#, r#""","#, 10 << 20), MORE),
        ("graphs", endless("[", "[],", 10 << 20), MORE),
        ("predictions", endless(r#"{"image":"a","pairs":[],"predicates":["#, "[],", 10 << 20), MORE),
        ("VRD", endless(r#"{"a":["#, "[],", 10 << 20), MORE),
        ("graphs", graph(1, 2_000), "image a: the scores of all pairs of its 2000 boxes would take 61.0 MiB"),
        (
            "graphs as scenes",
            graph(40_000, 100),
            "a vector of 40001 classes for each of its 200 boxes: it is more than is read",
        ),
        ("VG-SGG.h5", h5(1_000_000, 1_000_000), "its tables would take 61.0 MiB of memory; at most 16 MiB"),
        ("VG-SGG.h5", h5(1_000_000, 1), "'labels' has 1 rows, expected 1000000"),
        ("dictionary of VG-SGG.h5", endless(r#"{"label_to_idx":{"#, r#""a":1,"#, 10 << 20), MORE),
        ("Visual Genome JSON", endless("[", "[null,null],", 10 << 20), MORE),
        ("Open Images", endless("ImageID,", "a,", 10 << 20), MORE),
        (
            "Open Images",
            endless(
                "ImageID,LabelName1,LabelName2,XMin1,XMax1,YMin1,YMax1,XMin2,XMax2,YMin2,YMax2,RelationshipLabel\n",
                "a,b,c,0,1,0,1,0,1,0,1,d\n",
                BYTES,
            ),
            MORE,
        ),
        ("node graphs", endless("", "\n", 10 << 20), MORE),
        ("vocabulary of node graphs", endless(r#"{"objects":["#, r#""a","#, 10 << 20), MORE),
        ("groups of predicates", endless(r#"{"a":["#, r#""b","#, 10 << 20), MORE),
        ("Cityscapes list", endless("", "\n", 10 << 20), MORE),
    ]
}

/// What a reader says of a file; it must come back soon, and take no more than it may.
fn refusal(name: &str, path: &Path) -> String {
    let (read, own) = (reader(name), path.to_owned());
    let (tell, told) = mpsc::channel();
    let before = NOW.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    std::thread::spawn(move || tell.send(read(&own)));
    let answer = told.recv_timeout(Duration::from_secs(60));
    let result = answer.unwrap_or_else(|_| panic!("{name}: {} blocks, or panics", path.display()));
    let taken = PEAK.load(Ordering::Relaxed) - before;
    assert!(taken <= MOST, "{name}: {} takes {} MiB", path.display(), taken >> 20);
    result.expect_err(&format!("{name}: {}", path.display())).to_string()
}

#[test]
fn every_reader_refuses_what_blocks_or_never_ends() {
    limits::set(LIMITS);
    let folder = new_folder();
    let (pipe, link, hole) = (folder.join("pipe"), folder.join("link"), folder.join("hole"));
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    symlink("/dev/zero", &link).unwrap();
    File::create(&hole).unwrap().set_len(1 << 40).unwrap();
    for (name, _) in READERS {
        for (path, part) in [
            (Path::new("/dev/zero"), "a device: expected a file"),
            (&link, "a device"),
            (&pipe, "a pipe: expected a file"),
        ] {
            let message = refusal(name, path);
            // A folder's reader may say in its own words that its file is none.
            assert!(message.contains(part) || message.contains("looked for"), "{name}: {message}");
        }
        refusal(name, &hole);
        refusal(name, &folder);
    }
    for (name, bytes, part) in files() {
        let path = written("file", &bytes);
        let message = refusal(name, &path);
        assert!(message.contains(part), "{name}: {message}");
    }
}
