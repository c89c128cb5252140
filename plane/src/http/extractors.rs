//! The extraction of JSON bodies, path ids and query parameters from a request.
//!
//! Owns the refusal of invalid input before a handler sees it, with an error that names the field. It must not read
//! a body before the permission has been checked (`principal` then marks the request).

use std::fmt::Display;
use std::str::FromStr;

use axum::body::{Body, HttpBody as _};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::error::Category;

use super::app::App;
use super::principal::PermissionMark;
use super::problem::{Failure, Kind};
use super::serve::body_budget::BufferedBody;
use super::serve::body_deadline::BodyDeadline;

/// The maximum size of an unauthenticated request's body, in bytes. Such a body contains only an email and a
/// password, and thousands of connections may each send one.
const MAX_UNAUTHENTICATED_BODY: usize = 16 << 10;
/// The time after which to retry a request whose body exceeded the memory budget, in seconds.
const RETRY_BODY: u64 = 5;

/// A JSON body, and its share of the memory budget. The parsed value may have to wait for the writer, so it counts
/// until the handler has finished with it.
pub(super) struct Json<T>(
    pub(super) T,
    #[expect(dead_code, reason = "it counts until it is dropped")] pub(super) BufferedBody,
);

impl<T: DeserializeOwned> FromRequest<App> for Json<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, app: &App) -> Result<Self, Failure> {
        let (_, mut body) = json_body(request, app).await?;
        let value = parse_json(body.content())?;
        body.forget_content();
        Ok(Self(value, body))
    }
}

/// An optional JSON body.
pub(super) struct MaybeJson<T>(pub(super) T);

impl<T: DeserializeOwned + Default> FromRequest<App> for MaybeJson<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, app: &App) -> Result<Self, Failure> {
        if request.body().is_end_stream() {
            return Ok(Self(T::default()));
        }
        let (_, body) = json_body(request, app).await?;
        parse_json(body.content()).map(Self)
    }
}

/// Reads a JSON body within the caller's limit. Also returns the mark that identifies the caller.
pub(super) async fn json_body(request: Request, app: &App) -> Result<(PermissionMark, BufferedBody), Failure> {
    let (parts, body) = request.into_parts();
    let Some(authorized) = parts.extensions.get::<PermissionMark>().cloned() else {
        tracing::error!(
            "the handler of {} reads a body before it checks a permission",
            parts.uri.path()
        );
        return Err(Kind::Internal.because("this endpoint does not check permissions: report this as a bug"));
    };
    require_json(&parts.headers)?;
    let limits = &app.shared().limits;
    let limit = match authorized.who {
        None => limits.max_body.min(MAX_UNAUTHENTICATED_BODY),
        Some(_) if authorized.is_agent => limits.max_agent_body,
        Some(_) => limits.max_body,
    };
    let caller = authorized.who.clone().unwrap_or_else(|| "".into());
    let incoming = app.shared().bodies.begin(caller);
    let incoming = read(&parts.headers, body, limit, incoming, BodyDeadline::new(limits)).await?;
    Ok((authorized, incoming))
}

fn require_json(headers: &HeaderMap) -> Result<(), Failure> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let media_type = text(header::CONTENT_TYPE)
        .and_then(|value| value.split(';').next())
        .unwrap_or_default();
    if !media_type.trim().eq_ignore_ascii_case("application/json") {
        return Err(Kind::UnsupportedMediaType.because("send the body as JSON, with Content-Type: application/json"));
    }
    match text(header::CONTENT_ENCODING) {
        None | Some("identity") => Ok(()),
        Some(_) => Err(Kind::UnsupportedMediaType.because("send the body without a Content-Encoding")),
    }
}

async fn read(
    headers: &HeaderMap,
    mut body: Body,
    limit: usize,
    mut incoming: BufferedBody,
    mut deadline: BodyDeadline,
) -> Result<BufferedBody, Failure> {
    let too_large = || Kind::BodyTooLarge.because(format!("the body is too large: send at most {limit} bytes"));
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    // Memory is reserved as bytes arrive: a declared length alone reserves nothing.
    while let Some(bytes) = deadline.next(&mut body).await? {
        if incoming.len() + bytes.len() > limit {
            return Err(too_large());
        }
        if !incoming.take(&bytes) {
            let detail = "too many large bodies are being received: try again in a few seconds";
            return Err(Kind::Overloaded.because(detail).retry_after(RETRY_BODY));
        }
    }
    Ok(incoming)
}

/// Parses a JSON text. The error names the field.
pub(super) fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Failure> {
    // serde also accepts an array for a struct, with the fields in order; the API does not.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        serde_json::from_slice::<IgnoredAny>(bytes).map_err(|error| malformed(&error))?;
        return Err(Kind::InvalidField.field("body", "body: not a JSON object: send one"));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        data_error(&path, error.into_inner())
    })?;
    deserializer.end().map_err(|error| malformed(&error))?;
    Ok(value)
}

fn malformed(error: &serde_json::Error) -> Failure {
    Kind::MalformedJson.because(format!("the body is not valid JSON: {error}"))
}

fn data_error(path: &str, error: serde_json::Error) -> Failure {
    if error.classify() != Category::Data {
        return malformed(&error);
    }
    let message = error.to_string();
    let message = message.split(" at line ").next().unwrap_or(&message);
    let named = message.split('`').nth(1).unwrap_or_default();
    let parent = if path == "." { "" } else { path };
    let below = |name: &str| match parent {
        "" => name.to_owned(),
        parent if parent == name || parent.ends_with(&format!(".{name}")) => parent.to_owned(),
        parent => format!("{parent}.{name}"),
    };
    if message.starts_with("unknown field") {
        return Kind::UnknownField.field(below(named), message);
    }
    if message.starts_with("missing field") {
        return Kind::InvalidField.field(
            below(named),
            format!("{message}: add it to the body, because it is required"),
        );
    }
    if message.starts_with("duplicate field") {
        return Kind::InvalidField.field(below(named), format!("{message}: send it only once"));
    }
    let field = if parent.is_empty() { "body" } else { parent };
    Kind::InvalidField.field(field, format!("{field}: {}", in_words(message)))
}

/// Replaces the terse message of the address types with one that describes the required form.
fn in_words(message: &str) -> &str {
    match message {
        "invalid IP address syntax" => "not an address or a network: use one such as 10.8.0.2 or 10.8.0.0/24",
        message => message,
    }
}

/// The ids in a path. A malformed id is treated like an id that does not exist: 404.
pub(super) struct Ids<T>(pub(super) T);

impl<T: DeserializeOwned + Send> FromRequestParts<App> for Ids<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Failure> {
        let path = Path::<T>::from_request_parts(parts, app).await;
        path.map(|Path(ids)| Self(ids)).map_err(|_| {
            Kind::NotFound.because(
                "there is nothing at this path: a server's id is a name like los-angeles; \
                 other ids are UUIDs, which the lists show",
            )
        })
    }
}

/// The query parameters that have not been taken yet.
pub(super) struct Parameters(Vec<(String, String)>);

impl<S: Sync> FromRequestParts<S> for Parameters {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        Query::try_from_uri(&parts.uri)
            .map(|Query(pairs)| Self(pairs))
            .map_err(|rejection| Kind::InvalidField.field("query", rejection.body_text()))
    }
}

impl Parameters {
    /// Takes the parameter `name`, which may be given at most once.
    pub(super) fn take<T: FromStr<Err: Display>>(&mut self, name: &str) -> Result<Option<T>, Failure> {
        let mut values = self.0.extract_if(.., |(key, _)| key == name);
        let Some((_, text)) = values.next() else {
            return Ok(None);
        };
        if values.next().is_some() {
            return Err(Kind::InvalidField.field(name, format!("{name} is given more than once")));
        }
        text.parse()
            .map(Some)
            .map_err(|error: T::Err| Kind::InvalidField.field(name, format!("{name}: {text:?}: {error}")))
    }

    /// Refuses any parameter that has not been taken: a mistyped filter must not be silently ignored.
    pub(super) fn finish(self) -> Result<(), Failure> {
        match self.0.into_iter().next() {
            Some((name, _)) => {
                Err(Kind::UnknownField.field(name.as_str(), format!("there is no query parameter {name:?} here")))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wgctl::api::{NewPeer, NewServer};

    fn problem<T: DeserializeOwned>(json: &str) -> String {
        match parse_json::<T>(json.as_bytes()) {
            Ok(_) => "fine".to_owned(),
            Err(failure) => format!("{failure:?}"),
        }
    }

    #[test]
    fn the_wrong_field_is_named() {
        for (json, kind, field) in [
            ("{", "MalformedJson", ""),
            ("", "MalformedJson", ""),
            ("{} x", "MalformedJson", ""),
            ("[]", "InvalidField", "body"),
            (r#"["alice"]"#, "InvalidField", "body"),
            (" null ", "InvalidField", "body"),
            (r#"{"nmae": "x"}"#, "UnknownField", "nmae"),
            (r#"{"name": ""}"#, "InvalidField", "name"),
            (r#"{"name": 7}"#, "InvalidField", "name"),
            (r#"{"name": "a", "name": "b"}"#, "InvalidField", "name"),
            (r#"{"dns": ["1.1.1.1", "x"]}"#, "InvalidField", "dns[1]"),
            (r#"{"mtu": 70000}"#, "InvalidField", "mtu"),
        ] {
            let shown = problem::<NewPeer>(json);
            let wanted = if field.is_empty() {
                "field: None".to_owned()
            } else {
                format!("field: Some({field:?})")
            };
            assert!(shown.contains(kind) && shown.contains(&wanted), "{json}: {shown}");
        }
        let shown = problem::<NewServer>(r#"{"id": "a", "endpoint": "h:1"}"#);
        assert!(shown.contains("address_pool"), "{shown}");
    }

    #[test]
    fn deep_nesting_is_refused_early() {
        let nested = |open: &str| problem::<serde_json::Value>(&open.repeat(100_000));
        assert!(nested("[").contains("MalformedJson"));
        assert!(nested("{\"a\":").contains("MalformedJson"));
    }
}
