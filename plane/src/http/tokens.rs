//! `/api/tokens…`: the tokens of programs. A token's text is in the answer that makes it, and nowhere else.

use axum::Json as Answer;
use axum::http::StatusCode;
use axum::response::Response;
use wgctl::api::{ApiToken, NewApiToken};
use wgctl::name::TokenId;

use super::creation::Creation;
use super::edge::created;
use super::extract::Ids;
use super::principal::Keeper;
use super::problem::Failure;

pub(super) async fn list(keeper: Keeper) -> Result<Answer<Vec<ApiToken>>, Failure> {
    Ok(Answer(keeper.fleet().tokens().await?))
}

pub(super) async fn create(keeper: Keeper, Creation { new, once }: Creation<NewApiToken>) -> Result<Response, Failure> {
    let made = keeper.fleet().create_token(&keeper.caller, new, once).await?;
    Ok(created(format!("/api/tokens/{}", made.api_token.id), Answer(made)))
}

pub(super) async fn remove(keeper: Keeper, Ids(token): Ids<TokenId>) -> Result<StatusCode, Failure> {
    keeper.fleet().remove_token(&keeper.caller, &token).await?;
    Ok(StatusCode::NO_CONTENT)
}
