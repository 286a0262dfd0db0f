//! `cnsctl`: what a person types to use the CNS middleware.
//!
//! One module per noun of the protocol, one subcommand per verb. Answers go to standard output (as JSON with
//! `--json`), everything else to standard error. Secrets are typed at the terminal or come from standard input, never
//! from the command line.
#![forbid(unsafe_code)]

mod audit;
mod card;
mod certificate;
mod context;
mod counter;
mod custody;
mod daemon;
mod doctor;
mod error;
mod module;
mod national;
mod operator;
mod order;
mod output;
mod pin;
mod prompt;
mod puk;
mod reader;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::context::Context;
use crate::error::CliError;

/// Uses and administers CNS and TS-CNS smart cards through the local daemon, cnsd.
#[derive(Parser)]
#[command(name = "cnsctl", version)]
struct Arguments {
    /// The daemon's socket [default: $CNSD_SOCKET, else /run/cnsd/cnsd.sock]
    #[arg(long, global = true, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Answer in JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    noun: Noun,
}

#[derive(Subcommand)]
enum Noun {
    /// Tell the daemon's version and your roles
    Status,
    /// Print the OpenRPC document that describes the daemon's protocol
    Discover,
    /// Readers and what is in them
    #[command(subcommand)]
    Reader(reader::Verb),
    /// Cards: holder, certificates
    #[command(subcommand)]
    Card(card::Verb),
    /// Certificates of a card that need be in no reader: status, suspension, reactivation, revocation (§9.5–§9.7)
    #[command(subcommand)]
    Certificate(certificate::Verb),
    /// PINs: status, change, unblock
    #[command(subcommand)]
    Pin(pin::Verb),
    /// Your own card's PUK, which only the card opens (§6.3)
    #[command(subcommand)]
    Puk(puk::Verb),
    /// The operator's session, opened with the operator's own card
    #[command(subcommand)]
    Operator(operator::Verb),
    /// The counter's procedures: activation, signature certificate
    #[command(subcommand)]
    Counter(counter::Verb),
    /// Sealed PUKs and blind envelopes
    #[command(subcommand)]
    Custody(custody::Verb),
    /// Sealed orders of a CMS system that keeps PUKs itself
    #[command(subcommand)]
    Order(order::Verb),
    /// Cards of other regions at our counters, and ours at theirs (§8)
    #[command(subcommand)]
    National(national::Verb),
    /// The audit log
    #[command(subcommand)]
    Audit(audit::Verb),
    /// The PKCS#11 module in browsers and other programs
    #[command(subcommand)]
    Module(module::Verb),
    /// Look at the whole way from the reader to the browser, and say what is wrong
    Doctor(doctor::Options),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut context = Context::new(arguments.socket, arguments.json);
    match run(&mut context, arguments.noun) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            context.report(&error);
            error.exit_code()
        }
    }
}

fn run(context: &mut Context, noun: Noun) -> Result<(), CliError> {
    match noun {
        Noun::Status => daemon::status(context),
        Noun::Discover => daemon::discover(context),
        Noun::Reader(verb) => reader::run(context, verb),
        Noun::Card(verb) => card::run(context, verb),
        Noun::Certificate(verb) => certificate::run(context, verb),
        Noun::Pin(verb) => pin::run(context, verb),
        Noun::Puk(verb) => puk::run(context, verb),
        Noun::Operator(verb) => operator::run(context, verb),
        Noun::Counter(verb) => counter::run(context, verb),
        Noun::Custody(verb) => custody::run(context, verb),
        Noun::Order(verb) => order::run(context, verb),
        Noun::National(verb) => national::run(context, verb),
        Noun::Audit(verb) => audit::run(context, verb),
        Noun::Module(verb) => module::run(context, verb),
        Noun::Doctor(options) => doctor::run(context, options),
    }
}
