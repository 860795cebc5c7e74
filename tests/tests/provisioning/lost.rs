//! A CRL that is lost is never begun anew: what was revoked would be good again.

use std::fs;

use crate::directory::{Directory, crl_number};

/// What every command says that would need the CRL, and that none changes anything.
fn all_refuse(directory: &Directory, certificate: &str, crl: &str) {
    let certificate = directory.text(certificate);
    for command in [
        &["init"][..],
        &["crl"],
        &["revoke", "--certificate", &certificate],
    ] {
        let told = directory.refused(command);
        assert!(
            told.contains(&format!("{} is missing", directory.text(crl))),
            "{command:?}: {told}"
        );
        assert!(told.contains("from a backup"), "{command:?}: {told}");
        assert!(told.contains("GET /v1/certificates"), "{command:?}: {told}");
    }
}

#[test]
fn a_lost_crl_is_asked_for_and_what_was_revoked_stays_revoked() {
    let directory = Directory::provisioned();
    let certificate = directory.text("client/signing.pem");
    directory.done(&["revoke", "--certificate", &certificate]);
    for crl in ["pki/client-ca.crl", "pki/root.crl"] {
        let issued = match crl {
            "pki/root.crl" => "pki/client-ca.pem",
            _ => "client/signing.pem",
        };
        let backup = directory.path("backup.crl");
        fs::rename(directory.path(crl), &backup).unwrap();
        all_refuse(&directory, issued, crl);
        fs::rename(&backup, directory.path(crl)).unwrap();
    }
    directory.done(&["init"]);
    directory.done(&["crl"]);
    assert_eq!(crl_number(&directory.crl("client-ca")), 3);
    let verdict = directory.verify("client/signing.pem", "client-ca");
    assert!(!verdict.status.success());
}

#[test]
fn a_ca_that_lost_its_certificate_too_is_not_taken_for_a_new_one() {
    let directory = Directory::provisioned();
    let lost = directory.path("lost");
    for (ca, issued) in [
        ("client-ca", "client/signing.pem"),
        ("root", "pki/client-ca.pem"),
    ] {
        fs::create_dir(&lost).unwrap();
        for extension in ["pem", "crl"] {
            let file = format!("{ca}.{extension}");
            fs::rename(
                directory.path(&format!("pki/{file}")),
                // Not a name that a certificate has.
                lost.join(format!("{file}.away")),
            )
            .unwrap();
        }
        let told = directory.refused(&["init"]);
        for part in [
            &format!("pki/{ca}.crl is missing"),
            "from a backup",
            &format!("the CA issued {}", directory.text(issued)),
        ] {
            assert!(told.contains(part), "{part}: {told}");
        }
        for extension in ["pem", "crl"] {
            let file = format!("{ca}.{extension}");
            fs::rename(
                lost.join(format!("{file}.away")),
                directory.path(&format!("pki/{file}")),
            )
            .unwrap();
        }
        fs::remove_dir(&lost).unwrap();
    }
    directory.done(&["init"]);
    directory.is_complete();
}

#[test]
fn a_file_that_is_no_crl_is_asked_for_too() {
    let directory = Directory::provisioned();
    fs::copy(
        directory.path("pki/client-ca.pem"),
        directory.path("pki/client-ca.crl"),
    )
    .unwrap();
    for command in ["init", "crl"] {
        let told = directory.refused(&[command]);
        assert!(
            told.contains("pki/client-ca.crl is not a CRL; put it back from a backup"),
            "{told}"
        );
    }
}
