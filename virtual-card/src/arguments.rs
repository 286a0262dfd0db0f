//! The command line of `cns-card`.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use cns_virtual_card::Generation;
use cns_virtual_card::fault::Order;
use cns_virtual_card::timing::Timing;

/// A CNS chip in software.
#[derive(Parser)]
#[command(version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) action: Action,
}

#[derive(Subcommand)]
pub(crate) enum Action {
    /// Make a card for a holder.
    Create(Create),
    /// Load a certificate: that of the authentication key unless told otherwise.
    Load {
        /// The card's directory.
        card: PathBuf,
        /// The certificate, in DER.
        certificate: PathBuf,
        /// It is that of the signature key, which was made with --signature-request.
        #[arg(long)]
        signature: bool,
        /// It is that of a certification authority, which has no key here; on generations that have a place for it.
        #[arg(long, conflicts_with = "signature")]
        authority: bool,
    },
    /// Plug the card in to a reader that speaks vpcd's protocol, until SIGTERM.
    Vpcd {
        /// The card's directory.
        card: PathBuf,
        /// Host of the reader.
        #[arg(long, default_value = "127.0.0.1")]
        host: String,
        /// TCP port of the reader.
        #[arg(long, default_value_t = 35963)]
        port: u16,
        /// Unix socket of the reader, in place of host and port.
        #[arg(long)]
        path: Option<PathBuf>,
        /// What goes wrong, and when: `pull-after@12`, `tear-lost@ins:20`, `status=6F00@3`, `wear=10` and others
        /// (docs/cns-card.md); may be repeated.
        #[arg(long = "fault", value_name = "SPEC")]
        faults: Vec<Order>,
        /// How long the card takes: `none`, `real`, or `real*0.1` for a tenth of a real card's time.
        #[arg(long, default_value = "none")]
        timing: Timing,
        /// File to keep the account in, as JSON: commands, bytes, and the milliseconds that a real card would have taken
        #[arg(long)]
        account: Option<PathBuf>,
    },
    /// Plug in a card that answers from a recorded trace (docs/trace-format.md), until SIGTERM.
    FromTrace {
        /// The trace, as `cnsctl card report` or `cnsctl card trace` wrote it.
        trace: PathBuf,
        /// Host of the reader.
        #[arg(long, default_value = "127.0.0.1")]
        host: String,
        /// TCP port of the reader.
        #[arg(long, default_value_t = 35963)]
        port: u16,
        /// Unix socket of the reader, in place of host and port.
        #[arg(long)]
        path: Option<PathBuf>,
    },
    /// Tell what can be told about a card without a secret.
    Show {
        /// The card's directory.
        card: PathBuf,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// List the generations of chip that can be made, and what is known of each.
    Generations {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print blind envelopes: letters, and the batch that is imported.
    Envelopes {
        /// How many.
        #[arg(long)]
        count: usize,
        /// The certificate that the batch is sealed to (PEM or DER).
        #[arg(long)]
        seal_to: PathBuf,
        /// The sealed batch to be written.
        #[arg(long)]
        out: PathBuf,
        /// The folder for the letters.
        #[arg(long)]
        letters: PathBuf,
        /// Length of the PINs.
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(5..=8))]
        pin_digits: u8,
    },
}

#[derive(clap::Args)]
pub(crate) struct Create {
    /// The card's directory, to be made.
    pub(crate) card: PathBuf,
    /// The holder's data (TOML; docs/card-generations.md has an example).
    #[arg(long)]
    pub(crate) holder: PathBuf,
    /// Where the PKCS#10 request for the authentication certificate goes (DER).
    #[arg(long)]
    pub(crate) request: PathBuf,
    /// The generation of chip.
    #[arg(long, default_value = "st2021", value_parser = generation, long_help = format!("The generation of chip, one of:\n\n{}", generations()))]
    pub(crate) generation: Generation,
    /// The certificate that the PUK is sealed to (PEM or DER).
    #[arg(long, requires = "sealed_puk")]
    pub(crate) seal_to: Option<PathBuf>,
    /// Where the sealed PUK goes.
    #[arg(long, requires = "seal_to")]
    pub(crate) sealed_puk: Option<PathBuf>,
    /// Make a second key, for signatures, and write its PKCS#10 request here (DER). Where it has a PIN of its own,
    /// that comes after the PIN on a second line of standard input, or is random; the card's PUK unblocks it.
    #[arg(long, conflicts_with = "without_signature_area")]
    pub(crate) signature_request: Option<PathBuf>,
    /// Load the certificate of a certification authority too (DER), on generations that have a place for it; may be
    /// repeated.
    #[arg(long = "authority-certificate", value_name = "CERTIFICATE")]
    pub(crate) authority_certificates: Vec<PathBuf>,
    /// Read the PIN, 5 to 8 digits and a newline, from standard input; it is random otherwise.
    #[arg(long)]
    pub(crate) pin_from_stdin: bool,
    /// Behave as some real chips do; may be repeated.
    #[arg(long = "option", value_enum)]
    pub(crate) options: Vec<ChipOption>,
    /// How long generating a key takes at least, in seconds.
    #[arg(long, default_value_t = 0)]
    pub(crate) keygen_delay: u16,
    /// Leave out the directory for the digital signature.
    #[arg(long)]
    pub(crate) without_signature_area: bool,
    /// Demand secure messaging of whoever creates or changes something in the signature directory, or uses the signature
    /// PIN and key where there are some; with the issuer's keys in this file: two lines of hexadecimal digits, the key that enciphers, then the key that signs.
    #[arg(long, value_name = "KEYS", conflicts_with = "without_signature_area")]
    pub(crate) secure_messaging: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ChipOption {
    /// Refuse command chaining with 6E00.
    StrictSt,
    /// Answer 6300 to a wrong PIN.
    StrictIncard,
    /// Refuse SELECT with P2 = 0C.
    #[value(name = "select-p2-0c=6a86")]
    SelectP2,
    /// Decipher with signature keys too.
    LenientDec,
    /// Refuse MSE RESTORE with a fifth byte.
    StrictRestore,
    /// Answer as over T=0: GET RESPONSE after 61xx, no extended length.
    T0,
}

fn generation(name: &str) -> Result<Generation, String> {
    Generation::from_name(name).ok_or_else(|| {
        let names: Vec<_> = Generation::all().map(Generation::name).collect();
        format!("known generations: {}", names.join(", "))
    })
}

/// The generations, each with what is known of it.
pub(crate) fn generations() -> String {
    let describe = |generation: Generation| {
        let (name, cards, grade) = (generation.name(), generation.cards(), generation.grade());
        format!("{name}: {cards}.\n    {grade}: {}", generation.evidence())
    };
    Generation::all().map(describe).collect::<Vec<_>>().join("\n")
}
