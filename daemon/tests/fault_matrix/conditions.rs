//! What a fault may leave behind: nothing that was there can be read, written or used by more people than before, and
//! what is new has the conditions of `cns-card` §8.2 from its first moment.

use std::collections::BTreeMap;

use cns_apdu::signature_area::{
    CERTIFICATE_ACCESS, KEY_CONDITIONS, KEY_DF_ACCESS, LOCKED_KEY_DF_ACCESS, LOCKED_SIGNATURE_DF_ACCESS,
    OPEN_SIGNATURE_DF_ACCESS, PIN_CONDITIONS, PUBLIC_KEY_ACCESS, PUK_CONDITIONS, Slot,
};

/// Conditions by the name of a file or object.
pub(crate) type Conditions = BTreeMap<String, String>;

/// Which codes a run gives, and so what it may open.
#[derive(Clone, Copy)]
pub(crate) struct Given {
    pub(crate) puk: bool,
    pub(crate) signature_pin: bool,
}

/// Compares a card before and after.
pub(crate) fn judge(before: &Conditions, after: &Conditions, given: Given, told: &str) {
    for (name, now) in after {
        let access = |conditions: &String| conditions.split(' ').next().unwrap().to_owned();
        match before.get(name) {
            Some(then) if then == now => {}
            Some(then) => {
                let change = (access(then), access(now));
                assert!(may_become(name, &change, given), "{told}: {name} was {then}, is {now}");
            }
            None => {
                assert!(may_be_new(name).contains(&access(now)), "{told}: {name} is new, with {now}");
                let messaging = now.split(' ').nth(1).unwrap();
                assert!(messaging.bytes().all(|digit| digit == b'F'), "{told}: {name} {now}");
            }
        }
    }
    // What a run may take away is a place for a key, with what is in it.
    for name in before.keys().filter(|name| !after.contains_key(*name)) {
        let of_the_area = Slot::BOTH.iter().any(|slot| name.starts_with(&slot.key_df_path().to_string()));
        assert!(of_the_area, "{told}: {name} is gone");
    }
}

/// Locking is always allowed. The codes are opened with the PUK alone; the place of an old key, with the signature PIN,
/// which may take it away for a new one.
fn may_become(name: &str, change: &(String, String), given: Given) -> bool {
    let (then, now) = change;
    let mut may_open = given.puk;
    let (open, locked) = if name == "3F00/1400" {
        (hex::encode_upper(OPEN_SIGNATURE_DF_ACCESS.0), hex::encode_upper(LOCKED_SIGNATURE_DF_ACCESS.0))
    } else if Slot::BOTH.iter().any(|slot| name == slot.key_df_path().to_string()) {
        may_open |= given.signature_pin;
        (hex::encode_upper(KEY_DF_ACCESS.0), hex::encode_upper(LOCKED_KEY_DF_ACCESS.0))
    } else {
        return false;
    };
    (*then == open && *now == locked) || (may_open && *then == locked && *now == open)
}

/// The conditions that something new of this name may have.
fn may_be_new(name: &str) -> Vec<String> {
    let mut known = vec![
        ("3F00/1400 object 001A".to_owned(), hex::encode_upper(PIN_CONDITIONS.0)),
        ("3F00/1400 object 001B".to_owned(), hex::encode_upper(PUK_CONDITIONS.0)),
    ];
    for slot in Slot::BOTH {
        let df = slot.key_df_path().to_string();
        known.push((df.clone(), hex::encode_upper(KEY_DF_ACCESS.0)));
        known.push((df.clone(), hex::encode_upper(LOCKED_KEY_DF_ACCESS.0)));
        for component in ["2010", "2110"] {
            known.push((format!("{df} object {component}"), hex::encode_upper(KEY_CONDITIONS.0)));
        }
        known.push((slot.public_key_path().to_string(), hex::encode_upper(PUBLIC_KEY_ACCESS.0)));
        known.push((slot.certificate_path().to_string(), hex::encode_upper(CERTIFICATE_ACCESS.0)));
    }
    known.into_iter().filter(|(of, _)| of == name).map(|(_, conditions)| conditions).collect()
}

/// The judge itself: a door that opens is seen.
#[test]
fn what_opens_is_seen() {
    let card = |access: &str| Conditions::from([("3F00/1400".to_owned(), format!("{access} FFFF"))]);
    let open = card(&hex::encode_upper(OPEN_SIGNATURE_DF_ACCESS.0));
    let locked = card(&hex::encode_upper(LOCKED_SIGNATURE_DF_ACCESS.0));
    let refuses = |before: &Conditions, after: &Conditions, puk| {
        let given = Given { puk, signature_pin: true };
        std::panic::catch_unwind(|| judge(before, after, given, "here")).is_err()
    };
    assert!(!refuses(&open, &locked, false) && !refuses(&locked, &open, true));
    assert!(refuses(&locked, &open, false) && refuses(&open, &card(&"00".repeat(9)), true));
    let mut more = open.clone();
    more.insert("3F00/1400 object 001A".to_owned(), "001A1BFFFFFFFF FFFF".to_owned());
    assert!(!refuses(&open, &more, false));
    more.insert("3F00/1400/9010".to_owned(), "000000FFFFFFFFFFFF FFFF".to_owned());
    assert!(refuses(&open, &more, false));
}
