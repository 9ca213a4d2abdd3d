//! PEM files: certificates and keys as rustls takes them, or what is wrong with the file. A key never gets into an error.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::rustls::pki_types::pem::{Error as PemError, PemObject};
use super::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use super::rustls::{Error as TlsError, RootCertStore};
use crate::{Error, ErrorKind};

/// The longest file that is read: all authorities of the web together have a quarter of it.
const LONGEST: u64 = 1 << 20;

/// Which of the two files rustls has found fault with.
pub(super) fn blame(error: TlsError, certificate: &Pem, key: &Pem) -> Error {
    match error {
        TlsError::InvalidCertificate(_) => certificate.refused(error),
        TlsError::InconsistentKeys(_) => key.wrong(&format!("it is not the key of {}", certificate.path.display())).caused_by(error),
        _ => key.refused(error),
    }
}

/// A file as it was read.
pub(super) struct Pem {
    path: PathBuf,
    pub(super) text: Vec<u8>,
}

impl Pem {
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        let mut text = Vec::new();
        File::open(path).and_then(|file| file.take(LONGEST + 1).read_to_end(&mut text)).map_err(|error| {
            Error::new(ErrorKind::InvalidInput, format!("the TLS file {} cannot be read: {error}", path.display())).caused_by(error)
        })?;
        let pem = Self { path: path.to_owned(), text };
        if pem.text.len() as u64 > LONGEST {
            return Err(pem.wrong("longer than 1 MiB"));
        }
        Ok(pem)
    }

    pub(super) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, Error> {
        let certificates = CertificateDer::pem_slice_iter(&self.text).collect::<Result<Vec<_>, _>>().map_err(|error| self.malformed(&error))?;
        if certificates.is_empty() {
            return Err(self.wrong("it has no certificate"));
        }
        Ok(certificates)
    }

    /// The authorities in the file.
    pub(super) fn authorities(&self) -> Result<RootCertStore, Error> {
        let mut roots = RootCertStore::empty();
        for certificate in self.certificates()? {
            roots.add(certificate).map_err(|error| self.refused(error))?;
        }
        Ok(roots)
    }

    pub(super) fn key(&self) -> Result<PrivateKeyDer<'static>, Error> {
        match PrivateKeyDer::from_pem_slice(&self.text) {
            Ok(key) => Ok(key),
            Err(PemError::NoItemsFound) => Err(self.wrong("it has no private key, or an encrypted one")),
            Err(error) => Err(self.malformed(&error)),
        }
    }

    /// What rustls says of the file's content, which is never the content.
    pub(super) fn refused(&self, error: TlsError) -> Error {
        self.wrong(&error.to_string()).caused_by(error)
    }

    // The parser's own words may quote the line, which may be a key's.
    fn malformed(&self, error: &PemError) -> Error {
        self.wrong(match error {
            PemError::MissingSectionEnd { .. } => "a section does not end",
            PemError::IllegalSectionStart { .. } => "a section does not begin as it should",
            PemError::Base64Decode(_) => "a section is not base64",
            _ => "not PEM",
        })
    }

    fn wrong(&self, what: &str) -> Error {
        Error::new(ErrorKind::InvalidInput, format!("the TLS file {} cannot be used: {what}", self.path.display()))
    }
}
