//! The real programs, which trust the CAs of the test beside the provisioned ones.

use std::{
    fs,
    net::SocketAddr,
    process::Output,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use mtls::client::Answer;
use protocol::{identifiers::ClientNonce, names::Role};
use rcgen::ExtendedKeyUsagePurpose;
use twinseal_tests::{
    parties::Parties, place::Place, service::Service, shopper::Shopper, wire::Wire,
};

use crate::{
    cases::Judged,
    certificates,
    peer::{Heard, PATIENCE, ask},
    pki::{Pki, Shown, Wanted},
};

/// A gateway and a merchant that run. The merchant takes certificates of payers.
pub(crate) struct Stage {
    pub(crate) gateway: Service,
    pub(crate) merchant: Service,
    pub(crate) pki: Pki,
    pub(crate) parties: Parties,
    pub(crate) place: Place,
}

/// The stage of the tests that run at this moment.
static RUNNING: Mutex<Weak<Stage>> = Mutex::new(Weak::new());

impl Stage {
    /// The one that other tests have at this moment, or a new one.
    pub(crate) fn shared() -> Arc<Self> {
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        running.upgrade().unwrap_or_else(|| {
            let stage = Arc::new(Self::with(|_| {}));
            *running = Arc::downgrade(&stage);
            stage
        })
    }

    /// One of its own, with something changed before the gateway starts.
    pub(crate) fn with(change: impl FnOnce(&Place)) -> Self {
        let place = Place::new();
        let pki = Pki::new();
        pki.install(&place);
        place.edit("merchant/merchant.toml", |config| {
            config.insert("client_certificates".into(), "optional".into());
        });
        change(&place);
        let parties = Parties::of(&place);
        let gateway = place.start_gateway();
        let merchant = place.start_merchant();
        Self {
            gateway,
            merchant,
            pki,
            parties,
            place,
        }
    }

    /// A party of ours at its end of a TLS connection.
    pub(crate) fn wanted(&self, role: Role, purpose: ExtendedKeyUsagePurpose) -> Wanted {
        let name = match role {
            Role::Client => self.parties.client.as_str(),
            Role::Merchant => self.parties.merchant.as_str(),
            Role::Gateway => self.parties.gateway.as_str(),
        };
        Wanted {
            role,
            name: name.to_owned(),
            purpose,
        }
    }

    /// What this party would show.
    pub(crate) fn good(&self, wanted: &Wanted) -> Shown {
        certificates::valid(&self.pki, wanted)
    }

    /// A further merchant, whose gateway is at the end of a wire that leads somewhere else at first.
    pub(crate) fn merchant_with_gateway_at(&self, name: &str, at: SocketAddr) -> (Service, Wire) {
        let wire = Wire::to(at);
        let config = format!("merchant/{name}.toml");
        fs::copy(
            self.place.path("merchant/merchant.toml"),
            self.place.path(&config),
        )
        .unwrap();
        self.place.edit(&config, |config| {
            config["gateway"]["url"] = wire.url().into();
            config["store"]["path"] = format!("{name}.db").into();
        });
        let merchant = Service::start(
            "twinseal-merchant",
            &self.place.path(&config),
            &[],
            &["payers"],
        );
        (merchant, wire)
    }

    /// A payer orders at a merchant and wants a session, for which the merchant asks its gateway.
    pub(crate) fn session(&self, merchant: &Service) -> Answer {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let shopper = Shopper::at(&self.parties, merchant);
            let order = shopper.order().await;
            shopper
                .ask_for_session(order.order, ClientNonce::random().unwrap())
                .await
        })
    }

    /// The payer's terminal asks a shop what it sells.
    pub(crate) fn catalogue(&self, shop: &str) -> Output {
        self.place.client(&["--json", "catalogue", "--shop", shop])
    }
}

/// Shows a listener of ours a certificate; then it is to be judged as the table says, and to be unharmed.
pub(crate) fn shown_to(
    service: &Service,
    listener: &str,
    shown: &Shown,
    judged: Judged,
    good: &Shown,
    path: &str,
) {
    let server = service.address(listener);
    let (address, heard) = ask(server, Some(shown), path);
    if matches!(judged, Judged::Taken) {
        assert!(heard.text.starts_with("HTTP/1.1 200 "), "{heard:?}");
        return;
    }
    told_nothing(&heard, judged);
    judged.check_log(&handshake_failure(service, address));
    let (_, heard) = ask(server, Some(good), path);
    assert!(heard.text.starts_with("HTTP/1.1 200 "), "{heard:?}");
}

/// Nothing but the alert came.
pub(crate) fn told_nothing(heard: &Heard, judged: Judged) {
    assert_eq!(heard.alert, judged.alert(), "{heard:?}");
    assert_eq!(heard.text, "");
}

/// What a service logged of a handshake with this peer that failed.
pub(crate) fn handshake_failure(service: &Service, peer: SocketAddr) -> String {
    let peer = peer.to_string();
    let line = service.wait_for_log(PATIENCE, |line| {
        line["fields"]["message"] == "TLS handshake failed" && line["span"]["address"] == *peer
    });
    // Enough for whoever reads no more than this.
    assert_eq!(line["level"], "INFO", "{line}");
    assert_eq!(line["fields"]["address"], *peer, "{line}");
    line["fields"]["failure"].as_str().unwrap().to_owned()
}
