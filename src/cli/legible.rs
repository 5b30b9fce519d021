//! Bytes for people and for programs: text where they are text, hexadecimal where they are not.

use std::fmt::Write;

use chrono::DateTime;
use highwater::{RawRecord, Timestamp};
use serde_json::{Value, json};

use super::shape::Shape;

/// Bytes in one piece of a line: text as it is, in quotes where it could be taken for something else; what is no text as `0x` and its digits; `null`.
pub(crate) fn legible(bytes: Option<&[u8]>) -> String {
    let Some(bytes) = bytes else { return "null".to_owned() };
    match text(bytes) {
        None => format!("0x{}", hexadecimal(bytes)),
        Some(text) => {
            let escaped: String = text.chars().flat_map(escaped).collect();
            let doubtful = text.is_empty() || text == "null" || text.starts_with("0x") || text.starts_with('"') || text.trim() != text;
            if doubtful { format!("\"{escaped}\"") } else { escaped }
        }
    }
}

/// When a record happened, to the millisecond.
pub(crate) fn moment(timestamp: Timestamp) -> String {
    let millis = timestamp.as_millis();
    DateTime::from_timestamp_millis(millis).map_or_else(|| millis.to_string(), |time| time.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string())
}

/// A record as a line of text: partition, offset, time, key, value and headers, with tabs between them.
pub(crate) fn line(record: &RawRecord<'_>, (keys, values): (Shape, Shape)) -> String {
    let RawRecord { partition, offset, key, value, timestamp, headers, .. } = *record;
    let mut line = format!("{partition}\t{offset}\t{}\t{}\t{}", moment(timestamp), keys.word(key), values.word(value));
    for (n, (name, value)) in headers.iter().enumerate() {
        let _ = write!(line, "{}{}={}", if n == 0 { '\t' } else { ' ' }, legible(Some(name.as_bytes())), legible(value));
    }
    line
}

/// A record as an object. What is no text is an object with its `hex`.
pub(crate) fn object(record: &RawRecord<'_>, (keys, values): (Shape, Shape)) -> Value {
    let headers: Vec<_> = record.headers.iter().map(|(name, value)| json!([name, part(value)])).collect();
    json!({
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": record.timestamp.as_millis(),
        "key": keys.value(record.key),
        "value": values.value(record.value),
        "headers": headers,
    })
}

/// Bytes in an object.
pub(crate) fn part(bytes: Option<&[u8]>) -> Value {
    match bytes.map(|bytes| (text(bytes), bytes)) {
        None => Value::Null,
        Some((Some(text), _)) => json!(text),
        Some((None, bytes)) => json!({ "hex": hexadecimal(bytes) }),
    }
}

/// The text that bytes are, unless it holds what no text has.
fn text(bytes: &[u8]) -> Option<&str> {
    let is_odd = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r');
    std::str::from_utf8(bytes).ok().filter(|text| !text.contains(is_odd))
}

fn escaped(c: char) -> impl Iterator<Item = char> {
    let escape = match c {
        '\t' => Some('t'),
        '\n' => Some('n'),
        '\r' => Some('r'),
        '\\' => Some('\\'),
        _ => None,
    };
    escape.map(|_| '\\').into_iter().chain([escape.unwrap_or(c)])
}

/// Two digits for each byte.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut digits, byte| {
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

#[cfg(test)]
mod tests {
    use highwater::Headers;

    use super::*;

    #[test]
    fn no_two_values_look_the_same() {
        let shown: Vec<_> =
            [None, Some(&b"null"[..]), Some(b""), Some(b" "), Some(b"0x00"), Some(b"\0"), Some(b"a\tb"), Some(b"a\\tb"), Some(b"\xff")]
                .into_iter()
                .map(legible)
                .collect();
        assert_eq!(shown, ["null", "\"null\"", "\"\"", "\" \"", "\"0x00\"", "0x00", "a\\tb", "a\\\\tb", "0xff"]);
        assert_eq!(legible(Some("größe".as_bytes())), "größe");
    }

    #[test]
    fn a_record_is_one_line() {
        let mut headers = Headers::default();
        headers.add("source", "a b");
        headers.add_null("n");
        let timestamp = Timestamp::from_millis(1_700_000_000_123);
        let record =
            RawRecord { topic: "t", partition: 3, offset: 7, key: Some(b"k"), value: Some(b"\x00\x2a"), timestamp, headers: &headers };
        assert_eq!(line(&record, (Shape::Auto, Shape::Auto)), "3\t7\t2023-11-14T22:13:20.123Z\tk\t0x002a\tsource=a b n=null");
        let object = object(&record, (Shape::Auto, Shape::Auto));
        assert_eq!((&object["value"], &object["headers"]), (&json!({ "hex": "002a" }), &json!([["source", "a b"], ["n", null]])));
        assert_eq!(moment(Timestamp::MAX), i64::MAX.to_string());
    }
}
