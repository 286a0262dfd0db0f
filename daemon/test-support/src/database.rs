//! The database of a test: SQLite; or, where `CNSD_TEST_DATABASE` is `postgresql`, a database of its own on a real
//! PostgreSQL server, which all tests of the program share.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use cnsd::config::CustodyConfig;
use cnsd::custody::Custody;

use crate::postgresql::Server;

const SQLITE_FILE: &str = "custody.db";

/// Whether this run of the tests is for PostgreSQL.
pub fn on_postgresql() -> bool {
    std::env::var("CNSD_TEST_DATABASE").is_ok_and(|kind| kind == "postgresql")
}

/// The databases on the server, by state folder.
fn names() -> &'static Mutex<HashMap<PathBuf, String>> {
    static NAMES: OnceLock<Mutex<HashMap<PathBuf, String>>> = OnceLock::new();
    NAMES.get_or_init(Mutex::default)
}

/// The configuration of custody for a state folder: always the same database, empty at first.
pub fn config(state: &Path) -> CustodyConfig {
    config_from(state, None)
}

/// The address of the database of a state folder.
pub fn address(state: &Path) -> String {
    config(state).database
}

/// Gives the state folder `to` a copy of the closed database of `from`.
pub fn copy(from: &Path, to: &Path) {
    if on_postgresql() {
        let template = names().lock().unwrap().get(from).cloned().expect("the folder has a database");
        config_from(to, Some(&template));
    } else {
        fs::copy(from.join(SQLITE_FILE), to.join(SQLITE_FILE)).unwrap();
        fs::set_permissions(to.join(SQLITE_FILE), fs::Permissions::from_mode(0o600)).unwrap();
    }
}

/// Backs the database of a state folder up, as docs/operations.md says.
pub async fn back_up(custody: &Custody, state: &Path) -> PathBuf {
    if !on_postgresql() {
        return custody.backup().await.unwrap().path.into();
    }
    let name = names().lock().unwrap().get(state).cloned().expect("the folder has a database");
    let file = state.join("custody.sql");
    fs::write(&file, Server::shared().dump(&name)).unwrap();
    file
}

/// Makes the database of an empty state folder from a backup.
pub fn restore(file: &Path, state: &Path) {
    if !on_postgresql() {
        fs::copy(file, state.join(SQLITE_FILE)).unwrap();
        return;
    }
    config(state);
    let name = names().lock().unwrap().get(state).cloned().unwrap();
    Server::shared().restore(&name, file);
}

fn config_from(state: &Path, template: Option<&str>) -> CustodyConfig {
    if !on_postgresql() {
        return CustodyConfig::default();
    }
    let server = Server::shared();
    let mut names = names().lock().unwrap();
    let number = names.len();
    let name = names.entry(state.to_owned()).or_insert_with(|| {
        let name = format!("test{number}");
        server.create(&name, template);
        name
    });
    CustodyConfig { database: server.address(name), ..CustodyConfig::default() }
}
