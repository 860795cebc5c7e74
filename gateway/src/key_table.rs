//! `[[key]]` of the configuration: which keys there are, what each is for, and which one is in use.

use std::path::PathBuf;

use hsm::{policy::KeyUse, uri::Pkcs11Uri};
use serde::Deserialize;

/// What a key of the gateway is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, serde::Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Purpose {
    /// Signs TLS handshakes.
    Tls,
    /// Signs receipts.
    Signing,
    /// Opens payment information.
    Encryption,
    /// Keeps payment information as evidence.
    Data,
    /// Looks instruments up.
    Index,
}

/// Where a key is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum KeyState {
    /// Made, and not used yet.
    Pending,
    /// In use: one of each purpose.
    #[default]
    Active,
    /// Opens what was sealed to it while it was active, and is shown to nobody any more.
    DecryptOnly,
    /// Not used any more.
    Retired,
}

/// A key in the tokens.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyEntry {
    /// What it is for.
    #[serde(rename = "use")]
    pub(crate) purpose: Purpose,
    /// Which one it is (RFC 7512).
    pub(crate) uri: Pkcs11Uri,
    /// Its certificate, for those that have one: PEM, leaf first.
    pub(crate) certificate: Option<PathBuf>,
    #[serde(default)]
    pub(crate) state: KeyState,
}

/// All of them: one active key of each purpose.
#[derive(Deserialize)]
#[serde(try_from = "Vec<KeyEntry>")]
pub(crate) struct KeyTable(Vec<KeyEntry>);

const PURPOSES: [Purpose; 5] = [
    Purpose::Tls,
    Purpose::Signing,
    Purpose::Encryption,
    Purpose::Data,
    Purpose::Index,
];

impl Purpose {
    /// As the configuration calls it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::Signing => "signing",
            Self::Encryption => "encryption",
            Self::Data => "data",
            Self::Index => "index",
        }
    }

    /// What such a key can do in its token.
    pub(crate) const fn key_use(self) -> KeyUse {
        match self {
            Self::Tls | Self::Signing => KeyUse::Sign,
            Self::Encryption => KeyUse::Derive,
            Self::Data => KeyUse::Encrypt,
            Self::Index => KeyUse::Mac,
        }
    }

    /// Whether such a key has a certificate.
    pub(crate) const fn is_certified(self) -> bool {
        matches!(self, Self::Tls | Self::Signing | Self::Encryption)
    }

    /// What a key becomes when another one takes its place.
    pub(crate) const fn when_replaced(self) -> KeyState {
        match self {
            Self::Encryption | Self::Data => KeyState::DecryptOnly,
            _ => KeyState::Retired,
        }
    }
}

impl KeyState {
    /// As the configuration calls it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::DecryptOnly => "decrypt-only",
            Self::Retired => "retired",
        }
    }
}

impl TryFrom<Vec<KeyEntry>> for KeyTable {
    type Error = String;

    fn try_from(entries: Vec<KeyEntry>) -> Result<Self, Self::Error> {
        for purpose in PURPOSES {
            let active = of(&entries, purpose, KeyState::Active).count();
            if active != 1 {
                return Err(format!(
                    "{active} [[key]] tables with use = \"{}\" are active; exactly one is wanted",
                    purpose.name()
                ));
            }
        }
        for entry in &entries {
            let (purpose, key) = (entry.purpose.name(), entry.uri.key_name());
            if entry.certificate.is_some() != entry.purpose.is_certified() {
                let has = if entry.purpose.is_certified() {
                    "needs a"
                } else {
                    "has no"
                };
                return Err(format!(
                    "[[key]] {key}: a key for {purpose} {has} certificate"
                ));
            }
            let decrypts = matches!(entry.purpose, Purpose::Encryption | Purpose::Data);
            if entry.state == KeyState::DecryptOnly && !decrypts {
                return Err(format!(
                    "[[key]] {key}: a key for {purpose} decrypts nothing"
                ));
            }
            let same = entries.iter().filter(|other| other.uri == entry.uri);
            if same.count() > 1 {
                return Err(format!("[[key]] {key} is there twice: one key, one use"));
            }
        }
        Ok(Self(entries))
    }
}

fn of(entries: &[KeyEntry], purpose: Purpose, state: KeyState) -> impl Iterator<Item = &KeyEntry> {
    entries
        .iter()
        .filter(move |entry| entry.purpose == purpose && entry.state == state)
}

impl KeyTable {
    /// All keys, as they stand in the file.
    pub(crate) fn entries(&self) -> &[KeyEntry] {
        &self.0
    }

    /// The keys of a purpose and state.
    pub(crate) fn of(&self, purpose: Purpose, state: KeyState) -> impl Iterator<Item = &KeyEntry> {
        of(&self.0, purpose, state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(purpose: Purpose, label: &str, state: KeyState) -> KeyEntry {
        KeyEntry {
            purpose,
            uri: Pkcs11Uri::for_key(label),
            certificate: purpose
                .is_certified()
                .then(|| PathBuf::from(format!("{label}.pem"))),
            state,
        }
    }

    fn five() -> Vec<KeyEntry> {
        PURPOSES
            .into_iter()
            .map(|purpose| entry(purpose, purpose.name(), KeyState::Active))
            .collect()
    }

    fn refusal(entries: Vec<KeyEntry>) -> String {
        KeyTable::try_from(entries).err().unwrap()
    }

    #[test]
    fn one_key_of_each_use_is_active() {
        assert!(KeyTable::try_from(five()).is_ok());
        let mut none = five();
        none[2].state = KeyState::Pending;
        assert!(refusal(none).contains("0 [[key]] tables with use = \"encryption\" are active"));
        let mut two = five();
        two.push(entry(Purpose::Tls, "tls-2", KeyState::Active));
        assert!(refusal(two).contains("2 [[key]] tables"));
    }

    #[test]
    fn others_are_pending_retired_or_open_what_they_sealed() {
        for (purpose, state, is_allowed) in [
            (Purpose::Encryption, KeyState::DecryptOnly, true),
            (Purpose::Data, KeyState::DecryptOnly, true),
            (Purpose::Signing, KeyState::DecryptOnly, false),
            (Purpose::Tls, KeyState::Pending, true),
            (Purpose::Signing, KeyState::Retired, true),
        ] {
            let mut entries = five();
            entries.push(entry(purpose, "other", state));
            assert_eq!(
                KeyTable::try_from(entries).is_ok(),
                is_allowed,
                "{purpose:?}"
            );
        }
    }

    #[test]
    fn a_key_has_one_use_and_a_certificate_where_it_needs_one() {
        let mut twice = five();
        twice.push(entry(Purpose::Signing, "tls", KeyState::Pending));
        assert!(refusal(twice).contains("one key, one use"));
        let mut bare = five();
        bare[1].certificate = None;
        assert!(refusal(bare).contains("needs a certificate"));
        let mut odd = five();
        odd[4].certificate = Some("index.pem".into());
        assert!(refusal(odd).contains("has no certificate"));
    }
}
