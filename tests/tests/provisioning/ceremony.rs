//! `ceremony`: the CAs as a file says, with a transcript that OpenSSL confirms; everything is checked before anything is touched.

use std::{fs, process::Command};

use crate::directory::{Directory, crl_number, openssl_says};

/// The sample with names and labels of its own, and what more is to be in it; in a file of the directory that `files` is.
fn file(files: &Directory, more: &str) -> String {
    let sample = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../softhsm-setup/ceremony.sample.toml"
    );
    let gateways = files.path("gateway/gateway.toml");
    let config: toml::Table = toml::from_str(&fs::read_to_string(gateways).unwrap()).unwrap();
    let module = config["token"]["module"].as_str().unwrap();
    let text = fs::read_to_string(sample)
        .unwrap()
        .replace("/usr/lib/softhsm/libsofthsm2.so", module)
        .replace("Twinseal client CA", "Payers' CA")
        .replace("\"client-ca\"", "\"payers\"")
        .replace("\"root-ca\"", "\"anchor\"");
    fs::write(files.path("ceremony.toml"), text + more).unwrap();
    files.text("ceremony.toml")
}

fn sha256sum(path: &str) -> String {
    let said = openssl_says(&["dgst", "-sha256", "-r", path]);
    said.split(' ').next().unwrap().to_owned()
}

/// What OpenSSL says of a certificate, as the transcript writes it.
fn openssl_hex(arguments: &[&str]) -> String {
    let said = openssl_says(arguments);
    let (_, hex) = said.trim().split_once('=').unwrap();
    hex.replace(':', "").to_lowercase()
}

#[test]
fn the_cas_are_made_as_the_file_says_and_the_transcript_has_what_openssl_finds() {
    let files = Directory::provisioned();
    let csr = files.request("gateway", "P-256", &[]);
    let more = format!(
        "[[issue]]\nrole = \"gateway\"\nusage = \"tls\"\nname = \"main\"\nrequest = \"{csr}\"\n\
         dns = [\"gateway.example\"]\nip = [\"192.0.2.1\"]\ndays = 90\nout = \"gateway-tls.pem\"\n"
    );
    let file = file(&files, &more);
    let directory = Directory::named("ceremony");
    let output = directory.run(&["ceremony", "--file", &file]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{told}");

    let path = directory.text("ceremony/transcript.txt");
    let transcript = fs::read_to_string(&path).unwrap();
    // What the witnesses are shown is what `sha256sum` says.
    let shown = String::from_utf8(output.stdout).unwrap();
    assert_eq!(shown.split(' ').next().unwrap(), sha256sum(&path));
    assert!(
        transcript.contains(&format!("SHA-256 {}", sha256sum(&file))),
        "{transcript}"
    );
    assert!(
        transcript.contains("Ada Example, security officer"),
        "{transcript}"
    );
    assert_eq!(
        fs::read(&file).unwrap(),
        fs::read(directory.path("ceremony/ceremony.toml")).unwrap()
    );
    let mut certificates: Vec<String> = ["root", "client-ca", "merchant-ca", "gateway-ca"]
        .iter()
        .map(|ca| directory.text(&format!("pki/{ca}.pem")))
        .collect();
    certificates.push(files.text("gateway-tls.pem"));
    let public = directory.text("public.pem");
    let spki = directory.text("spki.der");
    for certificate in certificates {
        let of = |what: &[&str]| {
            let mut all = vec!["x509", "-noout", "-in", &certificate];
            all.extend(what);
            openssl_hex(&all)
        };
        for found in [of(&["-serial"]), of(&["-fingerprint", "-sha256"])] {
            assert!(
                transcript.contains(&found),
                "{certificate} {found}: {transcript}"
            );
        }
        let key = openssl_says(&["x509", "-noout", "-pubkey", "-in", &certificate]);
        fs::write(&public, key).unwrap();
        openssl_says(&[
            "pkey", "-pubin", "-in", &public, "-outform", "DER", "-out", &spki,
        ]);
        assert!(
            transcript.contains(&sha256sum(&spki)),
            "{certificate}: {transcript}"
        );
    }
    fs::remove_file(public).unwrap();
    fs::remove_file(spki).unwrap();
    for label in ["anchor", "payers", "merchant-ca", "gateway-ca"] {
        assert!(
            transcript.contains(&format!("label         {label}\n")),
            "{transcript}"
        );
    }
    assert_eq!(
        transcript.matches("number        1\n").count(),
        4,
        "{transcript}"
    );
    assert!(
        transcript.trim_end().ends_with("everything was done"),
        "{transcript}"
    );

    let root = directory.certificate("pki/root.pem");
    assert!(root.contains("pathlen:1"), "{root}");
    let client = directory.certificate("pki/client-ca.pem");
    assert!(
        client.contains("pathlen:0") && client.replace(" = ", "=").contains("CN=Payers' CA"),
        "{client}"
    );
    fs::copy(files.path("gateway-tls.pem"), directory.path("issued.pem")).unwrap();
    assert!(
        directory
            .verify("issued.pem", "gateway-ca")
            .status
            .success()
    );
    directory.remove("issued.pem");

    // The rest is made as ever, under these CAs; and one of them is replaced under its own name.
    directory.done(&["init"]);
    directory.is_complete();
    // Under whatever name: what it issued tells that it is no new one.
    let lost = ["pki/client-ca.pem", "pki/client-ca.crl"];
    for file in lost {
        fs::rename(directory.path(file), files.path(&file.replace('/', "-"))).unwrap();
    }
    let told = directory.refused(&["init"]);
    assert!(told.contains("but the CA issued"), "{told}");
    for file in lost {
        fs::rename(files.path(&file.replace('/', "-")), directory.path(file)).unwrap();
    }
    assert!(
        directory
            .certificate("client/signing.pem")
            .replace(" = ", "=")
            .contains("Issuer: CN=Payers' CA")
    );
    let told = directory.done(&["ca", "replace", "--role", "client"]);
    assert!(told.contains("payers-2, Payers' CA 2"), "{told}");
    directory.done(&["crl"]);
    assert_eq!(crl_number(&directory.crl("client-ca-2")), 2);
    assert_eq!(directory.status().0, 0);
}

#[test]
fn a_dry_run_says_what_would_be_done_and_does_nothing() {
    let files = Directory::provisioned();
    let file = file(&files, "");
    let directory = Directory::named("ceremony");
    let output = directory.run(&["ceremony", "--file", &file, "--dry-run"]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let plan = String::from_utf8(output.stdout).unwrap();
    for wanted in [
        "key anchor, certificate \"Twinseal root CA\" for 3650 days, path length 1",
        "key payers, certificate \"Payers' CA\" for 1825 days, path length 0",
        &sha256sum(&file),
    ] {
        assert!(plan.contains(wanted), "{wanted}: {plan}");
    }
    assert!(!directory.path("").exists());
}

#[test]
fn a_ceremony_begins_with_nothing_and_refuses_what_is_there() {
    let files = Directory::provisioned();
    let ours = file(&files, "");
    // A CA's file; a label in the token; the former ceremony.
    let directory = Directory::provisioned();
    let told = directory.refused(&["ceremony", "--file", &ours]);
    assert!(told.contains("pki/root.pem is there already"), "{told}");
    fs::rename(directory.path("pki"), directory.path("away")).unwrap();
    let told = directory.refused(&["ceremony", "--file", &ours]);
    assert!(
        told.contains("has a key merchant-ca already")
            || told.contains("has a key gateway-ca already"),
        "{told}"
    );

    let another = Directory::named("ceremony");
    another.done(&["ceremony", "--file", &ours]);
    fs::remove_dir_all(another.path("pki")).unwrap();
    let told = another.refused(&["ceremony", "--file", &ours]);
    assert!(told.contains("ceremony is there already"), "{told}");
}

#[test]
fn what_the_file_gets_wrong_is_refused_before_a_directory_is_made() {
    let files = Directory::provisioned();
    let directory = Directory::named("ceremony");
    let issue = |members: &str| {
        format!(
            "[[issue]]\nrole = \"client\"\nusage = \"signing\"\nname = \"payer\"\nout = \"payer.pem\"\n{members}\n"
        )
    };
    let csr = files.request("payer", "P-256", &[]);
    let other_curve = files.request("other", "P-384", &[]);
    for (more, reason) in [
        (issue("request = \"nowhere.csr\""), "nowhere.csr"),
        (
            issue(&format!("request = \"{other_curve}\"")),
            "is not of P-256",
        ),
        (
            issue(&format!("request = \"{csr}\"\ndns = [\"a.example\"]")),
            "has no DNS names",
        ),
        (
            issue(&format!("request = \"{csr}\"\ndays = 1825")),
            "has to end before its CA",
        ),
        (
            issue(&format!("request = \"{csr}\"\ncolour = 1")),
            "unknown field",
        ),
    ] {
        let file = file(&files, &more);
        let output = directory.run(&["ceremony", "--file", &file]);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.contains(reason), "{more}: {told}");
        assert!(!directory.path("").exists(), "{more}");
    }
    assert!(!files.path("payer.pem").exists());
}

#[test]
fn a_token_that_is_not_the_one_that_is_meant_gets_no_key_and_the_transcript_says_so() {
    let files = Directory::provisioned();
    let path = file(&files, "");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("# serial = ", "serial = ")).unwrap();
    let directory = Directory::named("ceremony");
    let output = directory.run(&["ceremony", "--file", &path]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("is meant; bring that one"), "{told}");
    let transcript = fs::read_to_string(directory.path("ceremony/transcript.txt")).unwrap();
    assert!(
        transcript.contains("it failed, and is to be begun anew elsewhere"),
        "{transcript}"
    );
    assert!(
        !transcript.contains("a key pair was generated"),
        "{transcript}"
    );
    let listed = Command::new("softhsm2-util")
        .arg("--show-slots")
        .env("SOFTHSM2_CONF", directory.path("ca/softhsm2.conf"))
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&listed.stdout).contains("twinseal-ca"));
}
