//! The plane's words in the command's.
//!
//! Owns what a field or a call of the API is called here. The plane speaks to whoever calls the API;
//! who typed a command is told of its options. It must not change what `--json` prints.

use wgctl::api::Problem;

/// Fields, and the options that fill them; those of one name for both are not here.
const OPTIONS: [(&str, &str); 30] = [
    ("address", "--address"),
    ("addresses", "--address"),
    ("address_pool", "--pool"),
    ("adopt", "--adopt"),
    ("allowedIPs", "--allowed-ips"),
    ("allowed_ips", "--allowed-ips"),
    ("dns", "--dns"),
    ("drift_policy", "--drift-policy"),
    ("endpoint", "--endpoint"),
    ("expiresAt", "--expires"),
    ("expires_at", "--expires"),
    ("grace_seconds", "--grace"),
    ("head", "--expect-head"),
    ("interface", "--interface"),
    ("limit", "--limit"),
    ("listen_port", "--listen-port"),
    ("masquerade", "--masquerade"),
    ("mtu", "--mtu"),
    ("offset", "--offset"),
    ("persistentKeepalive", "--keepalive"),
    ("persistent_keepalive", "--keepalive"),
    ("ping_target", "--ping-target"),
    ("presharedKey", "--no-psk"),
    ("publicKey", "--public-key"),
    ("role", "--role"),
    ("serverAllowedIPs", "--server-allowed-ips"),
    ("servers", "--server"),
    ("since", "--since"),
    ("step", "--step"),
    ("until", "--until"),
];

/// What else the plane says to callers of the API.
const PHRASES: [(&str, &str); 3] = [
    (
        "send a token as Authorization: Bearer …; POST /api/login gives one",
        "a token is needed",
    ),
    (" at POST /api/login", " with `wgctl login URL`"),
    ("a publicKey and \"presharedKey\": false", "--public-key and --no-psk"),
];

/// A refusal for who typed a command: what it is about, and the stable code for searches.
pub(crate) fn told(problem: &Problem) -> String {
    let Problem {
        detail, field, code, ..
    } = problem;
    let mut said = detail.clone();
    for (theirs, ours) in PHRASES {
        said = said.replace(theirs, ours);
    }
    let Some(field) = field.as_deref() else {
        return format!("{said} ({code})");
    };
    let rest = said.strip_prefix(field).and_then(|rest| rest.strip_prefix(": "));
    format!("{}: {} ({code})", option(field), rest.unwrap_or(&said))
}

/// The option of a field, of which one entry may be meant (`address_pool[0]`).
fn option(field: &str) -> &str {
    let name = field.split(['[', '.']).next().unwrap_or(field);
    let found = OPTIONS.iter().find(|(theirs, _)| *theirs == name);
    found.map_or(field, |(_, ours)| ours)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::Cli;

    fn refused(field: Option<&str>, detail: &str) -> String {
        told(&Problem {
            kind: "about:blank".to_owned(),
            title: "x".to_owned(),
            status: 422,
            detail: detail.to_owned(),
            code: "code".to_owned(),
            field: field.map(str::to_owned),
        })
    }

    #[test]
    fn a_field_is_told_as_the_option_that_fills_it() {
        for (field, detail, expected) in [
            (
                Some("expiresAt"),
                "expiresAt: it is past",
                "--expires: it is past (code)",
            ),
            (
                Some("address_pool[1]"),
                "address_pool[1]: fd00::/8: too large",
                "--pool: fd00::/8: too large (code)",
            ),
            (
                Some("publicKey"),
                "the public key is in use",
                "--public-key: the public key is in use (code)",
            ),
            (Some("name"), "name: too long", "name: too long (code)"),
            (
                None,
                "log in again at POST /api/login",
                "log in again with `wgctl login URL` (code)",
            ),
        ] {
            assert_eq!(refused(field, detail), expected);
        }
    }

    #[test]
    fn every_option_that_is_named_is_there() {
        fn options(command: &clap::Command, found: &mut Vec<String>) {
            found.extend(
                command
                    .get_arguments()
                    .filter_map(clap::Arg::get_long)
                    .map(|long| format!("--{long}")),
            );
            command.get_subcommands().for_each(|command| options(command, found));
        }
        let mut there = Vec::new();
        options(&Cli::command(), &mut there);
        for (field, option) in OPTIONS {
            assert!(there.iter().any(|name| name == option), "{field}: {option}");
        }
    }
}
