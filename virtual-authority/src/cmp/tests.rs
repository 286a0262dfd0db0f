//! Messages that `openssl cmp` cannot be made to send.

use cmpv2::parameter::PbmParameter;
use der::asn1::SetOfVec;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use x509_cert::name::Name;
use x509_cert::request::{CertReq, CertReqInfo, Version};

use super::message::{CertRepMessage, CertStatus};
use super::*;
use crate::authority::InitOptions;
use crate::state::Event;
use crate::status::Status;

const NONCE: [u8; 16] = [7; 16];

struct Scene {
    _folder: TempDir,
    authority: Authority,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut options = InitOptions::new("a secret of the tests");
        options.key_bits = 2048;
        let authority = Authority::init(&folder.path().join("ca"), &options).unwrap();
        Self { _folder: folder, authority }
    }

    /// A request for a certificate on the only key at hand: the certifier's own.
    fn request(&self) -> Vec<u8> {
        let subject: Name =
            "CN=RSSMRA80A01H501U/6999000000001230.2jmj7l5rSw0yVb/vlWAYkK/YBwk=,C=IT".parse().unwrap();
        let public_key = self.authority.ca_certificate().tbs_certificate.subject_public_key_info.clone();
        let info = CertReqInfo { version: Version::V1, subject, public_key, attributes: SetOfVec::new() };
        let signature = self.authority.ca().sign(&info.to_der().unwrap()).unwrap();
        let algorithm = self.authority.ca_certificate().signature_algorithm.clone();
        let request =
            CertReq { info, algorithm, signature: der::asn1::BitString::from_bytes(&signature).unwrap() };
        request.to_der().unwrap()
    }

    fn header(&self, transaction: &[u8], answers: Option<OctetString>) -> Header {
        let mut header = reply_header(
            &self.authority,
            &Header {
                pvno: 2,
                sender: GeneralName::DirectoryName(Name::default()),
                recipient: GeneralName::DirectoryName(Name::default()),
                message_time: None,
                protection_alg: None,
                sender_kid: None,
                recip_kid: None,
                transaction_id: Some(OctetString::new(transaction).unwrap()),
                sender_nonce: None,
                recip_nonce: None,
                free_text: None,
                general_info: None,
            },
            &NONCE,
        )
        .unwrap();
        header.recip_nonce = answers;
        header
    }

    fn send(&self, header: Header, kind: BodyKind, body: &[u8]) -> (Header, TagNumber, Vec<u8>) {
        let message = seal(&self.authority, header, kind, body, Some(self.authority.secret())).unwrap();
        self.post(&message)
    }

    fn post(&self, message: &[u8]) -> (Header, TagNumber, Vec<u8>) {
        let answer = answer(&self.authority, Profile::Authentication, message).unwrap().unwrap();
        let answer = Message::from_der(&answer).unwrap();
        let header = Header::from_der(&answer.header.to_der().unwrap()).unwrap();
        let Tag::ContextSpecific { number, .. } = answer.body.tag() else { panic!() };
        if let (Some(algorithm), Some(protection)) = (&header.protection_alg, &answer.protection) {
            let protected = Protected { header: answer.header, body: answer.body }.to_der().unwrap();
            self.authority.secret().verify(algorithm, &protected, protection).unwrap();
        }
        (header, number, answer.body.value().to_vec())
    }

    fn refused(&self, header: Header, kind: BodyKind, body: &[u8], bit: u8) {
        let (_, number, content) = self.send(header, kind, body);
        assert_eq!(number, BodyKind::Error.number());
        let status = ErrorContent::from_der(&content).unwrap().status;
        assert!(status.fail_info.unwrap().bits().nth(usize::from(bit)).unwrap(), "{:?}", status.text);
    }

    fn status(&self) -> Status {
        self.authority.list().unwrap()[0].status
    }
}

fn confirmation(hash: &[u8]) -> Vec<u8> {
    let cert_hash = OctetString::new(hash).unwrap();
    vec![CertStatus { cert_hash, cert_req_id: -1, status_info: None, hash_alg: None }].to_der().unwrap()
}

#[test]
fn confirmations_must_return_nonce_and_hash() {
    let scene = Scene::new();
    let (header, number, content) =
        scene.send(scene.header(&[1; 16], None), BodyKind::P10cr, &scene.request());
    assert_eq!(number, BodyKind::Cp.number());
    assert_eq!(header.recip_nonce.unwrap().as_bytes(), NONCE);
    let response = &CertRepMessage::from_der(&content).unwrap().response[0];
    assert_eq!(response.cert_req_id, -1);
    let certificate = response.certified_key_pair.as_ref().unwrap().certificate.to_der().unwrap();
    let good = confirmation(&Sha256::digest(&certificate));
    let nonce = header.sender_nonce;

    scene.refused(scene.header(&[1; 16], None), BodyKind::CertConf, &good, 13);
    let other = Some(OctetString::new([9; 16]).unwrap());
    scene.refused(scene.header(&[1; 16], other), BodyKind::CertConf, &good, 13);
    scene.refused(scene.header(&[2; 16], nonce.clone()), BodyKind::CertConf, &good, 2);
    scene.refused(scene.header(&[1; 16], nonce.clone()), BodyKind::CertConf, &confirmation(&[0; 32]), 4);
    scene.refused(scene.header(&[1; 16], nonce.clone()), BodyKind::CertConf, b"\x30\x01\x00", 5);
    assert_eq!(scene.status(), Status::Unconfirmed);

    let (_, number, _) = scene.send(scene.header(&[1; 16], nonce), BodyKind::CertConf, &good);
    assert_eq!(number, BodyKind::PkiConf.number());
    assert_eq!(scene.status(), Status::Valid);
}

#[test]
fn a_transaction_may_not_ask_for_something_else() {
    let scene = Scene::new();
    let request = scene.request();
    let (_, number, first) = scene.send(scene.header(&[1; 16], None), BodyKind::P10cr, &request);
    assert_eq!(number, BodyKind::Cp.number());
    let (_, _, again) = scene.send(scene.header(&[1; 16], None), BodyKind::P10cr, &request);
    assert_eq!(first, again);
    let mut other = CertReq::from_der(&request).unwrap();
    other.info.subject =
        "CN=BNCLRA85B42H501Y/6999000000001248.2jmj7l5rSw0yVb/vlWAYkK/YBwk=,C=IT".parse().unwrap();
    let signature = scene.authority.ca().sign(&other.info.to_der().unwrap()).unwrap();
    other.signature = der::asn1::BitString::from_bytes(&signature).unwrap();
    scene.refused(scene.header(&[1; 16], None), BodyKind::P10cr, &other.to_der().unwrap(), 21);
    assert_eq!(scene.authority.list().unwrap().len(), 1);
}

#[test]
fn headers_that_cannot_be_answered_safely() {
    let scene = Scene::new();
    let request = scene.request();
    scene.refused(scene.header(&[], None), BodyKind::P10cr, &request, 2);
    scene.refused(scene.header(&[1; 65], None), BodyKind::P10cr, &request, 2);
    let mut bare = scene.header(&[1; 16], None);
    bare.sender_nonce = None;
    scene.refused(bare, BodyKind::P10cr, &request, 18);
    let mut old = scene.header(&[1; 16], None);
    old.pvno = 1;
    scene.refused(old, BodyKind::P10cr, &request, 22);
    // Not protected at all: refused, and the answer is not protected either.
    let bare = seal(&scene.authority, scene.header(&[1; 16], None), BodyKind::P10cr, &request, None).unwrap();
    let (header, number, _) = scene.post(&bare);
    assert_eq!((header.protection_alg, number), (None, BodyKind::Error.number()));
    assert!(scene.authority.list().unwrap().is_empty());
}

#[test]
fn iterations_are_bounded_before_they_are_spent() {
    let scene = Scene::new();
    let (mut algorithm, _) = scene.authority.secret().method().unwrap();
    for (count, bit) in [(99, 0), (100_001, 0), (u64::MAX, 0), (100, 1)] {
        let mut parameter: PbmParameter = algorithm.parameters.as_ref().unwrap().decode_as().unwrap();
        parameter.iteration_count = count;
        algorithm.parameters = Some(Any::from_der(&parameter.to_der().unwrap()).unwrap());
        let mut header = scene.header(&[1; 16], None);
        header.protection_alg = Some(algorithm.clone());
        header.sender_kid = Some(OctetString::new(*b"cnsd").unwrap());
        let header = Any::from_der(&header.to_der().unwrap()).unwrap();
        let tag = Tag::ContextSpecific { constructed: true, number: BodyKind::P10cr.number() };
        let body = Any::new(tag, scene.request()).unwrap();
        let protection = Some(der::asn1::BitString::from_bytes(&[0; 32]).unwrap());
        let message = Reply { header, body, protection, extra_certs: None }.to_der().unwrap();
        let (_, _, content) = scene.post(&message);
        let info = ErrorContent::from_der(&content).unwrap().status.fail_info.unwrap();
        assert!(info.bits().nth(bit).unwrap(), "{count}");
    }
}

#[test]
fn an_unconfirmed_certificate_is_withdrawn_after_a_day() {
    let scene = Scene::new();
    scene.send(scene.header(&[1; 16], None), BodyKind::P10cr, &scene.request());
    scene.authority.publish_if_due().unwrap();
    assert_eq!(scene.status(), Status::Unconfirmed);
    let serial = scene.authority.list().unwrap()[0].serial.clone();
    let late = Event::Delivered {
        serial,
        transaction: "02".to_owned(),
        request: String::new(),
        nonce: String::new(),
        at: now() - 25 * 3600,
    };
    scene.authority.journal().unwrap().lock().unwrap().append(&[late]).unwrap();
    scene.authority.publish_if_due().unwrap();
    assert!(matches!(scene.status(), Status::Revoked { .. }));
}
