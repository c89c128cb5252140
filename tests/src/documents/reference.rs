//! The list of endpoints in the API reference (`docs/api.md`), generated from the OpenAPI document.
//!
//! Owns the form of the tables. Their text comes from the OpenAPI document. It must not change the rest of the
//! page, which is written by hand.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::Value;

/// The beginning of the generated part.
pub const BEGIN: &str =
    "<!-- Beginning of the part that `cargo run -p sentrazone-tests --bin api-reference` generates. -->";
/// The end of the generated part.
pub const END: &str = "<!-- End of the generated part. -->";

/// Codes shared by many operations. The page explains them once.
const SHARED: [&str; 15] = [
    "internal",
    "storage_unavailable",
    "unauthorized",
    "forbidden",
    "too_many_requests",
    "malformed_json",
    "bad_request",
    "uri_too_long",
    "misdirected_request",
    "head_too_large",
    "request_timeout",
    "body_too_large",
    "unsupported_media_type",
    "invalid_field",
    "unknown_field",
];

/// Returns the page with its generated part regenerated from `document`, or `None` if the page does not mark that part.
#[must_use]
pub fn renewed(page: &str, document: &Value) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n\n{}{END}{after}", tables(document)))
}

fn tables(document: &Value) -> String {
    let mut text = String::new();
    for tag in list(&document["tags"]) {
        let name = tag["name"].as_str().unwrap_or_default();
        let words = tag["description"].as_str().unwrap_or_default();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "### {name}\n\n{words}\n");
        text.push_str("| endpoint | who | what it does | responses |\n| --- | --- | --- | --- |\n");
        for (path, method, operation) in operations(document) {
            if operation["tags"][0] == name {
                text.push_str(&row(path, method, operation));
            }
        }
        text.push('\n');
    }
    text
}

fn operations(document: &Value) -> Vec<(&str, &str, &Value)> {
    let paths = document["paths"].as_object().into_iter().flatten();
    paths
        .flat_map(|(path, methods)| {
            let methods = methods.as_object().into_iter().flatten();
            methods.map(move |(method, operation)| (path.as_str(), method.as_str(), operation))
        })
        // Operations that only refuse requests are not listed.
        .filter(|(_, _, operation)| {
            !operation["operationId"]
                .as_str()
                .unwrap_or_default()
                .starts_with("refuse")
        })
        .collect()
}

fn row(path: &str, method: &str, operation: &Value) -> String {
    let mut what = format!("{}.", operation["summary"].as_str().unwrap_or_default());
    if let Some(more) = operation["description"].as_str() {
        let _ = write!(what, " {more}");
    }
    let query: Vec<String> = list(&operation["parameters"])
        .filter(|parameter| parameter["in"] == "query")
        .map(query_parameter)
        .collect();
    if !query.is_empty() {
        let _ = write!(what, " Query: {}.", query.join("; "));
    }
    // The page states once that every change made by a person is audited.
    if (method == "get" || operation["x-permission"] == "agent") && operation["x-audited"] == true {
        what.push_str(" Audited.");
    }
    let who = match operation["x-permission"].as_str() {
        Some("person") => "oneself",
        Some("keeper") => "admin, logged in",
        Some(who) => who,
        None => "",
    };
    let answers = answers(operation);
    format!("| `{} {path}` | {who} | {what} | {answers} |\n", method.to_uppercase())
}

fn query_parameter(parameter: &Value) -> String {
    let name = parameter["name"].as_str().unwrap_or_default();
    let words = parameter["description"]
        .as_str()
        .unwrap_or_default()
        .trim_end_matches('.');
    let schema = &parameter["schema"];
    let bound = |name: &str| {
        schema[name]
            .as_u64()
            .filter(|bound| *bound != u64::MAX && *bound != u64::from(u32::MAX))
    };
    let mut limits = Vec::new();
    match (bound("minimum"), bound("maximum")) {
        (Some(least), Some(most)) => limits.push(format!("{least} to {most}")),
        (Some(least), None) if least > 0 => limits.push(format!("at least {least}")),
        _ => {}
    }
    if let Some(default) = schema.get("default") {
        limits.push(format!("default {default}"));
    }
    match limits.is_empty() {
        true => format!("`{name}`: {words}"),
        false => format!("`{name}` ({}): {words}", limits.join(", ")),
    }
}

/// Returns the statuses and contents of successful responses, and the error codes specific to this operation.
fn answers(operation: &Value) -> String {
    let mut shown = Vec::new();
    for (status, response) in operation["responses"].as_object().into_iter().flatten() {
        let content = response["content"]
            .as_object()
            .and_then(|content| content.iter().next());
        match content {
            Some((media, content)) if media == "application/problem+json" => {
                let codes: BTreeSet<&str> = list(&content["schema"]["allOf"][1]["properties"]["code"]["enum"])
                    .filter_map(Value::as_str)
                    .filter(|code| !SHARED.contains(code))
                    .collect();
                let codes: Vec<String> = codes.iter().map(|code| format!("`{code}`")).collect();
                if !codes.is_empty() {
                    shown.push(format!("{status} {}", codes.join(", ")));
                }
            }
            Some((media, content)) if media == "application/json" => {
                shown.push(format!("{status} {}", schema_name(&content["schema"])));
            }
            Some(_) => {
                let kinds = response["content"].as_object().into_iter().flatten();
                let kinds: Vec<String> = kinds.map(|(media, _)| format!("`{media}`")).collect();
                shown.push(format!("{status} {}", kinds.join(" or ")));
            }
            None => shown.push(status.clone()),
        }
    }
    shown.join("; ")
}

fn schema_name(schema: &Value) -> String {
    let name = |reference: &Value| {
        let reference = reference.as_str().unwrap_or_default();
        reference.rsplit('/').next().unwrap_or_default().to_owned()
    };
    if schema["type"] == "array" {
        return format!("an array of {}", name(&schema["items"]["$ref"]));
    }
    name(&schema["$ref"])
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}
