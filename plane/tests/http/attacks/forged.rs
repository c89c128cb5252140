//! Forged tokens: each kind that RFC 8725 and other projects' advisories warn about.
//!
//! Some forgeries carry a valid signature, to show that the signature alone is not enough. The tests read
//! the signing key from the plane's file.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::{Value, json};
use wgctl::Timestamp;

use crate::support::client::request;
use crate::support::plane::TestPlane;

/// A genuine session, decoded, and the key that signed it.
struct Known {
    token: String,
    header: Value,
    claims: Value,
    key: Vec<u8>,
}

fn decoded(part: &str) -> Value {
    serde_json::from_slice(&BASE64.decode(part).unwrap()).unwrap()
}

fn sign(message: &str, key: &[u8], algorithm: Algorithm) -> String {
    let signature = crypto::sign(message.as_bytes(), &EncodingKey::from_secret(key), algorithm).unwrap();
    format!("{message}.{signature}")
}

impl Known {
    fn of(plane: &TestPlane) -> Self {
        let token = plane.admin();
        let mut parts = token.split('.');
        let (header, claims) = (decoded(parts.next().unwrap()), decoded(parts.next().unwrap()));
        let ring: Value =
            serde_json::from_slice(&std::fs::read(plane.state_dir().join("session.keys")).unwrap()).unwrap();
        let key = BASE64.decode(ring[0]["secret"].as_str().unwrap()).unwrap();
        let known = Self {
            token,
            header,
            claims,
            key,
        };
        assert_eq!(
            known.signed(&known.header, &known.claims.to_string()),
            known.token_of(&known.claims)
        );
        known
    }

    fn part(&self, index: usize) -> &str {
        self.token.split('.').nth(index).unwrap()
    }

    fn token_of(&self, claims: &Value) -> String {
        self.signed(&self.header, &claims.to_string())
    }

    /// Returns a token with this header, these claims and a valid signature.
    fn signed(&self, header: &Value, claims: &str) -> String {
        // Keep the genuine header byte for byte: encoding it again could change the order of its fields.
        let header = match *header == self.header {
            true => self.part(0).to_owned(),
            false => BASE64.encode(header.to_string()),
        };
        sign(
            &format!("{header}.{}", BASE64.encode(claims)),
            &self.key,
            Algorithm::HS256,
        )
    }

    fn with_claim(&self, name: &str, value: Value) -> String {
        let mut claims = self.claims.clone();
        claims[name] = value;
        self.token_of(&claims)
    }

    fn without_claim(&self, name: &str) -> String {
        let mut claims = self.claims.clone();
        claims.as_object_mut().unwrap().remove(name);
        self.token_of(&claims)
    }

    fn with_header(&self, name: &str, value: Value) -> String {
        let mut header = self.header.clone();
        header[name] = value;
        self.signed(&header, &self.claims.to_string())
    }
}

/// Returns tokens with headers that the plane never issues and a valid signature.
fn headers(known: &Known) -> Vec<(&'static str, String)> {
    let jwk = json!({"kty": "oct", "k": BASE64.encode([7; 32]), "alg": "HS256"});
    let mut without_kid = known.header.clone();
    without_kid.as_object_mut().unwrap().remove("kid");
    let none = |alg: &str| {
        let header = json!({"typ": "JWT", "alg": alg, "kid": known.header["kid"]});
        format!("{}.{}.", BASE64.encode(header.to_string()), known.part(1))
    };
    let other_algorithm = |name: &str, algorithm| {
        let mut header = known.header.clone();
        header["alg"] = json!(name);
        let message = format!("{}.{}", BASE64.encode(header.to_string()), known.part(1));
        sign(&message, &known.key, algorithm)
    };
    vec![
        ("alg none", none("none")),
        ("alg None", none("None")),
        ("alg NONE", none("NONE")),
        ("alg empty", none("")),
        (
            "alg HS384, correctly signed",
            other_algorithm("HS384", Algorithm::HS384),
        ),
        (
            "alg HS512, correctly signed",
            other_algorithm("HS512", Algorithm::HS512),
        ),
        ("RS256 over an HMAC", known.with_header("alg", json!("RS256"))),
        ("ES256 over an HMAC", known.with_header("alg", json!("ES256"))),
        ("EdDSA over an HMAC", known.with_header("alg", json!("EdDSA"))),
        ("no kid", known.signed(&without_kid, &known.claims.to_string())),
        ("another kid", known.with_header("kid", json!("0123456789abcdef"))),
        (
            "a kid with a path",
            known.with_header("kid", json!("../../../../dev/null")),
        ),
        (
            "a kid with SQL",
            known.with_header("kid", json!("' UNION SELECT 'key' --")),
        ),
        ("a kid that is a number", known.with_header("kid", json!(0))),
        ("jku", known.with_header("jku", json!("https://evil.example/keys"))),
        ("x5u", known.with_header("x5u", json!("https://evil.example/cert"))),
        ("x5c", known.with_header("x5c", json!(["AAAA"]))),
        ("jwk", known.with_header("jwk", jwk)),
        ("crit", known.with_header("crit", json!(["exp"]))),
        ("zip", known.with_header("zip", json!("DEF"))),
        ("enc", known.with_header("enc", json!("A128GCM"))),
        ("another typ", known.with_header("typ", json!("at+jwt"))),
        ("another header with the same meaning", {
            let header = format!(" {}", String::from_utf8(BASE64.decode(known.part(0)).unwrap()).unwrap());
            let message = format!("{}.{}", BASE64.encode(header), known.part(1));
            sign(&message, &known.key, Algorithm::HS256)
        }),
    ]
}

/// Returns tokens with claims that the plane never issues, the genuine header and a valid signature.
fn claims(known: &Known) -> Vec<(&'static str, String)> {
    let now = Timestamp::now().unix();
    let text = known.claims.to_string();
    let twice = text.replacen('{', r#"{"role":"viewer","#, 1);
    let mut far = known.claims.clone();
    far["exp"] = json!(now + 10 * 365 * 86_400);
    let mut early = known.claims.clone();
    early["iat"] = json!(now + 3600);
    early["exp"] = json!(now + 7200);
    vec![
        ("expired", known.with_claim("exp", json!(now - 1))),
        ("far exp", known.token_of(&far)),
        ("exp that overflows", known.with_claim("exp", json!(i64::MAX))),
        ("exp as text", known.with_claim("exp", json!((now + 60).to_string()))),
        ("exp as a fraction", known.with_claim("exp", json!(now as f64 + 60.5))),
        ("no exp", known.without_claim("exp")),
        ("no iat", known.without_claim("iat")),
        ("no sub", known.without_claim("sub")),
        ("no aud", known.without_claim("aud")),
        ("no typ", known.without_claim("typ")),
        ("no epoch", known.without_claim("epoch")),
        ("iat in the future", known.token_of(&early)),
        ("nbf", known.with_claim("nbf", json!(now))),
        ("another aud", known.with_claim("aud", json!("another"))),
        (
            "several auds",
            known.with_claim("aud", json!(["sentrazone", "another"])),
        ),
        ("another typ", known.with_claim("typ", json!("agent"))),
        ("an extra claim", known.with_claim("admin", json!(true))),
        ("a claim twice", known.signed(&known.header, &twice)),
        ("another epoch", known.with_claim("epoch", json!(2))),
        ("a lower role", known.with_claim("role", json!("viewer"))),
        ("an unknown role", known.with_claim("role", json!("root"))),
        (
            "another user",
            known.with_claim("sub", json!("00000000-0000-4000-8000-000000000000")),
        ),
        ("claims that are a list", known.signed(&known.header, "[]")),
        ("claims that are not JSON", known.signed(&known.header, "role=admin")),
    ]
}

/// Returns tokens with invalid signatures.
fn signatures(known: &Known) -> Vec<(&'static str, String)> {
    let (token, [header, payload, signature]) = (&known.token, [0, 1, 2].map(|at| known.part(at)));
    let message = format!("{header}.{payload}");
    let mut flipped = BASE64.decode(signature).unwrap();
    flipped[0] ^= 1;
    let raised = known.claims.to_string().replace("\"epoch\":1", "\"epoch\":9");
    vec![
        ("no signature", format!("{message}.")),
        ("no third part", message.clone()),
        (
            "half a signature",
            format!("{message}.{}", &signature[..signature.len() / 2]),
        ),
        ("one flipped bit", format!("{message}.{}", BASE64.encode(&flipped))),
        ("a padded signature", format!("{token}=")),
        ("a longer signature", format!("{token}AAAA")),
        ("an empty key", sign(&message, b"", Algorithm::HS256)),
        ("another key", sign(&message, &[7; 32], Algorithm::HS256)),
        (
            "the kid as the key",
            sign(
                &message,
                known.header["kid"].as_str().unwrap().as_bytes(),
                Algorithm::HS256,
            ),
        ),
        (
            "other claims",
            format!("{header}.{}.{signature}", BASE64.encode(raised)),
        ),
        ("four parts", format!("{token}.{signature}")),
        (
            "five parts, like an encrypted token",
            format!("{token}.{signature}.{signature}"),
        ),
        ("the token twice", format!("{token}.{token}")),
        ("only dots", "...".to_owned()),
        ("a space inside", format!("{header}. {payload}.{signature}")),
        ("two tokens", format!("{token} {token}")),
        ("a comma", format!("{token}, {token}")),
    ]
}

#[test]
fn cve_2026_38651_a_forged_session_is_refused() {
    let plane = TestPlane::start();
    let known = Known::of(&plane);
    plane.get("/api/users", &known.token).expect(200);
    plane.get("/api/users", &known.token_of(&known.claims)).expect(200);
    let forged: Vec<_> = [headers(&known), claims(&known), signatures(&known)].concat();
    assert!(forged.len() >= 60);
    for (kind, token) in &forged {
        let answer = plane.get("/api/users", token);
        assert_eq!(answer.status, 401, "{kind}: {}", answer.text());
        answer.problem(401, "unauthorized");
        let answer = plane.get("/api/agent/desired", token);
        assert_eq!(answer.status, 401, "{kind}, at an endpoint for agents");
    }
    plane.get("/api/users", &known.token).expect(200);
}

#[test]
fn a_one_megabyte_token_is_refused_before_it_is_read() {
    let plane = TestPlane::start();
    let known = Known::of(&plane);
    for token in [
        "A".repeat(1 << 20),
        format!("{}.{}.x", known.part(0), "A".repeat(1 << 20)),
    ] {
        // The plane refuses the head, or closes the connection while the head is being sent.
        let answer = request("GET", "/api/users").token(&token).try_send(plane.address);
        assert!(answer.is_err() || answer.is_ok_and(|answer| (400..=431).contains(&answer.status)));
    }
    let long = format!("{}.{}.x", known.part(0), "A".repeat(8 << 10));
    plane.get("/api/users", &long).problem(401, "unauthorized");
    plane.get("/api/users", &known.token).expect(200);
}

#[test]
fn cve_2026_38651_a_forged_agent_or_api_token_is_refused() {
    let plane = TestPlane::start();
    let admin = plane.admin();
    let agent = plane.add_server(&admin, "los-angeles");
    let api = plane.add_token(&json!({"name": "ci", "role": "admin"}));
    let secret = |token: &str| token.split_once('_').unwrap().1.to_owned();
    let (of_agent, of_api) = (secret(&agent), secret(&api));
    let hash = |token: &str| {
        use sha2::Digest as _;
        sha2::Sha256::digest(token.as_bytes()).to_vec()
    };
    let forged = vec![
        "szagent_".to_owned(),
        "szapi_".to_owned(),
        of_agent.clone(),
        of_api.clone(),
        format!("szapi_{of_agent}"),
        format!("szagent_{of_api}"),
        agent[..agent.len() - 1].to_owned(),
        api[..api.len() - 1].to_owned(),
        format!("{agent}A"),
        format!("{api}A"),
        format!("{api}="),
        agent.to_uppercase(),
        api.to_uppercase(),
        format!("szagent_{}", BASE64.encode(hash(&agent))),
        format!("szapi_{}", BASE64.encode(hash(&api))),
        format!("szapi_{}", BASE64.encode([0; 32])),
        "szapi_ci".to_owned(),
    ];
    for token in &forged {
        for path in ["/api/servers", "/api/users", "/api/agent/desired"] {
            plane.get(path, token).problem(401, "unauthorized");
        }
    }
    plane.get("/api/agent/desired", &agent).expect(200);
    plane.get("/api/servers", &api).expect(200);
    // Each kind of token is refused where another kind is required.
    plane.get("/api/agent/desired", &api).problem(401, "unauthorized");
    plane.get("/api/agent/desired", &admin).problem(401, "unauthorized");
    plane.get("/api/servers", &agent).problem(401, "unauthorized");
    let bearer = request("GET", "/api/servers").header("Authorization", &format!("Token {api}"));
    bearer.send(plane.address).problem(401, "unauthorized");
    let twice = request("GET", "/api/servers").token(&api).token(&api);
    twice.send(plane.address).problem(401, "unauthorized");
}
