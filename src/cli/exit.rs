//! How the program ends: the table of exit codes, and errors a person can act on.
//!
//! An error names what failed, on which object, and what to do next. It never shows a backtrace or
//! the name of a Rust type.

use super::env::Style;
use super::event::Event;
use crate::disk::StorageError;
use crate::engine::EngineError;
use gaggle_core::storage::DiskFault;
use std::borrow::Cow;
use std::fmt;
use std::io::ErrorKind;

/// The exit codes that scripts may rely on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Exit {
    /// Done.
    Done,
    /// Any other error, or a negative answer.
    Other,
    /// Wrong usage or unreadable input.
    Usage,
    /// Nothing of that name, or no metadata in time.
    NotFound,
    /// A time limit ran out.
    Stalled,
    /// Data does not match.
    Mismatch,
    /// Tracker refused, port in use, no route.
    Network,
    /// Some of several downloads are unfinished.
    Unfinished,
    /// Not allowed.
    Denied,
    /// No space.
    NoSpace,
    /// Stopped by Ctrl-C before it was done.
    Interrupted,
    /// Stopped by SIGTERM before it was done.
    Terminated,
}

impl Exit {
    /// The number the shell sees.
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Other => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::Stalled => 4,
            Self::Mismatch => 5,
            Self::Network => 6,
            Self::Unfinished => 7,
            Self::Denied => 8,
            Self::NoSpace => 9,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }
}

/// An error as a person reads it: `error: <what>`, then details, then a hint.
#[derive(Debug)]
pub(super) struct Failure {
    /// Which exit code it leads to.
    pub exit: Exit,
    /// What failed, on which object.
    pub what: String,
    /// Further lines, such as what each tracker answered.
    pub details: Vec<String>,
    /// What to do next.
    pub hint: Option<Cow<'static, str>>,
}

impl Failure {
    /// An error without hint.
    pub(super) fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self { exit, what: what.into(), details: Vec::new(), hint: None }
    }

    /// Wrong usage or unreadable input.
    pub(super) fn usage(what: impl Into<String>) -> Self {
        Self::new(Exit::Usage, what)
    }

    /// What the system said about a file or an address.
    pub(super) fn io(what: impl fmt::Display, error: &std::io::Error) -> Self {
        Self::new(exit_of(error.kind()), format!("{what}: {}", plain(error)))
    }

    /// Adds what to do next.
    #[must_use]
    pub(super) fn hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The failure in this error, or one made from the system's error in it.
    pub(super) fn of(error: &anyhow::Error) -> Self {
        for cause in error.chain() {
            if let Some(failure) = cause.downcast_ref::<Self>() {
                return Self {
                    exit: failure.exit,
                    what: failure.what.clone(),
                    details: failure.details.clone(),
                    hint: failure.hint.clone(),
                };
            }
        }
        let system = error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>());
        let exit = system.map_or(Exit::Other, |error| exit_of(error.kind()));
        Self::new(exit, without_errno(&format!("{error:#}")))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Failure {}

impl From<crate::config::ConfigError> for Failure {
    fn from(error: crate::config::ConfigError) -> Self {
        Self::usage(error.to_string())
            .hint("`gaggle config init` prints every key with its default")
    }
}

/// The failure as text for stderr, without the last line's end.
pub(super) fn text(failure: &Failure, style: Style) -> String {
    let mut text = format!("{} {}", style.error("error:"), failure.what);
    for line in &failure.details {
        text.push_str("\n  ");
        text.push_str(line);
    }
    if let Some(hint) = &failure.hint {
        text.push_str("\n  ");
        text.push_str(&format!("{} {hint}", style.hint("hint:")));
    }
    text
}

/// The failure as a line of `--json`.
pub(super) fn event(failure: &Failure) -> Event<'_> {
    Event::Error {
        code: failure.exit.code(),
        message: &failure.what,
        details: &failure.details,
        hint: failure.hint.as_deref(),
    }
}

/// Which exit code an error of the system leads to. A missing file is unreadable input.
pub(super) fn exit_of(kind: ErrorKind) -> Exit {
    match kind {
        ErrorKind::NotFound
        | ErrorKind::IsADirectory
        | ErrorKind::NotADirectory
        | ErrorKind::InvalidFilename => Exit::Usage,
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Exit::Denied,
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            Exit::NoSpace
        }
        ErrorKind::AddrInUse
        | ErrorKind::AddrNotAvailable
        | ErrorKind::ConnectionRefused
        | ErrorKind::ConnectionReset
        | ErrorKind::HostUnreachable
        | ErrorKind::NetworkUnreachable
        | ErrorKind::NetworkDown
        | ErrorKind::TimedOut => Exit::Network,
        _ => Exit::Other,
    }
}

/// What the disk said.
pub(super) fn of_disk(fault: &DiskFault) -> Failure {
    let (exit, text) = match fault {
        DiskFault::NoSpace(text) => (Exit::NoSpace, text),
        DiskFault::Denied(text) => (Exit::Denied, text),
        DiskFault::Io(text) => (Exit::Other, text),
        _ => return Failure::new(Exit::Other, without_errno(&fault.to_string())),
    };
    // `PATH: What the system said`, which says it all.
    Failure::new(
        exit,
        match text.rsplit_once(": ") {
            Some((path, said)) => format!("{path}: {}", as_words(said)),
            None => text.clone(),
        },
    )
}

/// What opening or reading a torrent's files led to.
pub(super) fn of_storage(error: &StorageError) -> Failure {
    match error {
        StorageError::Disk(fault) => of_disk(fault),
        _ if error.protects_data() => Failure::new(Exit::Mismatch, error.to_string()),
        _ => Failure::new(Exit::Other, error.to_string()),
    }
}

/// What the engine, or a torrent in it, ended with.
pub(super) fn of_engine(error: &EngineError) -> Failure {
    match error {
        EngineError::Disk(fault) => of_disk(fault),
        EngineError::Storage(error) => of_storage(error),
        EngineError::Listen { addr, text } => {
            Failure::new(Exit::Network, format!("cannot listen on {addr}: {}", as_words(text)))
                .hint("--listen IP:0 takes any free port")
        }
        EngineError::Congestion { name, text } => {
            let what =
                format!("this system refuses the congestion control {name}: {}", as_words(text));
            let loaded = crate::net::Congestion::loaded();
            Failure::usage(what).hint(format!("it has {loaded}; modprobe tcp_NAME loads another"))
        }
        EngineError::AlreadyRunning(_) => Failure::usage(format!("{error}: it was named twice")),
        EngineError::NothingSelected => Failure::usage(error.to_string())
            .hint("`gaggle get --list TARGET` prints the files with their indices"),
        EngineError::Glob(_) | EngineError::Layout(_) | EngineError::Metadata(_) => {
            Failure::usage(error.to_string())
        }
        _ => Failure::new(Exit::Other, as_words(&error.to_string())),
    }
}

/// What the system said, as people know it: `no such file or directory`.
pub(super) fn plain(error: &std::io::Error) -> String {
    as_words(&error.to_string())
}

/// A text of the system in the middle of a sentence.
pub(super) fn as_words(text: &str) -> String {
    let text = without_errno(text);
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

/// Without the number that means nothing to most.
fn without_errno(text: &str) -> String {
    match text.split_once(" (os error ") {
        Some((before, rest)) => {
            let after = rest.split_once(')').map_or("", |(_, after)| after);
            format!("{before}{after}")
        }
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    #[test]
    fn errors_of_the_system_read_like_words() {
        let gone = std::fs::File::open("/nonexistent/x").unwrap_err();
        assert_eq!(plain(&gone), "no such file or directory");
        let failure = Failure::of(&anyhow::Error::from(gone).context("cannot open /nonexistent/x"));
        assert_eq!(failure.what, "cannot open /nonexistent/x: No such file or directory");
        assert_eq!(failure.exit, Exit::Usage);
    }

    #[test]
    fn the_disk_says_what_is_wrong_once() {
        let fault = |text: &str| of_disk(&DiskFault::NoSpace(text.to_owned()));
        let full = fault("/a: b/x: No space left on device (os error 28)");
        assert_eq!((full.exit, &*full.what), (Exit::NoSpace, "/a: b/x: no space left on device"));
        assert_eq!(fault("full").what, "full");
    }

    #[test]
    fn a_failure_survives_its_context() {
        let lost: anyhow::Result<()> = Err(Failure::new(Exit::NotFound, "nothing came").into());
        let failure = Failure::of(&lost.context("while waiting").unwrap_err());
        assert_eq!((failure.exit, failure.what.as_str()), (Exit::NotFound, "nothing came"));
    }
}
