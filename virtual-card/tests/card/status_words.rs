//! Each status word that the reference names for a command, produced by that command; `docs/card-commands.md` lists
//! them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use cns_virtual_card::{Behaviour, Generation, Personalisation, VirtualCard, sample};

use crate::{SELECT_MF, SELECT_SIGNATURE_DF, VERIFY_PIN, WRONG_PIN, bytes, send};

/// The card that a row is about.
#[derive(Clone, Copy)]
enum On {
    Sample,
    StrictIncard,
    /// As over T=0.
    T0,
    /// With nothing left of its memory when the row's command comes.
    Full,
    /// With memory that cannot be written any more when the row's command comes.
    WornOut,
    /// A chip of another generation.
    Other(&'static str),
}

struct Row {
    on: On,
    before: Vec<String>,
    command: String,
    status: &'static str,
}

fn row(on: On, before: &[&str], command: &str, status: &'static str) -> Row {
    let before = before.iter().map(|command| (*command).to_owned()).collect();
    Row { on, before, command: command.to_owned(), status }
}

const FREE: &str = "000000000000000000";
const SHUT: &str = "FFFFFFFFFFFFFFFFFF";
const KEYS: &str = "0607";
const NO_KEYS: &str = "FFFF";
const CHALLENGE: &str = "0084000008";
const TRIPLE_DES: &str = "0123456789ABCDEFFEDCBA9876543210";
const RESTORE: &str = "0022F30300";

/// CREATE FILE with these lengths in front: `62`, and what is inside.
fn create(size_tag: &str, size: u16, descriptor: &str, file: &str, access: &str, conditions: &str) -> String {
    let mut inside =
        format!("{size_tag}02{size:04X} 8203{descriptor} 8302{file} 850101 8609{access}").replace(' ', "");
    if !conditions.is_empty() {
        inside += &format!("CB18{conditions}");
    }
    let length = inside.len() / 2;
    format!("00E00000{:02X} 62{length:02X} {inside}", length + 2)
}

fn transparent(access: &str) -> String {
    create("80", 16, "010000", "9020", access, "")
}

fn tlv(access: &str) -> String {
    create("80", 16, "05FFFF", "9022", access, "")
}

fn fixed() -> String {
    create("80", 6, "020003", "9023", FREE, "")
}

fn df(access: &str) -> String {
    create("81", 256, "380000", "9024", access, "")
}

/// Secure messaging demanded of every operation on an elementary file, or in a DF.
fn demanding_file(descriptor: &str) -> String {
    let conditions =
        [NO_KEYS, KEYS, KEYS, NO_KEYS, NO_KEYS, NO_KEYS, KEYS].concat() + &NO_KEYS.repeat(4) + KEYS;
    create("80", 16, descriptor, "9025", FREE, &conditions)
}

fn demanding_df() -> String {
    let conditions = [NO_KEYS, KEYS].concat() + &NO_KEYS.repeat(4) + KEYS + KEYS + &NO_KEYS.repeat(4);
    create("81", 256, "380000", "9026", FREE, &conditions)
}

/// PUT DATA of an object: class and number, attributes 1 to 7 after the options, conditions for use, change and unblock
/// and for generating a key, whether secure messaging is demanded, the value.
fn object(address: &str, attributes: &str, access: &str, demanding: bool, value: &str) -> String {
    let [use_, change, unblock, generate] = [0, 2, 4, 6].map(|place| &access[place..place + 2]);
    let mut data = format!("8302{address} 850802{attributes} 8607{use_}{change}{unblock}FFFFFF{generate}");
    if demanding {
        data += &format!("CB10{}{}{KEYS}", KEYS.repeat(3), NO_KEYS.repeat(4));
    }
    data = format!("{data}8F{:02X}{value}", value.len() / 2).replace(' ', "");
    format!("00DA016E{:02X}{data}", data.len() / 2)
}

/// PIN 15 of DF 1400, 54321.
fn pin(access: &str, demanding: bool) -> String {
    object("0015", "038703FF000005", access, demanding, "3534333231FFFFFF")
}

/// Key 16 of DF 1400, for authentication, three tries.
fn key(access: &str, demanding: bool) -> String {
    object("0016", "008203FF000008", access, demanding, TRIPLE_DES)
}

/// Key 17 of DF 1400, triple DES for operations.
fn cipher_key(access: &str, demanding: bool) -> String {
    object("2017", "00030FFF000000", access, demanding, TRIPLE_DES)
}

/// The components of an RSA key 18 in DF 1400 whose values have so many bytes.
fn rsa_key(algorithm: &str, generate: &str, length: usize) -> [String; 2] {
    ["2018", "2118"].map(|address| {
        let value = format!("{:02X}00{}", length + 1, "FF".repeat(length));
        object(address, &format!("00{algorithm}0FFF000000"), &format!("00FFFF{generate}"), false, &value)
    })
}

fn open_then<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&[SELECT_MF, VERIFY_PIN, SELECT_SIGNATURE_DF][..], more].concat()
}

/// What happens to the file that is current, and what that is called elsewhere.
fn files(rows: &mut Vec<Row>) {
    use On::{Sample, T0, WornOut};
    let (free, shut, records, closed) = (transparent(FREE), transparent(SHUT), tlv(FREE), tlv(SHUT));
    let (secured, secured_records) = (demanding_file("010000"), demanding_file("05FFFF"));
    let mut add = |on, before: &[&str], command: &str, status| rows.push(row(on, before, command, status));
    let deactivated = open_then(&[&free, "00040000"]);

    add(Sample, &[], SELECT_SIGNATURE_DF, "9000");
    add(Sample, &[], "00A4080C042FFF8228", "6A82");
    add(Sample, &[], "00A40001021400", "6A86");
    add(Sample, &[], "00A4000C033F00", "6700");
    add(Sample, &deactivated, "00A4020C029020", "6283");
    add(T0, &[], SELECT_MF, "613A");

    for (command, incompatible, shut, free) in [
        ("00B0000001", &records, &shut, &free),
        ("00D6000001 AA", &records, &shut, &free),
        ("00B2010400", &free, &closed, &records),
        ("00DC010403 1001AA", &free, &closed, &records),
        ("00E2000003 1001AA", &free, &closed, &records),
    ] {
        add(Sample, &[], command, "6986");
        add(Sample, &open_then(&[incompatible]), command, "6981");
        add(Sample, &open_then(&[shut]), command, "6982");
        add(Sample, &open_then(&[free, "00040000"]), command, "6985");
    }
    add(Sample, &open_then(&[&free]), "00B0000001", "9000");
    add(Sample, &open_then(&[&free]), "00B0001001", "6B00");
    add(Sample, &open_then(&[&free]), "00B0800001", "6A86");
    add(Sample, &open_then(&[&secured]), "00B0000001", "6E00");
    add(T0, &["00A4080C0410001003"], "00B0000020", "6C10");
    add(Sample, &open_then(&[&free]), "00D6000001 AA", "9000");
    add(Sample, &open_then(&[&free]), "00D6001001 AA", "6B00");
    add(Sample, &open_then(&[&free]), "00D6000F02 AABB", "6700");
    add(Sample, &open_then(&[&free]), "00D60000", "6A80");
    add(Sample, &open_then(&[&free]), "00D6800001 AA", "6A86");
    add(Sample, &open_then(&[&secured]), "00D6000001 AA", "6E00");
    add(WornOut, &open_then(&[&free]), "00D6000001 AA", "6581");

    let append = "00E2000003 1001AA";
    add(Sample, &open_then(&[&records, append]), "00B2010400", "9000");
    add(Sample, &open_then(&[&records]), "00B2010400", "6A83");
    add(Sample, &open_then(&[&records]), "00B2010500", "6A86");
    add(Sample, &open_then(&[&secured_records]), "00B2010400", "6E00");
    add(Sample, &open_then(&[&records, append]), "00DC010403 1001BB", "9000");
    add(Sample, &open_then(&[&records]), "00DC010403 1001AA", "6A83");
    add(Sample, &open_then(&[&records, append]), "00DC010403 1002AA", "6A85");
    let long = format!("00DC010411 100F{}", "AA".repeat(15));
    add(Sample, &open_then(&[&records, append]), &long, "6A84");
    add(Sample, &open_then(&[&fixed(), "00E2000003 010203"]), "00DC010402 0102", "6700");
    add(Sample, &open_then(&[&records]), "00DC010503 1001AA", "6A86");
    add(Sample, &open_then(&[&secured_records]), "00DC010403 1001AA", "6E00");
    add(Sample, &open_then(&[&records]), append, "9000");
    add(Sample, &open_then(&[&records]), "00E2000003 1002AA", "6A85");
    add(Sample, &open_then(&[&records]), &long.replace("00DC0104", "00E20000"), "6A84");
    add(Sample, &open_then(&[&fixed()]), "00E2000002 0102", "6700");
    add(Sample, &open_then(&[&records]), "00E2010003 1001AA", "6A86");
    add(Sample, &open_then(&[&secured_records]), append, "6E00");
}

fn life_cycle(rows: &mut Vec<Row>) {
    use On::{Full, Sample};
    let (free, shut) = (transparent(FREE), transparent(SHUT));
    let (free_df, secured_df, shut_df) = (df(FREE), demanding_df(), df(SHUT));
    let mut add = |on, before: &[&str], command: &str, status| rows.push(row(on, before, command, status));
    add(Sample, &open_then(&[]), &free, "9000");
    add(Sample, &open_then(&[&free]), &free, "6A89");
    add(Sample, &[SELECT_MF, VERIFY_PIN], &free, "6982");
    add(Sample, &open_then(&[]), &create("80", 16, "010000", "3FFF", FREE, ""), "6A80");
    add(Sample, &open_then(&[]), &free.replacen("00E00000", "00E00001", 1), "6A86");
    add(Sample, &open_then(&[&secured_df]), &free, "6E00");
    add(Sample, &open_then(&[&free_df, "00040000"]), &free, "6985");
    add(Full, &open_then(&[]), &free, "6A84");
    add(Sample, &open_then(&[&free]), "00E40000", "9000");
    add(Sample, &open_then(&[]), "00E4000002 9020", "6A82");
    add(Sample, &open_then(&[&shut]), "00E4000002 9020", "6982");
    add(Sample, &open_then(&[]), "00E4000003 902000", "6700");
    add(Sample, &open_then(&[&free]), "00E40100", "6A86");
    for command in ["00040000", "00440000"] {
        add(Sample, &open_then(&[&free]), command, "9000");
        add(Sample, &open_then(&[&shut_df]), command, "6982");
        add(Sample, &open_then(&[&free]), &command.replace("0000", "0100"), "6A86");
    }
}

fn data_objects(rows: &mut Vec<Row>) {
    use On::{Sample, T0};
    let mut add = |on, before: &[&str], command: &str, status| rows.push(row(on, before, command, status));
    add(Sample, &[], "00CA018100", "9000");
    add(Sample, &[], "00CA018400", "6A88");
    add(Sample, &[], "00CADF3005", "6A88");
    add(Sample, &[], "00C0000010", "6D00");
    add(T0, &[], "00C0000010", "6985");
    add(T0, &[SELECT_MF], "00C000003A", "9000");
    add(T0, &[SELECT_MF], "00C0000000", "6C3A");
    add(T0, &[SELECT_MF], "00C0000010", "612A");
    add(T0, &[SELECT_MF], "00C0010010", "6A86");
}

fn codes(rows: &mut Vec<Row>) {
    use On::{Sample, StrictIncard, WornOut};
    let (free, shut, no_change) = (pin("001515FF", false), pin("FF1515FF", false), pin("00FFFFFF", false));
    let (secured, key) = (pin("001515FF", true), key("001616FF", false));
    let blocked = [WRONG_PIN; 3];
    let mut add = |on, before: &[&str], command: &str, status| rows.push(row(on, before, command, status));

    for (verify, change, status) in [("0020", "0024", "6A86"), ("0020", "0024", "6A88")] {
        let (p1, p2) = if status == "6A86" { ("05", "90") } else { ("00", "9E") };
        add(Sample, &[], &format!("{verify}{p1}{p2}08 3132333435FFFFFF"), status);
        add(Sample, &[], &format!("{change}{p1}{p2}10 3132333435FFFFFF 3132333435FFFFFF"), status);
        let p1 = if status == "6A86" { "02" } else { "00" };
        add(Sample, &[], &format!("002C{p1}{p2}10 3837363534333231 3132333435FFFFFF"), status);
    }
    add(Sample, &[], VERIFY_PIN, "9000");
    add(Sample, &[], WRONG_PIN, "63C2");
    add(StrictIncard, &[], WRONG_PIN, "6300");
    add(WornOut, &[], VERIFY_PIN, "6581");
    add(Sample, &blocked, VERIFY_PIN, "6983");
    add(Sample, &[], "0020009007 31323334353637", "6700");
    add(Sample, &open_then(&[&key]), "0020009608 3132333435FFFFFF", "6985");
    add(Sample, &open_then(&[&shut]), "0020009508 3534333231FFFFFF", "6982");
    add(Sample, &open_then(&[&secured]), "0020009508 3534333231FFFFFF", "6E00");

    let change = |p2: &str, old: &str| format!("002400{p2}10 {old} 3534333231FFFFFF");
    let (right, wrong) = ("3132333435FFFFFF", "3939393939FFFFFF");
    add(Sample, &[], &change("90", right), "9000");
    add(Sample, &[], &change("90", wrong), "63C2");
    add(StrictIncard, &[], &change("90", wrong), "6300");
    add(WornOut, &[], &change("90", right), "6581");
    add(Sample, &blocked, &change("90", right), "6983");
    add(Sample, &[], "0024009007 31323334353637", "6700");
    add(Sample, &[], "0024009010 3132333435FFFFFF 31323334FFFFFFFF", "6A80");
    add(Sample, &[], "0024019008 3132333435FFFFFF", "6982");
    add(Sample, &open_then(&[&no_change]), &change("95", "3534333231FFFFFF"), "6982");
    add(Sample, &open_then(&[&key]), &change("96", right), "6985");
    add(Sample, &open_then(&[&secured]), &change("95", "3534333231FFFFFF"), "6E00");
    add(Sample, &open_then(&[&free]), &change("95", "3534333231FFFFFF"), "9000");

    let reset = |p2: &str, puk: &str| format!("002C00{p2}10 {puk} 3132333435FFFFFF");
    let (right, wrong) = ("3837363534333231", "3030303030303030");
    let wrong_reset = reset("90", wrong);
    add(Sample, &blocked, &reset("90", right), "9000");
    add(Sample, &[], &wrong_reset, "63C2");
    add(StrictIncard, &[], &wrong_reset, "6300");
    add(WornOut, &[], &reset("90", right), "6581");
    add(Sample, &[wrong_reset.as_str(); 3], &reset("90", right), "6983");
    add(Sample, &[], "002C009008 3837363534333231", "6700");
    add(Sample, &[], "002C009010 3837363534333231 31323334FFFFFFFF", "6A80");
    add(Sample, &[], "002C0390", "6982");
    add(Sample, &open_then(&[&key]), &reset("96", right), "6985");
    add(Sample, &open_then(&[&secured]), &reset("95", right), "6E00");
}

fn authentication(rows: &mut Vec<Row>) {
    use On::{Other, Sample, StrictIncard, WornOut};
    let (free, shut, secured) = (key("001616FF", false), key("FF1616FF", false), key("001616FF", true));
    let mut add = |on, before: &[&str], command: &str, status| rows.push(row(on, before, command, status));
    add(Sample, &[], CHALLENGE, "9000");
    add(Sample, &[], "0084010008", "6A86");
    add(Other("idemia2021"), &[], "0084000021", "6700");
    add(Sample, &[], "8086000008 0011223344556677", "9000");
    add(Sample, &[], "8086000007 00112233445566", "6A80");
    add(Sample, &[], "8086010008 0011223344556677", "6A86");

    let (right, wrong) = ("0082009608 31A7364CAC91CA39", "0082009608 0000000000000000");
    let asked = open_then(&[&free, CHALLENGE]);
    add(Sample, &asked, right, "9000");
    add(Sample, &asked, wrong, "63C2");
    add(StrictIncard, &asked, wrong, "6300");
    add(WornOut, &asked, right, "6581");
    let blocked = [CHALLENGE, wrong, CHALLENGE, wrong, CHALLENGE, wrong, CHALLENGE];
    add(Sample, &[&open_then(&[&free]), &blocked[..]].concat(), right, "6983");
    add(Sample, &open_then(&[&free]), right, "6985");
    add(Sample, &open_then(&[CHALLENGE]), "0082009008 3132333435FFFFFF", "6985");
    add(Sample, &open_then(&[&free, "0084000004"]), right, "6984");
    add(Sample, &open_then(&[&shut, CHALLENGE]), right, "6982");
    add(Sample, &open_then(&[CHALLENGE]), right, "6A88");
    add(Sample, &asked, "0082019608 31A7364CAC91CA39", "6A86");
    add(Sample, &open_then(&[&secured, CHALLENGE]), right, "6E00");

    let internal = "0088009608 0011223344556677 00";
    add(Sample, &open_then(&[&free]), internal, "9000");
    add(Sample, &open_then(&[&free]), "0088009607 00112233445566 00", "6700");
    add(Sample, &open_then(&[]), "0088000008 0011223344556677 00", "6985");
    add(Sample, &open_then(&[&shut]), internal, "6982");
    add(Sample, &open_then(&[]), internal, "6A88");
    add(Sample, &open_then(&[&free]), "0088019608 0011223344556677 00", "6A86");
    add(Sample, &open_then(&[&secured]), internal, "6E00");
}

fn operations(rows: &mut Vec<Row>) {
    use On::{Other, Sample};
    let (free, shut, secured) =
        (cipher_key("001717FF", false), cipher_key("FF1717FF", false), cipher_key("001717FF", true));
    let environment = "00DA016D0F 830107 8602FFFF 8F06001700170000";
    let mut add = |on, before: &[&str], command: &str, status| rows.push(row(on, before, command, status));

    add(Sample, &[], RESTORE, "9000");
    add(Sample, &[], "0022F30700", "6A83");
    add(Sample, &open_then(&[environment]), "0022F30700", "6982");
    add(Sample, &[], "0022F1B803830101", "6985");
    add(Sample, &[RESTORE], "0022F1B80383011E", "6A88");
    add(Sample, &[RESTORE], "002241B603830101", "6A86");
    add(Sample, &[RESTORE], "0022F1B803990101", "6A80");

    let set = "0022F1B803830117";
    let decipher = "002A808609 00 0011223344556677 00";
    let encipher = "002A868008 0011223344556677 00";
    add(Sample, &open_then(&[&free, RESTORE, set]), encipher, "9000");
    add(Sample, &open_then(&[&free, RESTORE, set]), "002A808604 01 001122 00", "6A80");
    add(Sample, &open_then(&[&free, RESTORE]), "002A9E9A03 010203 00", "6985");
    add(Sample, &open_then(&[&shut, RESTORE, set]), decipher, "6982");
    add(Sample, &[RESTORE, "0022F1B803830101"], "002A808603 00 0102 00", "6982");
    add(Sample, &[VERIFY_PIN, RESTORE, "0022F1B803830101"], "002A808603 00 0102 00", "6700");
    add(Sample, &open_then(&[&free, RESTORE, set]), "002A90A003 010203 00", "6A86");
    add(Sample, &open_then(&[&secured, RESTORE, set]), decipher, "6E00");
    let block = format!("002A8086000101 00 {} 0100", "01".repeat(256));
    add(
        Other("idemia2021"),
        &["0020001008 3132333435FFFFFF", "0022F303", "0022F1B803830102"],
        &block,
        "6984",
    );
}

fn key_pairs(rows: &mut Vec<Row>) {
    use On::Sample;
    let mut add = |on, before: &[&str], command: &str, status| rows.push(row(on, before, command, status));
    let [modulus, exponent] = rsa_key("88", "00", 128);
    let [shut_modulus, shut_exponent] = rsa_key("88", "FF", 128);
    let [short, _] = rsa_key("88", "00", 16);
    let [cipher, _] = rsa_key("03", "00", 128);
    let (file, closed_file, small, other) = (
        create("80", 160, "010000", "9020", FREE, ""),
        create("80", 160, "010000", "9020", SHUT, ""),
        transparent(FREE),
        fixed(),
    );
    let demanding = demanding_file("010000");
    let generate = "0046000008 2018902000000018";
    add(Sample, &open_then(&[&modulus, &exponent, &file]), generate, "9000");
    add(Sample, &open_then(&[&modulus, &exponent, &small]), generate, "6A84");
    add(Sample, &open_then(&[&modulus, &exponent]), generate, "6A82");
    add(Sample, &open_then(&[&modulus, &exponent, &other]), &generate.replace("9020", "9023"), "6981");
    add(Sample, &open_then(&[&modulus, &exponent, &closed_file]), generate, "6982");
    add(Sample, &open_then(&[&shut_modulus, &shut_exponent, &file]), generate, "6982");
    add(Sample, &open_then(&[&file]), generate, "6A88");
    add(Sample, &open_then(&[&short, &exponent, &file]), generate, "6984");
    add(Sample, &open_then(&[&cipher, &exponent, &file]), generate, "6985");
    add(Sample, &open_then(&[&modulus, &exponent, &file]), "0046000008 2018902000000008", "6A80");
    add(Sample, &open_then(&[&modulus, &exponent, &file]), "0046010008 2018902000000018", "6A86");
    add(Sample, &open_then(&[&modulus, &exponent, &demanding]), &generate.replace("9020", "9025"), "6E00");
}

fn objects(rows: &mut Vec<Row>) {
    use On::{Full, Sample, WornOut};
    let demanding_directory = demanding_df();
    let mut add = |on, before: &[&str], command: &str, status| rows.push(row(on, before, command, status));
    let new = pin("001515FF", false);
    add(Sample, &open_then(&[]), &new, "9000");
    add(Sample, &[SELECT_MF, VERIFY_PIN], &new, "6982");
    add(Sample, &open_then(&[]), "00DA016E0E 8302 0015 8F08 3534333231FFFFFF", "6A80");
    add(Sample, &open_then(&[]), &new.replacen("00DA01", "00DA02", 1), "6A86");
    add(Sample, &open_then(&[&demanding_directory]), &new, "6E00");
    add(Sample, &open_then(&[&df(FREE), "00040000"]), &new, "6985");
    add(Sample, &open_then(&[&transparent(FREE)]), "00DA016F07 8405A000000099", "6981");
    let named = "00DA016F07 8405A000000099";
    add(Sample, &open_then(&[named, &df(FREE)]), named, "6A89");
    add(Full, &open_then(&[]), &new, "6A84");
    add(WornOut, &open_then(&[]), &new, "6581");

    let change = |value: &str| format!("90240096{:02X}{value}", value.len() / 2);
    let (key, shut, secured) = (key("0000FFFF", false), key("00FFFFFF", false), key("0000FFFF", true));
    add(Sample, &open_then(&[&key]), &change(TRIPLE_DES), "9000");
    add(Sample, &open_then(&[&key]), &change("0011223344556677"), "6A80");
    add(Sample, &open_then(&[&shut]), &change(TRIPLE_DES), "6982");
    add(Sample, &open_then(&[]), &change(TRIPLE_DES), "6A88");
    add(Sample, &open_then(&[&key]), &change(TRIPLE_DES).replacen("902400", "902405", 1), "6A86");
    add(Sample, &open_then(&[&secured]), &change(TRIPLE_DES), "6E00");
}

fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for part in [files, life_cycle, data_objects, codes, authentication, operations, key_pairs, objects] {
        part(&mut rows);
    }
    rows
}

fn card_of(on: On) -> VirtualCard {
    let order = match on {
        On::Other(name) => sample::personalisation_of(Generation::from_name(name).unwrap()).unwrap(),
        On::Sample | On::StrictIncard | On::T0 | On::Full | On::WornOut => sample::personalisation().unwrap(),
    };
    let behaviour = Behaviour {
        strict_incard: matches!(on, On::StrictIncard),
        t0: matches!(on, On::T0),
        ..order.behaviour
    };
    VirtualCard::create(Personalisation { behaviour, ..order }).unwrap()
}

fn documentation() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/card-commands.md")).unwrap()
}

/// The names of the commands by class and instruction, as the documents' first table has them.
fn names(documentation: &str) -> BTreeMap<[u8; 2], &str> {
    let table = documentation.lines().skip_while(|line| !line.starts_with("| command | CLA INS")).skip(2);
    let rows = table.take_while(|line| line.starts_with('|'));
    rows.filter_map(|line| line.strip_prefix("| ")?.split_once(" | `"))
        .filter_map(|(name, rest)| {
            let header = bytes(rest.get(..5).filter(|header| header.as_bytes()[2] == b' ')?);
            Some((header.try_into().ok()?, name))
        })
        .collect()
}

#[test]
fn every_status_word_of_the_reference_is_answered() {
    let documentation = documentation();
    let names = names(&documentation);
    let mut answered: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let mut wrong = Vec::new();
    for row in rows() {
        let mut card = card_of(row.on);
        for command in &row.before {
            if command == CHALLENGE {
                card.plan_randomness(&bytes("0011223344556677"));
            }
            let answer = send(&mut card, command);
            let done = answer.ends_with("9000") || answer.starts_with("63") || answer.starts_with("61");
            assert!(done, "{command} before {} ({}): {answer}", row.command, row.status);
        }
        match row.on {
            On::Full => card.leave_memory(0),
            On::WornOut => card.wear_out_after(0),
            On::Sample | On::StrictIncard | On::T0 | On::Other(_) => {}
        }
        let command = bytes(&row.command);
        let answer = hex::encode_upper(card.transmit(&command));
        if !answer.ends_with(row.status) {
            wrong.push(format!("{} answers {answer} and not {}", row.command, row.status));
        }
        let word = match &row.status[..2] {
            "61" | "6C" => format!("{}xx", &row.status[..2]),
            "63" if row.status.starts_with("63C") => "63Cx".to_owned(),
            _ => row.status.to_owned(),
        };
        answered.entry(names[&[command[0], command[1]]]).or_default().insert(word);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let expected: Vec<String> = answered
        .iter()
        .map(|(name, words)| {
            format!("| {name} | {} |", Vec::from_iter(words.iter().map(String::as_str)).join(", "))
        })
        .collect();
    assert_eq!(expected.len(), names.len(), "each command has its words");
    let table =
        documentation.lines().skip_while(|line| !line.starts_with("| command | status words")).skip(2);
    let listed: Vec<_> = table.take_while(|line| line.starts_with('|')).collect();
    assert_eq!(listed, expected, "\n{}\n", expected.join("\n"));
}
