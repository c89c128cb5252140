//! One operation of the document: a method on a path.
//!
//! Owns the data about an operation. `parts` fills in the data that comes from the handler's types. The
//! descriptions, the query parameters, and the limits and conflicts that only the business rules know are written at
//! the route. It must not define the operation's form in the document: that belongs to `show`.

use schemars::JsonSchema;
use serde_json::{Map, Value, json};

use super::schemas::{SchemaMaker, of};
use crate::http::problem::Kind;

/// Examples by schema name.
const EXAMPLES: &str = include_str!("examples.json");

/// The refusals that any change can cause: too many changes at once, or authority that was lost while the change
/// waited.
const CHANGE: &[Kind] = &[Kind::TooManyRequests, Kind::Unauthorized, Kind::Forbidden];

/// The place of a parameter in the request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum ParameterPlace {
    Path,
    Query,
    Header,
}

impl ParameterPlace {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Query => "query",
            Self::Header => "header",
        }
    }
}

/// A schema, either derived from a type or written out.
pub(in crate::http) enum Shape {
    Of(SchemaMaker),
    Json(Value),
}

pub(super) struct Parameter {
    pub(super) place: ParameterPlace,
    pub(super) name: String,
    pub(super) shape: Shape,
    pub(super) words: &'static str,
}

pub(super) struct Content {
    pub(super) media_type: &'static str,
    pub(super) shape: Shape,
    pub(super) example: Option<Value>,
}

pub(super) struct Success {
    pub(super) status: u16,
    pub(super) words: &'static str,
    /// The alternative contents; empty if the response has no body.
    pub(super) content: Vec<Content>,
    pub(super) headers: Vec<&'static str>,
}

/// The description of an operation.
pub(in crate::http) struct Operation {
    pub(super) method: &'static str,
    pub(super) path: String,
    pub(super) tag: &'static str,
    pub(super) id: &'static str,
    pub(super) summary: &'static str,
    pub(super) description: Option<&'static str>,
    pub(super) permission: &'static str,
    pub(super) security: &'static [&'static str],
    pub(super) parameters: Vec<Parameter>,
    pub(super) body: Option<Content>,
    pub(super) needs_body: bool,
    pub(super) success: Option<Success>,
    pub(super) refusals: Vec<Kind>,
    pub(super) audited: bool,
}

/// Makes an operation from its id and a one-sentence summary.
pub(in crate::http) fn op(id: &'static str, summary: &'static str) -> Operation {
    Operation {
        method: "",
        path: String::new(),
        tag: "",
        id,
        summary,
        description: None,
        permission: "",
        security: &[],
        parameters: Vec::new(),
        body: None,
        needs_body: true,
        success: None,
        // The refusals that come before any handler is called.
        refusals: vec![
            Kind::BadRequest,
            Kind::UriTooLong,
            Kind::MisdirectedRequest,
            Kind::HeadTooLarge,
            Kind::Internal,
        ],
        audited: false,
    }
}

/// Descriptions that the table adds to a route.
impl Operation {
    /// Adds a longer description.
    pub(in crate::http) fn about(mut self, description: &'static str) -> Self {
        self.description = Some(description);
        self
    }

    /// Adds refusals that the operation can cause.
    pub(in crate::http) fn may(mut self, kinds: &[Kind]) -> Self {
        self.refusals.extend_from_slice(kinds);
        self
    }

    /// Adds a query parameter of this type.
    pub(in crate::http) fn query<T: JsonSchema>(mut self, name: &'static str, words: &'static str) -> Self {
        self.takes(ParameterPlace::Query, name, Shape::Of(of::<T>), words);
        self
    }

    /// Adds a query parameter with this schema.
    pub(in crate::http) fn query_of(mut self, name: &'static str, schema: Value, words: &'static str) -> Self {
        self.takes(ParameterPlace::Query, name, Shape::Json(schema), words);
        self
    }

    /// Sets the schema of an id in the path, which takes precedence over the handler's types.
    pub(in crate::http) fn id_of(mut self, name: &'static str, shape: Shape) -> Self {
        self.takes(ParameterPlace::Path, name, shape, "");
        self
    }

    /// Adds a body of this media type.
    pub(in crate::http) fn body(mut self, media_type: &'static str) -> Self {
        let shape = Shape::Json(json!({ "type": "string", "format": "binary" }));
        let example = None;
        self.body = Some(Content {
            media_type,
            shape,
            example,
        });
        self
    }

    /// Describes a 201 response with this body and a `Location` header.
    pub(in crate::http) fn creates<T: JsonSchema>(mut self) -> Self {
        self.answers_json(201, "Created.", of::<T>, &T::schema_name());
        self.with_header("Location")
    }

    /// Describes a 200 response with this JSON body.
    pub(in crate::http) fn gives<T: JsonSchema>(mut self) -> Self {
        self.answers_json(200, "The result.", of::<T>, &T::schema_name());
        self
    }

    /// Describes a 200 response with any JSON object.
    pub(in crate::http) fn gives_object(mut self) -> Self {
        let content = Content {
            media_type: "application/json",
            shape: Shape::Json(json!({ "type": "object" })),
            example: Some(json!({ "openapi": "3.1.0" })),
        };
        self.succeeds(200, "The result.", Some(content));
        self
    }

    /// Describes a 200 response with text or bytes. `example` shows how such a body begins.
    pub(in crate::http) fn file(mut self, media_type: &'static str, example: Option<&str>) -> Self {
        let content = Content {
            media_type,
            shape: Shape::Json(json!({ "type": "string" })),
            example: example.map(Value::from),
        };
        self.succeeds(200, "The result.", Some(content));
        self
    }

    /// Adds an alternative media type, for requests that select it.
    pub(in crate::http) fn or_file(mut self, media_type: &'static str, example: &str) -> Self {
        if let Some(success) = &mut self.success {
            success.content.push(Content {
                media_type,
                shape: Shape::Json(json!({ "type": "string" })),
                example: Some(example.into()),
            });
        }
        self
    }

    /// Adds one of the shared headers to the response.
    pub(in crate::http) fn with_header(mut self, name: &'static str) -> Self {
        if let Some(success) = &mut self.success {
            success.headers.push(name);
        }
        self
    }

    /// Marks the operation as recorded in the audit log, as every change by a person is.
    pub(in crate::http) fn audited(mut self) -> Self {
        self.audited = true;
        self
    }
}

/// Descriptions that come from the handler's types.
impl Operation {
    pub(super) fn at(mut self, method: &'static str, path: &str, tag: &'static str) -> Self {
        (self.method, self.path, self.tag) = (method, path.to_owned(), tag);
        self
    }

    pub(super) fn needs(
        &mut self,
        permission: &'static str,
        security: &'static [&'static str],
        refusals: &'static [Kind],
    ) {
        (self.permission, self.security) = (permission, security);
        self.refuses(refusals);
        if self.method != "get" && security.contains(&"session") {
            self.refuses(CHANGE);
        }
    }

    pub(super) fn refuses(&mut self, kinds: &[Kind]) {
        self.refusals.extend_from_slice(kinds);
    }

    pub(super) fn takes(&mut self, place: ParameterPlace, name: &str, shape: Shape, words: &'static str) {
        let name = name.to_owned();
        self.parameters.push(Parameter {
            place,
            name,
            shape,
            words,
        });
    }

    /// Adds ids in the order of their names in the path. An id that the table has described stays as it is.
    pub(super) fn takes_ids(&mut self, ids: &[SchemaMaker]) {
        let names: Vec<String> = self.names_in_path().map(str::to_owned).collect();
        for (name, make) in names.iter().zip(ids) {
            if self.parameters.iter().all(|known| known.name != *name) {
                self.takes(ParameterPlace::Path, name, Shape::Of(*make), "");
            }
        }
    }

    pub(super) fn takes_json(&mut self, make: SchemaMaker, name: &str, refusals: &[Kind]) {
        self.refuses(refusals);
        self.body = Some(Content {
            media_type: "application/json",
            shape: Shape::Of(make),
            example: example(name),
        });
    }

    pub(super) fn body_may_be_absent(&mut self) {
        self.needs_body = false;
    }

    pub(super) fn answers(&mut self, status: u16, words: &'static str) {
        self.succeeds(status, words, None);
    }

    pub(super) fn answers_json(&mut self, status: u16, words: &'static str, make: SchemaMaker, name: &str) {
        let content = Content {
            media_type: "application/json",
            shape: Shape::Of(make),
            example: example(name),
        };
        self.succeeds(status, words, Some(content));
    }

    /// Sets the response unless it has been set: the handler's types do not override the table.
    fn succeeds(&mut self, status: u16, words: &'static str, content: Option<Content>) {
        if self.success.is_none() {
            self.success = Some(Success {
                status,
                words,
                content: content.into_iter().collect(),
                headers: Vec::new(),
            });
        }
    }

    fn names_in_path(&self) -> impl Iterator<Item = &str> {
        self.path
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
    }
}

/// Returns the example for the schema with this name. An example of a list has one item.
fn example(name: &str) -> Option<Value> {
    let all: Map<String, Value> = serde_json::from_str(EXAMPLES).ok()?;
    match name.strip_prefix("Array_of_") {
        Some(item) => all.get(item).map(|example| json!([example])),
        None => all.get(name).cloned(),
    }
}
