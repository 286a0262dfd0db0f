//! PasswordBasedMac (RFC 4210 §5.1.3.1, RFC 4211 §4.4).

use cmpv2::parameter::PbmParameter;
use const_oid::ObjectIdentifier;
use const_oid::db::rfc5912::{ID_SHA_1, ID_SHA_256};
use der::asn1::OctetString;
use der::{Any, Decode, Encode};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use spki::AlgorithmIdentifierOwned;
use zeroize::{Zeroize, Zeroizing};

use super::{HMAC_WITH_SHA_256, Hash, OWN_ITERATIONS, SALT_LIMIT, check_iterations};
use crate::cmp::refusal::{Refusal, Why};
use crate::error::AuthorityError;
use crate::issue::random;

/// id-PasswordBasedMac.
pub(super) const OID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113533.7.66.13");

/// The one-way functions that turn the secret into a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OneWay {
    Sha1,
    Sha256,
}

/// The parameters of one PasswordBasedMac.
pub(crate) struct Parameters {
    salt: Vec<u8>,
    owf: OneWay,
    iterations: u32,
    mac: Hash,
}

impl Parameters {
    pub(super) fn read(algorithm: &AlgorithmIdentifierOwned) -> Result<Self, Refusal> {
        let malformed =
            || Refusal::new(Why::BadDataFormat, "the parameters of PasswordBasedMac cannot be read");
        let parameter = algorithm.parameters.as_ref().ok_or_else(malformed)?;
        let parameter: PbmParameter = parameter.decode_as().map_err(|_| malformed())?;
        let iterations = check_iterations("PasswordBasedMac", parameter.iteration_count)?;
        if parameter.salt.as_bytes().len() > SALT_LIMIT {
            return Err(malformed());
        }
        let unknown =
            || Refusal::new(Why::BadAlg, "PasswordBasedMac is accepted with SHA-1 and SHA-256 only");
        let owf = match parameter.owf.oid {
            ID_SHA_1 => OneWay::Sha1,
            ID_SHA_256 => OneWay::Sha256,
            _ => return Err(unknown()),
        };
        let mac = Hash::of_hmac(parameter.mac.oid)
            .filter(|hash| matches!(hash, Hash::Sha1 | Hash::Sha256))
            .ok_or_else(unknown)?;
        Ok(Self { salt: parameter.salt.as_bytes().to_vec(), owf, iterations, mac })
    }

    pub(super) fn mac(&self, secret: &[u8], message: &[u8]) -> Vec<u8> {
        let key = match self.owf {
            OneWay::Sha1 => self.stretch::<Sha1>(secret),
            OneWay::Sha256 => self.stretch::<Sha256>(secret),
        };
        self.mac.hmac(&key, message)
    }

    /// The one-way function, applied again and again to secret and salt.
    fn stretch<D: Digest>(&self, secret: &[u8]) -> Zeroizing<Vec<u8>> {
        let mut key =
            Zeroizing::new(D::new().chain_update(secret).chain_update(&self.salt).finalize().to_vec());
        for _ in 1..self.iterations {
            let mut next = D::digest(key.as_slice());
            key.copy_from_slice(&next);
            next.as_mut_slice().zeroize();
        }
        key
    }
}

/// Fresh parameters, as they are told and as they are.
pub(super) fn fresh() -> Result<(AlgorithmIdentifierOwned, Parameters), AuthorityError> {
    let salt = random::<16>()?;
    let algorithm = |oid| AlgorithmIdentifierOwned { oid, parameters: None };
    let parameter = PbmParameter {
        salt: OctetString::new(salt)?,
        owf: algorithm(ID_SHA_256),
        iteration_count: u64::from(OWN_ITERATIONS),
        mac: algorithm(HMAC_WITH_SHA_256),
    };
    let told = AlgorithmIdentifierOwned { oid: OID, parameters: Some(Any::from_der(&parameter.to_der()?)?) };
    let parameters = Parameters {
        salt: salt.to_vec(),
        owf: OneWay::Sha256,
        iterations: OWN_ITERATIONS,
        mac: Hash::Sha256,
    };
    Ok((told, parameters))
}
