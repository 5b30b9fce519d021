//! The house rules that a compiler does not know, held by a test instead of by memory.
//!
//! Each rule is a function from (path, text) to what is wrong, with a test beside it that shows it red. `Source::code` is the text with
//! comments and literals blanked out, line for line, so that no rule trips over prose.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Who may know whom: a room, and the rooms it may name in `use crate::…` or `crate::…`. Top to bottom is bottom to top of the house.
const ROOMS: &[(&str, &[&str])] = &[
    ("record", &["error", "clock"]),
    ("error", &["record", "clock"]),
    ("clock", &["record", "error"]),
    ("failpoint", &[]),
    ("config", &[BASE, "telemetry", "window", "watermark"]),
    ("telemetry", &[BASE, "config", "window", "watermark"]),
    ("window", &[BASE, "config", "telemetry", "watermark"]),
    ("watermark", &[BASE, "config", "telemetry", "window"]),
    ("serdes", &[BASE, TIME]),
    ("state", &[BASE, TIME, "serdes"]),
    ("processor", &[BASE, TIME, "serdes", "state"]),
    ("topology", &[BASE, TIME, "serdes", "state", "processor"]),
    ("dsl", &[BASE, TIME, "serdes", "state", "processor", "topology"]),
    ("kafka", &[BASE, "config", "telemetry"]),
    ("runtime/plan", &[BASE, "config"]),
    ("runtime/assignment", &[BASE, "config", "topology", "kafka"]), // counts what a topology and its topics say
    ("runtime", &[BASE, TIME, "serdes", "state", "processor", "topology", "kafka"]),
    ("testing", &[BASE, TIME, "serdes", "state", "processor", "topology", "dsl", "kafka", "runtime"]),
    // The binary: a crate of its own, which sees the library as any user does.
    ("topologies", &[]),
    ("cli", &["topologies"]),
    ("main", &["cli", "topologies"]),
];
const BASE: &str = "record error clock failpoint";
const TIME: &str = "config telemetry window watermark";

/// External crates that may stand in a few places only; the paths are prefixes.
const FENCED: &[(&str, &[&str])] = &[
    ("rdkafka", &["src/kafka/librdkafka"]),
    ("rocksdb", &["src/state/backend/rocksdb"]),
    ("fjall", &["src/kafka/embedded", "src/state/backend/fjall"]),
    ("ureq", &["src/kafka/librdkafka/config"]),
    ("axum", &["src/endpoint/"]),
    ("hyper", &["src/endpoint/"]),
    ("warp", &["src/endpoint/"]),
    ("actix_web", &["src/endpoint/"]),
    ("tiny_http", &["src/endpoint/"]),
    ("tokio", &["src/endpoint/", "src/cli/", "src/main.rs"]),
    ("anyhow", &["src/cli/", "src/main.rs", "tests/"]),
    ("clap", &["src/cli/", "src/main.rs"]),
    ("rustix", &["src/failpoint.rs"]),
    ("signal_hook", &["src/cli/", "src/main.rs", "examples/bench_engine/"]),
    ("tracing_subscriber", &["src/cli/", "src/main.rs"]),
];

/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &["utils", "util", "common", "helpers", "helper", "manager", "base", "impl", "internal", "misc"];

const LONGEST_FUNCTION: usize = 70;

/// One file, as the rules see it.
struct Source {
    /// From the root of the package, with `/`.
    path: String,
    text: String,
    /// `text` without comments and literals.
    code: String,
}

/// Line (from 1) and what to change there.
type Faults = Vec<(usize, String)>;

impl Source {
    fn new(path: &str, text: &str) -> Self {
        Source { path: path.to_owned(), text: text.to_owned(), code: blank_prose(text) }
    }

    /// The code without its unit tests, which may look upwards: blank lines stand in their place.
    fn shipped(&self) -> String {
        let mut code = if self.is_test() { String::new() } else { self.code.clone() };
        while let Some(start) = code.find("#[cfg(test)]\nmod ") {
            let module = &code[start..];
            let end = module.find([';', '{']).and_then(|at| if module[at..].starts_with(';') { Some(at) } else { body_of(module) });
            let end = start + end.map_or(module.len(), |end| end + 1);
            let lines = "\n".repeat(code[start..end].matches('\n').count());
            code.replace_range(start..end, &lines);
        }
        code
    }

    fn is_test(&self) -> bool {
        self.path.starts_with("tests/") || self.path.ends_with("/tests.rs") || self.path.contains("/tests/")
    }

    /// The room of the table that this file belongs to, the most exact one.
    fn room(&self) -> Option<(&'static str, &'static [&'static str])> {
        let inside = self.path.strip_prefix("src/").unwrap_or(&self.path);
        let is_in = |room: &str| inside.strip_prefix(room).is_some_and(|rest| rest.starts_with('/') || rest == ".rs");
        ROOMS.iter().copied().find(|(room, _)| is_in(room))
    }
}

/// Replaces comments, strings and characters by spaces, so that braces, names and lines can be counted.
fn blank_prose(text: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(first) = rest.chars().next() {
        let prose = prose_length(rest, out.chars().next_back());
        let (taken, left) = rest.split_at(prose.unwrap_or(first.len_utf8()));
        match prose {
            Some(_) => out.extend(taken.chars().map(|c| if c == '\n' { '\n' } else { ' ' })),
            None => out.push(first),
        }
        rest = left;
    }
    out
}

/// How many bytes at the start of `rest` are one comment or one literal.
fn prose_length(rest: &str, before: Option<char>) -> Option<usize> {
    let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let to = |end: Option<usize>, closing: usize| Some(end.map_or(rest.len(), |at| at + closing));
    if rest.starts_with("//") {
        return to(rest.find('\n'), 0);
    }
    if rest.starts_with("/*") {
        return to(rest.find("*/"), 2);
    }
    if let Some(raw) = rest.strip_prefix('r').filter(|raw| !in_word && raw.trim_start_matches('#').starts_with('"')) {
        let fence = raw.find('"')?;
        let close = format!("\"{}", &raw[..fence]);
        return to(raw[fence + 1..].find(&close).map(|at| at + fence + 2), close.len());
    }
    if let Some(text) = rest.strip_prefix('"') {
        return to(unescaped(text, '"').map(|at| at + 1), 1);
    }
    // A quote followed by one character and a quote is a character; anything else is a lifetime.
    let quoted = rest.strip_prefix('\'')?;
    let first = quoted.chars().next()?;
    let is_character = first == '\\' || quoted[first.len_utf8()..].starts_with('\'');
    is_character.then(|| unescaped(quoted, '\'').map(|at| at + 2)).flatten()
}

/// Where `quote` stands for the first time without a backslash before it.
fn unescaped(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().find_map(|(at, c)| {
        let found = c == quote && !escaped;
        escaped = c == '\\' && !escaped;
        found.then_some(at)
    })
}

fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// Places where `word` stands as a whole word.
fn words<'t>(text: &'t str, word: &'t str) -> impl Iterator<Item = usize> + 't {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).map(|(at, _)| at).filter(move |at| !text[..*at].ends_with(part) && !text[at + word.len()..].starts_with(part))
}

/// The names right after `crate::`, with those of a brace list `crate::{a::X, b}`.
fn named_in_crate(code: &str) -> Vec<(usize, String)> {
    let identifier = |text: &str| text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut found = Vec::new();
    for at in words(code, "crate") {
        let Some(path) = code[at + "crate".len()..].strip_prefix("::") else { continue };
        if code[..at].ends_with('$') {
            continue; // a macro for users: it names the public surface
        }
        let Some(list) = path.strip_prefix('{') else {
            found.push((at, identifier(path)));
            continue;
        };
        let (mut depth, mut start) = (0_i32, true);
        for (i, c) in list.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => start = true,
                _ if start && !c.is_whitespace() => {
                    found.push((at, identifier(&list[i..])));
                    start = false;
                }
                _ => {}
            }
        }
    }
    found
}

/// A room names only rooms below it, and names them: `crate::Timestamp` would hide which one.
fn direction(source: &Source) -> Faults {
    let Some((room, allowed)) = source.room() else { return Vec::new() };
    let code = &source.shipped();
    let own = room.split('/').next().unwrap_or(room);
    let may = |name: &str| name == own && !room.contains('/') || allowed.iter().flat_map(|list| list.split(' ')).any(|ok| ok == name);
    let is_room = |name: &str| ROOMS.iter().any(|(other, _)| *other == name);
    let own_path = |at: usize| code[at..].starts_with(&format!("crate::{}", room.replace('/', "::")));
    let told = |name: &str| match name {
        _ if may(name) => None,
        _ if is_room(name) => Some(format!("`{room}` may not know `{name}` (the table at the top of tests/tidy.rs says who knows whom)")),
        _ if name.starts_with(char::is_uppercase) => Some(format!("say which room `crate::{name}` comes from")),
        _ => None,
    };
    named_in_crate(code)
        .into_iter()
        .filter(|(at, _)| !own_path(*at))
        .filter_map(|(at, name)| told(&name).map(|fault| (line_of(code, at), fault)))
        .collect()
}

/// Every folder and file directly under `src` has a line in the table.
fn in_the_table(source: &Source) -> Faults {
    let outside = source.path.starts_with("src/") && source.path != "src/lib.rs" && source.room().is_none();
    outside.then(|| (1, "this room has no line in the table of tests/tidy.rs".to_owned())).into_iter().collect()
}

/// A dependency with weight stays in the room that was built for it.
fn fenced_crates(source: &Source) -> Faults {
    let mut faults = Vec::new();
    for (name, homes) in FENCED {
        if homes.iter().any(|home| source.path.starts_with(home)) {
            continue;
        }
        let is_path = |at: &usize| source.code[at + name.len()..].starts_with("::") && !source.code[..*at].ends_with("::");
        let imported = |at: &usize| source.code[..*at].ends_with("use ");
        let hit = words(&source.code, name).filter(|at| is_path(at) || imported(at));
        faults.extend(hit.map(|at| (line_of(&source.code, at), format!("`{name}` is used only in {}", homes.join(", ")))));
    }
    faults
}

/// What is unsafe stands in one module, and nobody else may allow it.
fn unsafe_at_home(source: &Source) -> Faults {
    let home = "src/kafka/librdkafka/native";
    let allowed = source.path == "src/kafka/librdkafka/mod.rs";
    let mut hit: Vec<usize> = words(&source.code, "unsafe").filter(|_| !source.path.starts_with(home)).collect();
    hit.extend(words(&source.code, "unsafe_code").filter(|_| !allowed));
    hit.into_iter().map(|at| (line_of(&source.code, at), format!("`unsafe` is allowed only in {home}"))).collect()
}

/// Every file says at its top what it is for.
fn module_doc(source: &Source) -> Faults {
    let missing = !source.text.starts_with("//! ");
    missing.then(|| (1, "begin with `//!` and a sentence: what is this file for?".to_owned())).into_iter().collect()
}

/// No drawer for odds and ends.
fn telling_names(source: &Source) -> Faults {
    let path = source.path.trim_end_matches(".rs");
    let in_path = path.split('/').filter(|part| EMPTY_NAMES.contains(part)).map(|part| (1, part.to_owned()));
    let in_code = EMPTY_NAMES.iter().flat_map(|name| {
        words(&source.code, name)
            .filter(|at| source.code[..*at].ends_with("mod "))
            .map(move |at| (line_of(&source.code, at), (*name).to_owned()))
    });
    in_path.chain(in_code).map(|(line, name)| (line, format!("`{name}` could hold anything: name the idea inside"))).collect()
}

/// A function fits a screen.
fn short_functions(source: &Source) -> Faults {
    let code = &source.code;
    let mut faults = Vec::new();
    for at in words(code, "fn") {
        let name: String = code[at + 2..].trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let Some(body) = body_of(&code[at..]).filter(|_| !name.is_empty()) else { continue };
        let lines = line_of(&code[at..], body);
        if lines > LONGEST_FUNCTION {
            faults.push((line_of(code, at), format!("`{name}` has {lines} lines, more than {LONGEST_FUNCTION}: give a part of it a name")));
        }
    }
    faults
}

/// Where the body of the function at the start of `code` ends; none for a declaration.
fn body_of(code: &str) -> Option<usize> {
    let (mut brackets, mut braces) = (0_i32, 0_i32);
    for (at, c) in code.char_indices() {
        match c {
            '(' | '[' => brackets += 1,
            ')' | ']' => brackets -= 1,
            ';' if brackets == 0 && braces == 0 => return None,
            '{' => braces += 1,
            '}' => {
                braces -= 1;
                if braces == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

/// Time has one door, so that a run can be replayed.
fn one_clock(source: &Source) -> Faults {
    let free = ["src/clock.rs", "src/main.rs"].contains(&source.path.as_str())
        || ["src/cli/", "benches/", "examples/bench_engine/"].iter().any(|home| source.path.starts_with(home));
    let code = &if free { String::new() } else { source.shipped() };
    let calls = ["SystemTime::now", "Instant::now", "thread::sleep"];
    let hit = calls.iter().flat_map(|call| words(code, call).map(move |at| (line_of(code, at), *call)));
    hit.map(|(line, call)| (line, format!("`{call}`: take a `Clock`, or let the caller say when"))).collect()
}

/// The text of this project is true on every machine.
fn no_host_paths(source: &Source) -> Faults {
    let homes = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];
    let hit = homes.iter().flat_map(|home| source.text.match_indices(home).map(|(at, _)| (line_of(&source.text, at), *home)));
    hit.map(|(line, home)| (line, format!("`{home}` exists on one machine: say it from the root of the package"))).collect()
}

/// Packages come from the public registry and from nowhere else.
fn public_registry(source: &Source) -> Faults {
    let home = "registry+https://github.com/rust-lang/crates.io-index";
    let lines = source.text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
    let elsewhere = |line: &str| match source.path.as_str() {
        "Cargo.lock" => line.starts_with("source = ") && line != format!("source = \"{home}\""),
        path if path.starts_with(".cargo/") => {
            line.starts_with("[source") || line.starts_with("[registr") || line.starts_with("replace-with")
        }
        "Cargo.toml" => line.contains("registry =") || line.contains("registry-index"),
        _ => false,
    };
    lines.filter(|(_, line)| elsewhere(line)).map(|(at, line)| (at, format!("not the public registry: `{line}`"))).collect()
}

/// The conformance runner proves what a user can see, so it sees no more than a user.
fn conformance_is_a_user(source: &Source) -> Faults {
    let code = if source.path.starts_with("tests/conformance") { source.code.as_str() } else { "" };
    let inner = ["state", "processor", "runtime"];
    let named = |at: usize| {
        let path = code[at + "highwater".len()..].strip_prefix("::")?;
        let list = path.strip_prefix('{').and_then(|list| list.split("};").next());
        inner.into_iter().find(|room| match list {
            Some(list) => words(list, room).any(|at| list[at + room.len()..].starts_with("::")),
            None => words(path, room).next() == Some(0),
        })
    };
    let hit = words(code, "highwater").filter_map(|at| named(at).map(|room| (line_of(code, at), room)));
    hit.map(|(line, room)| (line, format!("`highwater::{room}` is behind the surface: use the DSL and the driver"))).collect()
}

type Rule = fn(&Source) -> Faults;

const RUST_RULES: &[Rule] =
    &[direction, in_the_table, fenced_crates, unsafe_at_home, module_doc, telling_names, short_functions, one_clock, conformance_is_a_user];
const TEXT_RULES: &[Rule] = &[no_host_paths, public_registry];

/// Papers that no other paper names: nobody finds them, or they were not meant to stay.
fn unnamed_papers(papers: &[(String, String)]) -> Vec<String> {
    let named = |path: &str| {
        let name = path.rsplit('/').next().unwrap_or(path);
        papers.iter().any(|(other, text)| other != path && text.contains(name))
    };
    papers.iter().map(|(path, _)| path).filter(|path| *path != "README.md" && !named(path)).cloned().collect()
}

/// Every committed file of the package.
fn files(under: &Path, into: &mut Vec<String>, root: &Path) {
    let mut entries: Vec<_> = fs::read_dir(under).expect("a folder of the package").map(|entry| entry.expect("readable").path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        match path.is_dir() {
            _ if ["target", ".git"].contains(&name) => {} // not committed; in a worktree `.git` is a file
            true => files(&path, into, root),
            false => into.push(path.strip_prefix(root).expect("inside the package").to_string_lossy().replace('\\', "/")),
        }
    }
}

#[test]
fn the_house_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    files(root, &mut paths, root);
    let (mut faults, mut papers) = (BTreeSet::new(), Vec::new());
    for path in &paths {
        let Ok(text) = fs::read_to_string(root.join(path)) else { continue }; // not text
        if path.ends_with(".md") {
            papers.push((path.clone(), text.clone()));
        }
        let source = Source::new(path, &text);
        let rust = if path.ends_with(".rs") { RUST_RULES } else { &[] };
        for (line, fault) in rust.iter().chain(TEXT_RULES).flat_map(|rule| rule(&source)) {
            faults.insert(format!("{path}:{line}: {fault}"));
        }
    }
    faults.extend(unnamed_papers(&papers).into_iter().map(|path| format!("{path}: no other paper names it: link it, or remove it")));
    assert!(paths.len() > 20, "the walk found {} files only", paths.len());
    assert!(faults.is_empty(), "\n{}\n", faults.into_iter().collect::<Vec<_>>().join("\n"));
}

/// How many faults a rule finds.
#[cfg(test)]
fn count(rule: Rule, path: &str, text: &str) -> usize {
    rule(&Source::new(path, text)).len()
}

#[test]
fn a_room_that_looks_up_is_seen() {
    assert_eq!(count(direction, "src/state/mod.rs", "use crate::serdes::Serde;\nuse crate::state::cache::Cache;"), 0);
    assert_eq!(count(direction, "src/state/mod.rs", "use crate::dsl::KStream;"), 1);
    assert_eq!(count(direction, "src/clock.rs", "fn f() -> crate::runtime::Task { g() }"), 1);
    assert_eq!(count(direction, "src/kafka/mod.rs", "use crate::{record::Headers, state::{Batch, dsl}, runtime};"), 2);
    assert_eq!(count(direction, "src/runtime/thread.rs", "use crate::dsl::Topic;\nuse crate::runtime::plan::Plan;"), 1);
    assert_eq!(count(direction, "src/runtime/plan/mod.rs", "use crate::runtime::plan::Step;\nuse crate::runtime::Task;"), 1);
    assert_eq!(count(direction, "src/runtime/plan/mod.rs", "use crate::kafka::Log;"), 1);
    assert_eq!(count(direction, "src/state/mod.rs", "use crate::Timestamp;"), 1);
    assert_eq!(count(direction, "topologies/jobs.rs", "use crate::cli::Args;"), 1);
    // What does not ship may look anywhere, and prose is not code.
    assert_eq!(count(direction, "src/state/mod.rs", "/// [`crate::dsl`]\n#[cfg(test)]\nmod tests { use crate::dsl::X; }"), 0);
    assert_eq!(count(direction, "src/state/mod.rs", "#[cfg(test)]\nmod laws;\nuse crate::dsl::X;"), 1);
    assert_eq!(count(direction, "src/state/mod.rs", "#[cfg(test)]\nmod tests { use crate::dsl::X; }\nuse crate::dsl::X;"), 1);
    assert_eq!(count(direction, "src/state/mod.rs", "macro_rules! m { () => { $crate::Timestamp } }"), 0);
}

#[test]
fn a_room_without_a_line_is_seen() {
    assert_eq!(count(in_the_table, "src/attic/mod.rs", ""), 1);
    assert_eq!(count(in_the_table, "src/recorder.rs", ""), 1);
    assert_eq!(count(in_the_table, "src/record/mod.rs", ""), 0);
}

#[test]
fn a_crate_outside_its_fence_is_seen() {
    assert_eq!(count(fenced_crates, "src/kafka/mod.rs", "use rdkafka::Message;"), 1);
    assert_eq!(count(fenced_crates, "src/kafka/librdkafka/mod.rs", "use rdkafka::Message;"), 0);
    assert_eq!(count(fenced_crates, "src/state/mod.rs", "let db = rocksdb::DB::open();"), 1);
    assert_eq!(count(fenced_crates, "src/runtime/mod.rs", "use tokio::task;"), 1);
    assert_eq!(count(fenced_crates, "src/state/mod.rs", "let rocksdb = 1; // rocksdb::DB"), 0);
    assert_eq!(count(unsafe_at_home, "src/kafka/librdkafka/native/writing.rs", "unsafe { c::f() }"), 0);
    assert_eq!(count(unsafe_at_home, "src/kafka/librdkafka/mod.rs", "#[allow(unsafe_code)]\nmod native;"), 0);
    assert_eq!(count(unsafe_at_home, "src/kafka/librdkafka/consumer.rs", "#![allow(unsafe_code)]\nunsafe { c::f() }"), 2);
    assert_eq!(count(unsafe_at_home, "src/state/mod.rs", "// unsafe is not needed here"), 0);
}

#[test]
fn a_file_that_does_not_explain_itself_is_seen() {
    assert_eq!(count(module_doc, "src/a.rs", "use std::fmt;"), 1);
    assert_eq!(count(module_doc, "src/a.rs", "//! What for."), 0);
}

#[test]
fn a_name_that_says_nothing_is_seen() {
    assert_eq!(count(telling_names, "src/state/utils.rs", ""), 1);
    assert_eq!(count(telling_names, "src/common/mod.rs", ""), 1);
    assert_eq!(count(telling_names, "src/lib.rs", "mod helpers;\nmod cases;"), 1);
    assert_eq!(count(telling_names, "src/state/database.rs", "// mod utils;"), 0);
}

#[test]
fn a_long_function_is_seen() {
    let function = |lines: usize| format!("fn f(a: [u8; 3]) {{\n{}}}", "    let c = ('{', \"{\"); // {\n".repeat(lines - 2));
    assert_eq!(count(short_functions, "src/a.rs", &function(LONGEST_FUNCTION)), 0);
    assert_eq!(count(short_functions, "src/a.rs", &function(LONGEST_FUNCTION + 1)), 1);
    assert_eq!(count(short_functions, "src/a.rs", &format!("trait T {{ fn f(); {} }}", "\n".repeat(99))), 0);
}

#[test]
fn a_second_clock_is_seen() {
    let peek = "let t = std::time::Instant::now(); std::thread::sleep(d);";
    assert_eq!(count(one_clock, "src/runtime/mod.rs", peek), 2);
    assert_eq!(count(one_clock, "src/clock.rs", peek), 0);
    assert_eq!(count(one_clock, "src/runtime/tests.rs", peek), 0);
}

#[test]
fn a_path_of_one_machine_is_seen() {
    assert_eq!(count(no_host_paths, "README.md", concat!("cd /wo", "rk/highwater")), 1);
    assert_eq!(count(no_host_paths, "README.md", "cd ../shared/data"), 0);
}

#[test]
fn another_registry_is_seen() {
    assert_eq!(count(public_registry, "Cargo.lock", "source = \"registry+https://mirror.example/index\""), 1);
    assert_eq!(count(public_registry, "Cargo.lock", "source = \"registry+https://github.com/rust-lang/crates.io-index\""), 0);
    assert_eq!(count(public_registry, ".cargo/config.toml", "[source.crates-io]\nreplace-with = \"mirror\""), 2);
    assert_eq!(count(public_registry, "Cargo.toml", "x = { version = \"1\", registry = \"mirror\" }"), 1);
}

#[test]
fn a_runner_that_looks_inside_is_seen() {
    assert_eq!(count(conformance_is_a_user, "tests/conformance/main.rs", "use highwater::state::Cache;"), 1);
    assert_eq!(count(conformance_is_a_user, "tests/conformance/main.rs", "use highwater::{Topic, runtime::Task};"), 1);
    assert_eq!(count(conformance_is_a_user, "tests/conformance/main.rs", "let s = highwater::processor::X;"), 1);
    assert_eq!(count(conformance_is_a_user, "tests/conformance/main.rs", "use highwater::{Topic, StreamsBuilder};"), 0);
    assert_eq!(count(conformance_is_a_user, "tests/it/main.rs", "use highwater::state::Cache;"), 0);
}

#[test]
fn a_paper_that_nobody_finds_is_seen() {
    let papers = [("README.md", "see docs/a.md"), ("docs/a.md", "a"), ("NOTE.md", "NOTE.md is mine")];
    let papers: Vec<_> = papers.iter().map(|(path, text)| (path.to_string(), text.to_string())).collect();
    assert_eq!(unnamed_papers(&papers), ["NOTE.md"]);
}
