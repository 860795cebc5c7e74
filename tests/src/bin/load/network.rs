//! `--network-hsm`: the token behind a module that is slow in answering and does much at once, as a network HSM is, and
//! how much of what such a module can do the gateway makes use of.

use std::time::Duration;

use toml::Value;
use twinseal_misbehaving_module::ModuleCopy;
use twinseal_tests::place::Place;

/// What each call takes, and how many are under way at once: see `tests/misbehaving-module`.
const CALL: Duration = Duration::from_millis(2);
const AT_ONCE: u32 = 30;

/// Calls that take no time there.
const FREE: [&str; 4] = [
    "C_Initialize",
    "C_Finalize",
    "C_GetInfo",
    "C_GetFunctionList",
];

/// The module, and what was asked of it so far.
pub(crate) struct Network {
    module: ModuleCopy,
    calls: u64,
}

impl Network {
    /// Puts it between the gateway, at its next start, and the token.
    pub(crate) fn before(place: &Place) -> Self {
        let module = ModuleCopy::new(&place.path(""), "network").unwrap();
        place.edit("gateway/gateway.toml", |config| {
            let path = module.path().to_str().unwrap();
            config["token"]["module"] = Value::from(path);
        });
        Self { module, calls: 0 }
    }

    /// From now on calls take their time, and are counted.
    pub(crate) fn begin(&mut self) {
        self.calls = self.count();
    }

    /// The part of the calls that were possible in a time.
    pub(crate) fn used(&self, elapsed: Duration) -> f64 {
        let possible = f64::from(AT_ONCE) * elapsed.as_secs_f64() / CALL.as_secs_f64();
        (self.count() - self.calls) as f64 / possible
    }

    fn count(&self) -> u64 {
        let control = format!("latency {}ms\nin-flight {AT_ONCE}", CALL.as_millis());
        let report = self.module.report(&control).unwrap();
        let lines = report.lines().filter(|line| line.starts_with("C_"));
        lines
            .filter_map(|line| line.split_once(' '))
            .filter(|(function, _)| !function.ends_with("/length") && !FREE.contains(function))
            .filter_map(|(_, counts)| counts.split(' ').next()?.parse::<u64>().ok())
            .sum()
    }
}
