//! Which CA: the root, or an issuing CA of a role. When one takes another's place, the role has both for a while, so they
//! are numbered: `client-ca`, then `client-ca-2`.

use std::{fs, path::PathBuf};

use protocol::names::Role;

use crate::{layout::Layout, leaf::Leaf};

/// One of the CAs of a provisioned directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ca {
    /// `None` is the root, of which there is one.
    pub(crate) role: Option<Role>,
    /// The first is 1.
    pub(crate) number: u32,
}

impl Ca {
    /// The root, or the first issuing CA of a role.
    pub(crate) const fn first(role: Option<Role>) -> Self {
        Self { role, number: 1 }
    }

    /// The one that takes its place.
    pub(crate) const fn next(self) -> Self {
        Self {
            role: self.role,
            number: self.number + 1,
        }
    }

    /// What its key is called in the CA token, unless a ceremony called it otherwise.
    pub(crate) fn label(self) -> String {
        let first = self
            .role
            .map_or_else(|| "root-ca".to_owned(), |role| format!("{role}-ca"));
        self.numbered(&first, '-')
    }

    /// What its files below pki/ are called, without the ending.
    pub(crate) fn file_stem(self) -> String {
        match self.role {
            None => "root".to_owned(),
            Some(_) => self.label(),
        }
    }

    /// A name with this CA's number behind it, unless it is the first of its role.
    pub(crate) fn numbered(self, first: &str, before: char) -> String {
        match self.number {
            1 => first.to_owned(),
            number => format!("{first}{before}{number}"),
        }
    }

    /// A name without this CA's number.
    pub(crate) fn unnumbered(self, name: &str, before: char) -> &str {
        match self.number {
            1 => name,
            number => name
                .strip_suffix(&format!("{before}{number}"))
                .unwrap_or(name),
        }
    }
}

impl Layout {
    /// The issuing CAs of a role that have a certificate below pki/, the oldest first. Several while one takes another's
    /// place; a retired one has left.
    pub(crate) fn issuing_cas(&self, role: Role) -> Vec<Ca> {
        let first = Ca::first(Some(role)).file_stem();
        let ca = |name: &str| {
            let stem = name.strip_suffix(".pem")?;
            let number = match stem.strip_prefix(&first)? {
                "" => 1,
                rest => rest.strip_prefix('-')?.parse().ok()?,
            };
            let ca = Ca {
                role: Some(role),
                number,
            };
            (ca.file_stem() == stem).then_some(ca)
        };
        let mut found: Vec<Ca> = fs::read_dir(self.path("pki"))
            .into_iter()
            .flatten()
            .filter_map(|entry| ca(entry.ok()?.file_name().to_str()?))
            .collect();
        found.sort();
        found
    }

    /// The CA that issues now: the newest of a role, or the first, which is still to be made.
    pub(crate) fn issuing_ca(&self, role: Option<Role>) -> Ca {
        role.and_then(|role| self.issuing_cas(role).pop())
            .unwrap_or(Ca::first(role))
    }

    /// Where retired CAs go: certificates there count no more.
    pub(crate) fn retired(&self) -> PathBuf {
        self.path("pki/retired")
    }

    /// Whether a key is that of a retired CA.
    pub(crate) fn is_retired(&self, public: &[u8]) -> bool {
        fs::read_dir(self.retired())
            .into_iter()
            .flatten()
            .filter_map(|entry| Leaf::open(&entry.ok()?.path()).ok())
            .any(|retired| retired.public_point == public)
    }

    /// Every CA, the root first. One of each role at least, whether it is made or not.
    pub(crate) fn cas(&self) -> Vec<Ca> {
        let mut all = vec![Ca::first(None)];
        for role in Role::ALL {
            let found = self.issuing_cas(role);
            if found.is_empty() {
                all.push(Ca::first(Some(role)));
            }
            all.extend(found);
        }
        all
    }
}
