//! A chip inside a transaction: commands, selections, whole files.

use cns_apdu::command::{CreateFile, ReadBinary, SelectFile, SelectResponse};
use cns_apdu::fci::FileControlInformation;
use cns_apdu::file_map::{FilePath, MASTER_FILE};
use cns_apdu::transmit::{Channel, Limits, TransmitError};
use cns_apdu::{CardCommand, StatusWord};

use super::CardError;
use crate::reader::Metered;

/// The longest file that is read: READ BINARY's offset has 15 bits.
const LONGEST_FILE: usize = 0x8000;
/// What one READ BINARY of the short form brings at most.
const SHORT_STEP: u32 = 256;
/// What one READ BINARY of the extended form brings at most.
const EXTENDED_STEP: u32 = 65_536;

/// A chip inside a transaction.
pub(crate) struct Chip<'a> {
    channel: Channel<Metered<'a>>,
    /// What a READ BINARY asks for.
    step: u32,
    /// Whether SELECT FILE can ask for no answer at all; some IDEMIA chips refuse (`cns-card` §5.1).
    quiet: bool,
    /// Whether the MF is known to be the current DF.
    at_master: bool,
    lost: bool,
}

impl<'a> Chip<'a> {
    pub(crate) fn new(link: Metered<'a>, limits: Limits) -> Self {
        let step = if limits.max_receive > SHORT_STEP { EXTENDED_STEP } else { SHORT_STEP };
        Self { channel: Channel::new(link, limits), step, quiet: true, at_master: false, lost: false }
    }

    /// Tells whether the MF is the current DF: after a reset, where nobody else uses the reader.
    pub(crate) fn begin_at(&mut self, at_master: bool) {
        self.at_master = at_master;
    }

    pub(crate) fn is_at_master(&self) -> bool {
        self.at_master
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

    /// Makes a file the current one.
    pub(crate) fn select(&mut self, path: &FilePath) -> Result<(), CardError> {
        self.make_current(SelectFile::path(path.clone()))
    }

    fn make_current(&mut self, select: SelectFile) -> Result<(), CardError> {
        if self.quiet {
            match self.run(&select.clone().answering(SelectResponse::None)) {
                Err(CardError::Refused { status: StatusWord::WRONG_PARAMETERS, .. }) => self.quiet = false,
                outcome => return outcome.map(drop),
            }
        }
        self.run(&select.answering(SelectResponse::Status)).map(drop)
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

    /// Makes a file the current one and tells about it; `None` when there is no such file.
    pub(crate) fn inspect(&mut self, path: &FilePath) -> Result<Option<FileControlInformation>, CardError> {
        let found = absent_as_none(self.run(&SelectFile::path(path.clone())))?;
        Ok(found.map(Option::unwrap_or_default))
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
            match self.run(&ReadBinary { offset, length: self.step }) {
                Ok(bytes) if bytes.is_empty() => return Ok(None),
                Ok(bytes) => return Ok(Some(bytes)),
                Err(CardError::Refused { status: StatusWord::OFFSET_OUTSIDE_FILE, .. }) if offset > 0 => {
                    return Ok(None);
                }
                // Not every chip that takes extended commands reads so, and not every reader carries it.
                Err(CardError::Refused { .. } | CardError::Reader(_)) if self.step > SHORT_STEP => {
                    self.step = SHORT_STEP
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// Tells "no such file" from other refusals.
fn absent_as_none<T>(outcome: Result<T, CardError>) -> Result<Option<T>, CardError> {
    match outcome {
        Ok(found) => Ok(Some(found)),
        Err(CardError::Refused { status: StatusWord::FILE_NOT_FOUND, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
