//! Firefox's remote control: JSON over TCP, each message after its length and a colon
//! (<https://firefox-source-docs.mozilla.org/testing/marionette/Protocol.html>).

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use cns_secret::Secret;
use serde_json::{Value, json};

use crate::Result;
use crate::error::{During, Error};
use crate::stage::patience;

/// The longest message that is taken, in bytes.
const MAX_MESSAGE: usize = 1024 * 1024;

/// How long an answer may take; a navigation waits for the card.
const LIMIT: Duration = patience(60);

/// A connection to Firefox.
pub(super) struct Marionette {
    stream: TcpStream,
    last: u64,
}

impl Marionette {
    /// Takes over a connection that Firefox has accepted, and opens a session that takes any server's certificate.
    pub(super) fn begin(stream: TcpStream) -> Result<Self> {
        stream.set_read_timeout(Some(LIMIT)).during("limiting the wait for Firefox")?;
        stream.set_write_timeout(Some(LIMIT)).during("limiting the wait for Firefox")?;
        let mut marionette = Self { stream, last: 0 };
        let greeting = marionette.receive()?;
        if greeting.get("marionetteProtocol") != Some(&3.into()) {
            return Err(Error::Wrong(format!("Firefox speaks another protocol: {greeting}")));
        }
        marionette.command("WebDriver:NewSession", &json!({ "acceptInsecureCerts": true }))?;
        Ok(marionette)
    }

    /// Runs a command.
    pub(super) fn command(&mut self, name: &str, parameters: &Value) -> Result<Value> {
        self.last += 1;
        let message = json!([0, self.last, name, parameters]).to_string();
        self.send(&[message.as_bytes()])?;
        self.answer(name)
    }

    /// Runs a script of the browser's own rights; its value.
    pub(super) fn in_chrome(&mut self, script: &str) -> Result<Value> {
        self.command("Marionette:SetContext", &json!({ "value": "chrome" }))?;
        let value = self.command("WebDriver:ExecuteScript", &json!({ "script": script, "args": [] }))?;
        Ok(value.get("value").cloned().unwrap_or_default())
    }

    /// As [`Marionette::in_chrome`], with a secret of digits as the script's only argument.
    pub(super) fn in_chrome_with(&mut self, script: &str, secret: &Secret) -> Result<()> {
        self.command("Marionette:SetContext", &json!({ "value": "chrome" }))?;
        self.last += 1;
        let name = "WebDriver:ExecuteScript";
        let script = Value::from(script);
        let before = format!("[0,{},\"{name}\",{{\"script\":{script},\"args\":[\"", self.last);
        self.send(&[before.as_bytes(), secret.expose(), b"\"]}]"])?;
        self.answer(name).map(drop)
    }

    /// Goes to a page; its text.
    pub(super) fn visit(&mut self, address: &str) -> Result<String> {
        self.command("Marionette:SetContext", &json!({ "value": "content" }))?;
        self.command("WebDriver:Navigate", &json!({ "url": address }))?;
        let script =
            json!({ "script": "return [document.documentURI, document.body.textContent];", "args": [] });
        let end = Instant::now() + LIMIT;
        loop {
            let value = match self.command("WebDriver:ExecuteScript", &script) {
                // A page that goes while the script runs in it takes the script along.
                Err(Error::Wrong(_)) if Instant::now() < end => Value::Null,
                answer => answer?,
            };
            let part = |pointer| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            // A page of Firefox's own, from its start, may still be in the way.
            if part("/value/0") == address || Instant::now() > end {
                return Ok(part("/value/1").trim().to_owned());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn send(&mut self, parts: &[&[u8]]) -> Result<()> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let what = "telling Firefox something";
        self.stream.write_all(format!("{length}:").as_bytes()).during(what)?;
        parts.iter().try_for_each(|part| self.stream.write_all(part)).during(what)
    }

    fn answer(&mut self, name: &str) -> Result<Value> {
        let answer = self.receive()?;
        if answer.get(1) != Some(&self.last.into()) {
            return Err(Error::Wrong(format!("Firefox answers something else to {name}: {answer}")));
        }
        match answer.get(2) {
            None | Some(Value::Null) => Ok(answer.get(3).cloned().unwrap_or_default()),
            Some(error) => Err(Error::Wrong(format!("Firefox refuses {name}: {error}"))),
        }
    }

    fn receive(&mut self) -> Result<Value> {
        let what = "listening to Firefox";
        let mut length = 0_usize;
        loop {
            let mut byte = [0];
            self.stream.read_exact(&mut byte).during(what)?;
            match byte {
                [digit @ b'0'..=b'9'] if length <= MAX_MESSAGE => {
                    length = length * 10 + usize::from(digit - b'0')
                }
                [b':'] if length <= MAX_MESSAGE => break,
                _ => return Err(Error::Wrong("Firefox sends no message that can be read".into())),
            }
        }
        let mut message = vec![0; length];
        self.stream.read_exact(&mut message).during(what)?;
        serde_json::from_slice(&message)
            .map_err(|error| Error::Wrong(format!("Firefox sends no JSON: {error}")))
    }
}
