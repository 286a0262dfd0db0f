//! `puk.*`: the holder's own way to the PUK (§4.1-PUK, §6.3-PUK).

use std::sync::Arc;
use std::time::SystemTime;

use cns_protocol::key::Decryption;
use cns_protocol::puk::{Deliver, MAX_MESSAGE, Open, OpenedPuk, PukMessage};
use cns_protocol::{ErrorKind, RpcError, SecretBytes};

use super::key::{Asked, decrypt_with_card, sign_with_login};
use super::{Act, Daemon, place_of, recorded};
use crate::card::{CardError, KeyUsageRule};
use crate::custody::Addressed;
use crate::dispatch::Call;
use crate::login::CardPlace;
use crate::puk::{PukDelivery, PukError, challenge, check_signature, read_content, to_sign};

/// `puk.deliver`. Whether custody has the card is told to its holder alone: everything else is judged first.
///
/// # Errors
/// When it is off, the connection is not logged in, the card or its certificate is refused, or custody has no PUK.
pub async fn deliver(daemon: Arc<Daemon>, call: Call, request: Deliver) -> Result<PukMessage, RpcError> {
    let delivery = daemon.outside.puk_delivery.as_ref().ok_or(PukError::Off)?;
    let contents = daemon.readers.card(&request.reader)?;
    let place = place_of(&contents);
    let place = CardPlace { insertion: request.insertion.unwrap_or(place.insertion), ..place };
    if !call.caller.logins.is_logged_in(&place) {
        return Err(PukError::NotLoggedIn.into());
    }
    let card = contents.card.serial.clone();
    let act = Act { name: "puk-delivery", card: Some(&card), paragraph: Some("§6.3-PUK") };
    let work = async {
        let certificate = delivery.judge(&contents, SystemTime::now())?;
        let challenge = challenge()?;
        let (mechanism, data) = to_sign(&challenge);
        let signature = sign_with_login(&daemon, &call, &place, mechanism, data).await?;
        check_signature(&certificate, &challenge, &signature)?;
        let message = delivery.message(&card, &certificate).await?;
        Ok::<_, RpcError>(PukMessage { card: card.clone(), message })
    };
    recorded(&daemon, &call, act, work, |_| "the PUK was encrypted to the card's own certificate".to_owned())
        .await
}

/// `puk.open`. The card deciphers the content's key; what is opened is what `puk.deliver` made for this card, and nothing
/// else. Not recorded, as `key.decrypt` is not.
///
/// # Errors
/// When the message is for another card, no PIN is given and the connection is not logged in, or the card refuses.
pub async fn open(daemon: Arc<Daemon>, call: Call, request: Open) -> Result<OpenedPuk, RpcError> {
    if request.message.len() > MAX_MESSAGE {
        return Err(PukError::Message.into());
    }
    let contents = daemon.readers.card(&request.reader)?;
    let place = place_of(&contents);
    let place = CardPlace { insertion: request.insertion.unwrap_or(place.insertion), ..place };
    let der = contents.authentication_certificate.as_deref().ok_or(PukError::Message)?;
    let addressed = Addressed::read(&request.message, der).ok_or(PukError::Message)?;
    let any = daemon.outside.puk_delivery.as_ref().is_some_and(PukDelivery::allows_any_usage);
    let asked = Asked {
        pin: request.pin,
        confirm_last_try: request.confirm_last_try,
        mechanism: Decryption::RsaPkcs1,
        data: addressed.encrypted_key().to_vec(),
        usage: if any { KeyUsageRule::Any } else { KeyUsageRule::Encryption },
    };
    let key = decrypt_with_card(&daemon, &call, &place, asked).await?;
    // Bad padding gives another key; that is one answer with a content that makes no sense.
    let content = addressed.open(&key).map_err(|_| PukError::Message)?;
    let puk = read_content(&content, &contents.card.serial)?;
    let puk = SecretBytes::new(puk).map_err(|_| {
        RpcError::new(ErrorKind::Internal, CardError::Mechanism("a PUK is short").to_string())
    })?;
    Ok(OpenedPuk { puk })
}
