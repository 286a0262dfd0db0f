//! Import files: made by `openssl cms` and by the virtual bureau, damaged, hostile, wrong line by line.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use cns_protocol::custody::{Imported, StockReport};
use cnsd::custody::{Custody, CustodyError, Fault, ImportError, LineFault, PukKind};

use super::{
    CARD, CODES, HEADER_CARDS, HEADER_ENVELOPES, card_line, envelope_line, import_lines, lent_puk, other,
    sealed, start, stocked,
};

/// What a bureau does without any software of ours.
fn openssl(custody: &Custody, content: &[u8], options: &[&str]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let certificate = folder.path().join("import.pem");
    fs::write(&certificate, custody.import_certificate_pem()).unwrap();
    let mut child = Command::new("openssl")
        .args(["cms", "-encrypt", "-binary", "-outform", "DER"])
        .args(options.iter().filter(|option| !option.starts_with("rsa_") && **option != "-keyopt"))
        .arg("-recip")
        .arg(&certificate)
        .args(options.iter().filter(|option| option.starts_with("rsa_")).flat_map(|o| ["-keyopt", o]))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the openssl program is needed");
    child.stdin.take().unwrap().write_all(content).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    output.stdout
}

fn lines_of(result: Result<Imported, CustodyError>) -> Vec<LineFault> {
    match result {
        Err(CustodyError::Import(ImportError::Lines(faults))) => faults.told,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_import_certificate_is_accepted_by_openssl() {
    let daemon = start().await;
    let path = daemon.folder.path().join("import.pem");
    fs::write(&path, daemon.custody.import_certificate_pem()).unwrap();
    let verify =
        Command::new("openssl").args(["verify", "-check_ss_sig", "-CAfile"]).args([&path, &path]).output();
    let output = verify.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = Command::new("openssl").args(["x509", "-noout", "-text", "-in"]).arg(&path).output().unwrap();
    let text = String::from_utf8(text.stdout).unwrap();
    for part in ["CN = cnsd custody import", "3072 bit", "Key Encipherment", "sha256WithRSAEncryption"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[tokio::test]
async fn files_made_with_openssl_alone_are_taken_in() {
    let daemon = start().await;
    let custody = &daemon.custody;
    let ways: [&[&str]; 6] = [
        &["-aes256", "-stream"],
        &["-aes256"],
        &["-aes128", "-keyid"],
        &["-aes192", "rsa_padding_mode:oaep"],
        &["-aes256", "rsa_padding_mode:oaep", "rsa_oaep_md:sha256"],
        &["-aes256", "rsa_padding_mode:oaep", "rsa_oaep_md:sha512"],
    ];
    for (number, way) in ways.iter().enumerate() {
        let serial = format!("699900000000{number:04}");
        let content = format!("{HEADER_CARDS}\r\n{}\r\n", card_line(&serial, "24681357"));
        let imported = custody.import(&openssl(custody, content.as_bytes(), way)).await;
        assert_eq!(imported.unwrap(), Imported { cards: 1, ..Imported::default() }, "{way:?}");
        let puk = custody.puk(&serial, PukKind::Cns).await.unwrap().lend(|puk| puk.expose().to_vec());
        assert_eq!(puk, b"24681357");
    }
    let triple_des = openssl(custody, HEADER_CARDS.as_bytes(), &["-des3"]);
    let refused = custody.import(&triple_des).await;
    assert!(matches!(refused, Err(CustodyError::Import(ImportError::Algorithm(_)))), "{refused:?}");
}

#[tokio::test]
async fn a_file_for_another_daemon_is_refused() {
    let (ours, theirs) = (start().await, other().await);
    let file = sealed(&theirs.custody, &[HEADER_CARDS, &card_line(CARD, "24681357")]);
    let refused = ours.custody.import(&file).await;
    assert!(matches!(refused, Err(CustodyError::Import(ImportError::NotForThisDaemon))));
}

/// No byte of a file may be changed without an error, and no change may panic. What the encryption covers gives one
/// answer whatever was hit: key transport, padding or content.
#[tokio::test]
async fn damaged_files_are_refused_without_an_oracle() {
    let daemon = start().await;
    let good = sealed(&daemon.custody, &[HEADER_CARDS]);
    let empty = daemon.custody.import(&good).await;
    assert!(matches!(empty, Err(CustodyError::Import(ImportError::Empty))), "{empty:?}");
    let body = good.len() - 40;
    for place in (0..good.len()).step_by(11) {
        let mut bad = good.clone();
        bad[place] ^= 0x10;
        let result = daemon.custody.import(&bad).await;
        match result {
            Err(CustodyError::Import(error)) if place > body => assert_eq!(error, ImportError::Undecryptable),
            Err(CustodyError::Import(_)) => {}
            other => panic!("byte {place}: {other:?}"),
        }
    }
    for length in (0..good.len()).step_by(29) {
        assert!(matches!(daemon.custody.import(&good[..length]).await, Err(CustodyError::Import(_))));
    }
    let mut wrong_key_block = good.clone();
    let block = good.windows(4).position(|bytes| bytes == [0x04, 0x82, 0x01, 0x80]).unwrap() + 4;
    wrong_key_block[block + 200..block + 208].fill(0xA5);
    let result = daemon.custody.import(&wrong_key_block).await;
    assert!(matches!(result, Err(CustodyError::Import(ImportError::Undecryptable))), "{result:?}");
}

#[tokio::test]
async fn sizes_are_limited() {
    let daemon = start().await;
    let large = vec![0x30; (1 << 20) + 1];
    let result = daemon.custody.import(&large).await;
    assert!(matches!(result, Err(CustodyError::Import(ImportError::TooLarge(_)))));
    let lines = vec!["x"; 10_001].join("\n");
    let result = import_lines(&daemon.custody, &[HEADER_CARDS, &lines]).await;
    let Err(CustodyError::Import(ImportError::Lines(faults))) = result else { panic!("{result:?}") };
    assert_eq!((faults.told.len(), faults.total), (20, 10_001));
}

#[tokio::test]
async fn many_recipients_cost_no_more_than_their_length() {
    let daemon = start().await;
    let recipient = [0xA1, 0x02, 0x05, 0x00].repeat(200_000);
    let set = [der_header(0x31, recipient.len()), recipient].concat();
    let enveloped = [
        vec![2, 1, 0],
        set,
        vec![0x30, 0x12, 6, 9, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 7, 1, 0x30, 5, 6, 3, 0x2A, 3, 4],
    ]
    .concat();
    let enveloped = [der_header(0x30, enveloped.len()), enveloped].concat();
    let explicit = [der_header(0xA0, enveloped.len()), enveloped].concat();
    let info = [vec![6, 9, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 7, 3], explicit].concat();
    let file = [der_header(0x30, info.len()), info].concat();
    let result = daemon.custody.import(&file).await;
    assert!(matches!(result, Err(CustodyError::Import(ImportError::NotForThisDaemon))), "{result:?}");
}

fn der_header(tag: u8, length: usize) -> Vec<u8> {
    let bytes = u32::try_from(length).unwrap().to_be_bytes();
    [&[tag, 0x83], &bytes[1..]].concat()
}

#[tokio::test]
async fn wrong_lines_are_told_by_number_and_nothing_is_taken_in() {
    let daemon = start().await;
    let custody = &daemon.custody;
    let escaped =
        r#"{"id_card":"6999000000001248","codice_fiscale":"RSSMRA80A01H501U","puk":"2468135\u0037"}"#;
    let number = r#"{"id_card":"6999000000001248","codice_fiscale":"RSSMRA80A01H501U","puk":24681357}"#;
    let good = card_line(CARD, "24681357");
    let lines = [
        HEADER_CARDS,
        &good,
        escaped,
        number,
        &card_line("699900000000124", "24681357"),
        &card_line("6999000000001248", "2468135"),
        &good,
        "",
    ];
    let faults = lines_of(import_lines(custody, &lines).await);
    let expected = [
        (3, Fault::Malformed),
        (4, Fault::Malformed),
        (5, Fault::Member("id_card")),
        (6, Fault::Member("puk")),
        (7, Fault::Repeated),
    ];
    assert_eq!(faults, expected.map(|(line, fault)| LineFault { line, fault }));
    let error = import_lines(custody, &lines).await.unwrap_err();
    let told = format!("{error} {error:?}");
    assert!(told.contains("line 3") && !told.contains("2468135") && !told.contains("RSSMRA"), "{told}");
    let empty = StockReport { low: true, ..StockReport::default() };
    assert_eq!(custody.stock().await.unwrap(), empty);

    let envelopes = [
        HEADER_ENVELOPES,
        &envelope_line("1234567888"),
        &envelope_line(CODES[0]).replace("13579", "1357"),
        &envelope_line(CODES[0]).replace("13579", "1357a"),
        &envelope_line(CODES[0]).replace("4711081547", "47 11"),
    ];
    let expected = [(2, "code"), (3, "pin"), (4, "pin"), (5, "user_code")];
    let faults = lines_of(import_lines(custody, &envelopes).await);
    assert_eq!(faults, expected.map(|(line, name)| LineFault { line, fault: Fault::Member(name) }));
}

#[tokio::test]
async fn what_is_known_already_is_told_by_number_and_nothing_is_taken_in() {
    let daemon = stocked().await;
    let before = daemon.custody.stock().await.unwrap();
    let lines = [HEADER_CARDS, &card_line("6999000000001248", "11223344"), &card_line(CARD, "99999999")];
    let expected = [LineFault { line: 3, fault: Fault::Known }];
    assert_eq!(lines_of(import_lines(&daemon.custody, &lines).await), expected);
    let lines = [HEADER_ENVELOPES, &envelope_line(CODES[3]), &envelope_line(CODES[0])];
    assert_eq!(lines_of(import_lines(&daemon.custody, &lines).await), expected);
    assert_eq!(daemon.custody.stock().await.unwrap(), before);
    assert_eq!(lent_puk(&daemon.custody, PukKind::Cns).await, b"24681357");
}

#[tokio::test]
async fn another_header_is_not_told_from_a_wrong_key() {
    let daemon = start().await;
    for header in [
        r#"{"format":"cns-import","version":2,"kind":"cards"}"#,
        r#"{"format":"other","version":1,"kind":"cards"}"#,
        r#"{"format":"cns-import","version":1,"kind":"pins"}"#,
        "",
    ] {
        let content = format!("{header}\n{}", card_line(CARD, "24681357"));
        let result = daemon.custody.import(&openssl(&daemon.custody, content.as_bytes(), &["-aes256"])).await;
        assert!(matches!(result, Err(CustodyError::Import(ImportError::Undecryptable))), "{header}");
    }
}
