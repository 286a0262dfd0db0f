//! A card that lies: honest files, and a fuzzer's bytes that decide where the answers are others.

use std::sync::OnceLock;

use cns_apdu::command::{SelectBy, SelectFile};
use cns_apdu::file_map::{AUTHENTICATION_CERTIFICATE, Fid, FilePath, ID_CARD, PERSONAL_DATA};
use cns_apdu::{Command, CommandApdu};
use cns_virtual_card::{Generation, sample};
use rsa::Pkcs1v15Sign;

use crate::input::Input;

/// The certificate of the sample card's key.
pub const CERTIFICATE: &[u8] = include_bytes!("../data/certificate.der");
/// What is signed: for these bytes the card's answer is right.
pub const SIGNED: [u8; 20] = [1; 20];

/// The signature of [`SIGNED`] by the sample card's key.
fn signature() -> &'static [u8] {
    static SIGNATURE: OnceLock<Vec<u8>> = OnceLock::new();
    SIGNATURE.get_or_init(|| {
        let key = sample::key().expect("the sample card has a key");
        key.sign(Pkcs1v15Sign::new_unprefixed(), &SIGNED).expect("the key signs")
    })
}

/// Files that can be selected and read, PINs that are all right, and a signature.
pub struct FileCard {
    files: Vec<(FilePath, Vec<u8>)>,
    applications: Vec<Vec<u8>>,
    current: Option<usize>,
}

impl FileCard {
    /// The sample card, in the classic file tree.
    #[must_use]
    pub fn sample() -> Self {
        let personal_data = cns_apdu::personal_data::PersonalData {
            surname: "ROSSI".to_owned(),
            name: "MARIO".to_owned(),
            issued: "15012026".to_owned(),
            ..Default::default()
        };
        let mut card = Self { files: Vec::new(), applications: Vec::new(), current: None };
        card.put(&ID_CARD, sample::ID_CARD.as_bytes());
        card.put(&AUTHENTICATION_CERTIFICATE, CERTIFICATE);
        card.put(&PERSONAL_DATA, &personal_data.encode().expect("the sample fits"));
        signature();
        card
    }

    /// A file with this content, in place of another of its path.
    pub fn put(&mut self, path: &FilePath, content: &[u8]) {
        self.files.retain(|(other, _)| other != path);
        self.files.push((path.clone(), content.to_vec()));
    }

    /// Takes a file away.
    pub fn remove(&mut self, path: &FilePath) {
        self.files.retain(|(other, _)| other != path);
    }

    /// An application that can be selected; its files are those of the card.
    pub fn add_application(&mut self, name: &[u8]) {
        self.applications.push(name.to_vec());
    }

    /// The answer to a command.
    #[must_use]
    pub fn answer(&mut self, bytes: &[u8]) -> Vec<u8> {
        let command = CommandApdu::parse(bytes).map(|apdu| Command::decode(&apdu));
        let (data, status): (&[u8], [u8; 2]) = match command {
            Ok(Ok(Command::SelectFile(select))) => (&[], self.select(&select)),
            Ok(Ok(Command::ReadBinary(read))) => {
                let content = self.current.and_then(|current| self.files.get(current));
                let content = content.map(|(_, content)| content.as_slice()).unwrap_or_default();
                match content.get(usize::from(read.offset)..) {
                    None => (&[], [0x6B, 0x00]),
                    Some(rest) => {
                        let length = usize::try_from(read.length).unwrap_or(usize::MAX).min(rest.len());
                        (&rest[..length], [0x90, 0x00])
                    }
                }
            }
            Ok(Ok(Command::Verify(verify))) if verify.value.is_none() => (&[], [0x63, 0xC3]),
            Ok(Ok(Command::PerformSecurityOperation(_))) => (signature(), [0x90, 0x00]),
            Ok(Ok(Command::GetChallenge(challenge))) => {
                let length = usize::try_from(challenge.length).unwrap_or_default().min(256);
                return [&[0xA5; 256][..length], &[0x90, 0x00]].concat();
            }
            Ok(Ok(_)) => (&[], [0x90, 0x00]),
            Ok(Err(status)) => (&[], status.to_bytes()),
            Err(_) => (&[], [0x67, 0x00]),
        };
        [data, &status].concat()
    }

    fn select(&mut self, select: &SelectFile) -> [u8; 2] {
        let found = |found: bool| if found { [0x90, 0x00] } else { [0x6A, 0x82] };
        let path = match &select.mode {
            SelectBy::Path(path) | SelectBy::RelativePath(path) => path.clone(),
            SelectBy::File(Fid::MASTER_FILE) => return [0x90, 0x00],
            SelectBy::File(file) | SelectBy::ChildDf(file) | SelectBy::ChildEf(file) => {
                FilePath::new(vec![*file])
            }
            SelectBy::Name(name) => return found(self.applications.contains(name)),
            SelectBy::Parent => return [0x90, 0x00],
        };
        self.current = self.files.iter().position(|(other, _)| *other == path);
        // A DF is there when something is in it.
        found(self.files.iter().any(|(other, _)| other.files().starts_with(path.files())))
    }
}

/// What the liar does with one answer.
#[derive(Clone)]
enum Trick {
    /// Leaves it.
    Honest,
    /// Says these bytes instead.
    Bytes(Vec<u8>),
    /// Says these data, and "done".
    Data(Vec<u8>),
    /// Cuts it.
    Cut(usize),
    /// Changes a byte of it.
    Flip(usize, u8),
    /// Says only this status word.
    Status([u8; 2]),
    /// Says the same byte many times, and a status word.
    Long(usize, u8, [u8; 2]),
}

/// A card whose answers a fuzzer's bytes may change.
pub struct Liar<'a> {
    input: Input<'a>,
    card: FileCard,
    /// How many answers stay honest before the next decision.
    patience: u8,
    /// The trick that is played on every further command of this instruction.
    habits: Vec<(u8, Trick)>,
}

impl<'a> Liar<'a> {
    /// A liar with these files.
    #[must_use]
    pub const fn new(card: FileCard, input: Input<'a>) -> Self {
        Self { input, card, patience: 0, habits: Vec::new() }
    }

    /// The answer to a command.
    #[must_use]
    pub fn answer(&mut self, command: &[u8]) -> Vec<u8> {
        let honest = self.card.answer(command);
        let instruction = command.get(1).copied().unwrap_or_default();
        if let Some((_, trick)) = self.habits.iter().find(|(other, _)| *other == instruction) {
            return trick.play(honest);
        }
        if self.patience > 0 {
            self.patience -= 1;
            return honest;
        }
        let decision = self.input.byte();
        self.patience = decision >> 4;
        let trick = match decision & 0x07 {
            0 => Trick::Honest,
            1 => Trick::Bytes(self.input.text().to_vec()),
            2 => Trick::Data(self.input.text().to_vec()),
            3 => Trick::Cut(usize::from(self.input.byte())),
            4 => Trick::Flip(usize::from(self.input.word()), self.input.byte()),
            5 => Trick::Status(self.input.word().to_be_bytes()),
            6 => Trick::Long(
                usize::from(self.input.word()),
                self.input.byte(),
                self.input.word().to_be_bytes(),
            ),
            _ => Trick::Bytes([self.input.text(), &self.input.word().to_be_bytes()].concat()),
        };
        let answer = trick.play(honest);
        if decision & 0x08 != 0 {
            self.habits.push((instruction, trick));
        }
        answer
    }
}

impl Trick {
    fn play(&self, mut answer: Vec<u8>) -> Vec<u8> {
        match self {
            Self::Honest => {}
            Self::Bytes(bytes) => return bytes.clone(),
            Self::Data(data) => return [data, &[0x90, 0x00][..]].concat(),
            Self::Cut(length) => answer.truncate(*length),
            Self::Flip(place, with) => {
                let length = answer.len().max(1);
                if let Some(byte) = answer.get_mut(place % length) {
                    *byte ^= with;
                }
            }
            Self::Status(status) => return status.to_vec(),
            Self::Long(length, byte, status) => {
                let mut long = vec![*byte; *length];
                long.extend_from_slice(status);
                return long;
            }
        }
        answer
    }
}

/// The answer to reset of any chip, or none.
#[must_use]
pub fn answer_to_reset(choice: u8) -> Vec<u8> {
    let answers = Generation::all().map(|generation| generation.answer_to_reset().to_vec());
    let answers: Vec<_> = answers.chain([Vec::new()]).collect();
    answers.get(usize::from(choice) % answers.len()).cloned().unwrap_or_default()
}
