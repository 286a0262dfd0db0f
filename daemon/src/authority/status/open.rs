//! The configured sources.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::authority::checks::{CheckError, TrustAnchors};
use crate::authority::status::kept::OutOfForce;
use crate::authority::status::lists::Lists;
use crate::authority::status::{ASKED_ANEW, AT_ONCE, StatusService};
use crate::authority::{NetworkError, NetworkHelper};
use crate::config::{Config, StatusConfig};
use crate::database::Database;

/// Why the sources cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// An address.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The file of the authorities cannot be read.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It holds no certificate.
    #[error("{}: {source}", path.display())]
    Anchors {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: CheckError,
    },
    /// Whose certificates they are is not configured.
    #[error("`trust_anchors` is needed where there is no [authority]")]
    NoAnchors,
    /// A delta list and nothing that it continues.
    #[error("`delta_crl` is of no use without `crl`")]
    DeltaAlone,
}

impl StatusService {
    /// The sources that the configuration names; nothing where it names none.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn configured(config: &Config, database: &Database) -> Result<Option<Self>, OpenError> {
        let Some(status) = &config.status else { return Ok(None) };
        if status.ocsp.is_none() && status.crl.is_none() {
            if status.delta_crl.is_some() {
                return Err(OpenError::DeltaAlone);
            }
            tracing::warn!("[status] names no source: certificates' status is not checked");
            return Ok(None);
        }
        let of_authority = || config.authority.as_ref().map(|authority| &authority.trust_anchors);
        let path = status.trust_anchors.as_ref().or_else(of_authority).ok_or(OpenError::NoAnchors)?;
        let bundle = std::fs::read(path).map_err(|source| OpenError::File { path: path.clone(), source })?;
        let anchors = TrustAnchors::from_pem(&bundle)
            .map_err(|source| OpenError::Anchors { path: path.clone(), source })?;
        // A helper of its own: a responder that hangs does not hold up what is asked of the certifier.
        let network = NetworkHelper::default().with_route(&config.network)?;
        Self::open(status, anchors, Arc::new(network), database).map(Some)
    }

    /// The sources of the configuration, for certificates that the anchors issued.
    ///
    /// # Errors
    /// When an address is not one of HTTP, or there is a delta list alone.
    pub fn open(
        config: &StatusConfig,
        anchors: TrustAnchors,
        network: Arc<NetworkHelper>,
        database: &Database,
    ) -> Result<Self, OpenError> {
        if let Some(ocsp) = &config.ocsp {
            network.check(ocsp)?;
        }
        let megabytes = usize::try_from(config.crl_limit_mib).unwrap_or(usize::MAX);
        let limit = megabytes.saturating_mul(1024 * 1024);
        let lists = match (&config.crl, &config.delta_crl) {
            (Some(complete), delta) => {
                Some(Lists::open((complete, delta.as_deref()), limit, &network, database)?)
            }
            (None, Some(_)) => return Err(OpenError::DeltaAlone),
            (None, None) => None,
        };
        Ok(Self {
            ocsp: config.ocsp.clone(),
            ocsp_without_nonce: config.ocsp_without_nonce,
            lists,
            offline: config.offline,
            anchors,
            network,
            asked_anew: ASKED_ANEW,
            answers: Default::default(),
            out_of_force: OutOfForce::new(database.clone()),
            at_once: Arc::new(Semaphore::new(AT_ONCE)),
        })
    }
}
