//! nginx with a page that only a card opens: it shows the codice fiscale from the certificate's subject.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;
use crate::error::During;
use crate::stage::{Stage, output_of};

/// Where it listens, on the loopback of the tests' own network namespace.
pub(super) const PORT: u16 = 8443;

/// A running server.
pub(super) struct Server {
    /// Its own certificate, PEM, for `localhost`.
    pub(super) certificate: PathBuf,
}

/// Starts the server `nginx` on the stage; `authority` (PEM) certifies the cards that it lets in.
pub(super) fn start(stage: &mut Stage, authority: &Path) -> Result<Server> {
    let certificate = stage.path("nginx.pem");
    let key = stage.path("nginx.key");
    let mut make = Command::new("openssl");
    make.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]);
    make.args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout"]).arg(&key);
    output_of(make.arg("-out").arg(&certificate))?;
    let folder = stage.path("nginx");
    std::fs::create_dir_all(&folder).during("making nginx's folder")?;
    let text = configuration(&folder, &certificate, &key, authority);
    let configuration = stage.write("nginx.conf", &text)?;
    let mut nginx = Command::new("nginx");
    nginx.arg("-p").arg(&folder).arg("-c").arg(configuration).args(["-e", "stderr"]);
    stage.start("nginx", &mut nginx)?;
    stage.wait_for("nginx's port", 10, |_| Ok(std::net::TcpStream::connect(("127.0.0.1", PORT)).ok()))?;
    Ok(Server { certificate })
}

/// Each visit is a fresh handshake with a fresh signature: nothing is kept from one to the next.
fn configuration(folder: &Path, certificate: &Path, key: &Path, authority: &Path) -> String {
    let (folder, certificate) = (folder.display(), certificate.display());
    let (key, authority) = (key.display(), authority.display());
    format!(
        "daemon off;
master_process off;
pid {folder}/pid;
error_log stderr info;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_timeout 0;
    map $ssl_client_s_dn $codice_fiscale {{
        default \"none\";
        \"~CN=(?<found>[A-Z0-9]{{16}})/\" $found;
    }}
    server {{
        listen 127.0.0.1:{PORT} ssl;
        server_name localhost;
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        ssl_client_certificate {authority};
        ssl_verify_client on;
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_session_cache off;
        ssl_session_tickets off;
        default_type text/plain;
        location = /titled {{
            default_type text/html;
            return 200 \"<!DOCTYPE html><title>Card of $codice_fiscale, visit $arg_visit</title><p>$codice_fiscale\";
        }}
        location / {{
            return 200 \"codice fiscale $codice_fiscale, $ssl_protocol, $ssl_client_verify\\n\";
        }}
    }}
}}
"
    )
}
