//! `/api/agent/…` and `/api/report`: the agents' side, each under its own server's token.
//!
//! Owns nothing but the way in: which server an agent speaks for comes from its token alone.

use axum::Json as Answer;
use axum::body::Bytes;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use wgctl::api::Report;
use wgctl::name::RequestId;
use wgctl::protocol::v1::{
    Adopted, Adoption, Applied, Desired, DesiredQuery, DriftReport, Hello, Prekeys, Reply, Terms, Welcome,
};

use super::extract::{Ids, Json, Parameters};
use super::principal::Agent;
use super::problem::{Failure, Kind};
use crate::relay::Turn;

/// The longest a poll is held, seconds: proxies cut idle requests at 60 s.
const LONGEST_WAIT: u32 = 60;

pub(super) async fn hello(agent: Agent, Json(hello, ..): Json<Hello>) -> Result<Answer<Welcome>, Failure> {
    Ok(Answer(agent.fleet().hello(&agent.caller, &agent.server, hello).await?))
}

pub(super) async fn terms(agent: Agent) -> Result<Whole<Terms>, Failure> {
    let place = agent.fleet().poll_place(&agent.server).await;
    Ok(Whole(agent.fleet().terms(&agent.server).await?, place))
}

pub(super) async fn adopt(
    agent: Agent,
    mut parameters: Parameters,
    Json(adoption, ..): Json<Adoption>,
) -> Result<Answer<Adopted>, Failure> {
    let dry_run = parameters.take("dry_run")?.unwrap_or_default();
    // To ignore what narrows it would be to do more than was asked.
    parameters.finish()?;
    let fleet = agent.fleet();
    Ok(Answer(match dry_run {
        true => fleet.plan_adoption(&agent.server, adoption).await?,
        false => fleet.adopt(&agent.caller, &agent.server, adoption).await?,
    }))
}

pub(super) async fn desired(agent: Agent, mut parameters: Parameters) -> Result<Whole<Desired>, Failure> {
    let query = DesiredQuery {
        revision: parameters.take("revision")?.unwrap_or_default(),
        incarnation: parameters.take("incarnation")?,
        wait: parameters.take::<u32>("wait")?.unwrap_or_default().min(LONGEST_WAIT),
    };
    // A newer agent may ask for more.
    drop(parameters);
    let at_once = DesiredQuery {
        wait: 0,
        ..query.clone()
    };
    // Who takes up the desired state runs with this token.
    agent.fleet().took_token(&agent.caller, &agent.server).await;
    let place = agent.fleet().poll_place(&agent.server).await;
    let desired = tokio::select! {
        desired = agent.fleet().desired(&agent.caller, &agent.server, query) => desired?,
        () = agent.app.draining() => agent.fleet().desired(&agent.caller, &agent.server, at_once).await?,
    };
    Ok(Whole(desired, place))
}

/// All that a server should be, as JSON: its place is taken until the last byte is on its way.
pub(super) struct Whole<T>(T, Turn);

impl<T: Serialize> IntoResponse for Whole<T> {
    fn into_response(self) -> Response {
        let Self(answer, place) = self;
        match serde_json::to_vec(&answer) {
            Ok(bytes) => {
                let body = Bytes::from_owner(Held { bytes, _place: place });
                ([(header::CONTENT_TYPE, "application/json")], body).into_response()
            }
            Err(error) => Kind::Internal
                .because(format!("the answer could not be written: {error}"))
                .into_response(),
        }
    }
}

/// An answer on its way.
struct Held {
    bytes: Vec<u8>,
    _place: Turn,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
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
    agent
        .fleet()
        .reply(&agent.caller, &agent.server, request, reply)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn report(agent: Agent, Json(report, ..): Json<Report>) -> Result<StatusCode, Failure> {
    if report.server_id != agent.server {
        agent
            .fleet()
            .agent_refused(&agent.caller, report.server_id.as_str())
            .await?;
        let detail = format!("this token is server {:?}'s: report for that one only", agent.server);
        return Err(Kind::Forbidden.because(detail));
    }
    agent.fleet().report(&agent.caller, &agent.server, report).await?;
    Ok(StatusCode::NO_CONTENT)
}
