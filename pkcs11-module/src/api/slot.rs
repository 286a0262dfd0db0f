//! Slot and token management (PKCS#11 v2.40 §5.5).

use std::thread;
use std::time::Duration;

use cns_protocol::pin::PinName;
use cns_protocol::reader::ReaderKind;
use cryptoki_sys as ck;
use cryptoki_sys::{
    CK_BBOOL, CK_FLAGS, CK_MECHANISM_INFO, CK_MECHANISM_TYPE, CK_SLOT_ID, CK_SLOT_INFO, CK_TOKEN_INFO,
    CK_ULONG, CK_VERSION,
};

use crate::api::general::LIBRARY;
use crate::daemon::Link;
use crate::error::Error;
use crate::ffi::buffer::{Asked, Out, Put};
use crate::ffi::template::UNAVAILABLE;
use crate::mechanism::{self, KeySizes};
use crate::state::{Module, Tables};
use crate::token::padded;

/// The PIN's length in digits.
pub(crate) const PIN_LENGTH: std::ops::RangeInclusive<usize> = 5..=8;

/// How long a waiting thread looks away from `C_Finalize`.
const GLANCE: Duration = Duration::from_secs(1);

const NO_VERSION: CK_VERSION = CK_VERSION { major: 0, minor: 0 };

/// `C_GetSlotList`. The readers are looked at when the application asks for their number; the list that it fetches
/// next is the one that was counted, so that a reader plugged in between does not break the second call.
pub(crate) fn get_slot_list(
    module: &Module,
    token_present: CK_BBOOL,
    mut list: Out<'_, CK_SLOT_ID>,
) -> Result<(), Error> {
    let counted = std::mem::take(&mut module.tables().counted);
    if !counted || list.is_question() {
        module.refresh()?;
    }
    let mut tables = module.tables();
    let wanted = |occupied: bool| occupied || token_present == ck::CK_FALSE;
    let ids: Vec<CK_SLOT_ID> =
        tables.slots().filter(|(_, slot)| wanted(slot.is_occupied())).map(|(id, _)| id).collect();
    if list.give(&ids)? == Asked::Length {
        tables.counted = true;
    }
    Ok(())
}

/// `C_GetSlotInfo`.
pub(crate) fn get_slot_info(
    module: &Module,
    id: CK_SLOT_ID,
    mut info: Put<'_, CK_SLOT_INFO>,
) -> Result<(), Error> {
    module.refresh()?;
    let tables = module.tables();
    let slot = tables.slot(id)?;
    let (manufacturer, hardware) = match slot.kind {
        Some(ReaderKind::Pcsc) => ("PC/SC", ck::CKF_HW_SLOT),
        Some(ReaderKind::Vpcd) => ("virtual (vpcd)", 0),
        None => ("", 0),
    };
    let present = if slot.is_occupied() { ck::CKF_TOKEN_PRESENT } else { 0 };
    info.put(CK_SLOT_INFO {
        slotDescription: padded(&slot.reader),
        manufacturerID: padded(manufacturer),
        flags: ck::CKF_REMOVABLE_DEVICE | hardware | present,
        hardwareVersion: NO_VERSION,
        firmwareVersion: NO_VERSION,
    });
    Ok(())
}

/// `C_GetTokenInfo`.
pub(crate) fn get_token_info(
    module: &Module,
    id: CK_SLOT_ID,
    mut info: Put<'_, CK_TOKEN_INFO>,
) -> Result<(), Error> {
    module.refresh()?;
    let mut tables = module.tables();
    let (sessions, read_write) = count_sessions(&mut tables, id);
    let slot = tables.slot_mut(id)?;
    let pin_pad = if slot.pin_pad { ck::CKF_PROTECTED_AUTHENTICATION_PATH } else { 0 };
    let token = slot.token_mut()?;
    let pin_flags = token.pin_flags();
    if pin_flags & ck::CKF_USER_PIN_FINAL_TRY != 0 {
        token.tries(PinName::Cns).last_told = true;
    }
    if pin_flags & ck::CKF_SO_PIN_FINAL_TRY != 0 {
        token.puk_tries.last_told = true;
    }
    info.put(CK_TOKEN_INFO {
        label: padded(&token.label()),
        manufacturerID: padded("Carta Nazionale dei Servizi"),
        model: padded(&token.card.generation),
        serialNumber: padded(&token.card.serial),
        flags: ck::CKF_RNG
            | ck::CKF_LOGIN_REQUIRED
            | ck::CKF_USER_PIN_INITIALIZED
            | ck::CKF_TOKEN_INITIALIZED
            | pin_flags
            | pin_pad,
        ulMaxSessionCount: ck::CK_EFFECTIVELY_INFINITE,
        ulSessionCount: sessions,
        ulMaxRwSessionCount: ck::CK_EFFECTIVELY_INFINITE,
        ulRwSessionCount: read_write,
        ulMaxPinLen: length(*PIN_LENGTH.end()),
        ulMinPinLen: length(*PIN_LENGTH.start()),
        ulTotalPublicMemory: UNAVAILABLE,
        ulFreePublicMemory: UNAVAILABLE,
        ulTotalPrivateMemory: UNAVAILABLE,
        ulFreePrivateMemory: UNAVAILABLE,
        hardwareVersion: NO_VERSION,
        firmwareVersion: LIBRARY,
        utcTime: padded(""),
    });
    Ok(())
}

/// `C_GetMechanismList`.
pub(crate) fn get_mechanism_list(
    module: &Module,
    id: CK_SLOT_ID,
    mut list: Out<'_, CK_MECHANISM_TYPE>,
) -> Result<(), Error> {
    module.refresh()?;
    module.tables().slot(id)?.token()?;
    list.give(&if module.is_counter() { mechanism::all_of_counter() } else { mechanism::all() })?;
    Ok(())
}

/// `C_GetMechanismInfo`.
pub(crate) fn get_mechanism_info(
    module: &Module,
    id: CK_SLOT_ID,
    kind: CK_MECHANISM_TYPE,
    mut info: Put<'_, CK_MECHANISM_INFO>,
) -> Result<(), Error> {
    module.refresh()?;
    let is_listed = kind != mechanism::GENERATING_ON_CARD.0 || module.is_counter();
    let tables = module.tables();
    let token = tables.slot(id)?.token()?;
    if !is_listed {
        return Err(Error::MechanismInvalid);
    }
    let (flags, sizes) = mechanism::flags(kind, &token.private_keys().collect::<Vec<_>>())?;
    let bits = token.card.certificates.iter().map(|certificate| CK_ULONG::from(certificate.key_bits));
    let (smallest, largest) = match sizes {
        KeySizes::OfCard => (bits.clone().min().unwrap_or(0), bits.max().unwrap_or(0)),
        KeySizes::Fixed(smallest, largest) => (smallest, largest),
    };
    info.put(CK_MECHANISM_INFO { ulMinKeySize: smallest, ulMaxKeySize: largest, flags });
    Ok(())
}

/// `C_WaitForSlotEvent`.
pub(crate) fn wait_for_slot_event(
    module: &Module,
    flags: CK_FLAGS,
    mut id: Put<'_, CK_SLOT_ID>,
    reserved: Reserved,
) -> Result<(), Error> {
    if reserved == Reserved::Used {
        return Err(Error::ArgumentsBad);
    }
    let mut turn = module.turn()?;
    module.refresh()?;
    // A connection of its own: the others must not wait for this one.
    let mut link = Link::new(module.socket());
    loop {
        if let Some(slot) = take_event(&mut module.tables()) {
            id.put(slot);
            return Ok(());
        }
        if flags & ck::CKF_DONT_BLOCK != 0 {
            return Err(Error::NoEvent);
        }
        let change = module.tables().change();
        drop(turn);
        if link.wait(change, GLANCE).is_err_and(|error| error.lost_connection()) {
            thread::sleep(GLANCE);
        }
        if module.is_closed() {
            return Err(Error::CryptokiNotInitialized);
        }
        turn = module.turn()?;
        module.refresh()?;
    }
}

/// Whether the application passed something where the standard wants nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reserved {
    Unused,
    Used,
}

fn take_event(tables: &mut Tables) -> Option<CK_SLOT_ID> {
    let (id, slot) = tables.slots().find(|(_, slot)| slot.event)?;
    slot.event = false;
    Some(id)
}

fn count_sessions(tables: &mut Tables, id: CK_SLOT_ID) -> (CK_ULONG, CK_ULONG) {
    tables.sessions_of(id).fold((0, 0), |(all, read_write), session| {
        (all.saturating_add(1), read_write.saturating_add(CK_ULONG::from(session.read_write)))
    })
}

fn length(length: usize) -> CK_ULONG {
    CK_ULONG::try_from(length).unwrap_or(UNAVAILABLE)
}
