//! Only what is listed waits.

use super::later::*;

const LIST: &str = r#"
    operator = [{ name = "group_by", input = "table", reason = "soon" }, { name = "cogroup", reason = "soon" }]
    setting = [{ key = "topology.optimization", except = ["none"], reason = "soon" }]
    value = [{ field = "supplier.kind", value = "versioned", reason = "soon" }, { field = "api", value = "processor", reason = "soon" }]"#;

fn waits(config: &str, topology: &str) -> Option<String> {
    let text = format!(r#"{{"id":"x","feature":"f","purpose":"p","config":{config},"topology":{topology},"events":[]}}"#);
    Later::read(LIST).reason(&serde_json::from_str(&text).expect("a scenario"))
}

#[test]
fn only_what_is_listed_waits() {
    let filtered = r#"[{"op":"SOURCE","id":"t"},{"op":"filter","id":"f","in":"t"},{"op":"group_by","in":"f"}]"#;
    assert_eq!(waits("{}", &filtered.replace("SOURCE", "table")).as_deref(), Some("group_by on a table: soon"));
    assert_eq!(waits("{}", &filtered.replace("SOURCE", "stream")), None);
    assert!(waits(r#"{"topology.optimization":"all"}"#, "[]").is_some());
    assert_eq!(waits(r#"{"topology.optimization":"none"}"#, "[]"), None);
    assert!(waits("{}", r#"[{"op":"table","store":{"supplier":{"kind":"versioned"}}}]"#).is_some());
    assert!(waits("{}", r#"[{"op":"add_store","store":"s","supplier":{"kind":"versioned"}}]"#).is_some());
}
