//! `cnsctl pin …`

use clap::{Args, Subcommand, ValueEnum};
use cns_protocol::pin::{Change, PinName, PinState, Status, Unblock};

use crate::context::Context;
use crate::error::CliError;
use crate::prompt::{self, Source};

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Tell the tries left, without spending one
    Status {
        /// The reader; may be left out when only one has a card
        #[arg(long)]
        reader: Option<String>,
    },
    /// Change the PIN, knowing the old one
    Change(Options),
    /// Set a new PIN with your own PUK
    Unblock(Options),
}

#[derive(Args)]
pub(crate) struct Options {
    /// The reader; may be left out when only one has a card
    #[arg(long)]
    reader: Option<String>,
    /// Which PIN
    #[arg(long, value_enum, default_value = "cns")]
    which: Which,
    /// Read the secrets from standard input, one a line, instead of the terminal
    #[arg(long)]
    pin_stdin: bool,
    /// Go on although only one try is left: a wrong entry then blocks
    #[arg(long)]
    confirm_last_try: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Which {
    /// The CNS PIN
    Cns,
    /// The PIN of the signature area
    Signature,
}

impl From<Which> for PinName {
    fn from(which: Which) -> Self {
        match which {
            Which::Cns => PinName::Cns,
            Which::Signature => PinName::Signature,
        }
    }
}

pub(crate) fn run(context: &mut Context, verb: Verb) -> Result<(), CliError> {
    match verb {
        Verb::Status { reader } => {
            let reader = context.reader(reader)?;
            let states = context.call(&Status { reader })?;
            context.show(&states, |states| states.iter().map(line).collect::<Vec<_>>().join("\n"))
        }
        Verb::Change(options) => change(context, options),
        Verb::Unblock(options) => unblock(context, options),
    }
}

fn change(context: &mut Context, options: Options) -> Result<(), CliError> {
    let (reader, insertion) = context.place(options.reader)?;
    let source = Source::from_flag(options.pin_stdin);
    let request = Change {
        reader,
        insertion,
        which: options.which.into(),
        old_pin: prompt::secret(source, "the PIN as it is")?,
        new_pin: prompt::new_pin(source)?,
        confirm_last_try: options.confirm_last_try,
    };
    let done = context.call(&request)?;
    context.show(&done, |_| "The PIN was changed.".into())
}

fn unblock(context: &mut Context, options: Options) -> Result<(), CliError> {
    let (reader, insertion) = context.place(options.reader)?;
    let source = Source::from_flag(options.pin_stdin);
    let request = Unblock {
        reader,
        insertion,
        which: options.which.into(),
        puk: prompt::secret(source, "the PUK")?,
        new_pin: prompt::new_pin(source)?,
        confirm_last_try: options.confirm_last_try,
    };
    let done = context.call(&request)?;
    context.show(&done, |_| "The new PIN is set.".into())
}

fn line(state: &PinState) -> String {
    let name = match (state.which, state.is_puk) {
        (PinName::Cns, false) => "CNS PIN",
        (PinName::Cns, true) => "CNS PUK",
        (PinName::Signature, false) => "Signature PIN",
        (PinName::Signature, true) => "Signature PUK",
    };
    let tries = match (state.blocked, state.tries_left) {
        (Some(true), _) => "BLOCKED".to_owned(),
        (_, Some(1)) => "1 try left".to_owned(),
        (_, Some(n)) => format!("{n} tries left"),
        (Some(false), None) => "not blocked".to_owned(),
        (None, None) => "the chip does not tell".to_owned(),
    };
    format!("{name}: {tries}")
}
