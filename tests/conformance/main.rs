//! The conformance runner: plays scenarios through the public API and compares with what Java Kafka Streams answered.
//!
//! `cargo test --test conformance -- FOLDER` or `CASES=FOLDER`; without either the shared cases beside this package (`HIGHWATER_SHARED`
//! overrides where). `FILTER=text` takes the cases whose id contains the text; `-v`, or a filter, prints every difference. The last line is always
//! `N passed, M failed, K skipped`; the exit code is 1 if a case failed. Cases whose stored answer is a defect of Java are listed apart.
//!
//! Cases of bounded watermark mode (`shared/conformance/watermarks`) are known by their answers and judged by the reference model.

mod cases;
mod cell;
mod compare;
mod drive;
mod errors;
mod format;
mod functions;
mod later;
mod outcome;
mod processors;
mod reader;
mod report;
mod run;
mod settings;
mod steps;
mod store_commands;
mod store_dump;
mod value;
mod watermarks;

use std::process::ExitCode;

use cases::Folder;
use report::Report;

fn main() -> ExitCode {
    let asked = Asked::from_environment();
    let Some(folder) = Folder::find(asked.folder.as_deref()) else {
        say(&format!("NO CASES: {} is not there; conformance is unproven in this run", cases::shared("cases").display()));
        say("0 passed, 0 failed, 0 skipped");
        return ExitCode::SUCCESS;
    };
    std::panic::set_hook(Box::new(|_| {})); // a panic is the failure of one case, and is printed with it
    let mut report = Report::new(asked.verbose);
    for file in folder.files() {
        let filter = asked.filter.as_deref();
        match watermarks::cases(&file, filter) {
            Some(bounded) => report.modelled_file(&file, bounded),
            None => report.file(&file, run::all(&cases::read(&file, filter))),
        }
    }
    report.finish()
}

/// What the caller wants.
struct Asked {
    folder: Option<String>,
    filter: Option<String>,
    verbose: bool,
}

impl Asked {
    fn from_environment() -> Asked {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let folder = arguments.iter().find(|argument| !argument.starts_with('-')).cloned().or_else(|| variable("CASES"));
        let filter = variable("FILTER");
        Asked { folder, verbose: filter.is_some() || arguments.iter().any(|argument| argument == "-v"), filter }
    }
}

/// One line to the person who runs this.
#[allow(clippy::print_stdout, reason = "a program speaks through its standard output")]
pub(crate) fn say(line: &str) {
    println!("{line}");
}
