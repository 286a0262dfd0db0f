//! `cnsctl certificate …`: the certificates of a card that need be in no reader (§9.5–§9.7).

use clap::{Args, Subcommand, ValueEnum};
use cns_protocol::card::KeyUse;
use cns_protocol::certificate::{
    Act, CardStanding, CertificateStanding, ChangeRequest, ChangeState, Channel, Identified, Paper,
    PaperKind, Reactivate, Revoke, Standing, Status, Suspend,
};

use cns_protocol::counter::{Applicant, Document, DocumentKind, Evidence, Reason, Representative};
use serde::de::DeserializeOwned;

use crate::context::Context;
use crate::error::CliError;
use crate::output;
use crate::prompt::{self, Source};

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Tell how the certificates of a card stand
    Status {
        #[command(flatten)]
        target: Target,
    },
    /// Suspend all certificates of a card (§9.5)
    Suspend {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        why: Why,
        #[command(flatten)]
        who: Box<Who>,
        #[command(flatten)]
        sign: Sign,
    },
    /// Reactivate a suspended card (§9.6): the reason of the suspension has gone
    Reactivate {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        who: Box<Who>,
        #[command(flatten)]
        sign: Sign,
    },
    /// Revoke all certificates of a card for ever (§9.7)
    Revoke {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        why: Why,
        #[command(flatten)]
        who: Box<Who>,
        #[command(flatten)]
        sign: Sign,
    },
}

/// Whose card, and in which role.
#[derive(Args)]
pub(crate) struct Target {
    /// In which of your roles; may be left out by who has one of them only
    #[arg(long)]
    channel: Option<Role>,
    /// The card's serial number
    #[arg(long, value_name = "NUMBER")]
    card: Option<String>,
    /// The holder's codice fiscale; without --card the user code is asked for, unless --channel is counter or issuing-body
    #[arg(long, value_name = "CODE")]
    codice_fiscale: Option<String>,
    /// The holder's surname, for the call centre
    #[arg(long)]
    surname: Option<String>,
    /// The holder's given name, for the call centre
    #[arg(long)]
    name: Option<String>,
    /// Read user code and PIN from standard input, a line each, instead of the terminal
    #[arg(long)]
    pin_stdin: bool,
}

/// Why, and what shows it.
#[derive(Args)]
pub(crate) struct Why {
    /// theft, loss, codes-compromised, wrong-data, malfunction, not-delivered, death, entitlement-ended
    #[arg(long, value_parser = word::<Reason>)]
    reason: Option<Reason>,
    #[command(flatten)]
    shown: Shown,
}

/// What shows a theft or loss (§9.7.1).
#[derive(Args)]
pub(crate) struct Shown {
    /// The number of the report to the police
    #[arg(long, value_name = "NUMBER", requires_all = ["report_issuer", "paper_date"])]
    report: Option<String>,
    /// Who took the report
    #[arg(long, value_name = "OFFICE")]
    report_issuer: Option<String>,
    /// There is a self-declaration instead of a report
    #[arg(long, conflicts_with = "report", requires = "paper_date")]
    self_declaration: bool,
    /// The date of the report or self-declaration, YYYY-MM-DD
    #[arg(long, value_name = "DATE")]
    paper_date: Option<String>,
}

/// Who was identified at the counter (§6.1, §6.4).
#[derive(Args)]
pub(crate) struct Who {
    /// holder, parent, emancipated-minor, guardian
    #[arg(long, value_parser = word::<Applicant>, default_value = "holder")]
    applicant: Applicant,
    /// The identity document: identity-card, passport, driving-licence, …
    #[arg(long, value_parser = word::<DocumentKind>, requires_all = ["document_number", "document_issuer", "document_expires"])]
    document: Option<DocumentKind>,
    /// Its number
    #[arg(long, value_name = "NUMBER")]
    document_number: Option<String>,
    /// Who issued it
    #[arg(long, value_name = "OFFICE")]
    document_issuer: Option<String>,
    /// When it expires, YYYY-MM-DD
    #[arg(long, value_name = "DATE")]
    document_expires: Option<String>,
    /// Surname of who acts for the holder
    #[arg(long, value_name = "SURNAME")]
    for_holder_surname: Option<String>,
    /// Given name of who acts for the holder
    #[arg(long, value_name = "NAME")]
    for_holder_name: Option<String>,
    /// Codice fiscale of who acts for the holder
    #[arg(long, value_name = "CODE")]
    for_holder_codice_fiscale: Option<String>,
    /// The self-declaration of who acts for the holder was signed
    #[arg(long)]
    declaration: bool,
    /// What shows that a minor is emancipated: marriage-on-document, court-act, self-declaration
    #[arg(long, value_parser = word::<Evidence>)]
    evidence: Option<Evidence>,
}

/// Whether the operator's card signs.
#[derive(Args)]
pub(crate) struct Sign {
    /// The authority wants the operator's signature (§7): ask for the PIN of the operator's card
    #[arg(long)]
    sign: bool,
}

/// In which role.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Role {
    /// The web area
    Web,
    /// The call centre
    CallCentre,
    /// A counter, with an operator at work
    Counter,
    /// The issuing body
    IssuingBody,
}

impl Role {
    fn channel(self) -> Channel {
        match self {
            Self::Web => Channel::Web,
            Self::CallCentre => Channel::CallCentre,
            Self::Counter => Channel::Counter,
            Self::IssuingBody => Channel::IssuingBody,
        }
    }
}

/// A word of a closed list of the protocol.
fn word<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(text.into()).map_err(|error| error.to_string())
}

pub(crate) fn run(context: &mut Context, verb: Verb) -> Result<(), CliError> {
    match verb {
        Verb::Status { target } => {
            let user_code = target.user_code()?;
            let Target { channel, card, codice_fiscale, .. } = target;
            let channel = channel.map(Role::channel);
            let told = context.call(&Status { channel, card, codice_fiscale, user_code })?;
            context.show(&told, text)
        }
        Verb::Suspend { target, why, who, sign } => {
            change(context, Act::Suspend, target, Some(why), (*who, sign))
        }
        Verb::Reactivate { target, who, sign } => {
            change(context, Act::Reactivate, target, None, (*who, sign))
        }
        Verb::Revoke { target, why, who, sign } => {
            change(context, Act::Revoke, target, Some(why), (*who, sign))
        }
    }
}

fn change(
    context: &mut Context,
    act: Act,
    target: Target,
    why: Option<Why>,
    (who, Sign { sign }): (Who, Sign),
) -> Result<(), CliError> {
    let user_code = target.user_code()?;
    let operator_pin = if sign {
        Some(prompt::secret(Source::from_flag(target.pin_stdin), "the PIN of the operator's card")?)
    } else {
        None
    };
    let (reason, paper) = why.map(Why::read).unwrap_or_default();
    let request = ChangeRequest {
        channel: target.channel.map(Role::channel),
        card: target.card,
        codice_fiscale: target.codice_fiscale,
        surname: target.surname,
        name: target.name,
        user_code,
        reason,
        paper,
        reason_gone: act == Act::Reactivate,
        identified: who.read(),
        operator_pin,
    };
    let told = match act {
        Act::Suspend => context.call(&Suspend(request))?,
        Act::Reactivate => context.call(&Reactivate(request))?,
        Act::Revoke => context.call(&Revoke(request))?,
    };
    context.show(&told, text)?;
    let refused = told.certificates.iter().filter(|one| is_refused(one)).count();
    if refused == 0 { Ok(()) } else { Err(CliError::CertificatesRefused(refused)) }
}

fn is_refused(certificate: &CertificateStanding) -> bool {
    certificate.change.as_ref().is_some_and(|change| change.state == ChangeState::Refused)
}

impl Target {
    /// The user code of a holder who asks from afar.
    fn user_code(&self) -> Result<Option<cns_protocol::SecretText>, CliError> {
        let office = matches!(self.channel, Some(Role::Counter | Role::IssuingBody));
        if office || self.card.is_some() || self.codice_fiscale.is_none() {
            return Ok(None);
        }
        prompt::secret(Source::from_flag(self.pin_stdin), "the holder's user code").map(Some)
    }
}

impl Why {
    fn read(self) -> (Option<Reason>, Option<Paper>) {
        (self.reason, self.shown.read())
    }
}

impl Shown {
    /// The paper, if one was named.
    pub(crate) fn read(self) -> Option<Paper> {
        let kind = match (&self.report, self.self_declaration) {
            (Some(_), _) => PaperKind::Report,
            (None, true) => PaperKind::SelfDeclaration,
            (None, false) => return None,
        };
        let (number, issuer, date) = (self.report, self.report_issuer, self.paper_date.unwrap_or_default());
        Some(Paper { kind, number, issuer, date })
    }
}

impl Who {
    /// Who was identified, if that was said.
    fn read(self) -> Option<Identified> {
        self.document.is_some().then(|| self.identified())
    }

    /// Who was identified, as far as it was said.
    pub(crate) fn identified(self) -> Identified {
        let document = self.document.map(|kind| Document {
            kind,
            number: self.document_number.unwrap_or_default(),
            issuer: self.document_issuer.unwrap_or_default(),
            expires: self.document_expires.unwrap_or_default(),
        });
        let (applicant, declaration, evidence) = (self.applicant, self.declaration, self.evidence);
        let for_holder = matches!(applicant, Applicant::Parent | Applicant::Guardian | Applicant::Delegate);
        if !for_holder {
            return Identified { applicant, document, representative: None, declaration, evidence };
        }
        let representative = document.map(|Document { kind, number, issuer, expires }| Representative {
            surname: self.for_holder_surname.unwrap_or_default(),
            name: self.for_holder_name.unwrap_or_default(),
            codice_fiscale: self.for_holder_codice_fiscale.unwrap_or_default(),
            kind,
            number,
            issuer,
            expires,
        });
        Identified { applicant, document: None, representative, declaration, evidence }
    }
}

fn text(told: &CardStanding) -> String {
    told.certificates
        .iter()
        .fold(format!("Card {}\n", told.card), |text, one| text + "\n" + &certificate(one))
}

fn certificate(one: &CertificateStanding) -> String {
    let key_use = match one.key_use {
        KeyUse::Authentication => "authentication",
        KeyUse::Signature => "signature",
    };
    let standing = match one.standing {
        Standing::Good => "good",
        Standing::Suspended => "suspended",
        Standing::Revoked => "revoked",
    };
    let asked = one.change.as_ref().map(|change| {
        let act = match change.act {
            Act::Suspend => "suspension",
            Act::Reactivate => "reactivation",
            Act::Revoke => "revocation",
        };
        let state = match change.state {
            ChangeState::Pending => format!("pending after {} attempts", change.attempts),
            ChangeState::Done => "done".to_owned(),
            ChangeState::Refused => "refused".to_owned(),
        };
        format!("{act} ({}), {}: {state}", change.paragraph, change.asked)
    });
    let said = one.change.as_ref().and_then(|change| change.said.clone()).unwrap_or_default();
    output::fields(&[
        ("Certificate", format!("{key_use}, {}", one.serial)),
        ("Stands", format!("{standing}, since {}", one.since)),
        ("Valid until", one.not_after.clone()),
        ("On the card", if one.removed { "no longer".to_owned() } else { String::new() }),
        ("Asked", asked.unwrap_or_default()),
        ("Authority", said),
    ])
}
