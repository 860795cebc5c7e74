//! The merchant's SQLite file.

use sqlite_file::{Kind, Unusable};

use super::StoreError;

/// "TwSm" marks the merchant's files.
pub(super) const FILE: Kind = Kind {
    program: "merchant",
    application_id: 0x5477_536d,
    migrations: &[include_str!("schema/1.sql"), include_str!("schema/2.sql")],
};

impl From<Unusable> for StoreError {
    fn from(error: Unusable) -> Self {
        Self::Unusable {
            path: error.path.display().to_string(),
            reason: error.reason,
        }
    }
}
