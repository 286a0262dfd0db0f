//! Files of records: linear TLV, linear fixed, cyclic.

use cns_virtual_card::VirtualCard;

use crate::{SELECT_SIGNATURE_DF, VERIFY_PIN, card, expect, run, send};

/// A file of the kind `descriptor` and `size`, open to all.
fn with_file(descriptor: &str, size: &str) -> VirtualCard {
    let mut card = card();
    expect(&mut card, VERIFY_PIN, "9000");
    send(&mut card, SELECT_SIGNATURE_DF);
    let create =
        format!("00E000001D 621B 8002{size} 8203{descriptor} 83020001 850101 8609000000000000000000");
    expect(&mut card, &create, "9000");
    card
}

/// Vectors 33 and 34, and the record pointer.
#[test]
fn linear_tlv() {
    let mut card = with_file("05FFFF", "0010");
    run(
        &mut card,
        &[
            ("00B2000400", "6A83"),
            ("00E2000004 1002AABB", "9000"),
            ("00B2010400", "1002AABB 9000"),
            ("00E2000003 1101CC", "9000"),
            ("00E2000003 1001DD", "9000"),
            ("00E2000003 1005DD", "6A85"),
            ("00E2000003 0001DD", "6A85"),
            ("00B2000000", "1002AABB 9000"),
            ("00B2000200", "1101CC 9000"),
            ("00B2000400", "1101CC 9000"),
            ("00B2000200", "1001DD 9000"),
            ("00B2000200", "6A83"),
            ("00B2000300", "1101CC 9000"),
            ("00B2000100", "1001DD 9000"),
            ("00B2100000", "1002AABB 9000"),
            ("00B2100200", "1001DD 9000"),
            ("00B2110100", "1101CC 9000"),
            ("00B2120000", "6A83"),
            ("00B2010402", "1002 9000"),
            ("00B2010500", "6A86"),
            ("00DC010405 1003010203", "9000"),
            ("00DC010409 1007010203040 50607", "9000"),
            ("00DC01040C 100A0102030405060708090A", "6A84"),
            ("00E2000003 1001DD", "6A84"),
            ("00B0000001", "6981"),
            ("00D6000001AA", "6981"),
        ],
    );
}

#[test]
fn linear_fixed() {
    let mut card = with_file("020003", "0006");
    run(
        &mut card,
        &[
            ("00E2000002 0102", "6700"),
            ("00E2000003 010203", "9000"),
            ("00E2000003 040506", "9000"),
            ("00E2000003 070809", "6A84"),
            ("00DC020403 0A0B0C", "9000"),
            ("00DC020402 0A0B", "6700"),
            ("00B2020400", "0A0B0C 9000"),
            ("00B2010000", "6981"),
        ],
    );
}

#[test]
fn cyclic() {
    let mut card = with_file("060002", "0004");
    run(
        &mut card,
        &[
            ("00E2000002 0101", "9000"),
            ("00E2000002 0202", "9000"),
            ("00E2000002 0303", "9000"),
            ("00B2010400", "0303 9000"),
            ("00B2020400", "0202 9000"),
            ("00B2030400", "6A83"),
        ],
    );
}

#[test]
fn a_transparent_file_has_no_records() {
    run(
        &mut card(),
        &[
            ("00B2010400", "6986"),
            ("00A4080C022F02", "9000"),
            ("00B2010400", "6981"),
            ("00B0000000", "5A0A80380009990000000010 9000"),
        ],
    );
}
