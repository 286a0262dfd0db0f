//! Who stands at the counter, for whom, and why.

use serde::{Deserialize, Serialize};

use super::{Document, DocumentKind};

/// Who is at the counter (§6.1, §6.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Applicant {
    /// The holder, of age.
    Holder,
    /// A parent of the holder, who is a minor (§6.4.1).
    Parent,
    /// The holder, who is an emancipated minor (§6.4.2).
    EmancipatedMinor,
    /// The legal representative of the holder, who is a ward (§6.4.3).
    Guardian,
    /// Somebody whom the holder, who cannot come for reasons of health, has delegated (§6.4.4).
    Delegate,
}

impl Applicant {
    /// Everyone.
    pub const ALL: [Applicant; 5] = [
        Applicant::Holder,
        Applicant::Parent,
        Applicant::EmancipatedMinor,
        Applicant::Guardian,
        Applicant::Delegate,
    ];
}

/// Who acts for the holder, with the identity document that was shown (§6.4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Representative {
    /// Surname.
    pub surname: String,
    /// Given name.
    pub name: String,
    /// Codice fiscale.
    pub codice_fiscale: String,
    /// The document's kind.
    pub kind: DocumentKind,
    /// Its number.
    pub number: String,
    /// Who issued it.
    pub issuer: String,
    /// When it expires, `YYYY-MM-DD`; an expired one is refused.
    pub expires: String,
}

impl Representative {
    /// The identity document.
    #[must_use]
    pub fn document(&self) -> Document {
        Document {
            kind: self.kind,
            number: self.number.clone(),
            issuer: self.issuer.clone(),
            expires: self.expires.clone(),
        }
    }
}

/// A person, by name and codice fiscale.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Person {
    /// Surname.
    pub surname: String,
    /// Given name.
    pub name: String,
    /// Codice fiscale.
    pub codice_fiscale: String,
}

/// What shows that a minor is emancipated (§6.4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Evidence {
    /// The marriage, on the identity document.
    MarriageOnDocument,
    /// An act of the court.
    CourtAct,
    /// A self-declaration.
    SelfDeclaration,
}

impl Evidence {
    /// Every kind.
    pub const ALL: [Evidence; 3] =
        [Evidence::MarriageOnDocument, Evidence::CourtAct, Evidence::SelfDeclaration];
}

/// Why a card is suspended or revoked (§9.5, §9.7.1, §9.7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// The card was stolen, or it is feared.
    Theft,
    /// The card is lost, or it is feared.
    Loss,
    /// Somebody else may know the codes.
    CodesCompromised,
    /// The holder's data in the certificate are wrong or have changed.
    WrongData,
    /// The card does not work.
    Malfunction,
    /// The card could not be delivered (issuing body).
    NotDelivered,
    /// The holder has died (issuing body).
    Death,
    /// The holder is entitled to health care no more (issuing body).
    EntitlementEnded,
}
