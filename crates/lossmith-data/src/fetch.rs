//! Downloads of the public data sets, with checksum, mirrors, progress and resume.
//!
//! A file is fetched into `NAME.part` beside its place, goes on from there if it was cut, and gets its name only when its
//! SHA-256 is the published one. The checksums are those of the files as their authors publish them. Of several programs
//! that fetch the same file at once one downloads, the others wait for it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use ureq::Agent;
use ureq::http::{Response, StatusCode, header};

use crate::folder::CLASSES;
use crate::source::open_regular;
use crate::{DataError, Result, atomic, cifar};

/// A file as its authors publish it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remote {
    /// Its name, on the mirror and on this machine.
    pub name: &'static str,
    /// Its length in bytes.
    pub bytes: u64,
    /// Its SHA-256, in hexadecimal.
    pub sha256: &'static str,
}

/// A data set that can be fetched.
#[derive(Clone, Copy, Debug)]
pub struct DataSet {
    /// The name by which it is asked for.
    pub name: &'static str,
    /// Its files.
    pub files: &'static [Remote],
    /// The names of its classes, where its files do not tell them.
    pub classes: &'static [&'static str],
}

/// The data sets that can be fetched.
pub const DATA_SETS: &[DataSet] = &[
    DataSet {
        name: "mnist",
        files: &[
            Remote {
                name: "train-images-idx3-ubyte.gz",
                bytes: 9_912_422,
                sha256: "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            },
            Remote {
                name: "train-labels-idx1-ubyte.gz",
                bytes: 28_881,
                sha256: "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            },
            Remote {
                name: "t10k-images-idx3-ubyte.gz",
                bytes: 1_648_877,
                sha256: "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            },
            Remote {
                name: "t10k-labels-idx1-ubyte.gz",
                bytes: 4_542,
                sha256: "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            },
        ],
        classes: &[],
    },
    DataSet {
        name: "fashion-mnist",
        files: &[
            Remote {
                name: "train-images-idx3-ubyte.gz",
                bytes: 26_421_880,
                sha256: "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            },
            Remote {
                name: "train-labels-idx1-ubyte.gz",
                bytes: 29_515,
                sha256: "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            },
            Remote {
                name: "t10k-images-idx3-ubyte.gz",
                bytes: 4_422_102,
                sha256: "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            },
            Remote {
                name: "t10k-labels-idx1-ubyte.gz",
                bytes: 5_148,
                sha256: "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            },
        ],
        classes: &[
            "t-shirt",
            "trouser",
            "pullover",
            "dress",
            "coat",
            "sandal",
            "shirt",
            "sneaker",
            "bag",
            "ankle boot",
        ],
    },
    DataSet {
        name: "cifar10",
        files: &[Remote {
            name: cifar::ARCHIVE,
            bytes: 170_052_171,
            sha256: "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        }],
        classes: &[],
    },
];

/// How often a mirror that drops the connection is asked to go on, as long as every answer brings something.
const RESUMES: usize = 20;

/// What a mirror must send to be waited for.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// In each of these times ...
    time: Duration,
    /// ... so many bytes.
    bytes: u64,
}

const PATIENCE: Patience = Patience { time: Duration::from_secs(60), bytes: 60 * 1024 };

/// How often somebody who waits for another's download looks.
const LOOK: Duration = Duration::from_millis(100);

/// How far a download is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The file.
    pub file: &'a str,
    /// Bytes that are here.
    pub done: u64,
    /// Bytes of the whole file.
    pub total: u64,
}

impl DataSet {
    /// The data set of this name.
    ///
    /// # Errors
    /// There is none; the error lists those there are.
    pub fn find(name: &str) -> Result<&'static Self> {
        DATA_SETS.iter().find(|set| set.name == name).ok_or_else(|| {
            let names: Vec<&str> = DATA_SETS.iter().map(|set| set.name).collect();
            DataError::argument(format!("there is no data set '{name}' to fetch: expected {}", names.join(", ")))
        })
    }

    /// Fetches every file that is not yet in the folder from the mirrors, tried in this order; a file's name follows the
    /// address.
    ///
    /// # Errors
    /// No mirror has a file or sends what was published; a file of this name that is another one; the system's refusal.
    /// What was fetched stays, and the same call goes on from there.
    pub fn fetch(&self, mirrors: &[String], folder: &Path, progress: &mut dyn FnMut(Progress<'_>)) -> Result<()> {
        self.fetch_with(PATIENCE, mirrors, folder, progress)
    }

    fn fetch_with(
        &self,
        patience: Patience,
        mirrors: &[String],
        folder: &Path,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<()> {
        fs::create_dir_all(folder).map_err(DataError::io(folder, "make the folder"))?;
        for remote in self.files {
            Download { remote, folder, patience, agent: agent(patience) }.run(mirrors, progress)?;
        }
        let classes = folder.join(CLASSES);
        if self.classes.is_empty() || classes.exists() {
            return Ok(());
        }
        match atomic::write(&classes, (self.classes.join("\n") + "\n").as_bytes()) {
            // Somebody who fetches the same was faster.
            Err(DataError::Exists(_)) => Ok(()),
            written => written,
        }
    }
}

fn agent(patience: Patience) -> Agent {
    Agent::config_builder()
        .timeout_connect(Some(Duration::from_secs(20)))
        .timeout_recv_response(Some(patience.time))
        .timeout_per_read(Some(patience.time))
        // The files are packed themselves; a server that packs them again would break ranges and checksum.
        .accept_encoding("identity")
        .http_status_as_error(false)
        .build()
        .into()
}

/// One file on its way.
struct Download<'a> {
    remote: &'a Remote,
    folder: &'a Path,
    patience: Patience,
    agent: Agent,
}

impl Download<'_> {
    fn run(&self, mirrors: &[String], progress: &mut dyn FnMut(Progress<'_>)) -> Result<()> {
        let Remote { name, bytes, sha256 } = *self.remote;
        let (path, beside) = (self.folder.join(name), self.folder.join(format!("{name}.part")));
        let part = loop {
            if path.exists() {
                return match hash(open_regular(&path)?.0, &path)? {
                    found if found == sha256 => {
                        progress(Progress { file: name, done: bytes, total: bytes });
                        Ok(())
                    }
                    found => {
                        let message =
                            format!("it is not the published file (SHA-256 {found}, expected {sha256}); move it away");
                        Err(DataError::content(&path, message))
                    }
                };
            }
            match Part::open(&beside)? {
                Some(part) => break part,
                None => {
                    let done = beside.metadata().map_or(0, |about| about.len());
                    progress(Progress { file: name, done: done.min(bytes), total: bytes });
                    std::thread::sleep(LOOK);
                }
            }
        };
        let fetched = self.ask_mirrors(mirrors, &part, progress);
        let published = fetched.and_then(|()| publish(&part.path, &path));
        // Nothing came: an empty part would only be in the way.
        if part.length() == 0 {
            let _ = fs::remove_file(&part.path);
        }
        published
    }

    fn ask_mirrors(&self, mirrors: &[String], part: &Part, progress: &mut dyn FnMut(Progress<'_>)) -> Result<()> {
        let name = self.remote.name;
        let mut failures = Vec::new();
        for mirror in mirrors {
            let url = format!("{}/{name}", mirror.trim_end_matches('/'));
            let begun = part.length();
            let mut asked = self.ask_mirror(&url, part, progress);
            // What went wrong may be in what another mirror, or an earlier call, had sent.
            if begun > 0 && part.length() == 0 && matches!(asked, Err(DataError::Download { .. })) {
                asked = self.ask_mirror(&url, part, progress);
            }
            match asked {
                Ok(()) => return Ok(()),
                Err(failure @ DataError::Download { .. }) => failures.push(failure.to_string()),
                // The disk, not the mirror: another mirror would not help.
                Err(refused) => return Err(refused),
            }
        }
        let message = format!("no mirror could send it: {}", failures.join("; "));
        Err(DataError::Download { url: name.to_owned(), message })
    }

    /// Asks one mirror, again from where it stopped as long as that brings something.
    fn ask_mirror(&self, url: &str, part: &Part, progress: &mut dyn FnMut(Progress<'_>)) -> Result<()> {
        let mut last = None;
        for _ in 0..RESUMES {
            let before = part.length();
            if before < self.remote.bytes {
                last = self.request(url, part, before, progress).err();
            }
            if part.length() >= self.remote.bytes {
                return self.verify(url, part);
            }
            match last {
                Some(Failure::Stalled(failure)) => return Err(failure),
                Some(Failure::Other(refused @ DataError::Io { .. })) => return Err(refused),
                _ if part.length() <= before => break,
                _ => {}
            }
        }
        let (done, total) = (part.length(), self.remote.bytes);
        Err(match last {
            Some(Failure::Stalled(failure) | Failure::Other(failure)) => failure,
            None => failed(url, format!("the connection ended after {done} of {total} bytes")),
        })
    }

    fn verify(&self, url: &str, part: &Part) -> Result<()> {
        let (found, expected) = (part.hash()?, self.remote.sha256);
        if found == expected && part.length() == self.remote.bytes {
            return Ok(());
        }
        part.cut(0)?;
        Err(failed(url, format!("it sent another file: SHA-256 {found}, expected {expected}")))
    }

    /// One request; appends to the part what comes.
    fn request(
        &self,
        url: &str,
        part: &Part,
        start: u64,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> std::result::Result<(), Failure> {
        let mut request = self.agent.get(url);
        if start > 0 {
            request = request.header(header::RANGE, format!("bytes={start}-"));
        }
        let response = request.call().map_err(|e| failed(url, e.to_string()))?;
        let start = match response.status() {
            StatusCode::OK => 0,
            StatusCode::PARTIAL_CONTENT if starts_at(&response, start) => start,
            status => return Err(failed(url, format!("the server answered {status}")).into()),
        };
        part.cut(start)?;
        let mut out = &part.file;
        // One byte more than expected is enough to know that it is another file.
        let mut body = response.into_body().into_reader().take(self.remote.bytes - start + 1);
        let (mut done, mut buffer) = (start, vec![0; 1 << 16]);
        let (mut since, mut then) = (Instant::now(), start);
        loop {
            let count = match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(failed(url, e.to_string()).into()),
            };
            out.write_all(&buffer[..count]).map_err(DataError::io(&part.path, "write"))?;
            done += count as u64;
            progress(Progress { file: self.remote.name, done, total: self.remote.bytes });
            if since.elapsed() >= self.patience.time {
                if done - then < self.patience.bytes {
                    let (bytes, seconds) = (done - then, since.elapsed().as_secs());
                    return Err(Failure::Stalled(failed(url, format!("it stalls: {bytes} bytes in {seconds} s"))));
                }
                (since, then) = (Instant::now(), done);
            }
        }
        Ok(out.sync_all().map_err(DataError::io(&part.path, "write"))?)
    }
}

/// Why a request ended early.
enum Failure {
    /// The mirror sends next to nothing: it is not asked again.
    Stalled(DataError),
    Other(DataError),
}

impl From<DataError> for Failure {
    fn from(e: DataError) -> Self {
        Self::Other(e)
    }
}

/// Whether a partial answer begins where it should: some servers send another range than the one asked for.
fn starts_at<B>(response: &Response<B>, start: u64) -> bool {
    let range = response.headers().get(header::CONTENT_RANGE).and_then(|v| v.to_str().ok());
    range.and_then(|r| r.strip_prefix("bytes ")).and_then(|r| r.split('-').next()?.parse().ok()) == Some(start)
}

/// What has come so far: a file that is locked as long as it is open.
struct Part {
    path: PathBuf,
    file: File,
}

impl Part {
    /// The part, if nobody else writes it. A file of its own: what is somewhere else, or no file, is not written into.
    fn open(path: &Path) -> Result<Option<Self>> {
        if path.symlink_metadata().is_ok_and(|about| !about.is_file()) {
            return Err(DataError::content(path, "it is no ordinary file; move it away"));
        }
        let mut options = OpenOptions::new();
        let file = options.create(true).read(true).append(true).open(path).map_err(DataError::io(path, "write"))?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => return Ok(None),
            // Where the file system has no locks, so be it.
            Ok(()) | Err(TryLockError::Error(_)) => {}
        }
        // The one before may have given it its name, or taken it away, meanwhile.
        Ok(same_file(&file, path).then(|| Self { path: path.to_owned(), file }))
    }

    fn length(&self) -> u64 {
        self.file.metadata().map_or(0, |about| about.len())
    }

    fn cut(&self, length: u64) -> Result<()> {
        self.file.set_len(length).map_err(DataError::io(&self.path, "write"))
    }

    fn hash(&self) -> Result<String> {
        let mut file = &self.file;
        file.rewind().map_err(DataError::io(&self.path, "read"))?;
        hash(file, &self.path)
    }
}

/// Whether this is still the file of this name.
#[cfg(unix)]
fn same_file(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let place = |about: fs::Metadata| (about.dev(), about.ino());
    file.metadata().map(place).ok() == path.symlink_metadata().map(place).ok()
}

/// Whether this is still the file of this name: an open file cannot be removed here.
#[cfg(not(unix))]
fn same_file(_: &File, _: &Path) -> bool {
    true
}

/// Gives a complete part its name, unless somebody else was faster.
fn publish(part: &Path, path: &Path) -> Result<()> {
    match fs::hard_link(part, path) {
        Ok(()) => fs::remove_file(part).map_err(DataError::io(part, "remove")),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Err(DataError::Exists(path.to_owned())),
        // A file system without links.
        Err(_) => fs::rename(part, path).map_err(DataError::io(path, "write")),
    }
}

/// A mirror may be given with a user and a password, which are nobody's business.
fn failed(url: &str, message: impl Into<String>) -> DataError {
    let start = url.find("://").map_or(0, |at| at + 3);
    let login = &url[start..url.rfind('@').map_or(start, |at| (at + 1).max(start))];
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let hide = |text: &str| {
        let text = if login.is_empty() { text.to_owned() } else { text.replace(login, "") };
        if query.is_empty() { text } else { text.replace(query, "***") }
    };
    DataError::Download { url: hide(url), message: hide(&message.into()) }
}

fn hash(mut file: impl Read, path: &Path) -> Result<String> {
    let (mut hasher, mut buffer) = (Sha256::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut buffer).map_err(DataError::io(path, "read"))? {
            0 => break,
            count => hasher.update(&buffer[..count]),
        }
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::net::{TcpListener, TcpStream};
    use std::sync::{Arc, Mutex};
    use std::thread;

    /// What is published: 200,000 bytes and their SHA-256 by another program (Python's hashlib).
    fn published() -> Vec<u8> {
        (0..200_000u32).map(|i| (i % 251) as u8).collect()
    }
    const FILES: &[Remote] = &[Remote {
        name: "data.bin",
        bytes: 200_000,
        sha256: "e24bc62381f1224fbbb74688663f8f9743b9680b193edd666835e97b06e730eb",
    }];
    const SET: DataSet = DataSet { name: "test", files: FILES, classes: &["a", "b"] };

    /// What the server does with each request after the other; the last goes for all further ones.
    #[derive(Clone)]
    enum Answer {
        /// The file, or the range of it that was asked for.
        Serve(Vec<u8>),
        /// The same, but the connection is cut after so many bytes.
        Cut(Vec<u8>, usize),
        /// The whole file, whatever range was asked for.
        Whole(Vec<u8>),
        /// A byte from time to time, for ever.
        Drip,
        Missing,
    }

    struct Server {
        mirror: String,
        /// The Range header of each request.
        ranges: Arc<Mutex<Vec<Option<String>>>>,
    }

    fn serve(answers: Vec<Answer>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mirror = format!("http://{}/files/", listener.local_addr().unwrap());
        let ranges = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&ranges);
        thread::spawn(move || {
            for (at, stream) in listener.incoming().enumerate() {
                let Ok(stream) = stream else { return };
                let range = answer(stream, &answers[at.min(answers.len() - 1)]);
                seen.lock().unwrap().push(range);
            }
        });
        Server { mirror, ranges }
    }

    fn answer(mut stream: TcpStream, answer: &Answer) -> Option<String> {
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(std::result::Result::ok);
        let request: Vec<String> = lines.by_ref().take_while(|l| !l.is_empty()).collect();
        let range = request.iter().find_map(|l| l.to_lowercase().strip_prefix("range: ").map(str::to_owned));
        let start = |bytes: &[u8]| -> usize {
            let start = range.as_ref().map(|r| r.trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap());
            start.unwrap_or(0).min(bytes.len())
        };
        let (bytes, start, cut) = match answer {
            Answer::Missing => {
                let _ =
                    stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\nConnection: close\r\n\r\ngone");
                return range;
            }
            Answer::Drip => {
                let mut sent = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n");
                while sent.is_ok() {
                    thread::sleep(Duration::from_millis(20));
                    sent = stream.write_all(b"x");
                }
                return range;
            }
            Answer::Serve(bytes) => (bytes, start(bytes), usize::MAX),
            Answer::Cut(bytes, cut) => (bytes, start(bytes), *cut),
            Answer::Whole(bytes) => (bytes, 0, usize::MAX),
        };
        let status = if start > 0 {
            format!("206 Partial Content\r\nContent-Range: bytes {start}-{}/{}", bytes.len() - 1, bytes.len())
        } else {
            "200 OK".to_owned()
        };
        let body = &bytes[start..];
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body[..cut.min(body.len())]));
        range
    }

    fn fetch(folder: &Path, servers: &[&Server]) -> Result<Vec<u64>> {
        let mirrors: Vec<String> = servers.iter().map(|s| s.mirror.clone()).collect();
        let mut steps = Vec::new();
        SET.fetch(&mirrors, folder, &mut |p| steps.push(p.done))?;
        Ok(steps)
    }

    fn fetched(folder: &Path) -> bool {
        fs::read(folder.join("data.bin")).is_ok_and(|b| b == published()) && !folder.join("data.bin.part").exists()
    }

    #[test]
    fn a_whole_file_arrives_once() {
        let folder = tempfile::tempdir().unwrap();
        let server = serve(vec![Answer::Serve(published())]);
        let steps = fetch(folder.path(), &[&server]).unwrap();
        assert!(fetched(folder.path()));
        assert!(steps.is_sorted() && steps.last() == Some(&200_000));
        assert_eq!(fs::read_to_string(folder.path().join("classes.txt")).unwrap(), "a\nb\n");
        assert_eq!(fetch(folder.path(), &[&server]).unwrap(), [200_000]);
        assert_eq!(server.ranges.lock().unwrap().len(), 1, "what is there is not fetched again");
    }

    #[test]
    fn a_cut_download_goes_on_where_it_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let bytes = published();
        let server =
            serve(vec![Answer::Cut(bytes.clone(), 70_000), Answer::Cut(bytes.clone(), 50_000), Answer::Serve(bytes)]);
        fetch(folder.path(), &[&server]).unwrap();
        assert!(fetched(folder.path()));
        let ranges = server.ranges.lock().unwrap();
        assert_eq!(*ranges, [None, Some("bytes=70000-".to_owned()), Some("bytes=120000-".to_owned())]);
    }

    #[test]
    fn what_an_earlier_run_left_is_used() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("data.bin.part"), &published()[..150_000]).unwrap();
        let server = serve(vec![Answer::Serve(published())]);
        fetch(folder.path(), &[&server]).unwrap();
        assert!(fetched(folder.path()));
        assert_eq!(*server.ranges.lock().unwrap(), [Some("bytes=150000-".to_owned())]);
    }

    #[test]
    fn a_server_without_ranges_starts_anew() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("data.bin.part"), &published()[..150_000]).unwrap();
        fetch(folder.path(), &[&serve(vec![Answer::Whole(published())])]).unwrap();
        assert!(fetched(folder.path()));
    }

    #[test]
    fn the_next_mirror_helps_after_404_and_after_a_wrong_file() {
        let mut wrong = published();
        wrong[100_000] ^= 1;
        let longer = [published(), vec![0; 10_000]].concat();
        for first in [Answer::Missing, Answer::Serve(wrong), Answer::Serve(longer)] {
            let folder = tempfile::tempdir().unwrap();
            let (bad, good) = (serve(vec![first]), serve(vec![Answer::Serve(published())]));
            fetch(folder.path(), &[&bad, &good]).unwrap();
            assert!(fetched(folder.path()));
            assert_eq!(*good.ranges.lock().unwrap(), [None], "nothing of the wrong file was kept");
        }
    }

    #[test]
    fn a_failure_says_what_each_mirror_did_and_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut wrong = published();
        wrong[0] ^= 1;
        let servers = [serve(vec![Answer::Missing]), serve(vec![Answer::Serve(wrong)])];
        let message = fetch(folder.path(), &[&servers[0], &servers[1]]).unwrap_err().to_string();
        assert!(message.starts_with("data.bin: no mirror could send it: http://127.0.0.1"), "{message}");
        assert!(message.contains("404 Not Found") && message.contains("it sent another file: SHA-256"), "{message}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_mirrors_password_is_not_repeated() {
        let folder = tempfile::tempdir().unwrap();
        for mirror in [
            "http://ada:hunter2@127.0.0.1:1/x",
            "http://ada:hun/ter2@127.0.0.1:1",
            "ada:hunter2@here",
            "ht!p://a:hunter2@b",
            "http://127.0.0.1:1/x?key=hunter2",
        ] {
            let message = SET.fetch(&[mirror.to_owned()], folder.path(), &mut |_| ()).unwrap_err().to_string();
            assert!(!message.contains("hunter2") && !message.contains("ter2@"), "{message}");
        }
    }

    #[test]
    fn what_a_bad_mirror_began_does_not_spoil_the_next() {
        let wrong: Vec<u8> = published().iter().map(|b| b ^ 1).collect();
        for first in [Answer::Cut(wrong.clone(), 70_000), Answer::Cut(wrong, 150_000)] {
            let folder = tempfile::tempdir().unwrap();
            let (bad, good) = (serve(vec![first, Answer::Missing]), serve(vec![Answer::Serve(published())]));
            fetch(folder.path(), &[&bad, &good]).unwrap();
            assert!(fetched(folder.path()));
            let ranges = good.ranges.lock().unwrap();
            assert!(ranges.len() == 2 && ranges[0].is_some() && ranges[1].is_none(), "{ranges:?}");
        }
        // The same of what an earlier call has left.
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("data.bin.part"), vec![7; 150_000]).unwrap();
        fetch(folder.path(), &[&serve(vec![Answer::Serve(published())])]).unwrap();
        assert!(fetched(folder.path()));
    }

    #[test]
    fn of_four_at_once_one_downloads_and_the_others_wait() {
        let folder = tempfile::tempdir().unwrap();
        let server = serve(vec![Answer::Cut(published(), 120_000), Answer::Serve(published())]);
        let done: Vec<Result<Vec<u64>>> = thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| fetch(folder.path(), &[&server]))).collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        assert!(done.iter().all(Result::is_ok), "{done:?}");
        assert!(fetched(folder.path()));
        assert_eq!(*server.ranges.lock().unwrap(), [None, Some("bytes=120000-".to_owned())]);
        assert_eq!(fs::read_to_string(folder.path().join("classes.txt")).unwrap(), "a\nb\n");
    }

    #[test]
    fn a_mirror_that_drips_is_left_for_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let servers = [serve(vec![Answer::Drip]), serve(vec![Answer::Serve(published())])];
        let patience = Patience { time: Duration::from_secs(2), bytes: 10_000 };
        let mirrors = |servers: &[Server]| servers.iter().map(|s| s.mirror.clone()).collect::<Vec<_>>();
        SET.fetch_with(patience, &mirrors(&servers), folder.path(), &mut |_| {}).unwrap();
        assert!(fetched(folder.path()));
        let other = tempfile::tempdir().unwrap();
        let alone = SET.fetch_with(patience, &mirrors(&servers[..1]), other.path(), &mut |_| {}).unwrap_err();
        assert!(alone.to_string().contains("it stalls: "), "{alone}");
    }

    #[cfg(unix)]
    #[test]
    fn links_and_pipes_in_the_place_of_the_part_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (part, mine) = (folder.path().join("data.bin.part"), folder.path().join("mine"));
        fs::write(&mine, b"mine").unwrap();
        let server = serve(vec![Answer::Serve(published())]);
        for target in [mine.clone(), folder.path().join("nowhere")] {
            std::os::unix::fs::symlink(&target, &part).unwrap();
            let message = fetch(folder.path(), &[&server]).unwrap_err().to_string();
            assert!(message.ends_with("data.bin.part: it is no ordinary file; move it away"), "{message}");
            fs::remove_file(&part).unwrap();
        }
        assert!(std::process::Command::new("mkfifo").arg(&part).status().unwrap().success());
        assert!(fetch(folder.path(), &[&server]).unwrap_err().to_string().contains("no ordinary file"));
        assert_eq!((fs::read(&mine).unwrap(), folder.path().join("nowhere").exists()), (b"mine".to_vec(), false));
    }

    #[test]
    fn another_file_of_that_name_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("data.bin"), b"mine").unwrap();
        let message = fetch(folder.path(), &[&serve(vec![Answer::Serve(published())])]).unwrap_err().to_string();
        assert!(message.contains("it is not the published file"), "{message}");
        assert_eq!(fs::read(folder.path().join("data.bin")).unwrap(), b"mine");
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_list() {
        let message = DataSet::find("mnists").unwrap_err().to_string();
        assert_eq!(message, "there is no data set 'mnists' to fetch: expected mnist, fashion-mnist, cifar10");
    }
}
