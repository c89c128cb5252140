//! Changes to the log level while the programs run.

use nix::sys::signal::Signal;
use sentrazone_tests::process::Process;
use sentrazone_tests::wait::until_blocking;

use crate::rig::{Agent, Plane, write_config};

/// Sends SIGHUP and waits until the log contains `answer`. Returns everything that has been logged since the signal.
fn reload(process: &Process, answer: &str) -> String {
    let before = process.log().len();
    process.signal(Signal::SIGHUP);
    let log = until_blocking(answer, || process.log(), |log| log[before..].contains(answer));
    log[before..].to_owned()
}

#[test]
fn sighup_reloads_the_planes_log_level() {
    let plane = Plane::start("");
    plane.ask("GET", "/api/servers", None).json(200);
    assert!(!plane.process.log().contains("DEBUG"), "{}", plane.process.log());

    write_config(plane.folder.path(), "debug", "");
    reload(&plane.process, "the log filter changes from info to debug");
    plane.ask("GET", "/api/servers", None).json(200);
    let seen = |log: &String| log.contains("answered with 200") && log.contains("path=\"/api/servers\"");
    until_blocking("requests that only read are logged", || plane.process.log(), seen);

    for (wrong, why) in [
        ("loud", "write error, warn"),
        ("debug\"\nlissten = \"", "no such setting"),
    ] {
        write_config(plane.folder.path(), wrong, "");
        let said = reload(&plane.process, "the configuration cannot be reloaded");
        assert!(said.contains(why), "{said}");
    }
    write_config(plane.folder.path(), "info", "");
    let said = reload(&plane.process, "changes from debug to info");
    assert!(!said.contains("stays at"), "{said}");
    plane.ask("GET", "/api/servers", None).json(200);

    // A change is announced if the old level or the new level shows the announcement.
    for (level, answer) in [
        ("warn", "changes from info to warn"),
        ("info", "changes from warn to info"),
    ] {
        write_config(plane.folder.path(), level, "");
        reload(&plane.process, answer);
    }
    let log = plane.process.log();
    assert_eq!(
        log.matches("wgctl::program::log: ").count(),
        4,
        "not one announcement for each change: {log}"
    );
}

#[test]
fn sighup_reloads_the_agents_log_level_without_stopping_it() {
    let plane = Plane::start("");
    let token = plane.add_server("los-angeles");
    let mut agent = Agent::start(&plane, &token, "info");
    agent.configure("debug");
    reload(&agent.process, "the log filter changes from info to debug");
    agent.configure("loud");
    let said = reload(&agent.process, "the configuration cannot be reloaded");
    assert!(said.contains("log: \"loud\" is not a log level"), "{said}");
    assert!(agent.process.ended().is_none());
}

#[test]
fn the_id_of_a_request_that_changes_something_is_in_both_logs() {
    let plane = Plane::start("");
    let token = plane.add_server("los-angeles");
    let agent = Agent::start(&plane, &token, "info");
    let created = until_blocking(
        "the agent has sent keys",
        || plane.add_peer("los-angeles", "alice"),
        |answer| answer.status == 201,
    );
    let id = created.header("x-request-id").unwrap();
    let has_it = |log: &String| log.lines().any(|line| line.contains(&format!("request_id={id}")));
    let of_agent = until_blocking("the agent names the request", || agent.process.log(), has_it);
    let line = of_agent.lines().find(|line| line.contains(id)).unwrap();
    assert!(line.contains("revision 2 is"), "{line}");
    let of_plane = until_blocking("the plane names the request", || plane.process.log(), has_it);
    assert!(
        of_plane
            .lines()
            .any(|line| line.contains(id) && line.contains("answered with 201")),
        "{of_plane}"
    );
}
