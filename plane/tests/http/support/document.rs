//! The served OpenAPI document as the tests read it: its operations and its schemas.
//!
//! An independent JSON Schema validator checks every response in every test against the document.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::LazyLock;

use boon::{Compiler, Draft, SchemaIndex, Schemas};
use serde_json::Value;

use crate::support::client::Answer;

/// The URL under which the validator knows the document.
const PLACE: &str = "http://plane/openapi.json";

/// The statuses with which any request may be refused because of its head alone, regardless of the operation: the URI
/// is too long, the host is not the plane's, or the head is too large.
const HEAD: [u16; 3] = [414, 421, 431];

static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(sentrazone_plane::openapi()).expect("the document is JSON"));

/// One operation of the document: a method on a path.
#[derive(Clone, Copy)]
pub(crate) struct Operation {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) described: &'static Value,
}

impl Operation {
    pub(crate) fn text(&self, field: &str) -> &'static str {
        self.described[field].as_str().unwrap_or_default()
    }

    pub(crate) fn permission(&self) -> &'static str {
        self.text("x-permission")
    }

    pub(crate) fn takes_json(&self) -> bool {
        self.described
            .pointer("/requestBody/content/application~1json")
            .is_some()
    }

    /// Returns the status of a successful response, or `None` if the operation always refuses.
    pub(crate) fn success(&self) -> Option<u16> {
        let statuses = self.described["responses"].as_object().expect("responses").keys();
        statuses
            .map(|s| s.parse().expect("a status"))
            .find(|s| (200..300).contains(s))
    }

    /// Returns the path, with a name or id that does not exist for each parameter.
    pub(crate) fn absent(&self) -> String {
        self.filled("nowhere", "11111111-2222-4333-8444-555555555555")
    }

    /// Returns the path with this server, and with this id for every other parameter.
    pub(crate) fn filled(&self, server: &str, id: &str) -> String {
        self.path
            .replace("{server}", server)
            .replace("{action}", "enable")
            .replace("{client}", id)
            .replace("{user}", id)
            .replace("{token}", id)
            .replace("{request}", id)
    }

    fn pointer(&self, rest: &str) -> String {
        format!("{PLACE}#/paths/{}/{}{rest}", escaped(self.path), self.method)
    }
}

pub(crate) fn document() -> &'static Value {
    &DOCUMENT
}

pub(crate) fn operations() -> Vec<Operation> {
    let mut found = Vec::new();
    for (path, methods) in DOCUMENT["paths"].as_object().expect("paths") {
        for (method, described) in methods.as_object().expect("methods") {
            found.push(Operation {
                method,
                path,
                described,
            });
        }
    }
    found
}

/// Returns the operation for a request. A path parameter matches one segment; a literal segment takes precedence.
fn operation_of(method: &str, path: &str) -> Option<Operation> {
    let parts: Vec<&str> = path.split('/').collect();
    let matches = |operation: &Operation| {
        let template: Vec<&str> = operation.path.split('/').collect();
        let fits = |(wanted, part): (&&str, &&str)| wanted == part || (wanted.starts_with('{') && !part.is_empty());
        template.len() == parts.len() && template.iter().zip(&parts).all(fits)
    };
    let mut found: Vec<Operation> = operations().into_iter().filter(matches).collect();
    found.sort_by_key(|operation| operation.path.matches('{').count());
    let spelled = found.first()?.path;
    // The router matches the path before the method.
    found
        .into_iter()
        .find(|operation| operation.path == spelled && operation.method.eq_ignore_ascii_case(method))
}

/// The compiled schemas. One instance per thread, because the validator cannot move between threads.
struct Oracle {
    compiler: Compiler,
    schemas: Schemas,
    known: HashMap<String, SchemaIndex>,
}

thread_local! {
    static ORACLE: RefCell<Oracle> = RefCell::new(Oracle::new());
}

impl Oracle {
    fn new() -> Self {
        let mut compiler = Compiler::new();
        compiler.set_default_draft(Draft::V2020_12);
        compiler.enable_format_assertions();
        compiler
            .add_resource(PLACE, DOCUMENT.clone())
            .expect("the document is a resource");
        Self {
            compiler,
            schemas: Schemas::new(),
            known: HashMap::new(),
        }
    }

    fn check(&mut self, pointer: &str, value: &Value) -> Result<(), String> {
        let index = match self.known.get(pointer) {
            Some(index) => *index,
            None => {
                let compiled = self.compiler.compile(pointer, &mut self.schemas);
                let index = compiled.map_err(|error| format!("{pointer}: {error:#}"))?;
                self.known.insert(pointer.to_owned(), index);
                index
            }
        };
        self.schemas
            .validate(value, index)
            .map_err(|error| format!("{value} at {pointer}: {error:#}"))
    }
}

/// Validates `value` against the schema at `pointer` in the document.
pub(crate) fn is_true(pointer: &str, value: &Value) -> Result<(), String> {
    ORACLE.with_borrow_mut(|oracle| oracle.check(pointer, value))
}

/// Validates the example at `place` in `operation` against its schema.
pub(crate) fn example_is_true(operation: &Operation, place: &str) -> Result<(), String> {
    let content = operation.described.pointer(place).expect("the place is there");
    let example = content.get("example").ok_or("no example")?;
    is_true(&format!("{}{place}/schema", operation.pointer("")), example)
}

pub(crate) fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// Checks a response against the document: its status, headers, media type and body must be described.
#[track_caller]
pub(crate) fn check(head: &str, answer: &Answer) {
    let mut words = head.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = target
        .trim_start_matches("http://plane")
        .split('?')
        .next()
        .unwrap_or_default();
    let Some(operation) = operation_of(method, path) else {
        assert!(
            matches!(answer.status, 404 | 405) || method == "HEAD",
            "{method} {path} is not described, but returned {}: {}",
            answer.status,
            answer.text()
        );
        return;
    };
    let shown = format!(
        "{method} {path}: {} {:?}",
        answer.status,
        String::from_utf8_lossy(&answer.body)
    );
    // Errors in the head are reported before the operation is known.
    if HEAD.contains(&answer.status) {
        let problem = format!("{PLACE}#/components/schemas/Problem");
        is_true(&problem, &answer.json()).unwrap_or_else(|error| panic!("{shown}: {error}"));
        return;
    }
    let response = &operation.described["responses"][answer.status.to_string()];
    assert!(
        response.is_object(),
        "the document does not describe this status: {shown}"
    );
    for (name, header) in response["headers"].as_object().expect("headers") {
        let component = header["$ref"]
            .as_str()
            .expect("a shared header")
            .trim_start_matches('#');
        let required = DOCUMENT.pointer(&format!("{component}/required")) == Some(&true.into());
        assert!(!required || answer.header(name).is_some(), "no {name}: {shown}");
    }
    let Some(content) = response.get("content") else {
        assert!(answer.body.is_empty(), "the document describes no body: {shown}");
        return;
    };
    let media_type = answer.header("content-type").unwrap_or_default();
    assert!(
        content.get(media_type).is_some(),
        "{media_type:?} is not described: {shown}"
    );
    if media_type.ends_with("json") {
        let place = format!("/responses/{}/content/{}/schema", answer.status, escaped(media_type));
        // The body of a response that a test cut off cannot be parsed.
        if let Ok(body) = serde_json::from_slice(&answer.body) {
            is_true(&operation.pointer(&place), &body).unwrap_or_else(|error| panic!("{shown}: {error}"));
        }
    }
}
