//! What secure messaging a command must come in, and with which keys (functional specification, secure messaging
//! conditions: tag CB of files and objects).

use cns_apdu::StatusWord;
use cns_apdu::access::{DfOperation, EfOperation};
use cns_apdu::file_map::FilePath;
use cns_apdu::object::{Algorithm, ObjectAddress, ObjectClass, ObjectId};
use cns_apdu::secure_messaging::{KeyNumbers, Keys};
use cns_secret::Secret;

use crate::card::VirtualCard;
use crate::filesystem::{File, FileSystem};
use crate::objects::{ObjectOperation, ObjectReference, SecurityObject};

/// The keys that one command demands, and where the search for them starts.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Demand {
    pub(crate) command: KeyNumbers,
    pub(crate) response: KeyNumbers,
    /// The directory of what is protected; a key is there or nearest above.
    pub(crate) directory: FilePath,
}

impl Demand {
    /// Nothing, as of a command that no condition can name.
    pub(crate) fn none(directory: &FilePath) -> Self {
        Self { command: KeyNumbers::default(), response: KeyNumbers::default(), directory: directory.clone() }
    }

    /// Of an operation on an elementary file of `directory`.
    pub(crate) fn of_ef(file: &File, directory: &FilePath, operation: EfOperation) -> Self {
        let response = match operation {
            EfOperation::Read => file.read_response_keys(),
            EfOperation::Update
            | EfOperation::Append
            | EfOperation::Deactivate
            | EfOperation::Activate
            | EfOperation::Delete
            | EfOperation::Admin => KeyNumbers::default(),
        };
        Self { command: file.ef_command_keys(operation), response, directory: directory.clone() }
    }

    /// Of an operation on the directory `path` or what it holds.
    pub(crate) fn of_df(file: &File, path: &FilePath, operation: DfOperation) -> Self {
        Self { command: file.df_command_keys(operation), ..Self::none(path) }
    }

    /// Of an operation on a security object.
    pub(crate) fn of_object(
        object: &SecurityObject,
        reference: &ObjectReference,
        operation: ObjectOperation,
    ) -> Self {
        Self {
            command: object.command_keys(operation),
            response: object.response_keys(operation),
            directory: reference.directory.clone(),
        }
    }

    pub(crate) fn is_none(&self) -> bool {
        self.command.are_none() && self.response.are_none()
    }

    /// The keys of the command and of the response.
    pub(crate) fn keys<'a>(&self, files: &'a FileSystem) -> Result<(Keys<'a>, Keys<'a>), StatusWord> {
        let find = |number: Option<u8>, algorithm| -> Result<Option<&'a Secret>, StatusWord> {
            number.map(|number| find_key(files, &self.directory, number, algorithm)).transpose()
        };
        let keys = |numbers: KeyNumbers| -> Result<Keys<'a>, StatusWord> {
            Ok(Keys {
                encryption: find(numbers.encryption, Algorithm::TripleDes)?,
                signature: find(numbers.signature, Algorithm::RetailMac)?,
            })
        };
        Ok((keys(self.command)?, keys(self.response)?))
    }
}

/// 6A88 if there is no such key; 6984 if the object is made for something else.
fn find_key<'a>(
    files: &'a FileSystem,
    directory: &FilePath,
    number: u8,
    algorithm: Algorithm,
) -> Result<&'a Secret, StatusWord> {
    let id = ObjectId::new(number).ok_or(StatusWord::OBJECT_NOT_FOUND)?;
    let address = ObjectAddress::new(ObjectClass::SecureMessaging, id);
    let reference = files.find_object(directory, address).ok_or(StatusWord::OBJECT_NOT_FOUND)?;
    let object = files.object(&reference).ok_or(StatusWord::OBJECT_NOT_FOUND)?;
    if object.algorithm() == algorithm { Ok(&object.body) } else { Err(StatusWord::INVALID_OBJECT) }
}

impl VirtualCard {
    /// 6E00 for a plain command on what demands secure messaging, as real cards answer; 6985 if the command came
    /// protected with other keys.
    pub(crate) fn require_protection(&self, demand: &Demand) -> Result<(), StatusWord> {
        match &self.session.protection {
            _ if demand.is_none() => Ok(()),
            None => Err(StatusWord::CLASS_NOT_SUPPORTED),
            Some(used) if self.is_met_by(demand, used) => Ok(()),
            Some(_) => Err(StatusWord::CONDITIONS_NOT_SATISFIED),
        }
    }

    /// Whether the keys that were used are those demanded: one number may mean two keys in two directories, and one key
    /// may be found from both.
    pub(crate) fn is_met_by(&self, demand: &Demand, used: &Demand) -> bool {
        let numbers =
            [demand.command, demand.response].into_iter().flat_map(|keys| [keys.encryption, keys.signature]);
        let is_one_key = |number| {
            let address =
                ObjectId::new(number).map(|id| ObjectAddress::new(ObjectClass::SecureMessaging, id));
            let found = |directory| address.and_then(|address| self.files().find_object(directory, address));
            found(&demand.directory) == found(&used.directory)
        };
        demand.command == used.command
            && demand.response == used.response
            && (demand.directory == used.directory || numbers.flatten().all(is_one_key))
    }

    /// The same for a command that changes the objects of `directory`.
    pub(crate) fn require_object_protection(&self, directory: &FilePath) -> Result<(), StatusWord> {
        let file = self.files().file(directory).ok_or(StatusWord::FILE_NOT_FOUND)?;
        self.require_protection(&Demand::of_df(file, directory, DfOperation::UpdateObjects))
    }
}
