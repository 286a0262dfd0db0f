//! What clients may ask besides (RFC 4210 §5.3.19, RFC 9483 §4.3).

use cmpv2::r#gen::InfoTypeAndValue;
use const_oid::ObjectIdentifier;
use der::{Any, Decode, Encode};

use super::{BodyKind, Failure, Outcome};
use crate::authority::Authority;
use crate::issue::{IssueError, random};

/// id-it-currentCRL.
const CURRENT_CRL: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.4.6");
/// id-it-caCerts (RFC 9480 §2.14).
const CA_CERTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.4.17");

/// Gives out the certifier's certificate and its CRL; of other questions nothing is said.
pub(super) fn inform(authority: &Authority, content: &[u8]) -> Result<Outcome, Failure> {
    let asked = Vec::<InfoTypeAndValue>::from_der(content).map_err(IssueError::Malformed)?;
    let mut told = Vec::new();
    for (oid, value) in [
        (CA_CERTS, Some(vec![authority.ca_certificate().clone()].to_der()?)),
        (CURRENT_CRL, Some(authority.crl()?)),
    ] {
        if asked.iter().any(|asked| asked.oid == oid) {
            let value = value.map(|der| Any::from_der(&der)).transpose()?;
            told.push(InfoTypeAndValue { oid, value });
        }
    }
    let nonce = random::<16>()?.to_vec();
    Ok(Outcome { kind: BodyKind::Genp, body: told.to_der()?, nonce, implicit_confirm: false })
}
