//! The representation of an operation in the document.
//!
//! Owns the form of parameters, bodies, responses and refusals (OpenAPI 3.1, section 4.8.10).

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use wgctl::api::{Problem, problem_kind};

use super::operation::{Content, Operation, Parameter, ParameterPlace, Shape};
use super::schemas::{Schemas, of};
use crate::http::problem::{Kind, MEDIA_TYPE};

impl Operation {
    pub(super) fn show(&self, schemas: &mut Schemas) -> Value {
        let mut shown = json!({
            "operationId": self.id,
            "summary": self.summary,
            "tags": [self.tag],
            "x-permission": self.permission,
            "x-audited": self.audited || (self.method != "get" && self.permission != "agent"),
            "security": self.security.iter().map(|scheme| json!({ *scheme: [] })).collect::<Vec<_>>(),
            "responses": self.show_responses(schemas),
        });
        let mut put = |name: &str, value: Value| {
            if let Some(object) = shown.as_object_mut() {
                object.insert(name.to_owned(), value);
            }
        };
        if let Some(description) = self.description {
            put("description", description.into());
        }
        if !self.parameters.is_empty() {
            let parameters = self
                .parameters
                .iter()
                .map(|parameter| show_parameter(parameter, schemas));
            put("parameters", parameters.collect());
        }
        if let Some(body) = &self.body {
            let (media_type, content) = show_content(body, |shape| shape.taken(schemas));
            put(
                "requestBody",
                json!({ "required": self.needs_body, "content": { media_type: content } }),
            );
        }
        shown
    }

    fn show_responses(&self, schemas: &mut Schemas) -> Value {
        let mut responses = Map::new();
        if let Some(success) = &self.success {
            let mut headers = json!({ "X-Request-Id": { "$ref": "#/components/headers/RequestId" } });
            for name in &success.headers {
                let (header, component) = match *name {
                    "Content-Disposition" => ("Content-Disposition", "Disposition"),
                    name => (name, name),
                };
                if let Some(headers) = headers.as_object_mut() {
                    headers.insert(header.to_owned(), reference("headers", component));
                }
            }
            let mut shown = json!({ "description": success.words, "headers": headers });
            let contents = success.content.iter();
            let contents: Map<_, _> = contents
                .map(|content| show_content(content, |shape| shape.given(schemas)))
                .collect();
            if let (false, Some(object)) = (contents.is_empty(), shown.as_object_mut()) {
                object.insert("content".to_owned(), contents.into());
            }
            responses.insert(success.status.to_string(), shown);
        }
        let mut refusals: BTreeMap<u16, Vec<Kind>> = BTreeMap::new();
        for kind in &self.refusals {
            let kinds = refusals.entry(kind.status().as_u16()).or_default();
            if !kinds.contains(kind) {
                kinds.push(*kind);
            }
        }
        let problem = schemas.given(of::<Problem>);
        for (status, kinds) in refusals {
            responses.insert(status.to_string(), show_refusal(status, &kinds, &problem));
        }
        Value::Object(responses)
    }
}

impl Shape {
    fn taken(&self, schemas: &mut Schemas) -> Value {
        match self {
            Self::Of(make) => schemas.taken(*make),
            Self::Json(schema) => schema.clone(),
        }
    }

    fn given(&self, schemas: &mut Schemas) -> Value {
        match self {
            Self::Of(make) => schemas.given(*make),
            Self::Json(schema) => schema.clone(),
        }
    }
}

fn reference(section: &str, name: &str) -> Value {
    json!({ "$ref": format!("#/components/{section}/{name}") })
}

fn show_parameter(parameter: &Parameter, schemas: &mut Schemas) -> Value {
    let mut shown = json!({
        "name": parameter.name,
        "in": parameter.place.as_str(),
        "required": parameter.place == ParameterPlace::Path,
        "schema": parameter.shape.taken(schemas),
    });
    if let (false, Some(object)) = (parameter.words.is_empty(), shown.as_object_mut()) {
        object.insert("description".to_owned(), parameter.words.into());
    }
    shown
}

fn show_content(content: &Content, schema: impl FnOnce(&Shape) -> Value) -> (String, Value) {
    let mut shown = json!({ "schema": schema(&content.shape) });
    if let (Some(example), Some(object)) = (&content.example, shown.as_object_mut()) {
        object.insert("example".to_owned(), example.clone());
    }
    (content.media_type.to_owned(), shown)
}

fn show_refusal(status: u16, kinds: &[Kind], problem: &Value) -> Value {
    let codes: Vec<&str> = kinds.iter().map(|kind| kind.code()).collect();
    let words: Vec<String> = kinds
        .iter()
        .map(|kind| format!("`{}`: {}", kind.code(), kind.title()))
        .collect();
    let example = kinds.first().map(|kind| Problem {
        kind: problem_kind(kind.code()),
        title: kind.title().to_owned(),
        status,
        detail: "what was wrong here, and what to do next".to_owned(),
        code: kind.code().to_owned(),
        field: None,
        hint: None,
    });
    let mut headers = json!({ "X-Request-Id": reference("headers", "RequestId") });
    if let Some(headers) = headers.as_object_mut() {
        match status {
            401 => drop(headers.insert("WWW-Authenticate".to_owned(), reference("headers", "Authenticate"))),
            429 | 503 => drop(headers.insert("Retry-After".to_owned(), reference("headers", "RetryAfter"))),
            _ => {}
        }
    }
    json!({
        "description": words.join(". "),
        "headers": headers,
        "content": { MEDIA_TYPE: {
            "schema": { "allOf": [problem, {
                "properties": { "status": { "const": status }, "code": { "enum": codes } }
            }]},
            "example": example,
        }}
    })
}
