//! Dialogues over real connections on loopback with the drivers that `gaggle net napster` runs, in both roles, frame by
//! frame. Frames are put together here by hand, and compared byte by byte.

mod client;
mod directory;
mod limits;
mod net;
mod transfer;

use super::client::{Client, Config as ClientConfig};
use super::directory::{Config as DirectoryConfig, Directory};
use crate::net::Clock;
use crate::share::{Config as ShareConfig, Library};
use gaggle_core::overlay::napster::{DirectoryConfig as Terms, Limits};
use gaggle_core::proto::napster::Nick;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// Nothing here takes longer, whatever the machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// 127.0.0.1 as messages have it.
const HERE: &str = "16777343";
/// What a hash field holds where nobody knows one.
const NO_HASH: &str = "00000000000000000000000000000000";
const PROGRAM: &str = concat!("gaggle ", env!("CARGO_PKG_VERSION"));

fn here() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

fn nick(name: &str) -> Nick {
    Nick::new(name.as_bytes()).unwrap()
}

/// The bytes of a frame: the length of its text, its number, its text.
fn frame(kind: u16, text: impl AsRef<[u8]>) -> Vec<u8> {
    let text = text.as_ref();
    let mut bytes = (text.len() as u16).to_le_bytes().to_vec();
    bytes.extend_from_slice(&kind.to_le_bytes());
    bytes.extend_from_slice(text);
    bytes
}

/// `2 text` as a frame.
fn line(text: &str) -> Vec<u8> {
    let (kind, text) = text.split_once(' ').unwrap();
    frame(kind.parse().unwrap(), text)
}

/// One end of a connection on which frames are spoken.
struct Wire {
    stream: TcpStream,
}

impl Wire {
    async fn dial(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream }
    }

    async fn accept(listener: &TcpListener) -> Self {
        let (stream, _) =
            timeout(PATIENCE, listener.accept()).await.expect("nobody comes").unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream }
    }

    async fn say(&mut self, text: &str) {
        self.write(&line(text)).await;
    }

    async fn write(&mut self, bytes: &[u8]) {
        timeout(PATIENCE, self.stream.write_all(bytes)).await.expect("nobody reads").unwrap();
    }

    /// The next frame, as its number and text.
    async fn next(&mut self) -> String {
        let mut head = [0; 4];
        let read = timeout(PATIENCE, self.stream.read_exact(&mut head)).await;
        read.expect("nothing comes").expect("it was closed");
        let mut data = vec![0; u16::from_le_bytes([head[0], head[1]]).into()];
        self.stream.read_exact(&mut data).await.unwrap();
        let kind = u16::from_le_bytes([head[2], head[3]]);
        format!("{kind} {}", String::from_utf8_lossy(&data))
    }

    /// Reads as many bytes as these frames have, and compares them.
    #[track_caller]
    fn hears<'a>(&'a mut self, want: &'a [&str]) -> impl Future<Output = ()> + 'a {
        let at = std::panic::Location::caller();
        async move {
            for text in want {
                let wanted = line(text);
                let mut got = vec![0; wanted.len()];
                let read = timeout(PATIENCE, self.stream.read_exact(&mut got)).await;
                let read = read.unwrap_or_else(|_| panic!("{at}: {text} does not come"));
                read.unwrap_or_else(|error| panic!("{at}: {text} does not come: {error}"));
                assert!(
                    got == wanted,
                    "{at}: {}\ninstead of {}",
                    got.escape_ascii(),
                    wanted.escape_ascii()
                );
            }
        }
    }

    /// Reads exactly this, which is not framed.
    #[track_caller]
    fn reads<'a>(&'a mut self, want: &'a [u8]) -> impl Future<Output = ()> + 'a {
        let at = std::panic::Location::caller();
        async move {
            let mut got = vec![0; want.len()];
            let read = timeout(PATIENCE, self.stream.read_exact(&mut got)).await;
            let read = read.unwrap_or_else(|_| panic!("{at}: nothing comes"));
            read.unwrap_or_else(|error| panic!("{at}: {error}"));
            assert!(got == want, "{at}: {}", got.escape_ascii());
        }
    }

    /// Reads to the end; an error counts as one.
    async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let read = timeout(PATIENCE, self.stream.read_to_end(&mut rest)).await;
        _ = read.expect("it is not closed");
        rest
    }

    /// Reads to the end, which must come properly: with a reset, last words are lost.
    async fn ends(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let read = timeout(PATIENCE, self.stream.read_to_end(&mut rest)).await;
        read.expect("it is not closed").expect("it was reset");
        rest
    }

    /// Logs in at a directory of ours that says how many are here, and reads its greeting.
    async fn login(addr: SocketAddr, nick: &str, port: u16) -> Self {
        let mut wire = Self::dial(addr).await;
        wire.say(&format!("2 {nick} pw {port} \"test 1\" 7")).await;
        assert_eq!(wire.next().await, "3 anon@gaggle");
        while !wire.next().await.starts_with("751 ") {}
        wire
    }
}

/// A port at which somebody can be reached.
async fn port() -> (TcpListener, u16) {
    let listener = TcpListener::bind(here()).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// A directory without the extension, as old clients know it.
fn plain() -> Terms {
    Terms { swarm_extension: false, ..Terms::default() }
}

fn directory(terms: Terms) -> Directory {
    let config = DirectoryConfig { listen: here(), lan: false, directory: terms, state_dir: None };
    Directory::start(config, Clock::start()).unwrap()
}

/// A folder with files that nobody has touched for a long time.
struct Folder {
    dir: tempfile::TempDir,
}

impl Folder {
    fn new(files: &[(&str, &[u8])]) -> Self {
        let folder = Self { dir: tempfile::tempdir().unwrap() };
        std::fs::create_dir(folder.top()).unwrap();
        files.iter().for_each(|(name, content)| folder.put(name, content));
        folder
    }

    fn top(&self) -> std::path::PathBuf {
        self.dir.path().join("top")
    }

    fn put(&self, name: &str, content: &[u8]) {
        let path = self.top().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        let time = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_times(std::fs::FileTimes::new().set_modified(time)).unwrap();
    }

    /// A library that knows so many of its files, and soon what becomes of them.
    async fn library(&self, files: usize, torrents: bool) -> Library {
        self.looked(files, torrents, Duration::from_millis(100)).await
    }

    /// A library that looks again after this time.
    async fn looked(&self, files: usize, torrents: bool, rescan: Duration) -> Library {
        let config = ShareConfig {
            rescan,
            threads: Some(2),
            torrents,
            ..ShareConfig::new(vec![self.top()], self.dir.path().join("state"))
        };
        let library = Library::start(config, Clock::start()).unwrap();
        let mut view = library.watch();
        let all = view.wait_for(|view| view.to_hash == 0 && view.catalogue.len() == files);
        timeout(PATIENCE, all).await.expect("the folder is not looked through").unwrap();
        library
    }
}

/// A client of a server, which listens.
fn client(server: SocketAddr, name: &str, library: Option<Library>) -> Client {
    let config = ClientConfig::new(vec![server.to_string()], nick(name), Some(here()));
    Client::start(config, library, Clock::start()).unwrap()
}

/// A client to which nobody can connect.
fn walled(server: SocketAddr, name: &str, library: Option<Library>) -> Client {
    let config = ClientConfig::new(vec![server.to_string()], nick(name), None);
    Client::start(config, library, Clock::start()).unwrap()
}

/// Bytes that do not repeat soon.
fn content(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n * 7 + n / 251) as u8).collect()
}

async fn until<T: Clone>(
    mut status: tokio::sync::watch::Receiver<T>,
    what: &str,
    is: impl FnMut(&T) -> bool,
) -> T {
    let seen = timeout(PATIENCE, status.wait_for(is)).await;
    seen.unwrap_or_else(|_| panic!("waited for {what}")).unwrap().clone()
}
