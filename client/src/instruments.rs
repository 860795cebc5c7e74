//! What the payer can pay with. The file holds card numbers, so nothing of it is ever quoted.

use std::path::{Path, PathBuf};

use protocol::{
    names::GatewayName,
    payment_information::{Account, Expiry, Instrument, Pan},
};
use secret_file::SecretFileError;
use serde::Deserialize;

/// Cards and accounts, the default first. It has no Debug.
pub(crate) struct Instruments(Vec<OwnInstrument>);

/// One of them. It has no Debug.
pub(crate) struct OwnInstrument {
    pub(crate) label: String,
    pub(crate) instrument: Instrument,
    /// The gateways that may be paid through with it.
    pub(crate) gateways: Vec<GatewayName>,
}

/// There is nothing to pay with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InstrumentsError {
    #[error(transparent)]
    File(#[from] SecretFileError),
    #[error(
        "{} can't be used{}; each [[instrument]] has label, gateways and type = \"card\" with pan and \
         expiry (YYYY-MM), or type = \"account\" with account, all texts in quotes",
        path.display(),
        line.map(|line| format!(", near line {line}")).unwrap_or_default()
    )]
    Invalid { path: PathBuf, line: Option<usize> },
    #[error("no instrument is labelled {label}; there are: {known}")]
    NoSuchLabel { label: String, known: String },
    #[error("{} holds no instrument; add one", path.display())]
    Empty { path: PathBuf },
    #[error("the label {label} is there twice in {}; rename one", path.display())]
    LabelTwice { label: String, path: PathBuf },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InstrumentsFile {
    instrument: Vec<Members>,
}

/// The members as they come. Numbers go straight into types that are wiped.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Members {
    label: String,
    #[serde(rename = "type")]
    kind: Kind,
    #[serde(default)]
    pan: Option<Pan>,
    #[serde(default)]
    expiry: Option<Expiry>,
    #[serde(default)]
    account: Option<Account>,
    gateways: Vec<GatewayName>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Card,
    Account,
}

impl Members {
    fn into_instrument(self) -> Option<OwnInstrument> {
        let instrument = match (self.kind, self.pan, self.expiry, self.account) {
            (Kind::Card, Some(pan), Some(expiry), None) => Instrument::Card { pan, expiry },
            (Kind::Account, None, None, Some(account)) => Instrument::Account { account },
            _ => return None,
        };
        Some(OwnInstrument {
            label: self.label,
            instrument,
            gateways: self.gateways,
        })
    }
}

impl Instruments {
    /// Reads the file, which must be private.
    pub(crate) fn read(path: &Path) -> Result<Self, InstrumentsError> {
        Self::parse(&secret_file::read(path)?, path)
    }

    fn parse(text: &str, path: &Path) -> Result<Self, InstrumentsError> {
        let path = path.to_owned();
        let file: InstrumentsFile = match toml::from_str(text) {
            Ok(file) => file,
            // TOML's own words quote the line, and the line may be a card number.
            Err(error) => {
                let line = error
                    .span()
                    .and_then(|span| text.get(..span.start))
                    .map(|before| before.lines().count().max(1));
                return Err(InstrumentsError::Invalid { path, line });
            }
        };
        let instruments: Option<Vec<_>> = file
            .instrument
            .into_iter()
            .map(Members::into_instrument)
            .collect();
        let Some(instruments) = instruments else {
            return Err(InstrumentsError::Invalid { path, line: None });
        };
        if instruments.is_empty() {
            return Err(InstrumentsError::Empty { path });
        }
        for (index, one) in instruments.iter().enumerate() {
            if instruments[..index]
                .iter()
                .any(|other| other.label == one.label)
            {
                let label = one.label.clone();
                return Err(InstrumentsError::LabelTwice { label, path });
            }
        }
        Ok(Self(instruments))
    }

    /// The one with this label, or the first.
    pub(crate) fn choose(&self, label: Option<&str>) -> Result<&OwnInstrument, InstrumentsError> {
        let found = self
            .0
            .iter()
            .find(|instrument| label.is_none_or(|label| instrument.label == label));
        found.ok_or_else(|| InstrumentsError::NoSuchLabel {
            label: label.unwrap_or_default().to_owned(),
            known: self
                .0
                .iter()
                .map(|instrument| instrument.label.as_str())
                .collect::<Vec<_>>()
                .join(", "),
        })
    }
}

impl OwnInstrument {
    /// `everyday (…1111)`.
    pub(crate) fn shown(&self) -> String {
        format!("{} (…{})", self.label, self.instrument.last_four())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Instruments, InstrumentsError> {
        Instruments::parse(text, Path::new("instruments.toml"))
    }

    #[test]
    fn the_sample_instruments_can_be_chosen_by_label() {
        let instruments = parse(include_str!("../instruments.sample.toml")).unwrap();
        assert_eq!(
            instruments.choose(None).unwrap().shown(),
            "everyday (…1111)"
        );
        assert_eq!(
            instruments.choose(Some("bank")).unwrap().shown(),
            "bank (…2051)"
        );
        let error = instruments.choose(Some("other")).err().unwrap().to_string();
        assert!(error.contains("everyday, thin"), "{error}");
    }

    #[test]
    fn an_error_never_quotes_a_card_number() {
        let card = |pan: &str| {
            format!(
                "[[instrument]]\nlabel = \"a\"\ntype = \"card\"\npan = {pan}\nexpiry = \"2031-12\"\n\
                 gateways = []\n"
            )
        };
        assert!(parse(&card("\"4111111111111111\"")).is_ok());
        for bad in [
            "4111111111111111",
            "\"4111 1111 1111 1111\"",
            "\"4111111111111111",
        ] {
            let error = parse(&card(bad)).err().unwrap();
            assert!(!format!("{error} {error:?}").contains("4111"), "{error}");
            assert!(error.to_string().contains("line 4"), "{error}");
        }
    }
}
