//! The file tree of ISO 7816-4: directories (DF) with their security objects, transparent and record files.
//!
//! Files are reached by path from the MF.

use cns_apdu::access::{AccessConditions, DfOperation, EfOperation};
use cns_apdu::file_map::{Fid, FilePath, MASTER_FILE};
use cns_apdu::object::ObjectAddress;
use cns_apdu::secure_messaging::{
    Conditions, DF_CREATE, DF_OBJECTS, EF_APPEND, EF_READ_COMMAND, EF_READ_RESPONSE, EF_UPDATE, FILE_ADMIN,
    KeyNumbers,
};
use serde::{Deserialize, Serialize};

use crate::hexadecimal;
use crate::objects::{ObjectReference, SecurityEnvironment, SecurityObject};

/// How deep directories may nest; the CNS tree needs two levels.
pub(crate) const MAXIMUM_DEPTH: usize = 8;
/// The chip's memory for file contents and security objects, in bytes.
pub(crate) const MEMORY: usize = 64 * 1024;
/// What a file or an object costs beside its content.
const HEADER: usize = 32;
/// ISO 7816-4 leaves 254 record numbers.
pub(crate) const MAXIMUM_RECORDS: usize = 254;

/// How the paths of [`cns_apdu`] relate to one another in the tree.
pub(crate) trait Place: Sized {
    /// Whether this directory holds `other`, however deep, or is it.
    fn is_ancestor_or_self_of(&self, other: &Self) -> bool;

    /// This directory, then its parent, and so on up to the MF: the order of backtracking.
    fn upwards(&self) -> impl Iterator<Item = Self>;

    /// The path that `other` is when it starts from this directory.
    fn join(&self, other: &Self) -> Self;
}

impl Place for FilePath {
    fn is_ancestor_or_self_of(&self, other: &Self) -> bool {
        other.files().starts_with(self.files())
    }

    fn upwards(&self) -> impl Iterator<Item = Self> {
        std::iter::successors(Some(self.clone()), Self::parent)
    }

    fn join(&self, other: &Self) -> Self {
        Self::new([self.files(), other.files()].concat())
    }
}

/// A file of any kind, with its file control information.
#[derive(Serialize, Deserialize)]
pub(crate) struct File {
    #[serde(with = "identifier")]
    pub(crate) identifier: Fid,
    #[serde(with = "hexadecimal")]
    pub(crate) access: [u8; 9],
    #[serde(with = "hexadecimal")]
    pub(crate) secure_messaging: [u8; 24],
    pub(crate) activated: bool,
    #[serde(default, skip_serializing_if = "Presentation::is_usual")]
    pub(crate) presentation: Presentation,
    pub(crate) body: FileBody,
}

/// What SELECT tells of a file beside what the file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Presentation {
    /// The byte of tag 85.
    pub(crate) proprietary: u8,
    /// The byte of tag 88.
    pub(crate) short_identifier: Option<u8>,
}

impl Default for Presentation {
    fn default() -> Self {
        Self { proprietary: 0x01, short_identifier: None }
    }
}

impl Presentation {
    fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

/// What a file holds.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FileBody {
    Directory(Directory),
    Transparent(Transparent),
    Records(Records),
}

#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Directory {
    /// The size announced in tag 81.
    pub(crate) reserved: u16,
    #[serde(with = "hexadecimal")]
    pub(crate) name: Vec<u8>,
    pub(crate) objects: Vec<SecurityObject>,
    pub(crate) environments: Vec<SecurityEnvironment>,
    pub(crate) files: Vec<File>,
    /// Whether it is the MF of an application: what is in it is reached only while that is selected.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) application: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
pub(crate) const fn is_false(value: &bool) -> bool {
    !*value
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Transparent {
    /// Tag 82 as the file was created with.
    #[serde(with = "hexadecimal")]
    pub(crate) descriptor: [u8; 3],
    #[serde(with = "hexadecimal")]
    pub(crate) content: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Records {
    #[serde(with = "hexadecimal")]
    pub(crate) descriptor: [u8; 3],
    pub(crate) kind: RecordKind,
    pub(crate) allocated: u16,
    pub(crate) records: Vec<Record>,
}

#[derive(Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Record(#[serde(with = "hexadecimal")] pub(crate) Vec<u8>);

/// The record structures of the CNS (first byte of tag 82).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RecordKind {
    LinearFixed,
    LinearTlv,
    Cyclic,
}

impl Records {
    pub(crate) fn used(&self) -> usize {
        self.records.iter().map(|record| record.0.len()).sum()
    }

    /// The length that each record of a fixed structure has.
    pub(crate) fn record_length(&self) -> usize {
        let [_, _, length] = self.descriptor;
        usize::from(length)
    }
}

impl Directory {
    pub(crate) fn file(&self, identifier: Fid) -> Option<&File> {
        self.files.iter().find(|file| file.identifier == identifier)
    }

    fn file_mut(&mut self, identifier: Fid) -> Option<&mut File> {
        self.files.iter_mut().find(|file| file.identifier == identifier)
    }

    pub(crate) fn object(&self, address: ObjectAddress) -> Option<&SecurityObject> {
        self.objects.iter().find(|object| object.address == address)
    }

    fn object_mut(&mut self, address: ObjectAddress) -> Option<&mut SecurityObject> {
        self.objects.iter_mut().find(|object| object.address == address)
    }

    pub(crate) fn environment(&self, identifier: u8) -> Option<&SecurityEnvironment> {
        self.environments.iter().find(|environment| environment.identifier == identifier)
    }

    fn memory(&self) -> usize {
        let objects: usize = self.objects.iter().map(|object| HEADER + object.body.len()).sum();
        let environments = self.environments.len() * HEADER;
        let files: usize = self.files.iter().map(File::memory).sum();
        objects + environments + files
    }
}

impl File {
    pub(crate) fn directory(&self) -> Option<&Directory> {
        match &self.body {
            FileBody::Directory(directory) => Some(directory),
            FileBody::Transparent(_) | FileBody::Records(_) => None,
        }
    }

    fn directory_mut(&mut self) -> Option<&mut Directory> {
        match &mut self.body {
            FileBody::Directory(directory) => Some(directory),
            FileBody::Transparent(_) | FileBody::Records(_) => None,
        }
    }

    /// The secure messaging keys that `operation` on this elementary file demands of the command (tag CB).
    pub(crate) fn ef_command_keys(&self, operation: EfOperation) -> KeyNumbers {
        let conditions = Conditions(&self.secure_messaging);
        match operation {
            EfOperation::Read => conditions.at(EF_READ_COMMAND),
            EfOperation::Update => conditions.at(EF_UPDATE),
            EfOperation::Append => conditions.at(EF_APPEND),
            EfOperation::Admin => conditions.at(FILE_ADMIN),
            EfOperation::Deactivate | EfOperation::Activate | EfOperation::Delete => KeyNumbers::default(),
        }
    }

    /// The secure messaging keys that reading this elementary file demands of the response.
    pub(crate) fn read_response_keys(&self) -> KeyNumbers {
        Conditions(&self.secure_messaging).at(EF_READ_RESPONSE)
    }

    /// The secure messaging keys that `operation` on this directory demands of the command (tag CB).
    pub(crate) fn df_command_keys(&self, operation: DfOperation) -> KeyNumbers {
        let conditions = Conditions(&self.secure_messaging);
        match operation {
            DfOperation::UpdateObjects | DfOperation::AppendObjects => conditions.at(DF_OBJECTS),
            DfOperation::Admin => conditions.at(FILE_ADMIN),
            DfOperation::Create => conditions.at(DF_CREATE),
            DfOperation::Deactivate | DfOperation::Activate | DfOperation::Delete => KeyNumbers::default(),
        }
    }

    fn memory(&self) -> usize {
        let content = match &self.body {
            FileBody::Directory(directory) => directory.memory(),
            FileBody::Transparent(file) => file.content.len(),
            FileBody::Records(file) => usize::from(file.allocated),
        };
        HEADER + content
    }
}

/// The whole tree, from the MF.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct FileSystem {
    master: File,
    /// A smaller memory than [`MEMORY`]: filled up on purpose, while the card is open.
    #[serde(skip)]
    limit: Option<usize>,
}

impl FileSystem {
    pub(crate) fn new(access: AccessConditions) -> Self {
        let master = File {
            identifier: Fid::MASTER_FILE,
            access: access.0,
            secure_messaging: [0xFF; 24],
            activated: true,
            presentation: Presentation::default(),
            body: FileBody::Directory(Directory { reserved: u16::MAX, ..Directory::default() }),
        };
        Self { master, limit: None }
    }

    pub(crate) fn file(&self, path: &FilePath) -> Option<&File> {
        path.files().iter().try_fold(&self.master, |file, identifier| file.directory()?.file(*identifier))
    }

    pub(crate) fn file_mut(&mut self, path: &FilePath) -> Option<&mut File> {
        path.files()
            .iter()
            .try_fold(&mut self.master, |file, identifier| file.directory_mut()?.file_mut(*identifier))
    }

    pub(crate) fn directory(&self, path: &FilePath) -> Option<&Directory> {
        self.file(path)?.directory()
    }

    pub(crate) fn directory_mut(&mut self, path: &FilePath) -> Option<&mut Directory> {
        self.file_mut(path)?.directory_mut()
    }

    /// The MF of the application that holds `path`: the card's own, or that of an application.
    pub(crate) fn root_of(&self, path: &FilePath) -> FilePath {
        let is_root = |above: &FilePath| self.directory(above).is_some_and(|directory| directory.application);
        path.upwards().find(is_root).unwrap_or(MASTER_FILE)
    }

    /// Whether neither the file nor a directory above it is deactivated.
    pub(crate) fn is_active(&self, path: &FilePath) -> bool {
        path.upwards().all(|above| self.file(&above).is_some_and(|file| file.activated))
    }

    /// The directory, unless it or one above it is deactivated: then nothing in it can be reached.
    fn active_directory(&self, path: &FilePath) -> Option<&Directory> {
        if self.is_active(path) { self.directory(path) } else { None }
    }

    pub(crate) fn object(&self, reference: &ObjectReference) -> Option<&SecurityObject> {
        self.active_directory(&reference.directory)?.object(reference.address)
    }

    pub(crate) fn object_mut(&mut self, reference: &ObjectReference) -> Option<&mut SecurityObject> {
        self.active_directory(&reference.directory)?;
        self.directory_mut(&reference.directory)?.object_mut(reference.address)
    }

    /// Searches from `directory` upward to the MF.
    pub(crate) fn find_object(
        &self,
        directory: &FilePath,
        address: ObjectAddress,
    ) -> Option<ObjectReference> {
        directory
            .upwards()
            .map(|directory| ObjectReference { directory, address })
            .find(|reference| self.object(reference).is_some())
    }

    /// Searches from `directory` upward to the MF; gives the directory that holds the environment as well.
    pub(crate) fn find_environment(
        &self,
        directory: &FilePath,
        identifier: u8,
    ) -> Option<(FilePath, &SecurityEnvironment)> {
        directory.upwards().find_map(|above| {
            let environment = self.active_directory(&above)?.environment(identifier)?;
            Some((above, environment))
        })
    }

    /// The directory whose name (application identifier) is `name`.
    pub(crate) fn find_name(&self, name: &[u8]) -> Option<FilePath> {
        fn search(file: &File, path: FilePath, name: &[u8]) -> Option<FilePath> {
            let directory = file.directory()?;
            if !directory.name.is_empty() && directory.name == name {
                return Some(path);
            }
            directory.files.iter().find_map(|child| search(child, path.child(child.identifier), name))
        }
        search(&self.master, MASTER_FILE, name)
    }

    pub(crate) fn memory_left(&self) -> usize {
        self.limit.unwrap_or(MEMORY).saturating_sub(self.master.memory())
    }

    /// Makes the memory so small that `bytes` are left.
    pub(crate) fn leave_memory(&mut self, bytes: usize) {
        self.limit = Some(self.master.memory().saturating_add(bytes));
    }

    /// Takes over what [`FileSystem::leave_memory`] did to `other`.
    pub(crate) fn keep_limit_of(&mut self, other: &Self) {
        self.limit = other.limit;
    }

    /// Whether another file or object with this much content fits.
    pub(crate) fn has_room_for(&self, content: usize) -> bool {
        content.saturating_add(HEADER) <= self.memory_left()
    }

    /// Takes the file, and all that is below it, off the tree.
    pub(crate) fn remove(&mut self, path: &FilePath) -> Option<File> {
        let (identifier, _) = path.files().split_last()?;
        let files = &mut self.directory_mut(&path.parent()?)?.files;
        let place = files.iter().position(|file| file.identifier == *identifier)?;
        Some(files.remove(place))
    }
}

/// A file identifier as four hexadecimal digits.
mod identifier {
    use cns_apdu::file_map::Fid;
    use serde::{Deserializer, Serializer};

    use crate::hexadecimal;

    pub(super) fn serialize<S: Serializer>(identifier: &Fid, serializer: S) -> Result<S::Ok, S::Error> {
        hexadecimal::serialize(identifier.to_bytes(), serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Fid, D::Error> {
        let bytes: [u8; 2] = hexadecimal::deserialize(deserializer)?;
        Ok(Fid(u16::from_be_bytes(bytes)))
    }
}

#[cfg(test)]
mod tests {
    use cns_apdu::file_map::{SIGNATURE_DF, SIGNATURE_KEY_DF};

    use super::*;
    use crate::objects::SecurityEnvironment;

    fn tree() -> FileSystem {
        let mut tree = FileSystem::new(AccessConditions([0; 9]));
        for (path, identifier) in [(MASTER_FILE, Fid(0x1400)), (SIGNATURE_DF, Fid(0x8110))] {
            tree.directory_mut(&path).unwrap().files.push(File {
                identifier,
                access: [0; 9],
                secure_messaging: [0xFF; 24],
                activated: true,
                presentation: Presentation::default(),
                body: FileBody::Directory(Directory::default()),
            });
        }
        tree
    }

    #[test]
    fn paths_walk_upwards_to_the_master_file() {
        let path = SIGNATURE_KEY_DF;
        let steps: Vec<FilePath> = path.upwards().collect();
        assert_eq!(steps, [path.clone(), SIGNATURE_DF, MASTER_FILE]);
        assert!(MASTER_FILE.is_ancestor_or_self_of(&path));
        assert!(!path.is_ancestor_or_self_of(&SIGNATURE_DF));
        assert_eq!(MASTER_FILE.parent(), None);
    }

    #[test]
    fn backtracking_finds_the_nearest_and_skips_deactivated_directories() {
        let mut tree = tree();
        let deep = SIGNATURE_KEY_DF;
        for (path, first) in [(MASTER_FILE, 1), (SIGNATURE_DF, 2)] {
            tree.directory_mut(&path).unwrap().environments.push(SecurityEnvironment {
                identifier: 3,
                access: [0, 0xFF],
                components: [0, first, 0, 0, 0, 0],
            });
        }
        assert_eq!(tree.find_environment(&deep, 3).unwrap().0, SIGNATURE_DF);
        tree.file_mut(&SIGNATURE_DF).unwrap().activated = false;
        assert_eq!(tree.find_environment(&deep, 3).unwrap().0, MASTER_FILE);
        assert!(tree.find_environment(&deep, 4).is_none());
    }

    #[test]
    fn removing_a_directory_removes_what_is_in_it() {
        let mut tree = tree();
        assert!(tree.remove(&SIGNATURE_DF).is_some());
        assert!(tree.file(&SIGNATURE_KEY_DF).is_none());
        assert!(tree.remove(&MASTER_FILE).is_none());
    }
}
