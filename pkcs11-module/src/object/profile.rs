//! The profiles that hold for a token, each an object (PKCS#11 v3.2 §4.13, PKCS#11 Profiles v3.2 §5).

use cryptoki_sys as ck;
use cryptoki_sys::CK_PROFILE_ID;

use super::{Key, Object, Table};

/// The profiles of a token with these objects:
///
/// - Baseline Provider (§5.1) and Extended Provider (§5.3) ask for functions and attributes, which this module has for
///   every card;
/// - Authentication Token (§5.4) asks for a key pair that signs after the login;
/// - Public Certificates Token (§5.5) asks that each certificate is found without a login and has its key's `CKA_ID`.
///
/// The last two hold where there is a key with its certificate, because each certificate of the holder comes with its keys
/// and only private keys need the login.
pub(super) fn objects(others: &[Object]) -> Vec<Object> {
    let mut profiles = vec![
        object(ck::CKP_BASELINE_PROVIDER, "Baseline Provider"),
        object(ck::CKP_EXTENDED_PROVIDER, "Extended Provider"),
    ];
    if others.iter().any(|object| object.as_private_key().is_some()) {
        profiles.push(object(ck::CKP_AUTHENTICATION_TOKEN, "Authentication Token"));
        profiles.push(object(ck::CKP_PUBLIC_CERTIFICATES_TOKEN, "Public Certificates Token"));
    }
    profiles
}

fn object(profile: CK_PROFILE_ID, label: &str) -> Object {
    let mut table = Table::start(ck::CKO_PROFILE, label, &format!("{}-{profile}", ck::CKO_PROFILE));
    table.number(ck::CKA_PROFILE_ID, profile);
    table.finish(Key::None)
}
