//! Who may call what: every method, every role, with and without an operator at work.

use std::collections::BTreeSet;

use cns_protocol::Role;
use cns_protocol::operator::{CounterKind, Session};

use super::router;
use super::tests::daemon;
use crate::judge::{Reason, Verdict, judge};
use crate::peer::Peer;

const USER: &[Role] = &[Role::User];
const COUNTER: &[Role] = &[Role::Counter];
const CUSTODIAN: &[Role] = &[Role::Custodian];
const CUSTODIAN_OR_COUNTER: &[Role] = &[Role::Custodian, Role::Counter];
/// Each by its own rules: `standing/rules.rs`.
const CARD_LIFE: &[Role] = &[Role::Web, Role::CallCentre, Role::Counter, Role::IssuingBody];
const AUDITOR: &[Role] = &[Role::Auditor];
const ADMIN: &[Role] = &[Role::Admin];

/// The method, the roles that may call it, and whether an operator must be at work. A method without a row fails the test.
#[rustfmt::skip]
const TABLE: &[(&str, &[Role], bool)] = &[
    ("rpc.discover",                USER,                 false),
    ("daemon.status",               USER,                 false),
    ("reader.list",                 USER,                 false),
    ("reader.wait",                 USER,                 false),
    ("card.list",                   USER,                 false),
    ("card.show",                   USER,                 false),
    ("card.report",                 USER,                 false),
    ("card.trace",                  ADMIN,                false),
    ("pin.verify",                  USER,                 false),
    ("pin.logout",                  USER,                 false),
    ("pin.change",                  USER,                 false),
    ("pin.unblock",                 USER,                 false),
    ("pin.status",                  USER,                 false),
    ("puk.deliver",                 USER,                 false),
    ("puk.open",                    USER,                 false),
    ("key.sign",                    USER,                 false),
    ("key.decrypt",                 USER,                 false),
    ("key.random",                  USER,                 false),
    ("counter.generate_key",       COUNTER,              true),
    ("counter.load_certificate",   COUNTER,              true),
    ("counter.remove_signature",   COUNTER,              true),
    ("holder.verify_user_code",     &[Role::Web, Role::CallCentre], false),
    ("certificate.status",          CARD_LIFE,            false),
    ("certificate.suspend",         CARD_LIFE,            false),
    ("certificate.reactivate",      CARD_LIFE,            false),
    ("certificate.revoke",          CARD_LIFE,            false),
    ("operator.login",              COUNTER,              false),
    ("operator.logout",             COUNTER,              false),
    ("operator.status",             COUNTER,              false),
    ("counter.cases",               COUNTER,              true),
    ("counter.start",               COUNTER,              true),
    ("counter.next",                COUNTER,              true),
    ("counter.answer",              COUNTER,              true),
    ("counter.show",                COUNTER,              true),
    ("counter.list",                COUNTER,              true),
    ("counter.cancel",              COUNTER,              true),
    ("national.request",            COUNTER,              true),
    ("national.show",               COUNTER,              true),
    ("national.receive",            &[Role::NationalSystem], false),
    ("national.list",               &[Role::IssuingBody], false),
    ("national.decide",             &[Role::IssuingBody], false),
    ("counter.sheet",               COUNTER,              true),
    ("order.execute",               COUNTER,              true),
    ("order.receipt",               COUNTER,              true),
    ("order.certificates",          &[Role::Custodian, Role::Counter, Role::Admin], false),
    ("custody.import_certificate",  CUSTODIAN,            false),
    ("custody.import",              CUSTODIAN,            false),
    ("custody.import_begin",        CUSTODIAN,            false),
    ("custody.import_chunk",        CUSTODIAN,            false),
    ("custody.import_finish",       CUSTODIAN,            false),
    ("custody.import_drop",         CUSTODIAN,            false),
    ("custody.assign",              CUSTODIAN,            false),
    ("custody.stock",               CUSTODIAN,            false),
    ("custody.assign_envelopes",    CUSTODIAN,            false),
    ("custody.return_envelopes",    CUSTODIAN_OR_COUNTER, false),
    ("custody.void_envelopes",      CUSTODIAN_OR_COUNTER, false),
    ("custody.decide_void",         CUSTODIAN_OR_COUNTER, false),
    ("custody.void_requests",       CUSTODIAN_OR_COUNTER, false),
    ("custody.show_envelope",       CUSTODIAN,            false),
    ("custody.envelope_choices",    AUDITOR,              false),
    ("custody.rotate_key",          ADMIN,                false),
    ("custody.decide_rotation",     &[Role::Admin, Role::Custodian], false),
    ("custody.rotation_requests",   &[Role::Admin, Role::Custodian], false),
    ("custody.keys",                ADMIN,                false),
    ("custody.verify",              ADMIN,                false),
    ("custody.backup",              ADMIN,                false),
    ("custody.erase",               CUSTODIAN,            false),
    ("audit.list",                  AUDITOR,              false),
    ("audit.verify",                AUDITOR,              false),
    ("audit.rotate",                ADMIN,                false),
];

fn peer(roles: &[Role]) -> Peer {
    Peer { uid: 1000, gids: vec![1000], roles: roles.to_vec() }
}

fn session() -> Session {
    Session {
        operator: "op1".into(),
        name: "Anna Serra".into(),
        counter: "Sportello 1".into(),
        counter_kind: CounterKind::HealthAuthority,
        reader: "vpcd:operator".into(),
        expires: "2099-01-01T00:00:00Z".into(),
        warning: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_has_its_row_and_every_peer_its_verdict() {
    let state = tempfile::tempdir().unwrap();
    let router = router(&daemon(state.path()).await);
    let served: BTreeSet<&str> = router.names().collect();
    let listed: BTreeSet<&str> = TABLE.iter().map(|(name, _, _)| *name).collect();
    assert_eq!(served, listed, "each method stands in the table, once");
    assert_eq!(TABLE.len(), listed.len());
    let at_work = session();
    let mut verdicts = 0;
    for (name, allowed, needs_operator) in TABLE {
        let demand = router.demand(name).unwrap();
        for open in [None, Some(&at_work)] {
            for role in Role::ALL.map(|role| vec![role]).into_iter().chain([Vec::new()]) {
                let verdict = judge(&peer(&role), demand, open);
                let expected = if !role.iter().any(|role| allowed.contains(role)) {
                    Verdict::Refuse(Reason::Role(demand.role))
                } else if *needs_operator && open.is_none() {
                    Verdict::Refuse(Reason::NoOperator)
                } else {
                    Verdict::Allow
                };
                assert_eq!(verdict, expected, "{name} for {role:?}, operator {}", open.is_some());
                verdicts += 1;
            }
        }
        let others: Vec<Role> = Role::ALL.into_iter().filter(|role| !allowed.contains(role)).collect();
        assert_ne!(judge(&peer(&others), demand, Some(&at_work)), Verdict::Allow, "{name}: all other roles");
    }
    assert_eq!(verdicts, TABLE.len() * 20);
}
