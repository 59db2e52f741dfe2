//! The checksum of data as they are used: what a run, a study and a cache tell data apart by.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::Context;
use serde::Serialize;
use sha2::{Digest, Sha256};

/// A checksum on its way.
#[derive(Clone, Default)]
pub struct Fingerprint(Sha256);

impl Fingerprint {
    /// Adds bytes with their number, so that none can stand for what follows.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    /// Adds numbers.
    pub fn numbers(&mut self, numbers: impl IntoIterator<Item = usize>) {
        numbers.into_iter().for_each(|n| self.0.update((n as u64).to_le_bytes()));
    }

    /// Adds plain data.
    pub fn json(&mut self, value: &impl Serialize) -> anyhow::Result<()> {
        serde_json::to_writer(Writer(&mut self.0), value)?;
        self.0.update(b";");
        Ok(())
    }

    /// Adds a file: its length, its beginning and its end. Of the pictures of a large data set nobody wants to read everything once
    /// more, and a packed picture of other content has another length, beginning or end.
    pub fn file(&mut self, path: &Path) -> anyhow::Result<()> {
        const END: u64 = 1 << 15;
        let name = || format!("{}: cannot be read", path.display());
        let mut file = File::open(path).with_context(name)?;
        let length = file.metadata().with_context(name)?.len();
        self.0.update(length.to_le_bytes());
        let mut bytes = Vec::new();
        Read::by_ref(&mut file).take(END).read_to_end(&mut bytes).with_context(name)?;
        if length > END {
            file.seek(SeekFrom::Start((length - END).max(END))).with_context(name)?;
            file.take(END).read_to_end(&mut bytes).with_context(name)?;
        }
        self.bytes(&bytes);
        Ok(())
    }

    /// Adds a file, or all files of a folder with their names.
    pub fn tree(&mut self, path: &Path) -> anyhow::Result<()> {
        if path.is_file() {
            return self.file(path);
        }
        let name = || format!("{}: cannot be read", path.display());
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(path).with_context(name)? {
            entries.push(entry.with_context(name)?.path());
        }
        entries.sort();
        // Pipes and devices are no data.
        entries.iter().filter(|entry| entry.is_file() || entry.is_dir()).try_for_each(|entry| {
            self.bytes(entry.file_name().unwrap_or_default().as_encoded_bytes());
            self.tree(entry)
        })
    }

    /// The checksum as text.
    pub fn text(self) -> String {
        self.0.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Lets JSON be written into a checksum.
struct Writer<'a>(&'a mut Sha256);

impl Write for Writer<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beginning_end_and_length_of_a_file_count() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let of = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            let mut print = Fingerprint::default();
            print.file(&path).unwrap();
            print.text()
        };
        let mut bytes = vec![7; 100_000];
        let mut seen = vec![of(&bytes), of(&bytes[1..]), of(&bytes[..40_000])];
        for place in [0, 30_000, 70_000, 99_999] {
            bytes[place] = 0;
            seen.push(of(&bytes));
        }
        let different: std::collections::HashSet<_> = seen.iter().collect();
        assert_eq!(different.len(), seen.len());
        assert!(Fingerprint::default().file(&folder.path().join("none")).is_err());
    }
}
