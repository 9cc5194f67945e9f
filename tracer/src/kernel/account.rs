//! The account that a command runs as, from `/etc/passwd` and `/etc/group`.

use std::{
    fs, io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
};

use rustix::{
    process::{Gid, Uid},
    thread::{set_thread_gid, set_thread_groups, set_thread_uid},
};

/// Why a command cannot run as a user.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccountError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// There is no such user.
    #[error("unknown user {name:?}: expected a name from /etc/passwd, or a user id")]
    Unknown {
        /// The name as given.
        name: String,
    },
}

/// An account. Users of LDAP and similar services are known by their number only: looking them up requires the system's
/// libraries, which a static binary cannot load.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Account {
    /// Its name; absent if only the number is known.
    pub name: Option<String>,
    /// User id.
    pub uid: u32,
    /// Group id; the user id itself if only that is known.
    pub gid: u32,
    /// Other groups.
    pub groups: Vec<u32>,
    /// Home directory.
    pub home: Option<String>,
}

impl Account {
    /// Finds a user by name or number in the files below `root`.
    ///
    /// # Errors
    /// If there is no such name, or the files cannot be read.
    pub fn find(root: &Path, user: &str) -> Result<Self, AccountError> {
        let read = |file: &str| {
            let path = root.join(file);
            fs::read(&path).map_err(|source| AccountError::Read { path, source })
        };
        let uid: Option<u32> = user.parse().ok().filter(|uid| *uid != u32::MAX);
        let passwd = match (read("etc/passwd"), uid) {
            // A number needs no file.
            (Err(_), Some(_)) => Vec::new(),
            (passwd, _) => passwd?,
        };
        let mut account = match (parse_passwd(&passwd, user, uid), uid) {
            (Some(account), _) => account,
            (None, Some(uid)) => Self { name: None, uid, gid: uid, groups: Vec::new(), home: None },
            (None, None) => return Err(AccountError::Unknown { name: user.to_owned() }),
        };
        if let Some(name) = &account.name {
            account.groups = groups_of(&read("etc/group")?, name);
        }
        Ok(account)
    }

    /// Makes a command run as this account, with its environment. The ids are set between fork and exec.
    pub fn run_as(&self, command: &mut Command) {
        if let Some(name) = &self.name {
            command.env("USER", name).env("LOGNAME", name);
        }
        if let Some(home) = &self.home {
            command.env("HOME", home);
        }
        let mut groups: Vec<Gid> = self.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
        groups.push(Gid::from_raw(self.gid));
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        // SAFETY: between fork and exec only three system calls run, on memory that was allocated before. The child has
        // one thread, so setting the ids of the thread sets those of the process.
        unsafe {
            command.pre_exec(move || {
                set_thread_groups(&groups)?;
                set_thread_gid(gid)?;
                set_thread_uid(uid)?;
                Ok(())
            });
        }
    }
}

fn lines(text: &[u8]) -> impl Iterator<Item = Vec<&str>> {
    let lines = text.split(|byte| *byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok());
    lines.map(|line| line.split(':').collect())
}

/// `name:password:uid:gid:comment:home:shell`.
fn parse_passwd(text: &[u8], user: &str, uid: Option<u32>) -> Option<Account> {
    let by_name = lines(text).find(|fields| fields.first() == Some(&user) && !user.is_empty());
    let wanted = uid.map(|uid| uid.to_string());
    let by_uid = || lines(text).find(|fields| fields.get(2).map(|uid| (*uid).to_owned()) == wanted && wanted.is_some());
    let fields = by_name.or_else(by_uid)?;
    let [name, _, uid, gid, _, home, ..] = fields[..] else { return None };
    let home = (!home.is_empty()).then(|| home.to_owned());
    Some(Account {
        name: Some(name.to_owned()),
        uid: uid.parse().ok()?,
        gid: gid.parse().ok()?,
        groups: Vec::new(),
        home,
    })
}

/// `name:password:gid:member,member`.
fn groups_of(text: &[u8], user: &str) -> Vec<u32> {
    let groups = lines(text).filter_map(|fields| {
        let [_, _, gid, members] = fields[..] else { return None };
        members.split(',').any(|member| member == user).then(|| gid.parse().ok())?
    });
    groups.collect()
}

#[cfg(test)]
mod tests {
    use super::{Account, AccountError};

    fn root() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("etc")).unwrap();
        let passwd = "root:x:0:0:root:/root:/bin/bash\nalice:x:1000:100::/home/alice:/bin/sh\nbad:x:y:1::/:\n";
        std::fs::write(root.path().join("etc/passwd"), passwd).unwrap();
        std::fs::write(root.path().join("etc/group"), "users:x:100:\nwheel:x:10:bob,alice\nvideo:x:44:alicea\n")
            .unwrap();
        root
    }

    /// A user is found by name and by number, with all its groups and no other.
    #[test]
    fn user_is_found_by_name_and_number() {
        let root = root();
        let alice = Account::find(root.path(), "alice").unwrap();
        assert_eq!((alice.uid, alice.gid, alice.groups.as_slice()), (1000, 100, &[10][..]));
        assert_eq!(alice.home.as_deref(), Some("/home/alice"));
        assert_eq!(Account::find(root.path(), "1000").unwrap(), alice);
        let stranger = Account::find(root.path(), "65534").unwrap();
        assert_eq!((stranger.name, stranger.uid, stranger.gid), (None, 65534, 65534));
    }

    /// Unknown names, broken lines and the number that means "no user" are errors.
    #[test]
    fn unknown_user_is_an_error() {
        let root = root();
        for user in ["mallory", "bad", "", "4294967295", "-1"] {
            let error = Account::find(root.path(), user).unwrap_err();
            assert!(matches!(error, AccountError::Unknown { .. }), "{user}: {error}");
        }
    }
}
