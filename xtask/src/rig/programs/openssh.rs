//! OpenSSH: a login with the card's key.

use std::fs;
use std::process::Command;

use super::{Programs, contains};
use crate::error::During;
use crate::stage::output_of;
use crate::{Result, terminal};

/// Where sshd listens, on the loopback of the tests' own network namespace.
const PORT: u16 = 2222;

impl Programs {
    pub(super) fn openssh(&mut self) -> Result<()> {
        let keys = output_of(self.stage.foreign("ssh-keygen").arg("-D").arg(self.stage.module()))?;
        let login = keys.lines().find(|line| line.contains("CNS authentication")).unwrap_or_default();
        contains(login, "ssh-rsa ")?;
        self.stage.write("authorized_keys", login)?;
        self.start_sshd()?;
        let logged_in = self.log_in_by_ssh();
        self.stage.stop("sshd")?;
        logged_in
    }

    fn log_in_by_ssh(&mut self) -> Result<()> {
        self.spends_one_try(|rig, wrong| {
            contains(&terminal::run_refused(&rig.ssh(), &[wrong])?, "PIN incorrect")
        })?;
        contains(&terminal::run(&self.ssh(), &[&self.card.pin])?, "logged in by card")
    }

    fn start_sshd(&mut self) -> Result<()> {
        let host_key = self.stage.path("ssh_host_key");
        output_of(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&host_key))?;
        let public =
            fs::read_to_string(self.stage.path("ssh_host_key.pub")).during("reading the host's key")?;
        self.stage.write("known_hosts", &format!("[127.0.0.1]:{PORT} {public}"))?;
        // Its folder is in the namespace's own /run.
        fs::create_dir_all("/run/sshd").during("making /run/sshd")?;
        let configuration = format!(
            "Port {PORT}\nListenAddress 127.0.0.1\nHostKey {}\nPidFile none\nAuthorizedKeysFile {}\n\
             StrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\n\
             PermitRootLogin yes\n",
            host_key.display(),
            self.stage.path("authorized_keys").display(),
        );
        let configuration = self.stage.write("sshd_config", &configuration)?;
        // It insists on its full path, because it starts itself again for each connection.
        let mut sshd = Command::new("/usr/sbin/sshd");
        self.stage.start("sshd", sshd.args(["-D", "-e", "-f"]).arg(configuration))?;
        self.stage.wait_for("sshd's start", 10, |stage| {
            Ok(stage.log("sshd").contains("Server listening").then_some(()))
        })
    }

    fn ssh(&self) -> Command {
        let mut ssh = self.stage.foreign("ssh");
        ssh.args(["-F", "none", "-p", &PORT.to_string(), "-o", "IdentityFile=none", "-o"]);
        ssh.arg(format!("PKCS11Provider={}", self.stage.module().display())).arg("-o");
        ssh.arg(format!("UserKnownHostsFile={}", self.stage.path("known_hosts").display()));
        ssh.args(["-o", "StrictHostKeyChecking=yes", "-o", "PreferredAuthentications=publickey", "-a"]);
        ssh.env_remove("SSH_AUTH_SOCK").args(["root@127.0.0.1", "echo logged in by card"]);
        ssh
    }
}
