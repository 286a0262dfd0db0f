//! The certificates of authorities on a card, each once and no more than a few.

use cns_protocol::card::{AuthorityCertificate, Finding};

use super::finding;

/// The most that are told of one card. Real ones have one or two, a root and who it certified.
const MOST: usize = 6;

/// The certificates of authorities.
#[derive(Clone, Default)]
pub(super) struct Authorities(Vec<AuthorityCertificate>);

impl Authorities {
    /// Takes one over, and gives the words for its place.
    pub(super) fn take(&mut self, place: String, authority: AuthorityCertificate) -> Finding {
        let why = if self.0.iter().any(|known| known.der == authority.der) {
            "of an authority, as at another place"
        } else if self.0.len() >= MOST {
            "of an authority, one too many, left out"
        } else {
            self.0.push(authority);
            "of an authority"
        };
        finding::certificate(place, why)
    }

    /// Takes others over.
    pub(super) fn extend(&mut self, others: Self) {
        for other in others.0 {
            if self.0.len() < MOST && !self.0.contains(&other) {
                self.0.push(other);
            }
        }
    }
}

impl From<Vec<AuthorityCertificate>> for Authorities {
    fn from(authorities: Vec<AuthorityCertificate>) -> Self {
        Self(authorities)
    }
}

impl From<Authorities> for Vec<AuthorityCertificate> {
    fn from(authorities: Authorities) -> Self {
        authorities.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authority(number: u8) -> AuthorityCertificate {
        let text = String::new;
        AuthorityCertificate {
            der: vec![number],
            subject: text(),
            common_name: text(),
            issuer: text(),
            serial_number: text(),
            not_before: text(),
            not_after: text(),
            sha256: text(),
        }
    }

    #[test]
    fn each_is_told_once_and_no_more_than_six() {
        let mut authorities = Authorities::default();
        let told: Vec<_> = [0, 1, 1, 2, 3, 4, 5, 6]
            .into_iter()
            .map(|number| authorities.take("3F00".to_owned(), authority(number)).detail)
            .collect();
        assert_eq!(told[1], "DER certificate, of an authority");
        assert_eq!(told[2], "DER certificate, of an authority, as at another place");
        assert_eq!(told[7], "DER certificate, of an authority, one too many, left out");
        let mut others = Authorities::from(vec![authority(9), authority(0)]);
        others.extend(authorities);
        let all: Vec<_> = Vec::from(others).into_iter().map(|authority| authority.der[0]).collect();
        assert_eq!(all, [9, 0, 1, 2, 3, 4]);
    }
}
