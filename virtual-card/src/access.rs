//! Access conditions against the security status (functional specification, access conditions; logical
//! objects of algorithm 7F).

use cns_apdu::access::Condition;
use cns_apdu::file_map::FilePath;
use cns_apdu::object::{Algorithm, ObjectAddress, ObjectClass};

use crate::filesystem::{FileSystem, Place};
use crate::objects::ObjectReference;

const LOGICAL_AND: u8 = 0x00;
const LOGICAL_OR: u8 = 0xFF;
/// How deep logical objects may name one another.
const LOGICAL_DEPTH: usize = 4;

/// The objects that are verified now.
#[derive(Default)]
pub(crate) struct SecurityStatus {
    verified: Vec<Verification>,
}

struct Verification {
    object: ObjectReference,
    /// Protected operations that it still covers; `None` is unlimited.
    remaining: Option<u8>,
}

impl SecurityStatus {
    pub(crate) fn is_verified(&self, object: &ObjectReference) -> bool {
        self.verified.iter().any(|verification| verification.object == *object)
    }

    pub(crate) fn grant(&mut self, object: ObjectReference, validity: Option<u8>) {
        self.withdraw(&object);
        self.verified.push(Verification { object, remaining: validity });
    }

    pub(crate) fn withdraw(&mut self, object: &ObjectReference) {
        self.verified.retain(|verification| verification.object != *object);
    }

    /// A verification lives while its object's directory is the current one or an ancestor of it.
    pub(crate) fn enter(&mut self, directory: &FilePath) {
        self.verified.retain(|verification| verification.object.directory.is_ancestor_or_self_of(directory));
    }

    /// Counts one protected operation against each of `objects`.
    fn spend(&mut self, objects: &[ObjectReference]) {
        for verification in &mut self.verified {
            if objects.contains(&verification.object) {
                verification.remaining = verification.remaining.map(|left| left.saturating_sub(1));
            }
        }
        self.verified.retain(|verification| verification.remaining != Some(0));
    }
}

/// Whether `condition` holds for something in `directory`; if so, one protected operation is spent.
pub(crate) fn authorise(
    files: &FileSystem,
    status: &mut SecurityStatus,
    condition: Condition,
    directory: &FilePath,
) -> bool {
    match relied_on(files, status, condition, directory, LOGICAL_DEPTH) {
        Some(objects) => {
            status.spend(&objects);
            true
        }
        None => false,
    }
}

/// The verified objects that satisfy `condition`, or `None` if it is not satisfied.
fn relied_on(
    files: &FileSystem,
    status: &SecurityStatus,
    condition: Condition,
    directory: &FilePath,
    depth: usize,
) -> Option<Vec<ObjectReference>> {
    match condition {
        Condition::Always => Some(Vec::new()),
        Condition::Verified(id) => {
            let object = files.find_object(directory, ObjectAddress::new(ObjectClass::Test, id))?;
            if files.object(&object)?.algorithm() == Algorithm::Logical {
                logical(files, status, &object, depth.checked_sub(1)?)
            } else if status.is_verified(&object) {
                Some(vec![object])
            } else {
                None
            }
        }
        Condition::Never => None,
    }
}

/// Evaluates a logical object's body, a postfix expression: `00` is AND and `FF` is OR of the two before.
fn logical(
    files: &FileSystem,
    status: &SecurityStatus,
    object: &ObjectReference,
    depth: usize,
) -> Option<Vec<ObjectReference>> {
    let mut operands: Vec<Option<Vec<ObjectReference>>> = Vec::new();
    for byte in files.object(object)?.body.expose() {
        let value = match *byte {
            LOGICAL_AND => {
                let (second, first) = (operands.pop()?, operands.pop()?);
                first.zip(second).map(|(first, second)| [first, second].concat())
            }
            LOGICAL_OR => {
                let (second, first) = (operands.pop()?, operands.pop()?);
                first.or(second)
            }
            named => relied_on(files, status, Condition::from_byte(named), &object.directory, depth),
        };
        operands.push(value);
    }
    // The expression ends with the last byte; operands before it belong to no operator and make it malformed.
    match operands.pop() {
        Some(result) if operands.is_empty() => result,
        Some(_) | None => None,
    }
}

#[cfg(test)]
mod tests {
    use cns_apdu::access::AccessConditions;
    use cns_apdu::file_map::{Fid, MASTER_FILE, SIGNATURE_DF, SIGNATURE_KEY_DF};
    use cns_apdu::object::ObjectId;
    use cns_secret::Secret;

    use super::*;
    use crate::filesystem::{Directory, File, FileBody, Presentation};
    use crate::objects::SecurityObject;

    fn object(identifier: u8, algorithm: u8, body: &[u8]) -> SecurityObject {
        SecurityObject {
            address: address(identifier),
            attributes: [2, 3, algorithm, 3, 0xFF, 0, 0, 0],
            access: [0; 7],
            secure_messaging: [0xFF; 16],
            tries_left: 3,
            uses_left: 0xFF,
            body: Secret::copy_from(body).unwrap(),
        }
    }

    fn holds(
        files: &FileSystem,
        status: &SecurityStatus,
        condition: Condition,
        directory: &FilePath,
    ) -> bool {
        relied_on(files, status, condition, directory, LOGICAL_DEPTH).is_some()
    }

    fn address(identifier: u8) -> ObjectAddress {
        ObjectAddress::new(ObjectClass::Test, ObjectId::new(identifier).unwrap())
    }

    fn reference(directory: FilePath, identifier: u8) -> ObjectReference {
        ObjectReference { directory, address: address(identifier) }
    }

    /// PIN 10 and key 05 in the MF, PIN 1A and logical objects in 1400.
    fn card(logical_body: &[u8]) -> FileSystem {
        let mut files = FileSystem::new(AccessConditions([0; 9]));
        let signature = Directory {
            objects: vec![object(0x1A, 0x87, &[0; 8]), object(0x1E, 0x7F, logical_body)],
            ..Directory::default()
        };
        let master = files.directory_mut(&MASTER_FILE).unwrap();
        master.objects.push(object(0x10, 0x87, &[0; 8]));
        master.objects.push(object(0x05, 0x82, &[0; 16]));
        master.files.push(File {
            identifier: Fid(0x1400),
            access: [0; 9],
            secure_messaging: [0xFF; 24],
            activated: true,
            presentation: Presentation::default(),
            body: FileBody::Directory(signature),
        });
        files
    }

    #[test]
    fn always_never_and_unknown_conditions() {
        let files = card(&[0x10]);
        let mut status = SecurityStatus::default();
        assert!(authorise(&files, &mut status, Condition::from_byte(0x00), &SIGNATURE_DF));
        for never in [0xFF, 0x66, 0x20, 0x80] {
            assert!(!authorise(&files, &mut status, Condition::from_byte(never), &SIGNATURE_DF));
        }
    }

    #[test]
    fn a_condition_names_the_nearest_object_upwards() {
        let files = card(&[0x10]);
        let mut status = SecurityStatus::default();
        status.grant(reference(MASTER_FILE, 0x10), None);
        assert!(holds(&files, &status, Condition::from_byte(0x10), &SIGNATURE_DF));
        assert!(!holds(&files, &status, Condition::from_byte(0x1A), &SIGNATURE_DF));
        status.grant(reference(SIGNATURE_DF, 0x1A), None);
        assert!(holds(&files, &status, Condition::from_byte(0x1A), &SIGNATURE_DF));
        assert!(!holds(&files, &status, Condition::from_byte(0x1A), &MASTER_FILE), "1A is not above the MF");
    }

    #[test]
    fn logical_objects_combine_others() {
        let (pin, key) = (reference(MASTER_FILE, 0x10), reference(MASTER_FILE, 0x05));
        let cases: [(&[u8], bool, bool, bool); 6] = [
            (&[0x10, 0x05, 0xFF], true, true, true),
            (&[0x10, 0x05, 0x00], false, false, true),
            (&[0x10], true, false, true),
            (&[0x10, 0x05], false, false, false),
            (&[0xFF], false, false, false),
            (&[0x1E], false, false, false),
        ];
        for (body, with_pin, with_key, with_both) in cases {
            let files = card(body);
            for (granted, expected) in
                [(vec![&pin], with_pin), (vec![&key], with_key), (vec![&pin, &key], with_both)]
            {
                let mut status = SecurityStatus::default();
                granted.into_iter().for_each(|object| status.grant(object.clone(), None));
                assert_eq!(
                    holds(&files, &status, Condition::from_byte(0x1E), &SIGNATURE_DF),
                    expected,
                    "{body:02X?}"
                );
            }
        }
    }

    #[test]
    fn one_verification_covers_as_many_operations_as_its_validity() {
        let files = card(&[0x10]);
        let mut status = SecurityStatus::default();
        status.grant(reference(SIGNATURE_DF, 0x1A), Some(2));
        assert!(authorise(&files, &mut status, Condition::from_byte(0x1A), &SIGNATURE_DF));
        assert!(authorise(&files, &mut status, Condition::from_byte(0x1A), &SIGNATURE_DF));
        assert!(!authorise(&files, &mut status, Condition::from_byte(0x1A), &SIGNATURE_DF));
    }

    #[test]
    fn leaving_the_directory_ends_the_verification() {
        let mut status = SecurityStatus::default();
        let (pin, signature) = (reference(MASTER_FILE, 0x10), reference(SIGNATURE_DF, 0x1A));
        status.grant(pin.clone(), None);
        status.grant(signature.clone(), None);
        status.enter(&SIGNATURE_KEY_DF);
        assert!(status.is_verified(&signature));
        status.enter(&MASTER_FILE);
        assert!(status.is_verified(&pin) && !status.is_verified(&signature));
    }
}
