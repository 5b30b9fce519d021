//! Numbers and texts as bytes, for the files of the log: little-endian, and variable-length numbers of seven bits a byte, lowest first.

/// Takes values from the front of a slice. `None` says that the bytes are not what was written: too short, or not a number or a text.
#[derive(Debug)]
pub(in crate::kafka::embedded) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(in crate::kafka::embedded) fn new(bytes: &'a [u8], at: usize) -> Self {
        Reader { bytes, at }
    }
    /// Where the next value begins.
    pub(in crate::kafka::embedded) fn position(&self) -> usize {
        self.at
    }
    pub(in crate::kafka::embedded) fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }
    pub(in crate::kafka::embedded) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(taken)
    }
    pub(in crate::kafka::embedded) fn u8(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }
    pub(in crate::kafka::embedded) fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(*self.take(4)?.as_array()?))
    }
    pub(in crate::kafka::embedded) fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(*self.take(8)?.as_array()?))
    }
    pub(in crate::kafka::embedded) fn i64(&mut self) -> Option<i64> {
        Some(self.u64()?.cast_signed())
    }
    pub(in crate::kafka::embedded) fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }
    pub(in crate::kafka::embedded) fn zigzag(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }
    pub(in crate::kafka::embedded) fn length(&mut self) -> Option<usize> {
        usize::try_from(self.varint()?).ok()
    }
    pub(in crate::kafka::embedded) fn text(&mut self) -> Option<&'a str> {
        let length = self.length()?;
        std::str::from_utf8(self.take(length)?).ok()
    }
}

pub(in crate::kafka::embedded) fn put_varint(into: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        into.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    into.push(value as u8);
}

pub(in crate::kafka::embedded) fn put_zigzag(into: &mut Vec<u8>, value: i64) {
    put_varint(into, ((value << 1) ^ (value >> 63)).cast_unsigned());
}

pub(in crate::kafka::embedded) fn put_text(into: &mut Vec<u8>, text: &str) {
    put_varint(into, text.len() as u64);
    into.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_size_come_back() {
        let numbers = [0, 1, -1, 63, 64, -64, -65, 300, i64::from(i32::MIN), i64::MAX, i64::MIN];
        let mut bytes = Vec::new();
        for number in numbers {
            put_zigzag(&mut bytes, number);
            put_varint(&mut bytes, number.cast_unsigned());
        }
        put_text(&mut bytes, "größe");
        let mut reader = Reader::new(&bytes, 0);
        for number in numbers {
            assert_eq!((reader.zigzag(), reader.varint()), (Some(number), Some(number.cast_unsigned())));
        }
        assert_eq!(reader.text(), Some("größe"));
        assert!(reader.is_at_end() && reader.u8().is_none());
    }

    #[test]
    fn what_was_never_written_is_no_value() {
        assert_eq!(Reader::new(&[0xff; 11], 0).varint(), None, "a number without an end");
        assert_eq!(Reader::new(&[5, b'a'], 0).text(), None, "a text that is too short");
        assert_eq!(Reader::new(&[1, 0xff], 0).text(), None, "no text at all");
    }
}
