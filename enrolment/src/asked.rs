//! What a person says who enrols, on the command line of any party's program; and what a configuration says of renewal.

use std::path::PathBuf;

use clap::Args;
use mtls::rooted::{Root, RootError};
use protocol::names::{PartyName, Role};
use secret_file::SecretFileError;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::{pair::Pair, renewal};

/// Who enrols, and where.
#[derive(Debug, Args)]
pub struct Enroll {
    #[arg(
        long,
        value_name = "URL",
        help = "The enrolment service, https://host[:port]"
    )]
    server: String,
    /// The root CA's certificate (PEM); see to it yourself that it is the right one.
    #[arg(long, value_name = "FILE")]
    ca: PathBuf,
    /// The id that was invited, or its URN.
    #[arg(long, value_name = "ID")]
    user: String,
    /// A file with the secret of the invitation, mode 0600; - for standard input.
    #[arg(long, value_name = "FILE")]
    secret_file: PathBuf,
    /// The directory that keys (*.key) and certificates (*.pem) go to.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// `[enrolment]` of a configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Configured {
    /// Who renews: `https://host[:port]`.
    pub server: String,
}

/// Neither a name of the role nor an id.
#[derive(Debug, thiserror::Error)]
#[error("{user} is no {role}'s name or id; give the one of the invitation with --user")]
pub struct NotAnId {
    user: String,
    role: Role,
}

impl Enroll {
    /// Where the service is.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The root that all must lead to.
    ///
    /// # Errors
    /// When its file holds no root.
    pub fn root(&self) -> Result<Root, RootError> {
        Root::read(&self.ca)
    }

    /// Whom was invited, of this role.
    ///
    /// # Errors
    /// When it is no such name.
    pub fn name(&self, role: Role) -> Result<PartyName, NotAnId> {
        self.user
            .parse()
            .or_else(|_| PartyName::new(role, &self.user))
            .ok()
            .filter(|name| name.role() == role)
            .ok_or_else(|| NotAnId {
                user: self.user.clone(),
                role,
            })
    }

    /// The one-time secret.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn secret(&self) -> Result<Zeroizing<String>, SecretFileError> {
        renewal::secret(&self.secret_file)
    }

    /// Where a key and its certificate go: `<stem>.key`, `<stem>.pem`.
    pub fn pair(&self, stem: &str) -> Pair {
        let file = |ending: &str| self.out.join(format!("{stem}.{ending}"));
        Pair {
            certificate: file("pem"),
            key: file("key"),
        }
    }
}
