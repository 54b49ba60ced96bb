//! The picture of `ARCHITECTURE.md` as a table: which module stands in which row.

use crate::source::Source;

/// A module with its row, and the modules of the same row that it may import.
struct Room {
    name: &'static str,
    row: u8,
    beside: &'static [&'static str],
}

const fn room(name: &'static str, row: u8, beside: &'static [&'static str]) -> Room {
    Room { name, row, beside }
}

/// The values that everything is made of; they may use each other.
const VALUES: &[&str] = &[
    "core::id",
    "core::geometry",
    "core::bitfield",
    "core::units",
    "core::clock",
    "core::rng",
    "core::compact",
    "core::hash",
    "core::blame",
    "core::scope",
    "core::sign",
    "core::words",
];

/// Rows count upwards. A module imports from lower rows, from itself, and from what its entry names.
const ROOMS: &[Room] = &[
    room("core::id", 0, VALUES),
    room("core::geometry", 0, VALUES),
    room("core::bitfield", 0, VALUES),
    room("core::units", 0, VALUES),
    room("core::clock", 0, VALUES),
    room("core::rng", 0, VALUES),
    room("core::compact", 0, VALUES),
    room("core::hash", 0, VALUES),
    room("core::blame", 0, VALUES),
    room("core::scope", 0, VALUES),
    room("core::sign", 0, VALUES),
    room("core::words", 0, VALUES),
    room("core::bencode", 1, &[]),
    room("core::external", 1, &[]),
    room("core::metainfo", 2, &[]),
    // What both kinds of tracker are told and answer.
    room("core::proto::announce", 3, &[]),
    room("core::proto::peer", 4, &[]),
    room("core::proto::tracker_http", 4, &[]),
    room("core::proto::tracker_udp", 4, &[]),
    room("core::proto::krpc", 4, &[]),
    room("core::proto::lsd", 4, &[]),
    room("core::proto::fasttrack", 4, &[]),
    room("core::proto::napster", 4, &[]),
    room("core::proto::gnutella", 4, &[]),
    room("core::proto::extension", 4, &["core::proto::peer"]),
    room("core::storage", 5, &[]),
    room("core::swarm", 5, &["core::storage"]),
    room("core::share", 5, &["core::storage"]),
    // An overlay knows its wire and what we share, and neither swarms nor another overlay.
    room("core::overlay::kademlia", 5, &[]),
    room("core::overlay::fasttrack", 5, &[]),
    room("core::overlay::napster", 5, &["core::share"]),
    room("core::overlay::gnutella", 5, &["core::share"]),
    room("core::lab", 6, &[]),
    // The tracker server knows the values and the wire, not the swarm.
    room("tracker", 5, &[]),
    room("gaggle::net", 7, &[]),
    room("gaggle::disk", 7, &[]),
    room("gaggle::locate", 8, &[]),
    room("gaggle::share", 8, &[]),
    room("gaggle::engine", 9, &[]),
    // Each network's driver stands alone, and hands those who ask for a file to the one host.
    room("gaggle::serve::upload", 9, &[]),
    room("gaggle::serve::fasttrack", 9, &["gaggle::serve::upload"]),
    room("gaggle::serve::gnutella", 9, &["gaggle::serve::upload"]),
    room("gaggle::serve::napster", 9, &["gaggle::serve::upload"]),
    room("gaggle::config", 10, &[]),
    room("gaggle::lab", 11, &[]),
    room("gaggle::cli", 12, &[]),
];

/// Only the program's top joins the tracker server with the rest, and only the lab plays virtual worlds.
const CLOSED: &[(&str, &[&str])] =
    &[("tracker", &["gaggle::lab", "gaggle::cli"]), ("core::lab", &["gaggle::lab", "gaggle::cli"])];

/// The room that a path lies in.
fn room_of(path: &[String]) -> Option<&'static Room> {
    let path = path.join("::");
    ROOMS.iter().find(|room| {
        path.strip_prefix(room.name).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    })
}

fn may(from: &Room, to: &Room) -> bool {
    let open = CLOSED
        .iter()
        .filter(|(closed, _)| *closed == to.name && from.name != to.name)
        .all(|(_, guests)| guests.contains(&from.name));
    from.name == to.name || (open && (to.row < from.row || from.beside.contains(&to.name)))
}

/// Every import that the table forbids, and every module that stands in no row.
pub(crate) fn violations(files: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for file in files {
        let Some(from) = room_of(&file.module) else {
            let root = file.module.len() <= 1
                || file.module == ["core", "proto"]
                || file.module == ["core", "overlay"]
                || file.module == ["gaggle", "serve"];
            let binary = file.path.contains("/bin/") || file.path.ends_with("/main.rs");
            if !root && !binary {
                found.push(format!("{}: stands in no row of tests/tidy/layers.rs", file.path));
            }
            continue;
        };
        for import in file.imports() {
            if let Some(to) = room_of(&import.path).filter(|to| !may(from, to)) {
                let (path, line) = (&file.path, import.line);
                found.push(format!("{path}:{line}: {} may not import {}", from.name, to.name));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accused(path: &str, text: &str) -> usize {
        violations(&[Source::new(path.into(), text.into())]).len()
    }

    #[test]
    fn a_forbidden_import_is_found() {
        assert_eq!(
            accused(
                "core/src/proto/peer/mod.rs",
                "use crate::proto::{announce, extension::Handshake};"
            ),
            1
        );
        assert_eq!(
            accused("core/src/proto/extension/mod.rs", "use crate::proto::peer::Message;"),
            0
        );
        assert_eq!(accused("core/src/storage/layout.rs", "use crate::swarm::PeerKey;"), 1);
        assert_eq!(accused("src/engine/mod.rs", "use crate::config::Settings;"), 1);
        assert_eq!(accused("src/engine/mod.rs", "use gaggle_core::lab::World;"), 1);
        assert_eq!(
            accused("src/cli/share.rs", "use gaggle_tracker::Tracker; use crate::engine::Engine;"),
            0
        );
        assert_eq!(accused("tracker/src/store.rs", "use gaggle_core::swarm::PeerKey;"), 1);
        assert_eq!(accused("core/src/novelty.rs", ""), 1);
    }
}
