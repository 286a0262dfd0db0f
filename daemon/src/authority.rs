//! The certification authority: asked over CMP, through a process that has no privileges, and not believed unchecked.

pub mod checks;
pub mod cmp;
pub mod helper;
mod message;
mod protection;

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use cns_protocol::card::Holder as CardHolder;
use cns_secret::{Secret, SecretError};
use der::{Decode, Encode};
use thiserror::Error;
use tokio::time::sleep;
use x509_cert::request::CertReq;

pub use crate::authority::checks::{CheckError, Holder, Profile, TrustAnchors};
pub use crate::authority::cmp::{CmpClient, CmpError, IssuedCertificate};
pub use crate::authority::helper::{NetworkError, NetworkHelper};
use crate::config::AuthorityConfig;
use crate::procedure::certifier::{Certifier, CertifierError, Enrolment};

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
    client: CmpClient,
    network: NetworkHelper,
    anchors: TrustAnchors,
}

impl Authority {
    /// Reads what the configuration names. The network is touched only when a certificate is asked for.
    ///
    /// # Errors
    /// When a file cannot be read, or the address is not one of HTTP.
    pub fn open(config: &AuthorityConfig, network: NetworkHelper) -> Result<Self, AuthorityError> {
        helper::check_url(&config.url)?;
        let bundle = fs::read(&config.trust_anchors).map_err(in_file(&config.trust_anchors))?;
        let anchors = TrustAnchors::from_pem(&bundle)?;
        let secret = read_secret(&config.secret_file)?;
        let client = CmpClient::new(&config.reference, secret, anchors.first_subject());
        Ok(Self { url: config.url.clone(), client, network, anchors })
    }

    /// The certificates that issued ones must be signed with.
    #[must_use]
    pub fn anchors(&self) -> &TrustAnchors {
        &self.anchors
    }

    /// Asks for the certificate of a PKCS#10 request, checks it, and tells the authority that it came, or that it is
    /// not wanted.
    ///
    /// A repetition with the same request and `transaction` brings the same certificate.
    ///
    /// # Errors
    /// See [`AuthorityError`].
    pub async fn certify(
        &self,
        pkcs10: &[u8],
        transaction: [u8; 16],
        expected: &Expected<'_>,
    ) -> Result<IssuedCertificate, AuthorityError> {
        let (message, sent) = self.client.p10cr(pkcs10, transaction)?;
        let received = self.client.read_certificate(&self.post(&message).await?, &sent)?;
        let verdict = checks::check_issued(
            &received.issued.der,
            expected.public_key,
            &expected.holder,
            &self.anchors,
            SystemTime::now(),
            expected.profile,
        );
        if !received.confirmed {
            let confirmation = self.client.cert_conf(&received, verdict.as_ref().err());
            // Whether or not the authority can be told, a certificate that is refused here stays refused.
            match (&verdict, confirmation) {
                (Ok(()), confirmation) => {
                    let (message, sent) = confirmation?;
                    self.client.read_pkiconf(&self.post(&message).await?, &sent)?;
                }
                (Err(_), Ok((message, _))) => drop(self.post(&message).await),
                (Err(_), Err(error)) => tracing::warn!(%error, "the authority was not told of the refusal"),
            }
        }
        verdict?;
        Ok(received.issued)
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

fn in_file(path: &Path) -> impl FnOnce(io::Error) -> AuthorityError {
    move |source| AuthorityError::File { path: path.to_path_buf(), source }
}

/// The shared secret, from the disk into locked memory without a stop in between.
fn read_secret(path: &Path) -> Result<Secret, AuthorityError> {
    let mut file = File::open(path).map_err(in_file(path))?;
    let about = file.metadata().map_err(in_file(path))?;
    if about.mode() & 0o077 != 0 {
        tracing::warn!(path = %path.display(), "the CMP secret can be read by others than the daemon's user");
    }
    let length = usize::try_from(about.len()).unwrap_or(usize::MAX);
    if length > SECRET_LIMIT {
        return Err(AuthorityError::SecretLength(path.to_path_buf()));
    }
    let mut secret = Secret::zeroed(length)?;
    file.read_exact(secret.expose_mut()).map_err(in_file(path))?;
    let line = secret.expose().strip_suffix(b"\n").map(<[u8]>::len);
    let secret = secret.truncated(line.unwrap_or(length));
    if secret.is_empty() { Err(AuthorityError::SecretLength(path.to_path_buf())) } else { Ok(secret) }
}

impl Certifier for Authority {
    fn enrol(&self, transaction: [u8; 16], request: Vec<u8>) -> Enrolment<'_> {
        Box::pin(async move {
            let asked = Asked::read(&request).map_err(|error| CertifierError::Failed(error.to_string()))?;
            let expected = Expected {
                public_key: &asked.public_key,
                holder: asked.subject.holder(),
                profile: Profile::Signature,
            };
            match self.certify(&request, transaction, &expected).await {
                Ok(issued) => Ok(issued.der),
                Err(AuthorityError::Certificate(fault)) => Err(CertifierError::Unfit(fault.to_string())),
                Err(error @ AuthorityError::Cmp(CmpError::Refused(_))) => {
                    Err(CertifierError::Refused(error.to_string()))
                }
                Err(error) => Err(CertifierError::Failed(error.to_string())),
            }
        })
    }

    fn check(&self, certificate: &[u8], request: &[u8], holder: &CardHolder) -> Result<(), CertifierError> {
        let asked = Asked::read(request).map_err(|error| CertifierError::Unfit(error.to_string()))?;
        let holder = Holder {
            codice_fiscale: &holder.codice_fiscale,
            given_name: &holder.name,
            surname: &holder.surname,
        };
        let (key, now) = (&asked.public_key, SystemTime::now());
        checks::check_issued(certificate, key, &holder, &self.anchors, now, Profile::Signature)
            .map_err(|fault| CertifierError::Unfit(fault.to_string()))
    }
}

/// What a request asks for: the certificate must say the same before the authority is told that it is welcome.
struct Asked {
    public_key: Vec<u8>,
    subject: checks::Subject,
}

impl Asked {
    fn read(pkcs10: &[u8]) -> Result<Self, AuthorityError> {
        let info = CertReq::from_der(pkcs10).map_err(AuthorityError::Request)?.info;
        Ok(Self {
            public_key: info.public_key.to_der().map_err(AuthorityError::Request)?,
            subject: checks::Subject::read(&info.subject),
        })
    }
}
