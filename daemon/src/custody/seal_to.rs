//! RFC 5652 EnvelopedData to one RSA certificate: what only the holder of its key can open.

use aws_lc_rs::cipher::{AES_256, EncryptionContext, PaddedBlockEncryptingKey, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::rsa::{Pkcs1PublicEncryptingKey, PublicEncryptingKey};
use cms::cert::IssuerAndSerialNumber;
use cms::content_info::{CmsVersion, ContentInfo};
use cms::enveloped_data::{
    EncryptedContentInfo, EnvelopedData, KeyTransRecipientInfo, RecipientIdentifier, RecipientInfo,
    RecipientInfos,
};
use cns_secret::{Secret, on_wiped_stack};
use const_oid::db::rfc5911::{ID_AES_256_CBC, ID_DATA, ID_ENVELOPED_DATA};
use const_oid::db::rfc5912::RSA_ENCRYPTION;
use der::asn1::{Null, OctetString, SetOfVec};
use der::{Any, Encode};
use spki::AlgorithmIdentifierOwned;
use x509_cert::Certificate;

use crate::custody::error::CustodyError;
use crate::custody::seal::random_secret;

const BLOCK: usize = 16;
const KEY_LEN: usize = 32;

/// A secret that is padded in its own locked memory.
struct Padded {
    secret: Secret,
    length: usize,
}

impl AsMut<[u8]> for Padded {
    fn as_mut(&mut self) -> &mut [u8] {
        let length = self.length;
        self.secret.expose_mut().get_mut(..length).unwrap_or_default()
    }
}

impl<'a> Extend<&'a u8> for Padded {
    fn extend<I: IntoIterator<Item = &'a u8>>(&mut self, bytes: I) {
        for (place, byte) in self.secret.expose_mut().iter_mut().skip(self.length).zip(bytes) {
            *place = *byte;
            self.length = self.length.saturating_add(1);
        }
    }
}

/// Encrypts `content` to the certificate's key: AES-256-CBC, RSA with PKCS#1 v1.5 (which a card can take off). The card that
/// opens it is named by issuer and serial number.
pub(crate) fn seal_to(certificate: &Certificate, content: &Secret) -> Result<Vec<u8>, CustodyError> {
    let failed = |_| CustodyError::Cryptography("nothing could be encrypted to the certificate");
    let key = random_secret(KEY_LEN)?;
    let iv = random_secret(BLOCK)?;
    let iv: [u8; BLOCK] =
        iv.expose().try_into().map_err(|_| CustodyError::Cryptography("an IV has 16 bytes"))?;
    let mut padded = Padded { secret: Secret::zeroed(content.len().saturating_add(BLOCK))?, length: 0 };
    padded.extend(content.expose());
    let context = EncryptionContext::Iv128(FixedLength::from(iv));
    on_wiped_stack(|| {
        let unbound = UnboundCipherKey::new(&AES_256, key.expose())?;
        PaddedBlockEncryptingKey::cbc_pkcs7(unbound)?.less_safe_encrypt(&mut padded, context).map(drop)
    })
    .map_err(failed)?;
    let spki = certificate.tbs_certificate.subject_public_key_info.to_der()?;
    let public = PublicEncryptingKey::from_der(&spki)
        .map_err(|_| CustodyError::Cryptography("the certificate's key is not an RSA key"))?;
    let public = Pkcs1PublicEncryptingKey::new(public).map_err(failed)?;
    let mut encrypted = vec![0; public.ciphertext_size()];
    let encrypted = public.encrypt(key.expose(), &mut encrypted).map_err(failed)?;
    Ok(message(certificate, encrypted, iv, padded.as_mut())?)
}

fn message(
    certificate: &Certificate,
    encrypted_key: &[u8],
    iv: [u8; BLOCK],
    ciphertext: &[u8],
) -> der::Result<Vec<u8>> {
    let named = &certificate.tbs_certificate;
    let recipient = KeyTransRecipientInfo {
        version: CmsVersion::V0,
        rid: RecipientIdentifier::IssuerAndSerialNumber(IssuerAndSerialNumber {
            issuer: named.issuer.clone(),
            serial_number: named.serial_number.clone(),
        }),
        key_enc_alg: AlgorithmIdentifierOwned {
            oid: RSA_ENCRYPTION,
            parameters: Some(Any::encode_from(&Null)?),
        },
        enc_key: OctetString::new(encrypted_key)?,
    };
    let content_enc_alg = AlgorithmIdentifierOwned {
        oid: ID_AES_256_CBC,
        parameters: Some(Any::encode_from(&OctetString::new(iv)?)?),
    };
    let enveloped = EnvelopedData {
        version: CmsVersion::V0,
        originator_info: None,
        recip_infos: RecipientInfos(SetOfVec::try_from(vec![RecipientInfo::Ktri(recipient)])?),
        encrypted_content: EncryptedContentInfo {
            content_type: ID_DATA,
            content_enc_alg,
            encrypted_content: Some(OctetString::new(ciphertext)?),
        },
        unprotected_attrs: None,
    };
    ContentInfo { content_type: ID_ENVELOPED_DATA, content: Any::encode_from(&enveloped)? }.to_der()
}
