//! The report on a key: all that was found of it, for an operator and for programs.

use std::path::PathBuf;

use serde::Serialize;

use crate::{
    policy::{AttributeFinding, KeyUse},
    provision::TokenInfo,
    sealed::OpeningWay,
    waiver::{Verdict, Waivers},
};

/// A key, held against the policy of its use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeyReport {
    /// What the key is called: its label, or the URI that names it.
    pub key: String,
    /// What it is for.
    #[serde(rename = "use")]
    pub usage: KeyUse,
    /// The PKCS#11 module that was asked.
    pub module: PathBuf,
    /// The token that the key is in.
    pub token: TokenInfo,
    /// Of an agreement key: how it opens, found out by doing it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opening: Option<OpeningWay>,
    /// Every attribute of the policy, the good ones too.
    pub findings: Vec<ReportedFinding>,
}

/// An attribute that was looked at, and what is to be made of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReportedFinding {
    /// Its name in PKCS#11.
    pub attribute: &'static str,
    /// What the policy wants.
    pub expected: String,
    /// What the token says; "absent" when it says nothing.
    pub found: String,
    /// `ok`, `waived` with its reason, or `wrong`.
    #[serde(flatten)]
    pub verdict: Verdict,
}

impl ReportedFinding {
    pub(crate) fn new(finding: AttributeFinding, waivers: &Waivers) -> Self {
        Self {
            verdict: waivers.verdict(&finding),
            attribute: finding.name,
            expected: finding.expected,
            found: finding.found,
        }
    }
}

impl KeyReport {
    /// What is wrong and not waived: with one of these the key is not used.
    pub fn wrong(&self) -> impl Iterator<Item = &ReportedFinding> {
        self.findings
            .iter()
            .filter(|finding| finding.verdict == Verdict::Wrong)
    }
}
