//! Runs the program in a world of its own: home, state and working folder are temporary.

use serde_json::Value;
use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

/// Nothing here takes longer, whatever the machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A folder in which programs run, removed at the end.
pub(crate) struct World {
    dir: tempfile::TempDir,
}

/// A program that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// A program that runs. Dropping it kills it.
pub(crate) struct Running {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file, folders included.
    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    pub(crate) fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gaggle"));
        command.args(args).current_dir(self.dir.path()).stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("GAGGLE_") || name == "RUST_LOG" {
                command.env_remove(name);
            }
        }
        command.env("GAGGLE_NO_LSD", "1"); // nothing here speaks to the neighbours
        command.env("GAGGLE_DHT_BOOTSTRAP", "none"); // nor to the public DHT
        command.env("GAGGLE_NO_UPNP", "1"); // nor to the router
        for (name, folder) in
            [("CONFIG", "config"), ("STATE", "state"), ("CACHE", "cache"), ("DATA", "data")]
        {
            command.env(format!("XDG_{name}_HOME"), self.path(folder));
        }
        command
    }

    /// Runs it to its end.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Ended {
        ended(&mut self.command(args))
    }

    /// Makes a folder `closed` that nobody may write to, and runs the program so that this holds for root too.
    pub(crate) fn run_beside_a_closed_folder(&self, args: &[&str]) -> Ended {
        let closed = self.path("closed");
        std::fs::create_dir(&closed).unwrap();
        std::fs::set_permissions(&closed, PermissionsExt::from_mode(0o500)).unwrap();
        if std::fs::write(closed.join("x"), "x").is_err() {
            return self.run(args);
        }
        // Root without the right to pass over permissions is like anybody.
        let like = self.command([""; 0]);
        let mut command = Command::new("setpriv");
        command.arg("--bounding-set=-dac_override,-dac_read_search").arg(like.get_program());
        command.args(args).current_dir(self.dir.path()).stdin(Stdio::null());
        for (name, value) in like.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        ended(&mut command)
    }

    /// Starts it and reads its stdout line by line.
    pub(crate) fn start<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Running {
        let mut command = self.command(args);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Running { child, out }
    }
}

/// Runs a command to its end.
pub(crate) fn ended(command: &mut Command) -> Ended {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the program writes UTF-8");
    Ended { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

impl Ended {
    /// The lines of `--json`; each must be an object with a type.
    #[track_caller]
    pub(crate) fn json(&self) -> Vec<Value> {
        let lines = self.out.lines().map(|line| {
            let value: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"));
            assert!(value["type"].is_string(), "{line}");
            value
        });
        lines.collect()
    }

    /// The first object of this type.
    #[track_caller]
    pub(crate) fn event(&self, kind: &str) -> Value {
        let found = self.json().into_iter().find(|event| event["type"] == kind);
        found.unwrap_or_else(|| panic!("no {kind} in {self:#?}"))
    }
}

impl Running {
    /// The next line of stdout; `None` at its end.
    pub(crate) fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.out.read_line(&mut line).unwrap();
        (read > 0).then(|| line.trim_end().to_owned())
    }

    /// Sends a signal by name, such as `INT`.
    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Waits for its end: exit code and the rest of stdout.
    pub(crate) fn wait(mut self) -> (Option<i32>, String) {
        let mut naps = 0..PATIENCE.as_millis() / 10;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(naps.next().is_some(), "still running after {PATIENCE:?}");
            std::thread::sleep(Duration::from_millis(10));
        };
        let mut rest = String::new();
        self.out.read_to_string(&mut rest).unwrap();
        (status.code(), rest)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
