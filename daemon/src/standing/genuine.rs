//! Whether a card's certificates are what the card says of them (§4.2.1).
//!
//! Anybody can make a card that announces another's serial number, with a certificate that they signed themselves, or put a
//! copy of another's certificate on their own card: certificates are public. So one is noted only if the authority that would
//! be told of it has issued it, to this holder; and neither a serial number nor a certificate changes its holder.

use cns_protocol::card::{Card, Certificate, KeyUse};

use crate::standing::{StandingError, Standings};

impl Standings {
    /// The certificates of a card that may be noted, and whether these are all. Who issued them cannot be told where no
    /// authority is linked; nobody is told of them then.
    ///
    /// # Errors
    /// [`StandingError::NotIssued`] where the authentication certificate, which binds holder and card, is not the
    /// authority's.
    pub(super) fn genuine<'c>(&self, card: &'c Card) -> Result<(Vec<&'c Certificate>, bool), StandingError> {
        let Some(authority) = self.0.authority.get() else {
            return Ok((card.certificates.iter().collect(), true));
        };
        let holder = card.holder.codice_fiscale.trim();
        let (own, others): (Vec<_>, Vec<_>) = card
            .certificates
            .iter()
            .partition(|certificate| authority.has_issued(&certificate.der, certificate.key_use, holder));
        if others.iter().any(|certificate| certificate.key_use == KeyUse::Authentication) {
            return Err(StandingError::NotIssued);
        }
        Ok((own, others.is_empty()))
    }
}
