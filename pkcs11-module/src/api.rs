//! The functions, by chapter of the standard. No pointer is in sight here.

pub(crate) mod counter;
pub(crate) mod decrypt;
pub(crate) mod digest;
pub(crate) mod dual;
pub(crate) mod encrypt;
pub(crate) mod general;
pub(crate) mod login;
pub(crate) mod make;
pub(crate) mod object;
pub(crate) mod officer;
pub(crate) mod random;
pub(crate) mod refused;
pub(crate) mod session;
pub(crate) mod sign;
pub(crate) mod slot;
pub(crate) mod verify;
pub(crate) mod wrap;
