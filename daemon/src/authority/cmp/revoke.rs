//! rr and rp (RFC 9810 §5.3.9, §5.3.10): suspension, reactivation and revocation of one certificate.

use const_oid::AssociatedOid;
use crmf::request::CertTemplate;
use der::asn1::OctetString;
use der::{Decode, Encode};
use x509_cert::Certificate;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::CrlReason;

use super::enrol::{ACCEPTED, GRANTED_WITH_MODS, WAITING};
use super::{CmpClient, CmpError, RP, RR, Refusal, Sent, expect};
use crate::authority::message::{RevDetails, RevReply};

/// PKIStatus revocationNotification: it has been revoked.
const REVOKED: u8 = 5;

impl CmpClient<'_> {
    /// The message that changes a certificate's standing: `certificateHold` suspends, `removeFromCRL` reactivates, any
    /// other reason revokes.
    ///
    /// # Errors
    /// When the certificate cannot be read, nobody signs, or there is no memory or randomness.
    pub async fn revocation(
        &self,
        certificate: &[u8],
        reason: CrlReason,
        transaction: [u8; 16],
    ) -> Result<(Vec<u8>, Sent), CmpError> {
        let certificate = Certificate::from_der(certificate).map_err(CmpError::Request)?.tbs_certificate;
        let cert_details = CertTemplate {
            version: None,
            serial_number: Some(certificate.serial_number),
            signature: None,
            issuer: Some(certificate.issuer),
            validity: None,
            subject: None,
            subject_public_key_info: None,
            issuer_unique_id: None,
            subject_unique_id: None,
            extensions: None,
        };
        let reason = Extension {
            extn_id: CrlReason::OID,
            critical: false,
            extn_value: OctetString::new(reason.to_der()?)?,
        };
        let details = RevDetails { cert_details, crl_entry_details: Some(vec![reason]) };
        self.message((RR, RP), &vec![details].to_der()?, transaction, None).await
    }

    /// Reads the answer to [`CmpClient::revocation`].
    ///
    /// # Errors
    /// See [`CmpError`].
    pub fn read_revocation(&self, answer: &[u8], sent: &Sent) -> Result<(), CmpError> {
        let (_, answer) = self.read(answer, sent)?;
        let content = RevReply::from_der(expect(&answer.body, RP)?).map_err(CmpError::Malformed)?;
        let [status] = content.status.as_slice() else { return Err(CmpError::Unexpected) };
        match status.status {
            ACCEPTED | GRANTED_WITH_MODS | REVOKED => Ok(()),
            WAITING => Err(CmpError::Waiting(None)),
            _ => Err(CmpError::Refused(Refusal::new(status))),
        }
    }
}
