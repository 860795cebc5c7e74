//! The payer's certificate: how it is got with a one-time secret, and renewed.
//!
//! A renewal keeps the key, unless another is asked for: the payer's accounts belong to it.

use std::time::Duration;

use enrolment::{
    asked::Enroll,
    label::Label,
    pair::{NextKey, Pair},
    renewal::{Enrolment, Renewal},
};
use mtls::rooted::Root;
use protocol::names::{PartyName, Role};
use serde_json::json;

use crate::{
    config::Config,
    failure::{Exit, Failure},
    output,
    payer::Payer,
};

/// How long a command that has something else to do waits for a renewal. One that is cut off is completed by the next.
const BESIDE_MAX: Duration = Duration::from_secs(5);

/// Enrols a payer that has nothing yet but an invitation.
pub(crate) async fn enroll(wanted: &Enroll, json: bool) -> Result<Exit, Failure> {
    let name = wanted.name(Role::Client)?;
    let (secret, root, pair) = (wanted.secret()?, wanted.root()?, wanted.pair("signing"));
    let enrolment = Enrolment {
        url: wanted.server(),
        root: &root,
        label: Label::Client,
        name: &name,
        pair: &pair,
    };
    enrolment.enrol(&secret).await?;
    tell("enrolled", &name, &pair, json);
    Ok(Exit::Done)
}

/// Renews the payer's certificate.
pub(crate) async fn renew(payer: &Payer, new_key: bool, json: bool) -> Result<Exit, Failure> {
    let url = server(&payer.config).ok_or(Failure::NoEnrolment)?;
    let next = if new_key { NextKey::New } else { NextKey::Same };
    let (root, pair) = files(&payer.config)?;
    renewal_of(payer, url, &root, &pair, next)
        .renew(mtls::now())
        .await?;
    tell("renewed", payer.config.name.party(), &pair, json);
    if new_key {
        output::say(
            "the key is another one: have your card issuer enter the certificate for your accounts, which belong to the \
             former key",
        );
    }
    Ok(Exit::Done)
}

/// Renews the payer's certificate before it is used, if it is time and somebody is configured who does. What goes wrong
/// is told and stops nothing: the certificate is good for another while.
pub(crate) async fn renew_if_due(payer: &Payer) {
    let Some(url) = server(&payer.config) else {
        return;
    };
    let renewal = async {
        let (root, pair) = files(&payer.config)?;
        let renewal = renewal_of(payer, url, &root, &pair, NextKey::Same);
        Ok::<_, Failure>(renewal.renew_if_due(mtls::now()).await?)
    };
    match tokio::time::timeout(BESIDE_MAX, renewal).await {
        Ok(Ok(false)) => {}
        Ok(Ok(true)) => output::say("the certificate was renewed"),
        Ok(Err(failure)) => output::say(&format!(
            "warning: the certificate is to be renewed, and was not: {failure}"
        )),
        Err(_) => output::say(
            "warning: the certificate is to be renewed, and the enrolment service does not answer; the next command asks \
             again",
        ),
    }
}

fn renewal_of<'a>(
    payer: &'a Payer,
    url: &'a str,
    root: &'a Root,
    pair: &'a Pair,
    next: NextKey,
) -> Renewal<'a> {
    Renewal {
        url,
        root,
        trust: &payer.trust,
        label: Label::Client,
        name: payer.config.name.party(),
        pair,
        next,
    }
}

fn server(config: &Config) -> Option<&str> {
    Some(&config.enrolment.as_ref()?.server)
}

fn files(config: &Config) -> Result<(Root, Pair), Failure> {
    let pair = Pair {
        certificate: config.path(&config.signing.certificate),
        key: config.path(&config.signing.key),
    };
    Ok((Root::read(&config.path(&config.trust.root))?, pair))
}

fn tell(done: &str, name: &PartyName, pair: &Pair, json: bool) {
    let certificate = pair.certificate.display().to_string();
    output::say(&format!("{done} {name}: {certificate}"));
    if json {
        output::print_json(&json!({
            "outcome": done,
            "name": name.as_str(),
            "certificate": certificate,
            "key": pair.key.display().to_string(),
        }));
    }
}
