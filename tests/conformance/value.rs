//! The one data type of the runner: every key and value of every scenario, and the bytes Java's serdes give it.

use highwater::{Headers, Serde, SerdeError, Slot};
use serde_json::Value as Json;

/// A key or a value of any type of the scenario language.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Val {
    Null,
    Str(String),
    Long(i64),
    Int(i32),
    Double(f64),
    Bytes(Vec<u8>),
    Windowed(Box<WindowedVal>),
}

/// A windowed key: `end` is exclusive for time windows and inclusive for sessions, as Java has it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct WindowedVal {
    pub(crate) key: Val,
    pub(crate) start: i64,
    pub(crate) end: i64,
    pub(crate) session: bool,
}

impl Val {
    pub(crate) fn is_null(&self) -> bool {
        matches!(self, Val::Null)
    }
    pub(crate) fn str(text: impl Into<String>) -> Val {
        Val::Str(text.into())
    }
    /// A windowed key.
    pub(crate) fn windowed(key: Val, start: i64, end: i64, session: bool) -> Val {
        Val::Windowed(Box::new(WindowedVal { key, start, end, session }))
    }
    /// `f` of what is there; null stays null.
    pub(crate) fn map_some(&self, f: impl FnOnce(&Val) -> Val) -> Val {
        if self.is_null() { Val::Null } else { f(self) }
    }
}

/// A type of the scenario language.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Type {
    Str,
    Long,
    Int,
    Double,
    Bytes,
    /// Key and window size.
    TimeWindowed(Box<Type>, i64),
    SessionWindowed(Box<Type>),
}

impl Type {
    /// The type called `name`, a string when there is no name.
    pub(crate) fn named(name: Option<&str>) -> Type {
        match name.unwrap_or("string") {
            "string" => Type::Str,
            "long" => Type::Long,
            "int" => Type::Int,
            "double" => Type::Double,
            "bytes" => Type::Bytes,
            other => panic!("invalid scenario: unknown type {other}"),
        }
    }
    /// The key type inside a windowed one.
    pub(crate) fn inner(&self) -> Type {
        match self {
            Type::TimeWindowed(inner, _) | Type::SessionWindowed(inner) => (**inner).clone(),
            other => panic!("invalid scenario: {other:?} has no window"),
        }
    }
    /// Reads the JSON form of a value of this type, as forgiving as the oracle.
    pub(crate) fn value_of_json(&self, json: Option<&Json>) -> Val {
        let Some(json) = json.filter(|json| !json.is_null()) else { return Val::Null };
        match self {
            Type::Str => Val::Str(json.as_str().map_or_else(|| json.to_string(), str::to_owned)),
            Type::Long => Val::Long(json.as_i64().unwrap_or(0)),
            Type::Int => Val::Int(json.as_i64().unwrap_or(0) as i32),
            Type::Double => Val::Double(json.as_f64().unwrap_or(0.0)),
            Type::Bytes => Val::Bytes(unhex(json.as_str().unwrap_or_default())),
            other => panic!("invalid scenario: no JSON form for {other:?}"),
        }
    }
}

/// Kafka's built-in serde of a type. Null is [`Val::Null`] everywhere.
#[derive(Clone, Debug)]
pub(crate) struct ValSerde(pub(crate) Type);

impl Serde<Val> for ValSerde {
    fn serialize(&self, value: &Val, _: Slot<'_>, _: &mut Headers, out: &mut Vec<u8>) -> Result<(), SerdeError> {
        match (&self.0, value) {
            (Type::Str, Val::Str(_))
            | (Type::Long, Val::Long(_))
            | (Type::Int, Val::Int(_))
            | (Type::Double, Val::Double(_))
            | (Type::Bytes, Val::Bytes(_))
            | (Type::TimeWindowed(..) | Type::SessionWindowed(_), Val::Windowed(_)) => write_bytes(value, out),
            (_, Val::Null) => {}
            (wanted, got) => return Err(SerdeError::malformed("scenario value", format!("{got:?} is no {wanted:?}"))),
        }
        Ok(())
    }
    fn deserialize(&self, bytes: &[u8], _: Slot<'_>, _: &Headers) -> Result<Val, SerdeError> {
        read_bytes(&self.0, bytes)
    }
    fn deserialize_null(&self) -> Result<Val, SerdeError> {
        Ok(Val::Null)
    }
    fn is_null(&self, value: &Val) -> bool {
        value.is_null()
    }
    fn partition_bytes<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        let window = match self.0 {
            Type::TimeWindowed(..) => 8,
            Type::SessionWindowed(_) => 16,
            _ => 0,
        };
        &bytes[..bytes.len().saturating_sub(window)]
    }
}

fn read_bytes(kind: &Type, bytes: &[u8]) -> Result<Val, SerdeError> {
    let wrong = |name: &'static str| move |_| SerdeError::malformed(name, "wrong length");
    Ok(match kind {
        Type::Str => Val::Str(String::from_utf8_lossy(bytes).into_owned()),
        Type::Long => Val::Long(i64::from_be_bytes(bytes.try_into().map_err(wrong("long"))?)),
        Type::Int => Val::Int(i32::from_be_bytes(bytes.try_into().map_err(wrong("int"))?)),
        Type::Double => Val::Double(f64::from_be_bytes(bytes.try_into().map_err(wrong("double"))?)),
        Type::Bytes => Val::Bytes(bytes.to_vec()),
        Type::TimeWindowed(inner, size) => {
            let (key, start) = split_time(bytes)?;
            Val::windowed(read_bytes(inner, key)?, start, start.checked_add(*size).unwrap_or(i64::MAX), false)
        }
        Type::SessionWindowed(inner) => {
            let (rest, start) = split_time(bytes)?;
            let (key, end) = split_time(rest)?;
            Val::windowed(read_bytes(inner, key)?, start, end, true)
        }
    })
}

fn split_time(bytes: &[u8]) -> Result<(&[u8], i64), SerdeError> {
    let (rest, time) = bytes.split_last_chunk::<8>().ok_or_else(|| SerdeError::malformed("windowed key", "too short"))?;
    Ok((rest, i64::from_be_bytes(*time)))
}

fn write_bytes(value: &Val, out: &mut Vec<u8>) {
    match value {
        Val::Null => {}
        Val::Str(text) => out.extend_from_slice(text.as_bytes()),
        Val::Long(n) => out.extend_from_slice(&n.to_be_bytes()),
        Val::Int(n) => out.extend_from_slice(&n.to_be_bytes()),
        Val::Double(n) => out.extend_from_slice(&n.to_be_bytes()),
        Val::Bytes(bytes) => out.extend_from_slice(bytes),
        Val::Windowed(w) => {
            write_bytes(&w.key, out);
            if w.session {
                out.extend_from_slice(&w.end.to_be_bytes());
            }
            out.extend_from_slice(&w.start.to_be_bytes());
        }
    }
}

/// The bytes Java's serializer of the value's class writes; none for null.
pub(crate) fn bytes_of(value: &Val) -> Option<Vec<u8>> {
    if value.is_null() {
        return None;
    }
    let mut out = Vec::new();
    write_bytes(value, &mut out);
    Some(out)
}

/// `text(x)` of the function vocabulary.
pub(crate) fn text(value: &Val) -> String {
    match value {
        Val::Null => "null".to_owned(),
        Val::Str(text) => text.clone(),
        Val::Long(n) => n.to_string(),
        Val::Int(n) => n.to_string(),
        Val::Double(n) => java_double(*n),
        Val::Bytes(bytes) => hex(bytes),
        Val::Windowed(w) => format!("{}@{}/{}", text(&w.key), w.start, w.end),
    }
}

/// `num(x)` of the function vocabulary.
pub(crate) fn num(value: &Val) -> i64 {
    match value {
        Val::Null => 0,
        Val::Long(n) => *n,
        Val::Int(n) => i64::from(*n),
        Val::Double(n) => *n as i64,
        Val::Bytes(bytes) => bytes.len() as i64,
        Val::Str(_) | Val::Windowed(_) => num_of_text(&text(value)),
    }
}

fn num_of_text(text: &str) -> i64 {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_number = (1..=18).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    if is_number { text.parse().expect("18 digits fit") } else { text.len() as i64 }
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Hex back to bytes; refuses anything else, since only scenarios are read with it.
pub(crate) fn unhex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2) && text.is_ascii(), "invalid scenario: `{text}` is not hex");
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).expect("a scenario's hex text is hex")).collect()
}

/// `Double.toString`: the shortest digits that read back, plain between 10^-3 and 10^7, else with an exponent.
fn java_double(n: f64) -> String {
    if n.is_nan() {
        return "NaN".to_owned();
    }
    if n.is_infinite() {
        return if n > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    if n == 0.0 || (1e-3..1e7).contains(&n.abs()) {
        return format!("{n:?}");
    }
    // Where one digit would do, Java still takes the nearest of the two-digit numbers.
    let two = format!("{n:.1e}");
    let shortest = if two.parse() == Ok(n) { two } else { format!("{n:e}") };
    let (digits, exponent) = shortest.split_once('e').expect("`e` formatting writes an exponent");
    if digits.contains('.') { format!("{digits}E{exponent}") } else { format!("{digits}.0E{exponent}") }
}
