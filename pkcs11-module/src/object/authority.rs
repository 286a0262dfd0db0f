//! The certificates of authorities on the card (PKCS#11 v3.2 §4.6): without keys, and trusted by nobody for being there.

use cns_protocol::card::{AuthorityCertificate, Card};
use cryptoki_sys as ck;
use sha1::{Digest, Sha1};

use super::{Key, Object, Table};
use crate::certificate;

/// The longest name in a label: a common name has 64 characters at most (RFC 5280 appendix A.1).
const LONGEST_NAME: usize = 64;

/// The objects of a card's authorities; one that cannot be read has none, and neither has one with a key of the holder's:
/// an application that looks for that key by `CKA_ID` would take the authority's certificate for the holder's.
pub(super) fn objects(card: &Card) -> Vec<Object> {
    let holders: Vec<_> = card
        .certificates
        .iter()
        .filter_map(|certificate| certificate::read_any(&certificate.der).ok())
        .collect();
    let of_holder: Vec<_> = holders.iter().map(certificate::Fields::identity).collect();
    card.authorities.iter().filter_map(|authority| object(authority, &of_holder)).collect()
}

fn object(authority: &AuthorityCertificate, of_holder: &[&[u8]]) -> Option<Object> {
    let fields = certificate::read_any(&authority.der).ok()?;
    if of_holder.contains(&fields.identity()) {
        return None;
    }
    let unique = format!("{}-{}", ck::CKO_CERTIFICATE, authority.sha256);
    let mut table = Table::start(ck::CKO_CERTIFICATE, &label(authority), &unique);
    table.bytes(ck::CKA_ID, &Sha1::digest(fields.identity()));
    table.certificate(&authority.der, &fields, ck::CK_CERTIFICATE_CATEGORY_AUTHORITY);
    Some(table.finish(Key::None))
}

/// Says first that it is not the holder's. Programs write labels to terminals, and names may hold anything.
fn label(authority: &AuthorityCertificate) -> String {
    let name = if authority.common_name.is_empty() { &authority.subject } else { &authority.common_name };
    let name: String = name.chars().filter(|letter| !letter.is_control()).take(LONGEST_NAME).collect();
    format!("Authority {name}").trim_end().to_owned()
}
