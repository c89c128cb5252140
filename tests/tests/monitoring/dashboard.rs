//! The Grafana dashboard and the alert rules must be valid: promtool must accept them, and they may use only
//! metrics that exist.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::metrics::documented;
use crate::promtool;

fn packaged(path: &str) -> String {
    let path = promtool::root().join("packaging").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns the names of the metrics that a PromQL text uses.
fn named(query: &str) -> BTreeSet<String> {
    let words = query.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let ours = words.filter(|word| word.starts_with("sentrazone_") || word.starts_with("process_"));
    ours.map(|word| {
        let suffixes = ["_bucket", "_count", "_sum"].iter();
        let family = suffixes
            .filter_map(|suffix| word.strip_suffix(suffix))
            .find(|name| name.ends_with("_seconds"));
        family.unwrap_or(word).to_owned()
    })
    .collect()
}

fn unknown(query: &str) -> Vec<String> {
    let known = documented();
    named(query).into_iter().filter(|name| !known.contains(name)).collect()
}

#[test]
fn the_alert_rules_are_valid_and_fire_when_they_should() {
    let checked = promtool::run(&["check", "rules", "sentrazone.rules.yml"], "packaging/prometheus", "");
    assert!(checked.contains("SUCCESS"), "{checked}");
    let tested = promtool::run(
        &["test", "rules", "sentrazone.rules.test.yml"],
        "packaging/prometheus",
        "",
    );
    assert!(tested.contains("SUCCESS"), "{tested}");
    let rules = packaged("prometheus/sentrazone.rules.yml");
    assert_eq!(unknown(&rules), Vec::<String>::new());
    let tests = packaged("prometheus/sentrazone.rules.test.yml");
    let alerts: Vec<&str> = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .collect();
    assert!(alerts.len() >= 8, "{alerts:?}");
    for alert in alerts {
        assert!(
            tests.contains(&format!("alertname: {alert}\n")),
            "no test makes {alert} fire"
        );
    }
}

#[test]
fn the_dashboards_queries_are_valid_and_use_only_existing_metrics() {
    let dashboard: Value = serde_json::from_str(&packaged("grafana/sentrazone.json")).unwrap();
    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            queries.push(target["expr"].as_str().unwrap().to_owned());
        }
    }
    assert!(queries.len() >= 15, "{}", queries.len());
    for query in &queries {
        assert_eq!(unknown(query), Vec::<String>::new(), "{query}");
        assert!(!named(query).is_empty(), "{query}");
    }
    // The queries are written as rules, so that promtool parses each of them. Grafana's own variables are replaced.
    let parsed = queries.iter().enumerate().map(|(number, query)| {
        let query = query.replace("$__rate_interval", "5m").replace("$server", ".*");
        format!(
            "      - record: query:{number}\n        expr: {}\n",
            Value::String(query)
        )
    });
    let rules = format!(
        "groups:\n  - name: dashboard\n    rules:\n{}",
        parsed.collect::<String>()
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("queries.yml");
    std::fs::write(&file, rules).unwrap();
    promtool::run(&["check", "rules", file.to_str().unwrap()], ".", "");
    let ids: BTreeSet<String> = dashboard["panels"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["id"].to_string())
        .collect();
    assert_eq!(
        ids.len(),
        dashboard["panels"].as_array().unwrap().len(),
        "panels share an id"
    );
}
