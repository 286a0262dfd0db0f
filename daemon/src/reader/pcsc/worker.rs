//! The thread that makes the calls of PC/SC for one connection.
//!
//! It holds the connection's context and card, and does what its [`super::connection::Connection`] orders, one order
//! at a time. When nobody takes its answer any more it was left behind: it then resets the card if it is inside a
//! transaction, where a PIN may have been presented, disconnects, and ends.

use std::ffi::{CStr, CString};
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Weak};
use std::thread;

use cns_secret::Secret;
use pcsc::{Card, Context, Error, Protocols, Scope, ShareMode, Transaction};
use zeroize::Zeroizing;

use super::{failed, pin_pad};
use crate::card::CardError;
use crate::reader::device::Disposition;
use crate::reader::pin_pad::PinPad;

/// The longest response APDU, and a little more than pcscd ever gives.
const LONGEST_RESPONSE: usize = 65_536 + 2;
/// How often a card that keeps being reset by another program is taken up again before giving up.
const RECONNECTS: u32 = 3;

/// What the thread is to do.
pub(super) enum Order {
    /// Begin a transaction.
    Begin,
    /// Send a command; it may hold a PIN.
    Exchange(Secret),
    /// Ask the reader for its keypad.
    AskForPinPad,
    /// Let the reader take a PIN: control code and structure.
    EnterPin(u32, Vec<u8>),
    /// Reset the card, the transaction going on.
    Reset,
    /// End the transaction.
    End(Disposition),
}

/// What came of it.
pub(super) enum Done {
    /// The card is connected; its answer to reset.
    Connected(Vec<u8>),
    /// The transaction began.
    Begun,
    /// The card's answer; it may hold what a key deciphered, and nobody may be there to take it.
    Answered(Zeroizing<Vec<u8>>),
    /// The reader's keypad, if it has one that can be believed.
    HasPinPad(Option<PinPad>),
    /// The card was reset.
    Reset,
    /// The transaction ended.
    Ended,
}

/// The other ends of a running thread.
pub(super) struct Worker {
    /// Dropped, the thread disconnects and ends.
    pub(super) orders: Sender<Order>,
    /// One for the connection itself, then one for each order.
    pub(super) answers: Receiver<Result<Done, CardError>>,
    /// Whether the thread is still there.
    pub(super) alive: Weak<()>,
}

/// Starts a thread that connects to the card in a reader.
pub(super) fn start(reader: CString) -> io::Result<Worker> {
    let (orders, ordered) = channel();
    let (answer, answers) = channel();
    let here = Arc::new(());
    let alive = Arc::downgrade(&here);
    let serve = move || {
        serve(&reader, &ordered, &answer);
        // Last of all: until here the thread may be in a call.
        drop(here);
    };
    thread::Builder::new().name("pcsc-card".to_owned()).spawn(serve)?;
    Ok(Worker { orders, answers, alive })
}

type Answer = Sender<Result<Done, CardError>>;

fn serve(reader: &CStr, orders: &Receiver<Order>, answer: &Answer) {
    let (mut card, atr) = match connect(reader) {
        Ok((card, atr)) => {
            // Nobody who takes the answer: the orders have ended too.
            answer.send(Ok(Done::Connected(atr.clone()))).ok();
            (card, atr)
        }
        Err(error) => {
            answer.send(Err(error)).ok();
            return;
        }
    };
    let mut clean = true;
    while clean && let Ok(order) = orders.recv() {
        let sent = match order {
            Order::Begin => match begin(&mut card, &atr) {
                Ok(transaction) => match answer.send(Ok(Done::Begun)) {
                    Ok(()) => inside((reader, &atr), transaction, orders, answer, &mut clean),
                    // Waited for too long: nothing was done in it.
                    Err(_) => break,
                },
                Err(error) => answer.send(Err(error)).is_ok(),
            },
            Order::Exchange(_) | Order::AskForPinPad | Order::EnterPin(..) | Order::Reset | Order::End(_) => {
                answer.send(Err(CardError::Removed)).is_ok()
            }
        };
        if !sent {
            break;
        }
    }
    leave(card, if clean { pcsc::Disposition::LeaveCard } else { pcsc::Disposition::ResetCard });
}

/// Serves a transaction to its end; false when nobody takes the answers any more. `clean` becomes false when a reset
/// was wanted that could not be had, for which the disconnection makes up.
fn inside(
    (reader, atr): (&CStr, &[u8]),
    mut transaction: Transaction<'_>,
    orders: &Receiver<Order>,
    answer: &Answer,
    clean: &mut bool,
) -> bool {
    let (wanted, heard) = loop {
        match orders.recv() {
            Ok(Order::AskForPinPad) => {
                if answer.send(pin_pad::ask(reader, &transaction).map(Done::HasPinPad)).is_err() {
                    break (pcsc::Disposition::LeaveCard, false);
                }
            }
            Ok(Order::EnterPin(code, order)) => {
                if answer
                    .send(pin_pad::enter(&transaction, code, &order).map(Zeroizing::new).map(Done::Answered))
                    .is_err()
                {
                    break (pcsc::Disposition::ResetCard, false);
                }
            }
            Ok(Order::Exchange(command)) => {
                if answer.send(exchange(&transaction, &command).map(Done::Answered)).is_err() {
                    break (pcsc::Disposition::ResetCard, false);
                }
            }
            Ok(Order::Reset) => {
                if answer.send(reset(&mut transaction, atr).map(|()| Done::Reset)).is_err() {
                    break (pcsc::Disposition::ResetCard, false);
                }
            }
            Ok(Order::End(Disposition::Leave)) => break (pcsc::Disposition::LeaveCard, true),
            Ok(Order::End(Disposition::Reset)) => break (pcsc::Disposition::ResetCard, true),
            Ok(Order::Begin) => {
                if answer.send(Err(CardError::Busy)).is_err() {
                    break (pcsc::Disposition::ResetCard, false);
                }
            }
            Err(_) => break (pcsc::Disposition::ResetCard, false),
        }
    };
    let ended = transaction.end(wanted).map_err(|(transaction, error)| {
        drop(transaction);
        failed(error)
    });
    *clean = ended.is_ok() || wanted != pcsc::Disposition::ResetCard;
    heard && answer.send(ended.map(|()| Done::Ended)).is_ok()
}

fn connect(reader: &CStr) -> Result<(Card, Vec<u8>), CardError> {
    let context = Context::establish(Scope::System).map_err(failed)?;
    let card = context.connect(reader, ShareMode::Shared, Protocols::ANY).map_err(failed)?;
    match card.status2_owned() {
        Ok(status) => {
            let atr = status.atr().to_vec();
            Ok((card, atr))
        }
        Err(error) => {
            leave(card, pcsc::Disposition::LeaveCard);
            Err(failed(error))
        }
    }
}

/// Begins a transaction with the card that gave this answer to reset.
fn begin<'a>(card: &'a mut Card, atr: &[u8]) -> Result<Transaction<'a>, CardError> {
    let mut card = card;
    let mut reconnects = 0;
    loop {
        match card.transaction2() {
            Ok(transaction) => return Ok(transaction),
            Err((same, Error::ResetCard)) if reconnects < RECONNECTS => {
                reconnects += 1;
                // What was verified is lost, which is all that the next piece of work expects.
                same.reconnect(ShareMode::Shared, Protocols::ANY, pcsc::Disposition::LeaveCard)
                    .map_err(failed)?;
                same_card(same, atr)?;
                card = same;
            }
            Err((_, error)) => return Err(failed(error)),
        }
    }
}

/// Resets the card inside the transaction, which goes on.
fn reset(transaction: &mut Transaction<'_>, atr: &[u8]) -> Result<(), CardError> {
    transaction.reconnect(ShareMode::Shared, Protocols::ANY, pcsc::Disposition::ResetCard).map_err(failed)?;
    same_card(transaction, atr)
}

/// Judges by the answer to reset whether the card is still the one that was connected to: one that was swapped before
/// pcscd looked again is seen by this at most.
fn same_card(card: &Card, atr: &[u8]) -> Result<(), CardError> {
    if card.status2_owned().map_err(failed)?.atr() == atr { Ok(()) } else { Err(CardError::Removed) }
}

fn exchange(card: &Card, command: &Secret) -> Result<Zeroizing<Vec<u8>>, CardError> {
    let mut buffer = Zeroizing::new(vec![0; LONGEST_RESPONSE]);
    #[expect(clippy::disallowed_methods, reason = "the one door")]
    let answer = card.transmit(command.expose(), &mut buffer).map_err(failed)?;
    if answer.is_empty() {
        // Some drivers call that a success.
        return Err(failed(Error::NotTransacted));
    }
    // In a new place, so that the old one is wiped: a vector that shrinks may leave it behind.
    Ok(Zeroizing::new(answer.to_vec()))
}

/// Disconnects, saying what happens to the card; `Card`'s own drop would reset it.
pub(super) fn leave(card: Card, end: pcsc::Disposition) {
    if let Err((card, error)) = card.disconnect(end) {
        tracing::debug!(%error, "a card could not be disconnected");
        // Nothing is left that dropping could reset, but a handle that the failure has made useless.
        drop(card);
    }
}
