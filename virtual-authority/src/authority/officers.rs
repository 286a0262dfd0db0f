//! The certificates of the registration authority: whoever signs a CMP message with one of them may ask for certificates
//! and their revocation as whoever knows the shared secret may. Each is a file of the folder `officers`, put there by
//! `cns-authority authorise`; taking the file away takes the right away.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use der::{Decode, DecodePem, Encode};
use sha2::{Digest, Sha256};
use x509_cert::Certificate;
use x509_cert::ext::pkix::{KeyUsage, KeyUsages};

use crate::error::AuthorityError;
use crate::file::{self, Readers};

const FOLDER: &str = "officers";
const CERTIFICATE_LIMIT: u64 = 16 * 1024;

/// Gives the holder of this certificate, PEM or DER, the rights of a registration officer; the name of its file.
pub(super) fn authorise(folder: &Path, certificate: &[u8]) -> Result<String, AuthorityError> {
    let read = if certificate.starts_with(b"-----") {
        Certificate::from_pem(certificate)
    } else {
        Certificate::from_der(certificate)
    };
    let read = read.map_err(|error| AuthorityError::Officer(error.to_string()))?;
    if !may_protect(&read) {
        return Err(AuthorityError::Officer("its key usage does not allow digitalSignature".to_owned()));
    }
    let officers = folder.join(FOLDER);
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(&officers)
        .map_err(|source| AuthorityError::File { path: officers.clone(), source })?;
    let der = read.to_der()?;
    let name = file_name(&der);
    file::write(&officers.join(&name), &der, Readers::All)?;
    Ok(name)
}

/// Whether these bytes are the certificate of a registration officer.
pub(super) fn is_officer(folder: &Path, certificate: &[u8]) -> Result<bool, AuthorityError> {
    let path = folder.join(FOLDER).join(file_name(certificate));
    match fs::metadata(&path) {
        Ok(_) => Ok(file::read(&path, CERTIFICATE_LIMIT)? == certificate),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(AuthorityError::File { path, source }),
    }
}

fn file_name(certificate: &[u8]) -> String {
    format!("{}.der", hex::encode(Sha256::digest(certificate)))
}

/// Whether the certificate's key may protect messages: key usage, where it is told, must allow it (RFC 9483 §1.5).
pub(crate) fn may_protect(certificate: &Certificate) -> bool {
    match certificate.tbs_certificate.get::<KeyUsage>() {
        Ok(None) => true,
        Ok(Some((_, usage))) => usage.0.contains(KeyUsages::DigitalSignature),
        Err(_) => false,
    }
}
