//! Items: values of anybody's choice that are stored in the DHT.
//!
//! An immutable item is found by the hash of its value; a mutable one by the key of its owner, who alone can replace it, and
//! by a salt, so that one key can own many. Says what makes an item genuine; never decides which of two to keep.
//= BEP 44

use super::{SALT_MAX, VALUE_MAX};
use crate::bencode::{BencodeError, Limits, Value};
use crate::hash::sha1;
use crate::id::NodeId;
use crate::sign::{PublicKey, SecretKey, Signature};
use std::fmt;

/// What a value may be made of. Its bytes bound how many tokens there are, 2 for each. Looking for the order of keys walks
/// over a byte once for each container around it: the depth bounds what that costs.
pub(super) const LIMITS: Limits = Limits { depth: 32, tokens: VALUE_MAX / 2, bytes: VALUE_MAX };

/// One value in canonical bencode, at most [`VALUE_MAX`] bytes. They are kept as they came, because they are signed.
#[derive(Clone, Eq, PartialEq)]
pub struct ItemValue(Box<[u8]>);

/// Tells the items of one owner apart; at most [`SALT_MAX`] bytes, and often none.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Salt(Box<[u8]>);

/// What can be stored.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Item {
    /// What it says.
    pub value: ItemValue,
    /// Who says so, if it is a mutable one.
    pub signed: Option<Signed>,
}

/// What makes an item mutable.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Signed {
    /// Whose it is.
    pub key: PublicKey,
    /// Grows with each change; never negative.
    pub seq: i64,
    /// Over the salt, the number and the value.
    pub signature: Signature,
}

/// An item that is to be stored.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Put {
    /// What.
    pub item: Item,
    /// Of a mutable item.
    pub salt: Salt,
    /// Where a mutable item is stored already, it is only replaced if it has this sequence number.
    pub cas: Option<i64>,
}

/// What a node says of what it stores under a target.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Kept {
    /// The item. Whether it is genuine, its reader must see.
    Item(Box<Item>),
    /// A mutable item with this sequence number, which is not newer than was asked for.
    Seq(i64),
}

/// Why bytes cannot be the value of an item.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ItemError {
    /// Not one bencoded value, or too many in one.
    #[error(transparent)]
    Bencode(#[from] BencodeError),
    /// More bytes than an item may have.
    #[error("{got} bytes when encoded, an item has at most {VALUE_MAX}")]
    TooLong {
        /// How many there are.
        got: usize,
    },
    /// A dictionary whose keys are not in order: others would encode it in another way, and find another hash.
    #[error("keys of a dictionary are not in order")]
    Unsorted,
}

/// Where the items of an owner are stored.
//= BEP 44 §mutable items
pub fn target_of(key: &PublicKey, salt: &Salt) -> NodeId {
    NodeId(sha1([&key.0[..], &salt.0]))
}

impl ItemValue {
    /// Takes one bencoded value.
    pub fn new(raw: &[u8]) -> Result<Self, ItemError> {
        if raw.len() > VALUE_MAX {
            return Err(ItemError::TooLong { got: raw.len() });
        }
        if !Value::parse(raw, LIMITS)?.is_sorted() {
            return Err(ItemError::Unsorted);
        }
        Ok(Self(raw.into()))
    }

    /// A string with these bytes.
    pub fn of_bytes(bytes: &[u8]) -> Result<Self, ItemError> {
        Self::new(&[format!("{}:", bytes.len()).as_bytes(), bytes].concat())
    }

    /// It, bencoded.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// It, to be looked into.
    pub fn read(&self) -> Value<'_> {
        Value::parse(&self.0, LIMITS).expect("it was checked when it was made")
    }
}

impl Salt {
    /// `None` if there are more than [`SALT_MAX`] bytes.
    pub fn new(raw: &[u8]) -> Option<Self> {
        (raw.len() <= SALT_MAX).then(|| Self(raw.into()))
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Item {
    /// A mutable item, signed.
    pub fn sign(owner: &SecretKey, salt: &Salt, seq: i64, value: ItemValue) -> Self {
        let signature = owner.sign(&signed_bytes(salt, seq, &value));
        Self { value, signed: Some(Signed { key: owner.public(), seq, signature }) }
    }

    /// Where it is stored.
    pub fn target(&self, salt: &Salt) -> NodeId {
        match &self.signed {
            Some(signed) => target_of(&signed.key, salt),
            None => NodeId(sha1([self.value.as_bytes()])),
        }
    }

    /// Whether its owner has signed it, if it has one.
    pub fn is_genuine(&self, salt: &Salt) -> bool {
        self.signed.as_ref().is_none_or(|Signed { key, seq, signature }| {
            key.verifies(&signed_bytes(salt, *seq, &self.value), signature)
        })
    }

    /// Its sequence number, if it is mutable.
    pub fn seq(&self) -> Option<i64> {
        self.signed.as_ref().map(|signed| signed.seq)
    }
}

impl Put {
    /// Without any condition or salt.
    pub fn new(item: Item) -> Self {
        Self { item, salt: Salt::default(), cas: None }
    }

    /// Where it is to be stored.
    pub fn target(&self) -> NodeId {
        self.item.target(&self.salt)
    }
}

impl Kept {
    /// The sequence number, if it is of a mutable item.
    pub fn seq(&self) -> Option<i64> {
        match self {
            Self::Item(item) => item.seq(),
            Self::Seq(seq) => Some(*seq),
        }
    }
}

/// What an owner signs. Put together from the parts, never cut out of a message.
//= BEP 44 §signature verification
fn signed_bytes(salt: &Salt, seq: i64, value: &ItemValue) -> Vec<u8> {
    let mut out = Vec::with_capacity(128 + value.0.len());
    if !salt.0.is_empty() {
        out.extend_from_slice(format!("4:salt{}:", salt.0.len()).as_bytes());
        out.extend_from_slice(&salt.0);
    }
    out.extend_from_slice(format!("3:seqi{seq}e1:v").as_bytes());
    out.extend_from_slice(&value.0);
    out
}

impl fmt::Debug for ItemValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

impl fmt::Debug for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::hex;

    const PUBLIC: &str = "77ff84905a91936367c01360803104f92432fcd904a43511876df5cdf3e7e548";
    const SECRET: [&str; 2] = [
        "e06d3183d14159228433ed599221b80bd0a5ce8352e4bdf0262f76786ef1c74d",
        "b7e7a9fea2c0eb269d61e3b38e450a22e754941ac78479d6c54e1faf6037881d",
    ];

    fn owner() -> SecretKey {
        let [low, high] = SECRET.map(|half| hex::<32>(half).unwrap());
        SecretKey::from_long(&[low, high].concat().try_into().unwrap()).unwrap()
    }

    fn hello() -> ItemValue {
        ItemValue::of_bytes(b"Hello World!").unwrap()
    }

    fn salt(text: &str) -> Salt {
        Salt::new(text.as_bytes()).unwrap()
    }

    /// The published vectors 1 and 2.
    //= BEP 44 §test vectors
    #[test]
    fn mutable_items_of_the_specification() {
        #[track_caller]
        fn check(salt: &Salt, signed: &str, target: &str, signature: &str) {
            assert_eq!(signed_bytes(salt, 1, &hello()).escape_ascii().to_string(), signed);
            let item = Item::sign(&owner(), salt, 1, hello());
            assert_eq!(item.signed.unwrap().key.to_string(), PUBLIC);
            assert_eq!(item.target(salt).to_string(), target);
            assert_eq!(item.signed.unwrap().signature.to_string(), signature);
            assert!(item.is_genuine(salt));
            let forged = |change: fn(&mut Item)| {
                let mut item = item.clone();
                change(&mut item);
                !item.is_genuine(salt)
            };
            assert!(!item.is_genuine(&Salt::new(b"barfoo").unwrap()));
            assert!(forged(|item| item.value = ItemValue::of_bytes(b"Hello World?").unwrap()));
            assert!(forged(|item| item.signed.as_mut().unwrap().seq = 2));
            assert!(forged(|item| item.signed.as_mut().unwrap().signature.0[63] ^= 1));
            assert!(forged(|item| item.signed.as_mut().unwrap().key.0[0] ^= 1));
        }
        check(
            &Salt::default(),
            "3:seqi1e1:v12:Hello World!",
            "4a533d47ec9c7d95b1ad75f576cffc641853b750",
            "305ac8aeb6c9c151fa120f120ea2cfb923564e11552d06a5d856091e5e853cff\
             1260d3f39e4999684aa92eb73ffd136e6f4f3ecbfda0ce53a1608ecd7ae21f01",
        );
        check(
            &salt("foobar"),
            "4:salt6:foobar3:seqi1e1:v12:Hello World!",
            "411eba73b6f087ca51a3795d9c8c938d365e32c1",
            "6834284b6b24c3204eb2fea824d82f88883a3d95e8b4a21b8c0ded553d17d17d\
             df9a8a7104b1258f30bed3787e6cb896fca78c58f8e03b5f18f14951a87d9a08",
        );
    }

    /// The published vector 3.
    //= BEP 44 §test vectors
    #[test]
    fn the_immutable_item_of_the_specification() {
        let item = Item { value: hello(), signed: None };
        let target = item.target(&Salt::default()).to_string();
        assert_eq!(target, "e5f96f6f38320f0f33959cb4d3d656452117aadb");
        assert!(item.is_genuine(&Salt::default()));
        assert_eq!(item.value.read().as_bytes(), Some(&b"Hello World!"[..]));
    }

    /// The targets of published links to mutable torrents.
    //= BEP 46 §test vectors
    #[test]
    fn a_salt_leads_elsewhere() {
        let key = "8543d3e6115f0f98c944077a4493dcd543e49c739fd998550a1f614ab36ed63e";
        let key = PublicKey::from_hex(key).unwrap();
        let at = |salt: &[u8]| target_of(&key, &Salt::new(salt).unwrap()).to_string();
        assert_eq!(at(b""), "cc3f9d90b572172053626f9980ce261a850d050b");
        assert_eq!(at(&[0x6e]), "59ee7c2cb9b4f7eb1986ee2d18fd2fdb8a56554f");
    }

    #[test]
    fn only_short_canonical_values_can_be_stored() {
        let stored = |raw: &[u8]| ItemValue::new(raw).map(|value| value.as_bytes().len());
        assert_eq!(stored(b"d1:ai1e1:bl1:ad1:ci2eeee"), Ok(24));
        assert_eq!(stored(b"d1:bi1e1:ai1ee"), Err(ItemError::Unsorted));
        assert_eq!(stored(b"ld1:bi1e1:ai1eee"), Err(ItemError::Unsorted));
        for raw in [&b""[..], b"i01e", b"5:four", b"i1ei2e", b"d1:ai1e1:ai1ee", &[b'l'; 33]] {
            assert!(matches!(stored(raw), Err(ItemError::Bencode(_))), "{}", raw.escape_ascii());
        }
        let nested = |depth| ["l".repeat(depth), "e".repeat(depth)].concat();
        assert_eq!(stored(format!("l{}e", "0:".repeat(499)).as_bytes()), Ok(1000));
        assert_eq!(stored(nested(32).as_bytes()), Ok(64));
        let deep = BencodeError::Depth { at: 32, max: 32 };
        assert_eq!(stored(nested(33).as_bytes()), Err(ItemError::Bencode(deep)));
        assert_eq!(ItemValue::of_bytes(&[7; 996]).map(|value| value.as_bytes().len()), Ok(1000));
        assert_eq!(ItemValue::of_bytes(&[7; 997]), Err(ItemError::TooLong { got: 1001 }));
        assert_eq!(Salt::new(&[1; 64]).map(|salt| salt.as_bytes().len()), Some(64));
        assert_eq!((Salt::new(&[1; 65]), Salt::new(&[1; 1200])), (None, None));
    }
}
