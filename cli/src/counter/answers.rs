//! The answers to a procedure's steps: from options, else asked for at the terminal.

use clap::{Args, ValueEnum};
use cns_protocol::counter::{Answer, Document, DocumentKind, Procedure, Step, Verdict, Wants};

use crate::error::CliError;
use crate::prompt;

/// Answers given beforehand. What is missing is asked for at the terminal.
#[derive(Args)]
pub(crate) struct Answers {
    /// Confirm the steps that only a person can do (privacy notice read, wish stated, form signed, handed over …)
    #[arg(long)]
    confirm: bool,
    /// The identity document
    #[arg(long, value_enum, value_name = "KIND")]
    document: Option<Kind>,
    /// The document's number
    #[arg(long, value_name = "TEXT")]
    document_number: Option<String>,
    /// Who issued the document
    #[arg(long, value_name = "TEXT")]
    document_issuer: Option<String>,
    /// When the document expires
    #[arg(long, value_name = "YYYY-MM-DD")]
    document_expires: Option<String>,
    /// Whether the document agrees with the certificate's data (§9.3.2-5)
    #[arg(long, value_enum)]
    identity: Option<Identity>,
    /// The code outside the envelope (§9.3.2-6)
    #[arg(long, value_name = "CODE")]
    envelope: Option<String>,
    /// Whether the citizen wants the signature certificate (§9.3.2-8)
    #[arg(long, value_enum)]
    pub(crate) signature: Option<YesNo>,
    /// Whether the citizen asks for a card reader (§9.3.2-10)
    #[arg(long, value_enum)]
    reader_request: Option<YesNo>,
    /// Read the holder's PIN from standard input, where a step wants it
    #[arg(long)]
    pub(crate) pin_stdin: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum YesNo {
    Yes,
    No,
}

#[derive(Clone, Copy, ValueEnum)]
enum Identity {
    Match,
    Mismatch,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    IdentityCard,
    Passport,
    DrivingLicence,
    NauticalLicence,
    PensionBook,
    HeatingPlantLicence,
    FirearmsLicence,
    OtherStateCard,
}

impl From<Kind> for DocumentKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::IdentityCard => DocumentKind::IdentityCard,
            Kind::Passport => DocumentKind::Passport,
            Kind::DrivingLicence => DocumentKind::DrivingLicence,
            Kind::NauticalLicence => DocumentKind::NauticalLicence,
            Kind::PensionBook => DocumentKind::PensionBook,
            Kind::HeatingPlantLicence => DocumentKind::HeatingPlantLicence,
            Kind::FirearmsLicence => DocumentKind::FirearmsLicence,
            Kind::OtherStateCard => DocumentKind::OtherStateCard,
        }
    }
}

impl Answers {
    /// The answer to a step.
    pub(crate) fn answer(&self, procedure: &Procedure, step: &Step) -> Result<Answer, CliError> {
        let needed =
            |what: &str| CliError::AnswerNeeded { paragraph: step.paragraph.clone(), what: what.into() };
        match step.wants {
            Wants::Work | Wants::Pin => Ok(Answer::Confirmed),
            Wants::Confirmation if self.confirm => Ok(Answer::Confirmed),
            Wants::Confirmation => match prompt::yes_or_no(&step.text)? {
                Some(true) => Ok(Answer::Confirmed),
                Some(false) | None => Err(needed(&format!("{} (--confirm)", step.text))),
            },
            Wants::Document => self.document().map(Answer::Document).map_err(|what| needed(&what)),
            Wants::Verdict => {
                self.verdict(procedure, step)?.map(Answer::Verdict).ok_or_else(|| needed("--identity"))
            }
            Wants::EnvelopeCode => {
                let code = self
                    .envelope
                    .clone()
                    .map_or_else(|| prompt::question(&step.text), |code| Ok(Some(code)))?;
                code.map(Answer::Envelope).ok_or_else(|| needed("--envelope"))
            }
            Wants::Choice => self.choice(step)?.map(Answer::Wanted).ok_or_else(|| needed(&step.text)),
        }
    }

    fn document(&self) -> Result<Document, String> {
        let kind = self.document_kind().ok_or("--document KIND")?.into();
        let text = |given: &Option<String>, question: &str, option: &str| -> Result<String, String> {
            let answer = given.clone().map_or_else(|| prompt::question(question), |text| Ok(Some(text)));
            answer.ok().flatten().filter(|text| !text.is_empty()).ok_or_else(|| option.to_owned())
        };
        Ok(Document {
            kind,
            number: text(&self.document_number, "Document number:", "--document-number")?,
            issuer: text(&self.document_issuer, "Issued by:", "--document-issuer")?,
            expires: text(&self.document_expires, "Expires (YYYY-MM-DD):", "--document-expires")?,
        })
    }

    fn document_kind(&self) -> Option<Kind> {
        if self.document.is_some() {
            return self.document;
        }
        let names: Vec<_> = Kind::value_variants().iter().filter_map(ValueEnum::to_possible_value).collect();
        let names: Vec<_> = names.iter().map(clap::builder::PossibleValue::get_name).collect();
        let question = format!("Document ({}):", names.join(", "));
        loop {
            let answer = prompt::question(&question).ok().flatten().filter(|answer| !answer.is_empty())?;
            if let Ok(kind) = Kind::from_str(&answer, true) {
                return Some(kind);
            }
        }
    }

    fn verdict(&self, procedure: &Procedure, step: &Step) -> Result<Option<Verdict>, CliError> {
        match self.identity {
            Some(Identity::Match) => Ok(Some(Verdict::Match)),
            Some(Identity::Mismatch) => Ok(Some(Verdict::Mismatch)),
            None => {
                let data =
                    format!("{} ({})", super::holder(&procedure.holder), procedure.certificate_subject);
                let agrees = prompt::yes_or_no(&format!("{}\n{data}", step.text))?;
                Ok(agrees.map(|agrees| if agrees { Verdict::Match } else { Verdict::Mismatch }))
            }
        }
    }

    fn choice(&self, step: &Step) -> Result<Option<bool>, CliError> {
        let given = match step.paragraph.as_str() {
            "§9.3.2-10" => self.reader_request,
            _ => self.signature,
        };
        given.map_or_else(|| prompt::yes_or_no(&step.text), |given| Ok(Some(given == YesNo::Yes)))
    }
}
