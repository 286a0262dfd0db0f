//! `cnsctl national …`: cards of other regions at our counters, and ours at theirs (§8, §9.3.3).

use clap::{Subcommand, ValueEnum};
use cns_protocol::national::{
    Ask, Decide, List, Request, RequestKind, RequestState, RevocationReason, Show, Standing,
};

use crate::certificate::{Shown, Who};
use crate::context::Context;
use crate::error::CliError;
use crate::output;

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// List the revocations that other regions' counters ask for and that nobody has decided on
    Requests,
    /// Decide on one of them, for the issuing body; who asked gets the decision with its next call
    Decide {
        /// The request's key
        id: String,
        /// Whether the certificate was revoked
        #[arg(value_enum)]
        decision: Decision,
        /// Why, or what follows, for who asked
        #[arg(long, value_name = "TEXT", default_value = "")]
        message: String,
    },
    /// Show how a request of ours stands, with the first part of the codes once it is there
    Show {
        /// The request's key
        id: String,
    },
    /// Have another region revoke a card that is in no reader, such as a lost one; a card that is there goes by
    /// `cnsctl counter run other-region`, and so do activations and duplicates
    Revoke {
        /// The card's serial number, 16 digits
        #[arg(long, value_name = "NUMBER")]
        card: String,
        /// The holder's codice fiscale
        #[arg(long, value_name = "CODE")]
        codice_fiscale: String,
        /// Why
        #[arg(long, value_enum)]
        reason: Reason,
        #[command(flatten)]
        shown: Shown,
        #[command(flatten)]
        who: Box<Who>,
    },
}

/// The issuing body's decision.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Decision {
    /// It was revoked
    Accept,
    /// It is not revoked
    Refuse,
}

/// Why a card is to be revoked (§9.7.1).
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Reason {
    /// The codes are compromised
    CompromisedCodes,
    /// The card is lost or stolen
    LossOrTheft,
    /// Holder data in the certificate is wrong or has changed
    WrongData,
    /// The card does not work
    Malfunction,
}

impl From<Reason> for RevocationReason {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::CompromisedCodes => Self::CompromisedCodes,
            Reason::LossOrTheft => Self::LossOrTheft,
            Reason::WrongData => Self::WrongData,
            Reason::Malfunction => Self::Malfunction,
        }
    }
}

pub(crate) fn run(context: &mut Context, verb: Verb) -> Result<(), CliError> {
    match verb {
        Verb::Requests => {
            let requests = context.call(&List {})?;
            context.show(&requests, |requests| list(requests))
        }
        Verb::Decide { id, decision, message } => {
            let accepted = decision == Decision::Accept;
            let standing = context.call(&Decide { id, accepted, message })?;
            context.show(&standing, text)
        }
        Verb::Show { id } => {
            let standing = context.call(&Show { id })?;
            context.show(&standing, text)
        }
        Verb::Revoke { card, codice_fiscale, reason, shown, who } => {
            let request = Request {
                kind: RequestKind::Revocation,
                card,
                codice_fiscale,
                email: None,
                delegate: false,
                reason: Some(reason.into()),
            };
            let (identified, paper) = (who.identified(), shown.read());
            let standing = context.call(&Ask { request, identified, paper })?;
            context.show(&standing, |standing| {
                format!("{}`cnsctl national show {}` tells the answer.", text(standing), standing.id)
            })
        }
    }
}

fn list(requests: &[Standing]) -> String {
    if requests.is_empty() {
        return "Nothing waits for a decision.".into();
    }
    let lines = requests.iter().map(|standing| {
        let request = &standing.request;
        let why = request.reason.map(|reason| format!(": {}", reason_text(reason))).unwrap_or_default();
        let (kind, card) = (request.kind.name(), &request.card);
        format!("{}  {kind} of card {card} of {}{why}", standing.id, request.codice_fiscale)
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn text(standing: &Standing) -> String {
    let request = &standing.request;
    let state = match standing.state {
        RequestState::Queued => "waits for its answer",
        RequestState::Accepted => "accepted",
        RequestState::Refused => "refused",
    };
    let part = |part: fn(&cns_protocol::national::FirstPart) -> &Option<String>| {
        standing.first_part.as_ref().and_then(|parts| part(parts).clone()).unwrap_or_default()
    };
    output::fields(&[
        ("Request", standing.id.clone()),
        ("For", format!("{} of card {}", request.kind.name(), request.card)),
        ("Holder", request.codice_fiscale.clone()),
        ("Reason", request.reason.map(reason_text).unwrap_or_default().to_owned()),
        ("State", state.to_owned()),
        ("Message", standing.message.clone()),
        ("First part of the PIN", part(|parts| &parts.pin)),
        ("First part of the PUK", part(|parts| &parts.puk)),
    ])
}

fn reason_text(reason: RevocationReason) -> &'static str {
    match reason {
        RevocationReason::CompromisedCodes => "codes compromised",
        RevocationReason::LossOrTheft => "loss or theft",
        RevocationReason::WrongData => "wrong or changed data",
        RevocationReason::Malfunction => "malfunction",
    }
}

#[cfg(test)]
mod tests {
    use cns_protocol::national::FirstPart;

    use super::*;

    fn standing(state: RequestState, first_part: Option<FirstPart>) -> Standing {
        Standing {
            id: "5f00".into(),
            request: Request {
                kind: RequestKind::Revocation,
                card: "6999000000001230".into(),
                codice_fiscale: "RSSMRA80A01H501U".into(),
                email: None,
                delegate: false,
                reason: Some(RevocationReason::LossOrTheft),
            },
            state,
            message: String::new(),
            attempts: 0,
            first_part,
        }
    }

    #[test]
    fn a_request_is_told_with_its_reason_and_the_first_part_of_the_codes() {
        assert_eq!(list(&[]), "Nothing waits for a decision.");
        let waiting = list(&[standing(RequestState::Queued, None)]);
        assert_eq!(waiting, "5f00  revocation of card 6999000000001230 of RSSMRA80A01H501U: loss or theft");
        let part = FirstPart { pin: None, puk: Some("24680135".into()) };
        let told = text(&standing(RequestState::Accepted, Some(part)));
        assert!(told.contains("First part of the PUK:  24680135"), "{told}");
        assert!(!told.contains("of the PIN") && !told.contains("Message"), "{told}");
    }
}
