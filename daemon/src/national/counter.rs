//! What one of our counters asks about another region's card that is in no reader (§8-out).
//!
//! Codes are for a card that is shown, and whose printed data were compared with the document (§9.3.1, §9.3.3-4): the counter's
//! procedure does that. Of a card that nobody has any more a revocation alone can be asked, by who was identified.

use cns_protocol::card::Holder;
use cns_protocol::national::{Ask, RequestKind, RevocationReason, Standing};
use cns_protocol::operator::{CounterKind, Session};

use super::{Asker, National, NationalError, check, new_id};
use crate::papers::Papers;
use crate::procedure::{clock, identified, identity};

impl National {
    /// Queues a request about another region's card that is in no reader.
    ///
    /// # Errors
    /// See [`NationalError`].
    pub async fn request(&self, user: u32, session: &Session, asked: Ask) -> Result<Standing, NationalError> {
        if !self.sends() {
            return Err(NationalError::Off);
        }
        if session.counter_kind == CounterKind::Pharmacy {
            return Err(NationalError::Rule {
                paragraph: "§8-counters",
                message: "cards of other regions are not for pharmacies",
                hint: "Send the citizen to a counter of a health authority or a regional office",
            });
        }
        let Ask { request, identified, paper } = asked;
        check(&request)?;
        if request.kind != RequestKind::Revocation {
            return Err(NationalError::Rule {
                paragraph: "§9.3.1",
                message: "codes are given out for a card that is shown alone",
                hint: "Put the card into a reader, and start the case other-region (`counter.start`)",
            });
        }
        let holder = holder(&request.codice_fiscale)?;
        let reported = request.reason == Some(RevocationReason::LossOrTheft);
        let papers = Papers {
            identified: Some(identified::check(identified, &holder)?),
            paper: identity::check_collected(paper.as_ref(), reported, clock::today())?,
        };
        let asker = Asker { user: Some(user), operator: &session.operator, counter: &session.counter };
        let standing = self.0.queue(asker, &new_id()?, request, &papers).await?;
        self.0.work.notify_one();
        Ok(standing)
    }
}

/// The holder as far as is known without the card.
fn holder(codice_fiscale: &str) -> Result<Holder, NationalError> {
    if !identity::is_codice_fiscale(codice_fiscale) {
        return Err(NationalError::Invalid("codice_fiscale"));
    }
    let none = String::new;
    Ok(Holder {
        surname: none(),
        name: none(),
        codice_fiscale: codice_fiscale.to_owned(),
        birth_date: none(),
        sex: none(),
        birth_place: none(),
    })
}
