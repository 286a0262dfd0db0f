//! `cnsctl pin …`

use clap::{Args, Subcommand, ValueEnum};
use cns_protocol::SecretText;
use cns_protocol::pin::{Change, PinName, PinState, Status, Unblock, Verify};

use crate::context::{Context, Seat};
use crate::error::CliError;
use crate::output;
use crate::prompt::{self, Source};

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Tell the tries left, without spending one
    Status {
        /// The reader; may be left out when only one has a card
        #[arg(long)]
        reader: Option<String>,
    },
    /// Present the PIN: tells whether it is right. A wrong one costs a try
    Verify(Options),
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
    /// Type at the computer although the reader has a PIN pad
    #[arg(long)]
    no_pin_pad: bool,
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
        Verb::Verify(options) => verify(context, options),
        Verb::Change(options) => change(context, options),
        Verb::Unblock(options) => unblock(context, options),
    }
}

/// Whether the person types on the reader; tells them what, if so.
fn at_pad(options: &Options, seat: &Seat, what: &str) -> bool {
    let at_pad = seat.has_pin_pad && !options.pin_stdin && !options.no_pin_pad;
    if at_pad {
        output::note(&format!("Type on the reader {}: {what}. Press OK there after each.", seat.reader));
    }
    at_pad
}

fn verify(context: &mut Context, options: Options) -> Result<(), CliError> {
    let seat = context.seat(options.reader.clone())?;
    let pin = match at_pad(&options, &seat, "the PIN") {
        true => None,
        false => Some(prompt::secret(Source::from_flag(options.pin_stdin), "the PIN")?),
    };
    let request = verification(&options, seat, pin);
    let done = context.call(&request)?;
    context.show(&done, |_| "The PIN is right.".into())
}

fn verification(options: &Options, seat: Seat, pin: Option<SecretText>) -> Verify {
    Verify {
        reader: seat.reader,
        insertion: seat.insertion,
        which: options.which.into(),
        pin,
        confirm_last_try: options.confirm_last_try,
    }
}

fn change(context: &mut Context, options: Options) -> Result<(), CliError> {
    let seat = context.seat(options.reader.clone())?;
    let source = Source::from_flag(options.pin_stdin);
    let what = "the PIN as it is, the new PIN, the new PIN again";
    let (old_pin, new_pin) = match at_pad(&options, &seat, what) {
        true => (None, None),
        false => {
            let old = prompt::secret(source, "the PIN as it is")?;
            (Some(old), Some(prompt::new_pin(source)?))
        }
    };
    let request = Change {
        reader: seat.reader,
        insertion: seat.insertion,
        which: options.which.into(),
        old_pin,
        new_pin,
        confirm_last_try: options.confirm_last_try,
    };
    let done = context.call(&request)?;
    context.show(&done, |_| "The PIN was changed.".into())
}

fn unblock(context: &mut Context, options: Options) -> Result<(), CliError> {
    let seat = context.seat(options.reader.clone())?;
    let source = Source::from_flag(options.pin_stdin);
    let what = "the PUK (the reader may call it PIN), the new PIN, the new PIN again";
    let (puk, new_pin) = match at_pad(&options, &seat, what) {
        true => (None, None),
        false => {
            let puk = prompt::secret(source, "the PUK")?;
            (Some(puk), Some(prompt::new_pin(source)?))
        }
    };
    let request = Unblock {
        reader: seat.reader,
        insertion: seat.insertion,
        which: options.which.into(),
        puk,
        new_pin,
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
