//! How rustls asks whether a certificate is good: it is passed on to [`protocol::pki::Trust`].

use std::{fmt, sync::Arc};

use protocol::{
    names::{PartyName, Role},
    pki::{Usage, VerifiedCertificate},
    problem::{Problem, Refusal},
    time::Timestamp,
};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls13_signature},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use webpki::EndEntityCert;

use crate::{SharedTrust, rooted::RootedRule};

/// Which parties are good at the other end of a connection.
#[derive(Clone)]
pub(crate) struct PeerRule {
    pub(crate) trust: SharedTrust,
    /// Any of these roles, each with what its certificate must be for.
    pub(crate) uses: Vec<(Role, Usage)>,
    /// This party alone, where it is known beforehand.
    pub(crate) name: Option<PartyName>,
}

impl PeerRule {
    /// Judges a peer's chain, leaf first, by the trust of this moment.
    pub(crate) fn judge(
        &self,
        chain: &[CertificateDer<'_>],
        now: Timestamp,
    ) -> Result<VerifiedCertificate, Refusal> {
        let trust = self.trust.load();
        let mut refused = Refusal::new(Problem::RoleMismatch, "no role is trusted here");
        for &(role, usage) in &self.uses {
            match trust.verify(chain, role, usage, now) {
                Ok(certificate) => return self.check_name(certificate),
                // The certificate may be good for another of the uses.
                Err(refusal) => refused = refusal,
            }
            if refused.problem != Problem::RoleMismatch {
                break;
            }
        }
        Err(refused)
    }

    fn check_name(&self, certificate: VerifiedCertificate) -> Result<VerifiedCertificate, Refusal> {
        match &self.name {
            Some(wanted) if wanted != certificate.name() => Err(Refusal::new(
                Problem::CertificateUntrusted,
                format!("{} answers where {wanted} is wanted", certificate.name()),
            )),
            _ => Ok(certificate),
        }
    }
}

impl fmt::Debug for PeerRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerRule")
            .field("uses", &self.uses)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// How a peer is judged.
#[derive(Debug, Clone)]
pub(crate) enum Rule {
    /// As a party, by the trust of this process.
    Party(PeerRule),
    /// By the root, over the issuing CA that it shows.
    Rooted(RootedRule),
}

impl Rule {
    /// Judges a peer's chain, leaf first, as of this moment.
    pub(crate) fn judge(
        &self,
        chain: &[CertificateDer<'_>],
        now: Timestamp,
    ) -> Result<(), Refusal> {
        match self {
            Rule::Party(rule) => rule.judge(chain, now).map(drop),
            Rule::Rooted(rule) => rule.judge(chain, now),
        }
    }
}

/// A [`Rule`] in the form that rustls asks.
#[derive(Debug)]
pub(crate) struct PeerVerifier {
    pub(crate) rule: Rule,
    pub(crate) provider: Arc<CryptoProvider>,
    /// Of clients: whether one without a certificate is let in.
    pub(crate) certificate_required: bool,
}

impl PeerVerifier {
    fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let chain: Vec<_> = std::iter::once(leaf).chain(others).cloned().collect();
        self.rule
            .judge(&chain, Timestamp(now.as_secs()))
            .map_err(invalid)
    }

    fn check_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signed,
            &self.provider.signature_verification_algorithms,
        )
    }
}

/// The refusal goes along, so that the log can name it: see [`refusal_in`].
fn invalid(refusal: Refusal) -> rustls::Error {
    rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(refusal))))
}

/// The refusal behind a failed handshake, if it was this side that refused.
pub(crate) fn refusal_in(error: &rustls::Error) -> Option<&Refusal> {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(source))) => {
            source.downcast_ref()
        }
        _ => None,
    }
}

/// TLS 1.2 is never negotiated; this side would have misconfigured itself.
fn tls_1_3_only() -> rustls::Error {
    rustls::Error::General("TLS 1.2 is not spoken here".to_owned())
}

impl ClientCertVerifier for PeerVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.certificate_required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.verify(leaf, others, now)
            .map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(tls_1_3_only())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.check_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

impl ServerCertVerifier for PeerVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.verify(leaf, others, now)?;
        EndEntityCert::try_from(leaf)
            .and_then(|leaf| leaf.verify_is_valid_for_subject_name(server_name))
            .map_err(|_| {
                invalid(Refusal::new(
                    Problem::CertificateUntrusted,
                    format!("the certificate is not for {}", server_name.to_str()),
                ))
            })?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(tls_1_3_only())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.check_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}
