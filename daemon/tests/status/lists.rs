//! Revocation lists: of OpenSSL and of the certifier, by HTTP and as files, complete and delta; forged, expired, replayed.

use std::fs;
use std::path::Path;
use std::time::Duration;

use cns_virtual_authority::Reason;
use cnsd::authority::NetworkError;
use cnsd::authority::checks::{CheckError, Revocation};
use cnsd::authority::status::{Source, StatusError};
use cnsd::config::StatusConfig;
use cnsd_test_support::network;
use x509_cert::ext::pkix::CrlReason;

use crate::openssl::{Crl, Entry, continues, crl, index};
use crate::scene::{Scene, by_list, is_good, is_out};
use crate::server::{Reply, Server};

const HELD: Entry<'_> = Entry::Revoked("260301100000Z", "certificateHold");
const GONE: Entry<'_> = Entry::Revoked("260301100000Z", "keyCompromise");

fn write(folder: &Path, name: &str, list: &[u8]) -> String {
    let path = folder.join(name);
    fs::write(&path, list).unwrap();
    path.display().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_openssl_s_is_fetched_once_and_says_good_suspended_and_revoked() {
    let scene = Scene::new().await;
    let server = Server::always(Reply::Failure);
    let others: Vec<String> = (0..200).map(|number| format!("{:04X}", 0x1000 + number)).collect();
    for (number, entry, code) in [
        (1, Entry::Valid, None),
        (2, HELD, Some((true, Some(CrlReason::CertificateHold)))),
        (3, GONE, Some((false, Some(CrlReason::KeyCompromise)))),
        (4, Entry::Revoked("260301100000Z", ""), Some((false, None))),
    ] {
        let mut entries: Vec<(&str, Entry<'_>)> =
            others.iter().map(|serial| (serial.as_str(), GONE)).collect();
        entries.insert(100, (&scene.serial, entry));
        index(scene.path(), &entries);
        server.say(Reply::Body(crl(scene.path(), &Crl { number, ..Crl::default() })));
        let service = scene.service(&by_list(server.url("/crl.der")));
        let before = server.asked();
        for _ in 0..10 {
            let known = scene.standing(&service).await.unwrap();
            assert_eq!(known.source, Source::List);
            match (known.standing, code) {
                (Revocation::Good, None) => {}
                (Revocation::Revoked { suspended, reason, .. }, Some(code)) => {
                    assert_eq!((suspended, reason), code);
                }
                (standing, code) => panic!("{standing:?} is not {code:?}"),
            }
        }
        assert_eq!(server.asked() - before, 1, "a list counts for as long as it says");
    }
    println!("40 look-ups on 4 lists of 201 entries, {} requests", server.asked());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_in_a_file_is_read_again_when_it_was_replaced() {
    let scene = Scene::new().await;
    index(scene.path(), &[]);
    let first = crl(scene.path(), &Crl { number: 1, ..Crl::default() });
    let place = write(scene.path(), "place.der", &first);
    let service = scene.service(&by_list(place));
    is_good(scene.standing(&service).await, Source::List);
    index(scene.path(), &[(&scene.serial, HELD)]);
    write(scene.path(), "place.der", &crl(scene.path(), &Crl { number: 2, ..Crl::default() }));
    is_out(scene.standing(&service).await, true);
    // What replaces it and cannot be used takes nothing from what is known, and gives nothing.
    for rubbish in [&b"no list"[..], &first] {
        write(scene.path(), "place.der", rubbish);
        is_out(scene.standing(&service).await, true);
    }
    fs::remove_file(scene.path().join("place.der")).unwrap();
    is_out(scene.standing(&service).await, true);
    let fresh = scene.service(&by_list(scene.path().join("place.der").display().to_string()));
    let error = scene.standing(&fresh).await.unwrap_err();
    assert!(matches!(error, StatusError::File { .. }), "{error:?}");
    assert!(!error.for_clients().contains("place.der"), "{}", error.for_clients());
}

type Expected = fn(&CheckError) -> bool;
/// What it is, its bytes, and why it must be refused.
type Unfit = (&'static str, Vec<u8>, Expected);

/// Lists that must not be believed, and an honest one.
fn unfit(scene: &Scene) -> (Vec<Unfit>, Vec<u8>) {
    let folder = scene.path();
    index(folder, &[("1234", GONE)]);
    let mut changed = crl(folder, &Crl::default());
    let serial = changed.windows(4).position(|window| window == [0x02, 0x02, 0x12, 0x34]).unwrap() + 3;
    changed[serial] ^= 1;
    index(folder, &[]);
    let good = crl(folder, &Crl::default());
    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let at = |times: [&str; 2]| {
        let times = ["-crl_lastupdate", times[0], "-crl_nextupdate", times[1]];
        crl(folder, &Crl { times: &times, ..Crl::default() })
    };
    let part = "issuingDistributionPoint = critical, @idp\n[idp]\nonlyuser = TRUE";
    let part = crl(folder, &Crl { extensions: part, ..Crl::default() });
    let strangers = crl(folder, &Crl { signer: "stranger", ..Crl::default() });
    let signature: Expected = |error| *error == CheckError::Signature;
    let stale: Expected = |error| *error == CheckError::Stale;
    let malformed: Expected = |error| matches!(error, CheckError::Malformed(_));
    let cases: Vec<Unfit> = vec![
        ("a stranger of the same name", strangers, signature),
        ("a flipped bit", flipped, signature),
        ("another serial number", changed, signature),
        ("expired", at(["260101000000Z", "260102000000Z"]), stale),
        ("not in force yet", at(["400101000000Z", "400102000000Z"]), stale),
        ("a part of a list", part, |error| matches!(error, CheckError::Critical(_))),
        ("nothing", Vec::new(), malformed),
        ("HTML", b"<html>".to_vec(), malformed),
        ("PEM", fs::read(folder.join("list.pem")).unwrap(), malformed),
        ("a cut list", good[..good.len() - 1].to_vec(), malformed),
        ("a longer list", [&good[..], &[0]].concat(), malformed),
        ("a certificate", scene.leaf.clone(), |_| true),
    ];
    (cases, good)
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_expired_and_strange_lists_are_refused() {
    let scene = Scene::new().await;
    let (cases, good) = unfit(&scene);
    let server = Server::always(Reply::Failure);
    let count = cases.len();
    for (what, list, expected) in cases {
        server.say(Reply::Body(list));
        let error = scene.standing(&scene.service(&by_list(server.url("/")))).await.unwrap_err();
        let StatusError::List(why) = &error else { panic!("{what}: {error:?}") };
        assert!(expected(why), "{what}: {why:?}");
    }
    server.say(Reply::Body(good));
    is_good(scene.standing(&scene.service(&by_list(server.url("/")))).await, Source::List);
    println!("{count} lists refused, the honest one believed");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_list_is_refused_also_after_a_restart() {
    let mut scene = Scene::new().await;
    index(scene.path(), &[]);
    let times: [&[&str]; 3] = [
        &["-crl_lastupdate", "260901000000Z", "-crl_nextupdate", "300101000000Z"],
        &["-crl_lastupdate", "260902000000Z", "-crl_nextupdate", "300101000000Z"],
        &["-crl_lastupdate", "260903000000Z", "-crl_nextupdate", "300101000000Z"],
    ];
    let list = |scene: &Scene, number, day: usize| {
        crl(scene.path(), &Crl { number, times: times[day], ..Crl::default() })
    };
    // Before the suspension, and after it.
    let (old, renumbered) = (list(&scene, 5, 0), list(&scene, 7, 0));
    index(scene.path(), &[(&scene.serial, HELD)]);
    let (new, newest, backwards) = (list(&scene, 6, 1), list(&scene, 7, 2), list(&scene, 5, 2));
    let server = Server::always(Reply::Body(old.clone()));
    let config = by_list(server.url("/"));
    is_good(scene.standing(&scene.service(&config)).await, Source::List);
    server.say(Reply::Body(new.clone()));
    is_out(scene.standing(&scene.service(&config)).await, true);
    let mut refused = 0;
    for restart in [false, true, true] {
        if restart {
            scene.reopen().await;
        }
        // The older list, one with a newer number and an older time, and one the other way round.
        for replayed in [&old, &renumbered, &backwards] {
            server.say(Reply::Body(replayed.clone()));
            let error = scene.standing(&scene.service(&config)).await.unwrap_err();
            assert!(matches!(error, StatusError::Replayed), "{error:?}");
            refused += 1;
        }
        // The same list again is none that is older, and a newer one is what it is.
        server.say(Reply::Body(new.clone()));
        is_out(scene.standing(&scene.service(&config)).await, true);
    }
    server.say(Reply::Body(newest));
    is_out(scene.standing(&scene.service(&config)).await, true);
    server.say(Reply::Body(new));
    let error = scene.standing(&scene.service(&config)).await.unwrap_err();
    assert!(matches!(error, StatusError::Replayed), "{error:?}");
    println!("{} replayed lists refused, {} of them after restarts", refused + 1, refused - 3);
}

/// A server of a complete list and a delta list, and a service that reads both.
struct Two {
    server: Server,
    config: StatusConfig,
}

impl Two {
    fn new(complete: &[u8], delta: &[u8]) -> Self {
        let server = Server::always(Reply::Failure);
        let config =
            StatusConfig { delta_crl: Some(server.url("/delta")), ..by_list(server.url("/complete")) };
        let two = Self { server, config };
        two.say(complete, delta);
        two
    }

    fn say(&self, complete: &[u8], delta: &[u8]) {
        let (complete, delta) = (complete.to_vec(), delta.to_vec());
        self.server.answer(move |path, _| {
            Reply::Body(if path == "/delta" { delta.clone() } else { complete.clone() })
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_certifier_s_delta_lists_add_and_remove() {
    let scene = Scene::new().await;
    let certifier = &scene.certifier;
    let first = certifier.crl().unwrap();
    // A list counts from the second that it is of.
    let pause = || tokio::time::sleep(Duration::from_millis(1100));
    pause().await;
    certifier.revoke(&scene.serial, Reason::CertificateHold).unwrap();
    let (held, delta_held) = (certifier.crl().unwrap(), certifier.delta_crl().unwrap());
    pause().await;
    certifier.revoke(&scene.serial, Reason::RemoveFromCrl).unwrap();
    let (back, delta_back) = (certifier.crl().unwrap(), certifier.delta_crl().unwrap());
    pause().await;
    certifier.revoke(&scene.serial, Reason::KeyCompromise).unwrap();
    let (gone, delta_gone) = (certifier.crl().unwrap(), certifier.delta_crl().unwrap());

    let two = Two::new(&first, &delta_held);
    let service = scene.service(&two.config);
    // Added by the delta list alone.
    is_out(scene.standing(&service).await, true);
    is_out(scene.standing(&service).await, true);
    assert_eq!(two.server.asked(), 2, "each list is fetched once");
    // Removed by it.
    two.say(&held, &delta_back);
    service.forget(&scene.leaf).await;
    is_good(scene.standing(&service).await, Source::List);
    // Added again for good, to a complete list on which it stands no more; and both of one moment.
    two.say(&back, &delta_gone);
    service.forget(&scene.leaf).await;
    is_out(scene.standing(&service).await, false);
    two.say(&gone, &delta_gone);
    service.forget(&scene.leaf).await;
    is_out(scene.standing(&service).await, false);
    // A delta list that was seen to be followed by others takes no revocation back.
    two.say(&gone, &delta_back);
    service.forget(&scene.leaf).await;
    let error = scene.standing(&service).await.unwrap_err();
    assert!(matches!(error, StatusError::Replayed), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delta_list_that_continues_another_list_says_nothing() {
    let scene = Scene::new().await;
    let folder = scene.path();
    let day = |day: &'static str| -> [&'static str; 4] {
        ["-crl_lastupdate", day, "-crl_nextupdate", "300101000000Z"]
    };
    let (one, two_days, three) = (day("260901000000Z"), day("260902000000Z"), day("260903000000Z"));
    index(folder, &[]);
    let complete = |number, times: &[&str]| crl(folder, &Crl { number, times, ..Crl::default() });
    let (first, newer) = (complete(4, &one), complete(8, &two_days));
    index(folder, &[(&scene.serial, HELD)]);
    let delta = |number, base, times: &[&str]| {
        crl(folder, &Crl { number, times, extensions: &continues(base), ..Crl::default() })
    };
    let (apart, fits) = (delta(9, 8, &three), delta(10, 3, &three));

    // Of the complete list 8, while the one that is there is 4: not even when it is asked for again.
    let two = Two::new(&first, &apart);
    let service = scene.service(&two.config);
    let error = scene.standing(&service).await.unwrap_err();
    assert!(matches!(error, StatusError::Delta), "{error:?}");
    // The complete list 8 has come out meanwhile.
    two.say(&newer, &apart);
    is_out(scene.standing(&service).await, true);

    // A delta list of an older complete list continues every one since.
    two.say(&newer, &fits);
    is_out(scene.standing(&scene.service(&two.config)).await, true);
    // One in the other's place is none.
    two.say(&fits, &fits);
    let error = scene.standing(&scene.service(&two.config)).await.unwrap_err();
    assert!(matches!(error, StatusError::Delta), "{error:?}");
    two.say(&newer, &newer);
    let error = scene.standing(&scene.service(&two.config)).await.unwrap_err();
    assert!(matches!(error, StatusError::Delta), "{error:?}");
    // One that cannot be had leaves the question open.
    two.server.answer(
        move |path, _| {
            if path == "/delta" { Reply::Failure } else { Reply::Body(newer.clone()) }
        },
    );
    let error = scene.standing(&scene.service(&two.config)).await.unwrap_err();
    assert!(matches!(error, StatusError::Network(NetworkError::Status(503))), "{error:?}");
}

/// A complete list at hand is asked for again when the delta list has moved on to a newer one.
#[tokio::test(flavor = "multi_thread")]
async fn a_complete_list_that_the_delta_list_has_left_behind_is_fetched_again() {
    let scene = Scene::new().await;
    let folder = scene.path();
    index(folder, &[]);
    let soon = ["-crlsec", "3"];
    let list = |number, extensions: &str, times: &[&str]| {
        crl(folder, &Crl { number, extensions, times, ..Crl::default() })
    };
    let (first, short) = (list(4, "", &["-crldays", "1"]), list(5, &continues(4), &soon));
    let two = Two::new(&first, &short);
    let service = scene.service(&two.config);
    is_good(scene.standing(&service).await, Source::List);
    assert_eq!(two.server.asked(), 2);
    index(folder, &[(&scene.serial, HELD)]);
    tokio::time::sleep(Duration::from_secs(4)).await;
    let newer = list(8, "", &["-crldays", "1"]);
    let moved = list(9, &continues(8), &["-crldays", "1"]);
    two.say(&newer, &moved);
    is_out(scene.standing(&service).await, true);
    assert_eq!(two.server.asked(), 4, "the delta list that was over, and then the complete one");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_that_are_too_large_hang_or_fail_are_not_waited_for() {
    let scene = Scene::new().await;
    let server = Server::always(Reply::Zeros(100 << 20));
    let small = StatusConfig { crl_limit_mib: 8, ..by_list(server.url("/")) };
    let error = scene.standing(&scene.service(&small)).await.unwrap_err();
    assert!(matches!(error, StatusError::Network(NetworkError::TooLarge)), "{error:?}");
    let short = || network().with_time_limit(Duration::from_secs(1));
    server.say(Reply::Silence);
    let error = scene.standing(&scene.service_by(&small, short())).await.unwrap_err();
    assert!(matches!(error, StatusError::Network(NetworkError::TimedOut)), "{error:?}");
    let file = fs::File::create(scene.path().join("huge.der")).unwrap();
    file.set_len(100 << 20).unwrap();
    let huge = StatusConfig { crl: Some(scene.path().join("huge.der").display().to_string()), ..small };
    let error = scene.standing(&scene.service(&huge)).await.unwrap_err();
    assert!(matches!(error, StatusError::File { .. }), "{error:?}");
}

/// What was out of force when it was last heard of stays so while nobody can be asked.
#[tokio::test(flavor = "multi_thread")]
async fn a_suspension_that_is_known_outlives_the_list_that_told_it() {
    let scene = Scene::new().await;
    index(scene.path(), &[(&scene.serial, HELD)]);
    let list = |number| crl(scene.path(), &Crl { number, times: &["-crlsec", "2"], ..Crl::default() });
    let server = Server::always(Reply::Body(list(1)));
    let service = scene.service(&by_list(server.url("/")));
    is_out(scene.standing(&service).await, true);
    server.say(Reply::Failure);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let known = scene.standing(&service).await;
    assert!(known.as_ref().is_ok_and(|known| known.until < std::time::SystemTime::now()), "{known:?}");
    is_out(known, true);
    // Until somebody says otherwise who is believed.
    index(scene.path(), &[]);
    server.say(Reply::Body(list(2)));
    is_good(scene.standing(&service).await, Source::List);
    server.say(Reply::Failure);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let error = scene.standing(&service).await.unwrap_err();
    assert!(
        matches!(error, StatusError::Network(NetworkError::Status(503))),
        "a good one does not: {error:?}"
    );
}

/// Certificates that this authority did not issue, or that are over, have no standing here.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_asked_about_what_the_authority_did_not_issue() {
    let scene = Scene::new().await;
    let server = Server::always(Reply::Failure);
    let service = scene.service(&by_list(server.url("/")));
    let mut forged = scene.leaf.clone();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    for certificate in [&forged[..], b"no certificate", &[]] {
        let error = service.standing(certificate).await.unwrap_err();
        assert!(matches!(error, StatusError::Certificate(_)), "{error:?}");
    }
    assert_eq!(server.asked(), 0);
}
