//! Certificates from the project's certifier.

use std::sync::Arc;

use cns_protocol::card::Holder as CardHolder;
use cns_secret::Secret;
use cns_virtual_authority::Status;
use cnsd::authority::checks::CheckError;
use cnsd::authority::cmp::{CONTENT_TYPE, CmpClient, CmpError, Enrolled, Received};
use cnsd::authority::{
    Authority, AuthorityError, Credentials, Expected, Holder, MacKind, NetworkError, NetworkHelper, Profile,
};
use cnsd::procedure::certifier::{Certifier, CertifierError};
use cnsd_test_support::network;

use crate::fixture::{
    CNS_SUBJECT, HOLDER, Running, SECRET, SUBJECT, authority, crmf, expected, public_key, request,
};

#[tokio::test]
async fn a_certificate_is_issued_checked_and_confirmed_and_a_repetition_brings_the_same() {
    let running = Running::start().await;
    let authority = running.authority();
    let asked = request(running.folder.path(), SUBJECT);
    let key = public_key(&asked);
    let issued = authority.certify(&asked, [1; 16], &expected(&key), None).await.unwrap();
    let records = running.certifier.list().unwrap();
    assert_eq!((records.len(), records[0].status), (1, Status::Valid));
    assert_eq!(issued.der, records[0].certificate);
    assert!(!issued.ca_certificates.is_empty());
    for transaction in [[1; 16], [2; 16]] {
        let again = authority.certify(&asked, transaction, &expected(&key), None).await.unwrap();
        assert_eq!(again.der, issued.der);
    }
    assert_eq!(running.certifier.list().unwrap().len(), 1);
}

#[tokio::test]
async fn crmf_with_the_new_key_s_proof_brings_the_same_as_pkcs10() {
    let running = Running::start().await;
    let authority = running.authority();
    let asked = crmf(running.folder.path(), SUBJECT);
    let key = public_key(&request(running.folder.path(), SUBJECT));
    let issued = authority.certify(&asked, [1; 16], &expected(&key), None).await.unwrap();
    assert_eq!(issued.der, running.certifier.list().unwrap()[0].certificate);
    let again = authority.certify(&asked, [1; 16], &expected(&key), None).await.unwrap();
    assert_eq!((again.der, running.certifier.list().unwrap().len()), (issued.der, 1));
    // A proof of possession that somebody else made is refused by the authority.
    let mut stolen = crmf(running.folder.path(), SUBJECT);
    *stolen.last_mut().unwrap() ^= 1;
    let error = authority.certify(&stolen, [2; 16], &expected(&key), None).await.unwrap_err();
    assert!(error.to_string().contains("badPOP"), "{error}");
}

#[tokio::test]
async fn the_procedure_s_way() {
    let running = Running::start().await;
    let authority: Arc<dyn Certifier> = Arc::new(running.authority());
    let asked = request(running.folder.path(), SUBJECT);
    let certificate = authority.enrol([1; 16], asked.clone(), None).await.unwrap();
    let mut holder = CardHolder {
        surname: "ROSSI".into(),
        name: "MARIO".into(),
        codice_fiscale: "RSSMRA80A01H501U".into(),
        birth_date: "1980-01-01".into(),
        sex: "M".into(),
        birth_place: "H501".into(),
    };
    authority.check(&certificate, &asked, &holder).unwrap();
    holder.codice_fiscale = "BNCLRA85B42H501M".into();
    let refused = authority.check(&certificate, &asked, &holder).unwrap_err();
    assert!(matches!(refused, CertifierError::Unfit(_)), "{refused}");
    let refused =
        authority.enrol([2; 16], request(running.folder.path(), CNS_SUBJECT), None).await.unwrap_err();
    assert!(refused.to_string().contains("badCertTemplate"), "{refused}");
    assert!(authority.enrol([3; 16], b"not DER".to_vec(), None).await.is_err());
}

#[tokio::test]
async fn a_refusal_is_told_in_the_authority_s_words() {
    let running = Running::start().await;
    let asked = request(running.folder.path(), CNS_SUBJECT);
    let key = public_key(&asked);
    let error = running.authority().certify(&asked, [1; 16], &expected(&key), None).await.unwrap_err();
    let AuthorityError::Cmp(CmpError::Refused(refusal)) = error else { panic!("{error}") };
    assert_eq!((refusal.status, refusal.failures.as_slice()), (2, &["badCertTemplate"][..]));
    assert!(refusal.text.contains("organizationalUnitName"), "{refusal}");
    assert!(running.certifier.list().unwrap().is_empty());
}

#[tokio::test]
async fn with_a_wrong_secret_nothing_is_believed() {
    let running = Running::start().await;
    let authority = authority(running.folder.path(), &running.url(), "another secret", "ca");
    let asked = request(running.folder.path(), SUBJECT);
    let key = public_key(&asked);
    let error = authority.certify(&asked, [1; 16], &expected(&key), None).await.unwrap_err();
    assert!(matches!(error, AuthorityError::Cmp(CmpError::Unbelieved { .. })), "{error}");
    let said = error.to_string();
    assert!(said.contains("unproven") && said.contains("badMessageCheck"), "{said}");
    assert!(!said.contains("another secret"));
}

#[tokio::test]
async fn a_certificate_that_is_refused_here_is_refused_to_the_authority() {
    let running = Running::start().await;
    let asked = request(running.folder.path(), SUBJECT);
    let key = public_key(&asked);
    let holder = Holder { surname: "BIANCHI", ..HOLDER };
    let other = Expected { public_key: &key, holder, profile: Profile::Signature };
    let error = running.authority().certify(&asked, [1; 16], &other, None).await.unwrap_err();
    assert!(matches!(error, AuthorityError::Certificate(CheckError::Holder("surname"))), "{error}");
    assert!(matches!(running.certifier.list().unwrap()[0].status, Status::Revoked { .. }));

    let stranger = authority(running.folder.path(), &running.url(), SECRET, "stranger");
    let error = stranger.certify(&asked, [2; 16], &expected(&key), None).await.unwrap_err();
    // Both certifiers of the tests have one name, so it is the key identifier that tells them apart.
    assert!(matches!(error, AuthorityError::Certificate(CheckError::Issuer(_))), "{error}");
}

#[tokio::test]
async fn an_authority_that_is_away_is_a_passing_failure() {
    let running = Running::start().await;
    let asked = request(running.folder.path(), SUBJECT);
    let key = public_key(&asked);
    let away = authority(running.folder.path(), "http://127.0.0.1:1/pkix/signature", SECRET, "ca");
    let error = away.certify(&asked, [1; 16], &expected(&key), None).await.unwrap_err();
    let AuthorityError::Network(error) = error else { panic!("{error}") };
    assert!(error.is_passing() && matches!(error, NetworkError::Transport(_)), "{error}");
    let lost = format!("http://{}/pkix/nothing", running.address);
    let lost = authority(running.folder.path(), &lost, SECRET, "ca");
    let error = lost.certify(&asked, [1; 16], &expected(&key), None).await.unwrap_err();
    assert!(matches!(error, AuthorityError::Network(NetworkError::Status(404))), "{error}");
}

fn secret() -> Secret {
    Secret::copy_from(SECRET.as_bytes()).unwrap()
}

fn client<'a>(secret: &'a Secret, running: &'a Authority) -> CmpClient<'a> {
    CmpClient::new(Credentials::Secret { reference: "cnsd", secret, mac: MacKind::Pbm }, running.anchors())
}

fn certificate(enrolled: Result<Enrolled, CmpError>) -> Result<Received, CmpError> {
    match enrolled? {
        Enrolled::Certificate(received) => Ok(*received),
        Enrolled::Waiting(waiting) => panic!("{waiting:?}"),
    }
}

async fn post(network: &NetworkHelper, running: &Running, message: &[u8]) -> Vec<u8> {
    network.post(&running.url(), CONTENT_TYPE, message).await.unwrap()
}

#[tokio::test]
async fn answers_to_other_messages_are_refused() {
    let running = Running::start().await;
    let (secret, authority, network) = (secret(), running.authority(), network());
    let client = client(&secret, &authority);
    let asked = request(running.folder.path(), SUBJECT);
    let (message, sent) = client.request(&asked, [1; 16]).await.unwrap();
    let answer = post(&network, &running, &message).await;
    let (_, again) = client.request(&asked, [1; 16]).await.unwrap();
    assert!(matches!(client.read_certificate(&answer, &again), Err(CmpError::Mismatch("recipNonce"))));
    let (_, other) = client.request(&asked, [2; 16]).await.unwrap();
    assert!(matches!(client.read_certificate(&answer, &other), Err(CmpError::Mismatch("transactionID"))));
    assert!(matches!(client.read_pkiconf(&answer, &sent), Err(CmpError::Unexpected)));
    let received = certificate(client.read_certificate(&answer, &sent)).unwrap();
    assert!(!received.confirmed);
    let (message, sent) = client.cert_conf(&received, None::<&String>).await.unwrap();
    let answer = post(&network, &running, &message).await;
    assert!(matches!(client.read_certificate(&answer, &sent), Err(CmpError::Unexpected)));
    client.read_pkiconf(&answer, &sent).unwrap();
}

#[tokio::test]
async fn no_changed_byte_changes_what_is_believed() {
    let running = Running::start().await;
    let (secret, authority) = (secret(), running.authority());
    let client = client(&secret, &authority);
    let asked = request(running.folder.path(), SUBJECT);
    let (message, sent) = client.request(&asked, [1; 16]).await.unwrap();
    let answer = post(&network(), &running, &message).await;
    let good = certificate(client.read_certificate(&answer, &sent)).unwrap().issued;
    for at in 0..answer.len() {
        let mut bad = answer.clone();
        bad[at] ^= 0x10;
        match certificate(client.read_certificate(&bad, &sent)) {
            // Certificates beside the message are not protected, and nothing follows from them.
            Ok(received) => assert_eq!(received.issued.der, good.der, "byte {at}"),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    for length in (0..answer.len()).step_by(7) {
        assert!(client.read_certificate(&answer[..length], &sent).is_err());
    }
}

#[test]
fn a_secret_s_file_must_hold_one() {
    let folder = crate::fixture::workplace();
    let config = |contents: &[u8], url: &str| {
        std::fs::write(folder.path().join("s"), contents).unwrap();
        let config = cnsd::config::AuthorityConfig {
            url: url.to_owned(),
            reference: "cnsd".to_owned(),
            secret_file: Some(folder.path().join("s")),
            trust_anchors: folder.path().join("ca/ca.pem"),
            ..Default::default()
        };
        Authority::open(&config, Arc::new(network())).map(drop)
    };
    let url = "http://127.0.0.1:1/";
    config(b"secret\n", url).unwrap();
    assert!(matches!(config(b"\n", url), Err(AuthorityError::SecretLength(_))));
    assert!(matches!(config(b"", url), Err(AuthorityError::SecretLength(_))));
    assert!(matches!(config(&[b'x'; 1025], url), Err(AuthorityError::SecretLength(_))));
    assert!(matches!(
        config(b"secret", "https://ca"),
        Err(AuthorityError::Network(NetworkError::NoRoots(_)))
    ));
}
