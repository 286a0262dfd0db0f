//! User codes (§6.1.2): kept as a verifier only.
//!
//! The verifier is HMAC-SHA256 under a 256-bit key ("pepper") that is itself sealed, over the envelope's code, a
//! random salt and the user code: without the pepper, which the key file guards, nothing can be tried at all. When the
//! envelope is used, a memory-hard hash comes over it ([`super::user_code_hash`]).

use aws_lc_rs::{constant_time, hmac, rand};
use cns_secret::{Secret, on_wiped_stack};
use sha2::{Digest, Sha256};

use crate::custody::error::CustodyError;
use crate::custody::seal::{KEY_LEN, RecordName, Sealer, random_secret};
use crate::custody::user_code_hash::{harden, is_hardened};
use crate::database::{Database, now};

pub(super) const SALT_LEN: usize = 16;
const LABEL: &[u8; 32] = b"cnsd user code verifier, v1\0\0\0\0\0";
const BLOCK: usize = 64;
/// Salt and verifier of a holder whom nobody knows.
const NOBODY: [u8; SALT_LEN] = [0; SALT_LEN];
const NAME: &str = "user-code-pepper";
const RECORD: RecordName<'_> = RecordName { table: "daemon_secret", column: "sealed", key: NAME };

/// Makes and checks verifiers.
pub(super) struct UserCodes {
    pepper: Secret,
}

impl UserCodes {
    /// Opens the pepper; makes it at the first start.
    pub(super) async fn open(database: &Database, sealer: &Sealer) -> Result<Self, CustodyError> {
        let mut transaction = database.alone().await?;
        let row: Option<(Vec<u8>,)> = sqlx::query_as("SELECT sealed FROM daemon_secret WHERE name = $1")
            .bind(NAME)
            .fetch_optional(&mut *transaction)
            .await?;
        if let Some((sealed,)) = row {
            return Ok(Self { pepper: sealer.open(RECORD, &sealed)? });
        }
        let orphan: Option<(String,)> =
            sqlx::query_as("SELECT code FROM envelope LIMIT 1").fetch_optional(&mut *transaction).await?;
        if orphan.is_some() {
            return Err(CustodyError::Tampered { record: RECORD.to_string() });
        }
        let pepper = random_secret(KEY_LEN)?;
        sqlx::query("INSERT INTO daemon_secret (name, sealed, created_at) VALUES ($1, $2, $3)")
            .bind(NAME)
            .bind(sealer.seal(RECORD, &pepper)?)
            .bind(now())
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(Self { pepper })
    }

    /// A new salt and the verifier of `user_code` with it.
    pub(super) fn verifier(
        &self,
        envelope: &str,
        user_code: &[u8],
    ) -> Result<([u8; SALT_LEN], hmac::Tag), CustodyError> {
        let mut salt = [0; SALT_LEN];
        rand::fill(&mut salt).map_err(|_| CustodyError::Cryptography("no random numbers"))?;
        let tag = self.tag(envelope, &salt, user_code)?.ok_or(CustodyError::Invalid("the user code"))?;
        Ok((salt, tag))
    }

    /// Whether `user_code` is the one of the verifier, in constant time.
    pub(super) fn matches(
        &self,
        envelope: &str,
        salt: &[u8],
        verifier: &[u8],
        user_code: &[u8],
    ) -> Result<bool, CustodyError> {
        let Some(tag) = self.tag(envelope, salt, user_code)? else { return Ok(false) };
        if is_hardened(verifier) {
            let hashed = harden(salt, tag.as_ref())?;
            return Ok(constant_time::verify_slices_are_equal(&hashed, verifier).is_ok());
        }
        Ok(constant_time::verify_slices_are_equal(tag.as_ref(), verifier).is_ok())
    }

    /// As [`UserCodes::matches`], in one time whether there is somebody whose code it could be or not: envelope, salt and
    /// verifier.
    pub(super) fn judge(
        &self,
        known: Option<(&str, &Vec<u8>, &Vec<u8>)>,
        user_code: &[u8],
    ) -> Result<bool, CustodyError> {
        let (envelope, salt, verifier) = match known {
            Some((envelope, salt, verifier)) => (envelope, salt.as_slice(), verifier.as_slice()),
            None => ("", NOBODY.as_slice(), NOBODY.as_slice()),
        };
        let tag = self.tag(envelope, salt, user_code)?;
        let given = tag.as_ref().map_or(NOBODY.as_slice(), |tag| tag.as_ref());
        let hashed = harden(salt, given)?;
        // A verifier that is not hardened is one of an older program, and is judged as it is.
        let given = if is_hardened(verifier) { hashed.as_slice() } else { given };
        let equal = constant_time::verify_slices_are_equal(given, verifier).is_ok();
        Ok(equal && tag.is_some() && known.is_some())
    }

    /// HMAC over a codice fiscale, in hexadecimal.
    pub(super) fn holder_tag(&self, codice_fiscale: &str) -> Result<String, CustodyError> {
        let tag = self.tag("holder", &NOBODY, codice_fiscale.as_bytes())?;
        Ok(tag.map(|tag| hex::encode(tag.as_ref())).unwrap_or_default())
    }

    /// HMAC over what tells one household from another, in hexadecimal.
    pub(super) fn household_tag(&self, household: &str) -> Result<String, CustodyError> {
        let tag = self.tag("household", &NOBODY, &Sha256::digest(household.as_bytes()))?;
        Ok(tag.map(|tag| hex::encode(tag.as_ref())).unwrap_or_default())
    }

    /// HMAC over label (32 bytes), salt (16), envelope (16), and user code (63) with its length; each part is filled
    /// with zeros. Nothing where a part is too long.
    fn tag(&self, envelope: &str, salt: &[u8], user_code: &[u8]) -> Result<Option<hmac::Tag>, CustodyError> {
        // Two whole blocks in one piece: SHA-256 then works on them in place. What does not fill a block is copied
        // into the hash's own buffer, which is ordinary memory and is not wiped.
        let mut message = Secret::zeroed(2 * BLOCK)?;
        let (first, second) = message.expose_mut().split_at_mut(BLOCK);
        let (label, rest) = first.split_at_mut(LABEL.len());
        let (salt_part, envelope_part) = rest.split_at_mut(SALT_LEN);
        let (code_part, length) = second.split_at_mut(BLOCK - 1);
        label.copy_from_slice(LABEL);
        for (part, bytes) in [(salt_part, salt), (envelope_part, envelope.as_bytes()), (code_part, user_code)]
        {
            let Some(place) = part.get_mut(..bytes.len()) else { return Ok(None) };
            place.copy_from_slice(bytes);
        }
        length.fill(u8::try_from(user_code.len()).unwrap_or(u8::MAX));
        let sign = || hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, self.pepper.expose()), message.expose());
        Ok(Some(on_wiped_stack(sign)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verifier_fits_its_envelope_salt_and_code_only() {
        let new = || UserCodes { pepper: random_secret(KEY_LEN).unwrap() };
        let codes = new();
        let (salt, tag) = codes.verifier("123456782", b"0123456789").unwrap();
        let matches = |codes: &UserCodes, envelope: &str, salt: &[u8], user_code: &[u8]| {
            codes.matches(envelope, salt, tag.as_ref(), user_code).unwrap()
        };
        assert!(matches(&codes, "123456782", &salt, b"0123456789"));
        for wrong in
            [b"0123456788".as_slice(), b"0123456789\0", b"012345678", b"", &[b'0'; 64], &[b'0'; 9999]]
        {
            assert!(!matches(&codes, "123456782", &salt, wrong));
        }
        assert!(!matches(&codes, "999999998", &salt, b"0123456789"));
        assert!(!matches(&codes, "123456782", &[0; SALT_LEN], b"0123456789"));
        assert!(!matches(&codes, "123456782", &[0; 1000], b"0123456789"));
        assert!(!matches(&new(), "123456782", &salt, b"0123456789"));
        assert_ne!(codes.verifier("123456782", b"0123456789").unwrap().1.as_ref(), tag.as_ref());
        assert!(codes.verifier("123456782", &[b'0'; 64]).is_err());
    }

    /// The layout, computed by another implementation of HMAC.
    #[test]
    fn layout_is_as_documented() {
        let codes = UserCodes { pepper: Secret::copy_from(&[0x42; KEY_LEN]).unwrap() };
        let mut message = b"cnsd user code verifier, v1".to_vec();
        message.resize(32, 0);
        message.extend([7; SALT_LEN]);
        message.extend(b"123456782");
        message.resize(64, 0);
        message.extend(b"0123456789");
        message.resize(127, 0);
        message.push(10);
        let mut inner = vec![0x42 ^ 0x36; KEY_LEN];
        inner.resize(64, 0x36);
        inner.extend(message);
        let mut outer = vec![0x42 ^ 0x5C; KEY_LEN];
        outer.resize(64, 0x5C);
        outer.extend(Sha256::digest(inner));
        let tag = codes.tag("123456782", &[7; SALT_LEN], b"0123456789").unwrap().unwrap();
        assert_eq!(tag.as_ref(), Sha256::digest(outer).as_slice());
    }
}
