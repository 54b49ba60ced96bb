//! A host on loopback, asked as other programs ask.

mod dialogues;
mod foreign;
mod limits;
mod queues;

use super::*;
use crate::share;
use gaggle_core::overlay::fasttrack::SlotLimits;
use std::fs;
use std::path::Path;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// The content of a file of so many bytes, without a period that a mistake could hide behind.
fn content(len: usize) -> Vec<u8> {
    (0..len as u64).map(|i| (i.wrapping_mul(i).wrapping_mul(31) + i / 7) as u8).collect()
}

fn me() -> Me {
    Me { addr: "1.2.3.4:1214".parse().unwrap(), user: "ann".into(), supernode: None }
}

/// A folder that is shared, and what it is asked for.
struct Desk {
    dir: tempfile::TempDir,
    library: Library,
}

impl Desk {
    async fn new(files: &[(&str, &[u8])]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("top");
        for (path, content) in files {
            let path = top.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let config = share::Config {
            torrents: true,
            rescan: Duration::from_secs(3600),
            threads: Some(1),
            ..share::Config::new(vec![top], dir.path().join("state"))
        };
        let library = Library::start(config, Clock::start()).unwrap();
        library.watch().wait_for(|view| view.looks > 0).await.unwrap();
        Self { dir, library }
    }

    fn top(&self) -> std::path::PathBuf {
        self.dir.path().join("top")
    }

    /// The number of a file and what it is.
    fn item(&self, name: &str) -> (u32, Arc<Item>) {
        let catalogue = self.library.catalogue();
        let mut named = catalogue.iter().filter(|(_, item)| item.name == name);
        let (number, item) = named.next().unwrap();
        (number, Arc::clone(item))
    }

    fn sha1(&self, name: &str) -> String {
        gnutella_urn(&self.item(name).1)
    }

    async fn gnutella(&self, change: impl FnOnce(&mut Config)) -> Host {
        self.host(Dialect::Gnutella, change).await
    }

    async fn fasttrack(&self, change: impl FnOnce(&mut Config)) -> Host {
        self.host(Dialect::FastTrack(me()), change).await
    }

    async fn host(&self, dialect: Dialect, change: impl FnOnce(&mut Config)) -> Host {
        let mut config = Config::new(dialect);
        change(&mut config);
        let uploads = Uploads::new(config, self.library.clone(), Clock::start());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        let serving = uploads.clone();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, from) = listener.accept().await.unwrap();
                let uploads = serving.clone();
                connections
                    .spawn(async move { uploads.serve(stream, from, BytesMut::new()).await });
            }
        });
        Host { uploads, addr, _tasks: tasks }
    }
}

fn gnutella_urn(item: &Item) -> String {
    gaggle_core::proto::gnutella::Urn::Sha1(item.hashes.unwrap().sha1).to_string()
}

struct Host {
    uploads: Uploads,
    addr: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Host {
    async fn dial(&self) -> Asker {
        Asker { stream: TcpStream::connect(self.addr).await.unwrap(), read: Vec::new() }
    }

    /// One request on a connection of its own.
    async fn ask(&self, request: &str) -> Answer {
        self.dial().await.ask(request).await
    }

    async fn until(&self, what: &str, mut is: impl FnMut(Status) -> bool) {
        let began = tokio::time::Instant::now();
        while !is(self.uploads.status()) {
            assert!(began.elapsed() < LATE, "waited for {what}: {:?}", self.uploads.status());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Longer than anything takes on a machine that has other things to do.
const LATE: Duration = Duration::from_secs(30);

/// Somebody who asks, on one connection.
struct Asker {
    stream: TcpStream,
    read: Vec<u8>,
}

#[derive(Debug)]
struct Answer {
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn status(&self) -> u16 {
        self.head[9..12].parse().unwrap()
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

impl Asker {
    async fn say(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    async fn ask(&mut self, request: &str) -> Answer {
        self.say(request).await;
        self.answer(request.starts_with("HEAD")).await.unwrap_or_else(|| panic!("{request}"))
    }

    /// The next answer; `None` if the host closes.
    async fn answer(&mut self, head_only: bool) -> Option<Answer> {
        let head = loop {
            if let Some(end) = self.read.windows(4).position(|end| end == b"\r\n\r\n") {
                break self.read.drain(..end + 4).collect::<Vec<u8>>();
            }
            if self.more().await == 0 {
                assert!(self.read.is_empty(), "cut: {}", self.read.escape_ascii());
                return None;
            }
        };
        let mut answer = Answer { head: String::from_utf8(head).unwrap(), body: Vec::new() };
        let len: usize = answer.field("Content-Length").unwrap().parse().unwrap();
        if !head_only {
            while self.read.len() < len {
                assert_ne!(self.more().await, 0, "the body is cut");
            }
            answer.body = self.read.drain(..len).collect();
        }
        Some(answer)
    }

    async fn more(&mut self) -> usize {
        let read = self.stream.read_buf(&mut self.read);
        tokio::time::timeout(LATE, read).await.expect("an answer").unwrap_or(0)
    }

    /// Whether the host closes without another word.
    async fn is_closed(&mut self) -> bool {
        self.more().await == 0
    }
}

async fn event(events: &mut broadcast::Receiver<Event>) -> Event {
    tokio::time::timeout(LATE, events.recv()).await.expect("an event").unwrap()
}

/// No word of a host says where anything lies.
fn no_path(desk: &Desk, answer: &Answer) {
    let text = format!("{}{}", answer.head, String::from_utf8_lossy(&answer.body));
    let dir: &Path = desk.dir.path();
    assert!(!text.contains(dir.to_str().unwrap()) && !text.contains("top"), "{text}");
}
