//! Alone in its process, so that no other test takes slots.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use cns_secret::Secret;

#[test]
fn hundreds_of_secrets_share_few_pages() {
    let secrets: Vec<_> = (0u16..640).map(|n| Secret::copy_from(&n.to_be_bytes()).unwrap()).collect();
    let mut pages: Vec<_> = secrets.iter().map(|s| s.expose().as_ptr().addr() / 4096).collect();
    pages.sort_unstable();
    pages.dedup();
    assert!(pages.len() <= 10, "{} pages", pages.len());
    for (n, secret) in (0u16..).zip(&secrets) {
        assert_eq!(secret.expose(), n.to_be_bytes());
    }
}
