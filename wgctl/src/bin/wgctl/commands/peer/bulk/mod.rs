//! `peer add --from-file`: many devices at once.
//!
//! Owns the number of requests in flight, the retries, and the outcome of each name. An interrupted run can
//! be repeated, so it must not change peers that already exist.

mod name_list;
mod outcome;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tokio::signal::unix::Signal;
use wgctl::api::{NewPeer, Peer};
use wgctl::client::PlaneClient;
use wgctl::name::RequestId;
use wgctl::{PeerName, PublicKey, ServerId};
use zeroize::Zeroizing;

use crate::commands::peer::arguments::{Add, NameFile};
use crate::failure::Failure;
use crate::output_file::write_secret;
use crate::terminal::output::Output;
use crate::terminal::progress::Progress;
use crate::terminal::prompt::interrupt;
use name_list::{NameEntry, read};
use outcome::{NameResult, Outcome, table};

/// The maximum number of requests in flight.
const AT_ONCE: usize = 64;
/// The number of attempts, and the first pause. Each pause is twice as long as the previous one.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(500);
/// The maximum number of retries after a 429 (too many requests) response. Together, they take a minute.
const TOO_MANY: u32 = 120;

/// The names that have been processed, and the reason why the others have not.
#[derive(Default)]
struct Tally {
    done: BTreeMap<usize, NameResult>,
    end: Option<End>,
}

/// The reason why a run ended before its last name.
enum End {
    Interrupted,
    /// The failure, which would also affect all remaining names.
    Refused(Failure),
}

/// Adds the devices listed in the file.
pub(crate) async fn add(plane: &PlaneClient, out: &Output, add: &Add, many: NameFile<'_>) -> Result<(), Failure> {
    let wanted = read(many.file)?;
    // Ctrl-C is caught from here on, because names may be processed before the program first waits for Ctrl-C.
    // Before this point, Ctrl-C simply ends the program: nothing has been sent yet.
    let mut stopped = interrupt()?;
    let asked = async {
        // An unknown server or a missing permission is reported once, not for every name.
        plane.server(&add.server).await?;
        patiently(async || plane.peers(&add.server).await).await
    };
    let peers = tokio::select! {
        peers = asked => peers?,
        _ = stopped.recv() => return Err(Failure::Local("stopped by Ctrl-C: nothing was added".to_owned())),
    };
    if let Some(folder) = many.folder {
        std::fs::create_dir_all(folder).map_err(|error| Failure::file("create", folder, &error))?;
    }
    let mut run = Run {
        plane,
        server: &add.server,
        common: add.request(out.now()),
        folder: many.folder,
        present: by_name(peers),
    };
    let progress = Progress::of(out, wanted.len());
    let mut tally = Tally::default();
    run.all(&wanted, &mut tally, &mut stopped, &progress).await;
    if tally.pool_is_full() {
        run.find_present(&wanted, &mut tally, &mut stopped, &progress).await;
    }
    drop(progress);
    tally.report(wanted.len(), out)
}

fn by_name(peers: Vec<Peer>) -> BTreeMap<PeerName, Peer> {
    peers.into_iter().map(|peer| (peer.name.clone(), peer)).collect()
}

impl Tally {
    fn pool_is_full(&self) -> bool {
        matches!(&self.end, Some(End::Refused(Failure::Call(error))) if error.code() == Some("pool_exhausted"))
    }

    /// Prints the outcome for each name. Fails unless all of them now exist.
    fn report(self, count: usize, out: &Output) -> Result<(), Failure> {
        let Self { done, end } = self;
        let done: Vec<NameResult> = done.into_values().collect();
        let failed = done
            .iter()
            .filter(|done| matches!(done.outcome, Outcome::Failed(_)))
            .count();
        out.changed(&done.iter().map(NameResult::json).collect::<Vec<_>>(), || {
            table(&done, out)
        })?;
        let again = "run it again: existing names are left as they are";
        let why = match end {
            Some(End::Interrupted) => "stopped by Ctrl-C".to_owned(),
            Some(End::Refused(failure)) => failure.to_string(),
            None if failed > 0 => {
                return Err(Failure::Local(format!(
                    "{failed} of {count} names failed: fix the reported errors, and {again}"
                )));
            }
            None => return Ok(()),
        };
        Err(Failure::Local(format!(
            "{} of {count} names were not processed ({why}): {again}",
            count - done.len()
        )))
    }
}

/// Returns true if all remaining names would fail in the same way.
fn ends_all(failure: &Failure) -> bool {
    use wgctl::client::Error;
    let Failure::Call(error) = failure else { return false };
    let for_all = matches!(error.status(), Some(401 | 403 | 404)) || error.code() == Some("pool_exhausted");
    for_all || matches!(error, Error::Unreachable { .. })
}

struct Run<'a> {
    plane: &'a PlaneClient,
    server: &'a ServerId,
    common: NewPeer,
    folder: Option<&'a Path>,
    /// The peers that existed when the list was last fetched.
    present: BTreeMap<PeerName, Peer>,
}

impl Run<'_> {
    /// Processes all names that are not done yet, until a failure occurs that would affect all remaining names.
    async fn all(&self, wanted: &[NameEntry], tally: &mut Tally, stopped: &mut Signal, progress: &Progress) {
        let mut left: Vec<_> = wanted
            .iter()
            .enumerate()
            .filter(|(place, _)| !tally.done.contains_key(place))
            .collect();
        // Existing names come first: a full pool affects only names that are still to be created.
        left.sort_by_key(|(_, wanted)| !self.present.contains_key(&wanted.name));
        self.each(left, tally, stopped, progress).await;
    }

    /// Fetches the list of peers again and processes the names that now exist. Somebody else may have created
    /// them since this run began, and may have filled the pool in doing so.
    async fn find_present(
        &mut self,
        wanted: &[NameEntry],
        tally: &mut Tally,
        stopped: &mut Signal,
        progress: &Progress,
    ) {
        let asked = patiently(async || self.plane.peers(self.server).await);
        let peers = tokio::select! {
            // Names whose state is unknown are left for the next run.
            peers = asked => peers.unwrap_or_default(),
            _ = stopped.recv() => return,
        };
        self.present = by_name(peers);
        let left = wanted.iter().enumerate();
        let left =
            left.filter(|(place, wanted)| !tally.done.contains_key(place) && self.present.contains_key(&wanted.name));
        let left = left.collect();
        self.each(left, tally, stopped, progress).await;
    }

    async fn each(
        &self,
        names: Vec<(usize, &NameEntry)>,
        tally: &mut Tally,
        stopped: &mut Signal,
        progress: &Progress,
    ) {
        let ended = Cell::new(false);
        let mut work = stream::iter(names)
            .take_while(|_| std::future::ready(!ended.get()))
            .map(|(place, wanted)| async move { (place, self.one(wanted).await) })
            .buffer_unordered(AT_ONCE);
        loop {
            let next = tokio::select! {
                biased;
                _ = stopped.recv() => {
                    tally.end = Some(End::Interrupted);
                    return;
                }
                next = work.next() => next,
            };
            let Some((place, one)) = next else { return };
            match one.outcome {
                // The failure is reported once, at the end. The run still waits for requests in flight, because
                // some may succeed.
                Outcome::Failed(failure) if ends_all(&failure) => {
                    ended.set(true);
                    tally.end.get_or_insert(End::Refused(failure));
                }
                outcome => {
                    progress.more(1);
                    tally.done.insert(place, NameResult { outcome, ..one });
                }
            }
        }
    }

    async fn one(&self, wanted: &NameEntry) -> NameResult {
        let name = wanted.name.clone();
        let outcome = self.make(wanted).await.unwrap_or_else(Outcome::Failed);
        let peer = match &outcome {
            Outcome::Made(peer) | Outcome::Exists(peer) => peer,
            Outcome::Failed(_) => {
                return NameResult {
                    name,
                    outcome,
                    file: None,
                };
            }
        };
        match self.save(peer, matches!(outcome, Outcome::Made(_))).await {
            Ok(file) => NameResult { name, outcome, file },
            Err(failure) => NameResult {
                name,
                outcome: Outcome::Failed(Failure::Local(format!(
                    "it exists, but its configuration could not be saved: {failure}"
                ))),
                file: None,
            },
        }
    }

    async fn make(&self, NameEntry { name, key }: &NameEntry) -> Result<Outcome, Failure> {
        if let Some(peer) = self.present.get(name) {
            return existing(peer.clone(), *key);
        }
        let new = NewPeer {
            name: Some(name.clone()),
            public_key: *key,
            ..self.common.clone()
        };
        // The idempotency key is used only in this run. A request whose response is lost is repeated with the same
        // key, but a device that somebody has removed since the previous run is created again.
        let once = RequestId::random().to_string();
        match patiently(async || self.plane.create_peer(self.server, &new, Some(&once)).await).await {
            Ok(peer) => Ok(Outcome::Made(Box::new(peer))),
            // The name has been taken since the list was fetched.
            Err(error) if error.code() == Some("name_taken") => {
                let found = patiently(async || self.plane.peers_like(self.server, name.as_str(), None).await).await?;
                let peer = found.into_iter().find(|peer| peer.name == *name);
                let gone = || Failure::Local("the name was taken, but is now free: run it again".to_owned());
                existing(peer.ok_or_else(gone)?, *key)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Writes the configuration. For a peer that existed before, an existing file is left as it is; for a new one it
    /// belonged to an earlier peer of that name.
    async fn save(&self, peer: &Peer, is_new: bool) -> Result<Option<PathBuf>, Failure> {
        let Some(folder) = self.folder else { return Ok(None) };
        let path = folder.join(file_name(peer));
        if is_new || !path.exists() {
            let text = patiently(async || self.plane.peer_configuration(self.server, peer.id).await).await?;
            write_secret(&path, Zeroizing::new(text).as_bytes())?;
        }
        Ok(Some(path))
    }
}

/// Returns the outcome for the name of an existing peer.
fn existing(peer: Peer, key: Option<PublicKey>) -> Result<Outcome, Failure> {
    if key.is_some_and(|key| key != peer.public_key) {
        return Err(Failure::Local(
            "a peer with this name has another public key".to_owned(),
        ));
    }
    Ok(Outcome::Exists(Box::new(peer)))
}

/// Repeats a call that fails but may succeed later. All attempts use the same idempotency key, if there is one.
async fn patiently<T>(call: impl AsyncFn() -> Result<T, wgctl::client::Error>) -> Result<T, wgctl::client::Error> {
    let (mut pause, mut tries, mut refused) = (PAUSE, 1, 0);
    loop {
        match call().await {
            // The plane is not overloaded: it limits the requests per principal, and 64 at once exceed the limit.
            Err(error) if error.status() == Some(429) && refused < TOO_MANY => {
                refused += 1;
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) if passing(&error) && tries < TRIES => {
                tries += 1;
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            answer => return answer,
        }
    }
}

/// Returns true if the failure may be temporary. An offline agent does not count, because it may stay offline for a
/// long time.
fn passing(error: &wgctl::client::Error) -> bool {
    let away = matches!(error, wgctl::client::Error::Unreachable { .. });
    let busy = error.status().is_some_and(|status| status >= 500);
    (away || busy) && error.code() != Some("agent_offline")
}

/// Returns the name of a peer's configuration file. It cannot lead to another directory or be hidden. The escaping
/// keeps different names apart.
fn file_name(peer: &Peer) -> String {
    let mut name = String::new();
    for (index, c) in peer.name.as_str().chars().enumerate() {
        match c {
            '/' | '%' => name.extend(format!("%{:02X}", u32::from(c)).chars()),
            '.' if index == 0 => name.push_str("%2E"),
            c => name.push(c),
        }
    }
    // A name that might exceed NAME_MAX (255) together with the prefix and suffix of its draft is replaced by the id.
    if name.len() > 200 {
        name = peer.id.to_string();
    }
    name + ".conf"
}
