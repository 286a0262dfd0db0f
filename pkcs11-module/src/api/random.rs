//! Random numbers (PKCS#11 v2.40 §5.15), from the chip.

use cns_protocol::key::Random;
use cryptoki_sys::CK_SESSION_HANDLE;

use crate::error::Error;
use crate::ffi::buffer::{Fill, In};
use crate::state::{Module, lock};

/// The most that the daemon gives at once.
const MOST: usize = 1024;

/// `C_SeedRandom`: the chip takes no seed.
pub(crate) fn seed_random(module: &Module, session: CK_SESSION_HANDLE, _: In<'_, u8>) -> Result<(), Error> {
    module.tables().session(session)?;
    Err(Error::RandomSeedNotSupported)
}

/// `C_GenerateRandom`.
pub(crate) fn generate_random(
    module: &Module,
    session: CK_SESSION_HANDLE,
    mut random: Fill<'_, u8>,
) -> Result<(), Error> {
    let place = module.tables().place_of(session)?;
    while random.room() > 0 {
        let wanted = random.room().min(MOST);
        let length = u16::try_from(wanted).map_err(|_| Error::General)?;
        let request = Random { reader: place.reader.clone(), length };
        let answer = lock(&place.link).work(&request);
        let answer = answer.map_err(|error| module.failed(&place, error))?;
        if answer.bytes.len() != wanted {
            return Err(Error::DeviceError);
        }
        random.add(&answer.bytes);
    }
    Ok(())
}
