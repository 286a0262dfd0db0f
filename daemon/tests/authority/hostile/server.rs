//! A CMP server that answers as it is told.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use aws_lc_rs::{digest, hmac};
use cns_virtual_authority::{Authority as Certifier, Profile};
use const_oid::ObjectIdentifier;
use const_oid::db::rfc5912::SHA_256_WITH_RSA_ENCRYPTION;
use der::asn1::{BitString, OctetString};
use der::{Any, AnyRef, Decode, Encode, Sequence, Tag, TagNumber, Tagged};
use spki::AlgorithmIdentifierOwned;
use tempfile::TempDir;
use x509_cert::request::CertReq;

use crate::fixture::{SECRET, SUBJECT, openssl, request, workplace};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    Silence,
    Drip,
    Hangup,
    NoHttp,
    Status(u16),
    Redirect,
    Flood,
    Garbage,
    Empty,
    Truncated,
    Transaction,
    Nonce,
    NoNonce,
    Unprotected,
    UnprotectedError,
    WrongSecret,
    WrongSecretError,
    ChangedBody,
    Iterations,
    SignedInstead,
    Error,
    Rejection,
    OtherKind,
    NoCertificate,
    TwoCertificates,
    WaitsForEver,
    WaitsWithoutATime,
    WaitsTooLong,
    Waits,
    OtherKey,
    Expired,
    OtherHolder,
    Stranger,
    NoConfirmation,
    LostAnswer,
    LostAnswerStrict,
    LostConfirmation,
}

const P10CR: TagNumber = TagNumber::N4;
const CP: TagNumber = TagNumber::N3;
const PKI_CONF: TagNumber = TagNumber::N19;
const ERROR: TagNumber = TagNumber::N23;
const CERT_CONF: TagNumber = TagNumber::N24;
const POLL_REQ: TagNumber = TagNumber::N25;
const POLL_REP: TagNumber = TagNumber::N26;
const PBM: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113533.7.66.13");
const SHA_256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const HMAC_SHA_256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.2.9");

// PKIFailureInfo bits.
const BAD_POP: usize = 9;
const CERT_CONFIRMED: usize = 11;
const TRANSACTION_IN_USE: usize = 21;

#[derive(Sequence)]
struct Message<'a> {
    header: AnyRef<'a>,
    body: AnyRef<'a>,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    protection: Option<BitString>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    extra: Option<Vec<AnyRef<'a>>>,
}

#[derive(Sequence)]
struct Pair<'a> {
    header: AnyRef<'a>,
    body: AnyRef<'a>,
}

#[derive(Sequence)]
struct Header {
    version: u8,
    sender: Any,
    recipient: Any,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    time: Option<Any>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    algorithm: Option<AlgorithmIdentifierOwned>,
    #[asn1(context_specific = "2", tag_mode = "EXPLICIT", optional = "true")]
    sender_key: Option<OctetString>,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT", optional = "true")]
    recipient_key: Option<OctetString>,
    #[asn1(context_specific = "4", tag_mode = "EXPLICIT", optional = "true")]
    transaction: Option<OctetString>,
    #[asn1(context_specific = "5", tag_mode = "EXPLICIT", optional = "true")]
    nonce: Option<OctetString>,
    #[asn1(context_specific = "6", tag_mode = "EXPLICIT", optional = "true")]
    answers: Option<OctetString>,
}

#[derive(Sequence)]
struct Parameters {
    salt: OctetString,
    function: AlgorithmIdentifierOwned,
    iterations: u64,
    mac: AlgorithmIdentifierOwned,
}

#[derive(Sequence)]
struct Info {
    status: u8,
    text: Option<Vec<String>>,
    failure: Option<BitString>,
}

#[derive(Sequence)]
struct Poll {
    id: i32,
    after: i64,
}

struct Shared {
    fault: Fault,
    /// How many messages came since the fault was set.
    messages: usize,
    transactions: BTreeSet<Vec<u8>>,
    turned_down: bool,
}

struct Answers {
    good: Vec<u8>,
    other_key: Vec<u8>,
    expired: Vec<u8>,
    other_holder: Vec<u8>,
    stranger: Vec<u8>,
}

/// The server, for as long as the test's process lives.
pub(super) struct Server {
    folder: TempDir,
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    pub(super) asked: Vec<u8>,
    pub(super) certificate: Vec<u8>,
}

impl Server {
    pub(super) fn start() -> Self {
        let folder = workplace();
        let asked = request(folder.path(), SUBJECT);
        let answers = certificates(folder.path(), &asked);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared =
            Shared { fault: Fault::None, messages: 0, transactions: BTreeSet::new(), turned_down: false };
        let shared = Arc::new(Mutex::new(shared));
        let certificate = answers.good.clone();
        let (answers, state) = (Arc::new(answers), Arc::clone(&shared));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (answers, state) = (Arc::clone(&answers), Arc::clone(&state));
                thread::spawn(move || converse(stream.unwrap(), &answers, &state));
            }
        });
        Self { folder, address, shared, asked, certificate }
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/cmp", self.address)
    }

    pub(super) fn now(&self, fault: Fault) {
        let (messages, transactions) = (0, BTreeSet::new());
        *self.shared.lock().unwrap() = Shared { fault, messages, transactions, turned_down: false };
    }

    pub(super) fn turned_down(&self) -> bool {
        self.shared.lock().unwrap().turned_down
    }

    pub(super) fn messages(&self) -> usize {
        self.shared.lock().unwrap().messages
    }

    pub(super) fn transactions(&self) -> usize {
        self.shared.lock().unwrap().transactions.len()
    }
}

fn certificates(folder: &Path, asked: &[u8]) -> Answers {
    let issue = |ca: &str, asked: &[u8]| {
        let certifier = Certifier::open(&folder.join(ca)).unwrap();
        let asked = CertReq::from_der(asked).unwrap();
        certifier.issue(Profile::QualifiedSignature, &asked).unwrap().to_der().unwrap()
    };
    let good = issue("ca", asked);
    let other = "/C=IT/GN=LAURA/SN=BIANCHI/CN=LAURA BIANCHI/serialNumber=TINIT-BNCLRA85B42H501M";
    let other_holder = issue("ca", &request(folder, other));
    let stranger = issue("stranger", asked);
    fs::rename(folder.join("key.pem"), folder.join("first.pem")).unwrap();
    openssl(folder, &["genrsa", "-out", "key.pem", "2048"]);
    let other_key = issue("ca", &request(folder, SUBJECT));
    fs::rename(folder.join("first.pem"), folder.join("key.pem")).unwrap();
    Answers { expired: expired(&good), good, other_key, other_holder, stranger }
}

/// The same certificate, at an end ten years ago. Validity is judged before the signature, which fits no longer.
fn expired(good: &[u8]) -> Vec<u8> {
    let times: Vec<_> = good.windows(2).enumerate().filter(|(_, pair)| *pair == [0x17, 0x0D]).collect();
    let (at, _) = times[1];
    let mut old = good.to_vec();
    old[at + 2..at + 4].copy_from_slice(b"16");
    old
}

fn converse(mut stream: TcpStream, answers: &Answers, state: &Mutex<Shared>) {
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let Some(body) = read_http(&mut stream) else { return };
    let (fault, number) = {
        let mut state = state.lock().unwrap();
        state.messages += 1;
        (state.fault, state.messages)
    };
    let ok = |body: &[u8]| http("200 OK", "", body);
    let bytes = match fault {
        Fault::Silence => return thread::sleep(Duration::from_secs(8)),
        Fault::Drip => return drip(stream),
        Fault::Hangup => return,
        Fault::NoHttp => b"\0\0\0 nonsense\r\n\r\n".to_vec(),
        Fault::Status(status) => http(&format!("{status} No"), "", b"no"),
        Fault::Redirect => http("302 Found", "Location: http://127.0.0.1:1/\r\n", b""),
        Fault::Flood => return flood(stream),
        Fault::Garbage => ok(&[0x30; 500]),
        Fault::Empty => ok(b""),
        _ => {
            let Some(answer) = cmp(&body, answers, state, (fault, number)) else { return };
            ok(&answer)
        }
    };
    drop(stream.write_all(&bytes));
}

fn read_http(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.starts_with("content-type:") {
            assert_eq!(line, "content-type: application/pkixcmp");
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(body)
}

fn http(status: &str, fields: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\n{fields}Content-Type: application/pkixcmp\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// A hundred megabytes, for whoever takes them.
fn flood(mut stream: TcpStream) {
    drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\nConnection: close\r\n\r\n"));
    let piece = vec![0x30; 1024 * 1024];
    for _ in 0..100 {
        if stream.write_all(&piece).is_err() {
            return;
        }
    }
}

/// A byte every now and then keeps no connection alive.
fn drip(mut stream: TcpStream) {
    drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"));
    for _ in 0..40 {
        if stream.write_all(b"0").is_err() {
            return;
        }
        thread::sleep(Duration::from_millis(200));
    }
}

/// The answer to a message, or nothing where it is lost.
fn cmp(
    bytes: &[u8],
    answers: &Answers,
    state: &Mutex<Shared>,
    (fault, number): (Fault, usize),
) -> Option<Vec<u8>> {
    let message = Message::from_der(bytes).unwrap();
    let header = Header::from_der(&first_fields(&message.header)).unwrap();
    let Tag::ContextSpecific { number: kind, .. } = message.body.tag() else { panic!("{bytes:x?}") };
    {
        let mut state = state.lock().unwrap();
        state.transactions.insert(header.transaction.as_ref().unwrap().as_bytes().to_vec());
        // CertStatus with a status of its own turns the certificate down.
        state.turned_down |= kind == CERT_CONF && has_status(message.body.value());
    }
    let (kind, content) = match kind {
        P10CR | POLL_REQ => enrolment(kind, answers, (fault, number))?,
        CERT_CONF => match (fault, number) {
            (Fault::LostConfirmation, 2) => return None,
            (Fault::LostConfirmation, _) => (ERROR, error(CERT_CONFIRMED)),
            _ => (PKI_CONF, vec![0x05, 0x00]),
        },
        other => panic!("{other:?}"),
    };
    Some(seal(header, kind, &content, fault))
}

/// The header as far as it is looked at here: what comes after the nonces is left out.
fn first_fields(header: &AnyRef<'_>) -> Vec<u8> {
    let mut fields = Vec::new();
    let mut reader = der::SliceReader::new(header.value()).unwrap();
    while !der::Reader::is_finished(&reader) {
        let field = AnyRef::decode(&mut reader).unwrap();
        let late = [TagNumber::N7, TagNumber::N8];
        if !matches!(field.tag(), Tag::ContextSpecific { number, .. } if late.contains(&number)) {
            fields.push(field);
        }
    }
    fields.to_der().unwrap()
}

fn has_status(cert_conf: &[u8]) -> bool {
    let statuses = Vec::<Vec<Any>>::from_der(cert_conf).unwrap_or_default();
    statuses.iter().any(|status| status.len() > 2)
}

fn enrolment(
    kind: TagNumber,
    answers: &Answers,
    (fault, number): (Fault, usize),
) -> Option<(TagNumber, Vec<u8>)> {
    let certificate = match fault {
        Fault::LostAnswer | Fault::LostAnswerStrict if number == 1 => return None,
        Fault::LostAnswerStrict if kind == P10CR => return Some((ERROR, error(TRANSACTION_IN_USE))),
        Fault::Error | Fault::UnprotectedError | Fault::WrongSecretError => {
            return Some((ERROR, error(BAD_POP)));
        }
        Fault::Rejection => return Some((CP, response(&[(2, None)]))),
        Fault::OtherKind => return Some((PKI_CONF, vec![0x05, 0x00])),
        Fault::NoCertificate => return Some((CP, response(&[(0, None)]))),
        Fault::TwoCertificates => {
            return Some((CP, response(&[(0, Some(&answers.good)), (0, Some(&answers.good))])));
        }
        Fault::WaitsForEver | Fault::WaitsTooLong | Fault::Waits if kind == P10CR => {
            return Some((CP, response(&[(3, None)])));
        }
        Fault::WaitsWithoutATime => return Some((CP, response(&[(3, None)]))),
        Fault::WaitsForEver => return Some((POLL_REP, poll(1))),
        Fault::WaitsTooLong => return Some((POLL_REP, poll(1_000_000))),
        Fault::Waits if number == 2 => return Some((POLL_REP, poll(1))),
        Fault::OtherKey => &answers.other_key,
        Fault::Expired => &answers.expired,
        Fault::OtherHolder => &answers.other_holder,
        Fault::Stranger => &answers.stranger,
        _ => &answers.good,
    };
    Some((CP, response(&[(0, Some(certificate))])))
}

fn poll(after: i64) -> Vec<u8> {
    vec![Poll { id: -1, after }].to_der().unwrap()
}

fn error(bit: usize) -> Vec<u8> {
    let mut bits = vec![0; bit / 8 + 1];
    bits[bit / 8] |= 0x80 >> (bit % 8);
    let failure = BitString::new(u8::try_from(7 - bit % 8).unwrap(), bits).unwrap();
    let info = Info { status: 2, text: Some(vec!["\u{1b}[31mno\u{7}".to_owned()]), failure: Some(failure) };
    vec![Any::from_der(&info.to_der().unwrap()).unwrap()].to_der().unwrap()
}

fn response(responses: &[(u8, Option<&Vec<u8>>)]) -> Vec<u8> {
    let one = |(status, certificate): &(u8, Option<&Vec<u8>>)| {
        let info = Info { status: *status, text: None, failure: None };
        let mut fields = vec![
            Any::from_der(&(-1i32).to_der().unwrap()).unwrap(),
            Any::from_der(&info.to_der().unwrap()).unwrap(),
        ];
        if let Some(certificate) = certificate {
            let tag = Tag::ContextSpecific { constructed: true, number: TagNumber::N0 };
            let pair = vec![Any::new(tag, certificate.as_slice()).unwrap()].to_der().unwrap();
            fields.push(Any::from_der(&pair).unwrap());
        }
        Any::from_der(&fields.to_der().unwrap()).unwrap()
    };
    let responses: Vec<Any> = responses.iter().map(one).collect();
    vec![Any::from_der(&responses.to_der().unwrap()).unwrap()].to_der().unwrap()
}

fn seal(asked: Header, kind: TagNumber, content: &[u8], fault: Fault) -> Vec<u8> {
    let plain = |oid| AlgorithmIdentifierOwned { oid, parameters: None };
    let parameters = Parameters {
        salt: OctetString::new(*b"salt of a server").unwrap(),
        function: plain(SHA_256),
        iterations: if fault == Fault::Iterations { 1 << 40 } else { 200 },
        mac: plain(HMAC_SHA_256),
    };
    let parameters = Some(Any::from_der(&parameters.to_der().unwrap()).unwrap());
    let algorithm = match fault {
        Fault::SignedInstead => plain(SHA_256_WITH_RSA_ENCRYPTION),
        _ => AlgorithmIdentifierOwned { oid: PBM, parameters },
    };
    let changed = |value: Option<OctetString>| {
        value.map(|value| {
            let mut bytes = value.as_bytes().to_vec();
            bytes[0] ^= 1;
            OctetString::new(bytes).unwrap()
        })
    };
    let header = Header {
        version: 2,
        sender: asked.recipient,
        recipient: asked.sender,
        time: None,
        algorithm: Some(algorithm),
        sender_key: asked.sender_key,
        recipient_key: None,
        transaction: if fault == Fault::Transaction { changed(asked.transaction) } else { asked.transaction },
        answers: match fault {
            Fault::Nonce => changed(asked.nonce),
            Fault::NoNonce => None,
            _ => asked.nonce,
        },
        nonce: Some(OctetString::new(*b"a server's nonce").unwrap()),
    };
    let header = header.to_der().unwrap();
    let header = AnyRef::from_der(&header).unwrap();
    let body = Any::new(Tag::ContextSpecific { constructed: true, number: kind }, content).unwrap();
    let body = AnyRef::from(&body);
    let protected = Pair { header, body }.to_der().unwrap();
    let wrong = matches!(fault, Fault::WrongSecret | Fault::WrongSecretError);
    let tag = mac(if wrong { "another secret" } else { SECRET }, &protected);
    let tag = match fault {
        Fault::Unprotected | Fault::UnprotectedError => None,
        Fault::NoConfirmation if kind == PKI_CONF => None,
        _ => Some(BitString::from_bytes(&tag).unwrap()),
    };
    let mut message = Message { header, body, protection: tag, extra: None }.to_der().unwrap();
    if fault == Fault::ChangedBody {
        let at = message.len() / 2;
        message[at] ^= 1;
    }
    if fault == Fault::Truncated {
        message.truncate(message.len() - 10);
    }
    message
}

/// PasswordBasedMac with SHA-256, 200 times, and HMAC-SHA-256.
fn mac(secret: &str, message: &[u8]) -> Vec<u8> {
    let mut key = [secret.as_bytes(), b"salt of a server"].concat();
    for _ in 0..200 {
        key = digest::digest(&digest::SHA256, &key).as_ref().to_vec();
    }
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), message).as_ref().to_vec()
}
