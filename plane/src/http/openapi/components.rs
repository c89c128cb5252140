//! The parts of the OpenAPI document that many operations share.
//!
//! Owns the descriptions that do not come from types. It must not name a route.

use serde_json::{Value, json};

pub(super) const DESCRIPTION: &str = "Requests and responses are JSON in UTF-8. Every error is a problem \
report (RFC 9457) with a stable `code` and a `detail` that says what to do next. Every response has an \
`X-Request-Id`, which also appears in the plane's log. HEAD is supported wherever GET is.";

pub(super) fn tags() -> Value {
    json!([
        { "name": "session", "description": "Logging in and out." },
        { "name": "statuses", "description": "The current and past state of the servers." },
        { "name": "clients", "description": "The peers of a server." },
        { "name": "servers", "description": "VPN servers and their agents' tokens." },
        { "name": "users", "description": "The users." },
        { "name": "tokens", "description": "API tokens for programs, and the keys that sign sessions." },
        { "name": "audit", "description": "The record of who did what." },
        { "name": "backup", "description": "Backup and restore of all records." },
        { "name": "agent", "description": "Requests from agents, each authenticated by its own server's token." },
        { "name": "plane", "description": "The plane itself." },
    ])
}

pub(super) fn security() -> Value {
    json!({
        "session": {
            "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
            "description": "A person's token from POST /api/login, with their role, valid for 24 hours."
        },
        "apiToken": {
            "type": "http", "scheme": "bearer", "bearerFormat": "szapi_…",
            "description": "A program's token from POST /api/tokens, with its role, for all servers or for some."
        },
        "agentToken": {
            "type": "http", "scheme": "bearer", "bearerFormat": "szagent_…",
            "description": "One server's agent token, valid for that server's agent endpoints and nothing else."
        },
    })
}

pub(super) fn headers() -> Value {
    json!({
        "RequestId": {
            "description": "The id of this request in the plane's log.",
            "required": true,
            "schema": { "type": "string", "format": "uuid" }
        },
        "Authenticate": {
            "description": "The kind of token that is required (RFC 6750).",
            "required": true,
            "schema": { "type": "string", "pattern": "^Bearer" }
        },
        "RetryAfter": {
            "description": "The number of seconds after which to try again, if waiting helps.",
            "schema": { "type": "integer", "minimum": 1 }
        },
        "Location": {
            "description": "The path of the created object.",
            "required": true,
            "schema": { "type": "string" }
        },
        "Link": {
            "description": "The next page (RFC 8288, `rel=\"next\"`), if there is one.",
            "schema": { "type": "string" }
        },
        "Disposition": {
            "description": "An attachment and its file name (RFC 6266).",
            "required": true,
            "schema": { "type": "string", "pattern": "^attachment; filename=" }
        },
    })
}
