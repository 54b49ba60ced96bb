//! Writing canonical bencode: sorted keys, shortest numbers. It writes no other kind.

use std::collections::BTreeMap;

/// A dictionary in the making. Keys may be set in any order; setting one again replaces it.
#[derive(Clone, Debug, Default)]
pub struct Dict {
    /// Values are encoded already.
    entries: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// A list in the making.
#[derive(Clone, Debug, Default)]
pub struct List {
    /// Items, encoded, one after the other.
    items: Vec<u8>,
}

impl Dict {
    /// Without entries.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets an integer. One outside of `i64` is written, but every strict decoder refuses it.
    #[must_use]
    pub fn int(self, key: impl AsRef<[u8]>, value: impl Into<i128>) -> Self {
        self.set(key, |out| push_int(out, value.into()))
    }

    /// Sets a string: text or bytes.
    #[must_use]
    pub fn bytes(self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.set(key, |out| push_bytes(out, value.as_ref()))
    }

    /// Sets a list.
    #[must_use]
    pub fn list(self, key: impl AsRef<[u8]>, value: List) -> Self {
        self.set(key, |out| *out = value.into_bytes())
    }

    /// Sets a dictionary.
    #[must_use]
    pub fn dict(self, key: impl AsRef<[u8]>, value: Self) -> Self {
        self.set(key, |out| *out = value.into_bytes())
    }

    /// Sets bytes that are one encoded value already, such as the raw span of an info dictionary.
    /// They are not looked at: anything else makes the whole dictionary malformed.
    #[must_use]
    pub fn raw(self, key: impl AsRef<[u8]>, value: &[u8]) -> Self {
        self.set(key, |out| out.extend_from_slice(value))
    }

    /// The encoded dictionary.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        let mut out = vec![b'd'];
        for (key, value) in self.entries {
            push_bytes(&mut out, &key);
            out.extend_from_slice(&value);
        }
        out.push(b'e');
        out
    }

    fn set(mut self, key: impl AsRef<[u8]>, write: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut value = Vec::new();
        write(&mut value);
        self.entries.insert(key.as_ref().to_vec(), value);
        self
    }
}

impl List {
    /// Without items.
    pub fn new() -> Self {
        Self::default()
    }

    /// A list of strings.
    pub fn of_bytes<T: AsRef<[u8]>>(items: impl IntoIterator<Item = T>) -> Self {
        items.into_iter().fold(Self::new(), Self::bytes)
    }

    /// Appends an integer.
    #[must_use]
    pub fn int(mut self, value: impl Into<i128>) -> Self {
        push_int(&mut self.items, value.into());
        self
    }

    /// Appends a string: text or bytes.
    #[must_use]
    pub fn bytes(mut self, value: impl AsRef<[u8]>) -> Self {
        push_bytes(&mut self.items, value.as_ref());
        self
    }

    /// Appends a list.
    #[must_use]
    pub fn list(mut self, value: Self) -> Self {
        self.items.append(&mut value.into_bytes());
        self
    }

    /// Appends a dictionary.
    #[must_use]
    pub fn dict(mut self, value: Dict) -> Self {
        self.items.append(&mut value.into_bytes());
        self
    }

    /// The encoded list.
    #[must_use]
    pub fn into_bytes(mut self) -> Vec<u8> {
        self.items.insert(0, b'l');
        self.items.push(b'e');
        self.items
    }
}

fn push_int(out: &mut Vec<u8>, value: i128) {
    out.extend_from_slice(format!("i{value}e").as_bytes());
}

fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(bytes.len().to_string().as_bytes());
    out.push(b':');
    out.extend_from_slice(bytes);
}
