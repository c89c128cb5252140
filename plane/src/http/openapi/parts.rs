//! The description of a handler, derived from its own types: permission, parameters, body and response.
//!
//! Owns the description of every permission, extractor and response. A handler whose types are not
//! described here cannot be put into the table.

use axum::Json as Answer;
use axum::extract::Request;
use axum::handler::Handler;
use axum::http::StatusCode;
use axum::response::Response;
use schemars::{JsonSchema, json_schema};
use wgctl::ServerId;
use wgctl::name::{RequestId, TokenId, UserId};

use super::operation::{Operation, ParameterPlace, Shape};
use super::schemas::of;
use crate::http::api::agents::DesiredAnswer;
use crate::http::app::App;
use crate::http::extractors::{Ids, Json, MaybeJson, Parameters};
use crate::http::idempotent_body::Creation;
use crate::http::principal::{Admin, Agent, Anyone, Keeper, Person, ScopedViewer, Viewer};
use crate::http::problem::{Failure, Kind};

/// A handler that can be described by its types.
pub(in crate::http) trait Endpoint<T>: Handler<T, App> {
    fn describe(operation: &mut Operation);
}

macro_rules! endpoint {
    ($($part:ident),*) => {
        impl<F, Fut, R, M, P, $($part,)*> Endpoint<(M, P, $($part,)*)> for F
        where
            F: Handler<(M, P, $($part,)*), App> + FnOnce(P, $($part,)*) -> Fut,
            Fut: Future<Output = R>,
            P: Permission,
            $($part: RequestPart,)*
            R: ResponseType,
        {
            fn describe(operation: &mut Operation) {
                operation.needs(P::NAME, P::SECURITY, P::REFUSALS);
                $($part::describe(operation);)*
                R::describe(operation);
            }
        }
    };
}

endpoint!();
endpoint!(A);
endpoint!(A, B);
endpoint!(A, B, C);

/// The permission that a handler names first.
pub(in crate::http) trait Permission {
    /// The name in the document (`x-permission`).
    const NAME: &'static str;
    /// The kinds of token that can prove the permission; empty if no authentication is needed.
    const SECURITY: &'static [&'static str];
    /// The refusals that other callers receive, and the failures of the check itself.
    const REFUSALS: &'static [Kind];
}

macro_rules! permissions {
    ($($permission:ty = $name:literal, [$($scheme:literal),*], [$($kind:ident),*];)*) => {
        $(impl Permission for $permission {
            const NAME: &'static str = $name;
            const SECURITY: &'static [&'static str] = &[$($scheme),*];
            const REFUSALS: &'static [Kind] = &[$(Kind::$kind),*];
        })*
    };
}

permissions! {
    Anyone = "anyone", [], [];
    Viewer = "viewer", ["session", "apiToken"], [Unauthorized, Forbidden, StorageUnavailable];
    ScopedViewer = "viewer", ["session", "apiToken"], [Unauthorized, StorageUnavailable];
    Admin = "admin", ["session", "apiToken"], [Unauthorized, Forbidden, StorageUnavailable];
    Keeper = "keeper", ["session"], [Unauthorized, Forbidden, StorageUnavailable];
    Person = "person", ["session"], [Unauthorized, Forbidden, StorageUnavailable];
    Agent = "agent", ["agentToken"], [Unauthorized, StorageUnavailable];
}

/// A part of the request that is read after the permission.
pub(in crate::http) trait RequestPart {
    fn describe(operation: &mut Operation);
}

/// The refusals that any JSON body can cause.
const BODY: &[Kind] = &[
    Kind::MalformedJson,
    Kind::BadRequest,
    Kind::RequestTimeout,
    Kind::BodyTooLarge,
    Kind::UnsupportedMediaType,
    Kind::InvalidField,
    Kind::UnknownField,
    Kind::Overloaded,
];

impl<T: JsonSchema> RequestPart for Json<T> {
    fn describe(operation: &mut Operation) {
        operation.takes_json(of::<T>, &T::schema_name(), BODY);
    }
}

/// An optional body.
impl<T: JsonSchema> RequestPart for MaybeJson<T> {
    fn describe(operation: &mut Operation) {
        <Json<T> as RequestPart>::describe(operation);
        operation.body_may_be_absent();
    }
}

impl<T: JsonSchema> RequestPart for Creation<T> {
    fn describe(operation: &mut Operation) {
        <Json<T> as RequestPart>::describe(operation);
        operation.refuses(&[Kind::IdempotencyConflict]);
        let shape = json_schema!({ "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[\\u0021-\\u007e](?:[\\t\\u0020-\\u007e]*[\\u0021-\\u007e])?$" });
        operation.takes(
            ParameterPlace::Header,
            "Idempotency-Key",
            Shape::Json(shape.into()),
            "A repeated key with the same body returns the first response for 24 hours. Another body is refused.",
        );
    }
}

/// A body that the handler reads itself. The table describes it.
impl RequestPart for Request {
    fn describe(_: &mut Operation) {}
}

/// The table names the parameters.
impl RequestPart for Parameters {
    fn describe(operation: &mut Operation) {
        operation.refuses(&[Kind::InvalidField, Kind::UnknownField]);
    }
}

impl<T: PathIds> RequestPart for Ids<T> {
    fn describe(operation: &mut Operation) {
        operation.refuses(&[Kind::NotFound]);
        T::describe(operation);
    }
}

/// The ids in a path, in the order of their names.
pub(in crate::http) trait PathIds {
    fn describe(operation: &mut Operation);
}

macro_rules! one_id {
    ($($id:ty),*) => {
        $(impl PathIds for $id {
            fn describe(operation: &mut Operation) {
                operation.takes_ids(&[of::<$id>]);
            }
        })*
    };
}

one_id!(ServerId, UserId, TokenId, RequestId);

impl<A: JsonSchema, B: JsonSchema> PathIds for (A, B) {
    fn describe(operation: &mut Operation) {
        operation.takes_ids(&[of::<A>, of::<B>]);
    }
}

impl<A: JsonSchema, B: JsonSchema, C: JsonSchema> PathIds for (A, B, C) {
    fn describe(operation: &mut Operation) {
        operation.takes_ids(&[of::<A>, of::<B>, of::<C>]);
    }
}

impl ResponseType for StatusCode {
    /// Describes 204: the tests check that a handler that returns only a status returns this one.
    fn describe(operation: &mut Operation) {
        operation.answers(204, "Done.");
    }
}

/// The type of a handler's response.
pub(in crate::http) trait ResponseType {
    fn describe(operation: &mut Operation);
}

impl<T: ResponseType> ResponseType for Result<T, Failure> {
    fn describe(operation: &mut Operation) {
        T::describe(operation);
    }
}

impl<T: JsonSchema> ResponseType for Answer<T> {
    fn describe(operation: &mut Operation) {
        operation.answers_json(200, "The result.", of::<T>, &T::schema_name());
    }
}

impl<T: JsonSchema> ResponseType for DesiredAnswer<T> {
    fn describe(operation: &mut Operation) {
        <Answer<T> as ResponseType>::describe(operation);
    }
}

/// The table describes the response.
impl ResponseType for Response {
    fn describe(_: &mut Operation) {}
}

/// The request is always refused. The table describes the refusals.
impl ResponseType for Failure {
    fn describe(_: &mut Operation) {}
}
