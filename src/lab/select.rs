//! Which peers a step or an expectation is about: `crowd`, `crowd[3]`, `crowd[0..10]`, `all`.

use super::scenario::{Group, Peer};

/// Every peer that downloads honestly.
const ALL: &str = "all";

/// Indices into the peers of the scenario; the error says what the text should be.
pub(super) fn select(text: &str, groups: &[Group], peers: &[Peer]) -> Result<Vec<usize>, String> {
    if text == ALL {
        let all: Vec<usize> = (0..peers.len()).filter(|&at| peers[at].role.downloads()).collect();
        return if all.is_empty() { Err("nobody here downloads".to_owned()) } else { Ok(all) };
    }
    let (name, range) = match text.split_once('[') {
        Some((name, rest)) => {
            let inner = rest.strip_suffix(']').ok_or_else(|| format!("`{text}` lacks its `]`"))?;
            (name, Some(inner))
        }
        None => (text, None),
    };
    let at = groups.iter().position(|group| group.name == name).ok_or_else(|| {
        let known: Vec<&str> = groups.iter().map(|group| group.name.as_str()).collect();
        format!("nobody is called `{name}`; there are {} and all", known.join(", "))
    })?;
    let members: Vec<usize> = (0..peers.len()).filter(|&peer| peers[peer].group == at).collect();
    let Some(range) = range else { return Ok(members) };
    let number = |digits: &str| {
        digits.trim().parse::<usize>().map_err(|_| format!("`{range}` is no number and no range"))
    };
    let (from, to) = match range.split_once("..") {
        Some((from, to)) => (number(from)?, number(to)?),
        None => (number(range)?, number(range)? + 1),
    };
    match members.get(from..to) {
        Some(chosen) if !chosen.is_empty() => Ok(chosen.to_vec()),
        _ => Err(format!("`{text}` is empty or goes beyond the {} of {name}", members.len())),
    }
}
