//! Path tricks: no spelling of a path bypasses authentication.

use crate::api::matrix::{asking, fleet};
use crate::support::client::request;
use crate::support::document::operations;
use crate::support::plane::TestPlane;

/// WGDashboard skipped authentication for every path that contained a public one (CVE-2026-44343).
#[test]
fn cve_2026_44343_no_spelling_of_a_path_bypasses_the_token() {
    let fleet = fleet();
    let (plane, mut tried) = (&fleet.plane, 0);
    for operation in operations()
        .iter()
        .filter(|operation| operation.permission() != "anyone")
    {
        let path = operation.filled("los-angeles", "11111111-2222-4333-8444-555555555555");
        let inner = path.strip_prefix("/api").unwrap_or(&path);
        let first = inner.split('/').nth(1).unwrap();
        let tricks = [
            format!("/{path}"),
            format!("//api{inner}"),
            format!("/api/{inner}"),
            format!("/./api{inner}"),
            format!("/api/.{inner}"),
            format!("/api/x/..{inner}"),
            format!("/api/login/..{inner}"),
            format!("/healthz/..{path}"),
            format!("/%2e{path}"),
            format!("/api%2f{}", inner.trim_start_matches('/')),
            format!("/api/%2e%2e{path}"),
            format!("/login%2f..{path}"),
            format!("{path}/"),
            format!("{path}//"),
            format!("{path}/."),
            format!("{path};x"),
            format!("{path};/healthz"),
            format!("{path}%00"),
            format!("{path}%20"),
            format!("{path}.json"),
            format!("{path}?/healthz"),
            format!("{path}?x=/api/login"),
            format!("{path}%3f/healthz"),
            format!("/healthz{path}"),
            format!("/api/login{inner}"),
            format!("/static{path}"),
            format!("/api/static{inner}"),
            format!("/api/x/static/{first}"),
            format!("/client{path}"),
            format!("/fileDownload?file=../..{path}"),
            path.to_uppercase(),
            format!("/API{inner}"),
            format!("http://plane{path}"),
        ];
        for trick in tricks {
            for (name, credential) in [("nothing", None), ("garbage", Some("Bearer garbage".to_owned()))] {
                let answer = asking(operation, &trick, credential.as_ref()).send(plane.address);
                let is_refused = matches!(answer.status, 400 | 401 | 404 | 405);
                assert!(
                    is_refused,
                    "{} {trick} with {name}: {}",
                    operation.method, answer.status
                );
                assert_eq!(
                    answer.header("content-type"),
                    Some("application/problem+json"),
                    "{trick}"
                );
                tried += 1;
            }
        }
    }
    assert!(tried > 2000, "{tried}");
}

#[test]
fn no_debugging_or_shutdown_route_is_served() {
    let plane = TestPlane::start();
    for path in [
        "/debug",
        "/debug/pprof/",
        "/debug/vars",
        "/pprof",
        "/api/debug",
        "/api/shutdown",
        "/shutdown",
        "/api/server/shutdown",
        "/api/exec",
        "/api/config",
        "/api/env",
        "/actuator",
        "/swagger",
        "/docs",
        "/graphql",
        "/server-status",
        "/.git/config",
        "/.env",
        "/static/",
        "/api/static/app.js",
        "/console",
        "/trace",
    ] {
        for method in ["GET", "POST", "TRACE"] {
            let answer = request(method, path).send(plane.address);
            assert!(
                matches!(answer.status, 400 | 404 | 405),
                "{method} {path}: {}",
                answer.status
            );
        }
    }
}
