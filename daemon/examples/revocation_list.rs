//! What a revocation list of many entries costs: `revocation_list COUNT`. `cargo xtask bench crl` calls it.
//!
//! The list is made here, signed by a fresh certifier, with serial numbers of 16 bytes in no order.
#![allow(clippy::print_stdout, reason = "its answer")]

use std::error::Error;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use cns_virtual_authority::{Authority, InitOptions};
use cnsd::authority::status::list::RevocationList;
use der::asn1::{GeneralizedTime, OctetString};
use der::{DateTime, Decode, Encode, pem};
use sha2::{Digest, Sha256};
use x509_cert::Certificate;

const LOOK_UPS: u32 = 100_000;
const SHA_256_WITH_RSA: &[u8] =
    &[0x30, 0x0D, 0x06, 0x09, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x0B, 0x05, 0x00];

fn main() -> Result<(), Box<dyn Error>> {
    let count = std::env::args().nth(1).ok_or("usage: revocation_list COUNT")?.parse::<u32>()?;
    let folder = tempfile::tempdir()?;
    let mut options = InitOptions::new("a secret that nobody uses");
    options.key_bits = 2048;
    Authority::init(&folder.path().join("ca"), &options)?;
    let issuer = Certificate::from_der(&std::fs::read(folder.path().join("ca/ca.der"))?)?;
    let key = std::fs::read(folder.path().join("ca/ca-key.pem"))?;
    let (_, key) = pem::decode_vec(&key).map_err(|error| error.to_string())?;
    let key = RsaKeyPair::from_pkcs8(&key)?;
    let list = signed(&content(count, &issuer)?, &key)?;

    // What making the list took does not count: the peak begins anew (proc(5)).
    std::fs::write("/proc/self/clear_refs", "5")?;
    let before = resident()?;
    let begin = Instant::now();
    let read = RevocationList::read(&list, &issuer)?;
    let parsed = begin.elapsed();
    let peak = peak()?;
    let mut found = 0u32;
    let begin = Instant::now();
    for look_up in 0..LOOK_UPS {
        // Every second one stands on the list.
        let number =
            if look_up % 2 == 0 { look_up.wrapping_mul(7919) % count.max(1) } else { u32::MAX - look_up };
        let standing = read.standing(&serial(number), None)?;
        found += u32::from(standing != cnsd::authority::checks::Revocation::Good);
    }
    let looked_up = begin.elapsed();
    println!("entries          {}", read.len());
    println!("list             {} bytes", list.len());
    println!("parse            {} ms, signature included", parsed.as_millis());
    println!("look-up          {} ns, {found} of {LOOK_UPS} found", (looked_up / LOOK_UPS).as_nanos());
    println!("table            {} bytes, {} each", read.memory(), read.memory() / read.len().max(1));
    println!("resident before  {before} KiB, at most {peak} KiB while it was read");
    Ok(())
}

/// Sixteen bytes that follow from the number, in no order, without a sign.
fn serial(number: u32) -> [u8; 16] {
    let mut serial = [0; 16];
    let hash = Sha256::digest(number.to_be_bytes());
    serial.iter_mut().zip(hash).for_each(|(byte, random)| *byte = random);
    if let Some(first) = serial.first_mut() {
        *first = *first & 0x7F | 0x40;
    }
    serial
}

fn tlv(tag: u8, content: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    let length = u32::try_from(content.len())?;
    let mut bytes = vec![tag];
    if length < 0x80 {
        bytes.push(u8::try_from(length)?);
    } else {
        let digits: Vec<u8> = length.to_be_bytes().into_iter().skip_while(|digit| *digit == 0).collect();
        bytes.push(0x80 | u8::try_from(digits.len())?);
        bytes.extend(digits);
    }
    bytes.extend_from_slice(content);
    Ok(bytes)
}

fn time(at: SystemTime) -> Result<Vec<u8>, Box<dyn Error>> {
    let since = at.duration_since(UNIX_EPOCH)?;
    Ok(GeneralizedTime::from_date_time(DateTime::from_unix_duration(since)?).to_der()?)
}

fn content(count: u32, issuer: &Certificate) -> Result<Vec<u8>, Box<dyn Error>> {
    let now = SystemTime::now();
    let mut entries = Vec::new();
    for number in 0..count {
        let mut entry = tlv(0x02, &serial(number))?;
        entry.extend(time(now - Duration::from_secs(u64::from(number)))?);
        // Every fourth is suspended.
        if number % 4 == 0 {
            let reason = OctetString::new([0x0A, 0x01, 0x06])?.to_der()?;
            let extension = [&[0x06, 0x03, 0x55, 0x1D, 0x15][..], &reason].concat();
            entry.extend(tlv(0x30, &tlv(0x30, &extension)?)?);
        }
        entries.extend(tlv(0x30, &entry)?);
    }
    let number = OctetString::new([0x02, 0x01, 0x07])?.to_der()?;
    let number = tlv(0x30, &[&[0x06, 0x03, 0x55, 0x1D, 0x14][..], &number].concat())?;
    let fields = [
        vec![0x02, 0x01, 0x01],
        SHA_256_WITH_RSA.to_vec(),
        issuer.tbs_certificate.subject.to_der()?,
        time(now)?,
        time(now + Duration::from_secs(24 * 3600))?,
        tlv(0x30, &entries)?,
        tlv(0xA0, &tlv(0x30, &number)?)?,
    ];
    tlv(0x30, &fields.concat())
}

fn signed(content: &[u8], key: &RsaKeyPair) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), content, &mut signature)
        .map_err(|_| "the certifier's key does not sign")?;
    let signature = tlv(0x03, &[&[0][..], &signature].concat())?;
    tlv(0x30, &[content, SHA_256_WITH_RSA, &signature].concat())
}

/// Memory in use now, in KiB.
fn resident() -> Result<u64, Box<dyn Error>> {
    field("VmRSS:")
}

/// The most that was in use, in KiB.
fn peak() -> Result<u64, Box<dyn Error>> {
    field("VmHWM:")
}

fn field(name: &str) -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with(name)).ok_or("no such field")?;
    Ok(line.split_whitespace().nth(1).ok_or("no value")?.parse()?)
}
