//! A chip inside a transaction: commands, selections, whole files.

use cns_apdu::command::{CreateFile, ReadBinary, SelectBy, SelectFile, SelectResponse};
use cns_apdu::fci::FileControlInformation;
use cns_apdu::file_map::{Fid, FilePath, MASTER_FILE};
use cns_apdu::generation::{FilePlace, Generation};
use cns_apdu::transmit::{Channel, Limits, TransmitError};
use cns_apdu::{CardCommand, StatusWord};

use super::CardError;
use crate::reader::{Budget, Metered, PinOrder};

/// The longest file that is read: READ BINARY's offset has 15 bits.
const LONGEST_FILE: usize = 0x8000;
/// What one READ BINARY of the short form brings at most.
const SHORT_STEP: u32 = 256;
/// What one READ BINARY of the extended form brings at most.
const EXTENDED_STEP: u32 = 65_536;
/// As the first piece of a file: as much as one READ BINARY brings.
pub(crate) const ALL_AT_ONCE: usize = 65_536;

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

/// What is known of a chip before a transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nothing: another program may have used it.
    #[default]
    Unknown,
    /// The application that a reset selects is current, with whatever DF.
    Default,
    /// It is as after a reset.
    Reset,
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

    /// Tells what is known of the chip: more than nothing only where nobody else uses the reader.
    pub(crate) fn begin_at(&mut self, standing: Standing) {
        self.at_master = standing == Standing::Reset;
        if standing != Standing::Unknown {
            self.application = Application::Known(None);
        }
    }

    /// What is known of the chip.
    pub(crate) fn standing(&self) -> Standing {
        match self.application {
            Application::Known(None) if self.at_master => Standing::Reset,
            Application::Known(None) => Standing::Default,
            Application::Known(Some(_)) | Application::Unknown => Standing::Unknown,
        }
    }

    /// Something was found that is in the application which a reset selects alone: if nothing was known of the chip, it
    /// is that one.
    pub(crate) fn is_proven_default(&mut self) {
        if self.application == Application::Unknown {
            self.application = Application::Known(None);
        }
    }

    /// Resets the card, which leads back to what it begins with. What was presented to it is forgotten.
    pub(crate) fn restart(&mut self) -> Result<(), CardError> {
        self.application = Application::Unknown;
        self.at_master = false;
        let reset = self.channel.transport_mut().reset();
        self.lost |= matches!(reset, Err(CardError::Removed | CardError::TimedOut));
        reset?;
        self.application = Application::Known(None);
        self.at_master = true;
        self.entered = false;
        Ok(())
    }

    /// Does what the card can be used without, within an allowance; nothing when it takes more.
    pub(crate) fn within<T>(
        &mut self,
        allowance: Budget,
        work: impl FnOnce(&mut Self) -> Result<T, CardError>,
    ) -> Result<Option<T>, CardError> {
        self.channel.transport_mut().set_allowance(Some(allowance));
        let outcome = work(self);
        self.channel.transport_mut().set_allowance(None);
        match outcome {
            Err(CardError::TooMuch) => Ok(None),
            outcome => outcome.map(Some),
        }
    }

    /// Whether an application was selected, or may have been, so that only a reset leads back to what the card begins with.
    pub(crate) fn has_entered_application(&self) -> bool {
        self.entered
    }

    /// Makes the application current that a code or key is in. Another program may have used the card between two
    /// transactions, and a reset forgets the application: it is made sure of once in each. Most chips have no name for the
    /// one that a reset selects, and nothing that proves it in one command: only a reset leads there for certain. It
    /// costs no command, and leaves the MF current besides, for which SELECT FILE would be sent otherwise.
    pub(crate) fn enter(&mut self, application: Option<&'static [u8]>) -> Result<(), CardError> {
        if self.application == Application::Known(application) {
            return Ok(());
        }
        let Some(name) = application else {
            return self.restart();
        };
        // Whatever the chip answers, what was selected before may be so no more.
        self.application = Application::Unknown;
        self.entered = true;
        self.make_current(SelectFile::application(name))?;
        self.application = Application::Known(application);
        self.at_master = true;
        Ok(())
    }

    /// As [`Chip::enter`], for what is read and proves itself by what it is: where nothing is known of the chip, the
    /// card is not reset under another program. `false` when the card has no such application.
    pub(crate) fn find_application(&mut self, application: Option<&'static [u8]>) -> Result<bool, CardError> {
        if application.is_none() && self.application == Application::Unknown && !self.entered {
            return Ok(true);
        }
        let (before, entered) = (self.application, self.entered);
        match self.enter(application) {
            Ok(()) => Ok(true),
            Err(CardError::Refused { .. }) => {
                // A name that is refused leaves things as they were (ISO/IEC 7816-4:2005 §7.1.1).
                self.application = before;
                self.entered = entered;
                Ok(false)
            }
            // It accepted the name: what is current now nobody knows.
            Err(CardError::Answer { .. }) => Ok(false),
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

    /// What the next job may exchange.
    pub(crate) fn renew_budget(&mut self) {
        self.channel.transport_mut().renew(Budget::JOB);
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
        self.descend(path.files())?;
        self.naming = Naming::Steps;
        Ok(())
    }

    /// As [`Chip::select`], and tells about the file what the chip says.
    fn select_and_tell(&mut self, path: &FilePath) -> Result<Option<FileControlInformation>, CardError> {
        if self.naming == Naming::Path {
            match self.run_idempotent(&SelectFile::path(path.clone())) {
                Err(CardError::Refused {
                    status: StatusWord::WRONG_PARAMETERS | StatusWord::FUNCTION_NOT_SUPPORTED,
                    ..
                }) => {}
                outcome => return outcome,
            }
        }
        let Some((last, parents)) = path.files().split_last() else {
            return self.run_idempotent(&SelectFile::master_file());
        };
        self.descend(parents)?;
        let last = SelectFile { mode: SelectBy::File(*last), response: SelectResponse::Fci };
        let told = self.run_idempotent(&last)?;
        self.naming = Naming::Steps;
        Ok(told)
    }

    /// From the MF to a file, one identifier after the other.
    fn descend(&mut self, files: &[Fid]) -> Result<(), CardError> {
        self.make_current(SelectFile::master_file())?;
        for file in files {
            self.make_current(SelectFile { mode: SelectBy::File(*file), response: SelectResponse::None })?;
        }
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
        match absent_as_none(self.select_and_tell(path)) {
            Err(CardError::Answer { .. }) => Ok(Some(FileControlInformation::default())),
            outcome => Ok(outcome?.map(Option::unwrap_or_default)),
        }
    }

    /// As [`Chip::read_file`], of a file in whatever application; `None` too when the card has no such application.
    pub(crate) fn read_place(
        &mut self,
        place: &FilePlace,
        first: usize,
        needed: impl Fn(&[u8]) -> Option<usize>,
    ) -> Result<Option<Vec<u8>>, CardError> {
        if !self.find_application(place.application)? {
            return Ok(None);
        }
        self.read_file(&place.path, first, needed)
    }

    /// The content of a transparent file as far as `needed` asks, which sees the beginning, of `first` bytes at most,
    /// and tells the length; `None` when there is no such file.
    pub(crate) fn read_file(
        &mut self,
        path: &FilePath,
        first: usize,
        needed: impl Fn(&[u8]) -> Option<usize>,
    ) -> Result<Option<Vec<u8>>, CardError> {
        match self.find(path)? {
            Some(()) => self.read_current(first, needed).map(Some),
            None => Ok(None),
        }
    }

    /// As [`Chip::read_file`], of the current file.
    pub(crate) fn read_current(
        &mut self,
        first: usize,
        needed: impl Fn(&[u8]) -> Option<usize>,
    ) -> Result<Vec<u8>, CardError> {
        let mut content = Vec::new();
        let mut wanted = first;
        while let Some(more) = self.read_at(content.len(), wanted.saturating_sub(content.len()))? {
            content.extend(more);
            match needed(&content) {
                Some(length) if content.len() >= length => {
                    content.truncate(length);
                    break;
                }
                Some(length) => wanted = length,
                None => break,
            }
        }
        Ok(content)
    }

    /// So many bytes from an offset on, fewer where one command cannot bring them; `None` at the end of the file.
    fn read_at(&mut self, offset: usize, wanted: usize) -> Result<Option<Vec<u8>>, CardError> {
        let Some(offset) = u16::try_from(offset).ok().filter(|offset| usize::from(*offset) < LONGEST_FILE)
        else {
            return Ok(None);
        };
        let wanted = u32::try_from(wanted).unwrap_or(u32::MAX).max(1);
        loop {
            let length = wanted.min(self.step);
            match self.run_idempotent(&ReadBinary { offset, length }) {
                Ok(bytes) if bytes.is_empty() => return Ok(None),
                Ok(bytes) => return Ok(Some(bytes)),
                Err(CardError::Refused { status: StatusWord::OFFSET_OUTSIDE_FILE, .. }) if offset > 0 => {
                    return Ok(None);
                }
                // Not every chip that takes extended commands reads so, and not every reader carries it.
                Err(CardError::Refused { .. } | CardError::Reader(_) | CardError::NoAnswer)
                    if length > SHORT_STEP =>
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
