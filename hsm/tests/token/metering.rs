//! A recorder of the workers' metrics: it counts what was executed, and can hold a worker at the moment
//! it takes an operation.

use std::{
    collections::BTreeMap,
    sync::{Arc, Condvar, Mutex},
};

use metrics::{
    Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};

/// What the recorder saw, and whom it holds.
#[derive(Default)]
pub(crate) struct Meter {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Operations that a worker executed, by their name.
    executed: BTreeMap<String, usize>,
    /// The operation that is held when a worker takes it.
    held: Option<&'static str>,
    /// Whether a worker is held.
    is_holding: bool,
}

impl Meter {
    /// Sees every operation of this process from now on.
    pub(crate) fn install() -> Arc<Self> {
        let meter = Arc::new(Self::default());
        let recorder = MeterRecorder(Arc::clone(&meter));
        assert!(metrics::set_global_recorder(recorder).is_ok());
        meter
    }

    /// How many operations of a name were executed: "sign", "derive", "encrypt", "decrypt", "mac".
    pub(crate) fn executed(&self, operation: &str) -> usize {
        let state = self.state.lock().unwrap();
        state.executed.get(operation).copied().unwrap_or(0)
    }

    /// Holds the worker that takes the next operation of this name.
    pub(crate) fn hold(&self, operation: &'static str) {
        self.state.lock().unwrap().held = Some(operation);
    }

    /// Returns when a worker is held.
    pub(crate) fn wait_until_held(&self) {
        let state = self.state.lock().unwrap();
        let held = self.changed.wait_while(state, |state| !state.is_holding);
        drop(held.unwrap());
    }

    /// Lets it go on.
    pub(crate) fn release(&self) {
        self.state.lock().unwrap().held = None;
        self.changed.notify_all();
    }
}

struct MeterRecorder(Arc<Meter>);

struct Operation {
    meter: Arc<Meter>,
    metric: String,
    operation: String,
}

impl HistogramFn for Operation {
    fn record(&self, _: f64) {
        let mut state = self.meter.state.lock().unwrap();
        if self.metric == "twinseal_hsm_execution_seconds" {
            *state.executed.entry(self.operation.clone()).or_default() += 1;
            return;
        }
        let is_held = |state: &mut State| state.held == Some(self.operation.as_str());
        if is_held(&mut state) {
            state.is_holding = true;
            self.meter.changed.notify_all();
            state = self.meter.changed.wait_while(state, is_held).unwrap();
            state.is_holding = false;
        }
    }
}

impl Recorder for MeterRecorder {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        let operation = key
            .labels()
            .find(|label| label.key() == "operation")
            .unwrap()
            .value()
            .to_owned();
        Histogram::from_arc(Arc::new(Operation {
            meter: Arc::clone(&self.0),
            metric: key.name().to_owned(),
            operation,
        }))
    }
}
