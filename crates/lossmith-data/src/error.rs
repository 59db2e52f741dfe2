//! What can be wrong with data, said so that it can be put right: which file, which record, what would be right.

use std::io;
use std::path::{Path, PathBuf};

/// A result whose error is a [`DataError`].
pub type Result<T> = std::result::Result<T, DataError>;

/// What can be wrong with data.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The system refused: no such file, no permission, a full disk.
    #[error("{}: cannot {action}: {}", path.display(), plain(cause))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried, as a verb: "read", "write".
        action: &'static str,
        /// What the system said.
        cause: io::Error,
    },
    /// The file was read, and what it holds is wrong.
    #[error("{}: {message}", path.display())]
    Content {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong and what would be right.
        message: String,
    },
    /// One record of a file is wrong.
    #[error("{}, {record}: {message}", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// Which record: "label 17", "annotation 3 (id 4711)", "line 12".
        record: String,
        /// What is wrong and what would be right.
        message: String,
    },
    /// A file or folder that would be overwritten.
    #[error("{} is there already; name another place or move it away", .0.display())]
    Exists(PathBuf),
    /// A value that the caller gave.
    #[error("{0}")]
    Argument(String),
    /// A download failed.
    #[error("{url}: {message}")]
    Download {
        /// The address.
        url: String,
        /// What went wrong.
        message: String,
    },
}

impl DataError {
    /// For `map_err`: the system refused `action` on `path`.
    pub fn io(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |cause| match cause.kind() {
            // The system means the path itself as well as a part of it.
            io::ErrorKind::NotADirectory if path.is_file() => {
                Self::Content { path, message: "it is a file: expected a folder".to_owned() }
            }
            _ => Self::Io { path, action, cause },
        }
    }

    /// The file holds something wrong.
    pub fn content(path: &Path, message: impl Into<String>) -> Self {
        Self::Content { path: path.to_owned(), message: message.into() }
    }

    /// One record of the file is wrong.
    pub fn record(path: &Path, record: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Record { path: path.to_owned(), record: record.into(), message: message.into() }
    }

    /// Puts the path that the user knows in the place of a temporary one.
    pub fn rename(&mut self, temporary: &Path, known: &Path) {
        if let Self::Io { path, .. } | Self::Content { path, .. } | Self::Record { path, .. } | Self::Exists(path) =
            self
            && let Ok(rest) = path.strip_prefix(temporary)
        {
            *path = known.join(rest);
        }
    }

    /// The caller gave a wrong value.
    pub fn argument(message: impl Into<String>) -> Self {
        Self::Argument(message.into())
    }
}

/// The usual refusals in plain words; the rest as the system says it.
fn plain(cause: &io::Error) -> String {
    match cause.kind() {
        io::ErrorKind::NotFound => "there is no such file or folder".to_owned(),
        io::ErrorKind::PermissionDenied => "no permission".to_owned(),
        io::ErrorKind::StorageFull => "the disk is full".to_owned(),
        io::ErrorKind::QuotaExceeded => "the disk quota is used up".to_owned(),
        io::ErrorKind::ReadOnlyFilesystem => "the disk can only be read".to_owned(),
        io::ErrorKind::NotADirectory => "a part of the path is no folder".to_owned(),
        io::ErrorKind::IsADirectory => "it is a folder".to_owned(),
        _ => cause.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_file_record_and_cause() {
        let path = Path::new("a/labels.gz");
        let full = DataError::io(path, "write")(io::ErrorKind::StorageFull.into());
        assert_eq!(full.to_string(), "a/labels.gz: cannot write: the disk is full");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("plain");
        std::fs::write(&file, "").unwrap();
        let error = |of: &Path| DataError::io(of, "read the folder")(std::fs::read_dir(of).unwrap_err()).to_string();
        assert!(error(&file).ends_with("plain: it is a file: expected a folder"), "{}", error(&file));
        assert!(error(&file.join("a")).ends_with("cannot read the folder: a part of the path is no folder"));
        let label = DataError::record(path, "label 3", "12 is no class: expected 0 to 9");
        assert_eq!(label.to_string(), "a/labels.gz, label 3: 12 is no class: expected 0 to 9");
    }
}
