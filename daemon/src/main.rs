//! `cnsd`: reads its configuration, puts the rooms together, and runs until it is told to stop.

mod host;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use cns_protocol::audit::Phase;
use cnsd::audit::{Audit, AuditError, Record};
use cnsd::authority::helper::helper_main;
use cnsd::authority::{Authority, AuthorityError, NetworkHelper};
use cnsd::config::{Config, ConfigError, DEFAULT_STATE};
use cnsd::connection::{Service, stopped};
use cnsd::custody::{Custody, CustodyError};
use cnsd::database::{Database, DatabaseError};
use cnsd::dispatch;
use cnsd::login::LoginRegistry;
use cnsd::methods::Daemon;
use cnsd::operator::{Operators, TrustError};
use cnsd::outside::{Outside, OutsideError};
use cnsd::peer::Access;
use cnsd::procedure::certifier::Certifier;
use cnsd::procedure::{ProcedureError, Procedures};
use cnsd::reader::{ReaderError, Readers};
use cnsd::server::{self, Door, SocketError, SocketPlace};
use time::OffsetDateTime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

/// How often sessions whose time is over are looked for; each use checks the time by itself.
const SESSION_SWEEP: Duration = Duration::from_secs(60);

/// The privileged daemon that owns CNS cards.
#[derive(Parser)]
#[command(name = "cnsd", version, args_conflicts_with_subcommands = true)]
struct Arguments {
    /// The configuration file; without it /etc/cnsd/cnsd.toml, where there is one
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The folder of keys, database and audit log
    #[arg(long, value_name = "DIR", default_value = DEFAULT_STATE)]
    state: PathBuf,
    /// The socket to listen on, whatever the configuration says
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Talks to the network for the daemon, without its rights.
    #[command(hide = true)]
    NetworkHelper,
}

/// Why the daemon does not start.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("another cnsd works with the state folder {0}")]
    StateTaken(PathBuf),
    #[error("the state folder {path}: {source}")]
    State { path: PathBuf, source: io::Error },
    #[error("the system refuses: {0}")]
    System(#[from] io::Error),
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Custody(#[from] CustodyError),
    #[error(transparent)]
    Audit(#[from] AuditError),
    #[error(transparent)]
    Reader(#[from] ReaderError),
    #[error("[operators]: {0}")]
    Operators(#[from] TrustError),
    #[error("[authority]: {0}")]
    Authority(#[from] AuthorityError),
    #[error(transparent)]
    Outside(#[from] OutsideError),
    #[error("the procedures cannot be settled: {0}")]
    Procedures(#[from] ProcedureError),
    #[error(transparent)]
    Socket(#[from] SocketError),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(Command::NetworkHelper) = arguments.command {
        return helper_main();
    }
    match start(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("cnsd does not start: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(arguments: &Arguments) -> Result<(), StartError> {
    let config = Config::load(arguments.config.as_deref());
    log_to_stderr(config.as_ref().map_or("info", |config| &config.log));
    let mut config = config?;
    if let Some(socket) = &arguments.socket {
        config.socket.clone_from(socket);
    }
    host::harden()?;
    host::raise_locked_memory();
    let state = arguments.state.as_path();
    let failed = |source| StartError::State { path: state.to_owned(), source };
    server::prepare_state(state).map_err(failed)?;
    // Held until the end: released by the system when the daemon is killed.
    let Some(_lock) = host::lock(state).map_err(failed)? else {
        return Err(StartError::StateTaken(state.to_owned()));
    };
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run(config, state))
}

fn log_to_stderr(filter: &str) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(false).init();
}

async fn run(config: Config, state: &Path) -> Result<(), StartError> {
    let (stop_sender, stop) = watch::channel(false);
    stop_on_signals(stop_sender)?;
    let database = Database::open(&config.custody.database, state).await?;
    let daemon = assemble(&config, &database, state).await?;
    daemon.end_logins_with_their_pin();
    daemon.procedures.settle().await?;

    let access = Access::resolve(&config.access);
    let door =
        if access.open_to_everyone() { Door::Everyone } else { Door::Group(config.socket_group.clone()) };
    let socket = SocketPlace::bind(&config.socket, &door)?;
    daemon.audit.record(Record::new("daemon-start", Phase::Fact, env!("CARGO_PKG_VERSION"))).await?;
    tokio::spawn(daemon.procedures.clone().settle_loop());
    if let Some(orders) = daemon.outside.orders.clone() {
        tokio::spawn(orders.settle_loop());
    }
    tokio::spawn(daemon.procedures.standings().clone().work_loop());
    tokio::spawn(daemon.custody.clone().keep_keys());
    if let Some(national) = daemon.outside.national.clone() {
        tokio::spawn(national.work_loop());
    }
    tokio::spawn(watch_cards(Arc::clone(&daemon), stop.clone()));
    let service = Arc::new(Service { router: dispatch::router(&daemon), limits: config.limits.clone() });
    host::notify("READY=1");
    tracing::info!(socket = %config.socket.display(), version = env!("CARGO_PKG_VERSION"), "ready");

    server::run(socket, access, service, Arc::clone(&daemon.logins), stop).await;
    host::notify("STOPPING=1");
    daemon.readers.stop();
    daemon.audit.record(Record::new("daemon-stop", Phase::Fact, "told to stop")).await?;
    daemon.audit.checkpoint().await?;
    database.close().await;
    tracing::info!("stopped");
    Ok(())
}

async fn assemble(config: &Config, database: &Database, state: &Path) -> Result<Arc<Daemon>, StartError> {
    let custody = Custody::open(database, &config.custody, state).await?;
    let audit = Audit::open(state, custody.sealer()).await?;
    audit.rotate_at(config.audit.rotate_at()).await?;
    let readers = Readers::start(&config.readers)?;
    let operators = Operators::open(&config.operators, &config.operator, &readers)?;
    let authority = match &config.authority {
        Some(authority) => {
            let network =
                NetworkHelper::default().with_route(&config.network).map_err(AuthorityError::from)?;
            Some(Arc::new(Authority::open(authority, Arc::new(network))?))
        }
        None => None,
    };
    let certifier: Option<Arc<dyn Certifier>> = match &authority {
        Some(authority) => Some(Arc::<Authority>::clone(authority)),
        None => None,
    };
    let procedures = Procedures::open(database, &custody, &readers, &audit, certifier);
    procedures.configure(config.counter.clone(), config.signature_area);
    if let Some(authority) = authority {
        procedures.change_status_by(authority);
    }
    let rooms = (&custody, &readers, &audit);
    let outside = Outside::open(config, database, rooms, &procedures).await?;
    if let Some(status) = &outside.status {
        operators.ask_status_of(Arc::clone(status));
    }
    let (logins, started) = (Arc::<LoginRegistry>::default(), Instant::now());
    Ok(Arc::new(Daemon { readers, custody, audit, operators, procedures, outside, logins, started }))
}

/// Ends logins and operator sessions whose card is gone or whose time is over.
async fn watch_cards(daemon: Arc<Daemon>, mut stop: watch::Receiver<bool>) {
    let mut changes = daemon.readers.changes();
    loop {
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(SESSION_SWEEP) => {}
            () = stopped(&mut stop) => return,
        }
        daemon.end_what_lost_its_card().await;
        if let Err(error) = daemon.outside.holders.forget_old(OffsetDateTime::now_utc()).await {
            tracing::warn!(%error, "old attempts at user codes stay");
        }
    }
}

fn stop_on_signals(stop: watch::Sender<bool>) -> io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn(async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!(signal = name, "stopping");
        stop.send_replace(true);
        // Kept, so that a dropped sender cannot be taken for a stop.
        std::future::pending::<()>().await;
    });
    Ok(())
}
