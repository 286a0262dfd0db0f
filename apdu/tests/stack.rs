//! Triple DES leaves neither its key nor what it worked on behind on the stack.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use cns_apdu::triple_des::{decrypt, encrypt, mac3};
use cns_secret::Secret;

/// Inverted, so that they stand nowhere in the program: two keys of DES, and a block of plaintext.
const PARTS: [u8; 16] = *b"k7#eZ0!qT4@wB9$y";
const BLOCK: [u8; 8] = *b"a block.";

fn inverted(bytes: &[u8]) -> Secret {
    let mut secret = Secret::zeroed(bytes.len()).unwrap();
    secret.expose_mut().iter_mut().zip(bytes).for_each(|(to, from)| *to = !from);
    secret
}

/// How often something of them is on this thread's stack, in either order of bytes.
fn marks() -> usize {
    let here = 0_u8;
    let here = (&raw const here).addr() as u64;
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let (start, end) = maps
        .lines()
        .map(|line| {
            let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
            (u64::from_str_radix(start, 16).unwrap(), u64::from_str_radix(end, 16).unwrap())
        })
        .find(|(start, end)| (start..end).contains(&&here))
        .unwrap();
    let mut stack = vec![0; usize::try_from(end - start).unwrap()];
    File::open("/proc/self/mem").unwrap().read_exact_at(&mut stack, start).unwrap();
    let is = |window: &[u8], mark: &[u8]| {
        let forth = window.iter().zip(mark).all(|(byte, inverted)| *byte == !inverted);
        forth || window.iter().rev().zip(mark).all(|(byte, inverted)| *byte == !inverted)
    };
    let is_mark = |window: &&[u8]| PARTS.chunks(8).chain([&BLOCK[..]]).any(|mark| is(window, mark));
    stack.windows(8).filter(is_mark).count()
}

#[test]
fn neither_key_nor_plaintext_stay_on_the_stack() {
    let (key, plain) = (inverted(&PARTS), inverted(&BLOCK.repeat(4)));
    assert_eq!(marks(), 0);
    let sealed = encrypt(&key, plain.expose()).unwrap();
    assert_eq!(marks(), 0, "encrypted");
    assert!(decrypt(&key, &sealed).unwrap().ct_eq(&plain));
    assert_eq!(marks(), 0, "decrypted");
    mac3(&key, plain.expose()).unwrap();
    assert_eq!(marks(), 0, "authenticated");
}
