//! A PIN on its way through this crate never lies in ordinary memory: an allocator that looks at each block before it
//! is given back, or grown, never sees one.
#![allow(unsafe_code, reason = "an allocator cannot be written without")]
#![allow(clippy::unwrap_used, missing_docs, reason = "tests may fail loudly")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use cns_protocol::rpc::Request;
use cns_protocol::{Client, SecretText, frame, pin};
use cns_secret::Secret;

/// XORed, so that the digits that are looked for stand nowhere in the program.
const HIDDEN_PIN: [u8; 8] = [0x62, 0x66, 0x6C, 0x64, 0x60, 0x60, 0x6D, 0x67];
const MASK: u8 = 0x55;

static SEEN: AtomicUsize = AtomicUsize::new(0);

struct Watching;

fn watch(block: &[u8]) {
    let is_pin = |window: &[u8]| window.iter().zip(HIDDEN_PIN).all(|(byte, hidden)| *byte == hidden ^ MASK);
    if block.windows(HIDDEN_PIN.len()).any(is_pin) {
        SEEN.fetch_add(1, Ordering::SeqCst);
    }
}

// SAFETY: every call is passed on to the system's allocator unchanged; blocks are only looked at.
unsafe impl GlobalAlloc for Watching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps to `GlobalAlloc`'s contract. Zeroed, so that every byte may be looked at.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the block is the caller's, `layout.size()` bytes long, and initialised by `alloc`.
        watch(unsafe { std::slice::from_raw_parts(block, layout.size()) });
        // SAFETY: the caller keeps to `GlobalAlloc`'s contract.
        unsafe { System.dealloc(block, layout) }
    }
    // `realloc` is the default: a new block, a copy, and `dealloc` of the old one, which is looked at.
}

#[global_allocator]
static ALLOCATOR: Watching = Watching;

fn secret_pin() -> SecretText {
    let mut pin = Secret::zeroed(HIDDEN_PIN.len()).unwrap();
    for (byte, hidden) in pin.expose_mut().iter_mut().zip(HIDDEN_PIN) {
        *byte = hidden ^ MASK;
    }
    SecretText::new(pin).unwrap()
}

/// One test, so that nothing else uses the heap meanwhile.
#[test]
fn a_pin_never_lies_on_the_heap() {
    let leak = secret_pin().secret().expose().to_vec();
    drop(leak);
    assert_eq!(SEEN.swap(0, Ordering::SeqCst), 1, "the allocator sees what it should");

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("daemon.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let daemon = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let body = frame::read(&mut stream).unwrap();
        let change: pin::Change = Request::read(body.bytes()).unwrap().params().unwrap();
        assert!(change.new_pin.unwrap().secret().ct_eq(secret_pin().secret()));
        frame::write(&mut stream, br#"{"jsonrpc":"2.0","id":1,"result":{}}"#).unwrap();
    });
    let mut client = Client::connect(&path).unwrap();
    let request = pin::Change {
        insertion: None,
        // Long enough that a growing buffer would have been moved several times.
        reader: "r".repeat(4000),
        which: pin::PinName::Cns,
        old_pin: Some(secret_pin()),
        new_pin: Some(secret_pin()),
        confirm_last_try: false,
    };
    client.call(&request).unwrap();
    daemon.join().unwrap();
    drop((client, request));
    assert_eq!(SEEN.load(Ordering::SeqCst), 0, "a PIN lay in ordinary memory");
}
