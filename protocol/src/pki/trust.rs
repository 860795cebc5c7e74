//! The trust of one process: root, issuing CAs of each role, their CRLs, and verification by them.

use std::{slice, sync::Arc};

use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, TrustAnchor, UnixTime};
use webpki::{
    EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeIdIter, VerifiedPath,
    aws_lc_rs::ECDSA_P256_SHA256,
};
use x509_parser::certificate::X509Certificate;

use super::{
    Usage, VerifiedCertificate,
    ca::{CaCertificate, TrustError},
    crl::{Crl, UnverifiedCrl, check_fresh},
    profile::Leaf,
    recent::Recent,
    untrusted,
};
use crate::{
    identifiers::Digest,
    names::Role,
    problem::{Problem, Refusal},
    time::Timestamp,
};

/// How many certificates a chain may hold.
pub const CHAIN_MAX: usize = 4;

/// How many verified leaves are remembered.
const RECENT_MAX: usize = 4096;

/// What [`Trust`] is made from.
pub struct TrustSource {
    /// The root CA's certificate.
    pub root: CertificateDer<'static>,
    /// The root's CRL, which says whether an issuing CA was revoked.
    pub root_crl: CertificateRevocationListDer<'static>,
    /// The issuing CAs by role; a role may have several while one is replaced, or none.
    pub anchors: Vec<(Role, CertificateDer<'static>)>,
    /// The CRLs of the issuing CAs, in any order.
    pub crls: Vec<CertificateRevocationListDer<'static>>,
}

/// Why certificates of a CA are refused, or soon will be, although the trust could be loaded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustWarning {
    /// There is none.
    #[error("no usable CRL of \"{ca}\": its certificates are refused; configure its current CRL")]
    NoCrl {
        /// The CA's subject.
        ca: String,
    },
    /// Its `nextUpdate` has passed.
    #[error(
        "the CRL of \"{ca}\" should have been replaced by {next_update}: \
         its certificates are refused; get a new one from the CA"
    )]
    StaleCrl {
        /// The CA's subject.
        ca: String,
        /// When a new one was due.
        next_update: Timestamp,
    },
    /// It is outside its dates, or the root revoked it.
    #[error(
        "\"{ca}\" is left out, its certificates are refused: {reason}; take it out of the configuration"
    )]
    CaLeftOut {
        /// The CA's subject.
        ca: String,
        /// Why.
        reason: String,
    },
    /// It ends before long.
    #[error("{0}; see to its successor")]
    EndsSoon(Term),
    /// Its `thisUpdate` is to come.
    #[error(
        "a CRL of \"{ca}\" is of {this_update}, which is to come, and was \
         left out; check the clock"
    )]
    CrlFromTheFuture {
        /// The CA's subject.
        ca: String,
        /// When it says it was made.
        this_update: Timestamp,
    },
}

/// How long something is good: a certificate, or a CRL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// What it is: "certificate" or "CRL".
    pub kind: &'static str,
    /// Whose: the subject of a CA, or what the owner calls it.
    pub of: String,
    /// From when.
    pub begin: Timestamp,
    /// Until when.
    pub end: Timestamp,
}

/// How a CRL stands to the one in use of its CA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Whose it is: the public key of its CA, uncompressed.
    pub signer: [u8; 65],
    /// Whether it would replace that one.
    pub is_newer: bool,
    /// How long it is good.
    pub term: Term,
}

impl Term {
    /// Days until its end; negative afterwards.
    pub fn days_left(&self, now: Timestamp) -> f64 {
        const DAY: f64 = 24.0 * 60.0 * 60.0;
        (self.end.0 as f64 - now.0 as f64) / DAY
    }

    /// Whether less than a quarter of it is left, and less than 30 days.
    pub fn ends_soon(&self, now: Timestamp) -> bool {
        let whole = self.end.0.saturating_sub(self.begin.0);
        let left = self.end.0.saturating_sub(now.0);
        left < whole / 4 && left < 30 * 24 * 60 * 60
    }
}

impl std::fmt::Display for Term {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kind, of, end, .. } = self;
        write!(f, "the {kind} of \"{of}\" ends at {end}")
    }
}

/// Whose certificates are trusted for what. It does not change: a new CRL makes a new `Trust`.
pub struct Trust {
    root: Authority,
    issuing_cas: Vec<Arc<IssuingCa>>,
    left_out: Vec<TrustWarning>,
    recent: Recent<(Digest, Role, Usage), (VerifiedCertificate, Arc<IssuingCa>)>,
}

/// A CA as far as it is judged at each use: its dates, and its newest CRL.
struct Authority {
    ca: CaCertificate,
    crl: Option<Crl>,
}

struct IssuingCa {
    role: Role,
    anchor: TrustAnchor<'static>,
    /// How many CAs it allows below itself, if it says so.
    path_length: Option<u32>,
    authority: Authority,
}

impl Trust {
    /// Checks each issuing CA against the root, the root's CRL and its dates, and each CRL against
    /// its CA; keeps of each CA the CRL with the highest number.
    ///
    /// A CRL that is missing, or too old, is no error: what depends on it is refused when it is
    /// verified. An issuing CA that was revoked or is outside its dates is left out, so that all else
    /// can be renewed beside it. [`Trust::warnings`] tells of both.
    ///
    /// # Errors
    /// The first certificate or CRL that can't be used, and what to do about it.
    pub fn load(source: TrustSource, now: Timestamp) -> Result<Self, TrustError> {
        let root = CaCertificate::read(source.root, "root")?;
        root.check_dates(now)?;
        let mut left_out = Vec::new();
        let root_crl = newest_crls(
            slice::from_ref(&root),
            [source.root_crl],
            now,
            &mut left_out,
        )?
        .pop()
        .flatten();

        let mut roles = Vec::new();
        let mut certificates = Vec::new();
        for (role, der) in source.anchors {
            let ca = CaCertificate::read(der, &format!("{role} CA"))?;
            ca.check_issued_by(&root)?;
            let serial = ca.serial()?;
            let is_revoked = root_crl.as_ref().is_some_and(|crl| crl.names(&serial));
            let reason = if is_revoked {
                Some("the root revoked it".to_owned())
            } else {
                ca.check_dates(now).err().map(|error| error.to_string())
            };
            roles.push(reason.is_none().then_some(role));
            if let Some(reason) = reason {
                left_out.push(TrustWarning::CaLeftOut {
                    ca: ca.subject.clone(),
                    reason,
                });
            }
            certificates.push(ca);
        }
        // Those that are left out have CRLs, too, which are nobody else's.
        let crls = newest_crls(&certificates, source.crls, now, &mut left_out)?;

        let issuing_cas = roles
            .into_iter()
            .zip(certificates)
            .zip(crls)
            .filter_map(|((role, ca), crl)| role.map(|role| (role, ca, crl)))
            .map(|(role, ca, crl)| {
                Ok(Arc::new(IssuingCa {
                    role,
                    anchor: ca.anchor()?,
                    path_length: ca.path_length,
                    authority: Authority::new(ca, crl),
                }))
            })
            .collect::<Result<_, TrustError>>()?;
        Ok(Self {
            root: Authority::new(root, root_crl),
            issuing_cas,
            left_out,
            recent: Recent::new(RECENT_MAX),
        })
    }

    /// What a person should look after: CRLs that are missing, too old, or left out, CAs that are left out, and what ends
    /// soon.
    pub fn warnings(&self, now: Timestamp) -> Vec<TrustWarning> {
        let judged = self
            .authorities()
            .filter_map(|authority| authority.warning(now));
        let ends_soon = self
            .terms()
            .filter(|term| now < term.end && term.ends_soon(now))
            .map(TrustWarning::EndsSoon);
        self.left_out
            .iter()
            .cloned()
            .chain(judged)
            .chain(ends_soon)
            .collect()
    }

    /// How long the CAs and their CRLs are good.
    pub fn terms(&self) -> impl Iterator<Item = Term> {
        self.authorities().flat_map(Authority::terms)
    }

    /// Refuses to follow a former trust with CRLs that are older than its own, of the same number and another content, or
    /// missing: what was known to be revoked would be good again.
    ///
    /// # Errors
    /// The first CA whose CRL is older.
    pub fn check_follows(&self, former: &Trust) -> Result<(), TrustError> {
        for authority in self.authorities() {
            let Some(before) = former
                .authorities()
                .filter(|before| before.ca.public_key == authority.ca.public_key)
                .find_map(|before| before.crl.as_ref())
            else {
                continue;
            };
            let follows = authority
                .crl
                .as_ref()
                .is_some_and(|crl| crl.number > before.number || crl.der == before.der);
            if !follows {
                return Err(TrustError::OlderCrl {
                    issuing_ca: authority.ca.subject.clone(),
                });
            }
        }
        Ok(())
    }

    /// How a CRL that came stands to the one in use: it is of one of the CAs, and not from the future.
    ///
    /// # Errors
    /// When it can't be used.
    pub fn stand(
        &self,
        der: &CertificateRevocationListDer<'_>,
        now: Timestamp,
    ) -> Result<Standing, TrustError> {
        let (signer, crl) =
            UnverifiedCrl::read(der)?.verify(self.authorities().map(|authority| &authority.ca))?;
        // The signer is one of them.
        let authority = self.authorities().nth(signer).unwrap_or(&self.root);
        if crl.this_update > now {
            return Err(TrustError::Crl {
                issuing_ca: authority.ca.subject.clone(),
                reason: "it is from the future".to_owned(),
            });
        }
        let in_use = authority.crl.as_ref();
        Ok(Standing {
            signer: authority.ca.public_key,
            is_newer: in_use.is_none_or(|in_use| crl.is_newer_than(in_use)),
            term: crl.term(&authority.ca.subject),
        })
    }

    fn authorities(&self) -> impl Iterator<Item = &Authority> {
        std::iter::once(&self.root).chain(self.issuing_cas.iter().map(|ca| &ca.authority))
    }

    /// The issuing CA that signed a certificate, whatever its role, and its CRL. Two CAs may have one name while a key is
    /// replaced, so the signature decides.
    pub(super) fn issuer_of(
        &self,
        certificate: &X509Certificate<'_>,
    ) -> Option<(&CaCertificate, Option<&Crl>)> {
        let issued = (
            certificate.tbs_certificate.as_ref(),
            &certificate.signature_value.data,
        );
        self.issuing_cas
            .iter()
            .map(|issuing_ca| &issuing_ca.authority)
            .find(|authority| {
                authority.ca.raw_subject() == certificate.issuer().as_raw()
                    && authority.ca.check_signature(issued.0, issued.1).is_ok()
            })
            .map(|authority| (&authority.ca, authority.crl.as_ref()))
    }

    /// The CRLs of the issuing CAs that are in force, to be passed on.
    pub fn crls(&self) -> impl Iterator<Item = &CertificateRevocationListDer<'static>> {
        self.issuing_cas
            .iter()
            .filter_map(|ca| ca.authority.crl.as_ref())
            .map(|crl| &crl.der)
    }

    /// Verifies a certificate for a role and a use: path, signature and basic constraints (RFC 5280
    /// section 6), the exact profile, dates, and revocation. The chain has the leaf first and the
    /// anchor left out; since CRLs come with the issuing CAs, a path over another CA has none and
    /// is refused.
    ///
    /// The first time this costs one P-256 verification; after that none, as long as the leaf is
    /// remembered. Dates and the age of CRLs are judged each time.
    ///
    /// # Errors
    /// `certificate-untrusted`, `certificate-expired`, `certificate-revoked`, `role-mismatch`.
    pub fn verify(
        &self,
        chain: &[CertificateDer<'_>],
        role: Role,
        usage: Usage,
        now: Timestamp,
    ) -> Result<VerifiedCertificate, Refusal> {
        let (leaf_der, others) = chain
            .split_first()
            .ok_or_else(|| untrusted("no certificate"))?;
        if chain.len() > CHAIN_MAX {
            return Err(untrusted(format!("a chain of {}", chain.len())));
        }
        let thumbprint = Digest::of(leaf_der);
        let known = (thumbprint, role, usage);
        // Only a leaf that came alone is ever inserted, see below.
        if others.is_empty()
            && let Some((certificate, issuing_ca)) = self.recent.get(&known)
        {
            self.check_current(&certificate, &issuing_ca, now)?;
            return Ok(certificate);
        }

        let library_form = EndEntityCert::try_from(leaf_der).map_err(|error| refusal(&error))?;
        let (path, issuing_ca) = self.path(&library_form, others, role, now)?;
        let leaf = Leaf::read(leaf_der)?;
        leaf.check_use(role, usage)?;
        let between = path.intermediate_certificates().count();
        // The library does not look at an anchor's own basic constraints.
        if issuing_ca
            .path_length
            .is_some_and(|allowed| between > allowed as usize)
        {
            return Err(untrusted(format!(
                "CAs between leaf and anchor: {between}, which is above the anchor's path length"
            )));
        }
        if between > 0 {
            return Err(Refusal::new(
                Problem::CertificateRevoked,
                "there is no CRL of a CA between leaf and anchor",
            ));
        }
        if !others.is_empty() {
            return Err(untrusted(
                "the chain holds certificates that are not of the path",
            ));
        }
        let certificate = VerifiedCertificate::new(leaf_der, thumbprint, leaf, usage)?;
        self.check_current(&certificate, &issuing_ca, now)?;
        // The trust does not change, so what its CRLs don't name stays unnamed.
        if let Some(crl) = &issuing_ca.authority.crl
            && crl.names(library_form.serial())
        {
            return Err(Refusal::new(
                Problem::CertificateRevoked,
                format!("the certificate of {} was revoked", certificate.name()),
            ));
        }
        self.recent.insert(known, (certificate.clone(), issuing_ca));
        Ok(certificate)
    }

    /// What can change while nothing is loaded anew: the clock.
    fn check_current(
        &self,
        certificate: &VerifiedCertificate,
        issuing_ca: &IssuingCa,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let issuing_ca = &issuing_ca.authority;
        certificate.validity().check("the certificate", now)?;
        issuing_ca.ca.validity.check("its issuing CA", now)?;
        self.root.ca.validity.check("the root", now)?;
        check_fresh(issuing_ca.crl.as_ref(), "the issuing CA", now)?;
        check_fresh(self.root.crl.as_ref(), "the root", now)
    }

    /// Finds a path to an anchor of the role, and the issuing CA at its end.
    fn path<'a>(
        &'a self,
        leaf: &'a EndEntityCert<'a>,
        intermediates: &'a [CertificateDer<'a>],
        role: Role,
        now: Timestamp,
    ) -> Result<(VerifiedPath<'a>, Arc<IssuingCa>), Refusal> {
        let path_to = |wanted: &dyn Fn(&IssuingCa) -> bool| {
            let mut failure = webpki::Error::UnknownIssuer;
            for ca in self.issuing_cas.iter().filter(|ca| wanted(ca)) {
                let path = leaf.verify_for_usage(
                    &[ECDSA_P256_SHA256],
                    slice::from_ref(&ca.anchor),
                    intermediates,
                    UnixTime::since_unix_epoch(std::time::Duration::from_secs(now.0)),
                    JudgedByProfile,
                    // By look-up, once the path is known: see `Crl`.
                    None,
                    None,
                );
                match path {
                    Ok(path) => return Ok((path, Arc::clone(ca))),
                    Err(webpki::Error::UnknownIssuer) => {}
                    Err(error) => failure = error,
                }
            }
            Err(failure)
        };
        path_to(&|ca| ca.role == role).map_err(|error| match path_to(&|ca| ca.role != role) {
            Ok((_, other)) => Refusal::new(
                Problem::RoleMismatch,
                format!("issued by a {} CA, not a {role} CA", other.role),
            ),
            Err(_) => refusal(&error),
        })
    }
}

impl Authority {
    fn new(ca: CaCertificate, crl: Option<Crl>) -> Self {
        Self { ca, crl }
    }

    fn terms(&self) -> impl Iterator<Item = Term> {
        let of = &self.ca.subject;
        let certificate = self.ca.validity.term("certificate", of);
        let crl = self.crl.as_ref().map(|crl| crl.term(of));
        std::iter::once(certificate).chain(crl)
    }

    fn warning(&self, now: Timestamp) -> Option<TrustWarning> {
        let ca = self.ca.subject.clone();
        match &self.crl {
            None => Some(TrustWarning::NoCrl { ca }),
            Some(crl) if crl.next_update <= now => Some(TrustWarning::StaleCrl {
                ca,
                next_update: crl.next_update,
            }),
            Some(_) => None,
        }
    }
}

/// The newest CRL of each of these CAs, in their order.
fn newest_crls(
    cas: &[CaCertificate],
    crls: impl IntoIterator<Item = CertificateRevocationListDer<'static>>,
    now: Timestamp,
    left_out: &mut Vec<TrustWarning>,
) -> Result<Vec<Option<Crl>>, TrustError> {
    let mut newest: Vec<Option<Crl>> = cas.iter().map(|_| None).collect();
    for der in crls {
        let (signer, crl) = UnverifiedCrl::read(&der)?.verify(cas)?;
        if crl.this_update > now {
            left_out.push(TrustWarning::CrlFromTheFuture {
                ca: cas[signer].subject.clone(),
                this_update: crl.this_update,
            });
        } else if newest[signer]
            .as_ref()
            .is_none_or(|other| crl.is_newer_than(other))
        {
            newest[signer] = Some(crl);
        }
    }
    Ok(newest)
}

/// The exact extended key usage is the profile's, see [`Leaf`].
struct JudgedByProfile;

impl ExtendedKeyUsageValidator for JudgedByProfile {
    fn validate(&self, _: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        Ok(())
    }
}

fn refusal(error: &webpki::Error) -> Refusal {
    let problem = match error {
        webpki::Error::CertExpired { .. } | webpki::Error::CertNotValidYet { .. } => {
            Problem::CertificateExpired
        }
        _ => Problem::CertificateUntrusted,
    };
    Refusal::new(problem, error.to_string())
}
