//! A virtual card in the daemon's own vpcd reader.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use cns_secret::Secret;
use cns_virtual_authority::{Authority, InitOptions, Profile};
use cns_virtual_card::vpcd::{Card, Endpoint, Plugged, plug};
use cns_virtual_card::{Personalisation, VirtualCard, sample};
use cnsd::card::{CardContents, CardError, CardSession};
use cnsd::reader::{ReaderSpec, Readers, TimeLimits, VpcdAddress};
use der::asn1::BitString;
use der::{Decode, Encode};
use rsa::RsaPublicKey;
use spki::EncodePublicKey;
use tempfile::TempDir;
use x509_cert::request::{CertReq, CertReqInfo};

pub const WAIT: Duration = Duration::from_secs(60);

/// The certifier, whose key takes a while to make.
pub fn authority() -> &'static Authority {
    static AUTHORITY: OnceLock<(TempDir, Authority)> = OnceLock::new();
    let (_, authority) = AUTHORITY.get_or_init(|| {
        let folder = TempDir::new().unwrap();
        let options = InitOptions { key_bits: 2048, ..InitOptions::new(b"a secret of the tests".to_vec()) };
        let authority = Authority::init(folder.path(), &options).unwrap();
        (folder, authority)
    });
    authority
}

pub fn issue(profile: Profile, request: &[u8]) -> Vec<u8> {
    let request = CertReq::from_der(request).unwrap();
    authority().issue(profile, &request).unwrap().to_der().unwrap()
}

/// A request for a certificate of a key on the card, for the card to sign.
pub fn request_info(key: &RsaPublicKey) -> CertReqInfo {
    let subject = "CN=MARIO ROSSI,givenName=MARIO,sn=ROSSI,serialNumber=TINIT-RSSMRA80A01H501U,C=IT";
    CertReqInfo {
        version: x509_cert::request::Version::V1,
        subject: subject.parse().unwrap(),
        public_key: spki::SubjectPublicKeyInfoOwned::from_der(key.to_public_key_der().unwrap().as_bytes())
            .unwrap(),
        attributes: Default::default(),
    }
}

/// The certificate for a request that the card has signed.
pub fn certificate_for(info: CertReqInfo, signature: &[u8]) -> Vec<u8> {
    let request = CertReq {
        info,
        algorithm: spki::AlgorithmIdentifierOwned {
            oid: const_oid::db::rfc5912::SHA_256_WITH_RSA_ENCRYPTION,
            parameters: Some(der::Any::null()),
        },
        signature: BitString::from_bytes(signature).unwrap(),
    };
    issue(Profile::QualifiedSignature, &request.to_der().unwrap())
}

/// The sample card, changed by the test, with its authentication certificate.
pub fn sample_card(change: impl FnOnce(&mut Personalisation)) -> VirtualCard {
    let mut order = sample::personalisation().unwrap();
    change(&mut order);
    let mut card = VirtualCard::create(order).unwrap();
    let request = card.certificate_request("Regione di prova").unwrap();
    card.load_certificate(&issue_authentication(&request)).unwrap();
    card
}

/// The certifier issues for keys of today's length only; for an old chip's key its certificate is made over.
pub fn issue_authentication(request: &[u8]) -> Vec<u8> {
    use der::Encode;
    let asked = CertReq::from_der(request).unwrap();
    let old = asked.info.public_key.subject_public_key.raw_bytes().len() < 200;
    if !old {
        return issue(Profile::Authentication, request);
    }
    let card = VirtualCard::create(sample::personalisation().unwrap()).unwrap();
    let request = card.certificate_request("Regione di prova").unwrap();
    let der = issue(Profile::Authentication, &request);
    let mut certificate = x509_cert::Certificate::from_der(&der).unwrap();
    certificate.tbs_certificate.subject_public_key_info = asked.info.public_key;
    certificate.to_der().unwrap()
}

/// Puts a card in again that a fault has pulled out.
pub fn put_in_again<C: Card>(plugged: &Plugged<C>) {
    let ends = Instant::now() + WAIT;
    while plugged.is_connected() {
        assert!(Instant::now() < ends, "nothing has pulled the card out");
        std::thread::sleep(Duration::from_millis(1));
    }
    plugged.put_in();
}

pub fn secret(digits: &[u8]) -> Secret {
    Secret::copy_from(digits).unwrap()
}

/// A reader of the daemon, and the folder of its socket.
pub struct Reader {
    pub readers: Readers,
    pub name: String,
    pub socket: PathBuf,
    _folder: TempDir,
}

impl Reader {
    pub fn start() -> Self {
        Self::start_with(TimeLimits::default())
    }

    pub fn start_with(limits: TimeLimits) -> Self {
        let folder = TempDir::new().unwrap();
        let socket = folder.path().join("card.sock");
        let spec = ReaderSpec::Vpcd(VpcdAddress::Unix(socket.clone()));
        let readers = Readers::start_with(std::slice::from_ref(&spec), limits).unwrap();
        Self { readers, name: spec.to_string(), socket, _folder: folder }
    }

    pub fn plug(&self, card: VirtualCard) -> Plugged {
        plug(card, Endpoint::Unix(self.socket.clone())).unwrap()
    }

    /// Waits until what is listed satisfies a condition.
    pub async fn until(&self, what: &str, holds: impl Fn(&cns_protocol::reader::Reader) -> bool) {
        let mut list = self.readers.list();
        let ends = tokio::time::Instant::now() + WAIT;
        while !holds(&list.readers[0]) {
            assert!(tokio::time::Instant::now() < ends, "never: {what}; now {:?}", list.readers[0].state);
            list = self.readers.wait(list.change, Duration::from_secs(1)).await;
        }
    }

    /// A job for the card's owner, with the result of which it comes back.
    pub async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut CardSession<'_>) -> Result<T, CardError> + Send + 'static,
    ) -> Result<T, CardError> {
        self.readers.run(&self.name, None, job).await
    }

    /// Waits for a card that was read.
    pub async fn card(&self) -> Arc<CardContents> {
        self.until("a card that was read", |reader| {
            matches!(reader.state, cns_protocol::reader::ReaderState::Card(_))
        })
        .await;
        self.readers.card(&self.name).unwrap()
    }
}
