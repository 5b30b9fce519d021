//! Where the cases lie, and reading them.

use std::path::{Path, PathBuf};

use super::format::Case;

/// Folders of case files.
pub(crate) struct Folder(Vec<PathBuf>);

impl Folder {
    /// The folder asked for, which must be there, or the shared cases in both modes of time if they are.
    pub(crate) fn find(asked: Option<&str>) -> Option<Folder> {
        match asked {
            Some(folder) => {
                assert!(Path::new(folder).is_dir(), "there is no folder {folder}");
                Some(Folder(vec![PathBuf::from(folder)]))
            }
            None => {
                let folders: Vec<_> = [shared("cases"), shared("watermarks/cases")].into_iter().filter(|folder| folder.is_dir()).collect();
                Some(Folder(folders)).filter(|found| !found.0.is_empty())
            }
        }
    }

    /// Their case files by name.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let entries = self.0.iter().flat_map(|folder| std::fs::read_dir(folder).expect("the folder of cases is readable"));
        let mut files: Vec<_> =
            entries.map(|entry| entry.expect("an entry").path()).filter(|path| path.extension().is_some_and(|e| e == "jsonl")).collect();
        files.sort();
        files
    }
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
