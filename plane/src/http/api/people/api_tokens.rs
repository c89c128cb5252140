//! `/api/tokens…`: API tokens for programs. The text of a token appears only in the response to its creation.

use axum::Json as Answer;
use axum::http::StatusCode;
use axum::response::Response;
use wgctl::api::{ApiToken, NewApiToken};
use wgctl::name::TokenId;

use crate::http::extractors::Ids;
use crate::http::idempotent_body::Creation;
use crate::http::principal::Keeper;
use crate::http::problem::Failure;
use crate::http::response::created;

pub(crate) async fn list(keeper: Keeper) -> Result<Answer<Vec<ApiToken>>, Failure> {
    Ok(Answer(keeper.fleet().tokens().await?))
}

pub(crate) async fn create(keeper: Keeper, Creation { new, once }: Creation<NewApiToken>) -> Result<Response, Failure> {
    let made = keeper.fleet().create_token(&keeper.caller, new, once).await?;
    Ok(created(format!("/api/tokens/{}", made.api_token.id), Answer(made)))
}

pub(crate) async fn remove(keeper: Keeper, Ids(token): Ids<TokenId>) -> Result<StatusCode, Failure> {
    keeper.fleet().remove_token(&keeper.caller, &token).await?;
    Ok(StatusCode::NO_CONTENT)
}
