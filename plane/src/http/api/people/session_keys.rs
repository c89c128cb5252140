//! `POST /api/keys/rotate`: a new key for signing sessions.

use axum::Json as Answer;
use wgctl::api::KeyRotated;

use crate::fleet::Refusal;
use crate::http::principal::Keeper;
use crate::http::problem::Failure;

/// Records the rotation in the audit log, then changes the key. The rotation continues even if the caller disconnects
/// in between.
pub(crate) async fn rotate(keeper: Keeper) -> Result<Answer<KeyRotated>, Failure> {
    let rotated = tokio::spawn(async move {
        let (shared, fleet) = (keeper.app.shared(), keeper.fleet());
        let note = async |kid: &str| Ok::<_, Failure>(fleet.signing_key_rotated(&keeper.caller, kid).await?);
        shared.tokens.rotate(fleet.now(), note).await
    });
    let interrupted = |error| Refusal::Internal(format!("the key rotation was interrupted: {error}"));
    let (kid, previous_valid_until) = rotated.await.map_err(interrupted)??;
    Ok(Answer(KeyRotated {
        kid,
        previous_valid_until,
    }))
}
