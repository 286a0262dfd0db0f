//! The text of a trace, read and written line by line.

use std::fmt::{self, Formatter};
use std::mem;

use super::{
    CommandMask, Exchange, Gap, Kind, LONGEST_TEXT, MOST_EXCHANGES, Missing, Trace, TraceError, TraceFault,
    Zeroed,
};
use crate::secure_messaging::is_secure;
use crate::status::StatusWord;
use crate::tlv::{self, Lengths};
use crate::{command_apdu, response_apdu};

const LONGEST_COMMAND: usize = 65_544;
const LONGEST_ATR: usize = 33;
/// CHANGE REFERENCE DATA, RESET RETRY COUNTER and VERIFY.
const CARRY_A_PIN: [u8; 3] = [0x20, 0x24, 0x2C];

pub(super) fn parse(text: &str) -> Result<Trace, TraceError> {
    if text.len() > LONGEST_TEXT {
        return Err(TraceError { line: 1, fault: TraceFault::TooLong });
    }
    let mut reader = Reader::default();
    let mut line = 0;
    for (text, number) in text.lines().zip(1..) {
        line = number;
        reader.line(text.trim(), number).map_err(|fault| TraceError { line, fault })?;
    }
    reader.finish().map_err(|fault| TraceError { line: line.max(1), fault })
}

#[derive(Default)]
struct Reader {
    trace: Trace,
    exchanges: usize,
    /// Whether a directive has ended the header: what stands after one is a comment on an exchange.
    begun: bool,
    session: Vec<Exchange>,
    kind: Kind,
    gap: Option<Gap>,
    notes: Vec<String>,
    mask: CommandMask,
    command: Option<Exchange>,
    /// Whether the line before belongs to `# source:`.
    in_source: bool,
}

impl Reader {
    fn line(&mut self, text: &str, line: usize) -> Result<(), TraceFault> {
        let was_in_source = mem::take(&mut self.in_source);
        if let Some(directive) = text.strip_prefix("#@") {
            self.directive(directive.trim())
        } else if let Some(comment) = text.strip_prefix('#') {
            self.comment(comment, was_in_source)
        } else if let Some(bytes) = text.strip_prefix('>') {
            self.command(&hexadecimal(bytes)?, line)
        } else if let Some(bytes) = text.strip_prefix('<') {
            self.answer(&hexadecimal(bytes)?)
        } else if text.is_empty() {
            Ok(())
        } else {
            Err(TraceFault::Unknown)
        }
    }

    fn directive(&mut self, directive: &str) -> Result<(), TraceFault> {
        self.begun = true;
        let (key, value) = directive.split_once(char::is_whitespace).unwrap_or((directive, ""));
        match key {
            "kind" => self.kind = kind(value.trim())?,
            "reset" => {
                self.between_exchanges()?;
                self.gap = None;
                self.end_session();
            }
            "gap" => {
                self.between_exchanges()?;
                self.gap = Some(gap(value.trim())?);
            }
            "pin" => self.mask_next(CommandMask::Pin)?,
            "masked" => self.mask_next(CommandMask::Data)?,
            "data" => {
                let (length, what) = amount(value)?;
                self.open()?.missing = Some(Missing { length, what });
            }
            "zeroed" => {
                let (length, what) = amount(value)?;
                let length = length.ok_or(TraceFault::NoNumber)?;
                self.open()?.zeroed = Some(Zeroed { length, what });
            }
            _ => return Err(TraceFault::UnknownDirective),
        }
        Ok(())
    }

    /// The exchange whose answer comes next.
    fn open(&mut self) -> Result<&mut Exchange, TraceFault> {
        self.command.as_mut().ok_or(TraceFault::Misplaced)
    }

    fn between_exchanges(&self) -> Result<(), TraceFault> {
        match (&self.command, self.mask) {
            (Some(_), _) => Err(TraceFault::NoAnswer),
            (None, CommandMask::Pin | CommandMask::Data) => Err(TraceFault::Misplaced),
            (None, CommandMask::None) => Ok(()),
        }
    }

    fn mask_next(&mut self, mask: CommandMask) -> Result<(), TraceFault> {
        self.between_exchanges()?;
        self.mask = mask;
        Ok(())
    }

    fn comment(&mut self, comment: &str, in_source: bool) -> Result<(), TraceFault> {
        let in_header = !self.begun && self.exchanges == 0 && self.command.is_none();
        let text = one_line(comment);
        let text = text.trim();
        match text.split_once(':') {
            Some(("card", card)) if in_header && self.trace.card.is_none() => {
                self.trace.card = Some(card.trim().to_owned());
            }
            Some(("ATR", atr)) if in_header => {
                let atr = hexadecimal(atr)?;
                if !(2..=LONGEST_ATR).contains(&atr.len()) {
                    return Err(TraceFault::AtrLength);
                }
                self.trace.atrs.push(atr);
            }
            Some(("source", source)) if in_header && self.trace.source.is_none() => {
                self.trace.source = Some(source.trim().to_owned());
                self.in_source = true;
            }
            // A line of the source that goes on is indented.
            _ if in_source && comment.starts_with("  ") => {
                if let Some(source) = &mut self.trace.source {
                    source.push(' ');
                    source.push_str(text);
                }
                self.in_source = true;
            }
            _ if text.is_empty() => {}
            _ => self.notes.push(text.to_owned()),
        }
        Ok(())
    }

    fn command(&mut self, command: &[u8], line: usize) -> Result<(), TraceFault> {
        if self.command.is_some() {
            return Err(TraceFault::NoAnswer);
        }
        if self.exchanges >= MOST_EXCHANGES {
            return Err(TraceFault::TooManyExchanges);
        }
        if !(4..=LONGEST_COMMAND).contains(&command.len()) {
            return Err(TraceFault::CommandLength);
        }
        let command_mask = mem::take(&mut self.mask);
        check_mask(command, command_mask)?;
        self.command = Some(Exchange {
            line,
            kind: self.kind,
            after_gap: self.gap.take(),
            notes: mem::take(&mut self.notes),
            command: command.to_vec(),
            command_mask,
            data: Vec::new(),
            missing: None,
            zeroed: None,
            status: StatusWord::SUCCESS,
        });
        Ok(())
    }

    fn answer(&mut self, answer: &[u8]) -> Result<(), TraceFault> {
        let mut exchange = self.command.take().ok_or(TraceFault::NoCommand)?;
        let (data, status) = answer.split_last_chunk::<2>().ok_or(TraceFault::AnswerLength)?;
        let missing = exchange.missing.as_ref().and_then(|missing| missing.length).unwrap_or_default();
        if answer.len().saturating_add(missing) > response_apdu::LONGEST {
            return Err(TraceFault::AnswerLength);
        }
        exchange.data = data.to_vec();
        exchange.status = StatusWord(u16::from_be_bytes(*status));
        exchange.notes.append(&mut self.notes);
        self.session.push(exchange);
        self.exchanges += 1;
        Ok(())
    }

    fn end_session(&mut self) {
        let session = mem::take(&mut self.session);
        if !session.is_empty() {
            self.trace.sessions.push(session);
        }
    }

    fn finish(mut self) -> Result<Trace, TraceFault> {
        self.between_exchanges()?;
        self.end_session();
        Ok(self.trace)
    }
}

fn kind(name: &str) -> Result<Kind, TraceFault> {
    match name {
        "capture" => Ok(Kind::Capture),
        "driver" => Ok(Kind::Driver),
        "inferred" => Ok(Kind::Inferred),
        _ => Err(TraceFault::UnknownKind),
    }
}

fn gap(value: &str) -> Result<Gap, TraceFault> {
    if value.is_empty() {
        return Ok(Gap::default());
    }
    let name = value.strip_prefix("application").ok_or(TraceFault::Gap)?;
    let name = hexadecimal(name)?;
    let fits = (1..=16).contains(&name.len());
    fits.then_some(Gap { application: Some(name) }).ok_or(TraceFault::Gap)
}

/// `N text`, where N is `?` for an amount that nobody told.
fn amount(value: &str) -> Result<(Option<usize>, String), TraceFault> {
    let value = value.trim();
    let (number, what) = value.split_once(char::is_whitespace).unwrap_or((value, ""));
    let length = match number {
        "?" => None,
        digits => Some(digits.parse().ok().filter(|length| *length <= 65_536).ok_or(TraceFault::NoNumber)?),
    };
    Ok((length, what.trim().to_owned()))
}

/// Bytes in hexadecimal, with spaces wherever they help.
fn hexadecimal(text: &str) -> Result<Vec<u8>, TraceFault> {
    let digits: String = text.chars().filter(|digit| !digit.is_whitespace()).collect();
    hex::decode(digits).map_err(|_| TraceFault::NotHexadecimal)
}

/// Whether the data is a cryptogram under secure messaging: `87`, lengths and MAC, and nothing that may be in clear.
fn is_enciphered(cla: u8, data: &[u8]) -> bool {
    let Ok(objects) = tlv::elements(data, Lengths::Ber) else { return false };
    let is_cryptogram =
        |value: &[u8]| value.len() > 1 && value.len() % 8 == 1 && value.first() == Some(&0x01);
    let (cryptograms, others): (Vec<_>, Vec<_>) = objects.into_iter().partition(|object| object.tag == 0x87);
    is_secure(cla)
        && matches!(cryptograms.as_slice(), [one] if is_cryptogram(one.value))
        && others.iter().all(|object| match object.tag {
            0x8E => object.value.len() == 8,
            0x96 | 0x97 => object.value.len() <= 2,
            _ => false,
        })
}

/// Whether no PIN can stand in the command.
fn check_mask(command: &[u8], mask: CommandMask) -> Result<(), TraceFault> {
    let &[cla, ins, _, _, ref body @ ..] = command else { return Err(TraceFault::CommandLength) };
    // Where the lengths make no sense, all of it counts as data.
    let (data, _) = command_apdu::split_body(body).unwrap_or((body, None));
    match mask {
        CommandMask::Pin if data.iter().all(|byte| matches!(byte, 0x30 | 0xFF)) => Ok(()),
        CommandMask::Pin => Err(TraceFault::PinInClear),
        CommandMask::Data if data.iter().all(|byte| *byte == 0) => Ok(()),
        CommandMask::Data => Err(TraceFault::NotMasked),
        CommandMask::None if CARRY_A_PIN.contains(&ins) && !data.is_empty() && !is_enciphered(cla, data) => {
            Err(TraceFault::PinUnmarked)
        }
        CommandMask::None => Ok(()),
    }
}

pub(super) fn write(trace: &Trace, f: &mut Formatter<'_>) -> fmt::Result {
    if let Some(card) = &trace.card {
        writeln!(f, "# card: {}", one_line(card))?;
    }
    for atr in &trace.atrs {
        writeln!(f, "# ATR: {}", hex::encode_upper(atr))?;
    }
    if let Some(source) = &trace.source {
        writeln!(f, "# source: {}", one_line(source))?;
    }
    for session in &trace.sessions {
        f.write_str("\n#@ reset\n")?;
        let mut kind = None;
        for exchange in session {
            if kind.replace(exchange.kind) != Some(exchange.kind) {
                writeln!(f, "#@ kind {}", exchange.kind.name())?;
            }
            match &exchange.after_gap {
                None => {}
                Some(Gap { application: None }) => f.write_str("#@ gap\n")?,
                Some(Gap { application: Some(name) }) => {
                    writeln!(f, "#@ gap application {}", hex::encode_upper(name))?;
                }
            }
            write_exchange(exchange, f)?;
        }
    }
    Ok(())
}

/// How long an exchange is as text inside of a JSON string, without the directives that depend on its neighbours.
pub(super) fn length_in_json(exchange: &Exchange) -> usize {
    #[derive(Default)]
    struct Counter(usize);

    impl fmt::Write for Counter {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            let escaped = text.bytes().filter(|byte| matches!(byte, b'\n' | b'"' | b'\\')).count();
            self.0 = self.0.saturating_add(text.len()).saturating_add(escaped);
            Ok(())
        }
    }

    let mut counter = Counter::default();
    // A counter takes everything.
    write_exchange(exchange, &mut counter).unwrap_or_default();
    counter.0
}

fn write_exchange(exchange: &Exchange, f: &mut impl fmt::Write) -> fmt::Result {
    for note in &exchange.notes {
        writeln!(f, "# {}", one_line(note))?;
    }
    match exchange.command_mask {
        CommandMask::None => {}
        CommandMask::Pin => f.write_str("#@ pin\n")?,
        CommandMask::Data => f.write_str("#@ masked\n")?,
    }
    writeln!(f, "> {}", hex::encode_upper(&exchange.command))?;
    if let Some(Zeroed { length, what }) = &exchange.zeroed {
        writeln!(f, "#@ zeroed {length} {}", one_line(what))?;
    }
    if let Some(Missing { length, what }) = &exchange.missing {
        match length {
            Some(length) => writeln!(f, "#@ data {length} {}", one_line(what))?,
            None => writeln!(f, "#@ data ? {}", one_line(what))?,
        }
    }
    f.write_str("< ")?;
    for byte in exchange.data.iter().chain(&exchange.status.to_bytes()) {
        write!(f, "{byte:02X}")?;
    }
    f.write_char('\n')
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Capture => "capture",
            Self::Driver => "driver",
            Self::Inferred => "inferred",
        }
    }
}

/// Nothing in a comment may start a line of its own.
fn one_line(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}
