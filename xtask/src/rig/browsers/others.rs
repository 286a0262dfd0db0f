//! What `cnsctl module register` writes for p11-kit, Java and OpenSSL, used as it is.

use std::process::Command;

use super::{Desk, Whose};
use crate::Result;
use crate::office::{CITIZEN, OwnCard};
use crate::rig::expect;
use crate::stage::output_of;
use crate::terminal;

/// Registers, uses, and takes everything back.
pub(super) fn take(desk: &mut Desk, card: &OwnCard, name: &str) -> Result<()> {
    desk.module("register", "p11-kit", Whose::System)?;
    desk.module("register", "java", Whose::Own)?;
    desk.module("register", "openssl", Whose::Own)?;
    let modules = output_of(desk.stage.foreign("p11-kit").arg("list-modules"))?;
    expect(modules.contains(CITIZEN.surname), || format!("p11-kit shows no card:\n{modules}"))?;
    java_lists(desk, card)?;
    openssl_signs(desk, card, name)?;
    for (program, whose) in [("p11-kit", Whose::System), ("java", Whose::Own), ("openssl", Whose::Own)] {
        desk.module("unregister", program, whose)?;
    }
    let left: Vec<_> = [desk.stage.path("home/.config/cns"), "/etc/pkcs11".into()]
        .into_iter()
        .filter(|path| path.exists())
        .collect();
    expect(left.is_empty(), || format!("something is left: {left:?}"))
}

fn java_lists(desk: &Desk, card: &OwnCard) -> Result<()> {
    let pin = desk.stage.write_parts("java.pin", &[card.pin.expose()])?;
    let mut keytool = desk.at_home(desk.stage.foreign("keytool"));
    keytool.args([
        "-list",
        "-keystore",
        "NONE",
        "-storetype",
        "PKCS11",
        "-addprovider",
        "SunPKCS11",
        "-providerarg",
    ]);
    keytool.arg(desk.stage.path("home/.config/cns/sunpkcs11.cfg")).arg("-storepass:file").arg(pin);
    let listing = output_of(&mut keytool)?;
    let keys = listing.matches("PrivateKeyEntry").count();
    expect(keys == 2, || format!("keytool lists {keys} of two keys:\n{listing}"))
}

fn openssl_signs(desk: &Desk, card: &OwnCard, name: &str) -> Result<()> {
    let text = desk.stage.write("openssl.txt", "A text that OpenSSL signs.\n")?;
    let (signature, key) = (desk.stage.path("openssl.sig"), desk.stage.path("openssl.pub"));
    let mut sign = desk.at_home(desk.stage.foreign("openssl"));
    sign.env("OPENSSL_CONF", desk.stage.path("home/.config/cns/openssl.cnf"));
    sign.args(["dgst", "-sha256", "-engine", "pkcs11", "-keyform", "engine", "-sign"]);
    sign.arg(format!("pkcs11:token={}%20{}%20-%20CNS%20login;type=private", CITIZEN.name, CITIZEN.surname));
    terminal::run(sign.arg("-out").arg(&signature).arg(&text), &[&card.pin])?;
    let mut public = Command::new("openssl");
    public
        .args(["x509", "-inform", "DER", "-noout", "-pubkey", "-in"])
        .arg(desk.stage.path(&format!("{name}.der")));
    output_of(public.arg("-out").arg(&key))?;
    let mut verify = Command::new("openssl");
    verify.args(["dgst", "-sha256", "-verify"]).arg(key).arg("-signature").arg(signature);
    let answer = output_of(verify.arg(text))?;
    expect(answer.contains("Verified OK"), || format!("openssl says: {answer}"))
}
