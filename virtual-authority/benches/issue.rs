//! `cargo bench -p cns-virtual-authority`: certificates that the certifier issues per second, each checked, signed and written
//! to the disk before it counts.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a measurement that fails should say where, and its result is what it prints"
)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use cns_virtual_authority::{Authority, InitOptions, Profile, Reason};
use der::Encode;
use der::asn1::{BitString, SetOfVec};
use pkcs8::EncodePublicKey;
use rand_core::OsRng;
use rsa::RsaPrivateKey;
use rsa::pkcs1v15::SigningKey;
use sha2::Sha256;
use signature::{SignatureEncoding, Signer};
use spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use x509_cert::request::{CertReq, CertReqInfo, Version};

const CERTIFICATES: usize = 200;
const THREADS: usize = 4;

fn main() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let holder = RsaPrivateKey::new(&mut OsRng, 2048).unwrap();
    let requests: Vec<CertReq> = (0..2 * CERTIFICATES).map(|number| request(&holder, number)).collect();
    let (alone, together) = requests.split_at(CERTIFICATES);
    println!("cns-authority, certificates of 2048 bits, certifier's key of 3072 bits:");
    let authority =
        Authority::init(&folder.path().join("ca"), &InitOptions::new("a secret of the bench")).unwrap();

    let begin = Instant::now();
    for request in alone {
        authority.issue(Profile::Authentication, request).unwrap();
    }
    tell("issued one after the other", CERTIFICATES, begin);

    let (next, begin) = (AtomicUsize::new(0), Instant::now());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(request) = together.get(next.fetch_add(1, Ordering::Relaxed)) {
                    authority.issue(Profile::Authentication, request).unwrap();
                }
            });
        }
    });
    tell("issued from four threads", CERTIFICATES, begin);

    let begin = Instant::now();
    for record in authority.list().unwrap().iter().take(CERTIFICATES) {
        authority.revoke(&record.serial, Reason::Superseded).unwrap();
    }
    tell("revoked, each with a CRL and a delta CRL", CERTIFICATES, begin);

    let begin = Instant::now();
    let again = Authority::open(authority.folder()).unwrap();
    let records = again.list().unwrap().len();
    println!("  {records} certificates read again at the start in {} ms", begin.elapsed().as_millis());
}

fn tell(what: &str, number: usize, begin: Instant) {
    let seconds = begin.elapsed().as_secs_f64();
    println!("  {what}: {:.0} per second ({number} in {seconds:.2} s)", number as f64 / seconds);
}

fn request(key: &RsaPrivateKey, number: usize) -> CertReq {
    let public = key.to_public_key().to_public_key_der().unwrap();
    let subject = format!("CN=RSSMRA80A01H501U/{number:016}.2jmj7l5rSw0yVb/vlWAYkK/YBwk=,C=IT");
    let info = CertReqInfo {
        version: Version::V1,
        subject: subject.parse().unwrap(),
        public_key: SubjectPublicKeyInfoOwned::try_from(public.as_bytes()).unwrap(),
        attributes: SetOfVec::new(),
    };
    let signature = SigningKey::<Sha256>::new(key.clone()).sign(&info.to_der().unwrap());
    let algorithm = AlgorithmIdentifierOwned {
        oid: const_oid::db::rfc5912::SHA_256_WITH_RSA_ENCRYPTION,
        parameters: Some(der::Any::null()),
    };
    CertReq { info, algorithm, signature: BitString::from_bytes(&signature.to_vec()).unwrap() }
}
