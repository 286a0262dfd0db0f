//! A file system with little room, in a mount namespace of its own.

use std::path::Path;

use crate::namespaces::{run_inside, unless_root};

/// Set in the process that runs inside the namespace: where the file system is.
const PLACE: &str = "CNSD_TEST_SMALL_DISK";

/// Runs a test with a folder on a file system of this size, as mount(8) has it, by starting this program again for this
/// test alone.
pub fn alone(test: &str, size: &str, inside: impl AsyncFnOnce(&Path)) {
    if let Some(place) = std::env::var_os(PLACE) {
        return tokio::runtime::Runtime::new().unwrap().block_on(inside(Path::new(&place)));
    }
    let place = tempfile::tempdir().unwrap();
    let options = [unless_root(&["--user", "--map-root-user"]), &["--mount"]].concat();
    let script = format!("mount -t tmpfs -o size={size},mode=0700 none \"$1\"");
    run_inside(test, &options, &script, (PLACE, place.path().to_str().unwrap()));
}
