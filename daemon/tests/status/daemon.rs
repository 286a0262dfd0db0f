//! The daemon itself with `[status]`: what is shown of a card, what an operator's login is refused for, and what is asked of
//! the network for it.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cns_protocol::card::{self, CertificateStatus, StatusSource};
use cns_protocol::certificate::Standing;
use cns_protocol::operator::Login;
use cns_protocol::{ErrorKind, reader};
use cns_virtual_authority::{Authority as Certifier, Profile, Reason};
use cns_virtual_card::vpcd::{Endpoint, Plugged, plug};
use cns_virtual_card::{VirtualCard, sample};
use der::{Decode, Encode};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use x509_cert::request::CertReq;

use crate::fixture::{openssl, spokesman, workplace};
use crate::openssl::{Entry, RESPONDER, Responder, index};
use crate::running::{EVERYTHING, Running, access, refusal, text};
use crate::server::{Reply, Server};

const READER: &str = "reader";
const PIN: &str = "12345";

/// A certifier with a card of it.
struct Office {
    folder: TempDir,
    certifier: Arc<Certifier>,
    der: Vec<u8>,
    serial: String,
}

impl Office {
    fn new() -> (Self, VirtualCard) {
        let folder = workplace();
        let certifier = Arc::new(Certifier::open(&folder.path().join("ca")).unwrap());
        let mut card = VirtualCard::create(sample::personalisation().unwrap()).unwrap();
        let request = card.certificate_request("Regione di prova").unwrap();
        let asked = CertReq::from_der(&request).unwrap();
        let der = certifier.issue(Profile::Authentication, &asked).unwrap().to_der().unwrap();
        card.load_certificate(&der).unwrap();
        let serial = certifier.list().unwrap().pop().unwrap().serial;
        (Self { folder, certifier, der, serial }, card)
    }

    /// A daemon with the card in its reader, whose holder is a registered operator.
    fn start(card: VirtualCard, office: &Self, status: &str, operators: &str) -> (Running, Plugged) {
        let anchors = office.folder.path().join("ca/ca.pem");
        let digest = hex::encode(Sha256::digest(&office.der));
        let config = format!(
            "{}[status]\ntrust_anchors = {anchors:?}\n{status}\n[operators]\ntrust_anchors = {anchors:?}\n{operators}\n\
             [[operator]]\nid = \"op1\"\nname = \"Anna Serra\"\ncertificate_sha256 = \"{digest}\"\n\
             counter = \"ASL Cagliari, sportello 1\"\ncounter_kind = \"pharmacy\"\n",
            access(EVERYTHING)
        );
        let running = Running::start_with(&[READER], &config);
        let plugged = plug(card, Endpoint::Unix(running.path(READER))).unwrap();
        running.card_in(READER);
        (running, plugged)
    }

    /// The place of its list.
    fn list(&self) -> String {
        format!("crl = {:?}\n", self.folder.path().join("ca/crl.der"))
    }
}

fn shown(running: &Running, status: bool) -> Option<CertificateStatus> {
    let show = card::Show { reader: running.reader(READER), status };
    running.client().call(&show).unwrap().certificates.remove(0).status
}

fn login(running: &Running) -> Login {
    Login { reader: running.reader(READER), insertion: None, pin: text(PIN), confirm_last_try: false }
}

#[test]
fn a_card_is_shown_with_how_it_stands_and_listed_without_asking_anybody() {
    let (office, card) = Office::new();
    spokesman(office.folder.path(), "ocsp", "ca", RESPONDER);
    index(office.folder.path(), &[(&office.serial, Entry::Revoked("260301100000Z", "keyCompromise"))]);
    let server = Server::start(Responder::new(office.folder.path(), "ocsp").into_handler());
    let status = format!("ocsp = {:?}\n", server.url("/ocsp"));
    let (running, _plugged) = Office::start(card, &office, &status, "");

    let mut client = running.client();
    for _ in 0..5 {
        client.call(&reader::List {}).unwrap();
        let listed = client.call(&card::List {}).unwrap();
        assert!(listed.iter().flat_map(|card| &card.certificates).all(|held| held.status.is_none()));
        assert_eq!(shown(&running, false), None);
    }
    assert_eq!(server.asked(), 0, "who lists certificates asks nobody");

    let known = shown(&running, true).unwrap();
    assert_eq!((known.standing, known.source), (Some(Standing::Revoked), Some(StatusSource::Ocsp)));
    assert_eq!(known.since.as_deref(), Some("2026-03-01T10:00:00Z"));
    assert_eq!(known.reason.as_deref(), Some("keyCompromise"));
    assert!(known.as_of.unwrap() < known.valid_until.unwrap() && known.why_unknown.is_none());
    shown(&running, true);
    assert_eq!(server.asked(), 1);
    println!("10 listings and 5 bare views: no request; 2 views with status: {} request", server.asked());
}

#[test]
fn a_source_that_hangs_makes_the_view_of_a_card_wait_five_seconds_and_no_longer() {
    let (office, card) = Office::new();
    let server = Server::always(Reply::Silence);
    let status = format!("ocsp = {:?}\n", server.url("/ocsp"));
    let (running, _plugged) = Office::start(card, &office, &status, "");
    let begin = Instant::now();
    let known = shown(&running, true).unwrap();
    let took = begin.elapsed();
    assert_eq!((known.standing, known.source, known.as_of), (None, None, None));
    assert_eq!(known.why_unknown.as_deref(), Some("no answer in time"));
    assert!(took < Duration::from_secs(8), "{took:?}");
    let begin = Instant::now();
    running.client().call(&card::List {}).unwrap();
    assert!(begin.elapsed() < Duration::from_secs(2), "others are not held up: {:?}", begin.elapsed());
    println!("a hanging responder: shown as not known after {took:?}");
}

#[test]
fn an_operator_whose_certificate_is_suspended_or_revoked_is_refused_with_the_reason() {
    let (office, card) = Office::new();
    // Also where what is not known would be let through.
    let status = format!("{}offline = \"warn\"\n", office.list());
    let (running, _plugged) = Office::start(card, &office, &status, "");
    let mut client = running.client();
    assert_eq!(client.call(&login(&running)).unwrap().warning, None);
    let before = client.call(&reader::List {}).unwrap().readers[0].traffic;
    for (reason, words) in [
        (Reason::CertificateHold, ["suspended since 20", "(certificateHold)"]),
        (Reason::CessationOfOperation, ["revoked since 20", "(cessationOfOperation)"]),
    ] {
        office.certifier.revoke(&office.serial, reason).unwrap();
        let refused = refusal(&mut client, &login(&running));
        assert_eq!(refused.kind, ErrorKind::OperatorRefused);
        assert!(words.iter().all(|word| refused.message.contains(word)), "{}", refused.message);
        assert_eq!(refused.paragraph.as_deref(), Some("§9.3.2-2"));
        let known = shown(&running, true).unwrap();
        assert_eq!(known.source, Some(StatusSource::List));
        assert_eq!(known.standing == Some(Standing::Suspended), reason == Reason::CertificateHold);
    }
    let after = client.call(&reader::List {}).unwrap().readers[0].traffic;
    assert_eq!(before, after, "the PIN is not presented");
    let audited = running.audited("operator-login");
    assert!(
        audited.last().unwrap().contains("refused: the operator's certificate is revoked"),
        "{audited:?}"
    );
}

#[test]
fn the_operators_own_list_goes_on_working_beside_the_sources() {
    let (office, card) = Office::new();
    let good = office.folder.path().join("good.der");
    fs::write(&good, office.certifier.crl().unwrap()).unwrap();
    office.certifier.revoke(&office.serial, Reason::CertificateHold).unwrap();
    // The sources have not heard of it; the operators' list has.
    let status = format!("crl = {good:?}\n");
    let operators = office.list();
    let (running, _plugged) = Office::start(card, &office, &status, &operators);
    let refused = refusal(&mut running.client(), &login(&running));
    assert_eq!(refused.message, "the certificate is suspended");
}

#[test]
fn an_operator_of_whom_nobody_tells_is_refused_or_warned_as_the_configuration_says() {
    for (offline, goes_on) in [("refuse", false), ("warn", true)] {
        let (office, card) = Office::new();
        let server = Server::always(Reply::Failure);
        let status = format!("ocsp = {:?}\noffline = {offline:?}\n", server.url("/ocsp"));
        let (running, _plugged) = Office::start(card, &office, &status, "");
        let mut client = running.client();
        if goes_on {
            let session = client.call(&login(&running)).unwrap();
            assert!(session.warning.as_ref().unwrap().contains("not known"), "{session:?}");
            let audited = running.audited("operator-login");
            assert!(audited[0].contains("not known"), "{audited:?}");
        } else {
            let refused = refusal(&mut client, &login(&running));
            assert_eq!(refused.kind, ErrorKind::OperatorRefused);
            assert!(refused.message.contains("is not known: the server answered with HTTP status 503"));
            assert!(refused.hint.unwrap().contains("[status]"));
        }
        assert!(running.log().contains("the status of an operator's certificate is not known"));
        let known = shown(&running, true).unwrap();
        assert_eq!(known.standing, None);
        assert!(known.why_unknown.unwrap().contains("503"));
    }
}

#[test]
fn an_operator_of_another_authority_is_for_the_operators_list_alone() {
    let (office, card) = Office::new();
    let stranger = office.folder.path().join("stranger/ca.pem");
    let anchors = office.folder.path().join("ca/ca.pem");
    let digest = hex::encode(Sha256::digest(&office.der));
    let server = Server::always(Reply::Failure);
    let config = format!(
        "{}[status]\ntrust_anchors = {stranger:?}\nocsp = {:?}\n[operators]\ntrust_anchors = {anchors:?}\n\
         [[operator]]\nid = \"op1\"\nname = \"Anna Serra\"\ncertificate_sha256 = \"{digest}\"\n\
         counter = \"Sportello 1\"\ncounter_kind = \"health-authority\"\n",
        access(EVERYTHING),
        server.url("/ocsp")
    );
    let running = Running::start_with(&[READER], &config);
    let _plugged = plug(card, Endpoint::Unix(running.path(READER))).unwrap();
    running.card_in(READER);
    assert_eq!(running.client().call(&login(&running)).unwrap().warning, None);
    assert_eq!(server.asked(), 0);
}

/// Another authority's card is not asked about; one whose issuer is known here is, also when the chain fails: here the term of
/// the anchor itself is over.
#[test]
fn an_operator_whose_issuer_is_known_and_cannot_be_relied_on_is_not_let_through_unasked() {
    for (offline, goes_on) in [("refuse", false), ("warn", true)] {
        let (office, card) = Office::new();
        let renew =
            ["x509", "-in", "ca/ca.pem", "-signkey", "ca/ca-key.pem", "-days", "-1", "-out", "over.pem"];
        openssl(office.folder.path(), &renew);
        let [anchors, over] = ["ca/ca.pem", "over.pem"].map(|name| office.folder.path().join(name));
        let digest = hex::encode(Sha256::digest(&office.der));
        let config = format!(
            "{}[status]\ntrust_anchors = {over:?}\noffline = {offline:?}\n{}\n[operators]\n\
             trust_anchors = {anchors:?}\n[[operator]]\nid = \"op1\"\nname = \"Anna Serra\"\n\
             certificate_sha256 = \"{digest}\"\ncounter = \"Sportello 1\"\ncounter_kind = \"health-authority\"\n",
            access(EVERYTHING),
            office.list()
        );
        let running = Running::start_with(&[READER], &config);
        let _plugged = plug(card, Endpoint::Unix(running.path(READER))).unwrap();
        running.card_in(READER);
        let told = if goes_on {
            running.client().call(&login(&running)).unwrap().warning.unwrap()
        } else {
            let refused = refusal(&mut running.client(), &login(&running));
            assert_eq!(refused.kind, ErrorKind::OperatorRefused);
            refused.message
        };
        assert!(told.contains("is not known: the certificate is refused: it has expired"), "{told}");
    }
}

#[test]
fn a_configuration_that_cannot_be_used_is_told_at_the_start() {
    for (status, told) in [
        ("crl = \"/nonexistent.der\"", "`trust_anchors` is needed"),
        ("ocsp = \"ftp://ca.example\"\ntrust_anchors = \"ANCHORS\"", "is not an address"),
        ("ocsp = \"https://ca.example\"\ntrust_anchors = \"ANCHORS\"", "network.tls_roots"),
        ("delta_crl = \"/delta.der\"\ntrust_anchors = \"ANCHORS\"", "of no use without `crl`"),
        ("crl = \"/crl.der\"\ntrust_anchors = \"/nonexistent.pem\"", "/nonexistent.pem"),
    ] {
        let folder = workplace();
        let anchors = folder.path().join("ca/ca.pem").display().to_string();
        let status = format!("[status]\n{}\n", status.replace("ANCHORS", &anchors));
        let running = Running::prepare(&[], &format!("{}{status}", access(EVERYTHING)));
        let output = running.command().output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains("[status]: ") && said.contains(told), "{said}");
    }
}
