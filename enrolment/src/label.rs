//! What can be enrolled for, by the label in EST's paths (RFC 7030 section 3.2.2).

use std::{fmt, str::FromStr};

use protocol::{names::Role, pki::Usage};

/// A party's role and what the certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Label {
    /// A client's, to sign messages: it has no other.
    Client,
    /// A merchant's, to sign messages.
    MerchantSigning,
    /// A merchant's, for TLS.
    MerchantTls,
    /// A gateway's, to sign messages.
    GatewaySigning,
    /// A gateway's, for TLS.
    GatewayTls,
}

/// The text is no label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not one of client, merchant-signing, merchant-tls, gateway-signing, gateway-tls")]
pub struct NotALabel;

impl Label {
    /// Every label.
    pub const ALL: [Label; 5] = [
        Label::Client,
        Label::MerchantSigning,
        Label::MerchantTls,
        Label::GatewaySigning,
        Label::GatewayTls,
    ];

    /// As it stands in a path.
    pub const fn as_str(self) -> &'static str {
        match self {
            Label::Client => "client",
            Label::MerchantSigning => "merchant-signing",
            Label::MerchantTls => "merchant-tls",
            Label::GatewaySigning => "gateway-signing",
            Label::GatewayTls => "gateway-tls",
        }
    }

    /// Whose certificate it is.
    pub const fn role(self) -> Role {
        match self {
            Label::Client => Role::Client,
            Label::MerchantSigning | Label::MerchantTls => Role::Merchant,
            Label::GatewaySigning | Label::GatewayTls => Role::Gateway,
        }
    }

    /// What it is for. It also is what the certificate is judged by in TLS when it is renewed.
    pub const fn usage(self) -> Usage {
        match self {
            Label::Client | Label::MerchantSigning | Label::GatewaySigning => Usage::MessageSigning,
            Label::MerchantTls | Label::GatewayTls => Usage::TlsClient,
        }
    }

    /// The label of a role and a use.
    pub fn of(role: Role, usage: Usage) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|label| (label.role(), label.usage()) == (role, usage))
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Label {
    type Err = NotALabel;

    fn from_str(text: &str) -> Result<Self, NotALabel> {
        Self::ALL
            .into_iter()
            .find(|label| label.as_str() == text)
            .ok_or(NotALabel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_its_text_and_its_role_and_use() {
        for label in Label::ALL {
            assert_eq!(label.as_str().parse(), Ok(label));
            assert_eq!(Label::of(label.role(), label.usage()), Some(label));
        }
        for text in ["", "Client", "client-signing", "merchant"] {
            assert_eq!(text.parse::<Label>(), Err(NotALabel), "{text}");
        }
        assert_eq!(Label::of(Role::Client, Usage::TlsClient), None);
    }
}
