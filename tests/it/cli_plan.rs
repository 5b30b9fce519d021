//! `highwater plan`: what a job needs of its cluster, told without one.

use crate::cli::{highwater, temporary, text};

/// A job with a key of its own and late records.
fn job(name: &str, more: &str) -> String {
    let text = format!(
        "job: windowed-counts\napplication: shop\ninput:\n  topic: clicks\n  format: json\n  key: who\n  event-time: {{field: at, format: epoch-ms}}\n  \
         bad-records: {{dead-letter: bad}}\ngroup-by: page\nwindow: {{tumbling: 10ms}}\noutput: {{topic: counts}}\nlate: {{topic: late}}\n{more}"
    );
    temporary(&format!("{name}.yaml"), &text)
}

/// The words of the lines that begin with this one.
fn rows(told: &str, first: &str) -> Vec<Vec<String>> {
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    told.lines().map(words).filter(|words| words.first().is_some_and(|word| word == first)).collect()
}

#[test]
fn the_plan_lists_topics_and_permissions() {
    let plan = highwater(&["plan", &job("plan", ""), "--partitions", "3", "--principal", "User:shop"]);
    assert!(plan.status.success(), "{}", text(&plan.stderr));
    let told = text(&plan.stdout);
    for (topic, partitions, role) in [
        ("shop-regrouped-repartition", "3", "repartition"),
        ("shop-counts-changelog", "3", "changelog"),
        ("shop-tasks-0", "3", "tasks"),
        ("shop-tasks-1", "3", "tasks"),
    ] {
        assert_eq!(rows(&told, topic)[0][1..3], [partitions, role], "{told}");
    }
    let mut topics: Vec<_> = rows(&told, "Topic").into_iter().map(|row| row[1..].join(" ")).collect();
    topics.sort();
    let expected = [
        "bad Write results",
        "clicks Read DescribeConfigs input",
        "clicks Write only for `run --feed`",
        "counts Write results",
        "late Write results",
        "shop-counts-changelog Read Write DescribeConfigs Create changelog",
        "shop-fed Read Write Create only for `run --feed`",
        "shop-regrouped-repartition Read Write Delete DescribeConfigs Create repartition; what was read is deleted",
        "shop-tasks-0 Read DescribeConfigs Create Alter tasks of the group",
        "shop-tasks-1 Read DescribeConfigs Create Alter tasks of the group",
    ];
    assert_eq!(topics, expected, "{told}");
    assert!(rows(&told, "TransactionalId")[0].starts_with(&["TransactionalId".into(), "shop-*".into(), "Write".into(), "Describe".into()]));
    let commands = rows(&told, "kafka-acls.sh");
    assert_eq!(commands.len(), 13, "group, ten topics, transactions, cluster: {told}");
    assert!(told.contains("--allow-principal User:shop --operation Read --group shop\n"), "{told}");
    assert!(told.contains("--transactional-id shop- --resource-pattern-type prefixed\n"), "{told}");
}

#[test]
fn a_job_that_may_make_nothing_and_needs_no_transactions_is_allowed_less() {
    let plan = highwater(&["plan", &job("plan-less", "topics: {create: never}\nguarantee: at-least-once\n")]);
    let told = text(&plan.stdout);
    assert!(plan.status.success() && !told.contains("Create "), "{told}");
    let transactions: Vec<_> = told.lines().filter(|line| line.starts_with("TransactionalId")).collect();
    assert!(transactions.len() == 1 && transactions[0].contains("only for `run --feed`"), "{told}");
    let apply = highwater(&["plan", &job("plan-apply", ""), "--apply-topics"]);
    assert_eq!(apply.status.code(), Some(2));
    assert!(text(&apply.stderr).contains("needs a cluster"), "{}", text(&apply.stderr));
}
