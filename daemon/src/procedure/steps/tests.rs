//! The tables against the manual.

use cns_protocol::counter::{Applicant, Case};
use cns_protocol::operator::CounterKind;

use super::cases::COUNTER_KINDS;
use super::*;

fn walk(case: Case, applicant: Applicant, facts: Facts) -> Vec<&'static str> {
    let path = Path::of(case, Some(applicant));
    let mut found = Vec::new();
    let mut next = path.after(None, facts);
    while let Some(step) = next {
        found.push(step.paragraph);
        next = path.after(Some(step.name), facts);
    }
    found
}

const PLAIN: Facts = Facts {
    signature_wanted: false,
    own_area_envelope: false,
    area_codes: false,
    theft_or_loss: false,
    asked: None,
};
const WITH_SIGNATURE: Facts = Facts { signature_wanted: true, ..PLAIN };

const STANDARD: [&str; 10] = [
    "§9.3.2-1",
    "§9.3.2-3",
    "§6.1.2",
    "§9.3.2-5",
    "§9.3.2-6",
    "§9.3.2-7",
    "§9.3.2-8",
    "§9.3.2-9",
    "§9.3.2-10",
    "§9.3.2-11",
];

#[test]
fn the_standard_activation_walks_the_manuals_steps() {
    assert_eq!(walk(Case::Standard, Applicant::Holder, PLAIN), STANDARD);
    let with = walk(Case::Standard, Applicant::Holder, WITH_SIGNATURE);
    assert_eq!(with[6..10], ["§9.3.2-8", "§7-form", "§9.1.3", "§9.3.2-9"]);
    assert_eq!(with.len(), STANDARD.len() + 2);
}

#[test]
fn new_codes_are_exactly_as_the_activation_of_whoever_asks() {
    let activations = [
        (Applicant::Holder, Case::Standard),
        (Applicant::Parent, Case::Minor),
        (Applicant::EmancipatedMinor, Case::EmancipatedMinor),
        (Applicant::Guardian, Case::Ward),
        (Applicant::Delegate, Case::Delegation),
    ];
    for (applicant, case) in activations {
        let mut again = walk(Case::NewCodes, applicant, PLAIN);
        assert_eq!(again.remove(2), "§6.1", "who is at the counter is asked");
        assert_eq!(again, walk(case, applicant, PLAIN));
    }
}

#[test]
fn minors_wards_and_delegations_leave_out_steps_5_and_8() {
    let middle = |case, applicant| {
        let steps = walk(case, applicant, PLAIN);
        assert_eq!(steps[..2], STANDARD[..2]);
        let envelope = steps.iter().position(|step| *step == "§9.3.2-6").unwrap();
        assert_eq!(steps[envelope..], ["§9.3.2-6", "§9.3.2-7", "§9.3.2-9", "§9.3.2-10", "§9.3.2-11"]);
        steps[2..envelope].to_vec()
    };
    assert_eq!(middle(Case::Minor, Applicant::Parent), ["§6.4.1", "§6.4.1-declaration"]);
    assert_eq!(middle(Case::Ward, Applicant::Guardian), ["§6.4.3", "§6.4.3-declaration"]);
    assert_eq!(
        middle(Case::Delegation, Applicant::Delegate),
        ["§6.4.4", "§6.4.4-copy", "§6.4.4-delegation", "§6.4.4-certificate"]
    );
    // X4: the emancipated minor leaves out step 8 only.
    assert_eq!(middle(Case::EmancipatedMinor, Applicant::EmancipatedMinor), ["§6.1.2", "§6.4.2", "§9.3.2-5"]);
}

#[test]
fn a_later_signature_certificate_uses_no_envelope() {
    let steps = walk(Case::Signature, Applicant::Holder, WITH_SIGNATURE);
    assert_eq!(steps, ["§9.3.2-1", "§6.1.2", "§9.3.2-5", "§7-form", "§9.1.3", "§9.3.2-11"]);
}

#[test]
fn a_signature_pin_in_an_envelope_of_its_own_is_a_step_of_its_own() {
    let own = Facts { own_area_envelope: true, ..PLAIN };
    let wanted = Facts { signature_wanted: true, ..own };
    assert_eq!(walk(Case::Standard, Applicant::Holder, own), STANDARD, "nothing is wanted");
    let with = walk(Case::Standard, Applicant::Holder, wanted);
    assert_eq!(with[6..11], ["§9.3.2-8", "§7-form", "§9.1.3-envelope", "§9.1.3", "§9.3.2-9"]);
    let later = walk(Case::Signature, Applicant::Holder, wanted);
    assert_eq!(later[3..], ["§7-form", "§9.1.3-envelope", "§9.1.3", "§9.3.2-9", "§9.3.2-11"]);
    // New codes of a card that has an area: its PIN is set with the card's.
    let codes = walk(Case::NewCodes, Applicant::Holder, Facts { area_codes: true, ..own });
    assert_eq!(codes[5..9], ["§9.3.2-6", "§9.4-envelope", "§9.3.2-7", "§9.3.2-8"]);
    let renewal = walk(Case::Renewal, Applicant::Holder, wanted);
    assert_eq!(renewal, ["§9.3.2-1", "§6.1.2", "§9.3.2-5", "§7-form", "§9.1.3", "§9.3.2-11"]);
}

#[test]
fn a_card_of_another_region_gets_no_envelope_and_is_compared_as_printed() {
    for kind in [RequestKind::Activation, RequestKind::Duplicate] {
        let facts = Facts { asked: Some(kind), ..PLAIN };
        assert_eq!(
            walk(Case::OtherRegion, Applicant::Holder, facts),
            ["§9.3.2-1", "§6.1", "§6.1.2", "§9.3.3-4", "§9.3.3-5", "§8.2", "§8-out", "§9.3.3-6", "§9.3.2-11"]
        );
        assert!(walk(Case::OtherRegion, Applicant::Delegate, facts).contains(&"§6.4.4-delegation"));
    }
    // A revocation has a reason, and no codes.
    let facts = Facts { asked: Some(RequestKind::Revocation), theft_or_loss: true, ..PLAIN };
    let steps = walk(Case::OtherRegion, Applicant::Holder, facts);
    assert_eq!(steps[4..], ["§9.3.3-5", "§9.7.1", "§9.7.1-report", "§8-out", "§9.3.2-11"]);
}

#[test]
fn a_report_is_wanted_for_theft_and_loss_only() {
    let theft = Facts { theft_or_loss: true, ..PLAIN };
    let steps = walk(Case::Revocation, Applicant::Holder, theft);
    assert_eq!(steps, ["§6.1", "§6.1.2", "§9.7.1", "§9.7.1-report", "§9.7", "§9.3.2-11"]);
    assert!(!walk(Case::Revocation, Applicant::Holder, PLAIN).contains(&"§9.7.1-report"));
    assert_eq!(
        walk(Case::Suspension, Applicant::Parent, theft),
        ["§6.1", "§6.4.1", "§6.4.1-declaration", "§9.5", "§9.5.3", "§9.3.2-11"]
    );
    assert_eq!(
        walk(Case::Reactivation, Applicant::Holder, PLAIN),
        ["§6.1", "§6.1.2", "§9.6", "§9.6.2", "§9.3.2-11"]
    );
}

#[test]
fn no_delegate_changes_the_status_and_no_pharmacy_serves_other_regions() {
    for case in [Case::Suspension, Case::Reactivation, Case::Revocation] {
        assert!(!case_rule(case).applicants.contains(&Applicant::Delegate), "X14");
    }
    for case in Case::ALL {
        let open: Vec<_> =
            COUNTER_KINDS.into_iter().filter(|kind| case_rule(case).closed_by(*kind).is_none()).collect();
        if case == Case::OtherRegion {
            assert_eq!(open, [CounterKind::HealthAuthority, CounterKind::RegionalOffice]);
            assert_eq!(case_rule(case).closed_by(CounterKind::Pharmacy), Some("§8-counters"));
        } else {
            assert_eq!(open, COUNTER_KINDS, "{case:?}");
        }
    }
}

#[test]
fn every_step_has_a_paragraph_and_a_name_of_its_own_and_both_texts() {
    for case in Case::ALL {
        for applicant in case_rule(case).applicants {
            let (mut paragraphs, mut names) = (Vec::new(), Vec::new());
            for step in Path::of(case, Some(*applicant)).steps() {
                assert!(step.paragraph.starts_with('§'), "{}", step.paragraph);
                assert!(!paragraphs.contains(&step.paragraph) && !names.contains(&step.name), "{step:?}");
                assert!(!step.text.is_empty() && !step.text_it.is_empty(), "{step:?}");
                paragraphs.push(step.paragraph);
                names.push(step.name);
            }
        }
    }
}

#[test]
fn tables_are_keyed_as_they_say() {
    for case in Case::ALL {
        assert_eq!(case_rule(case).case, case);
    }
    for applicant in Applicant::ALL {
        assert_eq!(applicant_rule(applicant).applicant, applicant);
    }
}
