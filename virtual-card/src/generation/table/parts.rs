//! What several generations have: habits, applications, places of keys and certificates.

use cns_apdu::access::AccessConditions;
use cns_apdu::file_map::{
    AUTHENTICATION_CERTIFICATE, ESIGN_CERTIFICATE, Fid, FilePath, MASTER_FILE, PRIVATE_OBJECTS_DF,
    SIGNATURE_CERTIFICATE, SIGNATURE_KEY_DF, STORED_CERTIFICATE,
};
use cns_apdu::object::{Algorithm, ObjectId};
use cns_apdu::signature_area;

use crate::generation::chip::{
    Application, CertificatePlace, Habits, KeyLookup, KeyPin, KeyPlace, Room, StoredKey,
};
use crate::generation::trees;

/// ST Incard: PINs are searched upward.
pub(super) const ST: Habits = Habits {
    extended_length: true,
    chaining: true,
    select_silent: true,
    select_parameters: false,
    searches_upward: true,
    key_lookup: KeyLookup::WhenSet,
    longest_challenge: 256,
    shortens_challenge: true,
    pin_tries: 3,
    puk_tries: 3,
};
pub(super) const ST_SHORT: Habits = Habits { extended_length: false, ..ST };
/// The masks of other makers, whose PIN references reach the MF alone; RSA-1024 needs no long command.
pub(super) const OTHER_MASK: Habits = Habits { extended_length: false, searches_upward: false, ..ST };
/// Oberthur's Cosmo V7: eight tries of the PUK; keys are looked for when they are used.
pub(super) const COSMO: Habits =
    Habits { extended_length: true, key_lookup: KeyLookup::WhenUsed, puk_tries: 8, ..OTHER_MASK };
/// IDEMIA 2021: SELECT without an answer is refused, a challenge has at most 32 bytes.
pub(super) const IDEMIA: Habits =
    Habits { select_silent: false, longest_challenge: 32, shortens_challenge: false, ..COSMO };
/// Over the air a kiosk's commands without an answer were taken.
pub(super) const IDEMIA_NFC: Habits = Habits { select_silent: true, ..IDEMIA };
/// ACe 2025: nobody has logged a PIN or a signature of it.
pub(super) const ACE: Habits = Habits { extended_length: true, ..OTHER_MASK };
pub(super) const CHIPDOC: Habits = Habits { extended_length: true, select_parameters: true, ..OTHER_MASK };

/// The classic tree in the card's own MF.
pub(super) const CLASSIC: Application = Application {
    aid: &[],
    inside: None,
    classic_tree: true,
    without: &[],
    files: &[],
    shape: trees::CLASSIC_SHAPE,
    room: None,
    access: None,
};
/// Where applications are kept: DFs that no file command reaches.
pub(super) const FIRST: Option<Fid> = Some(Fid(0x7F01));
pub(super) const SECOND: Option<Fid> = Some(Fid(0x7F02));
pub(super) const THIRD: Option<Fid> = Some(Fid(0x7F03));
/// The application that holds ChipDoc's certificates and keys.
pub(super) const CHIPDOC_KEYS: FilePath = FilePath::fixed(&[Fid(0x7F03)]);
pub(super) const IDEMIA_STORE: Application =
    Application { files: &trees::IDEMIA_STORE, shape: trees::OBERTHUR_SHAPE, ..CLASSIC };

pub(super) const PLAIN_CNS: &[Application] = &[CLASSIC];
/// Oberthur's classic cards have their maker's file control information.
pub(super) const OBERTHUR_CNS: &[Application] = &[Application { shape: trees::OBERTHUR_SHAPE, ..CLASSIC }];
pub(super) const IDEMIA_CNS: &[Application] = &[IDEMIA_STORE];

/// The authentication key in the MF, its certificate in EF_C_Carta.
pub(super) const CLASSIC_KEY: KeyPlace = KeyPlace {
    df: MASTER_FILE,
    key: ObjectId::CNS_KEY,
    algorithm: Algorithm::RsaRaw,
    pin: KeyPin::Holders,
    certificate: CertificatePlace {
        application: 0,
        path: AUTHENTICATION_CERTIFICATE,
        access: AccessConditions::READ_ONLY,
        short_identifier: None,
        room: Room::Reserved,
    },
    stored: None,
};
/// The signature keyset in DF_DS, as the daemon makes it.
pub(super) const CLASSIC_SIGNATURE: KeyPlace = KeyPlace {
    df: SIGNATURE_KEY_DF,
    key: ObjectId::SIGNATURE_KEY,
    algorithm: Algorithm::RsaSignature,
    pin: KeyPin::Own,
    certificate: CertificatePlace {
        application: 0,
        path: SIGNATURE_CERTIFICATE,
        access: signature_area::CERTIFICATE_ACCESS,
        short_identifier: None,
        room: Room::Reserved,
    },
    stored: None,
};
/// The authentication key of IDEMIA's TS-CNS.
pub(super) const IDEMIA_KEY: KeyPlace =
    stored(ObjectId::IDEMIA_KEY, STORED_CERTIFICATE, Fid(0x1002), Fid(0x3002));
/// A second key in the same store; its numbers follow the card that was logged, on which they are not the
/// certificate's.
pub(super) const IDEMIA_SIGNATURE: KeyPlace =
    stored(KEY_05, FilePath::fixed(&[Fid(0x1400), Fid(0x9001), Fid(0x2004)]), Fid(0x1005), Fid(0x3005));
/// The key of the card that was logged.
pub(super) const COSMO_KEY: KeyPlace = stored(KEY_0E, STORED_CERTIFICATE, Fid(0x1004), Fid(0x300E));
pub(super) const COSMO_SIGNATURE: KeyPlace =
    stored(KEY_0F, FilePath::fixed(&[Fid(0x1400), Fid(0x9001), Fid(0x2005)]), Fid(0x1006), Fid(0x300F));

pub(super) const KEY_05: ObjectId = key_number(0x05);
pub(super) const KEY_0E: ObjectId = key_number(0x0E);
pub(super) const KEY_0F: ObjectId = key_number(0x0F);
pub(super) const KEY_10: ObjectId = key_number(0x10);
pub(super) const KEY_11: ObjectId = key_number(0x11);

/// The number of a key; only the table's own constants come here.
pub(super) const fn key_number(number: u8) -> ObjectId {
    match ObjectId::new(number) {
        Some(id) => id,
        None => ObjectId::CNS_KEY,
    }
}

pub(super) const fn stored(key: ObjectId, certificate: FilePath, public: Fid, private: Fid) -> KeyPlace {
    KeyPlace {
        df: PRIVATE_OBJECTS_DF,
        key,
        algorithm: Algorithm::RsaRaw,
        pin: KeyPin::Holders,
        certificate: CertificatePlace {
            application: 0,
            path: certificate,
            access: trees::STORED_PUBLIC,
            short_identifier: None,
            room: Room::Exact,
        },
        stored: Some(StoredKey { public, private }),
    }
}

/// ACe 2025: the certificate in the ESIGN application, the key where every application finds it.
pub(super) const ACE_KEY: KeyPlace = KeyPlace {
    df: MASTER_FILE,
    key: ObjectId::CNS_KEY,
    algorithm: Algorithm::RsaRaw,
    pin: KeyPin::Holders,
    certificate: applied(1, ESIGN_CERTIFICATE, Some(0x08)),
    stored: None,
};
pub(super) const CHIPDOC_KEY: KeyPlace = guarded(KEY_10, FilePath::fixed(&[Fid(0x0001)]));
pub(super) const CHIPDOC_SIGNATURE: KeyPlace = guarded(KEY_11, FilePath::fixed(&[Fid(0x0002)]));

/// A key of ChipDoc, which takes PACE to use.
pub(super) const fn guarded(key: ObjectId, certificate: FilePath) -> KeyPlace {
    KeyPlace {
        df: CHIPDOC_KEYS,
        key,
        algorithm: Algorithm::RsaRaw,
        pin: KeyPin::Unreachable,
        certificate: applied(2, certificate, None),
        stored: None,
    }
}

/// A certificate of another application.
pub(super) const fn applied(
    application: usize,
    path: FilePath,
    short_identifier: Option<u8>,
) -> CertificatePlace {
    CertificatePlace {
        application,
        path,
        access: AccessConditions::READ_ONLY,
        short_identifier,
        room: Room::Exact,
    }
}
