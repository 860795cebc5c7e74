//! A provisioned directory, its enrolment service, and curl and OpenSSL as a party of another maker.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;
use twinseal_tests::service::{Service, program};

/// A directory with a running service.
pub(crate) struct Office {
    directory: TempDir,
    pub(crate) service: Service,
}

/// What curl got.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) media_type: String,
    pub(crate) body: String,
}

/// A key and a request for it, in files.
pub(crate) struct Asked {
    pub(crate) key: String,
    /// The body of EST: base64 of DER.
    pub(crate) body: String,
}

impl Office {
    /// Provisions a directory and starts the service.
    pub(crate) fn open() -> Self {
        Self::open_with(&[])
    }

    pub(crate) fn open_with(options: &[&str]) -> Self {
        let directory = TempDir::new().unwrap();
        let output = setup(&directory, &["init"]);
        assert!(output.status.success(), "{output:?}");
        Self {
            service: serve(directory.path(), options),
            directory,
        }
    }

    /// Stops the service, and starts it in days to come.
    pub(crate) fn reopened_in(self, days: u32) -> Self {
        let (status, log) = self.service.stop();
        assert!(status.success(), "{log}");
        Self {
            service: serve_in(days, self.directory.path()),
            directory: self.directory,
        }
    }

    /// Kills the service as a crash would, and starts it again.
    pub(crate) fn crash(self) -> Self {
        self.service.kill();
        Self {
            service: serve(self.directory.path(), &[]),
            directory: self.directory,
        }
    }

    /// Stops the service, and gives its whole log.
    pub(crate) fn stop(self) -> (TempDir, String) {
        let (status, log) = self.service.stop();
        assert!(status.success(), "{log}");
        (self.directory, log)
    }

    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.directory.path().join(relative)
    }

    pub(crate) fn text(&self, relative: &str) -> String {
        self.path(relative).to_str().unwrap().to_owned()
    }

    /// Waits until the service logs something with this text.
    pub(crate) fn hears(&self, text: &str) {
        self.service.wait_for_log(Duration::from_secs(30), |line| {
            line.to_string().contains(text)
        });
    }

    pub(crate) fn url(&self) -> String {
        self.service.url("enrolment")
    }

    /// Runs `softhsm-setup`, which must do what it is told.
    pub(crate) fn setup(&self, arguments: &[&str]) -> Output {
        let output = setup(&self.directory, arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        output
    }

    /// Runs `softhsm-setup`, whatever comes of it.
    pub(crate) fn try_setup(&self, arguments: &[&str]) -> Output {
        setup(&self.directory, arguments)
    }

    /// Invites a party, and gives the secret.
    pub(crate) fn invite(&self, role: &str, name: &str) -> String {
        let mut arguments = vec!["invite", "--role", role, "--name", name];
        if role == "merchant" {
            arguments.extend([
                "--dns",
                "shop.example",
                "--dns",
                "localhost",
                "--ip",
                "127.0.0.1",
            ]);
        }
        let output = self.setup(&arguments);
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Puts a secret into a file for its owner alone.
    pub(crate) fn secret_file(&self, secret: &str) -> String {
        let file = self.text("secret");
        // One that is there is of a former call.
        let _ = fs::remove_file(&file);
        secret_file::write_new(Path::new(&file), &format!("{secret}\n")).unwrap();
        file
    }

    /// A program of ours that enrols into a directory below this one.
    pub(crate) fn enroll_command(
        &self,
        name: &str,
        user: &str,
        secret: &str,
        out: &str,
    ) -> Command {
        let mut command = Command::new(program(name));
        command
            .args(["enroll", "--server", &self.url(), "--user", user])
            .args(["--ca", &self.text("pki/root.pem")])
            .args(["--secret-file", secret, "--out", &self.text(out)]);
        command
    }

    /// The journal, as a program sees it.
    pub(crate) fn journal(&self) -> Vec<Value> {
        let output = self.setup(&["journal", "--json"]);
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// How often the journal has a certificate of a subject.
    pub(crate) fn issued_for(&self, subject: &str) -> usize {
        let journal = self.journal();
        journal
            .iter()
            .filter(|entry| entry["event"] == "issued" && entry["subject"] == subject)
            .count()
    }

    /// curl at a path of the service, with what else is said.
    pub(crate) fn curl_command(&self, path: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("curl");
        command
            .args(["--silent", "--show-error", "--max-time", "60", "--cacert"])
            .arg(self.path("pki/root.pem"))
            .args(["--write-out", "\n%{http_code} %{content_type}"])
            .args(arguments)
            .arg(format!("{}/.well-known/est/{path}", self.url()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) fn curl(&self, path: &str, arguments: &[&str]) -> Answer {
        answer(self.curl_command(path, arguments).spawn().unwrap())
    }

    /// Asks with an id and a secret.
    pub(crate) fn enrol(&self, path: &str, user: &str, secret: &str, body: &str) -> Answer {
        answer(
            self.enrol_command(path, user, secret, body)
                .spawn()
                .unwrap(),
        )
    }

    pub(crate) fn enrol_command(
        &self,
        path: &str,
        user: &str,
        secret: &str,
        body: &str,
    ) -> Command {
        self.curl_command(
            path,
            &[
                "--user",
                &format!("{user}:{secret}"),
                "--header",
                "Content-Type: application/pkcs10",
                "--data-binary",
                &format!("@{body}"),
            ],
        )
    }

    /// Asks with a certificate and its key.
    pub(crate) fn reenrol(&self, path: &str, certificate: &str, key: &str, body: &str) -> Answer {
        let asked = Asked {
            key: key.to_owned(),
            body: body.to_owned(),
        };
        let mut curl = self.reenrol_command(path, certificate, &asked);
        answer(curl.spawn().unwrap())
    }

    pub(crate) fn reenrol_command(&self, path: &str, certificate: &str, asked: &Asked) -> Command {
        self.curl_command(
            path,
            &[
                "--cert",
                certificate,
                "--key",
                &asked.key,
                "--header",
                "Content-Type: application/pkcs10",
                "--data-binary",
                &format!("@{}", asked.body),
            ],
        )
    }

    /// Makes a key and a request with OpenSSL.
    pub(crate) fn request(&self, name: &str) -> Asked {
        self.request_of(
            name,
            &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
        )
    }

    /// Makes a key of some kind, and a request that names somebody else.
    pub(crate) fn request_of(&self, name: &str, kind: &[&str]) -> Asked {
        let key = self.text(&format!("{name}.key"));
        let mut arguments = vec!["req", "-new", "-nodes", "-keyout", &key];
        arguments.extend(kind);
        self.written(name, &key, &arguments)
    }

    /// Makes another request for a key that is there.
    pub(crate) fn request_for(&self, name: &str, key: &str) -> Asked {
        self.written(name, key, &["req", "-new", "-key", key])
    }

    fn written(&self, name: &str, key: &str, arguments: &[&str]) -> Asked {
        let der = self.text(&format!("{name}.der"));
        let mut all = arguments.to_vec();
        all.extend([
            "-outform",
            "DER",
            "-out",
            &der,
            "-subj",
            "/CN=somebody else",
        ]);
        all.extend([
            "-addext",
            "subjectAltName=DNS:other.example,URI:urn:twinseal:gateway:main",
        ]);
        openssl(&all);
        Asked {
            key: key.to_owned(),
            body: self.encoded(name, &fs::read(&der).unwrap()),
        }
    }

    /// A body of these bytes.
    pub(crate) fn encoded(&self, name: &str, der: &[u8]) -> String {
        let (plain, body) = (
            self.text(&format!("{name}.plain")),
            self.text(&format!("{name}.b64")),
        );
        fs::write(&plain, der).unwrap();
        openssl(&["base64", "-e", "-in", &plain, "-out", &body]);
        body
    }

    /// The certificate of an answer, in a file.
    pub(crate) fn certificate(&self, name: &str, answer: &Answer) -> String {
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(
            answer.media_type,
            "application/pkcs7-mime; smime-type=certs-only"
        );
        let file = self.text(&format!("{name}.pem"));
        let pem = self.print_certs(name, answer);
        assert_eq!(pem.matches("BEGIN CERTIFICATE").count(), 1, "{pem}");
        fs::write(&file, pem).unwrap();
        file
    }

    /// What OpenSSL finds in a certs-only message.
    pub(crate) fn print_certs(&self, name: &str, answer: &Answer) -> String {
        let (body, der) = (
            self.text(&format!("{name}.answer")),
            self.text(&format!("{name}.p7")),
        );
        fs::write(&body, &answer.body).unwrap();
        openssl(&["base64", "-d", "-in", &body, "-out", &der]);
        openssl(&["pkcs7", "-inform", "DER", "-print_certs", "-in", &der])
    }

    /// Enrols somebody, and gives the certificate's file.
    pub(crate) fn enrolled(&self, label: &str, name: &str, asked: &Asked) -> String {
        let role = label.split('-').next().unwrap();
        let secret = self.invite(role, name);
        let path = format!("{label}/simpleenroll");
        let answer = self.enrol(&path, name, &secret, &asked.body);
        self.certificate(&format!("{name}-{label}"), &answer)
    }

    /// OpenSSL's verdict on a certificate, by the chain and the CRLs.
    pub(crate) fn openssl_verify(&self, certificate: &str, ca: &str) -> Output {
        Command::new("openssl")
            .args(["verify", "-x509_strict", "-crl_check_all", "-CAfile"])
            .arg(self.path("pki/root.pem"))
            .arg("-CRLfile")
            .arg(self.path("pki/root.crl"))
            .arg("-CRLfile")
            .arg(self.path(&format!("pki/{ca}.crl")))
            .arg("-untrusted")
            .arg(self.path(&format!("pki/{ca}.pem")))
            .arg(certificate)
            .output()
            .unwrap()
    }
}

fn setup(directory: &TempDir, arguments: &[&str]) -> Output {
    Command::new(program("softhsm-setup"))
        .args(arguments)
        .arg("--dir")
        .arg(directory.path())
        .output()
        .unwrap()
}

/// Starts the service of a provisioned directory.
pub(crate) fn serve(directory: &Path, options: &[&str]) -> Service {
    serve_by(Command::new(program("softhsm-setup")), directory, options)
}

/// Starts the service in days to come.
pub(crate) fn serve_in(days: u32, directory: &Path) -> Service {
    serve_by(in_days(days, "softhsm-setup"), directory, &[])
}

fn serve_by(mut command: Command, directory: &Path, options: &[&str]) -> Service {
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--log", "json", "--dir"])
        .arg(directory)
        .args(options);
    Service::start_command(command, &[], &["enrolment"])
}

/// One of our programs, whose clock is so many days ahead.
pub(crate) fn in_days(days: u32, name: &str) -> Command {
    // `faketime` would be its parent, and be stopped in its place; so it is only asked how it does it.
    let output = Command::new("faketime")
        .args(["--exclude-monotonic", "-f", &format!("+{days}d"), "env"])
        .output()
        .unwrap();
    let environment = String::from_utf8(output.stdout).unwrap();
    let mut command = Command::new(program(name));
    for name in ["LD_PRELOAD", "FAKETIME", "FAKETIME_DONT_FAKE_MONOTONIC"] {
        let value = environment
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        command.env(
            name,
            value.unwrap_or_else(|| panic!("{name}: {environment}")),
        );
    }
    command
}

/// What a curl that was started got.
pub(crate) fn answer(curl: Child) -> Answer {
    let output = curl.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    answer_in(output)
}

/// The same, where the service may have died meanwhile.
pub(crate) fn answer_if_any(curl: Child) -> Option<Answer> {
    let output = curl.wait_with_output().unwrap();
    output.status.success().then(|| answer_in(output))
}

fn answer_in(output: Output) -> Answer {
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, told) = text.rsplit_once('\n').unwrap();
    let (status, media_type) = told.split_once(' ').unwrap();
    Answer {
        status: status.parse().unwrap(),
        media_type: media_type.to_owned(),
        body: body.to_owned(),
    }
}

/// Runs OpenSSL, which must succeed, and gives what it prints.
pub(crate) fn openssl(arguments: &[&str]) -> String {
    let output = Command::new("openssl").args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// What OpenSSL reads in a certificate.
pub(crate) fn certificate_text(file: &str) -> String {
    openssl(&["x509", "-noout", "-text", "-in", file])
}
