//! A row: the bytes of a record and the fields that a job reads from them.
//!
//! A row keeps its bytes and is written as them, so a row in a late topic, a dead-letter topic or a repartition topic is the record that
//! came in, byte for byte, whatever the format. The fields are looked up when the row is read; which ones is decided with the job.

use std::collections::BTreeMap;
use std::sync::Arc;

use highwater::serdes::{Serde, Slot};
use highwater::{Headers, SerdeError, Timestamp};
use regex::Regex;
use serde_json::Value;
use serde_json::value::RawValue;

use super::time_format::TimeFormat;

/// A record as a prebuilt job sees it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    /// The record's value as it came.
    pub(crate) bytes: Vec<u8>,
    /// When it happened, by its own field.
    pub(crate) at: Timestamp,
    /// The fields that were asked for, in that order; none where the record has no such field.
    pub(crate) fields: Vec<Option<String>>,
}

/// How the bytes of a record are laid out.
#[derive(Clone, Debug)]
pub(crate) enum Format {
    /// One JSON object. A field `user.id` is the `id` within `user`.
    Json,
    /// One line of text; the named groups of the pattern are its fields.
    Regex(Regex),
}

/// How a job reads its rows. Cheap to clone: a job has it in several places.
#[derive(Clone, Debug)]
pub(crate) struct RowCodec(Arc<Reading>);

#[derive(Debug)]
struct Reading {
    format: Format,
    time_field: String,
    time_format: TimeFormat,
    fields: Vec<String>,
}

impl RowCodec {
    pub(crate) fn new(format: Format, time_field: String, time_format: TimeFormat, fields: Vec<String>) -> Self {
        RowCodec(Arc::new(Reading { format, time_field, time_format, fields }))
    }

    /// Reads one record. The error says what the record lacks.
    pub(crate) fn read(&self, bytes: &[u8]) -> Result<Row, String> {
        let Reading { format, time_field, time_format, fields } = &*self.0;
        let text = std::str::from_utf8(bytes).map_err(|error| format!("not UTF-8: {error}"))?;
        let (time, fields) = match format {
            Format::Json => {
                let object = json_object(text)?;
                (json_field(&object, time_field), fields.iter().map(|field| json_field(&object, field)).collect())
            }
            Format::Regex(pattern) => {
                let groups = pattern.captures(text).ok_or("the line does not match the pattern")?;
                let group = |field: &String| groups.name(field).map(|group| group.as_str().to_owned());
                (group(time_field), fields.iter().map(group).collect())
            }
        };
        let time = time.ok_or_else(|| format!("no field `{time_field}` to tell the event time"))?;
        let at =
            time_format.read(&time).ok_or_else(|| format!("`{time}` in `{time_field}` is not a time of the format `{time_format}`"))?;
        Ok(Row { bytes: bytes.to_vec(), at, fields })
    }
}

/// The keys of a JSON object with what they say, not looked at yet; the last of equal keys counts.
type Object<'t> = BTreeMap<String, &'t RawValue>;

fn json_object(text: &str) -> Result<Object<'_>, String> {
    serde_json::from_str(text).map_err(|error| match error.is_data() {
        true => format!("not a JSON object: {error}"),
        false => format!("not JSON: {error}"),
    })
}

/// The text of a field of a JSON object; null and absent are the same.
fn json_field(object: &Object<'_>, path: &str) -> Option<String> {
    match (object.get(path), path.split_once('.')) {
        (Some(value), _) => json_text(value.get()),
        (None, Some((outer, inner))) => json_field(&json_object(object.get(outer)?.get()).ok()?, inner),
        (None, None) => None,
    }
}

/// Whole numbers stay digit by digit as they were written: as floats, two long ids would become one.
fn json_text(raw: &str) -> Option<String> {
    if raw.trim_start_matches('-').bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(raw.to_owned());
    }
    match serde_json::from_str(raw) {
        Ok(Value::Null) => None,
        Ok(Value::String(text)) => Some(text),
        Ok(other) => Some(other.to_string()),
        Err(_) => Some(raw.to_owned()), // a number beyond any float
    }
}

impl Serde<Row> for RowCodec {
    fn serialize(&self, row: &Row, _: Slot<'_>, _: &mut Headers, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        out.extend_from_slice(&row.bytes);
        Ok(())
    }
    fn deserialize(&self, bytes: &[u8], _: Slot<'_>, _: &Headers) -> Result<Row, SerdeError> {
        self.read(bytes).map_err(|why| SerdeError::malformed("row", why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codec(format: Format, fields: &[&str]) -> RowCodec {
        RowCodec::new(format, "at".to_owned(), TimeFormat::EpochS, fields.iter().map(|field| (*field).to_owned()).collect())
    }

    fn some(texts: &[&str]) -> Vec<Option<String>> {
        texts.iter().map(|text| Some((*text).to_owned())).collect()
    }

    #[test]
    fn a_json_row_has_the_fields_that_were_asked_for() {
        let codec = codec(Format::Json, &["user.id", "status", "a.b", "gone"]);
        let row = codec.read(br#"{"at": 5, "user": {"id": "ann"}, "status": 200, "a.b": true, "gone": null}"#).expect("a row");
        assert_eq!(row.at, Timestamp::from_secs(5));
        assert_eq!(row.fields[..3], some(&["ann", "200", "true"]));
        assert_eq!(row.fields[3], None);
    }

    /// Two ids of twenty digits were counted as one: read as floats they are equal.
    #[test]
    fn long_numbers_stay_apart() {
        let codec = codec(Format::Json, &["id", "user.id"]);
        for (written, read) in [
            ("18446744073709551616", "18446744073709551616"),
            ("18446744073709551617", "18446744073709551617"),
            ("-7", "-7"),
            ("1.50", "1.5"),
            ("1e999", "1e999"),
            ("{\"a\": [1, \"x\"]}", "{\"a\":[1,\"x\"]}"),
        ] {
            let line = format!("{{\"at\": 5, \"id\": {written}, \"user\": {{\"id\": {written}}}}}");
            assert_eq!(codec.read(line.as_bytes()).expect("a row").fields, some(&[read, read]), "{written}");
        }
    }

    #[test]
    fn a_line_has_the_named_groups_of_its_pattern() {
        let pattern = Regex::new(r"^(?P<at>\d+) (?P<who>\S+)(?: (?P<why>\S+))?$").expect("a pattern");
        let codec = codec(Format::Regex(pattern), &["who", "why"]);
        let row = codec.read(b"7 ann").expect("a row");
        assert_eq!((row.at, &row.fields[..1]), (Timestamp::from_secs(7), &some(&["ann"])[..]));
        assert_eq!(row.fields[1], None);
        assert!(codec.read(b"ann 7").expect_err("no match").contains("does not match"));
    }

    #[test]
    fn a_row_is_written_as_it_came() {
        let codec = codec(Format::Json, &[]);
        let (bytes, mut out) = (br#"{ "at":5,  "x": 1.0}"#, Vec::new());
        let slot = Slot { topic: "t", role: highwater::Role::Value };
        let row = codec.deserialize(bytes, slot, &Headers::default()).expect("a row");
        codec.serialize(&row, slot, &mut Headers::default(), &mut out).expect("writes");
        assert_eq!(out, bytes);
    }

    #[test]
    fn a_bad_record_is_an_error_that_says_what_it_lacks() {
        let codec = codec(Format::Json, &[]);
        for (bytes, why) in [
            (&b"\xff"[..], "not UTF-8"),
            (b"{", "not JSON"),
            (b"[]", "not a JSON object"),
            (b"{}", "no field `at`"),
            (br#"{"at": null}"#, "no field `at`"),
            (br#"{"at": "noon"}"#, "`noon` in `at` is not a time of the format `epoch-s`"),
        ] {
            let error = codec.read(bytes).expect_err("is bad");
            assert!(error.contains(why), "{error}");
        }
    }
}
