//! What stands between rustls and a transport: below it both halves as one stream, above it an end of file and faults in this
//! crate's words.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_rustls::TlsStream;

use super::rustls::{AlertDescription, Error as TlsError};
use crate::frame::codec::{self, PREFACE};
use crate::frame::violation::Violation;
use crate::transport::Transport;

/// A transport below TLS. It remembers how the peer began, which says what it spoke when that was not TLS.
pub(super) struct Raw {
    transport: Transport,
    first: [u8; PREFACE],
    shown: usize,
}

impl Raw {
    pub(super) fn new(transport: Transport) -> Self {
        Self { transport, first: [0; PREFACE], shown: 0 }
    }

    /// The peer has said nothing at all.
    pub(super) fn is_silent(&self) -> bool {
        self.shown == 0
    }

    /// What the peer speaks instead of TLS, if that can be told.
    pub(super) fn other_protocol(&self) -> Option<&'static str> {
        match codec::read_preface(&self.first[..self.shown]) {
            Ok(Some(_)) => Some("this protocol"),
            Err(Violation::WrongProtocol(name)) if name != codec::TLS && name != codec::UNKNOWN => Some(name),
            _ => None,
        }
    }

    /// Closes, as far as the peer takes it without much waiting.
    pub(super) async fn close(mut self) {
        let closes = async {
            self.transport.write.shutdown().await?;
            // A socket that is closed with bytes unread resets the connection, and the alert with it.
            tokio::io::copy(&mut self.transport.read.take(64 << 10), &mut tokio::io::sink()).await
        };
        let _ = tokio::time::timeout(Duration::from_millis(100), closes).await;
    }
}

impl AsyncRead for Raw {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.transport.read).poll_read(cx, buffer);
        if self.shown < PREFACE {
            let (shown, new) = (self.shown, buffer.filled().get(before..).unwrap_or_default());
            let new = &new[..new.len().min(PREFACE - shown)];
            self.first[shown..shown + new.len()].copy_from_slice(new);
            self.shown += new.len();
        }
        polled
    }
}

impl AsyncWrite for Raw {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport.write).poll_write(cx, bytes)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport.write).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.write.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport.write).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport.write).poll_shutdown(cx)
    }
}

/// The transport inside TLS, with the peer's certificates.
pub(super) fn inside(mut stream: TlsStream<Raw>) -> Transport {
    let (raw, session) = stream.get_mut();
    let peer = std::mem::take(&mut raw.transport.peer.address);
    let certificates = session_certificates(session);
    Transport::over(Encrypted(stream), peer).certificates(certificates)
}

fn session_certificates(session: &super::rustls::CommonState) -> Vec<Vec<u8>> {
    session.peer_certificates().unwrap_or_default().iter().map(|certificate| certificate.to_vec()).collect()
}

struct Encrypted(TlsStream<Raw>);

impl AsyncRead for Encrypted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.0).poll_read(cx, buffer) {
            // Without a farewell of TLS's own. The protocol inside says itself what is complete, and as over a plain socket a
            // peer may be killed.
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
            Poll::Ready(Err(error)) => Poll::Ready(Err(self.in_our_words(error))),
            polled => polled,
        }
    }
}

impl Encrypted {
    fn in_our_words(&self, error: io::Error) -> io::Error {
        match (&self.0, tls_error(&error)) {
            // A client is done with its handshake before the server has looked at its certificate: the verdict comes late.
            (TlsStream::Client(_), Some(TlsError::AlertReceived(alert))) if is_about_certificates(*alert) => {
                io::Error::new(io::ErrorKind::PermissionDenied, RefusedCertificate(*alert))
            }
            _ => error,
        }
    }
}

impl AsyncWrite for Encrypted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// What rustls said, in an error of a stream.
pub(super) fn tls_error(error: &io::Error) -> Option<&TlsError> {
    error.get_ref()?.downcast_ref()
}

/// An alert by which a peer says that it does not take the certificate it was shown, or misses one. They belong to the handshake.
pub(super) fn is_about_certificates(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::CertificateRequired
            // Its signature is not its authority's.
            | AlertDescription::DecryptError
    )
}

/// The server does not take this client's certificate.
#[derive(Debug)]
struct RefusedCertificate(AlertDescription);

impl fmt::Display for RefusedCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            AlertDescription::CertificateRequired => f.write_str("the server takes only clients with a TLS certificate"),
            alert => write!(f, "the server refused this client's TLS certificate (alert {alert:?})"),
        }
    }
}

impl std::error::Error for RefusedCertificate {}

/// A connection was lost because its server, still in the handshake, did not take this client's certificate.
pub(crate) fn is_refused_certificate(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|error| error.is::<RefusedCertificate>())
}
