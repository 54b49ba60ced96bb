//! A directory, an ultrapeer and a supernode, and those who share files there.

use harness::gaggle::{Gaggle, event};
use harness::{Deadline, Process, content};
use serde_json::Value;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Nothing that starts takes longer, and no look through a folder.
const START_S: u64 = 60;
/// What everybody wants.
pub(crate) const WANTED: &str = "blue moon payload.bin";
/// Small files of each sharer beside it, in the long form and in a check.
const SMALL: (usize, usize) = (1000, 100);

/// Where the hosts are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Place {
    /// All at one address.
    Loopback,
    /// Each at the first address of a public /24 of its own, in a namespace.
    Apart,
}

/// A kind of network, with what a sharer there is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Net {
    FastTrack,
    Gnutella,
    Napster,
}

/// Three networks and their folders, removed at the end.
pub(crate) struct Scene {
    dir: tempfile::TempDir,
    gaggle: Gaggle,
    place: Place,
    hosts: u8,
    /// The first of each network, and where it listens.
    servers: Vec<(Net, String, Process)>,
}

/// Somebody who shares.
pub(crate) struct Sharer {
    _process: Process,
    /// Where he gives his files out.
    pub(crate) addr: String,
    folder: PathBuf,
}

impl Net {
    pub(crate) const ALL: [Self; 3] = [Self::FastTrack, Self::Gnutella, Self::Napster];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::FastTrack => "fasttrack",
            Self::Gnutella => "gnutella",
            Self::Napster => "napster",
        }
    }
}

impl Scene {
    /// The three networks, each of one process so far, and the wanted file with its torrent.
    pub(crate) fn new(place: Place, len: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let gaggle = Gaggle::new(env!("CARGO_BIN_EXE_gaggle"));
        content::write(&dir.path().join("original").join(WANTED), len, 7).unwrap();
        let mut scene = Self { dir, gaggle, place, hosts: 0, servers: Vec::new() };
        for net in Net::ALL {
            let role: &[&str] = match net {
                Net::FastTrack => &["--role", "supernode"],
                Net::Gnutella => &["--role", "ultra"],
                Net::Napster => &[],
            };
            let (process, addr) = scene.node(net, net.name(), role);
            scene.servers.push((net, addr, process));
        }
        scene
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn original(&self) -> PathBuf {
        self.path("original").join(WANTED)
    }

    pub(crate) fn server(&self, net: Net) -> &str {
        let (_, addr, _) = self.servers.iter().find(|(of, ..)| *of == net).unwrap();
        addr
    }

    /// Address and port of one more host.
    fn listen(&mut self) -> String {
        self.hosts += 1;
        let ip: IpAddr = match self.place {
            Place::Loopback => Ipv4Addr::LOCALHOST.into(),
            Place::Apart => Ipv4Addr::new(198, 18, self.hosts, 1).into(),
        };
        format!("{ip}:0")
    }

    /// A process of a network that others can connect to.
    fn node(&mut self, net: Net, name: &str, flags: &[&str]) -> (Process, String) {
        let (home, listen) = (self.path(name), self.listen());
        let mut command = self.gaggle.command(&home);
        command.args(["net", net.name(), "--json"]).args(flags);
        // Who is behind a firewall in Napster listens to nobody.
        if net != Net::Napster || !flags.contains(&"--firewalled") {
            command.args(["--listen", &listen]);
        }
        let mut process = Process::start(name, command, &home).unwrap();
        let deadline = Deadline::after_secs(START_S);
        let said = process.wait_line(deadline, |said| event(said, "listening")).unwrap();
        (process, said["addr"].as_str().unwrap_or_default().to_owned())
    }

    /// Somebody with many small files of which one is called `rare NAME`, and with the wanted one if he `has` it.
    pub(crate) fn sharer(&mut self, net: Net, name: &str, has: bool) -> Sharer {
        self.sharer_with(net, name, has, &[])
    }

    /// The same, told something more.
    pub(crate) fn sharer_with(&mut self, net: Net, name: &str, has: bool, more: &[&str]) -> Sharer {
        let folder = self.path(name).join("shared");
        fs::create_dir_all(&folder).unwrap();
        let small = if harness::full() { SMALL.0 } else { SMALL.1 };
        for n in 0..small {
            fs::write(folder.join(format!("small {n:04} of {name}.txt")), format!("{name} {n}"))
                .unwrap();
        }
        fs::write(folder.join(format!("rare {name}.txt")), name).unwrap();
        if has {
            fs::copy(self.original(), folder.join(WANTED)).unwrap();
        }
        let server = self.server(net).to_owned();
        let role: &[&str] = match net {
            Net::FastTrack => &["--role", "node"],
            Net::Gnutella => &["--role", "leaf"],
            Net::Napster => &[],
        };
        let share = folder.display().to_string();
        let flags = [&["--connect", &server, "--share", &share], role, more].concat();
        let (process, addr) = self.node(net, name, &flags);
        Sharer { _process: process, addr, folder }
    }

    /// A peer of the wanted file's torrent, slow enough that others are needed.
    pub(crate) fn seed(&mut self, up: &str) -> (Process, String) {
        let torrent = self.path("wanted.torrent");
        self.gaggle.create(&self.original(), &torrent, &[]).unwrap();
        let (home, listen) = (self.path("seed"), self.listen());
        let mut command = self.gaggle.command(&home);
        command.arg("seed").arg(&torrent).arg("--data").arg(self.path("original"));
        command.args(["--json", "--listen", &listen, "--up", up]);
        let mut process = Process::start("seed", command, &home).unwrap();
        let deadline = Deadline::after_secs(START_S);
        let said = process.wait_line(deadline, |said| event(said, "seeding")).unwrap();
        (process, said["listen"].as_str().unwrap().to_owned())
    }

    /// Somebody who seeds what lies at these paths and publishes it in all networks, and what is said of each torrent.
    pub(crate) fn publisher(&mut self, paths: &[PathBuf], more: &[&str]) -> (Process, Vec<Value>) {
        let (home, listen) = (self.path("publisher"), self.listen());
        let mut command = self.gaggle.command(&home);
        command.args(["share", "--no-tracker", "--json", "--listen", &listen]).args(more);
        command.args(["--publish", "fasttrack,gnutella,napster"]).args(paths);
        for net in Net::ALL {
            command.args(["--server", &format!("{}={}", net.name(), self.server(net))]);
        }
        let mut process = Process::start("publisher", command, &home).unwrap();
        let deadline = Deadline::after_secs(START_S);
        let shared = deadline.poll(|| {
            process.still_runs()?;
            let said = process.said();
            let shared: Vec<_> = said.iter().filter_map(|said| event(said, "shared")).collect();
            Ok((shared.len() == paths.len()).then_some(shared))
        });
        let tail = process.tail();
        (process, shared.unwrap().unwrap_or_else(|| panic!("not shared\n{tail}")))
    }

    /// Ends the first of a network.
    pub(crate) fn close(&mut self, net: Net) {
        self.servers.retain(|(of, ..)| *of != net);
    }

    /// Runs a search to its end: exit code and objects.
    pub(crate) fn search(
        &self,
        words: &str,
        nets: &[Net],
        more: &[&str],
    ) -> (Option<i32>, Vec<Value>) {
        let mut command = self.gaggle.command(&self.path("asker"));
        command.args(["search", words, "--json", "--wait", "10s"]).args(more);
        for &net in nets {
            command.args(["--server", &format!("{}={}", net.name(), self.server(net))]);
        }
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let objects = text.lines().map(|line| serde_json::from_str(line).unwrap());
        (output.status.code(), objects.collect())
    }

    /// Searches until the first result has so many sources: sharers are heard of one after another.
    #[track_caller]
    pub(crate) fn search_until(&self, words: &str, nets: &[Net], sources: u64) -> Value {
        let deadline = Deadline::after_secs(START_S);
        let mut last = Vec::new();
        let found = deadline.poll(|| {
            // One result is enough; a second later its sources are there.
            let (_, objects) = self.search(words, nets, &["--limit", "1"]);
            let hit = objects.iter().find(|object| object["type"] == "hit").cloned();
            last = objects;
            Ok(hit.filter(|hit| hit["sources"].as_u64() >= Some(sources)))
        });
        found.unwrap().unwrap_or_else(|| panic!("{words} in {nets:?}: {last:#?}"))
    }

    /// A download of the first result, into a folder of its name.
    pub(crate) fn get(&mut self, name: &str, flags: &[&str]) -> Process {
        let listen = self.listen();
        let home = self.path("asker");
        let mut command = self.gaggle.command(&home);
        // No cache: who asks has never met the torrent.
        command.env("XDG_CACHE_HOME", self.path(name).join("cache"));
        command.args(["get", "1", "--json", "--seed", "never", "--listen", &listen]).arg("-o");
        command.arg(self.path(name).join("out")).args(flags);
        Process::start(name, command, &self.path(name)).unwrap()
    }

    /// Waits for the end of a download, which must have the right bytes: its last word about them.
    #[track_caller]
    pub(crate) fn finish(&self, name: &str, get: &mut Process) -> Value {
        self.finish_as(name, get, WANTED, &self.original())
    }

    /// The same of another file, which comes to lie somewhere below the output folder.
    #[track_caller]
    pub(crate) fn finish_as(
        &self,
        name: &str,
        get: &mut Process,
        copy: &str,
        original: &Path,
    ) -> Value {
        let deadline = Deadline::after_secs(90);
        let ended = deadline.poll(|| get.try_wait()).unwrap();
        let status = ended.unwrap_or_else(|| panic!("{name} does not end\n{}", get.tail()));
        assert!(status.success(), "{name}: {status}\n{}", get.tail());
        let complete = get.said().iter().find_map(|said| event(said, "complete"));
        let complete = complete.unwrap_or_else(|| panic!("{name} is not complete\n{}", get.tail()));
        let copy = self.path(name).join("out").join(copy);
        assert!(fs::read(original).unwrap() == fs::read(copy).unwrap(), "{name} differs");
        complete
    }
}

impl Sharer {
    /// Whether he has the wanted file.
    pub(crate) fn has(&self) -> bool {
        self.folder.join(WANTED).exists()
    }

    /// From now on he gives wrong bytes, and believes them to be right: same length, same time.
    pub(crate) fn spoil(&self) {
        let path = self.folder.join(WANTED);
        let time: SystemTime = fs::metadata(&path).unwrap().modified().unwrap();
        let mut bytes = fs::read(&path).unwrap();
        bytes.iter_mut().for_each(|byte| *byte = !*byte);
        fs::write(&path, bytes).unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    }
}
