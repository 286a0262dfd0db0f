//! What an operator reads in Italian when a procedure does not go on.

use super::ProcedureError;
use crate::card::CardError;
use crate::procedure::status::StatusError;

impl ProcedureError {
    /// What happened and what to do next, in Italian; nothing where the cause is outside the procedures.
    #[must_use]
    pub fn italian(&self) -> Option<String> {
        let (sentence, hint) = self.italian_parts()?;
        Some(match hint {
            Some(hint) => format!("{sentence}. {hint}"),
            None => sentence,
        })
    }

    fn italian_parts(&self) -> Option<(String, Option<&'static str>)> {
        let plain = |sentence: &str, hint| Some((sentence.to_owned(), hint));
        match self {
            Self::Rule { italian, hint, .. } => Some((italian.clone(), hint.map(|(_, hint)| hint))),
            Self::NotFound(id) => {
                Some((format!("la procedura {id} non esiste"), Some("Avviare una nuova procedura")))
            }
            Self::Over(id) => {
                Some((format!("la procedura {id} è terminata"), Some("Avviare una nuova procedura")))
            }
            Self::WrongStep { expected } => Some((
                format!("la procedura è a un altro passo: {expected}"),
                Some("Rispondere a quel passo"),
            )),
            Self::WrongAnswer { .. } => plain("la risposta non è del tipo previsto dal passo", None),
            Self::FieldInvalid { name, italian, .. } => {
                Some((format!("il campo `{name}` ({italian}) manca o il valore non è valido"), None))
            }
            Self::FieldUnknown => plain("la risposta contiene un campo che il passo non prevede", None),
            Self::ReaderLogs => plain(
                "pcscd registra i comandi inviati alle carte: il PUK verrebbe scritto nel registro",
                Some("Avviare pcscd senza --apdu e --debug"),
            ),
            Self::NoPuk => plain(
                "per questa carta non è custodito alcun PUK",
                Some("Chiedere al custode di importare il file del produttore per questa carta"),
            ),
            Self::PukRefused { .. }
            | Self::PukDoubtful { .. }
            | Self::PukBlocked
            | Self::Unsettled { .. }
            | Self::Card(CardError::LastTry) => self.italian_of_pin(),
            Self::OfficerPin => plain(
                "l'autorità richiede la firma dell'operatore con la propria carta",
                Some("Rispondere di nuovo digitando anche il PIN dell'operatore"),
            ),
            Self::CardElsewhere => plain(
                "la carta di questa procedura non è in alcun lettore",
                Some("Inserire la carta del cittadino in un lettore"),
            ),
            Self::NoAuthority
            | Self::CertificateValid { .. }
            | Self::NoStatusAuthority
            | Self::NoNationalSystem
            | Self::Status(_)
            | Self::National(_)
            | Self::NationalRefused(_)
            | Self::NationalWaits(_) => self.italian_of_peer(),
            Self::Card(_)
            | Self::Custody(_)
            | Self::Audit(_)
            | Self::Certifier(_)
            | Self::Store(_)
            | Self::Memory(_)
            | Self::Request(_)
            | Self::Internal => None,
        }
    }

    /// What went wrong with an authority or the national system.
    fn italian_of_peer(&self) -> Option<(String, Option<&'static str>)> {
        let plain = |sentence: &str, hint| Some((sentence.to_owned(), Some(hint)));
        if let Self::CertificateValid { not_after } = self {
            Some((
                format!("il certificato di firma della carta è valido fino al {not_after}"),
                Some(
                    "Confermare espressamente per cancellarlo: la chiave è persa e il certificato va revocato (§9.7)",
                ),
            ))
        } else if let Self::NoAuthority = self {
            plain(
                "non è configurata un'autorità di certificazione: questo sportello non può creare certificati di firma",
                "Procedere senza certificato di firma, o chiedere all'amministratore di configurare [authority]",
            )
        } else if let Self::NoStatusAuthority = self {
            plain(
                "non è configurata un'autorità di certificazione che sospenda, riattivi e revochi i certificati",
                "Chiedere all'amministratore di configurare [authority]",
            )
        } else if let Self::NoNationalSystem = self {
            plain(
                "non è configurato il collegamento con il sistema nazionale: le carte di altre regioni non sono gestite",
                "Indirizzare il cittadino a uno sportello collegato",
            )
        } else if let Self::Status(StatusError::Unknown(_)) = self {
            plain(
                "lo stato del certificato non è noto, quindi non si può procedere",
                "Non è stato fatto nulla. Riprovare più tardi; se persiste, chiedere all'amministratore di verificare [status] in cnsd.toml",
            )
        } else if let Self::Status(_) = self {
            plain(
                "lo stato del certificato non è noto o non è stato cambiato",
                "Riprovare più tardi: la procedura riprende da dove si trova",
            )
        } else if let Self::NationalRefused(said) = self {
            Some((
                format!("il sistema nazionale rifiuta la richiesta; la procedura è terminata: {said}"),
                Some("Ricominciare, se qualche dato era errato"),
            ))
        } else if let Self::NationalWaits(_) = self {
            plain(
                "il sistema nazionale non ha ancora risposto",
                "Rispondere di nuovo più tardi: la richiesta resta una sola",
            )
        } else {
            plain(
                "la richiesta al sistema nazionale non può essere inviata",
                "Riprovare più tardi: la procedura riprende da dove si trova",
            )
        }
    }

    /// What went wrong with PUK and PIN.
    fn italian_of_pin(&self) -> Option<(String, Option<&'static str>)> {
        let plain = |sentence: &str, hint| Some((sentence.to_owned(), Some(hint)));
        if let Self::PukRefused { .. } = self {
            plain(
                "la carta ha rifiutato il PUK custodito; la procedura è terminata",
                "La busta resta all'operatore. La carta va sostituita, salvo che se ne trovi il PUK",
            )
        } else if let Self::PukDoubtful { tries_left } = self {
            let left = match tries_left {
                Some(left) => format!(
                    "il PUK, al quale restano {left} tentativi, può essere stato rifiutato o digitato male da altri"
                ),
                None => "la carta non indica se il PUK sia stato rifiutato".to_owned(),
            };
            Some((
                format!("l'impostazione del PIN è stata interrotta, e {left}"),
                Some(
                    "Rispondere di nuovo per presentare il PUK ancora una volta: se è errato, si perde un tentativo",
                ),
            ))
        } else if let Self::PukBlocked = self {
            plain(
                "il PUK della carta è bloccato: il PIN non potrà più essere impostato; la procedura è terminata",
                "La busta resta all'operatore. La carta va revocata ed emessa di nuovo (§9.7)",
            )
        } else if let Self::Card(CardError::LastTry) = self {
            plain(
                "resta un solo tentativo: non è stato presentato nulla",
                "Far verificare prima il PIN al titolare (`pin.verify` con `confirm_last_try`): se è giusto, i tentativi tornano tutti. Poi rispondere di nuovo",
            )
        } else {
            plain(
                "non è noto se il PIN della carta sia stato impostato",
                "Reinserire la stessa carta in un lettore: la procedura riprende con la stessa busta",
            )
        }
    }
}
