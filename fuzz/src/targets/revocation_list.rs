//! A certificate revocation list: believed of nobody but its issuer, and of that taken apart without harm.

use cnsd::authority::checks::Revocation;
use cnsd::authority::status::list::RevocationList;

use crate::issuer::{ALGORITHM, Issuer, now, tlv};

/// An entry has a serial number and a time: thirteen bytes at least.
const SHORTEST_ENTRY: usize = 13;

pub(crate) fn run(bytes: &[u8]) {
    let Some((how, rest)) = bytes.split_first() else { return };
    let issuer = Issuer::get();
    match how % 4 {
        0 => drop(RevocationList::read(rest, &issuer.certificate).expect_err("nobody's list was believed")),
        1 => look(&issuer.signed(&tlv(0x30, rest), &[]), rest, issuer),
        // An honest beginning, then what is given.
        2 => look(&issuer.signed(&content(&issuer.name, rest), &[]), rest, issuer),
        // The same with an honest end.
        _ => {
            let entries = [&tlv(0x30, rest)[..], &numbered()].concat();
            look(&issuer.signed(&content(&issuer.name, &entries), &[]), rest, issuer);
        }
    }
}

/// TBSCertList up to its entries.
fn content(name: &[u8], rest: &[u8]) -> Vec<u8> {
    let day = |day: &[u8; 13]| tlv(0x17, day);
    let (made, next) = (day(b"261201000000Z"), day(b"261202000000Z"));
    tlv(0x30, &[&tlv(0x02, &[1])[..], ALGORITHM, name, &made, &next, rest].concat())
}

/// The extensions with the list's number.
fn numbered() -> Vec<u8> {
    let number = [&[0x06, 0x03, 0x55, 0x1D, 0x14][..], &tlv(0x04, &[0x02, 0x01, 0x07])].concat();
    tlv(0xA0, &tlv(0x30, &tlv(0x30, &number)))
}

fn look(list: &[u8], bytes: &[u8], issuer: &Issuer) {
    let list = match RevocationList::read(list, &issuer.certificate) {
        Ok(list) => list,
        Err(error) => {
            assert!(!error.to_string().chars().any(char::is_control), "a terminal would obey {error:?}");
            return;
        }
    };
    assert!(list.len() <= bytes.len() / SHORTEST_ENTRY, "{} entries", list.len());
    _ = list.check_time(now());
    // Whatever is asked for has an answer, and a delta list without it changes none.
    for serial in bytes.windows(3).chain([&[0][..], bytes]).take(64) {
        let alone = list.standing(serial, None);
        assert_eq!(
            alone,
            list.standing(&[&[0][..], serial].concat(), None),
            "zeros before a number are none"
        );
        if list.is_empty() {
            assert!(serial.len() > 20 || alone == Ok(Revocation::Good));
        }
        if list.continues(&list) {
            assert!(list.is_delta() && list.number().is_some());
            assert_eq!(list.standing(serial, Some(&list)), alone);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Else the target would try nothing but refusals.
    #[test]
    fn what_the_issuer_signed_is_taken_apart() {
        let issuer = Issuer::get();
        let entry = tlv(0x30, &[tlv(0x02, &[5]), tlv(0x17, b"261130101010Z")].concat());
        let list = issuer.signed(&content(&issuer.name, &[tlv(0x30, &entry), numbered()].concat()), &[]);
        let list = RevocationList::read(&list, &issuer.certificate).unwrap();
        assert!(list.check_time(now()).is_ok() && list.len() == 1 && list.number().is_some());
        assert!(matches!(list.standing(&[5], None), Ok(Revocation::Revoked { .. })));
        assert_eq!(list.standing(&[6], None), Ok(Revocation::Good));
    }
}
