//! What the values of closed lists are called, in English and Italian.

use cns_protocol::certificate::PaperKind;
use cns_protocol::counter::{Applicant, DocumentKind, Evidence, Reason, Verdict};
use cns_protocol::national::RequestKind;

use crate::procedure::steps::StepName;

/// A text in English and in Italian.
pub(crate) type Label = (&'static str, &'static str);

/// The accepted identity documents (§6.1.2), with what they are called.
pub(super) const DOCUMENTS: [(DocumentKind, Label); 8] = [
    (DocumentKind::IdentityCard, ("identity card", "carta d'identità")),
    (DocumentKind::Passport, ("passport", "passaporto")),
    (DocumentKind::DrivingLicence, ("driving licence", "patente di guida")),
    (DocumentKind::NauticalLicence, ("nautical licence", "patente nautica")),
    (DocumentKind::PensionBook, ("pension book", "libretto di pensione")),
    (
        DocumentKind::HeatingPlantLicence,
        ("heating-plant operator's licence", "patentino di abilitazione alla conduzione di impianti termici"),
    ),
    (DocumentKind::FirearmsLicence, ("firearms licence", "porto d'armi")),
    (
        DocumentKind::OtherStateCard,
        (
            "other State card",
            "altra tessera di riconoscimento con fotografia e timbro, rilasciata da un'amministrazione dello Stato",
        ),
    ),
];

/// The document's kind in words.
pub(super) fn document(kind: DocumentKind) -> Label {
    let found = DOCUMENTS.iter().find(|(listed, _)| *listed == kind);
    found.map_or(("document", "documento"), |(_, label)| *label)
}

/// What was done in a step, in Italian.
pub(super) fn done(step: StepName) -> &'static str {
    match step {
        StepName::PrivacyNotice => "Presa visione dell'informativa sul trattamento dei dati personali",
        StepName::OperatorSession => "Operatore autenticato con la propria smart card",
        StepName::StatedWish => "Volontà dichiarata a voce",
        StepName::CardInReader => "Carta inserita nel lettore",
        StepName::Identification => "Titolare identificato con un documento valido",
        StepName::Comparison => "Dati del documento confrontati con quelli del certificato",
        StepName::Envelope => "Busta scelta",
        StepName::AreaEnvelopeForCodes | StepName::AreaEnvelope => "Busta del PIN di firma scelta",
        StepName::PinSet => "PIN impostato al valore contenuto nella busta",
        StepName::SignatureWanted => "Certificato di firma richiesto",
        StepName::RequestForm => "Modulo di richiesta firmato",
        StepName::SignatureWork | StepName::SignatureWithHolderPin => {
            "Certificato di firma creato e caricato sulla carta"
        }
        StepName::RenewalWork => "Certificato di firma rinnovato con una nuova chiave",
        StepName::HandOver => "Busta consegnata chiusa",
        StepName::ReaderRequest => "Lettore gratuito richiesto",
        StepName::InformationSheet => "Foglio informativo consegnato",
        StepName::Applicant => "Richiedente indicato",
        StepName::Representative => "Chi agisce per il titolare è stato identificato",
        StepName::Declaration => "Autodichiarazione firmata",
        StepName::Evidence => "Emancipazione dimostrata",
        StepName::HolderCopy => "Copia del documento del titolare ritirata",
        StepName::Delegation => "Delega firmata ritirata",
        StepName::MedicalCertificate => "Certificato medico esibito",
        StepName::CardComparison => "Dati del documento confrontati con quelli stampati sulla carta",
        StepName::NationalRequest => "Richiesta al sistema nazionale registrata",
        StepName::SecondPart => "Indirizzo per la seconda parte dei codici registrato",
        StepName::NationalWork => "Richiesta inviata al sistema nazionale",
        StepName::FirstPart => "Modulo con la prima parte dei codici consegnato",
        StepName::Reason => "Motivo dichiarato",
        StepName::Report => "Denuncia o autodichiarazione ritirata",
        StepName::SuspensionWork => "Certificati della carta sospesi",
        StepName::ReasonGone => "Dichiarato che i motivi della sospensione sono venuti meno",
        StepName::ReactivationWork => "Certificati della carta riattivati",
        StepName::RevocationWork => "Certificati della carta revocati",
    }
}

pub(super) fn applicant(applicant: Applicant) -> Label {
    match applicant {
        Applicant::Holder => ("the holder", "il titolare"),
        Applicant::Parent => ("a parent of the holder, who is a minor", "un genitore del titolare minorenne"),
        Applicant::EmancipatedMinor => ("the holder, an emancipated minor", "il titolare, minore emancipato"),
        Applicant::Guardian => (
            "the legal representative of the holder, a ward",
            "il rappresentante legale del titolare tutelato",
        ),
        Applicant::Delegate => ("a delegate of the holder", "un delegato del titolare"),
    }
}

pub(super) fn evidence(evidence: Evidence) -> Label {
    match evidence {
        Evidence::MarriageOnDocument => {
            ("marriage on the identity document", "matrimonio annotato sul documento d'identità")
        }
        Evidence::CourtAct => ("act of the court", "provvedimento del giudice"),
        Evidence::SelfDeclaration => ("self-declaration", "autodichiarazione"),
    }
}

/// What shows that a theft or loss was reported (§9.7.1).
pub(super) fn paper(kind: PaperKind) -> Label {
    match kind {
        PaperKind::Report => ("report to the police", "denuncia"),
        PaperKind::SelfDeclaration => ("self-declaration", "autodichiarazione"),
    }
}

pub(crate) fn reason(reason: Reason) -> Label {
    match reason {
        Reason::Theft => ("theft", "furto"),
        Reason::Loss => ("loss", "smarrimento"),
        Reason::CodesCompromised => ("codes compromised", "compromissione dei codici"),
        Reason::WrongData => {
            ("wrong or changed data in the certificate", "dati del certificato errati o variati")
        }
        Reason::Malfunction => ("malfunction", "malfunzionamento"),
        Reason::NotDelivered => ("card not delivered", "mancata consegna della carta"),
        Reason::Death => ("death of the holder", "decesso del titolare"),
        Reason::EntitlementEnded => {
            ("end of the health entitlement", "cessazione del diritto all'assistenza sanitaria")
        }
    }
}

pub(super) fn request(request: RequestKind) -> Label {
    match request {
        RequestKind::Activation => ("activation", "attivazione"),
        RequestKind::Duplicate => ("duplicate of PIN and PUK", "duplicato di PIN e PUK"),
        RequestKind::Revocation => ("revocation", "revoca"),
    }
}

pub(super) fn verdict(verdict: Verdict) -> Label {
    match verdict {
        Verdict::Match => ("they agree", "i dati coincidono"),
        Verdict::Mismatch => ("they differ", "i dati non coincidono"),
    }
}
