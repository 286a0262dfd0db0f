//! Italian sentences for causes outside the procedures, as an operator at the counter may meet them.

use cns_protocol::ErrorKind;

/// What happened and what to do next, by cause.
const SENTENCES: [(ErrorKind, &str); 31] = [
    (ErrorKind::WrongStep, "La procedura è cambiata nel frattempo. Rispondere al passo attuale"),
    (ErrorKind::InvalidParams, "La risposta non è valida per questo passo"),
    (ErrorKind::Internal, "Errore interno. Chiedere all'amministratore di consultare il registro di cnsd"),
    (ErrorKind::Busy, "Il sistema è occupato. Riprovare"),
    (ErrorKind::TimedOut, "La richiesta ha superato il tempo massimo. Verificare lo stato della procedura"),
    (ErrorKind::NoReader, "Il lettore indicato non esiste. Verificare il collegamento del lettore"),
    (ErrorKind::NoCard, "Nel lettore non c'è alcuna carta. Inserire la carta"),
    (ErrorKind::CardRemoved, "La carta è stata estratta. Reinserire la stessa carta"),
    (ErrorKind::CardReset, "Un altro programma ha usato la carta. Riprovare"),
    (ErrorKind::UnknownCard, "La carta nel lettore non è una CNS riconosciuta"),
    (ErrorKind::ReaderFailed, "Il lettore non funziona. Scollegarlo e ricollegarlo"),
    (ErrorKind::CardRefused, "La carta ha rifiutato il comando. Riprovare"),
    (
        ErrorKind::CardAnswerInvalid,
        "La carta ha dato una risposta non valida. Estrarla, reinserirla e riprovare",
    ),
    (ErrorKind::NoSuchObject, "Sulla carta manca un elemento necessario"),
    (ErrorKind::CardInUse, "Un altro programma sta usando la carta. Chiuderlo e riprovare"),
    (
        ErrorKind::PinIncorrect,
        "PIN errato. Il titolare deve digitarlo di nuovo: troppi errori bloccano la carta",
    ),
    (ErrorKind::PinBlocked, "Il PIN è bloccato. Sono necessari nuovi codici (§9.4)"),
    (ErrorKind::PinInvalid, "Il PIN deve avere da 5 a 8 cifre"),
    (
        ErrorKind::LastTry,
        "Resta un solo tentativo: un PIN errato blocca la carta. Sono possibili nuovi codici (§9.4)",
    ),
    (ErrorKind::PukIncorrect, "La carta ha rifiutato il PUK"),
    (ErrorKind::PukBlocked, "Il PUK è bloccato. La carta va sostituita"),
    (
        ErrorKind::NoOperator,
        "Nessun operatore è autenticato. Autenticarsi con la propria smart card (§9.3.2-2)",
    ),
    (ErrorKind::OperatorRefused, "La carta dell'operatore non è accettata. Rivolgersi all'amministratore"),
    (ErrorKind::NoPuk, "Per questa carta non è custodito alcun PUK. Rivolgersi al custode"),
    (
        ErrorKind::EnvelopeUnknown,
        "Il codice della busta non esiste o è stato digitato male. Ricontrollare il codice",
    ),
    (
        ErrorKind::EnvelopeUnavailable,
        "La busta non è disponibile per questo operatore. Prendere un'altra delle buste assegnate (§9.3.2-6)",
    ),
    (ErrorKind::CustodyDamaged, "I dati custoditi sono danneggiati. Avvisare subito l'amministratore"),
    (
        ErrorKind::AuthorityFailed,
        "L'autorità di certificazione non risponde o rifiuta. Riprovare più tardi: la procedura riprende da qui",
    ),
    (
        ErrorKind::CertificateRefused,
        "Il certificato emesso non è accettabile e non è stato caricato. Avvisare l'autorità di certificazione",
    ),
    (ErrorKind::SignatureAreaRefused, "Sulla carta non si può creare l'area per la firma digitale"),
    (
        ErrorKind::AuditBroken,
        "Il registro degli atti è danneggiato: non si può operare. Avvisare l'amministratore",
    ),
];

/// The Italian sentence for a cause, where there is one.
pub(crate) fn sentence(kind: ErrorKind) -> Option<&'static str> {
    SENTENCES.iter().find(|(listed, _)| *listed == kind).map(|(_, sentence)| *sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_that_a_card_custody_or_authority_gives_has_a_sentence_once() {
        for kind in ErrorKind::ALL {
            let count = SENTENCES.iter().filter(|(listed, _)| *listed == kind).count();
            assert!(count <= 1, "{kind:?}");
        }
        for kind in [ErrorKind::CardRemoved, ErrorKind::EnvelopeUnavailable, ErrorKind::NoOperator] {
            assert!(sentence(kind).is_some());
        }
    }
}
