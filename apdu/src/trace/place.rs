//! Where the commands of a session have led: application and file.

use crate::command::{SelectBy, SelectFile};
use crate::fci::FileControlInformation;
use crate::file_map::{Fid, FilePath, MASTER_FILE};

/// The deepest file that is followed.
const DEEPEST: usize = 8;
/// DFs below a DF of the known layouts.
const INNER_DFS: [Fid; 4] = [Fid(0x8110), Fid(0x9001), Fid(0x9002), Fid(0x9010)];

/// What is selected.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// The application's name; `None` for the one that is there after a reset.
    pub application: Option<Vec<u8>>,
    /// The file, from the application's MF.
    pub path: FilePath,
    /// How many files of the path are DFs: all, or all but the last.
    dfs: usize,
}

impl Default for Place {
    fn default() -> Self {
        Self::root(None)
    }
}

impl Place {
    /// The MF of an application.
    #[must_use]
    pub const fn root(application: Option<Vec<u8>>) -> Self {
        Self { application, path: MASTER_FILE, dfs: 0 }
    }

    /// The current DF, from the application's MF.
    #[must_use]
    pub fn df(&self) -> &[Fid] {
        self.path.files().get(..self.dfs).unwrap_or_default()
    }

    /// Whether an EF is selected.
    #[must_use]
    pub fn is_ef(&self) -> bool {
        self.dfs < self.path.files().len()
    }

    /// Where a selection leads if the card accepts it; `None` when that cannot be told. What a file is, is told by its
    /// FCI, else by how it is selected, else by the layouts that are known.
    #[must_use]
    pub fn after(&self, select: &SelectFile, fci: Option<&FileControlInformation>) -> Option<Self> {
        let below = |files: &[Fid]| [self.df(), files].concat();
        let (files, is_df) = match &select.mode {
            SelectBy::Name(name) => return Some(Self::root(Some(name.clone()))),
            SelectBy::File(Fid::MASTER_FILE) => (Vec::new(), None),
            SelectBy::File(file) => (below(&[*file]), None),
            SelectBy::ChildDf(file) => (below(&[*file]), Some(true)),
            SelectBy::ChildEf(file) => (below(&[*file]), Some(false)),
            SelectBy::Parent => {
                let (_, parents) = self.df().split_last()?;
                (parents.to_vec(), Some(true))
            }
            SelectBy::Path(path) => (path.files().to_vec(), None),
            SelectBy::RelativePath(path) => (below(path.files()), None),
        };
        if files.len() > DEEPEST {
            return None;
        }
        let told = fci.and_then(|fci| fci.descriptor?.kind()).map(|kind| kind.is_dedicated());
        let dfs = match (files.split_last(), told.or(is_df)) {
            (None, _) => 0,
            (Some((last, above)), None) if !is_known_df(above, *last) => above.len(),
            (Some((_, above)), Some(false)) => above.len(),
            (Some(_), _) => files.len(),
        };
        Some(Self { application: self.application.clone(), path: FilePath::new(files), dfs })
    }
}

/// Whether a file is a DF in the layouts that are known: those of the MF end in 00.
fn is_known_df(above: &[Fid], file: Fid) -> bool {
    match above {
        [] => file.0 & 0xFF == 0 && file != Fid(0x2F00),
        _ => INNER_DFS.contains(&file),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Command, CommandApdu};

    fn walk(commands: &[&str]) -> Option<Place> {
        commands.iter().try_fold(Place::default(), |place, command| {
            let apdu = CommandApdu::parse(&hex::decode(command).unwrap()).unwrap();
            let Ok(Command::SelectFile(select)) = Command::decode(&apdu) else { panic!("{command}") };
            place.after(&select, None)
        })
    }

    #[test]
    fn selections_of_every_kind_lead_to_the_same_file() {
        let classic = walk(&["00A4080C0411001102"]).unwrap();
        assert_eq!(classic.path.to_string(), "3F00/1100/1102");
        assert!(classic.is_ef());
        let others: &[&[&str]] = &[
            &["00A408000411001102"],
            &["00A40000023F00", "00A40000021100", "00A40000021102"],
            &["00A4010C021100", "00A4020C021102"],
            &["00A4010C021100", "00A4020C021101", "00A4020C021102"],
            &["00A4010C021400", "00A4030C", "00A4090C0411001102"],
        ];
        for other in others {
            assert_eq!(walk(other).as_ref(), Some(&classic), "{other:?}");
        }
        let application = walk(&["00A4040C0AA000000530455349474E", "00A4080C04DA01C001"]).unwrap();
        assert_eq!(application.application.unwrap().len(), 10);
        assert_eq!(application.path.to_string(), "3F00/DA01/C001");
        assert_eq!(walk(&["00A4030C"]), None, "nothing is above the MF");
        assert_eq!(walk(&["00A4010C021100"; 9]), None, "too deep to be followed");
    }
}
