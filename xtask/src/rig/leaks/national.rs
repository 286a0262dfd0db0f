//! Cards of other regions at this counter, and its cards at theirs (§8): the other side of both, and the two parts of a PUK.
//!
//! The first part is random digits and no secret, but belongs to who asked: it is in the answer, and in the table from which
//! that is answered again. The second belongs to the holder's mail alone: it is in the message that the mail connector is
//! handed, and nowhere else.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use cns_secret::Secret;
use serde_json::{Value, json};

use super::Hunt;
use super::cases::ask;
use crate::Result;
use crate::error::{During, Error};
use crate::office::{self, Holder};
use crate::rig::expect;
use crate::stage::Stage;

/// The line of a mail that has the second part.
const SECOND: &str = "Seconda parte / second part: ";
/// The most bytes of a request that are read.
const LONGEST: usize = 64 * 1024;

/// Another region's system: does what it is asked, and answers with a first part of its own.
pub(super) struct Region {
    posted: Arc<Mutex<Vec<u8>>>,
    /// The first parts that it gives out: of a PIN and of a PUK.
    first: [Secret; 2],
    url: String,
}

/// A PUK in two parts.
pub(super) struct Parts {
    pub(super) first: Secret,
    pub(super) second: Secret,
}

impl Region {
    /// Listens, on a thread of its own.
    pub(super) fn open() -> Result<Self> {
        let what = "opening another region's system";
        let listener = TcpListener::bind("127.0.0.1:0").during(what)?;
        let url = format!("http://{}/requests", listener.local_addr().during(what)?);
        let first = [office::random_digits(8)?, office::random_digits(8)?];
        let told = first.each_ref().map(|part| String::from_utf8_lossy(part.expose()).into_owned());
        let posted = Arc::<Mutex<Vec<u8>>>::default();
        let record = Arc::clone(&posted);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(std::io::Result::ok) {
                // Who asked may be gone, and asks again.
                converse(stream, &record, &told).unwrap_or_default();
            }
        });
        Ok(Self { posted, first, url })
    }

    /// What the daemon's configuration says of it, of the mail, and of who may ask from there.
    pub(super) fn configuration(&self, stage: &Stage) -> Result<String> {
        let spool = spool(stage);
        fs::create_dir(&spool).during("making the mail's folder")?;
        let user = rustix::process::geteuid().as_raw();
        Ok(format!(
            "\n[national]\nurl = \"{}\"\n\n[mail]\nfrom = \"ts@regione.example\"\nspool = {spool:?}\n\n\
             [[access]]\nrole = \"national-system\"\nusers = [\"{user}\"]\n",
            self.url
        ))
    }

    /// The first parts that it gave out.
    pub(super) fn first(&self) -> Result<[Secret; 2]> {
        let [pin, puk] = &self.first;
        Ok([pin.duplicate()?, puk.duplicate()?])
    }

    /// All that was posted to it.
    pub(super) fn posted(&self) -> Vec<u8> {
        self.posted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The folder of the mail.
pub(super) fn spool(stage: &Stage) -> PathBuf {
    stage.path("mail")
}

fn converse(mut stream: TcpStream, posted: &Mutex<Vec<u8>>, [pin, puk]: &[String; 2]) -> std::io::Result<()> {
    let Some(request) = read_request(&mut stream)? else { return Ok(()) };
    posted.lock().unwrap_or_else(PoisonError::into_inner).extend(&request);
    let request: Value = serde_json::from_slice(&request)?;
    let body = json!({ "id": request.get("id"), "accepted": true, "message": "done",
        "first_part": { "pin": pin, "puk": puk } })
    .to_string();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    stream.write_all([head.as_bytes(), body.as_bytes()].concat().as_slice())
}

/// The body of a request; nothing where it is none.
fn read_request(stream: &mut TcpStream) -> std::io::Result<Option<Vec<u8>>> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    while bytes.len() < LONGEST {
        let length = stream.read(&mut buffer)?;
        bytes.extend(buffer.get(..length).unwrap_or_default());
        if let Some((head, body)) = String::from_utf8_lossy(&bytes).split_once("\r\n\r\n") {
            let length = |line: &str| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok();
            let wanted: usize = head.lines().find_map(length).unwrap_or_default();
            if body.len() >= wanted {
                return Ok(Some(body.as_bytes().to_vec()));
            }
        }
        if length == 0 {
            break;
        }
    }
    Ok(None)
}

/// Asks the daemon for a duplicate of a card's codes, as another region's system does, and reads the mail that it hands over.
/// The same request again gets the same answer and no second mail.
pub(super) fn receive(stage: &mut Stage, holder: &Holder, puk: &Secret) -> Result<Parts> {
    let request = json!({ "jsonrpc": "2.0", "id": 1, "method": "national.receive", "params": {
        "id": format!("request-{}", holder.id_card),
        "request": { "kind": "duplicate", "card": holder.id_card, "codice_fiscale": holder.codice_fiscale,
            "email": "grazia@example.it" } } })
    .to_string();
    let first =
        |answer: &Value| answer.pointer("/result/first_part/puk").and_then(Value::as_str).map(str::to_owned);
    let answer = ask(stage, &[request.as_bytes()])?;
    let told = first(&answer).ok_or_else(|| Error::Wrong(format!("no first part: {answer}")))?;
    let mail = stage.wait_for("the mail with the second part", 20, |stage| {
        let mut files = fs::read_dir(spool(stage)).during("reading the mail's folder")?;
        Ok(files
            .find_map(|file| Some(file.ok()?.path()).filter(|path| path.extension() == Some("eml".as_ref()))))
    })?;
    let text = fs::read_to_string(&mail).during("reading a mail")?;
    let second = text.lines().find_map(|line| line.strip_prefix(SECOND)).unwrap_or_default();
    fs::remove_file(&mail).during("sending a mail")?;
    let parts =
        Parts { first: Secret::copy_from(told.as_bytes())?, second: Secret::copy_from(second.as_bytes())? };
    expect(parts.make(puk), || "the two parts do not make the PUK".into())?;
    let again = ask(stage, &[request.as_bytes()])?;
    expect(first(&again).as_ref() == Some(&told), || format!("another answer: {again}"))?;
    std::thread::sleep(std::time::Duration::from_secs(1));
    let mails = fs::read_dir(spool(stage)).during("reading the mail's folder")?.count();
    expect(mails == 0, || "a second mail for one request".into())?;
    Ok(parts)
}

impl Parts {
    /// Whether they add up to this, digit by digit and without carrying.
    fn make(&self, whole: &Secret) -> bool {
        let digits = self.first.expose().iter().zip(self.second.expose());
        let added = digits.map(|(one, other)| b'0' + (one.wrapping_add(*other).wrapping_sub(2 * b'0')) % 10);
        self.first.len() == whole.len()
            && self.second.len() == whole.len()
            && added.eq(whole.expose().iter().copied())
    }

    /// A hunt for what is no secret and stands in answers, with other first parts.
    pub(super) fn hunt(parts: &[Self], others: &[Secret]) -> Result<Hunt> {
        let given = parts.iter().map(|parts| ("first part of a PUK that we gave out", &parts.first));
        let others = others.iter().map(|part| ("first part that another region gave out", part));
        let all: Result<Vec<_>> =
            given.chain(others).map(|(name, part)| Ok((name.to_owned(), part.duplicate()?))).collect();
        Hunt::of(&all?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_add_up_without_carrying() {
        let secret = |digits: &[u8]| Secret::copy_from(digits).unwrap();
        let parts = Parts { first: secret(b"70000005"), second: secret(b"50000009") };
        assert!(parts.make(&secret(b"20000004")));
        for other in [b"20000005".as_slice(), b"2000000", b"120000014"] {
            assert!(!parts.make(&secret(other)));
        }
    }

    #[test]
    fn a_region_reads_a_request_and_answers_with_its_first_parts() {
        let region = Region::open().unwrap();
        let address = region.url.strip_prefix("http://").unwrap().strip_suffix("/requests").unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"POST /requests HTTP/1.1\r\nContent-Length: 13\r\n\r\n{\"id\":").unwrap();
        stream.write_all(b"\"5f00\"}").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let body: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        assert_eq!((&body["id"], &body["accepted"]), (&json!("5f00"), &json!(true)));
        let [_, puk] = region.first().unwrap();
        assert_eq!(body["first_part"]["puk"].as_str().unwrap().as_bytes(), puk.expose());
        assert_eq!(region.posted(), b"{\"id\":\"5f00\"}");
    }
}
