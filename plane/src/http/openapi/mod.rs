//! The API's description of itself (OpenAPI 3.1).
//!
//! Owns the conversion of the table of routes into a document. A handler's permission, parameters, body and
//! response come from its own types (`parts`), and the schemas from the types of the bodies (`schemas`). Only
//! descriptions, conflicts and limits are written next to the route (`operation`). It must not know any route:
//! the table is a parameter.

mod components;
mod operation;
mod parts;
mod schemas;
mod show;
mod table;

use serde_json::{Map, Value, json};

pub(super) use operation::{Operation, Shape, op};
pub(super) use schemas::of;
pub(super) use table::Table;

use schemas::Schemas;

/// Returns the document that describes these operations.
pub(super) fn document(operations: &[Operation]) -> Value {
    let mut schemas = Schemas::new();
    let mut paths: Map<String, Value> = Map::new();
    for operation in operations {
        let shown = operation.show(&mut schemas);
        if let Some(methods) = paths
            .entry(&operation.path)
            .or_insert_with(|| json!({}))
            .as_object_mut()
        {
            methods.insert(operation.method.to_owned(), shown);
        }
    }
    let mut document = json!({
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://spec.openapis.org/oas/3.1/dialect/base",
        "info": {
            "title": "Sentrazone",
            "summary": "A WireGuard fleet: its servers, clients, people and their status.",
            "description": components::DESCRIPTION,
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" }
        },
        "servers": [{ "url": "/", "description": "The plane that serves this document" }],
        "tags": components::tags(),
        "paths": paths,
        "components": {
            "securitySchemes": components::security(),
            "headers": components::headers(),
        },
    });
    schemas.put_into(&mut document);
    document
}
