//! RFC 5652 EnvelopedData: finds our recipient, unwraps the content key and decrypts into locked memory.
//!
//! Whatever fails after the recipient was found gives one answer, [`ImportError::Undecryptable`], and where the key
//! transport fails a random content key takes its place (RFC 3218 §2.3.2): the answer tells nothing about the padding.

use aws_lc_rs::cipher::{
    AES_128, AES_192, AES_256, Algorithm, DecryptionContext, PaddedBlockDecryptingKey, UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::rsa::{
    OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OAEP_SHA384_MGF1SHA384, OAEP_SHA512_MGF1SHA512,
    OaepAlgorithm, OaepPrivateDecryptingKey, Pkcs1PrivateDecryptingKey, PrivateDecryptingKey,
};
use cms::enveloped_data::{EncryptedContentInfo, KeyTransRecipientInfo, RecipientIdentifier};
use cns_secret::Secret;
use const_oid::ObjectIdentifier;
use const_oid::db::rfc5911::{ID_AES_128_CBC, ID_AES_192_CBC, ID_AES_256_CBC, ID_DATA, ID_ENVELOPED_DATA};
use const_oid::db::rfc5912::{
    ID_MGF_1, ID_P_SPECIFIED, ID_RSAES_OAEP, ID_SHA_1, ID_SHA_256, ID_SHA_384, ID_SHA_512, RSA_ENCRYPTION,
};
use der::asn1::OctetStringRef;
use der::{AnyRef, Decode, Encode, Reader, SliceReader, Tag, TagNumber, Tagged};
use pkcs1::RsaOaepParams;
use spki::AlgorithmIdentifierOwned;
use x509_cert::Certificate;
use x509_cert::ext::pkix::SubjectKeyIdentifier;

use crate::custody::error::CustodyError;
use crate::custody::import::ImportError;
use crate::custody::seal::random_secret;

/// The most bytes of an import file.
pub(super) const MAXIMUM_FILE: usize = 1 << 20;
const MAXIMUM_RECIPIENTS: usize = 64;
/// A recipient has a name, an algorithm and one RSA block.
const MAXIMUM_RECIPIENT: usize = 8192;
const IV_LEN: usize = 16;
const CONTEXT_0: Tag = Tag::ContextSpecific { constructed: true, number: TagNumber::N0 };

/// How the content key was encrypted to us.
enum Transport {
    Pkcs1,
    Oaep(&'static OaepAlgorithm),
}

/// The parts of the message, not yet decrypted.
struct Message<'a> {
    recipients: &'a [u8],
    content: EncryptedContentInfo,
}

/// Decrypts `file` with the private key (PKCS#8) that belongs to `certificate`.
pub(super) fn decrypt(
    file: &[u8],
    certificate: &Certificate,
    private: &Secret,
) -> Result<Secret, CustodyError> {
    if file.len() > MAXIMUM_FILE {
        return Err(ImportError::TooLarge.into());
    }
    let message = parse(file).map_err(ImportError::NotEnvelopedData)?;
    let recipient = find_recipient(message.recipients, certificate)?.ok_or(ImportError::NotForThisDaemon)?;
    let transport = transport(&recipient.key_enc_alg)?;
    let (algorithm, iv) = content_algorithm(&message.content)?;
    let ciphertext = message.content.encrypted_content.as_ref().ok_or(ImportError::Undecryptable)?;
    let key = content_key(private, &transport, recipient.enc_key.as_bytes(), key_len(algorithm))?;
    decrypt_content(algorithm, iv, &key, ciphertext.as_bytes())
}

fn decrypt_content(
    algorithm: &'static Algorithm,
    iv: [u8; IV_LEN],
    key: &Secret,
    ciphertext: &[u8],
) -> Result<Secret, CustodyError> {
    let unbound = UnboundCipherKey::new(algorithm, key.expose())
        .map_err(|_| CustodyError::Cryptography("an AES key has another length"))?;
    let cipher = PaddedBlockDecryptingKey::cbc_pkcs7(unbound)
        .map_err(|_| CustodyError::Cryptography("AES-CBC is not available"))?;
    let mut buffer = Secret::copy_from(ciphertext)?;
    let context = DecryptionContext::Iv128(FixedLength::from(iv));
    let plaintext_len =
        cipher.decrypt(buffer.expose_mut(), context).map_err(|_| ImportError::Undecryptable)?.len();
    Ok(buffer.truncated(plaintext_len))
}

/// RFC 5652 §3 and §6.1. Read by hand to the recipients, so that a file of many recipients costs no more than its
/// length.
fn parse(file: &[u8]) -> der::Result<Message<'_>> {
    let mut outermost = SliceReader::new(file)?;
    let mut content_info = SliceReader::new(tagged(&mut outermost, Tag::Sequence)?)?;
    let content_type = ObjectIdentifier::decode(&mut content_info)?;
    if content_type != ID_ENVELOPED_DATA {
        return Err(der::ErrorKind::OidUnknown { oid: content_type }.into());
    }
    let mut explicit = SliceReader::new(tagged(&mut content_info, CONTEXT_0)?)?;
    let mut enveloped_data = SliceReader::new(tagged(&mut explicit, Tag::Sequence)?)?;
    let _version = u8::decode(&mut enveloped_data)?;
    if enveloped_data.peek_tag()? == CONTEXT_0 {
        let _originator_info = tagged(&mut enveloped_data, CONTEXT_0)?;
    }
    let recipients = tagged(&mut enveloped_data, Tag::Set)?;
    let content = EncryptedContentInfo::decode(&mut enveloped_data)?;
    explicit.finish(())?;
    content_info.finish(())?;
    outermost.finish(Message { recipients, content })
}

/// The value of the next element, which must have this tag.
fn tagged<'a>(reader: &mut SliceReader<'a>, tag: Tag) -> der::Result<&'a [u8]> {
    let element = AnyRef::decode(reader)?;
    element.tag().assert_eq(tag)?;
    Ok(element.value())
}

/// The key transport recipient that names our certificate. Others are passed over.
fn find_recipient(
    recipients: &[u8],
    certificate: &Certificate,
) -> Result<Option<KeyTransRecipientInfo>, ImportError> {
    let unreadable = ImportError::NotEnvelopedData;
    let mut reader = SliceReader::new(recipients).map_err(unreadable)?;
    for _ in 0..MAXIMUM_RECIPIENTS {
        if reader.is_finished() {
            return Ok(None);
        }
        let is_key_transport = reader.peek_tag().map_err(unreadable)? == Tag::Sequence;
        let bytes = reader.tlv_bytes().map_err(unreadable)?;
        if !is_key_transport || bytes.len() > MAXIMUM_RECIPIENT {
            continue;
        }
        let recipient = KeyTransRecipientInfo::from_der(bytes).map_err(unreadable)?;
        if names(&recipient.rid, certificate) {
            return Ok(Some(recipient));
        }
    }
    Ok(None)
}

fn names(recipient: &RecipientIdentifier, certificate: &Certificate) -> bool {
    let ours = &certificate.tbs_certificate;
    match recipient {
        RecipientIdentifier::IssuerAndSerialNumber(name) => {
            name.issuer == ours.issuer && name.serial_number == ours.serial_number
        }
        RecipientIdentifier::SubjectKeyIdentifier(identifier) => {
            matches!(ours.get::<SubjectKeyIdentifier>(), Ok(Some((_, own))) if own == *identifier)
        }
    }
}

/// RFC 3370 §4.2.1 (PKCS#1 v1.5) and RFC 3560 (OAEP, one hash for both purposes, empty label).
fn transport(algorithm: &AlgorithmIdentifierOwned) -> Result<Transport, ImportError> {
    let unsupported = || ImportError::Algorithm(algorithm.oid);
    match algorithm.oid {
        RSA_ENCRYPTION => Ok(Transport::Pkcs1),
        ID_RSAES_OAEP => {
            let Some(parameters) = &algorithm.parameters else {
                return Ok(Transport::Oaep(&OAEP_SHA1_MGF1SHA1));
            };
            let der = parameters.to_der().map_err(|_| unsupported())?;
            let parameters = RsaOaepParams::from_der(&der).map_err(|_| unsupported())?;
            oaep(&parameters).map(Transport::Oaep).ok_or_else(unsupported)
        }
        _ => Err(unsupported()),
    }
}

fn oaep(parameters: &RsaOaepParams<'_>) -> Option<&'static OaepAlgorithm> {
    let label = parameters.p_source.parameters?.decode_as::<OctetStringRef<'_>>().ok()?;
    let mask_hash = parameters.mask_gen.parameters?.oid;
    let usual = parameters.p_source.oid == ID_P_SPECIFIED
        && label.as_bytes().is_empty()
        && parameters.mask_gen.oid == ID_MGF_1
        && mask_hash == parameters.hash.oid;
    match parameters.hash.oid {
        _ if !usual => None,
        ID_SHA_1 => Some(&OAEP_SHA1_MGF1SHA1),
        ID_SHA_256 => Some(&OAEP_SHA256_MGF1SHA256),
        ID_SHA_384 => Some(&OAEP_SHA384_MGF1SHA384),
        ID_SHA_512 => Some(&OAEP_SHA512_MGF1SHA512),
        _ => None,
    }
}

fn content_algorithm(
    content: &EncryptedContentInfo,
) -> Result<(&'static Algorithm, [u8; IV_LEN]), ImportError> {
    if content.content_type != ID_DATA {
        return Err(ImportError::Algorithm(content.content_type));
    }
    let unsupported = ImportError::Algorithm(content.content_enc_alg.oid);
    let algorithm = match content.content_enc_alg.oid {
        ID_AES_256_CBC => &AES_256,
        ID_AES_192_CBC => &AES_192,
        ID_AES_128_CBC => &AES_128,
        _ => return Err(unsupported),
    };
    let iv = content
        .content_enc_alg
        .parameters
        .as_ref()
        .and_then(|parameters| parameters.decode_as::<OctetStringRef<'_>>().ok())
        .and_then(|iv| iv.as_bytes().try_into().ok());
    Ok((algorithm, iv.ok_or(unsupported)?))
}

fn key_len(algorithm: &Algorithm) -> usize {
    if algorithm == &AES_256 {
        32
    } else if algorithm == &AES_192 {
        24
    } else {
        16
    }
}

/// The content key; a random one when the transport does not give a key of the right length.
fn content_key(
    private: &Secret,
    transport: &Transport,
    encrypted: &[u8],
    length: usize,
) -> Result<Secret, CustodyError> {
    let failed = |_| CustodyError::Cryptography("the import key is not usable");
    let substitute = random_secret(length)?;
    let private = PrivateDecryptingKey::from_pkcs8(private.expose())
        .map_err(|_| CustodyError::Cryptography("the import key is not usable"))?;
    let mut buffer = Secret::zeroed(private.key_size_bytes())?;
    let key = match transport {
        Transport::Pkcs1 => {
            let private = Pkcs1PrivateDecryptingKey::new(private).map_err(failed)?;
            private.decrypt(encrypted, buffer.expose_mut()).map(|key| key.len())
        }
        Transport::Oaep(algorithm) => {
            let private = OaepPrivateDecryptingKey::new(private).map_err(failed)?;
            private.decrypt(algorithm, encrypted, buffer.expose_mut(), None).map(|key| key.len())
        }
    };
    match key {
        Ok(found) if found == length => Ok(buffer.truncated(length)),
        Ok(_) | Err(_) => Ok(substitute),
    }
}

/// A message to one certificate whose key is elsewhere, on a card: its parts, to be opened with what the card deciphers.
pub(crate) struct Addressed {
    encrypted_key: Vec<u8>,
    content: EncryptedContentInfo,
}

impl Addressed {
    /// Reads a message; nothing where it is none, or not for this certificate (DER), or not with PKCS#1 v1.5.
    pub(crate) fn read(message: &[u8], certificate: &[u8]) -> Option<Self> {
        let certificate = Certificate::from_der(certificate).ok()?;
        let parsed = parse(message).ok()?;
        let recipient = find_recipient(parsed.recipients, &certificate).ok()??;
        match transport(&recipient.key_enc_alg).ok()? {
            Transport::Pkcs1 => {
                Some(Self { encrypted_key: recipient.enc_key.as_bytes().to_vec(), content: parsed.content })
            }
            Transport::Oaep(_) => None,
        }
    }

    /// What the card is to decipher.
    pub(crate) fn encrypted_key(&self) -> &[u8] {
        &self.encrypted_key
    }

    /// Opens the content with the key that the card deciphered.
    pub(crate) fn open(&self, key: &Secret) -> Result<Secret, CustodyError> {
        let (algorithm, iv) = content_algorithm(&self.content)?;
        let ciphertext = self.content.encrypted_content.as_ref().ok_or(ImportError::Undecryptable)?;
        if key.len() != key_len(algorithm) {
            return Err(ImportError::Undecryptable.into());
        }
        decrypt_content(algorithm, iv, key, ciphertext.as_bytes())
    }
}
