//! What the operator enters about people, reasons and requests: judged, and kept in the dossier.

use cns_protocol::counter::{Answer, Applicant, Evidence};
use cns_protocol::national::RequestKind;

use crate::procedure::answer::Led;
use crate::procedure::dossier::{Dossier, NationalRequest};
use crate::procedure::steps::StepRule;
use crate::procedure::{ProcedureError, clock, identity, labels};

/// What the operator should know when a delegate's copy differs from the card (X5).
const COPY_DIFFERS: &str = "The copy of the holder's document does not agree with the card's data (X5)";

/// Takes what a step wants to know.
pub(super) fn take(dossier: &mut Dossier, step: &StepRule, answer: Answer) -> Result<Led, ProcedureError> {
    use cns_protocol::counter::Wants;
    match (step.wants, answer) {
        (Wants::Applicant, Answer::Applicant(applicant)) => choose_applicant(dossier, step, applicant),
        (Wants::Document, Answer::Document(document)) => {
            let document = identity::check_document(document, clock::today())?;
            let outcome = format!("identified by {}", labels::document(document.kind).0);
            dossier.document = Some(document);
            Ok(Led::On(outcome))
        }
        (Wants::Representative, Answer::Representative(given)) => {
            let paragraph = step.paragraph;
            let judged = identity::check_representative(&given, &dossier.holder, paragraph, clock::today())?;
            let outcome = format!("identified by {}", labels::document(judged.kind).0);
            dossier.representative = Some(judged);
            Ok(Led::On(outcome))
        }
        (Wants::HolderCopy, Answer::HolderCopy(copy)) => {
            let copy = identity::check_person(&copy, step.paragraph)?;
            if identity::copy_agrees(&copy, &dossier.holder) {
                return Ok(Led::On("the copy agrees with the card's data".to_owned()));
            }
            dossier.warn(COPY_DIFFERS);
            Ok(Led::On("the copy does not agree with the card's data".to_owned()))
        }
        (Wants::Evidence, Answer::Evidence(evidence)) => Ok(Led::On(keep_evidence(dossier, evidence))),
        (Wants::Reason, Answer::Reason(reason)) => {
            if !dossier.rule().reasons.contains(&reason) {
                return Err(ProcedureError::rule(
                    step.paragraph,
                    "this is no reason for which it may be asked at a counter",
                    "questo motivo non è ammesso allo sportello",
                ));
            }
            dossier.reason = Some(reason);
            Ok(Led::On(labels::reason(reason).0.to_owned()))
        }
        (Wants::NationalRequest, Answer::NationalRequest(kind)) => choose_request(dossier, kind),
        (Wants::Email, Answer::Email(email)) => {
            let email = Some(identity::check_email(&email)?);
            let request = dossier.national_request.as_mut().ok_or(ProcedureError::Internal)?;
            request.email = email;
            Ok(Led::On(step.name.outcome().to_owned()))
        }
        (Wants::Paper, Answer::Paper(paper)) => {
            let paper = identity::check_paper(&paper, clock::today())?;
            let outcome = format!("collected: {}", labels::paper(paper.kind).0);
            dossier.paper = Some(paper);
            Ok(Led::On(outcome))
        }
        (wants, _) => Err(ProcedureError::WrongAnswer { wants }),
    }
}

fn choose_applicant(
    dossier: &mut Dossier,
    step: &StepRule,
    applicant: Applicant,
) -> Result<Led, ProcedureError> {
    if !dossier.rule().applicants.contains(&applicant) {
        // X14: a delegate gets codes only.
        return Err(ProcedureError::rule(
            step.paragraph,
            "who is at the counter may not ask for this case",
            "chi si presenta allo sportello non può richiedere questo caso",
        ));
    }
    identity::check_age(applicant, &dossier.holder, clock::today())?;
    dossier.applicant = Some(applicant);
    Ok(Led::On(labels::applicant(applicant).0.to_owned()))
}

/// §8-out. What a delegate may ask for, X14 leaves to §8: "activation (also by delegation)".
fn choose_request(dossier: &mut Dossier, kind: RequestKind) -> Result<Led, ProcedureError> {
    if dossier.applicant == Some(Applicant::Delegate) && kind != RequestKind::Activation {
        return Err(ProcedureError::rule(
            "§8-out",
            "a delegate may ask for the activation alone",
            "il delegato può chiedere solo l'attivazione",
        ));
    }
    dossier.national_request = Some(NationalRequest { request: kind, email: None, id: None });
    Ok(Led::On(labels::request(kind).0.to_owned()))
}

fn keep_evidence(dossier: &mut Dossier, evidence: Evidence) -> String {
    dossier.evidence = Some(evidence);
    format!("shown: {}", labels::evidence(evidence).0)
}
