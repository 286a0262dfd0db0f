//! `cns-authority`: a certifier for tests and demonstrations.

use std::error::Error;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, Subcommand};
use cns_virtual_authority::{
    Authority, AuthorityError, Fault, InitOptions, Reason, Record, read_secret, serve, serve_faulty,
};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// A certifier for tests: its key is a plain file and it checks nobody's identity.
#[derive(Parser)]
#[command(name = "cns-authority", version)]
struct Arguments {
    #[command(subcommand)]
    act: Act,
}

#[derive(Subcommand)]
enum Act {
    /// Make a new certifier: key, self-signed certificate, empty CRL.
    Init {
        /// Folder to make it in.
        dir: PathBuf,
        /// Common name of the certifier.
        #[arg(long)]
        name: Option<String>,
        /// File with the secret that CMP clients share with the certifier.
        #[arg(long)]
        cmp_secret_file: PathBuf,
        /// Name that CMP clients give to that secret.
        #[arg(long, default_value = "cnsd")]
        cmp_reference: String,
        /// Length of the certifier's RSA key.
        #[arg(long, default_value_t = 3072, value_parser = clap::value_parser!(u16).range(2048..=4096))]
        key_bits: u16,
    },
    /// Answer CMP at /pkix/PROFILE and OCSP at /ocsp, and give out /crl.der, /delta.der and /ca.der.
    Serve {
        /// Folder of the certifier.
        dir: PathBuf,
        /// Address to listen on; port 0 takes any free one.
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
        /// File to write the address to.
        #[arg(long)]
        port_file: Option<PathBuf>,
        /// Let requests wait for their certificate this many seconds.
        #[arg(long, default_value_t = 0)]
        delay: u64,
        /// Misbehave, for tests of clients: `wrong-nonce`, `lose-answer:1` (the first time alone);
        /// a name that is none lists all.
        #[arg(long)]
        fault: Option<Fault>,
    },
    /// Give a registration officer's certificate the right to sign CMP messages for the registration authority.
    Authorise {
        /// Folder of the certifier.
        dir: PathBuf,
        /// The officer's certificate, PEM or DER.
        certificate: PathBuf,
    },
    /// List the certificates that were issued.
    List {
        /// Folder of the certifier.
        dir: PathBuf,
    },
    /// Suspend, reactivate or revoke a certificate, and publish a CRL that says so.
    Revoke {
        /// Folder of the certifier.
        dir: PathBuf,
        /// Serial number, in hexadecimal.
        serial: String,
        /// Reason of RFC 5280; certificateHold suspends, removeFromCRL takes that back.
        #[arg(long, default_value = "unspecified")]
        reason: Reason,
    },
}

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
    match run(Arguments::parse().act) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(act: Act) -> Result<(), Box<dyn Error>> {
    match act {
        Act::Init { dir, name, cmp_secret_file, cmp_reference, key_bits } => {
            let mut options = InitOptions::new(Vec::new());
            options.secret = read_secret(&cmp_secret_file)?;
            options.reference = cmp_reference;
            options.key_bits = usize::from(key_bits);
            if let Some(name) = name {
                options.name = name;
            }
            let authority = Authority::init(&dir, &options)?;
            say(&format!("{}", authority.ca_certificate().tbs_certificate.subject))
        }
        Act::Serve { dir, listen, port_file, delay, fault } => {
            let authority = Authority::open(&dir)?;
            authority.set_delay(Duration::from_secs(delay));
            serve_until_told(Arc::new(authority), listen, port_file.as_deref(), fault)
        }
        Act::Authorise { dir, certificate } => {
            let certificate = std::fs::read(&certificate)
                .map_err(|source| AuthorityError::File { path: certificate.clone(), source })?;
            say(&Authority::open(&dir)?.authorise(&certificate)?)
        }
        Act::List { dir } => Authority::open(&dir)?.list()?.iter().try_for_each(|record| say(&line(record)?)),
        Act::Revoke { dir, serial, reason } => {
            say(&Authority::open(&dir)?.revoke(&serial, reason)?.to_string())
        }
    }
}

fn serve_until_told(
    authority: Arc<Authority>,
    listen: SocketAddr,
    port_file: Option<&Path>,
    fault: Option<Fault>,
) -> Result<(), Box<dyn Error>> {
    tokio::runtime::Runtime::new()?.block_on(async {
        let listener = TcpListener::bind(listen).await?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let address = listener.local_addr()?.to_string();
        if let Some(path) = port_file {
            // Renamed into place, so that whoever waits for the file never reads half an address.
            let half = path.with_extension("new");
            std::fs::write(&half, &address)?;
            std::fs::rename(&half, path)?;
        }
        say(&address)?;
        let told = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        match fault {
            Some(fault) => serve_faulty(listener, authority, fault, told).await?,
            None => serve(listener, authority, told).await?,
        }
        Ok(())
    })
}

fn line(record: &Record) -> Result<String, Box<dyn Error>> {
    let date = |seconds: u64| -> Result<String, Box<dyn Error>> {
        Ok(OffsetDateTime::from_unix_timestamp(i64::try_from(seconds)?)?.format(&Rfc3339)?)
    };
    let (from, until) = (date(record.not_before)?, date(record.not_after)?);
    Ok(format!(
        "{}  {}  {}  {from} to {until}  {}",
        record.serial, record.profile, record.status, record.subject
    ))
}

fn say(text: &str) -> Result<(), Box<dyn Error>> {
    Ok(writeln!(io::stdout(), "{text}")?)
}
