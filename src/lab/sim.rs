//! Plays a scenario with virtual peers: `core::lab` with the roles and times of the file.

use super::judge::{Report, Seen, is_decided};
use super::scenario::{Action, Peer, RoleName, Scenario};
use super::timeline::{Due, Timeline};
use super::{LabError, Verdict};
use gaggle_core::clock::Instant;
use gaggle_core::lab::{End, HostId, Link, Role, Setup, TorrentSpec, World, oracle};
use gaggle_core::swarm::torrent::Event;
use std::time::Duration;

/// How often, in virtual time, it is looked whether everything is decided.
const LOOK: Duration = Duration::from_millis(100);

/// Plays it to the end. The same scenario and seed give the same report.
pub fn play(scenario: &Scenario) -> Result<Report, LabError> {
    let torrent = TorrentSpec::new("lab", scenario.total, scenario.piece_len)
        .map_err(|error| LabError::Stage(error.to_string()))?;
    let link = scenario.link;
    let link = Link { delay: link.delay, loss: link.loss, rate: link.rate };
    let mut world = World::new(scenario.seed, link);
    world.always("no bad piece is ever kept", oracle::kept_pieces_hash_right);
    world.always("queues stay bounded", oracle::queues_bounded);
    let mut hosts: Vec<Option<HostId>> = vec![None; scenario.peers.len()];
    let mut timeline = Timeline::of(scenario);
    loop {
        for due in timeline.due(world.now()) {
            match due {
                Due::Start(peer) => {
                    let setup = setup(scenario, &scenario.peers[peer]);
                    hosts[peer] = Some(world.spawn(setup, &torrent));
                }
                Due::Act(what, peer) => {
                    let Some(host) = hosts[peer] else { continue };
                    match what {
                        Action::Kill => world.crash(&[host]),
                        Action::Restart => world.restart(&[host]),
                        Action::Stop => world.leave(&[host]),
                    }
                }
            }
        }
        let seen = look(scenario, &world, &hosts);
        let now = world.now().since(Instant::ZERO);
        if timeline.is_over() && is_decided(scenario, &seen, now) {
            break;
        }
        let next = timeline.next().map_or(now + LOOK, |next| next.min(now + LOOK));
        if let End::Violated { oracle, why } = world.run_until(next, |_| false) {
            return Ok(violated(scenario, &mut world, &hosts, oracle, why));
        }
    }
    Ok(report(scenario, &mut world, &hosts))
}

fn setup(scenario: &Scenario, peer: &Peer) -> Setup {
    let role = match peer.role {
        RoleName::Boaster => Role::Boaster,
        RoleName::FreeRider => Role::FreeRider,
        RoleName::Leech | RoleName::Slow => Role::Leech, // slowness is in the limits
        RoleName::Liar => Role::Liar,
        RoleName::Poisoner => Role::Poisoner,
        RoleName::Seed => Role::Seed,
        RoleName::Spammer => Role::Spammer,
        RoleName::Staller => Role::Staller,
    };
    let group = &scenario.groups[peer.group];
    Setup::new(role).limits(group.up, group.down)
}

fn look(scenario: &Scenario, world: &World, hosts: &[Option<HostId>]) -> Vec<Seen> {
    let since = |at: Instant| at.since(Instant::ZERO);
    let honest: Vec<HostId> = (scenario.peers.iter().zip(hosts))
        .filter(|(peer, _)| peer.role.downloads())
        .filter_map(|(_, host)| *host)
        .collect();
    let of = |host: HostId| {
        let banned = honest.iter().filter_map(|&judge| {
            let mut log = world.log(judge).iter();
            log.find_map(|(at, event)| match event {
                Event::Banned { peer, .. } if HostId::of(*peer) == host => Some(since(*at)),
                _ => None,
            })
        });
        let bans = world.log(host).iter().filter_map(|(_, event)| match event {
            Event::Banned { peer, reason } => Some((peer.to_string(), reason.clone())),
            _ => None,
        });
        Seen {
            complete: world.done_at(host).map(since),
            banned: banned.min(),
            uploaded: world.sent(host),
            bans: bans.collect(),
            ..Seen::default()
        }
    };
    hosts.iter().map(|host| host.map(of).unwrap_or_default()).collect()
}

fn report(scenario: &Scenario, world: &mut World, hosts: &[Option<HostId>]) -> Report {
    let mut seen = look(scenario, world, hosts);
    for (seen, host) in seen.iter_mut().zip(hosts) {
        if let Some(status) = host.and_then(|host| world.status(host)) {
            (seen.downloaded, seen.wasted) = (status.downloaded, status.wasted);
        }
    }
    let now = world.now().since(Instant::ZERO);
    Report::of(scenario, seen, now, Some(world.trace_hash()))
}

/// A run that broke a law of the lab fails whatever was expected.
fn violated(
    scenario: &Scenario,
    world: &mut World,
    hosts: &[Option<HostId>],
    oracle: &str,
    why: String,
) -> Report {
    let mut report = report(scenario, world, hosts);
    report.ok = false;
    report.verdicts.push(Verdict { line: 1, expectation: oracle.to_owned(), ok: false, why });
    report
}
