//! The files that a trace tells of: which there are, and what is known of their content.

use std::collections::BTreeMap;

use cns_apdu::StatusWord;
use cns_apdu::command::{ReadBinary, SelectBy, SelectFile, SelectResponse};
use cns_apdu::fci::FileControlInformation;
use cns_apdu::file_map::{Fid, FilePath};
use cns_apdu::trace::{Exchange, Place};

use super::content::{Content, Piece};
use super::pins::{Needs, Presented};
use super::synthetic::{Synthetic, plain};

/// An application and a path in it.
type Key = (Option<Vec<u8>>, Vec<Fid>);

/// What a trace tells of the card's files.
pub(super) struct Files {
    files: BTreeMap<Key, File>,
    /// The application that is there without being named, if the trace names it too.
    own_application: Option<Vec<u8>>,
}

#[derive(Default)]
struct File {
    /// After which PINs it was selected.
    accepted: Vec<Needs>,
    refused: Option<StatusWord>,
    /// The whole answer of a selection that asked for one, and after which PINs it came.
    fci: Option<(Needs, Vec<u8>)>,
    content: Content,
}

impl File {
    fn is_open(&self, presented: &Presented) -> bool {
        self.accepted.iter().any(|needs| presented.satisfies(*needs))
    }
}

pub(super) fn is_accepted(status: StatusWord) -> bool {
    matches!(status, StatusWord::SUCCESS | StatusWord::FILE_DEACTIVATED)
}

fn key(place: &Place) -> Key {
    (place.application.clone(), place.path.files().to_vec())
}

impl Files {
    pub(super) const fn new(own_application: Option<Vec<u8>>) -> Self {
        Self { files: BTreeMap::new(), own_application }
    }

    /// The same place, without the name of the card's own application.
    pub(super) fn own(&self, mut place: Place) -> Place {
        if place.application == self.own_application {
            place.application = None;
        }
        place
    }

    /// Learns from a selection; gives what is selected after it.
    pub(super) fn learn_selection(
        &mut self,
        from: Option<Place>,
        select: &SelectFile,
        exchange: &Exchange,
        needs: Needs,
    ) -> Option<Place> {
        let fci = FileControlInformation::decode(&exchange.data).ok();
        // These do not depend on what is selected; behind a gap the application is taken for the card's own.
        let absolute =
            matches!(select.mode, SelectBy::Name(_) | SelectBy::Path(_) | SelectBy::File(Fid::MASTER_FILE));
        let start = from.clone().or(absolute.then(Place::default))?;
        let target = start.after(select, fci.as_ref()).map(|place| self.own(place));
        if !is_accepted(exchange.status) {
            if let Some(target) = target {
                self.files.entry(key(&target)).or_default().refused.get_or_insert(exchange.status);
            }
            return from;
        }
        let file = self.files.entry(key(target.as_ref()?)).or_default();
        if !file.accepted.contains(&needs) {
            file.accepted.push(needs);
        }
        // One that came without a PIN is not hidden by a later one.
        let hides = file.fci.as_ref().is_some_and(|(known, _)| known.is_none() && !needs.is_none());
        if exchange.missing.is_none() && !exchange.data.is_empty() && !hides {
            file.fci = Some((needs, exchange.data.clone()));
        }
        if let Some(size) = fci.filter(|fci| !fci.is_dedicated()).and_then(|fci| fci.size) {
            file.content.size = usize::try_from(size).ok();
        }
        target
    }

    /// Learns from a reading of the selected file.
    pub(super) fn learn_content(&mut self, place: &Place, exchange: &Exchange, needs: Needs) {
        let &[0x00, 0xB0, p1 @ 0..=0x7F, p2, ..] = exchange.command.as_slice() else { return };
        let read = matches!(exchange.status, StatusWord::SUCCESS | StatusWord::END_OF_FILE);
        if !read || place.path.files().is_empty() {
            return;
        }
        let piece = Piece {
            offset: usize::from(u16::from_be_bytes([p1, p2])),
            known: exchange.data.clone(),
            missing: exchange.missing.clone(),
            needs,
        };
        self.files.entry(key(place)).or_default().content.pieces.push(piece);
    }

    /// Where a selection leads that was not recorded in this spelling, and what is answered.
    pub(super) fn select(
        &self,
        from: &Place,
        select: &SelectFile,
        presented: &Presented,
    ) -> Result<(Place, Vec<u8>), StatusWord> {
        let targets: Vec<Place> = targets(from, select)
            .into_iter()
            .filter_map(|from| from.after(select, None))
            .map(|place| self.own(place))
            .collect();
        let exists = |place: &&Place| self.exists(place, presented);
        if let Some(place) = targets.iter().find(exists) {
            let fci = self.files.get(&key(place)).and_then(|file| file.fci.as_ref());
            let fci = fci.filter(|(needs, _)| presented.satisfies(*needs)).map(|(_, fci)| fci.clone());
            let data = fci.filter(|_| select.response == SelectResponse::Fci).unwrap_or_default();
            // What the file is, is told by its FCI.
            let told = FileControlInformation::decode(&data).ok();
            let place = place.clone();
            let place = match told {
                Some(fci) => Place::root(place.application.clone())
                    .after(&by_path(&place), Some(&fci))
                    .unwrap_or(place),
                None => place,
            };
            return Ok((place, data));
        }
        let is_closed =
            |place: &Place| self.files.get(&key(place)).is_some_and(|file| !file.accepted.is_empty());
        if targets.iter().any(is_closed) {
            return Err(StatusWord::SECURITY_NOT_SATISFIED);
        }
        let refused = targets.iter().find_map(|place| self.files.get(&key(place))?.refused);
        Err(refused.unwrap_or(StatusWord::FILE_NOT_FOUND))
    }

    /// Whether a file was selected in some spelling, or lies on the way to one that was. Every application that was
    /// selected has an MF.
    fn exists(&self, place: &Place, presented: &Presented) -> bool {
        let wanted = place.path.files();
        if wanted.is_empty() && place.application.is_none() {
            return true;
        }
        if let Some(file) = self.files.get(&key(place))
            && (!file.accepted.is_empty() || file.refused.is_some())
        {
            return file.is_open(presented);
        }
        let below = |(application, path): &Key| *application == place.application && path.starts_with(wanted);
        self.files.iter().any(|(key, file)| file.is_open(presented) && below(key))
    }

    /// Content of the selected file.
    pub(super) fn read(
        &self,
        place: &Place,
        offset: usize,
        length: usize,
        synthetic: &Synthetic,
        presented: &Presented,
    ) -> Result<Vec<u8>, StatusWord> {
        let file = self.files.get(&key(place)).ok_or(StatusWord::NO_CURRENT_FILE)?;
        file.content.read(&place.path, offset, length, synthetic, presented)
    }

    /// A recorded reading again: of the same length, and its missing bytes the same ones as in any other reading.
    pub(super) fn repeat(
        &self,
        place: Option<&Place>,
        read: &ReadBinary,
        exchange: &Exchange,
        synthetic: &Synthetic,
        presented: &Presented,
    ) -> Vec<u8> {
        let Some(missing) = &exchange.missing else { return exchange.data.clone() };
        let asked = usize::try_from(read.length).unwrap_or(usize::MAX);
        let length = missing.length.map_or(asked, |missing| exchange.data.len().saturating_add(missing));
        let offset = read.offset.into();
        let from_file = place.and_then(|place| self.read(place, offset, length, synthetic, presented).ok());
        from_file.unwrap_or_else(|| [&exchange.data[..], &plain(Some(missing))].concat())
    }
}

/// Where the search for a file may begin: a bare identifier is looked for below the current DF, beside it, and below
/// the MF.
fn targets(from: &Place, select: &SelectFile) -> Vec<Place> {
    let SelectBy::File(_) = select.mode else { return vec![from.clone()] };
    let mut starts = vec![from.clone()];
    let mut df = FilePath::new(from.df().to_vec());
    while let Some(parent) = df.parent() {
        let place = Place::root(from.application.clone());
        starts.extend(place.after(&by(SelectBy::Path(parent.clone())), Some(&directory())));
        df = parent;
    }
    starts
}

fn by(mode: SelectBy) -> SelectFile {
    SelectFile { mode, response: SelectResponse::None }
}

fn by_path(place: &Place) -> SelectFile {
    by(SelectBy::Path(place.path.clone()))
}

fn directory() -> FileControlInformation {
    FileControlInformation {
        descriptor: Some(cns_apdu::fci::FileDescriptor::DEDICATED),
        ..FileControlInformation::default()
    }
}
