//! Cards of an invented person, as the daemon tells of them.

use cns_protocol::card::{Card, Certificate, Holder, KeyUse};
use cns_protocol::reader::{Reader, ReaderKind, ReaderState};
use cns_protocol::rpc::Traffic;

pub(crate) const AUTHENTICATION: &[u8] = include_bytes!("../tests/data/authentication.der");
pub(crate) const SIGNATURE: &[u8] = include_bytes!("../tests/data/signature.der");

pub(crate) fn certificate(key_use: KeyUse) -> Certificate {
    let (der, sha256) = match key_use {
        KeyUse::Authentication => (AUTHENTICATION, "a"),
        KeyUse::Signature => (SIGNATURE, "b"),
    };
    Certificate {
        key_use,
        der: der.to_vec(),
        subject: String::new(),
        issuer: String::new(),
        serial_number: String::new(),
        not_before: String::new(),
        not_after: String::new(),
        sha256: sha256.to_owned(),
        key_bits: 2048,
        pin_for_each_use: key_use == KeyUse::Signature,
        status: None,
    }
}

pub(crate) fn card(serial: &str, insertion: u64, uses: &[KeyUse]) -> Card {
    Card {
        reader: "Reader 0".to_owned(),
        insertion,
        serial: serial.to_owned(),
        generation: "st2021".to_owned(),
        atr: String::new(),
        is_virtual: true,
        holder: Holder {
            surname: "ROSSI".to_owned(),
            name: "MARIO".to_owned(),
            codice_fiscale: "RSSMRA80A01H501U".to_owned(),
            birth_date: "1980-01-01".to_owned(),
            sex: "M".to_owned(),
            birth_place: "H501".to_owned(),
        },
        personal_data: b"000000".to_vec(),
        issued: "2026-01-01".to_owned(),
        expires: "2032-01-01".to_owned(),
        certificates: uses.iter().map(|key_use| certificate(*key_use)).collect(),
        authorities: Vec::new(),
        findings: Vec::new(),
        data_agree: true,
        pin_tries_left: None,
        puk_tries_left: None,
    }
}

pub(crate) fn reader(name: &str, insertion: u64, state: ReaderState) -> Reader {
    let (kind, traffic) = (ReaderKind::Vpcd, Traffic::default());
    Reader {
        name: name.to_owned(),
        kind,
        insertion,
        state,
        face: None,
        pin_pad: false,
        traffic,
        contents_reads: 0,
    }
}
