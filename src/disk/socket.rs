//! A socket under a name in a directory: how programs of the same machine reach a process without a port.
//!
//! The name says nothing of whether somebody listens: it outlives a process that is killed. So whoever binds one must be
//! alone in the directory, and takes a name that was left behind away.

#![expect(clippy::disallowed_methods, reason = "names of sockets are names of files")]

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{Mode, OFlags, chmod, open};
use tokio::net::{UnixListener, UnixSocket};

/// Longest path of a socket in bytes: the system has room for 108, the closing zero among them.
const MAX_PATH_BYTES: usize = 107;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 16;

/// The name of a socket that this process listens on. It is removed when this is dropped.
#[derive(Debug)]
pub struct SocketName(PathBuf);

impl Drop for SocketName {
    fn drop(&mut self) {
        // The next start removes it otherwise.
        let _ = fs::remove_file(&self.0);
    }
}

/// Listens on a socket in `directory`, of which this process has the lock. None but the owner can connect. Inside a tokio
/// runtime only.
///
/// # Errors
/// The file system knows no sockets, or something else bears the name.
pub fn listen_at(directory: &Path, name: &str) -> io::Result<(UnixListener, SocketName)> {
    let path = directory.join(name);
    if fs::symlink_metadata(&path).is_ok_and(|found| found.file_type().is_socket()) {
        fs::remove_file(&path)?;
    }
    let short = Short::of(directory, name)?;
    let socket = UnixSocket::new_stream()?;
    socket.bind(&short.path)?;
    let name = SocketName(path);
    // Before it listens nobody can connect, so nobody gets in who may not.
    chmod(&short.path, Mode::RUSR | Mode::WUSR)?;
    Ok((socket.listen(BACKLOG)?, name))
}

/// Connects to the socket of that name in `directory`.
///
/// # Errors
/// There is none, nobody listens on it, or this user may not connect.
pub fn connect_at(directory: &Path, name: &str) -> io::Result<UnixStream> {
    UnixStream::connect(&Short::of(directory, name)?.path)
}

/// A path of a socket that is short enough. Behind a long one the directory is reached through a descriptor.
struct Short {
    path: PathBuf,
    _directory: Option<OwnedFd>,
}

impl Short {
    fn of(directory: &Path, name: &str) -> io::Result<Short> {
        let path = directory.join(name);
        if path.as_os_str().len() <= MAX_PATH_BYTES {
            return Ok(Short { path, _directory: None });
        }
        let opened = open(directory, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", opened.as_raw_fd())).join(name);
        Ok(Short { path, _directory: Some(opened) })
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const NAME: &str = "test.sock";

    async fn is_heard(directory: &Path, listener: &UnixListener) {
        let (directory, accepted) = (directory.to_owned(), listener.accept());
        let connected = tokio::task::spawn_blocking(move || connect_at(&directory, NAME));
        accepted.await.expect("a connection");
        connected.await.expect("no panic").expect("connected");
    }

    /// Goal: only the owner gets in, the name goes with the listener, and one that was left behind is in nobody's way.
    #[tokio::test]
    async fn a_socket_is_its_owners_and_its_name_is_no_hindrance() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path();
        assert_eq!(connect_at(directory, NAME).unwrap_err().kind(), ErrorKind::NotFound);
        let (listener, name) = listen_at(directory, NAME).unwrap();
        let mode = fs::metadata(directory.join(NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);
        is_heard(directory, &listener).await;
        // As a process leaves it that is killed.
        std::mem::forget(name);
        drop(listener);
        assert_eq!(connect_at(directory, NAME).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        let (listener, name) = listen_at(directory, NAME).unwrap();
        is_heard(directory, &listener).await;
        drop((listener, name));
        assert!(!directory.join(NAME).exists());
    }

    /// Goal: a directory may have a path of any length.
    #[tokio::test]
    async fn a_long_path_is_no_hindrance() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("d".repeat(100)).join("e".repeat(100));
        fs::create_dir_all(&directory).unwrap();
        let (listener, name) = listen_at(&directory, NAME).unwrap();
        assert!(directory.join(NAME).exists());
        is_heard(&directory, &listener).await;
        drop(name);
        assert!(!directory.join(NAME).exists());
    }

    /// Goal: what is no socket is not removed.
    #[tokio::test]
    async fn a_file_of_that_name_stays() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join(NAME), "mine").unwrap();
        assert_eq!(listen_at(home.path(), NAME).unwrap_err().kind(), ErrorKind::AddrInUse);
        assert_eq!(fs::read(home.path().join(NAME)).unwrap(), b"mine");
    }
}
