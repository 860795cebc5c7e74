//! Waivers: attributes of the policy that an operator does without, each with a reason.
//!
//! Only what a token says of a key's past (CKA_LOCAL, CKA_ALWAYS_SENSITIVE, CKA_NEVER_EXTRACTABLE), and
//! CKA_MODIFIABLE, can be waived: modules exist that don't keep them or keep them wrongly, and they say nothing
//! of what the key can do now. That a key stays in the token, behind its PIN, and has one use, type and length,
//! is what this crate is for: there is no waiver for it.

use serde::{Deserialize, Serialize};

use crate::policy::{AttributeFinding, KeyUse};

/// The attributes that can be waived.
const WAIVABLE: [&str; 4] = [
    "CKA_LOCAL",
    "CKA_ALWAYS_SENSITIVE",
    "CKA_NEVER_EXTRACTABLE",
    "CKA_MODIFIABLE",
];

/// The attributes that an operator does without. In TOML a list of
/// `{ attribute = "CKA_LOCAL", reason = "…" }`; anything else is refused when it is read.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(try_from = "Vec<Waiver>")]
pub struct Waivers(Vec<Waiver>);

/// One attribute that is done without.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Waiver {
    /// Its name in PKCS#11.
    pub attribute: String,
    /// Why, for whoever reads the report.
    pub reason: String,
}

/// A waiver that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WaiverError {
    /// The policy has no such attribute.
    #[error("{0} is no attribute of the policy; those that can be waived are {list}", list = WAIVABLE.join(", "))]
    Unknown(String),
    /// The attribute is one that a key can't be trusted without.
    #[error(
        "{0} can't be waived: it says where the key is or what it can do; those that can are {list}",
        list = WAIVABLE.join(", ")
    )]
    NeverWaived(String),
    /// There is no reason.
    #[error("the waiver of {0} has no reason; say why the attribute is done without")]
    NoReason(String),
    /// The same attribute twice.
    #[error("{0} is waived twice; keep one of the two reasons")]
    Twice(String),
}

impl TryFrom<Vec<Waiver>> for Waivers {
    type Error = WaiverError;

    fn try_from(waivers: Vec<Waiver>) -> Result<Self, WaiverError> {
        for (position, waiver) in waivers.iter().enumerate() {
            let name = &waiver.attribute;
            if !WAIVABLE.contains(&name.as_str()) {
                return Err(if KeyUse::knows_attribute(name) {
                    WaiverError::NeverWaived(name.clone())
                } else {
                    WaiverError::Unknown(name.clone())
                });
            }
            if waiver.reason.trim().is_empty() {
                return Err(WaiverError::NoReason(name.clone()));
            }
            if waivers[..position]
                .iter()
                .any(|other| &other.attribute == name)
            {
                return Err(WaiverError::Twice(name.clone()));
            }
        }
        Ok(Self(waivers))
    }
}

impl Waivers {
    /// What is to be made of a finding.
    pub fn verdict(&self, finding: &AttributeFinding) -> Verdict {
        if finding.ok {
            return Verdict::Ok;
        }
        self.0
            .iter()
            .find(|waiver| waiver.attribute == finding.name)
            .map_or(Verdict::Wrong, |waiver| Verdict::Waived {
                reason: waiver.reason.clone(),
            })
    }
}

/// What is to be made of a finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "lowercase")]
pub enum Verdict {
    /// The attribute is as the policy wants it.
    Ok,
    /// It is not, and the operator does without it.
    Waived {
        /// Why.
        reason: String,
    },
    /// It is not: the key is not used.
    Wrong,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waivers(list: &[(&str, &str)]) -> Result<Waivers, WaiverError> {
        let list: Vec<Waiver> = list
            .iter()
            .map(|(attribute, reason)| Waiver {
                attribute: (*attribute).to_owned(),
                reason: (*reason).to_owned(),
            })
            .collect();
        list.try_into()
    }

    fn finding(name: &'static str, ok: bool) -> AttributeFinding {
        AttributeFinding {
            name,
            expected: "true".to_owned(),
            found: if ok { "true" } else { "absent" }.to_owned(),
            ok,
        }
    }

    #[test]
    fn what_is_waived_is_waived_with_its_reason_and_nothing_else_is() {
        let waivers = waivers(&[("CKA_LOCAL", "made in a ceremony")]).unwrap();
        let waived = Verdict::Waived {
            reason: "made in a ceremony".to_owned(),
        };
        assert_eq!(waivers.verdict(&finding("CKA_LOCAL", false)), waived);
        assert_eq!(waivers.verdict(&finding("CKA_LOCAL", true)), Verdict::Ok);
        let other = finding("CKA_NEVER_EXTRACTABLE", false);
        assert_eq!(waivers.verdict(&other), Verdict::Wrong);
        assert_eq!(Waivers::default().verdict(&other), Verdict::Wrong);
    }

    #[test]
    fn where_a_key_is_and_what_it_can_do_is_never_waived() {
        for attribute in [
            "CKA_TOKEN",
            "CKA_PRIVATE",
            "CKA_SENSITIVE",
            "CKA_EXTRACTABLE",
            "CKA_SIGN",
            "CKA_SIGN_RECOVER",
            "CKA_VERIFY",
            "CKA_ENCRYPT",
            "CKA_DECRYPT",
            "CKA_DERIVE",
            "CKA_WRAP",
            "CKA_UNWRAP",
            "CKA_KEY_TYPE",
            "CKA_EC_PARAMS",
            "CKA_VALUE_LEN",
        ] {
            assert_eq!(
                waivers(&[(attribute, "because")]),
                Err(WaiverError::NeverWaived(attribute.to_owned()))
            );
        }
    }

    #[test]
    fn a_waiver_that_says_nothing_is_refused() {
        for unknown in ["CKA_LOKAL", "CKA_LABEL", "cka_local", ""] {
            let error = waivers(&[(unknown, "because")]).unwrap_err();
            assert_eq!(error, WaiverError::Unknown(unknown.to_owned()));
            assert!(error.to_string().contains("CKA_NEVER_EXTRACTABLE"));
        }
        assert_eq!(
            waivers(&[("CKA_LOCAL", " ")]),
            Err(WaiverError::NoReason("CKA_LOCAL".to_owned()))
        );
        assert_eq!(
            waivers(&[("CKA_LOCAL", "one"), ("CKA_LOCAL", "other")]),
            Err(WaiverError::Twice("CKA_LOCAL".to_owned()))
        );
    }

    #[test]
    fn waivers_are_read_from_a_configuration() {
        #[derive(Debug, Deserialize)]
        struct Configuration {
            waivers: Waivers,
        }
        let read = |text: &str| toml::from_str::<Configuration>(text);
        let read_well =
            read("waivers = [{ attribute = \"CKA_LOCAL\", reason = \"made in a ceremony\" }]")
                .unwrap();
        assert_eq!(
            read_well.waivers,
            waivers(&[("CKA_LOCAL", "made in a ceremony")]).unwrap()
        );
        for (text, part) in [
            (
                "waivers = [{ attribute = \"CKA_SENSITIVE\", reason = \"because\" }]",
                "CKA_SENSITIVE can't be waived",
            ),
            (
                "waivers = [{ attribute = \"CKA_LOKAL\", reason = \"because\" }]",
                "CKA_LOKAL is no attribute of the policy",
            ),
            ("waivers = [{ attribute = \"CKA_LOCAL\" }]", "reason"),
            (
                "waivers = [{ attribute = \"CKA_LOCAL\", reason = \"because\", until = 2027 }]",
                "until",
            ),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
