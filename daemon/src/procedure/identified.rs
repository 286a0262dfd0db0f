//! Who was identified at a counter, where one request tells it and no procedure asks.

use cns_protocol::card::Holder;
use cns_protocol::certificate::Identified;
use cns_protocol::counter::{Applicant, Case};

use crate::procedure::steps::{applicant_rule, case_rule};
use crate::procedure::{ProcedureError, clock, identity};

/// Judges who was identified, as the procedures that change a status do (§6.1, §6.4, X13, X14); texts come back trimmed.
pub(crate) fn check(mut given: Identified, holder: &Holder) -> Result<Identified, ProcedureError> {
    let (who, today) = (applicant_rule(given.applicant), clock::today());
    if !case_rule(Case::Suspension).applicants.contains(&given.applicant) {
        return Err(ProcedureError::rule(
            "§6.1",
            "who is at the counter may not ask for this case",
            "chi si presenta allo sportello non può richiedere questo caso",
        ));
    }
    identity::check_age(given.applicant, holder, today)?;
    match given.applicant {
        Applicant::Holder | Applicant::EmancipatedMinor => {
            let document = given.document.take().ok_or_else(|| {
                ProcedureError::rule(
                    who.paragraph,
                    "the holder's identity document must be given",
                    "indicare il documento d'identità del titolare",
                )
            })?;
            given.document = Some(identity::check_document(document, today)?);
            given.representative = None;
            if given.applicant == Applicant::EmancipatedMinor && given.evidence.is_none() {
                return Err(ProcedureError::rule(
                    "§6.4.2",
                    "it must be said what shows that the minor is emancipated",
                    "indicare la documentazione che attesta l'emancipazione del minore",
                ));
            }
        }
        Applicant::Parent | Applicant::Guardian | Applicant::Delegate => {
            let person = given.representative.take().ok_or_else(|| {
                ProcedureError::rule(
                    who.paragraph,
                    "the data and document of who acts for the holder must be given",
                    "indicare i dati e il documento di chi agisce per il titolare",
                )
            })?;
            given.representative =
                Some(identity::check_representative(&person, holder, who.paragraph, today)?);
            given.document = None;
            if !given.declaration {
                return Err(ProcedureError::rule(
                    who.paragraph,
                    "the self-declaration must be signed first",
                    "deve prima essere firmata l'autodichiarazione",
                ));
            }
        }
    }
    Ok(given)
}
