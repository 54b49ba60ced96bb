//! What somebody looks for: words, a hash, or bounds on numbers.

use super::reader::{Reader, push_counted};
use super::tag::number;
use super::{TAG_LEN_MAX, TERMS_MAX, UuHash, WireError, tag_kind};

/// Kinds of files, as a mask says them. The highest bits differ between clients and mean nothing.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Realm(pub u8);

impl Realm {
    /// As giFT and KaZaA write "everything".
    pub const ALL: Self = Self(0xbf);

    /// The kind of files alone: 1 audio, 2 video, 3 image, 4 document, 5 software; `None` is every kind.
    pub const fn media(self) -> Option<u8> {
        match self.0 & 0x1f {
            0x1f => None,
            media => Some(media),
        }
    }
}

/// How a term is compared.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Compare {
    /// About as large.
    About,
    /// As large or larger.
    AtLeast,
    /// As large or smaller.
    AtMost,
    /// The same.
    Equal,
    /// Every word of the term occurs.
    Words,
    /// Something that nobody knows; such a term is ignored.
    Other(u8),
}

impl Compare {
    const fn of(code: u8) -> Self {
        match code {
            0 => Self::Equal,
            2 => Self::AtMost,
            3 => Self::About,
            4 => Self::AtLeast,
            5 => Self::Words,
            other => Self::Other(other),
        }
    }

    const fn code(self) -> u8 {
        match self {
            Self::Equal => 0,
            Self::AtMost => 2,
            Self::About => 3,
            Self::AtLeast => 4,
            Self::Words => 5,
            Self::Other(code) => code,
        }
    }
}

/// One condition.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Term {
    /// How.
    pub compare: Compare,
    /// Of which tag; 0 is any text.
    pub tag: u8,
    /// At most [`TAG_LEN_MAX`] bytes.
    pub value: Vec<u8>,
}

impl Term {
    /// The number that the term names.
    pub fn number(&self) -> Option<u64> {
        number(&self.value)
    }
}

/// A search.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Query {
    /// Most results that are wanted.
    pub max: u16,
    /// By which the client knows the answer.
    pub id: u16,
    /// Which kinds of files.
    pub realm: Realm,
    /// All must hold; at most [`TERMS_MAX`].
    pub terms: Vec<Term>,
}

impl Query {
    /// A search for words in any text.
    pub fn words(id: u16, max: u16, words: &str) -> Self {
        let term = Term { compare: Compare::Words, tag: 0, value: words.as_bytes().to_vec() };
        Self { max, id, realm: Realm::ALL, terms: vec![term] }
    }

    /// A search for a file by its hash.
    pub fn hash(id: u16, max: u16, hash: UuHash) -> Self {
        let tag = tag_kind::HASH as u8;
        let term = Term { compare: Compare::Equal, tag, value: hash.0.to_vec() };
        Self { max, id, realm: Realm::ALL, terms: vec![term] }
    }

    /// Reads the payload of a packet. What follows the terms is ignored.
    pub fn parse(payload: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader(payload);
        reader.u16("query")?;
        let max = reader.u16("query")?;
        let id = reader.u16("query")?;
        reader.u8("query")?;
        let (realm, terms) = read_terms(&mut reader)?;
        Ok(Self { max, id, realm, terms })
    }

    /// The payload.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![0x00, 0x01];
        out.extend_from_slice(&self.max.to_be_bytes());
        out.extend_from_slice(&self.id.to_be_bytes());
        out.push(0x01);
        push_terms(&mut out, self.realm, &self.terms);
        out
    }
}

/// The part of a query that goes from supernode to supernode as it is.
pub(super) fn read_terms(reader: &mut Reader<'_>) -> Result<(Realm, Vec<Term>), WireError> {
    let realm = Realm(reader.u8("realm")?);
    let count = usize::from(reader.u8("number of terms")?);
    if count > TERMS_MAX {
        return Err(WireError::Count { what: "terms", got: count, max: TERMS_MAX });
    }
    let mut terms = Vec::new();
    for _ in 0..count {
        let (compare, tag) = (Compare::of(reader.u8("term")?), reader.u8("term")?);
        let value = reader.counted("term")?.to_vec();
        if value.len() > TAG_LEN_MAX {
            let got = value.len();
            return Err(WireError::Count { what: "bytes of a term", got, max: TAG_LEN_MAX });
        }
        terms.push(Term { compare, tag, value });
    }
    Ok((realm, terms))
}

pub(super) fn push_terms(out: &mut Vec<u8>, realm: Realm, terms: &[Term]) {
    let terms = &terms[..terms.len().min(TERMS_MAX)];
    out.extend_from_slice(&[realm.0, terms.len() as u8]);
    for term in terms {
        out.extend_from_slice(&[term.compare.code(), term.tag]);
        push_counted(out, &term.value[..term.value.len().min(TAG_LEN_MAX)]);
    }
}
