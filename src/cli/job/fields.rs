//! Reading the keys of a group, with every problem of the file collected instead of the first.
//!
//! A [`Fields`] hands out each key once; what nobody asked for is an unknown key. A reader that meets a problem notes it and gives `None`,
//! so that its siblings are read all the same.

use std::cell::RefCell;
use std::time::Duration;

use super::yaml::{Data, Entry, Node, Position, Problem};

/// The problems of a file, as they are found.
#[derive(Debug, Default)]
pub(crate) struct Problems(RefCell<Vec<Problem>>);

impl Problems {
    pub(crate) fn note(&self, at: Position, text: impl Into<String>) {
        self.0.borrow_mut().push(Problem::new(at, text));
    }

    /// All of them, from the top of the file to its end.
    pub(crate) fn into_sorted(self) -> Vec<Problem> {
        let mut problems = self.0.into_inner();
        problems.sort();
        problems.dedup();
        problems
    }
}

/// The keys of one group.
pub(crate) struct Fields<'f> {
    /// What the group is called in messages: `input`, or `the job`.
    name: String,
    at: Position,
    entries: Vec<&'f Entry>,
    asked: Vec<&'static str>,
    /// What must be there and is not, and how to write it.
    missing: Vec<(&'static str, String)>,
    problems: &'f Problems,
}

impl<'f> Fields<'f> {
    /// The keys of `node`, which must be a group.
    pub(crate) fn of(name: impl Into<String>, node: &'f Node, problems: &'f Problems) -> Option<Self> {
        let name = name.into();
        match &node.data {
            Data::Map(entries) => {
                let entries = entries.iter().collect();
                Some(Fields { name, at: node.at, entries, asked: Vec::new(), missing: Vec::new(), problems })
            }
            other => {
                problems.note(node.at, format!("{name} must be a group of keys, not {other}"));
                None
            }
        }
    }

    pub(crate) fn at(&self) -> Position {
        self.at
    }

    /// The value of a key that may be left out.
    pub(crate) fn optional(&mut self, key: &'static str) -> Option<&'f Node> {
        self.asked.push(key);
        let found = self.entries.iter().position(|entry| entry.key == key)?;
        Some(&self.entries.swap_remove(found).value)
    }

    /// The value of a key that must be there; `example` shows how to write it.
    pub(crate) fn required(&mut self, key: &'static str, example: &str) -> Option<&'f Node> {
        let found = self.optional(key);
        if found.is_none() {
            self.missing.push((key, example.to_owned()));
        }
        found
    }

    /// A group within this one.
    pub(crate) fn group(&mut self, key: &'static str, example: &str) -> Option<Fields<'f>> {
        let node = self.required(key, example)?;
        Fields::of(format!("`{key}`"), node, self.problems)
    }

    /// Reads a key that may be left out.
    pub(crate) fn read<T>(&mut self, key: &'static str, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let node = self.optional(key)?;
        scalar(key, node, self.problems, read)
    }

    /// Reads a key that must be there.
    pub(crate) fn must<T>(&mut self, key: &'static str, example: &str, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let node = self.required(key, example)?;
        scalar(key, node, self.problems, read)
    }

    /// Everything that nobody asked for is unknown. Call it last. A key that is missing because it is misspelt is one mistake, not two.
    pub(crate) fn finish(mut self) {
        for entry in self.entries {
            let near = nearest(&entry.key, &self.asked);
            self.missing.retain(|(key, _)| near != Some(key));
            let near = near.map(|known| format!("did you mean `{known}`?"));
            let fix = near.unwrap_or_else(|| format!("it knows {}", listed(&self.asked)));
            self.problems.note(entry.at, format!("unknown key `{}` in {}: {fix}", entry.key, self.name));
        }
        for (key, example) in self.missing {
            self.problems.note(self.at, format!("{} has no `{key}`: add `{key}: {example}`", self.name));
        }
    }
}

/// Reads one scalar, with its key in the message.
pub(crate) fn scalar<T>(key: &str, node: &Node, problems: &Problems, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
    let read = match &node.data {
        Data::Scalar(text) => read(text),
        Data::Null => Err("has no value: write one, or leave the key out".to_owned()),
        other => Err(format!("wants one value, not {other}")),
    };
    read.map_err(|why| problems.note(node.at, format!("`{key}` {why}"))).ok()
}

/// A span of time: a whole number and its unit.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("wants a duration such as `10s`, `5m`, `1h` or `250ms`, not `{text}`");
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let unit = match unit.trim_start() {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(wrong()),
    };
    number
        .checked_mul(unit)
        .filter(|ms| *ms <= LONGEST_MS)
        .map(Duration::from_millis)
        .ok_or_else(|| format!("is longer than 100 years: `{text}`"))
}

/// Long enough for any window, short enough that adding it to a timestamp stays in range.
const LONGEST_MS: u64 = 100 * 366 * 86_400_000;

/// A duration of at least a millisecond.
pub(crate) fn span(text: &str) -> Result<Duration, String> {
    duration(text).and_then(|span| if span.is_zero() { Err("must be longer than zero".to_owned()) } else { Ok(span) })
}

/// A number of bytes: a whole number and its unit. Units are powers of 1024, however they are written.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let wrong = || format!("wants a size such as `512MB`, `2GB` or `64KB`, not `{text}`");
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let shift = match unit.trim().to_ascii_lowercase().as_str() {
        "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        _ => return Err(wrong()),
    };
    number.checked_mul(1 << shift).ok_or_else(|| format!("is more than there is: `{text}`"))
}

/// A name that Kafka takes as a topic or application id.
pub(crate) fn legal_name(text: &str) -> Result<String, String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    match text {
        "" | "." | ".." => Err(format!("cannot be `{text}`: give it a name")),
        _ if text.len() > 249 => Err("is longer than 249 characters".to_owned()),
        _ if text.chars().all(legal) => Ok(text.to_owned()),
        _ => Err(format!("wants a name of ASCII letters, digits, `.`, `_` and `-`, not `{text}`")),
    }
}

/// Any text that is not empty.
pub(crate) fn word(text: &str) -> Result<String, String> {
    if text.trim().is_empty() { Err("is empty: write a name".to_owned()) } else { Ok(text.to_owned()) }
}

/// One of a few words.
pub(crate) fn one_of<T: Copy>(text: &str, choices: &[(&'static str, T)]) -> Result<T, String> {
    let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
    let found = choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
    found.ok_or_else(|| match nearest(text, &names) {
        Some(near) => format!("cannot be `{text}`: did you mean `{near}`?"),
        None => format!("cannot be `{text}`: it is {}", one_listed(&names)),
    })
}

/// The known word that a typing error may have meant.
pub(crate) fn nearest<'w>(word: &str, known: &[&'w str]) -> Option<&'w str> {
    let distance = |candidate: &&str| strsim::damerau_levenshtein(word, candidate);
    let best = known.iter().min_by_key(|candidate| distance(candidate))?;
    (distance(best) <= 1.max(best.len() / 3)).then_some(*best)
}

/// `a`, `b` and `c`
pub(crate) fn listed(words: &[&str]) -> String {
    joined(words, "and")
}

/// `a`, `b` or `c`
pub(crate) fn one_listed(words: &[&str]) -> String {
    joined(words, "or")
}

fn joined(words: &[&str], last: &str) -> String {
    let quoted: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((end, [])) => end.clone(),
        Some((end, rest)) => format!("{} {last} {end}", rest.join(", ")),
        None => "nothing".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_number_and_a_unit() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("5 m"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("1h"), Ok(Duration::from_secs(3600)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        for wrong in ["", "10", "s", "-1s", "1.5s", "10 sec", "1h30m", "99999999999999999999s", "9999999d"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        assert!(span("0ms").is_err());
    }

    #[test]
    fn sizes_have_a_number_and_a_unit() {
        let sizes = ["0b", "64KB", "512 MB", "512MiB", "2g"].map(|text| size(text).unwrap());
        assert_eq!(sizes, [0, 64 << 10, 512 << 20, 512 << 20, 2 << 30]);
        for wrong in ["", "512", "MB", "-1MB", "1.5GB", "5 bytes", "18446744073709551615GB", "99999999999999999999999B"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_typing_error_finds_its_word_and_a_stranger_does_not() {
        assert_eq!(nearest("windw", &["input", "window"]), Some("window"));
        assert_eq!(nearest("emti", &["emit", "late"]), Some("emit"));
        assert_eq!(nearest("partitions", &["emit", "late"]), None);
        assert_eq!(nearest("x", &[]), None);
    }

    #[test]
    fn names_are_those_that_kafka_takes() {
        assert!(legal_name("clicks.v2_eu-1").is_ok());
        for wrong in ["", ".", "..", "a b", "späť", &"x".repeat(250)] {
            assert!(legal_name(wrong).is_err(), "{wrong}");
        }
    }
}
