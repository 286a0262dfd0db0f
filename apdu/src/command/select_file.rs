//! SELECT FILE (ISO/IEC 7816-4:2005 §7.1.1; `cns-card` §5.1)

use super::{CardCommand, parameters};
use crate::command_apdu::CommandApdu;
use crate::error::{ApduError, CommandError};
use crate::fci::FileControlInformation;
use crate::file_map::{Fid, FilePath};
use crate::response_apdu::ResponseApdu;
use crate::status::StatusWord;

/// SELECT FILE (ISO/IEC 7816-4:2005 §7.1.1)
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelectFile {
    /// Which file.
    pub mode: SelectBy,
    /// What to answer.
    pub response: SelectResponse,
}

/// How the file is named: P1 and the data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SelectBy {
    /// 00: MF, child or sibling of the current DF, or its parent.
    File(Fid),
    /// 01: DF inside the current DF.
    ChildDf(Fid),
    /// 02: EF inside the current DF.
    ChildEf(Fid),
    /// 03: the DF above the current one.
    Parent,
    /// 04: application identifier, one to sixteen bytes.
    Name(Vec<u8>),
    /// 08: path from the MF.
    Path(FilePath),
    /// 09: path from the current DF.
    RelativePath(FilePath),
}

/// What the chip is asked to answer: P2 and Le.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SelectResponse {
    /// P2 = 00 with Le: file control information.
    Fci,
    /// P2 = 00 without Le: file control information, which T=1 has no room to return.
    Status,
    /// P2 = 04: file control parameters. Not of the CNS, but of other applications on the same chips.
    Parameters,
    /// P2 = 0C: none. Some chips refuse this with 6A86.
    None,
}

impl SelectFile {
    /// By path from the MF, asking for file control information.
    #[must_use]
    pub fn path(path: FilePath) -> Self {
        let mode =
            if path.files().is_empty() { SelectBy::File(Fid::MASTER_FILE) } else { SelectBy::Path(path) };
        Self { mode, response: SelectResponse::Fci }
    }

    /// The MF, asking for file control information.
    #[must_use]
    pub fn master_file() -> Self {
        Self { mode: SelectBy::File(Fid::MASTER_FILE), response: SelectResponse::Fci }
    }

    /// An application by its identifier, asking for file control information.
    #[must_use]
    pub fn application(name: &[u8]) -> Self {
        Self { mode: SelectBy::Name(name.to_vec()), response: SelectResponse::Fci }
    }

    /// The same file, another answer.
    #[must_use]
    pub fn answering(self, response: SelectResponse) -> Self {
        Self { response, ..self }
    }

    /// What a chip makes of it.
    ///
    /// # Errors
    /// 6A86 or 6700.
    pub fn decode(apdu: &CommandApdu) -> Result<Self, StatusWord> {
        let response = match (apdu.p2, apdu.le) {
            (0x00, Some(_)) => SelectResponse::Fci,
            (0x00, None) => SelectResponse::Status,
            (0x04, Some(_)) => SelectResponse::Parameters,
            // OpenSC adds an Le to some of these; there is nothing to return, so it does no harm.
            (0x0C, _) => SelectResponse::None,
            (_, _) => return Err(StatusWord::WRONG_PARAMETERS),
        };
        let data = apdu.data.as_bytes();
        let mode = match apdu.p1 {
            0x00 if data.is_empty() => SelectBy::File(Fid::MASTER_FILE),
            0x00 => SelectBy::File(file(data)?),
            0x01 => SelectBy::ChildDf(file(data)?),
            0x02 => SelectBy::ChildEf(file(data)?),
            0x03 => parameters::no_data(apdu).map(|()| SelectBy::Parent)?,
            0x04 if (1..=16).contains(&data.len()) => SelectBy::Name(data.to_vec()),
            0x04 => return Err(StatusWord::WRONG_LENGTH),
            0x08 => SelectBy::Path(FilePath::from_bytes(data).ok_or(StatusWord::WRONG_LENGTH)?),
            0x09 => SelectBy::RelativePath(FilePath::relative(data).ok_or(StatusWord::WRONG_LENGTH)?),
            _ => return Err(StatusWord::WRONG_PARAMETERS),
        };
        Ok(Self { mode, response })
    }
}

impl CardCommand for SelectFile {
    /// File control information, if it was asked for and came.
    type Answer = Option<FileControlInformation>;
    const NAME: &'static str = "SELECT FILE";

    fn encode(&self) -> Result<CommandApdu, ApduError> {
        let (p1, data) = match &self.mode {
            SelectBy::File(file) => (0x00, file.to_bytes().to_vec()),
            SelectBy::ChildDf(file) => (0x01, file.to_bytes().to_vec()),
            SelectBy::ChildEf(file) => (0x02, file.to_bytes().to_vec()),
            SelectBy::Parent => (0x03, Vec::new()),
            SelectBy::Name(name) => (0x04, name.clone()),
            SelectBy::Path(path) => (0x08, path.to_bytes()),
            SelectBy::RelativePath(path) => (0x09, path.to_bytes()),
        };
        Ok(match self.response {
            SelectResponse::Fci => CommandApdu::new(0xA4, p1, 0x00).plain(data).expecting(256),
            SelectResponse::Status => CommandApdu::new(0xA4, p1, 0x00).plain(data),
            SelectResponse::Parameters => CommandApdu::new(0xA4, p1, 0x04).plain(data).expecting(256),
            SelectResponse::None => CommandApdu::new(0xA4, p1, 0x0C).plain(data),
        })
    }

    fn decode_answer(&self, response: ResponseApdu) -> Result<Self::Answer, CommandError> {
        let data = Self::accepted(response)?;
        match self.response {
            SelectResponse::Fci | SelectResponse::Parameters if !data.is_empty() => {
                FileControlInformation::decode(&data).map(Some).map_err(Self::senseless)
            }
            SelectResponse::Fci
            | SelectResponse::Parameters
            | SelectResponse::Status
            | SelectResponse::None => Ok(None),
        }
    }
}

fn file(data: &[u8]) -> Result<Fid, StatusWord> {
    let fid = data.try_into().map_err(|_| StatusWord::WRONG_LENGTH)?;
    Ok(Fid(u16::from_be_bytes(fid)))
}
