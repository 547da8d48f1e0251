//! A hash that every process computes alike: XXH64 with seed 0 (Collet, xxHash specification).
//!
//! Why not `std`'s? Its result may differ from one release to the next, and two clients of one fleet
//! must agree on where a key belongs. It is no defence against chosen keys: whoever chooses keys can
//! send them all to one backend.

const P1: u64 = 0x9e37_79b1_85eb_ca87;
const P2: u64 = 0xc2b2_ae3d_27d4_eb4f;
const P3: u64 = 0x1656_67b1_9e37_79f9;
const P4: u64 = 0x85eb_ca77_c2b2_ae63;
const P5: u64 = 0x27d4_eb2f_1656_67c5;

/// The key of a call, from whatever tells its user, session or document apart: XXH64 of the bytes.
///
/// The same bytes give the same key in every process, on every machine and in every version.
#[must_use]
pub fn hash_key(bytes: &[u8]) -> u64 {
    let (stripes, rest) = bytes.as_chunks::<32>();
    let mut hash = if stripes.is_empty() {
        P5
    } else {
        merge(stripes.iter().fold(START, consume))
    };
    hash = hash.wrapping_add(bytes.len() as u64);
    let (words, rest) = rest.as_chunks::<8>();
    for word in words {
        hash ^= round(0, u64::from_le_bytes(*word));
        hash = hash.rotate_left(27).wrapping_mul(P1).wrapping_add(P4);
    }
    let (halves, rest) = rest.as_chunks::<4>();
    for half in halves {
        hash ^= u64::from(u32::from_le_bytes(*half)).wrapping_mul(P1);
        hash = hash.rotate_left(23).wrapping_mul(P2).wrapping_add(P3);
    }
    for byte in rest {
        hash ^= u64::from(*byte).wrapping_mul(P5);
        hash = hash.rotate_left(11).wrapping_mul(P1);
    }
    avalanche(hash)
}

const START: [u64; 4] = [P1.wrapping_add(P2), P2, 0, P1.wrapping_neg()];

fn consume(lanes: [u64; 4], stripe: &[u8; 32]) -> [u64; 4] {
    let (words, _) = stripe.as_chunks::<8>();
    std::array::from_fn(|lane| round(lanes[lane], u64::from_le_bytes(words[lane])))
}

fn merge(lanes: [u64; 4]) -> u64 {
    let turned = lanes.iter().zip([1, 7, 12, 18]);
    let sum = turned.fold(0_u64, |sum, (lane, by)| {
        sum.wrapping_add(lane.rotate_left(by))
    });
    lanes.iter().fold(sum, |hash, lane| {
        (hash ^ round(0, *lane)).wrapping_mul(P1).wrapping_add(P4)
    })
}

const fn round(lane: u64, word: u64) -> u64 {
    lane.wrapping_add(word.wrapping_mul(P2))
        .rotate_left(31)
        .wrapping_mul(P1)
}

const fn avalanche(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 33)).wrapping_mul(P2);
    hash = (hash ^ (hash >> 29)).wrapping_mul(P3);
    hash ^ (hash >> 32)
}
