//! A network in which there is nobody else: for servers that take a port and no address, and so listen to everybody.

use crate::namespaces::{run_inside, unless_root};

/// Set in the process that runs inside the namespace.
const INSIDE: &str = "CNSD_TEST_PRIVATE_NETWORK";

/// Runs a test in a network of its own, by starting this program again in it for this test alone.
pub fn alone(test: &str, inside: impl Future<Output = ()>) {
    if std::env::var_os(INSIDE).is_some() {
        return tokio::runtime::Runtime::new().unwrap().block_on(inside);
    }
    let options = [unless_root(&["--map-current-user", "--keep-caps"]), &["--net"]].concat();
    run_inside(test, &options, "ip link set \"$1\" up", (INSIDE, "lo"));
}
