//! `make hostile`: attacks on a release build of the plane, over this machine's loopback interface, while a client and
//! agents work. It prints one row for each attack, and fails if a promise is broken.
//!
//! Owns the order of the attacks and their selection (arguments are parts of their names).

mod agent;
mod floods;
mod slow;
mod stage;
mod timing;
mod wire;

use std::process::ExitCode;
use std::time::Duration;

use sentrazone_tests::netns::run;

use stage::{Bounds, Row, Stage};

/// The limit on open descriptors for this process, which runs the attackers and the agents. It equals the limit in the
/// plane's unit.
const DESCRIPTORS: &str = "--nofile=8192:8192";

fn wanted(attack: &str) -> bool {
    let mut parts = std::env::args().skip(1).peekable();
    parts.peek().is_none() || parts.any(|part| attack.contains(&part))
}

#[tokio::main]
async fn main() -> ExitCode {
    run(&["prlimit", "--pid", &std::process::id().to_string(), DESCRIPTORS]);
    let stage = Stage::new().await;
    println!(
        "| attack | requests | responses | memory, MB | client p50 / p99, ms | missed polls | held | took |\n\
         | --- | ---: | --- | ---: | ---: | ---: | ---: | --- |"
    );
    let mut broken = Vec::new();
    let mut done = |row: Row| {
        println!("{}", row.text);
        broken.extend(row.broken.iter().map(|what| format!("{}: {what}", row.attack)));
    };
    // A login takes 46 MiB. At most half of the processors (but at least two) hash at the same time.
    let hashing = Bounds {
        growth: 256,
        patience: Duration::from_secs(4),
    };
    // Enough for four bodies of 16 MB and the values parsed from them.
    let reports = || Bounds {
        growth: 256,
        ..Bounds::default()
    };
    macro_rules! attack {
        ($name:literal, $bounds:expr, $make:path) => {
            if wanted($name) {
                done(
                    stage
                        .under($name, $bounds, async |stage: &Stage| $make(stage).await)
                        .await,
                );
            }
        };
    }
    attack!("1,000 logins at once", hashing, floods::logins);
    attack!(
        "200 logins from one address",
        Bounds::default(),
        floods::logins_of_one_address
    );
    attack!("bodies of 1 GB", Bounds::default(), floods::gigabytes);
    attack!("JSON with 100,000 levels or 1,000,000 keys", reports(), floods::shapes);
    attack!("gzip bombs", Bounds::default(), floods::bombs);
    attack!("oversized and malformed heads", Bounds::default(), floods::heads);
    attack!("HTTP/2 floods", Bounds::default(), floods::http2);
    attack!("unfinished bodies", Bounds::default(), floods::unfinished_bodies);
    attack!("hostile agent", reports(), agent::hostile_agent);
    attack!(
        "confirmations whose sender hangs up",
        reports(),
        agent::confirmations_that_hang_up
    );
    attack!("slow headers", Bounds::default(), slow::headers);
    attack!("slow bodies", Bounds::default(), slow::bodies);
    attack!("slow readers", Bounds::default(), slow::readers);
    attack!("audit log exports", Bounds::default(), slow::exports);
    if wanted("login timing") {
        let (text, found) = timing::compare(&stage).await;
        println!("\n{text}");
        broken.extend(found);
    }
    for what in &broken {
        eprintln!("broken: {what}");
    }
    if broken.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
