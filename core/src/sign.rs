//! Ed25519: who has signed what, for items of the DHT that only their owner may change.
//!
//! Signs and verifies. Never draws a key itself, and never shows a secret one: it has no way to be printed.
//= BEP 44 §mutable items

use crate::id::{hex, lower_hex};
use ed25519_dalek::hazmat::{ExpandedSecretKey, raw_sign};
use ed25519_dalek::{SigningKey, VerifyingKey};
use sha2::Sha512;
use std::fmt;

/// Names an owner, and verifies what he has signed.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PublicKey(pub [u8; 32]);

/// A signature.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Signature(pub [u8; 64]);

/// What only the owner knows. Wiped from memory when it is dropped.
pub struct SecretKey {
    expanded: ExpandedSecretKey,
    public: VerifyingKey,
}

impl SecretKey {
    /// From 32 bytes of entropy, which are all that has to be kept.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let key = SigningKey::from_bytes(seed);
        Self { expanded: ExpandedSecretKey::from(key.as_bytes()), public: key.verifying_key() }
    }

    /// From 64 bytes: a seed and its public key, as NaCl, libsodium and Go keep it, or what a seed is hashed to, as published
    /// keys and libtorrent have it. `None` if they are neither.
    ///
    /// A hash has 5 bits that are always the same, which are demanded: where a seed with some other public key were taken for
    /// a hash, what it signs would give the key away.
    //= RFC 8032 §5.1.5
    pub fn from_long(bytes: &[u8; 64]) -> Option<Self> {
        let (seed, public) = bytes.split_first_chunk()?;
        let key = Self::from_seed(seed);
        if key.public().0 == public {
            return Some(key);
        }
        let hashed = seed[0] & 0b111 == 0 && seed[31] >> 6 == 0b01;
        hashed.then(|| {
            let expanded = ExpandedSecretKey::from_bytes(bytes);
            let public = VerifyingKey::from(&expanded);
            Self { expanded, public }
        })
    }

    /// What others know the owner by.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.public.to_bytes())
    }

    /// Signs a message; the same message gets the same signature.
    pub fn sign(&self, message: &[u8]) -> Signature {
        Signature(raw_sign::<Sha512>(&self.expanded, message, &self.public).to_bytes())
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey of {}", self.public())
    }
}

impl PublicKey {
    /// Reads 64 hex digits of any case.
    pub fn from_hex(text: &str) -> Option<Self> {
        hex(text).map(Self)
    }

    /// Whether the owner of this key has signed exactly this. Nobody has signed anything with bytes that are no key.
    pub fn verifies(&self, message: &[u8], signature: &Signature) -> bool {
        use ed25519_dalek::Verifier as _;
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        VerifyingKey::from_bytes(&self.0).is_ok_and(|key| key.verify(message, &signature).is_ok())
    }
}

lower_hex!(PublicKey, Signature);

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::Digest as _;

    #[test]
    fn what_was_signed_is_verified_and_nothing_else() {
        let key = SecretKey::from_seed(&[7; 32]);
        let other = SecretKey::from_seed(&[8; 32]);
        let signature = key.sign(b"so it is");
        assert!(key.public().verifies(b"so it is", &signature));
        assert!(!key.public().verifies(b"so it is not", &signature));
        assert!(!other.public().verifies(b"so it is", &signature));
        for at in 0..64 {
            let mut bent = signature;
            bent.0[at] ^= 1;
            assert!(!key.public().verifies(b"so it is", &bent), "byte {at}");
        }
        assert!(!PublicKey([2; 32]).verifies(b"so it is", &signature), "not a point of the curve");
    }

    /// RFC 8032 §7.1, test 2.
    #[test]
    fn a_seed_gives_the_key_of_the_standard() {
        let seed = hex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
        let key = SecretKey::from_seed(&seed.unwrap());
        let public = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";
        assert_eq!(key.public(), PublicKey::from_hex(public).unwrap());
        let signed = "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
                      085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00";
        assert_eq!(key.sign(&[0x72]).to_string(), signed);
        assert_eq!(format!("{key:?}"), format!("SecretKey of {public}"));
    }

    /// The same test's seed with its public key behind it, and the hash of the seed.
    #[test]
    fn long_keys_are_told_apart() {
        let seed = hex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb").unwrap();
        let key = SecretKey::from_seed(&seed);
        let public = |long: &[u8; 64]| SecretKey::from_long(long).map(|key| key.public());
        let with_public: [u8; 64] = [seed, key.public().0].concat().try_into().unwrap();
        assert_eq!(public(&with_public), Some(key.public()));
        let signed = SecretKey::from_long(&with_public).unwrap().sign(b"so it is");
        assert_eq!(signed, key.sign(b"so it is"));

        let mut hashed: [u8; 64] = Sha512::digest(seed).into();
        assert_eq!(public(&hashed), None, "5 bits are not as they must be");
        hashed[0] &= 0b1111_1000;
        hashed[31] = hashed[31] & 0b0111_1111 | 0b0100_0000;
        assert_eq!(public(&hashed), Some(key.public()));
        for (at, bit) in [(0, 1), (0, 2), (0, 4), (31, 0x40), (31, 0x80)] {
            let mut bent = hashed;
            bent[at] ^= bit;
            assert_eq!(public(&bent), None, "byte {at}, bit {bit:#x}");
        }
    }
}
