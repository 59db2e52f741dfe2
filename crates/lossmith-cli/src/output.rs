//! What goes to stdout (results) and to stderr (talk).

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};
use std::path::Path;

use lossmith_data::DataError;
use lossmith_data::atomic::NewFolder;
use tracing_subscriber::EnvFilter;

/// The answer of a command that could be asked as a yes-or-no question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Done, or yes.
    Yes,
    /// The command worked, and its answer is no: a check failed, a comparison was lost.
    No,
}

/// Sends the talk of all crates to stderr, coloured only on a terminal.
pub fn start_logging(verbose: u8, quiet: bool) {
    let level = match (quiet, verbose) {
        (true, _) => "error",
        (false, 0) => "info",
        (false, 1) => "debug",
        (false, _) => "trace",
    };
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(format!("warn,lossmith={level}")))
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
        .without_time()
        .with_target(false)
        .init();
}

/// Whether an error only says that the reader of stdout went away, which is no error.
pub fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

/// Writes text to stdout; of names that came from files nothing steers the terminal.
pub fn print(text: &str) -> anyhow::Result<()> {
    write(&plain(text))
}

/// Writes a value to stdout as indented JSON.
pub fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    // Such a character can only stand in a string, where JSON has its own way to write it.
    write(&replaced(&text, |c| format!("\\u{:04x}", c as u32)))
}

fn write(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()?;
    Ok(())
}

/// The text with what would steer a terminal, or turn the order of letters, spelled out: `\u{1b}`.
pub fn plain(text: &str) -> Cow<'_, str> {
    replaced(text, |c| c.escape_unicode().to_string())
}

fn replaced(text: &str, spelled: impl Fn(char) -> String) -> Cow<'_, str> {
    let turns = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let steers = |c: char| (c.is_control() && c != '\n' && c != '\t') || turns(c);
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(|c| if steers(c) { spelled(c) } else { c.to_string() }).collect())
}

/// A text as a field of a CSV file, in quotes. What a spreadsheet would take for a formula begins with `'`, which spreadsheets
/// do not show.
pub fn csv_field(text: &str) -> String {
    let formula = text.trim_start().starts_with(['=', '+', '-', '@']) || text.starts_with(['\t', '\r', '\n']);
    format!("\"{}{}\"", if formula { "'" } else { "" }, text.replace('"', "\"\""))
}

/// A difference with its sign, which a 0 does not have.
pub fn signed(value: f64, digits: usize) -> String {
    let text = format!("{value:+.digits$}");
    if text.trim_start_matches(['+', '-']).contains(|c: char| ('1'..='9').contains(&c)) || !value.is_finite() {
        return text;
    }
    text.trim_start_matches(['+', '-']).to_owned()
}

/// A folder of results that appears whole: nothing of it stays where a command fails or is killed.
pub struct WholeFolder {
    new: NewFolder,
    path: std::path::PathBuf,
}

impl WholeFolder {
    /// Refuses a folder that holds something.
    pub fn begin(path: &Path) -> anyhow::Result<Self> {
        Ok(Self { new: NewFolder::begin(path)?, path: path.to_owned() })
    }

    /// Where to write meanwhile.
    pub fn path(&self) -> &Path {
        self.new.path()
    }

    /// The error with the name of the folder that the user knows.
    pub fn known(&self, mut e: anyhow::Error) -> anyhow::Error {
        if let Some(e) = e.downcast_mut::<DataError>() {
            e.rename(self.new.path(), &self.path);
        }
        e
    }

    /// Gives it its name.
    pub fn finish(self) -> anyhow::Result<()> {
        Ok(self.new.finish()?)
    }
}

/// A plain-text table: the first column to the left, the others to the right.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these column heads.
    pub fn new<S: Into<String>>(heads: impl IntoIterator<Item = S>) -> Self {
        let mut table = Self::default();
        table.row(heads);
        table
    }

    /// Adds a row.
    pub fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let cell = |row: &Vec<String>, c: usize| row.get(c).map_or(0, |text| text.chars().count());
        let widths: Vec<usize> =
            (0..columns).map(|c| self.rows.iter().map(|row| cell(row, c)).max().unwrap_or(0)).collect();
        for row in &self.rows {
            let mut line = String::new();
            for (c, text) in row.iter().enumerate() {
                let pad = " ".repeat(widths[c] - text.chars().count());
                let gap = if c == 0 { "" } else { "  " };
                line += &if c == 0 { format!("{text}{pad}") } else { format!("{gap}{pad}{text}") };
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_files_steer_no_terminal() {
        assert_eq!(plain("tab\there\nnext"), "tab\there\nnext");
        assert_eq!(plain("\u{1b}[2Jgone\u{9b}31m\r\u{202e}cba"), "\\u{1b}[2Jgone\\u{9b}31m\\u{d}\\u{202e}cba");
        let json = replaced("\"\u{7f}\u{9b}\u{2066}\"", |c| format!("\\u{:04x}", c as u32)).into_owned();
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), "\u{7f}\u{9b}\u{2066}");
        assert!(json.is_ascii());
    }

    #[test]
    fn no_field_is_a_formula() {
        for (text, field) in [
            ("plant_01", "\"plant_01\""),
            ("a,\"b\"", "\"a,\"\"b\"\"\""),
            ("=1+1", "\"'=1+1\""),
            ("+1", "\"'+1\""),
            ("-1", "\"'-1\""),
            ("@SUM(A1)", "\"'@SUM(A1)\""),
            (" =1+1", "\"' =1+1\""),
            ("\t=1+1", "\"'\t=1+1\""),
        ] {
            assert_eq!(csv_field(text), field);
        }
    }

    #[test]
    fn a_zero_has_no_sign() {
        let said = [0.0, -0.0, -1e-6, 0.00004, 0.25, -0.5, f64::NEG_INFINITY].map(|v| signed(v, 4));
        assert_eq!(said, ["0.0000", "0.0000", "0.0000", "0.0000", "+0.2500", "-0.5000", "-inf"]);
    }

    #[test]
    fn tables_align() {
        let mut table = Table::new(["loss", "mean"]);
        table.row(["baikal", "0.99"]);
        table.row(["x", "0.1"]);
        assert_eq!(table.to_string(), "loss    mean\nbaikal  0.99\nx        0.1\n");
    }
}
