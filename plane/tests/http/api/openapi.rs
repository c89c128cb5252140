//! The OpenAPI document: valid, complete, and consistent with the served API.

use std::collections::BTreeSet;
use std::path::Path;

use boon::{Compiler, Draft, Schemas};
use serde_json::Value;

use crate::support::client::request;
use crate::support::document::{document, example_is_true, operations};
use crate::support::plane::TestPlane;

/// All served routes and their permissions. This file must be changed when a route is added or removed.
const ROUTES: &str = include_str!("routes.txt");

#[test]
fn the_served_routes_match_the_list() {
    let found: String = operations()
        .iter()
        .map(|operation| {
            let (method, path) = (operation.method.to_uppercase(), operation.path);
            format!("{:6} {method:6} {path}\n", operation.permission())
        })
        .collect();
    assert_eq!(found, ROUTES, "routes.txt differs from the served routes:\n{found}");
}

#[test]
fn only_the_table_adds_routes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            if path.extension().is_none_or(|end| end != "rs") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            for makes in [
                ".route(",
                ".nest(",
                ".route_service(",
                ".nest_service(",
                ".merge(",
                "Router::new()",
            ] {
                if text.contains(makes) {
                    found.insert(path.file_name().unwrap().to_str().unwrap().to_owned());
                }
            }
        }
    }
    assert_eq!(found, BTreeSet::from(["table.rs".to_owned()]));
}

#[test]
fn the_document_is_served_to_anyone() {
    let plane = TestPlane::start();
    let answer = request("GET", "/api/openapi.json").send(plane.address);
    assert_eq!(&answer.expect(200), document());
    assert_eq!(answer.header("content-type"), Some("application/json"));
}

#[test]
fn the_document_is_valid_openapi_3_1() {
    let standard: Value = serde_json::from_str(include_str!("openapi-3.1.json")).unwrap();
    let place = standard["$id"].as_str().unwrap().to_owned();
    let mut compiler = Compiler::new();
    compiler.set_default_draft(Draft::V2020_12);
    compiler.add_resource(&place, standard).unwrap();
    let mut schemas = Schemas::new();
    let standard = compiler.compile(&place, &mut schemas).unwrap();
    if let Err(error) = schemas.validate(document(), standard) {
        panic!("{error:#}");
    }
    // The OpenAPI schema does not check the schemas in the document; their dialect's schema does.
    let dialect = compiler
        .compile("https://json-schema.org/draft/2020-12/schema", &mut schemas)
        .unwrap();
    for (name, schema) in document()["components"]["schemas"].as_object().unwrap() {
        if let Err(error) = schemas.validate(schema, dialect) {
            panic!("{name}: {error:#}");
        }
    }
}

#[test]
fn every_operation_is_fully_described() {
    let tags: BTreeSet<&str> = document()["tags"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tag| tag["name"].as_str().unwrap())
        .collect();
    let mut ids = BTreeSet::new();
    for operation in operations() {
        let id = operation.text("operationId");
        assert!(ids.insert(id), "{id} occurs twice");
        assert!(!operation.text("summary").is_empty(), "{id}");
        assert!(tags.contains(operation.described["tags"][0].as_str().unwrap()), "{id}");
        let refused = id.starts_with("refuse");
        assert_eq!(
            operation.success().is_none(),
            refused,
            "{id}: only operations that are always refused have no success response"
        );
        let security = operation.described["security"].as_array().unwrap();
        assert_eq!(security.is_empty(), operation.permission() == "anyone", "{id}");
        for scheme in security.iter().flat_map(|scheme| scheme.as_object().unwrap().keys()) {
            assert!(
                document()["components"]["securitySchemes"][scheme].is_object(),
                "{id}: {scheme}"
            );
        }
        let named: BTreeSet<&str> = operation
            .path
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
            .collect();
        let parameters = operation.described["parameters"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let described: BTreeSet<&str> = parameters
            .iter()
            .filter(|parameter| parameter["in"] == "path")
            .map(|parameter| parameter["name"].as_str().unwrap())
            .collect();
        assert_eq!(
            named, described,
            "{id}: the document must describe exactly the path parameters"
        );
        for parameter in parameters.iter().filter(|parameter| parameter["in"] != "path") {
            assert!(parameter["description"].is_string(), "{id}: {parameter}");
        }
    }
}

#[test]
fn every_reference_resolves_and_no_schema_is_unused() {
    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(object) => {
                found.extend(object.get("$ref").and_then(Value::as_str).map(str::to_owned));
                object.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let mut found = BTreeSet::new();
    references(document(), &mut found);
    for reference in &found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document().pointer(pointer).is_some(), "{reference} does not resolve");
    }
    for name in document()["components"]["schemas"].as_object().unwrap().keys() {
        assert!(
            found.contains(&format!("#/components/schemas/{name}")),
            "{name} is not used"
        );
    }
}

#[test]
fn every_example_matches_its_schema() {
    let (mut count, mut wrong) = (0, Vec::new());
    for operation in operations() {
        let mut places = Vec::new();
        if let Some(content) = operation.described.pointer("/requestBody/content") {
            places.extend(
                content
                    .as_object()
                    .unwrap()
                    .keys()
                    .map(|media| ("/requestBody".to_owned(), media)),
            );
        }
        for (status, response) in operation.described["responses"].as_object().unwrap() {
            let content = response.get("content").and_then(Value::as_object);
            for media in content.into_iter().flat_map(|content| content.keys()) {
                places.push((format!("/responses/{status}"), media));
            }
        }
        for (place, media) in places {
            if media == wgctl::backup::MEDIA_TYPE {
                continue;
            }
            let place = format!("{place}/content/{}", crate::support::document::escaped(media));
            count += 1;
            if let Err(error) = example_is_true(&operation, &place) {
                wrong.push(format!("{} {place}: {error}", operation.text("operationId")));
            }
        }
    }
    assert!(wrong.is_empty() && count > 200, "{count} examples: {wrong:#?}");
}

#[test]
fn unknown_fields_are_refused_exactly_where_the_document_says_so() {
    let plane = TestPlane::start();
    let admin = plane.admin();
    let agent = plane.add_server(&admin, "los-angeles");
    for operation in operations().iter().filter(|operation| operation.takes_json()) {
        let media = &operation.described["requestBody"]["content"]["application/json"];
        let name = media["schema"]["$ref"].as_str().unwrap().rsplit('/').next().unwrap();
        let schema = &document()["components"]["schemas"][name];
        let closed = schema["additionalProperties"] == false;
        let mut body = media["example"].clone();
        body["thereIsNoSuchField"] = 1.into();
        let token = if operation.permission() == "agent" {
            &agent
        } else {
            &admin
        };
        let (method, path) = (operation.method.to_uppercase(), operation.absent());
        let answer = request(&method, &path).token(token).json(&body).send(plane.address);
        let refused = answer.status == 422 && answer.json()["code"] == "unknown_field";
        assert_eq!(refused, closed, "{method} {path}: {}", answer.text());
    }
}

#[test]
fn query_parameters_are_accepted_as_documented() {
    let plane = TestPlane::start();
    let admin = plane.admin();
    let agent = plane.add_server(&admin, "los-angeles");
    for operation in operations().iter().filter(|operation| operation.method == "get") {
        let token = if operation.permission() == "agent" {
            &agent
        } else {
            &admin
        };
        let path = operation.filled("los-angeles", "11111111-2222-4333-8444-555555555555");
        let parameters = operation.described["parameters"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let query: Vec<&Value> = parameters
            .iter()
            .filter(|parameter| parameter["in"] == "query")
            .collect();
        let ask = |pair: &str| {
            request("GET", &format!("{path}?{pair}"))
                .token(token)
                .send(plane.address)
        };
        if query.is_empty() {
            continue;
        }
        let open = operation.text("operationId") == "agentDesired";
        let unknown = ask("thereIsNoSuchParameter=1");
        assert_eq!(unknown.status, if open { 200 } else { 422 }, "{path}");
        for parameter in query {
            let name = parameter["name"].as_str().unwrap();
            let known = ask(&format!("{name}="));
            if known.status == 422 {
                assert_eq!(known.json()["code"], "invalid_field", "{path} does not accept {name}");
                assert_eq!(known.json()["field"], name, "{path}");
            }
        }
    }
}

#[test]
fn every_query_parameter_that_a_handler_takes_is_described() {
    let mut taken = BTreeSet::new();
    let mut paths = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http")];
    while let Some(path) = paths.pop() {
        if path.is_dir() {
            paths.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        if path.extension().is_none_or(|end| end != "rs") {
            continue;
        }
        let text = std::fs::read_to_string(path).unwrap();
        for call in text.split("parameters.take").skip(1) {
            let name = call
                .split('(')
                .nth(1)
                .and_then(|rest| rest.strip_prefix('"'))
                .and_then(|rest| rest.split('"').next());
            taken.extend(name.map(str::to_owned));
        }
    }
    let described: BTreeSet<String> = operations()
        .iter()
        .flat_map(|operation| {
            operation.described["parameters"]
                .as_array()
                .cloned()
                .unwrap_or_default()
        })
        .filter(|parameter| parameter["in"] == "query")
        .map(|parameter| parameter["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(taken, described);
    assert!(taken.len() > 10, "{taken:?}");
}
