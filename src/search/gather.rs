//! Gathering what is heard until it is enough.

use super::ping::ping_all;
use super::{Answers, Heard};
use crate::net::{Clock, Dialer};
use gaggle_core::search::{Added, Hit, Network, Question, Results};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};

/// How often it is asked whether it is enough.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long a search goes on after it has enough: other networks may have the same things, which makes them better.
const SETTLE: Duration = Duration::from_secs(1);
/// Hosts whose distance is measured, those of the best results.
const PINGS_MAX: usize = 32;
/// How long that may take; who answers later is far.
const PING_PATIENCE: Duration = Duration::from_secs(1);

/// When a search is over.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Results that are enough. Junk does not count.
    pub enough: usize,
    /// How long it goes on at most.
    pub wait: Duration,
}

/// Why a search was over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Over {
    /// Every network has said all.
    All,
    /// There was enough.
    Enough,
    /// Nobody was to be waited for any longer.
    Wait,
}

/// What one network has said.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Report {
    /// Hits.
    pub hits: usize,
    /// Of them those that were kept.
    pub kept: usize,
    /// Those that were not wanted.
    pub filtered: usize,
    /// Those that were too many, of one host or in all.
    pub ignored: usize,
    /// Whether it has said all.
    pub ended: bool,
    /// What went wrong.
    pub trouble: Option<String>,
}

/// Hears answers until a limit is reached, and measures how far the best hosts are that the dialer reaches.
pub async fn gather(
    mut answers: Answers,
    question: Question,
    limits: Limits,
    dialer: &Dialer,
    mut found: impl FnMut(&Hit),
) -> (Results, BTreeMap<Network, Report>, Over) {
    let mut results = Results::new(question);
    let mut reports: BTreeMap<Network, Report> = BTreeMap::new();
    let clock = Clock::start();
    let mut until = clock.now() + limits.wait;
    let mut over = Over::Wait;
    let mut looked_at = 0;
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let heard = tokio::select! {
            heard = answers.next() => heard,
            () = clock.sleep_until(Some(until)) => break,
            _ = looks.tick() => {
                if over == Over::Wait && results.len() > looked_at {
                    looked_at = results.len();
                    let good = results.ranked().iter().filter(|one| one.spam.is_none()).count();
                    if good >= limits.enough {
                        over = Over::Enough;
                        until = until.min(clock.now() + SETTLE);
                    }
                }
                continue;
            }
        };
        match heard {
            None => {
                over = Over::All;
                break;
            }
            Some(Heard::Near(nick, ping)) => results.set_ping_of(&nick, ping),
            Some(Heard::Ended(network, trouble)) => {
                let report = reports.entry(network).or_default();
                report.ended = true;
                report.trouble = report.trouble.take().or(trouble);
            }
            Some(Heard::Hit(hit)) => {
                let report = reports.entry(hit.network()).or_default();
                report.hits += 1;
                match results.add((*hit).clone()) {
                    Added::Kept => {
                        report.kept += 1;
                        found(&hit);
                    }
                    Added::Filtered => report.filtered += 1,
                    Added::TooMany => report.ignored += 1,
                    Added::Known => {}
                }
            }
        }
    }
    drop(answers);
    measure(&mut results, dialer).await;
    (results, reports, over)
}

/// How far the hosts of the best results are.
async fn measure(results: &mut Results, dialer: &Dialer) {
    let mut addrs = Vec::new();
    for addr in
        results.ranked().iter().flat_map(|one| &one.sources).filter_map(|hit| hit.reach.direct())
    {
        let open = dialer.may_dial(IpAddr::V4(*addr.ip()));
        if open && addrs.len() < PINGS_MAX && !addrs.contains(&addr) {
            addrs.push(addr);
        }
    }
    for (addr, ping) in ping_all(addrs, dialer, PING_PATIENCE).await {
        results.set_ping(addr, ping);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gaggle_core::proto::gnutella::Guid;
    use gaggle_core::search::{Filter, Hashes, Reach};
    use std::net::SocketAddrV4;
    use tokio::sync::mpsc;
    use tokio::time::Instant;

    fn hit(n: u8, name: &str, addr: Option<SocketAddrV4>) -> Heard {
        Heard::Hit(Box::new(Hit {
            name: name.to_owned(),
            size: Some(n.into()),
            hashes: Hashes { sha1: Some([n; 20]), ..Hashes::default() },
            reach: Reach::Gnutella {
                addr,
                servent: Guid([n; 16]),
                index: 1,
                name: name.to_owned(),
            },
            peer: None,
            speed: None,
            busy: false,
            seen_s: 7,
            ping: None,
        }))
    }

    async fn gathered(said: Vec<Heard>, stays: bool, limits: Limits) -> (Results, Report, Over) {
        let (tell, heard) = mpsc::channel(64);
        for word in said {
            tell.send(word).await.unwrap();
        }
        let open = stays.then_some(tell);
        let filter = Filter { without: vec!["live".into()], ..Filter::default() };
        let question = Question::new(&["blue"], filter).unwrap();
        let (dialer, answers) = (Dialer::default(), Answers::of(heard));
        let (results, reports, over) = gather(answers, question, limits, &dialer, |_| {}).await;
        drop(open);
        (results, reports.get(&Network::Gnutella).cloned().unwrap_or_default(), over)
    }

    #[tokio::test]
    async fn it_is_over_when_all_have_ended() {
        let limits = Limits { enough: 100, wait: Duration::from_secs(15) };
        let began = Instant::now();
        let said = vec![
            hit(1, "blue", None),
            hit(1, "blue", None),
            hit(2, "blue live", None),
            Heard::Ended(Network::Gnutella, Some("no neighbour".into())),
        ];
        let (results, report, over) = gathered(said, false, limits).await;
        assert_eq!((results.len(), over), (1, Over::All));
        let want = Report {
            hits: 3,
            kept: 1,
            filtered: 1,
            ignored: 0,
            ended: true,
            trouble: Some("no neighbour".into()),
        };
        assert_eq!(report, want);
        assert!(began.elapsed() < limits.wait);
    }

    #[tokio::test]
    async fn it_is_over_when_there_is_enough_and_junk_is_not_enough() {
        let limits = Limits { enough: 2, wait: Duration::from_secs(15) };
        let began = Instant::now();
        let good = vec![hit(1, "blue", None), hit(2, "blue moon", None)];
        let (_, _, over) = gathered(good, true, limits).await;
        assert_eq!(over, Over::Enough);
        assert!(began.elapsed() >= SETTLE && began.elapsed() < limits.wait);
        let began = Instant::now();
        let junk = vec![hit(1, "blue", None), hit(2, "red", None), hit(3, "green", None)];
        let limits = Limits { wait: Duration::from_millis(700), ..limits };
        let (_, _, over) = gathered(junk, true, limits).await;
        assert_eq!(over, Over::Wait);
        assert!(began.elapsed() >= limits.wait);
    }

    #[tokio::test]
    async fn hosts_that_can_be_connected_to_are_measured() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let std::net::SocketAddr::V4(addr) = listener.local_addr().unwrap() else { panic!() };
        let limits = Limits { enough: 100, wait: Duration::from_secs(15) };
        let said = vec![hit(1, "blue far", None), hit(2, "blue near", Some(addr))];
        let (results, ..) = gathered(said, false, limits).await;
        let ranked = results.ranked();
        assert_eq!(ranked[0].name, "blue near");
        assert!(ranked[0].sources[0].ping.is_some() && ranked[1].sources[0].ping.is_none());
    }
}
