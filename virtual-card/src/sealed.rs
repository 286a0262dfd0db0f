//! Sealed import files: RFC 5652 EnvelopedData (AES-256-CBC, one RSA recipient) around JSON Lines.
//!
//! The content is built in locked memory of its final size, so that no secret digit is left in a buffer that
//! grew.

use std::io;
use std::path::Path;

use cms::builder::{
    ContentEncryptionAlgorithm, EnvelopedDataBuilder, KeyEncryptionInfo, KeyTransRecipientInfoBuilder,
};
use cms::cert::IssuerAndSerialNumber;
use cms::content_info::ContentInfo;
use cms::enveloped_data::{RecipientIdentifier, RecipientInfo, RecipientInfos};
use cns_secret::{Secret, SecretError};
use const_oid::db::rfc5911::ID_ENVELOPED_DATA;
use der::asn1::SetOfVec;
use der::{Any, AnyRef, Decode, DecodePem, Encode};
use rand_core::OsRng;
use rsa::RsaPublicKey;
use spki::SubjectPublicKeyInfoRef;
use x509_cert::Certificate;

/// What a sealed file is about: the `kind` of its first line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One line per card, with its PUK.
    Cards,
    /// One line per blind envelope, with PIN and user code.
    Envelopes,
}

impl Kind {
    fn header(self) -> &'static [u8] {
        match self {
            Self::Cards => b"{\"format\":\"cns-import\",\"version\":1,\"kind\":\"cards\"}\n",
            Self::Envelopes => b"{\"format\":\"cns-import\",\"version\":1,\"kind\":\"envelopes\"}\n",
        }
    }
}

/// Why nothing was sealed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The recipient's certificate cannot be read.
    #[error("read the import certificate: {0}")]
    Read(#[from] io::Error),
    /// The recipient's certificate, or the message, is not valid DER.
    #[error("import certificate or sealed message: {0}")]
    Der(#[from] der::Error),
    /// The recipient's key is not RSA.
    #[error("the import certificate does not hold an RSA key: {0}")]
    Key(#[from] spki::Error),
    /// The message could not be built.
    #[error("seal: {0}")]
    Build(cms::builder::Error),
    /// No locked memory.
    #[error(transparent)]
    Memory(#[from] SecretError),
    /// The content is longer than was announced.
    #[error("the content to seal is longer than announced")]
    TooLong,
}

/// The builder's error is not one of the standard library's.
impl From<cms::builder::Error> for SealError {
    fn from(error: cms::builder::Error) -> Self {
        Self::Build(error)
    }
}

/// The lines of a sealed file before sealing.
pub struct Content {
    buffer: Secret,
    used: usize,
}

impl Content {
    /// Room for the header of `kind` and `bytes` more.
    ///
    /// # Errors
    /// No locked memory.
    pub fn with_capacity(kind: Kind, bytes: usize) -> Result<Self, SealError> {
        let header = kind.header();
        let mut content = Self { buffer: Secret::zeroed(header.len() + bytes)?, used: 0 };
        content.push(header)?;
        Ok(content)
    }

    /// Appends `bytes` as they are.
    ///
    /// # Errors
    /// More than announced.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), SealError> {
        let end = self.used.checked_add(bytes.len()).ok_or(SealError::TooLong)?;
        let room = self.buffer.expose_mut().get_mut(self.used..end).ok_or(SealError::TooLong)?;
        room.copy_from_slice(bytes);
        self.used = end;
        Ok(())
    }

    /// Appends one JSON object whose values are digits and letters only; nothing is escaped.
    ///
    /// # Errors
    /// More than announced.
    pub fn push_object(&mut self, members: &[(&str, &[u8])]) -> Result<(), SealError> {
        for (index, (name, value)) in members.iter().enumerate() {
            self.push(if index == 0 { b"{\"" } else { b",\"" })?;
            self.push(name.as_bytes())?;
            self.push(b"\":\"")?;
            self.push(value)?;
            self.push(b"\"")?;
        }
        self.push(b"}\n")
    }

    fn bytes(&self) -> &[u8] {
        self.buffer.expose().get(..self.used).unwrap_or_default()
    }
}

/// Whom a file is sealed to: the daemon's import certificate.
pub struct Recipient {
    identifier: RecipientIdentifier,
    key: RsaPublicKey,
}

impl Recipient {
    /// Reads a certificate in PEM or DER.
    ///
    /// # Errors
    /// Unreadable, not a certificate, or not an RSA key.
    pub fn read(path: &Path) -> Result<Self, SealError> {
        let bytes = std::fs::read(path)?;
        let certificate = match bytes.first() {
            Some(0x30) => Certificate::from_der(&bytes)?,
            Some(_) | None => Certificate::from_pem(&bytes)?,
        };
        Self::from_certificate(&certificate)
    }

    /// The holder of `certificate`.
    ///
    /// # Errors
    /// Not an RSA key.
    pub fn from_certificate(certificate: &Certificate) -> Result<Self, SealError> {
        let info = certificate.tbs_certificate.subject_public_key_info.to_der()?;
        let key = RsaPublicKey::try_from(SubjectPublicKeyInfoRef::from_der(&info)?)?;
        let identifier = RecipientIdentifier::IssuerAndSerialNumber(IssuerAndSerialNumber {
            issuer: certificate.tbs_certificate.issuer.clone(),
            serial_number: certificate.tbs_certificate.serial_number.clone(),
        });
        Ok(Self { identifier, key })
    }

    /// Seals `content`; gives the DER of a ContentInfo.
    ///
    /// # Errors
    /// The message could not be built.
    pub fn seal(&self, content: &Content) -> Result<Vec<u8>, SealError> {
        let mut key_randomness = OsRng;
        let recipient = KeyTransRecipientInfoBuilder::new(
            self.identifier.clone(),
            KeyEncryptionInfo::Rsa(self.key.clone()),
            &mut key_randomness,
        )?;
        let algorithm = ContentEncryptionAlgorithm::Aes256Cbc;
        let mut builder = EnvelopedDataBuilder::new(None, content.bytes(), algorithm, None)?;
        builder.add_recipient_info(recipient)?;
        let mut enveloped = builder.build_with_rng(&mut OsRng)?;
        enveloped.recip_infos = with_null_parameters(&enveloped.recip_infos)?;
        let message = ContentInfo { content_type: ID_ENVELOPED_DATA, content: Any::encode_from(&enveloped)? };
        Ok(message.to_der()?)
    }
}

/// RFC 3370 §4.2.1 demands NULL parameters for rsaEncryption; the builder leaves them out.
fn with_null_parameters(recipients: &RecipientInfos) -> Result<RecipientInfos, der::Error> {
    let mut corrected = SetOfVec::new();
    for recipient in recipients.0.iter() {
        let mut recipient = recipient.clone();
        if let RecipientInfo::Ktri(transport) = &mut recipient {
            transport.key_enc_alg.parameters = Some(Any::from(AnyRef::NULL));
        }
        corrected.insert(recipient)?;
    }
    Ok(RecipientInfos(corrected))
}
