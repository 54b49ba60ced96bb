//! The area after the first NUL of a Query, and between the two NULs of a hit.

use super::{Ggep, STRINGS_MAX, Urn};

const SEPARATOR: u8 = 0x1c;

/// What an extension area says. Strings that nobody knows, and XML, are dropped on reading.
// After HUGE 0.94, extension area.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Extensions {
    /// HUGE strings and what GGEP says in their stead, each once.
    pub urns: Vec<Urn>,
    /// Everything else.
    pub ggep: Ggep,
}

impl Extensions {
    /// Names of content and nothing else.
    pub fn of_urns(urns: Vec<Urn>) -> Self {
        Self { urns, ..Self::default() }
    }

    /// The SHA-1 of the file, if it is named.
    pub fn sha1(&self) -> Option<[u8; 20]> {
        self.urns.iter().find_map(|urn| if let Urn::Sha1(hash) = urn { Some(*hash) } else { None })
    }

    /// Reads an area; whatever cannot be read is skipped.
    pub(super) fn parse(mut raw: &[u8]) -> Self {
        let mut read = Self::default();
        for _ in 0..=STRINGS_MAX {
            if let Ok((ggep, used)) = Ggep::parse(raw) {
                read.ggep = ggep;
                raw = &raw[used..];
                if raw.first() != Some(&SEPARATOR) {
                    break;
                }
                raw = &raw[1..];
                continue;
            }
            let end = raw.iter().position(|&byte| byte == SEPARATOR || byte == 0);
            if let Some(urn) = Urn::parse(&raw[..end.unwrap_or(raw.len())]) {
                read.add(urn);
            }
            let Some(end) = end else { break };
            raw = &raw[end + 1..];
        }
        for data in read.ggep.all("u").cloned().collect::<Vec<_>>() {
            std::str::from_utf8(&data)
                .ok()
                .and_then(Urn::named)
                .into_iter()
                .for_each(|urn| read.add(urn));
        }
        for data in read.ggep.all("H").cloned().collect::<Vec<_>>() {
            // 1 is a SHA-1, 2 a SHA-1 and the root of a Tiger tree.
            if let (Some(1 | 2), Some(hash)) = (data.first(), data.get(1..21)) {
                read.add(Urn::Sha1(hash.try_into().expect("20 bytes")));
            }
        }
        read
    }

    fn add(&mut self, urn: Urn) {
        if self.urns.len() < STRINGS_MAX && !self.urns.contains(&urn) {
            self.urns.push(urn);
        }
    }

    /// Appends the area: URNs, then GGEP, with a separator between them.
    pub(super) fn encode_into(&self, nul_free: bool, out: &mut Vec<u8>) {
        for (nth, urn) in self.urns.iter().enumerate() {
            if nth > 0 {
                out.push(SEPARATOR);
            }
            out.extend_from_slice(urn.to_string().as_bytes());
        }
        if !self.urns.is_empty() && !self.ggep.is_empty() {
            out.push(SEPARATOR);
        }
        self.ggep.encode_into(nul_free, out);
    }
}
