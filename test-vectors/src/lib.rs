//! Byte vectors with their sources, one TOML file per command and origin, read from beside this manifest.
//!
//! The bytes come from a specification or from a real card, never from the code they test; every vector says
//! where from. In a byte string `FF*16` stands for sixteen bytes FF.
//!
//! For tests only: the files are found where this crate was compiled.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use thiserror::Error;

/// Why vectors could not be read.
#[derive(Debug, Error)]
pub enum VectorError {
    /// The folder or file could not be read.
    #[error("{path}: {source}")]
    Read {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not of the format.
    #[error("{path}: {source}")]
    Format {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: Box<toml::de::Error>,
    },
}

/// One exchange with a card.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exchange {
    /// What it shows.
    pub name: String,
    /// Document and section, or card and date.
    pub source: String,
    /// Commands that bring a fresh card of the sample holder into the state that this one needs.
    #[serde(default, deserialize_with = "byte_strings")]
    pub before: Vec<Vec<u8>>,
    /// The command.
    #[serde(deserialize_with = "byte_string")]
    pub command: Vec<u8>,
    /// The command as we write it, where we write it otherwise than the source.
    #[serde(default, deserialize_with = "optional_byte_string")]
    pub canonical: Option<Vec<u8>>,
    /// The response, status word included, where the source tells it whole.
    #[serde(default, deserialize_with = "optional_byte_string")]
    pub response: Option<Vec<u8>>,
    /// The length of the response's data, where the source tells only that.
    pub response_length: Option<usize>,
    /// The status word with which the decoder refuses the command whatever the state of the card.
    #[serde(default, deserialize_with = "optional_byte_string")]
    pub refused: Option<Vec<u8>>,
}

/// One byte string that is not an exchange, and what it stands for.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// What it shows.
    pub name: String,
    /// Document and section, or card and date.
    pub source: String,
    /// The bytes.
    #[serde(deserialize_with = "byte_string")]
    pub bytes: Vec<u8>,
    /// What they stand for.
    pub meaning: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vectors {
    #[serde(default)]
    exchange: Vec<Exchange>,
    #[serde(default)]
    sample: Vec<Sample>,
}

/// The traces of real cards: name of the model and of its interface, and text in the format that
/// `cns_apdu::trace::Trace::parse` reads.
///
/// # Errors
/// When a file cannot be read.
pub fn traces() -> Result<Vec<(String, String)>, VectorError> {
    let files = entries(&Path::new(ROOT).join(TRACES))?.into_iter();
    files
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .map(|path| match fs::read_to_string(&path) {
            Ok(text) => Ok((path.file_stem().unwrap_or_default().to_string_lossy().into_owned(), text)),
            Err(source) => Err(VectorError::Read { path, source }),
        })
        .collect()
}

/// The folders of vectors, in alphabetical order.
///
/// # Errors
/// When they cannot be listed.
pub fn folders() -> Result<Vec<String>, VectorError> {
    let folders = entries(Path::new(ROOT))?.into_iter();
    let folders = folders.filter(|path| path.is_dir() && !path.ends_with("src") && !path.ends_with(TRACES));
    Ok(folders.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect())
}

/// The exchanges of one folder.
///
/// # Errors
/// When a file cannot be read or is not of the format.
pub fn exchanges(folder: &str) -> Result<Vec<Exchange>, VectorError> {
    Ok(load(folder)?.into_iter().flat_map(|file| file.exchange).collect())
}

/// The samples of one folder.
///
/// # Errors
/// When a file cannot be read or is not of the format.
pub fn samples(folder: &str) -> Result<Vec<Sample>, VectorError> {
    Ok(load(folder)?.into_iter().flat_map(|file| file.sample).collect())
}

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const TRACES: &str = "traces";

fn load(folder: &str) -> Result<Vec<Vectors>, VectorError> {
    let files = entries(&Path::new(ROOT).join(folder))?;
    files
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .map(read)
        .collect()
}

fn read(path: PathBuf) -> Result<Vectors, VectorError> {
    match fs::read_to_string(&path) {
        Ok(text) => {
            toml::from_str(&text).map_err(|source| VectorError::Format { path, source: Box::new(source) })
        }
        Err(source) => Err(VectorError::Read { path, source }),
    }
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, VectorError> {
    let list = || -> io::Result<Vec<PathBuf>> {
        let mut paths: Vec<_> =
            fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
        paths.sort();
        Ok(paths)
    };
    list().map_err(|source| VectorError::Read { path: folder.to_owned(), source })
}

/// Reads `00 A4 08 FF*16`: bytes in hexadecimal, spaces wherever they help, `*n` repeating the byte before it.
///
/// # Errors
/// What is wrong, in words.
pub fn bytes(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    for word in text.split_whitespace() {
        let (digits, count) = match word.split_once('*') {
            Some((digits, count)) => (digits, count.parse().map_err(|_| format!("`{word}`: no count"))?),
            None => (word, 1usize),
        };
        let part = hex::decode(digits).map_err(|error| format!("`{word}`: {error}"))?;
        match part.as_slice() {
            [byte] if count <= 65_536 => bytes.extend(std::iter::repeat_n(*byte, count)),
            part if count == 1 => bytes.extend_from_slice(part),
            _ => return Err(format!("`{word}`: only one byte is repeated, 65,536 times at most")),
        }
    }
    Ok(bytes)
}

fn byte_string<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    bytes(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

fn optional_byte_string<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error> {
    byte_string(deserializer).map(Some)
}

fn byte_strings<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Vec<u8>>, D::Error> {
    let strings = Vec::<String>::deserialize(deserializer)?;
    strings.iter().map(|string| bytes(string).map_err(D::Error::custom)).collect()
}

#[cfg(test)]
mod tests {
    use super::{bytes, exchanges, folders, samples};

    #[test]
    fn every_file_is_of_the_format_and_names_its_sources() {
        for folder in folders().unwrap() {
            let exchanges = exchanges(&folder).unwrap();
            let samples = samples(&folder).unwrap();
            assert!(exchanges.len() + samples.len() > 0, "{folder} is empty");
            let sources = exchanges.iter().map(|e| &e.source).chain(samples.iter().map(|s| &s.source));
            assert!(
                sources.into_iter().all(|source| !source.is_empty()),
                "{folder}: a vector without source"
            );
        }
    }

    #[test]
    fn byte_strings() {
        assert_eq!(bytes("00A4 08").unwrap(), [0x00, 0xA4, 0x08]);
        assert_eq!(bytes("01 FF*3").unwrap(), [0x01, 0xFF, 0xFF, 0xFF]);
        assert!(bytes("0").is_err());
        assert!(bytes("00A4*2").is_err());
        assert!(bytes("FF*99999999").is_err());
    }
}
