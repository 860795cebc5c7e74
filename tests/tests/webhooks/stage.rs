//! A gateway that tells a merchant over a wire, and what happens there.

use std::{net::SocketAddr, process::Output, time::Duration};

use serde_json::Value;
use toml::Table;
use twinseal_tests::{
    parties::Parties,
    place::Place,
    service::{Service, program},
    wire::Wire,
};

/// How long something may take that is not waited for in vain.
const PATIENCE: Duration = Duration::from_secs(60);

/// Everything that runs.
pub(crate) struct Stage {
    pub(crate) place: Place,
    pub(crate) parties: Parties,
    pub(crate) gateway: Service,
    /// From the gateway to the merchant's listener.
    pub(crate) hook: Wire,
    pub(crate) merchant: Service,
}

impl Stage {
    /// Tries that fail are made again after a second, very often.
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    /// One whose gateway has another configuration.
    pub(crate) fn with(change: impl FnOnce(&mut Table)) -> Self {
        let place = Place::new();
        // It leads nowhere until the merchant is there.
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
        let hook = Wire::to(nowhere);
        hook.cut();
        place.edit("gateway/gateway.toml", |config| {
            config["merchant"][0]
                .as_table_mut()
                .unwrap()
                .insert("webhook".into(), webhook(&hook, "bookshop.whsec").into());
            config["webhooks"]["retry_seconds"] = vec![1; 600].into();
            change(config);
        });
        let parties = Parties::of(&place);
        let gateway = place.start_gateway();
        let merchant = place.start_merchant();
        hook.lead_to(merchant.address("payers"));
        Self {
            place,
            parties,
            gateway,
            hook,
            merchant,
        }
    }

    /// The payer's terminal buys a book, 12.50 EUR, and the transaction is approved.
    pub(crate) fn bought(&self) -> String {
        let (exit, object) = self.buy();
        assert_eq!(exit, Some(0), "{object}");
        object["xid"].as_str().unwrap().to_owned()
    }

    /// What the payer's terminal comes to.
    pub(crate) fn buy(&self) -> (Option<i32>, Value) {
        let shop = self.merchant.url("payers");
        let line = [
            "--json", "buy", "--yes", "--shop", &shop, "--item", "book-1",
        ];
        let output = self.place.client(&line);
        (output.status.code(), read(&output))
    }

    /// Has the gateway find that a hold's time is over.
    pub(crate) fn let_hold_end(&self, xid: &str) {
        let xid: protocol::identifiers::Xid = xid.parse().unwrap();
        let database = rusqlite::Connection::open(self.place.path("gateway/gateway.db")).unwrap();
        database.busy_timeout(PATIENCE).unwrap();
        let changed = database
            .execute(
                "UPDATE payment SET capture_before = 1 WHERE xid = ?1 AND held > 0",
                [xid.as_bytes()],
            )
            .unwrap();
        assert_eq!(changed, 1);
    }

    /// Waits until the merchant is told.
    pub(crate) fn wait_until_told(&self, kind: &str) -> Value {
        told(&self.merchant, "told", kind)
    }

    /// The gateway's events.
    pub(crate) fn events(&self, arguments: &[&str]) -> Vec<Value> {
        let mut all = vec!["webhooks", "list", "--json"];
        all.extend(arguments);
        match read(&self.place.gateway_cli(&all)) {
            Value::Array(events) => events,
            other => panic!("{other}"),
        }
    }

    /// A command of the merchant with `--json`.
    pub(crate) fn desk(&self, arguments: &[&str]) -> Value {
        let mut all = arguments.to_vec();
        all.push("--json");
        read(&self.place.merchant_cli(&all))
    }

    /// Waits until the gateway says something of an event.
    pub(crate) fn wait_for_gateway(&self, message: &str) -> Value {
        heard(&self.gateway, message)
    }
}

/// A line of a log that begins like this.
pub(crate) fn heard(service: &Service, message: &str) -> Value {
    let line = service.wait_for_log(PATIENCE, |line| {
        let said = line["fields"]["message"].as_str();
        said.is_some_and(|said| said.starts_with(message))
    });
    line["fields"].clone()
}

/// A merchant that is told of something of a kind.
pub(crate) fn told(merchant: &Service, message: &str, kind: &str) -> Value {
    let line = merchant.wait_for_log(PATIENCE, |line| {
        let fields = &line["fields"];
        fields["message"] == message && fields["kind"] == kind
    });
    line["fields"].clone()
}

/// A webhook in the gateway's configuration.
pub(crate) fn webhook(hook: &Wire, secret: &str) -> Table {
    let mut webhook = Table::new();
    webhook.insert("url".into(), format!("{}/webhooks", hook.url()).into());
    webhook.insert("secret_files".into(), vec![secret].into());
    webhook
}

/// A command of the gateway, whatever it comes to.
pub(crate) fn gateway(place: &Place, arguments: &[&str]) -> Output {
    std::process::Command::new(program("twinseal-gateway"))
        .arg("--config")
        .arg(place.path("gateway/gateway.toml"))
        .args(arguments)
        .envs(place.token_environment())
        .env_remove("RUST_LOG")
        .output()
        .unwrap()
}

fn read(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}
