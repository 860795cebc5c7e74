//! OpenSSL's OCSP responder, with a certificate that the CA made for it, and what OpenSSL sees stapled.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
};

use protocol::time::Timestamp;
use twinseal_tests::{place::Place, service::Service};

/// A responder for the CA of a role: what it knows of certificates, and its key.
pub(crate) struct Responder<'a> {
    place: &'a Place,
    role: &'static str,
    directory: String,
}

impl<'a> Responder<'a> {
    /// One that the CA certified, and that knows no certificates.
    pub(crate) fn of(place: &'a Place, role: &'static str) -> Self {
        Self::certified_by(place, role, role)
    }

    /// One that the CA of a perhaps other role certified.
    pub(crate) fn certified_by(place: &'a Place, role: &'static str, certifier: &str) -> Self {
        let directory = format!("responder-of-{role}-by-{certifier}");
        place.certify(
            &directory,
            &[
                "--role",
                certifier,
                "--usage",
                "ocsp",
                "--name",
                "responder",
            ],
        );
        let responder = Self {
            place,
            role,
            directory,
        };
        responder.knows(&[]);
        responder
    }

    /// From now on it knows these serials, and whether each was revoked.
    pub(crate) fn knows(&self, certificates: &[(&str, bool)]) {
        let lines = certificates.iter().map(|(serial, is_revoked)| {
            let (state, revoked) = if *is_revoked {
                ("R", "260101000000Z,keyCompromise")
            } else {
                ("V", "")
            };
            format!("{state}\t491231235959Z\t{revoked}\t{serial}\tunknown\t/CN={serial}\n")
        });
        let (next, index) = (self.text("next"), self.text("index"));
        fs::write(&next, lines.collect::<String>()).unwrap();
        fs::rename(next, index).unwrap();
    }

    fn text(&self, name: &str) -> String {
        self.place.text(&format!("{}/{name}", self.directory))
    }

    fn ca(&self) -> String {
        self.place.text(&format!("pki/{}-ca.pem", self.role))
    }

    fn command(&self) -> Command {
        let mut command = Command::new("openssl");
        command.arg("ocsp").args(["-index", &self.text("index")]);
        command.args(["-CA", &self.ca()]);
        command.args(["-rsigner", &self.text("signing.pem")]);
        command.args(["-rkey", &self.text("signing.key")]);
        command
    }

    /// Its answer about a serial, as DER; good for so many minutes, or for ever.
    pub(crate) fn answer(&self, serial: &str, minutes: Option<u32>) -> Vec<u8> {
        let file = self.text("answer");
        let mut command = self.command();
        command.args(["-issuer", &self.ca(), "-serial", &format!("0x{serial}")]);
        command.args(["-respout", &file, "-noverify"]);
        if let Some(minutes) = minutes {
            command.args(["-nmin", &minutes.to_string()]);
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        fs::read(file).unwrap()
    }

    /// The same with another end, which OpenSSL's command can't be told: the date is replaced, and the whole signed anew.
    pub(crate) fn answer_until(&self, serial: &str, end: Timestamp) -> Vec<u8> {
        let mut answer = self.answer(serial, Some(60));
        // What is signed is behind id-pkix-ocsp-basic and the headers of OCTET STRING and BasicOCSPResponse, which are
        // longer than 255 bytes, and before ecdsa-with-SHA256.
        let basic = b"\x06\x09\x2b\x06\x01\x05\x05\x07\x30\x01\x01";
        let es256 = b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02";
        let next_update = b"\xa0\x11\x18\x0f";
        let signed = find(&answer, basic) + basic.len() + 4 + 4;
        let signed = signed..signed + find(&answer[signed..], es256);
        let date = end.to_rfc3339().replace(['-', ':', 'T'], "");
        let at = signed.start + find(&answer[signed.clone()], next_update) + next_update.len();
        answer[at..at + date.len()].copy_from_slice(date.as_bytes());
        // A BIT STRING without unused bits.
        let length = usize::from(answer[signed.end + es256.len() + 1]) - 1;
        let at = signed.end + es256.len() + 3;
        // Signatures differ in length by a byte or two.
        let signature = std::iter::repeat_with(|| self.sign(&answer[signed.clone()]))
            .find(|signature| signature.len() == length)
            .unwrap();
        answer[at..at + length].copy_from_slice(&signature);
        answer
    }

    fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        let mut signing = Command::new("openssl")
            .args(["dgst", "-sha256", "-sign", &self.text("signing.key")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        signing.stdin.take().unwrap().write_all(bytes).unwrap();
        signing.wait_with_output().unwrap().stdout
    }

    /// Has it serve, its answers good for an hour.
    pub(crate) fn serve(&self) -> Serving {
        let mut command = self.command();
        command.args(["-port", "0", "-nmin", "60"]);
        command.stdin(Stdio::null()).stderr(Stdio::null());
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        // ACCEPT [::]:40617 PID=20685
        let port = said.find_map(|line| {
            let line = line.unwrap();
            let (address, _) = line.strip_prefix("ACCEPT ")?.split_once(' ')?;
            address.rsplit(':').next()?.parse().ok()
        });
        // Nobody reads what else it says.
        Serving {
            child,
            port: port.unwrap(),
        }
    }
}

/// A responder that serves until this is dropped.
pub(crate) struct Serving {
    child: Child,
    port: u16,
}

impl Serving {
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    /// Has it look at what it is to know: it does so after every question, before it waits for the next.
    pub(crate) fn look(&self, responder: &Responder<'_>) {
        let mut command = Command::new("openssl");
        command.args(["ocsp", "-issuer", &responder.ca(), "-serial", "1"]);
        command.args(["-url", &self.url(), "-noverify"]);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // Already gone, perhaps.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> usize {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
        .unwrap()
}

/// The serial number of a certificate in a file, in hexadecimal.
pub(crate) fn serial(certificate: &Path) -> String {
    let output = Command::new("openssl")
        .args(["x509", "-noout", "-serial", "-in"])
        .arg(certificate)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    said.trim().strip_prefix("serial=").unwrap().to_owned()
}

/// What a client sees that asks for a staple: the handshake has to go on, whatever that is.
fn seen(place: &Place, role: &str, service: &Service) -> String {
    let address = service.address("payers").to_string();
    let output = Command::new("openssl")
        .args(["s_client", "-connect", &address, "-servername", "localhost"])
        .args(["-CAfile", &place.text(&format!("pki/{role}-ca.pem"))])
        .args(["-partial_chain", "-verify_return_error", "-status"])
        .args(["-alpn", "http/1.1"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("Verification: OK"), "{said}");
    said
}

/// Whether a client sees nothing stapled.
pub(crate) fn has_nothing_stapled(place: &Place, role: &str, service: &Service) -> bool {
    seen(place, role, service).contains("OCSP response: no response sent")
}

/// Fails when a client sees something stapled.
pub(crate) fn nothing_is_stapled(place: &Place, role: &str, service: &Service) {
    assert!(has_nothing_stapled(place, role, service));
}

/// Fails when a client does not see a good answer about this certificate stapled.
pub(crate) fn is_stapled(place: &Place, role: &str, service: &Service, serial: &str) {
    let seen = seen(place, role, service);
    for expected in [
        "OCSP Response Status: successful",
        "Cert Status: good",
        &format!("Serial Number: {serial}"),
    ] {
        assert!(seen.contains(expected), "{expected}: {seen}");
    }
}
