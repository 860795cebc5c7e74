//! Messages 1 and 2: the temporary authentication of a client session.

use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    encoding,
    identifiers::{ClientNonce, MerchantNonce, OrderId, Sid},
    json::{self, Version},
    jws::{Message, Verified, X5C_MAX},
    money::Amount,
    names::{GatewayName, MerchantName, PartyName, Role},
    pki::{Trust, Usage, VerifiedCertificate},
    problem::{Problem, Refusal},
    schema::{Chain, Jws},
    time::{Skew, Timestamp},
};

/// How long a client session lasts, in seconds, unless configured otherwise.
pub const LIFETIME_SECONDS: u64 = 900;

/// Message 1, the temporary authentication request: `POST /v1/sessions` at the merchant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SessionRequest {
    /// 1.
    pub version: Version,
    /// The client's nonce.
    pub nc: ClientNonce,
    /// What the client is about to pay.
    pub order: OrderId,
}

impl SessionRequest {
    /// Reads the body.
    ///
    /// # Errors
    /// `malformed`, `unsupported-version`.
    pub fn read(body: &[u8]) -> Result<Self, Refusal> {
        json::read_message(body)
    }
}

/// The answer to message 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct SessionResponse {
    /// Message 2: the merchant's JWS.
    #[schema(value_type = SessionJws)]
    pub session: String,
}

/// The merchant as the payer sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NamedMerchant {
    /// Who it is.
    pub id: MerchantName,
    /// What it calls itself: for display, and only beside the id.
    pub name: String,
}

/// A gateway with the certificate chain of an encryption key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OfferedGateway {
    /// Who it is.
    pub id: GatewayName,
    /// The chain of its encryption certificate, standard base64, leaf first, without the anchor.
    #[schema(value_type = Chain)]
    pub x5c: Vec<String>,
}

impl OfferedGateway {
    /// Writes a chain.
    pub fn new(id: GatewayName, chain: &[CertificateDer<'_>]) -> Self {
        Self {
            id,
            x5c: chain.iter().map(|der| encoding::base64(der)).collect(),
        }
    }

    fn chain(&self) -> Result<Vec<CertificateDer<'static>>, Refusal> {
        if self.x5c.is_empty() || self.x5c.len() > X5C_MAX {
            return Err(Refusal::new(
                Problem::Malformed,
                "gateway.x5c does not hold one to four certificates",
            ));
        }
        self.x5c
            .iter()
            .map(|text| encoding::base64_decode(text).map(CertificateDer::from))
            .collect::<Result<_, _>>()
            .map_err(|_| Refusal::new(Problem::Malformed, "gateway.x5c is not standard base64"))
    }
}

/// Message 2, the temporary authentication response, signed by the merchant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = SessionClaims)]
#[serde(deny_unknown_fields)]
pub struct Session {
    /// 1.
    pub version: Version,
    /// The client session.
    pub sid: Sid,
    /// The client's nonce, given back.
    pub nc: ClientNonce,
    /// The merchant's nonce.
    pub nm: MerchantNonce,
    /// When it was opened.
    pub iat: Timestamp,
    /// When it ends.
    pub exp: Timestamp,
    /// Who opened it.
    pub merchant: NamedMerchant,
    /// What is to be paid.
    pub order: OrderId,
    /// How much.
    pub amount: Amount,
    /// Whom PI is to be sealed to.
    pub gateway: OfferedGateway,
}

/// Message 2 as it travels.
pub type SessionJws = Jws<Session>;

impl Message for Session {
    const TYP: &'static str = "twinseal-session+jwt";
    const SIGNER: Role = Role::Merchant;

    fn names_signer(&self) -> Option<&PartyName> {
        Some(self.merchant.id.party())
    }
}

/// What the payer knows before message 1 and holds the response against.
pub struct Expected<'a> {
    /// The nonce of this session's request.
    pub nc: ClientNonce,
    /// The host that the person chose.
    pub host: &'a str,
    /// The order that the person saw.
    pub order: OrderId,
    /// The amount that the person saw.
    pub amount: Amount,
    /// The gateways configured for the instrument.
    pub gateways: &'a [GatewayName],
}

/// A session that the payer can sign in: only [`AcceptedSession::check`] makes one.
pub struct AcceptedSession {
    session: Verified<Session>,
    encryption_certificate: VerifiedCertificate,
}

impl AcceptedSession {
    /// Holds a verified response against what the payer expects, and its encryption certificate
    /// against the payer's own trust.
    ///
    /// # Errors
    /// `merchant-mismatch` when the signing certificate is not the chosen host's,
    /// `challenge-mismatch`, `expired`, `not-yet-valid`, `order-mismatch`, `amount-mismatch`,
    /// `gateway-mismatch`, and those of a certificate.
    pub fn check(
        session: Verified<Session>,
        expected: &Expected<'_>,
        trust: &Trust,
        skew: Skew,
        now: Timestamp,
    ) -> Result<Self, Refusal> {
        let claims = session.claims();
        let is_chosen_host = session
            .signer()
            .dns_names()
            .iter()
            .any(|name| name.eq_ignore_ascii_case(expected.host));
        if !is_chosen_host {
            return Err(Refusal::new(
                Problem::MerchantMismatch,
                format!(
                    "{} is not among the names of {}'s signing certificate",
                    expected.host, claims.merchant.id
                ),
            ));
        }
        if claims.nc != expected.nc {
            return Err(Refusal::new(Problem::ChallengeMismatch, "another nc"));
        }
        skew.check_window(claims.iat, claims.exp, now)?;
        if claims.order != expected.order {
            return Err(Refusal::new(Problem::OrderMismatch, "another order"));
        }
        if claims.amount != expected.amount {
            return Err(Refusal::new(
                Problem::AmountMismatch,
                format!("{} instead of {}", claims.amount, expected.amount),
            ));
        }
        let encryption_certificate = trust.verify(
            &claims.gateway.chain()?,
            Role::Gateway,
            Usage::Encryption,
            now,
        )?;
        if encryption_certificate.name() != claims.gateway.id.party() {
            return Err(Refusal::new(
                Problem::GatewayMismatch,
                "the encryption certificate is another gateway's",
            ));
        }
        if !expected.gateways.contains(&claims.gateway.id) {
            return Err(Refusal::new(
                Problem::GatewayMismatch,
                format!("{} is not configured for the instrument", claims.gateway.id),
            ));
        }
        Ok(Self {
            session,
            encryption_certificate,
        })
    }

    /// What the merchant signed.
    pub fn session(&self) -> &Verified<Session> {
        &self.session
    }

    /// Whose key PI is sealed to.
    pub fn encryption_certificate(&self) -> &VerifiedCertificate {
        &self.encryption_certificate
    }
}
