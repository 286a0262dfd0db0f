//! VERIFY, CHANGE REFERENCE DATA and RESET RETRY COUNTER (ISO/IEC 7816-4 §11.6)

use cns_apdu::StatusWord;
use cns_apdu::access::Condition;
use cns_apdu::command::{
    ChangeProof, ChangeReferenceData, PinReference, ReferenceData, ResetAction, ResetRetryCounter, Verify,
};
use cns_apdu::object::{Algorithm, ObjectAddress, ObjectClass};

use super::Reply;
use crate::card::VirtualCard;
use crate::objects::{ObjectOperation, ObjectReference};
use crate::secure_messaging::Demand;

pub(super) fn verify(card: &mut VirtualCard, command: &Verify) -> Reply {
    let pin = find_pin(card, command.reference)?;
    // Whoever sends a plain command is told nothing, not even that the PIN is blocked.
    card.require_protection(&Demand::of_object(card.object(&pin)?, &pin, ObjectOperation::Present))?;
    let Some(value) = &command.value else {
        return tries(card, &pin);
    };
    present(card, &pin, value)?;
    card.commit()?;
    let validity = card.object(&pin)?.validity();
    card.session.status.grant(pin, validity);
    Ok(().into())
}

/// What an empty VERIFY answers: whether a PIN is needed, and how often it may be wrong.
fn tries(card: &VirtualCard, pin: &ObjectReference) -> Reply {
    let object = card.object(pin)?;
    if card.session.status.is_verified(pin) {
        Ok(().into())
    } else if object.is_blocked() {
        Err(StatusWord::BLOCKED)
    } else {
        Err(StatusWord::retries_left(object.tries_left))
    }
}

pub(super) fn change_reference_data(card: &mut VirtualCard, command: &ChangeReferenceData) -> Reply {
    let target = find_pin(card, command.reference)?;
    let presents = !matches!(command.proof, ChangeProof::Verified);
    let condition = refuse_never(card, &target, ObjectOperation::Change, presents)?;
    check_new_value(card, &target, &command.new)?;
    match (&command.proof, condition) {
        (ChangeProof::Value(value), Condition::Verified(_)) => {
            let guard = find_guard(card, &target, condition)?;
            present(card, &guard, value)?;
        }
        (ChangeProof::Nothing, Condition::Always) => {}
        (ChangeProof::Verified, _) => card.authorise(condition, &target.directory)?,
        (ChangeProof::Value(_) | ChangeProof::Nothing, _) => return Err(StatusWord::WRONG_LENGTH),
    }
    set_value(card, &target, &command.new)?;
    card.commit()?;
    Ok(().into())
}

pub(super) fn reset_retry_counter(card: &mut VirtualCard, command: &ResetRetryCounter) -> Reply {
    let target = find_pin(card, command.reference)?;
    let presents = !matches!(command.action, ResetAction::Verified);
    let condition = refuse_never(card, &target, ObjectOperation::Unblock, presents)?;
    match &command.action {
        ResetAction::SetNew { puk, new } => {
            check_new_value(card, &target, new)?;
            let guard = find_guard(card, &target, condition)?;
            present(card, &guard, puk)?;
            set_value(card, &target, new)?;
        }
        ResetAction::KeepValue { puk } => {
            let guard = find_guard(card, &target, condition)?;
            present(card, &guard, puk)?;
        }
        ResetAction::Verified => card.authorise(condition, &target.directory)?,
    }
    restore_tries(card, &target)?;
    // An unblocked PIN still has to be presented.
    card.session.status.withdraw(&target);
    card.commit()?;
    Ok(().into())
}

/// The PIN that P2 names: 6A88 if there is none, 6985 if it is not a PIN.
fn find_pin(card: &VirtualCard, reference: PinReference) -> Result<ObjectReference, StatusWord> {
    require_pin(card, card.find_test_object(reference)?)
}

fn require_pin(card: &VirtualCard, reference: ObjectReference) -> Result<ObjectReference, StatusWord> {
    match card.object(&reference)?.algorithm() {
        Algorithm::Pin => Ok(reference),
        Algorithm::RsaRaw
        | Algorithm::RsaSignature
        | Algorithm::TripleDes
        | Algorithm::RetailMac
        | Algorithm::Logical
        | Algorithm::Other(_) => Err(StatusWord::CONDITIONS_NOT_SATISFIED),
    }
}

/// What changing or unblocking `target` demands; where the command brings the value of another object, the guard, also
/// what using that one demands. The guard's demand alone counts where the target has none, and a command that would
/// have to be protected with two pairs of keys cannot be sent.
pub(super) fn demand_of(
    card: &VirtualCard,
    target: &ObjectReference,
    operation: ObjectOperation,
    presents: bool,
) -> Result<Demand, StatusWord> {
    let object = card.object(target)?;
    let own = Demand::of_object(object, target, operation);
    if !presents {
        return Ok(own);
    }
    // No guard, or none that could be used: the command is refused for that when it is executed.
    let guard = match find_guard(card, target, object.condition(operation)) {
        Ok(guard) if guard != *target => guard,
        Ok(_) | Err(_) => return Ok(own),
    };
    let of_guard = Demand::of_object(card.object(&guard)?, &guard, ObjectOperation::Present);
    if of_guard.is_none() || card.is_met_by(&of_guard, &own) {
        Ok(own)
    } else if own.is_none() {
        Ok(of_guard)
    } else {
        Err(StatusWord::CONDITIONS_NOT_SATISFIED)
    }
}

/// The condition of `operation` on `target`, unless nothing can satisfy it. `presents` tells whether the command brings
/// the value that satisfies it.
fn refuse_never(
    card: &VirtualCard,
    target: &ObjectReference,
    operation: ObjectOperation,
    presents: bool,
) -> Result<Condition, StatusWord> {
    card.require_protection(&demand_of(card, target, operation, presents)?)?;
    match card.object(target)?.condition(operation) {
        Condition::Never => Err(StatusWord::SECURITY_NOT_SATISFIED),
        condition @ (Condition::Always | Condition::Verified(_)) => Ok(condition),
    }
}

/// The PIN whose value must come with the command, searched from the target's directory upward.
fn find_guard(
    card: &VirtualCard,
    target: &ObjectReference,
    condition: Condition,
) -> Result<ObjectReference, StatusWord> {
    let Condition::Verified(id) = condition else {
        return Err(StatusWord::CONDITIONS_NOT_SATISFIED);
    };
    let address = ObjectAddress::new(ObjectClass::Test, id);
    let guard = card.files().find_object(&target.directory, address).ok_or(StatusWord::OBJECT_NOT_FOUND)?;
    require_pin(card, guard)
}

fn check_new_value(
    card: &VirtualCard,
    target: &ObjectReference,
    new: &ReferenceData,
) -> Result<(), StatusWord> {
    let minimum = usize::from(card.object(target)?.attributes().minimum_length);
    if new.unpadded_length() < minimum { Err(StatusWord::WRONG_DATA) } else { Ok(()) }
}

/// Compares a value with a PIN, which is a use of it whichever command brings the value; how that had to be protected
/// has been checked. On success the caller stores the restored counter.
fn present(card: &mut VirtualCard, pin: &ObjectReference, value: &ReferenceData) -> Result<(), StatusWord> {
    if card.object(pin)?.is_blocked() {
        return Err(StatusWord::BLOCKED);
    }
    card.authorise_use(pin)?;
    let left = card.take_try(pin)?;
    if card.object(pin)?.body.ct_eq(value.as_secret()) {
        return restore_tries(card, pin);
    }
    card.session.status.withdraw(pin);
    Err(card.wrong_value(left))
}

/// Gives an object all its tries back; the caller stores that.
fn restore_tries(card: &mut VirtualCard, pin: &ObjectReference) -> Result<(), StatusWord> {
    let object = card.state.files.object_mut(pin).ok_or(StatusWord::OBJECT_NOT_FOUND)?;
    object.tries_left = object.maximum_tries();
    Ok(())
}

fn set_value(
    card: &mut VirtualCard,
    target: &ObjectReference,
    new: &ReferenceData,
) -> Result<(), StatusWord> {
    let value = new.as_secret().duplicate().map_err(|_| StatusWord::MEMORY_FAILURE)?;
    card.object_mut(target)?.set_body(value);
    Ok(())
}
