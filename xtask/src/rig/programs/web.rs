//! A web site that wants the card: nginx, with OpenSSL and curl as its visitors.

use std::path::PathBuf;

use super::Programs;
use super::contains;
use crate::Result;
use crate::office::CITIZEN;
use crate::rig::nginx::{self, PORT};
use crate::stage::run_refused;
use crate::{stage, terminal};

impl Programs {
    pub(super) fn web(&mut self) -> Result<()> {
        let authority = self.authority();
        let server = nginx::start(&mut self.stage, &authority)?;
        let visited = self.visit(&server.certificate);
        self.stage.stop("nginx")?;
        visited
    }

    fn visit(&mut self, server: &PathBuf) -> Result<()> {
        for (version, name) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
            self.visit_by_openssl(server, version, name)?;
        }
        let pin = self.pin_file("pin", &self.card.pin)?;
        for (version, name) in [("1.2", "TLSv1.2"), ("1.3", "TLSv1.3")] {
            let uri = format!("{}?pin-source=file:{}", self.login_uri("private"), pin.display());
            let mut curl = self.curl(server, &uri)?;
            curl.args([&format!("--tlsv{version}"), "--tls-max", version]);
            welcome(&stage::output_of(&mut curl)?, name)?;
        }
        // The server insists on the card, and the card on its PIN.
        let mut stranger = self.stage.foreign("curl");
        stranger.args(["--silent", "--show-error", "--cacert"]).arg(server);
        let page = stage::output_of(stranger.arg(format!("https://localhost:{PORT}/")))?;
        contains(&page, "No required SSL certificate was sent")?;
        self.spends_one_try(|rig, wrong| {
            let file = rig.pin_file("wrong-pin", wrong)?;
            let uri = format!("{}?pin-source=file:{}", rig.login_uri("private"), file.display());
            contains(&run_refused(&mut rig.curl(server, &uri)?, &[])?, "Login failed")
        })
    }

    fn visit_by_openssl(&self, server: &PathBuf, version: &str, name: &str) -> Result<()> {
        // s_client reads a request from its input; a shell gives it one that ends the connection afterwards.
        let script = "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | exec openssl s_client -connect \"$1\" -servername localhost \
                      \"$2\" -engine pkcs11 -keyform engine -key \"$3\" -cert \"$4\" -CAfile \"$5\" \
                      -verify_return_error -ign_eof -quiet";
        let mut client = self.with_engine("sh")?;
        client.args(["-c", script, "visit", &format!("127.0.0.1:{PORT}"), version]);
        client.arg(self.login_uri("private")).arg(self.stage.path("login.pem")).arg(server);
        welcome(&terminal::run(&client, &[&self.card.pin])?, name)
    }

    /// A visit with certificate and key from the card.
    fn curl(&self, server: &PathBuf, key: &str) -> Result<std::process::Command> {
        let mut curl = self.with_engine("curl")?;
        curl.args(["--silent", "--show-error", "--engine", "pkcs11", "--cert-type", "ENG", "--cert"]);
        curl.args([&self.login_uri("cert"), "--key-type", "ENG", "--key", key, "--cacert"]).arg(server);
        curl.arg(format!("https://localhost:{PORT}/"));
        Ok(curl)
    }
}

/// The page that greets the card's holder over this version of TLS.
fn welcome(page: &str, version: &str) -> Result<()> {
    contains(page, &format!("codice fiscale {}, {version}, SUCCESS", CITIZEN.codice_fiscale))
}
