//! HTTPS to the certifier: nginx before it, and whose certificates are believed.

use std::sync::Arc;

use cnsd::authority::checks::Revocation;
use cnsd::authority::status::{Source, StatusService};
use cnsd::authority::{Authority, AuthorityError, NetworkError, TrustAnchors};
use cnsd::config::{NetworkConfig, StatusConfig};
use cnsd::database::Database;
use cnsd_test_support::network;
use x509_cert::ext::pkix::CrlReason;

use crate::fixture::{Running, SECRET, config};
use crate::tls::{AT_LOOPBACK, certificate, enrol, forwarded, nginx, root, trusting};

#[tokio::test]
async fn certificates_are_asked_for_revoked_and_looked_up_over_https() {
    let running = Running::start().await;
    let folder = running.folder.path();
    root(folder, "root");
    certificate(folder, "root", "good", (AT_LOOPBACK, "9"));
    let versions = ["ssl_protocols TLSv1.2;", "ssl_protocols TLSv1.3;"].map(|version| ("good", version));
    let (_nginx, ports) = nginx(folder, running.address, &versions);
    let roots = folder.join("root.pem");
    let mut leaf = Vec::new();
    for port in &ports {
        let url = format!("https://127.0.0.1:{port}/pkix/signature");
        leaf = enrol(&running, &url, trusting(&roots)).await.unwrap();
    }
    assert_eq!(running.certifier.list().unwrap().len(), 1);

    let place = format!("https://127.0.0.1:{}", ports[0]);
    let config = config(folder, &format!("{place}/pkix/signature"), SECRET, "ca");
    let authority = Authority::open(&config, Arc::new(trusting(&roots))).unwrap();
    authority.revoke(&leaf, CrlReason::KeyCompromise, [8; 16], None).await.unwrap();
    let database = Database::open("sqlite:custody.db", folder).await.unwrap();
    for (source, config) in [
        (Source::Ocsp, StatusConfig { ocsp: Some(format!("{place}/ocsp")), ..StatusConfig::default() }),
        (Source::List, StatusConfig { crl: Some(format!("{place}/crl.der")), ..StatusConfig::default() }),
    ] {
        let anchors = TrustAnchors::from_pem(&std::fs::read(folder.join("ca/ca.pem")).unwrap()).unwrap();
        let service = StatusService::open(&config, anchors, Arc::new(trusting(&roots)), &database).unwrap();
        let known = service.standing(&leaf).await.unwrap();
        assert!(matches!(known.standing, Revocation::Revoked { suspended: false, .. }), "{known:?}");
        assert_eq!(known.source, source);
    }
    let seen = forwarded(folder);
    println!("{} requests over TLS", seen.len());
    // Two times certificate and confirmation, a revocation, OCSP and a list.
    assert_eq!(seen.len(), 7, "{seen:#?}");
}

#[tokio::test]
async fn a_server_that_is_not_who_it_should_be_is_refused_in_words_and_hears_nothing() {
    let running = Running::start().await;
    let folder = running.folder.path();
    for name in ["root", "other"] {
        root(folder, name);
    }
    let elsewhere = "subjectAltName=DNS:ca.example,IP:127.0.0.2\n";
    let client = "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=clientAuth\n";
    let common_name_alone = "extendedKeyUsage=serverAuth\n";
    let cases = [
        ("stranger", "other", (AT_LOOPBACK, "9"), "none of `network.tls_roots` issued it"),
        ("expired", "root", (AT_LOOPBACK, "-1"), "it has expired"),
        ("elsewhere", "root", (elsewhere, "9"), "not valid for name \"127.0.0.1\""),
        ("client", "root", (client, "9"), "extended key usage"),
        ("127.0.0.1", "root", (common_name_alone, "9"), "not valid for name \"127.0.0.1\""),
    ];
    for (name, root, about, _) in cases {
        certificate(folder, root, name, about);
    }
    let servers: Vec<_> = cases.iter().map(|(name, ..)| (*name, "")).collect();
    let (_nginx, ports) = nginx(folder, running.address, &servers);
    for ((name, _, _, words), port) in cases.iter().zip(&ports) {
        let url = format!("https://127.0.0.1:{port}/pkix/signature");
        let error = enrol(&running, &url, trusting(&folder.join("root.pem"))).await.unwrap_err();
        println!("{name}: {error}");
        let AuthorityError::Network(error @ NetworkError::Untrusted(_)) = &error else { panic!("{error:?}") };
        assert!(error.to_string().contains(words), "{name}: {error}");
        assert!(!error.is_passing(), "{name}: asking at once again would help nobody");
    }
    // The certifier's own authority is none of servers, and a root is none for itself.
    let url = format!("https://127.0.0.1:{}/pkix/signature", ports[0]);
    let error = enrol(&running, &url, trusting(&folder.join("ca/ca.pem"))).await.unwrap_err();
    assert!(matches!(error, AuthorityError::Network(NetworkError::Untrusted(_))), "{error}");
    assert_eq!(forwarded(folder), Vec::<String>::new(), "nothing was sent");
    assert!(running.certifier.list().unwrap().is_empty());
    // The same server, once its root is trusted.
    enrol(&running, &url, trusting(&folder.join("other.pem"))).await.unwrap();
}

#[tokio::test]
async fn https_is_not_given_up_for_a_redirect_an_old_version_or_a_server_without_it() {
    let running = Running::start().await;
    let folder = running.folder.path();
    root(folder, "root");
    certificate(folder, "root", "good", (AT_LOOPBACK, "9"));
    let old = "ssl_protocols TLSv1.1; ssl_ciphers DEFAULT@SECLEVEL=0;";
    let (_nginx, ports) = nginx(folder, running.address, &[("good", ""), ("good", old)]);
    let roots = folder.join("root.pem");

    let url = format!("https://127.0.0.1:{}/redirected/", ports[0]);
    let error = enrol(&running, &url, trusting(&roots)).await.unwrap_err();
    assert!(matches!(error, AuthorityError::Network(NetworkError::Status(307))), "{error}");
    for url in [
        format!("https://127.0.0.1:{}/pkix/signature", ports[1]),
        format!("https://{}/pkix/signature", running.address),
    ] {
        let error = enrol(&running, &url, trusting(&roots)).await.unwrap_err();
        println!("{error}");
        assert!(matches!(error, AuthorityError::Network(NetworkError::Transport(_))), "{error:?}");
    }
    assert!(running.certifier.list().unwrap().is_empty());
}

#[test]
fn roots_that_cannot_be_used_are_told_when_the_way_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    for (name, contents) in [("absent", None), ("empty", Some("")), ("text", Some("no certificate"))] {
        let path = folder.path().join(name);
        if let Some(contents) = contents {
            std::fs::write(&path, contents).unwrap();
        }
        let config = NetworkConfig { tls_roots: Some(path.clone()), ..NetworkConfig::default() };
        let refused = network().with_route(&config).err().unwrap();
        assert!(matches!(&refused, NetworkError::File { path: told, .. } if *told == path), "{refused}");
    }
    root(folder.path(), "root");
    let many = std::fs::read_to_string(folder.path().join("root.pem")).unwrap().repeat(100);
    std::fs::write(folder.path().join("many.pem"), many).unwrap();
    let config =
        NetworkConfig { tls_roots: Some(folder.path().join("many.pem")), ..NetworkConfig::default() };
    let refused = network().with_route(&config).err().unwrap();
    assert!(matches!(refused, NetworkError::File { .. }), "{refused}");
}
