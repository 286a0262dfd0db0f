//! §9.1.3: a signature certificate is deleted at the counter, an expired one at once, a valid one by an explicit word.

use std::fs;
use std::process::{Command, Stdio};

use cns_protocol::SecretText;
use cns_protocol::audit::Phase;
use cns_protocol::counter::{Case, ProcedureState, RemoveSignature, SignatureRemoved};
use cns_virtual_card::{SignatureAreaState, sample};
use cnsd::card::{CardError, CardSession, signature_area};
use cnsd::dispatch::ProgressSender;
use cnsd::procedure::ProcedureError;
use der::asn1::BitString;
use der::{Decode, Encode};
use x509_cert::Certificate;

use crate::rig::{Rig, UID, secret, session};

async fn remove(rig: &Rig, pin: &[u8], even_if_valid: bool) -> Result<SignatureRemoved, ProcedureError> {
    let request = RemoveSignature {
        reader: rig.reader.clone(),
        pin: SecretText::new(secret(pin)).unwrap(),
        signature_pin: None,
        even_if_valid,
    };
    rig.rooms().procedures.remove_signature(UID, &session("op1"), request, ProgressSender::nobody()).await
}

pub(crate) async fn make(rig: &Rig) {
    let ready = rig.start(Case::Signature).await.unwrap();
    let ready = rig.until(ready, "", "§9.1.3").await;
    let confirmed = cns_protocol::counter::Answer::Confirmed;
    let made = rig.answer_with(&ready, "§9.1.3", confirmed, Some(sample::PIN)).await.unwrap();
    assert_eq!(rig.until(made, "", "").await.state, ProcedureState::Done);
}

fn area(rig: &Rig) -> SignatureAreaState {
    rig.card.with_card(|card| card.card().summary().signature_area)
}

/// Puts a certificate that is over in the place of the card's own, for the same key and by the same certifier.
pub(crate) async fn let_it_expire(rig: &Rig) {
    let contents = rig.rooms().readers.card(&rig.reader).unwrap();
    let path = rig.folder.path();
    let mut certificate = Certificate::from_der(contents.signature_certificate.as_deref().unwrap()).unwrap();
    let tbs = &mut certificate.tbs_certificate;
    tbs.validity.not_after = tbs.validity.not_before;
    fs::write(path.join("over.tbs"), tbs.to_der().unwrap()).unwrap();
    let arguments = ["dgst", "-sha256", "-sign", "ca/ca-key.pem", "-out", "over.sig", "over.tbs"];
    let mut openssl = Command::new("openssl");
    let output = openssl.args(arguments).current_dir(path).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    certificate.signature = BitString::from_bytes(&fs::read(path.join("over.sig")).unwrap()).unwrap();
    let over = certificate.to_der().unwrap();
    let job = move |session: &mut CardSession<'_>| {
        signature_area::load_certificate(session, &secret(sample::PIN), &over, &|_| {})
    };
    rig.rooms().readers.run(&rig.reader, None, job).await.unwrap();
    rig.rooms().readers.reread(&rig.reader).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate_goes_and_another_one_comes() {
    let rig = Rig::new().await;
    make(&rig).await;
    let_it_expire(&rig).await;
    let wrong = remove(&rig, b"99999", false).await.unwrap_err();
    assert!(
        matches!(wrong, ProcedureError::Card(CardError::PinIncorrect { tries_left: Some(2) })),
        "{wrong:?}"
    );
    assert_eq!(area(&rig), SignatureAreaState::Certified);
    let removed = remove(&rig, sample::PIN, false).await.unwrap();
    assert!(removed.certificate_not_after.is_some());
    println!(
        "deleted with {} commands, {} bytes up and {} down",
        removed.traffic.commands, removed.traffic.bytes_sent, removed.traffic.bytes_received
    );
    assert_ne!(area(&rig), SignatureAreaState::Certified);
    assert!(rig.rooms().readers.card(&rig.reader).unwrap().signature_certificate.is_none());
    assert!(rig.sign_with_area(sample::PIN).await.is_err());
    use Phase::{Intention, Outcome};
    assert_eq!(rig.phases("signature-removed").await, [Intention, Outcome, Intention, Outcome]);
    // What is not there may be deleted again: a request that was cut off half-way ends so.
    assert_eq!(remove(&rig, sample::PIN, false).await.unwrap().certificate_not_after, None);

    make(&rig).await;
    assert_eq!(rig.sign_with_area(sample::PIN).await.unwrap().len(), 256);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_valid_certificate_goes_only_by_the_explicit_word() {
    let rig = Rig::new().await;
    let open = rig.start(Case::Signature).await.unwrap();
    let refused = remove(&rig, sample::PIN, true).await.unwrap_err();
    assert!(
        matches!(&refused, ProcedureError::Rule { message, .. } if message.contains(&open.id)),
        "{refused:?}"
    );
    rig.cancel(&open).await.unwrap();
    make(&rig).await;
    let before = rig.rooms().readers.traffic(&rig.reader).commands;
    let refused = remove(&rig, sample::PIN, false).await.unwrap_err();
    assert!(matches!(refused, ProcedureError::CertificateValid { .. }), "{refused:?}");
    assert_eq!(refused.paragraph(), Some("§9.1.3"));
    assert_eq!(rig.rooms().readers.traffic(&rig.reader).commands, before, "the card was touched");
    assert_eq!(rig.sign_with_area(sample::PIN).await.unwrap().len(), 256);
    remove(&rig, sample::PIN, true).await.unwrap();
    assert_ne!(area(&rig), SignatureAreaState::Certified);
}
