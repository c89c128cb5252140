//! The unix socket for local administration.
//!
//! Owns the socket file (mode 0660, group `sentrazone` if it exists) and the identification of the user at the other
//! end by the credentials that the kernel reports (`SO_PEERCRED`, unix(7)). It must not accept an identity that the
//! client claims.

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

/// A bound socket. Its file is removed on drop.
pub(super) struct LocalSocket {
    pub(super) listener: UnixListener,
    path: PathBuf,
}

impl LocalSocket {
    /// Binds `path`. A socket file left behind by an earlier plane is removed, unless a plane still answers on it.
    pub(super) async fn bind(path: &Path) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            // systemd creates this directory (`RuntimeDirectory`). If the plane is started by hand, it may be missing.
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
            tracing::warn!(
                "cannot change the group of the socket {} to {GROUP}: {error}",
                path.display()
            );
        }
        fs::set_permissions(path, Permissions::from_mode(MODE))?;
        Ok(socket)
    }
}

/// Binds the socket so that only the plane's user can connect until the final mode is set: anyone who can connect is
/// an admin. The initial mode comes from the umask, which applies to the whole process: files that other threads
/// create in the meantime may be more private than intended.
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
        // A file that is left behind is removed at the next start.
        let _ = fs::remove_file(&self.path);
    }
}

async fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.file_type().is_socket() => {}
        Ok(_) => {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "a file that is not a socket already exists there",
            ));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    match UnixStream::connect(path).await {
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "another plane is listening on it",
        )),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) => Err(error),
    }
}

/// Returns the name of the user at the other end, or the uid in digits if the user has no name.
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
    async fn a_stale_socket_is_replaced_and_one_in_use_is_not() {
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
    async fn nobody_else_can_connect_before_the_final_mode_is_set() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("plane.sock");
        let _listener = listen(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o077, 0);
    }

    #[tokio::test]
    async fn a_file_that_is_not_a_socket_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("precious");
        fs::write(&path, "data").unwrap();
        assert!(LocalSocket::bind(&path).await.is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "data");
    }
}
