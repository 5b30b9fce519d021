//! What the bytes of keys and values are taken for, as the one who reads them says: topics do not tell.

use clap::ValueEnum;
use highwater::Timestamp;
use serde_json::{Value, json};

use super::legible::{hexadecimal, legible, moment, part};

/// What bytes are taken for. Those that are no such thing are shown in hexadecimal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shape {
    /// Text where they are text, hexadecimal where they are not
    #[default]
    Auto,
    /// Hexadecimal
    Hex,
    /// A whole number in eight bytes, as counts are
    Long,
    /// A whole number in four bytes
    Int,
    /// A floating-point number in eight bytes
    Double,
    /// A key and the start of its window: KEY@START
    Windowed,
    /// The same as a windowed store has it in its changelog
    WindowedStore,
    /// A key and its session: KEY@START/END
    Session,
}

/// What a piece of bytes turned out to be.
enum Found<'a> {
    /// As it comes.
    Plain(&'a [u8]),
    Digits(&'a [u8]),
    Whole(i64),
    Floating(f64),
    Windowed(&'a [u8], Timestamp),
    Session(&'a [u8], Timestamp, Timestamp),
}

impl Shape {
    fn find(self, bytes: &[u8]) -> Found<'_> {
        self.fits(bytes).unwrap_or(Found::Digits(bytes))
    }

    fn fits(self, bytes: &[u8]) -> Option<Found<'_>> {
        let time = |bytes: &[u8; 8]| Timestamp::from_millis(i64::from_be_bytes(*bytes));
        Some(match self {
            Shape::Auto => Found::Plain(bytes),
            Shape::Hex => Found::Digits(bytes),
            Shape::Long => Found::Whole(i64::from_be_bytes(bytes.try_into().ok()?)),
            Shape::Int => Found::Whole(i32::from_be_bytes(bytes.try_into().ok()?).into()),
            Shape::Double => Found::Floating(f64::from_be_bytes(bytes.try_into().ok()?)),
            Shape::Windowed => {
                let (key, start) = bytes.split_last_chunk()?;
                Found::Windowed(key, time(start))
            }
            // The last four bytes number values of one key and time, where a store keeps several.
            Shape::WindowedStore => return Shape::Windowed.fits(bytes.split_last_chunk::<4>()?.0),
            Shape::Session => {
                let (rest, start) = bytes.split_last_chunk()?;
                let (key, end) = rest.split_last_chunk()?;
                Found::Session(key, time(start), time(end))
            }
        })
    }

    /// In one piece of a line.
    pub(crate) fn word(self, bytes: Option<&[u8]>) -> String {
        match bytes.map(|bytes| self.find(bytes)) {
            None => legible(None),
            Some(Found::Plain(bytes)) => legible(Some(bytes)),
            Some(Found::Digits(bytes)) => format!("0x{}", hexadecimal(bytes)),
            Some(Found::Whole(number)) => number.to_string(),
            Some(Found::Floating(number)) => number.to_string(),
            Some(Found::Windowed(key, start)) => format!("{}@{}", legible(Some(key)), moment(start)),
            Some(Found::Session(key, start, end)) => format!("{}@{}/{}", legible(Some(key)), moment(start), moment(end)),
        }
    }

    /// In an object. Times are milliseconds since 1970.
    pub(crate) fn value(self, bytes: Option<&[u8]>) -> Value {
        match bytes.map(|bytes| self.find(bytes)) {
            None => Value::Null,
            Some(Found::Plain(bytes)) => part(Some(bytes)),
            Some(Found::Digits(bytes)) => json!({ "hex": hexadecimal(bytes) }),
            Some(Found::Whole(number)) => json!(number),
            // What is no number has a name there, since an object has no numbers like it.
            Some(Found::Floating(number)) => {
                if number.is_finite() {
                    json!(number)
                } else {
                    json!(number.to_string())
                }
            }
            Some(Found::Windowed(key, start)) => json!({ "key": part(Some(key)), "start": start.as_millis() }),
            Some(Found::Session(key, start, end)) => {
                json!({ "key": part(Some(key)), "start": start.as_millis(), "end": end.as_millis() })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    fn key_in(times: &[i64], more: &[u8]) -> Vec<u8> {
        let times = times.iter().flat_map(|time| time.to_be_bytes());
        b"k".iter().copied().chain(times).chain(more.iter().copied()).collect()
    }

    #[test]
    fn bytes_are_shown_as_what_they_are_said_to_be() {
        let (windowed, session) = (key_in(&[HOUR], &[]), key_in(&[2 * HOUR, HOUR], &[]));
        let stored = key_in(&[HOUR], &[0, 0, 0, 1]);
        let cases: [(Shape, &[u8], &str, Value); 8] = [
            (Shape::Auto, b"k", "k", json!("k")),
            (Shape::Hex, b"k", "0x6b", json!({ "hex": "6b" })),
            (Shape::Long, &(-7_i64).to_be_bytes(), "-7", json!(-7)),
            (Shape::Int, &7_i32.to_be_bytes(), "7", json!(7)),
            (Shape::Double, &1.5_f64.to_be_bytes(), "1.5", json!(1.5)),
            (Shape::Windowed, &windowed, "k@1970-01-01T01:00:00.000Z", json!({ "key": "k", "start": HOUR })),
            (Shape::WindowedStore, &stored, "k@1970-01-01T01:00:00.000Z", json!({ "key": "k", "start": HOUR })),
            (
                Shape::Session,
                &session,
                "k@1970-01-01T01:00:00.000Z/1970-01-01T02:00:00.000Z",
                json!({ "key": "k", "start": HOUR, "end": 2 * HOUR }),
            ),
        ];
        for (shape, bytes, word, value) in cases {
            assert_eq!((shape.word(Some(bytes)), shape.value(Some(bytes))), (word.to_owned(), value), "{shape:?}");
        }
    }

    #[test]
    fn bytes_that_are_no_such_thing_are_shown_as_they_are() {
        for shape in Shape::value_variants() {
            assert_eq!((shape.word(None), shape.value(None)), ("null".to_owned(), Value::Null), "{shape:?}");
            let (word, value) = (shape.word(Some(b"\x01\x02")), shape.value(Some(b"\x01\x02")));
            assert_eq!((word, value), ("0x0102".to_owned(), json!({ "hex": "0102" })), "{shape:?}");
        }
        let none = f64::NAN.to_be_bytes();
        assert_eq!((Shape::Double.word(Some(&none)), Shape::Double.value(Some(&none))), ("NaN".to_owned(), json!("NaN")));
    }
}
