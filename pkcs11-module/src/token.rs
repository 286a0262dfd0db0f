//! A slot, which is a reader, and the token in it, which is a card with both of its keys.

use std::path::Path;
use std::sync::{Arc, Mutex};

use cns_protocol::ErrorKind;
use cns_protocol::RpcError;
use cns_protocol::card::{Card, KeyUse};
use cns_protocol::pin::PinName;
use cns_protocol::reader::{Reader, ReaderKind, ReaderState};
use cryptoki_sys as ck;
use cryptoki_sys::{CK_FLAGS, CK_OBJECT_HANDLE, CK_SESSION_HANDLE};

use crate::daemon::Link;
use crate::error::Error;
use crate::object::{Object, PrivateKey};
use crate::sign_operation::PinSource;

/// The bytes of a token's label (`CK_TOKEN_INFO`).
const LABEL_LENGTH: usize = 32;

/// Gives out the handles of objects; none is used twice.
#[derive(Default)]
pub(crate) struct Handles(CK_OBJECT_HANDLE);

impl Handles {
    pub(crate) fn next(&mut self) -> CK_OBJECT_HANDLE {
        self.0 = self.0.wrapping_add(1);
        self.0
    }
}

/// A slot. It stays when its reader goes, because applications know it by its number.
pub(crate) struct Slot {
    /// The reader's name.
    pub(crate) reader: String,
    /// How the reader is reached; unknown until it is seen in this `C_Initialize`.
    pub(crate) kind: Option<ReaderKind>,
    /// Whether a PIN can be typed on the reader.
    pub(crate) pin_pad: bool,
    /// The reader's insertion counter.
    pub(crate) insertion: u64,
    /// The connection for work with this slot's card. A login is this connection's.
    pub(crate) link: Arc<Mutex<Link>>,
    /// Whether a card came or went since `C_WaitForSlotEvent` last told.
    pub(crate) event: bool,
    content: Content,
}

enum Content {
    Empty,
    /// A card that is no CNS.
    Unusable,
    Token(Box<Token>),
}

/// A card.
pub(crate) struct Token {
    pub(crate) card: Card,
    objects: Vec<(CK_OBJECT_HANDLE, Object)>,
    /// What the application made for itself, and in which sessions.
    made: Vec<(CK_SESSION_HANDLE, CK_OBJECT_HANDLE, Object)>,
    /// A key pair that waits for its certificate, with the request for that.
    uncertified: Vec<(CK_OBJECT_HANDLE, Object)>,
    pub(crate) logged_in: bool,
    /// The PUK, or that it will be typed on the reader, while the security officer is logged in.
    pub(crate) puk: Option<PinSource>,
    /// What is known of the tries left on the PUK.
    pub(crate) puk_tries: Tries,
    pin: Tries,
    signature_pin: Tries,
}

/// What is known of the tries left on a PIN.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tries {
    pub(crate) left: Option<u8>,
    /// Whether the application was told that one is left: by `CKF_USER_PIN_FINAL_TRY`, or by a refusal.
    pub(crate) last_told: bool,
}

/// What became of a slot's token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// The same card is there, or still none.
    None,
    /// The card is another one, or came, or went: nothing that was begun with the former can go on.
    Replaced,
}

impl Slot {
    /// A slot whose reader was not seen yet.
    pub(crate) fn new(reader: &str, socket: &Path) -> Self {
        let link = Arc::new(Mutex::new(Link::new(socket)));
        let content = Content::Empty;
        Self {
            reader: reader.to_owned(),
            kind: None,
            pin_pad: false,
            insertion: 0,
            link,
            event: false,
            content,
        }
    }

    /// Leaves the connection to a daemon that is no more, and with it its login. Who waits for an answer there keeps
    /// it, and gets an error.
    pub(crate) fn reconnect(&mut self, socket: &Path) {
        self.link = Arc::new(Mutex::new(Link::new(socket)));
    }

    /// Takes over what the daemon tells. `restarted` says that it is not the daemon that told before.
    pub(crate) fn update(&mut self, reader: Reader, restarted: bool, handles: &mut Handles) -> Change {
        let same_insertion = !restarted && reader.insertion == self.insertion;
        self.kind = Some(reader.kind);
        self.pin_pad = reader.pin_pad;
        self.insertion = reader.insertion;
        match (&mut self.content, reader.state) {
            // The card's contents are read again, for instance after the signature area was made.
            (Content::Token(_), ReaderState::Reading) if same_insertion => Change::None,
            (Content::Token(token), ReaderState::Card(card))
                if same_insertion || (restarted && token.card.serial == card.serial) =>
            {
                if !same_insertion {
                    token.lose_login();
                }
                token.renew(*card, handles);
                Change::None
            }
            (Content::Empty, ReaderState::Empty | ReaderState::Reading) => Change::None,
            (Content::Unusable, ReaderState::Unusable(_)) if same_insertion => Change::None,
            (_, state) => self.replace(state, handles),
        }
    }

    /// The daemon no longer knows the reader, or is gone itself.
    pub(crate) fn vacate(&mut self, handles: &mut Handles) -> Change {
        match self.content {
            Content::Empty => Change::None,
            Content::Unusable | Content::Token(_) => self.replace(ReaderState::Empty, handles),
        }
    }

    fn replace(&mut self, state: ReaderState, handles: &mut Handles) -> Change {
        self.event = true;
        self.content = match state {
            ReaderState::Empty | ReaderState::Reading => Content::Empty,
            ReaderState::Unusable(_) => Content::Unusable,
            ReaderState::Card(card) => Content::Token(Box::new(Token::new(*card, handles))),
        };
        Change::Replaced
    }

    /// The token.
    pub(crate) fn token(&self) -> Result<&Token, Error> {
        match &self.content {
            Content::Token(token) => Ok(token),
            Content::Unusable => Err(Error::TokenNotRecognized),
            Content::Empty => Err(Error::TokenNotPresent),
        }
    }

    /// The token, to be changed.
    pub(crate) fn token_mut(&mut self) -> Result<&mut Token, Error> {
        match &mut self.content {
            Content::Token(token) => Ok(token),
            Content::Unusable => Err(Error::TokenNotRecognized),
            Content::Empty => Err(Error::TokenNotPresent),
        }
    }

    /// Whether something is in the reader.
    pub(crate) fn is_occupied(&self) -> bool {
        !matches!(self.content, Content::Empty)
    }
}

impl Token {
    fn new(card: Card, handles: &mut Handles) -> Self {
        let pin = Tries { left: card.pin_tries_left, last_told: false };
        let puk_tries = Tries { left: card.puk_tries_left, last_told: false };
        let objects = Object::all(&card).into_iter().map(|object| (handles.next(), object)).collect();
        Self {
            card,
            objects,
            made: Vec::new(),
            uncertified: Vec::new(),
            logged_in: false,
            puk: None,
            puk_tries,
            pin,
            signature_pin: Tries::default(),
        }
    }

    /// Takes over changed contents of the same card: objects that stay keep their handles.
    fn renew(&mut self, card: Card, handles: &mut Handles) {
        self.pin.left = card.pin_tries_left;
        self.pin.last_told &= self.pin.left == Some(1);
        self.puk_tries.left = card.puk_tries_left;
        self.puk_tries.last_told &= self.puk_tries.left == Some(1);
        if self.card.certificates == card.certificates
            && self.card.authorities == card.authorities
            && self.card.holder == card.holder
            && self.card.personal_data == card.personal_data
        {
            self.card = card;
            return;
        }
        let former = std::mem::take(&mut self.objects);
        let uncertified = std::mem::take(&mut self.uncertified);
        // A key that has got its certificate stays the same object.
        let is_its_key = |key: &Object, object: &Object| {
            key.shares(object, ck::CKA_CLASS) && key.shares(object, ck::CKA_ID)
        };
        let handle_of = |object: &Object| {
            let known = former.iter().find(|(_, known)| known.is_same(object));
            known.or_else(|| uncertified.iter().find(|(_, key)| is_its_key(key, object))).map(|known| known.0)
        };
        let objects = Object::all(&card)
            .into_iter()
            .map(|object| (handle_of(&object).unwrap_or_else(|| handles.next()), object));
        self.objects = objects.collect();
        let is_certified =
            |key: &Object| self.objects.iter().any(|(_, object)| key.shares(object, ck::CKA_ID));
        if !uncertified.iter().any(|(_, key)| is_certified(key)) {
            self.uncertified = uncertified;
        }
        self.card = card;
    }

    /// Takes over a key pair that the card has just generated, or had already: public key, private key, and the request
    /// for the certificate. Gives the keys' handles.
    pub(crate) fn take_key_pair(
        &mut self,
        objects: [Object; 3],
        handles: &mut Handles,
    ) -> [CK_OBJECT_HANDLE; 2] {
        let known = |object: &Object| {
            let is_same = |(_, known): &&(CK_OBJECT_HANDLE, Object)| known.is_same(object);
            self.uncertified.iter().find(is_same).map(|known| known.0)
        };
        let [public, private, request] =
            objects.map(|object| (known(&object).unwrap_or_else(|| handles.next()), object));
        let given = [public.0, private.0];
        self.uncertified = vec![public, private, request];
        given
    }

    /// Ends the login. The handles of private objects become invalid for good (PKCS#11 v2.40 §5.6 `C_Logout`).
    pub(crate) fn log_out(&mut self, handles: &mut Handles) {
        self.logged_in = false;
        self.made.retain(|(_, _, object)| !object.is_private());
        for (handle, object) in self.objects.iter_mut().chain(&mut self.uncertified) {
            if object.is_private() {
                *handle = handles.next();
            }
        }
    }

    /// The login is gone without a logout: with the daemon, or because the card was reset. What was made under it goes
    /// with it, the security officer's PUK too. The card's own objects keep their handles, so that an application need
    /// only log in again.
    pub(crate) fn lose_login(&mut self) {
        self.logged_in = false;
        self.puk = None;
        self.made.retain(|(_, _, object)| !object.is_private());
    }

    /// The objects that may be seen now: private ones only after the login.
    pub(crate) fn visible(&self) -> impl Iterator<Item = (CK_OBJECT_HANDLE, &Object)> {
        let logged_in = self.logged_in;
        let seen = move |object: &Object| logged_in || !object.is_private();
        let of_card = self.objects.iter().chain(&self.uncertified).map(|(handle, object)| (*handle, object));
        let made = self.made.iter().map(|(_, handle, object)| (*handle, object));
        of_card.chain(made).filter(move |(_, object)| seen(object))
    }

    /// The object with this handle, if it may be seen now.
    pub(crate) fn visible_object(&self, handle: CK_OBJECT_HANDLE) -> Option<&Object> {
        self.visible().find(|(known, _)| *known == handle).map(|(_, object)| object)
    }

    /// Takes over an object that the application made in a session.
    pub(crate) fn take(&mut self, session: CK_SESSION_HANDLE, handle: CK_OBJECT_HANDLE, object: Object) {
        self.made.push((session, handle, object));
    }

    /// Destroys an object that the application made.
    ///
    /// # Errors
    /// [`Error::ActionProhibited`] for an object of the card, [`Error::ObjectHandleInvalid`] for none.
    pub(crate) fn destroy(&mut self, handle: CK_OBJECT_HANDLE) -> Result<(), Error> {
        if !self.visible_object(handle).ok_or(Error::ObjectHandleInvalid)?.is_destroyable() {
            return Err(Error::ActionProhibited);
        }
        let before = self.made.len();
        self.made.retain(|(_, known, _)| *known != handle);
        if self.made.len() < before { Ok(()) } else { Err(Error::ActionProhibited) }
    }

    /// Puts another object into the place of one that the application made.
    pub(crate) fn replace(&mut self, handle: CK_OBJECT_HANDLE, object: Object) {
        if let Some((_, _, place)) = self.made.iter_mut().find(|(_, known, _)| *known == handle) {
            *place = object;
        }
    }

    /// Destroys what was made in sessions that end.
    pub(crate) fn end_sessions(&mut self, ends: impl Fn(CK_SESSION_HANDLE) -> bool) {
        self.made.retain(|(made_in, _, _)| !ends(*made_in));
    }

    /// The private keys, seen or not.
    pub(crate) fn private_keys(&self) -> impl Iterator<Item = &PrivateKey> {
        self.objects.iter().filter_map(|(_, object)| object.as_private_key()).map(|key| &**key)
    }

    /// The card's object with this handle, seen or not.
    pub(crate) fn object(&self, handle: CK_OBJECT_HANDLE) -> Option<&Object> {
        let mut of_card = self.objects.iter().chain(&self.uncertified);
        of_card.find(|(known, _)| *known == handle).map(|(_, object)| object)
    }

    /// What is known of the tries left on a PIN.
    pub(crate) fn tries(&mut self, which: PinName) -> &mut Tries {
        match which {
            PinName::Cns => &mut self.pin,
            PinName::Signature => &mut self.signature_pin,
        }
    }

    /// The flags of the token's information that tell about the PIN and, where it is known, about the PUK.
    pub(crate) fn pin_flags(&self) -> CK_FLAGS {
        let of_pin = match self.pin.left {
            Some(0) => ck::CKF_USER_PIN_LOCKED,
            Some(1) => ck::CKF_USER_PIN_COUNT_LOW | ck::CKF_USER_PIN_FINAL_TRY,
            Some(2) => ck::CKF_USER_PIN_COUNT_LOW,
            Some(3..) | None => 0,
        };
        let of_puk = match self.puk_tries.left {
            Some(0) => ck::CKF_SO_PIN_LOCKED,
            Some(1) => ck::CKF_SO_PIN_COUNT_LOW | ck::CKF_SO_PIN_FINAL_TRY,
            Some(2) => ck::CKF_SO_PIN_COUNT_LOW,
            Some(3..) | None => 0,
        };
        of_pin | of_puk
    }

    /// The label: the holder's name (without one, the card's number) and what the token's PIN is for, because it is what a
    /// PIN prompt shows. A long name is cut, the use is not: with it a prompt tells which PIN of the card it wants.
    pub(crate) fn label(&self) -> String {
        let holder = &self.card.holder;
        let name = format!("{} {}", holder.name.trim(), holder.surname.trim());
        let name = if name.trim().is_empty() { self.card.serial.as_str() } else { name.trim() };
        let has_login = self.private_keys().any(|key| key.key_use == KeyUse::Authentication);
        let use_ = match self.private_keys().next() {
            Some(_) if has_login => " - CNS login",
            Some(_) => " - signature",
            None => " - CNS",
        };
        let room = LABEL_LENGTH.saturating_sub(use_.len());
        let end = (0..=room).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
        format!("{}{use_}", name.get(..end).unwrap_or(name).trim_end())
    }
}

impl Tries {
    /// Takes over what a refusal tells.
    pub(crate) fn note(&mut self, refusal: &RpcError) {
        let kind = refusal.kind;
        if matches!(kind, ErrorKind::PinBlocked | ErrorKind::PukBlocked) {
            self.left = Some(0);
        } else if kind == ErrorKind::LastTry {
            *self = Self { left: Some(1), last_told: true };
        } else if matches!(kind, ErrorKind::PinIncorrect | ErrorKind::PukIncorrect) {
            *self = Self { left: refusal.tries_left, last_told: false };
        }
    }
}

/// Text in a field of the standard: cut at a character's border and padded with blanks, without a final zero.
pub(crate) fn padded<const N: usize>(text: &str) -> [u8; N] {
    let mut field = [b' '; N];
    let mut rest = field.as_mut_slice();
    for character in text.chars() {
        let Some((place, after)) = rest.split_at_mut_checked(character.len_utf8()) else { break };
        character.encode_utf8(place);
        rest = after;
    }
    field
}

#[cfg(test)]
mod tests;
