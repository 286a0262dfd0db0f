//! `holder.*`: what the region's web area and the call centre ask about a holder.

use serde::{Deserialize, Serialize};

use crate::secret_text::{self, SecretText};
use crate::{Method, Role};

/// `holder.verify_user_code`: whether a user code is the holder's (§6.2, §6.3).
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct VerifyUserCode {
    /// The holder's codice fiscale.
    pub codice_fiscale: String,
    /// The user code, from the envelope.
    #[serde(serialize_with = "secret_text::write")]
    pub user_code: SecretText,
}

/// Whether it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
pub struct UserCodeVerdict {
    /// False for a wrong code and for a holder that nobody knows.
    pub matches: bool,
}

impl Method for VerifyUserCode {
    const NAME: &'static str = "holder.verify_user_code";
    const SUMMARY: &'static str =
        "Tells whether a user code is the holder's; after too many wrong ones it tells no more.";
    const ROLE: Role = Role::Web;
    const OTHER_ROLES: &'static [Role] = &[Role::CallCentre];
    const CARRIES_SECRET: bool = true;
    type Answer = UserCodeVerdict;
}
