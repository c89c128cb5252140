//! The plane's refusals in terms of the command line.
//!
//! Owns the mapping from the API's fields to options, and from its next steps to commands. The plane's messages are
//! written for callers of the API, but users of `wgctl` need options and commands. It must not change the output of
//! `--json`.

use wgctl::api::{Hint, NextStep, Problem};

/// The API's fields and the options that set them. A field that is not listed is shown under its own name.
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

/// Returns the text of a refusal for a user of `wgctl`, with the option that it concerns and the stable code, which
/// can be searched for.
///
/// An older plane that sends no hints describes the next step as an API call, which is shown unchanged.
pub(crate) fn text(problem: &Problem) -> String {
    let Problem {
        detail,
        field,
        code,
        hint,
        kind: _,
        title: _,
        status: _,
    } = problem;
    let hinted = hint
        .as_ref()
        .and_then(|Hint { reason, step }| command(*step).map(|step| format!("{reason}: {step}")));
    let text = hinted.unwrap_or_else(|| detail.clone());
    let Some(field) = field.as_deref() else {
        return format!("{text} ({code})");
    };
    let rest = text.strip_prefix(field).and_then(|rest| rest.strip_prefix(": "));
    format!("{}: {} ({code})", option(field), rest.unwrap_or(&text))
}

/// Returns the next step as a command, or `None` for a step that this release does not know.
const fn command(step: NextStep) -> Option<&'static str> {
    match step {
        NextStep::LogIn => Some("log in with `wgctl login URL`, or give a token with --token-file"),
        NextStep::BringOwnKey => Some("start it, or give --public-key and --no-psk"),
        NextStep::Unknown => None,
    }
}

/// Returns the option for a field. The field may name a single entry (`address_pool[0]`).
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
        text(&Problem {
            kind: "about:blank".to_owned(),
            title: "x".to_owned(),
            status: 422,
            detail: detail.to_owned(),
            code: "code".to_owned(),
            field: field.map(str::to_owned),
            hint: None,
        })
    }

    #[test]
    fn a_field_is_shown_as_the_option_that_sets_it() {
        for (field, detail, expected) in [
            (
                Some("expiresAt"),
                "expiresAt: it has passed",
                "--expires: it has passed (code)",
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
                "it has expired: log in at POST /api/login",
                "it has expired: log in at POST /api/login (code)",
            ),
        ] {
            assert_eq!(refused(field, detail), expected);
        }
    }

    #[test]
    fn a_known_next_step_is_shown_as_a_command() {
        let hinted = |step: &str| {
            let problem = format!(
                r#"{{"type":"x","title":"x","status":401,"detail":"it has expired: call the API","code":"code","hint":{{"reason":
                "it has expired","step":"{step}"}}}}"#
            );
            text(&serde_json::from_str(&problem).unwrap())
        };
        assert_eq!(
            hinted("log_in"),
            "it has expired: log in with `wgctl login URL`, or give a token with --token-file (code)"
        );
        assert_eq!(
            hinted("bring_own_key"),
            "it has expired: start it, or give --public-key and --no-psk (code)"
        );
        assert_eq!(hinted("of_a_later_release"), "it has expired: call the API (code)");
    }

    #[test]
    fn every_option_in_the_mapping_exists() {
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
