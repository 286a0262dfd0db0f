//! Programs that nobody here wrote, using the card: OpenSC's tools, OpenSSL.

use std::path::{Path, PathBuf};
use std::process::Command;

use cns_secret::Secret;

use crate::Result;
use crate::error::Error;
use crate::office;
use crate::stage::{Stage, output_of};
use crate::terminal;

/// One of OpenSC's `pkcs11-tool` calls on a module.
pub(crate) fn pkcs11_tool(stage: &Stage, module: &Path, arguments: &[&str]) -> Command {
    let mut command = stage.foreign("pkcs11-tool");
    command.arg("--module").arg(module).args(arguments);
    command
}

/// The `CKA_ID`s of the certificates that `pkcs11-tool -O` lists, in order.
pub(crate) fn certificate_ids(listing: &str) -> Vec<String> {
    let mut ids = Vec::new();
    let mut in_certificate = false;
    for line in listing.lines() {
        if !line.starts_with(' ') {
            in_certificate = line.starts_with("Certificate Object");
        } else if in_certificate && line.trim_start().starts_with("ID:") {
            ids.extend(line.split_whitespace().nth(1).map(str::to_owned));
        }
    }
    ids
}

/// Signs a file with the key of this ID through a module, SHA256-RSA-PKCS, typing the next of `pins` where one is asked
/// for: the signature key wants one once more, for the one signature.
pub(crate) fn sign(
    stage: &Stage,
    module: &Path,
    id: &str,
    slot: &[&str],
    pins: &[&Secret],
    name: &str,
) -> Result<()> {
    let input = stage.write(&format!("{name}.txt"), "A text that is signed on the card.\n")?;
    let mut command =
        pkcs11_tool(stage, module, &["--login", "--sign", "--mechanism", "SHA256-RSA-PKCS", "--id", id]);
    command
        .args(slot)
        .arg("--input-file")
        .arg(input)
        .arg("--output-file")
        .arg(stage.path(&format!("{name}.sig")));
    terminal::run(&command, pins).map(|_| ())
}

/// Reads the certificate of this ID through a module, and checks a signature with it by `openssl`.
pub(crate) fn verify(stage: &Stage, module: &Path, id: &str, slot: &[&str], name: &str) -> Result<()> {
    let read = ["--read-object", "--type", "cert", "--id", id, "--output-file"];
    output_of(pkcs11_tool(stage, module, &read).arg(stage.path(&format!("{name}.cert.der"))).args(slot))?;
    let public_key = stage.path(&format!("{name}.pub.pem"));
    let mut extract = Command::new("openssl");
    extract
        .args(["x509", "-inform", "DER", "-noout", "-pubkey", "-in"])
        .arg(stage.path(&format!("{name}.cert.der")));
    output_of(extract.arg("-out").arg(&public_key))?;
    let mut check = Command::new("openssl");
    check.args(["dgst", "-sha256", "-verify"]).arg(public_key).arg("-signature");
    check.arg(stage.path(&format!("{name}.sig"))).arg(stage.path(&format!("{name}.txt")));
    let answer = output_of(&mut check)?;
    if answer.contains("Verified OK") { Ok(()) } else { Err(Error::Wrong(format!("openssl says: {answer}"))) }
}

/// A TLS 1.3 login with the card's authentication certificate through the module: `openssl s_client` against
/// `openssl s_server`. What the client printed.
pub(crate) fn tls_login(stage: &mut Stage, authority: &Path, pin: &Secret) -> Result<String> {
    let key = stage.path("server.key");
    let certificate = stage.path("server.pem");
    let mut make = Command::new("openssl");
    make.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]);
    make.args(["-addext", "subjectAltName=DNS:localhost", "-keyout"]).arg(&key).arg("-out").arg(&certificate);
    output_of(&mut make)?;
    let mut server = Command::new("openssl");
    server.args([
        "s_server",
        "-accept",
        "127.0.0.1:0",
        "-tls1_3",
        "-Verify",
        "2",
        "-verify_return_error",
        // TLS 1.3 knows no other signature by an RSA key; the server insists on it all the same.
        "-client_sigalgs",
        "rsa_pss_rsae_sha256:rsa_pss_rsae_sha384:rsa_pss_rsae_sha512",
        "-CAfile",
    ]);
    server
        .arg(authority)
        .arg("-cert")
        .arg(&certificate)
        .arg("-key")
        .arg(&key)
        .args(["-naccept", "1", "-www"]);
    stage.start("s_server", &mut server)?;
    let address = stage.wait_for("the TLS server's start", 10, |stage| {
        let log = stage.log("s_server");
        Ok(log.lines().find_map(|line| line.strip_prefix("ACCEPT ").map(str::to_owned)))
    })?;
    let answer = terminal::run(&tls_client(stage, &address, &certificate)?, &[pin])?;
    stage.stop("s_server")?;
    Ok(answer)
}

/// Writes OpenSSL's configuration with libp11's engine on the module.
pub(crate) fn engine_configuration(stage: &Stage) -> Result<PathBuf> {
    let engine = format!(
        "openssl_conf = openssl_init\n[openssl_init]\nengines = engine_section\n[engine_section]\n\
         pkcs11 = pkcs11_section\n[pkcs11_section]\nengine_id = pkcs11\nMODULE_PATH = {}\ninit = 0\n",
        stage.module().display()
    );
    stage.write("openssl.cnf", &engine)
}

fn tls_client(stage: &Stage, address: &str, server_certificate: &Path) -> Result<Command> {
    let configuration = engine_configuration(stage)?;
    let id = certificate_id_of_login_key(stage)?;
    let uri: String =
        id.as_bytes().chunks(2).map(|pair| format!("%{}", String::from_utf8_lossy(pair))).collect();
    // s_client reads a request from its input; a shell gives it one that ends the connection afterwards.
    let script = "printf 'GET / HTTP/1.0\\r\\n\\r\\n' | exec openssl s_client -connect \"$1\" -servername localhost \
                  -tls1_3 -engine pkcs11 -keyform engine -key \"$2\" -cert \"$3\" -CAfile \"$4\" -verify_return_error \
                  -ign_eof";
    let mut client = stage.foreign("sh");
    let token = format!("{}%20{}%20-%20CNS%20login", office::CITIZEN.name, office::CITIZEN.surname);
    client
        .args(["-c", script, "tls-login", address])
        .arg(format!("pkcs11:token={token};id={uri};type=private"));
    client.arg(stage.path("citizen.pem")).arg(server_certificate).env("OPENSSL_CONF", configuration);
    Ok(client)
}

fn certificate_id_of_login_key(stage: &Stage) -> Result<String> {
    let listing = output_of(&mut pkcs11_tool(stage, &stage.module(), &["--list-objects", "--type", "cert"]))?;
    let ids = certificate_ids(&listing);
    ids.into_iter().next().ok_or_else(|| Error::Wrong(format!("the module lists no certificate:\n{listing}")))
}
