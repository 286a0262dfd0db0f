//! Where the database is, as the configuration tells it.

use std::path::{Path, PathBuf};

use url::Url;

use super::{DatabaseError, Kind};

/// Where Debian's server has its socket.
const SOCKET_FOLDER: &str = "/run/postgresql";

/// Where the database is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// A file.
    Sqlite(PathBuf),
    /// A database of the server whose socket is in a folder.
    Postgres { name: String, folder: String, user: Option<String>, port: Option<u16> },
}

impl Address {
    /// Reads an address. A relative file is relative to `state`. A server is reached by its Unix socket only, because the
    /// daemon opens no network connection; and the address has no password, because addresses are shown.
    pub(super) fn parse(text: &str, state: &Path) -> Result<Self, DatabaseError> {
        if let Some(rest) = text.strip_prefix("sqlite:") {
            let name = rest.strip_prefix("//").unwrap_or(rest);
            if name.is_empty() || name.contains(['?', ':']) {
                return Err(DatabaseError::Address("it is not `sqlite:FILE`"));
            }
            return Ok(Self::Sqlite(state.join(name)));
        }
        let url =
            Url::parse(text).ok().filter(|url| matches!(url.scheme(), "postgresql" | "postgres")).ok_or(
                DatabaseError::Address("it is neither `sqlite:FILE` nor `postgresql:///NAME?host=FOLDER`"),
            )?;
        if url.password().is_some() || !url.username().is_empty() {
            return Err(DatabaseError::Address("it names the user by `?user=`, and holds no password"));
        }
        if url.host_str().is_some_and(|host| !host.is_empty()) || url.port().is_some() {
            return Err(DatabaseError::Address(
                "cnsd opens no network connection: name the folder of the server's Unix socket, \
                 `postgresql:///NAME?host=FOLDER`",
            ));
        }
        Self::postgres(&url)
    }

    fn postgres(url: &Url) -> Result<Self, DatabaseError> {
        let name = url.path().trim_start_matches('/');
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        if name.is_empty() || !name.bytes().all(plain) {
            return Err(DatabaseError::Address(
                "it has no database's name of letters, digits, `_`, `-` and `.`",
            ));
        }
        let (mut folder, mut user, mut port) = (SOCKET_FOLDER.to_owned(), None, None);
        for (key, value) in url.query_pairs() {
            match key.as_ref() {
                "host" if value.starts_with('/') => folder = value.into_owned(),
                "host" => return Err(DatabaseError::Address("`host` is not an absolute path")),
                "user" if !value.is_empty() => user = Some(value.into_owned()),
                "port" => {
                    let number =
                        value.parse().map_err(|_| DatabaseError::Address("`port` is not a number"))?;
                    port = Some(number);
                }
                _ => return Err(DatabaseError::Address("it may have `host`, `user` and `port` only")),
            }
        }
        Ok(Self::Postgres { name: name.to_owned(), folder, user, port })
    }

    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Sqlite(_) => Kind::Sqlite,
            Self::Postgres { .. } => Kind::Postgres,
        }
    }

    /// The address as `sqlx` reads it.
    pub(super) fn url(&self) -> Result<Url, DatabaseError> {
        let text = match self {
            Self::Sqlite(path) => format!("sqlite://{}", percent_encoded(path)),
            Self::Postgres { name, .. } => format!("postgresql:///{name}"),
        };
        let mut url = Url::parse(&text).map_err(|_| DatabaseError::Address("its path cannot be written"))?;
        if let Self::Postgres { folder, user, port, .. } = self {
            let mut query = url.query_pairs_mut();
            query.append_pair("host", folder).append_pair("sslmode", "disable");
            query.append_pair("application_name", "cnsd");
            if let Some(user) = user {
                query.append_pair("user", user);
            }
            if let Some(port) = port {
                query.append_pair("port", &port.to_string());
            }
        }
        Ok(url)
    }
}

fn percent_encoded(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;

    let mut text = String::new();
    for byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'_' | b'-') {
            text.push(char::from(*byte));
        } else {
            text += &format!("%{byte:02X}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Address, DatabaseError> {
        Address::parse(text, Path::new("/state"))
    }

    #[test]
    fn files() {
        let file = |text| parse(text).unwrap();
        assert_eq!(file("sqlite:custody.db"), Address::Sqlite("/state/custody.db".into()));
        assert_eq!(file("sqlite:///srv/custody.db"), Address::Sqlite("/srv/custody.db".into()));
        assert_eq!(file("sqlite:my db.db").url().unwrap().as_str(), "sqlite:///state/my%20db.db");
    }

    #[test]
    fn servers() {
        let address = parse("postgresql:///custody?host=/run/my%20pg&user=cnsd&port=5433").unwrap();
        let Address::Postgres { name, folder, user, port } = &address else { panic!() };
        assert_eq!((name.as_str(), folder.as_str()), ("custody", "/run/my pg"));
        assert_eq!((user.as_deref(), *port), (Some("cnsd"), Some(5433)));
        let url = address.url().unwrap();
        assert!(
            url.as_str().starts_with("postgresql:///custody?host=%2Frun%2Fmy+pg&sslmode=disable"),
            "{url}"
        );
        let Address::Postgres { folder, user: None, port: None, .. } = parse("postgres:///custody").unwrap()
        else {
            panic!()
        };
        assert_eq!(folder, SOCKET_FOLDER);
    }

    #[test]
    fn what_is_none() {
        for wrong in [
            "custody.db",
            "sqlite:",
            "sqlite::memory:",
            "sqlite:a?mode=ro",
            "mysql:///d",
            "postgresql://db.example/d",
            "postgresql://127.0.0.1:5432/d",
            "postgresql:///d?host=127.0.0.1",
            "postgresql:///d?hostaddr=127.0.0.1",
            "postgresql:///",
            "postgresql:///a/b",
            "postgresql://anna:secret@/d",
            "postgresql:///d?password=secret",
            "postgresql:///d?port=many",
        ] {
            let refused = parse(wrong);
            assert!(
                matches!(&refused, Err(DatabaseError::Address(why)) if !why.contains("secret")),
                "{wrong}"
            );
        }
    }
}
