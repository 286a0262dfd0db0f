//! `cnsctl custody envelopes …`: blind envelopes by the batch.

use std::io::{self, BufRead, IsTerminal};

use clap::{Args, Subcommand, ValueEnum};
use cns_protocol::custody::{
    AssignEnvelopes, Assignee, Changed, Choices, DecideVoid, EnvelopeChoices, EnvelopeStanding, Envelopes,
    ReturnEnvelopes, ShowEnvelope, Stock, VoidEnvelopes, VoidReason, VoidRequest, VoidRequests, Voided,
};

use super::asker;
use crate::context::Context;
use crate::error::CliError;
use crate::output;

/// The most bytes that are read from a scanner.
const MAXIMUM_INPUT: u64 = 64 * 1024;

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Assign envelopes to an operator, or to a counter for all who work there (§9.3.2-6)
    Assign {
        /// The operator's identifier
        #[arg(long, required_unless_present = "counter", conflicts_with = "counter")]
        operator: Option<String>,
        /// The counter's name, as the registry of operators has it
        #[arg(long)]
        counter: Option<String>,
        #[command(flatten)]
        which: Which,
    },
    /// Put assigned envelopes, unopened and whole, back into the stock
    Return {
        /// Why, for the audit log
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
        #[command(flatten)]
        which: Which,
    },
    /// Take lost or damaged envelopes out of use for ever and destroy their secrets
    Void {
        /// Why
        #[arg(long, value_enum)]
        reason: Reason,
        /// More, for the record
        #[arg(long, value_name = "TEXT")]
        note: Option<String>,
        #[command(flatten)]
        which: Which,
    },
    /// List what was asked to be void and waits for a second person
    Requests,
    /// Confirm, as a second person, that the envelopes of a request are void
    Confirm {
        /// The request
        request: String,
    },
    /// Turn a request to void down: its envelopes can be used again
    TurnDown {
        /// The request
        request: String,
    },
    /// Show how one envelope stands
    Show {
        /// The code outside
        code: String,
    },
    /// Count envelopes by state, counter and operator
    Stock,
    /// For the auditor: in which order envelopes were taken, and what chance would have (§9.3.2-6)
    Choices,
}

/// Which envelopes.
#[derive(Args)]
pub(crate) struct Which {
    /// The codes outside the envelopes. Without codes and range they are read from standard input, one a line, as a
    /// scanner types them; an empty line ends the list
    codes: Vec<String>,
    /// The lowest code of a range
    #[arg(long, value_name = "CODE", requires = "to", conflicts_with = "codes")]
    from: Option<String>,
    /// The highest code of a range
    #[arg(long, value_name = "CODE", requires = "from")]
    to: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Reason {
    /// Nobody knows where they are
    Lost,
    /// Opened, torn, wet
    Damaged,
    /// Misprinted, recalled, or what the note says
    Other,
}

impl From<Reason> for VoidReason {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::Lost => Self::Lost,
            Reason::Damaged => Self::Damaged,
            Reason::Other => Self::Other,
        }
    }
}

impl Which {
    fn envelopes(self) -> Result<Envelopes, CliError> {
        match (self.from, self.to) {
            (Some(from), Some(to)) => Ok(Envelopes::Range { from, to }),
            (_, _) if self.codes.is_empty() => scanned(io::stdin().lock()).map(Envelopes::Codes),
            (_, _) => Ok(Envelopes::Codes(self.codes)),
        }
    }
}

/// Reads codes until an empty line or the end. A scanner ends each with CR, LF or both.
fn scanned(input: impl BufRead) -> Result<Vec<String>, CliError> {
    if io::stdin().is_terminal() {
        output::note("Scan or type the codes, one a line; an empty line ends.");
    }
    let mut codes = Vec::new();
    for line in input.take(MAXIMUM_INPUT).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        let before = codes.len();
        codes.extend(line.split('\r').map(str::trim).filter(|code| !code.is_empty()).map(str::to_owned));
        if codes.len() == before {
            break;
        }
    }
    Ok(codes)
}

pub(crate) fn run(context: &mut Context, verb: Verb) -> Result<(), CliError> {
    match verb {
        Verb::Assign { operator, counter, which } => {
            // The arguments demand one of the two.
            let to =
                operator.map_or_else(|| Assignee::Counter(counter.unwrap_or_default()), Assignee::Operator);
            let changed = context.call(&AssignEnvelopes { envelopes: which.envelopes()?, to })?;
            context.show(&changed, |changed| changed_text(changed, "assigned"))
        }
        Verb::Return { note, which } => {
            let changed = context.call(&ReturnEnvelopes { envelopes: which.envelopes()?, note })?;
            context.show(&changed, |changed| changed_text(changed, "back in the stock"))
        }
        Verb::Void { reason, note, which } => {
            let envelopes = which.envelopes()?;
            let voided = context.call(&VoidEnvelopes { envelopes, reason: reason.into(), note })?;
            context.show(&voided, voided_text)
        }
        Verb::Requests => {
            let requests = context.call(&VoidRequests {})?;
            context.show(&requests, |requests| requests_text(requests))
        }
        Verb::Confirm { request } => {
            let changed = context.call(&DecideVoid { request, confirm: true })?;
            context.show(&changed, |changed| changed_text(changed, "void"))
        }
        Verb::TurnDown { request } => {
            let changed = context.call(&DecideVoid { request, confirm: false })?;
            context.show(&changed, |changed| changed_text(changed, "in use again"))
        }
        Verb::Show { code } => {
            let standing = context.call(&ShowEnvelope { code })?;
            context.show(&standing, standing_text)
        }
        Verb::Stock => {
            let report = context.call(&Stock {})?;
            context.show(&report, super::stock_text)
        }
        Verb::Choices => {
            let choices = context.call(&EnvelopeChoices {})?;
            context.show(&choices, |choices| choices_text(choices))
        }
    }
}

fn choices_text(choices: &[Choices]) -> String {
    if choices.is_empty() {
        return "Nobody has had several envelopes to choose from.".into();
    }
    let lines = choices.iter().map(|one| {
        let names: Vec<&str> =
            [&one.counter, &one.operator].into_iter().filter_map(Option::as_deref).collect();
        let Choices { choices, beside_the_last, expected, .. } = one;
        format!(
            "{}: the one beside the last {beside_the_last} times of {choices}, by chance {expected}",
            names.join(", ")
        )
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn passed_over(count: u64) -> String {
    if count == 0 { String::new() } else { format!(" {count} void ones were passed over.") }
}

fn changed_text(changed: &Changed, what: &str) -> String {
    format!("{} envelopes are {what}.{}", changed.envelopes, passed_over(changed.passed_over))
}

fn voided_text(voided: &Voided) -> String {
    let (count, passed) = (voided.envelopes, passed_over(voided.passed_over));
    voided.request.as_ref().map_or_else(
        || format!("{count} envelopes are void; their secrets are destroyed.{passed}"),
        |id| {
            format!(
                "{count} envelopes can be used by nobody.{passed}\n\
                 A second person must confirm: cnsctl custody envelopes confirm {id}"
            )
        },
    )
}

fn requests_text(requests: &[VoidRequest]) -> String {
    if requests.is_empty() {
        return "Nothing waits for a second person.".into();
    }
    let lines = requests.iter().map(|request| {
        let who = asker(request.user, request.operator.as_deref());
        let note = request.note.as_ref().map(|note| format!(" ({note})")).unwrap_or_default();
        let (id, at) = (&request.request, &request.requested_at);
        format!("{id}  {at}  {who}: {}, {}{note}", request.envelopes, request.reason.name())
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn standing_text(standing: &EnvelopeStanding) -> String {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    output::fields(&[
        ("Envelope", standing.code.clone()),
        ("State", standing.state.clone()),
        ("Counter", text(&standing.counter)),
        ("Operator", text(&standing.operator)),
        ("Waits to be void, request", text(&standing.void_request)),
        ("Procedure", text(&standing.procedure)),
        ("Card", text(&standing.card)),
        ("For", text(&standing.purpose)),
        ("In custody since", standing.created_at.clone()),
        ("Assigned", text(&standing.assigned_at)),
        ("Used", text(&standing.used_at)),
        ("Void since", text(&standing.voided_at)),
        ("Because", text(&standing.void_reason)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_told_beside_what_chance_would_have() {
        let one = Choices {
            operator: Some("op1".into()),
            choices: 29,
            beside_the_last: 28,
            expected: 1,
            ..Choices::default()
        };
        assert_eq!(choices_text(&[one]), "op1: the one beside the last 28 times of 29, by chance 1");
    }

    #[test]
    fn a_scanner_ends_a_code_with_cr_lf_or_both() {
        for input in
            ["1234567889\r\n 0000000098\r\n", "1234567889\r0000000098\r", "1234567889\n0000000098\n\nmore\n"]
        {
            assert_eq!(scanned(input.as_bytes()).unwrap(), ["1234567889", "0000000098"], "{input:?}");
        }
        assert!(scanned("\r\n1234567889\n".as_bytes()).unwrap().is_empty());
        let endless = io::BufReader::new(io::repeat(b'1'));
        assert_eq!(scanned(endless).unwrap().len(), 1);
    }
}
