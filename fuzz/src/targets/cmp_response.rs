//! What answers a CMP message: believed by nobody without the shared secret, and with it taken apart without harm.

use std::pin::pin;
use std::sync::OnceLock;
use std::task::{Context, Poll, Waker};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cns_secret::Secret;
use cnsd::authority::cmp::{CmpError, Enrolled, Sent};
use cnsd::authority::{CmpClient, Credentials, MacKind, TrustAnchors};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

use crate::liar::CERTIFICATE;

const SECRET: &[u8] = b"secret";
const SALT: &[u8] = b"sixteen bytes!!!";
const ITERATIONS: u8 = 100;

/// What is asked once and answered again and again.
struct Asked {
    secret: Secret,
    anchors: TrustAnchors,
    request: Sent,
    revocation: Sent,
    /// transactionID and senderNonce of both.
    numbers: [[Vec<u8>; 2]; 2],
}

fn asked() -> &'static Asked {
    static ASKED: OnceLock<Asked> = OnceLock::new();
    ASKED.get_or_init(|| {
        let pem = STANDARD.encode(CERTIFICATE);
        let pem = format!("-----BEGIN CERTIFICATE-----\n{pem}\n-----END CERTIFICATE-----\n");
        let pem = pem.as_bytes();
        let anchors = TrustAnchors::from_pem(&wrapped(pem)).expect("the sample is a certificate");
        let secret = Secret::copy_from(SECRET).expect("locked memory");
        let client = client(&secret, &anchors);
        let (first, request) = now(client.request(PKCS10, [1; 16])).expect("a request");
        let reason = x509_cert::ext::pkix::CrlReason::KeyCompromise;
        let (second, revocation) = now(client.revocation(CERTIFICATE, reason, [2; 16])).expect("a request");
        let numbers = [numbers(&first), numbers(&second)];
        Asked { secret, anchors, request, revocation, numbers }
    })
}

/// PEM has lines of 64 characters.
fn wrapped(pem: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(pem);
    let lines = text.lines().flat_map(|line| {
        let whole = line.starts_with('-');
        let width = if whole { line.len() } else { 64 };
        line.as_bytes().chunks(width).map(<[u8]>::to_vec).collect::<Vec<_>>()
    });
    lines.flat_map(|line| [line, b"\n".to_vec()].concat()).collect()
}

fn client<'a>(secret: &'a Secret, anchors: &'a TrustAnchors) -> CmpClient<'a> {
    CmpClient::new(Credentials::Secret { reference: "fuzz", secret, mac: MacKind::Pbm }, anchors)
}

/// With a shared secret nothing is waited for.
fn now<T>(work: impl Future<Output = T>) -> T {
    match pin!(work).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("it waits"),
    }
}

/// The explicitly tagged octet strings [4] and [5] of the header.
fn numbers(message: &[u8]) -> [Vec<u8>; 2] {
    [0xA4, 0xA5].map(|tag| {
        let head = [tag, 0x12, 0x04, 0x10];
        let at = message.windows(4).position(|window| window == head).expect("a number") + 4;
        message[at..at + 16].to_vec()
    })
}

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(content.len()).expect("an input is short").to_be_bytes();
    let head = match (high, low) {
        (0, 0..0x80) => vec![tag, low],
        (0, _) => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    [head, content.to_vec()].concat()
}

/// A PKIMessage with this body, protected as the client wants it.
fn sealed(kind: u8, content: &[u8], [transaction, nonce]: &[Vec<u8>; 2]) -> Vec<u8> {
    let oid = |bytes: &[u8]| tlv(0x30, &tlv(0x06, bytes));
    let sha256 = oid(&[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01]);
    let hmac = oid(&[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x02, 0x09]);
    let parameters = tlv(0x30, &[tlv(0x04, SALT), sha256, tlv(0x02, &[ITERATIONS]), hmac].concat());
    let pbm = [0x2A, 0x86, 0x48, 0x86, 0xF6, 0x7D, 0x07, 0x42, 0x0D];
    let algorithm = tlv(0x30, &[tlv(0x06, &pbm), parameters].concat());
    let nobody = tlv(0xA4, &tlv(0x30, &[]));
    let fields = [
        vec![0x02, 0x01, 0x02],
        nobody.clone(),
        nobody,
        tlv(0xA1, &algorithm),
        tlv(0xA4, &tlv(0x04, transaction)),
        tlv(0xA5, &tlv(0x04, b"server's nonce!!")),
        tlv(0xA6, &tlv(0x04, nonce)),
    ];
    let header = tlv(0x30, &fields.concat());
    let body = tlv(0xA0 | kind, content);
    let protected = tlv(0x30, &[header.clone(), body.clone()].concat());
    let mut key = [SECRET, SALT].concat();
    for _ in 0..ITERATIONS {
        key = Sha256::digest(&key).to_vec();
    }
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("any length");
    mac.update(&protected);
    let tag = [vec![0], mac.finalize().into_bytes().to_vec()].concat();
    tlv(0x30, &[header, body, tlv(0xA0, &tlv(0x03, &tag))].concat())
}

pub(crate) fn run(bytes: &[u8]) {
    let Some((how, rest)) = bytes.split_first() else { return };
    let asked = asked();
    let client = client(&asked.secret, &asked.anchors);
    let [first, second] = &asked.numbers;
    if *how == 0 {
        // Nobody forges the shared secret's protection.
        tell(client.read_certificate(rest, &asked.request).expect_err("it was believed"));
        tell(client.read_revocation(rest, &asked.revocation).expect_err("it was believed"));
        return;
    }
    let kind = how % 31;
    match client.read_certificate(&sealed(kind, rest, first), &asked.request) {
        Ok(Enrolled::Certificate(received)) => {
            assert!(received.issued.ca_certificates.len() <= 16);
            assert!(!received.confirmed, "nobody asked to do without");
            // Whatever it is, telling that it is not wanted does no harm.
            drop(now(client.cert_conf(&received, Some(&"no"))));
        }
        Ok(Enrolled::Waiting(waiting)) => {
            now(client.poll(&waiting)).expect("a question can be asked");
        }
        Err(error) => tell(error),
    }
    if let Err(error) = client.read_revocation(&sealed(kind, rest, second), &asked.revocation) {
        tell(error);
    }
    if let Err(error) = client.read_pkiconf(&sealed(kind, rest, first), &asked.request) {
        tell(error);
    }
}

fn tell(error: CmpError) {
    assert!(!error.to_string().chars().any(char::is_control), "a terminal would obey {error:?}");
}

/// A PKCS#10 request; its signature is nobody's concern here.
const PKCS10: &[u8] = include_bytes!("../../data/request.der");
