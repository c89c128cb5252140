//! `/api/wg-clients/…`: the peers of a server.

pub(super) mod configuration;
pub(super) mod qr_svg;

use axum::Json as Answer;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use wgctl::api::{NewPeer, Peer, PeerPatch};
use wgctl::{PeerId, ServerId};

use crate::fleet::PeersQuery;
use crate::http::extractors::{Ids, Json, Parameters};
use crate::http::idempotent_body::Creation;
use crate::http::principal::Admin;
use crate::http::problem::{Failure, Kind};
use crate::http::response::{created, peer_path, percent_encoded};

pub(crate) async fn list(
    admin: Admin,
    Ids(server): Ids<ServerId>,
    mut parameters: Parameters,
) -> Result<Response, Failure> {
    let query = PeersQuery {
        q: parameters.take("q")?,
        limit: parameters.take("limit")?,
        after: parameters.take("after")?,
    };
    parameters.finish()?;
    let (limit, q) = (query.limit, query.q.clone());
    let page = admin.fleet().peers(&server, query).await?;
    let mut response = Answer(page.peers).into_response();
    if let (Some(next), Some(limit)) = (page.next, limit) {
        let filter = q.map(|q| format!("&q={}", percent_encoded(&q))).unwrap_or_default();
        let link = format!("</api/wg-clients/{server}?limit={limit}&after={next}{filter}>; rel=\"next\"");
        if let Ok(link) = HeaderValue::try_from(link) {
            response.headers_mut().insert(header::LINK, link);
        }
    }
    Ok(response)
}

pub(crate) async fn create(
    admin: Admin,
    Ids(server): Ids<ServerId>,
    Creation { new, once }: Creation<NewPeer>,
) -> Result<Response, Failure> {
    let peer = admin.fleet().create_peer(&admin.caller, &server, new, once).await?;
    Ok(created(peer_path(&server, &peer.id), Answer(peer)))
}

pub(crate) async fn show(admin: Admin, Ids((server, peer)): Ids<(ServerId, PeerId)>) -> Result<Answer<Peer>, Failure> {
    Ok(Answer(admin.fleet().peer(&server, &peer)?))
}

pub(crate) async fn update(
    admin: Admin,
    Ids((server, peer)): Ids<(ServerId, PeerId)>,
    Json(patch, ..): Json<PeerPatch>,
) -> Result<Answer<Peer>, Failure> {
    Ok(Answer(
        admin.fleet().update_peer(&admin.caller, &server, &peer, patch).await?,
    ))
}

pub(crate) async fn remove(admin: Admin, Ids((server, peer)): Ids<(ServerId, PeerId)>) -> Result<StatusCode, Failure> {
    // The record is removed in any case. The statuses show whether the host has confirmed it.
    admin.fleet().remove_peer(&admin.caller, &server, &peer).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn act(
    admin: Admin,
    Ids((server, peer, action)): Ids<(String, String, String)>,
) -> Result<Answer<Peer>, Failure> {
    let enabled = match action.as_str() {
        "enable" => true,
        "disable" => false,
        _ => return Err(invalid_action(&action)),
    };
    let (Ok(server), Ok(peer)) = (server.parse::<ServerId>(), peer.parse::<PeerId>()) else {
        return Err(Kind::NotFound.because("there is no such client: list the server's clients for their ids"));
    };
    Ok(Answer(
        admin
            .fleet()
            .enable_peer(&admin.caller, &server, &peer, enabled)
            .await?,
    ))
}

/// Refuses a POST to the paths under a client that can be read with GET but are not actions.
pub(crate) async fn no_such_action(_: Admin) -> Failure {
    invalid_action("this")
}

fn invalid_action(action: &str) -> Failure {
    Kind::InvalidAction.because(format!("{action:?} is not an action: use enable or disable"))
}
