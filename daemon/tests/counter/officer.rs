//! §7 with CRMF: the card's new key proves itself in the request, the operator's card signs the message around it.

use std::fs;
use std::time::Duration;

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use cns_protocol::counter::{AnswerStep, Case, Procedure, ProcedureState, Start, Wants};
use cns_protocol::{Client, ErrorKind};
use cns_virtual_authority::{Authority as Certifier, Profile, Record};
use cns_virtual_card::sample;
use cns_virtual_card::vpcd::{Endpoint, plug};
use crmf::pop::ProofOfPossession;
use crmf::request::CertReqMsg;
use der::{AnyRef, Decode, Encode, Tag, TagNumber, Tagged};
use x509_cert::Certificate;

use crate::kill::{CITIZEN, Counter, Setup, step_of};
use crate::rig::answers::usual_answer;
use crate::running::{refusal, text};

const PIN: &str = "12345";
const WORK: &str = "§9.1.3";

/// The signature certificates that were issued.
fn issued(certifier: &Certifier) -> Vec<Record> {
    let records = certifier.list().unwrap().into_iter();
    records.filter(|record| record.profile == Profile::QualifiedSignature).collect()
}

/// The answer to the next step, with the operator's PIN where the authority is asked.
fn answer(procedure: &Procedure, code: &str, pin: &str) -> AnswerStep {
    let step = procedure.next.as_ref().unwrap();
    let operator_pin = (step.wants == Wants::Work).then(|| text(pin));
    AnswerStep { operator_pin, ..step_of(procedure, &step.paragraph, usual_answer(step, code, true)) }
}

/// Answers up to a paragraph, or to the end.
fn until(client: &mut Client, mut procedure: Procedure, code: &str, paragraph: &str) -> Procedure {
    while procedure.next.as_ref().is_some_and(|step| step.paragraph != paragraph) {
        procedure = client.call(&answer(&procedure, code, PIN)).unwrap();
    }
    procedure
}

/// What the certifier was asked: the ir of the transaction that it let wait.
fn asked(certifier: &Certifier) -> CertReqMsg {
    let journal = fs::read_to_string(certifier.folder().join("journal.jsonl")).unwrap();
    let lines = journal.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let deferred: Vec<_> = lines.filter(|line| line["event"] == "deferred").collect();
    assert_eq!(deferred.len(), 1, "one transaction: {deferred:?}");
    let body = hex::decode(deferred[0]["body"].as_str().unwrap()).unwrap();
    let body = AnyRef::from_der(&body).unwrap();
    assert_eq!(body.tag(), Tag::ContextSpecific { constructed: true, number: TagNumber::N0 }, "an ir");
    let mut messages = Vec::<CertReqMsg>::from_der(body.value()).unwrap();
    assert_eq!(messages.len(), 1);
    messages.remove(0)
}

#[test]
fn the_new_key_proves_itself_and_the_operators_card_signs_around_it() {
    let cards = &[sample::ID_CARD];
    let setup = Setup {
        envelopes: 1,
        authority: true,
        officer: true,
        request: Some("ir"),
        cards,
        ..Setup::default()
    };
    let mut counter = Counter::built(&setup, |_| String::new());
    let chip = counter.chip.take().unwrap();
    let _card = plug(chip, Endpoint::Unix(counter.running.path(CITIZEN))).unwrap();
    counter.running.card_in(CITIZEN);
    let mut client = counter.client();
    let code = counter.codes[0].clone();
    let reader = counter.running.reader(CITIZEN);
    let started = client.call(&Start { reader, case: Case::Standard }).unwrap();
    let ready = until(&mut client, started, &code, WORK);

    // Nothing is asked with a wrong PIN, nor granted to an operator who is no officer of the certifier's.
    let refused = refusal(&mut client, &answer(&ready, &code, "99999"));
    assert_eq!(refused.kind, ErrorKind::PinIncorrect, "{}", refused.message);
    let operator = counter.certifier.list().unwrap()[0].certificate.clone();
    fs::remove_dir_all(counter.certifier.folder().join("officers")).unwrap();
    let refused = refusal(&mut client, &answer(&ready, &code, PIN));
    assert_eq!(refused.kind, ErrorKind::AuthorityFailed);
    assert!(refused.message.contains("notAuthorized"), "{}", refused.message);
    assert!(issued(&counter.certifier).is_empty());

    counter.certifier.authorise(&operator).unwrap();
    counter.certifier.set_delay(Duration::from_secs(1));
    let done = until(&mut client, ready, &code, "");
    assert_eq!(done.state, ProcedureState::Done, "{done:?}");
    let certificates = issued(&counter.certifier);
    assert_eq!(certificates.len(), 1);

    let CertReqMsg { cert_req, popo, .. } = asked(&counter.certifier);
    let key = cert_req.cert_template.subject_public_key_info.as_ref().unwrap();
    let of = |der: &[u8]| Certificate::from_der(der).unwrap().tbs_certificate.subject_public_key_info;
    assert_eq!(*key, of(&certificates[0].certificate));
    assert_ne!(*key, of(&operator), "the operator's key is not certified");
    let Some(ProofOfPossession::Signature(proof)) = popo else { panic!("the key does not prove itself") };
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.subject_public_key.raw_bytes());
    public.verify(&cert_req.to_der().unwrap(), proof.signature.raw_bytes()).unwrap();
    assert!(counter.running.terminate().success());
}
