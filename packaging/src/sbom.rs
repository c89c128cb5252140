//! The list of linked crates (CycloneDX), for tools that look for known vulnerabilities.
//!
//! Owns reducing cargo-cyclonedx's list to the crates that are linked into the program,
//! and removing the build machine's paths.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::crates::Crate;
use crate::failure::Failure;

/// Returns the list, reduced to the linked crates. The path of the build machine's checkout becomes `/build`.
pub(crate) fn of_what_is_linked(listed: &str, linked: &[Crate]) -> Result<String, Failure> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let root = std::fs::canonicalize(root).map_err(Failure::at(root.as_ref()))?;
    let listed = listed.replace(&*root.to_string_lossy(), "/build");
    let mut list: Value = serde_json::from_str(&listed)?;
    let is_linked = |component: &Value| {
        let text = |key: &str| component.get(key).and_then(Value::as_str).unwrap_or_default();
        let ours = text("purl").contains("download_url=file:");
        ours || linked
            .iter()
            .any(|one| one.name == text("name") && one.version == text("version"))
    };
    let mut kept = BTreeSet::new();
    let own = list.pointer("/metadata/component/bom-ref").and_then(Value::as_str);
    kept.extend(own.map(str::to_owned));
    if let Some(Value::Array(components)) = list.get_mut("components") {
        components.retain(is_linked);
        let names = components.iter().filter_map(|component| component.get("bom-ref"));
        kept.extend(names.filter_map(Value::as_str).map(str::to_owned));
    }
    let is_kept = |reference: Option<&Value>| {
        reference
            .and_then(Value::as_str)
            .is_some_and(|name| kept.contains(name))
    };
    if let Some(Value::Array(dependencies)) = list.get_mut("dependencies") {
        dependencies.retain(|dependency| is_kept(dependency.get("ref")));
        for dependency in dependencies {
            if let Some(Value::Array(on)) = dependency.get_mut("dependsOn") {
                on.retain(|name| is_kept(Some(name)));
            }
        }
    }
    Ok(format!("{}\n", serde_json::to_string_pretty(&list)?))
}
