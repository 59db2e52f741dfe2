//! Files that appear whole or not at all.
//!
//! The bytes go to a hidden temporary file in the same folder, reach the disk, and only then get their name, in one step
//! of the file system. Whatever stops the program in between, a reader never meets a half-written file.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile};

use crate::{DataError, Result};

/// Writes a new file.
///
/// # Errors
/// [`DataError::Exists`] if there is one of this name; the system's refusal (no permission, full disk, no such folder).
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    write_with(path, |out| out.write_all(bytes))
}

/// Writes a new file by a function that writes into it, for what is too large to hold or is compressed on its way.
///
/// # Errors
/// As [`write()`], and whatever the function returns.
pub fn write_with(path: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    // Asked first, so that nothing is computed in vain; asked again by the last step, which alone is free of races.
    if path.symlink_metadata().is_ok() {
        return Err(DataError::Exists(path.to_owned()));
    }
    let temporary = fill_temporary(path, fill)?;
    temporary.persist_noclobber(path).map_err(|e| match e.error.kind() {
        io::ErrorKind::AlreadyExists => DataError::Exists(path.to_owned()),
        _ => DataError::io(path, "write")(e.error),
    })?;
    settle(path);
    Ok(())
}

/// Writes a file in the place of one that the program itself wrote before: a checkpoint, a log, a page that is made anew.
/// A reader sees the old bytes or the new ones, never a mixture.
///
/// # Errors
/// The system's refusal; the old file then stays as it was.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let temporary = fill_temporary(path, |out| out.write_all(bytes))?;
    temporary.persist(path).map_err(|e| DataError::io(path, "write")(e.error))?;
    settle(path);
    Ok(())
}

/// Makes a folder for output, with the folders above it. One that is there and empty is taken.
///
/// # Errors
/// [`DataError::Exists`] if it is there and holds something, or is no folder; the system's refusal.
pub fn new_folder(path: &Path) -> Result<()> {
    match fs::read_dir(path) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(DataError::Exists(path.to_owned())),
        },
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(path).map_err(DataError::io(path, "make the folder"))
        }
        Err(_) if path.is_file() => Err(DataError::Exists(path.to_owned())),
        Err(e) => Err(DataError::io(path, "read the folder")(e)),
    }
}

/// Makes a folder for output that appears with all that `fill` writes into it, or not at all.
///
/// # Errors
/// As [`new_folder`], and whatever `fill` returns.
pub fn folder_with(path: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    // Makes the folders above it, and refuses a full one before anything is computed.
    new_folder(path)?;
    let refused = |e| DataError::io(path, "write")(e);
    let mut builder = Builder::new();
    builder.prefix(".").suffix(".part");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
    let temporary = builder.tempdir_in(folder_of(path)).map_err(refused)?;
    if let Err(e) = fill(temporary.path()) {
        // The empty folder goes as well; if it was there before, or is no longer empty, that is no loss.
        let _ = fs::remove_dir(path);
        return Err(e.within(temporary.path(), path));
    }
    // Not every system renames onto an empty folder.
    fs::remove_dir(path).and_then(|()| fs::rename(temporary.path(), path)).map_err(refused)?;
    settle(path);
    Ok(())
}

fn fill_temporary(path: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<NamedTempFile> {
    let refused = |e| DataError::io(path, "write")(e);
    let mut builder = Builder::new();
    builder.prefix(".").suffix(".part");
    // Temporary files are private by default; this one becomes an ordinary file, for which the umask decides.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let temporary = builder.tempfile_in(folder_of(path)).map_err(refused)?;
    let mut out = BufWriter::with_capacity(1 << 16, temporary.as_file());
    fill(&mut out).and_then(|()| out.flush()).map_err(refused)?;
    drop(out);
    temporary.as_file().sync_all().map_err(refused)?;
    Ok(temporary)
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Brings the folder's new entry to the disk. Some file systems cannot; the file is complete either way.
fn settle(path: &Path) {
    if let Ok(folder) = File::open(folder_of(path)) {
        let _ = folder.sync_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_not_overwritten_unasked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        write(&path, b"one").unwrap();
        assert!(matches!(write(&path, b"two"), Err(DataError::Exists(p)) if p == path));
        assert_eq!(fs::read(&path).unwrap(), b"one");
        replace(&path, b"three").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"three");
        assert_eq!(names(folder.path()), ["a"]);
    }

    #[test]
    fn a_write_that_fails_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let result = write_with(&path, |out| {
            out.write_all(&[0; 100_000])?;
            Err(io::ErrorKind::StorageFull.into())
        });
        assert_eq!(result.unwrap_err().to_string(), format!("{}: cannot write: the disk is full", path.display()));
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn a_missing_folder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("none/a");
        assert_eq!(
            write(&path, b"").unwrap_err().to_string(),
            format!("{}: cannot write: there is no such file or folder", path.display())
        );
    }

    #[test]
    fn one_of_many_writers_wins_and_the_others_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let done: Vec<bool> = std::thread::scope(|scope| {
            let write = |n: u8| write(&path, &vec![n; 50_000]).is_ok();
            let threads: Vec<_> = (0..8).map(|n| scope.spawn(move || write(n))).collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        assert_eq!(done.iter().filter(|&&d| d).count(), 1);
        let bytes = fs::read(&path).unwrap();
        assert!(bytes.len() == 50_000 && bytes.iter().all(|b| *b == bytes[0]) && done[usize::from(bytes[0])]);
    }

    #[test]
    fn an_output_folder_is_new_or_empty() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("a/b");
        new_folder(&out).unwrap();
        new_folder(&out).unwrap();
        write(&out.join("x"), b"x").unwrap();
        assert!(matches!(new_folder(&out), Err(DataError::Exists(_))));
        assert!(matches!(new_folder(&out.join("x")), Err(DataError::Exists(_))));
    }

    #[test]
    fn a_folder_appears_with_all_its_files_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("a/b");
        folder_with(&out, |inside| write(&inside.join("x"), b"x")).unwrap();
        assert_eq!((names(&out), names(&folder.path().join("a"))), (vec!["x".to_owned()], vec!["b".to_owned()]));
        assert!(matches!(folder_with(&out, |_| Ok(())), Err(DataError::Exists(p)) if p == out));

        let failed = folder.path().join("c");
        let result = folder_with(&failed, |inside| {
            write(&inside.join("x"), b"x")?;
            write_with(&inside.join("y"), |_| Err(io::ErrorKind::StorageFull.into()))
        });
        let expected = format!("{}: cannot write: the disk is full", failed.join("y").display());
        assert_eq!(result.unwrap_err().to_string(), expected);
        assert_eq!(names(folder.path()), ["a"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_new_file_has_the_usual_permissions() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (ours, usual) = (folder.path().join("a"), folder.path().join("b"));
        write(&ours, b"").unwrap();
        File::create(&usual).unwrap();
        let mode = |p: &Path| fs::metadata(p).unwrap().permissions().mode();
        assert_eq!(mode(&ours), mode(&usual));
    }
}
