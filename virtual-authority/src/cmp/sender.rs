//! Who sent a message, by its protection, and what that sender may ask for.

use der::asn1::OctetString;
use der::{AnyRef, Decode, Encode};
use x509_cert::Certificate;
use x509_cert::ext::pkix::name::GeneralName;

use super::Failure;
use super::message::{Header, Message, Protected};
use super::protection::MacKind;
use super::refusal::{Refusal, Why};
use crate::authority::{Authority, may_protect, now};
use crate::issue::{Application, IssueError, verify_signature};
use crate::state::{Record, State};
use crate::status::Status;

/// Who sent a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sender {
    /// Whoever knows the shared secret: the registration authority's program.
    Secret(MacKind),
    /// A registration officer, who signs with a certificate that the certifier was told of.
    Officer,
    /// The holder of a certificate of this certifier, who signs with its key.
    Holder {
        /// That certificate's serial number.
        serial: String,
    },
}

impl Sender {
    /// The registration authority asks for everybody; a holder for another certificate of the same kind.
    pub(super) fn may_ask_for(&self, state: &State, application: &Application) -> Result<(), Refusal> {
        let Self::Holder { serial } = self else { return Ok(()) };
        let own = state.record(serial);
        if own.is_some_and(|own| own.is_of(application.profile(), &application.subject().to_string())) {
            Ok(())
        } else {
            let text = "a holder may ask only for a certificate of the same kind and name";
            Err(Refusal::new(Why::NotAuthorized, text))
        }
    }

    /// The registration authority changes the status of every certificate, a holder that of the certificate that
    /// protects the message.
    pub(super) fn may_change(&self, record: &Record) -> Result<(), Refusal> {
        match self {
            Self::Secret(_) | Self::Officer => Ok(()),
            Self::Holder { serial } if *serial == record.serial => Ok(()),
            Self::Holder { .. } => {
                Err(Refusal::new(Why::NotAuthorized, "a holder may only have the own certificate revoked"))
            }
        }
    }
}

/// Who sent this message: whoever protected it.
pub(super) fn identify(
    authority: &Authority,
    header: &Header,
    message: &Message<'_>,
) -> Result<Sender, Failure> {
    let kind = header.protection_alg.as_ref().map(|algorithm| (algorithm, MacKind::of(algorithm)));
    let (Some((algorithm, kind)), Some(protection)) = (kind, &message.protection) else {
        return Err(unprotected().into());
    };
    let protected = Protected { header: message.header, body: message.body }.to_der()?;
    if let Some(kind) = kind {
        // One text for a wrong name and a wrong secret.
        if header.sender_kid.as_ref().map(OctetString::as_bytes) != Some(authority.secret().reference()) {
            return Err(unprotected().into());
        }
        authority.secret().verify(algorithm, &protected, protection)?;
        return Ok(Sender::Secret(kind));
    }
    let (certificate, der) = signer(message)?;
    let tbs = &certificate.tbs_certificate;
    verify_signature(&tbs.subject_public_key_info, algorithm, &protected, protection).map_err(|error| {
        let why = if error == IssueError::NoProof { Why::BadAlg } else { Why::BadMessageCheck };
        Refusal::new(why, "the message is not signed with RSA and SHA-2 by the first of its extraCerts")
    })?;
    if header.sender != GeneralName::DirectoryName(tbs.subject.clone()) {
        let text = "the sender is not the subject of the certificate that protects the message";
        return Err(Refusal::new(Why::BadMessageCheck, text).into());
    }
    trust(authority, &certificate, &der)
}

fn unprotected() -> Refusal {
    Refusal::new(Why::BadMessageCheck, "the message is not protected with the shared secret")
}

/// The certificate that protects the message: the first beside it (RFC 9483 §3.3).
fn signer(message: &Message<'_>) -> Result<(Certificate, Vec<u8>), Refusal> {
    let missing = || Refusal::new(Why::BadMessageCheck, "no certificate came with the signed message");
    let extra = message.extra_certs.as_ref().ok_or_else(missing)?;
    let extra = extra.to_der().map_err(|_| missing())?;
    let extra = Vec::<AnyRef<'_>>::from_der(&extra).map_err(|_| missing())?;
    let der = extra.first().ok_or_else(missing)?.to_der().map_err(|_| missing())?;
    let certificate = Certificate::from_der(&der).map_err(|_| missing())?;
    Ok((certificate, der))
}

/// What the certificate that signed makes of its holder.
fn trust(authority: &Authority, certificate: &Certificate, der: &[u8]) -> Result<Sender, Failure> {
    let refused = |text: &str| Failure::from(Refusal::new(Why::SignerNotTrusted, text));
    let validity = certificate.tbs_certificate.validity;
    let (begin, end) = (validity.not_before.to_unix_duration(), validity.not_after.to_unix_duration());
    if !(begin.as_secs()..=end.as_secs()).contains(&now()) {
        return Err(refused("the certificate that protects the message is not valid now"));
    }
    if !may_protect(certificate) {
        return Err(refused("the certificate that protects the message does not allow digitalSignature"));
    }
    let serial = hex::encode(certificate.tbs_certificate.serial_number.as_bytes());
    let mut journal = authority.journal()?;
    let record = journal.lock()?;
    let own = record.state().record(&serial).filter(|record| record.certificate == der);
    if own.is_some_and(|own| own.status != Status::Valid) {
        return Err(refused("the certificate that protects the message is not in force"));
    }
    if authority.is_officer(der)? {
        Ok(Sender::Officer)
    } else if own.is_some() {
        Ok(Sender::Holder { serial })
    } else {
        Err(refused("nobody here knows the certificate that protects the message"))
    }
}
