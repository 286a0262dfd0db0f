//! A card reader with a keypad, as a driver that pcscd loads (`IFDHandler` 3.0): for tests, and delivered to nobody.
//!
//! A reader is a folder, which `DEVICENAME` in pcscd's configuration names. In it are:
//!
//! - `card.sock`, made by the reader: a card that speaks the vpcd protocol plugs itself in there;
//! - [`BEHAVIOUR`], written by the test: one word, a [`Behaviour`]; without it the reader is honest;
//! - [`TYPED`], written by the test: what a person types, one entry a line, or [`CANCEL`]; the reader takes line by line;
//! - [`WAITING`], there while the reader waits for an entry.
//!
//! The reader forms the command from what was typed as PC/SC part 10 says, and sends it to the card itself: whoever
//! ordered it sees the status word only.

mod behaviour;
mod ffi;
mod keypad;
mod reader;

pub use self::behaviour::Behaviour;
pub use self::keypad::CANCEL;
pub use self::reader::{Failure, Reader};

/// The socket for the card.
pub const CARD: &str = "card.sock";
/// How the reader behaves.
pub const BEHAVIOUR: &str = "behaviour";
/// What is typed.
pub const TYPED: &str = "typed";
/// There while the reader waits for an entry.
pub const WAITING: &str = "waiting";
