//! The table of generations.

use super::{Generation, Hint, KeyPlace, Sign, Signing, TriesQuery};
use crate::command::{PinReference, Template};
use crate::file_map::{
    AUTHENTICATION_CERTIFICATE, Fid, FilePath, MASTER_FILE, SIGNATURE_CERTIFICATE, SIGNATURE_KEY_DF,
};
use crate::object::ObjectId;
use crate::transmit::Limits;

/// Every generation, the likeliest in use first.
pub const TABLE: [&Generation; 4] = [&ST_2021, &CLASSIC, &INCARD_10, &IDEMIA_2021];

/// The mask whose PIN commands search from the current DF upward (`cns-card` §1.2): P2 is 90 where others want 10.
const ST_INCARD: u8 = 0x09;

/// The CNS PIN and PUK on chips that search upward.
const LOCAL_PIN: PinReference = PinReference::local(ObjectId::CNS_PIN);
const LOCAL_PUK: PinReference = PinReference::local(ObjectId::CNS_PUK);
/// The same two on all other chips.
const GLOBAL_PIN: PinReference = PinReference::global(ObjectId::CNS_PIN);
const GLOBAL_PUK: PinReference = PinReference::global(ObjectId::CNS_PUK);

/// TS-CNS "ST 2021" and its successors: RSA-2048, extended length, no chaining (`cns-card` §1.3, §5).
pub const ST_2021: Generation = Generation {
    name: "st2021",
    hints: &[
        Hint { sign: Sign::MaskMaker(ST_INCARD), weight: 4 },
        Hint { sign: Sign::CnsVersion(0x11), weight: 4 },
        Hint { sign: Sign::MaskVersion(0x16, 0x17), weight: 2 },
    ],
    application: None,
    authentication: authentication(2048, LOCAL_PIN, LOCAL_PUK),
    signature: Some(signature(2048)),
    security_environment: 0x03,
    limits: Limits::EXTENDED,
    tries_query: TriesQuery::Standard,
    challenge_length: 256,
};

/// Incard chips of CNS version 1.0: RSA-1024, short length.
pub const INCARD_10: Generation = Generation {
    name: "incard10",
    hints: &[
        Hint { sign: Sign::MaskMaker(ST_INCARD), weight: 4 },
        Hint { sign: Sign::CnsVersion(0x10), weight: 4 },
    ],
    application: None,
    authentication: authentication(1024, LOCAL_PIN, LOCAL_PUK),
    signature: Some(signature(1024)),
    security_environment: 0x03,
    limits: Limits::SHORT,
    tries_query: TriesQuery::Avoid,
    challenge_length: 256,
};

/// The classic file tree on other masks (Siemens, Athena, Oberthur). Their PIN references reach the MF alone, so a
/// signature PIN inside a DF cannot be named.
pub const CLASSIC: Generation = Generation {
    name: "classic",
    hints: &[
        Hint { sign: Sign::MaskMaker(0x08), weight: 6 },
        Hint { sign: Sign::MaskMaker(0x0C), weight: 6 },
        Hint { sign: Sign::MaskMaker(0x05), weight: 4 },
        Hint { sign: Sign::MaskMaker(0x07), weight: 4 },
        Hint { sign: Sign::CnsVersion(0x10), weight: 2 },
    ],
    application: None,
    authentication: authentication(1024, GLOBAL_PIN, GLOBAL_PUK),
    signature: None,
    security_environment: 0x03,
    limits: Limits::SHORT_CHAINED,
    tries_query: TriesQuery::Avoid,
    challenge_length: 256,
};

/// IDEMIA's 2021 chips: the keys live under the signature DF (`cns-card` §11).
pub const IDEMIA_2021: Generation = Generation {
    name: "idemia2021",
    hints: &[
        Hint { sign: Sign::MaskMaker(0x05), weight: 4 },
        Hint { sign: Sign::ChipMaker(0x05), weight: 2 },
        Hint { sign: Sign::MaskVersion(0x20, 0xFF), weight: 4 },
    ],
    application: None,
    authentication: KeyPlace {
        certificate: FilePath::fixed(&[Fid(0x1400), Fid(0x9001), Fid(0x2002)]),
        key_df: FilePath::fixed(&[Fid(0x1400), Fid(0x9002)]),
        key: ObjectId::IDEMIA_KEY,
        template: Template::Confidentiality,
        signing: Signing::RawDecipher,
        modulus_bits: 2048,
        pin_df: MASTER_FILE,
        pin: GLOBAL_PIN,
        puk: GLOBAL_PUK,
    },
    signature: None,
    security_environment: 0x03,
    limits: Limits::EXTENDED_OR_CHAINED,
    tries_query: TriesQuery::Observed,
    challenge_length: 32,
};

/// The authentication key of the classic tree: in the MF, raw RSA.
const fn authentication(modulus_bits: u16, pin: PinReference, puk: PinReference) -> KeyPlace {
    KeyPlace {
        certificate: AUTHENTICATION_CERTIFICATE,
        key_df: MASTER_FILE,
        key: ObjectId::CNS_KEY,
        template: Template::Confidentiality,
        signing: Signing::RawDecipher,
        modulus_bits,
        pin_df: MASTER_FILE,
        pin,
        puk,
    }
}

/// The signature key of the layout that the daemon creates (`cns-card` §8.2).
const fn signature(modulus_bits: u16) -> KeyPlace {
    KeyPlace {
        certificate: SIGNATURE_CERTIFICATE,
        key_df: SIGNATURE_KEY_DF,
        key: ObjectId::SIGNATURE_KEY,
        template: Template::Signature,
        signing: Signing::DigestInfo,
        modulus_bits,
        pin_df: SIGNATURE_KEY_DF,
        pin: PinReference::local(ObjectId::SIGNATURE_PIN),
        puk: PinReference::local(ObjectId::SIGNATURE_PUK),
    }
}
