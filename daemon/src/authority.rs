//! The certification authority: asked over CMP, through a process that has no privileges, and not believed unchecked.

pub mod checks;
pub mod cmp;
mod enrol;
pub mod helper;
mod message;
mod protection;
mod revoke;
pub mod status;

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cns_secret::{Secret, SecretError};
use thiserror::Error;
use tokio::time::sleep;

pub use crate::authority::checks::{CheckError, Holder, Profile, TrustAnchors};
pub use crate::authority::cmp::{
    CmpClient, CmpError, Credentials, IssuedCertificate, MacKind, Signer, SignerError,
};
pub use crate::authority::helper::{NetworkError, NetworkHelper};
pub use crate::authority::protection::{RaKey, RaKeyError, Signing};
use crate::config::{AuthorityConfig, Protection, RequestForm};

/// The secret may be a random key or a pass phrase, but not a file given by mistake.
const SECRET_LIMIT: usize = 1024;
/// How often one message is sent when the network fails, and how long to wait in between. Sending it again is
/// harmless: the transactionID tells the authority that it is the same.
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(500);

/// Why there is no certificate.
#[derive(Debug, Error)]
pub enum AuthorityError {
    /// A file that the configuration names cannot be read.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The secret's file is empty or too long.
    #[error("{}: a CMP secret has 1 to {SECRET_LIMIT} bytes", .0.display())]
    SecretLength(PathBuf),
    /// The network, or the process that talks to it.
    #[error("the certification authority cannot be reached: {0}")]
    Network(#[from] NetworkError),
    /// The authority refused, or its answer cannot be believed.
    #[error(transparent)]
    Cmp(#[from] CmpError),
    /// The certificate is not the one that was asked for. The authority was told so, if it could be.
    #[error("the certificate that the authority issued is refused: {0}")]
    Certificate(#[from] CheckError),
    /// The request that is to be sent cannot be read.
    #[error("the request cannot be read: {0}")]
    Request(der::Error),
    /// The configuration lacks what the protection needs.
    #[error("`authority` lacks {0}")]
    Missing(&'static str),
    /// The registration authority's key.
    #[error(transparent)]
    RaKey(#[from] RaKeyError),
    /// No locked memory for the secret.
    #[error("no locked memory: {0}")]
    Memory(#[from] SecretError),
}

/// What a certificate must say to be accepted.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The chip's public key: SubjectPublicKeyInfo, DER.
    pub public_key: &'a [u8],
    /// The card's holder.
    pub holder: Holder<'a>,
    /// The kind of certificate.
    pub profile: Profile,
}

/// The configured authority.
pub struct Authority {
    url: String,
    credentials: Held,
    request: RequestForm,
    implicit_confirm: bool,
    wait: Duration,
    network: Arc<NetworkHelper>,
    anchors: TrustAnchors,
}

/// What the daemon has to show who asks.
enum Held {
    Secret {
        reference: String,
        secret: Secret,
        mac: MacKind,
    },
    Key(Box<RaKey>),
    /// An operator's card, at each request.
    Officer,
}

impl Authority {
    /// Reads what the configuration names. The network is touched only when a certificate is asked for.
    ///
    /// # Errors
    /// When a file cannot be read, or the address is not one of HTTP.
    pub fn open(config: &AuthorityConfig, network: Arc<NetworkHelper>) -> Result<Self, AuthorityError> {
        network.check(&config.url)?;
        let bundle = fs::read(&config.trust_anchors).map_err(in_file(&config.trust_anchors))?;
        let anchors = TrustAnchors::from_pem(&bundle)?;
        let credentials = match config.protection {
            Protection::Pbm => with_secret(config, MacKind::Pbm)?,
            Protection::Pbmac1 => with_secret(config, MacKind::Pbmac1)?,
            Protection::RegistrationAuthority => {
                let missing = || AuthorityError::Missing("`ra_certificate` and `ra_key_file`");
                let certificate = config.ra_certificate.as_deref().ok_or_else(missing)?;
                let key = config.ra_key_file.as_deref().ok_or_else(missing)?;
                Held::Key(Box::new(RaKey::read(certificate, key)?))
            }
            Protection::Operator => Held::Officer,
        };
        Ok(Self {
            url: config.url.clone(),
            credentials,
            request: config.request,
            implicit_confirm: config.implicit_confirm,
            wait: Duration::from_secs(config.wait_seconds.into()),
            network,
            anchors,
        })
    }

    /// The certificates that issued ones must be signed with.
    #[must_use]
    pub fn anchors(&self) -> &TrustAnchors {
        &self.anchors
    }

    /// Whether requests want the signature of an operator's card (§7).
    #[must_use]
    pub fn wants_officer(&self) -> bool {
        matches!(self.credentials, Held::Officer)
    }

    fn client<'a>(&'a self, officer: Option<&'a dyn Signer>) -> Result<CmpClient<'a>, CmpError> {
        let credentials = match (&self.credentials, officer) {
            (Held::Secret { reference, secret, mac }, _) => {
                Credentials::Secret { reference, secret, mac: *mac }
            }
            (Held::Key(key), _) => Credentials::Signer(&**key),
            (Held::Officer, Some(officer)) => Credentials::Signer(officer),
            (Held::Officer, None) => return Err(CmpError::NoOfficer),
        };
        Ok(CmpClient::new(credentials, &self.anchors).with_implicit_confirm(self.implicit_confirm))
    }

    async fn post(&self, message: &[u8]) -> Result<Vec<u8>, NetworkError> {
        let mut attempt = 1;
        loop {
            match self.network.post(&self.url, cmp::CONTENT_TYPE, message).await {
                Err(error) if attempt < ATTEMPTS && error.is_passing() => {
                    tracing::warn!(%error, attempt, "the certification authority did not answer");
                    sleep(PAUSE).await;
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }
}

fn with_secret(config: &AuthorityConfig, mac: MacKind) -> Result<Held, AuthorityError> {
    let path = config.secret_file.as_deref().ok_or(AuthorityError::Missing("`secret_file`"))?;
    let secret = match secret_file(path, SECRET_LIMIT) {
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
            return Err(AuthorityError::SecretLength(path.to_path_buf()));
        }
        secret => secret.map_err(in_file(path))?,
    };
    let line = secret.expose().strip_suffix(b"\n").map(<[u8]>::len);
    let length = secret.len();
    let secret = secret.truncated(line.unwrap_or(length));
    if secret.is_empty() {
        return Err(AuthorityError::SecretLength(path.to_path_buf()));
    }
    Ok(Held::Secret { reference: config.reference.clone(), secret, mac })
}

fn in_file(path: &Path) -> impl FnOnce(io::Error) -> AuthorityError {
    move |source| AuthorityError::File { path: path.to_path_buf(), source }
}

/// A secret of a file, from the disk into locked memory without a stop in between.
fn secret_file(path: &Path, limit: usize) -> io::Result<Secret> {
    let mut file = File::open(path)?;
    let about = file.metadata()?;
    if about.mode() & 0o077 != 0 {
        tracing::warn!(path = %path.display(), "a secret can be read by others than the daemon's user");
    }
    let length = usize::try_from(about.len()).unwrap_or(usize::MAX);
    if length > limit {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut secret = Secret::zeroed(length).map_err(io::Error::other)?;
    file.read_exact(secret.expose_mut())?;
    Ok(secret)
}
