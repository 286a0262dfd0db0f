//! The program `cns-card`, as a person or a script uses it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that fails may panic"
)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use cns_virtual_card::{VirtualCard, sample};

const HOLDER: &str = r#"
surname = "DESSÌ"
name = "GRAZIA"
birth_date = "1980-01-01"
sex = "F"
codice_fiscale = "DSSGRZ80A41B354S"
birth_place = "B354"
residence = "B354"
issuer = "6200"
issued = "2026-01-01"
expires = "2032-01-01"
"#;

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cns-card"));
    command
        .current_dir(folder)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    command(folder, arguments).output().unwrap()
}

#[track_caller]
fn succeed(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn openssl(folder: &Path, arguments: &str) -> String {
    let output = Command::new("openssl").current_dir(folder).args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A folder with the holder's file and the import certificate.
fn workplace() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("holder.toml"), HOLDER).unwrap();
    let request =
        "req -x509 -newkey rsa:2048 -nodes -keyout import.key -out import.pem -subj /CN=import -days 1";
    openssl(folder.path(), request);
    folder
}

const CREATE: [&str; 10] = [
    "create",
    "CARD",
    "--holder",
    "holder.toml",
    "--request",
    "request.der",
    "--seal-to",
    "import.pem",
    "--sealed-puk",
    "puk.cms",
];

fn exchange(reader: &mut TcpStream, apdu: &[u8]) -> Vec<u8> {
    let length = u16::try_from(apdu.len()).unwrap().to_be_bytes();
    reader.write_all(&[&length[..], apdu].concat()).unwrap();
    let mut length = [0; 2];
    reader.read_exact(&mut length).unwrap();
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    reader.read_exact(&mut answer).unwrap();
    answer
}

/// Asks a process to end and insists that it does so by itself, at once and cleanly.
fn terminate(mut child: Child) {
    let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "{status}");
            return;
        }
        assert!(started.elapsed() < Duration::from_secs(5), "still running");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_card_is_made_loaded_shown_and_plugged_in() {
    let folder = workplace();
    let folder = folder.path();
    let mut create = command(folder, &[&CREATE[..], &["--pin-from-stdin"]].concat())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    create.stdin.take().unwrap().write_all(b"2468013\n").unwrap();
    assert!(create.wait().unwrap().success());

    let request = openssl(folder, "req -inform DER -in request.der -noout -verify -subject");
    assert!(request.contains("C = IT, OU = Regione Autonoma della Sardegna, CN = "), "{request}");
    assert!(request.contains("DSSGRZ80A41B354S/6200"), "{request}");
    let sealed = openssl(folder, "cms -decrypt -inform DER -in puk.cms -recip import.pem -inkey import.key");
    let line: serde_json::Value = serde_json::from_str(sealed.lines().nth(1).unwrap()).unwrap();
    assert_eq!(line["codice_fiscale"], "DSSGRZ80A41B354S");
    let puk = line["puk"].as_str().unwrap();
    assert!(puk.len() == 8 && puk.bytes().all(|digit| digit.is_ascii_digit()));

    openssl(folder, "x509 -in import.pem -outform DER -out certificate.der");
    succeed(folder, &["load", "CARD", "certificate.der"]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let mut plugged = command(folder, &["vpcd", "CARD", "--port", &port]).spawn().unwrap();
    let mut reader = listener.accept().unwrap().0;
    let mut line = String::new();
    BufReader::new(plugged.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "cns-card: plugged in\n");
    reader.write_all(&[0, 1, 1]).unwrap();
    assert_eq!(exchange(&mut reader, &[4])[..2], [0x3B, 0xFF]);
    let verify = [&[0x00, 0x20, 0x00, 0x90, 0x08][..], b"2468013\xFF"].concat();
    assert_eq!(exchange(&mut reader, &verify), [0x90, 0x00]);
    let unblock = [&[0x00, 0x2C, 0x00, 0x90, 0x10][..], puk.as_bytes(), b"12345\xFF\xFF\xFF"].concat();
    assert_eq!(exchange(&mut reader, &unblock), [0x90, 0x00]);

    // While it is plugged in: looked at, yes; plugged in again or written to, no.
    let shown: serde_json::Value =
        serde_json::from_str(&succeed(folder, &["show", "CARD", "--json"])).unwrap();
    assert_eq!((&shown["holder"], &shown["pin_tries"]), (&"GRAZIA DESSÌ".into(), &3.into()));
    assert_eq!(shown["authentication_certificate"], true);
    assert!(succeed(folder, &["show", "CARD"]).contains("GRAZIA DESSÌ"));
    assert!(!run(folder, &["load", "CARD", "certificate.der"]).status.success());
    assert!(!run(folder, &["vpcd", "CARD", "--port", &port]).status.success());
    terminate(plugged);
    assert_eq!(reader.read(&mut [0]).unwrap(), 0);
}

#[test]
fn the_plug_waits_for_its_reader_and_ends_on_request() {
    let folder = workplace();
    succeed(folder.path(), &CREATE[..6]);
    let mut waiting = command(folder.path(), &["vpcd", "CARD", "--path", "reader.sock"]).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(waiting.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("cns-card: no reader yet"), "{line}");
    terminate(waiting);
}

#[test]
fn envelopes_are_sealed_and_printed() {
    let folder = workplace();
    let arguments =
        "envelopes --count 3 --seal-to import.pem --out batch.cms --letters letters --pin-digits 6";
    succeed(folder.path(), &arguments.split(' ').collect::<Vec<_>>());
    let batch =
        openssl(folder.path(), "cms -decrypt -inform DER -in batch.cms -recip import.pem -inkey import.key");
    assert_eq!(batch.lines().count(), 4);
    assert_eq!(fs::read_dir(folder.path().join("letters")).unwrap().count(), 3);
}

#[test]
fn failures_are_told_and_leave_nothing_behind() {
    let folder = workplace();
    let folder = folder.path();
    let missing = run(folder, &["vpcd", "CARD"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(String::from_utf8(missing.stderr).unwrap().starts_with("cns-card: CARD holds no card"));
    // A PIN that is none; a certificate that is none; a generation that is none.
    assert!(!run(folder, &[&CREATE[..6], &["--pin-from-stdin"]].concat()).status.success());
    fs::write(folder.join("import.pem"), "none").unwrap();
    assert!(!run(folder, &CREATE).status.success());
    assert!(!run(folder, &[&CREATE[..6], &["--generation", "cie9"]].concat()).status.success());
    assert!(!folder.join("CARD").exists());
    // A folder with something in it is not taken.
    fs::create_dir(folder.join("CARD")).unwrap();
    fs::write(folder.join("CARD/mine"), "x").unwrap();
    assert!(!run(folder, &CREATE[..6]).status.success());
    assert_eq!(fs::read_dir(folder.join("CARD")).unwrap().count(), 1);
}

/// What went wrong, as it is told.
#[track_caller]
fn failure(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// The only copy of a card's PUK is in its sealed file: a second order at the same place must not replace it.
#[test]
fn an_order_that_cannot_be_carried_out_writes_nothing() {
    let folder = workplace();
    let folder = folder.path();
    succeed(folder, &CREATE);
    let files =
        || ["puk.cms", "request.der", "CARD/card.json"].map(|file| fs::read(folder.join(file)).unwrap());
    let before = files();
    let told = failure(folder, &CREATE);
    assert!(told.contains("CARD is not empty"), "{told}");
    assert!(files() == before, "the first card's files are as they were");
    for (request, more) in [("none/request.der", &[][..]), ("r.der", &["--signature-request", "none/s.der"])]
    {
        let order = ["create", "OTHER", "--holder", "holder.toml", "--request", request];
        let seal = ["--seal-to", "import.pem", "--sealed-puk", "other.cms"];
        let told = failure(folder, &[&order[..], &seal, more].concat());
        assert!(told.contains("write none/"), "{told}");
        assert!(!folder.join("OTHER").exists() && !folder.join("other.cms").exists());
    }
}

#[test]
fn what_is_no_certificate_is_not_loaded() {
    let folder = workplace();
    let folder = folder.path();
    succeed(folder, &CREATE);
    for file in ["holder.toml", "import.pem", "request.der"] {
        let told = failure(folder, &["load", "CARD", file]);
        assert!(told.contains(&format!("{file} is no certificate in DER")), "{told}");
    }
    assert!(succeed(folder, &["show", "CARD"]).contains("Certificate:   absent"));
    openssl(folder, "x509 -in import.pem -outform DER -out certificate.der");
    let told = failure(folder, &["load", "CARD", "certificate.der", "--signature"]);
    assert!(told.contains("CARD has no key for signatures"), "{told}");
    // A maker's container, of which the chip knows no more than its length.
    fs::write(folder.join("container"), [&[0x5A, 0x82, 0x00, 0x04][..], &[1, 2, 3, 4]].concat()).unwrap();
    succeed(folder, &["load", "CARD", "container"]);
    let told = failure(folder, &["vpcd", "CARD", "--account", "none/account.json", "--path", "reader.sock"]);
    assert!(told.contains("write none/account.new"), "{told}");
}

/// The example of the documents makes a card.
#[test]
fn the_documented_holder_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let documents = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/card-generations.md");
    let text = fs::read_to_string(documents).unwrap();
    let example = text.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    fs::write(folder.path().join("holder.toml"), example).unwrap();
    succeed(folder.path(), &CREATE[..6]);
    assert!(succeed(folder.path(), &["show", "CARD"]).contains("6999000000001230"));
}

#[test]
fn a_card_is_made_with_a_signature_key_of_its_own() {
    let folder = workplace();
    let folder = folder.path();
    let more = ["--signature-request", "signature.der", "--pin-from-stdin"];
    let mut create = command(folder, &[&CREATE[..], &more].concat()).stdin(Stdio::piped()).spawn().unwrap();
    create.stdin.take().unwrap().write_all(b"2468013\n97531\n").unwrap();
    assert!(create.wait().unwrap().success());
    let request = openssl(folder, "req -inform DER -in signature.der -noout -verify -subject");
    assert!(request.contains("serialNumber = TINIT-DSSGRZ80A41B354S"), "{request}");
    openssl(folder, "x509 -in import.pem -outform DER -out certificate.der");
    succeed(folder, &["load", "CARD", "certificate.der", "--signature"]);
    let shown = succeed(folder, &["show", "CARD"]);
    assert!(shown.contains("Signature:     with certificate"), "{shown}");
    assert!(shown.contains("Known by:"), "{shown}");
    // A chip whose PINs are not searched upward cannot have one.
    let other = ["--generation", "athena", "--signature-request", "signature.der"];
    assert!(!run(folder, &[&["create", "OTHER"], &CREATE[2..6], &other].concat()).status.success());
    assert!(!folder.join("OTHER").exists());
}

#[test]
fn the_help_lists_every_generation_with_its_evidence() {
    let help = succeed(Path::new("."), &["create", "--help"]);
    for generation in cns_virtual_card::Generation::all() {
        assert!(help.contains(&format!("{}: ", generation.name())), "{help}");
    }
    assert!(help.contains("OpenSC#3804"), "{help}");
}

#[test]
fn chips_can_be_made_to_differ() {
    let folder = workplace();
    let options = "--generation incard10 --option strict-st --option strict-incard --option select-p2-0c=6a86 \
                   --option lenient-dec --option t0 --keygen-delay 2 --without-signature-area";
    let options: Vec<&str> = options.split(' ').filter(|word| !word.is_empty()).collect();
    succeed(folder.path(), &[&CREATE[..6], &options].concat());
    let text = succeed(folder.path(), &["show", "CARD", "--json"]);
    let shown: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&shown["generation"], &shown["signature_area"]), (&"incard10".into(), &"absent".into()));
    let behaviour = &shown["behaviour"];
    for switch in ["strict_st", "strict_incard", "select_p2_0c_refused", "lenient_decipher", "t0"] {
        assert_eq!(behaviour[switch], true, "{switch}");
    }
    assert_eq!(behaviour["key_generation_seconds"], 2);
}

/// The process is killed while it stores one PIN after the other: the card has the last one that was acknowledged, or
/// the one that was on its way.
#[test]
fn a_killed_process_leaves_the_old_state_or_the_new_one() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    drop(VirtualCard::create_in(&folder.join("CARD"), sample::personalisation().unwrap()).unwrap());
    let mut known = 12_345_u32;
    let (mut old, mut new) = (0, 0);
    for round in 0..12_u64 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        let mut plugged = command(folder, &["vpcd", "CARD", "--port", &port]).spawn().unwrap();
        let mut reader = listener.accept().unwrap().0;
        // For a while, which is another one in each round; then without waiting for the answer.
        let changes = 1 + round * 7 % 5;
        for _ in 0..changes {
            assert_eq!(exchange(&mut reader, &change(known, known + 1)), [0x90, 0x00]);
            known += 1;
        }
        let last = change(known, known + 1);
        let length = u16::try_from(last.len()).unwrap().to_be_bytes();
        reader.write_all(&[&length[..], &last].concat()).unwrap();
        std::thread::sleep(Duration::from_millis(round * 2));
        plugged.kill().unwrap();
        plugged.wait().unwrap();
        let mut card = VirtualCard::open(&folder.join("CARD")).unwrap();
        // Two writes: the try, then the new value with all tries. In between the old PIN is still the right one.
        if card.transmit(&verify(known + 1)) == [0x90, 0x00] {
            known += 1;
            new += 1;
        } else {
            assert_eq!(card.transmit(&verify(known)), [0x90, 0x00], "neither the old PIN nor the new one");
            old += 1;
        }
    }
    println!("killed 12 times: {old} times the old PIN, {new} times the new one");
}

fn padded(pin: u32) -> Vec<u8> {
    let mut digits = pin.to_string().into_bytes();
    digits.resize(8, 0xFF);
    digits
}

fn change(old: u32, new: u32) -> Vec<u8> {
    [&[0x00, 0x24, 0x00, 0x90, 0x10][..], &padded(old), &padded(new)].concat()
}

fn verify(pin: u32) -> Vec<u8> {
    [&[0x00, 0x20, 0x00, 0x90, 0x08][..], &padded(pin)].concat()
}

#[test]
fn faults_and_timing_from_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    drop(VirtualCard::create_in(&folder.join("CARD"), sample::personalisation().unwrap()).unwrap());
    for wrong in [["--fault", "explode@0"], ["--fault", "mute"], ["--timing", "fast"]] {
        let output = run(folder, &[&["vpcd", "CARD", "--port", "1"], &wrong[..]].concat());
        assert!(!output.status.success());
        let words = String::from_utf8(output.stderr).unwrap();
        assert!(words.contains(wrong[1]), "{words}");
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let arguments = ["vpcd", "CARD", "--port", &port, "--timing", "real*0.01"];
    let faults = ["--fault", "status=6F00@1", "--fault", "tear-lost=1@ins:20"];
    let mut plugged = command(folder, &[&arguments[..], &faults].concat()).spawn().unwrap();
    let mut reader = listener.accept().unwrap().0;
    let random = [0x00, 0x84, 0x00, 0x00, 0x08];
    assert_eq!(exchange(&mut reader, &random).len(), 10);
    assert_eq!(exchange(&mut reader, &random), [0x6F, 0x00]);
    let torn = verify(12_345);
    let length = u16::try_from(torn.len()).unwrap().to_be_bytes();
    reader.write_all(&[&length[..], &torn].concat()).unwrap();
    assert_eq!(reader.read(&mut [0; 2]).unwrap(), 0, "the card is out");
    let mut lines = BufReader::new(plugged.stderr.take().unwrap()).lines();
    assert_eq!(lines.nth(1).unwrap().unwrap(), "cns-card: pulled out");
    terminate(plugged);
    let mut card = VirtualCard::open(&folder.join("CARD")).unwrap();
    assert_eq!(card.transmit(&[0x00, 0x20, 0x00, 0x90]), [0x63, 0xC2], "the try was taken, nothing else");
}

#[test]
fn a_card_may_demand_secure_messaging() {
    let folder = workplace();
    let folder = folder.path();
    let create = |keys: &str| {
        fs::write(folder.join("keys"), keys).unwrap();
        run(folder, &[&CREATE[..6], &["--secure-messaging", "keys"]].concat())
    };
    let (long, short) = ("0123456789ABCDEFFEDCBA9876543210", "0011223344556677");
    let more = format!("{long}\n{long}\n{long}\n");
    for wrong in ["", long, "0011\n0011\n", &format!("{long}\nxx{}", &long[2..]), &more, &"0".repeat(300)] {
        let output = create(wrong);
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && !told.contains(long), "{wrong}: {told}");
        assert!(!folder.join("CARD").exists(), "{wrong}");
    }
    assert!(create(&format!("{long}\n{short}\n")).status.success());
    let mut card = VirtualCard::open(&folder.join("CARD")).unwrap();
    let information = card.transmit(&[0x00, 0xA4, 0x08, 0x00, 0x02, 0x14, 0x00, 0x00]);
    let conditions = information.windows(26).find(|window| window.starts_with(&[0xCB, 0x18])).unwrap();
    assert_eq!(conditions[4..6], [0x06, 0x07]);
    assert_eq!((&conditions[14..16], &conditions[16..18]), (&[6, 7][..], &[6, 7][..]));
}

#[test]
fn a_bad_trace_is_refused_with_the_line_and_without_its_content() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |text: &str| {
        fs::write(folder.path().join("trace.txt"), text).unwrap();
        let output = run(folder.path(), &["from-trace", "trace.txt", "--path", "nowhere.sock"]);
        assert!(!output.status.success(), "{text}");
        String::from_utf8(output.stderr).unwrap()
    };
    let atr = "# ATR: 3B00\n";
    assert!(refused(&format!("{atr}\n> 00A4\n")).contains("trace.txt: line 3: a command has 4 to"));
    let pin = refused(&format!("{atr}> 0020001005 3132333435\n< 9000\n"));
    assert!(pin.contains("line 2: a command that carries a PIN") && !pin.contains("3132"), "{pin}");
    assert!(refused("> 00A40000\n< 9000\n").contains("no `# ATR:` line"));
    assert!(refused(atr).contains("no exchange"));
    assert!(refused(&"#\n".repeat(3 << 20)).contains("longer than"));
    fs::write(folder.path().join("bytes.txt"), [0xFF, 0xFE]).unwrap();
    let output = run(folder.path(), &["from-trace", "bytes.txt"]);
    assert!(String::from_utf8(output.stderr).unwrap().contains("not text in UTF-8"));
}

#[test]
fn a_card_from_a_trace_is_plugged_in() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("trace.txt"), "# ATR: 3B00\n> 00A40000023F00\n< 9000\n").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let mut program = command(folder.path(), &["from-trace", "trace.txt", "--port", &port]).spawn().unwrap();
    let (mut reader, _) = listener.accept().unwrap();
    let mut answer = |frame: &[u8], length: usize| {
        reader.write_all(&[0, u8::try_from(frame.len()).unwrap()]).unwrap();
        reader.write_all(frame).unwrap();
        let mut answer = vec![0; length + 2];
        reader.read_exact(&mut answer).unwrap();
        answer.split_off(2)
    };
    assert_eq!(answer(&[4], 2), [0x3B, 0x00]);
    assert_eq!(answer(&[0x00, 0xA4, 0x00, 0x00, 0x02, 0x3F, 0x00], 2), [0x90, 0x00]);
    assert_eq!(answer(&[0x00, 0xA4, 0x00, 0x00, 0x02, 0x11, 0x00], 2), [0x6A, 0x82]);
    program.kill().unwrap();
    program.wait().unwrap();
}
