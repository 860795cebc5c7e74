//! The merchant's certificates: how they are got with a one-time secret, and renewed, each with a key of its own.

use std::{error::Error, time::Duration};

use enrolment::{
    asked::Enroll,
    label::Label,
    pair::{NextKey, Pair},
    renewal::{Enrolment, NotDone, Renewal},
};
use mtls::{SharedTrust, rooted::Root};
use protocol::names::{PartyName, Role};
use tokio::time::{MissedTickBehavior, interval};

use crate::{config::Config, exit::Exit, show};

/// How often it is looked whether something is to be renewed. A third of a certificate's time is left for it.
const PERIOD: Duration = Duration::from_secs(3600);

/// Enrols a merchant that has nothing yet but an invitation. A run that got one certificate and not the other is completed
/// by another with the same secret.
pub(crate) async fn enroll(wanted: &Enroll) -> Result<Exit, Box<dyn Error>> {
    let name = wanted.name(Role::Merchant)?;
    let (secret, root) = (wanted.secret()?, wanted.root()?);
    let pairs = [
        (Label::MerchantSigning, wanted.pair("signing")),
        (Label::MerchantTls, wanted.pair("tls")),
    ];
    let has_all = pairs.iter().all(|(_, pair)| pair.is_there());
    for (label, pair) in &pairs {
        let enrolment = Enrolment {
            url: wanted.server(),
            root: &root,
            label: *label,
            name: &name,
            pair,
        };
        match enrolment.enrol(&secret).await {
            Ok(()) => show::print(&format!("enrolled {}", pair.certificate.display())),
            Err(NotDone::IsThere { .. }) if !has_all => {
                show::print(&format!("kept     {}", pair.certificate.display()));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Exit::Done)
}

/// Renews both certificates.
pub(crate) async fn renew(config: &Config) -> Result<Exit, Box<dyn Error>> {
    let trust = config.trust.load_shared(config.directory(), mtls::now())?;
    let renewals = Renewals::of(config, &trust)?.ok_or(
        "the configuration names no enrolment service; write [enrolment] server = \"https://…\" into it",
    )?;
    for (label, pair) in &renewals.pairs {
        renewals.renewal(*label, pair).renew(mtls::now()).await?;
        show::print(&format!("renewed {}", pair.certificate.display()));
    }
    Ok(Exit::Done)
}

/// What a running merchant renews.
pub(crate) struct Renewals {
    url: String,
    root: Root,
    trust: SharedTrust,
    name: PartyName,
    pairs: [(Label, Pair); 2],
}

impl Renewals {
    /// `None` when no enrolment service is configured.
    pub(crate) fn of(config: &Config, trust: &SharedTrust) -> Result<Option<Self>, Box<dyn Error>> {
        let Some(enrolment) = &config.enrolment else {
            return Ok(None);
        };
        let pair = |files: &crate::config::KeyFiles| Pair {
            certificate: config.path(&files.certificate),
            key: config.path(&files.key),
        };
        Ok(Some(Self {
            url: enrolment.server.clone(),
            root: Root::read(&config.path(&config.trust.root))?,
            trust: SharedTrust::clone(trust),
            name: config.name.party().clone(),
            pairs: [
                (Label::MerchantSigning, pair(&config.signing)),
                (Label::MerchantTls, pair(&config.tls)),
            ],
        }))
    }

    /// Looks every hour, for as long as the process runs.
    pub(crate) async fn keep(self) {
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.renew_if_due().await;
        }
    }

    /// Renews what is due; it is taken over as any files are that are replaced. What fails is due the next time, too.
    async fn renew_if_due(&self) {
        for (label, pair) in &self.pairs {
            let certificate = pair.certificate.display();
            match self.renewal(*label, pair).renew_if_due(mtls::now()).await {
                Ok(false) => {}
                Ok(true) => tracing::info!(%certificate, "renewed"),
                Err(error) => tracing::warn!(%certificate, %error, "not renewed"),
            }
        }
    }

    fn renewal<'a>(&'a self, label: Label, pair: &'a Pair) -> Renewal<'a> {
        Renewal {
            url: &self.url,
            root: &self.root,
            trust: &self.trust,
            label,
            name: &self.name,
            pair,
            next: NextKey::New,
        }
    }
}
