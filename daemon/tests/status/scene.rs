//! A certifier, a certificate of it, and the daemon's service of certificates' status.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cns_virtual_authority::{Authority as Certifier, Profile};
use cnsd::authority::checks::Revocation;
use cnsd::authority::status::{Known, Source, StatusError, StatusService};
use cnsd::authority::{NetworkHelper, TrustAnchors};
use cnsd::config::StatusConfig;
use cnsd::database::Database;
use der::{Decode, Encode};
use tempfile::TempDir;
use x509_cert::request::CertReq;

use crate::database;
use cnsd_test_support::network;

use crate::fixture::{CNS_SUBJECT, request, workplace};

pub(crate) struct Scene {
    pub(crate) folder: TempDir,
    pub(crate) certifier: Arc<Certifier>,
    /// A certificate of a card, and its serial number.
    pub(crate) leaf: Vec<u8>,
    pub(crate) serial: String,
    pub(crate) database: Database,
}

impl Scene {
    pub(crate) async fn new() -> Self {
        let folder = workplace();
        let certifier = Arc::new(Certifier::open(&folder.path().join("ca")).unwrap());
        let asked = CertReq::from_der(&request(folder.path(), CNS_SUBJECT)).unwrap();
        let leaf = certifier.issue(Profile::Authentication, &asked).unwrap().to_der().unwrap();
        fs::write(folder.path().join("leaf.der"), &leaf).unwrap();
        let serial = certifier.list().unwrap().pop().unwrap().serial;
        let database = open_database(folder.path()).await;
        Self { folder, certifier, leaf, serial, database }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn anchors(&self) -> TrustAnchors {
        TrustAnchors::from_pem(&fs::read(self.path().join("ca/ca.pem")).unwrap()).unwrap()
    }

    /// The daemon's service with these sources.
    pub(crate) fn service(&self, config: &StatusConfig) -> Arc<StatusService> {
        self.service_by(config, network().with_time_limit(Duration::from_secs(10)))
    }

    pub(crate) fn service_by(&self, config: &StatusConfig, network: NetworkHelper) -> Arc<StatusService> {
        Arc::new(StatusService::open(config, self.anchors(), Arc::new(network), &self.database).unwrap())
    }

    pub(crate) async fn standing(&self, service: &StatusService) -> Result<Known, StatusError> {
        service.standing(&self.leaf).await
    }

    /// What a restart does to the database.
    pub(crate) async fn reopen(&mut self) {
        self.database.close().await;
        self.database = open_database(self.folder.path()).await;
    }
}

async fn open_database(folder: &Path) -> Database {
    let state = folder.join("state");
    fs::create_dir_all(&state).unwrap();
    Database::open(&database::config(&state).database, &state).await.unwrap()
}

pub(crate) fn by_ocsp(url: String) -> StatusConfig {
    StatusConfig { ocsp: Some(url), ..StatusConfig::default() }
}

pub(crate) fn by_list(place: String) -> StatusConfig {
    StatusConfig { crl: Some(place), ..StatusConfig::default() }
}

#[track_caller]
pub(crate) fn is_good(known: Result<Known, StatusError>, source: Source) {
    let known = known.unwrap();
    assert_eq!((known.standing, known.source), (Revocation::Good, source));
}

#[track_caller]
pub(crate) fn is_out(known: Result<Known, StatusError>, is_suspended: bool) {
    let known = known.unwrap();
    let Revocation::Revoked { suspended, .. } = known.standing else { panic!("{known:?}") };
    assert_eq!(suspended, is_suspended, "{known:?}");
}
