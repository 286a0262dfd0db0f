//! p11-kit: its proxy module, and its remoting to another process.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Programs, contains, token_label};
use crate::Result;
use crate::error::{During, Error};
use crate::stage::output_of;

/// Where p11-kit's configuration of modules lies. The namespace of the tests has a folder of its own there.
const MODULES: &str = "/usr/share/p11-kit/modules";

impl Programs {
    pub(super) fn p11_kit_proxy(&mut self) -> Result<()> {
        // Root's p11-kit reads no configuration of a user.
        output_of(Command::new("mount").args(["-t", "tmpfs", "tmpfs", MODULES]))?;
        let passed_on = self.through_proxy();
        output_of(Command::new("umount").arg(MODULES))?;
        passed_on
    }

    fn through_proxy(&self) -> Result<()> {
        let line = format!("module: {}\n", self.stage.module().display());
        std::fs::write(Path::new(MODULES).join("cns.module"), line).during("writing cns.module")?;
        let list = output_of(self.stage.foreign("p11-kit").arg("list-modules"))?;
        contains(&list, &format!("token: {}", token_label()))?;
        self.signs_through(&library("p11-kit-proxy.so")?, &[], "proxy")
    }

    pub(super) fn p11_kit_server(&mut self) -> Result<()> {
        let socket = self.stage.path("p11-kit.sock");
        let mut server = self.stage.foreign("p11-kit");
        server.args(["server", "--foreground", "--name"]).arg(&socket);
        server.arg("--provider").arg(self.stage.module()).arg("pkcs11:");
        self.stage.start("p11-kit", &mut server)?;
        self.stage.wait_for("p11-kit's socket", 10, |_| Ok(socket.exists().then_some(())))?;
        let address = format!("unix:path={}", socket.display());
        let client = library("pkcs11/p11-kit-client.so")?;
        self.signs_through(&client, &[("P11_KIT_SERVER_ADDRESS", address)], "remote")?;
        self.stage.stop("p11-kit")
    }
}

/// One of p11-kit's libraries, in Debian's folder for this machine's architecture.
fn library(name: &str) -> Result<PathBuf> {
    let entries = std::fs::read_dir("/usr/lib").during("reading /usr/lib")?;
    let mut found = entries.flatten().map(|entry| entry.path().join(name)).filter(|path| path.exists());
    found.next().ok_or_else(|| Error::Wrong(format!("{name} is nowhere below /usr/lib")))
}
