//! Who was identified for what is asked without the card, and which paper was shown, as it is kept: sealed.

use cns_protocol::certificate::{Identified, Paper};
use cns_secret::Secret;
use serde::{Deserialize, Serialize};

use crate::custody::{CustodyError, RecordName, Sealer};

/// Who was identified for a request, and what was shown.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Papers {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) identified: Option<Identified>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) paper: Option<Paper>,
}

impl Papers {
    /// Seals them for a record; nothing where there are none.
    ///
    /// # Errors
    /// No locked memory, or no randomness.
    pub(crate) fn seal(
        &self,
        sealer: &Sealer,
        name: RecordName<'_>,
    ) -> Result<Option<Vec<u8>>, CustodyError> {
        if self.identified.is_none() && self.paper.is_none() {
            return Ok(None);
        }
        let text = serde_json::to_vec(self).map_err(|_| CustodyError::Invalid("what was shown"))?;
        Ok(Some(sealer.seal(name, &Secret::copy_from(&text)?)?))
    }
}
