//! The envelope of everything that is written: a mark, a length, a checksum, a body.
//!
//! ```text
//! 0  4  the mark: "HWf" and 0x01
//! 4  4  length of the body
//! 8  4  CRC-32C of the length's four bytes and the body
//! 12    the body
//! ```

use std::ops::Range;

/// What every frame begins with.
const MARK: [u8; 4] = *b"HWf\x01";
/// Bytes before the body.
pub(super) const HEAD: usize = 12;

/// Writes a frame to the end of `into`, with the body that `write` puts there.
pub(super) fn put(into: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = into.len();
    into.extend_from_slice(&MARK);
    into.extend_from_slice(&[0; 8]);
    write(into);
    let length = u32::try_from(into.len() - start - HEAD).expect("a block of records is shorter than 4 GiB");
    into[start + 4..start + 8].copy_from_slice(&length.to_le_bytes());
    let checksum = checksum(length, &into[start + HEAD..]);
    into[start + 8..start + HEAD].copy_from_slice(&checksum.to_le_bytes());
}

/// Where the body of the frame that begins at `at` lies; `None` if there is no whole frame.
pub(super) fn body_at(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let head = bytes.get(at..at + HEAD)?;
    let word = |from: usize| u32::from_le_bytes(*head[from..from + 4].as_array().expect("four bytes"));
    if head[..4] != MARK {
        return None;
    }
    let body = at + HEAD..(at + HEAD).checked_add(word(4) as usize)?;
    (checksum(word(4), bytes.get(body.clone())?) == word(8)).then_some(body)
}

/// Whether a whole frame begins anywhere from `at` on. If there is one behind a broken frame, that one was not torn while it was written: it
/// was damaged afterwards.
pub(super) fn any_from(bytes: &[u8], at: usize) -> bool {
    let last = bytes.len().saturating_sub(HEAD);
    (at..=last).any(|place| bytes[place..].starts_with(&MARK) && body_at(bytes, place).is_some())
}

fn checksum(length: u32, body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&length.to_le_bytes()), body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> Vec<u8> {
        let mut bytes = Vec::new();
        put(&mut bytes, |body| body.extend_from_slice(b"first"));
        put(&mut bytes, |body| body.extend_from_slice(b"second"));
        bytes
    }

    #[test]
    fn frames_follow_each_other() {
        let bytes = two();
        let first = body_at(&bytes, 0).expect("whole");
        let second = body_at(&bytes, first.end).expect("whole");
        assert_eq!((&bytes[first], &bytes[second.clone()]), (&b"first"[..], &b"second"[..]));
        assert_eq!(second.end, bytes.len());
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_seen() {
        let bytes = two();
        for cut in 0..HEAD + 5 {
            assert_eq!(body_at(&bytes[..cut], 0), None, "cut at {cut}");
        }
        for bit in 0..(HEAD + 5) * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(body_at(&damaged, 0), None, "bit {bit}");
            assert!(any_from(&damaged, 1), "the second one is whole");
        }
        assert!(!any_from(&bytes[..bytes.len() - 1], HEAD + 5), "a torn one is not");
    }
}
