//! The report on a card that may be unknown (`real-cards` §3.3): what is where, without PIN and without personal data.
//!
//! Only SELECT FILE is sent, READ BINARY of four bytes of certificates and of the directories of the object store, and,
//! if that was agreed to, VERIFY without a value. What comes back goes through the recorder that keeps no more than is
//! harmless, so that a card with other contents in these places gives nothing away either.

use cns_apdu::command::{ReadBinary, SelectBy, SelectFile, SelectResponse};
use cns_apdu::file_map::{self, Fid, FilePath};
use cns_apdu::object_directory;
use cns_apdu::trace::{Recorder, Session, Trace, cleaned_atr};
use cns_apdu::transmit::{Channel, Limits, TransmitError, Transport};
use cns_apdu::{CardCommand, CommandApdu, Form};

use super::CardError;
use crate::reader::Slot;

/// Files whose place is asked for and whose content is nobody's business.
const PLACES: [FilePath; 3] = [file_map::ID_CARD, file_map::PERSONAL_DATA, file_map::TOKEN_INFORMATION];
/// Where certificates are, on one card or another.
const CERTIFICATES: [FilePath; 4] = [
    file_map::AUTHENTICATION_CERTIFICATE,
    file_map::STORED_CERTIFICATE,
    file_map::SIGNATURE_CERTIFICATE,
    FilePath::fixed(&[Fid(0x2FFF), Fid(0x8228)]),
];
const DIRECTORIES: [FilePath; 2] = [file_map::PUBLIC_OBJECT_DIRECTORY, file_map::PRIVATE_OBJECT_DIRECTORY];
/// The applications that were seen on cards of this kind.
const APPLICATIONS: [&[u8]; 9] = [
    &[0xA0, 0x00, 0x00, 0x05, 0x30, 0x00, 0x0B, 0x10, 0x40, 0x01, 0x02, 0x1A],
    &[0xA0, 0x00, 0x00, 0x05, 0x30, 0x00, 0x0B, 0x10, 0x40, 0x01, 0x01, 0x1B],
    ESIGN,
    &[0xA0, 0x00, 0x00, 0x00, 0x95, 0x01, 0x00, 0x4D],
    &[0xA0, 0x00, 0x00, 0x02, 0x47, 0x10, 0x01],
    GENERIC,
    &[0xA0, 0x00, 0x00, 0x00, 0x77, 0x01, 0x03, 0x00, 0x06, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02],
    b"\xA0\x00\x00\x01dASEPCOS\x00",
    b"\xA0\x00\x00\x00cPKCS-15",
];
const ESIGN: &[u8] = b"\xA0\x00\x00\x050ESIGN";
const GENERIC: &[u8] = &[0xE8, 0x28, 0xBD, 0x08, 0x0F, 0x01, 0x4E, 0x58, 0x50, 0x30];
/// References of PIN, PUK and signature PIN.
const REFERENCES: [u8; 3] = [0x10, 0x11, 0x1A];
/// The most certificates of a directory that are looked at.
const MOST_CERTIFICATES: usize = 8;

/// Looks at a card that was just reset. `ask_tries` allows VERIFY without a value, which costs no try by the standard
/// and is not proven harmless on every chip (quirk 19).
pub(crate) fn probe(
    link: &mut dyn Transport<Error = CardError>,
    ask_tries: bool,
    recorder: &mut Recorder,
) -> Result<(), CardError> {
    recorder.reset();
    let mut probe = Probe(Channel::new(Recorded { link, recorder }, Limits::SHORT));
    probe.note("files of the card's own application");
    for path in &PLACES {
        probe.select(SelectFile::path(path.clone()))?;
    }
    for path in &CERTIFICATES {
        probe.certificate(SelectFile::path(path.clone()))?;
    }
    for path in &DIRECTORIES {
        probe.directory(path)?;
    }
    if ask_tries {
        probe.note("tries left, asked for without a value");
        for reference in REFERENCES {
            probe.ask_tries(reference)?;
        }
    }
    probe.note("applications by their names");
    for name in APPLICATIONS {
        probe.application(name)?;
    }
    Ok(())
}

/// A link that records.
struct Recorded<'a> {
    link: &'a mut dyn Transport<Error = CardError>,
    recorder: &'a mut Recorder,
}

impl Transport for Recorded<'_> {
    type Error = CardError;

    fn exchange(&mut self, command: &[u8]) -> Result<Vec<u8>, CardError> {
        let answer = self.link.exchange(command)?;
        self.recorder.exchange(command, &answer);
        Ok(answer)
    }
}

struct Probe<'a>(Channel<Recorded<'a>>);

impl Probe<'_> {
    /// A comment for the next exchange.
    fn note(&mut self, note: &'static str) {
        self.0.transport_mut().recorder.note(note);
    }

    /// Sends a command in the short form; gives the data if the card accepts.
    fn send(&mut self, apdu: &CommandApdu) -> Result<Option<Vec<u8>>, CardError> {
        let response = match self.0.transmit(apdu) {
            Ok(response) => response,
            Err(TransmitError::Transport(error)) => return Err(error),
            Err(TransmitError::Apdu(error)) => return Err(error.into()),
            // Recorded as it is, and of no use.
            Err(TransmitError::Response(_) | TransmitError::Endless | TransmitError::Command(_)) => {
                return Ok(None);
            }
        };
        let (data, status) = response.into_parts();
        Ok(matches!(status.0, 0x9000 | 0x6282 | 0x6283).then_some(data))
    }

    /// VERIFY without a value. Sent as it is and once: with another length it would be another command on some cards.
    fn ask_tries(&mut self, reference: u8) -> Result<(), CardError> {
        let command = CommandApdu::new(0x20, 0x00, reference).expecting(256).to_bytes(Form::Short)?;
        self.0.transport_mut().exchange(command.expose()).map(drop)
    }

    /// Whether the card accepts a selection.
    fn select(&mut self, select: SelectFile) -> Result<bool, CardError> {
        Ok(self.send(&select.encode()?)?.is_some())
    }

    fn certificate(&mut self, select: SelectFile) -> Result<(), CardError> {
        if self.select(select)? {
            self.read(4)?;
        }
        Ok(())
    }

    fn read(&mut self, length: u32) -> Result<Option<Vec<u8>>, CardError> {
        self.send(&ReadBinary { offset: 0, length }.encode()?)
    }

    /// A directory of the object store, and the certificates that it lists.
    fn directory(&mut self, path: &FilePath) -> Result<(), CardError> {
        if !self.select(SelectFile::path(path.clone()))? {
            return Ok(());
        }
        let length = u32::try_from(object_directory::FILE_LENGTH).unwrap_or(u32::MAX);
        let Some(records) = self.read(length)? else { return Ok(()) };
        let (records, _) = records.as_chunks::<{ object_directory::SLOT_LENGTH }>();
        let listed = records.iter().filter_map(|record| match *record {
            [0xFF, 0x20, low, _, _] => Some(Fid(u16::from_be_bytes([0x20, low]))),
            _ => None,
        });
        let others: Vec<_> = listed.map(|file| file_map::PUBLIC_OBJECTS_DF.child(file)).collect();
        for certificate in
            others.into_iter().filter(|path| !CERTIFICATES.contains(path)).take(MOST_CERTIFICATES)
        {
            self.certificate(SelectFile::path(certificate))?;
        }
        Ok(())
    }

    /// An application, and the certificates that are in it on the cards that have it.
    fn application(&mut self, name: &[u8]) -> Result<(), CardError> {
        if !self.select(SelectFile::application(name))? {
            return Ok(());
        }
        let in_it = |mode| SelectFile { mode, response: SelectResponse::Fci };
        if name == ESIGN {
            let numbers = (0xC001..=0xC003).map(Fid);
            for file in numbers {
                self.certificate(in_it(SelectBy::Path(file_map::ESIGN_CERTIFICATES_DF.child(file))))?;
            }
            self.select(in_it(SelectBy::Path(file_map::ESIGN_CARD_NUMBER)))?;
        } else if name == GENERIC {
            for file in [Fid(0x0001), Fid(0x0002)] {
                self.certificate(in_it(SelectBy::File(file)))?;
            }
        } else {
            for path in [file_map::ID_CARD, file_map::PERSONAL_DATA] {
                self.select(SelectFile::path(path))?;
            }
            self.certificate(SelectFile::path(file_map::AUTHENTICATION_CERTIFICATE))?;
        }
        Ok(())
    }
}

/// What was recorded, as text.
pub(crate) fn text(slot: &Slot, atr: Option<&[u8]>, source: &str, sessions: Vec<Session>) -> String {
    let card = match slot.card() {
        Ok(contents) => format!("cnsd takes it for {}", contents.card.generation),
        Err(_) => "cnsd does not know it".to_owned(),
    };
    let trace = Trace {
        card: Some(card),
        atrs: atr.map(cleaned_atr).into_iter().collect(),
        source: Some(format!("{source}, cnsd {}", env!("CARGO_PKG_VERSION"))),
        sessions,
    };
    trace.to_string()
}
