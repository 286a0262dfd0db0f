//! Whether a caller may ask for this holder's card: the user code, the names, or who was identified.

use cns_protocol::SecretText;
use cns_protocol::audit::Phase;
use cns_protocol::counter::Person;

use crate::audit::Record;
use crate::holder::Attempt;
use crate::procedure::identity;
use crate::standing::StandingError;
use crate::standing::desk::{Caller, Desk, DeskError};
use crate::standing::rules::Proof;

/// What a request says of card and holder.
pub(super) struct Asked {
    pub(super) card: Option<String>,
    pub(super) codice_fiscale: Option<String>,
    /// Surname and name.
    pub(super) names: Option<(Option<String>, Option<String>)>,
    pub(super) user_code: Option<SecretText>,
}

impl Desk<'_> {
    /// The card that a caller asks for, if what it shows is right.
    pub(super) async fn card(
        &self,
        caller: Caller<'_>,
        (proof, paragraph): (Proof, &'static str),
        asked: Asked,
    ) -> Result<String, DeskError> {
        check_asked(&asked)?;
        match proof {
            Proof::UserCode => self.by_user_code(caller, paragraph, asked, false).await,
            Proof::NamesAndUserCode => self.by_user_code(caller, paragraph, asked, true).await,
            Proof::Identified | Proof::Office => self.by_number(asked).await,
        }
    }

    async fn by_user_code(
        &self,
        caller: Caller<'_>,
        paragraph: &'static str,
        asked: Asked,
        with_names: bool,
    ) -> Result<String, DeskError> {
        let codice_fiscale = asked.codice_fiscale.ok_or(DeskError::Invalid("codice_fiscale"))?;
        let user_code = asked.user_code.ok_or(DeskError::Invalid("user_code"))?;
        let names = match asked.names {
            Some((Some(surname), Some(name))) if with_names => Some((surname, name)),
            Some((None, _)) if with_names => return Err(DeskError::Invalid("surname")),
            _ if with_names => return Err(DeskError::Invalid("name")),
            _ => None,
        };
        let (named, mut right_code) = (asked.card, None);
        let found = &mut right_code;
        let agrees = move |card: String| async move {
            *found = Some(card.clone());
            self.agrees(&card, named, names).await
        };
        let attempt =
            self.holders.verify_with(caller.user, &codice_fiscale, user_code.into_secret(), agrees).await?;
        let card = match attempt {
            Attempt::Matches { card } => card,
            Attempt::Refused => return self.unproven(caller, paragraph, right_code).await,
            Attempt::Locked => {
                self.record(caller, paragraph, None, "not looked at: too many wrong user codes came before")
                    .await?;
                return Err(DeskError::Locked);
            }
        };
        self.record(caller, paragraph, Some(card.clone()), "the user code matches").await?;
        Ok(card)
    }

    /// Whether the card of a right code is the one that is named, and its holder has these names.
    async fn agrees(
        &self,
        card: &str,
        named: Option<String>,
        names: Option<(String, String)>,
    ) -> Result<bool, DeskError> {
        if named.is_some_and(|named| named != card) {
            return Ok(false);
        }
        let Some((surname, name)) = names else { return Ok(true) };
        let Some(holder) = self.standings.holder(card).await? else { return Ok(true) };
        let person = Person { surname, name, codice_fiscale: holder.codice_fiscale.clone() };
        Ok(identity::copy_agrees(&person, &holder))
    }

    async fn unproven(
        &self,
        caller: Caller<'_>,
        paragraph: &'static str,
        card: Option<String>,
    ) -> Result<String, DeskError> {
        let text = "the user code or the names do not match, or there is no such holder";
        self.record(caller, paragraph, card, text).await?;
        Err(DeskError::Unproven { paragraph })
    }

    /// The record names the card of a right code alone: whom a wrong one was for is nobody's business.
    async fn record(
        &self,
        caller: Caller<'_>,
        paragraph: &'static str,
        card: Option<String>,
        text: &'static str,
    ) -> Result<(), StandingError> {
        let mut record = Record::new("user-code", Phase::Fact, text).user(caller.user).paragraph(paragraph);
        record.card = card;
        self.standings.audit().record(record).await?;
        Ok(())
    }

    async fn by_number(&self, asked: Asked) -> Result<String, DeskError> {
        let own = match &asked.codice_fiscale {
            Some(codice_fiscale) => Some(self.standings.cards_of(codice_fiscale).await?),
            None => None,
        };
        match (asked.card, own) {
            (None, None) => Err(DeskError::Invalid("card")),
            (Some(card), None) => Ok(card),
            (Some(card), Some(own)) if own.contains(&card) => Ok(card),
            (Some(_), Some(_)) => Err(DeskError::NotKnown),
            (None, Some(own)) => match own.as_slice() {
                [] => Err(DeskError::NotKnown),
                [only] => Ok(only.clone()),
                _ => Err(DeskError::SeveralCards(own)),
            },
        }
    }
}

fn check_asked(asked: &Asked) -> Result<(), DeskError> {
    let digits = |text: &String| text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_digit());
    let letters = |text: &String| text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if asked.card.as_ref().is_some_and(|card| !digits(card)) {
        return Err(DeskError::Invalid("card"));
    }
    if asked.codice_fiscale.as_ref().is_some_and(|code| !letters(code)) {
        return Err(DeskError::Invalid("codice_fiscale"));
    }
    Ok(())
}
