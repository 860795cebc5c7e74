//! The modules of the matrix: where they are, and what each needs before a process can load it.

use std::{
    env,
    ffi::OsString,
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use hsm::waiver::{Waiver, Waivers};
use twinseal_misbehaving_module::{KRYOPTIC, kryoptic, softhsm};

/// A PKCS#11 module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Module {
    /// SoftHSM.
    SoftHsm,
    /// SoftHSM in another process, behind p11-kit's server and a socket: as a network HSM is.
    Remote,
    /// Kryoptic.
    Kryoptic,
    /// NSS softokn.
    Softokn,
}

impl Module {
    /// What the table in docs/HSM.md calls it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::SoftHsm => "SoftHSM",
            Self::Remote => "SoftHSM behind p11-kit",
            Self::Kryoptic => "Kryoptic",
            Self::Softokn => "NSS softokn",
        }
    }

    /// Its release, where C_GetInfo does not tell.
    pub(crate) fn release(self) -> Option<String> {
        match self {
            Self::SoftHsm | Self::Softokn => None,
            Self::Kryoptic => Some(KRYOPTIC.to_owned()),
            Self::Remote => {
                let library = fs::canonicalize(installed("libp11-kit.so.0")).unwrap();
                Some(library.file_name().unwrap().to_str().unwrap().to_owned())
            }
        }
    }

    /// The shared library that is loaded.
    pub(crate) fn library(self, directory: &Path) -> PathBuf {
        match self {
            Self::SoftHsm => softhsm().unwrap().to_owned(),
            Self::Remote => installed("pkcs11/p11-kit-client.so"),
            Self::Kryoptic => kryoptic().unwrap(),
            Self::Softokn => directory.join("softokn-with-parameters.so"),
        }
    }

    /// Readies a directory for a new token of this module; gives the environment of the process that loads it,
    /// and the server that must run meanwhile.
    pub(crate) fn prepare(
        self,
        directory: &Path,
    ) -> (Vec<(&'static str, OsString)>, Option<Server>) {
        let tokens = directory.join("tokens");
        fs::create_dir(&tokens).unwrap();
        match self {
            Self::SoftHsm => (vec![softhsm_configuration(directory, &tokens)], None),
            Self::Remote => {
                softhsm_configuration(directory, &tokens);
                let server = Server::start(directory);
                let environment = vec![
                    ("P11_KIT_SERVER_ADDRESS", server.address.clone().into()),
                    (SERVER, server.process.id().to_string().into()),
                ];
                (environment, Some(server))
            }
            Self::Kryoptic => {
                let database = tokens.join("token.sql").into();
                (vec![("KRYOPTIC_CONF", database)], None)
            }
            Self::Softokn => {
                build_softokn_with_parameters(&self.library(directory));
                let parameters = format!(
                    "configdir='sql:{}' certPrefix='' keyPrefix='' secmod='' flags= dbTokenDescription='{}'",
                    tokens.display(),
                    crate::bench::LABEL
                );
                let softokn = installed("libsoftokn3.so").into();
                let environment = vec![
                    ("TWINSEAL_TEST_SOFTOKN", softokn),
                    ("TWINSEAL_TEST_SOFTOKN_PARAMETERS", parameters.into()),
                ];
                (environment, None)
            }
        }
    }

    /// The PIN of the security officer. NSS knows no such PIN: its officer logs in with an empty one.
    pub(crate) const fn so_pin(self) -> &'static str {
        match self {
            Self::Softokn => "",
            _ => "officer-1234",
        }
    }

    /// What of the policy can't be had from this module.
    pub(crate) fn waivers(self) -> Waivers {
        let waived: &[(&str, &str)] = match self {
            Self::Softokn => &[("CKA_LOCAL", "NSS says of every key that it was brought")],
            _ => &[],
        };
        let waivers: Vec<Waiver> = waived
            .iter()
            .map(|(attribute, reason)| Waiver {
                attribute: (*attribute).to_owned(),
                reason: (*reason).to_owned(),
            })
            .collect();
        waivers.try_into().unwrap()
    }
}

/// A library of the distribution.
fn installed(name: &str) -> PathBuf {
    [
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
        "/usr/lib64",
        "/usr/lib",
        "/usr/local/lib",
    ]
    .into_iter()
    .map(|directory| Path::new(directory).join(name))
    .find(|path| path.exists())
    .unwrap_or_else(|| panic!("{name} is missing: run `softhsm-setup/install test`"))
}

fn softhsm_configuration(directory: &Path, tokens: &Path) -> (&'static str, OsString) {
    let configuration = directory.join("softhsm2.conf");
    let text = format!(
        "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
        tokens.display()
    );
    fs::write(&configuration, text).unwrap();
    ("SOFTHSM2_CONF", configuration.into())
}

fn build_softokn_with_parameters(library: &Path) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/softokn.c");
    let output = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([library, &source])
        .arg("-ldl")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Names the server's process group.
pub(crate) const SERVER: &str = "TWINSEAL_TEST_SERVER";

/// p11-kit's server, which has the module in processes of its own. It ends with the test.
pub(crate) struct Server {
    process: Child,
    address: String,
}

impl Server {
    /// Starts it for the SoftHSM of a directory.
    pub(crate) fn start(directory: &Path) -> Self {
        use std::os::unix::process::CommandExt as _;
        let mut process = Command::new("p11-kit")
            .args(["server", "--foreground", "--provider"])
            .arg(softhsm().unwrap())
            .arg("--name")
            .arg(directory.join("socket"))
            .arg("pkcs11:")
            .env("SOFTHSM2_CONF", directory.join("softhsm2.conf"))
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("p11-kit: {error}: run `softhsm-setup/install test`"));
        // It says where it listens when it does.
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line
            .strip_prefix("P11_KIT_SERVER_ADDRESS=")
            .and_then(|rest| rest.split(';').next())
            .unwrap_or_else(|| panic!("p11-kit's server says {line:?}"))
            .to_owned();
        Self { process, address }
    }

    /// Kills a server with the processes that it has per connection.
    pub(crate) fn kill(group: &str) {
        let status = Command::new("kill")
            .args(["-KILL", "--", &format!("-{group}")])
            .stderr(Stdio::null())
            .status();
        // Whether it was there is of no interest: it is gone.
        drop(status);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        Self::kill(&self.process.id().to_string());
        // It was killed, and nobody asks how it ended.
        let _ = self.process.wait();
    }
}
