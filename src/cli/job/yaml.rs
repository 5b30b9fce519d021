//! YAML text as a tree in which every key and value knows its line and column.
//!
//! Built from the parser's events rather than by a loader: loaders keep the last of two equal keys and forget the first, and a job file
//! that says `window` twice has a mistake in it. Anchors, tags and several documents are refused: a job file needs none of them.

use std::fmt;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle};

/// A place in the file, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl From<Marker> for Position {
    fn from(mark: Marker) -> Self {
        Position { line: mark.line(), column: mark.col() + 1 }
    }
}

/// One thing wrong with the file, and what to change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Problem {
    pub(crate) at: Position,
    pub(crate) text: String,
}

impl Problem {
    pub(crate) fn new(at: Position, text: impl Into<String>) -> Self {
        Problem { at, text: text.into() }
    }
}

/// A value with its place.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) at: Position,
    pub(crate) data: Data,
}

/// What a value is. Scalars stay text: the reader of a key knows what it wants.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Data {
    Null,
    Scalar(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One `key: value`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) at: Position,
    pub(crate) value: Node,
}

impl fmt::Display for Data {
    /// As a reader of the file would call it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Data::Null => f.write_str("nothing"),
            Data::Scalar(text) => write!(f, "`{text}`"),
            Data::List(_) => f.write_str("a list"),
            Data::Map(_) => f.write_str("a group of keys"),
        }
    }
}

/// Reads one document.
pub(crate) fn parse(text: &str) -> Result<Node, Problem> {
    let mut tree = Tree::default();
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| not_yaml((*error.marker()).into(), error.info()))?;
        tree.take(event, span.start.into())?;
    }
    tree.document.ok_or_else(|| Problem::new(Position { line: 1, column: 1 }, "the file is empty: begin with `job: windowed-counts`"))
}

/// What the parser says, in its own words, and what to look at: those words are for people who wrote a parser.
fn not_yaml(at: Position, said: &str) -> Problem {
    let fix = [
        ("tabs disallowed", "indent with spaces, not with tabs"),
        ("unexpected character", "put the value in quotes, as in `format: '%Y-%m-%d %H:%M:%S'`"),
        ("mapping values are not allowed", "begin this key below the other keys of its group, and put a value with `: ` in it in quotes"),
        ("did not find expected key", "begin this key exactly below the other keys of its group"),
        ("quoted scalar", "close the quotes"),
        ("unknown anchor", "put a value that begins with `*` in quotes"),
    ];
    let fix = fix.iter().find(|(part, _)| said.contains(part)).map_or_else(String::new, |(_, fix)| format!(": {fix}"));
    Problem::new(at, format!("not YAML: {said}{fix}"))
}

/// What is being built: the open lists and maps, innermost last.
#[derive(Default)]
struct Tree {
    open: Vec<Open>,
    document: Option<Node>,
}

struct Open {
    node: Node,
    /// The key of a map that waits for its value.
    key: Option<(String, Position)>,
}

impl Tree {
    fn take(&mut self, event: Event<'_>, at: Position) -> Result<(), Problem> {
        match event {
            Event::Alias(_) => Err(Problem::new(at, "an alias (`*name`) is not supported here: write the value out")),
            Event::Scalar(_, _, anchor, _) | Event::SequenceStart(anchor, _) | Event::MappingStart(anchor, _) if anchor > 0 => {
                Err(Problem::new(at, "an anchor (`&name`) is not supported here: write the value out where it is used"))
            }
            Event::Scalar(_, _, _, Some(tag)) | Event::SequenceStart(_, Some(tag)) | Event::MappingStart(_, Some(tag)) => {
                Err(Problem::new(at, format!("the tag `{tag}` is not supported here: leave it out")))
            }
            Event::DocumentStart(_) if self.document.is_some() => {
                Err(Problem::new(at, "a second document (`---`): one file holds one job, move it to a file of its own"))
            }
            Event::Scalar(text, style, ..) => self.scalar(&text, style, at),
            Event::SequenceStart(..) => self.start(Node { at, data: Data::List(Vec::new()) }),
            Event::MappingStart(..) => self.start(Node { at, data: Data::Map(Vec::new()) }),
            Event::SequenceEnd | Event::MappingEnd => {
                let done = self.open.pop().expect("an end follows its start");
                self.place(done.node)
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => Ok(()),
        }
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, at: Position) -> Result<(), Problem> {
        let null = style == ScalarStyle::Plain && matches!(text, "" | "~" | "null");
        match self.open.last_mut() {
            Some(Open { node: Node { data: Data::Map(entries), .. }, key: key @ None }) => {
                if let Some(first) = entries.iter().find(|entry| entry.key == text) {
                    return Err(Problem::new(at, format!("`{text}` is said twice, first on line {}: leave one", first.at.line)));
                }
                *key = Some((text.to_owned(), at));
                Ok(())
            }
            _ => self.place(Node { at, data: if null { Data::Null } else { Data::Scalar(text.to_owned()) } }),
        }
    }

    fn start(&mut self, node: Node) -> Result<(), Problem> {
        match self.open.last() {
            Some(Open { node: Node { data: Data::Map(_), .. }, key: None }) => Err(Problem::new(node.at, "a key must be a plain word")),
            _ => {
                self.open.push(Open { node, key: None });
                Ok(())
            }
        }
    }

    /// Puts a finished value where it belongs.
    fn place(&mut self, node: Node) -> Result<(), Problem> {
        match self.open.last_mut() {
            None => self.document = Some(node),
            Some(Open { node: Node { data: Data::List(items), .. }, .. }) => items.push(node),
            Some(Open { node: Node { data: Data::Map(entries), .. }, key }) => {
                let (key, at) = key.take().expect("a value follows its key");
                entries.push(Entry { key, at, value: node });
            }
            Some(_) => unreachable!("only lists and maps are opened"),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> (usize, usize, String) {
        let problem = parse(text).expect_err("has a problem");
        (problem.at.line, problem.at.column, problem.text)
    }

    #[test]
    fn every_key_and_value_knows_its_place() {
        let node = parse("a: 1\nb:\n  - x\n  - {c: \"~\"}\nd:\n").expect("well-formed");
        let Data::Map(entries) = node.data else { panic!("a map") };
        let place = |node: &Node| (node.at.line, node.at.column, node.data.to_string());
        assert_eq!(place(&entries[0].value), (1, 4, "`1`".to_owned()));
        let Data::List(items) = &entries[1].value.data else { panic!("a list") };
        assert_eq!(place(&items[0]), (3, 5, "`x`".to_owned()));
        let Data::Map(inner) = &items[1].data else { panic!("a map") };
        assert_eq!((inner[0].at.line, inner[0].at.column, &*inner[0].key), (4, 6, "c"));
        assert_eq!(inner[0].value.data, Data::Scalar("~".to_owned()), "a quoted tilde is text");
        assert_eq!(entries[2].value.data, Data::Null);
    }

    #[test]
    fn a_key_said_twice_is_a_problem() {
        assert_eq!(problem("a: 1\nb: 2\na: 3\n"), (3, 1, "`a` is said twice, first on line 1: leave one".to_owned()));
    }

    #[test]
    fn what_a_job_file_does_not_need_is_refused_at_its_place() {
        assert_eq!(problem("a: &x 1\nb: *x\n").0, 1);
        assert_eq!(problem("a: !!int 1\n").0, 1);
        assert_eq!(problem("a: 1\n---\nb: 2\n").0, 2);
        assert_eq!(problem("? [a]\n: b\n").2, "a key must be a plain word");
        assert!(problem("a: [1\n").2.starts_with("not YAML: "));
        assert!(problem("").2.starts_with("the file is empty"));
    }

    #[test]
    fn what_a_parser_says_is_followed_by_what_to_change() {
        for (text, line, fix) in [
            ("a:\n\tb: 1\n", 2, "indent with spaces"),
            ("a:\n  b: 1\n c: 2\n", 3, "exactly below the other keys"),
            ("a:\n  b: 1\n    c: 2\n", 3, "below the other keys of its group"),
            ("a: {b: %Y-%m-%d}\n", 1, "in quotes"),
            ("a: 'b\nc: d\n", 1, "close the quotes"),
            ("a: *b\n", 1, "in quotes"),
        ] {
            let (at, _, said) = problem(text);
            assert!(at >= line && said.contains(fix), "{text:?}: {at}: {said}");
        }
    }
}
