//! What is believed of certificates and revocation lists.

use std::fs;
use std::time::{Duration, SystemTime};

use cns_virtual_authority::{Authority as Certifier, Profile as Kind, Reason};
use cnsd::authority::checks::{CheckError, Revocation, check_crl, check_issued, verify_chain};
use cnsd::authority::{Holder, Profile, TrustAnchors};
use der::{Decode, Encode};
use tempfile::TempDir;
use x509_cert::request::CertReq;

use crate::fixture::{CNS_SUBJECT, HOLDER, SUBJECT, public_key, request, workplace};

const DAY: Duration = Duration::from_secs(24 * 3600);

struct Scene {
    folder: TempDir,
    certifier: Certifier,
    anchors: TrustAnchors,
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Scene {
    fn new(kind: Kind, subject: &str) -> Self {
        let folder = workplace();
        let certifier = Certifier::open(&folder.path().join("ca")).unwrap();
        let asked = request(folder.path(), subject);
        let certificate =
            certifier.issue(kind, &CertReq::from_der(&asked).unwrap()).unwrap().to_der().unwrap();
        let anchors = TrustAnchors::from_pem(&fs::read(folder.path().join("ca/ca.pem")).unwrap()).unwrap();
        Self { certifier, anchors, certificate, key: public_key(&asked), folder }
    }

    fn judge(&self, holder: &Holder<'_>, profile: Profile, now: SystemTime) -> Result<(), CheckError> {
        check_issued(&self.certificate, &self.key, holder, &self.anchors, now, profile)
    }
}

#[test]
fn a_signature_certificate_in_order_and_out_of_it() {
    let scene = Scene::new(Kind::QualifiedSignature, SUBJECT);
    let now = SystemTime::now();
    let judge = |holder, now| scene.judge(&holder, Profile::Signature, now);
    judge(HOLDER, now).unwrap();
    judge(Holder { given_name: "Mario", surname: "Rossi", ..HOLDER }, now).unwrap();
    let other = Holder { codice_fiscale: "BNCLRA85B42H501M", ..HOLDER };
    assert_eq!(judge(other, now), Err(CheckError::Holder("codice fiscale")));
    assert_eq!(
        judge(Holder { codice_fiscale: "", ..HOLDER }, now),
        Err(CheckError::Holder("codice fiscale"))
    );
    assert_eq!(judge(Holder { given_name: "MARIA", ..HOLDER }, now), Err(CheckError::Holder("name")));
    assert_eq!(judge(Holder { surname: "BIANCHI", ..HOLDER }, now), Err(CheckError::Holder("surname")));
    assert_eq!(judge(HOLDER, now + 3 * 366 * DAY), Err(CheckError::Expired));
    assert_eq!(judge(HOLDER, now - DAY), Err(CheckError::NotYetValid));
    let authentication = scene.judge(&HOLDER, Profile::Authentication, now);
    assert_eq!(authentication, Err(CheckError::KeyUsage(Profile::Authentication)));
    let mut key = scene.key.clone();
    *key.last_mut().unwrap() ^= 2;
    let wrong = check_issued(&scene.certificate, &key, &HOLDER, &scene.anchors, now, Profile::Signature);
    assert_eq!(wrong, Err(CheckError::Key));
}

#[test]
fn an_authentication_certificate_in_order_and_out_of_it() {
    let scene = Scene::new(Kind::Authentication, CNS_SUBJECT);
    let now = SystemTime::now();
    scene.judge(&HOLDER, Profile::Authentication, now).unwrap();
    let other = Holder { codice_fiscale: "BNCLRA85B42H501M", ..HOLDER };
    assert_eq!(scene.judge(&other, Profile::Authentication, now), Err(CheckError::Holder("codice fiscale")));
    assert_eq!(scene.judge(&HOLDER, Profile::Signature, now), Err(CheckError::KeyUsage(Profile::Signature)));
}

#[test]
fn chains() {
    let scene = Scene::new(Kind::QualifiedSignature, SUBJECT);
    let now = SystemTime::now();
    let issuer = verify_chain(&scene.certificate, &scene.anchors, now).unwrap();
    assert_eq!(issuer, scene.certifier.ca_certificate());
    // The same name, another key.
    let stranger = fs::read(scene.folder.path().join("stranger/ca.pem")).unwrap();
    let strangers = TrustAnchors::from_pem(&stranger).unwrap();
    let verdict = verify_chain(&scene.certificate, &strangers, now);
    assert!(matches!(verdict, Err(CheckError::Issuer(_))), "{verdict:?}");
    // A bundle of both finds the right one.
    let own = fs::read(scene.folder.path().join("ca/ca.pem")).unwrap();
    let both = TrustAnchors::from_pem(&[stranger, own].concat()).unwrap();
    verify_chain(&scene.certificate, &both, now).unwrap();
    // An authority's own certificate is nobody's card.
    let own = scene.certifier.ca_certificate().to_der().unwrap();
    assert_eq!(verify_chain(&own, &scene.anchors, now), Err(CheckError::IsAuthority));
    // Whichever byte is changed, it is no longer what the issuer signed.
    for at in 0..scene.certificate.len() {
        let mut bad = scene.certificate.clone();
        bad[at] ^= 0x01;
        assert!(verify_chain(&bad, &scene.anchors, now).is_err(), "byte {at}");
    }
    assert!(TrustAnchors::from_pem(b"").is_err());
    assert!(TrustAnchors::from_pem(b" \r\n").is_err());
    assert!(
        TrustAnchors::from_pem(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").is_err()
    );
}

#[test]
fn revocation_lists() {
    let scene = Scene::new(Kind::QualifiedSignature, SUBJECT);
    let now = SystemTime::now();
    let serial = scene.certifier.list().unwrap()[0].serial.clone();
    let bytes = hex::decode(&serial).unwrap();
    let issuer = scene.certifier.ca_certificate();
    let look = |serial: &[u8], now| check_crl(&scene.certifier.crl().unwrap(), issuer, serial, now);
    assert_eq!(look(&bytes, now), Ok(Revocation::Good));
    scene.certifier.revoke(&serial, Reason::CertificateHold).unwrap();
    assert!(matches!(look(&bytes, now), Ok(Revocation::Revoked { suspended: true, .. })));
    scene.certifier.revoke(&serial, Reason::KeyCompromise).unwrap();
    assert!(matches!(look(&bytes, now), Ok(Revocation::Revoked { suspended: false, .. })));
    assert!(matches!(look(&[&[0], &bytes[..]].concat(), now), Ok(Revocation::Revoked { .. })));
    assert_eq!(look(&[1], now), Ok(Revocation::Good));
    assert_eq!(look(&bytes, now + 2 * DAY), Err(CheckError::Stale));
    assert_eq!(look(&bytes, now - DAY), Err(CheckError::Stale));

    let stranger = Certifier::open(&scene.folder.path().join("stranger")).unwrap();
    let foreign = check_crl(&stranger.crl().unwrap(), issuer, &bytes, now);
    assert_eq!(foreign, Err(CheckError::Signature));
    let list = scene.certifier.crl().unwrap();
    for at in 0..list.len() {
        let mut bad = list.clone();
        bad[at] ^= 0x01;
        assert!(check_crl(&bad, issuer, &bytes, now).is_err(), "byte {at}");
    }
}
