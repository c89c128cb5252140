//! The parts of the document that many operations share.
//!
//! Owns words that no type can say. It must not name a route.

use serde_json::{Value, json};

pub(super) const DESCRIPTION: &str = "JSON in and out, UTF-8. Every error is a problem report (RFC 9457) with a stable \
`code` and a `detail` that says what to do next. Every answer has an `X-Request-Id`, which the plane's log repeats. \
HEAD is answered wherever GET is.";

pub(super) fn tags() -> Value {
    json!([
        { "name": "session", "description": "Logging in and out." },
        { "name": "statuses", "description": "What goes on." },
        { "name": "clients", "description": "The peers of a server." },
        { "name": "servers", "description": "VPN servers and their agents' tokens." },
        { "name": "users", "description": "The people." },
        { "name": "tokens", "description": "The tokens of programs, and the keys that sign sessions." },
        { "name": "audit", "description": "Who did what." },
        { "name": "backup", "description": "Everything that is recorded, out and in." },
        { "name": "agent", "description": "What agents and plane say to each other, each under its own server's token." },
        { "name": "plane", "description": "The plane itself." },
    ])
}

pub(super) fn security() -> Value {
    json!({
        "session": {
            "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
            "description": "A person's token from POST /api/login, good for 24 hours, with their role."
        },
        "apiToken": {
            "type": "http", "scheme": "bearer", "bearerFormat": "szapi_…",
            "description": "A program's token from POST /api/tokens, with its role, for all servers or some."
        },
        "agentToken": {
            "type": "http", "scheme": "bearer", "bearerFormat": "szagent_…",
            "description": "One server's agent token: good for that server's agent endpoints and nothing else."
        },
    })
}

pub(super) fn headers() -> Value {
    json!({
        "RequestId": {
            "description": "What the plane's log calls this request.",
            "required": true,
            "schema": { "type": "string", "format": "uuid" }
        },
        "Authenticate": {
            "description": "Which kind of token is wanted (RFC 6750).",
            "required": true,
            "schema": { "type": "string", "pattern": "^Bearer" }
        },
        "RetryAfter": {
            "description": "Seconds after which to try again, where waiting helps.",
            "schema": { "type": "integer", "minimum": 1 }
        },
        "Location": {
            "description": "The path of what was made.",
            "required": true,
            "schema": { "type": "string" }
        },
        "Link": {
            "description": "The next page (RFC 8288, `rel=\"next\"`), where there is one.",
            "schema": { "type": "string" }
        },
        "Disposition": {
            "description": "An attachment and its file name (RFC 6266).",
            "required": true,
            "schema": { "type": "string", "pattern": "^attachment; filename=" }
        },
    })
}
