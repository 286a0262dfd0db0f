//! Custody: cards' PUKs and blind envelopes, sealed at rest and lent to one use at a time.
//!
//! ```text
//! key file (KEK) ── wraps ──> data key (database) ── seals ──> PUKs, envelopes' PINs, import key, pepper, audit key
//! ```
//! No function here gives a PIN or PUK back: [`Lent`] has no accessor, only a use.

mod batch;
mod ber;
mod choices;
mod data_key;
mod envelope;
mod envelope_code;
mod enveloped_data;
mod erase;
mod error;
mod hsm;
mod import;
mod import_file;
pub(crate) mod import_line;
mod import_staging;
mod kek;
pub(crate) mod key;
pub(crate) mod own_key;
mod puk;
mod records;
mod rotation;
pub(crate) mod seal;
mod seal_to;
mod stock;
mod upkeep;
mod user_code;
mod user_code_hash;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cns_secret::Secret;

pub use self::batch::{Asker, Selection, check_note};
pub use self::envelope::{Desk, EnvelopePurpose, EnvelopeState};
pub use self::envelope_code::EnvelopeCode;
pub(crate) use self::enveloped_data::Addressed;
pub use self::error::{CustodyError, HsmError, KeyFileFault, Unavailable};
pub use self::import::{Fault, Faults, ImportError, LineFault};
pub(crate) use self::import_file::MAXIMUM_CHUNK;
pub use self::import_file::{Arrived, FileDigest};
pub use self::puk::{Lent, PukKind};
pub use self::seal::{RecordName, Sealer};
pub(crate) use self::seal_to::seal_to;

use self::batch::Batches;
use self::data_key::DataKeys;
use self::envelope::Envelopes;
use self::import_file::Imports;
use self::kek::Source;
use self::own_key::{OwnKey, Purpose};
use self::puk::Puks;
use self::stock::Policy;
use self::user_code::UserCodes;
use crate::config::CustodyConfig;
use crate::database::Database;

/// Custody, open. Clones share it.
#[derive(Clone)]
pub struct Custody {
    inner: Arc<Inner>,
}

/// Envelope, salt, verifier, card.
type HolderRow = (String, Vec<u8>, Vec<u8>, String);

struct Inner {
    database: Database,
    state: PathBuf,
    keys: DataKeys,
    import_key: OwnKey,
    user_codes: UserCodes,
    envelopes: Envelopes,
    batches: Batches,
    puks: Puks,
    policy: Policy,
    imports: Imports,
}

impl Custody {
    /// Opens custody in `database` with the key file of `config` (relative to the folder `state`). The first start
    /// makes the key file, the data key, the import key and its certificate.
    ///
    /// # Errors
    /// A key file that is missing, unsafe, damaged or of another database, and records that were tampered with.
    pub async fn open(
        database: &Database,
        config: &CustodyConfig,
        state: &Path,
    ) -> Result<Self, CustodyError> {
        let (database, state) = (database.clone(), state.to_owned());
        let pool = database.pool();
        let keys = DataKeys::open(&database, Source::new(config, &state)).await?;
        let import_key = OwnKey::open(pool, keys.sealer(), Purpose::Import).await?;
        let user_codes = UserCodes::open(&database, keys.sealer()).await?;
        let envelopes = Envelopes::new(pool.clone(), keys.clone());
        let batches = Batches::new(pool.clone());
        let puks = Puks::new(pool.clone(), keys.clone());
        let imports = Imports::new(&state, config.largest_import());
        let policy = Policy {
            void_four_eyes: config.void_four_eyes,
            rotate_four_eyes: config.rotate_four_eyes,
            low_stock: config.low_stock,
            low_stock_holder: config.low_stock_holder,
        };
        let inner = Inner {
            database,
            state,
            keys,
            import_key,
            user_codes,
            envelopes,
            batches,
            puks,
            policy,
            imports,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// What seals other records under the same data key.
    #[must_use]
    pub fn sealer(&self) -> &Sealer {
        self.inner.keys.sealer()
    }

    /// The certificate to which import files are encrypted, PEM.
    #[must_use]
    pub fn import_certificate_pem(&self) -> &str {
        self.inner.import_key.pem()
    }

    /// Another key of the daemon's, kept as the import key is.
    ///
    /// # Errors
    /// As [`Custody::open`].
    pub(crate) async fn own_key(&self, purpose: Purpose) -> Result<OwnKey, CustodyError> {
        OwnKey::open(self.inner.database.pool(), self.inner.keys.sealer(), purpose).await
    }

    /// Decrypts RFC 5652 EnvelopedData with one of the daemon's keys.
    ///
    /// # Errors
    /// [`CustodyError::Import`], without a word on what is wrong inside.
    pub(crate) fn decrypt(&self, key: &OwnKey, message: &[u8]) -> Result<Secret, CustodyError> {
        enveloped_data::decrypt(message, key.certificate(), &key.private(self.inner.keys.sealer())?)
    }

    /// The holder's codice fiscale, where an import told it.
    ///
    /// # Errors
    /// The database failed.
    pub async fn codice_fiscale(&self, serial: &str) -> Result<Option<String>, CustodyError> {
        let row: Option<(Option<String>,)> =
            sqlx::query_as("SELECT codice_fiscale FROM card WHERE serial = $1")
                .bind(serial)
                .fetch_optional(self.inner.database.pool())
                .await?;
        Ok(row.and_then(|(codice_fiscale,)| codice_fiscale))
    }

    /// Whether a PUK can be lent: it is known, and no chip has refused it.
    ///
    /// # Errors
    /// The database failed.
    pub async fn has_puk(&self, serial: &str, kind: PukKind) -> Result<bool, CustodyError> {
        self.inner.puks.has(serial, kind).await
    }

    /// Lends a card's PUK.
    ///
    /// # Errors
    /// [`CustodyError::NoPuk`]; [`CustodyError::PukRefused`] once [`Custody::puk_refused`] marked it.
    pub async fn puk(&self, serial: &str, kind: PukKind) -> Result<Lent, CustodyError> {
        self.inner.puks.lend(serial, kind).await
    }

    /// Stores a PUK that is about to be set on a chip. The same value again is no error, another one is
    /// [`CustodyError::PukKnown`], because the first may be on the chip: ask [`Custody::has_puk`] first.
    ///
    /// # Errors
    /// See above; or a serial number or PUK that cannot be one.
    pub async fn store_puk(&self, serial: &str, kind: PukKind, puk: &Secret) -> Result<(), CustodyError> {
        self.inner.puks.store(serial, kind, puk).await
    }

    /// Marks a PUK that the chip refused: it is never lent again.
    ///
    /// # Errors
    /// [`CustodyError::NoPuk`].
    pub async fn puk_refused(
        &self,
        serial: &str,
        kind: PukKind,
        tries_left: Option<u8>,
    ) -> Result<(), CustodyError> {
        self.inner.puks.refused(serial, kind, tries_left).await
    }

    /// Reserves an envelope of an operator, or of the counter where they work, for a procedure on the card `serial` and its
    /// own codes. Again for the same procedure and card is no error.
    ///
    /// # Errors
    /// [`CustodyError::CodeInvalid`] before anything is looked up, [`CustodyError::EnvelopeUnknown`], and
    /// [`CustodyError::EnvelopeUnavailable`].
    pub async fn reserve<'a>(
        &self,
        code: &str,
        desk: impl Into<Desk<'a>>,
        procedure: &str,
        serial: &str,
    ) -> Result<(), CustodyError> {
        self.reserve_for(code, desk, (procedure, serial), EnvelopePurpose::Card).await
    }

    /// As [`Custody::reserve`], for one of a card's PINs.
    ///
    /// # Errors
    /// As that; [`CustodyError::EnvelopeUnavailable`] also for an envelope that the procedure has for the other one.
    pub async fn reserve_for<'a>(
        &self,
        code: &str,
        desk: impl Into<Desk<'a>>,
        procedure_and_card: (&str, &str),
        purpose: EnvelopePurpose,
    ) -> Result<(), CustodyError> {
        let code = EnvelopeCode::parse(code)?;
        self.inner.envelopes.reserve(&code, desk.into(), procedure_and_card, purpose).await
    }

    /// Lends the PIN of an envelope that this procedure reserved or used.
    ///
    /// # Errors
    /// As [`Custody::reserve`]; [`CustodyError::PinDestroyed`] after [`Custody::consume`].
    pub async fn envelope_pin(&self, code: &str, procedure: &str) -> Result<Lent, CustodyError> {
        self.inner.envelopes.pin(&EnvelopeCode::parse(code)?, procedure).await.map(Lent::new)
    }

    /// Whether `user_code` is the one in the envelope. The caller limits how often this may be asked (§6.2).
    ///
    /// # Errors
    /// [`CustodyError::CodeInvalid`] or [`CustodyError::EnvelopeUnknown`].
    pub async fn user_code_matches(&self, code: &str, user_code: &Secret) -> Result<bool, CustodyError> {
        let code = EnvelopeCode::parse(code)?;
        let row: Option<(Vec<u8>, Vec<u8>)> =
            sqlx::query_as("SELECT user_code_salt, user_code_verifier FROM envelope WHERE code = $1")
                .bind(code.as_str())
                .fetch_optional(self.inner.database.pool())
                .await?;
        let (salt, verifier) = row.ok_or_else(|| CustodyError::EnvelopeUnknown { code: code.to_string() })?;
        self.inner.user_codes.matches(code.as_str(), &salt, &verifier, user_code.expose())
    }

    /// Notes that the envelope's PIN is on the card. Its user code is somebody's from now on, and its verifier is hardened; that
    /// of an envelope for the signature area is destroyed.
    ///
    /// # Errors
    /// [`CustodyError::EnvelopeUnavailable`] when this procedure has not reserved it.
    pub async fn mark_used(&self, code: &str, procedure: &str) -> Result<(), CustodyError> {
        let code = EnvelopeCode::parse(code)?;
        self.inner.envelopes.mark_used(&code, procedure).await?;
        self.harden(code.as_str()).await
    }

    /// Puts a memory-hard hash over the verifier of an envelope's user code, once.
    async fn harden(&self, code: &str) -> Result<(), CustodyError> {
        let row: Option<(Vec<u8>, Vec<u8>)> =
            sqlx::query_as("SELECT user_code_salt, user_code_verifier FROM envelope WHERE code = $1")
                .bind(code)
                .fetch_optional(self.inner.database.pool())
                .await?;
        let Some((salt, keyed)) = row else { return Ok(()) };
        if keyed.is_empty() || user_code_hash::is_hardened(&keyed) {
            return Ok(());
        }
        let was = keyed.clone();
        let hashed = tokio::task::spawn_blocking(move || user_code_hash::harden(&salt, &keyed)).await;
        let hardened = hashed.map_err(|_| CustodyError::Stopped)??;
        sqlx::query(
            "UPDATE envelope SET user_code_verifier = $3 WHERE code = $1 AND user_code_verifier = $2",
        )
        .bind(code)
        .bind(was)
        .bind(hardened)
        .execute(self.inner.database.pool())
        .await?;
        Ok(())
    }

    /// The card of a holder whose user code this is: the code of the envelope that was handed over last. A holder whom
    /// nobody knows costs the same hash. The caller limits how often this may be asked (§6.2).
    ///
    /// # Errors
    /// The database failed.
    pub(crate) async fn holder_code_matches(
        &self,
        codice_fiscale: &str,
        user_code: Secret,
    ) -> Result<Option<String>, CustodyError> {
        let row: Option<HolderRow> = sqlx::query_as(
            "SELECT envelope.code, envelope.user_code_salt, envelope.user_code_verifier, card.serial \
             FROM envelope JOIN card ON card.serial = envelope.card_serial \
             WHERE card.codice_fiscale = $1 AND envelope.state = 'used' AND envelope.purpose IS NULL ORDER BY envelope.used_at DESC LIMIT 1",
        )
        .bind(codice_fiscale)
        .fetch_optional(self.inner.database.pool())
        .await?;
        let inner = Arc::clone(&self.inner);
        let judged = tokio::task::spawn_blocking(move || {
            let known = row.as_ref().map(|(code, salt, verifier, _)| (code.as_str(), salt, verifier));
            let matches = inner.user_codes.judge(known, user_code.expose())?;
            Ok(row.filter(|_| matches).map(|(_, _, _, card)| card))
        });
        judged.await.map_err(|_| CustodyError::Stopped)?
    }

    /// What stands for a holder in records of attempts: it tells the codice fiscale to nobody without the key file.
    ///
    /// # Errors
    /// No locked memory.
    pub(crate) fn holder_tag(&self, codice_fiscale: &str) -> Result<String, CustodyError> {
        self.inner.user_codes.holder_tag(codice_fiscale)
    }

    /// What stands for a household: it tells its key to nobody without the key file.
    ///
    /// # Errors
    /// No locked memory.
    pub(crate) fn household_tag(&self, household: &str) -> Result<String, CustodyError> {
        self.inner.user_codes.household_tag(household)
    }

    /// Gives a reserved envelope back to its operator: only when the card was surely not touched.
    ///
    /// # Errors
    /// [`CustodyError::EnvelopeUnavailable`] when this procedure has not reserved it.
    pub async fn release(&self, code: &str, procedure: &str) -> Result<(), CustodyError> {
        self.inner.envelopes.release(&EnvelopeCode::parse(code)?, procedure).await
    }

    /// Takes an envelope out of use for ever, and destroys its PIN.
    ///
    /// # Errors
    /// [`CustodyError::EnvelopeUnavailable`] when it is not this procedure's.
    pub async fn void(&self, code: &str, procedure: &str, reason: &str) -> Result<(), CustodyError> {
        self.inner.envelopes.void(&EnvelopeCode::parse(code)?, procedure, reason).await
    }

    /// Destroys the sealed PINs that this procedure used or voided, in the database's log as well.
    ///
    /// # Errors
    /// The database failed.
    pub async fn consume(&self, procedure: &str) -> Result<(), CustodyError> {
        self.inner.envelopes.consume(procedure).await?;
        Ok(self.inner.database.empty_log().await?)
    }
}
