//! A root CA whose key the test has, in the place of the provisioned one: for CRLs that no tool of ours
//! would sign.

use std::{fs, process::Command};

use twinseal_tests::place::Place;

const NAME: &str = "/CN=Twinseal root CA";

/// The root that everybody of a place trusts now.
pub(crate) struct OwnRoot<'a> {
    place: &'a Place,
}

impl<'a> OwnRoot<'a> {
    /// Makes it, and has it certify the issuing CAs anew; what they issued stays as it is.
    pub(crate) fn instead_of_the_provisioned(place: &'a Place) -> Self {
        let root = Self { place };
        fs::create_dir(place.path("root")).unwrap();
        let (key, certificate) = (place.text("root/root.key"), place.text("pki/root.pem"));
        root.openssl(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 10 \
             -addext keyUsage=critical,keyCertSign,cRLSign \
             -addext basicConstraints=critical,CA:TRUE,pathlen:1",
            &["-subj", NAME, "-keyout", &key, "-out", &certificate],
        );
        let extensions = place.text("root/extensions");
        fs::write(
            &extensions,
            "keyUsage=critical,keyCertSign,cRLSign\nbasicConstraints=critical,CA:TRUE,pathlen:0\n",
        )
        .unwrap();
        for role in ["client", "merchant", "gateway"] {
            let ca = place.text(&format!("pki/{role}-ca.pem"));
            let public = place.text(&format!("root/{role}.pub"));
            let subject = format!("/CN=Twinseal {role} CA");
            let text = root.openssl("x509 -noout -pubkey", &["-in", &ca]);
            fs::write(&public, text).unwrap();
            root.openssl(
                "x509 -new -set_serial 7 -days 5",
                &[
                    "-force_pubkey",
                    &public,
                    "-subj",
                    &subject,
                    "-extfile",
                    &extensions,
                    "-CA",
                    &certificate,
                    "-CAkey",
                    &key,
                    "-out",
                    &ca,
                ],
            );
        }
        fs::write(place.path("root/index"), "").unwrap();
        fs::write(place.path("root/number"), "01\n").unwrap();
        let config = format!(
            "[ca]\ndefault_ca = root\n[root]\ndatabase = {}\ncrlnumber = {}\ndefault_md = sha256\n\
             crl_extensions = extensions\n[extensions]\nauthorityKeyIdentifier = keyid\n",
            place.text("root/index"),
            place.text("root/number")
        );
        fs::write(place.path("root/ca.cnf"), config).unwrap();
        root
    }

    /// Signs a CRL that is to be replaced by a year's end.
    pub(crate) fn sign_crl_until(&self, year: u16) {
        let until = format!("{year}1231235959Z");
        self.openssl(
            "ca -gencrl -crl_lastupdate 20200101000000Z",
            &[
                "-crl_nextupdate",
                &until,
                "-config",
                &self.place.text("root/ca.cnf"),
                "-keyfile",
                &self.place.text("root/root.key"),
                "-cert",
                &self.place.text("pki/root.pem"),
                "-out",
                &self.place.text("pki/root.crl"),
            ],
        );
    }

    /// Runs openssl with words and paths, and gives what it said.
    fn openssl(&self, words: &str, paths: &[&str]) -> Vec<u8> {
        let output = Command::new("openssl")
            .args(words.split_whitespace())
            .args(paths)
            .output()
            .unwrap();
        assert!(output.status.success(), "{words}: {output:?}");
        output.stdout
    }
}
