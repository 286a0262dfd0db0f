//! What `cns-card show` tells about a card: nothing secret.

use std::fmt::{self, Display, Formatter};
use std::path::Path;

use cns_apdu::file_map::{FilePath, ID_CARD, MASTER_FILE, PERSONAL_DATA, SIGNATURE_DF, SIGNATURE_KEY_DF};
use cns_apdu::object::{ObjectAddress, ObjectClass, ObjectId};
use cns_apdu::personal_data::PersonalData;
use cns_apdu::signature_area::Slot;
use serde::Serialize;

use crate::card::VirtualCard;
use crate::filesystem::Place;
use crate::generation::{Generation, KeyPlace};
use crate::objects::ObjectReference;
use crate::state::{Behaviour, StateDirectory, StateError};

/// A card at a glance.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// Which chip.
    pub generation: Generation,
    /// Its answer to reset, in hexadecimal.
    pub answer_to_reset: String,
    /// The switches that it was made with.
    pub behaviour: Behaviour,
    /// Serial number of the chip.
    pub id_card: String,
    /// Given name and surname.
    pub holder: String,
    /// Tax code.
    pub codice_fiscale: String,
    /// Tries left of the PIN.
    pub pin_tries: u8,
    /// Tries left of the PUK.
    pub puk_tries: u8,
    /// Tries left of the signature PIN, where there is one.
    pub signature_pin_tries: Option<u8>,
    /// Whether EF_C_Carta holds a certificate.
    pub authentication_certificate: bool,
    /// How far the signature area has come.
    pub signature_area: SignatureAreaState,
}

/// How far the signature area has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SignatureAreaState {
    /// No directory 1400.
    Absent,
    /// The directory is empty.
    Empty,
    /// There are PINs or a key, and no certificate.
    Begun,
    /// A certificate is there.
    Certified,
}

impl VirtualCard {
    /// What can be told about the card in a directory, even while another process has it plugged in.
    ///
    /// # Errors
    /// The directory holds no card, or a damaged one.
    pub fn look(path: &Path) -> Result<Summary, StateError> {
        Ok(Self::without_storage(StateDirectory::read(path)?).summary())
    }

    /// What can be told about the card without a secret.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let chip = self.generation().chip();
        let data = PersonalData::decode(self.transparent(&PERSONAL_DATA)).unwrap_or_default();
        Summary {
            generation: self.generation(),
            answer_to_reset: hex::encode_upper(self.answer_to_reset()),
            behaviour: self.behaviour(),
            id_card: String::from_utf8_lossy(self.transparent(&ID_CARD)).into_owned(),
            holder: format!("{} {}", data.name, data.surname),
            codice_fiscale: data.fiscal_code,
            pin_tries: self.tries(MASTER_FILE, ObjectId::CNS_PIN).unwrap_or_default(),
            puk_tries: self.tries(MASTER_FILE, ObjectId::CNS_PUK).unwrap_or_default(),
            signature_pin_tries: self.tries(SIGNATURE_DF, ObjectId::SIGNATURE_PIN),
            authentication_certificate: chip
                .authentication
                .as_ref()
                .is_some_and(|place| self.is_certified(place)),
            signature_area: self.signature_area(),
        }
    }

    fn tries(&self, directory: FilePath, id: ObjectId) -> Option<u8> {
        let address = ObjectAddress::new(ObjectClass::Test, id);
        Some(self.files().object(&ObjectReference { directory, address })?.tries_left)
    }

    /// Whether the second slot of the signature area, which a renewal fills, has a certificate.
    fn is_renewed(&self, root: &FilePath) -> bool {
        let path = root.join(&Slot::Second.certificate_path());
        self.transparent_at(&path).first().is_some_and(|byte| *byte != 0)
    }

    /// A certificate is a SEQUENCE, or in a container of its maker; an unwritten file is full of zeros.
    fn is_certified(&self, place: &KeyPlace) -> bool {
        self.transparent_at(&self.certificate_path(place)).first().is_some_and(|byte| *byte != 0)
    }

    fn signature_area(&self) -> SignatureAreaState {
        let chip = self.generation().chip();
        let root = chip.root(0);
        let made = |place: &KeyPlace| {
            let address = ObjectAddress::new(ObjectClass::Key, place.key);
            self.files().object(&ObjectReference { directory: chip.key_df(place), address }).is_some()
        };
        if chip.signature.as_ref().is_some_and(|place| self.is_certified(place)) || self.is_renewed(&root) {
            SignatureAreaState::Certified
        } else if chip.signature.as_ref().is_some_and(made)
            || self.tries(root.join(&SIGNATURE_DF), ObjectId::SIGNATURE_PIN).is_some()
            || self.files().file(&root.join(&SIGNATURE_KEY_DF)).is_some()
        {
            SignatureAreaState::Begun
        } else if self.files().file(&root.join(&SIGNATURE_DF)).is_none() {
            SignatureAreaState::Absent
        } else {
            SignatureAreaState::Empty
        }
    }
}

impl Display for Summary {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "Generation:    {}", self.generation.name())?;
        writeln!(f, "Real cards:    {}", self.generation.cards())?;
        writeln!(f, "Known by:      {} ({})", self.generation.evidence(), self.generation.grade())?;
        writeln!(f, "ATR:           {}", self.answer_to_reset)?;
        writeln!(f, "ID_Carta:      {}", self.id_card)?;
        writeln!(f, "Holder:        {}", self.holder)?;
        writeln!(f, "Tax code:      {}", self.codice_fiscale)?;
        writeln!(f, "PIN:           {} tries left", self.pin_tries)?;
        writeln!(f, "PUK:           {} tries left", self.puk_tries)?;
        let certificate = if self.authentication_certificate { "present" } else { "absent" };
        writeln!(f, "Certificate:   {certificate}")?;
        let area = match self.signature_area {
            SignatureAreaState::Absent => "absent",
            SignatureAreaState::Empty => "empty",
            SignatureAreaState::Begun => "begun, no certificate",
            SignatureAreaState::Certified => "with certificate",
        };
        writeln!(f, "Signature:     {area}")?;
        if let Some(tries) = self.signature_pin_tries {
            writeln!(f, "Signature PIN: {tries} tries left")?;
        }
        Ok(())
    }
}
