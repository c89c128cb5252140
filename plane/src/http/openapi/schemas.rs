//! The schemas of all bodies, each under one name.
//!
//! Owns the separate schemas of a type whose form differs between requests and responses: a request may omit a field
//! with a default, but a response always contains it. The schema for requests is then called `…Input`.

use std::collections::BTreeSet;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value};

const DEFINITIONS: &str = "/components/schemas";
const REFERENCE: &str = "#/components/schemas/";
const SUFFIX: &str = "Input";

/// A function that makes a type's schema.
pub(in crate::http) type SchemaMaker = fn(&mut SchemaGenerator) -> Schema;

/// Returns the schema of `T`, or a reference to it.
pub(in crate::http) fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// The schemas that have been used so far, for requests and for responses.
pub(super) struct Schemas {
    taken: SchemaGenerator,
    given: SchemaGenerator,
}

impl Schemas {
    pub(super) fn new() -> Self {
        let settings = SchemaSettings::draft2020_12().with(|settings| {
            settings.definitions_path = DEFINITIONS.into();
            settings.meta_schema = None;
        });
        Self {
            taken: settings.clone().for_deserialize().into_generator(),
            given: settings.for_serialize().into_generator(),
        }
    }

    /// Returns the schema of a value that is sent to the plane.
    pub(super) fn taken(&mut self, make: SchemaMaker) -> Value {
        adjusted(make(&mut self.taken))
    }

    /// Returns the schema of a value that the plane returns.
    pub(super) fn given(&mut self, make: SchemaMaker) -> Value {
        adjusted(make(&mut self.given))
    }

    /// Puts the definitions into `document`, and corrects its references to renamed definitions.
    pub(super) fn put_into(mut self, document: &mut Value) {
        let mut given = definitions(&mut self.given);
        let mut taken = definitions(&mut self.taken);
        let renamed = differing(&taken, &given);
        for definition in taken.values_mut() {
            rename(definition, &renamed);
        }
        // Only requests refer to the schemas for requests.
        for_each_operation(document, |operation| {
            for part in ["parameters", "requestBody"] {
                if let Some(part) = operation.get_mut(part) {
                    rename(part, &renamed);
                }
            }
        });
        for (name, definition) in taken {
            let name = if renamed.contains(&name) {
                format!("{name}{SUFFIX}")
            } else {
                name
            };
            given.insert(name, definition);
        }
        if let Some(components) = document.get_mut("components").and_then(Value::as_object_mut) {
            components.insert("schemas".to_owned(), Value::Object(given));
        }
    }
}

fn adjusted(mut schema: Schema) -> Value {
    wgctl::schema::adjust(&mut schema);
    schema.into()
}

fn definitions(generator: &mut SchemaGenerator) -> Map<String, Value> {
    let mut found = generator.take_definitions(false);
    for (name, definition) in &mut found {
        if name == "IpNet" {
            *definition = wgctl::schema::network();
        } else if let Ok(schema) = <&mut Schema>::try_from(definition) {
            wgctl::schema::adjust(schema);
        }
    }
    // Only the network definition that has just been replaced used these.
    found.retain(|name, _| name != "Ipv4Net" && name != "Ipv6Net");
    found
}

/// Returns the names whose two schemas differ, either directly or in a schema that they refer to.
fn differing(taken: &Map<String, Value>, given: &Map<String, Value>) -> BTreeSet<String> {
    let mut found: BTreeSet<String> = BTreeSet::new();
    loop {
        let before = found.len();
        for (name, schema) in taken {
            let Some(other) = given.get(name) else { continue };
            if schema != other || references(schema).iter().any(|name| found.contains(*name)) {
                found.insert(name.clone());
            }
        }
        if found.len() == before {
            return found;
        }
    }
}

fn references(schema: &Value) -> Vec<&str> {
    match schema {
        Value::Object(object) => {
            let own = object.get("$ref").and_then(Value::as_str);
            let own = own.and_then(|reference| reference.strip_prefix(REFERENCE));
            own.into_iter().chain(object.values().flat_map(references)).collect()
        }
        Value::Array(items) => items.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}

fn rename(schema: &mut Value, renamed: &BTreeSet<String>) {
    match schema {
        Value::Object(object) => {
            if let Some(Value::String(reference)) = object.get_mut("$ref")
                && reference
                    .strip_prefix(REFERENCE)
                    .is_some_and(|name| renamed.contains(name))
            {
                reference.push_str(SUFFIX);
            }
            object.values_mut().for_each(|value| rename(value, renamed));
        }
        Value::Array(items) => items.iter_mut().for_each(|value| rename(value, renamed)),
        _ => {}
    }
}

fn for_each_operation(document: &mut Value, mut act: impl FnMut(&mut Value)) {
    let paths = document.get_mut("paths").and_then(Value::as_object_mut);
    let methods = paths
        .into_iter()
        .flat_map(Map::values_mut)
        .filter_map(Value::as_object_mut);
    methods.flat_map(Map::values_mut).for_each(&mut act);
}
