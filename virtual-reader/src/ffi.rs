//! The border to pcscd: `IFDHandler` 3.0 of pcsc-lite (`ifdhandler.h`). The only place with pointers, and with `unsafe`.
#![allow(unsafe_code, reason = "the border to C")]
#![allow(unreachable_pub, reason = "exported to pcscd by name")]

use std::collections::BTreeMap;
use std::ffi::{CStr, OsStr, c_char, c_long, c_uchar, c_ulong};
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::slice;
use std::sync::{Arc, Mutex, PoisonError};

use crate::reader::{Failure, Reader};

const TAG_IFD_SIMULTANEOUS_ACCESS: c_ulong = 0x0FAF;
const TAG_IFD_SLOTS_NUMBER: c_ulong = 0x0FAE;

const IFD_POWER_UP: c_ulong = 500;
const IFD_POWER_DOWN: c_ulong = 501;
const IFD_RESET: c_ulong = 502;

const IFD_SUCCESS: c_long = 0;
const IFD_ERROR_TAG: c_long = 600;
const IFD_ERROR_POWER_ACTION: c_long = 608;
const IFD_COMMUNICATION_ERROR: c_long = 612;
const IFD_NOT_SUPPORTED: c_long = 614;
const IFD_ICC_PRESENT: c_long = 615;
const IFD_ICC_NOT_PRESENT: c_long = 616;
const IFD_NO_SUCH_DEVICE: c_long = 617;
const IFD_ERROR_INSUFFICIENT_BUFFER: c_long = 618;

/// Readers that one copy of this driver serves.
const READERS: u8 = 16;

/// `SCARD_IO_HEADER`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct IoHeader {
    protocol: c_ulong,
    length: c_ulong,
}

/// The readers that pcscd opened, by its numbers.
static OPEN: Mutex<BTreeMap<c_ulong, Arc<Mutex<Reader>>>> = Mutex::new(BTreeMap::new());

fn guard(body: impl FnOnce() -> Result<(), c_long>) -> c_long {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => IFD_SUCCESS,
        Ok(Err(code)) => code,
        Err(_) => IFD_COMMUNICATION_ERROR,
    }
}

fn with_reader<T>(lun: c_ulong, work: impl FnOnce(&mut Reader) -> Result<T, c_long>) -> Result<T, c_long> {
    let open = OPEN.lock().unwrap_or_else(PoisonError::into_inner).get(&lun).cloned();
    let reader = open.ok_or(IFD_NO_SUCH_DEVICE)?;
    let mut reader = reader.lock().unwrap_or_else(PoisonError::into_inner);
    work(&mut reader)
}

fn code(failure: &Failure) -> c_long {
    match failure {
        Failure::NoCard => IFD_ICC_NOT_PRESENT,
        Failure::NotSupported => IFD_NOT_SUPPORTED,
        Failure::Failed => IFD_COMMUNICATION_ERROR,
    }
}

/// The bytes that pcscd passes.
///
/// # Safety
/// The pointer is null, or valid for reading so many bytes for as long as the result lives.
unsafe fn bytes<'a>(pointer: *const c_uchar, length: c_ulong) -> &'a [u8] {
    match usize::try_from(length) {
        // SAFETY: not null, and as the caller promises.
        Ok(length) if !pointer.is_null() => unsafe { slice::from_raw_parts(pointer, length) },
        Ok(_) | Err(_) => &[],
    }
}

/// Gives bytes to pcscd: into `place`, which has room for `room`, and their number into `length`.
///
/// # Safety
/// Each pointer is null or valid for writing, `place` for `room` bytes.
unsafe fn give(place: *mut c_uchar, room: c_ulong, length: *mut c_ulong, bytes: &[u8]) -> Result<(), c_long> {
    let room = usize::try_from(room).map_err(|_| IFD_COMMUNICATION_ERROR)?;
    let count = c_ulong::try_from(bytes.len()).map_err(|_| IFD_COMMUNICATION_ERROR)?;
    if length.is_null() || (place.is_null() && !bytes.is_empty()) {
        return Err(IFD_COMMUNICATION_ERROR);
    }
    if bytes.len() > room {
        return Err(IFD_ERROR_INSUFFICIENT_BUFFER);
    }
    if !bytes.is_empty() {
        // SAFETY: not null, with room for these bytes, which are this program's own and do not overlap with it.
        unsafe { place.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    }
    // SAFETY: not null, and valid for writing as the caller promises.
    unsafe { length.write(count) };
    Ok(())
}

/// The number behind a pointer, 0 where there is none.
///
/// # Safety
/// The pointer is null or valid for reading.
unsafe fn room_at(length: *const c_ulong) -> c_ulong {
    // SAFETY: as the caller promises.
    unsafe { length.as_ref() }.copied().unwrap_or(0)
}

/// Opens the reader of a folder.
///
/// # Safety
/// `name` is null or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn IFDHCreateChannelByName(lun: c_ulong, name: *const c_char) -> c_long {
    guard(|| {
        if name.is_null() {
            return Err(IFD_COMMUNICATION_ERROR);
        }
        // SAFETY: not null, and a C string as pcscd promises.
        let name = unsafe { CStr::from_ptr(name) };
        let folder = Path::new(OsStr::from_bytes(name.to_bytes()));
        let reader = Reader::open(folder).map_err(|_| IFD_COMMUNICATION_ERROR)?;
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        open.insert(lun, Arc::new(Mutex::new(reader)));
        Ok(())
    })
}

/// Opens a reader by number: these have names only.
#[unsafe(no_mangle)]
pub extern "C" fn IFDHCreateChannel(_lun: c_ulong, _channel: c_ulong) -> c_long {
    IFD_NO_SUCH_DEVICE
}

/// Closes a reader.
#[unsafe(no_mangle)]
pub extern "C" fn IFDHCloseChannel(lun: c_ulong) -> c_long {
    guard(|| {
        OPEN.lock().unwrap_or_else(PoisonError::into_inner).remove(&lun);
        Ok(())
    })
}

/// Tells what the driver can do.
///
/// # Safety
/// `length` is null or valid for reading and writing, `value` is null or has room for as many bytes as it says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn IFDHGetCapabilities(
    _lun: c_ulong,
    tag: c_ulong,
    length: *mut c_ulong,
    value: *mut c_uchar,
) -> c_long {
    guard(|| {
        let told = match tag {
            TAG_IFD_SIMULTANEOUS_ACCESS => READERS,
            TAG_IFD_SLOTS_NUMBER => 1,
            _ => return Err(IFD_ERROR_TAG),
        };
        // SAFETY: pcscd promises so.
        let room = unsafe { room_at(length) };
        // SAFETY: pcscd promises so.
        unsafe { give(value, room, length, &[told]) }
    })
}

/// Sets nothing.
#[unsafe(no_mangle)]
pub extern "C" fn IFDHSetCapabilities(
    _lun: c_ulong,
    _tag: c_ulong,
    _length: c_ulong,
    _value: *const c_uchar,
) -> c_long {
    IFD_ERROR_TAG
}

/// Takes any protocol: the card's socket has none.
#[unsafe(no_mangle)]
pub extern "C" fn IFDHSetProtocolParameters(
    _lun: c_ulong,
    _protocol: c_ulong,
    _flags: c_uchar,
    _pts1: c_uchar,
    _pts2: c_uchar,
    _pts3: c_uchar,
) -> c_long {
    IFD_SUCCESS
}

/// Powers the card up or down, or resets it.
///
/// # Safety
/// `length` is null or valid for reading and writing, `atr` is null or has room for as many bytes as it says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn IFDHPowerICC(
    lun: c_ulong,
    action: c_ulong,
    atr: *mut c_uchar,
    length: *mut c_ulong,
) -> c_long {
    guard(|| {
        let told = with_reader(lun, |reader| match action {
            IFD_POWER_UP => reader.power_on().map_err(|_| IFD_ERROR_POWER_ACTION),
            IFD_RESET => reader.reset().map_err(|_| IFD_ERROR_POWER_ACTION),
            IFD_POWER_DOWN => {
                // A card that went has no power either.
                reader.power_off().unwrap_or_default();
                Ok(Vec::new())
            }
            _ => Err(IFD_NOT_SUPPORTED),
        })?;
        // SAFETY: pcscd promises so.
        let room = unsafe { room_at(length) };
        // SAFETY: pcscd promises so.
        unsafe { give(atr, room, length, &told) }
    })
}

/// Sends a command to the card.
///
/// # Safety
/// `command` is valid for reading its length, `length` for reading and writing, `answer` has room for as many bytes as it
/// says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn IFDHTransmitToICC(
    lun: c_ulong,
    _send: IoHeader,
    command: *const c_uchar,
    command_length: c_ulong,
    answer: *mut c_uchar,
    length: *mut c_ulong,
    _received: *mut IoHeader,
) -> c_long {
    guard(|| {
        // SAFETY: pcscd promises so, for this call.
        let command = unsafe { bytes(command, command_length) };
        let told = with_reader(lun, |reader| reader.transmit(command).map_err(|failure| code(&failure)))?;
        // SAFETY: pcscd promises so.
        let room = unsafe { room_at(length) };
        // SAFETY: pcscd promises so.
        unsafe { give(answer, room, length, &told) }
    })
}

/// Does what is for the reader itself.
///
/// # Safety
/// `order` is valid for reading its length, `answer` has room for `room` bytes, `length` is valid for writing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn IFDHControl(
    lun: c_ulong,
    control: c_ulong,
    order: *const c_uchar,
    order_length: c_ulong,
    answer: *mut c_uchar,
    room: c_ulong,
    length: *mut c_ulong,
) -> c_long {
    guard(|| {
        let control = u32::try_from(control).map_err(|_| IFD_NOT_SUPPORTED)?;
        // SAFETY: pcscd promises so, for this call.
        let order = unsafe { bytes(order, order_length) };
        let told =
            with_reader(lun, |reader| reader.control(control, order).map_err(|failure| code(&failure)))?;
        // SAFETY: pcscd promises so.
        unsafe { give(answer, room, length, &told) }
    })
}

/// Whether a card is in the reader.
#[unsafe(no_mangle)]
pub extern "C" fn IFDHICCPresence(lun: c_ulong) -> c_long {
    guard(|| {
        let present = with_reader(lun, |reader| Ok(reader.is_present()))?;
        Err(if present { IFD_ICC_PRESENT } else { IFD_ICC_NOT_PRESENT })
    })
}
