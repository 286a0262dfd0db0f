//! Behind pcscd a use of a login leaves the transaction open for the next use of a login, and for nobody else.

use std::ffi::CString;

use cns_apdu::StatusWord;
use cns_apdu::command::{ManageSecurityEnvironment, PerformSecurityOperation};
use cns_protocol::card::KeyUse;
use cns_protocol::key::Mechanism;
use cns_virtual_card::sample;
use cnsd::card::{CardError, CardSession, LastTry, pin, sign};
use cnsd::reader::{ReaderSpec, Readers};

use crate::plugged::{WAIT, secret};
use crate::{Pcscd, alone, plug_in, until};

#[test]
fn uses_of_a_login_follow_each_other_without_the_pin() {
    alone("login::uses_of_a_login_follow_each_other_without_the_pin", inside());
}

async fn log_in(readers: &Readers, name: &str) -> Result<(), CardError> {
    let job = |session: &mut CardSession<'_>| pin::log_in(session, &secret(sample::PIN), LastTry::Ask);
    readers.run_with_login(name, None, job).await
}

async fn sign_with(readers: &Readers, name: &str, pin: &[u8]) -> Result<Vec<u8>, CardError> {
    let pin = secret(pin);
    let job = move |session: &mut CardSession<'_>| {
        sign::sign(session, KeyUse::Authentication, &pin, LastTry::Ask, &Mechanism::RsaPkcs1, &[1; 20])
    };
    readers.run_with_login(name, None, job).await
}

async fn signature(readers: &Readers, name: &str) -> Result<Vec<u8>, CardError> {
    sign_with(readers, name, sample::PIN).await
}

/// Tries to use the login key without a PIN, as other work of the daemon's.
async fn steal(readers: &Readers, name: &str) -> Result<Vec<u8>, CardError> {
    let job = |session: &mut CardSession<'_>| {
        session.run(&ManageSecurityEnvironment::Restore { se: 3 })?;
        session.run(&PerformSecurityOperation::Decipher { block: secret(&[1; 256]) })
    };
    readers.run(name, None, job).await
}

async fn inside() {
    let readers = Readers::start(&[ReaderSpec::Pcsc]).unwrap();
    let daemon = Pcscd::start(&[]);
    until(&readers, "vpcd's two readers", |readers| readers.len() == 2).await;
    let (_plugged, name) = plug_in(&readers).await;
    signature(&readers, &name).await.unwrap();
    wait_for_end(&name).await;
    costs(&readers, &name).await;
    another_login(&readers, &name).await;
    others(&readers, &name).await;
    drop(daemon);
}

/// What waits in the queue when the work before it ends comes into its transaction, however slow this machine is.
async fn costs(readers: &Readers, name: &str) {
    let mut before = readers.traffic(name).commands;
    let mut cost = || {
        let now = readers.traffic(name).commands;
        now - std::mem::replace(&mut before, now)
    };
    log_in(readers, name).await.unwrap();
    let login = cost();
    wait_for_end(name).await;
    let (logged_in, signed) = tokio::join!(log_in(readers, name), signature(readers, name));
    logged_in.unwrap();
    signed.unwrap();
    // MANAGE SECURITY ENVIRONMENT twice and PERFORM SECURITY OPERATION.
    assert_eq!(cost(), login + 3);
    wait_for_end(name).await;
    let (logged_in, first, second) =
        tokio::join!(log_in(readers, name), signature(readers, name), signature(readers, name));
    logged_in.unwrap();
    assert_eq!(first.unwrap(), second.unwrap());
    // PERFORM SECURITY OPERATION alone.
    assert_eq!(cost(), login + 3 + 1);
    println!("a login takes {login} commands behind pcscd");
}

/// Another client's login is judged by the chip, unless it is the same PIN.
async fn another_login(readers: &Readers, name: &str) {
    let (right, wrong, again) =
        tokio::join!(signature(readers, name), sign_with(readers, name, b"99999"), signature(readers, name));
    right.unwrap();
    let wrong = wrong.unwrap_err();
    assert!(matches!(wrong, CardError::PinIncorrect { .. }), "{wrong}");
    again.unwrap();
}

async fn others(readers: &Readers, name: &str) {
    // Other work of the daemon's has a transaction of its own, after a reset.
    let (signed, stolen) = tokio::join!(signature(readers, name), steal(readers, name));
    signed.unwrap();
    let stolen = stolen.unwrap_err();
    assert_eq!(stolen.status(), Some(StatusWord::SECURITY_NOT_SATISFIED), "{stolen}");
    // Another program waits for the end, and finds the key closed.
    signature(readers, name).await.unwrap();
    assert_eq!(wait_for_end(name).await, [0x69, 0x82]);
    // It has its turn while use follows use.
    let mut turn = std::pin::pin!(wait_for_end(name));
    let began = std::time::Instant::now();
    let status = loop {
        tokio::select! {
            status = &mut turn => break status,
            signed = signature(readers, name) => drop(signed.unwrap()),
        }
        assert!(began.elapsed() < WAIT, "another program never has its turn");
    };
    assert_eq!(status, [0x69, 0x82]);
}

/// Another program on the reader: waits for a transaction and tries to use the login key; the chip's last word.
async fn wait_for_end(name: &str) -> [u8; 2] {
    let name = CString::new(name).unwrap();
    tokio::task::spawn_blocking(move || {
        let context = ::pcsc::Context::establish(::pcsc::Scope::System).unwrap();
        let (shared, any) = (::pcsc::ShareMode::Shared, ::pcsc::Protocols::ANY);
        let mut other = context.connect(&name, shared, any).unwrap();
        let mut card = &mut other;
        let transaction = loop {
            match card.transaction2() {
                Ok(transaction) => break transaction,
                Err((same, ::pcsc::Error::ResetCard)) => {
                    same.reconnect(shared, any, ::pcsc::Disposition::LeaveCard).unwrap();
                    card = same;
                }
                Err((_, error)) => panic!("{error}"),
            }
        };
        let mut decipher = vec![0x00, 0x2A, 0x80, 0x86, 0x00, 0x01, 0x01, 0x00];
        decipher.extend([1; 256]);
        decipher.extend([0x00, 0x00]);
        let mut word = [0; 2];
        for command in
            [&[0x00, 0x22, 0xF3, 0x03][..], &[0x00, 0x22, 0x41, 0xB8, 0x03, 0x83, 0x01, 0x01], &decipher]
        {
            let mut answer = [0; 512];
            #[expect(clippy::disallowed_methods, reason = "another program")]
            let answer = transaction.transmit(command, &mut answer).unwrap();
            word.copy_from_slice(&answer[answer.len() - 2..]);
        }
        transaction.end(::pcsc::Disposition::LeaveCard).map_err(|(_, error)| error).unwrap();
        word
    })
    .await
    .unwrap()
}
