//! RFC 5652 EnvelopedData, DER or BER (as `openssl cms -stream` writes it), from a stream: finds our recipient, unwraps the
//! content key, and decrypts into locked memory piece by piece, so that a file's length costs no memory.
//!
//! Whatever fails after the recipient was found gives one answer, [`ImportError::Undecryptable`], and where the key
//! transport fails a random content key takes its place (RFC 3218 §2.3.2): the answer tells nothing about the padding.

use std::io::Read;

use aws_lc_rs::cipher::{
    AES_128, AES_192, AES_256, Algorithm, DecryptingKey, DecryptionContext, UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::rsa::{
    OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OAEP_SHA384_MGF1SHA384, OAEP_SHA512_MGF1SHA512,
    OaepAlgorithm, OaepPrivateDecryptingKey, Pkcs1PrivateDecryptingKey, PrivateDecryptingKey,
};
use cms::enveloped_data::{KeyTransRecipientInfo, RecipientIdentifier};
use cns_secret::{Secret, on_wiped_stack};
use const_oid::ObjectIdentifier;
use const_oid::db::rfc5911::{ID_AES_128_CBC, ID_AES_192_CBC, ID_AES_256_CBC, ID_DATA, ID_ENVELOPED_DATA};
use const_oid::db::rfc5912::{
    ID_MGF_1, ID_P_SPECIFIED, ID_RSAES_OAEP, ID_SHA_1, ID_SHA_256, ID_SHA_384, ID_SHA_512, RSA_ENCRYPTION,
};
use der::asn1::OctetStringRef;
use der::{Decode, Encode};
use pkcs1::RsaOaepParams;
use spki::AlgorithmIdentifierOwned;
use x509_cert::Certificate;
use x509_cert::ext::pkix::SubjectKeyIdentifier;

use crate::custody::ber::{Ber, BerError};
use crate::custody::error::CustodyError;
use crate::custody::import::ImportError;
use crate::custody::seal::random_secret;

const MAXIMUM_RECIPIENTS: usize = 64;
/// A recipient has a name, an algorithm and one RSA block.
const MAXIMUM_RECIPIENT: usize = 8192;
const MAXIMUM_SMALL: usize = 512;
const BLOCK: usize = 16;
/// Ciphertext that is decrypted at a time, in whole blocks.
const PIECE: usize = 16 * 1024;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OCTETS: u8 = 0x04;
const OCTETS_IN_PARTS: u8 = 0x24;
const EXPLICIT_0: u8 = 0xA0;
const IMPLICIT_0: u8 = 0x80;
const IMPLICIT_1_CONSTRUCTED: u8 = 0xA1;

/// How the content key was encrypted to us.
enum Transport {
    Pkcs1,
    Oaep(&'static OaepAlgorithm),
}

/// What is left of the encrypted content.
enum Content {
    /// In one piece, of which so many bytes are left.
    Whole(u64),
    /// In parts, one after another and one in another, of which the innermost has so many bytes left; it began at this
    /// depth.
    Parts { left: u64, depth: usize },
    /// Nothing.
    Over,
}

/// A message whose content is being decrypted, from a stream and a piece at a time.
pub(super) struct Decrypting<R> {
    ber: Ber<R>,
    content: Content,
    algorithm: &'static Algorithm,
    key: Secret,
    /// The ciphertext block before the next one.
    previous: [u8; BLOCK],
    /// The last ciphertext block that was read: only when another follows is it known not to end with padding.
    held: Option<[u8; BLOCK]>,
}

/// A message that was read up to its content.
struct Sealed<R> {
    recipient: KeyTransRecipientInfo,
    transport: Transport,
    ber: Ber<R>,
    content: Content,
    algorithm: &'static Algorithm,
    iv: [u8; BLOCK],
}

impl<R: Read> Sealed<R> {
    fn read(file: R, certificate: &Certificate) -> Result<Self, CustodyError> {
        let mut ber = Ber::new(file);
        let recipient =
            recipient(&mut ber, certificate).map_err(structure)?.ok_or(ImportError::NotForThisDaemon)?;
        let transport = transport(&recipient.key_enc_alg)?;
        let (content_type, algorithm) = content_info(&mut ber).map_err(after_recipient)?;
        let (algorithm, iv) = content_algorithm(content_type, &algorithm)?;
        let content = content(&mut ber).map_err(after_recipient)?;
        Ok(Self { recipient, transport, ber, content, algorithm, iv })
    }

    fn decrypting(self, key: Secret) -> Decrypting<R> {
        let Self { ber, content, algorithm, iv, .. } = self;
        Decrypting { ber, content, algorithm, key, previous: iv, held: None }
    }
}

/// Reads `file` up to its content, and unwraps the content key with the private key (PKCS#8) that belongs to
/// `certificate`.
pub(super) fn open<R: Read>(
    file: R,
    certificate: &Certificate,
    private: &Secret,
) -> Result<Decrypting<R>, CustodyError> {
    let sealed = Sealed::read(file, certificate)?;
    let encrypted = sealed.recipient.enc_key.as_bytes();
    let key = content_key(private, &sealed.transport, encrypted, key_len(sealed.algorithm))?;
    Ok(sealed.decrypting(key))
}

/// Decrypts a message that is there as a whole.
pub(super) fn decrypt(
    message: &[u8],
    certificate: &Certificate,
    private: &Secret,
) -> Result<Secret, CustodyError> {
    whole(open(message, certificate, private)?, message.len())
}

/// The whole content of a message of this length.
fn whole(mut decrypting: Decrypting<&[u8]>, length: usize) -> Result<Secret, CustodyError> {
    let mut content = Secret::zeroed(length + Decrypting::<&[u8]>::ROOM)?;
    let mut filled = 0;
    while let Some(piece) = decrypting.next(content.expose_mut().get_mut(filled..).unwrap_or_default())? {
        filled += piece;
    }
    Ok(content.truncated(filled))
}

/// A message to one certificate whose key is elsewhere, on a card: to be opened with what the card deciphers.
pub(crate) struct Addressed {
    message: Vec<u8>,
    certificate: Certificate,
    encrypted_key: Vec<u8>,
}

impl Addressed {
    /// Reads a message; nothing where it is none, or not for this certificate (DER), or not with PKCS#1 v1.5.
    pub(crate) fn read(message: &[u8], certificate: &[u8]) -> Option<Self> {
        let certificate = Certificate::from_der(certificate).ok()?;
        let sealed = Sealed::read(message, &certificate).ok()?;
        match sealed.transport {
            Transport::Pkcs1 => {
                let encrypted_key = sealed.recipient.enc_key.as_bytes().to_vec();
                Some(Self { message: message.to_vec(), certificate, encrypted_key })
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
        let sealed = Sealed::read(self.message.as_slice(), &self.certificate)?;
        if key.len() != key_len(sealed.algorithm) {
            return Err(ImportError::Undecryptable.into());
        }
        whole(sealed.decrypting(key.duplicate()?), self.message.len())
    }
}

impl<R: Read> Decrypting<R> {
    /// How many bytes of the file were read.
    pub(super) fn position(&self) -> u64 {
        self.ber.position()
    }

    /// Decrypts the next piece into `buffer`, which must have room for [`Self::ROOM`]; nothing at the end of the file.
    pub(super) fn next(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, CustodyError> {
        if matches!(self.content, Content::Over) && self.held.is_none() {
            return Ok(None);
        }
        let buffer =
            buffer.get_mut(..Self::ROOM).ok_or(CustodyError::Cryptography("a buffer is too small"))?;
        let mut filled = 0;
        if let Some(held) = self.held.take() {
            buffer.get_mut(..BLOCK).unwrap_or_default().copy_from_slice(&held);
            filled = BLOCK;
        }
        while let Some(room) = buffer.get_mut(filled..).filter(|room| !room.is_empty()) {
            match self.ciphertext(room).map_err(after_recipient)? {
                0 => break,
                read => filled += read,
            }
        }
        let is_last = filled < Self::ROOM;
        if is_last {
            self.end().map_err(after_recipient)?;
        }
        if filled == 0 || filled % BLOCK != 0 {
            return Err(ImportError::Undecryptable.into());
        }
        let ready = if is_last { filled } else { filled - BLOCK };
        let (piece, rest) = buffer.split_at_mut(ready);
        if !is_last {
            self.held = rest.first_chunk::<BLOCK>().copied();
        }
        self.decrypt(piece)?;
        let length = if is_last { unpadded(piece).ok_or(ImportError::Undecryptable)? } else { ready };
        Ok(Some(length))
    }

    /// The room that [`Self::next`] needs.
    pub(super) const ROOM: usize = PIECE + BLOCK;

    fn decrypt(&mut self, piece: &mut [u8]) -> Result<(), CustodyError> {
        let failed = |_| CustodyError::Cryptography("AES-CBC does not decrypt");
        let Some(last) = piece.last_chunk::<BLOCK>().copied() else { return Ok(()) };
        on_wiped_stack(|| {
            // The key schedule is built anew for each piece, so that the key rests in locked memory only.
            let key = UnboundCipherKey::new(self.algorithm, self.key.expose()).map_err(failed)?;
            let cipher = DecryptingKey::cbc(key).map_err(failed)?;
            let context = DecryptionContext::Iv128(FixedLength::from(self.previous));
            cipher.decrypt(piece, context).map(drop).map_err(failed)
        })?;
        self.previous = last;
        Ok(())
    }

    /// Reads ciphertext; 0 at its end.
    fn ciphertext(&mut self, room: &mut [u8]) -> Result<usize, BerError> {
        loop {
            match &mut self.content {
                Content::Over => return Ok(0),
                Content::Whole(0) => self.content = Content::Over,
                Content::Whole(left) => return take(&mut self.ber, left, room),
                Content::Parts { left, .. } if *left > 0 => return take(&mut self.ber, left, room),
                Content::Parts { left, depth } => {
                    if self.ber.at_end()? {
                        self.ber.leave()?;
                        if self.ber.depth() < *depth {
                            self.content = Content::Over;
                        }
                        continue;
                    }
                    let header = self.ber.header()?;
                    match (header.tag, header.length) {
                        (OCTETS, Some(length)) => *left = length,
                        (OCTETS_IN_PARTS, _) => self.ber.enter_read(header)?,
                        (_, _) => {
                            return Err(BerError::Malformed("the content has another part than octets"));
                        }
                    }
                }
            }
        }
    }

    /// What follows the content, to the end of the file.
    fn end(&mut self) -> Result<(), BerError> {
        self.ber.leave()?;
        if !self.ber.at_end()? {
            let attributes = self.ber.element(0)?;
            if attributes.tag != IMPLICIT_1_CONSTRUCTED {
                return Err(BerError::Malformed("something else than attributes follows the content"));
            }
        }
        for _ in 0..3 {
            self.ber.leave()?;
        }
        if self.ber.at_end()? { Ok(()) } else { Err(BerError::Malformed("something follows the message")) }
    }
}

fn take<R: Read>(ber: &mut Ber<R>, left: &mut u64, room: &mut [u8]) -> Result<usize, BerError> {
    let length = usize::try_from(*left).unwrap_or(usize::MAX).min(room.len());
    ber.fill(room.get_mut(..length).unwrap_or_default())?;
    *left -= length as u64;
    Ok(length)
}

/// The length without the padding of RFC 5652 §6.3, which has 1 to 16 bytes that all tell their number.
fn unpadded(piece: &[u8]) -> Option<usize> {
    let last = piece.last_chunk::<BLOCK>()?;
    let count = usize::from(*last.last()?);
    let is_padding = |(place, byte): (usize, &u8)| place + count < BLOCK || usize::from(*byte) == count;
    let fits = (1..=BLOCK).contains(&count)
        & last.iter().enumerate().map(is_padding).fold(true, |all, one| all & one);
    fits.then(|| piece.len() - count)
}

/// What is wrong before our recipient was found is told: everybody can see it.
fn structure(error: BerError) -> CustodyError {
    match error {
        BerError::Malformed(reason) => ImportError::NotEnvelopedData(reason).into(),
        BerError::Truncated => ImportError::NotEnvelopedData("it ends in the middle").into(),
        BerError::Read(error) => CustodyError::ImportFile(error),
    }
}

/// What is wrong afterwards gives one answer.
fn after_recipient(error: BerError) -> CustodyError {
    match error {
        BerError::Malformed(_) | BerError::Truncated => ImportError::Undecryptable.into(),
        BerError::Read(error) => CustodyError::ImportFile(error),
    }
}

/// A small element with this tag, in DER.
fn small<R: Read>(ber: &mut Ber<R>, tag: u8) -> Result<Vec<u8>, BerError> {
    let element = ber.element(MAXIMUM_SMALL)?;
    let bytes = element.bytes.ok_or(BerError::Malformed("a small element is large"))?;
    if element.tag == tag { Ok(bytes) } else { Err(BerError::Malformed("an element has another tag")) }
}

fn identifier<R: Read>(ber: &mut Ber<R>) -> Result<ObjectIdentifier, BerError> {
    ObjectIdentifier::from_der(&small(ber, 0x06)?)
        .map_err(|_| BerError::Malformed("an object identifier cannot be read"))
}

/// RFC 5652 §3 and §6.1 to the end of the recipients: the key transport recipient that names our certificate. Others are
/// passed over, and of many the first 64 are looked at.
fn recipient<R: Read>(
    ber: &mut Ber<R>,
    certificate: &Certificate,
) -> Result<Option<KeyTransRecipientInfo>, BerError> {
    ber.enter(SEQUENCE)?;
    if identifier(ber)? != ID_ENVELOPED_DATA {
        return Err(BerError::Malformed("its content has another type"));
    }
    ber.enter(EXPLICIT_0)?;
    ber.enter(SEQUENCE)?;
    small(ber, 0x02)?;
    if ber.peek()? == Some(EXPLICIT_0) {
        // OriginatorInfo, which key transport does not need.
        ber.element(0)?;
    }
    ber.enter(SET)?;
    let mut ours = None;
    for _ in 0..MAXIMUM_RECIPIENTS {
        if ber.at_end()? {
            ber.leave()?;
            return Ok(ours);
        }
        let element = ber.element(MAXIMUM_RECIPIENT)?;
        let (SEQUENCE, Some(bytes), None) = (element.tag, element.bytes, &ours) else { continue };
        let recipient = KeyTransRecipientInfo::from_der(&bytes)
            .map_err(|_| BerError::Malformed("a recipient cannot be read"))?;
        ours = Some(recipient).filter(|recipient| names(&recipient.rid, certificate));
    }
    Ok(None)
}

/// The content's type, and how it is encrypted.
fn content_info<R: Read>(ber: &mut Ber<R>) -> Result<(ObjectIdentifier, AlgorithmIdentifierOwned), BerError> {
    ber.enter(SEQUENCE)?;
    let content_type = identifier(ber)?;
    let algorithm = AlgorithmIdentifierOwned::from_der(&small(ber, SEQUENCE)?)
        .map_err(|_| BerError::Malformed("an algorithm cannot be read"))?;
    Ok((content_type, algorithm))
}

/// The beginning of the encrypted content.
fn content<R: Read>(ber: &mut Ber<R>) -> Result<Content, BerError> {
    let header = ber.header()?;
    match (header.tag, header.length) {
        (IMPLICIT_0, Some(length)) => Ok(Content::Whole(length)),
        (EXPLICIT_0, _) => {
            ber.enter_read(header)?;
            Ok(Content::Parts { left: 0, depth: ber.depth() })
        }
        (_, _) => Err(BerError::Malformed("there is no content")),
    }
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
    content_type: ObjectIdentifier,
    identifier: &AlgorithmIdentifierOwned,
) -> Result<(&'static Algorithm, [u8; BLOCK]), ImportError> {
    if content_type != ID_DATA {
        return Err(ImportError::Algorithm(content_type));
    }
    let unsupported = ImportError::Algorithm(identifier.oid);
    let algorithm = match identifier.oid {
        ID_AES_256_CBC => &AES_256,
        ID_AES_192_CBC => &AES_192,
        ID_AES_128_CBC => &AES_128,
        _ => return Err(unsupported),
    };
    let iv = identifier
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
