//! A search that machines share, as a user meets it: real searches, real workers, a real server, kill -9.

#![allow(clippy::unwrap_used)]

#[path = "../src/study/tests/server.rs"]
#[allow(dead_code)]
mod server;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use self::server::{Server, kill_group};

/// A search of seconds.
const TINY: [&str; 9] = [
    "data.validation=200",
    "data.digits_train=800",
    "data.digits_test=200",
    "train.steps=20",
    "search.population=16",
    "search.generations=3",
    "search.steps=8",
    "compare.seeds=2",
    "cma_es.generations=1",
];

fn lossmith(folder: &Path, arguments: &[&str]) -> Command {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new(env!("CARGO_BIN_EXE_lossmith"));
    command.current_dir(folder).args(arguments).env("NO_COLOR", "1").env("RAYON_NUM_THREADS", "1");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    command
}

fn search<'a>(run: &'a str, more: &[&'a str]) -> Vec<String> {
    let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes/classifier-quick.toml");
    let mut arguments = vec!["search", "classifier", "--recipe", recipe.to_str().unwrap(), "--out", run];
    arguments.extend(TINY.iter().flat_map(|set| ["--set", set]));
    arguments.extend(more);
    arguments.into_iter().map(str::to_owned).collect()
}

fn start(folder: &Path, arguments: &[String]) -> Process {
    Process(Some(lossmith(folder, &arguments.iter().map(String::as_str).collect::<Vec<_>>()).spawn().unwrap()))
}

fn words(arguments: &[&str]) -> Vec<String> {
    arguments.iter().map(|a| (*a).to_owned()).collect()
}

/// A process that does not outlive its test.
struct Process(Option<Child>);

impl Process {
    /// Waits until it ends, well.
    fn finish(mut self) -> Output {
        let output = self.0.take().unwrap().wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output
    }
}

impl Drop for Process {
    /// kill -9
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            kill_group(child);
        }
    }
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(60), "waited too long until {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn count(server: &Server, study: &str, sql: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM lossmith_study s JOIN {sql} AND s.name = $1");
    let tables = "SELECT to_regclass('lossmith_failure') IS NOT NULL";
    let mut client = server.client();
    if !client.query_one(tables, &[]).unwrap().get::<_, bool>(0) {
        return 0;
    }
    client.query_one(&sql, &[&study]).unwrap().get(0)
}

fn outcomes(server: &Server, study: &str) -> i64 {
    count(server, study, "lossmith_outcome o ON o.study = s.id")
}

/// The results of a run, which depend on nothing but the recipe.
fn results(folder: &Path, run: &str) -> Vec<Vec<u8>> {
    let read = |file: &str| {
        let path: PathBuf = folder.join(run).join(file);
        fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    };
    ["result.json", "found.loss", "recipe.toml"].map(read).to_vec()
}

#[test]
fn a_file_one_worker_or_two_and_kills_give_the_same_bytes() {
    let Some(server) = Server::shared() else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    start(folder, &search("file", &[])).finish();
    let expected = results(folder, "file");

    // Two: the one that leads works too.
    let url = server.url("two");
    let leader = start(folder, &search("two", &["--study", &url]));
    wait_until("the study has begun", || count(&server, "two", "lossmith_trial t ON t.study = s.id") > 0);
    let worker = start(folder, &words(&["worker", "--study", &url, "--threads", "1"]));
    leader.finish();
    assert_eq!(results(folder, "two"), expected);
    assert!(String::from_utf8(worker.finish().stdout).unwrap().contains("trainings done"));
    let both = "(SELECT DISTINCT study, worker FROM lossmith_outcome) w ON w.study = s.id";
    assert_eq!(count(&server, "two", both), 2, "both took part");

    // kill -9: a worker in mid-training, then the coordinator, which is resumed from its folder.
    let url = server.url("killed");
    let leader = start(folder, &search("killed", &["--study", &url, "--lease", "2"]));
    wait_until("something is done", || outcomes(&server, "killed") > 4);
    let victim = start(folder, &words(&["worker", "--study", &url, "--threads", "1", "--lease", "2"]));
    let own = format!("%:{}", victim.0.as_ref().unwrap().id());
    let held = format!("lossmith_trial t ON t.study = s.id AND t.state = 'running' AND t.worker LIKE '{own}'");
    wait_until("the victim works", || count(&server, "killed", &held) > 0);
    drop(victim);
    drop(leader);
    let at_the_kill = outcomes(&server, "killed");
    let again = start(folder, &words(&["search", "classifier", "--resume", "killed", "--lease", "2", "--study", &url]));
    again.finish();
    assert_eq!(results(folder, "killed"), expected);
    assert!(at_the_kill < outcomes(&server, "killed"), "the kill came in the middle");
    let twice = "lossmith_trial t ON t.study = s.id AND t.attempt > 1";
    assert!(count(&server, "killed", twice) > 0, "what was lost was done again");
    let open = "lossmith_trial t ON t.study = s.id AND t.state <> 'closed'";
    assert_eq!(count(&server, "killed", open), 0);

    let all = lossmith(folder, &["study", &server.url("two").replace("#two", "")]).output().unwrap();
    let all = String::from_utf8(all.stdout).unwrap();
    assert!(all.contains("two") && all.contains("killed") && all.matches("finished").count() >= 2, "{all}");
}

#[test]
fn strangers_and_bad_addresses_are_refused_and_passwords_are_not_kept() {
    let Some(server) = Server::shared() else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let url = server.url("refusals").replace("lossmith@", "lossmith:hunter2@");
    start(folder, &search("run", &["--study", &url])).finish();
    let refusal = |arguments: &[String]| {
        let output = lossmith(folder, &arguments.iter().map(String::as_str).collect::<Vec<_>>()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty());
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(!text.contains("hunter2"), "{text}");
        text
    };
    let text = refusal(&search("other", &["--study", &url, "--set", "search.steps=9"]));
    assert!(text.contains("this recipe is not the study's") && text.contains("steps = 9"), "{text}");
    let data = Command::new(env!("CARGO_BIN_EXE_lossmith"))
        .current_dir(folder)
        .args(["data", "make", "digits", "--out", "digits", "--train", "800", "--test", "200", "--seed", "9"])
        .output()
        .unwrap();
    assert!(data.status.success());
    let text = refusal(&words(&["worker", "--study", &url, "--data", "digits"]));
    assert!(text.contains("data (checksum) is not the study's"), "{text}");
    let text = refusal(&words(&["worker", "--study", &format!("{url}-nowhere")]));
    assert!(text.contains("there is no such study"), "{text}");
    let text = refusal(&search("nobody", &["--study", "postgres://ada:hunter2@127.0.0.1:1/x"]));
    assert!(text.contains("ada:***@127.0.0.1:1/x"), "{text}");
    let text = refusal(&words(&["search", "classifier", "--resume", "run"]));
    assert!(text.contains("its password is not kept"), "{text}");
    assert!(!folder.join("other").exists() && !folder.join("nobody").exists(), "a refused command left a run behind");

    // A formula from the database is input like any other.
    let mut client = server.client();
    let damage = "UPDATE lossmith_study SET version = '0.0.0' WHERE name = 'refusals'";
    client.execute(damage, &[]).unwrap();
    let text = refusal(&words(&["worker", "--study", &url]));
    assert!(text.contains("this program version is not the study's"), "{text}");

    for file in fs::read_dir(folder.join("run")).unwrap() {
        let file = file.unwrap().path();
        let bytes = fs::read(&file).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains("hunter2"), "{}", file.display());
    }
}
