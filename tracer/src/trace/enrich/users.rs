//! User names of the traced machine.

use std::{
    collections::HashMap,
    io::ErrorKind,
    path::{Path, PathBuf},
    time::SystemTime,
};

use crate::event::Text;

const PASSWD: &str = "etc/passwd";

/// Identifies a version of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: SystemTime,
    len_bytes: u64,
}

/// Names by user id, from `/etc/passwd`. Users of LDAP and similar services have no name here: looking them up requires
/// the system's libraries, which a static binary cannot load.
#[derive(Debug)]
pub struct Users {
    path: PathBuf,
    stamp: Option<Stamp>,
    names: HashMap<u32, Text>,
}

impl Users {
    /// Creates an empty table: [`Users::refresh`] reads the file under `root`.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self { path: root.join(PASSWD), stamp: None, names: HashMap::new() }
    }

    /// Reads the file if it has changed; returns whether it did. Without a file there are no names.
    ///
    /// # Errors
    /// If it exists but cannot be read; the old names are kept.
    pub fn refresh(&mut self) -> std::io::Result<bool> {
        let stamp = match std::fs::metadata(&self.path) {
            Ok(metadata) => Some(Stamp { modified: metadata.modified()?, len_bytes: metadata.len() }),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if stamp == self.stamp {
            return Ok(false);
        }
        self.names = match stamp {
            Some(_) => parse(&std::fs::read(&self.path)?),
            None => HashMap::new(),
        };
        self.stamp = stamp;
        Ok(true)
    }

    /// The name of a user id, as of the last [`Users::refresh`].
    #[must_use]
    pub fn name(&self, uid: u32) -> Option<&Text> {
        self.names.get(&uid)
    }
}

/// Parses `name:password:uid:...`; of several names with one id the first counts, as for `getpwuid(3)`. Other lines are
/// ignored.
fn parse(text: &[u8]) -> HashMap<u32, Text> {
    let mut names = HashMap::new();
    for line in text.split(|byte| *byte == b'\n') {
        let mut fields = line.split(|byte| *byte == b':');
        let (Some(name), Some(uid)) = (fields.next(), fields.nth(1)) else { continue };
        let uid = std::str::from_utf8(uid).ok().and_then(|uid| uid.parse().ok());
        if let Some(uid) = uid.filter(|_| !name.is_empty() && !name.starts_with(b"#")) {
            names.entry(uid).or_insert_with(|| Text::from(name));
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Users, parse};
    use crate::event::Text;

    /// The first line with an id gives its name; comments, NIS lines and broken lines are ignored.
    #[test]
    fn passwd_gives_the_first_name_of_an_id() {
        let text = b"root:x:0:0:root:/root:/bin/bash\ntoor:x:0:0::/:/bin/sh\n#off:x:7:7::/:\n+::::::\n:x:8:8::/:\n\
            bad:x:-1:0::/:\nbig:x:4294967295:0::/:\nm\xfcller:x:1000:1000::/home:/bin/sh";
        let names = parse(text);
        assert_eq!(names.get(&0), Some(&Text::from("root")));
        assert_eq!(names.get(&1000), Some(&Text::from(&b"m\xfcller"[..])));
        assert_eq!(names.len(), 3);
    }

    /// A changed file is read again, and a missing file is not an error.
    #[test]
    fn passwd_that_changed_is_read_again() {
        let root = tempfile::tempdir().unwrap();
        let mut users = Users::new(root.path());
        assert!(!users.refresh().unwrap());
        assert_eq!(users.name(0), None);

        std::fs::create_dir(root.path().join("etc")).unwrap();
        let passwd = root.path().join("etc/passwd");
        std::fs::write(&passwd, "root:x:0:0:::\n").unwrap();
        assert!(users.refresh().unwrap());
        assert_eq!(users.name(0), Some(&Text::from("root")));
        assert!(!users.refresh().unwrap());

        std::fs::write(&passwd, "root:x:0:0:::\nada:x:1000:1000:::\n").unwrap();
        assert!(users.refresh().unwrap());
        assert_eq!(users.name(1000), Some(&Text::from("ada")));

        std::fs::remove_file(&passwd).unwrap();
        assert!(users.refresh().unwrap());
        assert_eq!(users.name(0), None);
    }

    proptest! {
        /// Any bytes are accepted.
        #[test]
        fn any_bytes_as_passwd_are_accepted(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            parse(&bytes);
        }
    }
}
