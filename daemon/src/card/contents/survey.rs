//! Looking for a signature certificate whose place nobody knows, in the order of the generation's data
//! (`real-cards` §3.2): without a PIN, read-only, once per insertion and after the card was listed.

use cns_apdu::file_map::{Fid, PUBLIC_OBJECT_DIRECTORY};
use cns_apdu::generation::{FilePlace, Probe};
use cns_protocol::card::Finding;

use super::super::{CardError, Chip, Standing};
use super::certificate::{FIRST_PIECE, Found};
use super::{Authorities, CardContents, Parsed, Reading, StoredKeys, certificate, finding, store};
use crate::reader::{Disposition, Metered};

/// What was found, to the end of the search or as far as it came.
#[derive(Default)]
pub(crate) struct Survey {
    pub(super) findings: Vec<Finding>,
    /// A signature certificate in an object store that the generation was not known to have.
    pub(super) signature: Option<Parsed>,
    pub(super) stored: Option<StoredKeys>,
    pub(super) authorities: Authorities,
    /// What ended it early.
    pub(crate) ended: Option<CardError>,
}

impl Survey {
    /// One that found a defect of ours.
    pub(crate) fn panicked() -> Self {
        Self { ended: Some(CardError::Panicked), ..Self::default() }
    }
}

/// Looks at every place. The card is reset where an application was selected that is not the CNS.
pub(crate) fn survey(link: Metered<'_>, contents: &CardContents, standing: Standing) -> Reading<Survey> {
    let mut chip = Chip::new(link, contents.generation);
    chip.begin_at(standing);
    let mut survey = Survey::default();
    for probe in contents.generation.survey {
        if let Err(error) = look(&mut chip, contents, probe, &mut survey) {
            survey.findings.push(finding::unfinished(finding::probed(probe)));
            survey.ended = Some(error);
            break;
        }
    }
    let leave = if chip.has_entered_application() { Disposition::Reset } else { Disposition::Leave };
    Reading::new(survey, leave, &chip)
}

fn look(
    chip: &mut Chip<'_>,
    contents: &CardContents,
    probe: &Probe,
    survey: &mut Survey,
) -> Result<(), CardError> {
    match probe {
        Probe::File(place) => {
            let (_, finding) = file(chip, place, &mut survey.authorities)?;
            survey.findings.push(finding);
        }
        Probe::Files { application, df, first, last } => {
            let places: Vec<_> = (first.0..=last.0)
                .map(|number| FilePlace { application: *application, path: df.child(Fid(number)) })
                .collect();
            files(chip, *application, &places, *last, survey)?;
        }
        Probe::Application(name) => {
            let is_there = chip.find_application(Some(name))?;
            survey.findings.push(finding::application(name, is_there));
        }
        Probe::Store => from_store(chip, contents, survey)?,
    }
    Ok(())
}

/// Whether the file is there, and what lies in it.
fn file(
    chip: &mut Chip<'_>,
    place: &FilePlace,
    authorities: &mut Authorities,
) -> Result<(bool, Finding), CardError> {
    let name = finding::name(place);
    Ok(match certificate::read_any_of_length(chip, place, FIRST_PIECE)? {
        Found::Holders(_) => (true, finding::certificate(name, "not used: nobody knows its key")),
        Found::Authority(authority) => (true, authorities.take(name, *authority)),
        Found::Other(finding) => (true, finding),
        Found::Absent => (false, finding::absent(name)),
    })
}

/// What lies in those of the files that are there; of the absent ones only that there are none.
fn files(
    chip: &mut Chip<'_>,
    application: Option<&'static [u8]>,
    places: &[FilePlace],
    last: Fid,
    survey: &mut Survey,
) -> Result<(), CardError> {
    let before = survey.findings.len();
    if chip.find_application(application)? {
        for place in places {
            let (is_there, finding) = file(chip, place, &mut survey.authorities)?;
            survey.findings.extend(is_there.then_some(finding));
        }
    }
    if let (true, Some(first)) = (survey.findings.len() == before, places.first()) {
        survey.findings.push(finding::absent(format!("{} to {:04X}", finding::name(first), last.0)));
    }
    Ok(())
}

fn from_store(chip: &mut Chip<'_>, contents: &CardContents, survey: &mut Survey) -> Result<(), CardError> {
    let Some(held) = store::read(chip, &contents.generation.authentication)? else {
        survey.findings.push(finding::absent(PUBLIC_OBJECT_DIRECTORY.to_string()));
        return Ok(());
    };
    // The authentication key stays where its certificate was found first.
    let other = held.stored.as_ref().and_then(|stored| stored.authentication.as_ref());
    let other = other.map(|key| finding::certificate(finding::name(&key.certificate), store::ANOTHER));
    survey.findings.extend(held.findings.into_iter().chain(other));
    survey.authorities.extend(held.authorities);
    if held.signature.is_some() {
        survey.signature = held.signature;
        survey.stored = held.stored.map(|stored| StoredKeys { authentication: None, ..stored });
    }
    Ok(())
}
