//! Ids that are bound to an address, so that nobody can choose his place in the network.
//!
//! Only a preference follows from it: a node with a foreign id is served and asked like every other, but the table
//! keeps one with a fitting id rather.
//= BEP 42

use crate::id::NodeId;
use crate::rng::Rng;
use crate::scope::Scope;
use std::net::IpAddr;

const V4_MASK: [u8; 4] = [0x03, 0x0f, 0x3f, 0xff];
const V6_MASK: [u8; 8] = [0x01, 0x03, 0x07, 0x0f, 0x1f, 0x3f, 0x7f, 0xff];

/// An id that a node at this address should have.
pub fn id_for(ip: IpAddr, rng: &mut Rng) -> NodeId {
    let mut id = NodeId::random(rng);
    let [a, b, c, _] = checksum(ip, id.0[19] & 7).to_be_bytes();
    id.0[0] = a;
    id.0[1] = b;
    id.0[2] = c & 0xf8 | id.0[2] & 0x07;
    id
}

/// Whether a node at this address may have this id. Addresses that are not global have no say.
pub fn id_fits(id: &NodeId, ip: IpAddr) -> bool {
    if Scope::of(ip) != Some(Scope::Global) {
        return true;
    }
    let [a, b, c, _] = checksum(ip, id.0[19] & 7).to_be_bytes();
    id.0[0] == a && id.0[1] == b && id.0[2] & 0xf8 == c & 0xf8
}

fn checksum(ip: IpAddr, random: u8) -> u32 {
    let mut masked = [0; 8];
    let octets = match ip.to_canonical() {
        IpAddr::V4(v4) => {
            let bytes = v4.octets();
            (0..4).for_each(|i| masked[i] = bytes[i] & V4_MASK[i]);
            &mut masked[..4]
        }
        IpAddr::V6(v6) => {
            let bytes = v6.octets();
            (0..8).for_each(|i| masked[i] = bytes[i] & V6_MASK[i]);
            &mut masked[..8]
        }
    };
    octets[0] |= random << 5;
    crc32c(octets)
}

/// Castagnoli's polynomial, bit by bit: it runs over eight bytes at most.
//= RFC 3720 §12.1
fn crc32c(bytes: &[u8]) -> u32 {
    const REFLECTED: u32 = 0x82f6_3b78;
    let step = |crc: u32, _| (crc >> 1) ^ (REFLECTED & (crc & 1).wrapping_neg());
    !bytes.iter().fold(!0, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ids_of_the_specification_fit_their_addresses() {
        for (ip, sum, random, id) in [
            ("124.31.75.21", 0x5fbf_bdb2, 1, "5fbfbff10c5d6a4ec8a88e4c6ab4c28b95eee401"),
            ("21.75.31.124", 0x5a3c_e9b0, 86, "5a3ce9c14e7a08645677bbd1cfe7d8f956d53256"),
            ("65.23.51.170", 0xa5d4_344a, 22, "a5d43220bc8f112a3d426c84764f8c2a1150e616"),
            ("84.124.73.14", 0x1b03_217b, 65, "1b0321dd1bb1fe518101ceef99462b947a01ff41"),
            ("43.213.53.83", 0xe56f_6972, 90, "e56f6cbf5b7c4be0237986d5243b87aa6d51305a"),
            (
                "2001:b829:2123:be84:e16c:d6ae:5290:49f1",
                0x0a8a_d1aa,
                4,
                "0a8ad123be84e16cd6ae529049f1f1bbe9ebb304",
            ),
        ] {
            let ip: IpAddr = ip.parse().unwrap();
            let id = NodeId::from_hex(id).unwrap();
            assert_eq!(id.0[19] & 7, random & 7);
            assert_eq!(checksum(ip, random & 7), sum, "{ip}");
            assert!(id_fits(&id, ip), "{ip}");
            assert!(!id_fits(&NodeId(id.0.map(|byte| !byte)), ip), "{ip}");
        }
    }

    #[test]
    fn prefixes_for_every_random_number() {
        for (ip, prefixes) in [
            ("8.8.8.8", "67fbe8 b0def8 cc5db0 1b78a0 355b20 e27e30 9efd78 49d868"),
            ("203.0.113.7", "ad6328 7a4638 06c570 d1e060 ffc3e0 28e6f0 5465b8 8340a8"),
            ("2001:db8::1", "7c89c8 7189a8 668900 6b8960 488858 458838 528890 5f88f0"),
        ] {
            for (random, prefix) in prefixes.split(' ').enumerate() {
                let sum = checksum(ip.parse().unwrap(), random as u8);
                assert_eq!(format!("{:06x}", sum >> 8 & 0xff_fff8), prefix, "{ip} {random}");
            }
        }
    }

    #[test]
    fn a_made_id_fits_its_address_and_hardly_another() {
        let mut rng = Rng::seeded(42);
        let foreign: IpAddr = "9.9.9.9".parse().unwrap();
        for n in 0..200u8 {
            for ip in
                [IpAddr::from([198, 18, n, 1]), IpAddr::from([0x2001, n.into(), 0, 0, 0, 0, 0, 1])]
            {
                let id = id_for(ip, &mut rng);
                assert!(id_fits(&id, ip) && !id_fits(&id, foreign), "{ip} {id}");
            }
        }
        assert!(id_fits(&NodeId([0; 20]), "192.168.1.1".parse().unwrap()), "private: exempt");
    }
}
