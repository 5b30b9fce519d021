//! Which partition a record goes to: Kafka's default for keys, so that Java and Highwater put equal keys in equal partitions.

const MIX: u32 = 0x5bd1_e995;
const SEED: u32 = 0x9747_b28c;

/// The partition of a key among `partitions`, of which there is at least one: murmur2 of its bytes without the sign bit.
pub fn partition_of(key: &[u8], partitions: i32) -> i32 {
    // The sign bit is cleared, so the value fits; the remainder does as well.
    (murmur2(key) & 0x7fff_ffff).cast_signed() % partitions.max(1)
}

/// Austin Appleby's 32-bit hash with the seed that Kafka chose.
fn murmur2(bytes: &[u8]) -> u32 {
    let length = u32::try_from(bytes.len()).expect("a key is shorter than 4 GiB");
    let mut hash = SEED ^ length;
    let (words, rest) = bytes.as_chunks::<4>();
    for word in words {
        let k = u32::from_le_bytes(*word).wrapping_mul(MIX);
        hash = hash.wrapping_mul(MIX) ^ (k ^ (k >> 24)).wrapping_mul(MIX);
    }
    if !rest.is_empty() {
        let tail = rest.iter().rev().fold(0, |tail, byte| (tail << 8) | u32::from(*byte));
        hash = (hash ^ tail).wrapping_mul(MIX);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(MIX);
    hash ^ (hash >> 15)
}

/// Spreads records without a key: one partition after the other, from 0.
///
/// Kafka's own clients stick to one partition for a batch and then draw another; nothing may rest on either. Taking turns is as even
/// and gives the same answer in every run. One per topic and sender.
#[derive(Clone, Copy, Debug, Default)]
pub struct RoundRobin(u32);

impl RoundRobin {
    /// The next partition among `partitions`, of which there is at least one.
    pub fn turn(&mut self, partitions: i32) -> i32 {
        let partitions = partitions.max(1).cast_unsigned();
        let turn = self.0 % partitions;
        self.0 = turn + 1;
        turn.cast_signed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with the reference model, `partition_of` of the watermark cases.
    #[test]
    fn keys_lie_where_kafka_puts_them() {
        let golden = [
            ("", [0, 1, 2, 681, 275_646_681]),
            ("a", [0, 0, 5, 524, 584_102_524]),
            ("ab", [0, 2, 0, 434, 316_155_434]),
            ("abc", [0, 3, 4, 107, 479_470_107]),
            ("abcd", [0, 0, 5, 100, 823_834_100]),
            ("orders", [0, 0, 1, 372, 1_117_641_372]),
            ("192.168.0.1", [0, 1, 2, 569, 205_912_569]),
            ("key-12345", [0, 1, 0, 733, 1_194_779_733]),
            ("größe", [0, 0, 4, 84, 588_164_084]),
            ("21", [0, 0, 3, 340, 1_173_551_340]),
            ("foobar", [0, 2, 0, 166, 1_357_151_166]),
            ("a-little-bit-long-string", [0, 0, 1, 112, 1_161_502_112]),
            ("a-little-bit-longer-string", [0, 3, 0, 819, 661_178_819]),
        ];
        for (key, expected) in golden {
            assert_eq!([1, 4, 7, 1000, i32::MAX].map(|n| partition_of(key.as_bytes(), n)), expected, "{key}");
        }
        let numbers = [0, 1, -1, 1 << 62].map(|n: i64| partition_of(&n.to_be_bytes(), 10));
        assert_eq!(numbers, [5, 0, 7, 6]);
    }

    #[test]
    fn records_without_a_key_take_turns() {
        let mut turns = RoundRobin::default();
        assert_eq!([3, 3, 3, 3].map(|n| turns.turn(n)), [0, 1, 2, 0]);
        assert_eq!([1, 1, 2, 2].map(|n| turns.turn(n)), [0, 0, 1, 0], "also when a topic has grown or shrunk");
    }
}
