//! A directory to provision, and what is asked of it.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;
use twinseal_tests::service::program;

/// The parties' certificates, and the CA that issued each.
pub(crate) const LEAVES: [(&str, &str); 6] = [
    ("client/signing.pem", "client-ca"),
    ("merchant/tls.pem", "merchant-ca"),
    ("merchant/signing.pem", "merchant-ca"),
    ("gateway/tls.pem", "gateway-ca"),
    ("gateway/signing.pem", "gateway-ca"),
    ("gateway/encryption.pem", "gateway-ca"),
];

/// The names of the CAs' files.
pub(crate) const CAS: [&str; 4] = ["root", "client-ca", "merchant-ca", "gateway-ca"];

/// A directory of a test's own.
pub(crate) struct Directory {
    root: PathBuf,
    /// It goes away with this.
    _above: TempDir,
}

impl Directory {
    /// One in which nothing is.
    pub(crate) fn empty() -> Self {
        let above = TempDir::new().unwrap();
        Self {
            root: above.path().to_owned(),
            _above: above,
        }
    }

    /// One with this name, which is not there yet.
    pub(crate) fn named(name: &str) -> Self {
        let above = TempDir::new().unwrap();
        Self {
            root: above.path().join(name),
            _above: above,
        }
    }

    /// One in which everything is.
    pub(crate) fn provisioned() -> Self {
        let directory = Self::empty();
        directory.done(&["init"]);
        directory
    }

    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    pub(crate) fn text(&self, relative: &str) -> String {
        self.path(relative).to_str().unwrap().to_owned()
    }

    pub(crate) fn remove(&self, relative: &str) {
        fs::remove_file(self.path(relative)).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        // A command may be of two words.
        let words = arguments.iter().take_while(|word| !word.starts_with('-'));
        let (name, rest) = arguments.split_at(words.count());
        let mut command = Command::new(program("softhsm-setup"));
        command.args(name).arg("--dir").arg(&self.root).args(rest);
        command
    }

    /// Runs `softhsm-setup`, whatever comes of it.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Starts `softhsm-setup`, which goes on by itself.
    pub(crate) fn started(&self, arguments: &[&str]) -> Child {
        self.command(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Runs `softhsm-setup`, and gives what it told.
    pub(crate) fn done(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{arguments:?}: {told}");
        told
    }

    /// Runs `softhsm-setup` in vain: it must say why and change no file.
    pub(crate) fn refused(&self, arguments: &[&str]) -> String {
        let before = self.files();
        let output = self.run(arguments);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {told}");
        assert_same(&before, &self.files());
        told
    }

    /// Starts `init` and kills it when it told a line with this text; gives what it told.
    pub(crate) fn killed_init(&self, at: &str) -> Vec<String> {
        let mut child = self
            .command(&["init"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut told = Vec::new();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        for line in lines.by_ref() {
            told.push(line.unwrap());
            if told.last().unwrap().contains(at) {
                child.kill().unwrap();
                break;
            }
        }
        assert!(
            told.last().is_some_and(|line| line.contains(at)),
            "{told:?}"
        );
        child.wait().unwrap();
        // Its token processes hold the pipe too: the end of it is the end of them.
        told.extend(lines.map(Result::unwrap));
        told
    }

    /// The status as a program sees it, and its exit code.
    pub(crate) fn status(&self) -> (i32, Value) {
        let output = self.run(&["status", "--json"]);
        let status = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
        (output.status.code().unwrap(), status)
    }

    /// Everything is there and well, for us and for OpenSSL.
    pub(crate) fn is_complete(&self) {
        let (code, status) = self.status();
        assert_eq!(
            (code, &status["well"]),
            (0, &Value::Bool(true)),
            "{status:#}"
        );
        assert_eq!(status["keys"].as_array().unwrap().len(), 9);
        for place in ["gateway", "ca"] {
            let tokens = fs::read_dir(self.path(&format!("{place}/tokens"))).unwrap();
            assert_eq!(tokens.count(), 1, "{place}");
        }
        for (leaf, ca) in LEAVES {
            let verdict = self.verify(leaf, ca);
            assert!(verdict.status.success(), "{leaf}: {verdict:?}");
        }
        for file in [
            "gateway/gateway.toml",
            "gateway/accounts.toml",
            "merchant/merchant.toml",
            "merchant/catalogue.toml",
            "client/client.toml",
            "client/instruments.toml",
        ] {
            assert!(self.path(file).exists(), "{file}");
        }
        let secret = |file: &str| fs::read_to_string(self.path(file)).unwrap();
        assert_eq!(
            secret("gateway/bookshop.whsec"),
            secret("merchant/gateway.whsec")
        );
        let unfinished: Vec<PathBuf> = self
            .files()
            .into_keys()
            .filter(|path| path.to_string_lossy().ends_with(".unfinished"))
            .collect();
        assert!(unfinished.is_empty(), "{unfinished:?}");
    }

    /// OpenSSL's verdict on a certificate: chain, profile, and that neither it nor its CA is revoked.
    pub(crate) fn verify(&self, leaf: &str, ca: &str) -> Output {
        openssl(&[
            "verify",
            "-x509_strict",
            "-crl_check_all",
            "-CRLfile",
            &self.text("pki/root.crl"),
            "-CRLfile",
            &self.text(&format!("pki/{ca}.crl")),
            "-CAfile",
            &self.text("pki/root.pem"),
            "-untrusted",
            &self.text(&format!("pki/{ca}.pem")),
            &self.text(leaf),
        ])
    }

    /// What OpenSSL reads in a certificate.
    pub(crate) fn certificate(&self, file: &str) -> String {
        openssl_says(&["x509", "-noout", "-text", "-in", &self.text(file)])
    }

    /// What OpenSSL reads in a CRL.
    pub(crate) fn crl(&self, ca: &str) -> String {
        let file = self.text(&format!("pki/{ca}.crl"));
        openssl_says(&["crl", "-noout", "-text", "-in", &file])
    }

    /// Every file: its mode and its bytes. SoftHSM's lock files are left out, and what it notes of a token
    /// at every login.
    pub(crate) fn files(&self) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
        let mut found = BTreeMap::new();
        read_below(&self.root, &mut found);
        // What commands lock, and nothing is in it.
        found.retain(|path, _| !path.ends_with(".lock"));
        found
    }

    /// Makes the gateway's token as an operator would, with the vendor's tool.
    pub(crate) fn init_gateway_token(&self) {
        fs::create_dir_all(self.path("gateway/tokens")).unwrap();
        let tokens = self.text("gateway/tokens");
        let config = format!("directories.tokendir = {tokens}\nobjectstore.backend = file\n");
        fs::write(self.path("gateway/softhsm2.conf"), config).unwrap();
        let pin = self.path("gateway/user.pin");
        fs::write(&pin, "operator-1234").unwrap();
        fs::set_permissions(&pin, fs::Permissions::from_mode(0o600)).unwrap();
        self.softhsm_tool(&[
            "--init-token",
            "--free",
            "--label",
            "twinseal-gateway",
            "--so-pin",
            "officer-1234",
        ]);
    }

    /// Brings a key into the gateway's token with the vendor's tool.
    pub(crate) fn import_key(&self, label: &str) {
        let key = self.text("imported.pem");
        new_key("P-256", &key);
        self.softhsm_tool(&[
            "--import",
            &key,
            "--token",
            "twinseal-gateway",
            "--label",
            label,
            "--id",
            "a1",
        ]);
        fs::remove_file(key).unwrap();
    }

    fn softhsm_tool(&self, arguments: &[&str]) {
        let pin = fs::read_to_string(self.path("gateway/user.pin")).unwrap();
        let output = Command::new("softhsm2-util")
            .args(arguments)
            .args(["--pin", &pin])
            .env("SOFTHSM2_CONF", self.path("gateway/softhsm2.conf"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    /// Makes a request (PKCS#10) with OpenSSL: a key on a curve, and what else is said.
    pub(crate) fn request(&self, name: &str, curve: &str, arguments: &[&str]) -> String {
        let (key, csr) = (
            self.text(&format!("{name}.key")),
            self.text(&format!("{name}.csr")),
        );
        new_key(curve, &key);
        let request = [
            "req",
            "-new",
            "-subj",
            "/CN=anybody",
            "-key",
            &key,
            "-out",
            &csr,
        ];
        openssl_says(&[&request[..], arguments].concat());
        csr
    }
}

fn read_below(directory: &Path, found: &mut BTreeMap<PathBuf, (u32, Vec<u8>)>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_below(&path, found);
        } else if path.extension().is_none_or(|extension| extension != "lock")
            && !path.ends_with("token.object")
        {
            let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
            found.insert(path.clone(), (mode, fs::read(&path).unwrap()));
        }
    }
}

/// No file came, went or changed.
pub(crate) fn assert_same(
    before: &BTreeMap<PathBuf, (u32, Vec<u8>)>,
    after: &BTreeMap<PathBuf, (u32, Vec<u8>)>,
) {
    let changed: Vec<&PathBuf> = before
        .keys()
        .chain(after.keys())
        .filter(|path| before.get(*path) != after.get(*path))
        .collect();
    assert!(changed.is_empty(), "{changed:?}");
}

/// Runs OpenSSL.
pub(crate) fn openssl(arguments: &[&str]) -> Output {
    Command::new("openssl").args(arguments).output().unwrap()
}

/// Runs OpenSSL, which must succeed, and gives what it prints.
pub(crate) fn openssl_says(arguments: &[&str]) -> String {
    let output = openssl(arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Makes a key on a curve, in a file.
pub(crate) fn new_key(curve: &str, file: &str) {
    let curve = format!("ec_paramgen_curve:{curve}");
    openssl_says(&[
        "genpkey",
        "-algorithm",
        "EC",
        "-pkeyopt",
        &curve,
        "-out",
        file,
    ]);
}

/// The number of a CRL, from what OpenSSL reads in it.
pub(crate) fn crl_number(text: &str) -> u64 {
    let (_, rest) = text.split_once("X509v3 CRL Number:").unwrap();
    rest.split_whitespace().next().unwrap().parse().unwrap()
}
