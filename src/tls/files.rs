//! Owns reading certificates and keys in PEM; it judges whether they fit together, not whether they are trusted.

use std::fs::File;
use std::hash::{DefaultHasher, Hasher as _};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, RootCertStore};

/// The largest PEM file in bytes: the whole of a system's trusted roots takes a quarter of it.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Says which file cannot be used, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {fault}", path.display())]
pub struct FileError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub fault: FileFault,
}

/// Says what is wrong with a file of certificates or keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileFault {
    /// The system does not give it.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// It is larger than any certificate file.
    #[error("is larger than {FILE_BYTES_MAX} bytes")]
    TooLarge,
    /// The lines between the marks are no base64, or a mark is missing: half-written, perhaps.
    #[error("is not whole PEM")]
    BadPem,
    /// It holds no certificate.
    #[error("holds no certificate")]
    NoCertificate,
    /// A certificate in it cannot be read.
    #[error("holds a certificate that cannot be used: {0}")]
    BadCertificate(String),
    /// It holds no private key.
    #[error("holds no private key")]
    NoKey,
    /// A passphrase protects the key, and there is nobody to type it.
    #[error("the key is encrypted; remove the passphrase")]
    Encrypted,
    /// The key is of a kind that is not used.
    #[error("holds a key that cannot be used: {0}")]
    BadKey(String),
    /// The key is not the certificate's.
    #[error("holds a key that is not the certificate's")]
    Mismatch,
    /// The certificate's time is over.
    #[error("holds a certificate that has expired")]
    Expired,
    /// The certificate's time has not begun.
    #[error("holds a certificate that is not valid yet")]
    NotYetValid,
    /// The directory holds more than a directory of certificates does.
    #[error("holds too many files")]
    TooMany,
}

impl FileFault {
    /// Names the file with the fault.
    pub(super) fn at(self, path: &Path) -> FileError {
        FileError { path: path.to_owned(), fault: self }
    }
}

/// A file that was read for something that must be made anew when it changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedFile {
    path: PathBuf,
    /// Identifies the content; `None` while it cannot be read.
    content: Option<u64>,
}

impl NamedFile {
    /// Notes what a file holds now; call it before the file is read for use, so that no change falls between.
    pub fn note(path: &Path) -> Self {
        let mut reading = Reading::default();
        let content = reading.read(path).ok().map(|_| reading.content());
        Self { path: path.to_owned(), content }
    }

    /// Whether the file now holds something else; it blocks on the disk.
    pub fn has_changed(&self) -> bool {
        Self::note(&self.path) != *self
    }
}

/// Reads files and remembers what their content was.
#[derive(Default)]
pub(super) struct Reading {
    hasher: DefaultHasher,
}

impl Reading {
    /// Identifies everything that was read, within this process.
    pub(super) fn content(&self) -> u64 {
        self.hasher.finish()
    }

    fn read(&mut self, path: &Path) -> Result<Vec<u8>, FileError> {
        let unreadable = |error: std::io::Error| FileFault::Unreadable(error.to_string()).at(path);
        // Opening a pipe would wait for a writer.
        if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
            return Err(FileFault::Unreadable("it is no file".to_owned()).at(path));
        }
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
        read.map_err(unreadable)?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(FileFault::TooLarge.at(path));
        }
        self.hasher.write_usize(bytes.len());
        self.hasher.write(&bytes);
        Ok(bytes)
    }

    /// Reads certificates, the end entity's first; at least one.
    pub(super) fn chain(&mut self, path: &Path) -> Result<Vec<CertificateDer<'static>>, FileError> {
        let bytes = self.read(path)?;
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
        let chain = chain.map_err(|_| FileFault::BadPem.at(path))?;
        // A file that was cut in the middle of its second certificate must not pass for a shorter chain.
        let begun = bytes.windows(BEGIN_CERTIFICATE.len()).filter(|window| *window == BEGIN_CERTIFICATE).count();
        match chain.len() {
            0 => Err(FileFault::NoCertificate.at(path)),
            whole if whole != begun => Err(FileFault::BadPem.at(path)),
            _ => Ok(chain),
        }
    }

    /// Reads a certificate with its chain, and the key that belongs to it.
    pub(super) fn pair(
        &mut self,
        certificate: &Path,
        key: &Path,
        provider: &CryptoProvider,
    ) -> Result<CertifiedKey, FileError> {
        let chain = self.chain(certificate)?;
        let bytes = self.read(key)?;
        let holds = |mark: &[u8]| bytes.windows(mark.len()).any(|window| window == mark);
        if ENCRYPTED_KEYS.into_iter().any(holds) {
            return Err(FileFault::Encrypted.at(key));
        }
        let private = PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| match error {
            rustls::pki_types::pem::Error::NoItemsFound => FileFault::NoKey.at(key),
            _ => FileFault::BadPem.at(key),
        })?;
        let signing = provider.key_provider.load_private_key(private);
        let signing = signing.map_err(|error| FileFault::BadKey(error.to_string()).at(key))?;
        let pair = CertifiedKey::new(chain, signing);
        match pair.keys_match() {
            Ok(()) => Ok(pair),
            Err(Error::InconsistentKeys(_)) => Err(FileFault::Mismatch.at(key)),
            Err(error) => Err(FileFault::BadCertificate(error.to_string()).at(certificate)),
        }
    }

    /// Reads certificates to trust.
    pub(super) fn roots(&mut self, path: &Path) -> Result<Arc<RootCertStore>, FileError> {
        let mut roots = RootCertStore::empty();
        for certificate in self.chain(path)? {
            roots.add(certificate).map_err(|error| FileFault::BadCertificate(error.to_string()).at(path))?;
        }
        Ok(Arc::new(roots))
    }
}

const BEGIN_CERTIFICATE: &[u8] = b"-----BEGIN CERTIFICATE-----";
/// What encrypted keys have in them: those of PKCS #8 (RFC 5958), and older ones (RFC 1421).
const ENCRYPTED_KEYS: [&[u8]; 2] = [b"-----BEGIN ENCRYPTED PRIVATE KEY-----", b"Proc-Type: 4,ENCRYPTED"];
