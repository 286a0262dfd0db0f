//! What a program of the counter makes on the card (PKCS#11 v3.2 §5.7 `C_CreateObject`, §5.18 `C_GenerateKeyPair`): the
//! signature key, and its certificate.
//!
//! The daemon does both, as the step of a procedure that knows the holder (§9.1.3), and judges who asks: the process must
//! be of a Unix user with the counter's role, whose operator is at work and has opened a procedure for this card
//! and answered its steps up to this one. To everybody else the token is write-protected.

use cns_protocol::ErrorKind;
use cns_protocol::key_pair::{GenerateKey, LoadCertificate};
use cryptoki_sys as ck;
use cryptoki_sys::{CK_OBJECT_HANDLE, CK_SESSION_HANDLE};

use crate::daemon::CallError;
use crate::error::Error;
use crate::ffi::buffer::Put;
use crate::ffi::template::{Mechanism, Template};
use crate::object;
use crate::state::{Module, Place, lock};

/// What the daemon's refusals mean here, where that differs from other work.
const REFUSALS: [(ErrorKind, Error); 10] = [
    (ErrorKind::Forbidden, Error::TokenWriteProtected),
    // A daemon that does not know of this yet.
    (ErrorKind::MethodNotFound, Error::TokenWriteProtected),
    // Without an open procedure at this step the card is to be left alone.
    (ErrorKind::NoSuchProcedure, Error::TokenWriteProtected),
    (ErrorKind::WrongStep, Error::TokenWriteProtected),
    (ErrorKind::RuleRefuses, Error::TokenWriteProtected),
    (ErrorKind::SignatureAreaRefused, Error::TokenWriteProtected),
    (ErrorKind::OperatorRefused, Error::TokenWriteProtected),
    // "…or an appropriate user": the operator.
    (ErrorKind::NoOperator, Error::UserNotLoggedIn),
    (ErrorKind::AuthorityFailed, Error::FunctionNotSupported),
    (ErrorKind::CertificateRefused, Error::AttributeValueInvalid),
];

/// `C_GenerateKeyPair`. Repeated before the certificate is there, it gives the same pair again.
pub(crate) fn generate_key_pair(
    module: &Module,
    session: CK_SESSION_HANDLE,
    mechanism: Mechanism<'_>,
    public: Template<'_>,
    private: Template<'_>,
    mut public_key: Put<'_, CK_OBJECT_HANDLE>,
    mut private_key: Put<'_, CK_OBJECT_HANDLE>,
) -> Result<(), Error> {
    let read_write = module.tables().session(session)?.read_write;
    if mechanism.kind() != ck::CKM_RSA_PKCS_KEY_PAIR_GEN {
        return Err(Error::MechanismInvalid);
    }
    if !mechanism.parameter().is_empty() {
        return Err(Error::MechanismParamInvalid);
    }
    let key_bits = object::judge_key_pair(&public, &private)?;
    let place = place(module, session, read_write)?;
    let request = GenerateKey { reader: place.reader.clone(), insertion: Some(place.insertion), key_bits };
    let answer = lock(&place.link).work(&request);
    let pair = answer.map_err(|error| refused(module, &place, error))?;
    let mut tables = module.tables();
    let objects =
        object::key_pair_objects(&tables.token_at(&place)?.card, &pair).ok_or(Error::DeviceError)?;
    let [public, private] = tables.take_key_pair(&place, objects)?;
    public_key.put(public);
    private_key.put(private);
    Ok(())
}

/// `C_CreateObject` of a certificate: that of the key that [`generate_key_pair`] made.
pub(crate) fn load_certificate(
    module: &Module,
    session: CK_SESSION_HANDLE,
    template: &Template<'_>,
    mut object: Put<'_, CK_OBJECT_HANDLE>,
) -> Result<(), Error> {
    let (read_write, certificate) = {
        let tables = module.tables();
        let read_write = tables.session(session)?.read_write;
        (read_write, object::read_certificate(&tables.token_of(session)?.card, template)?)
    };
    let place = place(module, session, read_write)?;
    let request = LoadCertificate {
        reader: place.reader.clone(),
        insertion: Some(place.insertion),
        certificate: certificate.to_vec(),
    };
    let answer = lock(&place.link).work(&request);
    answer.map_err(|error| refused(module, &place, error))?;
    // The card was read again.
    module.refresh()?;
    let mut tables = module.tables();
    let token = tables.token_at(&place)?;
    let is_it = |object: &object::Object| object.value(ck::CKA_VALUE) == Ok(certificate);
    let loaded = token.visible().find(|(_, object)| is_it(object)).map(|(handle, _)| handle);
    object.put(loaded.ok_or(Error::DeviceError)?);
    Ok(())
}

/// The card to be written to.
fn place(module: &Module, session: CK_SESSION_HANDLE, read_write: bool) -> Result<Place, Error> {
    if !read_write {
        return Err(Error::SessionReadOnly);
    }
    module.refresh_session(session)?;
    module.tables().place_of(session)
}

fn refused(module: &Module, place: &Place, error: CallError) -> Error {
    if let CallError::Refused(refusal) = &error
        && let Some((_, error)) = REFUSALS.iter().find(|(kind, _)| *kind == refusal.kind)
    {
        return *error;
    }
    module.failed(place, error)
}
