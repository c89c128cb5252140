//! The planes to dial: one at a time, the next when it fails.
//!
//! Owns what can be asked of a plane, the HTTP clients with the agent's token, whose turn it is, and
//! how long to wait before dialling again. It must not decide what is said.

use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use wgctl::api::Report;
use wgctl::client::{Client, Error, Target};
use wgctl::name::RequestId;
use wgctl::protocol::v1::{Applied, Desired, DesiredQuery, DriftReport, Hello, Prekeys, Reply, Welcome};
use zeroize::Zeroizing;

use crate::config::{self, Config};

/// The first wait is at most this long.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// No wait is longer.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// A plane that says nothing for so long swallows what it is sent: refusing takes no time.
const SILENCE: Duration = Duration::from_secs(4);
/// How long such a plane is passed over while there are others.
const PASSED_OVER: Duration = Duration::from_secs(300);

/// Why there is nobody to dial.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The token's file cannot be read.
    #[error(
        "token_file: {}: {source}: {}", path.display(),
        match source.kind() {
            ErrorKind::NotFound => "enroll this host (`sentrazone-agent enroll --help`)",
            _ => "the agent's user must be able to read it, as root can",
        }
    )]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The token file is empty.
    #[error("{0} is empty: enroll this host again (`wgctl server token SERVER` makes a new token)")]
    NoToken(String),
    /// The certificates to trust.
    #[error(transparent)]
    Trust(#[from] config::Error),
    /// The HTTP client cannot be made.
    #[error(transparent)]
    Client(#[from] Error),
}

/// What an agent says to a plane, each a request and its answer.
pub trait Plane: Clone + Send + Sync + 'static {
    /// Introduces the agent; the first call of a connection.
    fn hello(&self, hello: &Hello) -> impl Future<Output = Result<Welcome, Error>> + Send;
    /// The long poll: answers when there is news, at the latest after `query.wait` seconds.
    fn desired(&self, query: &DesiredQuery) -> impl Future<Output = Result<Desired, Error>> + Send;
    /// Confirms what the kernel has.
    fn applied(&self, applied: &Applied) -> impl Future<Output = Result<(), Error>> + Send;
    /// Tells what others did to the interface.
    fn drift(&self, report: &DriftReport) -> impl Future<Output = Result<(), Error>> + Send;
    /// Fills the plane's stock of prekeys.
    fn prekeys(&self, prekeys: &Prekeys) -> impl Future<Output = Result<(), Error>> + Send;
    /// Answers a request. Secret: the answer may hold a private key.
    fn reply(&self, request: RequestId, reply: &Reply) -> impl Future<Output = Result<(), Error>> + Send;
    /// Tells how the host is doing.
    fn report(&self, report: &Report) -> impl Future<Output = Result<(), Error>> + Send;
    /// Whether it answers at all.
    fn health(&self) -> impl Future<Output = Result<(), Error>> + Send;
    /// Where it is, for the log.
    fn target(&self) -> &Target;
}

impl Plane for Client {
    async fn hello(&self, hello: &Hello) -> Result<Welcome, Error> {
        Self::hello(self, hello).await
    }

    async fn desired(&self, query: &DesiredQuery) -> Result<Desired, Error> {
        Self::desired(self, query).await
    }

    async fn applied(&self, applied: &Applied) -> Result<(), Error> {
        Self::applied(self, applied).await
    }

    async fn drift(&self, report: &DriftReport) -> Result<(), Error> {
        Self::drift(self, report).await
    }

    async fn prekeys(&self, prekeys: &Prekeys) -> Result<(), Error> {
        Self::prekeys(self, prekeys).await
    }

    async fn reply(&self, request: RequestId, reply: &Reply) -> Result<(), Error> {
        Self::reply(self, request, reply).await
    }

    async fn report(&self, report: &Report) -> Result<(), Error> {
        Self::report(self, report).await
    }

    async fn health(&self) -> Result<(), Error> {
        Self::health(self).await.map(drop)
    }

    fn target(&self) -> &Target {
        Self::target(self)
    }
}

/// The planes. Cloning shares whose turn it is.
#[derive(Clone)]
pub struct Planes<P> {
    clients: Arc<[P]>,
    turn: Arc<Mutex<Rotation>>,
    jitter: Jitter,
}

/// Whose turn it is, and who is passed over until when, by position.
#[derive(Default)]
struct Rotation {
    of: usize,
    silent: Vec<Option<Instant>>,
}

impl Planes<Client> {
    /// The configured planes, called with the token in its file.
    pub fn configured(config: &Config) -> Result<Self, SetupError> {
        let path = &config.token_file;
        let failed = |source| SetupError::File {
            path: path.clone(),
            source,
        };
        let token = Zeroizing::new(std::fs::read(path).map_err(failed)?);
        let mode = std::fs::metadata(path).map_err(failed)?.permissions().mode() & 0o7777;
        if mode & 0o007 != 0 {
            // No reason to leave a host without its plane.
            let path = path.display();
            tracing::warn!("token_file: everybody on this host can use {path} (mode {mode:04o}): chmod 600 {path}");
        }
        let token = Zeroizing::new(String::from_utf8_lossy(&token).trim().to_owned());
        if token.is_empty() {
            return Err(SetupError::NoToken(path.display().to_string()));
        }
        let trust = config.trust()?;
        let client = |url: &url::Url| {
            let client = Client::trusting(Target::Url(url.clone()), &trust)?;
            Ok(client.with_token(token.clone()))
        };
        let clients = config.plane.iter().map(client).collect::<Result<Vec<_>, Error>>()?;
        Ok(Self::new(clients, Jitter::default()))
    }
}

impl<P: Clone> Planes<P> {
    /// These planes, the first one's turn. `jitter` cuts the waits of who dials them.
    #[must_use]
    pub fn new(clients: Vec<P>, jitter: Jitter) -> Self {
        Self {
            clients: clients.into(),
            turn: Arc::default(),
            jitter,
        }
    }

    fn turn(&self) -> MutexGuard<'_, Rotation> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The plane whose turn it is.
    #[must_use]
    pub fn current(&self) -> Option<P> {
        self.clients.get(self.turn().of).cloned()
    }

    /// The next one's turn. The current one was dialled at `since` and said nothing: if that took
    /// its time, each turn of it would, so it has none for a while unless all are like it.
    pub fn next_after_silence(&self, since: Instant) {
        if since.elapsed() >= SILENCE {
            let mut turn = self.turn();
            let of = turn.of;
            turn.silent.resize(self.clients.len(), None);
            if let Some(silent) = turn.silent.get_mut(of) {
                *silent = Some(Instant::now() + PASSED_OVER);
            }
        }
        self.next();
    }

    /// The next one's turn.
    pub fn next(&self) {
        let (mut turn, count, now) = (self.turn(), self.clients.len(), Instant::now());
        let silent = |of: &usize| turn.silent.get(*of).copied().flatten().is_some_and(|until| until > now);
        let mut others = (1..=count).filter_map(|step| turn.of.saturating_add(step).checked_rem(count));
        let next = others.clone().find(|of| !silent(of)).or_else(|| others.next());
        turn.of = next.unwrap_or_default();
    }

    /// The waits of somebody who dials them.
    #[must_use]
    pub fn backoff(&self) -> Backoff {
        Backoff {
            failures: 0,
            jitter: self.jitter.clone(),
        }
    }
}

/// Any number, each time another: what cuts the waits at random.
#[derive(Clone)]
pub struct Jitter(Arc<dyn Fn() -> u64 + Send + Sync>);

impl Jitter {
    /// Numbers from `next`.
    pub fn new(next: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(next))
    }
}

/// The system's. Without any the waits are none at all, which is unkind and not wrong.
impl Default for Jitter {
    fn default() -> Self {
        Self::new(|| getrandom::u64().unwrap_or_default())
    }
}

/// Waits that double, each cut at random ("full jitter"), so that a thousand agents that lost their
/// plane together do not come back together.
pub struct Backoff {
    failures: u32,
    jitter: Jitter,
}

impl Backoff {
    /// All is well again.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }

    /// How long to wait now.
    pub fn wait(&mut self) -> Duration {
        let random = (self.jitter.0)();
        let bound = FIRST_WAIT
            .saturating_mul(2u32.saturating_pow(self.failures))
            .min(LONGEST_WAIT);
        self.failures = self.failures.saturating_add(1);
        let milliseconds = u64::try_from(bound.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(random.checked_rem(milliseconds).unwrap_or_default())
    }

    /// Sleeps for the next wait.
    pub async fn sleep(&mut self) {
        tokio::time::sleep(self.wait()).await;
    }

    /// Sleeps for the next wait, unless a plane is there before: one that is back is not kept waiting
    /// for what another's failures cost. Says whether there is anything left to wait for.
    pub async fn sleep_unless(&mut self, connected: &mut watch::Receiver<u64>) -> bool {
        tokio::select! {
            biased;
            () = self.sleep() => true,
            changed = connected.changed() => changed.is_ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn waits_double_up_to_a_bound_and_begin_anew_after_success() {
        let number = Arc::new(AtomicU64::new(0));
        let jitter = {
            let number = Arc::clone(&number);
            Jitter::new(move || number.load(Ordering::Relaxed))
        };
        let mut backoff = Planes::<()>::new(Vec::new(), jitter).backoff();
        // The largest of all cuts is the bound, less one.
        let mut longest = || {
            let before = backoff.failures;
            let cuts = (0..=30_000).map(|cut| {
                number.store(cut, Ordering::Relaxed);
                backoff.failures = before;
                backoff.wait()
            });
            cuts.max().unwrap().as_millis()
        };
        let waits: Vec<u128> = (0..9).map(|_| longest()).collect();
        assert_eq!(waits, [499, 999, 1999, 3999, 7999, 15999, 29999, 29999, 29999]);
        backoff.reset();
        assert!(backoff.wait() < FIRST_WAIT);
    }
}
