//! A private PostgreSQL server in a temporary folder, and a proxy on loopback that can cut every connection.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, Weak};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A running server; it ends with the value.
pub struct Server {
    folder: TempDir,
    port: u16,
    process: Mutex<Child>,
}

impl Server {
    /// Starts a server, or says that its programs are missing.
    pub fn start() -> Option<Self> {
        if program("initdb").is_none() || program("postgres").is_none() {
            eprintln!("skipped: the PostgreSQL server programs are not installed");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        if let Some((uid, gid)) = unprivileged() {
            std::os::unix::fs::chown(folder.path(), Some(uid), Some(gid)).unwrap();
        }
        let data = folder.path().join("data");
        let made = command("initdb")
            .args(["--auth=trust", "--username=lossmith", "--no-sync", "--no-locale", "--encoding=UTF8", "-D"])
            .arg(&data)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let port = free_port();
        let process = Mutex::new(spawn(&data, port));
        let server = Self { folder, port, process };
        server.wait();
        Some(server)
    }

    /// One server for all tests that run at the same time and do it no harm.
    pub fn shared() -> Option<Arc<Self>> {
        static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap();
        if let Some(server) = shared.upgrade() {
            return Some(server);
        }
        let server = Arc::new(Self::start()?);
        *shared = Arc::downgrade(&server);
        Some(server)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address of a study.
    pub fn url(&self, study: &str) -> String {
        url(self.port, study)
    }

    pub fn client(&self) -> postgres::Client {
        postgres::Client::connect(&url(self.port, "x").replace("#x", ""), postgres::NoTls).unwrap()
    }

    /// kill -9 for the server and all that belongs to it.
    pub fn kill(&self) {
        kill_group(&mut self.process.lock().unwrap());
    }

    pub fn start_again(&self) {
        *self.process.lock().unwrap() = spawn(&self.folder.path().join("data"), self.port);
        self.wait();
    }

    fn wait(&self) {
        let begun = Instant::now();
        while postgres::Client::connect(&url(self.port, "x").replace("#x", ""), postgres::NoTls).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(60), "the server does not start");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

pub fn url(port: u16, study: &str) -> String {
    format!("postgres://lossmith@127.0.0.1:{port}/postgres#{study}")
}

fn spawn(data: &Path, port: u16) -> Child {
    let log = std::fs::File::create(data.with_extension("log")).unwrap();
    command("postgres")
        .arg("-D")
        .arg(data)
        .args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="])
        .args(["-c", "shared_buffers=16MB", "-c", "max_connections=60"])
        .stdout(Stdio::null())
        .stderr(log)
        .process_group(0)
        .spawn()
        .unwrap()
}

/// kill -9 for a process that has a group of its own, and for all in it. One that has ended is left alone: its number may
/// be another's by now.
pub fn kill_group(process: &mut Child) {
    if process.try_wait().unwrap().is_none() {
        Command::new("kill").args(["-9", "--", &format!("-{}", process.id())]).status().unwrap();
        process.wait().unwrap();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The server refuses to run as root.
fn command(name: &str) -> Command {
    let mut command = Command::new(program(name).unwrap());
    command.env("LC_ALL", "C").current_dir("/");
    if let Some((uid, gid)) = unprivileged() {
        command.uid(uid).gid(gid);
    }
    command
}

/// User and group to become where this process is root: postgres, else nobody.
fn unprivileged() -> Option<(u32, u32)> {
    let own = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let is_root = own.lines().any(|line| line.starts_with("Uid:\t0\t"));
    if !is_root {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let find = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    find("postgres").or_else(|| find("nobody"))
}

fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|d| d.path().join("bin"));
    std::env::split_paths(&path).chain(debian).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Forwards connections to a port, and cuts them all when told.
pub struct Proxy {
    port: u16,
    lines: Arc<Mutex<Vec<TcpStream>>>,
}

impl Proxy {
    pub fn to(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept: Arc<Mutex<Vec<TcpStream>>> = Arc::clone(&lines);
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let Ok(far) = TcpStream::connect(("127.0.0.1", target)) else { continue };
                kept.lock().unwrap().extend([near.try_clone().unwrap(), far.try_clone().unwrap()]);
                let (near_again, far_again) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                thread::spawn(move || forward(near, far));
                thread::spawn(move || forward(far_again, near_again));
            }
        });
        Self { port, lines }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Cuts every connection and says how many there were.
    pub fn cut(&self) -> usize {
        let lines: Vec<TcpStream> = self.lines.lock().unwrap().drain(..).collect();
        lines.iter().filter(|line| line.shutdown(Shutdown::Both).is_ok()).count() / 2
    }
}

fn forward(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
