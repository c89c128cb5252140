//! Floods of connections and logins against the real plane binary.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::client::{connect, is_closed, parse, request};
use crate::support::plane::until;
use crate::support::released::Released;

/// An agent that has confirmed the current revision, so that its next poll is held.
struct Agent<'p> {
    plane: &'p Released,
    token: String,
    query: String,
}

impl<'p> Agent<'p> {
    fn of(plane: &'p Released, server: &str) -> Self {
        let body = json!({"id": server, "endpoint": "vpn.example.com:51820", "address_pool": ["10.8.0.0/24"]});
        let made = request("POST", "/api/servers")
            .json(&body)
            .send_local(&plane.socket())
            .expect(201);
        let token = made["agent_token"].as_str().unwrap().to_owned();
        let first = request("GET", "/api/agent/desired")
            .token(&token)
            .send(plane.address)
            .expect(200);
        let wanted = first["prekeys_wanted"].as_u64().unwrap();
        let prekeys: Vec<_> = (0..wanted).map(|_| crate::support::agent::prekey()).collect();
        let post = |path: &str, body: Value| {
            request("POST", path)
                .token(&token)
                .json(&body)
                .send(plane.address)
                .expect(204);
        };
        post("/api/agent/prekeys", json!({"prekeys": prekeys}));
        let (life, revision) = (&first["incarnation"], &first["revision"]);
        post("/api/agent/applied", json!({"incarnation": life, "revision": revision}));
        let life = life.as_str().unwrap();
        let query = format!("/api/agent/desired?revision={revision}&incarnation={life}");
        Self { plane, token, query }
    }

    /// Connects, authenticates with one request, then starts a poll. The poll has not been answered yet.
    fn poll(&self) -> TcpStream {
        let mut stream = connect(self.plane.address);
        let ask = |wait: u32| {
            format!(
                "GET {}&wait={wait} HTTP/1.1\r\nHost: plane\r\nAuthorization: Bearer {}\r\n\r\n",
                self.query, self.token
            )
        };
        stream.write_all(ask(0).as_bytes()).unwrap();
        answered(&mut stream);
        stream.write_all(ask(60).as_bytes()).unwrap();
        stream
    }
}

/// Returns the JSON object in the next response on a connection that stays open.
fn answered(poll: &mut TcpStream) -> Value {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"}") {
        let mut piece = [0; 4096];
        let length = poll.read(&mut piece).unwrap();
        assert!(length > 0, "the plane closed the connection");
        bytes.extend_from_slice(&piece[..length]);
    }
    parse(&bytes).expect("a response").expect(200)
}

#[test]
fn a_slowloris_attack_cuts_off_neither_agents_nor_admins() {
    const MOST: usize = 60;
    let plane = Released::start(&format!("[limits]\nmax_connections = {MOST}\n"));
    let agents: Vec<Agent> = (0..20).map(|n| Agent::of(&plane, &format!("server-{n}"))).collect();
    let mut held: Vec<TcpStream> = agents.iter().map(Agent::poll).collect();
    let body = json!({"email": "ops@example.com", "password": "correct horse battery", "role": "admin"});
    request("POST", "/api/users")
        .json(&body)
        .send_local(&plane.socket())
        .expect(201);
    let login = json!({"email": "ops@example.com", "password": "correct horse battery"});
    let login = request("POST", "/api/login").json(&login);
    let mut slow = Vec::new();
    let mut slowest = Duration::ZERO;
    for agent in agents.iter().take(10) {
        for number in 0..50 {
            let mut stream = connect(plane.address);
            // Unfinished heads, unfinished bodies, and no data at all.
            let beginning: &[u8] = match number % 3 {
                0 => b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow:",
                1 => b"POST /api/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{",
                _ => b"",
            };
            // The plane may have dropped this connection already.
            let _ = stream.write_all(beginning);
            slow.push(stream);
        }
        let began = Instant::now();
        let session = login.send(plane.address).expect(200);
        let token = session["token"].as_str().unwrap();
        request("GET", "/api/servers")
            .token(token)
            .send(plane.address)
            .expect(200);
        // Meanwhile another agent reconnects, and its poll is held.
        drop(agent.poll());
        slowest = slowest.max(began.elapsed());
    }
    let open = slow.iter().filter(|stream| !is_closed(stream)).count();
    println!("500 slow connections: {open} are open, the admin's slowest round took {slowest:?}");
    assert!(open <= MOST / 2, "{open} unauthenticated connections are open");
    for stream in &held {
        assert!(!is_closed(stream), "an agent's poll was cut off");
    }
    // The held polls are still served: a change reaches one of them.
    let change = json!({"mtu": 1300});
    request("PATCH", "/api/servers/server-0")
        .json(&change)
        .send_local(&plane.socket())
        .expect(200);
    let answer = answered(&mut held[0]);
    assert!(answer["change"]["kind"].is_string(), "{answer}");
    assert!(
        plane
            .log()
            .contains("unauthenticated connections have reached their limit"),
        "{}",
        plane.log()
    );
}

#[test]
fn a_flood_of_logins_does_not_delay_agents() {
    let plane = Released::start("");
    let agent = Agent::of(&plane, "los-angeles");
    let mut held = agent.poll();
    let address = plane.address;
    let flood: Vec<_> = (0..24)
        .map(|caller| {
            std::thread::spawn(move || {
                let login = |turn: u32| {
                    let body =
                        json!({"email": format!("{caller}-{turn}@example.com"), "password": "wrong horse battery"});
                    request("POST", "/api/login").json(&body).send(address).status
                };
                (0..4).map(login).collect::<Vec<u16>>()
            })
        })
        .collect();
    let report = json!({"server_id": "los-angeles", "peers": 0, "transfer_rx": 1, "transfer_tx": 2});
    let report = request("POST", "/api/report").token(&agent.token).json(&report);
    let mut slowest = Duration::ZERO;
    let mut reports = 0;
    while flood.iter().any(|caller| !caller.is_finished()) {
        let began = Instant::now();
        report.send(address).expect(204);
        slowest = slowest.max(began.elapsed());
        reports += 1;
    }
    let statuses: Vec<u16> = flood.into_iter().flat_map(|caller| caller.join().unwrap()).collect();
    println!("96 logins at once: {reports} reports meanwhile, the slowest took {slowest:?}");
    assert!(
        reports > 0 && statuses.iter().all(|status| [401, 429, 503].contains(status)),
        "{statuses:?}"
    );
    assert!(!is_closed(&held), "the agent's poll was cut off");
    let change = json!({"mtu": 1300});
    request("PATCH", "/api/servers/los-angeles")
        .json(&change)
        .send_local(&plane.socket())
        .expect(200);
    answered(&mut held);
}

/// GHSA-j65m-hv65-r264 was a limit that existed but was never enabled. This test checks the limit in the real binary.
#[test]
fn ghsa_j65m_hv65_r264_one_address_cannot_exceed_its_connection_limit_over_tls() {
    let plane = Released::start("[tls]\nmode = \"self-signed\"\n[limits]\nmax_connections_per_address = 3\n");
    let streams: Vec<TcpStream> = (0..8).map(|_| connect(plane.address)).collect();
    until("the oldest five connections to be closed", || {
        let closed: Vec<bool> = streams.iter().map(is_closed).collect();
        (closed == [true, true, true, true, true, false, false, false]).then_some(())
    });
    assert!(
        plane.log().contains("limits.max_connections_per_address"),
        "{}",
        plane.log()
    );
}

#[test]
fn running_out_of_file_descriptors_stops_nothing() {
    let plane = Released::start_by(&["prlimit", "--nofile=64:64"], "");
    let agent = Agent::of(&plane, "los-angeles");
    let mut held = agent.poll();
    // More connections than file descriptors; the kernel keeps the rest in its queue.
    let streams: Vec<TcpStream> = (0..200).map(|_| connect(plane.address)).collect();
    until("the plane to run out of descriptors", || {
        plane.log().contains("could not be accepted").then_some(())
    });
    // New connections are still served: the plane drops unauthenticated ones for them.
    request("GET", "/healthz").send(plane.address).expect(200);
    drop(streams);
    request("GET", "/api/servers").send_local(&plane.socket()).expect(200);
    assert!(!is_closed(&held), "the agent's poll was cut off");
    let change = json!({"mtu": 1300});
    request("PATCH", "/api/servers/los-angeles")
        .json(&change)
        .send_local(&plane.socket())
        .expect(200);
    answered(&mut held);
}
