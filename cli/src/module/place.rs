//! Where things are: the user's own folders or the system's, and the module itself.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::error::CliError;

/// The file name of the module.
pub(crate) const FILE_NAME: &str = "libcns_pkcs11.so";

/// The name under which programs list the module.
pub(super) const NAME: &str = "CNS";

/// What to set up, and for whom.
#[derive(Args)]
pub(crate) struct PlaceOptions {
    /// For all users of this computer (the default for root)
    #[arg(long, conflicts_with = "user")]
    system: bool,
    /// For yourself (the default for everybody else)
    #[arg(long)]
    user: bool,
    /// The module's file [default: beside cnsctl, else in the system's library folders]
    #[arg(long, value_name = "FILE")]
    module: Option<PathBuf>,
    /// Take this folder for the computer's root, for makers of packages and images
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
}

/// The folders that are looked at and written to.
#[derive(Clone)]
pub(crate) struct Place {
    root: PathBuf,
    home: Option<PathBuf>,
    configuration: Option<PathBuf>,
    data: Option<PathBuf>,
    /// Whether the system's folders are written to, and not the user's own.
    pub(crate) is_system: bool,
    module: Option<PathBuf>,
}

impl Place {
    /// Reads the options and the environment.
    pub(crate) fn new(options: PlaceOptions) -> Self {
        let variable = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let home = variable("HOME");
        let below = |name, default: &str| variable(name).or_else(|| Some(home.as_ref()?.join(default)));
        Self {
            is_system: options.system || (!options.user && rustix::process::geteuid().is_root()),
            configuration: below("XDG_CONFIG_HOME", ".config"),
            data: below("XDG_DATA_HOME", ".local/share"),
            home,
            module: options.module,
            root: options.root,
        }
    }

    /// The same folders, seen as the system's or as the user's own.
    pub(super) fn as_seen(&self, is_system: bool) -> Self {
        Self { is_system, ..self.clone() }
    }

    /// A path of the system.
    pub(crate) fn system(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// A path in the user's home; nothing where there is no home.
    pub(crate) fn home(&self, path: &str) -> Option<PathBuf> {
        self.home.as_ref().map(|home| home.join(path))
    }

    /// A path in the user's folder for configuration.
    pub(crate) fn configuration(&self, path: &str) -> Option<PathBuf> {
        self.configuration.as_ref().map(|folder| folder.join(path))
    }

    /// A path in the user's folder for data.
    pub(crate) fn data(&self, path: &str) -> Option<PathBuf> {
        self.data.as_ref().map(|folder| folder.join(path))
    }

    /// The folder below which everything is written: the root, or the user's home, which must be their own.
    pub(super) fn base(&self) -> Result<&Path, CliError> {
        if self.is_system {
            return Ok(&self.root);
        }
        let home = self.home.as_deref().ok_or(CliError::NoHome)?;
        let owner =
            fs::metadata(home).map_err(|source| CliError::Read { path: home.to_owned(), source })?.uid();
        if owner != rustix::process::geteuid().as_raw() {
            return Err(CliError::LeftAlone {
                path: home.to_owned(),
                reason: "HOME belongs to another user; run this as that user".into(),
            });
        }
        Ok(home)
    }

    /// Our own file `name` beside the configuration of other programs: `/etc/cnsd` or `~/.config/cns`.
    pub(super) fn own_file(&self, name: &str) -> Result<PathBuf, CliError> {
        if self.is_system {
            return Ok(self.system("/etc/cnsd").join(name));
        }
        self.configuration("cns").map(|folder| folder.join(name)).ok_or(CliError::NoHome)
    }

    /// The module's file, absolute; only where one is, and where its name needs no quoting in anybody's configuration.
    pub(crate) fn module(&self) -> Result<PathBuf, CliError> {
        let found = match &self.module {
            Some(named) => Some(std::path::absolute(named)?),
            None => self.candidates().into_iter().find(|path| path.is_file()),
        };
        let path = found.ok_or(CliError::NoModule)?;
        let unusable = |reason: &str| CliError::ModuleUnusable { path: path.clone(), reason: reason.into() };
        let file = fs::metadata(&path).map_err(|source| CliError::Read { path: path.clone(), source })?;
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+~@:=,".contains(byte);
        if !file.is_file() {
            return Err(unusable("it is no file"));
        }
        if !path.as_os_str().as_encoded_bytes().iter().all(plain) {
            return Err(unusable("its path has letters that other programs' configurations do not take"));
        }
        let owner = file.uid();
        if file.mode() & 0o022 != 0 || (owner != 0 && owner != rustix::process::geteuid().as_raw()) {
            return Err(unusable("others can write to it, and could run what they like in your browser"));
        }
        Ok(path)
    }

    /// The folder around the module in which somebody who is not root could put another file of its name.
    pub(super) fn exposed_folder(module: &Path) -> Option<PathBuf> {
        let is_exposed = |folder: &&Path| {
            fs::metadata(folder).is_ok_and(|found| {
                let mode = found.mode();
                // In a folder like /tmp only a file's owner can replace it.
                found.uid() != 0 || (mode & 0o022 != 0 && mode & 0o1000 == 0)
            })
        };
        module.ancestors().skip(1).find(is_exposed).map(Path::to_path_buf)
    }

    fn candidates(&self) -> Vec<PathBuf> {
        let beside =
            std::env::current_exe().ok().and_then(|exe| exe.parent().map(|folder| folder.join(FILE_NAME)));
        let folders = self.library_folders().into_iter().map(|folder| folder.join(FILE_NAME));
        beside.into_iter().chain(folders).collect()
    }

    /// The system's folders for libraries.
    pub(super) fn library_folders(&self) -> Vec<PathBuf> {
        let triplet = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
        [triplet.as_str(), "/usr/lib64", "/usr/lib", "/usr/local/lib"].map(|path| self.system(path)).into()
    }

    /// The folder in which p11-kit looks for libraries that are named without one.
    pub(super) fn resolve(&self, library: &str) -> PathBuf {
        if Path::new(library).is_absolute() {
            return library.into();
        }
        let pkcs11 = self.library_folders().into_iter().map(|folder| folder.join("pkcs11").join(library));
        let mut found = pkcs11.filter(|path| path.exists());
        found.next().unwrap_or_else(|| library.into())
    }
}

/// Whether this library is our module.
pub(crate) fn is_ours(library: &str) -> bool {
    Path::new(library).file_name() == Some(OsStr::new(FILE_NAME))
}

/// A list in which another library goes by our name.
pub(super) fn name_taken(path: PathBuf) -> CliError {
    let reason = format!("another module is called {NAME} there; rename or remove that one first");
    CliError::LeftAlone { path, reason }
}
