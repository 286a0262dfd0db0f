//! A tap on the daemon's socket: a copy of all that crosses it in both directions, and what of it may be secret.

use std::collections::{BTreeMap, HashMap};
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use memchr::memmem;
use serde_json::Value;

use crate::Result;
use crate::error::{During, Error};
use crate::office;

/// The daemon's own description of its methods.
const DESCRIPTION: &str = include_str!("../../../../docs/openrpc.json");

/// What has crossed one connection.
#[derive(Clone, Default)]
struct Connection {
    asked: Vec<u8>,
    answered: Vec<u8>,
}

/// A socket in front of the daemon's that keeps a copy of all that crosses it.
pub(super) struct Tap {
    connections: Arc<Mutex<Vec<Connection>>>,
}

/// What has crossed the socket, parted by what the description says.
#[derive(Default)]
pub(super) struct Crossed {
    /// What was asked, but the fields below.
    pub(super) asked: Vec<u8>,
    /// What was answered, but the fields below.
    pub(super) answered: Vec<u8>,
    /// What stood in the fields by which a secret enters: a line each.
    pub(super) entered: Vec<u8>,
    /// What stood in the fields by which a secret leaves for its owner.
    pub(super) left: Vec<u8>,
    pub(super) frames: usize,
}

impl Tap {
    /// Listens at `socket` and passes everything on to `daemon`.
    pub(super) fn start(socket: PathBuf, daemon: PathBuf) -> Result<Self> {
        let listener = UnixListener::bind(&socket).during("opening a tap on the socket")?;
        let connections = Arc::<Mutex<Vec<Connection>>>::default();
        let record = Arc::clone(&connections);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(std::io::Result::ok) {
                let Ok(server) = UnixStream::connect(&daemon) else { break };
                let (Ok(client_in), Ok(server_out)) = (client.try_clone(), server.try_clone()) else { break };
                let place = {
                    let mut all = record.lock().unwrap_or_else(PoisonError::into_inner);
                    all.push(Connection::default());
                    all.len() - 1
                };
                let keep = |side: fn(&mut Connection) -> &mut Vec<u8>| {
                    let record = Arc::clone(&record);
                    move |bytes: &[u8]| {
                        let mut all = record.lock().unwrap_or_else(PoisonError::into_inner);
                        if let Some(connection) = all.get_mut(place) {
                            side(connection).extend(bytes);
                        }
                    }
                };
                let (asked, answered) = (keep(|c| &mut c.asked), keep(|c| &mut c.answered));
                std::thread::spawn(move || pass_on(client_in, server_out, asked));
                std::thread::spawn(move || pass_on(server, client, answered));
            }
        });
        Ok(Self { connections })
    }

    /// What has crossed so far, by `fields`.
    pub(super) fn crossed(&self, fields: &SecretFields) -> Crossed {
        let connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut crossed = Crossed::default();
        for connection in connections {
            crossed.add(&connection, fields);
        }
        crossed
    }
}

fn pass_on(mut from: UnixStream, mut to: UnixStream, keep: impl Fn(&[u8])) {
    let mut buffer = [0; 4096];
    while let Ok(length) = from.read(&mut buffer) {
        let Some(bytes) = buffer.get(..length).filter(|bytes| !bytes.is_empty()) else { break };
        keep(bytes);
        if to.write_all(bytes).is_err() {
            break;
        }
    }
    to.shutdown(std::net::Shutdown::Both).unwrap_or_default();
}

/// The fields that the description calls secret, by method.
pub(super) struct SecretFields {
    asked: BTreeMap<String, Vec<String>>,
    answered: BTreeMap<String, Vec<String>>,
}

impl SecretFields {
    /// Reads them from the daemon's description.
    pub(super) fn described() -> Result<Self> {
        let description = office::parse(DESCRIPTION)?;
        let mut fields = Self { asked: BTreeMap::new(), answered: BTreeMap::new() };
        let methods = description.get("methods").and_then(Value::as_array);
        for method in methods.into_iter().flatten() {
            let Some(name) = method.get("name").and_then(Value::as_str) else { continue };
            let parameters = method.get("params").and_then(Value::as_array).into_iter().flatten();
            let secret = parameters.filter(|parameter| refers_to(parameter, "SecretText"));
            let names = secret.filter_map(|p| p.get("name")?.as_str().map(str::to_owned)).collect();
            fields.asked.insert(name.to_owned(), names);
            let result = method.pointer("/result/schema/$ref").and_then(Value::as_str).unwrap_or_default();
            let schema = description.pointer(result.trim_start_matches('#'));
            let members = schema.and_then(|schema| schema.get("properties")?.as_object());
            let secret = members.into_iter().flatten().filter(|(_, member)| refers_to(member, "SecretBytes"));
            fields.answered.insert(name.to_owned(), secret.map(|(name, _)| name.clone()).collect());
        }
        if fields.asked.values().all(Vec::is_empty) || fields.answered.values().all(Vec::is_empty) {
            return Err(Error::Wrong("the description names no field for a secret".into()));
        }
        Ok(fields)
    }
}

fn refers_to(value: &Value, schema: &str) -> bool {
    value.to_string().contains(&format!("\"#/components/schemas/{schema}\""))
}

impl Crossed {
    fn add(&mut self, connection: &Connection, fields: &SecretFields) {
        let mut methods = HashMap::new();
        let (bodies, rest) = frames(&connection.asked);
        self.asked.extend(rest);
        for body in bodies {
            self.frames += 1;
            let message = serde_json::from_slice::<Value>(body).unwrap_or_default();
            let method = message.get("method").and_then(Value::as_str).unwrap_or_default().to_owned();
            let names = fields.asked.get(&method).map(Vec::as_slice).unwrap_or_default();
            part(body, message.clone(), ("params", names), (&mut self.asked, &mut self.entered));
            methods.insert(message.get("id").map(Value::to_string), method);
        }
        let (bodies, rest) = frames(&connection.answered);
        self.answered.extend(rest);
        for body in bodies {
            self.frames += 1;
            let message = serde_json::from_slice::<Value>(body).unwrap_or_default();
            let method = methods.get(&message.get("id").map(Value::to_string));
            let names = method.and_then(|method| fields.answered.get(method)).map(Vec::as_slice);
            let place = ("result", names.unwrap_or_default());
            part(body, message, place, (&mut self.answered, &mut self.left));
        }
    }
}

/// The bodies of whole frames, and all the rest.
fn frames(mut bytes: &[u8]) -> (Vec<&[u8]>, Vec<u8>) {
    let (mut bodies, mut rest) = (Vec::new(), Vec::new());
    while let Some(end) = memmem::find(bytes, b"\r\n\r\n") {
        let (header, after) = bytes.split_at(end + 4);
        let text = String::from_utf8_lossy(header);
        let length = text.split("\r\n").find_map(|line| line.strip_prefix("Content-Length: ")?.parse().ok());
        let Some((body, after)) = length.and_then(|length: usize| after.split_at_checked(length)) else {
            break;
        };
        rest.extend(header);
        bodies.push(body);
        bytes = after;
    }
    rest.extend(bytes);
    (bodies, rest)
}

/// Takes the values of these fields out of a message; what is left goes to `open`, as it came and as it is read.
fn part(
    body: &[u8],
    mut message: Value,
    (place, names): (&str, &[String]),
    (open, secret): (&mut Vec<u8>, &mut Vec<u8>),
) {
    let mut taken = false;
    for name in names {
        if let Some(value) = message.get_mut(place).and_then(|place| place.get_mut(name)) {
            let value = value.take();
            taken |= !value.is_null();
            secret.extend(value.as_str().unwrap_or_default().as_bytes());
            secret.push(b'\n');
        }
    }
    if !taken {
        open.extend(body);
    }
    open.extend(message.to_string().as_bytes());
    open.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(text: &str) -> Vec<u8> {
        format!("Content-Length: {}\r\n\r\n{text}", text.len()).into_bytes()
    }

    fn crossed(asked: &str, answered: &str) -> (String, String) {
        let mut crossed = Crossed::default();
        let connection = Connection { asked: frame(asked), answered: frame(answered) };
        crossed.add(&connection, &SecretFields::described().unwrap());
        assert_eq!(crossed.frames, 2);
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (text([crossed.asked, crossed.answered].concat()), text([crossed.entered, crossed.left].concat()))
    }

    #[test]
    fn a_secret_is_allowed_in_its_own_field_and_nowhere_else() {
        let done = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
        let verify = |params: &str| {
            let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"pin.verify","params":{params}}}"#);
            crossed(&text, done)
        };
        let (open, secret) = verify(r#"{"reader":"r","pin":"12345678"}"#);
        assert!(!open.contains("12345678") && secret.contains("12345678") && open.contains("pin.verify"));
        for leak in
            [r#"{"reader":"12345678","pin":"1"}"#, r#"{"reader":"r","pin":"1","more":{"pin":"12345678"}}"#]
        {
            assert!(verify(leak).0.contains("12345678"), "{leak}");
        }
        let status = r#"{"jsonrpc":"2.0","id":1,"method":"pin.status","params":{"pin":"12345678"}}"#;
        assert!(crossed(status, done).0.contains("12345678"), "another method has no such field");
    }

    #[test]
    fn an_answer_is_allowed_a_secret_where_its_owner_opens_it() {
        let answer = r#"{"jsonrpc":"2.0","id":1,"result":{"puk":"ODc2NTQzMjE="}}"#;
        let asked = |method: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{}}}}"#);
        assert!(!crossed(&asked("puk.open"), answer).0.contains("ODc2NTQz"));
        assert!(crossed(&asked("puk.deliver"), answer).0.contains("ODc2NTQz"));
        let error = r#"{"jsonrpc":"2.0","id":1,"error":{"message":"12345678"}}"#;
        assert!(crossed(&asked("puk.open"), error).0.contains("12345678"));
    }

    #[test]
    fn what_is_no_frame_is_searched_too() {
        let mut all = Crossed::default();
        let connection = Connection { asked: b"12345678".to_vec(), answered: frame("not JSON 87654321") };
        all.add(&connection, &SecretFields::described().unwrap());
        let text = |bytes| String::from_utf8(bytes).unwrap();
        assert!(text(all.asked).contains("12345678") && text(all.answered).contains("87654321"));
    }
}
