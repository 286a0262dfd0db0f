//! OCSP: OpenSSL's responder and the certifier's, and responders that lie, hang, and send too much.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use cns_virtual_authority::{Reason, serve};
use cnsd::authority::NetworkError;
use cnsd::authority::checks::{CheckError, Revocation};
use cnsd::authority::status::ocsp::{OcspError, Question};
use cnsd::authority::status::{Source, StatusError};
use cnsd::config::StatusConfig;
use cnsd_test_support::{network, private_network};
use der::asn1::{GeneralizedTime, OctetStringRef};
use der::{AnyRef, Decode, Encode, Reader, SliceReader};
use x509_cert::Certificate;
use x509_cert::ext::pkix::CrlReason;

use crate::fixture::{openssl, spokesman};
use crate::openssl::{Crl, Entry, NO_RESPONDER, RESPONDER, Responder, crl, index};
use crate::running::PATIENCE;
use crate::scene::{Scene, by_list, by_ocsp, is_good, is_out};
use crate::server::{Reply, Server};

#[tokio::test(flavor = "multi_thread")]
async fn openssl_s_responder_says_good_suspended_and_revoked_and_is_asked_once() {
    let scene = Scene::new().await;
    spokesman(scene.path(), "ocsp", "ca", RESPONDER);
    let server = Server::start(Responder::new(scene.path(), "ocsp").into_handler());
    let config = by_ocsp(server.url("/ocsp"));
    let service = scene.service(&config);

    index(scene.path(), &[(&scene.serial, Entry::Valid)]);
    let before = SystemTime::now();
    let known = scene.standing(&service).await.unwrap();
    assert_eq!((known.standing, known.source), (Revocation::Good, Source::Ocsp));
    let day = Duration::from_secs(86_400);
    assert!(known.at + Duration::from_secs(2) >= before && known.until == known.at + day, "{known:?}");
    for _ in 0..20 {
        is_good(scene.standing(&service).await, Source::Ocsp);
    }
    assert_eq!(server.asked(), 1, "an answer counts for as long as it says");

    // What becomes of it meanwhile is seen when the answer is forgotten: after an own change, or when it is over.
    let since = Entry::Revoked("260301100000Z", "certificateHold");
    index(scene.path(), &[(&scene.serial, since)]);
    is_good(scene.standing(&service).await, Source::Ocsp);
    service.forget(&scene.leaf).await;
    let known = scene.standing(&service).await.unwrap();
    let Revocation::Revoked { suspended: true, reason, since } = known.standing else { panic!("{known:?}") };
    assert_eq!(reason, Some(CrlReason::CertificateHold));
    assert_eq!(since.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs(), 1_772_359_200);
    for (reason, code) in [("keyCompromise", Some(CrlReason::KeyCompromise)), ("", None)] {
        index(scene.path(), &[(&scene.serial, Entry::Revoked("260301100000Z", reason))]);
        service.forget(&scene.leaf).await;
        let known = scene.standing(&service).await.unwrap();
        let Revocation::Revoked { suspended: false, reason, .. } = known.standing else {
            panic!("{known:?}")
        };
        assert_eq!(reason, code);
    }
    assert_eq!(server.asked(), 4);

    // A certificate that the responder does not know.
    index(scene.path(), &[("0BAD", Entry::Valid)]);
    service.forget(&scene.leaf).await;
    let error = scene.standing(&service).await.unwrap_err();
    assert!(matches!(error, StatusError::Ocsp(OcspError::Unknown)), "{error:?}");
    println!(
        "OpenSSL's responder: good, suspended, 2 reasons of revocation, unknown; 25 look-ups, 5 requests"
    );
}

/// `openssl ocsp -port` takes a port and no address, and so listens to everybody: it runs in a network of its own.
#[test]
fn openssl_s_own_server_in_a_network_of_its_own() {
    private_network::alone("ocsp::openssl_s_own_server_in_a_network_of_its_own", inside());
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

async fn inside() {
    let scene = Scene::new().await;
    spokesman(scene.path(), "ocsp", "ca", RESPONDER);
    index(scene.path(), &[(&scene.serial, Entry::Revoked("260301100000Z", "certificateHold"))]);
    let address: SocketAddr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let port = address.port().to_string();
    let child = Command::new("openssl")
        .args(["ocsp", "-port", &port, "-index", "index.txt", "-CA", "ca/ca.pem"])
        .args(["-rsigner", "ocsp.pem", "-rkey", "ocsp.key", "-ndays", "1"])
        .current_dir(scene.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _running = Running(child);
    let service = scene.service(&by_ocsp(format!("http://{address}/")));
    let begin = Instant::now();
    loop {
        match scene.standing(&service).await {
            // It waits for ever for whoever connects to it and says nothing, so nobody tries whether it listens.
            Err(StatusError::Network(NetworkError::Transport(_))) if begin.elapsed() < PATIENCE => {
                thread::sleep(Duration::from_millis(20));
            }
            known => return is_out(known, true),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_certifier_s_responder_is_believed() {
    let scene = Scene::new().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/ocsp", listener.local_addr().unwrap());
    let served = serve(listener, Arc::clone(&scene.certifier), std::future::pending());
    let server = tokio::spawn(served);
    let service = scene.service(&by_ocsp(url));
    is_good(scene.standing(&service).await, Source::Ocsp);
    for (reason, suspended) in [(Reason::CertificateHold, true), (Reason::KeyCompromise, false)] {
        scene.certifier.revoke(&scene.serial, reason).unwrap();
        service.forget(&scene.leaf).await;
        is_out(scene.standing(&service).await, suspended);
    }
    server.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_the_nonce_counts_only_where_that_is_allowed() {
    let scene = Scene::new().await;
    spokesman(scene.path(), "ocsp", "ca", RESPONDER);
    index(scene.path(), &[(&scene.serial, Entry::Valid)]);
    let server = Server::start(Responder::new(scene.path(), "ocsp").in_advance().into_handler());
    let strict = by_ocsp(server.url("/"));
    let error = scene.standing(&scene.service(&strict)).await.unwrap_err();
    assert!(matches!(error, StatusError::Ocsp(OcspError::Nonce)), "{error:?}");
    let lenient = StatusConfig { ocsp_without_nonce: true, ..strict };
    is_good(scene.standing(&scene.service(&lenient)).await, Source::Ocsp);

    // Somebody else's nonce is refused in either case: an answer that was kept and is brought again.
    let honest = Responder::new(scene.path(), "ocsp");
    let kept = std::sync::Mutex::new(None);
    server.answer(move |_, request| {
        let mut kept = kept.lock().unwrap();
        Reply::Body(kept.get_or_insert_with(|| honest.answer(request)).clone())
    });
    let service = scene.service(&lenient);
    is_good(scene.standing(&service).await, Source::Ocsp);
    service.forget(&scene.leaf).await;
    let error = scene.standing(&service).await.unwrap_err();
    assert!(matches!(error, StatusError::Ocsp(OcspError::Nonce)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_authority_and_whom_it_named_may_answer() {
    let scene = Scene::new().await;
    index(scene.path(), &[(&scene.serial, Entry::Valid)]);
    spokesman(scene.path(), "plain", "ca", NO_RESPONDER);
    spokesman(scene.path(), "foreign", "stranger", RESPONDER);
    let server = Server::always(Reply::Failure);
    let service = scene.service(&by_ocsp(server.url("/")));
    let mut refused = 0;
    for name in ["plain", "foreign"] {
        server.answer(Responder::new(scene.path(), name).into_handler());
        let error = scene.standing(&service).await.unwrap_err();
        let StatusError::Ocsp(OcspError::Unbelieved(why)) = &error else { panic!("{name}: {error:?}") };
        // The stranger has the authority's name, and another key.
        let is_stranger = matches!(why, CheckError::Issuer(_) | CheckError::Signature);
        assert!(if name == "plain" { *why == CheckError::NoSpokesman } else { is_stranger }, "{why:?}");
        refused += 1;
    }
    // The right one's signature with a bit changed.
    spokesman(scene.path(), "ocsp", "ca", RESPONDER);
    let honest = Responder::new(scene.path(), "ocsp");
    server.answer(move |_, request| {
        let mut answer = honest.answer(request);
        let signature = signature_in(&answer);
        answer[signature] ^= 1;
        Reply::Body(answer)
    });
    let error = scene.standing(&service).await.unwrap_err();
    assert!(matches!(error, StatusError::Ocsp(OcspError::Unbelieved(CheckError::Signature))), "{error:?}");
    refused += 1;
    // The authority itself needs nobody's word.
    server.answer(Responder::authority(scene.path()).into_handler());
    is_good(scene.standing(&service).await, Source::Ocsp);
    println!("{refused} responders refused, the authority itself believed");
}

/// A byte in the middle of the signature: of the only bit string of 257 bytes.
fn signature_in(answer: &[u8]) -> usize {
    answer.windows(SIGNATURE.len()).position(|window| window == SIGNATURE).unwrap() + 100
}

/// What is before the signature of an RSA key of 2048 bits.
const SIGNATURE: [u8; 5] = [0x03, 0x82, 0x01, 0x01, 0x00];

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_counts_in_its_time_and_for_its_certificate() {
    let scene = Scene::new().await;
    index(scene.path(), &[(&scene.serial, Entry::Valid)]);
    let anchors = scene.anchors();
    let leaf = Certificate::from_der(&scene.leaf).unwrap();
    let issuer = scene.certifier.ca_certificate();
    let (question, request) = Question::new(&leaf, issuer).unwrap();
    let answer = Responder::authority(scene.path()).answer(&request);
    let now = SystemTime::now();
    let read = |question: &Question, now| question.read(&answer, issuer, &anchors, false, now);
    let day = Duration::from_secs(86_400);
    assert_eq!(read(&question, now).unwrap().standing, Revocation::Good);
    assert!(read(&question, now + day - Duration::from_secs(60)).is_ok());
    assert!(matches!(read(&question, now + day + Duration::from_secs(60)), Err(OcspError::Stale)), "over");
    assert!(matches!(read(&question, now - Duration::from_secs(600)), Err(OcspError::Stale)), "to come");

    // The answer to the same question about another certificate of the authority.
    let mut other = leaf.clone();
    other.tbs_certificate.serial_number = x509_cert::serial_number::SerialNumber::new(&[5, 5]).unwrap();
    let (about_other, request) = Question::new(&other, issuer).unwrap();
    let answer = Responder::authority(scene.path()).answer(&request);
    let crossed = question.read(&answer, issuer, &anchors, true, now);
    assert!(matches!(crossed, Err(OcspError::Nonce)), "{crossed:?}");
    let unknown = about_other.read(&answer, issuer, &anchors, false, now);
    assert!(matches!(unknown, Err(OcspError::Unknown)), "{unknown:?}");
    let advance = Responder::authority(scene.path()).in_advance().answer(&request);
    let crossed = about_other.read(&advance, issuer, &anchors, true, now);
    assert!(matches!(crossed, Err(OcspError::Other)), "{crossed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_no_answer() {
    let scene = Scene::new().await;
    index(scene.path(), &[(&scene.serial, Entry::Valid)]);
    let server = Server::always(Reply::Failure);
    let service = scene.service(&by_ocsp(server.url("/")));
    let mut cases: Vec<Vec<u8>> =
        vec![Vec::new(), vec![0x30], vec![0; 1000], b"<html>hello</html>".to_vec(), vec![0xFF; 70_000]];
    // tryLater, unauthorized, a number that means nothing, and success without an answer.
    cases.extend([3, 6, 4, 0].map(|status| vec![0x30, 0x03, 0x0A, 0x01, status]));
    // An honest answer, cut at many places, and longer by a byte.
    let leaf = Certificate::from_der(&scene.leaf).unwrap();
    let (_, request) = Question::new(&leaf, scene.certifier.ca_certificate()).unwrap();
    let honest = Responder::authority(scene.path()).answer(&request);
    cases.extend((0..honest.len()).step_by(97).map(|length| honest[..length].to_vec()));
    cases.push([&honest[..], &[0]].concat());
    let count = cases.len();
    for case in cases {
        let what = hex::encode(&case[..case.len().min(16)]);
        server.say(Reply::Body(case));
        let error = scene.standing(&service).await.unwrap_err();
        assert!(matches!(error, StatusError::Ocsp(_)), "{what}: {error:?}");
        assert!(!error.for_clients().chars().any(char::is_control), "{what}");
    }
    server.say(Reply::Raw(b"\0\0\0 no HTTP \x1B[2J\r\n\r\n".to_vec()));
    let error = scene.standing(&service).await.unwrap_err();
    assert!(matches!(error, StatusError::Network(_)), "{error:?}");
    assert!(!error.for_clients().chars().any(char::is_control));
    println!("{} pieces of garbage refused", count + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_responder_that_hangs_or_floods_costs_its_time_and_the_list_is_looked_at() {
    let scene = Scene::new().await;
    let server = Server::always(Reply::Silence);
    let short = || network().with_time_limit(Duration::from_secs(1));
    let service = scene.service_by(&by_ocsp(server.url("/")), short());
    let begin = Instant::now();
    let error = scene.standing(&service).await.unwrap_err();
    assert!(matches!(error, StatusError::Network(NetworkError::TimedOut)), "{error:?}");
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());

    // A client who waits less is told sooner, and many of them make no crowd.
    let begin = Instant::now();
    let asked: Vec<_> = (0..20)
        .map(|_| {
            let (service, leaf) = (Arc::clone(&service), scene.leaf.clone());
            tokio::spawn(async move { service.standing_within(leaf, Duration::from_millis(300)).await })
        })
        .collect();
    for asked in asked {
        assert!(matches!(asked.await.unwrap(), Err(StatusError::TimedOut)));
    }
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    assert!(server.asked() <= 6, "{} requests", server.asked());

    let begin = Instant::now();
    server.say(Reply::Zeros(100 << 20));
    let service = scene.service(&by_ocsp(server.url("/")));
    let error = scene.standing(&service).await.unwrap_err();
    assert!(matches!(error, StatusError::Network(NetworkError::TooLarge)), "{error:?}");
    println!("100 MiB refused after {:?}", begin.elapsed());

    // The list says it where OCSP does not.
    let list = scene.path().join("ca/crl.der").display().to_string();
    let both = StatusConfig { ocsp: Some(server.url("/")), ..by_list(list) };
    is_good(scene.standing(&scene.service(&both)).await, Source::List);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_says_good_is_asked_anew_long_before_its_end() {
    let scene = Scene::new().await;
    index(scene.path(), &[(&scene.serial, Entry::Valid)]);
    let server = Server::start(Responder::authority(scene.path()).into_handler());
    let pause = Duration::from_secs(3);
    let service = Arc::into_inner(scene.service(&by_ocsp(server.url("/")))).unwrap().with_asked_anew(pause);
    let known = scene.standing(&service).await.unwrap();
    assert_eq!((known.standing, known.until), (Revocation::Good, known.at + Duration::from_secs(86_400)));
    index(scene.path(), &[(&scene.serial, Entry::Revoked("260301100000Z", "certificateHold"))]);
    is_good(scene.standing(&service).await, Source::Ocsp);
    assert_eq!(server.asked(), 1);
    tokio::time::sleep(pause).await;
    is_out(scene.standing(&service).await, true);
    // What is out of force stays so until it is forgotten or its answer is over.
    tokio::time::sleep(pause).await;
    is_out(scene.standing(&service).await, true);
    assert_eq!(server.asked(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspension_that_ocsp_told_is_not_ended_by_an_older_list() {
    let scene = Scene::new().await;
    index(scene.path(), &[(&scene.serial, Entry::Valid)]);
    let place = scene.path().join("place.der");
    let list = |number| fs::write(&place, crl(scene.path(), &Crl { number, ..Crl::default() })).unwrap();
    list(1);
    index(scene.path(), &[(&scene.serial, Entry::Revoked("260301100000Z", "certificateHold"))]);
    let (responder, folder) = (Responder::authority(scene.path()), scene.path().to_owned());
    let server =
        Server::start(move |_, request| Reply::Body(ending_soon(&folder, responder.answer(request))));
    let config = by_list(place.display().to_string());
    let service = scene.service(&StatusConfig { ocsp: Some(server.url("/")), ..config });
    let told = scene.standing(&service).await;
    let until = told.as_ref().unwrap().until;
    is_out(told, true);
    // Somebody keeps the responder from us until its answer is over, and the list does not know of the suspension.
    server.say(Reply::Failure);
    tokio::time::sleep(until.duration_since(SystemTime::now()).unwrap_or_default()).await;
    let asked = server.asked();
    let known = scene.standing(&service).await;
    assert_eq!((server.asked(), known.as_ref().unwrap().source), (asked + 1, Source::Ocsp));
    is_out(known, true);
    // A list from later does.
    index(scene.path(), &[(&scene.serial, Entry::Valid)]);
    list(2);
    is_good(scene.standing(&service).await, Source::List);
}

/// The authority's answer with an end in three seconds, signed again.
fn ending_soon(folder: &Path, mut answer: Vec<u8>) -> Vec<u8> {
    const BASIC: [u8; 9] = [0x2B, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01];
    let find = |answer: &[u8], what: &[u8]| answer.windows(what.len()).position(|window| window == what);
    let end = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap() + Duration::from_secs(3);
    let end = GeneralizedTime::from_unix_duration(Duration::from_secs(end.as_secs())).unwrap();
    // nextUpdate is the only time in a [0].
    let place = find(&answer, &[0xA0, 0x11, 0x18, 0x0F]).unwrap() + 2;
    answer[place..place + 17].copy_from_slice(&end.to_der().unwrap());
    let basic = find(&answer, &BASIC).unwrap() + BASIC.len();
    let basic = OctetStringRef::decode(&mut SliceReader::new(&answer[basic..]).unwrap()).unwrap();
    let content = AnyRef::from_der(basic.as_bytes()).unwrap().value().to_vec();
    let content = SliceReader::new(&content).unwrap().tlv_bytes().unwrap().to_vec();
    fs::write(folder.join("content"), content).unwrap();
    openssl(folder, &["dgst", "-sha256", "-sign", "ca/ca-key.pem", "-out", "signature", "content"]);
    let signature = fs::read(folder.join("signature")).unwrap();
    let place = find(&answer, &SIGNATURE).unwrap() + SIGNATURE.len();
    answer[place..place + signature.len()].copy_from_slice(&signature);
    answer
}
