//! The bureau's second half: it asks for the certificates of a card's keys, and loads them.

use std::ops::RangeInclusive;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cns_apdu::file_map::{Fid, FilePath, ID_CARD, PERSONAL_DATA, PUBLIC_OBJECT_DIRECTORY};
use cns_apdu::object::{ObjectAddress, ObjectClass, rsa_component_value};
use cns_apdu::object_directory::{CertificateAttributes, DirectoryEntry};
use cns_apdu::personal_data::PersonalData;
use der::Decode;
use rsa::RsaPrivateKey;
use sha1::{Digest, Sha1};
use x509_cert::Certificate;

use super::tree::{replace, write};
use super::{AUTHENTICATION_LABEL, AUTHORITY_LABEL, CreateError, SIGNATURE_LABEL, keyset};
use crate::card::VirtualCard;
use crate::filesystem::{FileBody, Place};
use crate::generation::{CertificatePlace, KeyPlace, Room, STORED_PUBLIC};
use crate::keys::{self, KeyError};
use crate::objects::{ObjectReference, SecurityObject};
use crate::request;

/// Files of an object store for certificates of authorities; the numbers before are for the holder's.
const STORED_AUTHORITIES: RangeInclusive<u16> = 0x2010..=0x201F;
/// Files of ESIGN beside the authentication certificate.
const ESIGN_OTHERS: RangeInclusive<u16> = 0xC002..=0xC00F;

/// The common name of the authentication certificate of a card with these files.
pub(crate) fn common_name(personal_data: &[u8], id_card: &[u8]) -> String {
    let codice_fiscale = PersonalData::decode(personal_data).map(|data| data.fiscal_code).unwrap_or_default();
    let serial = String::from_utf8_lossy(id_card);
    format!("{codice_fiscale}/{serial}.{}", STANDARD.encode(Sha1::digest(personal_data)))
}

impl VirtualCard {
    /// The common name of the authentication certificate: tax code, serial number, and a hash that ties both
    /// to EF_Dati_personali.
    #[must_use]
    pub fn common_name(&self) -> String {
        common_name(self.transparent(&PERSONAL_DATA), self.transparent(&ID_CARD))
    }

    /// The PKCS#10 request for the authentication certificate, in DER.
    ///
    /// # Errors
    /// A value does not fit the request, the key is damaged, or this is no CNS.
    pub fn certificate_request(&self, administration: &str) -> Result<Vec<u8>, CreateError> {
        let key = self.bureau_key(self.generation().chip().authentication.as_ref())?;
        let subject = request::subject(administration, &self.common_name())?;
        Ok(request::certificate_request(subject, &key)?)
    }

    /// The PKCS#10 request for the certificate of the signature key that the bureau made, in DER.
    ///
    /// # Errors
    /// A value does not fit the request, or there is no such key.
    pub fn signature_certificate_request(&self) -> Result<Vec<u8>, CreateError> {
        let key = self.bureau_key(self.generation().chip().signature.as_ref())?;
        let data = PersonalData::decode(self.transparent(&PERSONAL_DATA));
        let data = data.map_err(|_| CreateError::Content("EF_Dati_personali"))?;
        let subject = request::signature_subject(&data.name, &data.surname, &data.fiscal_code)?;
        Ok(request::certificate_request(subject, &key)?)
    }

    /// Writes the authentication certificate (DER) to where the generation has it, as the bureau does before the
    /// card is handed out.
    ///
    /// # Errors
    /// It does not fit, there is no place for one, or the card's directory cannot be written.
    pub fn load_certificate(&mut self, der: &[u8]) -> Result<(), CreateError> {
        let place = self.generation().chip().authentication.as_ref();
        self.load(place, der, AUTHENTICATION_LABEL)
    }

    /// Writes the certificate (DER) of the signature key that the bureau made.
    ///
    /// # Errors
    /// It does not fit, there is no such key, or the card's directory cannot be written.
    pub fn load_signature_certificate(&mut self, der: &[u8]) -> Result<(), CreateError> {
        let place = self.generation().chip().signature.as_ref();
        self.load(place, der, SIGNATURE_LABEL)
    }

    /// Writes the certificate (DER) of a certification authority beside the holder's, where the generation has a place
    /// for more of them: in the object store, or in the DF of the certificates of ESIGN.
    ///
    /// # Errors
    /// There is no such place, none is free, it does not fit, or the card's directory cannot be written.
    pub fn load_authority_certificate(&mut self, der: &[u8]) -> Result<(), CreateError> {
        let chip = self.generation().chip();
        let place = chip.authentication.as_ref();
        let place = place.ok_or(CreateError::Generation(chip.name, "with a certificate of an authority"))?;
        let path = self.free_certificate_path(place)?;
        let key = Certificate::from_der(der)
            .map(|certificate| certificate.tbs_certificate.subject_public_key_info.subject_public_key);
        let key = key.map_err(|_| CreateError::Content("the certificate"))?;
        replace(&mut self.state.files, &path, place.certificate.access, None, der.to_vec())?;
        if place.stored.is_some() {
            self.list_certificate(&path, der, key.raw_bytes(), AUTHORITY_LABEL)?;
        }
        Ok(self.store()?)
    }

    /// Where the next certificate goes that belongs to no key of the card.
    fn free_certificate_path(&self, place: &KeyPlace) -> Result<FilePath, CreateError> {
        let chip = self.generation().chip();
        let numbers = match (&place.stored, chip.takes_authority_certificates()) {
            (Some(_), _) => STORED_AUTHORITIES,
            (None, true) => ESIGN_OTHERS,
            (None, false) => {
                return Err(CreateError::Generation(chip.name, "with a certificate of an authority"));
            }
        };
        let path = self.certificate_path(place);
        let df = path.parent().ok_or(CreateError::Content("the certificate's directory"))?;
        numbers
            .map(|number| df.child(Fid(number)))
            .find(|path| self.files().file(path).is_none())
            .ok_or(CreateError::Content("the certificate's directory"))
    }

    fn load(&mut self, place: Option<&KeyPlace>, der: &[u8], label: &str) -> Result<(), CreateError> {
        let place = place.ok_or(CreateError::Content("the chip"))?;
        let modulus = self.modulus(place)?;
        let path = self.certificate_path(place);
        let files = &mut self.state.files;
        let CertificatePlace { access, short_identifier, room, .. } = place.certificate;
        match room {
            Room::Reserved => write(files, &path, "the certificate's file", der)?,
            Room::Exact => replace(files, &path, access, short_identifier, der.to_vec())?,
        }
        if place.stored.is_some() {
            self.list_certificate(&path, der, &modulus, label)?;
        }
        Ok(self.store()?)
    }

    fn list_certificate(
        &mut self,
        path: &FilePath,
        der: &[u8],
        modulus: &[u8],
        label: &str,
    ) -> Result<(), CreateError> {
        let (Some(file), Some(df)) = (path.files().last().copied(), path.parent()) else {
            return Err(CreateError::Content("the certificate's file"));
        };
        let size = u16::try_from(der.len()).map_err(|_| CreateError::Content("the object directory"))?;
        let entry = DirectoryEntry { file, size };
        let serial = Certificate::from_der(der).map(|certificate| certificate.tbs_certificate.serial_number);
        let keyset::Identity { label, id } = keyset::Identity::new(label, modulus);
        let attributes = CertificateAttributes {
            flags: CertificateAttributes::FLAGS,
            label,
            id,
            serial: serial.map(|serial| serial.as_bytes().to_vec()).unwrap_or_default(),
        };
        let attributes =
            attributes.encode().map_err(|_| CreateError::Content("the certificate's attributes"))?;
        let files = &mut self.state.files;
        replace(files, &df.child(entry.attributes()), STORED_PUBLIC, None, attributes)?;
        keyset::list(files, &PUBLIC_OBJECT_DIRECTORY, entry)
    }

    /// Where the certificate of a key is, from the card's own MF.
    pub(crate) fn certificate_path(&self, place: &KeyPlace) -> FilePath {
        self.generation().chip().root(place.certificate.application).join(&place.certificate.path)
    }

    /// The content of a transparent file of the CNS, without asking for any right; empty if there is none.
    pub(crate) fn transparent(&self, path: &FilePath) -> &[u8] {
        self.transparent_at(&self.generation().chip().root(0).join(path))
    }

    /// The same from the card's own MF.
    pub(crate) fn transparent_at(&self, path: &FilePath) -> &[u8] {
        match self.files().file(path).map(|file| &file.body) {
            Some(FileBody::Transparent(file)) => &file.content,
            Some(FileBody::Records(_) | FileBody::Directory(_)) | None => &[],
        }
    }

    fn modulus(&self, place: &KeyPlace) -> Result<Vec<u8>, CreateError> {
        let body = &self.component(place, ObjectClass::Key)?.body;
        let modulus = rsa_component_value(body.expose()).ok_or(KeyError::Unusable)?;
        Ok(modulus.to_vec())
    }

    fn bureau_key(&self, place: Option<&KeyPlace>) -> Result<RsaPrivateKey, CreateError> {
        let place = place.ok_or(CreateError::Content("the chip"))?;
        let modulus = self.component(place, ObjectClass::Key)?;
        let exponent = self.component(place, ObjectClass::KeyExponent)?;
        Ok(keys::private_key(&modulus.body, &exponent.body)?)
    }

    fn component(&self, place: &KeyPlace, class: ObjectClass) -> Result<&SecurityObject, CreateError> {
        let address = ObjectAddress::new(class, place.key);
        let reference = ObjectReference { directory: self.generation().chip().key_df(place), address };
        Ok(self.files().object(&reference).ok_or(KeyError::Unusable)?)
    }
}
