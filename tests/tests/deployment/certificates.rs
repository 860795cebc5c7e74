//! Certificates of other CAs than ours: what they are asked for, and what is made of what they give.

use std::{fs, os::unix::fs::MetadataExt as _, process::Command};

use twinseal_tests::place::Place;

use crate::{
    files::succeeds,
    kubernetes::{list, resource, text},
};

#[test]
fn a_request_for_a_tls_key_in_the_token_has_the_names_that_another_ca_is_to_certify() {
    let place = Place::new();
    let csr = place.text("tls-2.csr");
    let names = ["--dns", "gateway.example", "--dns", "gateway.twinseal.svc"];
    let new = |purpose: &str, label: &str, csr: &str| {
        let certificate = format!("{label}.pem");
        let mut arguments = vec!["keys", "new", purpose, "--label", label, "--csr", csr];
        arguments.extend(["--certificate", &certificate]);
        arguments.extend(names);
        place.gateway_command(&arguments).output().unwrap()
    };
    let made = new("tls", "tls-2", &csr);
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    let said =
        succeeds(Command::new("openssl").args(["req", "-noout", "-text", "-verify", "-in", &csr]));
    assert!(
        said.contains(
            "URI:urn:twinseal:gateway:main, DNS:gateway.example, DNS:gateway.twinseal.svc"
        ),
        "{said}"
    );
    let other = place.text("signing-2.csr");
    let refused = new("signing", "signing-2", &other);
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("leave --dns out"), "{said}");
    assert!(!place.path("signing-2.csr").exists());
}

#[test]
fn the_merchants_pod_makes_of_what_cert_manager_writes_what_the_merchant_takes() {
    let place = Place::new();
    let gateway = place.start_gateway();
    // As cert-manager's Secrets are: the leaf, then the CA that issued it.
    let issuing_ca = fs::read_to_string(place.path("pki/merchant-ca.pem")).unwrap();
    for name in ["tls", "signing"] {
        let issued = place.path(&format!("issued/{name}"));
        fs::create_dir_all(&issued).unwrap();
        let leaf = fs::read_to_string(place.path(&format!("merchant/{name}.pem"))).unwrap();
        fs::write(issued.join("tls.crt"), leaf + &issuing_ca).unwrap();
        fs::copy(
            place.path(&format!("merchant/{name}.key")),
            issued.join("tls.key"),
        )
        .unwrap();
    }
    place.edit("merchant/merchant.toml", |config| {
        for name in ["tls", "signing"] {
            config[name]["certificate"] = place.text(&format!("issued/{name}/tls.crt")).into();
        }
    });
    let (code, said) = place.refused_start("twinseal-merchant", "merchant/merchant.toml");
    assert_eq!(code, Some(1), "the leaf alone is wanted: {said}");

    let deployment = resource("merchant.yaml", "Deployment", "merchant");
    let begins = &list(&deployment, "/spec/template/spec/initContainers")[0];
    let command = list(begins, "/command");
    let script = text(&command[2], "")
        .replace("/run/issued", &place.text("issued"))
        .replace("/run/twinseal/keys", &place.text("keys"));
    fs::create_dir(place.path("keys")).unwrap();
    succeeds(Command::new("/bin/sh").args(["-euc", &script]));
    let key = fs::metadata(place.path("keys/tls.key")).unwrap();
    assert_eq!(key.mode() & 0o777, 0o600);

    place.edit("merchant/merchant.toml", |config| {
        for name in ["tls", "signing"] {
            for (member, ending) in [("certificate", "pem"), ("key", "key")] {
                config[name][member] = place.text(&format!("keys/{name}.{ending}")).into();
            }
        }
    });
    let merchant = place.start_merchant();
    let shop = merchant.url("payers");
    let bought = place.client(&["buy", "--yes", "--shop", &shop, "--item", "book-1"]);
    let said = String::from_utf8_lossy(&bought.stderr).into_owned();
    assert!(bought.status.success(), "{said}");
    // The merchant's probes: Kubernetes asks over TLS and judges no certificate.
    let answer = succeeds(
        Command::new("curl")
            .args(["--fail", "--silent", "--insecure"])
            .arg(format!("{shop}/openapi.json")),
    );
    assert!(answer.contains("Twinseal merchant"), "{answer}");
    drop(gateway);
}
