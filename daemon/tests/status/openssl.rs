//! OpenSSL as a certification authority: its index of certificates, its lists, its OCSP responder.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::fixture::openssl;
use crate::server::Reply;

/// What OpenSSL's index says of a certificate.
#[derive(Clone, Copy)]
pub(crate) enum Entry<'a> {
    Valid,
    /// Since then, `YYMMDDHHMMSSZ`, for this reason.
    Revoked(&'a str, &'a str),
}

/// Writes the index of these serial numbers.
pub(crate) fn index(folder: &Path, entries: &[(&str, Entry<'_>)]) {
    let line = |(serial, entry): &(&str, Entry<'_>)| {
        let serial = serial.to_uppercase();
        match entry {
            Entry::Valid => format!("V\t491231235959Z\t\t{serial}\tunknown\t/CN=x\n"),
            Entry::Revoked(at, reason) => {
                let reason = if reason.is_empty() { String::new() } else { format!(",{reason}") };
                format!("R\t491231235959Z\t{at}{reason}\t{serial}\tunknown\t/CN=x\n")
            }
        }
    };
    fs::write(folder.join("index.txt"), entries.iter().map(line).collect::<String>()).unwrap();
    fs::write(folder.join("index.txt.attr"), "unique_subject = no\n").unwrap();
}

/// A list to be made.
pub(crate) struct Crl<'a> {
    pub(crate) number: u32,
    /// The folder of the authority that signs it.
    pub(crate) signer: &'a str,
    /// More lines for the section of its extensions.
    pub(crate) extensions: &'a str,
    /// `-crl_lastupdate` and `-crl_nextupdate`, or `-crldays` alone.
    pub(crate) times: &'a [&'a str],
}

impl Default for Crl<'_> {
    fn default() -> Self {
        Self { number: 1, signer: "ca", extensions: "", times: &["-crldays", "1"] }
    }
}

/// A list of the index, DER.
pub(crate) fn crl(folder: &Path, crl: &Crl<'_>) -> Vec<u8> {
    let config = format!(
        "[ca]\ndefault_ca = me\n[me]\ndatabase = index.txt\ncrlnumber = crlnumber\ndefault_md = sha256\n\
         default_crl_days = 1\ncrl_extensions = extensions\n[extensions]\nauthorityKeyIdentifier = keyid\n{}\n",
        crl.extensions
    );
    fs::write(folder.join("crl.cnf"), config).unwrap();
    fs::write(folder.join("crlnumber"), format!("{:04X}\n", crl.number)).unwrap();
    let (key, certificate) = (format!("{}/ca-key.pem", crl.signer), format!("{}/ca.pem", crl.signer));
    let make = ["ca", "-config", "crl.cnf", "-gencrl", "-keyfile", &key, "-cert", &certificate];
    openssl(folder, &[&make[..], crl.times, &["-out", "list.pem"]].concat());
    openssl(folder, &["crl", "-in", "list.pem", "-outform", "DER", "-out", "list.der"]);
    fs::read(folder.join("list.der")).unwrap()
}

/// What makes a list a delta list of the complete list of this number.
pub(crate) fn continues(base: u8) -> String {
    format!("2.5.29.27 = critical, DER:02:01:{base:02X}")
}

/// What makes a certificate one of a responder.
pub(crate) const RESPONDER: &str = "keyUsage=critical,digitalSignature\nextendedKeyUsage=OCSPSigning\n\
     subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n";
/// The same without the right to speak for its issuer.
pub(crate) const NO_RESPONDER: &str = "keyUsage=critical,digitalSignature\nextendedKeyUsage=clientAuth\n\
     subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n";

/// `openssl ocsp` as a responder that is given one request at a time.
pub(crate) struct Responder {
    folder: PathBuf,
    signer: [String; 2],
    /// Answers without the nonce, as a responder that signs in advance.
    in_advance: bool,
    one: Mutex<()>,
}

impl Responder {
    /// It signs with `NAME.pem` and `NAME.key`.
    pub(crate) fn new(folder: &Path, name: &str) -> Self {
        let signer = [format!("{name}.pem"), format!("{name}.key")];
        Self { folder: folder.to_owned(), signer, in_advance: false, one: Mutex::new(()) }
    }

    /// It signs as the authority itself.
    pub(crate) fn authority(folder: &Path) -> Self {
        let signer = ["ca/ca.pem".to_owned(), "ca/ca-key.pem".to_owned()];
        Self { folder: folder.to_owned(), signer, in_advance: false, one: Mutex::new(()) }
    }

    pub(crate) fn in_advance(self) -> Self {
        Self { in_advance: true, ..self }
    }

    /// Its answer to a request about `leaf.der`.
    pub(crate) fn answer(&self, request: &[u8]) -> Vec<u8> {
        let _one = self.one.lock().unwrap();
        let folder = &self.folder;
        if self.in_advance {
            let ask = ["ocsp", "-no_nonce", "-issuer", "ca/ca.pem", "-cert", "leaf.pem", "-reqout", "asked"];
            openssl(folder, &["x509", "-inform", "DER", "-in", "leaf.der", "-out", "leaf.pem"]);
            openssl(folder, &ask);
        } else {
            fs::write(folder.join("asked"), request).unwrap();
        }
        let [certificate, key] = &self.signer;
        let answer =
            ["ocsp", "-index", "index.txt", "-CA", "ca/ca.pem", "-rsigner", certificate, "-rkey", key];
        let with = ["-ndays", "1", "-reqin", "asked", "-respout", "answer"];
        openssl(folder, &[&answer[..], &with].concat());
        fs::read(folder.join("answer")).unwrap()
    }

    pub(crate) fn into_handler(self) -> impl Fn(&str, &[u8]) -> Reply + Send + 'static {
        move |_, request| Reply::Body(self.answer(request))
    }
}
