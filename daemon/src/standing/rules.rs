//! Who may suspend, reactivate and revoke, and what they must show: the manual as data, by paragraph.

use cns_protocol::certificate::{Act, Channel};
use cns_protocol::counter::Reason;

/// What shows that a caller may ask for this holder's card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Codice fiscale and user code (§6.3).
    UserCode,
    /// Surname and name as well (§9.5.2).
    NamesAndUserCode,
    /// An operator at work, who has identified somebody in person (§6.1, §6.4).
    Identified,
    /// Nothing: the caller is the office itself.
    Office,
}

/// What the manual says of a channel and an act.
#[derive(Clone, Copy, Debug)]
pub enum Verdict {
    /// It may.
    May {
        /// What it must show.
        proof: Proof,
        /// The reasons for which it may.
        reasons: &'static [Reason],
        /// Whether one of them must be stated.
        must_state: bool,
    },
    /// It may not.
    MayNot {
        /// Why, in English.
        message: &'static str,
        /// Why, in Italian.
        italian: &'static str,
        /// What to do instead, in English and Italian.
        hint: (&'static str, &'static str),
    },
}

/// A row of the table.
#[derive(Debug)]
pub struct Rule {
    /// What is asked.
    pub act: Act,
    /// By whom.
    pub channel: Channel,
    /// The paragraph.
    pub paragraph: &'static str,
    /// What it says.
    pub verdict: Verdict,
}

/// The reasons for which a card is suspended (§9.5).
const SUSPENSION: &[Reason] = &[Reason::Theft, Reason::Loss, Reason::CodesCompromised];
/// Those for which its holder has it revoked (§9.7.1).
const BY_HOLDER: &[Reason] =
    &[Reason::CodesCompromised, Reason::Loss, Reason::Theft, Reason::WrongData, Reason::Malfunction];
/// Those for which the issuing body does (§9.7.2).
const BY_BODY: &[Reason] =
    &[Reason::WrongData, Reason::NotDelivered, Reason::Death, Reason::EntitlementEnded];

const ONLY_AT_COUNTER: Verdict = Verdict::MayNot {
    message: "a card is revoked only at a counter",
    italian: "la revoca si chiede solo allo sportello",
    hint: (
        "Suspend the card (§9.5), and send the holder to a counter",
        "Sospendere la carta (§9.5) e indirizzare il titolare a uno sportello",
    ),
};
const ONLY_HOLDER: Verdict = Verdict::MayNot {
    message: "suspension and reactivation are for the holder to ask",
    italian: "la sospensione e la riattivazione sono richieste dal titolare",
    hint: (
        "The holder asks on the web, by telephone or at a counter; the issuing body may revoke (§9.7.2)",
        "Il titolare le richiede via web, per telefono o allo sportello; l'ente emettitore può revocare (§9.7.2)",
    ),
};

/// Every act by every channel.
pub static RULES: [Rule; 12] = [
    may(Act::Suspend, Channel::Web, "§9.5.1", Proof::UserCode, SUSPENSION, false),
    may(Act::Suspend, Channel::CallCentre, "§9.5.2", Proof::NamesAndUserCode, SUSPENSION, true),
    may(Act::Suspend, Channel::Counter, "§9.5.3", Proof::Identified, SUSPENSION, true),
    Rule { act: Act::Suspend, channel: Channel::IssuingBody, paragraph: "§9.5", verdict: ONLY_HOLDER },
    may(Act::Reactivate, Channel::Web, "§9.6", Proof::UserCode, &[], false),
    // X3: the list of §6 has it, its history and §9.6 do not.
    Rule {
        act: Act::Reactivate,
        channel: Channel::CallCentre,
        paragraph: "§9.6",
        verdict: Verdict::MayNot {
            message: "a card is not reactivated by telephone",
            italian: "la riattivazione non è possibile per telefono",
            hint: (
                "The holder asks on the web or at a counter",
                "Il titolare la richiede via web o allo sportello",
            ),
        },
    },
    may(Act::Reactivate, Channel::Counter, "§9.6.2", Proof::Identified, &[], false),
    Rule { act: Act::Reactivate, channel: Channel::IssuingBody, paragraph: "§9.6", verdict: ONLY_HOLDER },
    Rule { act: Act::Revoke, channel: Channel::Web, paragraph: "§9.7.1", verdict: ONLY_AT_COUNTER },
    Rule { act: Act::Revoke, channel: Channel::CallCentre, paragraph: "§9.7.1", verdict: ONLY_AT_COUNTER },
    may(Act::Revoke, Channel::Counter, "§9.7.1", Proof::Identified, BY_HOLDER, true),
    may(Act::Revoke, Channel::IssuingBody, "§9.7.2", Proof::Office, BY_BODY, true),
];

const fn may(
    act: Act,
    channel: Channel,
    paragraph: &'static str,
    proof: Proof,
    reasons: &'static [Reason],
    must_state: bool,
) -> Rule {
    Rule { act, channel, paragraph, verdict: Verdict::May { proof, reasons, must_state } }
}

/// The rule of an act by a channel.
#[must_use]
pub fn rule(act: Act, channel: Channel) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.act == act && rule.channel == channel)
}

/// What a caller must show to be told how a card stands.
#[must_use]
pub fn proof_to_look(channel: Channel) -> (Proof, &'static str) {
    match channel {
        Channel::Web => (Proof::UserCode, "§6.3"),
        Channel::CallCentre => (Proof::UserCode, "§6.2"),
        Channel::Counter => (Proof::Identified, "§6.1"),
        Channel::IssuingBody => (Proof::Office, "§9.7.2"),
    }
}

/// Whether the report or a self-declaration must be shown (§9.7.1).
#[must_use]
pub fn needs_paper(act: Act, channel: Channel, reason: Option<Reason>) -> bool {
    act == Act::Revoke && channel == Channel::Counter && matches!(reason, Some(Reason::Theft | Reason::Loss))
}

#[cfg(test)]
mod tests {
    use cns_protocol::counter::Case;

    use super::*;
    use crate::procedure::status::reasons::REVOCATION;
    use crate::procedure::steps::case_rule;

    #[test]
    fn every_act_by_every_channel_has_one_rule() {
        for act in Act::ALL {
            for channel in Channel::ALL {
                let rules = RULES.iter().filter(|rule| rule.act == act && rule.channel == channel);
                assert_eq!(rules.count(), 1, "{act:?} by {channel:?}");
            }
        }
        assert_eq!(RULES.len(), Act::ALL.len() * Channel::ALL.len());
    }

    /// The counter's procedures have the same reasons, and every reason that is allowed has a code for the list.
    #[test]
    fn reasons_are_those_of_the_counters_cases_and_have_codes() {
        let of = |act, channel| match rule(act, channel).unwrap().verdict {
            Verdict::May { reasons, .. } => reasons,
            Verdict::MayNot { .. } => &[],
        };
        let same = |left: &[Reason], right: &[Reason]| {
            left.len() == right.len() && left.iter().all(|reason| right.contains(reason))
        };
        assert!(same(of(Act::Suspend, Channel::Counter), case_rule(Case::Suspension).reasons));
        assert!(same(of(Act::Revoke, Channel::Counter), case_rule(Case::Revocation).reasons));
        for rule in &REVOCATION {
            for (channel, own) in [(Channel::Counter, "§9.7.1"), (Channel::IssuingBody, "§9.7.2")] {
                let listed = rule.paragraphs.iter().any(|paragraph| paragraph.starts_with(own));
                assert_eq!(of(Act::Revoke, channel).contains(&rule.reason), listed, "{:?}", rule.reason);
            }
        }
    }
}
