//! `counter.sheet`: what is printed and handed over or signed.

use serde::{Deserialize, Serialize};

use crate::{Method, Role};

/// Which sheet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum SheetKind {
    /// The information sheet on what was done (§9.3.2-11).
    Information,
    /// The form that is signed: request and declarations (§7-form, §6.4, §9.5, §9.7.1).
    Request,
}

/// `counter.sheet`: a sheet of a procedure as it now stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Sheet {
    /// The procedure.
    pub procedure: String,
    /// Which sheet.
    pub kind: SheetKind,
}

impl Method for Sheet {
    const NAME: &'static str = "counter.sheet";
    const SUMMARY: &'static str = "Makes the information sheet or the form to be signed: HTML that prints well, in Italian, without secrets.";
    const ROLE: Role = Role::Counter;
    type Answer = SheetDocument;
}

/// A sheet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openrpc", derive(schemars::JsonSchema))]
pub struct SheetDocument {
    /// Its title.
    pub title: String,
    /// HTML 5, complete in itself: no script, nothing loaded from elsewhere.
    pub html: String,
}
