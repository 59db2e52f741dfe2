//! The one way to a file's content: a file that may be gzip and may lie is never held but for what the limits allow and
//! for what it can honestly hold.

use std::fs::{File, Metadata};
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use crate::{DataError, Result, limits};

/// Deflate packs a byte into no less than 1/1032 of a byte.
pub(crate) const MOST_UNPACKED_PER_BYTE: u64 = 1032;

/// What a value of a text takes in memory besides its letters: the place of a string or a list, of a number twice.
const BYTES_OF_A_VALUE: u64 = 24;

const BUFFER: usize = 1 << 16;

/// What Windows' programs begin a file of UTF-8 with.
pub(crate) const BYTE_ORDER_MARK: &[u8] = &[0xef, 0xbb, 0xbf];

/// The whole of a file of text, which may be gzip or a pipe of the caller's, without the byte order mark that Windows' programs begin it
/// with.
pub(crate) fn read_text(path: &Path) -> Result<Vec<u8>> {
    let mut text = Source::open(path)?.text().all()?;
    if let Some(mark) = [[0xff, 0xfe], [0xfe, 0xff]].iter().find(|mark| text.starts_with(*mark)) {
        let order = if mark[0] == 0xff { "little" } else { "big" };
        return Err(DataError::content(path, format!("it is UTF-16 ({order} end first): expected UTF-8")));
    }
    if text.starts_with(BYTE_ORDER_MARK) {
        text.drain(..BYTE_ORDER_MARK.len());
    }
    Ok(text)
}

/// The unpacked content of a file, read from front to back and counted against [`limits`].
pub(crate) struct Source<'a> {
    path: PathBuf,
    reader: Box<dyn BufRead + 'a>,
    gzip: bool,
    /// No more bytes than this can follow.
    most: u64,
    counted: Counted,
}

/// What was taken from a file.
struct Counted {
    bytes: u64,
    limit: u64,
    /// Whether it is text, whose values count besides their letters.
    values: bool,
}

impl Counted {
    fn add(&mut self, bytes: &[u8]) {
        let values = if self.values { bytes.iter().filter(|b| b",[{\n".contains(b)).count() as u64 } else { 0 };
        self.bytes = self.bytes.saturating_add(bytes.len() as u64 + values * BYTES_OF_A_VALUE);
    }

    fn is_over(&self) -> bool {
        self.bytes > self.limit
    }

    fn check(&self) -> io::Result<()> {
        if self.is_over() { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(()) }
    }
}

/// The whole of a file, which may be gzip, as it is: no more than the limits allow.
///
/// # Errors
/// The system refuses; no file; more than the limits allow.
pub fn whole_bytes(path: &Path) -> Result<Vec<u8>> {
    Source::open(path)?.all()
}

/// The whole of a file of text, without a byte order mark.
///
/// # Errors
/// As [`whole_bytes`]; no UTF-8.
pub fn whole_text(path: &Path) -> Result<String> {
    let bytes = read_text(path)?;
    let no_text = |_| io::Error::new(io::ErrorKind::InvalidData, "stream did not contain valid UTF-8");
    String::from_utf8(bytes).map_err(no_text).map_err(DataError::io(path, "read"))
}

/// Opens a regular file, or a pipe that the caller of the program has opened for it; with its length, if it has one.
/// Whatever else has a name in the file system may block, or never end.
pub(crate) fn open_file(path: &Path) -> Result<(File, Option<u64>)> {
    let refused = |e| DataError::io(path, "read")(e);
    let about = std::fs::metadata(path).map_err(refused)?;
    let length = match kind(&about) {
        Kind::File => Some(about.len()),
        Kind::Folder => return Err(refused(io::ErrorKind::IsADirectory.into())),
        Kind::Pipe if ["/dev/stdin", "/dev/fd", "/proc/self/fd"].iter().any(|own| path.starts_with(own)) => None,
        Kind::Pipe => return Err(DataError::content(path, "it is a pipe: expected a file")),
        Kind::Other => return Err(DataError::content(path, "it is a device: expected a file")),
    };
    Ok((File::open(path).map_err(refused)?, length))
}

enum Kind {
    File,
    Folder,
    Pipe,
    Other,
}

fn kind(about: &Metadata) -> Kind {
    #[cfg(unix)]
    let pipe = std::os::unix::fs::FileTypeExt::is_fifo(&about.file_type());
    #[cfg(not(unix))]
    let pipe = false;
    match () {
        () if about.is_file() => Kind::File,
        () if about.is_dir() => Kind::Folder,
        () if pipe => Kind::Pipe,
        () => Kind::Other,
    }
}

/// Opens a regular file, of which parts are read in any order; with its length.
pub(crate) fn open_regular(path: &Path) -> Result<(File, u64)> {
    match open_file(path)? {
        (file, Some(length)) => Ok((file, length)),
        (_, None) => Err(DataError::content(path, "it is a pipe: expected a file")),
    }
}

impl<'a> Source<'a> {
    /// A file; gzip is recognised by its first two bytes, not by the name.
    pub fn open(path: &Path) -> Result<Self> {
        let (file, length) = open_file(path)?;
        Self::new(path, BufReader::with_capacity(BUFFER, file), length.unwrap_or(u64::MAX))
    }

    /// The bytes of a file; `path` only serves the errors.
    pub fn of_bytes(bytes: &'a [u8], path: &Path) -> Result<Self> {
        Self::new(path, Cursor::new(bytes), bytes.len() as u64)
    }

    fn new(path: &Path, mut packed: impl BufRead + 'a, length: u64) -> Result<Self> {
        let gzip = packed.fill_buf().map_err(DataError::io(path, "read"))?.starts_with(&[0x1f, 0x8b]);
        let counted = Counted { bytes: 0, limit: limits::current().bytes, values: false };
        let (reader, most): (Box<dyn BufRead + 'a>, u64) = match gzip {
            // A reader of an archive asks for small pieces; the buffer spares it as many calls of the decoder.
            true => (
                Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(packed))),
                length.saturating_mul(MOST_UNPACKED_PER_BYTE),
            ),
            false => (Box::new(packed), length),
        };
        Ok(Self { path: path.to_owned(), reader, gzip, most, counted })
    }

    /// The same as text: its values count as what they take in memory.
    pub fn text(mut self) -> Self {
        self.counted.values = true;
        self
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        match self.read_exact(&mut bytes) {
            Ok(()) => Ok(bytes),
            Err(e) => Err(self.fault(&e)),
        }
    }

    /// The beginning of what is left.
    pub fn ahead(&mut self) -> Result<&[u8]> {
        // Asked for twice, since an error cannot be made while what was read is lent.
        if let Err(e) = self.fill_buf() {
            return Err(self.fault(&e));
        }
        self.reader.fill_buf().map_err(DataError::io(&self.path, "read"))
    }

    /// Everything that is left.
    pub fn all(&mut self) -> Result<Vec<u8>> {
        if !self.gzip && self.most != u64::MAX {
            limits::check(&self.path, &format!("its {} bytes", self.most), self.most.into())?;
        }
        self.at_most(u64::MAX)
    }

    /// Everything that is left, which must be exactly `count` bytes; `what` names them in the error.
    pub fn exactly(&mut self, count: u64, what: &str) -> Result<Vec<u8>> {
        if count > self.most {
            let message = format!("its header speaks of {what}, {count} bytes, which this file is too small to hold");
            return Err(DataError::content(&self.path, message));
        }
        limits::check(&self.path, &format!("its header speaks of {what}, which"), count.into())?;
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
        match self.by_ref().take(count.saturating_add(1)).read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            Err(e) => Err(self.fault(&e)),
        }
    }

    /// The next line without its end, `None` after the last. A caller that keeps none of them forgets what they counted.
    pub fn line(&mut self, forget: bool) -> Result<Option<String>> {
        if forget {
            self.counted.bytes = 0;
        }
        let mut line = String::new();
        match self.read_line(&mut line) {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(_) if self.counted.is_over() => return Err(self.over()),
            Err(e) => return Err(DataError::io(&self.path, "read")(e)),
        }
        if line.ends_with('\n') {
            line.pop();
            if line.ends_with('\r') {
                line.pop();
            }
        }
        Ok(Some(line))
    }

    /// What a failed read means for this file.
    pub fn fault(&self, cause: &io::Error) -> DataError {
        let message = match (cause.kind(), self.gzip) {
            _ if self.counted.is_over() => return self.over(),
            (io::ErrorKind::UnexpectedEof, _) => "it ends too early: it was cut off".to_owned(),
            (_, true) => format!("its gzip data is damaged ({cause}); fetch or copy it again"),
            _ => format!("cannot be read: {cause}"),
        };
        DataError::content(&self.path, message)
    }

    fn over(&self) -> DataError {
        DataError::content(&self.path, limits::exceeded())
    }
}

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.counted.add(&buffer[..count]);
        self.counted.check()?;
        Ok(count)
    }
}

impl BufRead for Source<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.counted.check()?;
        self.reader.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        if let Ok(buffer) = self.reader.fill_buf() {
            self.counted.add(&buffer[..count]);
        }
        self.reader.consume(count);
    }
}
