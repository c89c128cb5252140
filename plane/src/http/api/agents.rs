//! `/api/agent/…` and `/api/report`: the endpoints for agents, each authenticated by its own server's token.
//!
//! Owns only the entry points. It must not take the id of the agent's server from anything but the agent's token.

use std::convert::Infallible;

use axum::Json as Answer;
use axum::body::{Body, Bytes};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Serialize;
use wgctl::api::Report;
use wgctl::name::RequestId;
use wgctl::protocol::v1::{
    Adopted, Adoption, Applied, Desired, DesiredQuery, DriftReport, Hello, Prekeys, Reply, Terms, Welcome,
};

use crate::http::extractors::{Ids, Json, Parameters};
use crate::http::principal::Agent;
use crate::http::problem::{Failure, Kind};
use crate::relay::WorkPermit;

/// The maximum time for which a poll is held, in seconds: proxies typically close requests that have been idle for 60
/// s.
const LONGEST_WAIT: u32 = 60;

pub(super) async fn hello(agent: Agent, Json(hello, ..): Json<Hello>) -> Result<Answer<Welcome>, Failure> {
    Ok(Answer(agent.fleet().hello(&agent.caller, &agent.server, hello).await?))
}

pub(super) async fn terms(agent: Agent) -> Result<DesiredAnswer<Terms>, Failure> {
    let place = agent.fleet().poll_permit(&agent.server).await;
    Ok(DesiredAnswer(agent.fleet().terms(&agent.server).await?, place))
}

pub(super) async fn adopt(
    agent: Agent,
    mut parameters: Parameters,
    Json(adoption, ..): Json<Adoption>,
) -> Result<DesiredAnswer<Adopted>, Failure> {
    let dry_run = parameters.take("dry_run")?.unwrap_or_default();
    // Ignoring an unknown parameter that restricts the adoption would do more than was requested.
    parameters.finish()?;
    let fleet = agent.fleet();
    let place = fleet.poll_permit(&agent.server).await;
    let adopted = match dry_run {
        true => fleet.plan_adoption(&agent.server, adoption).await?,
        false => fleet.adopt(&agent.caller, &agent.server, adoption).await?,
    };
    Ok(DesiredAnswer(adopted, place))
}

pub(super) async fn desired(agent: Agent, mut parameters: Parameters) -> Result<DesiredAnswer<Desired>, Failure> {
    let query = DesiredQuery {
        revision: parameters.take("revision")?.unwrap_or_default(),
        incarnation: parameters.take("incarnation")?,
        wait: parameters.take::<u32>("wait")?.unwrap_or_default().min(LONGEST_WAIT),
    };
    // Unknown parameters are ignored, because a newer agent may send more.
    drop(parameters);
    let at_once = DesiredQuery {
        wait: 0,
        ..query.clone()
    };
    // An agent that requests the desired state is using this token.
    agent.fleet().note_token_used(&agent.caller, &agent.server).await;
    let place = agent.fleet().poll_permit(&agent.server).await;
    let desired = tokio::select! {
        desired = agent.fleet().desired(&agent.caller, &agent.server, query) => desired?,
        () = agent.app.draining() => agent.fleet().desired(&agent.caller, &agent.server, at_once).await?,
    };
    Ok(DesiredAnswer(desired, place))
}

/// The desired state of a server, or another response of that size, as JSON. It keeps its permit until the last piece
/// has been passed to the connection, which accepts no more than it can soon send.
pub(crate) struct DesiredAnswer<T>(T, WorkPermit);

/// The number of bytes that are passed to a connection at a time.
const PIECE: usize = 32 << 10;

impl<T: Serialize> IntoResponse for DesiredAnswer<T> {
    fn into_response(self) -> Response {
        let Self(answer, place) = self;
        let bytes = match serde_json::to_vec(&answer) {
            Ok(bytes) => Bytes::from(bytes),
            Err(error) => {
                return Kind::Internal
                    .because(format!("the response could not be serialized: {error}"))
                    .into_response();
            }
        };
        let headers = [
            (header::CONTENT_TYPE, "application/json".to_owned()),
            (header::CONTENT_LENGTH, bytes.len().to_string()),
        ];
        let pieces = stream::unfold((bytes, place), |(mut rest, place)| {
            let piece = (!rest.is_empty()).then(|| rest.split_to(rest.len().min(PIECE)));
            std::future::ready(piece.map(|piece| (Ok::<_, Infallible>(piece), (rest, place))))
        });
        (headers, Body::from_stream(pieces)).into_response()
    }
}

pub(super) async fn applied(agent: Agent, Json(applied, ..): Json<Applied>) -> Result<StatusCode, Failure> {
    agent.fleet().applied(&agent.caller, &agent.server, applied).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn drift(agent: Agent, Json(report, ..): Json<DriftReport>) -> Result<StatusCode, Failure> {
    agent.fleet().drift(&agent.caller, &agent.server, report).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn prekeys(agent: Agent, Json(prekeys, ..): Json<Prekeys>) -> Result<StatusCode, Failure> {
    agent.fleet().prekeys(&agent.caller, &agent.server, prekeys).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn reply(
    agent: Agent,
    Ids(request): Ids<RequestId>,
    Json(reply, ..): Json<Reply>,
) -> Result<StatusCode, Failure> {
    agent.fleet().reply(&agent.caller, &agent.server, request, reply)?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn report(agent: Agent, Json(report, ..): Json<Report>) -> Result<StatusCode, Failure> {
    if report.server_id != agent.server {
        agent
            .fleet()
            .agent_refused(&agent.caller, report.server_id.as_str())
            .await?;
        let detail = format!(
            "this token belongs to server {:?}: send reports only for that server",
            agent.server
        );
        return Err(Kind::Forbidden.because(detail));
    }
    agent.fleet().report(&agent.caller, &agent.server, report).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::relay::Waiters;

    #[tokio::test]
    async fn a_response_keeps_its_permit_until_its_last_piece_is_taken() {
        let waiters = Waiters::default();
        let place = waiters.poll_permit().await;
        let mut others = Vec::new();
        while let Some(other) = waiters.poll_permit().now_or_never() {
            others.push(other);
        }
        let text = "x".repeat(5 * PIECE);
        let response = DesiredAnswer(&text, place).into_response();
        assert_eq!(
            response.headers()[header::CONTENT_LENGTH],
            (text.len() + 2).to_string().as_str()
        );
        let mut body = response.into_body();
        let mut came = Vec::new();
        while came.len() < text.len() + 2 {
            assert!(
                waiters.poll_permit().now_or_never().is_none(),
                "after {} bytes",
                came.len()
            );
            let piece = body.frame().await.unwrap().unwrap().into_data().unwrap();
            assert!(piece.len() <= PIECE);
            came.extend_from_slice(&piece);
        }
        assert_eq!(came, serde_json::to_vec(&text).unwrap());
        drop(body);
        assert!(waiters.poll_permit().now_or_never().is_some());
    }
}
