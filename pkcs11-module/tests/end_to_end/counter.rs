//! A program of the counter that makes the signature key and loads its certificate through the module (§9.1.3), and
//! everybody else, who may not.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use cns_protocol::card::KeyUse;
use cns_protocol::client::ClientError;
use cns_protocol::counter::{
    Answer, AnswerStep, Case, Document, DocumentKind, Procedure, Show, Start, Verdict, Wants,
};
use cns_protocol::key::{self, Sign};
use cns_protocol::operator::{Login, Logout};
use cns_protocol::pin::{PinName, Verify};
use cns_protocol::reader::{self, ReaderState};
use cns_protocol::{Client, ErrorKind, SecretText};
use cns_secret::Secret;
use cns_virtual_authority::Profile;
use cns_virtual_card::vpcd::{Endpoint, Plugged, plug};
use cns_virtual_card::{Generation, SignatureAreaState, VirtualCard, sample};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, CertificateType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use der::{Decode, Encode};
use rsa::RsaPublicKey;
use rsa::pkcs1v15::Pkcs1v15Sign;
use rsa::pkcs8::DecodePublicKey;
use sha2::{Digest, Sha256};
use x509_cert::Certificate;
use x509_cert::request::CertReq;

use crate::desk::{Desk, launch, pin, refusal, until};
use crate::generations::{authority, issue};

/// A desk whose daemon has a second reader for the operator's card, and roles for us.
struct Counter {
    desk: Desk,
    client: Client,
    /// The operator's card.
    _operator: Plugged,
}

/// A card with a certificate for its login, of the sample's holder or of another number.
fn with_login(serial: Option<&str>) -> (VirtualCard, Vec<u8>) {
    let mut order = sample::personalisation().unwrap();
    order.holder.id_card = serial.map(str::to_owned);
    let mut card = VirtualCard::create(order).unwrap();
    let certificate = issue(Profile::Authentication, &card.certificate_request("Regione di prova").unwrap());
    card.load_certificate(&certificate).unwrap();
    (card, certificate)
}

fn configuration(folder: &Path, operators_certificate: &[u8]) -> String {
    let user = fs::metadata(folder).map(|folder| std::os::unix::fs::MetadataExt::uid(&folder)).unwrap();
    let anchors = authority().folder().join("ca.pem");
    let secret = folder.join("cmp-secret");
    fs::write(&secret, "a secret of the tests").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let readers = ["card", "operator"]
        .map(|name| format!("vpcd:{}", folder.join(name).with_extension("sock").display()));
    let access: String = ["user", "counter"]
        .map(|role| format!("[[access]]\nrole = \"{role}\"\nusers = [\"{user}\"]\n"))
        .concat();
    let fingerprint: String =
        Sha256::digest(operators_certificate).iter().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "readers = {readers:?}\n{access}[operators]\ntrust_anchors = {anchors:?}\n\
         [authority]\nurl = \"http://127.0.0.1:9/\"\nreference = \"cnsd\"\nsecret_file = {secret:?}\n\
         trust_anchors = {anchors:?}\n\
         [[operator]]\nid = \"op1\"\nname = \"Anna Serra\"\ncertificate_sha256 = \"{fingerprint}\"\n\
         counter = \"ASL di prova\"\ncounter_kind = \"health-authority\"\n"
    )
}

impl Counter {
    fn set_up() -> Self {
        let (operator, certificate) = with_login(None);
        let desk = Desk::set_up_at(
            |_| with_login(Some(sample::ID_CARD)).0,
            |folder| {
                fs::write(folder.join("cnsd.toml"), configuration(folder, &certificate)).unwrap();
                Some(launch(folder, &folder.join("cnsd.toml")))
            },
        );
        let socket = desk.folder().join("operator.sock");
        let operator = plug(operator, Endpoint::Unix(socket)).unwrap();
        let mut client = Client::connect(&desk.folder().join("cnsd.sock")).unwrap();
        until("the operator's card", || {
            let readers = client.call(&reader::List {}).unwrap().readers;
            readers.iter().all(|reader| matches!(reader.state, ReaderState::Card(_))).then_some(())
        });
        Self { desk, client, _operator: operator }
    }

    fn reader(&self, name: &str) -> String {
        format!("vpcd:{}", self.desk.folder().join(name).display())
    }

    fn operator_comes(&mut self) {
        let pin = SecretText::new(Secret::copy_from(sample::PIN).unwrap()).unwrap();
        let reader = self.reader("operator.sock");
        self.client.call(&Login { reader, insertion: None, pin, confirm_last_try: false }).unwrap();
    }

    fn start(&mut self) -> Procedure {
        let reader = self.reader("card.sock");
        self.client.call(&Start { reader, case: Case::Signature }).unwrap()
    }

    /// Answers as with a citizen whom all is well with, up to the step that makes the certificate.
    fn up_to_the_key(&mut self, mut procedure: Procedure) -> Procedure {
        while let Some(step) = procedure.next.clone().filter(|step| step.paragraph != "§9.1.3") {
            let answer = if step.wants == Wants::Document {
                Answer::Document(Document {
                    kind: DocumentKind::IdentityCard,
                    number: "CA12345AA".to_owned(),
                    issuer: "Comune di prova".to_owned(),
                    expires: "2099-12-31".to_owned(),
                })
            } else if step.wants == Wants::Verdict {
                Answer::Verdict(Verdict::Match)
            } else {
                Answer::Confirmed
            };
            let (procedure_id, paragraph) = (procedure.id.clone(), step.paragraph);
            let step = AnswerStep {
                procedure: procedure_id,
                paragraph,
                answer,
                pin: None,
                signature_pin: None,
                operator_pin: None,
            };
            procedure = self.client.call(&step).unwrap();
        }
        procedure
    }

    /// The texts of an act in the audit log.
    fn audited(&self, act: &str) -> Vec<String> {
        let log = fs::read_to_string(self.desk.folder().join("state/audit.jsonl")).unwrap();
        let entries = log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let of_act = entries.filter(|entry| find(entry, "act").as_deref() == Some(act));
        of_act.filter_map(|entry| find(&entry, "text")).collect()
    }
}

/// The text under a name, however deep.
fn find(value: &serde_json::Value, name: &str) -> Option<String> {
    let fields = value.as_object()?;
    let here = fields.get(name).and_then(|found| found.as_str().map(str::to_owned));
    here.or_else(|| fields.values().find_map(|field| find(field, name)))
}

fn public() -> Vec<Attribute> {
    vec![Attribute::Token(true), Attribute::ModulusBits(2048.into())]
}

fn private() -> Vec<Attribute> {
    vec![Attribute::Token(true), Attribute::Private(true), Attribute::Sensitive(true), Attribute::Sign(true)]
}

fn and(mut template: Vec<Attribute>, more: Attribute) -> Vec<Attribute> {
    template.push(more);
    template
}

fn generate(session: &Session) -> Result<(ObjectHandle, ObjectHandle), Error> {
    session.generate_key_pair(&Mechanism::RsaPkcsKeyPairGen, &public(), &private())
}

fn certificate_template(der: &[u8]) -> Vec<Attribute> {
    vec![
        Attribute::Class(ObjectClass::CERTIFICATE),
        Attribute::CertificateType(CertificateType::X_509),
        Attribute::Token(true),
        Attribute::Value(der.to_vec()),
    ]
}

/// The request for the certificate, as any program finds it.
fn request(session: &Session) -> Vec<u8> {
    let asked = [Attribute::Class(ObjectClass::DATA), Attribute::Label(b"PKCS#10 request".to_vec())];
    let [object] = session.find_objects(&asked).unwrap()[..] else { panic!("no request, or several") };
    let [Attribute::Value(der)] = &session.get_attributes(object, &[AttributeType::Value]).unwrap()[..]
    else {
        panic!("no value");
    };
    der.clone()
}

fn key_of(spki: &[u8]) -> RsaPublicKey {
    RsaPublicKey::from_public_key_der(spki).unwrap()
}

/// The request's own signature is the new key's.
fn assert_signed_by_its_key(request: &CertReq) {
    let key = key_of(&request.info.public_key.to_der().unwrap());
    let digest = Sha256::digest(request.info.to_der().unwrap());
    key.verify(Pkcs1v15Sign::new::<Sha256>(), &digest, request.signature.raw_bytes()).unwrap();
}

/// The pair before its certificate.
fn assert_waits(session: &Session, [public_key, private_key]: [ObjectHandle; 2], spki: &[u8]) {
    let kinds =
        [AttributeType::PublicKeyInfo, AttributeType::Local, AttributeType::Token, AttributeType::KeyType];
    let told = [
        Attribute::PublicKeyInfo(spki.to_vec()),
        Attribute::Local(true),
        Attribute::Token(true),
        Attribute::KeyType(KeyType::RSA),
    ];
    for key in [public_key, private_key] {
        assert_eq!(session.get_attributes(key, &kinds).unwrap(), told);
    }
    assert_eq!(
        session.get_attributes(private_key, &[AttributeType::Sign]).unwrap(),
        [Attribute::Sign(false)]
    );
    let signed = session.sign(&Mechanism::Sha256RsaPkcs, private_key, b"a contract, before its certificate");
    assert_eq!(refusal(signed), RvError::KeyFunctionNotPermitted);
}

/// What must not be loaded is not: the authority's word counts, not the program's.
fn assert_others_are_refused(session: &Session, good: &[u8]) {
    let load = |template: &[Attribute]| refusal(session.create_object(template));
    let mut broken = good.to_vec();
    *broken.last_mut().unwrap() ^= 1;
    for der in [logins_certificate(), any_certificate(), broken] {
        assert_eq!(load(&certificate_template(&der)), RvError::AttributeValueInvalid);
    }
    let other_id = and(certificate_template(good), Attribute::Id(vec![1]));
    assert_eq!(load(&other_id), RvError::TemplateInconsistent);
    let other_subject = and(certificate_template(good), Attribute::Subject(vec![0x30, 0]));
    assert_eq!(load(&other_subject), RvError::TemplateInconsistent);
    assert_eq!(load(&certificate_template(good)[..3]), RvError::TemplateIncomplete);
}

/// The pair signs, with its PIN for each signature.
fn assert_signs(session: &Session, [public_key, private_key]: [ObjectHandle; 2], spki: &[u8]) {
    session.sign_init(&Mechanism::Sha256RsaPkcs, private_key).unwrap();
    session.login(UserType::ContextSpecific, Some(&pin("12345"))).unwrap();
    session.sign_update(b"a contract").unwrap();
    let signature = session.sign_final().unwrap();
    let digest = Sha256::digest(b"a contract");
    key_of(spki).verify(Pkcs1v15Sign::new::<Sha256>(), &digest, &signature).unwrap();
    session.verify(&Mechanism::Sha256RsaPkcs, public_key, b"a contract", &signature).unwrap();
}

#[test]
fn a_program_of_the_counter_makes_a_key_and_loads_its_certificate() {
    let mut counter = Counter::set_up();
    counter.operator_comes();
    let procedure = counter.start();
    let procedure = counter.up_to_the_key(procedure);
    let (session, _) = counter.desk.logged_in();
    let (public_key, private_key) = generate(&session).unwrap();
    let pair = [public_key, private_key];
    let der = request(&session);
    let asked = CertReq::from_der(&der).unwrap();
    assert_signed_by_its_key(&asked);
    let spki = asked.info.public_key.to_der().unwrap();
    assert_waits(&session, pair, &spki);
    // Asked again there is no second key.
    assert_eq!(generate(&session).unwrap(), (public_key, private_key));
    assert_eq!(request(&session), der);

    let good = issue(Profile::QualifiedSignature, &der);
    assert_others_are_refused(&session, &good);
    let subject = Certificate::from_der(&good).unwrap().tbs_certificate.subject.to_der().unwrap();
    let template = and(certificate_template(&good), Attribute::Subject(subject));
    let template = and(template, Attribute::Label(b"mine".to_vec()));
    let certificate = session.create_object(&template).unwrap();
    let told = session.get_attributes(certificate, &[AttributeType::Value, AttributeType::Private]).unwrap();
    assert_eq!(told, [Attribute::Value(good), Attribute::Private(false)]);
    // The keys stay the objects that they were.
    let id = session.get_attributes(certificate, &[AttributeType::Id]).unwrap();
    for key in pair {
        assert_eq!(session.get_attributes(key, &[AttributeType::Id]).unwrap(), id);
    }
    let all = session.find_objects(&[Attribute::Class(ObjectClass::PRIVATE_KEY)]).unwrap();
    assert!(all.len() == 2 && all.contains(&private_key));
    let gone = [Attribute::Class(ObjectClass::DATA), Attribute::Label(b"PKCS#10 request".to_vec())];
    assert!(session.find_objects(&gone).unwrap().is_empty(), "it has served");
    assert_signs(&session, pair, &spki);

    // The procedure has gone on, and the log has both halves.
    let shown = counter.client.call(&Show { procedure: procedure.id }).unwrap();
    assert_eq!(shown.next.map(|step| step.paragraph).as_deref(), Some("§9.3.2-11"));
    let told = counter.audited("signature-certificate");
    assert_eq!(told.len(), 4, "{told:?}");
    assert!(told[1].contains("waits for its certificate") && told[3].contains("is on the card"), "{told:?}");
    assert_eq!(refusal(generate(&session)), RvError::TokenWriteProtected, "one key for one procedure");
}

#[test]
fn without_operator_procedure_step_or_pin_nothing_is_made() {
    let mut counter = Counter::set_up();
    let (slot, kind) = (counter.desk.card(), MechanismType::RSA_PKCS_KEY_PAIR_GEN);
    assert!(counter.desk.application.get_mechanism_list(slot).unwrap().contains(&kind));
    let info = counter.desk.application.get_mechanism_info(slot, kind).unwrap();
    assert!(info.generate_key_pair() && (info.min_key_size(), info.max_key_size()) == (2048, 2048));
    let session = counter.desk.session();
    let certificate = certificate_template(&any_certificate());
    let refusals =
        |session: &Session| [refusal(generate(session)), refusal(session.create_object(&certificate))];
    assert_eq!(refusals(&session), [RvError::UserNotLoggedIn; 2], "no operator");
    counter.operator_comes();
    assert_eq!(refusals(&session), [RvError::TokenWriteProtected; 2], "no procedure");
    let procedure = counter.start();
    assert_eq!(refusals(&session), [RvError::TokenWriteProtected; 2], "another step");
    counter.up_to_the_key(procedure);
    let expected = [RvError::UserNotLoggedIn, RvError::TokenWriteProtected];
    assert_eq!(refusals(&session), expected, "no PIN, and no key");
    session.login(UserType::User, Some(&pin("12345"))).unwrap();
    assert_templates_are_refused(&session);
    let read_only = counter.desk.application.open_ro_session(slot).unwrap();
    assert_eq!(refusals(&read_only), [RvError::SessionReadOnly; 2]);
    let summary = counter.desk.plugged.with_card(|card| card.card().summary());
    assert_eq!(summary.signature_area, SignatureAreaState::Empty, "nothing was made");
    // The operator goes: so does the leave.
    counter.client.call(&Logout {}).unwrap();
    assert_eq!(refusals(&session), [RvError::UserNotLoggedIn; 2]);
}

/// Before anybody is asked.
fn assert_templates_are_refused(session: &Session) {
    let bits = |bits: u64| vec![Attribute::Token(true), Attribute::ModulusBits(bits.into())];
    let cases = [
        (bits(1024), private(), RvError::KeySizeRange),
        (bits(4096), private(), RvError::KeySizeRange),
        (vec![Attribute::Token(true)], private(), RvError::TemplateIncomplete),
        (public()[1..].to_vec(), private(), RvError::TemplateInconsistent),
        (public(), private()[1..].to_vec(), RvError::TemplateInconsistent),
        (public(), and(private(), Attribute::Decrypt(true)), RvError::TemplateInconsistent),
        (public(), and(private(), Attribute::Extractable(true)), RvError::TemplateInconsistent),
        (public(), and(private(), Attribute::Sign(true)), RvError::TemplateInconsistent),
        (and(public(), Attribute::Encrypt(true)), private(), RvError::TemplateInconsistent),
        (and(public(), Attribute::KeyType(KeyType::EC)), private(), RvError::TemplateInconsistent),
        (and(public(), Attribute::Id(vec![7])), private(), RvError::AttributeReadOnly),
        (public(), and(private(), Attribute::PublicExponent(vec![1, 0, 1])), RvError::AttributeReadOnly),
        (and(public(), Attribute::PublicExponent(vec![3])), private(), RvError::AttributeValueInvalid),
        (and(public(), Attribute::Value(vec![3])), private(), RvError::AttributeTypeInvalid),
    ];
    for (public, private, expected) in cases {
        let made = session.generate_key_pair(&Mechanism::RsaPkcsKeyPairGen, &public, &private);
        assert_eq!(refusal(made), expected, "{public:?} {private:?}");
    }
}

/// A certificate of the same holder, of another kind and for another key.
fn logins_certificate() -> Vec<u8> {
    with_login(Some(sample::ID_CARD)).1
}

/// A signature certificate of the same holder, for another key.
fn any_certificate() -> Vec<u8> {
    let card = VirtualCard::create(sample::personalisation_of(Generation::default()).unwrap()).unwrap();
    issue(Profile::QualifiedSignature, &card.signature_certificate_request().unwrap())
}

/// Only the first attempt costs a try: the logins, whose PIN somebody else changed, are over with it, other programs' too.
#[test]
fn a_login_whose_pin_the_card_refuses_for_a_new_key_ends() {
    let mut counter = Counter::set_up();
    counter.operator_comes();
    let procedure = counter.start();
    counter.up_to_the_key(procedure);
    let (session, _) = counter.desk.logged_in();
    let reader = counter.reader("card.sock");
    let typed = SecretText::new(Secret::copy_from(sample::PIN).unwrap()).unwrap();
    let verify = Verify {
        reader: reader.clone(),
        insertion: None,
        which: PinName::Cns,
        pin: Some(typed),
        confirm_last_try: false,
    };
    counter.client.call(&verify).unwrap();
    counter.desk.plugged.with_card(|card| {
        let change = [&[0x00, 0x24, 0x00, 0x90, 0x10][..], sample::PIN, &[0xFF; 3], b"90817263"].concat();
        assert_eq!(card.card().transmit(&change), [0x90, 0x00], "somebody else changes the PIN");
    });
    assert_eq!(refusal(generate(&session)), RvError::PinIncorrect);
    let tries = counter.desk.tries();
    assert_eq!(refusal(generate(&session)), RvError::UserNotLoggedIn);
    let sign = Sign {
        reader,
        insertion: None,
        key_use: KeyUse::Authentication,
        mechanism: key::Mechanism::RsaPkcs1,
        data: b"a message".to_vec(),
        pin: None,
        confirm_last_try: false,
    };
    let refused = counter.client.call(&sign);
    assert!(
        matches!(&refused, Err(ClientError::Refused(error)) if error.kind == ErrorKind::NotLoggedIn),
        "{refused:?}"
    );
    assert_eq!(counter.desk.tries(), tries);
    session.login(UserType::User, Some(&pin("90817263"))).unwrap();
}

#[test]
fn to_everybody_else_the_token_is_write_protected() {
    let desk = Desk::set_up();
    let (session, _) = desk.logged_in();
    assert_eq!(refusal(generate(&session)), RvError::TokenWriteProtected);
    let loaded = session.create_object(&certificate_template(&any_certificate()));
    assert_eq!(refusal(loaded), RvError::TokenWriteProtected);
    let kinds = desk.application.get_mechanism_list(desk.card()).unwrap();
    assert!(!kinds.contains(&MechanismType::RSA_PKCS_KEY_PAIR_GEN), "no program is led to try");
    let told = desk.application.get_mechanism_info(desk.card(), MechanismType::RSA_PKCS_KEY_PAIR_GEN);
    assert_eq!(refusal(told), RvError::MechanismInvalid);
}
