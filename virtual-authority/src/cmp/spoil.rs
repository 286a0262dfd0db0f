//! Honest answers spoiled, for tests of clients: protected as they were, where the fault is another one.

use der::asn1::{BitString, OctetString};
use der::{Any, Decode, Encode};
use x509_cert::Certificate;
use x509_cert::certificate::TbsCertificate;
use x509_cert::name::Name;
use x509_cert::time::Validity;

use super::BodyKind;
use super::answer::Answer;
use super::message::{CertRepMessage, ErrorContent};
use super::refusal::{Refusal, Why};
use crate::authority::{Authority, now};
use crate::error::AuthorityError;
use crate::fault::FaultKind;
use crate::issue::{random, time};

const DAY: u64 = 24 * 3600;

impl Answer {
    /// The message with this fault, DER.
    pub(super) fn seal_spoiled(
        mut self,
        authority: &Authority,
        fault: FaultKind,
    ) -> Result<Vec<u8>, AuthorityError> {
        match fault {
            FaultKind::WrongNonce => self.header.recip_nonce = Some(OctetString::new(random::<16>()?)?),
            FaultKind::WrongTransaction => {
                self.header.transaction_id = Some(OctetString::new(random::<16>()?)?);
            }
            FaultKind::Unprotected => self.seal = None,
            FaultKind::UnprotectedError => {
                let refusal = Refusal::new(Why::BadRequest, "anybody can say this");
                let content =
                    ErrorContent { status: refusal.status()?, error_code: None, error_details: None };
                (self.kind, self.body, self.seal) = (BodyKind::Error, content.to_der()?, None);
            }
            FaultKind::WrongProtection => {
                // The time of the message is changed after it was protected.
                let mut message = self.seal(authority)?;
                if let Some(digit) =
                    message.windows(2).position(|it| it == b"Z\xa1").and_then(|at| at.checked_sub(1))
                    && let Some(digit) = message.get_mut(digit)
                {
                    *digit ^= 1;
                }
                return Ok(message);
            }
            FaultKind::OtherKey | FaultKind::OtherHolder | FaultKind::Expired | FaultKind::Forged => {
                self.spoil_certificate(authority, fault)?;
            }
            FaultKind::Hang
            | FaultKind::LoseRequest
            | FaultKind::LoseAnswer
            | FaultKind::Garbage
            | FaultKind::Truncated
            | FaultKind::Huge
            | FaultKind::Unavailable => {}
        }
        self.seal(authority)
    }

    fn spoil_certificate(&mut self, authority: &Authority, fault: FaultKind) -> Result<(), AuthorityError> {
        let mut content = CertRepMessage::from_der(&self.body)?;
        for pair in content.response.iter_mut().filter_map(|response| response.certified_key_pair.as_mut()) {
            let tbs = Certificate::from_der(&pair.certificate.to_der()?)?.tbs_certificate;
            pair.certificate = Any::from_der(&another(authority, tbs, fault)?.to_der()?)?;
        }
        self.body = content.to_der()?;
        Ok(())
    }
}

/// The certificate, but for one thing.
fn another(
    authority: &Authority,
    mut tbs: TbsCertificate,
    fault: FaultKind,
) -> Result<Certificate, AuthorityError> {
    let own = &authority.ca_certificate().tbs_certificate;
    if fault == FaultKind::OtherKey {
        tbs.subject_public_key_info = own.subject_public_key_info.clone();
    } else if fault == FaultKind::OtherHolder {
        tbs.subject = another_holder(&tbs.subject)?;
    } else if fault == FaultKind::Expired {
        tbs.validity = Validity {
            not_before: time(now().saturating_sub(2 * DAY))?,
            not_after: time(now().saturating_sub(DAY))?,
        };
    }
    let message = tbs.to_der()?;
    let mut signature = authority.ca().sign(&message)?;
    if let Some(last) = signature.last_mut().filter(|_| fault == FaultKind::Forged) {
        *last ^= 1;
    }
    Ok(Certificate {
        signature_algorithm: tbs.signature.clone(),
        tbs_certificate: tbs,
        signature: BitString::from_bytes(&signature)?,
    })
}

/// The name, with a codice fiscale of somebody else.
fn another_holder(name: &Name) -> Result<Name, AuthorityError> {
    const FISCAL_CODE: &[u8] = b"RSSMRA80A01H501U";
    const ANOTHER: &[u8] = b"BNCLRA85B42H501M";
    let mut name = name.clone();
    for rdn in &mut name.0 {
        let mut attributes = Vec::from(std::mem::take(&mut rdn.0));
        for attribute in &mut attributes {
            let mut value = attribute.value.value().to_vec();
            if let Some(at) = value.windows(FISCAL_CODE.len()).position(|it| it == FISCAL_CODE)
                && let Some(place) = value.get_mut(at..at.saturating_add(FISCAL_CODE.len()))
            {
                place.copy_from_slice(ANOTHER);
            }
            attribute.value = Any::new(der::Tagged::tag(&attribute.value), value)?;
        }
        rdn.0 = attributes.try_into()?;
    }
    Ok(name)
}
