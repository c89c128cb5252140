//! The table of routes: every endpoint with its description.
//!
//! Owns paths and descriptions. It must not repeat the permissions, parameters, bodies and responses that come from
//! the handlers' own types (`openapi`).

use schemars::json_schema;
use serde_json::{Value, json};
use wgctl::api::{ApiTokenCreated, Head, HistoryPoint, Peer, ServerCreated, User};
use wgctl::backup::MEDIA_TYPE as BACKUP;
use wgctl::protocol::path;
use wgctl::{PeerId, ServerId, Timestamp};

use super::audit::export;
use super::peers::{configuration, qr_svg};
use super::people::{api_tokens, login, own_account, session_keys, users};
use super::{agents, audit, backup, health, history, metrics, openapi, peers, servers, statuses};
use crate::http::openapi::{Operation, Shape, Table, of, op};
use crate::http::problem::Kind;

pub(crate) fn table() -> Table {
    let table = plane_routes(session_routes(Table::new()));
    let table = people_and_audit_routes(server_routes(peer_routes(status_routes(table))));
    agent_routes(table)
}

fn session_routes(table: Table) -> Table {
    table
        .tag("session")
        .post(
            "/api/login",
            login::login,
            op("login", "Exchange an email and a password for a token")
                .about("A wrong password, an unknown email and a disabled user look the same.")
                .may(&[
                    Kind::InvalidCredentials,
                    Kind::TooManyRequests,
                    Kind::Overloaded,
                    Kind::StorageUnavailable,
                ]),
        )
        .post(
            "/api/logout",
            own_account::logout,
            op("logout", "End all of the caller's sessions"),
        )
        .post(
            "/api/password",
            own_account::change_password,
            op("changePassword", "Change the caller's password")
                .about("This ends all of the caller's sessions. The current password is required.")
                .may(&[Kind::TooManyRequests, Kind::Overloaded]),
        )
}

fn plane_routes(table: Table) -> Table {
    table
        .tag("plane")
        .get(
            "/healthz",
            health::alive,
            op("alive", "Report that the process is running"),
        )
        .get(
            "/readyz",
            health::ready,
            op("ready", "Report that changes can be made").may(&[Kind::StorageUnavailable]),
        )
        .get(
            "/api/openapi.json",
            openapi::show,
            op("openapi", "This document").gives_object(),
        )
        .get(
            "/metrics",
            metrics::show,
            op("metrics", "The metrics, in the Prometheus format").file(
                "text/plain; version=0.0.4; charset=utf-8",
                Some("# TYPE sentrazone_plane_build_info gauge\n"),
            ),
        )
        .tag("backup")
        .get(
            "/api/backup",
            backup::create,
            op("backUp", "A consistent backup of all records")
                .file(BACKUP, None)
                .with_header("Content-Disposition")
                .may(&[Kind::Overloaded, Kind::TooManyRequests])
                .audited(),
        )
        .post(
            "/api/restore",
            backup::restore,
            op(
                "restore",
                "Replace all records with the ones from a backup, completely or not at all",
            )
            .body(BACKUP)
            .may(&[
                Kind::BadRequest,
                Kind::RequestTimeout,
                Kind::BodyTooLarge,
                Kind::UnsupportedMediaType,
                Kind::InvalidBackup,
                Kind::Overloaded,
            ]),
        )
}

fn status_routes(table: Table) -> Table {
    table
        .tag("statuses")
        .get(
            "/api/statuses",
            statuses::list,
            op(
                "listStatuses",
                "The latest state of every server, including those that have never reported",
            )
            .about("`online` becomes false after three report intervals without a report."),
        )
        .get(
            "/api/history",
            history::list,
            op("listHistory", "The measurements, oldest first, streamed")
                .about("Measurements are kept for 72 hours.")
                .query::<ServerId>("server_id", "Only measurements from this server.")
                .query::<Timestamp>("since", "Only measurements from this time on.")
                .query::<Timestamp>("until", "Only measurements before this time.")
                .query_of(
                    "step",
                    integer(60, Some(86_400), Some(300)),
                    "The length of a step, in seconds.",
                )
                .gives::<Vec<HistoryPoint>>()
                .may(&[Kind::NotFound]),
        )
}

fn peer_routes(table: Table) -> Table {
    const CLIENTS: &str = "/api/wg-clients/{server}";
    const CLIENT: &str = "/api/wg-clients/{server}/{client}";
    const QRCODE: &str = "/api/wg-clients/{server}/{client}/qrcode";
    const CONFIGURATION: &str = "/api/wg-clients/{server}/{client}/configuration";
    table
        .tag("clients")
        .get(
            CLIENTS,
            peers::list,
            op("listClients", "A server's clients, in order of creation")
                .query::<String>(
                    "q",
                    "Only clients whose name contains this text, ignoring case, or with exactly this address, key or \
                     id.",
                )
                .query_of(
                    "limit",
                    integer(1, None, None),
                    "The maximum number of clients; all clients if absent.",
                )
                .query_of(
                    "after",
                    after(),
                    "Only clients after this id or position, as given in `Link`.",
                )
                .gives::<Vec<Peer>>()
                .with_header("Link"),
        )
        .post(
            CLIENTS,
            peers::create,
            op("createClient", "Create a client")
                .about(
                    "Only `name` is required. Waits up to three seconds for the agent: `applied` is true \
                     if the kernel has the client.",
                )
                .creates::<Peer>()
                .may(&[
                    Kind::NameTaken,
                    Kind::AddressTaken,
                    Kind::OverlappingNetworks,
                    Kind::PublicKeyTaken,
                    Kind::PoolExhausted,
                    Kind::AgentOffline,
                ]),
        )
        .get(CLIENT, peers::show, op("showClient", "One client"))
        .patch(
            CLIENT,
            peers::update,
            op("updateClient", "Change a client; absent fields stay as they are")
                .may(&[Kind::NameTaken, Kind::OverlappingNetworks]),
        )
        .delete(CLIENT, peers::remove, op("removeClient", "Remove a client"))
        .get(
            QRCODE,
            qr_svg::show,
            op(
                "showClientQrcode",
                "A client's configuration as a QR code in SVG, for a phone to scan",
            )
            .file(
                "image/svg+xml",
                Some("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<svg …/>\n"),
            )
            .may(&[
                Kind::PrivateKeyNotHeld,
                Kind::QrcodeTooLarge,
                Kind::AgentOffline,
                Kind::TooManyRequests,
            ])
            .audited(),
        )
        .post(QRCODE, peers::no_such_action, no_such_action("refuseQrcodeAsAction"))
        .get(
            CONFIGURATION,
            configuration::show,
            op(
                "showClientConfiguration",
                "A client's wg-quick configuration, as a file",
            )
            .file("text/plain; charset=utf-8", Some("[Interface]\nPrivateKey = …\n"))
            .with_header("Content-Disposition")
            .may(&[Kind::AgentOffline, Kind::TooManyRequests])
            .audited(),
        )
        .post(
            CONFIGURATION,
            peers::no_such_action,
            no_such_action("refuseConfigurationAsAction"),
        )
        .post(
            "/api/wg-clients/{server}/{client}/{action}",
            peers::act,
            op("actOnClient", "Enable or disable a client")
                .about("Idempotent. The change is recorded even while the agent is offline. Other actions are refused.")
                .id_of("server", Shape::Of(of::<ServerId>))
                .id_of("client", Shape::Of(of::<PeerId>))
                .id_of(
                    "action",
                    Shape::Json(json!({ "type": "string", "enum": ["enable", "disable"] })),
                )
                .may(&[Kind::InvalidAction]),
        )
}

/// Describes a POST to a path under a client that is not an action.
fn no_such_action(id: &'static str) -> Operation {
    op(id, "Always refused: this path is read with GET and is not an action")
        .id_of("server", Shape::Json(json!({ "type": "string" })))
        .id_of("client", Shape::Json(json!({ "type": "string" })))
        .may(&[Kind::InvalidAction, Kind::NotFound])
}

fn server_routes(table: Table) -> Table {
    const SERVERS: &str = "/api/servers";
    const SERVER: &str = "/api/servers/{server}";
    table
        .tag("servers")
        .get(SERVERS, servers::list, op("listServers", "All servers, ordered by id"))
        .post(
            SERVERS,
            servers::create,
            op("createServer", "Register a server; its agent token is shown only once")
                .creates::<ServerCreated>()
                .may(&[Kind::ServerExists]),
        )
        .get(SERVER, servers::show, op("showServer", "One server"))
        .patch(
            SERVER,
            servers::update,
            op("updateServer", "Change a server; absent fields stay as they are")
                .about("The pool cannot be changed. Existing clients keep the values that they were given."),
        )
        .delete(
            SERVER,
            servers::remove,
            op("removeServer", "Remove a server and its clients").about("The host's tunnels are left as they are."),
        )
        .post(
            "/api/servers/{server}/token",
            servers::rotate_token,
            op("rotateAgentToken", "Create a new agent token, which is shown only once").about(
                "The old token becomes invalid at once. With `grace_seconds`, it becomes invalid as soon as the agent \
                 uses the new one, but after that time at the latest.",
            ),
        )
}

fn people_and_audit_routes(table: Table) -> Table {
    const USERS: &str = "/api/users";
    const USER: &str = "/api/users/{user}";
    const TOKENS: &str = "/api/tokens";
    table
        .tag("users")
        .get(USERS, users::list, op("listUsers", "All users, in order of creation"))
        .post(
            USERS,
            users::create,
            op("createUser", "Create a user")
                .creates::<User>()
                .may(&[Kind::UserExists, Kind::Overloaded]),
        )
        .patch(
            USER,
            users::update,
            op("updateUser", "Change a user; absent fields stay as they are")
                .about(
                    "Changing the role or the password and disabling the user end the user's sessions. The last \
                     enabled admin cannot be disabled or demoted.",
                )
                .may(&[Kind::LastAdmin, Kind::Overloaded]),
        )
        .delete(
            USER,
            users::remove,
            op("removeUser", "Remove a user; the last enabled admin cannot be removed").may(&[Kind::LastAdmin]),
        )
        .tag("tokens")
        .get(
            TOKENS,
            api_tokens::list,
            op("listTokens", "All API tokens, in order of creation"),
        )
        .post(
            TOKENS,
            api_tokens::create,
            op("createToken", "Create an API token; its text is shown only once")
                .creates::<ApiTokenCreated>()
                .may(&[Kind::TokenExists]),
        )
        .delete(
            "/api/tokens/{token}",
            api_tokens::remove,
            op("removeToken", "Revoke an API token; it becomes invalid at once"),
        )
        .post(
            "/api/keys/rotate",
            session_keys::rotate,
            op("rotateKey", "Sign sessions with a new key from now on")
                .about("Sessions signed with the old key remain valid until they expire; then the key is erased."),
        )
        .tag("audit")
        .get(
            "/api/audit",
            audit::list,
            op("listAudit", "The audit log, newest first")
                .query_of(
                    "limit",
                    integer(1, Some(1000), Some(100)),
                    "The maximum number of records.",
                )
                .query_of(
                    "offset",
                    integer(0, None, Some(0)),
                    "The number of matching records to skip.",
                )
                .query::<String>("actor", "Only records with exactly this actor.")
                .query::<String>("action", "Only records with exactly this action.")
                .query::<String>("target", "Only records with this target or a target below it.")
                .query::<Timestamp>("since", "Only records from this time on.")
                .query::<Timestamp>("until", "Only records before this time."),
        )
        .get(
            "/api/audit/key",
            audit::key,
            op("showAuditKey", "The public key that verifies the log's checkpoints"),
        )
        .get(
            "/api/audit/verify",
            audit::verify,
            op(
                "verifyAudit",
                "Verify that the log is intact; otherwise, name the first faulty record",
            )
            .query::<Head>(
                "head",
                "A record that the log must contain: the `head` from an earlier verification.",
            )
            .may(&[Kind::Overloaded]),
        )
        .get(
            "/api/audit/export",
            export::whole,
            op(
                "exportAudit",
                "The whole audit log, oldest first, streamed: as CSV (RFC 4180) or JSON Lines",
            )
            .query_of(
                "format",
                json!({ "type": "string", "enum": ["csv", "jsonl"], "default": "csv" }),
                "`csv`, or `jsonl`, which includes the log's checkpoints.",
            )
            .file(
                "text/csv; charset=utf-8; header=present",
                Some("id,actor,action,target,ip,created_at,detail\r\n"),
            )
            .or_file("application/jsonl", "{\"kind\":\"record\",\"id\":1,…}\n")
            .with_header("Content-Disposition"),
        )
}

fn agent_routes(table: Table) -> Table {
    table
        .tag("agent")
        .post(
            path::HELLO,
            agents::hello,
            op("agentHello", "Introduce the agent; the first request after connecting").may(&[
                Kind::PublicKeyTaken,
                Kind::NotFound,
                Kind::TooManyRequests,
            ]),
        )
        .get(
            path::DESIRED,
            agents::desired,
            op("agentDesired", "Long-poll for the desired state, up to `wait` seconds")
                .about("Unknown parameters are ignored, because newer agents may send more.")
                .query_of(
                    "revision",
                    integer(0, None, Some(0)),
                    "The revision that the agent has; 0 if it has none.",
                )
                .query::<wgctl::name::Incarnation>("incarnation", "The incarnation of that revision.")
                .query_of(
                    "wait",
                    integer(0, Some(u64::from(u32::MAX)), Some(0)),
                    "The maximum wait, in seconds; values above 60 mean 60.",
                )
                .may(&[Kind::NotFound]),
        )
        .get(
            path::ADOPTION,
            agents::terms,
            op("agentTerms", "The recorded state for the host; changes nothing").may(&[Kind::NotFound]),
        )
        .post(
            path::ADOPTION,
            agents::adopt,
            op("agentAdopt", "Record an existing interface as it is")
                .query_of(
                    "dry_run",
                    json!({ "type": "boolean", "default": false }),
                    "Plan the adoption without carrying it out.",
                )
                .may(&[Kind::NotFound, Kind::AdoptionNotAwaited, Kind::AdoptionRefused])
                .audited(),
        )
        .post(
            path::APPLIED,
            agents::applied,
            op("agentApplied", "Confirm a revision").may(&[Kind::NotFound]),
        )
        .post(
            path::DRIFT,
            agents::drift,
            op("agentDrift", "Report external changes to the interface")
                .may(&[Kind::NotFound])
                .audited(),
        )
        .post(
            path::PREKEYS,
            agents::prekeys,
            op("agentPrekeys", "Deliver fresh sealed keys for future clients").may(&[Kind::NotFound]),
        )
        .post(
            &format!("{}/{{request}}", path::REPLIES),
            agents::reply,
            op("agentReply", "Reply to a question that only the agent can answer"),
        )
        .post(
            path::REPORT,
            agents::report,
            op("report", "Report an agent's measurements")
                .about(
                    "`server_id`, `ping_ms`, `peers`, `transfer_rx` and `transfer_tx` are sufficient. Unknown fields \
                     are ignored.",
                )
                .may(&[Kind::Forbidden, Kind::NotFound]),
        )
}

/// Returns the schema of an integer in a query.
fn integer(least: u64, most: Option<u64>, default: Option<u64>) -> Value {
    let mut schema = json!({ "type": "integer", "minimum": least, "maximum": most.unwrap_or(u64::MAX) });
    if let (Some(default), Some(object)) = (default, schema.as_object_mut()) {
        object.insert("default".to_owned(), default.into());
    }
    schema
}

fn after() -> Value {
    let id = json_schema!({ "type": "string", "format": "uuid" });
    json!({ "anyOf": [id, { "type": "integer", "minimum": 0, "maximum": u64::MAX }] })
}
