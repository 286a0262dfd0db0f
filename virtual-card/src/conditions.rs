//! Who may do what with each file and object of a card: what a test compares before and after a fault.

use std::collections::BTreeMap;

use cns_apdu::file_map::{FilePath, MASTER_FILE};

use crate::card::VirtualCard;
use crate::filesystem::{FileBody, FileSystem};

impl VirtualCard {
    /// The access conditions of every file (nine bytes), object (seven bytes) and security environment (two bytes), by
    /// name: `3F00/1400`, `3F00/1400 object 001A`, `3F00 environment 03`. In hexadecimal, as the chip keeps them; those of
    /// secure messaging follow. Nothing secret.
    #[must_use]
    pub fn access_conditions(&self) -> BTreeMap<String, String> {
        let mut conditions = BTreeMap::new();
        collect(self.files(), &MASTER_FILE, &mut conditions);
        conditions
    }
}

fn collect(files: &FileSystem, path: &FilePath, conditions: &mut BTreeMap<String, String>) {
    let Some(file) = files.file(path) else { return };
    let hexadecimal = |access: &[u8], messaging: &[u8]| {
        format!("{} {}", hex::encode_upper(access), hex::encode_upper(messaging))
    };
    conditions.insert(path.to_string(), hexadecimal(&file.access, &file.secure_messaging));
    let FileBody::Directory(directory) = &file.body else { return };
    for object in &directory.objects {
        let name = format!("{path} object {}", hex::encode_upper(object.address.to_bytes()));
        conditions.insert(name, hexadecimal(&object.access, &object.secure_messaging));
    }
    for environment in &directory.environments {
        let name = format!("{path} environment {:02X}", environment.identifier);
        conditions.insert(name, hexadecimal(&environment.access, &[]));
    }
    for child in &directory.files {
        collect(files, &path.child(child.identifier), conditions);
    }
}
