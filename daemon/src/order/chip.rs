//! An order's work on the chip, and what the chip says of it.

use cns_protocol::order::OrderResult;
use cns_protocol::pin::{PinName, PinState};

use super::content::Act;
use crate::card::{CardContents, CardError, CardSession, LastTry, Sent, pin, what_was_sent};
use crate::reader::Readers;

/// What the chip's counter says about presenting the PUK.
pub(super) enum Look {
    /// It may be presented; the tries left, where the chip tells.
    Present(Option<u8>),
    /// An attempt whose answer was lost may have had it refused.
    Doubtful(Option<u8>),
    /// It is blocked.
    Blocked,
}

/// How an attempt ended.
pub(super) enum End {
    /// So, for good; with the tries that are left on the PUK.
    Over(OrderResult, Option<u8>),
    /// Nothing was presented.
    Untouched(CardError),
    /// Old or new.
    Open(CardError),
}

/// Asks the chip how many tries the PUK has left, before anything is sent that could burn one. `begun` says that the PUK
/// may have been presented before, and how many there were then.
pub(super) async fn look(
    readers: &Readers,
    contents: &CardContents,
    which: PinName,
    begun: Option<Option<u8>>,
) -> Result<Look, CardError> {
    let job = |session: &mut CardSession<'_>| match pin::status(session) {
        // A chip that does not tell is asked no more.
        Err(CardError::Refused { .. } | CardError::Answer { .. }) => Ok(Vec::new()),
        other => other,
    };
    let states = readers.run(&contents.card.reader, Some(contents.card.insertion), job).await?;
    let puk = states.iter().find(|state: &&PinState| state.is_puk && state.which == which);
    if puk.is_some_and(|puk| puk.blocked == Some(true)) {
        return Ok(Look::Blocked);
    }
    let now = puk.and_then(|puk| puk.tries_left);
    Ok(match (begun, now) {
        (None, _) => Look::Present(now),
        (Some(Some(before)), Some(left)) if left >= before => Look::Present(Some(before)),
        (Some(_), _) => Look::Doubtful(now),
    })
}

/// Carries the order out. The CMS system answers for its PUK; its last try is not spent on it.
pub(super) async fn carry_out(readers: &Readers, contents: &CardContents, act: Act) -> End {
    let job = move |session: &mut CardSession<'_>| match act {
        Act::SetPin { puk, pin } => pin::reset(session, PinName::Cns, &puk, &pin, LastTry::Ask),
        Act::SetSignaturePin { puk, pin } => {
            pin::reset(session, PinName::Signature, &puk, &pin, LastTry::Ask)
        }
        Act::Unblock { puk } => pin::unblock(session, PinName::Cns, &puk, LastTry::Ask),
    };
    match readers.run(&contents.card.reader, Some(contents.card.insertion), job).await {
        Ok(_) => End::Over(OrderResult::Done, None),
        Err(error) => match what_was_sent(&error) {
            Sent::Unchanged => End::Untouched(error),
            Sent::PukRefused(tries) => End::Over(OrderResult::PukRefused, tries),
            Sent::PukBlocked => End::Over(OrderResult::PukBlocked, Some(0)),
            Sent::Unknown => End::Open(error),
        },
    }
}

/// Which PIN an order is about.
pub(super) fn pin_of(act: &Act) -> PinName {
    match act {
        Act::SetPin { .. } | Act::Unblock { .. } => PinName::Cns,
        Act::SetSignaturePin { .. } => PinName::Signature,
    }
}
