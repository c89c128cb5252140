//! `/api/servers…`: the VPN servers and their agents' tokens.

use axum::Json as Answer;
use axum::http::StatusCode;
use axum::response::Response;
use wgctl::ServerId;
use wgctl::api::{AgentToken, NewServer, Server, ServerPatch, TokenRotation};

use crate::http::extractors::{Ids, Json, MaybeJson};
use crate::http::idempotent_body::Creation;
use crate::http::principal::{Admin, ScopedViewer, Viewer};
use crate::http::problem::Failure;
use crate::http::response::created;

pub(super) async fn list(viewer: ScopedViewer) -> Result<Answer<Vec<Server>>, Failure> {
    let mut servers = viewer.fleet().servers().await?;
    servers.retain(|server| viewer.scope.admits(&server.id));
    Ok(Answer(servers))
}

pub(super) async fn show(viewer: Viewer, Ids(server): Ids<ServerId>) -> Result<Answer<Server>, Failure> {
    Ok(Answer(viewer.fleet().server(&server)?))
}

pub(super) async fn create(admin: Admin, Creation { new, once }: Creation<NewServer>) -> Result<Response, Failure> {
    let mut made = admin.fleet().create_server(&admin.caller, new, once).await?;
    made.pin = admin.app.shared().pin;
    Ok(created(format!("/api/servers/{}", made.server.id), Answer(made)))
}

pub(super) async fn update(
    admin: Admin,
    Ids(server): Ids<ServerId>,
    Json(patch, ..): Json<ServerPatch>,
) -> Result<Answer<Server>, Failure> {
    Ok(Answer(
        admin.fleet().update_server(&admin.caller, &server, patch).await?,
    ))
}

pub(super) async fn remove(admin: Admin, Ids(server): Ids<ServerId>) -> Result<StatusCode, Failure> {
    admin.fleet().remove_server(&admin.caller, &server).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn rotate_token(
    admin: Admin,
    Ids(server): Ids<ServerId>,
    MaybeJson(rotation): MaybeJson<TokenRotation>,
) -> Result<Answer<AgentToken>, Failure> {
    let rotated = admin.fleet().rotate_agent_token(&admin.caller, &server, rotation);
    let mut token = rotated.await?;
    token.pin = admin.app.shared().pin;
    Ok(Answer(token))
}
