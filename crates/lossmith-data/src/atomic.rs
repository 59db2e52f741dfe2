//! Files and folders that appear whole or not at all.
//!
//! The bytes go to a hidden temporary file in the same folder, reach the disk, and only then get their name, in one step
//! of the file system. Whatever stops the program in between, a reader never meets a half-written file. What a killed
//! program leaves behind is removed by the next that writes into the same folder: a temporary file is locked as long as
//! somebody writes it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tempfile::{Builder, NamedTempFile, TempDir};

use crate::{DataError, Result};

const PREFIX: &str = ".lossmith-";
const SUFFIX: &str = ".part";

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
    let (temporary, _lock) = fill_temporary(path, fill)?;
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
    let (temporary, _lock) = fill_temporary(path, |out| out.write_all(bytes))?;
    temporary.persist(path).map_err(|e| DataError::io(path, "write")(e.error))?;
    settle(path);
    Ok(())
}

/// Makes a folder for output, with the folders above it. One that is there and empty is taken.
///
/// # Errors
/// [`DataError::Exists`] if it is there and holds something, or is no folder; the system's refusal.
pub fn new_folder(path: &Path) -> Result<()> {
    if check_new(path)? {
        return Ok(());
    }
    fs::create_dir_all(path).map_err(DataError::io(path, "make the folder"))
}

/// Whether the folder is there, and empty.
fn check_new(path: &Path) -> Result<bool> {
    match fs::read_dir(path) {
        Ok(mut entries) => match entries.next() {
            None => Ok(true),
            Some(_) => Err(DataError::Exists(path.to_owned())),
        },
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(_) if path.is_file() => Err(DataError::Exists(path.to_owned())),
        Err(e) => Err(DataError::io(path, "read the folder")(e)),
    }
}

/// Makes a folder for output that appears with all that `fill` writes into it, or not at all.
///
/// # Errors
/// As [`new_folder`], and whatever `fill` returns.
pub fn folder_with(path: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let new = NewFolder::begin(path)?;
    fill(new.path()).map_err(|e| new.known(e))?;
    new.finish()
}

/// A folder on its way: filled under a hidden name, it gets its own by [`Self::finish`]. Without that nothing of it stays.
pub struct NewFolder {
    path: PathBuf,
    temporary: Option<TempDir>,
    _lock: Option<File>,
    /// The folders above it that were made for it, the innermost first.
    above: Vec<PathBuf>,
}

impl NewFolder {
    /// Makes the folders above it, and refuses a full one before anything is computed.
    ///
    /// # Errors
    /// As [`new_folder`].
    pub fn begin(path: &Path) -> Result<Self> {
        check_new(path)?;
        let parent = folder_of(path);
        let above: Vec<PathBuf> = parent
            .ancestors()
            .take_while(|folder| !folder.as_os_str().is_empty() && folder.symlink_metadata().is_err())
            .map(Path::to_owned)
            .collect();
        let mut new = Self { path: path.to_owned(), temporary: None, _lock: None, above };
        fs::create_dir_all(&parent).map_err(DataError::io(path, "make the folder"))?;
        sweep_once(&parent);
        let builder = builder(0o777);
        let (temporary, lock) =
            locked(|| builder.tempdir_in(&parent), TempDir::path).map_err(DataError::io(path, "write"))?;
        (new.temporary, new._lock) = (Some(temporary), lock);
        Ok(new)
    }

    /// Where to write.
    pub fn path(&self) -> &Path {
        self.temporary.as_ref().map_or(&self.path, TempDir::path)
    }

    /// The error with the name that the user knows.
    pub fn known(&self, mut e: DataError) -> DataError {
        e.rename(self.path(), &self.path);
        e
    }

    /// Gives it its name.
    ///
    /// # Errors
    /// The system's refusal, or somebody else was faster.
    pub fn finish(mut self) -> Result<()> {
        let Some(temporary) = self.temporary.take() else { return Ok(()) };
        let refused = |e| DataError::io(&self.path, "write")(e);
        // Not every system renames onto an empty folder.
        if check_new(&self.path)? {
            fs::remove_dir(&self.path).map_err(refused)?;
        }
        fs::rename(temporary.path(), &self.path).map_err(refused)?;
        // It is no longer where it would be removed.
        let _ = temporary.keep();
        self.above.clear();
        settle(&self.path);
        Ok(())
    }
}

impl Drop for NewFolder {
    fn drop(&mut self) {
        drop(self.temporary.take());
        // Those that hold something by now stay.
        self.above.iter().for_each(|folder| drop(fs::remove_dir(folder)));
    }
}

/// A file on its way, and the lock that says so.
type Temporary = (NamedTempFile, Option<File>);

fn fill_temporary(path: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<Temporary> {
    let refused = |e| DataError::io(path, "write")(e);
    let folder = folder_of(path);
    sweep_once(&folder);
    let builder = builder(0o666);
    let (temporary, lock) = locked(|| builder.tempfile_in(&folder), NamedTempFile::path).map_err(refused)?;
    let mut out = BufWriter::with_capacity(1 << 16, temporary.as_file());
    fill(&mut out).and_then(|()| out.flush()).map_err(refused)?;
    drop(out);
    temporary.as_file().sync_all().map_err(refused)?;
    Ok((temporary, lock))
}

/// Temporary files are private by default; these become ordinary ones, for which the umask decides.
fn builder(mode: u32) -> Builder<'static, 'static> {
    let mut builder = Builder::new();
    builder.prefix(PREFIX).suffix(SUFFIX);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(mode));
    #[cfg(not(unix))]
    let _ = mode;
    builder
}

/// A temporary file or folder and its lock. A file system without locks has none, and is not swept either.
fn locked<T>(make: impl Fn() -> io::Result<T>, path: impl Fn(&T) -> &Path) -> io::Result<(T, Option<File>)> {
    loop {
        let made = make()?;
        let lock = File::open(path(&made)).and_then(|file| file.lock().map(|()| file)).ok();
        // Somebody who sweeps may have been between the two.
        if path(&made).symlink_metadata().is_ok() {
            return Ok((made, lock));
        }
    }
}

/// Removes what killed programs have left in a folder, once for each folder and process.
fn sweep_once(folder: &Path) {
    static SWEPT: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    if SWEPT.lock().unwrap_or_else(PoisonError::into_inner).insert(folder.to_owned()) {
        sweep(folder);
    }
}

fn sweep(folder: &Path) {
    let ours = |name: &str| name.starts_with(PREFIX) && name.ends_with(SUFFIX);
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.filter_map(io::Result::ok).filter(|e| e.file_name().to_str().is_some_and(ours)) {
        let (path, kind) = (entry.path(), entry.file_type());
        let Ok(kind) = kind else { continue };
        // Links, pipes and the like are not ours.
        let Some(file) = (kind.is_dir() || kind.is_file()).then(|| File::open(&path).ok()).flatten() else { continue };
        if file.try_lock().is_ok() {
            let _ = if kind.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        }
    }
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

    #[test]
    fn what_a_killed_program_left_is_removed_and_what_another_writes_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        write(&at(".lossmith-left.part"), b"x").unwrap();
        new_folder(&at(".lossmith-folder.part/b")).unwrap();
        write(&at(".other.part"), b"x").unwrap();
        let new = NewFolder::begin(&at("new")).unwrap();
        write(&new.path().join("a"), b"a").unwrap();
        // Another process would come here with its first file.
        sweep(folder.path());
        write_with(&at("file"), |out| {
            sweep(folder.path());
            out.write_all(b"whole")
        })
        .unwrap();
        new.finish().unwrap();
        assert_eq!(names(folder.path()), [".other.part", "file", "new"]);
        assert_eq!((names(&at("new")), fs::read(at("file")).unwrap()), (vec!["a".to_owned()], b"whole".to_vec()));
    }

    #[test]
    fn a_folder_that_was_given_up_leaves_nothing_not_even_those_above_it() {
        let folder = tempfile::tempdir().unwrap();
        let new = NewFolder::begin(&folder.path().join("a/b/c")).unwrap();
        write(&new.path().join("x"), b"x").unwrap();
        drop(new);
        assert!(names(folder.path()).is_empty());
        // One that was there and empty stays.
        let there = folder.path().join("there");
        fs::create_dir(&there).unwrap();
        drop(NewFolder::begin(&there).unwrap());
        assert_eq!(names(folder.path()), ["there"]);
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
