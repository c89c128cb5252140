//! The API described by itself (OpenAPI 3.1).
//!
//! Owns how the table of routes becomes a document. A handler's permission, parameters, body and
//! answer come from its own types (`parts`), the schemas from the bodies' (`schemas`); only words,
//! conflicts and limits are written beside the route (`operation`). It must not know a route:
//! it is handed the table.

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

/// The document of these operations.
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
            "summary": "A WireGuard fleet: servers, clients, people, and what goes on.",
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
