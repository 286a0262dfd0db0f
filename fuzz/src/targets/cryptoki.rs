//! The PKCS#11 module as a C application calls it: any function, any mixture of null, crooked and absurd arguments, with a
//! card in the first slot. Nothing is written outside of the lent buffers, no length is told that is not true, and every
//! answer is a code of the standard.
#![allow(
    unsafe_code,
    clippy::undocumented_unsafe_blocks,
    clippy::multiple_unsafe_ops_per_block,
    clippy::cast_possible_truncation,
    reason = "an application that calls through pointers, on a platform with 64 bits"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::OnceLock;
use std::{env, process, ptr, thread};

use cns_pkcs11::*;
use cns_protocol::card::{Card, Certificate, Holder, KeyUse};
use cns_protocol::reader::{Reader, ReaderKind, ReaderState, Readers};
use cns_protocol::rpc::Traffic;
use cryptoki_sys::*;
use serde_json::{Value, json};

use crate::input::Input;

const CERTIFICATE: &[u8] = include_bytes!("../../../pkcs11-module/tests/data/authentication.der");
/// Longer inputs are cut: a run is a handful of calls.
const MOST_CALLS: usize = 48;
/// A buffer, and what stands behind it and stays as it is.
const ROOM: usize = 512;
const CANARY: [u8; 64] = [0xC5; 64];

/// What the application has.
struct Application {
    session: CK_SESSION_HANDLE,
}

static APPLICATION: OnceLock<Application> = OnceLock::new();

pub(crate) fn run(bytes: &[u8]) {
    let application = APPLICATION.get_or_init(start);
    let mut input = Input::new(bytes);
    let mut calls = 0;
    while !input.is_empty() && calls < MOST_CALLS {
        calls += 1;
        let session = if input.byte().is_multiple_of(8) { odd(&mut input) } else { application.session };
        judge(call(&mut input, session));
    }
    // What was begun is not left to the next run, so that each stands alone.
    unsafe { C_SessionCancel(application.session, CK_FLAGS::MAX) };
}

/// Every answer is one that an application can be told.
fn judge(code: CK_RV) {
    // Codes that would say that the module, not the application, was wrong.
    assert!(code != CKR_GENERAL_ERROR && code != CKR_FUNCTION_FAILED, "{code:#x}");
    assert!(code <= CKR_FUNCTION_REJECTED || code >= CKR_OPERATION_CANCEL_FAILED, "{code:#x}");
}

/// A number that is small, or none at all.
fn odd(input: &mut Input<'_>) -> CK_ULONG {
    match input.byte() {
        0 => CK_ULONG::MAX,
        1 => CK_ULONG::MAX / 2 + 1,
        2 => CK_ULONG::MAX / 40,
        small => CK_ULONG::from(small),
    }
}

/// A buffer of the application, in every state that it can be passed in.
struct Lent {
    bytes: Vec<u8>,
    length: CK_ULONG,
    pointer: *mut u8,
}

impl Lent {
    fn new(input: &mut Input<'_>) -> Self {
        let mut bytes = input.text().to_vec();
        bytes.resize(ROOM, 0);
        bytes.extend_from_slice(&CANARY);
        let (length, pointer) = match input.byte() % 8 {
            0 => (odd(input), ptr::null_mut()),
            1 => (CK_ULONG::MAX - CK_ULONG::from(input.byte()), bytes.as_mut_ptr()),
            2 => (0, bytes.as_mut_ptr()),
            3 => (ROOM as CK_ULONG, bytes.as_mut_ptr()),
            _ => (CK_ULONG::from(input.word()) % (ROOM as CK_ULONG + 1), bytes.as_mut_ptr()),
        };
        Self { bytes, length, pointer }
    }

    /// Nothing was written behind the room, nor behind the length that the application told.
    fn check(&self) {
        assert_eq!(self.bytes[ROOM..], CANARY);
    }
}

/// A function that fills a buffer: what it tells of the length is true.
fn fill(input: &mut Input<'_>, function: impl FnOnce(*mut u8, *mut CK_ULONG) -> CK_RV) -> CK_RV {
    let lent = Lent::new(input);
    let mut length = lent.length;
    let without_length = input.byte().is_multiple_of(16);
    let code = function(lent.pointer, if without_length { ptr::null_mut() } else { &raw mut length });
    lent.check();
    if without_length {
        assert!(code != CKR_OK);
    } else if code == CKR_OK && !lent.pointer.is_null() {
        assert!(length <= lent.length);
    } else if code == CKR_BUFFER_TOO_SMALL {
        assert!(length > lent.length);
    }
    code
}

/// Data, a mechanism with any parameter, or a template.
fn data(input: &mut Input<'_>, function: impl FnOnce(*mut u8, CK_ULONG) -> CK_RV) -> CK_RV {
    let lent = Lent::new(input);
    let before = lent.bytes.clone();
    let code = function(lent.pointer, lent.length);
    assert_eq!(lent.bytes, before);
    code
}

fn mechanism(input: &mut Input<'_>, function: impl FnOnce(*mut CK_MECHANISM) -> CK_RV) -> CK_RV {
    const KINDS: [CK_MECHANISM_TYPE; 10] = [
        CKM_RSA_PKCS,
        CKM_RSA_X_509,
        CKM_RSA_PKCS_PSS,
        CKM_RSA_PKCS_OAEP,
        CKM_SHA256_RSA_PKCS,
        CKM_SHA512_RSA_PKCS_PSS,
        CKM_SHA_1,
        CKM_SHA256,
        CKM_AES_CBC,
        CK_ULONG::MAX,
    ];
    let kind = KINDS[usize::from(input.byte()) % KINDS.len()];
    if input.byte().is_multiple_of(16) {
        return function(ptr::null_mut());
    }
    // A parameter that holds pointers is the application's word: here it never holds any that lead astray.
    let mut parameter = [CKM_SHA256, CKG_MGF1_SHA256, odd(input), 0, 0];
    let parameter_length = match input.byte() % 4 {
        0 => 0,
        1 => size_of::<CK_RSA_PKCS_PSS_PARAMS>() as CK_ULONG,
        2 => size_of::<CK_RSA_PKCS_OAEP_PARAMS>() as CK_ULONG,
        _ => CK_ULONG::from(input.byte()) % 40,
    };
    let pointer =
        if input.byte().is_multiple_of(8) { ptr::null_mut() } else { parameter.as_mut_ptr().cast() };
    let mut mechanism =
        CK_MECHANISM { mechanism: kind, pParameter: pointer, ulParameterLen: parameter_length };
    function(&raw mut mechanism)
}

fn template(input: &mut Input<'_>, function: impl FnOnce(*mut CK_ATTRIBUTE, CK_ULONG) -> CK_RV) -> CK_RV {
    const KINDS: [CK_ATTRIBUTE_TYPE; 8] = [
        CKA_CLASS,
        CKA_TOKEN,
        CKA_VALUE,
        CKA_ID,
        CKA_MODULUS,
        CKA_LABEL,
        CKA_PRIVATE_EXPONENT,
        CK_ULONG::MAX,
    ];
    let mut lent: Vec<Lent> = (0..input.byte() % 6).map(|_| Lent::new(input)).collect();
    let mut table: Vec<CK_ATTRIBUTE> = lent
        .iter_mut()
        .map(|lent| CK_ATTRIBUTE {
            type_: KINDS[usize::from(input.byte()) % KINDS.len()],
            pValue: lent.pointer.cast(),
            ulValueLen: lent.length,
        })
        .collect();
    let count = if input.byte().is_multiple_of(16) { CK_ULONG::MAX } else { table.len() as CK_ULONG };
    let pointer = if input.byte().is_multiple_of(16) { ptr::null_mut() } else { table.as_mut_ptr() };
    let code = function(pointer, count);
    lent.iter().for_each(Lent::check);
    code
}

fn call(input: &mut Input<'_>, session: CK_SESSION_HANDLE) -> CK_RV {
    let number = input.byte();
    let object = odd(input);
    // Of all of them: pointers are null or lead to buffers with the lengths that are passed, or with lengths that no
    // buffer can have.
    unsafe {
        match number % 28 {
            0 => mechanism(input, |mechanism| C_DigestInit(session, mechanism)),
            1 => data(input, |data, length| C_DigestUpdate(session, data, length)),
            2 => fill(input, |place, length| C_DigestFinal(session, place, length)),
            3 => data_and_fill(input, |from, length, to, room| C_Digest(session, from, length, to, room)),
            4 => mechanism(input, |mechanism| C_EncryptInit(session, mechanism, object)),
            5 => data_and_fill(input, |from, length, to, room| C_Encrypt(session, from, length, to, room)),
            6 => data_and_fill(input, |from, length, to, room| {
                C_EncryptUpdate(session, from, length, to, room)
            }),
            7 => fill(input, |place, length| C_EncryptFinal(session, place, length)),
            8 => mechanism(input, |mechanism| C_VerifyInit(session, mechanism, object)),
            9 => data(input, |data, length| C_VerifyUpdate(session, data, length)),
            10 => data(input, |signature, length| C_VerifyFinal(session, signature, length)),
            11 => mechanism(input, |mechanism| C_VerifyRecoverInit(session, mechanism, object)),
            12 => data_and_fill(input, |from, length, to, room| {
                C_VerifyRecover(session, from, length, to, room)
            }),
            13 => mechanism(input, |mechanism| C_SignInit(session, mechanism, object)),
            14 => data_and_fill(input, |from, length, to, room| C_Sign(session, from, length, to, room)),
            15 => mechanism(input, |mechanism| C_DecryptInit(session, mechanism, object)),
            16 => data_and_fill(input, |from, length, to, room| C_Decrypt(session, from, length, to, room)),
            17 => template(input, |table, count| C_FindObjectsInit(session, table, count)),
            18 => {
                let mut found = [0; 4];
                let mut count = 0;
                let code = C_FindObjects(session, found.as_mut_ptr(), 4, &raw mut count);
                assert!(code != CKR_OK || count <= 4);
                code
            }
            19 => C_FindObjectsFinal(session),
            20 => template(input, |table, count| C_GetAttributeValue(session, object, table, count)),
            21 => C_SessionCancel(session, odd(input)),
            22 => C_GetObjectSize(session, object, ptr::null_mut()),
            23 => data(input, |pin, length| C_Login(session, odd(&mut Input::new(&[number])), pin, length)),
            24 => {
                let mut info = CK_SESSION_INFO::default();
                C_GetSessionInfo(session, &raw mut info)
            }
            25 => {
                let mut info = CK_MECHANISM_INFO::default();
                C_GetMechanismInfo(object, odd(input), &raw mut info)
            }
            26 => data(input, |seed, length| C_SeedRandom(session, seed, length)),
            _ => C_DigestKey(session, object),
        }
    }
}

fn data_and_fill(
    input: &mut Input<'_>,
    function: impl FnOnce(*mut u8, CK_ULONG, *mut u8, *mut CK_ULONG) -> CK_RV,
) -> CK_RV {
    let from = Lent::new(input);
    let code = fill(input, |to, room| function(from.pointer, from.length, to, room));
    from.check();
    code
}

/// How the socket's file is called, before the process's number.
const SOCKET: &str = "cns-fuzz.sock.";

/// Removes the sockets of processes that are gone: a fuzzer has no end at which it could do so itself.
fn remove_left_behind() {
    for entry in std::fs::read_dir(env::temp_dir()).into_iter().flatten().filter_map(Result::ok) {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(SOCKET)?.parse::<u32>().ok());
        if process.is_some_and(|process| !std::path::Path::new(&format!("/proc/{process}")).exists()) {
            drop(std::fs::remove_file(entry.path()));
        }
    }
}

/// Starts what stands for the daemon, initialises the module and opens a session with the card.
fn start() -> Application {
    remove_left_behind();
    let socket = env::temp_dir().join(format!("{SOCKET}{}", process::id()));
    drop(std::fs::remove_file(&socket));
    let listener = UnixListener::bind(&socket).expect("a socket in the temporary folder");
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || serve(&stream));
        }
    });
    // The threads that were started read no variable.
    unsafe { env::set_var("CNSD_SOCKET", &socket) };
    let (mut slot, mut one, mut session) = (0, 1, 0);
    unsafe {
        assert_eq!(C_Initialize(ptr::null_mut()), CKR_OK);
        assert_eq!(C_GetSlotList(CK_TRUE, &raw mut slot, &raw mut one), CKR_OK);
        let flags = CKF_SERIAL_SESSION | CKF_RW_SESSION;
        assert_eq!(C_OpenSession(slot, flags, ptr::null_mut(), None, &raw mut session), CKR_OK);
    }
    Application { session }
}

/// Tells of one card, and refuses everything else.
fn serve(stream: &UnixStream) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if !reader.read_line(&mut line).is_ok_and(|count| count > 0) {
                return;
            }
            if let Some(value) = line.strip_prefix("Content-Length:") {
                length = value.trim().parse().unwrap_or(0);
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let request: Value = serde_json::from_slice(&body).expect("the module's requests are JSON");
        let answer = if matches!(request["method"].as_str(), Some("reader.list" | "reader.wait")) {
            json!({ "jsonrpc": "2.0", "id": request["id"], "result": readers() })
        } else {
            let data = json!({ "kind": "card-in-use", "message": "" });
            json!({ "jsonrpc": "2.0", "id": request["id"], "error": { "code": 1, "message": "", "data": data } })
        };
        let answer = answer.to_string();
        let mut stream = stream;
        if write!(stream, "Content-Length: {}\r\n\r\n{answer}", answer.len()).is_err() {
            return;
        }
    }
}

fn readers() -> Readers {
    let text = |text: &str| text.to_owned();
    let certificate = Certificate {
        key_use: KeyUse::Authentication,
        der: CERTIFICATE.to_vec(),
        subject: String::new(),
        issuer: String::new(),
        serial_number: String::new(),
        not_before: String::new(),
        not_after: String::new(),
        sha256: text("a"),
        key_bits: 2048,
        pin_for_each_use: false,
        status: None,
    };
    let holder = Holder {
        surname: text("ROSSI"),
        name: text("MARIO"),
        codice_fiscale: text("RSSMRA80A01H501U"),
        birth_date: text("1980-01-01"),
        sex: text("M"),
        birth_place: text("H501"),
    };
    let card = Card {
        reader: text("Reader 0"),
        insertion: 1,
        serial: text("6200000000012302"),
        generation: text("st2021"),
        atr: String::new(),
        is_virtual: true,
        holder,
        personal_data: b"000000".to_vec(),
        issued: String::new(),
        expires: String::new(),
        certificates: vec![certificate],
        authorities: Vec::new(),
        findings: Vec::new(),
        data_agree: true,
        pin_tries_left: None,
        puk_tries_left: None,
    };
    let reader = Reader {
        name: text("Reader 0"),
        kind: ReaderKind::Vpcd,
        insertion: 1,
        state: ReaderState::Card(Box::new(card)),
        face: None,
        pin_pad: false,
        traffic: Traffic::default(),
        contents_reads: 1,
    };
    Readers { instance: text("1"), change: 1, readers: vec![reader] }
}
