//! A fixed 64-bit hash of bytes: the same on every machine, in every version.
//!
//! Two balancers that hash the same key over the same members must agree, so neither the function nor its seed may ever
//! change. Each step is the finisher of SplitMix64 (Steele, Lea, Flood 2014; constants by Stafford), a bijection
//! with full avalanche. It is no protection against a client that looks for keys that meet: what
//! everybody must know cannot be. A bound on the load (`max-load`) is.

const SEED: u64 = 0x6C62_2D68_6173_6831;
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// The digest of `bytes`.
///
/// ```
/// use lb_core::picker::digest;
/// assert_eq!(digest(b"10.1.2.3"), digest(b"10.1.2.3"));
/// assert_ne!(digest(b"a"), digest(b"a\0"));
/// ```
pub fn digest(bytes: &[u8]) -> u64 {
    let start = mix(SEED ^ bytes.len() as u64);
    bytes.chunks(8).fold(start, |state, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        mix(state ^ u64::from_le_bytes(word))
    })
}

/// Spreads every bit over all.
pub(crate) fn mix(state: u64) -> u64 {
    let mut z = state.wrapping_add(STEP);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The `n`th number that follows from `seed`.
pub(super) fn nth(seed: u64, n: u64) -> u64 {
    mix(seed.wrapping_add(n.wrapping_mul(STEP)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_never_changes() {
        // Balancers of different versions stand beside each other during an update.
        let known = [
            b"".as_slice(),
            b"a",
            b"user-17",
            b"a key of more than eight bytes",
        ]
        .map(digest);
        let wanted = [
            9_394_824_809_717_695_709,
            4_454_018_564_480_728_539,
            4_069_428_979_064_508_992,
            10_224_642_694_340_447_917,
        ];
        assert_eq!(known, wanted);
    }

    #[test]
    fn one_bit_of_the_key_changes_half_of_the_digest() {
        let mut changed = 0;
        for key in 0..1000u32 {
            let bytes = key.to_le_bytes();
            let mut other = bytes;
            other[key as usize % 4] ^= 1 << (key % 8);
            changed += (digest(&bytes) ^ digest(&other)).count_ones();
        }
        let mean = f64::from(changed) / 1000.0;
        assert!((31.0..33.0).contains(&mean), "{mean}");
    }
}
