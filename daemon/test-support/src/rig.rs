//! A counter: one reader, one card, a batch of envelopes, a certifier.

pub mod answers;
mod card;
pub mod certifier;
mod steps;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use std::{fs, io};

use cns_protocol::audit::Entry;
use cns_protocol::operator::{CounterKind, Session};
use cns_virtual_authority::{Authority as Certifier, InitOptions, Profile};
use cns_virtual_card::sealed::{Content, Kind, Recipient};
use cns_virtual_card::vpcd::{Endpoint, Plugged, plug};
use cns_virtual_card::{Personalisation, VirtualCard, envelopes, sample};
use cnsd::audit::Audit;
use cnsd::authority::Authority;
use cnsd::config::{AuthorityConfig, CounterConfig, SignatureAreaConfig};
use cnsd::custody::Custody;
use cnsd::database::Database;
use cnsd::national::National;
use cnsd::national::connector::HttpConnector;
use cnsd::procedure::{self, Procedures};
use cnsd::reader::{ReaderSpec, Readers, VpcdAddress};
use der::{Decode, DecodePem, Encode};
use tempfile::TempDir;
use tokio::net::TcpListener;
use x509_cert::Certificate;
use x509_cert::request::CertReq;

pub use self::answers::usual_answer;
pub use self::card::takes_pin;
use crate::national_peer::{self, Peer};
pub use crate::plugged::secret;
use crate::{database, network};

pub const UID: u32 = 1000;
const SECRET: &str = "a secret of the tests";
const WAIT: Duration = Duration::from_secs(30);

/// What is slow to make is made once: the certifier's key and custody's import key.
fn template() -> &'static Path {
    static TEMPLATE: OnceLock<TempDir> = OnceLock::new();
    let folder = TEMPLATE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let options = InitOptions { key_bits: 2048, ..InitOptions::new(SECRET) };
        Certifier::init(&folder.path().join("ca"), &options).unwrap();
        let state = folder.path().join("state");
        fs::create_dir(&state).unwrap();
        let open = async {
            let config = database::config(&state);
            let database = Database::open(&config.database, &state).await.unwrap();
            Custody::open(&database, &config, &state).await.unwrap();
            database.close().await;
        };
        // A test's own runtime may not be blocked on.
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        std::thread::scope(|scope| scope.spawn(|| runtime.block_on(open)).join().unwrap());
        runtime.shutdown_background();
        folder
    });
    folder.path()
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        let target = to.join(&name);
        // Closed databases are complete without their log, which SQLite's own threads may not have taken away yet: when
        // two connections close at once, neither does.
        if [".db-wal", ".db-shm"].iter().any(|log| name.to_string_lossy().ends_with(log)) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// A folder of which nothing is being written, but for the database's files where `with_database` is not told.
fn copy_all(from: &Path, to: &Path, with_database: bool) {
    let _absent = fs::remove_dir_all(to).is_err();
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if !with_database && entry.file_name().to_string_lossy().starts_with("custody.db") {
            continue;
        }
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

pub fn session(operator: &str) -> Session {
    Session {
        operator: operator.to_owned(),
        name: "Anna Serra".to_owned(),
        counter: "ASL di prova, sportello 1".to_owned(),
        counter_kind: CounterKind::HealthAuthority,
        reader: "the operator's reader".to_owned(),
        expires: "2099-01-01T00:00:00Z".to_owned(),
        warning: None,
    }
}

/// The daemon's rooms, as far as the procedures need them; dropped and opened again as a restart does.
pub struct Rooms {
    pub database: Database,
    pub custody: Custody,
    pub audit: Audit,
    pub readers: Readers,
    pub procedures: Procedures,
    /// Where a national system is connected.
    pub national: Option<National>,
    pub authority: Arc<Authority>,
}

pub struct Rig {
    pub folder: TempDir,
    pub reader: String,
    pub codes: Vec<String>,
    pub certifier: Arc<Certifier>,
    pub card: Plugged,
    rooms: Option<Rooms>,
    /// What the citizen answers to §9.3.2-8.
    pub wants_signature: bool,
    url: String,
    server: tokio::task::JoinHandle<()>,
    /// The national system's address, once one is connected.
    national_url: Option<String>,
    /// And the system itself.
    pub peer: Option<Arc<Mutex<Peer>>>,
    /// Whether the certifier suspends, reactivates and revokes.
    changes_status: bool,
    /// What the counter is configured with, if not with the defaults.
    configured: Option<(CounterConfig, SignatureAreaConfig)>,
}

impl Rig {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// A counter with the sample card, changed by the test.
    pub async fn with(change: impl FnOnce(&mut Personalisation)) -> Self {
        Self::built(Self::prepared(), change).await
    }

    /// A counter whose daemon keeps its state in this folder.
    pub async fn with_state_in(place: &Path) -> Self {
        let folder = Self::prepared();
        let state = folder.path().join("state");
        copy(&state, place).unwrap();
        fs::remove_dir_all(&state).unwrap();
        std::os::unix::fs::symlink(place, &state).unwrap();
        Self::built(folder, |_| {}).await
    }

    fn prepared() -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        copy(template(), folder.path()).unwrap();
        database::copy(&template().join("state"), &folder.path().join("state"));
        folder
    }

    async fn built(folder: TempDir, change: impl FnOnce(&mut Personalisation)) -> Self {
        let certifier = Arc::new(Certifier::open(&folder.path().join("ca")).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/pkix/signature", listener.local_addr().unwrap());
        let server = certifier::serve_certifier(listener, &certifier);
        let mut order = sample::personalisation().unwrap();
        change(&mut order);
        let rooms = Some(Self::open_rooms(folder.path(), &url, None).await);
        let socket = folder.path().join("card.sock");
        let card_folder = folder.path().join("card");
        let chip = personalise(&certifier, &card_folder, order);
        let card = plug(chip, Endpoint::Unix(socket.clone())).unwrap();
        let reader = format!("vpcd:{}", socket.display());
        let codes = Vec::new();
        let wants_signature = true;
        let mut rig = Self {
            folder,
            reader,
            codes,
            certifier,
            card,
            rooms,
            wants_signature,
            url,
            server,
            national_url: None,
            peer: None,
            changes_status: false,
            configured: None,
        };
        rig.fill_custody().await;
        rig.card_is_back().await;
        rig
    }

    pub fn rooms(&self) -> &Rooms {
        self.rooms.as_ref().unwrap()
    }

    async fn open_rooms(folder: &Path, url: &str, national_url: Option<&str>) -> Rooms {
        let state = folder.join("state");
        let config = database::config(&state);
        let database = Database::open(&config.database, &state).await.unwrap();
        let custody = Custody::open(&database, &config, &state).await.unwrap();
        let audit = Audit::open(&state, custody.sealer()).await.unwrap();
        let spec = ReaderSpec::Vpcd(VpcdAddress::Unix(folder.join("card.sock")));
        let readers = Readers::start(&[spec]).unwrap();
        let secret_file = folder.join("cmp-secret");
        fs::write(&secret_file, SECRET).unwrap();
        let config = AuthorityConfig {
            url: url.to_owned(),
            reference: "cnsd".to_owned(),
            secret_file: Some(secret_file),
            trust_anchors: folder.join("ca/ca.pem"),
            ..AuthorityConfig::default()
        };
        let authority = Arc::new(Authority::open(&config, Arc::new(network())).unwrap());
        let certifier: Arc<dyn procedure::certifier::Certifier> = Arc::<Authority>::clone(&authority);
        let procedures = Procedures::open(&database, &custody, &readers, &audit, Some(certifier));
        let national = national_url.map(|url| {
            let connector = Box::new(HttpConnector::new(url, network()).unwrap());
            National::open(&database, &custody, &audit, Some(connector), None)
        });
        if let Some(national) = &national {
            procedures.send_requests_by(national.clone());
        }
        Rooms { database, custody, audit, readers, procedures, national, authority }
    }

    /// Connects the counter with a national system.
    pub async fn connect(&mut self) -> Arc<Mutex<Peer>> {
        let (peer, url) = national_peer::serve();
        (self.national_url, self.peer) = (Some(url), Some(Arc::clone(&peer)));
        self.restart().await;
        self.card_is_back().await;
        peer
    }

    /// The daemon goes away in the middle of things and comes back.
    pub async fn restart(&mut self) {
        self.rooms().readers.stop();
        self.rooms().database.close().await;
        // The old rooms are left before the new ones are opened, as one process ends before the next begins.
        self.rooms = None;
        self.rooms =
            Some(Self::open_rooms(self.folder.path(), &self.url, self.national_url.as_deref()).await);
        self.link();
    }

    /// Keeps what a power cut at this moment would leave on the disk. The database may be at work, and makes its copy
    /// itself, after the audit log was copied.
    pub async fn keep(&self, kept: &Path) {
        copy_all(&self.folder.path().join("state"), kept, false);
        let copy = format!("VACUUM INTO '{}'", kept.join("custody.db").display());
        sqlx::query(&copy).execute(self.rooms().database.pool()).await.unwrap();
    }

    /// The daemon comes back after a power cut: on the disk is what was kept.
    pub async fn restart_from(&mut self, kept: &Path) {
        self.rooms().readers.stop();
        self.rooms().database.close().await;
        self.rooms = None;
        let state = self.folder.path().join("state");
        fs::remove_dir_all(&state).unwrap();
        copy_all(kept, &state, true);
        self.rooms =
            Some(Self::open_rooms(self.folder.path(), &self.url, self.national_url.as_deref()).await);
        self.link();
    }

    /// One sealed file with the card's PUK, one with a batch of envelopes, all assigned.
    async fn fill_custody(&mut self) {
        let custody = self.rooms().custody.clone();
        let certificate = Certificate::from_pem(custody.import_certificate_pem()).unwrap();
        let recipient = Recipient::from_certificate(&certificate).unwrap();
        let mut content = Content::with_capacity(Kind::Cards, 200).unwrap();
        content
            .push_object(&[
                ("id_card", sample::ID_CARD.as_bytes()),
                ("codice_fiscale", b"RSSMRA80A01H501U"),
                ("puk", sample::PUK),
            ])
            .unwrap();
        custody.import(&recipient.seal(&content).unwrap()).await.unwrap();
        let letters = self.letters();
        custody.import(&envelopes::print(160, 5, &recipient, &letters).unwrap()).await.unwrap();
        let name = |entry: io::Result<fs::DirEntry>| {
            entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()
        };
        self.codes = fs::read_dir(&letters).unwrap().map(name).collect();
        custody.assign("op1", &self.codes).await.unwrap();
    }

    fn letters(&self) -> PathBuf {
        self.folder.path().join("letters")
    }

    /// The PIN in an envelope: what only the citizen reads.
    pub fn letter(&self, code: &str) -> Vec<u8> {
        self.printed(code, "PIN: ")
    }

    /// The user code in an envelope.
    pub fn user_code(&self, code: &str) -> Vec<u8> {
        self.printed(code, "User code: ")
    }

    fn printed(&self, code: &str, what: &str) -> Vec<u8> {
        let text = fs::read_to_string(self.letters().join(format!("{code}.txt"))).unwrap();
        text.lines().find_map(|line| line.strip_prefix(what)).unwrap().as_bytes().to_vec()
    }

    pub async fn entries(&self) -> Vec<Entry> {
        self.rooms().audit.list(1, 1000).await.unwrap()
    }

    /// The phases of an act in the audit log, oldest first.
    pub async fn phases(&self, act: &str) -> Vec<cns_protocol::audit::Phase> {
        self.entries().await.iter().filter(|entry| entry.act == act).map(|entry| entry.phase).collect()
    }
}

/// Has the database refuse every new or changed row of a table, as when its disk is full.
pub async fn refuse_writes(database: &Database, table: &str) {
    let statements = if database::on_postgresql() {
        vec![
            "CREATE FUNCTION refuse() RETURNS trigger AS 'BEGIN RAISE ''refused by the test''; END' LANGUAGE plpgsql"
                .to_owned(),
            format!(
                "CREATE TRIGGER refused BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION refuse()"
            ),
        ]
    } else {
        let trigger = |act: &str| {
            format!(
                "CREATE TRIGGER refused_{act} BEFORE {act} ON {table} \
                 BEGIN SELECT RAISE(ABORT, 'refused by the test'); END"
            )
        };
        vec![trigger("INSERT"), trigger("UPDATE")]
    };
    for statement in statements {
        sqlx::query(&statement).execute(database.pool()).await.unwrap();
    }
}

/// Makes the card in a folder, with its authentication certificate.
pub fn personalise(certifier: &Certifier, folder: &Path, order: Personalisation) -> VirtualCard {
    let mut chip = VirtualCard::create_in(folder, order).unwrap();
    let request = CertReq::from_der(&chip.certificate_request("Regione di prova").unwrap()).unwrap();
    let certificate = certifier.issue(Profile::Authentication, &request).unwrap();
    chip.load_certificate(&certificate.to_der().unwrap()).unwrap();
    chip
}
