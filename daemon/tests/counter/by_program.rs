//! §9.1.3 in two halves: a program of the counter brings the certificate.

use std::ops::{Deref, DerefMut};

use cns_protocol::audit::Phase;
use cns_protocol::counter::{Answer, Case, Procedure, ProcedureState};
use cns_protocol::key_pair::KeyPair;
use cns_virtual_authority::Profile;
use cns_virtual_card::{SignatureAreaState, sample};
use cnsd::card::CardError;
use cnsd::config::AreaPin;
use cnsd::dispatch::ProgressSender;
use cnsd::login::CardPlace;
use cnsd::procedure::certifier::CertifierError;
use cnsd::procedure::{CardInReader, ProcedureError};
use der::{Decode, Encode};
use x509_cert::request::CertReq;

use crate::rig::{Rig, UID, secret, session};

/// A counter whose program makes the key itself.
struct Program(Rig);

impl Deref for Program {
    type Target = Rig;

    fn deref(&self) -> &Rig {
        &self.0
    }
}

impl DerefMut for Program {
    fn deref_mut(&mut self) -> &mut Rig {
        &mut self.0
    }
}

impl Program {
    fn meant(&self, pin: Option<&[u8]>) -> CardInReader {
        let insertion = self.rooms().readers.card(&self.reader).map_or(0, |contents| contents.card.insertion);
        let place = CardPlace { reader: self.reader.clone(), insertion };
        CardInReader { serial: sample::ID_CARD.to_owned(), place, pin: pin.map(secret) }
    }

    async fn generate_as(&self, operator: &str, pin: Option<&[u8]>) -> Result<KeyPair, ProcedureError> {
        let procedures = &self.rooms().procedures;
        procedures.generate_key(UID, &session(operator), self.meant(pin), ProgressSender::nobody()).await
    }

    async fn load(&self, pin: Option<&[u8]>, certificate: &[u8]) -> Result<(), ProcedureError> {
        let (card, procedures) = (self.meant(pin), &self.rooms().procedures);
        let nobody = ProgressSender::nobody();
        procedures.load_certificate(UID, &session("op1"), card, certificate.to_vec(), nobody).await
    }

    fn issue(&self, profile: Profile, request: &[u8]) -> Vec<u8> {
        let request = CertReq::from_der(request).unwrap();
        self.certifier.issue(profile, &request).unwrap().to_der().unwrap()
    }

    async fn at_the_key(&self) -> Procedure {
        let ready = self.start(Case::Standard).await.unwrap();
        self.until(ready, &self.codes[0], "§9.1.3").await
    }

    fn area(&self) -> SignatureAreaState {
        self.card.with_card(|card| card.card().summary().signature_area)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_generates_the_key_and_brings_its_certificate() {
    let mut rig = Program(Rig::new().await);
    let ready = rig.at_the_key().await;
    // The envelope has the PIN: no program knows it.
    let pair = rig.generate_as("op1", None).await.unwrap();
    assert_eq!(rig.area(), SignatureAreaState::Begun);
    // The daemon may go away in between; there is one key, however often it is asked for.
    rig.restart().await;
    rig.card_is_back().await;
    let before = rig.rooms().readers.traffic(&rig.reader);
    assert_eq!(rig.generate_as("op1", None).await.unwrap(), pair);
    assert_eq!(rig.rooms().readers.traffic(&rig.reader), before);

    let certificate = rig.issue(Profile::QualifiedSignature, &pair.request);
    let mut wrong = certificate.clone();
    *wrong.last_mut().unwrap() ^= 1;
    let refused = rig.load(None, &wrong).await.unwrap_err();
    assert!(matches!(refused, ProcedureError::Certifier(CertifierError::Unfit(_))), "{refused:?}");
    assert_eq!(rig.rooms().readers.traffic(&rig.reader), before, "the card has heard nothing of it");

    rig.load(None, &certificate).await.unwrap();
    assert_eq!(rig.area(), SignatureAreaState::Certified);
    let now = rig.show(&ready).await;
    assert_eq!((now.state, now.next.unwrap().paragraph.as_str()), (ProcedureState::Open, "§9.3.2-9"));
    assert_eq!(now.done.last().map(|step| step.paragraph.as_str()), Some("§9.1.3"));
    let pin = rig.letter(&rig.codes[0]);
    assert_eq!(rig.sign_with_area(&pin).await.unwrap().len(), 256);
    let phases = [Phase::Intention, Phase::Outcome, Phase::Intention, Phase::Outcome];
    assert_eq!(rig.phases("signature-certificate").await, phases);
    let again = rig.generate_as("op1", None).await.unwrap_err();
    assert!(matches!(again, ProcedureError::WrongStep { expected: "§9.3.2-9" }), "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_goes_on_with_a_programs_key() {
    let rig = Program(Rig::new().await);
    let ready = rig.at_the_key().await;
    let pair = rig.generate_as("op1", None).await.unwrap();
    let made = rig.answer(&ready, Answer::Confirmed).await.unwrap();
    assert_eq!(made.next.unwrap().paragraph, "§9.3.2-9");
    let loaded = rig.rooms().readers.find_card(sample::ID_CARD).unwrap();
    let certificate =
        x509_cert::Certificate::from_der(loaded.signature_certificate.as_ref().unwrap()).unwrap();
    let key = certificate.tbs_certificate.subject_public_key_info.to_der().unwrap();
    assert_eq!(key, pair.public_key, "no second key was made");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_operators_open_procedure_at_this_step_lets_a_program_in() {
    let rig = Program(Rig::new().await);
    let none = rig.generate_as("op1", None).await.unwrap_err();
    assert_eq!(none.paragraph(), Some("§9.1.3"));
    let begun = rig.start(Case::Signature).await.unwrap();
    let early = rig.generate_as("op1", Some(sample::PIN)).await.unwrap_err();
    assert!(matches!(early, ProcedureError::WrongStep { .. }), "{early:?}");
    rig.until(begun, "", "§9.1.3").await;
    let other = rig.generate_as("op2", Some(sample::PIN)).await.unwrap_err();
    assert_eq!(other.paragraph(), Some("§9.3.2-2"));
    let without_pin = rig.generate_as("op1", None).await.unwrap_err();
    assert!(matches!(without_pin, ProcedureError::WrongAnswer { .. }), "{without_pin:?}");
    let wrong = rig.generate_as("op1", Some(b"99999")).await.unwrap_err();
    assert!(
        matches!(wrong, ProcedureError::Card(CardError::PinIncorrect { tries_left: Some(2) })),
        "{wrong:?}"
    );
    let keyless = rig.load(Some(sample::PIN), b"a certificate").await.unwrap_err();
    assert_eq!(keyless.paragraph(), Some("§9.1.3"));
    let procedures = &rig.rooms().procedures;
    let mut elsewhere = rig.meant(Some(sample::PIN));
    elsewhere.place.reader = "another".to_owned();
    let elsewhere = procedures.generate_key(UID, &session("op1"), elsewhere, ProgressSender::nobody()).await;
    assert!(matches!(elsewhere, Err(ProcedureError::CardElsewhere)));
    let mut earlier = rig.meant(Some(sample::PIN));
    earlier.place.insertion -= 1;
    let earlier = procedures.generate_key(UID, &session("op1"), earlier, ProgressSender::nobody()).await;
    assert!(
        matches!(earlier, Err(ProcedureError::Card(CardError::Swapped))),
        "put in again since: {earlier:?}"
    );
    assert_eq!(rig.area(), SignatureAreaState::Empty, "nothing was made");
    let pair = rig.generate_as("op1", Some(sample::PIN)).await.unwrap();
    let garbage = rig.load(Some(sample::PIN), b"a certificate").await.unwrap_err();
    assert!(matches!(garbage, ProcedureError::Certifier(CertifierError::Unfit(_))), "{garbage:?}");
    rig.load(Some(sample::PIN), &rig.issue(Profile::QualifiedSignature, &pair.request)).await.unwrap();
    assert_eq!(rig.area(), SignatureAreaState::Certified);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_program_makes_the_key_of_a_renewal() {
    let mut rig = Rig::new().await;
    rig.allow_renewal();
    crate::removal::make(&rig).await;
    let rig = Program(rig);
    let begun = rig.start(Case::Renewal).await.unwrap();
    rig.until(begun, "", "§9.1.3").await;
    let refused = rig.generate_as("op1", Some(sample::PIN)).await.unwrap_err();
    assert_eq!(refused.paragraph(), Some("X2"), "{refused:?}");
    assert!(refused.hint().is_some_and(|hint| hint.contains("counter.answer")), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_programs_key_gets_the_pin_of_its_own_envelope() {
    let mut rig = Program(Rig::new().await);
    rig.take_area_pins_from(AreaPin::OwnEnvelope).await;
    let ready = rig.start(Case::Standard).await.unwrap();
    let ready = rig.until(ready, &rig.codes[0], "§9.1.3-envelope").await;
    let early = rig.generate_as("op1", None).await.unwrap_err();
    assert!(matches!(early, ProcedureError::WrongStep { expected: "§9.1.3-envelope" }), "{early:?}");
    rig.answer(&ready, Answer::Envelope(rig.codes[1].clone())).await.unwrap();
    let pair = rig.generate_as("op1", None).await.unwrap();
    rig.load(None, &rig.issue(Profile::QualifiedSignature, &pair.request)).await.unwrap();
    let made = rig.show(&ready).await;
    assert!(made.done.last().unwrap().outcome.contains(&rig.codes[1]), "{made:?}");
    assert_eq!(rig.sign_with_area(&rig.letter(&rig.codes[1])).await.unwrap().len(), 256);
    let standing = rig.rooms().custody.show_envelope(&rig.codes[1]).await.unwrap();
    assert_eq!(standing.state, "used");
}
