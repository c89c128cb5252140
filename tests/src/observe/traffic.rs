//! Live traffic through a tunnel: a steady ping and an iperf3 stream, with their losses.
//!
//! Owns the programs that generate the traffic, and the parsing of their output. A ping is lost if it is never
//! answered; a late reply is not a loss. The module `sessions` detects replaced sessions.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::netns::Netns;
use crate::process::Process;
use crate::sessions::Sessions;
use crate::wait;

/// The interval between two pings.
const INTERVAL: Duration = Duration::from_millis(50);
/// The number of replies to wait for at the start, and again before the final count, so that a tunnel that is dead at
/// the end is detected.
const LAST_ANSWERS: u64 = 10;
/// The longest plausible round-trip time. A longer one is caused by a jump in the system clock, and is ignored.
const BELIEVED: Duration = Duration::from_secs(3600);
/// The bit rate of the stream. It is low, because encryption is slow under emulation.
const BITS_PER_SECOND: &str = "256k";

/// Traffic through one tunnel.
pub struct Traffic {
    name: String,
    ping: Process,
    answers: PathBuf,
    stream: Process,
    // Dropped after the stream.
    _sink: Process,
}

/// The results of the traffic through one or more tunnels.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// The number of tunnels.
    pub tunnels: u32,
    /// The number of pings sent.
    pub sent: u64,
    /// The number of pings that were never answered.
    pub lost: u64,
    /// The longest time without an answered ping.
    pub longest_gap: Duration,
    /// The longest round-trip time.
    pub slowest: Duration,
    /// The number of sessions that were replaced too early or have disappeared.
    pub rehandshakes: u32,
    /// The number of seconds in which a stream carried no data.
    pub stalled: u32,
    /// The total duration of all streams, in seconds.
    pub streamed: u32,
}

impl Traffic {
    /// Starts traffic between a device and the host's address in the tunnel. The port depends on `number`, so
    /// that a host can have several streams.
    #[must_use]
    pub fn begin(name: &str, device: &Netns, host: &Netns, target: &str, number: u16, folder: &Path) -> Self {
        let port = (5201 + number).to_string();
        let mut sink = host.command("iperf3");
        sink.args(["--server", "--port", &port]);
        let sink = Process::start(&format!("{name}-sink"), sink, folder);
        wait::until_blocking(
            "iperf3 listens",
            || {
                let listening = host.exec(&["ss", "-Hltn", "sport", "=", &format!(":{port}")]);
                !listening.is_empty()
            },
            |there| *there,
        );
        let mut ping = device.command("ping");
        ping.args(["-n", "-i", &INTERVAL.as_secs_f64().to_string(), target]);
        let ping = Process::start(&format!("{name}-ping"), ping, folder);
        let mut stream = device.command("iperf3");
        stream.args(["--client", target, "--port", &port, "--time", "0"]);
        // Small writes: with the default of 128 KiB, nothing would be sent in some seconds.
        stream.args(["--bitrate", BITS_PER_SECOND, "--length", "1K"]);
        stream.args(["--format", "k", "--forceflush"]);
        let stream = Process::start(&format!("{name}-stream"), stream, folder);
        let traffic = Self {
            name: name.to_owned(),
            answers: folder.join(format!("{name}-ping.log")),
            ping,
            stream,
            _sink: sink,
        };
        traffic.answered(LAST_ANSWERS);
        wait::until_blocking(
            "the stream flows",
            || traffic.stream_seconds().0,
            |seconds| *seconds > 0,
        );
        traffic
    }

    /// Waits until a few more pings are answered, ends the traffic and returns the counts.
    #[must_use]
    pub fn end(mut self) -> Tally {
        self.answered(self.pings().last + LAST_ANSWERS);
        let pings = self.pings();
        let ended = self.stream.ended();
        assert!(
            ended.is_none(),
            "{}: the stream broke: {}",
            self.name,
            self.stream.log()
        );
        let (streamed, stalled) = self.stream_seconds();
        self.stream.kill();
        self.ping.kill();
        Tally {
            tunnels: 1,
            sent: pings.last,
            lost: pings.missing,
            longest_gap: INTERVAL * u32::try_from(pings.longest).unwrap_or(u32::MAX),
            slowest: pings.slowest,
            rehandshakes: 0,
            stalled,
            streamed,
        }
    }

    fn pings(&self) -> Pings {
        Pings::read(&std::fs::read_to_string(&self.answers).unwrap_or_default())
    }

    fn answered(&self, number: u64) {
        let what = format!("{}: ping {number} is answered", self.name);
        wait::until_blocking(&what, || self.pings().last, |last| *last >= number);
    }

    /// Returns the duration of the stream in seconds, and the number of seconds in which it carried no data.
    fn stream_seconds(&self) -> (u32, u32) {
        let log = self.stream.log();
        let rows = log
            .lines()
            .filter(|line| line.contains("sec  ") && line.contains("Bytes"));
        let empty = |line: &&str| line.contains(" 0.00 Bytes");
        let count = |rows: usize| u32::try_from(rows).unwrap_or(u32::MAX);
        (count(rows.clone().count()), count(rows.filter(empty).count()))
    }
}

/// The counts from the output of `ping`.
#[derive(Debug, Default, PartialEq, Eq)]
struct Pings {
    /// The latest answered sequence number. Numbers start at 1.
    last: u64,
    /// The number of earlier pings without a reply.
    missing: u64,
    /// The longest run of unanswered pings.
    longest: u64,
    slowest: Duration,
}

impl Pings {
    /// Parses the output of `ping`. Sequence numbers have 16 bits, so a number far below the last one has wrapped
    /// around.
    fn read(text: &str) -> Self {
        let mut pings = Self::default();
        for line in text.lines().filter(|line| !line.contains("(DUP!)")) {
            let Some(number) = value(line, "icmp_seq=").and_then(|text| text.parse::<u16>().ok()) else {
                continue;
            };
            let Some(time) = value(line, "time=").and_then(|text| text.parse::<f64>().ok()) else {
                continue;
            };
            // The system clock may have jumped between request and reply. The jump does not count as waiting time.
            let took = Duration::from_secs_f64(time.max(0.0) / 1000.0);
            pings.slowest = pings.slowest.max(if took < BELIEVED { took } else { Duration::ZERO });
            #[expect(clippy::cast_possible_truncation, reason = "the lower 16 bits are what ping shows")]
            let ahead = number.wrapping_sub(pings.last as u16);
            if ahead == 0 || ahead > u16::MAX / 2 {
                // A late reply to a ping that has been counted as missing.
                pings.missing = pings.missing.saturating_sub(1);
                continue;
            }
            let skipped = u64::from(ahead) - 1;
            pings.missing += skipped;
            pings.longest = pings.longest.max(skipped);
            pings.last += u64::from(ahead);
        }
        pings
    }
}

fn value<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    line.split_once(key)?.1.split_whitespace().next()
}

impl Tally {
    /// Returns the combined results.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        self.tunnels += other.tunnels;
        self.sent += other.sent;
        self.lost += other.lost;
        self.longest_gap = self.longest_gap.max(other.longest_gap);
        self.slowest = self.slowest.max(other.slowest);
        self.rehandshakes += other.rehandshakes;
        self.stalled += other.stalled;
        self.streamed += other.streamed;
        self
    }

    /// Ends the watch on `sessions` and adds the number of replaced sessions.
    #[must_use]
    pub fn with_sessions(mut self, sessions: Sessions) -> Self {
        self.rehandshakes += sessions.end();
        self
    }

    /// Returns true if no tunnel was affected.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.lost == 0 && self.rehandshakes == 0
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} tunnels, longest gap {:.2} s, slowest reply {:.2} s, streams stalled {} of {} s",
            self.tunnels,
            self.longest_gap.as_secs_f64(),
            self.slowest.as_secs_f64(),
            self.stalled,
            self.streamed
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(numbers: impl IntoIterator<Item = u64>) -> Pings {
        let lines = numbers.into_iter().map(|number| {
            format!(
                "64 bytes from 10.8.0.1: icmp_seq={} ttl=64 time=1.5 ms\n",
                number % 65536
            )
        });
        Pings::read(&lines.collect::<String>())
    }

    #[test]
    fn unanswered_pings_count_as_missing_and_late_replies_do_not() {
        let pings = printed([1, 2, 5, 4, 7]);
        assert_eq!((pings.last, pings.missing, pings.longest), (7, 2, 2));
        assert_eq!(pings.slowest, Duration::from_micros(1500));
    }

    #[test]
    fn counting_continues_when_sequence_numbers_wrap_around() {
        let pings = printed((1..=70_000).filter(|number| *number != 65_540));
        assert_eq!((pings.last, pings.missing), (70_000, 1));
    }

    #[test]
    fn a_duplicate_reply_counts_once() {
        let text = "64 bytes from 10.8.0.1: icmp_seq=1 ttl=64 time=1 ms\n\
                    64 bytes from 10.8.0.1: icmp_seq=1 ttl=64 time=2 ms (DUP!)\n\
                    From 10.8.0.9 icmp_seq=2 Destination Host Unreachable\n\
                    64 bytes from 10.8.0.1: icmp_seq=3 ttl=64 time=1 ms\n";
        let pings = Pings::read(text);
        assert_eq!((pings.last, pings.missing), (3, 1));
    }
}
