//! A chip inside a transaction: commands, selections, whole files.

use cns_apdu::command::{CreateFile, ReadBinary, SelectBy, SelectFile, SelectResponse};
use cns_apdu::fci::FileControlInformation;
use cns_apdu::file_map::{FilePath, MASTER_FILE};
use cns_apdu::generation::{FilePlace, Generation};
use cns_apdu::transmit::{Channel, Limits, TransmitError};
use cns_apdu::{CardCommand, StatusWord};

use super::CardError;
use crate::reader::{Metered, PinOrder};

/// The longest file that is read: READ BINARY's offset has 15 bits.
const LONGEST_FILE: usize = 0x8000;
/// What one READ BINARY of the short form brings at most.
const SHORT_STEP: u32 = 256;
/// What one READ BINARY of the extended form brings at most.
const EXTENDED_STEP: u32 = 65_536;

/// How often a SELECT FILE or READ BINARY is sent that a chip refuses without a reason (`real-cards` §4, 27).
const ATTEMPTS: u32 = 3;

/// How a file is named in SELECT FILE (`real-cards` §4, 5).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Naming {
    /// By its path from the MF.
    Path,
    /// One identifier after the other, the MF first: every chip takes that.
    Steps,
}

/// The application that is selected.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Application {
    /// Another program may have selected one.
    Unknown,
    /// This one; nothing is the one that a reset selects.
    Known(Option<&'static [u8]>),
}

/// A chip inside a transaction.
pub(crate) struct Chip<'a> {
    channel: Channel<Metered<'a>>,
    /// What a READ BINARY asks for.
    step: u32,
    /// Whether SELECT FILE can ask for no answer at all; some IDEMIA chips refuse (`cns-card` §5.1).
    quiet: bool,
    naming: Naming,
    application: Application,
    /// Whether one was selected since, or may have been.
    entered: bool,
    /// Whether the MF is known to be the current DF.
    at_master: bool,
    lost: bool,
}

impl<'a> Chip<'a> {
    pub(crate) fn new(link: Metered<'a>, generation: &Generation) -> Self {
        let limits = generation.limits;
        Self {
            channel: Channel::new(link, limits),
            step: step(limits),
            quiet: generation.silent_select,
            naming: Naming::Path,
            application: Application::Unknown,
            entered: false,
            at_master: false,
            lost: false,
        }
    }

    /// Other limits, once more is known of the card.
    pub(crate) fn set_limits(&mut self, limits: Limits) {
        self.channel.set_limits(limits);
        self.step = self.step.min(step(limits));
    }

    /// Tells whether the MF is the current DF: after a reset, where nobody else uses the reader.
    pub(crate) fn begin_at(&mut self, at_master: bool) {
        self.at_master = at_master;
        if at_master {
            self.application = Application::Known(None);
        }
    }

    /// Whether the MF that a reset selects is current.
    pub(crate) fn is_at_master(&self) -> bool {
        self.at_master && self.application == Application::Known(None)
    }

    /// Whether an application was selected, or may have been, so that only a reset leads back to what the card begins with.
    pub(crate) fn has_entered_application(&self) -> bool {
        self.entered
    }

    /// Makes the application current that a file or key is in. Another program may have used the card between two
    /// transactions, and a reset forgets the application: it is selected once in each.
    pub(crate) fn enter(&mut self, application: Option<&'static [u8]>) -> Result<(), CardError> {
        let Some(name) = application else {
            return Ok(());
        };
        if self.application != Application::Known(application) {
            // Whatever the chip answers, what was selected before may be so no more.
            self.application = Application::Unknown;
            self.entered = true;
            self.make_current(SelectFile::application(name))?;
            self.application = Application::Known(application);
            self.at_master = true;
        }
        Ok(())
    }

    /// As [`Chip::enter`]; `false` when the card has no such application.
    pub(crate) fn find_application(&mut self, application: Option<&'static [u8]>) -> Result<bool, CardError> {
        let (before, entered) = (self.application, self.entered);
        match self.enter(application) {
            Ok(()) => Ok(true),
            Err(CardError::Refused { .. } | CardError::Answer { .. }) => {
                // A name that is refused leaves things as they were (ISO/IEC 7816-4:2005 §7.1.1).
                self.application = before;
                self.entered = entered;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Runs one command.
    pub(crate) fn run<C: CardCommand>(&mut self, command: &C) -> Result<C::Answer, CardError> {
        self.at_master &= C::NAME != SelectFile::NAME && C::NAME != CreateFile::NAME;
        let answer = self.channel.run(command).map_err(|error| match error {
            TransmitError::Transport(error) => error,
            TransmitError::Command(error) => error.into(),
            TransmitError::Apdu(error) => error.into(),
            // Whether the chip executed the command is not known: as when the reader fails.
            TransmitError::Response(error) => {
                CardError::Reader(format!("what came from the card is no answer: {error}"))
            }
            TransmitError::Endless => CardError::TooMuch,
        });
        self.lost |= matches!(answer, Err(CardError::Removed | CardError::TimedOut));
        answer
    }

    /// Runs a command that changes nothing on the card, again when the chip refuses it without a reason.
    fn run_idempotent<C: CardCommand>(&mut self, command: &C) -> Result<C::Answer, CardError> {
        let mut answer = self.run(command);
        for _ in 1..ATTEMPTS {
            match answer {
                Err(CardError::Refused {
                    status: StatusWord::EXECUTION_ERROR | StatusWord::INTERNAL_ERROR,
                    ..
                }) => answer = self.run(command),
                outcome => return outcome,
            }
        }
        answer
    }

    /// Runs a long command that spends nothing when it is refused for its form: in one part first, then as a chain
    /// where the chip takes one and the first form was refused by it or by the reader (`real-cards` §4, 16).
    pub(crate) fn run_long<C: CardCommand>(&mut self, command: &C) -> Result<C::Answer, CardError> {
        let outcome = self.run(command);
        let limits = self.channel.limits();
        let short = Limits::SHORT_CHAINED;
        let refused_for_form = matches!(
            outcome,
            Err(CardError::Reader(_)
                | CardError::NoAnswer
                | CardError::Refused {
                    status: StatusWord::WRONG_LENGTH
                        | StatusWord::CLASS_NOT_SUPPORTED
                        | StatusWord::INSTRUCTION_NOT_SUPPORTED,
                    ..
                })
        );
        if refused_for_form && limits.chaining && limits.max_send > short.max_send {
            self.set_limits(short);
            return self.run(command);
        }
        outcome
    }

    /// Lets a person type on the reader.
    pub(crate) fn enter_pin(&mut self, order: PinOrder) -> Result<StatusWord, CardError> {
        self.channel.transport_mut().enter_pin(order)
    }

    /// Runs a command that may take as long as generating a key.
    pub(crate) fn run_slow<C: CardCommand>(&mut self, command: &C) -> Result<C::Answer, CardError> {
        self.channel.transport_mut().set_slow(true);
        let answer = self.run(command);
        self.channel.transport_mut().set_slow(false);
        answer
    }

    pub(crate) fn lost(&self) -> bool {
        self.lost
    }

    /// Makes a file of the current application the current one.
    pub(crate) fn select(&mut self, path: &FilePath) -> Result<(), CardError> {
        if self.naming == Naming::Path {
            match self.make_current(SelectFile::path(path.clone())) {
                Err(CardError::Refused {
                    status: StatusWord::WRONG_PARAMETERS | StatusWord::FUNCTION_NOT_SUPPORTED,
                    ..
                }) => {}
                outcome => return outcome,
            }
        }
        self.make_current(SelectFile::master_file())?;
        for file in path.files() {
            self.make_current(SelectFile { mode: SelectBy::File(*file), response: SelectResponse::None })?;
        }
        self.naming = Naming::Steps;
        Ok(())
    }

    fn make_current(&mut self, select: SelectFile) -> Result<(), CardError> {
        if self.quiet {
            match self.run_idempotent(&select.clone().answering(SelectResponse::None)) {
                Err(CardError::Refused { status: StatusWord::WRONG_PARAMETERS, .. }) => self.quiet = false,
                outcome => return outcome.map(drop),
            }
        }
        self.run_idempotent(&select.answering(SelectResponse::Status)).map(drop)
    }

    /// Makes the DF of a code or key the current one. For objects of the MF that matters too: the chip looks for them
    /// from the current DF upwards, and finds one of the same number that somebody put into a DF on the way first.
    pub(crate) fn select_df(&mut self, path: &FilePath) -> Result<(), CardError> {
        if *path != MASTER_FILE {
            return self.select(path);
        }
        if !self.at_master {
            self.make_current(SelectFile::master_file())?;
            self.at_master = true;
        }
        Ok(())
    }

    /// Makes a file the current one; `None` when there is no such file.
    pub(crate) fn find(&mut self, path: &FilePath) -> Result<Option<()>, CardError> {
        absent_as_none(self.select(path))
    }

    /// Makes a file the current one and tells about it; `None` when there is no such file. A chip that answers what
    /// cannot be understood has told nothing, but the file is there (`real-cards` §4, 4 and 7).
    pub(crate) fn inspect(&mut self, path: &FilePath) -> Result<Option<FileControlInformation>, CardError> {
        match absent_as_none(self.run_idempotent(&SelectFile::path(path.clone()))) {
            Err(CardError::Answer { .. }) => Ok(Some(FileControlInformation::default())),
            outcome => Ok(outcome?.map(Option::unwrap_or_default)),
        }
    }

    /// As [`Chip::read_file`], of a file in whatever application; `None` too when the card has no such application.
    pub(crate) fn read_place(
        &mut self,
        place: &FilePlace,
        needed: impl Fn(&[u8]) -> Option<usize>,
    ) -> Result<Option<Vec<u8>>, CardError> {
        if !self.find_application(place.application)? {
            return Ok(None);
        }
        self.read_file(&place.path, needed)
    }

    /// The content of a transparent file as far as `needed` asks, which sees the beginning and tells the length;
    /// `None` when there is no such file.
    pub(crate) fn read_file(
        &mut self,
        path: &FilePath,
        needed: impl Fn(&[u8]) -> Option<usize>,
    ) -> Result<Option<Vec<u8>>, CardError> {
        match self.find(path)? {
            Some(()) => self.read_current(needed).map(Some),
            None => Ok(None),
        }
    }

    /// As [`Chip::read_file`], of the current file.
    pub(crate) fn read_current(
        &mut self,
        needed: impl Fn(&[u8]) -> Option<usize>,
    ) -> Result<Vec<u8>, CardError> {
        let mut content = Vec::new();
        while let Some(more) = self.read_at(content.len())? {
            content.extend(more);
            match needed(&content) {
                Some(length) if content.len() >= length => {
                    content.truncate(length);
                    break;
                }
                Some(_) => {}
                None => break,
            }
        }
        Ok(content)
    }

    /// The bytes from an offset on; `None` at the end of the file.
    fn read_at(&mut self, offset: usize) -> Result<Option<Vec<u8>>, CardError> {
        let Some(offset) = u16::try_from(offset).ok().filter(|offset| usize::from(*offset) < LONGEST_FILE)
        else {
            return Ok(None);
        };
        loop {
            match self.run_idempotent(&ReadBinary { offset, length: self.step }) {
                Ok(bytes) if bytes.is_empty() => return Ok(None),
                Ok(bytes) => return Ok(Some(bytes)),
                Err(CardError::Refused { status: StatusWord::OFFSET_OUTSIDE_FILE, .. }) if offset > 0 => {
                    return Ok(None);
                }
                // Not every chip that takes extended commands reads so, and not every reader carries it.
                Err(CardError::Refused { .. } | CardError::Reader(_) | CardError::NoAnswer)
                    if self.step > SHORT_STEP =>
                {
                    self.step = SHORT_STEP
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// What one READ BINARY may ask for.
const fn step(limits: Limits) -> u32 {
    if limits.max_receive > SHORT_STEP { EXTENDED_STEP } else { SHORT_STEP }
}

/// Tells "no such file" from other refusals.
fn absent_as_none<T>(outcome: Result<T, CardError>) -> Result<Option<T>, CardError> {
    match outcome {
        Ok(found) => Ok(Some(found)),
        Err(CardError::Refused { status: StatusWord::FILE_NOT_FOUND, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
