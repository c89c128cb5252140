//! The metrics of both programs must be well formed, documented, limited in number, and correct.

use std::collections::BTreeSet;

use sentrazone_tests::wait::until_blocking;
use serde_json::{Value, json};

use crate::exposition::{families, samples, value};
use crate::http::ask;
use crate::promtool;
use crate::rig::{Agent, PASSWORD, Plane};

/// Starts both programs and uses them as users and an agent do, including some failures.
fn after_traffic() -> (Plane, Agent) {
    let plane = Plane::start("per_peer = true");
    let token = plane.add_server("los-angeles");
    let agent = Agent::start(&plane, &token, "info");
    let created = until_blocking(
        "the agent has sent keys",
        || plane.add_peer("los-angeles", "alice"),
        |answer| answer.status == 201,
    );
    let id = created.json(201)["id"].as_str().unwrap().to_owned();
    let client = format!("/api/wg-clients/los-angeles/{id}");
    plane.ask("GET", &format!("{client}/configuration"), None).json(200);
    plane.ask("POST", &format!("{client}/disable"), None).json(200);
    plane.login("nobody@example.com", "wrong").json(401);
    plane.ask("GET", "/nothing/here", None).json(404);
    until_blocking(
        "the agent has reported",
        || plane.page(),
        |page| value(page, "sentrazone_server_online", &[("server", "los-angeles")]) == Some(1.0),
    );
    (plane, agent)
}

#[test]
fn promtool_accepts_the_metrics_after_real_traffic() {
    let (plane, agent) = after_traffic();
    for page in [plane.page(), agent.page()] {
        assert_eq!(promtool::run(&["check", "metrics"], ".", &page), "", "{page}");
    }
}

#[test]
fn the_documented_metrics_match_the_served_metrics() {
    let (plane, agent) = after_traffic();
    // A peer with a handshake.
    let token = plane.ask("POST", "/api/servers/los-angeles/token", None).json(200)["agent_token"].clone();
    let token = token.as_str().unwrap().to_owned();
    let peer = plane.add_own_peer("los-angeles", "bob")["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let report = json!({
        "server_id": "los-angeles", "ping_ms": 2.5, "peers": 1, "transfer_rx": 5, "transfer_tx": 7,
        "counters": {
            "incarnation": "00000000-0000-4000-8000-000000000001", "sequence": 1,
            "peers": {peer: {"rx": 5, "tx": 7, "latest_handshake_at": "2026-05-06T12:00:00Z"}}
        }
    });
    ask(plane.address, "POST", "/api/report", &token, Some(&report)).json(204);
    let served = families(&plane.page()).into_iter().chain(families(&agent.page()));
    let served: BTreeSet<String> = served.collect();
    assert_eq!(documented(), served);
}

/// Returns the metric names from the tables in `docs/monitoring.md`.
pub(crate) fn documented() -> BTreeSet<String> {
    let text = std::fs::read_to_string(promtool::root().join("docs/monitoring.md")).unwrap();
    let names = text
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    names
        .filter(|name| name.starts_with("sentrazone_") || name.starts_with("process_"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_change_is_timed_from_its_commit_to_the_agents_confirmation() {
    let plane = Plane::start("");
    let token = plane.add_server("los-angeles");
    let say = |method: &str, path: &str, body: Option<&Value>| ask(plane.address, method, path, &token, body);
    let poll = || say("GET", "/api/agent/desired?wait=0", None).json(200);
    let confirm = |desired: &Value| {
        let applied = json!({"incarnation": desired["incarnation"], "revision": desired["revision"]});
        say("POST", "/api/agent/applied", Some(&applied)).json(204);
    };
    let of = |page: &str, what: &str| value(page, &format!("sentrazone_{what}"), &[]).unwrap();
    confirm(&poll());
    assert_eq!(
        of(&plane.page(), "apply_latency_seconds_count"),
        0.0,
        "counted although nothing has changed"
    );
    // The agent was connected a moment ago, so the change waits for it until the plane's time limit.
    let made = plane.add_own_peer("los-angeles", "alice");
    assert_eq!(made["applied"], false);
    assert_eq!(
        of(&plane.page(), "apply_latency_seconds_count"),
        0.0,
        "counted although nothing has been confirmed yet"
    );
    let desired = poll();
    confirm(&desired);
    confirm(&desired);
    let page = plane.page();
    assert_eq!(of(&page, "apply_latency_seconds_count"), 1.0);
    assert!(of(&page, "apply_latency_seconds_sum") >= 2.0, "{page}");
    for what in ["desired_revision", "applied_revision"] {
        assert_eq!(
            of(&page, &format!("server_{what}")),
            desired["revision"].as_f64().unwrap()
        );
    }
    let commits = value(&page, "sentrazone_store_commits_total", &[("outcome", "durable")]).unwrap();
    assert!(
        commits >= 3.0 && of(&page, "store_commit_duration_seconds_count") >= commits,
        "{page}"
    );
    assert_eq!(of(&page, "audit_records_total"), of_audit(&plane));
}

fn of_audit(plane: &Plane) -> f64 {
    plane.ask("GET", "/api/audit?limit=1", None).json(200)[0]["id"]
        .as_f64()
        .unwrap()
}

#[test]
fn logins_are_counted_by_outcome_and_agent_messages_by_kind() {
    let (plane, agent) = after_traffic();
    plane.login("ops@example.com", PASSWORD).json(200);
    let page = plane.page();
    let login = |outcome| value(&page, "sentrazone_logins_total", &[("outcome", outcome)]).unwrap();
    assert_eq!(
        (login("succeeded"), login("failed"), login("throttled")),
        (2.0, 1.0, 0.0)
    );
    for message in ["hello", "poll", "applied", "prekeys", "reply", "report"] {
        let count = value(&page, "sentrazone_agent_messages_total", &[("message", message)]).unwrap();
        assert!(count >= 1.0, "{message}: {page}");
    }
    let viewed = [
        ("route", "/api/wg-clients/{server}/{client}/configuration"),
        ("status", "2xx"),
    ];
    assert_eq!(value(&page, "sentrazone_http_requests_total", &viewed), Some(1.0));
    let own = agent.page();
    let of_agent = |what: &str| value(&own, &format!("sentrazone_agent_{what}"), &[]).unwrap();
    assert_eq!(of_agent("plane_connected"), 1.0);
    assert!(
        of_agent("desired_revision") >= 1.0 && of_agent("prekeys_made_total") >= 1.0,
        "{own}"
    );
    // The agent's interface has never been started.
    assert!(
        of_agent("kernel_errors_total") >= 1.0 && of_agent("applied_revision") == 0.0,
        "{own}"
    );
    assert_eq!(value(&page, "sentrazone_server_interface_failed", &[]), Some(1.0));
}

#[test]
fn peer_names_are_exported_exactly_as_given() {
    let names = [r#"a"b"#, r"back\slash\", r#"\n"} 1 #"#, "日本 {le=\"+Inf\"}", r#"\\""#];
    let plane = Plane::start("per_peer = true");
    plane.add_server("los-angeles");
    for name in names {
        plane.add_own_peer("los-angeles", name);
    }
    let page = plane.page();
    assert_eq!(promtool::run(&["check", "metrics"], ".", &page), "");
    let all = samples(&page);
    let shown = all
        .iter()
        .filter(|sample| sample.name == "sentrazone_peer_received_bytes_total");
    let shown: BTreeSet<&str> = shown.map(|sample| sample.labels["name"].as_str()).collect();
    assert_eq!(shown, BTreeSet::from(names));
}

#[test]
fn peers_have_no_series_unless_it_is_configured() {
    let plane = Plane::start("");
    plane.add_server("los-angeles");
    plane.add_own_peer("los-angeles", "alice-iphone");
    let page = plane.page();
    assert!(
        !page.contains("alice-iphone") && !page.contains("sentrazone_peer_"),
        "{page}"
    );
    assert_eq!(value(&page, "sentrazone_server_clients", &[]), Some(1.0));
}

#[test]
fn strange_paths_and_methods_add_no_series() {
    let plane = Plane::start("");
    let flood = |round: u32| {
        for number in 0..50 {
            let strange = format!("/api/{round}/{number}/%ff?{number}=%22");
            let server = format!("/api/servers/s{round}-{number}");
            for (method, path) in [
                ("GET", strange.as_str()),
                ("POST", &strange),
                (&format!("M{round}X{number}"), "/api/servers"),
                (&format!("M{round}X{number}"), &strange),
                ("GET", &server),
                ("DELETE", "/api/login"),
            ] {
                let status = plane.ask(method, path, None).status;
                assert!((400..500).contains(&status), "{method} {path}: {status}");
            }
        }
        plane.page()
    };
    let (first, second) = (flood(1), flood(2));
    let series = |page: &str| -> BTreeSet<String> {
        let all = samples(page).into_iter();
        all.map(|sample| format!("{}{:?}", sample.name, sample.labels))
            .collect()
    };
    assert_eq!(series(&first), series(&second));
    assert!(samples(&first).len() < 500, "{}", samples(&first).len());
    let none = value(&second, "sentrazone_http_requests_total", &[("route", "none")]).unwrap();
    assert_eq!(none, 300.0, "requests without a route were not counted");
}

#[test]
fn metrics_need_a_token_except_on_their_own_address_which_serves_nothing_else() {
    let plane = Plane::start("");
    let status = |address, path: &str, token: &str| ask(address, "GET", path, token, None).status;
    let agent = plane.add_server("los-angeles");
    for token in ["", "nonsense", &agent] {
        assert_eq!(status(plane.address, "/metrics", token), 401);
    }
    assert_eq!(status(plane.address, "/metrics", &plane.admin), 200);
    let body = json!({"email": "viewer@example.com", "password": PASSWORD, "role": "viewer"});
    plane.ask("POST", "/api/users", Some(&body)).json(201);
    let session = plane.login("viewer@example.com", PASSWORD).json(200);
    assert_eq!(
        status(plane.address, "/metrics", session["token"].as_str().unwrap()),
        200
    );
    assert_eq!(status(plane.metrics, "/metrics", ""), 200);
    for path in ["/", "/api/servers", "/healthz", "/metrics/", "/metricss"] {
        assert_eq!(status(plane.metrics, path, &plane.admin), 404, "{path}");
    }
    assert_eq!(ask(plane.metrics, "POST", "/metrics", "", None).status, 405);
}
