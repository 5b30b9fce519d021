//! The scenario language is read strictly.

use super::format::*;

#[test]
fn a_typo_in_a_scenario_is_refused() {
    assert!(serde_json::from_str::<Op>(r#"{"op": "filter", "fn": "all"}"#).is_ok());
    assert!(serde_json::from_str::<Op>(r#"{"op": "filter", "fnn": "all"}"#).is_err());
}
