//! Reading a file that may be gzip and may lie, without ever holding more than it can honestly hold.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use crate::{DataError, Result};

/// Deflate packs a byte into no less than 1/1032 of a byte.
const MOST_UNPACKED_PER_BYTE: u64 = 1032;

/// The whole of a file of text, which may be gzip or a pipe, without the byte order mark that Windows' programs begin it with.
pub(crate) fn read_text(path: &Path) -> Result<Vec<u8>> {
    let mut text = Source::open(path)?.at_most(u64::MAX)?;
    if let Some(mark) = [[0xff, 0xfe], [0xfe, 0xff]].iter().find(|mark| text.starts_with(*mark)) {
        let order = if mark[0] == 0xff { "little" } else { "big" };
        return Err(DataError::content(path, format!("it is UTF-16 ({order} end first): expected UTF-8")));
    }
    if text.starts_with(BYTE_ORDER_MARK) {
        text.drain(..BYTE_ORDER_MARK.len());
    }
    Ok(text)
}

/// What Windows' programs begin a file of UTF-8 with.
pub(crate) const BYTE_ORDER_MARK: &[u8] = &[0xef, 0xbb, 0xbf];

/// The unpacked content of a file, read from front to back.
pub(crate) struct Source<'a> {
    path: PathBuf,
    reader: Box<dyn Read + 'a>,
    gzip: bool,
    /// No more bytes than this can follow.
    most: u64,
}

impl<'a> Source<'a> {
    /// A file; gzip is recognised by its first two bytes, not by the name.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(DataError::io(path, "read"))?;
        let length = file.metadata().map_err(DataError::io(path, "read"))?.len();
        Self::new(path, BufReader::with_capacity(1 << 16, file), length)
    }

    /// The bytes of a file; `path` only serves the errors.
    pub fn of_bytes(bytes: &'a [u8], path: &Path) -> Result<Self> {
        Self::new(path, Cursor::new(bytes), bytes.len() as u64)
    }

    fn new(path: &Path, mut packed: impl io::BufRead + 'a, length: u64) -> Result<Self> {
        let gzip = packed.fill_buf().map_err(DataError::io(path, "read"))?.starts_with(&[0x1f, 0x8b]);
        let path = path.to_owned();
        Ok(match gzip {
            // A reader of an archive asks for small pieces; the buffer spares it as many calls of the decoder.
            true => Self {
                path,
                reader: Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(packed))),
                gzip,
                most: length.saturating_mul(MOST_UNPACKED_PER_BYTE),
            },
            false => Self { path, reader: Box::new(packed), gzip, most: length },
        })
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        match self.reader.read_exact(&mut bytes) {
            Ok(()) => Ok(bytes),
            Err(e) => Err(self.fault(&e)),
        }
    }

    /// Everything that is left, which must be exactly `count` bytes; `what` names them in the error.
    pub fn exactly(&mut self, count: u64, what: &str) -> Result<Vec<u8>> {
        if count > self.most {
            let message = format!("its header speaks of {what}, {count} bytes, which this file is too small to hold");
            return Err(DataError::content(&self.path, message));
        }
        let bytes = self.at_most(count)?;
        let found = bytes.len() as u64;
        if found == count {
            return Ok(bytes);
        }
        let found = if found < count { format!("but only {found} follow") } else { "but more follow".to_owned() };
        Err(DataError::content(&self.path, format!("its header speaks of {what}, {count} bytes, {found}")))
    }

    /// Everything that is left, up to one byte more than `count`: that byte tells that there is more, and reading up to
    /// the end makes the decoder check its checksum.
    pub fn at_most(&mut self, count: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        match self.reader.by_ref().take(count.saturating_add(1)).read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            Err(e) => Err(self.fault(&e)),
        }
    }

    /// What a failed read means for this file.
    pub fn fault(&self, cause: &io::Error) -> DataError {
        let message = match (cause.kind(), self.gzip) {
            (io::ErrorKind::UnexpectedEof, _) => "it ends too early: it was cut off".to_owned(),
            (_, true) => format!("its gzip data is damaged ({cause}); fetch or copy it again"),
            _ => format!("cannot be read: {cause}"),
        };
        DataError::content(&self.path, message)
    }
}

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer)
    }
}
