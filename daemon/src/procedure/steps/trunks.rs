//! The steps, and the trunks that they form.
//!
//! Where a trunk has [`IDENTIFICATION`], who is at the counter decides what stands there; where it has [`APPLICANT`],
//! that is asked if the case leaves it open.

use cns_protocol::counter::Wants;

use super::{StepName, StepRule, When};

/// A step in its place that a person confirms.
const fn confirm(
    name: StepName,
    paragraph: &'static str,
    text: &'static str,
    text_it: &'static str,
) -> StepRule {
    StepRule { name, paragraph, wants: Wants::Confirmation, when: When::Always, text, text_it }
}

const PRIVACY_NOTICE: StepRule = StepRule {
    name: StepName::PrivacyNotice,
    paragraph: "§9.3.2-1",
    wants: Wants::Confirmation,
    when: When::Always,
    text: "Invite the citizen to read the privacy notice.",
    text_it: "Invitare il cittadino a prendere visione dell'informativa sul trattamento dei dati personali.",
};

const OPERATOR_SESSION: StepRule = StepRule {
    name: StepName::OperatorSession,
    paragraph: "§9.3.2-2",
    wants: Wants::Confirmation,
    when: When::AtStart,
    text: "Log in with the operator's own smart card.",
    text_it: "Autenticarsi con la propria smart card di operatore.",
};

const CARD_IN_READER: StepRule = StepRule {
    name: StepName::CardInReader,
    paragraph: "§9.3.2-4",
    wants: Wants::Confirmation,
    when: When::AtStart,
    text: "Put the citizen's card into the reader.",
    text_it: "Inserire la TS-CNS del cittadino nel lettore.",
};

const IDENTIFICATION: StepRule = StepRule {
    name: StepName::Identification,
    paragraph: "§6.1.2",
    wants: Wants::Document,
    when: When::Always,
    text: "Identify the holder, who is present in person, by a valid document; enter the document's kind, number, \
           issuer and expiry date.",
    text_it: "Identificare il titolare, presente di persona, con un documento valido; registrarne tipo, numero, ente \
              di rilascio e scadenza.",
};

const COMPARISON: StepRule = StepRule {
    name: StepName::Comparison,
    paragraph: "§9.3.2-5",
    wants: Wants::Verdict,
    when: When::Always,
    text: "Compare the document with the data of the card's public certificate. If they differ, the procedure ends \
           and the citizen is sent to the Revenue Agency's office.",
    text_it: "Confrontare i dati del documento con quelli del certificato pubblico della carta. Se non coincidono, la \
              procedura termina e il cittadino viene indirizzato all'ufficio dell'Agenzia delle Entrate.",
};

const REQUEST_FORM: StepRule = StepRule {
    name: StepName::RequestForm,
    paragraph: "§7-form",
    wants: Wants::Confirmation,
    when: When::IfSignatureWanted,
    text: "Print the request form for the signature certificate and have the citizen sign it.",
    text_it: "Stampare il modulo di richiesta del certificato di firma e farlo firmare al cittadino.",
};

const INFORMATION_SHEET: StepRule = StepRule {
    name: StepName::InformationSheet,
    paragraph: "§9.3.2-11",
    wants: Wants::Confirmation,
    when: When::Always,
    text: "Give the citizen the information sheet on what was done.",
    text_it: "Consegnare al cittadino il foglio informativo sulle operazioni svolte.",
};

/// X1, where configuration has it so: the envelope of the signature PIN.
const AREA_ENVELOPE: StepRule = StepRule {
    name: StepName::AreaEnvelope,
    paragraph: "§9.1.3-envelope",
    wants: Wants::EnvelopeCode,
    when: When::IfAreaEnvelope,
    text: "Take another one of the envelopes assigned to you, for the signature PIN, and enter the code on its outside.",
    text_it: "Prendere un'altra delle buste assegnate all'operatore, per il PIN di firma, e inserire il codice esterno.",
};

const HAND_OVER: StepRule = StepRule {
    name: StepName::HandOver,
    paragraph: "§9.3.2-9",
    wants: Wants::Confirmation,
    when: When::Always,
    text: "Hand over the envelope, unopened; and that of the signature PIN, where it is named here.",
    text_it: "Consegnare la busta, chiusa, al cittadino; anche quella del PIN di firma, se è indicata qui.",
};

/// §9.3.2, step by step; §9.3.4 to §9.3.6 leave out steps 5 and 8 of it.
pub(super) static ACTIVATION: [StepRule; 17] = [
    PRIVACY_NOTICE,
    OPERATOR_SESSION,
    StepRule {
        name: StepName::StatedWish,
        paragraph: "§9.3.2-3",
        wants: Wants::Confirmation,
        when: When::Always,
        text: "The citizen states aloud the wish to activate the card.",
        text_it: "Il cittadino dichiara a voce la volontà di attivare la carta.",
    },
    CARD_IN_READER,
    APPLICANT,
    IDENTIFICATION,
    COMPARISON,
    StepRule {
        name: StepName::Envelope,
        paragraph: "§9.3.2-6",
        wants: Wants::EnvelopeCode,
        when: When::Always,
        text: "Take any one of the envelopes assigned to you and enter the code on its outside.",
        text_it: "Prendere una qualsiasi delle buste assegnate all'operatore e inserire il codice esterno.",
    },
    StepRule {
        name: StepName::AreaEnvelopeForCodes,
        paragraph: "§9.4-envelope",
        when: When::IfAreaCodes,
        ..AREA_ENVELOPE
    },
    StepRule {
        name: StepName::PinSet,
        paragraph: "§9.3.2-7",
        wants: Wants::Work,
        when: When::Always,
        text: "Leave the card in the reader: its PIN is set to the value in the envelope.",
        text_it: "Lasciare la carta nel lettore: il PIN viene impostato al valore contenuto nella busta.",
    },
    StepRule {
        name: StepName::SignatureWanted,
        paragraph: "§9.3.2-8",
        wants: Wants::Choice,
        when: When::Always,
        text: "Ask whether the citizen wants the signature certificate too; it is free.",
        text_it: "Chiedere al cittadino se desidera anche il certificato di firma, gratuito.",
    },
    REQUEST_FORM,
    AREA_ENVELOPE,
    StepRule {
        name: StepName::SignatureWork,
        paragraph: "§9.1.3",
        wants: Wants::Work,
        when: When::IfSignatureWanted,
        text: "Leave the card in the reader: the signature area, the key and the certificate are made. The \
               signature PIN is that of the envelope that was taken for it, else the card's PIN as well.",
        text_it: "Lasciare la carta nel lettore: vengono creati l'area di firma, la chiave e il certificato. Il PIN di \
                  firma è quello della busta presa a tale scopo, altrimenti lo stesso della carta.",
    },
    HAND_OVER,
    StepRule {
        name: StepName::ReaderRequest,
        paragraph: "§9.3.2-10",
        wants: Wants::Choice,
        when: When::Always,
        text: "Ask whether the citizen requests the free card reader, one per household; if so, collect the form.",
        text_it: "Chiedere al cittadino se richiede il lettore gratuito, uno per nucleo familiare; se sì, ritirare il \
                  modulo.",
    },
    INFORMATION_SHEET,
];

/// §7: the certificate after the codes. No envelope for the card: the holder types its PIN.
pub(super) static LATER_SIGNATURE: [StepRule; 10] = [
    PRIVACY_NOTICE,
    OPERATOR_SESSION,
    CARD_IN_READER,
    IDENTIFICATION,
    COMPARISON,
    REQUEST_FORM,
    AREA_ENVELOPE,
    StepRule {
        name: StepName::SignatureWithHolderPin,
        paragraph: "§9.1.3",
        wants: Wants::Pin,
        when: When::IfSignatureWanted,
        text: "The holder types the card's PIN, unseen; leave the card in the reader: the signature area, the key and \
               the certificate are made. The signature PIN is that of the envelope that was taken for it, else the same \
               at first.",
        text_it: "Il titolare digita il PIN della carta senza essere visto; lasciare la carta nel lettore: vengono \
                  creati l'area di firma, la chiave e il certificato. Il PIN di firma è quello della busta presa a tale \
                  scopo, altrimenti inizialmente lo stesso.",
    },
    StepRule { when: When::IfAreaEnvelope, ..HAND_OVER },
    INFORMATION_SHEET,
];

/// X2: as the certificate after the codes, beside one that serves until the new one does.
pub(super) static RENEWAL: [StepRule; 8] = [
    PRIVACY_NOTICE,
    OPERATOR_SESSION,
    CARD_IN_READER,
    IDENTIFICATION,
    COMPARISON,
    REQUEST_FORM,
    StepRule {
        name: StepName::RenewalWork,
        paragraph: "§9.1.3",
        wants: Wants::Pins,
        when: When::Always,
        text: "The holder types the card's PIN and the signature PIN, unseen; leave the card in the reader: a new key \
               and its certificate are made and take the place of the old ones. The PINs stay as they are.",
        text_it: "Il titolare digita il PIN della carta e il PIN di firma senza essere visto; lasciare la carta nel \
                  lettore: vengono creati una nuova chiave e il suo certificato, che sostituiscono i precedenti. I PIN \
                  restano invariati.",
    },
    INFORMATION_SHEET,
];

const APPLICANT: StepRule = StepRule {
    name: StepName::Applicant,
    paragraph: "§6.1",
    wants: Wants::Applicant,
    when: When::Always,
    text: "Say who is at the counter.",
    text_it: "Indicare chi si presenta allo sportello.",
};

/// §6.1.2: who is identified as the holder.
pub(super) static HOLDER: [StepRule; 1] = [IDENTIFICATION];

const REPRESENTATIVE: StepRule = StepRule {
    name: StepName::Representative,
    paragraph: "§6.4",
    wants: Wants::Representative,
    when: When::Always,
    text: "",
    text_it: "",
};

/// §6.4.1.
pub(super) static PARENT: [StepRule; 2] = [
    StepRule {
        paragraph: "§6.4.1",
        text: "Identify the parent by their own valid document; the child need not be there. Enter the parent's \
               data and the document's.",
        text_it: "Identificare il genitore con il proprio documento valido; la presenza del minore non è necessaria. \
                  Registrare i dati del genitore e del documento.",
        ..REPRESENTATIVE
    },
    confirm(
        StepName::Declaration,
        "§6.4.1-declaration",
        "Have the parent sign the self-declaration of parental authority.",
        "Far firmare al genitore l'autodichiarazione di esercitare la responsabilità genitoriale.",
    ),
];

/// §6.4.2.
pub(super) static EMANCIPATED_MINOR: [StepRule; 2] = [
    IDENTIFICATION,
    StepRule {
        name: StepName::Evidence,
        paragraph: "§6.4.2",
        wants: Wants::Evidence,
        when: When::Always,
        text: "See the evidence that the minor is emancipated.",
        text_it: "Verificare la documentazione che attesta l'emancipazione del minore.",
    },
];

/// §6.4.3.
pub(super) static GUARDIAN: [StepRule; 2] = [
    StepRule {
        paragraph: "§6.4.3",
        text: "Identify the legal representative by their own valid document; the ward need not be there. Enter the \
               representative's data and the document's.",
        text_it: "Identificare il tutore o rappresentante legale con il proprio documento valido; la presenza del \
                  tutelato non è necessaria. Registrare i dati del tutore e del documento.",
        ..REPRESENTATIVE
    },
    confirm(
        StepName::Declaration,
        "§6.4.3-declaration",
        "Have the legal representative sign the self-declaration of their status.",
        "Far firmare al rappresentante legale l'autodichiarazione della propria qualità.",
    ),
];

/// §6.4.4. Nothing about the holder's health is asked or stored.
pub(super) static DELEGATE: [StepRule; 4] = [
    StepRule {
        paragraph: "§6.4.4",
        text: "Identify the delegate by their own valid document. A delegate may come only when the holder cannot for \
               reasons of health for more than three months. Enter the delegate's data and the document's.",
        text_it: "Identificare il delegato con il proprio documento valido. La delega è ammessa solo se il titolare è \
                  impossibilitato per motivi di salute per più di tre mesi. Registrare i dati del delegato e del \
                  documento.",
        ..REPRESENTATIVE
    },
    StepRule {
        name: StepName::HolderCopy,
        paragraph: "§6.4.4-copy",
        wants: Wants::HolderCopy,
        when: When::Always,
        text: "Collect the copy of the holder's document and enter the holder's data as they stand on it.",
        text_it: "Ritirare la copia del documento del titolare e inserirne i dati come vi sono riportati.",
    },
    confirm(
        StepName::Delegation,
        "§6.4.4-delegation",
        "Collect the delegation signed by the holder.",
        "Ritirare la delega firmata dal titolare.",
    ),
    confirm(
        StepName::MedicalCertificate,
        "§6.4.4-certificate",
        "See the medical certificate; it must not name the condition. Record nothing of it.",
        "Prendere visione del certificato medico, che non deve indicare la patologia. Non registrarne il contenuto.",
    ),
];

/// §8, §9.3.3: a card of another region.
pub(super) static OTHER_REGION: [StepRule; 13] = [
    PRIVACY_NOTICE,
    OPERATOR_SESSION,
    CARD_IN_READER,
    APPLICANT,
    IDENTIFICATION,
    StepRule {
        name: StepName::CardComparison,
        paragraph: "§9.3.3-4",
        wants: Wants::Verdict,
        when: When::Always,
        text: "Compare the document with the data printed on the card. If they differ, the procedure ends.",
        text_it: "Confrontare i dati del documento con quelli stampati sulla carta. Se non coincidono, la procedura \
                  termina.",
    },
    StepRule {
        name: StepName::NationalRequest,
        paragraph: "§9.3.3-5",
        wants: Wants::NationalRequest,
        when: When::Always,
        text: "Enter what is asked for. A delegate may ask for the activation only.",
        text_it: "Inserire la richiesta. Il delegato può chiedere solo l'attivazione.",
    },
    StepRule {
        name: StepName::SecondPart,
        paragraph: "§8.2",
        wants: Wants::Email,
        when: When::IfCodesAsked,
        text: "Enter the address to which the second part of the codes is sent.",
        text_it: "Inserire l'indirizzo email al quale inviare la seconda parte dei codici.",
    },
    StepRule { when: When::IfRevocationAsked, ..REVOCATION_REASON },
    REPORT,
    StepRule {
        name: StepName::NationalWork,
        paragraph: "§8-out",
        wants: Wants::Work,
        when: When::Always,
        text: "The request is sent to the national system.",
        text_it: "La richiesta viene inviata al sistema nazionale.",
    },
    StepRule {
        when: When::IfCodesAsked,
        ..confirm(
            StepName::FirstPart,
            "§9.3.3-6",
            "Print the form with the first part of the codes, have it signed (by a delegate too) and hand it over. This \
             way there is no user code: a later suspension can be asked for at a counter only (X6).",
            "Stampare il modulo con la prima parte dei codici, farlo firmare (anche al delegato) e consegnarlo. In \
             questo caso non c'è il codice utente: un'eventuale sospensione si potrà chiedere solo allo sportello.",
        )
    },
    INFORMATION_SHEET,
];

/// §9.5.3.
pub(super) static SUSPENSION: [StepRule; 7] = [
    OPERATOR_SESSION,
    CARD_IN_READER,
    APPLICANT,
    IDENTIFICATION,
    StepRule {
        name: StepName::Reason,
        paragraph: "§9.5",
        wants: Wants::Reason,
        when: When::Always,
        text: "Ask for the reason of the suspension.",
        text_it: "Chiedere il motivo della sospensione.",
    },
    StepRule {
        name: StepName::SuspensionWork,
        paragraph: "§9.5.3",
        wants: Wants::Work,
        when: When::Always,
        text: "All certificates of the card are suspended.",
        text_it: "Vengono sospesi tutti i certificati a bordo della carta.",
    },
    INFORMATION_SHEET,
];

/// §9.6.
pub(super) static REACTIVATION: [StepRule; 7] = [
    OPERATOR_SESSION,
    CARD_IN_READER,
    APPLICANT,
    IDENTIFICATION,
    confirm(
        StepName::ReasonGone,
        "§9.6",
        "The applicant states that the reason for the suspension has gone.",
        "Il richiedente dichiara che sono venuti meno i motivi della sospensione.",
    ),
    StepRule {
        name: StepName::ReactivationWork,
        paragraph: "§9.6.2",
        wants: Wants::Work,
        when: When::Always,
        text: "All certificates of the card are reactivated.",
        text_it: "Vengono riattivati tutti i certificati a bordo della carta.",
    },
    INFORMATION_SHEET,
];

const REVOCATION_REASON: StepRule = StepRule {
    name: StepName::Reason,
    paragraph: "§9.7.1",
    wants: Wants::Reason,
    when: When::Always,
    text: "Ask for the reason of the revocation. It is final: the card keeps its printed uses only.",
    text_it: "Chiedere il motivo della revoca. La revoca è definitiva: la carta conserva i soli usi a vista.",
};

const REPORT: StepRule = StepRule {
    name: StepName::Report,
    paragraph: "§9.7.1-report",
    wants: Wants::Paper,
    when: When::IfTheftOrLoss,
    text: "Collect a copy of the report to the police, or a self-declaration, and enter its data.",
    text_it: "Ritirare copia della denuncia o un'autodichiarazione e registrarne i dati.",
};

/// §9.7.1.
pub(super) static REVOCATION: [StepRule; 8] = [
    OPERATOR_SESSION,
    CARD_IN_READER,
    APPLICANT,
    IDENTIFICATION,
    REVOCATION_REASON,
    REPORT,
    StepRule {
        name: StepName::RevocationWork,
        paragraph: "§9.7",
        wants: Wants::Work,
        when: When::Always,
        text: "All certificates of the card are revoked for ever.",
        text_it: "Vengono revocati definitivamente tutti i certificati a bordo della carta.",
    },
    INFORMATION_SHEET,
];
