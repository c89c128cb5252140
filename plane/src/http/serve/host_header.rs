//! The checks on a request's destination: its Host header, and the length of its target.
//!
//! Owns the refusal of ambiguous requests (RFC 9112, section 3.2) and, on the local socket, of requests that are meant
//! for another host. The local socket accepts the caller's uid as proof of identity. If a browser or a proxy relayed a
//! request with another site's name to the socket, DNS rebinding would let that site act as the user (CVE-2022-41924).
//! Over TCP the name is not compared: a request has no effect without a token, which no other site's page has, and
//! proxies pass on any public name.

use axum::extract::Request;
use axum::http::uri::Authority;
use axum::http::{Version, header};

use super::origin::Origin;
use crate::http::problem::{Failure, Kind};

/// Refuses a target that is too long, a Host that is missing, repeated or malformed, and, on the local
/// socket, a Host other than localhost.
pub(crate) fn check(origin: Option<&Origin>, request: &Request, max_url: usize) -> Result<(), Failure> {
    let uri = request.uri();
    if uri
        .path_and_query()
        .is_some_and(|target| target.as_str().len() > max_url)
    {
        return Err(Kind::UriTooLong.because(format!(
            "the path and query are too long: send at most {max_url} bytes (limits.max_url)"
        )));
    }
    let wrong = || Kind::BadRequest.because("send one Host header with the plane's name");
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().map_err(|_| wrong())?,
        (None, _) if request.version() < Version::HTTP_11 => "",
        _ => return Err(wrong()),
    };
    let named: Option<Authority> = match host {
        "" => None,
        host if host.contains('@') => return Err(wrong()),
        host => Some(host.parse().map_err(|_| wrong())?),
    };
    // A target in absolute form takes precedence over the header.
    let name = uri.authority().or(named.as_ref()).map_or("", Authority::host);
    let is_here = name.is_empty() || name.eq_ignore_ascii_case("localhost");
    if matches!(origin, Some(Origin::Local(_))) && !is_here {
        return Err(Kind::MisdirectedRequest.because("over the local socket, the Host header must be localhost"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn checked(local: bool, uri: &str, hosts: &[&str]) -> u16 {
        let mut request = Request::get(uri);
        for host in hosts {
            request = request.header(header::HOST, *host);
        }
        let request = request.body(Body::empty()).unwrap();
        let origin = match local {
            true => Origin::Local("root".into()),
            false => Origin::Tcp([192, 0, 2, 1].into()),
        };
        match check(Some(&origin), &request, 20) {
            Ok(()) => 200,
            Err(failure) => axum::response::IntoResponse::into_response(failure).status().as_u16(),
        }
    }

    #[test]
    fn cve_2022_41924_the_local_socket_accepts_only_localhost_as_the_host() {
        for (host, status) in [
            ("localhost", 200),
            ("LOCALHOST:80", 200),
            ("", 200),
            ("plane.example.com", 421),
            ("127.0.0.1.attacker.example", 421),
            ("localhost.attacker.example", 421),
            ("127.0.0.1", 421),
        ] {
            assert_eq!(checked(true, "/", &[host]), status, "{host}");
        }
        assert_eq!(checked(true, "http://attacker.example/", &["localhost"]), 421);
        assert_eq!(checked(true, "http://localhost/", &["attacker.example"]), 200);
    }

    #[test]
    fn over_tcp_any_single_valid_host_is_accepted() {
        for host in ["plane", "plane.example.com:8443", "[::1]:8080", "192.0.2.1"] {
            assert_eq!(checked(false, "/", &[host]), 200, "{host}");
        }
        for hosts in [&[][..], &["a", "a"], &["a b"], &["user@host"], &["a/b"], &["\u{e9}"]] {
            assert_eq!(checked(false, "/", hosts), 400, "{hosts:?}");
        }
        assert_eq!(checked(false, "/123456789012345678901", &["plane"]), 414);
    }
}
