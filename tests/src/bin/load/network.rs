//! `--network-hsm`: the token behind a module that is slow in answering and does much at once, as a network HSM is, and
//! how much of what such a module can do the gateway makes use of.

use std::process::{Command, Stdio};

use toml::Value;
use twinseal_misbehaving_module::ModuleCopy;
use twinseal_tests::{place::Place, service::program};

use crate::environment;

/// How many calls are under way at once.
const AT_ONCE: u32 = 30;

/// Threads and seconds of a bare measurement: twice the calls at once, so that no place is ever empty.
const BARE: [&str; 2] = ["64", "8"];

/// The module, and what it does: see `tests/misbehaving-module`.
pub(crate) struct Network {
    module: ModuleCopy,
    lines: String,
}

impl Network {
    /// Puts it between the gateway, at its next start, and the token.
    pub(crate) fn before(place: &Place, milliseconds: u32) -> Self {
        let module = ModuleCopy::new(&place.path(""), "network").unwrap();
        place.edit("gateway/gateway.toml", |config| {
            let path = module.path().to_str().unwrap();
            config["token"]["module"] = Value::from(path);
        });
        Self {
            module,
            lines: format!("latency {milliseconds}ms\nin-flight {AT_ONCE}"),
        }
    }

    /// How many authorizations a second the module, which takes its time from now on, allows bare threads that do its part
    /// of them and nothing else.
    pub(crate) fn bare(&self, place: &Place) -> f64 {
        self.module.does(&self.lines).unwrap();
        eprintln!("measuring bare threads at the network HSM");
        let output = Command::new(program("examples/mix"))
            .arg(self.module.path())
            .arg("twinseal-gateway")
            .arg(place.path("gateway/user.pin"))
            .args(BARE)
            .envs(environment(place))
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(output.status.success(), "bare threads failed");
        let said = String::from_utf8(output.stdout).unwrap();
        said.trim().parse().unwrap()
    }
}
