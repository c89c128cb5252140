//! The local administration's unix socket.
//!
//! Owns the socket file (0660, group `sentrazone` where there is one) and who is at the other
//! end: the kernel says it (`SO_PEERCRED`, unix(7)), nobody can claim it.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use nix::sys::stat::{Mode, umask};
use nix::unistd::{Group, Uid, User, chown};
use tokio::net::{UnixListener, UnixStream};

const GROUP: &str = "sentrazone";
const MODE: u32 = 0o660;

/// A bound socket; its file is removed when dropped.
pub(super) struct LocalSocket {
    pub(super) listener: UnixListener,
    path: PathBuf,
}

impl LocalSocket {
    /// Binds `path`. A file left by a plane that is gone is removed; one that answers is not.
    pub(super) async fn bind(path: &Path) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            // Under systemd it is there (`RuntimeDirectory`); started by hand it may not be.
            DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
        }
        remove_stale(path).await?;
        let listener = listen(path)?;
        let socket = Self {
            listener,
            path: path.to_owned(),
        };
        if let Ok(Some(group)) = Group::from_name(GROUP)
            && let Err(error) = chown(path, None, Some(group.gid))
        {
            tracing::warn!("the socket {} stays out of group {GROUP}: {error}", path.display());
        }
        fs::set_permissions(path, Permissions::from_mode(MODE))?;
        Ok(socket)
    }
}

/// Whoever connects administers: until the mode is right, nobody else may. The mode that a socket is made with
/// is the umask's, which is the whole process's: what others make meanwhile is more private than they asked.
fn listen(path: &Path) -> io::Result<UnixListener> {
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let before = umask(Mode::from_bits_truncate(0o077));
    let bound = UnixListener::bind(path);
    umask(before);
    bound
}

impl Drop for LocalSocket {
    fn drop(&mut self) {
        // One that is left behind is removed at the next start.
        let _ = fs::remove_file(&self.path);
    }
}

async fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.file_type().is_socket() => {}
        Ok(_) => {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "a file that is no socket is there",
            ));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    match UnixStream::connect(path).await {
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another plane answers there")),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) => Err(error),
    }
}

/// The name of the user at the other end, or the uid in digits for a user without one.
pub(super) fn user(stream: &UnixStream) -> io::Result<Arc<str>> {
    let uid = stream.peer_cred()?.uid();
    Ok(match User::from_uid(Uid::from_raw(uid)) {
        Ok(Some(user)) => user.name.into(),
        Ok(None) | Err(_) => uid.to_string().into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stale_file_is_replaced_and_a_living_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("plane.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let living = LocalSocket::bind(&path).await.unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
        let second = LocalSocket::bind(&path).await.map(|_| ()).unwrap_err();
        assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
        drop(living);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn nobody_else_may_connect_before_the_mode_is_right() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("plane.sock");
        let _listener = listen(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o077, 0);
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("precious");
        fs::write(&path, "data").unwrap();
        assert!(LocalSocket::bind(&path).await.is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "data");
    }
}
