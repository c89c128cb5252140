//! The table of routes: everything that is served, each with its description.
//!
//! Owns paths and words. Who may call, what is taken and what is answered the handlers' own types
//! say (`openapi`); it must not say it again.

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
            op("login", "A token for an email and a password")
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
            op("logout", "End all of one's own sessions"),
        )
        .post(
            "/api/password",
            own_account::change_password,
            op("changePassword", "Change one's own password")
                .about("Ends all of one's sessions. The password that is valid now is asked again.")
                .may(&[Kind::TooManyRequests, Kind::Overloaded]),
        )
}

fn plane_routes(table: Table) -> Table {
    table
        .tag("plane")
        .get("/healthz", health::alive, op("alive", "The process answers"))
        .get(
            "/readyz",
            health::ready,
            op("ready", "Changes can be made").may(&[Kind::StorageUnavailable]),
        )
        .get(
            "/api/openapi.json",
            openapi::show,
            op("openapi", "This document").gives_object(),
        )
        .get(
            "/metrics",
            metrics::show,
            op("metrics", "What is measured, for Prometheus").file(
                "text/plain; version=0.0.4; charset=utf-8",
                Some("# TYPE sentrazone_plane_build_info gauge\n"),
            ),
        )
        .tag("backup")
        .get(
            "/api/backup",
            backup::create,
            op("backUp", "Everything that is recorded, as of one moment")
                .file(BACKUP, None)
                .with_header("Content-Disposition")
                .may(&[Kind::Overloaded, Kind::TooManyRequests])
                .audited(),
        )
        .post(
            "/api/restore",
            backup::restore,
            op("restore", "All of a backup replaces what is recorded, or none")
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
                "The latest state of every server, also of those that never reported",
            )
            .about("`online` ends when three report intervals pass in silence."),
        )
        .get(
            "/api/history",
            history::list,
            op("listHistory", "What was measured, oldest first, streamed")
                .about("What is older than 72 hours is not kept.")
                .query::<ServerId>("server_id", "Only this server.")
                .query::<Timestamp>("since", "From this moment on.")
                .query::<Timestamp>("until", "Before this moment.")
                .query_of("step", integer(60, Some(86_400), Some(300)), "Seconds in a point.")
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
            op("listClients", "A server's clients, in the order of creation")
                .query::<String>("q", "Only those whose name contains this, whatever the case; or with exactly this address, key or id.")
                .query_of("limit", integer(1, None, None), "A page of at most this many; all when absent.")
                .query_of("after", after(), "Only those made after this client, or after this place: as `Link` names it.")
                .gives::<Vec<Peer>>()
                .with_header("Link"),
        )
        .post(
            CLIENTS,
            peers::create,
            op("createClient", "Make a client")
                .about("Only `name` is required. Waits up to three seconds for the agent: `applied` says whether the kernel has it.")
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
            op("updateClient", "Change a client: what is absent stays")
                .may(&[Kind::NameTaken, Kind::OverlappingNetworks]),
        )
        .delete(CLIENT, peers::remove, op("removeClient", "Remove a client"))
        .get(
            QRCODE,
            qr_svg::show,
            op("showClientQrcode", "A client's configuration as an SVG that a phone scans")
                .file("image/svg+xml", Some("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<svg …/>\n"))
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
            op("showClientConfiguration", "A client's wg-quick configuration, as a file")
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
                .about("Idempotent, and recorded while the agent is offline. Every other action is refused.")
                .id_of("server", Shape::Of(of::<ServerId>))
                .id_of("client", Shape::Of(of::<PeerId>))
                .id_of("action", Shape::Json(json!({ "type": "string", "enum": ["enable", "disable"] })))
                .may(&[Kind::InvalidAction]),
        )
}

/// A name below a client that is no action on it.
fn no_such_action(id: &'static str) -> Operation {
    op(id, "Always refused: it is seen with GET, and no action")
        .id_of("server", Shape::Json(json!({ "type": "string" })))
        .id_of("client", Shape::Json(json!({ "type": "string" })))
        .may(&[Kind::InvalidAction, Kind::NotFound])
}

fn server_routes(table: Table) -> Table {
    const SERVERS: &str = "/api/servers";
    const SERVER: &str = "/api/servers/{server}";
    table
        .tag("servers")
        .get(SERVERS, servers::list, op("listServers", "All servers, by id"))
        .post(
            SERVERS,
            servers::create,
            op(
                "createServer",
                "Register a server; its agent's token is shown this once",
            )
            .creates::<ServerCreated>()
            .may(&[Kind::ServerExists]),
        )
        .get(SERVER, servers::show, op("showServer", "One server"))
        .patch(
            SERVER,
            servers::update,
            op("updateServer", "Change a server: what is absent stays")
                .about("The pool is fixed. Clients that exist keep what they were given."),
        )
        .delete(
            SERVER,
            servers::remove,
            op("removeServer", "Remove a server with its clients").about("The host's tunnels are left as they are."),
        )
        .post(
            "/api/servers/{server}/token",
            servers::rotate_token,
            op(
                "rotateAgentToken",
                "A new agent token, shown this once",
            )
            .about("The old one is dead at once; with `grace_seconds`, as soon as the agent runs with the new one, and at the latest after these."),
        )
}

fn people_and_audit_routes(table: Table) -> Table {
    const USERS: &str = "/api/users";
    const USER: &str = "/api/users/{user}";
    const TOKENS: &str = "/api/tokens";
    table
        .tag("users")
        .get(USERS, users::list, op("listUsers", "All people, by creation"))
        .post(
            USERS,
            users::create,
            op("createUser", "Make a user")
                .creates::<User>()
                .may(&[Kind::UserExists, Kind::Overloaded]),
        )
        .patch(
            USER,
            users::update,
            op("updateUser", "Change a user: what is absent stays")
                .about(
                    "A new role, a new password and disabling end the user's sessions. The last enabled admin stays.",
                )
                .may(&[Kind::LastAdmin, Kind::Overloaded]),
        )
        .delete(
            USER,
            users::remove,
            op("removeUser", "Remove a user; the last enabled admin stays").may(&[Kind::LastAdmin]),
        )
        .tag("tokens")
        .get(
            TOKENS,
            api_tokens::list,
            op("listTokens", "The tokens of programs, by creation"),
        )
        .post(
            TOKENS,
            api_tokens::create,
            op("createToken", "Make an API token; its text is shown this once")
                .creates::<ApiTokenCreated>()
                .may(&[Kind::TokenExists]),
        )
        .delete(
            "/api/tokens/{token}",
            api_tokens::remove,
            op("removeToken", "Revoke an API token; it is dead at once"),
        )
        .post(
            "/api/keys/rotate",
            session_keys::rotate,
            op("rotateKey", "Sign sessions with a new key from now on")
                .about("Sessions that are signed with the old one go on to their end; then it is erased."),
        )
        .tag("audit")
        .get(
            "/api/audit",
            audit::list,
            op("listAudit", "The audit log, newest first")
                .query_of("limit", integer(1, Some(1000), Some(100)), "How many records.")
                .query_of(
                    "offset",
                    integer(0, None, Some(0)),
                    "How many matching records to skip.",
                )
                .query::<String>("actor", "Exactly this actor.")
                .query::<String>("action", "Exactly this action.")
                .query::<String>("target", "Exactly this target, or everything below it.")
                .query::<Timestamp>("since", "From this moment on.")
                .query::<Timestamp>("until", "Before this moment."),
        )
        .get(
            "/api/audit/key",
            audit::key,
            op(
                "showAuditKey",
                "The public key that the log's checkpoints are signed with",
            ),
        )
        .get(
            "/api/audit/verify",
            audit::verify,
            op(
                "verifyAudit",
                "Whether the log is as it was written; else the first record that is not",
            )
            .query::<Head>(
                "head",
                "A record that the log must have, as an earlier verification named it.",
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
                "`csv`, or `jsonl` with the log's checkpoints.",
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
            op("agentHello", "The agent introduces itself; the first call of a connection")
                .may(&[Kind::PublicKeyTaken, Kind::NotFound, Kind::TooManyRequests]),
        )
        .get(
            path::DESIRED,
            agents::desired,
            op("agentDesired", "The long poll: answers when there is news, at the latest after `wait` seconds")
                .about("Parameters that are not known are let through: newer agents may send more.")
                .query_of("revision", integer(0, None, Some(0)), "The revision the agent has; 0 for none.")
                .query::<wgctl::name::Incarnation>("incarnation", "The database's life that revision is of.")
                .query_of("wait", integer(0, Some(u64::from(u32::MAX)), Some(0)), "Seconds; more than 60 are 60.")
                .may(&[Kind::NotFound]),
        )
        .get(
            path::ADOPTION,
            agents::terms,
            op("agentTerms", "What the host is to become; asking changes nothing").may(&[Kind::NotFound]),
        )
        .post(
            path::ADOPTION,
            agents::adopt,
            op("agentAdopt", "Record an interface as it is")
                .query_of("dry_run", json!({ "type": "boolean", "default": false }), "Only say what would be recorded.")
                .may(&[Kind::NotFound, Kind::AdoptionNotAwaited, Kind::AdoptionRefused])
                .audited(),
        )
        .post(
            path::APPLIED,
            agents::applied,
            op("agentApplied", "The agent confirms a revision").may(&[Kind::NotFound]),
        )
        .post(
            path::DRIFT,
            agents::drift,
            op("agentDrift", "What others did to the interface")
                .may(&[Kind::NotFound])
                .audited(),
        )
        .post(
            path::PREKEYS,
            agents::prekeys,
            op("agentPrekeys", "Fresh sealed keys for clients to come").may(&[Kind::NotFound]),
        )
        .post(
            &format!("{}/{{request}}", path::REPLIES),
            agents::reply,
            op("agentReply", "The answer to what only the agent can answer"),
        )
        .post(
            path::REPORT,
            agents::report,
            op("report", "What an agent measured")
                .about("`server_id`, `ping_ms`, `peers`, `transfer_rx` and `transfer_tx` are enough. Fields that are not known are let through.")
                .may(&[Kind::Forbidden, Kind::NotFound]),
        )
}

/// An integer in a query.
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
