//! Sixteen of the daemon's own readers at once. A program of its own, because it counts what its process holds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)] // a test may
#![allow(clippy::print_stdout)] // figures

use cns_virtual_card::vpcd::Endpoint;
use cnsd::reader::{ReaderSpec, Readers, VpcdAddress};
use cnsd_test_support::soak;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixteen_readers_lose_no_event_and_leave_nothing_behind() {
    let folder = tempfile::TempDir::new().unwrap();
    let sockets: Vec<_> =
        (0..soak::READERS).map(|number| folder.path().join(format!("{number}.sock"))).collect();
    let specs: Vec<_> =
        sockets.iter().map(|socket| ReaderSpec::Vpcd(VpcdAddress::Unix(socket.clone()))).collect();
    let endpoints: Vec<_> = sockets.into_iter().map(Endpoint::Unix).collect();
    let readers = Readers::start(&specs).unwrap();
    soak::soak(&readers, &endpoints, soak::Length::Steps(150), None).await;
}
