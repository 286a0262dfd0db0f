//! Which certificates of a card an order is for, and for which of them something is sent.

use cns_protocol::certificate::{Act, ChangeState, Standing};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::procedure::status::StatusChange;
use crate::standing::Order;
use crate::standing::row::{Certificate, Change, act_of};

/// For so long an answer of the authority stands for the same question: whoever asks again meanwhile has clicked twice. Later
/// the authority is asked anew, because somebody else may have changed it.
const FRESH: time::Duration = time::Duration::minutes(10);

/// Whether what is asked for a card concerns this certificate of it: all that are on the card; suspension and revocation
/// also those that no longer are and have not expired, because the key may be in other hands all the same. A reactivation
/// gives back what a suspension took.
pub(super) fn concerns(change: StatusChange, certificate: &Certificate, last: Option<&Change>) -> bool {
    if !certificate.removed {
        return true;
    }
    let expired = OffsetDateTime::parse(&certificate.not_after, &Rfc3339)
        .is_ok_and(|end| end < OffsetDateTime::now_utc());
    match change {
        StatusChange::Suspend(_) | StatusChange::Revoke(_) => !expired,
        StatusChange::Reactivate => {
            let taken = last.is_some_and(|last| match last.act() {
                Act::Suspend => last.state != ChangeState::Refused,
                Act::Reactivate => true,
                Act::Revoke => {
                    last.state == ChangeState::Refused && certificate.standing == Standing::Suspended
                }
            });
            !expired && taken && certificate.standing != Standing::Revoked
        }
    }
}

/// Whether the authority itself has revoked a certificate, as it was asked to. That it said no more than "revoked already",
/// which it may say of a suspended one, keeps nobody from having it suspended or revoked.
pub(super) fn is_for_ever(standing: Standing, (act, state, said): (Act, ChangeState, Option<&str>)) -> bool {
    standing == Standing::Revoked && act == Act::Revoke && state == ChangeState::Done && said.is_none()
}

/// Whether something is to be sent for a certificate.
pub(super) fn is_to_be_sent(
    order: &Order,
    certificate: &Certificate,
    last: Option<&Change>,
    now: OffsetDateTime,
) -> bool {
    let for_ever = last.is_some_and(|last| {
        is_for_ever(certificate.standing, (last.act(), last.state, last.said.as_deref()))
    });
    let is_reactivation = order.change == StatusChange::Reactivate;
    if for_ever || (is_reactivation && certificate.standing == Standing::Revoked) {
        return false;
    }
    let Some(last) = last.filter(|last| last.act() == act_of(order.change)) else { return true };
    match last.state {
        ChangeState::Pending => false,
        ChangeState::Refused => true,
        ChangeState::Done => {
            let answered = last.answered.as_deref().and_then(|at| OffsetDateTime::parse(at, &Rfc3339).ok());
            last.request != order.request && answered.is_none_or(|at| now - at >= FRESH)
        }
    }
}
