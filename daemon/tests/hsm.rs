//! The key-encryption key in a PKCS#11 HSM, which SoftHSM plays: it does not come out, and the data key does not without it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may fail"
)]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cns_secret::Secret;
use cnsd::config::{CustodyConfig, HsmConfig};
use cnsd::custody::{Custody, CustodyError, HsmError, KeyFileFault, PukKind};
use cnsd::database::Database;
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;

const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
const CARD: &str = "6999000000001230";
const PIN: &str = "8642086420";

/// Set in the process whose tokens are in a folder of their own.
const INSIDE: &str = "CNSD_TEST_HSM_FOLDER";

/// Runs a test with a token of its own: SoftHSM finds its tokens by the environment, so this program is started again.
fn with_token(test: &str, inside: impl AsyncFnOnce(&Path)) {
    if let Some(folder) = std::env::var_os(INSIDE) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        return runtime.block_on(inside(Path::new(&folder)));
    }
    if !Path::new(MODULE).exists() {
        assert!(std::env::var_os("CNS_REAL_PARTS").is_none(), "softhsm2 is missing");
        println!("skipped: needs softhsm2");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (tokens, configuration) = (folder.path().join("tokens"), folder.path().join("softhsm2.conf"));
    fs::create_dir(&tokens).unwrap();
    fs::write(&configuration, format!("directories.tokendir = {}\n", tokens.display())).unwrap();
    private(&folder.path().join("pin"), PIN);
    let mut token = Command::new("softhsm2-util");
    token.args(["--init-token", "--free", "--label", "cns", "--so-pin", "12345678", "--pin", PIN]);
    assert!(token.env("SOFTHSM2_CONF", &configuration).stdout(Stdio::null()).status().unwrap().success());
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, folder.path())
        .env("SOFTHSM2_CONF", &configuration)
        .stdin(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
}

fn private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}

fn hsm(folder: &Path) -> HsmConfig {
    HsmConfig {
        module: PathBuf::from(MODULE),
        token: "cns".to_owned(),
        pin_file: folder.join("pin"),
        key: "cnsd".to_owned(),
    }
}

async fn open(state: &Path, hsm: Option<HsmConfig>) -> Result<(Database, Custody), CustodyError> {
    let config = CustodyConfig { hsm, ..CustodyConfig::default() };
    let database = Database::open(&config.database, state).await?;
    let custody = Custody::open(&database, &config, state).await?;
    Ok((database, custody))
}

async fn store(custody: &Custody) {
    custody.store_puk(CARD, PukKind::Cns, &Secret::copy_from(b"24681357").unwrap()).await.unwrap();
}

async fn puk(custody: &Custody) -> Vec<u8> {
    custody.puk(CARD, PukKind::Cns).await.unwrap().lend(|puk| puk.expose().to_vec())
}

fn refused<T>(result: Result<T, CustodyError>) -> CustodyError {
    result.err().expect("it is refused")
}

/// The application that an intruder would write, who knows the PIN.
fn intruder() -> (Pkcs11, Session) {
    let library = Pkcs11::new(MODULE).unwrap();
    library.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).unwrap();
    let slot = library.get_slots_with_initialized_token().unwrap().remove(0);
    let session = library.open_rw_session(slot).unwrap();
    session.login(UserType::User, Some(&AuthPin::new(PIN.to_owned().into()))).unwrap();
    (library, session)
}

fn keys(session: &Session) -> Vec<ObjectHandle> {
    session
        .find_objects(&[Attribute::Class(ObjectClass::SECRET_KEY), Attribute::Label(b"cnsd".into())])
        .unwrap()
}

fn rv<T>(result: Result<T, Error>) -> RvError {
    match result {
        Err(Error::Pkcs11(rv, _)) => rv,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("the HSM did it"),
    }
}

#[test]
fn the_key_never_leaves_the_hsm() {
    with_token("the_key_never_leaves_the_hsm", async |folder| {
        let state = tempfile::tempdir().unwrap();
        let (database, custody) = open(state.path(), Some(hsm(folder))).await.unwrap();
        store(&custody).await;
        assert!(!state.path().join("custody.key").exists(), "there is no key file");
        assert!(custody.key_state().await.unwrap().wrapping_key.starts_with("hsm:"));
        database.close().await;

        let (library, session) = intruder();
        let [key] = keys(&session)[..] else { panic!("one key") };
        // Its value is not told, ...
        let value = session.get_attributes(key, &[AttributeType::Value]);
        assert!(value.map_or(true, |attributes| attributes.is_empty()));
        // ... not wrapped under another key, not even one of the intruder, ...
        let own = [Attribute::Wrap(true), Attribute::Encrypt(true), Attribute::ValueLen(32.into())];
        let wrapping = session.generate_key(&Mechanism::AesKeyGen, &own).unwrap();
        for mechanism in [Mechanism::AesKeyWrap, Mechanism::AesKeyWrapPad] {
            assert_eq!(rv(session.wrap_key(&mechanism, wrapping, key)), RvError::KeyUnextractable);
        }
        // ... and neither it nor a copy of it can be made extractable.
        for change in [Attribute::Extractable(true), Attribute::Sensitive(false)] {
            rv(session.update_attributes(key, std::slice::from_ref(&change)));
            rv(session.copy_object(key, &[change]));
        }
        drop(session);
        library.finalize().unwrap();
        let (_, custody) = open(state.path(), Some(hsm(folder))).await.unwrap();
        assert_eq!(puk(&custody).await, b"24681357");
    });
}

#[test]
fn keys_are_rotated_in_the_hsm_and_from_the_key_file_into_it() {
    with_token("keys_are_rotated_in_the_hsm_and_from_the_key_file_into_it", async |folder| {
        let state = tempfile::tempdir().unwrap();
        let key_file = state.path().join("custody.key");
        let (database, custody) = open(state.path(), None).await.unwrap();
        store(&custody).await;
        database.close().await;
        // An HSM was bought: the key file serves until the first rotation.
        let (database, custody) = open(state.path(), Some(hsm(folder))).await.unwrap();
        assert_eq!(puk(&custody).await, b"24681357");
        let first = custody.rotate_wrapping_key().await.unwrap();
        assert!(first.starts_with("hsm:"));
        fs::remove_file(&key_file).unwrap();
        database.close().await;
        let (database, custody) = open(state.path(), Some(hsm(folder))).await.unwrap();
        assert_eq!(puk(&custody).await, b"24681357");
        let second = custody.rotate_wrapping_key().await.unwrap();
        assert_ne!(first, second);
        custody.rotate_data_key().await.unwrap();
        assert!(custody.reseal().await.unwrap() > 0);
        database.close().await;
        let (database, custody) = open(state.path(), Some(hsm(folder))).await.unwrap();
        assert_eq!(puk(&custody).await, b"24681357");
        assert!(!key_file.exists());
        database.close().await;
        // Without the HSM nothing opens, and the reason is told.
        let error = refused(open(state.path(), None).await);
        assert!(matches!(&error, CustodyError::HsmNotConfigured { needed } if *needed == second), "{error}");
    });
}

#[test]
fn what_is_wrong_with_the_hsm_is_named() {
    with_token("what_is_wrong_with_the_hsm_is_named", async |folder| {
        let state = tempfile::tempdir().unwrap();
        let good = hsm(folder);
        let try_with = async |hsm: HsmConfig| refused(open(state.path(), Some(hsm)).await);
        let error = try_with(HsmConfig { token: "other".to_owned(), ..good.clone() }).await;
        assert!(matches!(error, CustodyError::Hsm(HsmError::NoToken { .. })), "{error}");
        let error = try_with(HsmConfig { module: folder.join("none.so"), ..good.clone() }).await;
        assert!(matches!(error, CustodyError::Hsm(HsmError::Call(Error::LibraryLoading(_)))), "{error}");
        let error = try_with(HsmConfig { pin_file: folder.join("none"), ..good.clone() }).await;
        assert!(matches!(error, CustodyError::KeyFileMissing { .. }), "{error}");
        let pin = folder.join("wrong");
        private(&pin, "0000000000\n");
        let error = try_with(HsmConfig { pin_file: pin.clone(), ..good.clone() }).await;
        assert!(
            matches!(error, CustodyError::Hsm(HsmError::Call(Error::Pkcs11(RvError::PinIncorrect, _)))),
            "{error}"
        );
        assert!(!error.to_string().contains("0000000000"));
        fs::set_permissions(&pin, Permissions::from_mode(0o644)).unwrap();
        let error = try_with(HsmConfig { pin_file: pin, ..good.clone() }).await;
        assert!(matches!(error, CustodyError::KeyFileFault { fault: KeyFileFault::Mode, .. }), "{error}");

        // A key that an administrator made, and that can be taken out.
        let (library, session) = intruder();
        let key = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::AES),
            Attribute::Token(true),
            Attribute::Extractable(true),
            Attribute::Encrypt(true),
            Attribute::Decrypt(true),
            Attribute::Label(b"cnsd".into()),
            Attribute::Id(vec![1]),
            Attribute::ValueLen(32.into()),
        ];
        let handle = session.generate_key(&Mechanism::AesKeyGen, &key).unwrap();
        drop((session, library));
        finalize();
        let error = try_with(good.clone()).await;
        assert!(matches!(error, CustodyError::Hsm(HsmError::Extractable { .. })), "{error}");
        let (library, session) = intruder();
        session.destroy_object(handle).or_else(|_| session.destroy_object(keys(&session)[0])).unwrap();
        drop((session, library));
        finalize();

        // The right key, and then it is gone.
        let (database, _) = open(state.path(), Some(good.clone())).await.unwrap();
        database.close().await;
        let (library, session) = intruder();
        session.destroy_object(keys(&session)[0]).unwrap();
        drop((session, library));
        finalize();
        let error = try_with(good).await;
        assert!(matches!(error, CustodyError::Hsm(HsmError::NoKey { .. })), "{error}");
    });
}

/// Ends the intruder's use of the library.
fn finalize() {
    let library = Pkcs11::new(MODULE).unwrap();
    library.finalize().ok();
}
