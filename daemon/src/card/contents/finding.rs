//! What lies where a certificate might be, in the words of `card.list`.

use cns_apdu::file_map::PUBLIC_OBJECT_DIRECTORY;
use cns_apdu::generation::{FilePlace, Probe};
use cns_protocol::card::{Finding, PlaceContent};

/// How a place is named.
pub(super) fn name(place: &FilePlace) -> String {
    match place.application {
        Some(application) => format!("{} {}", hex::encode_upper(application), place.path),
        None => place.path.to_string(),
    }
}

/// How a place of the search is named.
pub(super) fn probed(probe: &Probe) -> String {
    match probe {
        Probe::File(place) => name(place),
        Probe::Files { application, df, first, last } => {
            let first = FilePlace { application: *application, path: df.child(*first) };
            format!("{} to {:04X}", name(&first), last.0)
        }
        Probe::Store => PUBLIC_OBJECT_DIRECTORY.to_string(),
        Probe::Application(identifier) => hex::encode_upper(identifier),
    }
}

pub(super) fn unfinished(place: String) -> Finding {
    let detail = "the search ended here: the card did not answer as one should".to_owned();
    Finding { place, content: PlaceContent::Other, detail }
}

pub(super) fn absent(place: String) -> Finding {
    Finding { place, content: PlaceContent::Absent, detail: "there is no such file".to_owned() }
}

pub(super) fn protected(place: String) -> Finding {
    let detail = "the file cannot be read without a PIN".to_owned();
    Finding { place, content: PlaceContent::Protected, detail }
}

pub(super) fn too_long(place: String) -> Finding {
    let detail = "longer than any real one, left out".to_owned();
    Finding { place, content: PlaceContent::Other, detail }
}

pub(super) fn certificate(place: String, why: &str) -> Finding {
    Finding { place, content: PlaceContent::Certificate, detail: format!("DER certificate, {why}") }
}

pub(super) fn application(identifier: &[u8], is_there: bool) -> Finding {
    let place = hex::encode_upper(identifier);
    if is_there {
        let detail = "there is such an application; it was not looked into".to_owned();
        Finding { place, content: PlaceContent::Application, detail }
    } else {
        let detail = "there is no such application".to_owned();
        Finding { place, content: PlaceContent::Absent, detail }
    }
}

/// What the beginning of a file shows that is no certificate which can be read. Bytes of the file are not told, but
/// for the two that name a packing.
pub(super) fn of_content(place: String, content: &[u8]) -> Finding {
    let (content, detail) = match content {
        [] => (PlaceContent::Empty, "an empty file".to_owned()),
        bytes if bytes.iter().all(|byte| *byte == 0x00) || bytes.iter().all(|byte| *byte == 0xFF) => {
            (PlaceContent::Empty, "a file of zeros".to_owned())
        }
        // A vendor's form: compressed with a dictionary that is not public (`real-cards` §4, 28).
        [0x5A, 0x82, ..] => (PlaceContent::Container, "container 5A82, not readable".to_owned()),
        [0x7A, 0x82, ..] => (PlaceContent::Container, "container 7A82, not readable".to_owned()),
        [0x30, ..] => (PlaceContent::Other, "DER, but no certificate of an RSA key".to_owned()),
        [_, ..] => (PlaceContent::Other, "something that is no certificate".to_owned()),
    };
    Finding { place, content, detail }
}

/// Whether somebody who does not look for it wants to know: an absent or empty file is what most cards have.
pub(super) fn is_remarkable(finding: &Finding) -> bool {
    !matches!(finding.content, PlaceContent::Absent | PlaceContent::Empty)
}

#[cfg(test)]
mod tests {
    use super::{PlaceContent, of_content};

    #[test]
    fn what_lies_there_is_told_without_its_bytes() {
        let told = |bytes: &[u8]| of_content("3F00".to_owned(), bytes).content;
        assert_eq!(told(&[]), PlaceContent::Empty);
        assert_eq!(told(&[0; 20]), PlaceContent::Empty);
        assert_eq!(told(&[0x5A, 0x82, 1, 2]), PlaceContent::Container);
        assert_eq!(told(&[0x7A, 0x82]), PlaceContent::Container);
        assert_eq!(told(&[0x30, 0x03, 1, 1, 1]), PlaceContent::Other);
        assert_eq!(told(b"RSSMRA80A01H501U"), PlaceContent::Other);
        assert!(!of_content(String::new(), b"RSSMRA80A01H501U").detail.contains("RSS"));
    }
}
