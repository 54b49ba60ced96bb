//! The scenario file, in two stages: as it was written, then checked, with every value in its own type.

use super::LabError;
use super::select::select;
use gaggle_core::units::{BytesPerSec, parse_duration, parse_rate, parse_size};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::Spanned;

/// Most processes of one run; a scenario with more is refused.
const REAL_PEERS_MAX: usize = 100;
/// Most virtual peers of one run.
const SIM_PEERS_MAX: usize = 10_000;
/// How long a run lasts at most, unless the file says otherwise.
const TIME_LIMIT: Duration = Duration::from_secs(300);
/// Bytes of a piece, unless the file says otherwise.
const PIECE_LEN: u64 = 256 << 10;
/// A slow peer's limit each way, unless the file says otherwise.
const SLOW: BytesPerSec = BytesPerSec(64 << 10);

/// How the scenario is played.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Processes on loopback.
    Real,
    /// Machines on virtual time.
    Sim,
}

/// The parts that a file can give away.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum RoleName {
    /// Lies about single pieces; sim only.
    Boaster,
    /// Downloads and uploads nothing.
    FreeRider,
    /// Downloads and uploads.
    Leech,
    /// Claims everything and sends nothing.
    Liar,
    /// Claims everything and sends wrong bytes.
    Poisoner,
    /// Has everything.
    Seed,
    /// A leech with a low limit.
    Slow,
    /// Claims everything and floods hints; sim only.
    Spammer,
    /// Serves everybody up to 99 %; sim only.
    Staller,
}

impl RoleName {
    /// Whether it wants the content, and keeps to the rules.
    pub fn downloads(self) -> bool {
        matches!(self, Self::FreeRider | Self::Leech | Self::Slow)
    }

    fn is_sim_only(self) -> bool {
        matches!(self, Self::Boaster | Self::Spammer | Self::Staller)
    }
}

type Text = Spanned<String>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawScenario {
    name: Option<String>,
    mode: Mode,
    seed: Option<u64>,
    time_limit: Option<Text>,
    content: RawContent,
    link: Option<Spanned<RawLink>>,
    peers: Vec<Spanned<RawGroup>>,
    #[serde(default)]
    steps: Vec<Spanned<RawStep>>,
    expect: Vec<Spanned<RawExpect>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawContent {
    size: Text,
    piece_length: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLink {
    delay: Option<Text>,
    loss: Option<Spanned<f64>>,
    rate: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawGroup {
    name: Text,
    role: RoleName,
    count: Option<Spanned<usize>>,
    up: Option<Text>,
    down: Option<Text>,
    start: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStep {
    at: Text,
    kill: Option<Text>,
    stop: Option<Text>,
    restart: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawExpect {
    complete: Option<Text>,
    incomplete: Option<Text>,
    banned: Option<Text>,
    uploads: Option<Text>,
    within: Option<Text>,
    at_least: Option<Text>,
    at_most: Option<Text>,
}

/// A scenario that makes sense.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Where it was read from.
    pub path: PathBuf,
    /// What it is called; the file's name if it does not say.
    pub name: String,
    /// How it is played.
    pub mode: Mode,
    /// Decides the content, and in a simulation everything that is left to chance.
    pub seed: u64,
    /// No run lasts longer.
    pub time_limit: Duration,
    pub(super) total: u64,
    pub(super) piece_len: u64,
    pub(super) link: LinkSpec,
    pub(super) groups: Vec<Group>,
    /// Every peer, group by group.
    pub(super) peers: Vec<Peer>,
    /// In order of time.
    pub(super) steps: Vec<Step>,
    pub(super) expects: Vec<Expect>,
}

/// What connects virtual peers.
#[derive(Clone, Copy, Debug)]
pub(super) struct LinkSpec {
    pub(super) delay: Duration,
    pub(super) loss: f64,
    pub(super) rate: BytesPerSec,
}

/// Peers of one kind.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) up: Option<BytesPerSec>,
    pub(super) down: Option<BytesPerSec>,
    pub(super) start: Duration,
}

/// One peer.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    /// Of its group, with its number there if the group has several.
    pub(super) name: String,
    pub(super) group: usize,
    pub(super) role: RoleName,
}

/// Something done to peers.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) at: Duration,
    pub(super) what: Action,
    pub(super) peers: Vec<usize>,
}

/// What is done to them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Action {
    /// Without a warning.
    Kill,
    Restart,
    /// Asked to end.
    Stop,
}

/// Something that must come of it.
#[derive(Clone, Debug)]
pub(super) struct Expect {
    pub(super) line: usize,
    /// As the file has it, in one line.
    pub(super) text: String,
    pub(super) peers: Vec<usize>,
    pub(super) what: Wanted,
}

/// What is expected of the chosen peers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Wanted {
    /// Somebody honest bans each of them in time.
    Banned { within: Duration },
    /// Each has everything in time.
    Complete { within: Duration },
    /// None has everything at the end.
    Incomplete,
    /// Each has sent this much content at the end.
    Uploads { at_least: u64, at_most: u64 },
}

impl Scenario {
    /// Reads and checks a file.
    pub fn load(path: &Path) -> Result<Self, LabError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| LabError::Read { path: path.to_owned(), source })?;
        Self::parse(path, &text)
    }

    /// Checks the text of a file; `path` is for messages.
    pub fn parse(path: &Path, text: &str) -> Result<Self, LabError> {
        let checker = Checker { path, text };
        let raw: RawScenario = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            checker.error(at, error.message().to_owned())
        })?;
        checker.check(raw)
    }

    /// Peers that take part.
    pub fn peer_count(&self) -> usize {
        self.peers.len()
    }

    /// Expectations that are judged.
    pub fn expectation_count(&self) -> usize {
        self.expects.len()
    }
}

/// Turns what was written into what is meant, and names the line that means nothing.
struct Checker<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Checker<'_> {
    fn check(&self, raw: RawScenario) -> Result<Scenario, LabError> {
        let limit = self
            .optional("time_limit", raw.time_limit.as_ref(), parse_duration)?
            .unwrap_or(TIME_LIMIT);
        let (groups, peers) = self.groups(&raw)?;
        let chosen = |text: &Text| {
            select(text.get_ref(), &groups, &peers).map_err(|what| self.at(text, what))
        };
        let mut steps = Vec::new();
        for step in &raw.steps {
            steps.push(self.step(step, &chosen)?);
        }
        steps.sort_by_key(|step| step.at);
        let mut expects = Vec::new();
        for expect in &raw.expect {
            expects.push(self.expect(expect, limit, &chosen)?);
        }
        let name = raw.name.unwrap_or_else(|| {
            self.path
                .file_stem()
                .map(|stem| stem.to_string_lossy().into_owned())
                .unwrap_or_default()
        });
        let size = self.value("size", &raw.content.size, parse_size)?;
        if size == 0 {
            return Err(self.at(&raw.content.size, "size: there must be content".to_owned()));
        }
        let piece_len =
            self.optional("piece_length", raw.content.piece_length.as_ref(), parse_size)?;
        if let (Some(text), Some(len)) = (&raw.content.piece_length, piece_len)
            && !(len.is_power_of_two() && (16 << 10..=64 << 20).contains(&len))
        {
            let what = "piece_length is a power of two from 16KiB to 64MiB".to_owned();
            return Err(self.at(text, what));
        }
        Ok(Scenario {
            path: self.path.to_owned(),
            name,
            mode: raw.mode,
            seed: raw.seed.unwrap_or(1),
            time_limit: limit,
            total: size,
            piece_len: piece_len.unwrap_or(PIECE_LEN),
            link: self.link(raw.mode, raw.link.as_ref())?,
            groups,
            peers,
            steps,
            expects,
        })
    }

    fn groups(&self, raw: &RawScenario) -> Result<(Vec<Group>, Vec<Peer>), LabError> {
        let (mut groups, mut peers) = (Vec::<Group>::new(), Vec::new());
        for spanned in &raw.peers {
            let group = spanned.get_ref();
            let name = group.name.get_ref();
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            if name.is_empty() || !name.chars().all(plain) || name == "all" {
                let what = format!("name: `{name}` is not made of letters, digits, - and _");
                return Err(self.at(&group.name, what));
            }
            if groups.iter().any(|other| &other.name == name) {
                return Err(self.at(&group.name, format!("name: there are two called `{name}`")));
            }
            if raw.mode == Mode::Real && group.role.is_sim_only() {
                let what = format!("role: {:?} is played in mode = \"sim\" only", group.role);
                return Err(self.at(spanned, what));
            }
            let count = group.count.as_ref().map_or(1, |count| *count.get_ref());
            let most = if raw.mode == Mode::Real { REAL_PEERS_MAX } else { SIM_PEERS_MAX };
            if count == 0 || peers.len() + count > most {
                let what = format!("count: there can be 1 to {most} peers in all");
                return Err(group.count.as_ref().map_or_else(
                    || self.at(spanned, what.clone()),
                    |count| self.at(count, what.clone()),
                ));
            }
            for nth in 0..count {
                let name = if count == 1 { name.clone() } else { format!("{name}[{nth}]") };
                peers.push(Peer { name, group: groups.len(), role: group.role });
            }
            let slow = (group.role == RoleName::Slow).then_some(SLOW);
            groups.push(Group {
                name: name.clone(),
                up: self.optional("up", group.up.as_ref(), parse_rate)?.or(slow),
                down: self.optional("down", group.down.as_ref(), parse_rate)?.or(slow),
                start: self
                    .optional("start", group.start.as_ref(), parse_duration)?
                    .unwrap_or_default(),
            });
        }
        Ok((groups, peers))
    }

    fn link(&self, mode: Mode, raw: Option<&Spanned<RawLink>>) -> Result<LinkSpec, LabError> {
        let mut link =
            LinkSpec { delay: Duration::from_millis(20), loss: 0.0, rate: BytesPerSec(20 << 20) };
        let Some(spanned) = raw else { return Ok(link) };
        if mode == Mode::Real {
            return Err(self.at(spanned, "link: loopback has none to describe".to_owned()));
        }
        let raw = spanned.get_ref();
        link.delay =
            self.optional("delay", raw.delay.as_ref(), parse_duration)?.unwrap_or(link.delay);
        link.rate = self.optional("rate", raw.rate.as_ref(), parse_rate)?.unwrap_or(link.rate);
        if let Some(loss) = &raw.loss {
            link.loss = *loss.get_ref();
            if !(0.0..=0.5).contains(&link.loss) {
                return Err(self.at(loss, "loss is a part from 0 to 0.5".to_owned()));
            }
        }
        Ok(link)
    }

    fn step(
        &self,
        spanned: &Spanned<RawStep>,
        chosen: &impl Fn(&Text) -> Result<Vec<usize>, LabError>,
    ) -> Result<Step, LabError> {
        let raw = spanned.get_ref();
        let given =
            [(Action::Kill, &raw.kill), (Action::Stop, &raw.stop), (Action::Restart, &raw.restart)];
        let mut given = given.into_iter().filter_map(|(what, who)| Some((what, who.as_ref()?)));
        let (Some((what, who)), None) = (given.next(), given.next()) else {
            let what = "a step has exactly one of kill, stop and restart".to_owned();
            return Err(self.at(spanned, what));
        };
        Ok(Step { at: self.value("at", &raw.at, parse_duration)?, what, peers: chosen(who)? })
    }

    fn expect(
        &self,
        spanned: &Spanned<RawExpect>,
        limit: Duration,
        chosen: &impl Fn(&Text) -> Result<Vec<usize>, LabError>,
    ) -> Result<Expect, LabError> {
        let raw = spanned.get_ref();
        let kinds = [&raw.complete, &raw.incomplete, &raw.banned, &raw.uploads];
        let mut given = kinds.into_iter().flatten();
        let (Some(who), None) = (given.next(), given.next()) else {
            let what = "an expectation has exactly one of complete, incomplete, banned and uploads";
            return Err(self.at(spanned, what.to_owned()));
        };
        let timed = raw.complete.is_some() || raw.banned.is_some();
        if let Some(within) = raw.within.as_ref().filter(|_| !timed) {
            let what = "within goes with complete and banned only".to_owned();
            return Err(self.at(within, what));
        }
        let bounds = [&raw.at_least, &raw.at_most];
        if let (None, Some(bound)) = (&raw.uploads, bounds.into_iter().flatten().next()) {
            let what = "at_least and at_most go with uploads only".to_owned();
            return Err(self.at(bound, what));
        }
        let within = self.optional("within", raw.within.as_ref(), parse_duration)?.unwrap_or(limit);
        let what = if raw.complete.is_some() {
            Wanted::Complete { within }
        } else if raw.banned.is_some() {
            Wanted::Banned { within }
        } else if raw.incomplete.is_some() {
            Wanted::Incomplete
        } else {
            if bounds.into_iter().flatten().next().is_none() {
                let what = "uploads needs at_least or at_most".to_owned();
                return Err(self.at(spanned, what));
            }
            Wanted::Uploads {
                at_least: self
                    .optional("at_least", raw.at_least.as_ref(), parse_size)?
                    .unwrap_or(0),
                at_most: self
                    .optional("at_most", raw.at_most.as_ref(), parse_size)?
                    .unwrap_or(u64::MAX),
            }
        };
        Ok(Expect {
            line: self.line(who.span().start),
            text: one_line(raw),
            peers: chosen(who)?,
            what,
        })
    }

    fn value<T, E: std::fmt::Display>(
        &self,
        key: &str,
        text: &Text,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<T, LabError> {
        parse(text.get_ref()).map_err(|error| self.at(text, format!("{key}: {error}")))
    }

    fn optional<T, E: std::fmt::Display>(
        &self,
        key: &str,
        text: Option<&Text>,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Option<T>, LabError> {
        text.map(|text| self.value(key, text, parse)).transpose()
    }

    fn at<T>(&self, spanned: &Spanned<T>, what: String) -> LabError {
        self.error(spanned.span().start, what)
    }

    fn error(&self, offset: usize, what: String) -> LabError {
        LabError::Line { path: self.path.to_owned(), line: self.line(offset), what }
    }

    fn line(&self, offset: usize) -> usize {
        self.text.bytes().take(offset).filter(|&byte| byte == b'\n').count() + 1
    }
}

/// The keys that were given, in one line, as the file has them.
fn one_line(raw: &RawExpect) -> String {
    let keys = [
        ("complete", &raw.complete),
        ("incomplete", &raw.incomplete),
        ("banned", &raw.banned),
        ("uploads", &raw.uploads),
        ("within", &raw.within),
        ("at_least", &raw.at_least),
        ("at_most", &raw.at_most),
    ];
    let given = keys.iter().filter_map(|(key, text)| Some((key, text.as_ref()?.get_ref())));
    given.map(|(key, text)| format!("{key} = {text:?}")).collect::<Vec<_>>().join(", ")
}
