//! Who calls: the kernel's word about the other end of a connection, and the roles that the configuration gives it.

mod peergroups;

use std::io;
use std::os::fd::AsFd;

use cns_protocol::Role;
use nix::unistd::{Group, User};

use crate::config::AccessRule;

/// Why a peer is not known.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// The kernel does not tell who it is.
    #[error("the kernel does not tell who connected: {0}")]
    Credentials(#[from] io::Error),
}

/// The other end of a connection, as it was when it connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The Unix user.
    pub uid: u32,
    /// The primary and supplementary groups.
    pub gids: Vec<u32>,
    /// What it may do, in the order of [`Role::ALL`].
    pub roles: Vec<Role>,
}

impl Peer {
    /// Asks the kernel who is at the other end: `SO_PEERCRED` and `SO_PEERGROUPS` (socket(7), unix(7)). Both were
    /// fixed when the peer connected, so that nothing it does later changes them.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn of(socket: &impl AsFd, access: &Access) -> Result<Self, PeerError> {
        let credentials = rustix::net::sockopt::socket_peercred(socket).map_err(io::Error::from)?;
        let mut gids = peergroups::peer_groups(socket.as_fd())?;
        let primary = credentials.gid.as_raw();
        if !gids.contains(&primary) {
            gids.push(primary);
        }
        let uid = credentials.uid.as_raw();
        let roles = access.roles(uid, &gids);
        Ok(Self { uid, gids, roles })
    }

    /// Whether it has the role.
    #[must_use]
    pub fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }
}

/// The configuration's rules with names resolved to numbers.
#[derive(Clone, Debug, Default)]
pub struct Access {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    role: Role,
    everyone: bool,
    uids: Vec<u32>,
    gids: Vec<u32>,
}

impl Access {
    /// Looks the names up. A name that the system does not know gives nobody the role; the log says so.
    #[must_use]
    pub fn resolve(rules: &[AccessRule]) -> Self {
        let rules = rules
            .iter()
            .map(|rule| Rule {
                role: rule.role,
                everyone: rule.everyone,
                uids: rule.users.iter().filter_map(|name| uid_of(name, rule.role)).collect(),
                gids: rule.groups.iter().filter_map(|name| gid_of(name, rule.role)).collect(),
            })
            .collect();
        Self { rules }
    }

    /// The roles of a user with these groups.
    #[must_use]
    pub fn roles(&self, uid: u32, gids: &[u32]) -> Vec<Role> {
        let applies = |rule: &Rule| {
            rule.everyone || rule.uids.contains(&uid) || rule.gids.iter().any(|gid| gids.contains(gid))
        };
        let given = |role: &Role| self.rules.iter().any(|rule| rule.role == *role && applies(rule));
        Role::ALL.into_iter().filter(given).collect()
    }

    /// Whether some role is open to everybody on this machine.
    #[must_use]
    pub fn open_to_everyone(&self) -> bool {
        self.rules.iter().any(|rule| rule.everyone)
    }
}

fn uid_of(name: &str, role: Role) -> Option<u32> {
    if let Ok(number) = name.parse() {
        return Some(number);
    }
    let found = User::from_name(name);
    report(name, "user", role, found.as_ref().err());
    found.ok().flatten().map(|user| user.uid.as_raw())
}

/// The number of a group given by name or number; `None` when the system does not know it.
#[must_use]
pub fn group_number(name: &str) -> Option<u32> {
    name.parse().ok().or_else(|| Group::from_name(name).ok().flatten().map(|group| group.gid.as_raw()))
}

fn gid_of(name: &str, role: Role) -> Option<u32> {
    let found = group_number(name);
    if found.is_none() {
        tracing::warn!(group = name, role = role.name(), "no such group: it gives nobody this role");
    }
    found
}

fn report(name: &str, what: &str, role: Role, error: Option<&nix::Error>) {
    if let Some(error) = error {
        tracing::warn!(name, role = role.name(), %error, "cannot look up a {what}: it gives nobody this role");
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    fn rule(role: Role, users: &[&str], groups: &[&str], everyone: bool) -> AccessRule {
        AccessRule {
            role,
            users: users.iter().map(ToString::to_string).collect(),
            groups: groups.iter().map(ToString::to_string).collect(),
            everyone,
        }
    }

    #[test]
    fn the_kernel_tells_who_we_are() {
        let (here, _there) = UnixStream::pair().unwrap();
        let peer = Peer::of(&here, &Access::default()).unwrap();
        assert_eq!(peer.uid, rustix::process::getuid().as_raw());
        let mut expected: Vec<u32> =
            rustix::process::getgroups().unwrap().into_iter().map(rustix::process::Gid::as_raw).collect();
        expected.push(rustix::process::getgid().as_raw());
        assert!(expected.iter().all(|gid| peer.gids.contains(gid)));
        assert!(peer.gids.iter().all(|gid| expected.contains(gid)));
        assert!(peer.roles.is_empty(), "no rule, no role");
    }

    #[test]
    fn roles_come_from_users_groups_and_everyone() {
        let access = Access::resolve(&[
            rule(Role::User, &[], &[], true),
            rule(Role::Counter, &[], &["4001"], false),
            rule(Role::Custodian, &["1000"], &[], false),
            rule(Role::Admin, &["root"], &["no-such-group-here"], false),
        ]);
        assert_eq!(access.roles(5, &[5]), [Role::User]);
        assert_eq!(access.roles(5, &[5, 4001]), [Role::User, Role::Counter]);
        assert_eq!(access.roles(1000, &[5]), [Role::User, Role::Custodian]);
        assert_eq!(access.roles(0, &[0]), [Role::User, Role::Admin]);
        assert!(access.open_to_everyone());
    }
}
