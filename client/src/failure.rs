//! Why a command ends without its result, and the exit codes.

use std::{io, path::PathBuf, process::ExitCode};

use enrolment::{asked::NotAnId, renewal::NotDone, service::NotCertified};
use mtls::{
    client::{ClientConfigError, ClientError},
    pem::PemFileError,
    rooted::RootError,
    trust::TrustFilesError,
};
use protocol::{
    identifiers::{NoRandomness, OrderId, Xid},
    names::{ClientName, PartyName},
    problem::Refusal,
    signing::NotTheKey,
};
use secret_file::SecretFileError;
use serde_json::json;

use crate::{
    basket::BasketError, config::ConfigError, exchange::NoAnswer, instruments::InstrumentsError,
    output, purchases::PurchasesError,
};

/// How the program ends; `--help` documents it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Done = 0,
    Failed = 1,
    Usage = 2,
    NotPaid = 3,
    Unconfirmed = 4,
    Stopped = 5,
    TooLate = 6,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// Why a command ended without a result. None of these comes after a purchase was sent: from then on
/// there is an outcome, if only *unconfirmed*.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Instruments(#[from] InstrumentsError),
    #[error(transparent)]
    Pem(#[from] PemFileError),
    #[error(transparent)]
    Trust(#[from] TrustFilesError),
    #[error(transparent)]
    Purchases(#[from] PurchasesError),
    #[error(transparent)]
    Basket(#[from] BasketError),
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
    #[error("{url} is not of the form https://host[:port]; correct --shop")]
    ShopUrl { url: String },
    #[error(transparent)]
    Tls(ClientConfigError),
    #[error("{} is {reason}; configure the payer's own key and certificate", path.display())]
    SigningKey { path: PathBuf, reason: NotTheKey },
    #[error(
        "{} is not the key of the certificate beside it; configure the payer's own key and certificate",
        path.display()
    )]
    OtherKey { path: PathBuf },
    #[error(
        "the certificate is {found}'s, and the configuration says {configured}; correct one of the two"
    )]
    OtherName {
        found: PartyName,
        configured: ClientName,
    },
    #[error(
        "our own signing certificate would be refused ({0}); renew it, or its CA's files under [trust]"
    )]
    OwnCertificate(Refusal),
    #[error("{message} does not hold ({refusal}); stopped before anything was signed: {advice}")]
    Check {
        message: &'static str,
        refusal: Refusal,
        advice: &'static str,
    },
    #[error("the purchase can't be signed ({0}); start it again")]
    Signing(Refusal),
    #[error("{0}; try again")]
    NoRandomness(#[from] NoRandomness),
    #[error(
        "there is no terminal to ask at; run it at a terminal, or say yes beforehand with --yes"
    )]
    NobodyToAsk,
    #[error(
        "the total is above the catalogue's prices, which --yes does not cover; look at the order with a \
         terminal"
    )]
    TotalAboveCatalogue,
    #[error("not confirmed; no purchase was signed, and nothing is to be paid")]
    NotConfirmed,
    #[error("not confirmed; nothing was withdrawn, and the purchase is as it was")]
    NotWithdrawn,
    #[error("the cancellation can't be signed ({0}); try again")]
    CancellationNotSigned(Refusal),
    #[error(
        "order {order} was paid already, transaction {xid}; see it with: twinseal-client show {xid}"
    )]
    AlreadyPaid { order: OrderId, xid: Xid },
    #[error(
        "transaction {xid} for the same order is unconfirmed: it may have been paid; ask what became of it: \
         twinseal-client show {xid} --refresh; or withdraw it: twinseal-client cancel {xid}"
    )]
    StillOpen { xid: Xid },
    #[error(
        "transaction {xid} for the same things at this shop is unconfirmed: it may have been paid; ask what \
         became of it: twinseal-client show {xid} --refresh; or withdraw it: twinseal-client cancel {xid}; or buy \
         them a second time with --again"
    )]
    SameThingsOpen { xid: Xid },
    #[error(transparent)]
    Enrolment(#[from] NotDone),
    #[error(transparent)]
    Root(#[from] RootError),
    #[error(transparent)]
    Secret(#[from] SecretFileError),
    #[error(transparent)]
    User(#[from] NotAnId),
    #[error(
        "the configuration names no enrolment service; write [enrolment] server = \"https://…\" into it"
    )]
    NoEnrolment,
    #[error("{} can't be read: {source}; check the path", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("the runtime could not be started: {0}; try again")]
    Runtime(io::Error),
}

impl Failure {
    /// The exit code.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Failure::ShopUrl { .. }
            | Failure::User(_)
            | Failure::NobodyToAsk
            | Failure::Instruments(InstrumentsError::NoSuchLabel { .. })
            | Failure::Basket(BasketError::NotSold { .. } | BasketError::TooMany { .. }) => {
                Exit::Usage
            }
            Failure::Check { .. }
            | Failure::OwnCertificate(_)
            | Failure::Enrolment(
                NotDone::Former(_)
                | NotDone::Service(
                    NotCertified::Refused { .. }
                    | NotCertified::OtherRoot
                    | NotCertified::Certificate(_)
                    | NotCertified::Transport(ClientError::ServerRefused { .. }),
                ),
            )
            | Failure::Basket(_)
            | Failure::TotalAboveCatalogue
            | Failure::NotConfirmed
            | Failure::NotWithdrawn
            | Failure::AlreadyPaid { .. }
            | Failure::StillOpen { .. }
            | Failure::SameThingsOpen { .. }
            | Failure::NoAnswer(
                NoAnswer::Problem { .. } | NoAnswer::Transport(ClientError::ServerRefused { .. }),
            ) => Exit::Stopped,
            _ => Exit::Failed,
        }
    }

    /// Says it to the person and, where asked for, to a script.
    pub(crate) fn report(&self, json: bool) {
        output::say(&format!("twinseal-client: {self}"));
        if json {
            let outcome = match self.exit() {
                Exit::Stopped => "stopped",
                _ => "failed",
            };
            output::print_json(&json!({
                "outcome": outcome,
                "problem": self.problem(),
                "error": self.to_string(),
            }));
        }
    }

    /// The problem's name, where a check or the other side named one.
    fn problem(&self) -> Option<&str> {
        match self {
            Failure::Check { refusal, .. }
            | Failure::OwnCertificate(refusal)
            | Failure::Signing(refusal)
            | Failure::CancellationNotSigned(refusal)
            | Failure::NoAnswer(NoAnswer::Transport(ClientError::ServerRefused {
                refusal, ..
            })) => Some(refusal.problem.name()),
            Failure::NoAnswer(NoAnswer::Problem { name, .. }) => Some(name),
            _ => None,
        }
    }
}
