//! Stops a training in its middle.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Starts the program, sends a signal once the run has saved `steps` steps, and gives what it had said by then.
pub fn stopped(arguments: &[&str], run: &Path, steps: usize, signal: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lossmith"));
    command.args(arguments).args(["--save-every", "0"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let start = Instant::now();
    let saved = || {
        let log = fs::read_to_string(run.join("log.jsonl")).unwrap_or_default();
        run.join("checkpoint.bin").is_file() && log.lines().count() >= steps
    };
    while !saved() && child.try_wait().unwrap().is_none() && start.elapsed() < Duration::from_secs(120) {
        sleep(Duration::from_millis(5));
    }
    assert!(child.try_wait().unwrap().is_none(), "it ended before it could be stopped");
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
    child.wait_with_output().unwrap()
}

/// Kills a training, interrupts it when it goes on, lets it end, and compares what it leaves with an undisturbed one. `train` is the
/// command up to its `--out`.
pub fn ends_in_the_same_bytes(train: &[&str], folder: &Path, files: &[&str]) {
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let (whole, broken) = (path("whole"), path("broken"));
    let run = |arguments: &[&str]| Command::new(env!("CARGO_BIN_EXE_lossmith")).args(arguments).output().unwrap();
    let out = |run| [train, &["--out", run]].concat();
    let output = run(&out(&whole));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    stopped(&out(&broken), Path::new(&broken), 4, "-KILL");
    let resume = [&train[..2], &["--resume", &broken]].concat();
    let output = stopped(&resume, Path::new(&broken), 9, "-INT");
    let said = String::from_utf8(output.stderr).unwrap();
    let how = format!("go on with `lossmith {} --resume {broken}`", train[..2].join(" "));
    assert!(output.status.code() == Some(130) && said.contains(&how), "{said}");
    assert!(!Path::new(&broken).join("model.safetensors").exists());

    let output = run(&resume);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for file in files {
        let bytes = |run: &str| fs::read(Path::new(run).join(file)).unwrap();
        assert!(bytes(&whole) == bytes(&broken), "{file} differs");
    }
    assert!(!Path::new(&broken).join("checkpoint.bin").exists());
    // Once more only scores it again.
    let again = run(&resume);
    assert!(again.status.success() && again.stdout == output.stdout);
}
