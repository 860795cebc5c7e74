//! A provisioned directory: tokens, keys, certificates and configurations of its own, on ports of its own.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;
use test_postgres::Server;
use toml::{Table, Value};
use twinseal_misbehaving_module::kryoptic;

use crate::{
    service::{Service, program},
    wire::Wire,
};

/// Where a test's deployment is. It goes away with it.
pub struct Place {
    directory: TempDir,
    module: Module,
}

/// Where its tokens are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Module {
    /// SoftHSM, which `softhsm-setup` finds and configures.
    SoftHsm,
    /// Kryoptic, as another vendor's module is set up.
    Kryoptic,
}

impl Place {
    /// Provisions a new one with `softhsm-setup init`, and lets every listener choose its port.
    pub fn new() -> Self {
        Self::provision(Self {
            directory: TempDir::new().unwrap(),
            module: Module::SoftHsm,
        })
    }

    /// The same with all keys in Kryoptic, whose two tokens and their PINs are made by its own tool first, as a vendor's
    /// are.
    pub fn in_kryoptic() -> Self {
        let place = Self {
            directory: TempDir::new().unwrap(),
            module: Module::Kryoptic,
        };
        let mut slots = String::new();
        for (slot, owner) in ["gateway", "ca"].into_iter().enumerate() {
            fs::create_dir(place.path(owner)).unwrap();
            let database = place.text(&format!("{owner}/token.sql"));
            slots += &format!(
                "[[slots]]\nslot = {slot}\ndbtype = \"sqlite\"\ndbargs = \"{database}\"\n"
            );
        }
        fs::write(place.path("kryoptic.conf"), slots).unwrap();
        for (slot, owner) in ["gateway", "ca"].into_iter().enumerate() {
            let pin = format!("user-of-{owner}");
            let pin_file = place.path(&format!("{owner}/user.pin"));
            fs::write(&pin_file, &pin).unwrap();
            fs::set_permissions(&pin_file, Permissions::from_mode(0o600)).unwrap();
            succeeded(
                Command::new("softhsm2-util")
                    .arg("--module")
                    .arg(kryoptic().unwrap())
                    .args(["--init-token", "--slot", &slot.to_string()])
                    .args(["--label", &format!("twinseal-{owner}")])
                    .args(["--so-pin", "officer-1234", "--pin", &pin])
                    .envs(place.token_environment()),
            );
        }
        Self::provision(place)
    }

    fn provision(place: Self) -> Self {
        place.setup(&["init"]);
        place.edit("gateway/gateway.toml", |config| {
            for listener in ["merchants", "payers", "admin"] {
                config["listen"][listener] = "127.0.0.1:0".into();
            }
            // Where the merchant will be is not known yet.
            if let Some(merchant) = config["merchant"][0].as_table_mut() {
                merchant.remove("webhook");
            }
        });
        place.edit("merchant/merchant.toml", |config| {
            config.insert("listen".into(), "127.0.0.1:0".into());
        });
        place.gateway_cli(&[
            "accounts",
            "add",
            "--from",
            &place.text("gateway/accounts.toml"),
        ]);
        place
    }

    /// A path below it.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.directory.path().join(relative)
    }

    /// A path below it, as text.
    pub fn text(&self, relative: &str) -> String {
        self.path(relative).to_str().unwrap().to_owned()
    }

    /// The environment of a process that uses the gateway's token.
    pub fn token_environment(&self) -> [(&'static str, PathBuf); 1] {
        match self.module {
            Module::SoftHsm => [("SOFTHSM2_CONF", self.path("gateway/softhsm2.conf"))],
            Module::Kryoptic => [("KRYOPTIC_CONF", self.path("kryoptic.conf"))],
        }
    }

    /// Changes a configuration.
    pub fn edit(&self, relative: &str, change: impl FnOnce(&mut Table)) {
        let path = self.path(relative);
        let mut config: Table = toml::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        change(&mut config);
        fs::write(&path, toml::to_string(&config).unwrap()).unwrap();
    }

    /// Has the gateway keep payments in an empty PostgreSQL database from now on.
    pub fn use_postgres(&self, server: &Server, database: &str) {
        let members = server.members(database);
        self.edit("gateway/gateway.toml", |config| {
            let mut store = Table::new();
            store.insert("postgres".into(), toml::from_str(&members).unwrap());
            config.insert("store".into(), store.into());
        });
    }

    /// Runs `softhsm-setup` on it.
    pub fn setup(&self, arguments: &[&str]) -> Output {
        // A command may be of two words.
        let words = arguments.iter().take_while(|word| !word.starts_with('-'));
        let (command, rest) = arguments.split_at(words.count());
        let mut setup = Command::new(program("softhsm-setup"));
        setup.args(command).arg("--dir").arg(self.directory.path());
        if self.module == Module::Kryoptic {
            setup
                .arg("--module")
                .arg(kryoptic().unwrap())
                .envs(self.token_environment());
        }
        succeeded(setup.args(rest))
    }

    /// Runs a command of the gateway that is not `serve`.
    pub fn gateway_cli(&self, arguments: &[&str]) -> Output {
        succeeded(&mut self.gateway_command(arguments))
    }

    /// A command of the gateway that is not `serve`, whatever it comes to.
    pub fn gateway_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("twinseal-gateway"));
        command
            .arg("--config")
            .arg(self.path("gateway/gateway.toml"))
            .args(arguments)
            .envs(self.token_environment());
        command
    }

    /// Runs a command of the merchant that is not `serve`.
    pub fn merchant_cli(&self, arguments: &[&str]) -> Output {
        succeeded(&mut self.merchant_command(arguments))
    }

    /// A command of the merchant that is not `serve`, whatever it comes to.
    pub fn merchant_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("twinseal-merchant"));
        command
            .arg("--config")
            .arg(self.path("merchant/merchant.toml"))
            .args(arguments)
            .env_remove("RUST_LOG");
        command
    }

    /// Adds an account of the provisioned client with one card, as an operator would.
    pub fn add_account(&self, label: &str, pan: &str, expiry: &str, members: &str) {
        let client = self.configured("client/client.toml", "", "name");
        let path = self.path(&format!("gateway/{label}.toml"));
        let text = format!(
            "[[account]]\nlabel = \"{label}\"\nclient = \"{client}\"\n\
             certificate = \"../client/signing.pem\"\ncurrency = \"EUR\"\n{members}\n\
             [[account.instrument]]\ntype = \"card\"\npan = \"{pan}\"\n\
             expiry = \"{expiry}\"\nstatus = \"active\"\n"
        );
        fs::write(&path, text).unwrap();
        self.gateway_cli(&["accounts", "add", "--from", path.to_str().unwrap()]);
        fs::remove_file(&path).unwrap();
    }

    /// The accounts as an operator sees them.
    pub fn accounts(&self) -> serde_json::Value {
        let output = self.gateway_cli(&["accounts", "list", "--json"]);
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// What is held of an account, in minor units.
    pub fn held(&self, label: &str) -> u64 {
        self.accounts()
            .as_array()
            .unwrap()
            .iter()
            .find(|account| account["label"] == label)
            .and_then(|account| account["held"].as_u64())
            .unwrap()
    }

    /// Starts the gateway, and tells client and merchant where it is.
    pub fn start_gateway(&self) -> Service {
        self.start_gateway_with(&[])
    }

    /// Starts the gateway with more in its environment.
    pub fn start_gateway_with(&self, more: &[(&'static str, PathBuf)]) -> Service {
        let gateway = Service::start(
            "twinseal-gateway",
            &self.path("gateway/gateway.toml"),
            &[&self.token_environment()[..], more].concat(),
            &["merchants", "payers", "admin"],
        );
        self.edit("merchant/merchant.toml", |config| {
            config["gateway"]["url"] = gateway.url("merchants").into();
        });
        self.edit("client/client.toml", |config| {
            config["gateway"]["payer_url"] = gateway.url("payers").into();
        });
        gateway
    }

    /// Starts the gateway with its store on a disk of its own, that has so many KiB and is seen by the gateway alone.
    pub fn start_gateway_on_small_disk(&self, kibibytes: u32) -> Service {
        let disk = self.path("small-disk");
        fs::create_dir_all(&disk).unwrap();
        self.edit("gateway/gateway.toml", |config| {
            config["store"]["path"] = disk.join("gateway.db").to_str().unwrap().into();
        });
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--user", "--map-root-user", "sh", "-c"])
            .arg("mount -t tmpfs -o size=\"$0\"k tmpfs \"$1\" && shift && exec \"$@\"")
            .arg(kibibytes.to_string())
            .arg(&disk)
            .arg(program("twinseal-gateway"))
            .args(["--log", "json", "--config"])
            .arg(self.path("gateway/gateway.toml"))
            .arg("serve");
        Service::start_command(
            command,
            &self.token_environment(),
            &["merchants", "payers", "admin"],
        )
    }

    /// Puts a wire between the merchant, at its next start, and the gateway.
    pub fn wire(&self, gateway: &Service) -> Wire {
        let wire = Wire::to(gateway.address("merchants"));
        self.edit("merchant/merchant.toml", |config| {
            config["gateway"]["url"] = wire.url().into();
        });
        wire
    }

    /// Starts a program that is to refuse to start, and gives its exit code and its last line.
    pub fn refused_start(&self, program_name: &str, config: &str) -> (Option<i32>, String) {
        // What starts all the same is ended by `timeout`, with another exit code.
        let output = Command::new("timeout")
            .arg("60")
            .arg(program(program_name))
            .arg("--config")
            .arg(self.path(config))
            .arg("serve")
            .envs(self.token_environment())
            .env_remove("RUST_LOG")
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        let last = said.lines().last().unwrap_or_default();
        (output.status.code(), last.to_owned())
    }

    /// Certifies a new key for what a test wants to have certified: `role`, `usage`, `name`, and DNS names;
    /// `directory/signing.key` and `directory/signing.pem`.
    pub fn certify(&self, directory: &str, arguments: &[&str]) {
        fs::create_dir_all(self.path(directory)).unwrap();
        let (key, csr) = (
            self.text(&format!("{directory}/signing.key")),
            self.text(&format!("{directory}/request.pem")),
        );
        succeeded(
            Command::new("openssl")
                .args([
                    "req",
                    "-new",
                    "-newkey",
                    "ec",
                    "-nodes",
                    "-subj",
                    "/CN=anybody",
                ])
                .args(["-pkeyopt", "ec_paramgen_curve:P-256"])
                .args(["-keyout", &key, "-out", &csr]),
        );
        let out = self.text(&format!("{directory}/signing.pem"));
        let mut all = vec!["issue", "--csr", &csr, "--out", &out];
        all.extend(arguments);
        self.setup(&all);
    }

    /// Starts the merchant.
    pub fn start_merchant(&self) -> Service {
        Service::start(
            "twinseal-merchant",
            &self.path("merchant/merchant.toml"),
            &[],
            &["payers"],
        )
    }

    /// Runs the payer's terminal.
    pub fn client(&self, arguments: &[&str]) -> Output {
        Command::new(program("twinseal-client"))
            .arg("--config")
            .arg(self.path("client/client.toml"))
            .args(arguments)
            .output()
            .unwrap()
    }

    /// A value of a configuration, a text.
    pub fn configured(&self, relative: &str, table: &str, member: &str) -> String {
        let config: Table =
            toml::from_str(&fs::read_to_string(self.path(relative)).unwrap()).unwrap();
        let value = if table.is_empty() {
            config.get(member)
        } else {
            config[table].get(member)
        };
        value.and_then(Value::as_str).unwrap().to_owned()
    }

    /// Every file below a directory.
    pub fn files(&self, relative: &str) -> Vec<PathBuf> {
        fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(&path, found);
                } else {
                    found.push(path);
                }
            }
        }
        let mut found = Vec::new();
        walk(&self.path(relative), &mut found);
        found
    }
}

impl Default for Place {
    fn default() -> Self {
        Self::new()
    }
}

fn succeeded(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?} failed:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}
