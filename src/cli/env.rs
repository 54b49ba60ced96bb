//! What every verb is given: the two output streams, how to talk, and the settings.
//!
//! Results go to stdout, everything else to stderr; with `--json` stdout is JSON Lines and nothing
//! else. A reader that closes stdout early is no error: the rest is left unsaid.

use super::GlobalArgs;
use super::event::Event;
use super::exit::{Exit, Failure};
use super::signal::Signals;
use crate::config::{Color, Dirs, Layers, Progress, Settings};
use indicatif::MultiProgress;
use std::fmt::Display;
use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::sync::OnceLock;

/// The surroundings of a verb.
pub(super) struct Env {
    /// Whether stdout is JSON Lines.
    pub json: bool,
    /// Whether progress and remarks are left out.
    pub quiet: bool,
    /// How to show progress; never `Auto`.
    pub progress: Progress,
    /// Colours of stderr.
    pub style: Style,
    /// Bars, and the only way to write lines above them.
    pub bars: MultiProgress,
    /// File and environment, with their origins.
    pub layers: Layers,
    /// The same, checked.
    pub settings: Settings,
    /// The user's folders.
    pub dirs: Dirs,
    /// Ctrl-C and SIGTERM.
    pub signals: Signals,
    /// Of a simulation that was played; goes into the last line of JSON.
    pub trace_hash: OnceLock<String>,
}

/// Colours, or none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    color: bool,
}

impl Style {
    /// For stderr.
    pub(super) fn of_stderr(when: Color) -> Self {
        let plain = || {
            let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
            set("NO_COLOR") || std::env::var_os("TERM").is_some_and(|term| term == "dumb")
        };
        let color = match when {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => std::io::stderr().is_terminal() && !plain(),
        };
        Self { color }
    }

    /// Bold red.
    pub(super) fn error(self, text: impl Display) -> String {
        self.wrap("1;31", text)
    }

    /// Cyan.
    pub(super) fn hint(self, text: impl Display) -> String {
        self.wrap("36", text)
    }

    /// Whether colours are used at all.
    pub(super) fn colored(self) -> bool {
        self.color
    }

    fn wrap(self, code: &str, text: impl Display) -> String {
        if self.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
    }
}

/// A writer to stderr that puts its lines above the bars.
pub(super) struct AboveBars(pub MultiProgress);

impl std::io::Write for AboveBars {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.suspend(|| std::io::stderr().lock().write(bytes))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Env {
    /// Reads the configuration and settles how to talk.
    pub(super) fn new(args: &GlobalArgs) -> anyhow::Result<Self> {
        let mut dirs = Dirs::of_user().map_err(Failure::from)?;
        let layers = Layers::of_user(&dirs).map_err(Failure::from)?;
        let settings = layers.settings().map_err(Failure::from)?;
        if let Some(dir) = args.state_dir.as_ref().or(settings.paths_state_dir.as_ref()) {
            dirs.state = std::path::absolute(dir).unwrap_or_else(|_| dir.clone());
        }
        let progress = args.progress.unwrap_or(settings.output.progress);
        Ok(Self {
            json: args.json,
            quiet: args.quiet,
            progress: effective(progress, args),
            style: Style::of_stderr(args.color.unwrap_or(settings.output.color)),
            bars: MultiProgress::new(),
            layers,
            settings,
            dirs,
            signals: Signals::listen()?,
            trace_hash: OnceLock::new(),
        })
    }

    /// Writes a result for people and scripts; nothing with `--json`, which has its own lines.
    pub(super) fn result(&self, line: impl Display) -> anyhow::Result<()> {
        if self.json {
            return Ok(());
        }
        self.stdout(format!("{line}\n"))
    }

    /// Writes one line of `--json`; nothing without it.
    pub(super) fn emit(&self, event: &Event<'_>) -> anyhow::Result<()> {
        if !self.json {
            return Ok(());
        }
        self.stdout(format!("{}\n", serde_json::to_string(event)?))
    }

    /// Writes text or bytes to stdout as they are.
    pub(super) fn stdout(&self, text: impl AsRef<[u8]>) -> anyhow::Result<()> {
        let written = self.bars.suspend(|| {
            let mut out = std::io::stdout().lock();
            out.write_all(text.as_ref()).and_then(|()| out.flush())
        });
        match written {
            Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(()),
            Err(e) => Err(Failure::io("cannot write to stdout", &e).into()),
            Ok(()) => Ok(()),
        }
    }

    /// Says something on stderr that nobody must parse; nothing with `-q`.
    pub(super) fn note(&self, line: impl Display) {
        if !self.quiet {
            self.stderr(line);
        }
    }

    /// Says something on stderr, also with `-q`. A closed stderr is nobody's fault.
    pub(super) fn stderr(&self, line: impl Display) {
        self.bars.suspend(|| {
            _ = writeln!(std::io::stderr().lock(), "{line}");
        });
    }

    /// Runs blocking work beside the signals; a signal wins, and the work is abandoned.
    pub(super) async fn unless_stopped<T>(
        &self,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<Result<T, Exit>> {
        tokio::select! {
            done = work => done.map(Ok),
            exit = self.signals.first() => Ok(Err(exit)),
        }
    }
}

/// What `auto` stands for here: `-q` hides, `--json` speaks JSON, a terminal shows bars.
fn effective(asked: Progress, args: &GlobalArgs) -> Progress {
    match asked {
        Progress::Auto if args.json => Progress::Json,
        _ if args.quiet && asked != Progress::Json => Progress::None,
        Progress::Auto | Progress::Bar if std::io::stderr().is_terminal() => Progress::Bar,
        Progress::Auto | Progress::Bar => Progress::Plain,
        other => other,
    }
}
