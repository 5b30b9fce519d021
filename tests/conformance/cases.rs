//! Where the cases lie, and reading them.

use std::path::{Path, PathBuf};

use super::format::Case;

/// Folders of case files.
pub(crate) struct Folder(Vec<PathBuf>);

impl Folder {
    /// The folder asked for, or the `cases` in it, which must be there; else the shared cases in both modes of time if they are.
    pub(crate) fn find(asked: Option<&str>) -> Option<Folder> {
        match asked {
            Some(folder) => {
                let folder = PathBuf::from(folder);
                assert!(folder.is_dir(), "there is no folder {}", folder.display());
                let found = [folder.clone(), folder.join("cases")].into_iter().find(|folder| !case_files(folder).is_empty());
                assert!(found.is_some(), "there is no case file (*.jsonl) in {}: 0 cases would prove nothing", folder.display());
                found.map(|folder| Folder(vec![folder]))
            }
            None => {
                let folders: Vec<_> = [shared("cases"), shared("watermarks/cases")].into_iter().filter(|folder| folder.is_dir()).collect();
                Some(Folder(folders)).filter(|found| !found.0.is_empty())
            }
        }
    }

    /// Their case files by name.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<_> = self.0.iter().flat_map(|folder| case_files(folder)).collect();
        files.sort();
        files
    }
}

fn case_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.expect("the folder of cases is readable").path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "jsonl")).collect()
}

/// The shared cases: beside this package, or where `HIGHWATER_SHARED` says.
pub(crate) fn shared(folder: &str) -> PathBuf {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    std::env::var_os("HIGHWATER_SHARED").map_or_else(beside, PathBuf::from).join("conformance").join(folder)
}

/// A case, or why its line is none: that fails too, under the line's number.
pub(crate) type Line = Result<Box<Case>, (String, String)>;

/// The cases of a file whose id contains `filter`.
pub(crate) fn read(file: &Path, filter: Option<&str>) -> Vec<Line> {
    let text = std::fs::read_to_string(file).unwrap_or_else(|problem| panic!("{}: {problem}", file.display()));
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let parsed = lines.map(|(at, line)| {
        let place = || format!("{} line {}", file.display(), at + 1);
        serde_json::from_str::<Case>(line).map(Box::new).map_err(|problem| (place(), problem.to_string()))
    });
    parsed.filter(|line| filter.is_none_or(|wanted| line.as_ref().map_or(true, |case| case.scenario.id.contains(wanted)))).collect()
}
