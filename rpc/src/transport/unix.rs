//! Unix sockets, by path.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use tokio::net::{UnixListener, UnixStream};

use super::{Address, Listen, Transport};

pub(crate) async fn dial(path: &Path) -> io::Result<Transport> {
    Ok(transport(UnixStream::connect(path).await?))
}

fn transport(stream: UnixStream) -> Transport {
    let (read, write) = stream.into_split();
    Transport::new(read, write, "unix")
}

/// A listening Unix socket. Its file is removed when the server is done with it.
pub(crate) struct Unix {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode.
    file: (u64, u64),
}

impl Unix {
    /// Takes over the file of a socket on which nobody listens any more, and never any other file.
    pub(crate) async fn bind(path: &Path) -> io::Result<Self> {
        let listener = match UnixListener::bind(path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                let is_socket = std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
                let is_dead = UnixStream::connect(path).await.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
                if !is_socket || !is_dead {
                    return Err(error);
                }
                std::fs::remove_file(path)?;
                UnixListener::bind(path)?
            }
            bound => bound?,
        };
        let file = std::fs::symlink_metadata(path)?;
        Ok(Self { listener, path: path.to_owned(), file: (file.dev(), file.ino()) })
    }
}

impl Drop for Unix {
    fn drop(&mut self) {
        // Another server may have taken the path over since.
        let is_ours = std::fs::symlink_metadata(&self.path).is_ok_and(|file| (file.dev(), file.ino()) == self.file);
        if is_ours && let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "the socket's file could not be removed");
        }
    }
}

#[async_trait]
impl Listen for Unix {
    async fn accept(&mut self) -> io::Result<Transport> {
        let (stream, _) = self.listener.accept().await?;
        Ok(transport(stream))
    }

    fn address(&self) -> Address {
        Address::named(format!("unix:{}", self.path.display()))
    }
}
