//! How a signature area stands.

use cns_apdu::access::{Condition, DfOperation};
use cns_apdu::command::{ReadRecord, RecordSelector};
use cns_apdu::file_map::{FileKind, SIGNATURE_DF};
use cns_apdu::object::ObjectId;
use cns_apdu::public_key::PublicKey;
use cns_apdu::secure_messaging::{Conditions, DF_CREATE, DF_OBJECTS, FILE_ADMIN};
use cns_apdu::signature_area::{LOCKED_KEY_DF_ACCESS, LOCKED_SIGNATURE_DF_ACCESS, Slot};
use cns_apdu::{Status, StatusWord};

use super::super::chip::ALL_AT_ONCE;
use super::super::contents::{FIRST_PIECE, der_length, parse};
use super::super::{CardError, CardSession};

/// How far an area has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// There is no place for a key. A PIN and PUK of an interrupted run may be there.
    Absent,
    /// There is a place for a key, and no key yet.
    Prepared,
    /// There is a key, and no certificate that can be read.
    Key,
    /// There are key and certificate.
    Certificate,
}

/// How an area stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AreaState {
    /// How far it has come.
    pub stage: Stage,
    /// Whether key and codes are locked: nobody can replace them any more.
    pub locked: bool,
    /// Whether its codes are, with a key or without one.
    pub codes_locked: bool,
    /// The public key on the chip, from [`Stage::Key`] on. Only [`super::generate_key`] judges whether it is good.
    pub public_key: Option<PublicKey>,
    /// The certificate, DER, in [`Stage::Certificate`].
    pub certificate: Option<Vec<u8>>,
    /// Why the card does not let its holder make an area, if it does not.
    pub forbidden: Option<&'static str>,
}

/// Looks at the area, in the slot that is in use; needs no PIN and changes nothing. Three to eight commands.
///
/// # Errors
/// [`CardError::AreaForbidden`] when this generation of cards has no place for one, or what the reader says.
pub fn inspect(session: &mut CardSession<'_>) -> Result<AreaState, CardError> {
    let slot = super::current(session);
    inspect_slot(session, slot)
}

/// As [`inspect`], in either slot.
pub(super) fn inspect_slot(session: &mut CardSession<'_>, slot: Slot) -> Result<AreaState, CardError> {
    let place = super::place(session, slot)?;
    session.chip().enter(place.application)?;
    let mut state = AreaState {
        stage: Stage::Absent,
        locked: false,
        codes_locked: false,
        public_key: None,
        certificate: None,
        forbidden: None,
    };
    let Some(area) = session.chip().inspect(&SIGNATURE_DF)? else {
        state.forbidden = Some("the card has no place for signatures (DF 1400)");
        return Ok(state);
    };
    if let Some(access) = area.access {
        state.codes_locked = access == LOCKED_SIGNATURE_DF_ACCESS;
        let by_holder = [DfOperation::AppendObjects, DfOperation::UpdateObjects, DfOperation::Create]
            .iter()
            .all(|operation| matches!(access.df(*operation), Condition::Always | HOLDER));
        if !by_holder && !state.codes_locked {
            state.forbidden =
                Some("the issuer alone may create in the card's place for signatures (DF 1400)");
        }
    }
    if let Some(conditions) = &area.secure_messaging {
        let conditions = Conditions(conditions);
        let places = [DF_OBJECTS, DF_CREATE, FILE_ADMIN];
        if places.into_iter().any(|place| !conditions.at(place).are_none()) {
            state.forbidden = Some("it demands secure messaging with keys of the issuer");
        }
    }
    let Some(key_df) = session.chip().inspect(&place.key_df)? else {
        return Ok(state);
    };
    state.stage = Stage::Prepared;
    state.locked = state.codes_locked && key_df.access == Some(LOCKED_KEY_DF_ACCESS);
    state.public_key = read_public_key(session, slot)?;
    if state.public_key.is_none() {
        return Ok(state);
    }
    state.stage = Stage::Key;
    let content = session.chip().read_file(&place.certificate.path, FIRST_PIECE, der_length)?;
    if let Some(certificate) = content.as_deref().and_then(parse) {
        state.stage = Stage::Certificate;
        state.certificate = Some(certificate.der);
    }
    Ok(state)
}

const HOLDER: Condition = Condition::Verified(ObjectId::CNS_PIN);

/// The public key in its file; nothing when the file is absent or not filled yet.
pub(super) fn read_public_key(
    session: &mut CardSession<'_>,
    slot: Slot,
) -> Result<Option<PublicKey>, CardError> {
    let Some(file) = session.chip().inspect(&slot.public_key_path())? else {
        return Ok(None);
    };
    if file.descriptor.and_then(|descriptor| descriptor.kind()) == Some(FileKind::LinearTlv) {
        return read_records(session);
    }
    let template = |content: &[u8]| match content {
        [0x7F, 0x49, 0x82, high, low, ..] => Some(5 + usize::from(u16::from_be_bytes([*high, *low]))),
        [0x7F, 0x49, 0x81, length, ..] => Some(4 + usize::from(*length)),
        _ => None,
    };
    let content = session.chip().read_current(ALL_AT_ONCE, template)?;
    Ok(PublicKey::decode(&content).ok())
}

fn read_records(session: &mut CardSession<'_>) -> Result<Option<PublicKey>, CardError> {
    let mut records = [Vec::new(), Vec::new()];
    for (number, record) in (1..).zip(&mut records) {
        match session.run(&ReadRecord { record: RecordSelector::Number(number), length: 256 }) {
            Ok(content) => *record = content,
            Err(error) if error.status().map(StatusWord::meaning) == Some(Status::RecordNotFound) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        }
    }
    let [modulus, exponent] = &records;
    Ok(PublicKey::decode_records(modulus, exponent).ok())
}
