//! `wgctl peer add --from-file`.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::support::{Home, ID, Plane, Seen, peer, problem, server, stderr, stdout};
use crate::terminal::Terminal;

const ADD: &str = "POST /api/wg-clients/la";

fn plane(answer: (u16, &str)) -> Plane {
    let configuration = format!("GET /api/wg-clients/la/{ID}/configuration");
    Plane::new(&[
        ("GET /api/servers/la", 200, &server("")),
        ("GET /api/wg-clients/la", 200, "[]"),
        (ADD, answer.0, answer.1),
        (&configuration, 200, "[Interface]\n"),
    ])
}

fn adds(plane: &Plane) -> Vec<Seen> {
    plane.seen().into_iter().filter(|request| request.line == ADD).collect()
}

#[test]
fn every_name_is_added_with_the_common_options() {
    let home = Home::new();
    let plane = plane((201, &peer("x")));
    let key = "pOCSkrZRwni5dyxWn1+puxPZBrRqtoyd+dwrRAn4ogk=";
    let names: String = (0..100).map(|number| format!("device {number},\n")).collect();
    let names = format!("# staff\n{names}\"Roe, Jane\",{key}\n");
    let words = format!("peer add la --from-file - --no-psk --expires 30d --plane {}", plane.url);
    let output = home.run(&words, &names);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(
        stdout(&output).ends_with("101 added, 0 already existed, 0 failed.\n"),
        "{}",
        stdout(&output)
    );
    let adds = adds(&plane);
    let bodies: Vec<Value> = adds
        .iter()
        .map(|add| serde_json::from_str(&add.body).unwrap())
        .collect();
    let names: BTreeSet<_> = bodies.iter().map(|body| body["name"].as_str().unwrap()).collect();
    assert!(names.len() == 101 && names.contains("device 7"), "{names:?}");
    for body in &bodies {
        assert_eq!(body["presharedKey"], false);
        assert_eq!(body["expiresAt"], bodies[0]["expiresAt"], "all have the same expiry");
        assert_eq!(body.get("publicKey").is_some(), body["name"] == "Roe, Jane");
    }
    let keys: BTreeSet<_> = adds.iter().map(|add| add.idempotency_key.clone().unwrap()).collect();
    assert_eq!(keys.len(), 101);
}

#[test]
fn a_failed_request_is_repeated_with_the_same_idempotency_key() {
    let home = Home::new();
    let plane = plane((201, &peer("alice")));
    let words = format!("peer add la --from-file - --json --plane {}", plane.url);
    plane.answer(ADD, 503, &problem(503, "busy", "later"));
    let child = std::thread::spawn(move || (home.run(&words, "alice\n"), home));
    while adds(&plane).is_empty() {
        std::thread::yield_now();
    }
    plane.answer(ADD, 201, &peer("alice"));
    let (output, _home) = child.join().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&answer[0]["name"], &answer[0]["outcome"]),
        (&"alice".into(), &"made".into())
    );
    assert_eq!(answer[0]["client"]["address"], "10.8.0.2");
    let keys: Vec<_> = adds(&plane).into_iter().map(|add| add.idempotency_key).collect();
    assert!(keys.len() > 1 && keys.iter().all(|key| *key == keys[0]), "{keys:?}");
}

#[test]
fn a_repeated_run_leaves_existing_peers_alone_and_names_the_failures() {
    let home = Home::new();
    let plane = plane((409, &problem(409, "name_taken", "there is one")));
    let other = stdout(&home.run("pubkey", &stdout(&home.run("genkey", ""))));
    let names = format!("alice\nbob,{other}\ncarol\n");
    plane.answer(
        "GET /api/wg-clients/la",
        200,
        &format!("[{},{}]", peer("alice"), peer("bob")),
    );
    // Another user has created carol in the meantime.
    plane.answer("GET /api/wg-clients/la?q=carol", 200, &format!("[{}]", peer("carol")));
    let words = format!("peer add la --from-file - --plane {}", plane.url);
    let output = home.run(&words, &names);
    assert_eq!(output.status.code(), Some(1));
    let text = stdout(&output);
    assert!(
        text.contains("alice  exists") && text.contains("carol  exists"),
        "{text}"
    );
    assert!(
        text.contains("\nbob: a peer with this name has another public key\n"),
        "{text}"
    );
    assert!(text.ends_with("0 added, 2 already existed, 1 failed.\n"), "{text}");
    assert!(
        stderr(&output).starts_with("wgctl: 1 of 3 names failed"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_failure_that_affects_all_names_ends_the_run_at_once() {
    let home = Home::new();
    let plane = plane((403, &problem(403, "forbidden", "ask an admin")));
    let names: String = (0..500).map(|number| format!("device-{number}\n")).collect();
    let output = home.run(&format!("peer add la --from-file - --plane {}", plane.url), &names);
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(
        said.contains("of 500 names were not processed (ask an admin (forbidden))"),
        "{said}"
    );
    assert!(adds(&plane).len() <= 64, "{}", adds(&plane).len());
    let output = home.run(&format!("peer add berlin --from-file - --plane {}", plane.url), &names);
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(1), ""));
}

#[test]
fn a_full_pool_does_not_hide_existing_peers() {
    let home = Home::new();
    let plane = plane((409, &problem(409, "pool_exhausted", "no free address left")));
    plane.answer("GET /api/wg-clients/la", 200, &format!("[{}]", peer("alice")));
    let names: String = (0..500).map(|number| format!("device-{number}\n")).collect();
    let words = format!("peer add la --from-file - --plane {}", plane.url);
    let output = home.run(&words, &format!("{names}alice\n"));
    assert_eq!(output.status.code(), Some(1));
    let (text, said) = (stdout(&output), stderr(&output));
    assert!(text.ends_with("0 added, 1 already existed, 0 failed.\n"), "{text}");
    assert!(said.starts_with("wgctl: 500 of 501 names were not processed"), "{said}");
}

#[test]
fn peers_created_by_another_run_count_as_existing_when_the_pool_is_full() {
    const LIST: &str = "GET /api/wg-clients/la";
    let home = Home::new();
    let plane = plane((409, &problem(409, "pool_exhausted", "no free address left")));
    // Another run with the same names fills the pool while this one starts.
    let others: Vec<String> = (0..200).map(|number| peer(&format!("device-{number}"))).collect();
    plane.answer_after(1, LIST, 200, &format!("[{}]", others.join(",")));
    let names: String = (0..300).map(|number| format!("device-{number}\n")).collect();
    let words = format!("peer add la --from-file - --plane {}", plane.url);
    let output = home.run(&words, &names);
    assert_eq!(output.status.code(), Some(1));
    let (text, said) = (stdout(&output), stderr(&output));
    assert!(text.ends_with("0 added, 200 already existed, 0 failed.\n"), "{text}");
    assert!(said.starts_with("wgctl: 100 of 300 names were not processed"), "{said}");
}

#[test]
fn a_rate_limited_request_is_retried_until_it_succeeds() {
    let home = Home::new();
    let plane = plane((429, &problem(429, "too_many_requests", "too many changes at once")));
    plane.answer_after(7, ADD, 201, &peer("alice"));
    let words = format!("peer add la --from-file - --plane {}", plane.url);
    let output = home.run(&words, "alice\n");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(adds(&plane).len(), 8);
}

#[test]
fn a_full_pool_is_reported_once_and_the_created_peers_are_counted() {
    let home = Home::new();
    let plane = plane((201, &peer("x")));
    let names: String = (0..500).map(|number| format!("device-{number}\n")).collect();
    let words = format!("peer add la --from-file - --plane {}", plane.url);
    plane.answer_after(3, ADD, 409, &problem(409, "pool_exhausted", "no free address left"));
    let output = home.run(&words, &names);
    assert_eq!(output.status.code(), Some(1));
    let (text, said) = (stdout(&output), stderr(&output));
    assert!(!text.contains("no free address"), "{text}");
    let summary = text.lines().last().unwrap();
    let made: usize = summary.split(' ').next().unwrap().parse().unwrap();
    assert!(
        made == 3 && summary.ends_with("added, 0 already existed, 0 failed."),
        "{summary}"
    );
    let expected = format!(
        "wgctl: {} of 500 names were not processed (no free address left (pool_exhausted))",
        500 - made
    );
    assert!(said.starts_with(&expected), "{said}");
    assert!(adds(&plane).len() <= made + 64, "{}", adds(&plane).len());
}

#[test]
fn an_invalid_line_is_reported_before_anything_is_added() {
    let home = Home::new();
    let plane = plane((201, &peer("alice")));
    std::fs::write(home.0.join("names.csv"), "alice\nbob,short\n").unwrap();
    let output = home.run(&format!("peer add la --from-file names.csv --plane {}", plane.url), "");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).starts_with("wgctl: names.csv:2: "),
        "{}",
        stderr(&output)
    );
    assert!(plane.seen().is_empty());
    for broken in [
        "alice\nbob\n\"carol\n",
        "alice\nbob\ncarol,a,b\n",
        "alice\nbob\nca\trol\n",
    ] {
        std::fs::write(home.0.join("names.csv"), broken).unwrap();
        let output = home.run(&format!("peer add la --from-file names.csv --plane {}", plane.url), "");
        assert_eq!(output.status.code(), Some(1));
        assert!(
            stderr(&output).starts_with("wgctl: names.csv:3: "),
            "{}",
            stderr(&output)
        );
        assert!(plane.seen().is_empty());
    }
    for words in [
        "peer add la",
        "peer add la alice --from-file x",
        "peer add la alice --output-dir x",
    ] {
        assert_eq!(home.run(words, "").status.code(), Some(2), "{words}");
    }
}

#[test]
fn configurations_are_private_files_and_are_fetched_once() {
    let home = Home::new();
    let plane = plane((201, &peer("x")));
    let words = format!("peer add la --from-file - --output-dir configs --plane {}", plane.url);
    plane.answer(ADD, 201, &peer("../.up/50%"));
    let output = home.run(&words, "../.up/50%\n");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let file = home.0.join("configs/%2E.%2F.up%2F50%25.conf");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "[Interface]\n");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(home.0.join("configs")).unwrap().count(), 1);
    plane.answer(ADD, 409, &problem(409, "name_taken", "there is one"));
    plane.answer("GET /api/wg-clients/la", 200, &format!("[{}]", peer("../.up/50%")));
    let output = home.run(&words, "../.up/50%\n");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let sights = plane
        .seen()
        .iter()
        .filter(|request| request.line.ends_with("/configuration"))
        .count();
    assert_eq!(sights, 1, "the secret must be viewed only once");
    // The peer has been removed and is created again: the file belonged to its predecessor.
    plane.answer(ADD, 201, &peer("../.up/50%"));
    plane.answer("GET /api/wg-clients/la", 200, "[]");
    std::fs::write(&file, "[Interface]\n# of the previous peer\n").unwrap();
    let output = home.run(&words, "../.up/50%\n");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "[Interface]\n");
}

#[test]
fn progress_is_shown_only_on_a_terminal_without_quiet_or_json() {
    let home = Home::new();
    std::fs::write(home.0.join("names"), "alice\nbob\n").unwrap();
    for (more, shown) in [("", true), ("--quiet", false), ("--json", false)] {
        // The plane is busy until the second attempt, so that the command runs for long enough.
        let busy = plane((503, &problem(503, "busy", "later")));
        let words = format!("peer add la --from-file names {more} --plane {}", busy.url);
        let terminal = Terminal::wgctl(&home, &words, &[]);
        if shown {
            terminal.until("0 of 2, ");
        }
        while adds(&busy).len() < 4 {
            std::thread::yield_now();
        }
        busy.answer(ADD, 201, &peer("alice"));
        let (status, written) = terminal.end();
        assert_eq!(status.code(), Some(0), "{written}");
        assert_eq!(written.contains(" of 2, "), shown, "{more}: {written:?}");
    }
    let plane = plane((201, &peer("alice")));
    let output = home.run(&format!("peer add la --from-file names --plane {}", plane.url), "");
    assert_eq!(stderr(&output), "");
}

#[test]
fn an_interrupted_run_reports_what_has_been_done() {
    let home = Home::new();
    let plane = plane((503, &problem(503, "busy", "later")));
    std::fs::write(home.0.join("names"), "alice\nbob\n").unwrap();
    let words = format!("peer add la --from-file names --plane {}", plane.url);
    let mut terminal = Terminal::wgctl(&home, &words, &[("NO_COLOR", "1")]);
    terminal.until("0 of 2");
    terminal.enter("\u{3}");
    terminal.until("0 added, 0 already existed, 0 failed.");
    terminal.until("2 of 2 names were not processed (stopped by Ctrl-C): run it again");
    assert_eq!(terminal.end().0.code(), Some(1));
}

#[test]
fn a_run_interrupted_before_the_existing_peers_are_known_adds_nothing() {
    let home = Home::new();
    let plane = plane((201, &peer("alice")));
    const LIST: &str = "GET /api/wg-clients/la";
    plane.answer(LIST, 503, &problem(503, "busy", "later"));
    std::fs::write(home.0.join("names"), "alice\nbob\n").unwrap();
    let words = format!("peer add la --from-file names --plane {}", plane.url);
    let mut terminal = Terminal::wgctl(&home, &words, &[("NO_COLOR", "1")]);
    while !plane.seen().iter().any(|request| request.line == LIST) {
        std::thread::yield_now();
    }
    terminal.enter("\u{3}");
    terminal.until("stopped by Ctrl-C: nothing was added");
    assert_eq!(terminal.end().0.code(), Some(1));
    assert!(adds(&plane).is_empty());
}
