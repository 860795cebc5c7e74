//! Who gets which certificate: what is decided here is in the journal before it is told.

use std::path::{Path, PathBuf};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use enrolment::label::Label;
use protocol::{
    identifiers::Digest,
    names::{PartyName, Role},
    pki::VerifiedCertificate,
};
use time::OffsetDateTime;

use super::{
    guard::Credentials,
    request::{NotARequest, Request},
};
use crate::{
    Failure,
    authority::{Authority, Origin},
    enrolment_identity,
    invitation::{self, Invitation, NotTaken, WRONG_MAX},
    issue::hex,
    journal::{Asked, How, Issued, Journal},
    layout::{Layout, LockedLayout, TokenPlace},
    leaf::Leaf,
    profiles::{self, Hosts},
    revocation::Crl,
    token_process::TokenProcess,
};

/// Why somebody gets no certificate. The text is for the log and, but for the first two, for the asker.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    /// The CA can't work now.
    #[error("{0}")]
    Failed(Failure),
    #[error("{0}")]
    Secret(NotTaken),
    #[error(transparent)]
    Request(#[from] NotARequest),
    #[error("more than one certificate can be asked for; name one of {0} in the path")]
    Ambiguous(String),
    #[error("this is not what you are invited to, or renew")]
    OtherUse,
    #[error("the secret was used for another key; it is good for one")]
    Used,
    #[error("the key was certified for another party or use; make one of its own")]
    ForeignKey,
    #[error("the certificate was revoked")]
    Revoked,
    #[error("a certificate of this key was revoked; make another key")]
    RevokedKey,
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// What is to be certified.
struct Certified<'a> {
    name: &'a PartyName,
    label: Label,
    hosts: Hosts,
    request: Request,
    how: How,
    /// By what right: see [`Asked::by`].
    by: String,
}

/// The CA's desk: one at a time.
pub(crate) struct Desk {
    directory: PathBuf,
    module: PathBuf,
    days: i64,
    journal: Journal,
    /// None when it ended, or did not do what it should; then another one is started.
    token: Option<TokenProcess>,
}

impl Desk {
    /// Reads the journal, and tries every issuing CA's key.
    pub(super) fn open(layout: &Layout, module: &Path, days: i64) -> Result<Self, Failure> {
        let locked = LockedLayout::open(layout.root())?;
        let token = TokenProcess::start(layout, TokenPlace::Ca, module)?;
        for role in Role::ALL {
            Authority::open(&locked, &token, Some(role))?;
        }
        Ok(Self {
            directory: layout.root().to_owned(),
            module: module.to_owned(),
            days,
            journal: Journal::open(&locked)?,
            token: Some(token),
        })
    }

    /// Has the service's own certificate renewed, if it is time. Tells whether it was.
    pub(super) fn renew_identity(&mut self) -> Result<bool, Failure> {
        let layout = self.lock()?;
        self.with_token(&layout, |_, token| {
            enrolment_identity::renew_if_due(&layout, token)
        })
    }

    /// Certifies the key of a party that was invited.
    pub(super) fn enrol(
        &mut self,
        label: Option<Label>,
        credentials: &Credentials,
        body: &[u8],
    ) -> Result<Vec<u8>, Refused> {
        let layout = self.lock()?;
        let invitation = authenticate(&layout, label, credentials)?;
        let label = chosen(label, &invitation.labels())?;
        let request = Request::read(body)?;
        self.catch_up(&layout)?;
        let usage = invitation::purpose(label).as_str();
        let used = self.journal.issued().find(|issued| {
            issued.usage == usage
                && issued
                    .asked
                    .as_ref()
                    .is_some_and(|asked| asked.by == invitation.id)
        });
        match used {
            Some(issued) if issued.spki_sha256 == request.spki_sha256 => {
                return again(&layout, issued);
            }
            Some(_) => return Err(Refused::Used),
            None => {}
        }
        let certified = Certified {
            name: &invitation.name,
            label,
            hosts: invitation.hosts(label),
            request,
            how: How::Enrol,
            by: invitation.id.clone(),
        };
        self.certify(&layout, certified)
    }

    /// Certifies a key in the place of the one in a certificate that is good now.
    pub(super) fn renew(
        &mut self,
        label: Option<Label>,
        former: &VerifiedCertificate,
        body: &[u8],
    ) -> Result<Vec<u8>, Refused> {
        let layout = self.lock()?;
        let shown = Label::of(former.role(), former.usage()).ok_or(Refused::OtherUse)?;
        if label.is_some_and(|label| label != shown) {
            return Err(Refused::OtherUse);
        }
        let leaf = Leaf::of(former.der()).ok_or(Refused::OtherUse)?;
        // As it is in the file: what was revoked a moment ago is, too.
        refuse_revoked(&layout, &leaf)?;
        let request = Request::read(body)?;
        self.catch_up(&layout)?;
        let by = former.thumbprint().to_string();
        let asked = Asked {
            by: by.clone(),
            request_sha256: request.sha256,
        };
        if let Some(issued) = self
            .journal
            .issued()
            .find(|issued| issued.asked.as_ref() == Some(&asked))
        {
            return again(&layout, issued);
        }
        let certified = Certified {
            name: former.name(),
            label: shown,
            hosts: leaf.hosts,
            request,
            how: How::Renew,
            by,
        };
        self.certify(&layout, certified)
    }

    fn certify(
        &mut self,
        layout: &LockedLayout,
        certified: Certified<'_>,
    ) -> Result<Vec<u8>, Refused> {
        let Certified {
            name,
            label,
            hosts,
            request,
            how,
            by,
        } = certified;
        let purpose = invitation::purpose(label);
        // A key has one owner and one use, for ever.
        let is_foreign = self.journal.issued().any(|issued| {
            issued.spki_sha256 == request.spki_sha256
                && (issued.subject != name.as_str() || issued.usage != purpose.as_str())
        });
        if is_foreign {
            return Err(Refused::ForeignKey);
        }
        if self.journal.has_revoked_key(request.spki_sha256) {
            return Err(Refused::RevokedKey);
        }
        let params = profiles::leaf(name, purpose, &hosts, self.days)?;
        let origin = Origin {
            how,
            asked: Some(Asked {
                by,
                request_sha256: request.sha256,
            }),
        };
        let pem = self.with_token(layout, |journal, token| {
            Authority::open(layout, token, Some(label.role()))?.issue(
                journal,
                origin,
                &params,
                &request.public,
            )
        })?;
        let leaf = Leaf::read(pem.as_bytes())
            .ok_or_else(|| Failure::new("what the CA signed is no certificate"))?;
        tracing::info!(
            subject = %name,
            usage = purpose.as_str(),
            serial = hex(&leaf.serial),
            %how,
            "issued"
        );
        Ok(leaf.der)
    }

    fn lock(&self) -> Result<LockedLayout, Failure> {
        LockedLayout::open_telling(&self.directory, |waiting| tracing::info!("{waiting}"))
    }

    fn catch_up(&mut self, layout: &LockedLayout) -> Result<(), Failure> {
        if let Some(cut_off) = self.journal.catch_up(layout)? {
            tracing::warn!("{cut_off}");
        }
        Ok(())
    }

    /// Works with the CA token. A process of it that fails is not used again.
    fn with_token<T>(
        &mut self,
        layout: &Layout,
        work: impl FnOnce(&mut Journal, &TokenProcess) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let token = match self.token.take() {
            Some(token) => token,
            None => TokenProcess::start(layout, TokenPlace::Ca, &self.module)?,
        };
        let done = work(&mut self.journal, &token)?;
        self.token = Some(token);
        Ok(done)
    }
}

/// The invitation whose secret somebody has.
fn authenticate(
    layout: &LockedLayout,
    label: Option<Label>,
    credentials: &Credentials,
) -> Result<Invitation, Refused> {
    let names: Vec<PartyName> = match credentials.user.parse() {
        Ok(name) => vec![name],
        Err(_) => Role::ALL
            .into_iter()
            .filter(|role| label.is_none_or(|label| label.role() == *role))
            .filter_map(|role| PartyName::new(role, &credentials.user).ok())
            .collect(),
    };
    let mut refusal = NotTaken::NotInvited;
    let mut wrong = Vec::new();
    for name in names {
        let Some(invitation) = Invitation::find(layout, &name)? else {
            continue;
        };
        match invitation.check(&credentials.secret, OffsetDateTime::now_utc()) {
            Ok(()) => return Ok(invitation),
            Err(NotTaken::Wrong) => {
                refusal = NotTaken::Wrong;
                wrong.push((name, invitation));
            }
            Err(other) => refusal = other,
        }
    }
    // A secret that is right for one of two roles with the same id is wrong for none.
    for (name, mut invitation) in wrong {
        invitation.wrong += 1;
        invitation.save(layout)?;
        if invitation.wrong == WRONG_MAX {
            tracing::warn!(
                %name,
                wrong = WRONG_MAX,
                "an invitation is locked: too many wrong secrets; invite again if it was the party itself"
            );
        }
    }
    Err(Refused::Secret(refusal))
}

/// What is asked for: what the path says, or the only thing that there is.
fn chosen(label: Option<Label>, invited: &[Label]) -> Result<Label, Refused> {
    match (label, invited) {
        (Some(label), _) if invited.contains(&label) => Ok(label),
        (None, [only]) => Ok(*only),
        (Some(_), _) => Err(Refused::OtherUse),
        (None, _) => {
            let labels: Vec<&str> = invited.iter().map(|label| label.as_str()).collect();
            Err(Refused::Ambiguous(labels.join(", ")))
        }
    }
}

/// A certificate that was issued before: its answer may have been lost.
fn again(layout: &Layout, issued: &Issued) -> Result<Vec<u8>, Refused> {
    let der = STANDARD
        .decode(&issued.certificate)
        .ok()
        .filter(|der| Digest::of(der) == issued.certificate_sha256)
        .ok_or_else(|| {
            Failure::new("the journal's certificate is damaged; put it back from a backup")
        })?;
    let leaf = Leaf::of(&der).ok_or_else(|| Failure::new("the journal has no certificate"))?;
    refuse_revoked(layout, &leaf)?;
    tracing::info!(
        subject = issued.subject,
        serial = issued.serial,
        "told again"
    );
    Ok(der)
}

/// Refuses a certificate that its CA revoked, or whose CA is retired.
fn refuse_revoked(layout: &Layout, leaf: &Leaf) -> Result<(), Refused> {
    let ca = layout.issuer_of(leaf).ok_or(Refused::Revoked)?;
    if Crl::of_ca(layout, ca)?.names(&leaf.serial) {
        return Err(Refused::Revoked);
    }
    Ok(())
}
