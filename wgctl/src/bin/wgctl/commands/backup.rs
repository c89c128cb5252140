//! `backup` and `restore`: everything that a plane has recorded.
//!
//! Owns the rule that every byte of a backup is verified before the file is renamed into place or sent. It must not
//! know the meaning of the rows.

use std::fs::File;
use std::io::{self, BufReader, IsTerminal as _, Read, Seek as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use clap::Args;
use wgctl::backup::{self, Summary, summary};
use wgctl::client::{self, PlaneClient, Target};

use crate::connection::Options;
use crate::failure::Failure;
use crate::output_file::Draft;
use crate::terminal::output::Output;
use crate::terminal::progress::Progress;
use crate::terminal::prompt::{self, interrupt};
use crate::terminal::text::bytes;

/// The maximum number of pieces waiting for verification.
const PIECES: usize = 16;
/// The interval at which the progress is updated.
const LOOK: Duration = Duration::from_millis(200);

#[derive(Args)]
pub(crate) struct Backup {
    /// The file to write ("-" for stdout)
    file: PathBuf,
}

#[derive(Args)]
pub(crate) struct Restore {
    /// The backup to restore
    file: PathBuf,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
    /// Only check the file and show its summary; no plane is needed
    #[arg(long, conflicts_with = "yes")]
    check: bool,
}

impl Backup {
    /// Saves a backup. Ctrl-C leaves no incomplete file behind.
    pub(crate) async fn run(self, plane: &PlaneClient, out: &Output) -> Result<(), Failure> {
        let mut stopped = interrupt()?;
        tokio::select! {
            saved = self.save(plane, out) => saved,
            _ = stopped.recv() => Err(Failure::Local("stopped by Ctrl-C: no backup was written".to_owned())),
        }
    }

    async fn save(self, plane: &PlaneClient, out: &Output) -> Result<(), Failure> {
        let to_stdout = self.file == Path::new("-");
        if to_stdout && (out.json() || io::stdout().is_terminal()) {
            let detail = "a backup is not text: specify a file, or pipe stdout to a program (without --json)";
            return Err(Failure::Usage(detail.to_owned()));
        }
        let mut draft = (!to_stdout).then(|| Draft::create(&self.file)).transpose()?;
        let mut response = plane.backup().await?;
        let progress = Progress::of_bytes(out, response.content_length());
        let mut check = Check::begin();
        let broken = |error| {
            Failure::Call(client::Error::Unreachable {
                target: plane.target().to_string(),
                reason: format!("the backup was interrupted: {error}"),
            })
        };
        while let Some(piece) = response.chunk().await.map_err(broken)? {
            match &mut draft {
                Some(draft) => draft.write(&piece)?,
                None => out.bytes(&piece)?,
            }
            progress.more(piece.len());
            check.feed(piece.to_vec());
        }
        drop(progress);
        let summary = check
            .end()
            .map_err(|error| unusable(Path::new("received data"), &error))?;
        match draft {
            Some(draft) => draft.finish()?,
            None => return Ok(()),
        }
        out.changed(&summary, || {
            let rows = summary.rows;
            format!(
                "{}: {}, {rows} rows ({}). Keep it private: it contains password hashes.\n",
                self.file.display(),
                bytes(summary.bytes),
                contents(&summary)
            )
        })
    }
}

impl Restore {
    pub(crate) async fn run(self, options: &Options, out: &Output) -> Result<(), Failure> {
        let file = File::open(&self.file).map_err(|error| Failure::file("read", &self.file, &error))?;
        let found = summary(BufReader::new(&file)).map_err(|error| unusable(&self.file, &error))?;
        if self.check {
            return out.answer(&found, || {
                let (file, created) = (self.file.display(), found.created_at);
                format!("{file}: intact. Created at {created}; {}\n", contents(&found))
            });
        }
        let plane = options.connect_for_copies(out.now())?;
        let question = format!(
            "The {} replaces everything recorded on {}, and everyone must log in again. Continue?",
            told(&found),
            plane.target()
        );
        prompt::confirm(&question, self.yes)?;
        // The file is opened again, because the first handle is at its end.
        let file = File::open(&self.file).map_err(|error| Failure::file("read", &self.file, &error))?;
        let progress = Progress::of_bytes(out, Some(found.bytes));
        let sent = file.try_clone().ok();
        let restore = plane.restore(tokio::fs::File::from_std(file));
        let restored = watched(restore, || {
            // Both handles share one file position, which is the position of the sender.
            if let Some(Ok(position)) = sent.as_ref().map(|mut file| file.stream_position()) {
                progress.so_far(position);
            }
        })
        .await?;
        drop(progress);
        out.changed(&restored, || {
            let login = match plane.target() {
                Target::Url(_) => format!("; everyone must log in again: use `wgctl login {}`", plane.target()),
                Target::Socket(_) => "; everyone must log in again".to_owned(),
            };
            let fault = restored.audit_fault.as_ref().map_or_else(String::new, |fault| {
                format!("Its audit log has been altered: {fault}\n")
            });
            format!(
                "Restored the {}. Agents pick it up by themselves{login}.\n{fault}",
                told(&restored)
            )
        })
    }
}

/// Runs `work` to completion, and calls `look` at regular intervals in the meantime.
async fn watched<T>(work: impl Future<Output = T>, look: impl Fn()) -> T {
    let mut work = std::pin::pin!(work);
    loop {
        match tokio::time::timeout(LOOK, &mut work).await {
            Ok(done) => return done,
            Err(_) => look(),
        }
    }
}

fn told(summary: &Summary) -> String {
    format!("backup created at {} ({})", summary.created_at, contents(summary))
}

fn contents(summary: &Summary) -> String {
    let Summary {
        servers, peers, users, ..
    } = summary;
    format!("servers: {servers}, peers: {peers}, users: {users}")
}

fn unusable(file: &Path, error: &backup::Error) -> Failure {
    Failure::Local(format!("{}: {error}", file.display()))
}

/// The verification of a backup as it arrives, in a separate thread.
struct Check {
    pieces: SyncSender<Vec<u8>>,
    checked: JoinHandle<Result<Summary, backup::Error>>,
}

impl Check {
    fn begin() -> Self {
        let (pieces, incoming) = sync_channel(PIECES);
        let incoming = Incoming {
            pieces: incoming,
            piece: io::Cursor::default(),
        };
        Self {
            pieces,
            checked: std::thread::spawn(move || summary(incoming)),
        }
    }

    /// Passes a piece to the thread. If the thread has already found a fault, the piece is dropped, and `end` returns
    /// the fault.
    fn feed(&mut self, piece: Vec<u8>) {
        let _ = self.pieces.send(piece);
    }

    fn end(self) -> Result<Summary, backup::Error> {
        drop(self.pieces);
        let crashed = |_| Err(io::Error::other("the check crashed").into());
        self.checked.join().unwrap_or_else(crashed)
    }
}

/// A stream of the received pieces.
struct Incoming {
    pieces: Receiver<Vec<u8>>,
    piece: io::Cursor<Vec<u8>>,
}

impl Read for Incoming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.piece.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            match self.pieces.recv() {
                Ok(piece) => self.piece = io::Cursor::new(piece),
                Err(_) => return Ok(0),
            }
        }
    }
}
