//! Sealed files, opened by an independent implementation: `openssl cms`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use cns_virtual_card::envelopes;
use cns_virtual_card::sealed::{Content, Kind, Recipient};

fn openssl(folder: &Path, arguments: &str) -> Vec<u8> {
    let output = Command::new("openssl").current_dir(folder).args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn recipient(folder: &Path) -> Recipient {
    openssl(
        folder,
        "req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -subj /CN=import -days 1",
    );
    Recipient::read(&folder.join("cert.pem")).unwrap()
}

fn opened(folder: &Path, sealed: &[u8]) -> String {
    fs::write(folder.join("sealed.cms"), sealed).unwrap();
    let command = "cms -decrypt -inform DER -in sealed.cms -recip cert.pem -inkey key.pem -binary";
    String::from_utf8(openssl(folder, command)).unwrap()
}

#[test]
fn cards() {
    let folder = tempfile::tempdir().unwrap();
    let recipient = recipient(folder.path());
    let mut content = Content::with_capacity(Kind::Cards, 100).unwrap();
    content.push_object(&[("id_card", b"6999000000001230"), ("puk", b"87654321")]).unwrap();
    assert!(content.push(&[0; 100]).is_err());
    let sealed = recipient.seal(&content).unwrap();
    assert_eq!(
        opened(folder.path(), &sealed),
        "{\"format\":\"cns-import\",\"version\":1,\"kind\":\"cards\"}\n\
         {\"id_card\":\"6999000000001230\",\"puk\":\"87654321\"}\n"
    );
    let text =
        String::from_utf8_lossy(&openssl(folder.path(), "cms -cmsout -print -inform DER -in sealed.cms"))
            .into_owned();
    assert!(text.contains("aes-256-cbc") && text.contains("rsaEncryption"), "{text}");
    openssl(folder.path(), "x509 -in cert.pem -outform DER -out cert.der");
    assert!(Recipient::read(&folder.path().join("cert.der")).is_ok());
    assert!(Recipient::read(&folder.path().join("key.pem")).is_err());
}

#[test]
fn envelopes_and_letters_agree() {
    let folder = tempfile::tempdir().unwrap();
    let letters = folder.path().join("letters");
    let recipient = recipient(folder.path());
    let sealed = envelopes::print(20, 8, &recipient, &letters).unwrap();
    let text = opened(folder.path(), &sealed);
    let mut lines = text.lines();
    assert_eq!(lines.next().unwrap(), r#"{"format":"cns-import","version":1,"kind":"envelopes"}"#);
    let mut count = 0;
    for line in lines {
        let envelope: serde_json::Value = serde_json::from_str(line).unwrap();
        let value = |name: &str| envelope[name].as_str().unwrap().to_owned();
        assert_eq!((value("code").len(), value("code").parse::<u64>().unwrap() % 97), (10, 1));
        assert_eq!((value("pin").len(), value("user_code").len()), (8, 10));
        let letter = letters.join(format!("{}.txt", value("code")));
        assert_eq!(fs::metadata(&letter).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(
            fs::read_to_string(letter).unwrap(),
            format!("PIN: {}\nUser code: {}\n", value("pin"), value("user_code"))
        );
        count += 1;
    }
    assert_eq!(count, 20);
    assert!(envelopes::print(0, 5, &recipient, &letters).is_err());
    assert!(envelopes::print(1, 4, &recipient, &letters).is_err());
}
