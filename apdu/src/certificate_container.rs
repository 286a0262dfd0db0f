//! What a certificate file begins with: the certificate in DER, or a maker's container around it (`real-cards` §3.2,
//! §3.4, §4 row 28).
//!
//! Two containers have been seen. Old CardOS cards compress with zlib (RFC 1950), which is undone here, never into more
//! than [`LONGEST`] bytes whatever the stream says. Newer chips of one maker have a tag `5A` or `7A` and a length
//! before a raw DEFLATE stream (RFC 1951) that takes a preset dictionary. That dictionary is the maker's: such a
//! container is recognised and told about, its bytes are never inflated.

use std::borrow::Cow;

use miniz_oxide::inflate::{TINFLStatus, decompress_to_vec_zlib_with_limit};
use thiserror::Error;

/// The longest certificate and the longest container, in bytes. Those of real cards have 1 to 3 KiB.
pub const LONGEST: usize = 8 * 1024;

/// The deepest nesting of a certificate in DER; those of real cards have about eight levels.
pub const MAX_DEPTH: usize = 32;

/// How a certificate lies in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateForm {
    /// In DER, of so many bytes, header included.
    Der(usize),
    /// In a zlib stream, whose length nothing tells.
    Zlib,
    /// In a container of so many bytes, header included, that takes a preset dictionary.
    PresetDictionary(usize),
}

/// Why there is no certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ContainerError {
    /// The bytes are neither DER nor a container: an empty file, mostly.
    #[error("the file holds no certificate")]
    NoCertificate,
    /// The bytes end before the certificate does.
    #[error("the certificate is cut short")]
    Truncated,
    /// Inflating needs a dictionary that only the card's maker has.
    #[error("the certificate is compressed with a dictionary that only its maker has")]
    PresetDictionary,
    /// The zlib stream is damaged.
    #[error("the compressed certificate is damaged")]
    Damaged,
    /// The lengths inside of the DER contradict those outside, or nest deeper than [`MAX_DEPTH`].
    #[error("the certificate's lengths contradict each other")]
    Inconsistent,
    /// The zlib stream would become longer than [`LONGEST`].
    #[error("the compressed certificate grows beyond {LONGEST} bytes")]
    TooLong,
}

impl CertificateForm {
    /// Tells it from the beginning of a file, of which four bytes are enough; nothing when that is no certificate, or
    /// one of more than [`LONGEST`] bytes.
    #[must_use]
    pub fn of(beginning: &[u8]) -> Option<Self> {
        let form = match *beginning {
            [0x30, 0x82, high, low, ..] => Self::Der(4 + usize::from(u16::from_be_bytes([high, low]))),
            [0x30, 0x81, length, ..] => Self::Der(3 + usize::from(length)),
            [0x5A | 0x7A, 0x82, high, low, ..] => {
                Self::PresetDictionary(4 + usize::from(u16::from_be_bytes([high, low])))
            }
            [method, flags, ..] if is_zlib(method, flags) => Self::Zlib,
            _ => return None,
        };
        match form {
            Self::Der(length) | Self::PresetDictionary(length) if length > LONGEST => None,
            form @ (Self::Der(_) | Self::Zlib | Self::PresetDictionary(_)) => Some(form),
        }
    }

    /// How much of the file is to be read, in bytes; fewer where the file ends before. Of a container that cannot be
    /// opened only the header.
    #[must_use]
    pub const fn needed(self) -> usize {
        match self {
            Self::Der(length) => length,
            Self::Zlib => LONGEST,
            Self::PresetDictionary(_) => 4,
        }
    }
}

/// The certificate at the beginning of a file, in DER; what follows it is left away. Whether the DER is a certificate
/// is not looked at, but every length in it fits into the object around it: decoders may allocate what a length says
/// before they look whether it is there (`der` 0.7 does, up to 256 MiB).
///
/// # Errors
/// When there is none, or it cannot be taken out of its container.
pub fn open(content: &[u8]) -> Result<Cow<'_, [u8]>, ContainerError> {
    let der = match CertificateForm::of(content).ok_or(ContainerError::NoCertificate)? {
        CertificateForm::Der(length) => content.get(..length).ok_or(ContainerError::Truncated)?.into(),
        CertificateForm::PresetDictionary(_) => return Err(ContainerError::PresetDictionary),
        CertificateForm::Zlib => Cow::from(inflate(content)?),
    };
    if lengths_fit(&der) { Ok(der) } else { Err(ContainerError::Inconsistent) }
}

/// Walks DER without recursion: whether every object ends inside of the one around it.
fn lengths_fit(der: &[u8]) -> bool {
    // Where each enclosing object ends, the innermost last.
    let mut ends = vec![der.len()];
    let mut at: usize = 0;
    while let Some(end) = ends.last().copied() {
        if at == end {
            ends.pop();
            continue;
        }
        let Some((constructed, header, length)) = der.get(at..end).and_then(header) else { return false };
        let value = at.saturating_add(header);
        let after = value.saturating_add(length);
        if after > end || (constructed && ends.len() > MAX_DEPTH) {
            return false;
        }
        at = if constructed { value } else { after };
        if constructed {
            ends.push(after);
        }
    }
    true
}

/// Whether an object is constructed, and the lengths of its header and value; nothing for tags and lengths that no
/// certificate has (X.690 §8.1.2.4, §8.1.3.6; lengths of 64 KiB and more).
fn header(bytes: &[u8]) -> Option<(bool, usize, usize)> {
    let (tag, rest) = bytes.split_first()?;
    if tag & 0x1F == 0x1F {
        return None;
    }
    let (header, length) = match rest {
        [length @ 0..=0x7F, ..] => (2, usize::from(*length)),
        [0x81, length, ..] => (3, usize::from(*length)),
        [0x82, high, low, ..] => (4, usize::from(u16::from_be_bytes([*high, *low]))),
        _ => return None,
    };
    Some((tag & 0x20 != 0, header, length))
}

fn inflate(content: &[u8]) -> Result<Vec<u8>, ContainerError> {
    let content = content.get(..LONGEST).unwrap_or(content);
    let mut der =
        decompress_to_vec_zlib_with_limit(content, LONGEST).map_err(|error| match error.status {
            TINFLStatus::HasMoreOutput => ContainerError::TooLong,
            TINFLStatus::FailedCannotMakeProgress | TINFLStatus::NeedsMoreInput => ContainerError::Truncated,
            TINFLStatus::Failed
            | TINFLStatus::BadParam
            | TINFLStatus::Adler32Mismatch
            | TINFLStatus::Done => ContainerError::Damaged,
        })?;
    match CertificateForm::of(&der) {
        Some(CertificateForm::Der(length)) if length <= der.len() => der.truncate(length),
        Some(CertificateForm::Der(_)) => return Err(ContainerError::Truncated),
        // A container in a container has not been seen.
        Some(CertificateForm::Zlib | CertificateForm::PresetDictionary(_)) | None => {
            return Err(ContainerError::NoCertificate);
        }
    }
    Ok(der)
}

/// The two bytes of RFC 1950 §2.2: DEFLATE, a window of 32 KiB or less, no preset dictionary, and the check.
const fn is_zlib(method: u8, flags: u8) -> bool {
    let header = u16::from_be_bytes([method, flags]);
    method & 0x0F == 0x08 && method >> 4 <= 7 && flags & 0x20 == 0 && header.is_multiple_of(31)
}

#[cfg(test)]
mod tests {
    use miniz_oxide::deflate::compress_to_vec_zlib;

    use super::{CertificateForm, ContainerError, LONGEST, open};

    fn der(length: usize) -> Vec<u8> {
        let [high, low] = u16::try_from(length).unwrap().to_be_bytes();
        let mut bytes = vec![0x30, 0x82, high, low];
        // Objects of the same few bytes, so that it can be compressed.
        bytes.extend([0x04, 0x02, 0xAB, 0xCD].iter().cycle().take(length));
        bytes
    }

    #[test]
    fn der_is_cut_at_its_length() {
        let certificate = der(1000);
        let mut file = certificate.clone();
        file.resize(2048, 0);
        assert_eq!(CertificateForm::of(&file[..4]), Some(CertificateForm::Der(1004)));
        assert_eq!(open(&file).unwrap(), certificate);
        assert_eq!(open(&file[..1003]), Err(ContainerError::Truncated));
        assert_eq!(open(&[0; 512]), Err(ContainerError::NoCertificate));
        assert_eq!(open(&[]), Err(ContainerError::NoCertificate));
        assert_eq!(open(&der(LONGEST - 3)), Err(ContainerError::NoCertificate));
    }

    #[test]
    fn lengths_that_do_not_fit_are_refused() {
        // A string that claims five million bytes, as a fuzzer wrote it.
        let claim = [0x30, 0x81, 0x06, 0x0C, 0x83, 0x54, 0x53, 0x2D, 0x43];
        assert_eq!(open(&claim), Err(ContainerError::Inconsistent));
        // The inner object reaches beyond the outer one, and into what follows.
        let beyond = [0x30, 0x81, 0x06, 0x30, 0x02, 0x04, 0x03, 0xAA, 0xBB];
        assert_eq!(open(&beyond), Err(ContainerError::Inconsistent));
        assert_eq!(open(&[0x30, 0x81, 0x02, 0x30, 0x80]), Err(ContainerError::Inconsistent));
        let nested = |levels: u8| {
            let inner = (0..levels).flat_map(|level| [0x30, 2 * (levels - 1 - level)]);
            [&[0x30, 0x81, 2 * levels][..], &inner.collect::<Vec<u8>>()].concat()
        };
        assert!(open(&nested(31)).is_ok());
        assert_eq!(open(&nested(33)), Err(ContainerError::Inconsistent));
    }

    #[test]
    fn zlib_is_inflated() {
        let certificate = der(1500);
        let mut file = compress_to_vec_zlib(&certificate, 9);
        file.resize(2048, 0);
        assert_eq!(CertificateForm::of(&file), Some(CertificateForm::Zlib));
        assert_eq!(open(&file).unwrap(), certificate);
        assert_eq!(open(&compress_to_vec_zlib(&certificate[..99], 9)), Err(ContainerError::Truncated));
        assert_eq!(open(&compress_to_vec_zlib(&file, 9)), Err(ContainerError::NoCertificate));
        let stream = compress_to_vec_zlib(&certificate, 9);
        assert_eq!(open(&stream[..stream.len() / 2]), Err(ContainerError::Truncated));
        file[20] ^= 1;
        assert!(open(&file).is_err());
    }

    #[test]
    fn a_compression_bomb_is_refused_at_the_limit() {
        // A thousandfold: 8 MiB in 8 KiB.
        let bomb = compress_to_vec_zlib(&vec![0x30; 8 * 1024 * 1024], 9);
        assert!(bomb.len() < LONGEST + 100, "{}", bomb.len());
        assert_eq!(open(&bomb), Err(ContainerError::TooLong));
    }

    #[test]
    fn a_preset_dictionary_is_recognised_and_not_guessed() {
        for tag in [0x5A, 0x7A] {
            let file = [&[tag, 0x82, 0x04, 0x00][..], &[0xAB; 1024]].concat();
            let form = CertificateForm::of(&file).unwrap();
            assert_eq!(form, CertificateForm::PresetDictionary(1028));
            assert_eq!(form.needed(), 4);
            assert_eq!(open(&file), Err(ContainerError::PresetDictionary));
        }
        // RFC 1950's own flag of a dictionary.
        assert_eq!(open(&[0x78, 0xBB, 1, 2, 3, 4]), Err(ContainerError::NoCertificate));
    }
}
