//! `highwater demo --crash` as a person starts it, with small numbers.

use std::fs;
use std::path::Path;

use super::cli::{highwater, temporary, text};

#[test]
fn the_crash_demo_kills_counts_and_proves() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("crash-demo");
    fs::remove_dir_all(&folder).ok();
    let run = || highwater(&["demo", "--crash", "--records", "20000", "--kills", "2", "--keep", "--folder", folder.to_str().unwrap()]);
    let output = run();
    let shown = text(&output.stdout);
    assert!(output.status.success(), "{shown}\n{}", text(&output.stderr));
    for part in ["counted    20,000 of 20,000", "users      666 of 666 with the right count", "doubled    0 results", "state      kept"] {
        assert!(shown.contains(part), "`{part}` is not in:\n{shown}");
    }
    assert_eq!((shown.matches("\nkilled ").count(), shown.matches("\nfinished ").count()), (2, 1), "{shown}");
    // What is there is not written over.
    assert!(folder.join("log").is_dir());
    let output = run();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("is not empty"), "{}", text(&output.stderr));
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn the_crash_demo_says_what_does_not_go_together() {
    let file = temporary("no-folder", "");
    for (args, fix) in [
        (&["demo", "--crash", "--rate", "5"][..], "cannot be used with"),
        (&["demo", "--kills", "3"], "--crash"),
        (&["demo", "--bootstrap", "127.0.0.1:1"], "--crash"),
        (&["demo", "--crash", "--folder", &file], "cannot make the folder"),
    ] {
        let output = highwater(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(text(&output.stderr).contains(fix), "{}", text(&output.stderr));
    }
}
