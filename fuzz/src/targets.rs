//! One function per target.

pub(crate) mod certificate;
pub(crate) mod chip;
pub(crate) mod cmp_response;
pub(crate) mod command;
pub(crate) mod cryptoki;
pub(crate) mod fci;
pub(crate) mod fields;
pub(crate) mod object_directory;
pub(crate) mod ocsp_answer;
pub(crate) mod personal_data;
pub(crate) mod pin_pad;
pub(crate) mod revocation_list;
pub(crate) mod secure_messaging;
pub(crate) mod session;
pub(crate) mod tlv;
pub(crate) mod trace;
