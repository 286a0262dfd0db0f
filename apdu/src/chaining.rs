//! Command chaining (ISO/IEC 7816-4:2005 §5.1.1.1), put together as a chip does it.

use cns_secret::Secret;

use crate::bytes::concat;
use crate::command_apdu::{Body, CommandApdu};
use crate::error::ApduError;
use crate::secure_messaging::is_secure;

/// The bit of the class byte that every part but the last has; the only one, unless the whole command is in secure
/// messaging.
pub const CHAINED: u8 = 0x10;
/// The most data that a chain may carry.
pub const LONGEST_CHAIN: usize = 4096;

/// Collects the parts of a chained command.
#[derive(Default)]
pub struct Assembler {
    pending: Option<Pending>,
}

struct Pending {
    /// The class without the bit of the chain, instruction, P1, P2.
    header: [u8; 4],
    data: Secret,
}

/// What has become of a part.
pub enum Assembled {
    /// It was not the last: the chip answers 9000 and waits.
    Partial,
    /// The whole command, its class without the bit of the chain.
    Whole(CommandApdu),
}

impl Assembler {
    /// Forgets what was collected; on reset.
    pub fn clear(&mut self) {
        self.pending = None;
    }

    /// Takes the next command. A command that does not continue the chain ends it, and counts by itself.
    ///
    /// # Errors
    /// When the chain grows too long, or there is no locked memory; the chain is then forgotten.
    pub fn push(&mut self, apdu: CommandApdu) -> Result<Assembled, ApduError> {
        let class = apdu.cla & !CHAINED;
        let header = [class, apdu.ins, apdu.p1, apdu.p2];
        let continued = self.pending.take().filter(|pending| pending.header == header);
        match (apdu.cla & CHAINED, continued) {
            (CHAINED, before) if can_be_chained(class) => {
                self.pending = Some(Pending { header, data: join(before, &apdu.data)? });
                Ok(Assembled::Partial)
            }
            (0, Some(before)) => {
                let data = join(Some(before), &apdu.data)?;
                Ok(Assembled::Whole(CommandApdu { data: Body::None, ..apdu }.sensitive(data)))
            }
            (_, _) => Ok(Assembled::Whole(apdu)),
        }
    }
}

/// Whether this class byte is that of a part that is not the last.
#[must_use]
pub const fn is_part(cla: u8) -> bool {
    cla & CHAINED != 0 && can_be_chained(cla & !CHAINED)
}

/// The inter-industry class, plain or in secure messaging.
const fn can_be_chained(class: u8) -> bool {
    class == 0x00 || (class & 0xF0 == 0x00 && is_secure(class))
}

fn join(before: Option<Pending>, data: &Body) -> Result<Secret, ApduError> {
    let before = before.as_ref().map(|pending| pending.data.expose()).unwrap_or_default();
    let total = before.len().saturating_add(data.len());
    if total > LONGEST_CHAIN {
        return Err(ApduError::DataTooLong(total));
    }
    Ok(concat(&[before, data.as_bytes()])?)
}

/// Splits a command whose data exceeds `part` bytes into a chain of them; Le goes with the last.
///
/// # Errors
/// When there is no locked memory, or `part` is zero.
pub fn split(apdu: &CommandApdu, part: usize) -> Result<Vec<CommandApdu>, ApduError> {
    if part == 0 || apdu.cla & CHAINED != 0 || !can_be_chained(apdu.cla) {
        return Err(ApduError::BrokenChain);
    }
    let chunks = apdu.data.as_bytes().chunks(part);
    let last = chunks.len().saturating_sub(1);
    chunks
        .enumerate()
        .map(|(index, chunk)| {
            let (cla, le) = if index == last { (apdu.cla, apdu.le) } else { (apdu.cla | CHAINED, None) };
            let data = Body::Sensitive(Secret::copy_from(chunk)?);
            Ok(CommandApdu { cla, data, le, ..CommandApdu::new(apdu.ins, apdu.p1, apdu.p2) })
        })
        .collect()
}
