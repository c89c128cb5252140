//! `/api/agent/…` and `/api/report`: the agents' side, each under its own server's token.
//!
//! Owns nothing but the way in: which server an agent speaks for comes from its token alone.

use axum::Json as Answer;
use axum::http::StatusCode;
use wgctl::api::Report;
use wgctl::name::RequestId;
use wgctl::protocol::v1::{
    Adopted, Adoption, Applied, Desired, DesiredQuery, DriftReport, Hello, Prekeys, Reply, Terms, Welcome,
};

use super::extract::{Ids, Json, Parameters};
use super::principal::Agent;
use super::problem::{Failure, Kind};

/// The longest a poll is held, seconds: proxies cut idle requests at 60 s.
const LONGEST_WAIT: u32 = 60;

pub(super) async fn hello(agent: Agent, Json(hello): Json<Hello>) -> Result<Answer<Welcome>, Failure> {
    Ok(Answer(agent.fleet().hello(&agent.caller, &agent.server, hello).await?))
}

pub(super) async fn terms(agent: Agent) -> Result<Answer<Terms>, Failure> {
    Ok(Answer(agent.fleet().terms(&agent.server).await?))
}

pub(super) async fn adopt(
    agent: Agent,
    mut parameters: Parameters,
    Json(adoption): Json<Adoption>,
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

pub(super) async fn desired(agent: Agent, mut parameters: Parameters) -> Result<Answer<Desired>, Failure> {
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
    tokio::select! {
        desired = agent.fleet().desired(&agent.caller, &agent.server, query) => Ok(Answer(desired?)),
        () = agent.app.draining() => Ok(Answer(agent.fleet().desired(&agent.caller, &agent.server, at_once).await?)),
    }
}

pub(super) async fn applied(agent: Agent, Json(applied): Json<Applied>) -> Result<StatusCode, Failure> {
    agent.fleet().applied(&agent.caller, &agent.server, applied).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn drift(agent: Agent, Json(report): Json<DriftReport>) -> Result<StatusCode, Failure> {
    agent.fleet().drift(&agent.caller, &agent.server, report).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn prekeys(agent: Agent, Json(prekeys): Json<Prekeys>) -> Result<StatusCode, Failure> {
    agent.fleet().prekeys(&agent.caller, &agent.server, prekeys).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn reply(
    agent: Agent,
    Ids(request): Ids<RequestId>,
    Json(reply): Json<Reply>,
) -> Result<StatusCode, Failure> {
    agent
        .fleet()
        .reply(&agent.caller, &agent.server, request, reply)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn report(agent: Agent, Json(report): Json<Report>) -> Result<StatusCode, Failure> {
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
