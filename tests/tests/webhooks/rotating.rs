//! The secret that both share: two while it is replaced, a wrong one, and what is sent once more by hand.

use std::fs;

use toml::Value;

use crate::stage::{Stage, gateway};

impl Stage {
    /// Gives the gateway other secrets, and starts it again.
    fn gateway_has(&mut self, files: &[&str]) {
        self.place.edit("gateway/gateway.toml", |config| {
            config["merchant"][0]["webhook"]["secret_files"] = Value::from(files.to_vec());
        });
        self.gateway = self.place.start_gateway();
    }

    /// Gives the merchant other secrets, and starts it again.
    fn merchant_has(&mut self, files: &[&str]) {
        self.place.edit("merchant/merchant.toml", |config| {
            config["webhook"]["secret_files"] = Value::from(files.to_vec());
        });
        self.merchant = self.place.start_merchant();
        self.hook.lead_to(self.merchant.address("payers"));
    }

    /// Something that the merchant is to be told.
    fn something_happens(&self) -> String {
        let xid = self.bought();
        self.let_hold_end(&xid);
        xid
    }
}

#[test]
fn a_secret_is_replaced_without_a_notice_being_lost() {
    let mut stage = Stage::new();
    let new = stage.place.text("gateway/new.whsec");
    let made = stage
        .place
        .gateway_cli(&["webhooks", "new-secret", "--out", &new]);
    assert!(!String::from_utf8_lossy(&made.stdout).contains("whsec_"));
    let again = gateway(&stage.place, &["webhooks", "new-secret", "--out", &new]);
    assert_eq!(again.status.code(), Some(1));
    fs::copy(&new, stage.place.path("merchant/new.whsec")).unwrap();

    // The gateway signs with both: the merchant has the old one, then the new one.
    stage.gateway_has(&["new.whsec", "bookshop.whsec"]);
    stage.merchant_has(&["gateway.whsec"]);
    let first = stage.something_happens();
    assert_eq!(
        stage.wait_until_told("payment.expired")["xid"],
        first.as_str()
    );
    stage.merchant_has(&["new.whsec"]);
    let second = stage.something_happens();
    assert_eq!(
        stage.wait_until_told("payment.expired")["xid"],
        second.as_str()
    );
    // And then with the new one alone.
    stage.gateway_has(&["new.whsec"]);
    stage.merchant_has(&["new.whsec"]);
    let third = stage.something_happens();
    assert_eq!(
        stage.wait_until_told("payment.expired")["xid"],
        third.as_str()
    );
    assert_eq!(stage.desk(&["events"]).as_array().unwrap().len(), 3);
}

#[test]
fn what_was_given_up_is_sent_once_more_by_hand_and_known_by_its_id() {
    let mut stage = Stage::with(|config| {
        config["webhooks"]["retry_seconds"] = Value::Array(Vec::new());
    });
    let other = stage.place.text("merchant/other.whsec");
    stage
        .place
        .gateway_cli(&["webhooks", "new-secret", "--out", &other]);
    stage.merchant_has(&["other.whsec"]);
    let xid = stage.something_happens();
    let given_up = stage.wait_for_gateway("merchant not told, given up");
    let id = given_up["event"].as_str().unwrap();
    assert_eq!(given_up["why"], "HTTP 400");
    assert!(
        given_up["message"]
            .as_str()
            .unwrap()
            .ends_with(&format!("replay {id}`"))
    );
    assert!(stage.desk(&["events"]).as_array().unwrap().is_empty());
    let listed = stage.events(&["--state", "given-up"]);
    assert_eq!(listed[0]["id"], id);

    stage.merchant_has(&["gateway.whsec"]);
    let replayed = stage
        .place
        .gateway_cli(&["webhooks", "replay", "--given-up"]);
    assert_eq!(String::from_utf8(replayed.stdout).unwrap().trim(), id);
    assert_eq!(
        stage.wait_until_told("payment.expired")["xid"],
        xid.as_str()
    );
    stage.wait_for_gateway("merchant told");
    // What was delivered can be, too: by its id, which may begin with a hyphen.
    stage.place.gateway_cli(&["webhooks", "replay", id]);
    crate::stage::told(&stage.merchant, "told again", "payment.expired");
    assert_eq!(stage.desk(&["events"]).as_array().unwrap().len(), 1);
    let unknown = "BwcHBwcHBwcHBwcHBwcHBw";
    let missing = gateway(&stage.place, &["webhooks", "replay", unknown]);
    assert_eq!(missing.status.code(), Some(3));
    let said = String::from_utf8(missing.stderr).unwrap();
    assert!(said.contains("`webhooks list` shows all"), "{said}");
}

#[test]
fn a_secret_that_others_may_read_or_that_is_none_stops_the_start() {
    use std::os::unix::fs::PermissionsExt as _;
    let stage = Stage::new();
    for (program, config, file) in [
        (
            "twinseal-gateway",
            "gateway/gateway.toml",
            "gateway/bookshop.whsec",
        ),
        (
            "twinseal-merchant",
            "merchant/merchant.toml",
            "merchant/gateway.whsec",
        ),
    ] {
        let path = stage.place.path(file);
        let secret = fs::read_to_string(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let (exit, said) = stage.place.refused_start(program, config);
        assert_eq!(exit, Some(1), "{said}");
        assert!(said.contains("chmod 600"), "{said}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, &secret[..20]).unwrap();
        let (exit, said) = stage.place.refused_start(program, config);
        assert_eq!(exit, Some(1), "{said}");
        assert!(said.contains("holds no secret"), "{said}");
        assert!(!said.contains(&secret[6..20]), "{said}");
        fs::write(&path, &secret).unwrap();
    }
}
