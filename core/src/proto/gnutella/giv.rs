//! The line with which somebody who got a Push begins his connection to us.

use super::{GnutellaError, Guid};
use bytes::BytesMut;

/// Bytes of the longest line; a longer one is refused.
const LINE_MAX: usize = 1024;

/// `I am the one you asked; now ask me for a file.`
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Giv {
    /// The file that the Push was for; servents write anything here.
    pub index: u32,
    /// Who it is, and the only thing to go by.
    pub servent: Guid,
    /// Of the file, as it likes.
    pub name: String,
}

impl Giv {
    /// Takes the line off the front of a stream; `None` until all of it is there.
    ///
    /// # Errors
    /// It does not begin with `GIV `, has no id of a servent, or no end within 1 KiB.
    pub fn decode(stream: &mut BytesMut) -> Result<Option<Self>, GnutellaError> {
        let began = stream.len().min(4);
        if stream[..began] != b"GIV "[..began] {
            return Err(GnutellaError::Handshake);
        }
        let Some(end) = stream.windows(2).position(|end| end == b"\n\n") else {
            let (got, most) = (stream.len(), LINE_MAX);
            return if got > most {
                Err(GnutellaError::HandshakeLength { got, most })
            } else {
                Ok(None)
            };
        };
        if end > LINE_MAX {
            return Err(GnutellaError::HandshakeLength { got: end, most: LINE_MAX });
        }
        let line = stream.split_to(end + 2);
        let line = String::from_utf8_lossy(&line[4..end]);
        Self::line(line.trim_end_matches('\r')).map(Some).ok_or(GnutellaError::Handshake)
    }

    fn line(line: &str) -> Option<Self> {
        let (index, rest) = line.split_once(':')?;
        let (servent, name) = rest.split_once('/')?;
        Some(Self {
            index: index.parse().ok()?,
            servent: Guid::from_hex(servent)?,
            name: name.into(),
        })
    }

    /// The line. What would end it is left out of the name.
    pub fn encode(&self) -> Vec<u8> {
        let name: String = self.name.chars().filter(|c| !c.is_control()).collect();
        format!("GIV {}:{}/{name}\n\n", self.index, self.servent).into_bytes()
    }
}
