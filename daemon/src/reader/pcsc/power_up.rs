//! Powering up what is in a reader past pcscd's word, when that is stale ([`super::watched`]).

use std::ffi::CString;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use pcsc::{Context, Disposition, Error, Protocols, ReaderState, Scope, ShareMode, State};

use super::worker::leave;

/// The thread that powers up the card in a reader: a call of PC/SC may hang, so there is at most one for each reader.
#[derive(Debug, Default)]
pub(super) struct PowerUp(Weak<()>);

impl PowerUp {
    /// Starts it, unless the one before still runs.
    pub(super) fn start(&mut self, reader: CString) {
        if self.0.strong_count() > 0 {
            return;
        }
        let here = Arc::new(());
        self.0 = Arc::downgrade(&here);
        let run = move || {
            if let Err(error) = reset(&reader) {
                tracing::debug!(reader = %reader.to_string_lossy(), %error, "no card could be powered up");
            }
            drop(here);
        };
        // What cannot be started now is tried again later.
        thread::Builder::new().name("pcsc-power".to_owned()).spawn(run).ok();
    }
}

/// For who is connected to the reader and not to a card, pcscd cuts the power and gives it again without asking what it
/// believes of the card, and sees it then. A reader that is empty stays so. A card that pcscd has seen by now, which
/// another program may use already, is left alone.
fn reset(reader: &CString) -> Result<(), Error> {
    let context = Context::establish(Scope::System)?;
    let mut card = context.connect(reader, ShareMode::Direct, Protocols::UNDEFINED)?;
    let outcome = match sees_card(&context, reader) {
        Ok(false) => card.reconnect(ShareMode::Shared, Protocols::ANY, Disposition::UnpowerCard).map(drop),
        Ok(true) => Ok(()),
        Err(error) => Err(error),
    };
    leave(card, Disposition::LeaveCard);
    outcome
}

/// Whether pcscd says by now that there is a card, and that it answered.
fn sees_card(context: &Context, reader: &CString) -> Result<bool, Error> {
    let mut states = [ReaderState::new(reader.clone(), State::UNAWARE)];
    context.get_status_change(Duration::ZERO, &mut states)?;
    let [state] = &states;
    Ok(state.event_state().contains(State::PRESENT) && !state.event_state().contains(State::MUTE))
}
