//! Stops a comparison between two of its trainings.

use std::fs;
use std::path::Path;
use std::process::Command;

/// A comparison goes on where a kill left it with its first training done, and says the same. `compare` is the command that prints
/// JSON, `new` what only a new one needs. Returns what it printed.
pub fn goes_on(compare: &[&str], new: &[&str], folder: &Path) -> String {
    let out = folder.join("comparison").to_str().unwrap().to_owned();
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_lossmith")).args(arguments).output().unwrap();
        // Short trainings decide nothing or something; both are answers.
        assert!(output.status.code().is_some_and(|c| c <= 1), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let first = run(&[compare, new, &["--out", &out]].concat());
    let file = Path::new(&out).join("trainings.jsonl");
    let all = fs::read_to_string(&file).unwrap();
    assert!(all.lines().count() > 1, "{all}");
    fs::write(&file, all.split_inclusive('\n').next().unwrap()).unwrap();
    assert_eq!(run(&[compare, &["--resume", &out]].concat()), first);
    assert_eq!(fs::read_to_string(&file).unwrap(), all);
    first
}
