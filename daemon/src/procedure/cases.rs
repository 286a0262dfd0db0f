//! `counter.cases`: the tables of the manual as clients see them.

use cns_protocol::counter::{ApplicantInfo, Case, CaseInfo, Refusal};
use cns_protocol::operator::CounterKind;

use crate::procedure::steps::cases::{COUNTER_KINDS, Needs};
use crate::procedure::steps::{Path, StepRule, applicant_rule, case_rule};
use crate::procedure::{Engine, ProcedureError};

impl Engine {
    /// Every case, and whether a counter of this kind can do it now.
    pub(super) fn cases(&self, kind: CounterKind) -> Vec<CaseInfo> {
        Case::ALL.into_iter().map(|case| self.case(case, kind)).collect()
    }

    fn case(&self, case: Case, kind: CounterKind) -> CaseInfo {
        let rule = case_rule(case);
        let refused = self.refuse_case(case, kind).and_then(|()| {
            if case == Case::Renewal {
                self.refuse_closed_renewal()?;
            }
            if rule.needs == Needs::Certifier && self.certifier.is_none() {
                return Err(ProcedureError::NoAuthority);
            }
            Ok(())
        });
        CaseInfo {
            case,
            paragraph: rule.paragraph.to_owned(),
            text: rule.text.to_owned(),
            text_it: rule.text_it.to_owned(),
            applicants: rule
                .applicants
                .iter()
                .map(|applicant| {
                    let who = applicant_rule(*applicant);
                    ApplicantInfo {
                        applicant: *applicant,
                        paragraph: who.paragraph.to_owned(),
                        text: who.text.to_owned(),
                        text_it: who.text_it.to_owned(),
                        steps: Path::of(case, Some(*applicant)).steps().map(StepRule::to_step).collect(),
                    }
                })
                .collect(),
            counter_kinds: COUNTER_KINDS.into_iter().filter(|kind| rule.closed_by(*kind).is_none()).collect(),
            refusal: refused.err().map(|error| Refusal {
                paragraph: error.paragraph().map(str::to_owned),
                text: error.to_string(),
                text_it: error.italian().unwrap_or_default(),
            }),
        }
    }
}
