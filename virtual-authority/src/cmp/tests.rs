//! Messages that `openssl cmp` cannot be made to send.

use cmpv2::parameter::PbmParameter;
use const_oid::AssociatedOid;
use der::Any;
use der::asn1::{BitString, Int, SetOfVec};
use sha2::{Digest, Sha256};
use std::time::Duration;
use tempfile::TempDir;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::CrlReason;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::name::Name;
use x509_cert::request::{CertReq, CertReqInfo, Version};

use super::answer::reply_header;
use super::message::{
    CertRepMessage, CertStatus, CertTemplate, ErrorContent, PollAnswer, PollRequest, Protected, Reply,
    RevDetails, RevRepContent,
};
use super::protection::MacKind;
use super::*;
use crate::authority::{InitOptions, now};
use crate::profile::Profile;
use crate::state::Event;
use crate::status::{Reason, Status};

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
        let request = CertReq { info, algorithm, signature: BitString::from_bytes(&signature).unwrap() };
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
        self.send_as(MacKind::Pbm, header, kind, body)
    }

    fn send_as(
        &self,
        mac: MacKind,
        header: Header,
        kind: BodyKind,
        body: &[u8],
    ) -> (Header, TagNumber, Vec<u8>) {
        let seal = Some(Seal::Secret(mac));
        let message = Answer { header, kind, body: body.to_vec(), seal }.seal(&self.authority).unwrap();
        let answer = self.post(&message);
        if let Some(algorithm) = &answer.0.protection_alg {
            assert_eq!(MacKind::of(algorithm), Some(mac), "the answer is protected as the request was");
        }
        answer
    }

    fn post(&self, message: &[u8]) -> (Header, TagNumber, Vec<u8>) {
        let rules = self.authority.rules(&Profile::Authentication).unwrap();
        let answer = answer(&self.authority, &rules, message, None).unwrap().unwrap();
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
        "CN=BNCLRA85B42H501M/6999000000001248.2jmj7l5rSw0yVb/vlWAYkK/YBwk=,C=IT".parse().unwrap();
    let signature = scene.authority.ca().sign(&other.info.to_der().unwrap()).unwrap();
    other.signature = BitString::from_bytes(&signature).unwrap();
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
    let bare = Answer {
        header: scene.header(&[1; 16], None),
        kind: BodyKind::P10cr,
        body: request.clone(),
        seal: None,
    };
    let bare = bare.seal(&scene.authority).unwrap();
    let (header, number, _) = scene.post(&bare);
    assert_eq!((header.protection_alg, number), (None, BodyKind::Error.number()));
    assert!(scene.authority.list().unwrap().is_empty());
}

#[test]
fn iterations_are_bounded_before_they_are_spent() {
    let scene = Scene::new();
    let (mut algorithm, _) = Secret::method(MacKind::Pbm).unwrap();
    for (count, bit) in [(99, 0), (200_001, 0), (u64::MAX, 0), (100, 1)] {
        let mut parameter: PbmParameter = algorithm.parameters.as_ref().unwrap().decode_as().unwrap();
        parameter.iteration_count = count;
        algorithm.parameters = Some(Any::from_der(&parameter.to_der().unwrap()).unwrap());
        let mut header = scene.header(&[1; 16], None);
        header.protection_alg = Some(algorithm.clone());
        header.sender_kid = Some(OctetString::new(*b"cnsd").unwrap());
        let header = Any::from_der(&header.to_der().unwrap()).unwrap();
        let tag = Tag::ContextSpecific { constructed: true, number: BodyKind::P10cr.number() };
        let body = Any::new(tag, scene.request()).unwrap();
        let protection = Some(BitString::from_bytes(&[0; 32]).unwrap());
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

#[test]
fn a_whole_enrolment_under_pbmac1() {
    let scene = Scene::new();
    let (header, number, content) =
        scene.send_as(MacKind::Pbmac1, scene.header(&[1; 16], None), BodyKind::P10cr, &scene.request());
    assert_eq!(number, BodyKind::Cp.number());
    let response = &CertRepMessage::from_der(&content).unwrap().response[0];
    let certificate = response.certified_key_pair.as_ref().unwrap().certificate.to_der().unwrap();
    let good = confirmation(&Sha256::digest(&certificate));
    let header = scene.header(&[1; 16], header.sender_nonce);
    let (_, number, _) = scene.send_as(MacKind::Pbmac1, header, BodyKind::CertConf, &good);
    assert_eq!(number, BodyKind::PkiConf.number());
    assert_eq!(scene.status(), Status::Valid);
}

fn waiting(scene: &Scene) {
    let (_, number, content) = scene.send(scene.header(&[1; 16], None), BodyKind::P10cr, &scene.request());
    assert_eq!(number, BodyKind::Cp.number());
    let response = &CertRepMessage::from_der(&content).unwrap().response[0];
    assert_eq!((response.status.status, response.certified_key_pair.is_none()), (3, true));
}

fn poll(scene: &Scene, transaction: &[u8], id: i32) -> (TagNumber, Vec<u8>) {
    let body = vec![PollRequest { cert_req_id: id }].to_der().unwrap();
    let (_, number, content) = scene.send(scene.header(transaction, None), BodyKind::PollReq, &body);
    (number, content)
}

#[test]
fn a_request_that_waits_is_answered_when_its_time_has_come() {
    let scene = Scene::new();
    scene.authority.set_delay(Duration::from_secs(3600));
    waiting(&scene);
    waiting(&scene);
    assert!(scene.authority.list().unwrap().is_empty());
    let (number, content) = poll(&scene, &[1; 16], -1);
    assert_eq!(number, BodyKind::PollRep.number());
    let told = Vec::<PollAnswer>::from_der(&content).unwrap();
    assert!((3590..=3600).contains(&told[0].check_after) && told[0].cert_req_id == -1, "{told:?}");
    for (transaction, id) in [([1; 16], 0), ([2; 16], -1)] {
        assert_eq!(poll(&scene, &transaction, id).0, BodyKind::Error.number());
    }
    let header = scene.header(&[1; 16], None);
    scene.refused(header, BodyKind::Rr, &revocation(&scene, &[("00", 1)]), 21);

    // The journal is what counts: as if the hour were over.
    let mut journal = scene.authority.journal().unwrap();
    let mut record = journal.lock().unwrap();
    let mut deferral = record.state().deferral(&"01".repeat(16)).unwrap().clone();
    deferral.until = now();
    record.append(&[Event::Deferred { transaction: "01".repeat(16), deferral }]).unwrap();
    drop(record);
    drop(journal);
    for _ in 0..2 {
        // The second time as a client that lost the answer.
        let (number, content) = poll(&scene, &[1; 16], -1);
        assert_eq!(number, BodyKind::Cp.number());
        assert_eq!(CertRepMessage::from_der(&content).unwrap().response[0].status.status, 0);
        assert_eq!(scene.authority.list().unwrap().len(), 1);
    }
    // Another transaction for what is there waits for nothing.
    let (_, _, content) = scene.send(scene.header(&[3; 16], None), BodyKind::P10cr, &scene.request());
    assert_eq!(CertRepMessage::from_der(&content).unwrap().response[0].status.status, 0);
    assert_eq!(scene.authority.list().unwrap().len(), 1);
}

/// RevReqContent for these serial numbers and reasons.
fn revocation(scene: &Scene, entries: &[(&str, u8)]) -> Vec<u8> {
    let details = entries.iter().map(|(serial, reason)| RevDetails {
        cert_details: CertTemplate {
            version: None,
            serial_number: Some(Int::new(&hex::decode(serial).unwrap()).unwrap()),
            signing_algorithm: None,
            issuer: Some(scene.authority.ca_certificate().tbs_certificate.subject.clone()),
            validity: None,
            subject: None,
            public_key: None,
            issuer_unique_id: None,
            subject_unique_id: None,
            extensions: None,
        },
        crl_entry_details: Some(vec![Extension {
            extn_id: CrlReason::OID,
            critical: false,
            extn_value: OctetString::new([0x0a, 0x01, *reason]).unwrap(),
        }]),
    });
    details.collect::<Vec<_>>().to_der().unwrap()
}

/// The states of the answer, and the bits of those that were refused.
fn revoke(scene: &Scene, transaction: &[u8], entries: &[(&str, u8)]) -> Vec<Option<usize>> {
    let body = revocation(scene, entries);
    let (_, number, content) = scene.send(scene.header(transaction, None), BodyKind::Rr, &body);
    assert_eq!(number, BodyKind::Rp.number());
    let answer = RevRepContent::from_der(&content).unwrap();
    assert_eq!(answer.rev_certs.unwrap().len(), entries.len());
    let bit = |bits: BitString| bits.bits().position(|bit| bit).unwrap();
    answer.status.into_iter().map(|status| status.fail_info.map(bit)).collect()
}

#[test]
fn status_changes_over_cmp_are_judged_one_by_one_and_only_once() {
    let scene = Scene::new();
    scene.send(scene.header(&[1; 16], None), BodyKind::P10cr, &scene.request());
    let serial = scene.authority.list().unwrap()[0].serial.clone();
    let serial = serial.as_str();
    let crl = || crate::status::crl::number(&scene.authority.crl().unwrap()).unwrap();

    // Suspended; the same certificate twice and one that nobody knows are refused beside it.
    let entries = [(serial, 6), (serial, 1), ("1234", 1)];
    assert_eq!(revoke(&scene, &[2; 16], &entries), [None, Some(2), Some(4)]);
    assert!(matches!(scene.status(), Status::Suspended { .. }));
    // A client that lost the answer gets it again, and nothing is done twice.
    let published = crl();
    assert_eq!(revoke(&scene, &[2; 16], &entries), [None, Some(2), Some(4)]);
    assert_eq!(crl(), published);
    scene.refused(scene.header(&[2; 16], None), BodyKind::Rr, &revocation(&scene, &[(serial, 8)]), 21);
    scene.refused(scene.header(&[2; 16], None), BodyKind::P10cr, &scene.request(), 21);

    assert_eq!(revoke(&scene, &[3; 16], &[(serial, 6)]), [Some(2)]);
    assert_eq!(revoke(&scene, &[4; 16], &[(serial, 8)]), [None]);
    assert_eq!(scene.status(), Status::Valid);
    assert_eq!(revoke(&scene, &[5; 16], &[(serial, 8)]), [Some(2)]);
    // cACompromise, aACompromise, and numbers that are no reasons.
    for (transaction, reason) in [(6, 2), (7, 10), (8, 7), (9, 99)] {
        assert_eq!(revoke(&scene, &[transaction; 16], &[(serial, reason)]), [Some(2)]);
    }
    assert_eq!(revoke(&scene, &[10; 16], &[(serial, 1)]), [None]);
    assert!(matches!(scene.status(), Status::Revoked { reason: Reason::KeyCompromise, .. }));
    for (transaction, reason) in [(11, 1), (12, 6), (13, 8)] {
        assert_eq!(revoke(&scene, &[transaction; 16], &[(serial, reason)]), [Some(10)]);
    }
    let header = || scene.header(&[14; 16], None);
    scene.refused(header(), BodyKind::Rr, &revocation(&scene, &[]), 2);
    scene.refused(header(), BodyKind::Rr, &revocation(&scene, &[("11", 1); 33]), 2);
}

#[test]
fn an_error_of_the_client_withdraws_what_it_was_sent() {
    let scene = Scene::new();
    scene.send(scene.header(&[1; 16], None), BodyKind::P10cr, &scene.request());
    let refusal = Refusal::new(Why::BadDataFormat, "cannot read it").status().unwrap();
    let content = ErrorContent { status: refusal, error_code: None, error_details: None }.to_der().unwrap();
    for transaction in [[2; 16], [1; 16], [1; 16]] {
        let (_, number, _) = scene.send(scene.header(&transaction, None), BodyKind::Error, &content);
        assert_eq!(number, BodyKind::PkiConf.number());
        let expected = if transaction == [2; 16] { "unconfirmed" } else { "revoked (cessationOfOperation)" };
        assert_eq!(scene.status().to_string(), expected);
    }
}

#[test]
fn a_kill_between_a_change_and_its_crl_is_mended_at_the_next_start() {
    let scene = Scene::new();
    scene.send(scene.header(&[1; 16], None), BodyKind::P10cr, &scene.request());
    let serial = scene.authority.list().unwrap()[0].serial.clone();
    let folder = scene.authority.folder().to_path_buf();
    let listed = || {
        let authority = Authority::open(&folder).unwrap();
        let list = x509_cert::crl::CertificateList::from_der(&authority.crl().unwrap()).unwrap();
        list.tbs_cert_list.revoked_certificates.map_or(0, |revoked| revoked.len())
    };
    assert_eq!(listed(), 0);
    let append =
        |events: &[Event]| scene.authority.journal().unwrap().lock().unwrap().append(events).unwrap();
    // After the line of the change, and before the number of the CRL that tells it.
    append(&[Event::Changed { serial: serial.clone(), reason: Reason::CertificateHold, at: now() }]);
    assert_eq!(listed(), 1);
    // After the number, and before the file.
    append(&[Event::Changed { serial, reason: Reason::RemoveFromCrl, at: now() }]);
    let number = crate::status::crl::number(&scene.authority.crl().unwrap()).unwrap();
    append(&[Event::Published { number: number + 1, at: now() }]);
    assert_eq!(listed(), 0);
    assert_eq!(crate::status::crl::number(&scene.authority.crl().unwrap()), Some(number + 2));
}
