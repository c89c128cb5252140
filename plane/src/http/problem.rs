//! Refused requests as problem reports (RFC 9457, `application/problem+json`).
//!
//! Owns the codes with their statuses and titles, and the mapping from the fleet's refusals. It must not
//! reveal the internal details of a failure: those are meant for the operator and go to the log.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use wgctl::api::{Hint, NextStep, Problem, problem_kind};

use crate::auth::{PasswordError, TokenError};
use crate::fleet::Refusal;
use crate::keys::root::KeyError;
use crate::store::StoreError;

/// The media type of every error.
pub(super) const MEDIA_TYPE: &str = "application/problem+json";

macro_rules! kinds {
    ($($variant:ident = $status:ident, $code:literal, $title:literal;)*) => {
        /// The kinds of problem. Their codes are stable, because programs compare them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Kind { $($variant,)* }

        impl Kind {
            #[cfg(test)]
            const ALL: &[Self] = &[$(Self::$variant,)*];

            pub(super) const fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status,)* }
            }

            pub(super) const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            pub(super) const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }
        }
    };
}

kinds! {
    MalformedJson = BAD_REQUEST, "malformed_json", "The body is not JSON";
    InvalidAction = BAD_REQUEST, "invalid_action", "There is no such action";
    BadRequest = BAD_REQUEST, "bad_request", "The request cannot be understood";
    InvalidCredentials = UNAUTHORIZED, "invalid_credentials", "Wrong email or password";
    Unauthorized = UNAUTHORIZED, "unauthorized", "A valid token is needed";
    Forbidden = FORBIDDEN, "forbidden", "Not permitted";
    NotFound = NOT_FOUND, "not_found", "Not found";
    MethodNotAllowed = METHOD_NOT_ALLOWED, "method_not_allowed", "The method is not allowed";
    RequestTimeout = REQUEST_TIMEOUT, "request_timeout", "The body arrived too slowly";
    NameTaken = CONFLICT, "name_taken", "The name is taken";
    AddressTaken = CONFLICT, "address_taken", "The address is taken";
    OverlappingNetworks = CONFLICT, "overlapping_networks", "The networks overlap";
    PublicKeyTaken = CONFLICT, "public_key_taken", "The public key is taken";
    PoolExhausted = CONFLICT, "pool_exhausted", "The address pool is exhausted";
    PrivateKeyNotHeld = CONFLICT, "private_key_not_held", "The private key is not held";
    QrcodeTooLarge = CONFLICT, "qrcode_too_large", "The configuration does not fit in a QR code";
    AdoptionNotAwaited = CONFLICT, "adoption_not_awaited", "The server does not await an adoption";
    AdoptionRefused = CONFLICT, "adoption_refused", "The interface cannot be adopted";
    IdempotencyConflict = CONFLICT, "idempotency_conflict", "The Idempotency-Key was used for another request";
    LastAdmin = CONFLICT, "last_admin", "The user is the last admin";
    ServerExists = CONFLICT, "server_exists", "The server already exists";
    TokenExists = CONFLICT, "token_exists", "The token already exists";
    UserExists = CONFLICT, "user_exists", "The user already exists";
    BodyTooLarge = PAYLOAD_TOO_LARGE, "body_too_large", "The body is too large";
    UriTooLong = URI_TOO_LONG, "uri_too_long", "The path and query are too long";
    UnsupportedMediaType = UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", "The type of the body is not supported";
    MisdirectedRequest = MISDIRECTED_REQUEST, "misdirected_request", "The request is meant for another host";
    InvalidBackup = UNPROCESSABLE_ENTITY, "invalid_backup", "Not a backup that can be restored";
    InvalidField = UNPROCESSABLE_ENTITY, "invalid_field", "A value is not valid";
    UnknownField = UNPROCESSABLE_ENTITY, "unknown_field", "A field is unknown";
    TooManyRequests = TOO_MANY_REQUESTS, "too_many_requests", "Too many attempts";
    HeadTooLarge = REQUEST_HEADER_FIELDS_TOO_LARGE, "head_too_large", "The head is too large";
    Internal = INTERNAL_SERVER_ERROR, "internal", "The plane failed";
    AgentOffline = SERVICE_UNAVAILABLE, "agent_offline", "The server's agent is offline";
    StorageUnavailable = SERVICE_UNAVAILABLE, "storage_unavailable", "The database is not available";
    Overloaded = SERVICE_UNAVAILABLE, "overloaded", "The plane is too busy";
}

impl Refusal {
    /// Returns the stable, machine-readable name, as it appears in the problem report.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        Kind::of(self).code()
    }
}

impl Kind {
    /// Returns the kind of a refusal. The match is exhaustive, so that a new refusal does not compile without a kind.
    pub(super) const fn of(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::NotFound { what: _ } => Self::NotFound,
            Refusal::Unauthorized(_) | Refusal::SessionEnded => Self::Unauthorized,
            Refusal::Forbidden(_) => Self::Forbidden,
            Refusal::InvalidField { field: _, detail: _ } => Self::InvalidField,
            Refusal::ServerExists(_) => Self::ServerExists,
            Refusal::UserExists(_) => Self::UserExists,
            Refusal::TokenExists(_) => Self::TokenExists,
            Refusal::NameTaken(_) => Self::NameTaken,
            Refusal::AddressTaken(_) => Self::AddressTaken,
            Refusal::OverlappingNetworks { network: _, other: _ } => Self::OverlappingNetworks,
            Refusal::PublicKeyTaken(_) => Self::PublicKeyTaken,
            Refusal::PoolExhausted(_) => Self::PoolExhausted,
            Refusal::PrivateKeyNotHeld(_) => Self::PrivateKeyNotHeld,
            Refusal::AdoptionNotAwaited(_) => Self::AdoptionNotAwaited,
            Refusal::AdoptionRefused(_) => Self::AdoptionRefused,
            Refusal::AgentOffline { server: _, detail: _ } | Refusal::NoPrekeys(_) => Self::AgentOffline,
            Refusal::IdempotencyConflict | Refusal::AnswerOutlived(_) => Self::IdempotencyConflict,
            Refusal::LastAdmin(_) => Self::LastAdmin,
            Refusal::TooManyRequests {
                what: _,
                retry_after: _,
            } => Self::TooManyRequests,
            Refusal::Busy(_) => Self::Overloaded,
            Refusal::Store(error) => Self::of_store(error),
            Refusal::Internal(_) => Self::Internal,
        }
    }

    const fn of_store(error: &StoreError) -> Self {
        match error {
            StoreError::BadBackup(_) => Self::InvalidBackup,
            StoreError::Corrupt(_) | StoreError::AuditFault(_) | StoreError::Broken(_) => Self::Internal,
            StoreError::Unavailable(_)
            | StoreError::Open { .. }
            | StoreError::Locked(_)
            | StoreError::Full { .. }
            | StoreError::Damaged { .. }
            | StoreError::TooNew { .. }
            | StoreError::Migration { .. } => Self::StorageUnavailable,
        }
    }

    /// Returns the kind for an error response that axum or hyper generated.
    pub(super) fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::NOT_FOUND => Self::NotFound,
            StatusCode::METHOD_NOT_ALLOWED => Self::MethodNotAllowed,
            StatusCode::PAYLOAD_TOO_LARGE => Self::BodyTooLarge,
            StatusCode::URI_TOO_LONG => Self::UriTooLong,
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => Self::HeadTooLarge,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::UnsupportedMediaType,
            StatusCode::UNPROCESSABLE_ENTITY => Self::InvalidField,
            StatusCode::REQUEST_TIMEOUT => Self::RequestTimeout,
            status if status.is_server_error() => Self::Internal,
            _ => Self::BadRequest,
        }
    }

    /// Returns a problem of this kind. `detail` describes the problem and the next step.
    pub(super) fn because(self, detail: impl Into<String>) -> Failure {
        Failure(Box::new(Inner {
            kind: self,
            detail: detail.into(),
            field: None,
            hint: None,
            retry_after: None,
        }))
    }

    /// Returns a problem of this kind whose next step is to log in.
    pub(super) fn until_login(self, reason: &str) -> Failure {
        let mut failure = self.because(format!(
            "{reason}: log in at POST /api/login, and send its token as Authorization: Bearer …"
        ));
        failure.0.hint = Some(Hint {
            reason: reason.to_owned(),
            step: NextStep::LogIn,
        });
        failure
    }

    /// Returns a problem of this kind that names a field of the request.
    pub(super) fn field(self, field: impl Into<String>, detail: impl Into<String>) -> Failure {
        let mut failure = self.because(detail);
        failure.0.field = Some(field.into());
        failure
    }
}

/// The refusal of a request, which becomes its response.
#[derive(Debug)]
pub(super) struct Failure(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: Kind,
    detail: String,
    field: Option<String>,
    hint: Option<Hint>,
    retry_after: Option<u64>,
}

impl Failure {
    /// Returns the kind of problem.
    pub(super) const fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Adds the number of seconds after which to try again.
    pub(super) fn retry_after(mut self, seconds: u64) -> Self {
        self.0.retry_after = Some(seconds);
        self
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let kind = Kind::of(&refusal);
        if kind.status() == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!("{refusal}");
            return kind.because("the plane could not do this: search its log for this response's X-Request-Id");
        }
        if kind == Kind::StorageUnavailable {
            tracing::error!("{refusal}");
        }
        let mut failure = kind.because(refusal.to_string());
        failure.0.field = refusal.field().map(str::to_owned);
        failure.0.hint = refusal.hint();
        failure.0.retry_after = refusal.retry_after();
        failure
    }
}

impl From<TokenError> for Failure {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Key(KeyError::TooMany { retry_after }) => Kind::TooManyRequests
                .because(error.to_string())
                .retry_after(retry_after),
            other => Self::from(Refusal::Internal(other.to_string())),
        }
    }
}

impl From<PasswordError> for Failure {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Busy(_) => Kind::Overloaded
                .because("too many logins are being checked: try again in a second")
                .retry_after(1),
            PasswordError::Hash(reason) => Self::from(Refusal::Internal(reason)),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let Inner {
            kind,
            detail,
            field,
            hint,
            retry_after,
        } = *self.0;
        let problem = Problem {
            kind: problem_kind(kind.code()),
            title: kind.title().to_owned(),
            status: kind.status().as_u16(),
            detail,
            code: kind.code().to_owned(),
            field,
            hint,
        };
        let mut response = (kind.status(), Json(problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if kind.status() == StatusCode::UNAUTHORIZED {
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"sentrazone\""),
            );
        }
        if let Some(seconds) = retry_after {
            headers.insert(HeaderName::from_static("retry-after"), HeaderValue::from(seconds));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_code_belongs_to_one_kind() {
        let codes: BTreeSet<&str> = Kind::ALL.iter().map(|kind| kind.code()).collect();
        assert_eq!(codes.len(), Kind::ALL.len());
    }

    #[test]
    fn the_details_of_an_internal_failure_are_not_revealed() {
        let failure = Failure::from(Refusal::Internal("row 7 of table x".to_owned()));
        assert!(!failure.0.detail.contains("row 7"));
    }
}
