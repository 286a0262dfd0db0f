//! `cnsctl operator …`

use clap::Subcommand;
use cns_protocol::operator::{Login, Logout, Session, Status};

use crate::context::Context;
use crate::error::CliError;
use crate::output;
use crate::prompt::{self, Source};

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Open a session with your own smart card (§9.3.2-2); it ends when the card is taken out
    Login {
        /// The reader that holds the operator's card; may be left out when only one has a card
        #[arg(long)]
        reader: Option<String>,
        /// Read the PIN from standard input instead of the terminal
        #[arg(long)]
        pin_stdin: bool,
        /// Go on although only one try is left
        #[arg(long)]
        confirm_last_try: bool,
    },
    /// End the session
    Logout,
    /// Tell whether a session is open
    Status,
}

pub(crate) fn run(context: &mut Context, verb: Verb) -> Result<(), CliError> {
    match verb {
        Verb::Login { reader, pin_stdin, confirm_last_try } => {
            let (reader, insertion) = context.place(reader)?;
            let pin = prompt::secret(Source::from_flag(pin_stdin), "the PIN of the operator's card")?;
            let session = context.call(&Login { reader, insertion, pin, confirm_last_try })?;
            context.show(&session, text)
        }
        Verb::Logout => {
            let done = context.call(&Logout {})?;
            context.show(&done, |_| "The operator session is over.".into())
        }
        Verb::Status => {
            let session = context.call(&Status {})?;
            context.show(&session, |session| {
                session.as_ref().map_or_else(|| "No operator session is open.".into(), text)
            })
        }
    }
}

fn text(session: &Session) -> String {
    output::fields(&[
        ("Operator", format!("{} ({})", session.name, session.operator)),
        ("Counter", session.counter.clone()),
        ("Card in", session.reader.clone()),
        ("Until", session.expires.clone()),
        ("Warning", session.warning.clone().unwrap_or_default()),
    ])
}
