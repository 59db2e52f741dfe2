//! The real files, from the folder that LOSSMITH_TEST_DATA names; without it these tests say that they are skipped.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use lossmith_data::{cifar, fetch, folder};
use sha2::{Digest, Sha256};

fn real(name: &str) -> Option<PathBuf> {
    let Some(root) = std::env::var_os("LOSSMITH_TEST_DATA") else {
        eprintln!("skipped: LOSSMITH_TEST_DATA is not set, so there is no {name}");
        return None;
    };
    Some(PathBuf::from(root).join(name))
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

/// Sizes, mean and deviation as they are published; the sum of the training pixels fixes every one of them but their order.
#[test]
fn mnist_is_read() {
    let Some(path) = real("mnist") else { return };
    let data = folder::classification(&path).unwrap();
    let test = data.test.as_ref().unwrap();
    assert_eq!((data.train.len(), test.len(), data.train.shape().len()), (60_000, 10_000, 784));
    assert_eq!(data.train.labels()[..10], [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]);
    assert_eq!(test.labels()[..10], [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]);
    let (mean, sd) = data.train.mean_and_sd()[0];
    assert!((mean - 0.1307).abs() < 5e-5 && (sd - 0.3081).abs() < 5e-5, "{mean} {sd}");
    let split = data.split(5_000, 42).unwrap();
    assert_eq!([split.train.len(), split.validation.len(), split.test.len()], [55_000, 5_000, 10_000]);
}

#[test]
fn the_lossless_rows_of_cifar10_are_read() {
    let Some(path) = real("cifar10") else { return };
    let data = folder::classification(&path).unwrap();
    assert_eq!((data.train.len(), data.test.is_none(), data.train.shape().len()), (4_000, true, 3_072));
    assert_eq!(data.classes, cifar::CLASSES);
    assert_eq!(data.train.labels()[..5], [6, 9, 9, 4, 1], "frog, truck, truck, deer, automobile");
    let rows: Vec<u8> = (0..4_000).flat_map(|i| [&data.train.labels()[i..=i], data.train.image(i)].concat()).collect();
    assert_eq!(hex(&rows), "0993cf8b8e43bc207603aef9787006995746513f5e3fa5a52e06d1b069926330");
    let split = data.split(400, 1).unwrap();
    assert_eq!([split.train.len(), split.validation.len(), split.test.len()], [2_934, 400, 666]);
}

/// The files that are here are, to the last byte, those that `fetch` expects.
#[test]
fn the_checksums_of_mnist_are_those_of_the_files() {
    let Some(path) = real("mnist") else { return };
    for remote in fetch::DataSet::find("mnist").unwrap().files {
        let bytes = std::fs::read(path.join(remote.name)).unwrap();
        assert_eq!((bytes.len() as u64, hex(&bytes).as_str()), (remote.bytes, remote.sha256), "{}", remote.name);
    }
}
