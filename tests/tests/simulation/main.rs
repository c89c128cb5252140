//! Plane and agents in one process and in virtual time, with random faults from a seed: messages are
//! lost, duplicated and delayed; links are cut; both sides are killed and restarted; hosts reboot, interfaces are
//! changed externally, and clocks jump.
//!
//! The agent's loops, the fleet's rules and the store are real; kernel, host and network
//! are simulated in memory. `SEEDS=n` runs more seeds; `SEED=n` replays one seed and prints its events.

mod dice;
mod host;
mod network;
mod people;
mod plane;
mod record;
mod trouble;
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use network::{FAULTS, KINDS};
use world::{Outcome, run, run_with};

/// The number of seeds in an ordinary `cargo test`.
const FEW: u64 = 150;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// The combined results of many seeds.
#[derive(Default)]
struct Sum {
    failed: Vec<(u64, Vec<String>)>,
    slowest: Duration,
    messages: usize,
    bytes: u64,
    lost: u64,
    exact: u64,
}

impl Sum {
    fn add(&mut self, seed: u64, outcome: Outcome) {
        self.slowest = self.slowest.max(outcome.agreed_after);
        self.messages += outcome.messages;
        self.bytes += outcome.bytes;
        self.lost += outcome.lost;
        self.exact += u64::from(outcome.may_be_lost == 0);
        if !outcome.wrong.is_empty() {
            self.failed.push((seed, outcome.wrong));
        }
    }
}

#[test]
fn whatever_happens_all_sides_agree_in_the_end_and_no_invariant_is_violated() {
    if let Some(seed) = number("SEED") {
        let outcome = run(seed);
        outcome.trace.iter().for_each(|line| println!("{line}"));
        println!("seed {seed}: agreed after {:?}", outcome.agreed_after);
        assert!(outcome.wrong.is_empty(), "{:#?}", outcome.wrong);
        return;
    }
    let seeds = number("SEEDS").unwrap_or(FEW);
    let (next, sum, begun) = (AtomicU64::new(0), Mutex::new(Sum::default()), Instant::now());
    // More threads than processors, because each seed has two threads, one of which usually waits for the other.
    let threads = 4 * std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        return;
                    }
                    let outcome = run(seed);
                    sum.lock().unwrap().add(seed, outcome);
                }
            });
        }
    });
    let sum = sum.into_inner().unwrap();
    let took = begun.elapsed().as_secs_f64();
    println!(
        "{seeds} seeds in {took:.0} s ({:.0} per second), {} events: {} diverged; agreed within {:?} of the last \
         fault; {} of {} bytes lost in crashes, none counted twice; {} seeds without such a crash lost none",
        seeds as f64 / took,
        sum.messages,
        sum.failed.len(),
        sum.slowest,
        sum.lost,
        sum.bytes,
        sum.exact,
    );
    for (seed, wrong) in sum.failed.iter().take(10) {
        println!(
            "seed {seed} (replay: make sim SEED={seed}): {:#?}",
            &wrong[..wrong.len().min(3)]
        );
    }
    assert!(sum.failed.is_empty(), "{} seeds diverged", sum.failed.len());
}

#[test]
fn a_message_of_any_kind_may_be_lost_duplicated_or_late() {
    let (mut right, mut all) = (0, 0);
    for kind in KINDS {
        for fault in FAULTS {
            let outcome = run_with(kind, fault);
            all += 1;
            right += u32::from(outcome.wrong.is_empty());
            if !outcome.wrong.is_empty() {
                println!("{kind:?} {fault:?}: {:#?}", outcome.wrong);
            }
        }
    }
    println!("each kind of message lost, unanswered, duplicated, duplicated late or late once: {right}/{all} agreed");
    assert_eq!(right, all);
}

#[test]
fn a_seed_replays_event_by_event() {
    for seed in [1, 2, 3, 5, 8] {
        let (first, second) = (run(seed), run(seed));
        let differs = first.trace.iter().zip(&second.trace).find(|(one, two)| one != two);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!(first.trace.len(), second.trace.len());
    }
}
