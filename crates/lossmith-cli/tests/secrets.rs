//! A password is never repeated: not on stdout, not on stderr, in no file, whatever is wrong with the command line.

#![allow(clippy::unwrap_used)]

#[path = "../src/study/tests/server.rs"]
#[allow(dead_code)]
mod server;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use self::server::Server;

const SECRET: &str = "hunter2";

/// The exit code and all that was printed.
fn lossmith(folder: &Path, arguments: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lossmith"));
    let output = command.current_dir(folder).args(arguments).stdin(Stdio::null()).output().unwrap();
    let printed = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8_lossy(&printed).into_owned())
}

fn check(folder: &Path, arguments: &[&str]) {
    let (code, printed) = lossmith(folder, arguments);
    assert_eq!(code, 2, "{arguments:?}: {printed}");
    assert!(!printed.contains(SECRET), "{arguments:?}: {printed}");
    assert!(printed.contains("error: ") && !printed.contains("panicked"), "{arguments:?}: {printed}");
    no_file_holds(folder, SECRET);
}

fn no_file_holds(folder: &Path, secret: &str) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            no_file_holds(&path, secret);
        } else {
            let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
            assert!(!text.contains(secret), "{}", path.display());
        }
    }
}

/// What people type, and what is left of it by shells and by haste. Nobody listens at port 1.
const ADDRESSES: &[&str] = &[
    "postgres://ada:hunter2@127.0.0.1:1/loss#mnist",
    "postgres://ada:hunter2@127.0.0.1:1/loss",
    "postgresql://ada:%68unter2@127.0.0.1:1/loss",
    "postgres://ada@127.0.0.1:1/loss?password=hunter2",
    "postgres://ada@127.0.0.1:1/loss?pass%77ord=hunter2",
    "postgres://ada@127.0.0.1:1/loss?%70%61%73%73%77%6f%72%64=hunter2&connect_timeout=1",
    "postgres://ada@127.0.0.1:1/loss?PASSWORD=hunter2",
    "postgres://ada@127.0.0.1:1/loss?sslpassword=hunter2",
    "postgres://ada@127.0.0.1:1/loss?password=hunter2&nonsense=1",
    "postgres://ada@127.0.0.1:1/loss%3Fpassword=hunter2",
    "postgres://127.0.0.1:1/loss?user=ada&password=hunter2",
    "postgres://127.0.0.1:1/loss?password=x@hunter2",
    "postgres://ada:hunter2@127.0.0.1:notaport/loss",
    "postgres://ada:hunter2@127.0.0.1:99999/loss",
    "postgres://ada:hunter2@[::1/loss",
    "postgres://ada:hunter2@/loss?host=/nowhere",
    "postgres://ada:hunter2@127.0.0.1:1/loss?sslmode=require",
    "postgres://ada:hunter2@127.0.0.1:1/loss?sslmode=maybe",
    "postgres://ada:hunter2@127.0.0.1:1/loss?connect_timeout",
    "postgres://ada:hunter2@127.0.0.1:1/%ff",
    "postgres://ada:hunter2@127.0.0.1:1/loss#",
    "postgres://ada:hunter2@127.0.0.1:1/loss#bad name",
    "postgres://ada:hunter2@127.0.0.1:1/loss#a#b",
    "postgres://ada:@hunter2@127.0.0.1:1/loss",
    "postgres://ada:hunter2@@127.0.0.1:1/loss",
    "postgres://ada:/hunter2@127.0.0.1:1/loss",
    "postgres://ada:#hunter2@127.0.0.1:1/loss#mnist",
    "postgres://ada:?hunter2@127.0.0.1:1/loss",
    "postgres://ada:hunter2",
    "postgres://ada:hunter2/loss",
    "postgres:/ada:hunter2@127.0.0.1:1/loss",
    "postgres//ada:hunter2@127.0.0.1:1/loss",
    "POSTGRES://ada:hunter2@127.0.0.1:1/loss",
    " postgres://ada:hunter2@127.0.0.1:1/loss",
    "mysql://ada:hunter2@127.0.0.1:1/loss",
    "ada:hunter2@127.0.0.1:1/loss",
    "host=127.0.0.1 port=1 user=ada password=hunter2",
    "hunter2",
];

#[test]
fn no_command_repeats_the_password_of_a_study() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for address in ADDRESSES {
        let joined = format!("--study={address}");
        check(folder, &["worker", "--study", address]);
        check(folder, &["study", address]);
        let small = "data.digits_train=200 data.digits_test=40 data.validation=40 search.population=4";
        let small: Vec<&str> = small.split(' ').flat_map(|set| ["--set", set]).collect();
        check(folder, &[&["search", "classifier", &joined, "--out", "run"], &small[..]].concat());
        check(folder, &["search", "cmat", "--slot", "surrogate", &joined, "--set", "task.data.train=0", "-v"]);
        // Refused for another reason, before or behind it.
        check(folder, &["worker", &joined, "--leese", "5"]);
        check(folder, &["search", "classifier", &joined, "--set", "search.steps=0"]);
        check(folder, &["search", "classifier", &joined, "--lease", "never"]);
        assert!(!folder.join("run").exists(), "{address}: a refused command left a run");
    }
    // In a place where no address belongs; a bare word says nothing of itself.
    for address in ADDRESSES.iter().filter(|address| **address != SECRET) {
        check(folder, &["worker", address]);
        check(folder, &["search", "classifier", address]);
        check(folder, &["study", "--json", &format!("--url={address}")]);
        check(folder, &["study", &format!("--json={address}")]);
        check(folder, &["study", "postgres://127.0.0.1:1/x", address]);
    }
}

#[test]
fn no_command_repeats_the_password_of_a_mirror() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for mirror in [
        "http://ada:hunter2@127.0.0.1:1/files",
        "http://ada:%68unter2@127.0.0.1:1",
        "http://ada:/hunter2@127.0.0.1:1",
        "http://ada:hunter2@",
        "https://ada:hunter2@127.0.0.1:1/files?x=1",
        "ftp://ada:hunter2@127.0.0.1:1/files",
        "ht!p://ada:hunter2@127.0.0.1:1/files",
        "ada:hunter2@127.0.0.1:1/files",
        "http://127.0.0.1:1/files?password=hunter2",
    ] {
        check(folder, &["data", "fetch", "mnist", "--out", "mnist", "--mirror", mirror]);
        check(folder, &["data", "fetch", "mnist", "--mirror", mirror]);
        check(folder, &["data", "fetch", "mnist", "--out", "mnist", mirror]);
        check(folder, &["data", "fetch", "mnist", "--out", "mnist", "--set", &format!("mirrors.mnist=[\"{mirror}\"]")]);
        check(folder, &["data", "fetch", "mnist", "--out", "mnist", "--set", &format!("mirrors.mnist={mirror}")]);
        fs::write(folder.join("recipe.toml"), format!("[mirrors]\nmnist = [\"{mirror}\"]\n")).unwrap();
        let (code, printed) =
            lossmith(folder, &["data", "fetch", "mnist", "--out", "mnist", "--recipe", "recipe.toml"]);
        assert!(code == 2 && !printed.contains("ada:hunter2@") && !printed.contains("ada:%68"), "{printed}");
        fs::remove_file(folder.join("recipe.toml")).unwrap();
    }
}

/// The password is in what a run and a worker print and leave behind neither where all goes well.
#[test]
fn what_goes_well_does_not_repeat_it_either() {
    let Some(server) = Server::shared() else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let login = server.url("secrets").replace("lossmith@", "lossmith:hunter2@");
    let (place, name) = login.split_once('#').unwrap();
    for (at, url) in [
        format!("{place}#{name}"),
        format!("{}?pass%77ord=hunter2#{name}-1", place.replace(":hunter2", "")),
        format!("{}#{name}-2", place.replace("hunter2", "%68unter2")),
    ]
    .iter()
    .enumerate()
    {
        let out = format!("run-{at}");
        let recipe = "data.digits_train=400 data.digits_test=100 data.validation=100 train.steps=8 search.population=8 \
            search.generations=1 search.steps=4 search.confirm=1 search.confirm_seeds=1 compare.seeds=2 compare.tune_rate=false \
            cma_es.generations=0";
        let sets: Vec<&str> = recipe.split_whitespace().flat_map(|set| ["--set", set]).collect();
        let search = [&["search", "classifier", "--study", url, "--out", &out, "-vv"], &sets[..]].concat();
        let (code, printed) = lossmith(folder, &search);
        assert!(code == 0 && !printed.contains(SECRET), "{printed}");
        let page = fs::read_to_string(folder.join(&out).join("report.html")).unwrap();
        assert!(page.contains("***"), "the page has the command");
        for arguments in [vec!["worker", "--study", url, "-vv"], vec!["study", url], vec!["study", url, "--json"]] {
            let (code, printed) = lossmith(folder, &arguments);
            assert!(code == 0 && !printed.contains(SECRET), "{printed}");
        }
        let (code, printed) = lossmith(folder, &["search", "classifier", "--resume", &out]);
        assert!(code == 2 && printed.contains("its password is not kept"), "{printed}");
    }
    no_file_holds(folder, SECRET);
}
