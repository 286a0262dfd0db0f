//! The certification authority, the way to it, and where the standing of certificates is asked for.

use std::path::PathBuf;

use serde::Deserialize;

/// The certification authority that signature certificates are asked from, over CMP.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthorityConfig {
    /// The CMP end point, `http://HOST:PORT/PATH`, or `https:` with [`NetworkConfig::tls_roots`].
    pub url: String,
    /// How messages are protected, and so who asks.
    #[serde(default)]
    pub protection: Protection,
    /// The sender KID that names the shared secret.
    #[serde(default = "default_reference")]
    pub reference: String,
    /// The file of the CMP shared secret; readable by root only. A trailing newline does not count.
    #[serde(default)]
    pub secret_file: Option<PathBuf>,
    /// PEM: the registration authority's certificate, and its chain.
    #[serde(default)]
    pub ra_certificate: Option<PathBuf>,
    /// PEM, PKCS#8: the registration authority's key; readable by root only.
    #[serde(default)]
    pub ra_key_file: Option<PathBuf>,
    /// How a certificate is asked for.
    #[serde(default)]
    pub request: RequestForm,
    /// Whether the authority is asked to do without certConf.
    #[serde(default)]
    pub implicit_confirm: bool,
    /// How long an authority that wants time is polled, in seconds.
    #[serde(default = "default_wait")]
    pub wait_seconds: u32,
    /// PEM bundle: the chain of citizens' and issued certificates.
    pub trust_anchors: PathBuf,
}

impl Default for AuthorityConfig {
    fn default() -> Self {
        Self {
            url: String::new(),
            protection: Protection::default(),
            reference: default_reference(),
            secret_file: None,
            ra_certificate: None,
            ra_key_file: None,
            request: RequestForm::default(),
            implicit_confirm: false,
            wait_seconds: default_wait(),
            trust_anchors: PathBuf::new(),
        }
    }
}

/// How CMP messages are protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protection {
    /// By the shared secret: PasswordBasedMac.
    #[default]
    Pbm,
    /// By the shared secret: PBMAC1.
    Pbmac1,
    /// By a registration authority's key in a file.
    RegistrationAuthority,
    /// By the operator's own card: the operator acts as the certifier's registration officer (§7).
    Operator,
}

/// How a certificate is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RequestForm {
    /// PKCS#10 in p10cr.
    #[default]
    P10cr,
    /// CRMF in ir.
    Ir,
}

fn default_wait() -> u32 {
    60
}

/// The way to the authority.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkConfig {
    /// `http://HOST:PORT` of a proxy. It is asked to CONNECT, whatever the address is.
    pub proxy: Option<String>,
    /// Servers that are reached without it.
    pub no_proxy: Vec<String>,
    /// PEM bundle: the only authorities of servers' TLS certificates.
    pub tls_roots: Option<PathBuf>,
}

fn default_reference() -> String {
    "cnsd".into()
}

/// Where the standing of certificates is asked for.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StatusConfig {
    /// The OCSP responder, which is asked first.
    pub ocsp: Option<String>,
    /// Whether answers without our nonce count, as those of responders that sign in advance.
    pub ocsp_without_nonce: bool,
    /// The authority's complete revocation list, DER: an address, or a file by its whole path.
    pub crl: Option<String>,
    /// Its delta list.
    pub delta_crl: Option<String>,
    /// How large a list may be, in MiB.
    pub crl_limit_mib: u32,
    /// What follows when nobody can be asked.
    pub offline: Offline,
    /// PEM bundle of the authorities; absent: `authority.trust_anchors`.
    pub trust_anchors: Option<PathBuf>,
}

impl Default for StatusConfig {
    fn default() -> Self {
        Self {
            ocsp: None,
            ocsp_without_nonce: false,
            crl: None,
            delta_crl: None,
            crl_limit_mib: 64,
            offline: Offline::Refuse,
            trust_anchors: None,
        }
    }
}

/// What follows when a certificate's standing cannot be known: no source answers, or none is believed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Offline {
    /// No activation, and no operator session.
    #[default]
    Refuse,
    /// They go on, with a warning to the operator and in the log. What was known to be suspended or revoked stays so.
    Warn,
}
