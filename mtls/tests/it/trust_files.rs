//! The `[trust]` table and its files.

use std::path::Path;

use mtls::trust::TrustFiles;
use protocol::{names::Role, pki::Usage};
use rustls_pki_types::CertificateDer;

use crate::pki::{Pki, crl};

const TABLE: &str = r#"
    root = "pki/root.pem"
    root_crl = "pki/root.crl"
    merchant_ca = ["pki/merchant-ca.pem"]
    merchant_crl = ["pki/merchant-ca.crl"]
    gateway_ca = ["pki/gateway-ca.pem"]
    gateway_crl = ["pki/gateway-ca.crl"]
"#;

fn write(pki: &Pki, base: &Path) {
    let directory = base.join("pki");
    std::fs::create_dir(&directory).unwrap();
    let cas = pki
        .issuing_cas
        .iter()
        .map(|(role, ca)| (format!("{role}-ca"), ca))
        .chain([("root".to_owned(), &pki.root)]);
    for (name, ca) in cas {
        let file = |ending| directory.join(format!("{name}.{ending}"));
        std::fs::write(file("pem"), ca.pem()).unwrap();
        std::fs::write(file("crl"), crl(ca, &[]).pem().unwrap()).unwrap();
    }
}

fn load(base: &Path, table: &str) -> Result<protocol::pki::Trust, String> {
    let files: TrustFiles = toml::from_str(table).map_err(|error| error.to_string())?;
    files
        .load(base, mtls::now())
        .map_err(|error| error.to_string())
}

#[test]
fn files_make_a_trust_for_the_roles_that_they_name() {
    let pki = Pki::new();
    let directory = tempfile::tempdir().unwrap();
    write(&pki, directory.path());
    let trust = load(directory.path(), TABLE).unwrap();
    let is_trusted = |role, der: &CertificateDer<'_>| {
        trust
            .verify(
                std::slice::from_ref(der),
                role,
                Usage::TlsServer,
                mtls::now(),
            )
            .is_ok()
    };
    assert!(is_trusted(Role::Merchant, &pki.leaf(Role::Merchant).der));
    assert!(is_trusted(Role::Gateway, &pki.leaf(Role::Gateway).der));
    assert!(!is_trusted(Role::Client, &pki.leaf(Role::Client).der));
}

#[test]
fn a_table_or_file_that_is_wrong_is_named() {
    let pki = Pki::new();
    let directory = tempfile::tempdir().unwrap();
    write(&pki, directory.path());
    let told = |table: &str| load(directory.path(), table).err().unwrap();
    for (table, expected) in [
        (format!("{TABLE}\nclient_cas = []"), "client_cas"),
        (TABLE.replace("root.pem", "missing.pem"), "missing.pem"),
        (TABLE.replace("root.pem", "root.crl"), "root.crl"),
        (
            TABLE.replace("merchant-ca.pem", "client-ca.pem"),
            "merchant CA",
        ),
    ] {
        let error = told(&table);
        assert!(error.contains(expected), "{error}");
    }
}
