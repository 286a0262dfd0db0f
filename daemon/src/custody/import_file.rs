//! The way of an import file into custody: it arrives in chunks, as it was encrypted; its lines are sealed and staged; and
//! all of them are taken in together or none.
//!
//! Whatever is cut off goes on where it was: the upload at the bytes that have arrived, the staging at the last line that
//! was committed. A file is known by its SHA-256, so that taking it in again does nothing.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufReader, Cursor, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cns_protocol::custody::Imported;
use sha2::{Digest, Sha256};
use time::{Duration, OffsetDateTime};
use tokio::sync::{Mutex, mpsc};

use super::import::{Faults, ImportError, ReadFile, Record, Seals};
use super::import_staging::{Staging, Standing};
use super::{Custody, CustodyError, Inner, enveloped_data};

/// The folder, beside the state, of files that are arriving.
const FOLDER: &str = "imports";
const UNFINISHED: usize = 8;
/// The most bytes of a chunk: base64 makes four thirds of it, and a frame has 2 MiB.
pub(crate) const MAXIMUM_CHUNK: usize = 1 << 20;
/// Batches between the reader of the file and the database.
const BATCHES_WAITING: usize = 4;
/// Batches in a transaction.
const BATCHES_AT_A_TIME: usize = 10;
/// How long an upload or a staging that nobody goes on with is kept.
const KEPT: Duration = Duration::days(7);

/// The SHA-256 of an import file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileDigest(String);

impl FileDigest {
    /// Reads 64 hexadecimal digits.
    ///
    /// # Errors
    /// It is something else.
    pub fn parse(text: &str) -> Result<Self, CustodyError> {
        let text = text.to_ascii_lowercase();
        let fits = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if fits { Ok(Self(text)) } else { Err(CustodyError::Invalid("the SHA-256 of the file")) }
    }

    /// Lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn of(mut file: impl Read) -> io::Result<Self> {
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(Self(hex::encode(hasher.finalize()))),
                length => hasher.update(buffer.get(..length).unwrap_or_default()),
            }
        }
    }
}

/// What has arrived of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// Bytes.
    pub bytes: u64,
    /// What the file brought, if it was taken in before.
    pub done: Option<Imported>,
}

/// The files that are arriving, and whose turn it is.
pub(super) struct Imports {
    folder: PathBuf,
    largest: u64,
    /// One upload writes at a time.
    uploading: Mutex<()>,
    /// One file is taken in at a time.
    importing: Mutex<()>,
}

impl Imports {
    pub(super) fn new(state: &Path, largest: u64) -> Self {
        Self { folder: state.join(FOLDER), largest, uploading: Mutex::new(()), importing: Mutex::new(()) }
    }

    fn path(&self, digest: &FileDigest) -> PathBuf {
        self.folder.join(format!("{}.part", digest.as_str()))
    }

    /// Makes the file, or finds what has arrived of it.
    fn begin(&self, digest: &FileDigest) -> Result<u64, CustodyError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.folder);
        made.map_err(CustodyError::ImportFile)?;
        self.forget_old().map_err(CustodyError::ImportFile)?;
        let path = self.path(digest);
        if let Ok(metadata) = fs::metadata(&path) {
            return Ok(metadata.len());
        }
        let others = fs::read_dir(&self.folder).map_err(CustodyError::ImportFile)?.count();
        if others >= UNFINISHED {
            return Err(ImportError::TooManyUploads(others).into());
        }
        let mut options = OpenOptions::new();
        options.create_new(true).write(true).mode(0o600).open(path).map_err(CustodyError::ImportFile)?;
        Ok(0)
    }

    fn append(&self, digest: &FileDigest, offset: u64, bytes: &[u8]) -> Result<u64, CustodyError> {
        let mut file = match OpenOptions::new().append(true).open(self.path(digest)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(ImportError::NotBegun.into()),
            Err(error) => return Err(CustodyError::ImportFile(error)),
        };
        let length = file.metadata().map_err(CustodyError::ImportFile)?.len();
        if offset != length {
            return Err(ImportError::Offset(length).into());
        }
        let new_length = length.saturating_add(bytes.len() as u64);
        if new_length > self.largest {
            return Err(ImportError::TooLarge(self.largest).into());
        }
        if let Err(error) = file.write_all(bytes) {
            // What a full disk took of the chunk must not stay: the next one begins where this one did.
            file.set_len(length).map_err(CustodyError::ImportFile)?;
            return Err(CustodyError::ImportFile(error));
        }
        Ok(new_length)
    }

    /// The whole file, once its digest is the announced one.
    fn open(&self, digest: &FileDigest) -> Result<(File, u64), CustodyError> {
        let path = self.path(digest);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(ImportError::NotBegun.into()),
            Err(error) => return Err(CustodyError::ImportFile(error)),
        };
        let length = file.metadata().map_err(CustodyError::ImportFile)?.len();
        if FileDigest::of(&file).map_err(CustodyError::ImportFile)? != *digest {
            self.remove(digest)?;
            return Err(ImportError::Digest.into());
        }
        Ok((File::open(path).map_err(CustodyError::ImportFile)?, length))
    }

    fn remove(&self, digest: &FileDigest) -> Result<(), CustodyError> {
        match fs::remove_file(self.path(digest)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(CustodyError::ImportFile(error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn forget_old(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let age = entry.metadata()?.modified()?.elapsed().unwrap_or_default();
            if age > KEPT.unsigned_abs() {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

impl Custody {
    /// Begins the upload of a file, or finds what has arrived of it.
    ///
    /// # Errors
    /// Too large, too many unfinished uploads, or the disk.
    pub async fn import_begin(&self, digest: &FileDigest, size: u64) -> Result<Arrived, CustodyError> {
        let imports = &self.inner.imports;
        if let Some(Standing { done: Some(done), .. }) = self.staging().find(digest.as_str()).await? {
            return Ok(Arrived { bytes: 0, done: Some(done) });
        }
        if size > imports.largest {
            return Err(ImportError::TooLarge(imports.largest).into());
        }
        self.forget_old_staging().await?;
        let _turn = imports.uploading.lock().await;
        let digest = digest.clone();
        let bytes = self.with_imports(move |imports| imports.begin(&digest)).await?;
        Ok(Arrived { bytes, done: None })
    }

    /// Takes the next chunk of an upload; how many bytes have arrived.
    ///
    /// # Errors
    /// It is not the next chunk, the file becomes too large, or the disk.
    pub async fn import_chunk(
        &self,
        digest: &FileDigest,
        offset: u64,
        bytes: Vec<u8>,
    ) -> Result<u64, CustodyError> {
        if bytes.len() > MAXIMUM_CHUNK {
            return Err(ImportError::TooLarge(MAXIMUM_CHUNK as u64).into());
        }
        let _turn = self.inner.imports.uploading.lock().await;
        let digest = digest.clone();
        self.with_imports(move |imports| imports.append(&digest, offset, &bytes)).await
    }

    /// Drops an upload, and what was staged of it.
    ///
    /// # Errors
    /// The disk or the database.
    pub async fn import_drop(&self, digest: &FileDigest) -> Result<(), CustodyError> {
        let _turn = self.inner.imports.importing.lock().await;
        let own = digest.clone();
        self.with_imports(move |imports| imports.remove(&own)).await?;
        match self.staging().find(digest.as_str()).await? {
            Some(Standing { id, .. }) => self.staging().clear(id).await,
            None => Ok(()),
        }
    }

    /// Takes an uploaded file in, all of it or nothing; `progress` hears of bytes done and in all. A refused file is
    /// gone afterwards, and so is one that is in custody.
    ///
    /// # Errors
    /// [`CustodyError::Import`] tells the lines that are wrong, by number. After any other error the upload and what is
    /// staged of it stay for the next attempt.
    pub async fn import_finish(
        &self,
        digest: &FileDigest,
        progress: impl Fn(u64, u64) + Send + Sync,
    ) -> Result<Imported, CustodyError> {
        let _turn = self.inner.imports.importing.lock().await;
        if let Some(Standing { done: Some(done), .. }) = self.staging().find(digest.as_str()).await? {
            return Ok(done);
        }
        let own = digest.clone();
        let (file, size) = self.with_imports(move |imports| imports.open(&own)).await?;
        let outcome = self
            .take_in(digest, BufReader::with_capacity(64 * 1024, file), &|done| progress(done, size))
            .await;
        if matches!(outcome, Ok(_) | Err(CustodyError::Import(_))) {
            let own = digest.clone();
            self.with_imports(move |imports| imports.remove(&own)).await?;
        }
        outcome
    }

    /// Takes a small file in, all of it or nothing.
    ///
    /// # Errors
    /// As [`Custody::import_finish`].
    pub async fn import(&self, file: &[u8]) -> Result<Imported, CustodyError> {
        if file.len() > MAXIMUM_CHUNK {
            return Err(ImportError::TooLarge(MAXIMUM_CHUNK as u64).into());
        }
        let _turn = self.inner.imports.importing.lock().await;
        let digest = FileDigest::of(file).map_err(CustodyError::ImportFile)?;
        self.take_in(&digest, Cursor::new(file.to_vec()), &|_| {}).await
    }

    async fn take_in(
        &self,
        digest: &FileDigest,
        file: impl Read + Send + 'static,
        progress: &(impl Fn(u64) + Sync),
    ) -> Result<Imported, CustodyError> {
        let staging = self.staging();
        let standing = staging.begin(digest.as_str()).await?;
        if let Some(done) = standing.done {
            return Ok(done);
        }
        let (sender, receiver) = mpsc::channel(BATCHES_WAITING);
        let (inner, after) = (Arc::clone(&self.inner), standing.last_line);
        let reader = tokio::task::spawn_blocking(move || inner.read_import(file, after, &sender));
        let staged = stage(&staging, standing.id, receiver, progress).await;
        let read = reader.await.map_err(|_| CustodyError::Stopped)?;
        let outcome = match (staged, read) {
            (Err(error), _) | (Ok(()), Err(error)) => Err(error),
            (Ok(()), Ok(read)) => match self.inner.database.look_at_sizes().await {
                Ok(()) => finish(&staging, standing.id, read).await,
                Err(error) => Err(error.into()),
            },
        };
        match &outcome {
            Ok(_) | Err(CustodyError::Import(_)) => staging.clear(standing.id).await?,
            Err(_) => {}
        }
        outcome
    }

    async fn forget_old_staging(&self) -> Result<(), CustodyError> {
        let Some(before) = OffsetDateTime::now_utc().checked_sub(KEPT) else { return Ok(()) };
        let before = before.date().to_string();
        let Ok(_turn) = self.inner.imports.importing.try_lock() else { return Ok(()) };
        for (id, digest) in self.staging().begun_before(&before).await? {
            tracing::info!(digest, "an import that was not finished for a week is forgotten");
            self.staging().clear(id).await?;
        }
        Ok(())
    }

    fn staging(&self) -> Staging {
        Staging::new(self.inner.database.pool().clone())
    }

    async fn with_imports<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Imports) -> Result<T, CustodyError> + Send + 'static,
    ) -> Result<T, CustodyError> {
        let inner = Arc::clone(&self.inner);
        tokio::task::spawn_blocking(move || work(&inner.imports)).await.map_err(|_| CustodyError::Stopped)?
    }
}

type Batch = (Vec<Record>, u64);

impl Inner {
    fn read_import(
        &self,
        file: impl Read,
        after: u64,
        batches: &mpsc::Sender<Batch>,
    ) -> Result<ReadFile, CustodyError> {
        let content = {
            let private = self.import_key.private(self.keys.sealer())?;
            enveloped_data::open(file, self.import_key.certificate(), &private)?
        };
        Seals { sealer: self.keys.sealer(), user_codes: &self.user_codes }.read(
            content,
            after,
            |records, position| {
                // Nobody takes them when the database failed.
                batches.blocking_send((records, position)).map_err(|_| CustodyError::Stopped)
            },
        )
    }
}

/// Stages what the reader of the file gives, some batches in a transaction.
async fn stage(
    staging: &Staging,
    id: i64,
    mut batches: mpsc::Receiver<Batch>,
    progress: &(impl Fn(u64) + Sync),
) -> Result<(), CustodyError> {
    while let Some((records, mut position)) = batches.recv().await {
        let mut stage = staging.stage(id).await?;
        stage.put(records).await?;
        for _ in 1..BATCHES_AT_A_TIME {
            let Some((records, at)) = batches.recv().await else { break };
            stage.put(records).await?;
            position = at;
        }
        stage.commit().await?;
        progress(position);
    }
    Ok(())
}

/// Judges the whole, and takes it in.
async fn finish(staging: &Staging, id: i64, read: ReadFile) -> Result<Imported, CustodyError> {
    let ReadFile { kind, records, mut faults } = read;
    if records == 0 {
        return Err(ImportError::Empty.into());
    }
    staging.conflicts(id, kind, &mut faults).await?;
    if faults.total == 0 {
        if let Some(imported) = staging.take_in(id, kind, records).await? {
            return Ok(imported);
        }
        // Meanwhile another daemon has taken some of it in.
        faults = Faults::default();
        staging.conflicts(id, kind, &mut faults).await?;
    }
    Err(ImportError::Lines(faults).into())
}
