//! PBMAC1 (RFC 8018 §7.1) with PBKDF2, as RFC 9481 §6.1.2 wants it in CMP and RFC 9579 in files.

use const_oid::ObjectIdentifier;
use der::asn1::OctetString;
use der::{Any, Decode, Encode, Sequence};
use pbkdf2::pbkdf2_hmac;
use sha1::Sha1;
use sha2::{Sha256, Sha384, Sha512};
use spki::AlgorithmIdentifierOwned;
use zeroize::Zeroizing;

use super::{HMAC_WITH_SHA_256, Hash, OWN_ITERATIONS, SALT_LIMIT, check_iterations};
use crate::cmp::refusal::{Refusal, Why};
use crate::error::AuthorityError;
use crate::issue::random;

/// id-PBMAC1.
pub(super) const OID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.5.14");
/// id-PBKDF2.
const PBKDF2: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.5.12");
/// RFC 9579 §9: keys shorter than 20 bytes are refused.
const KEY_LENGTHS: std::ops::RangeInclusive<u16> = 20..=64;
const OWN_KEY_LENGTH: u16 = 32;

/// PBMAC1-params.
#[derive(Sequence)]
struct Pbmac1Parameter {
    key_derivation_func: AlgorithmIdentifierOwned,
    message_auth_scheme: AlgorithmIdentifierOwned,
}

/// PBKDF2-params, with a salt that is told.
#[derive(Sequence)]
struct Pbkdf2Parameter {
    salt: OctetString,
    iteration_count: u64,
    key_length: Option<u16>,
    prf: Option<AlgorithmIdentifierOwned>,
}

/// The parameters of one PBMAC1.
pub(crate) struct Parameters {
    salt: Vec<u8>,
    iterations: u32,
    key_length: u16,
    prf: Hash,
    mac: Hash,
}

impl Parameters {
    pub(super) fn read(algorithm: &AlgorithmIdentifierOwned) -> Result<Self, Refusal> {
        let malformed = || Refusal::new(Why::BadDataFormat, "the parameters of PBMAC1 cannot be read");
        let unknown = || Refusal::new(Why::BadAlg, "PBMAC1 is accepted with PBKDF2 and HMAC only");
        let parameter = algorithm.parameters.as_ref().ok_or_else(malformed)?;
        let parameter: Pbmac1Parameter = parameter.decode_as().map_err(|_| malformed())?;
        if parameter.key_derivation_func.oid != PBKDF2 {
            return Err(unknown());
        }
        let derivation = parameter.key_derivation_func.parameters.as_ref().ok_or_else(malformed)?;
        let derivation: Pbkdf2Parameter = derivation.decode_as().map_err(|_| malformed())?;
        let iterations = check_iterations("PBMAC1", derivation.iteration_count)?;
        // RFC 9579 §9: PBMAC1 needs the length, since HMAC takes keys of any.
        let key_length = derivation.key_length.ok_or_else(malformed)?;
        if !KEY_LENGTHS.contains(&key_length) {
            let text = format!("PBMAC1 needs keys of {} to {} bytes", KEY_LENGTHS.start(), KEY_LENGTHS.end());
            return Err(Refusal::new(Why::BadAlg, text));
        }
        if derivation.salt.as_bytes().len() > SALT_LIMIT {
            return Err(malformed());
        }
        // RFC 8018 §A.2: HMAC with SHA-1, unless another function is named.
        let prf =
            derivation.prf.map_or(Some(Hash::Sha1), |prf| Hash::of_hmac(prf.oid)).ok_or_else(unknown)?;
        let mac = Hash::of_hmac(parameter.message_auth_scheme.oid).ok_or_else(unknown)?;
        Ok(Self { salt: derivation.salt.as_bytes().to_vec(), iterations, key_length, prf, mac })
    }

    pub(super) fn mac(&self, secret: &[u8], message: &[u8]) -> Vec<u8> {
        let mut key = Zeroizing::new(vec![0; usize::from(self.key_length)]);
        match self.prf {
            Hash::Sha1 => pbkdf2_hmac::<Sha1>(secret, &self.salt, self.iterations, &mut key),
            Hash::Sha256 => pbkdf2_hmac::<Sha256>(secret, &self.salt, self.iterations, &mut key),
            Hash::Sha384 => pbkdf2_hmac::<Sha384>(secret, &self.salt, self.iterations, &mut key),
            Hash::Sha512 => pbkdf2_hmac::<Sha512>(secret, &self.salt, self.iterations, &mut key),
        }
        self.mac.hmac(&key, message)
    }
}

/// Fresh parameters, as they are told and as they are.
pub(super) fn fresh() -> Result<(AlgorithmIdentifierOwned, Parameters), AuthorityError> {
    let salt = random::<16>()?;
    let hmac = || AlgorithmIdentifierOwned { oid: HMAC_WITH_SHA_256, parameters: Some(Any::null()) };
    let derivation = Pbkdf2Parameter {
        salt: OctetString::new(salt)?,
        iteration_count: u64::from(OWN_ITERATIONS),
        key_length: Some(OWN_KEY_LENGTH),
        prf: Some(hmac()),
    };
    let parameter = Pbmac1Parameter {
        key_derivation_func: AlgorithmIdentifierOwned {
            oid: PBKDF2,
            parameters: Some(Any::from_der(&derivation.to_der()?)?),
        },
        message_auth_scheme: hmac(),
    };
    let told = AlgorithmIdentifierOwned { oid: OID, parameters: Some(Any::from_der(&parameter.to_der()?)?) };
    let parameters = Parameters {
        salt: salt.to_vec(),
        iterations: OWN_ITERATIONS,
        key_length: OWN_KEY_LENGTH,
        prf: Hash::Sha256,
        mac: Hash::Sha256,
    };
    Ok((told, parameters))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;

    /// What `openssl` writes, in lower-case hexadecimal.
    fn openssl(arguments: &[&str], input: &[u8]) -> String {
        let mut child = Command::new("openssl")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{arguments:?}");
        String::from_utf8(output.stdout).unwrap().trim().replace(':', "").to_lowercase()
    }

    #[test]
    fn openssl_derives_the_same_key_and_code() {
        for (prf, mac, name) in [
            (Hash::Sha1, Hash::Sha256, ["SHA1", "SHA256"]),
            (Hash::Sha256, Hash::Sha384, ["SHA256", "SHA384"]),
            (Hash::Sha384, Hash::Sha512, ["SHA384", "SHA512"]),
            (Hash::Sha512, Hash::Sha1, ["SHA512", "SHA1"]),
        ] {
            let parameters =
                Parameters { salt: b"some salt".to_vec(), iterations: 1000, key_length: 40, prf, mac };
            let ours = hex::encode(parameters.mac(b"the secret", b"a message"));
            let digest = format!("digest:{}", name[0]);
            let derive = ["kdf", "-keylen", "40", "-kdfopt", &digest, "-kdfopt", "pass:the secret"];
            let rest = ["-kdfopt", "salt:some salt", "-kdfopt", "iter:1000", "PBKDF2"];
            let key = format!("hexkey:{}", openssl(&[&derive[..], &rest].concat(), b""));
            let code = ["mac", "-digest", name[1], "-macopt", &key, "-in", "/dev/stdin", "HMAC"];
            assert_eq!(openssl(&code, b"a message"), ours);
        }
    }

    #[test]
    fn parameters_read_back_and_bad_ones_are_refused() {
        let (told, ours) = fresh().unwrap();
        let read = Parameters::read(&told).unwrap();
        assert_eq!(read.mac(b"secret", b"message"), ours.mac(b"secret", b"message"));
        let whole: Pbmac1Parameter = told.parameters.as_ref().unwrap().decode_as().unwrap();
        let refused = |change: &dyn Fn(&mut Pbkdf2Parameter)| {
            let function = &whole.key_derivation_func;
            let mut derivation: Pbkdf2Parameter = function.parameters.as_ref().unwrap().decode_as().unwrap();
            change(&mut derivation);
            let parameter = Pbmac1Parameter {
                key_derivation_func: AlgorithmIdentifierOwned {
                    oid: PBKDF2,
                    parameters: Some(Any::from_der(&derivation.to_der().unwrap()).unwrap()),
                },
                message_auth_scheme: whole.message_auth_scheme.clone(),
            };
            let parameters = Some(Any::from_der(&parameter.to_der().unwrap()).unwrap());
            Parameters::read(&AlgorithmIdentifierOwned { oid: OID, parameters }).map(drop)
        };
        refused(&|_| {}).unwrap();
        // RFC 8018 §A.2: no function named is HMAC with SHA-1.
        refused(&|derivation| derivation.prf = None).unwrap();
        let why = |change: &dyn Fn(&mut Pbkdf2Parameter)| refused(change).unwrap_err().why;
        assert_eq!(why(&|derivation| derivation.iteration_count = 99), Why::BadAlg);
        assert_eq!(why(&|derivation| derivation.iteration_count = u64::MAX), Why::BadAlg);
        assert_eq!(why(&|derivation| derivation.key_length = None), Why::BadDataFormat);
        assert_eq!(why(&|derivation| derivation.key_length = Some(19)), Why::BadAlg);
        assert_eq!(why(&|derivation| derivation.key_length = Some(65)), Why::BadAlg);
        assert_eq!(
            why(&|derivation| derivation.salt = OctetString::new([0; 129]).unwrap()),
            Why::BadDataFormat
        );
        let unknown = AlgorithmIdentifierOwned { oid: OID, parameters: None };
        assert_eq!(Parameters::read(&unknown).map(drop).unwrap_err().why, Why::BadDataFormat);
    }
}
