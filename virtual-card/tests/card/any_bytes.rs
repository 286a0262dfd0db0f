//! Whatever bytes come, the chip answers a status word and keeps its rules.

use proptest::collection::vec;
use proptest::prelude::*;

use cns_virtual_card::Generation;

use crate::generations::card_of;
use crate::{bytes, card, send};

/// Bytes that look like commands: known instructions, short data, sometimes chained or cut.
fn command() -> impl Strategy<Value = Vec<u8>> {
    let class = prop_oneof![8 => Just(0x00u8), 1 => Just(0x10), 1 => any::<u8>()];
    let instruction =
        prop::sample::select(bytes("04 20 22 24 2A 2C 44 82 84 86 88 A4 B0 B2 C0 CA D6 DA DC E0 E2 E4"));
    let parameter = prop_oneof![
        prop::sample::select(bytes("00 01 02 03 04 08 09 0C 10 1A 6D 6E 6F 80 86 90 9A 9E B6 B8 F1 F3")),
        any::<u8>()
    ];
    let data = prop_oneof![
        vec(any::<u8>(), 0..40),
        prop::sample::select(vec![
            bytes("3132333435FFFFFF"),
            bytes("3132333435FFFFFF3132333435FFFFFF"),
            bytes("3F00"),
            bytes("1400"),
            bytes("11001101"),
            bytes("14008110"),
            bytes("83028010"),
            bytes("830110"),
            bytes("83010 1".replace(' ', "").as_str()),
            bytes("8302001A850802038703FF0000058607001A1BFFFFFFFF8F083534333231FFFFFF"),
            bytes("621B810208008203380000830281108501018609FF1010FFFF101010FF"),
            bytes("621B80020020820301000083028010850101860900001AFFFF1010FFFF"),
            bytes("621B8002002082030600028302801185010186090000000000000000FF"),
            bytes("86090000000000000000FF"),
            bytes("14009002"),
            bytes("140090012002"),
            bytes("DA01C001"),
            bytes("7F01"),
            bytes("A000000530455349474E"),
            bytes("A000000530000B104001021A"),
            bytes("A00000009501004D"),
            bytes("E828BD080F014E585030"),
        ]),
    ];
    (class, instruction, parameter.clone(), parameter, data, any::<Option<u8>>()).prop_map(
        |(class, instruction, p1, p2, data, le)| {
            let length = u8::try_from(data.len()).unwrap();
            let body = if data.is_empty() { Vec::new() } else { [vec![length], data].concat() };
            [vec![class, instruction, p1, p2], body, le.into_iter().collect()].concat()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_answered(garbage in vec(vec(any::<u8>(), 0..600), 1..20)) {
        let mut card = card();
        for bytes in &garbage {
            prop_assert!(card.transmit(bytes).len() >= 2);
        }
    }

    #[test]
    fn whole_sessions_are_answered_by_every_generation(
        generation in prop::sample::select(Generation::all().collect::<Vec<_>>()),
        commands in vec(command(), 1..200),
    ) {
        let mut card = card_of(generation);
        for bytes in &commands {
            prop_assert!(card.transmit(bytes).len() >= 2);
        }
        // Still a card: the directory of its start is there.
        card.reset();
        prop_assert!(send(&mut card, "00A40000023F00") == "9000");
    }

    #[test]
    fn whole_sessions_are_answered_and_tell_no_key(commands in vec(command(), 1..200)) {
        let mut card = card();
        for bytes in &commands {
            prop_assert!(card.transmit(bytes).len() >= 2);
        }
        // Still a card: the MF is there, and what is public is readable.
        card.reset();
        prop_assert!(send(&mut card, "00A4000C023F00") == "9000");
        prop_assert!(send(&mut card, "00A4080C0410001003") == "9000");
        prop_assert!(send(&mut card, "00B0000001") == "369000");
    }
}
