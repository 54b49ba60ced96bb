//! A child process that cannot outlive its handle.

use crate::Deadline;
use anyhow::{Context, bail};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

/// Clock ticks per second in `/proc`: the same on every Linux that exists.
const TICKS_PER_S: f64 = 100.0;
/// Lines of a log that an error shows.
const LOG_TAIL: usize = 30;

/// A line that a process wrote to stdout, and when.
#[derive(Clone, Debug)]
pub struct Said {
    /// When the line was read.
    pub at: Instant,
    /// The line, without its end.
    pub text: String,
}

#[derive(Default)]
struct Lines {
    said: Mutex<Vec<Said>>,
    more: Condvar,
}

/// A running program. Dropping it kills the program and waits for it.
pub struct Process {
    name: String,
    child: Child,
    status: Option<ExitStatus>,
    cpu_s: f64,
    log: PathBuf,
    lines: Arc<Lines>,
    started: Instant,
}

impl Process {
    /// Starts `command`. Stdout is kept line by line and copied to `LOG_DIR/NAME.log`, stderr to `NAME.err`.
    ///
    /// # Errors
    /// The program or the log folder cannot be used.
    pub fn start(name: &str, mut command: Command, log_dir: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(log_dir)?;
        let log = log_dir.join(format!("{name}.log"));
        let errors = File::create(log_dir.join(format!("{name}.err")))?;
        let mut copy = File::create(&log)?;
        let started = Instant::now();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .with_context(|| format!("cannot start {name}: {command:?}"))?;
        let stdout = child.stdout.take().context("stdout was asked for")?;
        let lines = Arc::new(Lines::default());
        let shared = Arc::clone(&lines);
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                // A log that cannot be written must not silence the process.
                writeln!(copy, "{text}").ok();
                let said = Said { at: Instant::now(), text };
                shared.said.lock().expect("readers do not panic").push(said);
                shared.more.notify_all();
            }
            shared.more.notify_all();
        });
        Ok(Self { name: name.to_owned(), child, status: None, cpu_s: 0.0, log, lines, started })
    }

    /// When it was started.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Writes one line to its stdin.
    ///
    /// # Errors
    /// The process has closed its stdin.
    pub fn tell(&mut self, line: &str) -> anyhow::Result<()> {
        let stdin = self.child.stdin.as_mut().context("stdin is open")?;
        writeln!(stdin, "{line}")?;
        Ok(stdin.flush()?)
    }

    /// Everything that it said so far.
    pub fn said(&self) -> Vec<Said> {
        self.lines.said.lock().expect("readers do not panic").clone()
    }

    /// Waits for a line of its stdout and returns what `pick` makes of it.
    ///
    /// # Errors
    /// The deadline passed, or the process ended without such a line; with the tail of its log.
    pub fn wait_line<T>(
        &mut self,
        deadline: Deadline,
        pick: impl Fn(&Said) -> Option<T>,
    ) -> anyhow::Result<T> {
        let mut seen = 0;
        loop {
            // Looked at before the lines, so that the last words of a process that ended are still read.
            let ended = self.try_wait()?;
            let lines = self.lines.said.lock().expect("readers do not panic");
            if let Some(found) = lines[seen..].iter().find_map(&pick) {
                return Ok(found);
            }
            seen = lines.len();
            if deadline.passed() {
                drop(lines);
                bail!("{}: the line never came\n{}", self.name, self.tail());
            }
            let pause = std::time::Duration::from_millis(20);
            drop(self.lines.more.wait_timeout(lines, pause).expect("readers do not panic"));
            let quiet = self.lines.said.lock().expect("readers do not panic").len() == seen;
            if let Some(status) = ended.filter(|_| quiet) {
                bail!("{} ended with {status} before the line came\n{}", self.name, self.tail());
            }
        }
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// The operating system lost track of it.
    pub fn try_wait(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        if self.status.is_none() {
            if let Some(cpu) = cpu_of(self.child.id()) {
                self.cpu_s = cpu;
            }
            self.status = self.child.try_wait()?;
        }
        Ok(self.status)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It still runs at the deadline.
    pub fn wait(&mut self, deadline: Deadline) -> anyhow::Result<ExitStatus> {
        match deadline.poll(|| self.try_wait())? {
            Some(status) => Ok(status),
            None => bail!("{} does not end\n{}", self.name, self.tail()),
        }
    }

    /// Fails if it has ended: something that should serve for the whole test is gone.
    ///
    /// # Errors
    /// How it ended, with the tail of its log.
    pub fn still_runs(&mut self) -> anyhow::Result<()> {
        match self.try_wait()? {
            Some(status) => bail!("{} ended with {status}\n{}", self.name, self.tail()),
            None => Ok(()),
        }
    }

    /// Asks it to end as Ctrl-C and `kill` do.
    ///
    /// # Errors
    /// `kill` cannot be run.
    pub fn terminate(&mut self) -> anyhow::Result<()> {
        if self.try_wait()?.is_none() {
            Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status()?;
        }
        Ok(())
    }

    /// Ends it as `kill -9` does and returns everything that it had said.
    ///
    /// # Errors
    /// It had ended by itself.
    pub fn kill(mut self) -> anyhow::Result<Vec<Said>> {
        self.still_runs()?;
        self.child.kill()?;
        self.child.wait()?;
        // The reader holds the other half until it has read to the end.
        while Arc::strong_count(&self.lines) > 1 {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        Ok(self.said())
    }

    /// The most memory that it ever held at once, in bytes; `None` once it is gone.
    pub fn peak_bytes(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        Some(peak.trim().strip_suffix("kB")?.trim_end().parse::<u64>().ok()? * 1024)
    }

    /// CPU seconds so far, user and system, measured at this call or, once it ended, at the last look before.
    pub fn cpu_s(&mut self) -> f64 {
        if self.status.is_none()
            && let Some(cpu) = cpu_of(self.child.id())
        {
            self.cpu_s = cpu;
        }
        self.cpu_s
    }

    /// The last words of its stdout and stderr, for an error.
    pub fn tail(&self) -> String {
        let mut text = String::new();
        for path in [self.log.clone(), self.log.with_extension("err")] {
            let bytes = fs::read(&path).unwrap_or_default();
            let whole = String::from_utf8_lossy(&bytes);
            // Of hundreds of progress lines only the last says something.
            let is_progress = |line: &&str| line.contains(r#""progress""#);
            let last = whole.lines().rfind(is_progress).unwrap_or("");
            let mut kept: Vec<&str> = whole.lines().filter(|line| !is_progress(line)).collect();
            kept.drain(..kept.len().saturating_sub(LOG_TAIL));
            text += &format!("--- {}\n{}\n{last}\n", path.display(), kept.join("\n"));
        }
        text
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// User and system seconds of a process; `None` once it is gone.
fn cpu_of(pid: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok());
    Some((ticks(11)? + ticks(12)?) / TICKS_PER_S)
}
