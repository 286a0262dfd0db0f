//! A key pair that a program of the counter had the card generate, and that has no certificate yet (PKCS#11 v3.2 §4.8, §4.9):
//! its templates, and its objects. They are this process's until the certificate is loaded, and then the card's.

use std::collections::BTreeMap;
use std::sync::Arc;

use cns_protocol::card::{Card, KeyUse};
use cns_protocol::key_pair::KeyPair;
use cryptoki_sys as ck;
use cryptoki_sys::{CK_ATTRIBUTE_TYPE, CK_BBOOL, CK_OBJECT_CLASS, CK_ULONG};
use sha1::{Digest, Sha1};

use super::made::given;
use super::{Key, Object, Table, bit_length, data, label};
use crate::certificate;
use crate::error::Error;
use crate::ffi::template::Template;
use crate::public_key::{PublicKey, Uses};

/// The bits of a new key.
const KEY_BITS: u32 = 2048;
/// The public exponent that the chips use.
const EXPONENT: [u8; 3] = [1, 0, 1];
/// The label of the request for the certificate.
const REQUEST: &str = "PKCS#10 request";

/// What the public key will be, in flags.
const PUBLIC: [(CK_ATTRIBUTE_TYPE, CK_BBOOL); 12] = [
    (ck::CKA_TOKEN, ck::CK_TRUE),
    (ck::CKA_PRIVATE, ck::CK_FALSE),
    (ck::CKA_MODIFIABLE, ck::CK_FALSE),
    (ck::CKA_COPYABLE, ck::CK_FALSE),
    (ck::CKA_DESTROYABLE, ck::CK_FALSE),
    (ck::CKA_DERIVE, ck::CK_FALSE),
    (ck::CKA_TRUSTED, ck::CK_FALSE),
    (ck::CKA_VERIFY, ck::CK_TRUE),
    (ck::CKA_VERIFY_RECOVER, ck::CK_TRUE),
    (ck::CKA_ENCRYPT, ck::CK_FALSE),
    (ck::CKA_WRAP, ck::CK_FALSE),
    (ck::CKA_ENCAPSULATE, ck::CK_FALSE),
];

/// What the private key will be, once it has its certificate.
const PRIVATE: [(CK_ATTRIBUTE_TYPE, CK_BBOOL); 15] = [
    (ck::CKA_TOKEN, ck::CK_TRUE),
    (ck::CKA_PRIVATE, ck::CK_TRUE),
    (ck::CKA_MODIFIABLE, ck::CK_FALSE),
    (ck::CKA_COPYABLE, ck::CK_FALSE),
    (ck::CKA_DESTROYABLE, ck::CK_FALSE),
    (ck::CKA_DERIVE, ck::CK_FALSE),
    (ck::CKA_SENSITIVE, ck::CK_TRUE),
    (ck::CKA_EXTRACTABLE, ck::CK_FALSE),
    (ck::CKA_SIGN, ck::CK_TRUE),
    (ck::CKA_SIGN_RECOVER, ck::CK_TRUE),
    (ck::CKA_DECRYPT, ck::CK_FALSE),
    (ck::CKA_UNWRAP, ck::CK_FALSE),
    (ck::CKA_DECAPSULATE, ck::CK_FALSE),
    (ck::CKA_WRAP_WITH_TRUSTED, ck::CK_FALSE),
    (ck::CKA_ALWAYS_AUTHENTICATE, ck::CK_TRUE),
];

/// What the card or its certificate says, and no template.
const OF_CARD: [CK_ATTRIBUTE_TYPE; 12] = [
    ck::CKA_ID,
    ck::CKA_UNIQUE_ID,
    ck::CKA_SUBJECT,
    ck::CKA_START_DATE,
    ck::CKA_END_DATE,
    ck::CKA_MODULUS,
    ck::CKA_PUBLIC_KEY_INFO,
    ck::CKA_LOCAL,
    ck::CKA_KEY_GEN_MECHANISM,
    ck::CKA_ALWAYS_SENSITIVE,
    ck::CKA_NEVER_EXTRACTABLE,
    ck::CKA_ALLOWED_MECHANISMS,
];

/// Judges the two templates of `C_GenerateKeyPair`; gives the bits of the modulus. What a template says must be what the
/// key will be: the card makes one kind of key. Its label is the token's to give, so one in a template is not kept.
///
/// # Errors
/// [`Error::TemplateInconsistent`] for another kind of key, and for one that is not to be on the card;
/// [`Error::TemplateIncomplete`] without the bits of the modulus, [`Error::KeySizeRange`] for others than 2,048;
/// [`Error::AttributeReadOnly`] for what is the card's to say.
pub(crate) fn judge(public: &Template<'_>, private: &Template<'_>) -> Result<u32, Error> {
    let (public, private) = (given(public)?, given(private)?);
    for half in [&public, &private] {
        if half.get(&ck::CKA_TOKEN) != Some(&&[ck::CK_TRUE][..]) {
            return Err(Error::TemplateInconsistent);
        }
    }
    judge_half(&public, ck::CKO_PUBLIC_KEY, &PUBLIC)?;
    judge_half(&private, ck::CKO_PRIVATE_KEY, &PRIVATE)?;
    if let Some(exponent) = public.get(&ck::CKA_PUBLIC_EXPONENT) {
        let zeros = exponent.iter().take_while(|byte| **byte == 0).count();
        if exponent.get(zeros..) != Some(&EXPONENT[..]) {
            return Err(Error::AttributeValueInvalid);
        }
    }
    let bits = public.get(&ck::CKA_MODULUS_BITS).ok_or(Error::TemplateIncomplete)?;
    let bits = (*bits).try_into().map_err(|_| Error::AttributeValueInvalid)?;
    if CK_ULONG::from_ne_bytes(bits) == CK_ULONG::from(KEY_BITS) {
        Ok(KEY_BITS)
    } else {
        Err(Error::KeySizeRange)
    }
}

fn judge_half(
    given: &BTreeMap<CK_ATTRIBUTE_TYPE, &[u8]>,
    class: CK_OBJECT_CLASS,
    flags: &[(CK_ATTRIBUTE_TYPE, CK_BBOOL)],
) -> Result<(), Error> {
    let is_public = class == ck::CKO_PUBLIC_KEY;
    for (kind, value) in given {
        let said = match *kind {
            ck::CKA_LABEL => continue,
            ck::CKA_MODULUS_BITS | ck::CKA_PUBLIC_EXPONENT if is_public => continue,
            ck::CKA_PUBLIC_EXPONENT => return Err(Error::AttributeReadOnly),
            ck::CKA_CLASS => *value == class.to_ne_bytes(),
            ck::CKA_KEY_TYPE => *value == ck::CKK_RSA.to_ne_bytes(),
            kind if OF_CARD.contains(&kind) => {
                if value.is_empty() {
                    continue;
                }
                return Err(Error::AttributeReadOnly);
            }
            kind => {
                let flag = flags.iter().find(|(known, _)| *known == kind).map(|(_, flag)| *flag);
                let flag = flag.ok_or(Error::AttributeTypeInvalid)?;
                if !matches!(value, [ck::CK_FALSE] | [ck::CK_TRUE]) {
                    return Err(Error::AttributeValueInvalid);
                }
                *value == [flag]
            }
        };
        if !said {
            return Err(Error::TemplateInconsistent);
        }
    }
    Ok(())
}

/// The public key, the private key and the request for the certificate; nothing for what is no RSA key. The request is a
/// data object that needs no login, because there may be no PIN to log in with; other processes do not see it.
pub(crate) fn objects(card: &Card, pair: &KeyPair) -> Option<[Object; 3]> {
    let (modulus, exponent) = certificate::read_public_key(&pair.public_key).ok()?;
    let id = Sha1::digest(modulus).to_vec();
    let name = |class| {
        let mut table =
            Table::start(class, &label(card, KeyUse::Signature), &format!("{class}-{}", hex(&id)));
        table.bytes(ck::CKA_ID, &id);
        table.without_certificate();
        table.key(true, [modulus, exponent], &pair.public_key);
        table
    };
    let uses = Uses { verify: true, verify_recover: true, encrypt: false, wrap: false };
    let key = PublicKey::new(modulus, exponent, uses)?;
    let mut public = name(ck::CKO_PUBLIC_KEY);
    public.number(ck::CKA_MODULUS_BITS, CK_ULONG::from(bit_length(modulus)));
    public.flag(ck::CKA_TRUSTED, false);
    public.uses(uses);
    public.flag(ck::CKA_ENCAPSULATE, false);
    let mut private = name(ck::CKO_PRIVATE_KEY);
    for (kind, flag) in PRIVATE {
        private.flag(kind, flag == ck::CK_TRUE);
    }
    // What it signed before it was certified would be valid afterwards.
    for kind in [ck::CKA_SIGN, ck::CKA_SIGN_RECOVER] {
        private.flag(kind, false);
    }
    for kind in [ck::CKA_ALWAYS_SENSITIVE, ck::CKA_NEVER_EXTRACTABLE] {
        private.flag(kind, true);
    }
    private.bytes(ck::CKA_ALLOWED_MECHANISMS, b"");
    private.secrets();
    let request = data::object(REQUEST, &pair.request, false);
    Some([public.finish(Key::Public(Arc::new(key))), private.finish(Key::None), request])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
