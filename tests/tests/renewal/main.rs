//! Certificates, CRLs and CAs replaced while the real services run: nobody has to restart one, and no honest request
//! fails.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod fetching;
mod gateways;
mod merchants;
mod publisher;
mod responder;
mod revoking;
mod stapling;

use std::{
    fs,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use hyper::StatusCode;
use tokio::task::JoinHandle;
use twinseal_tests::{
    parties::{Parties, authorize, euros},
    place::Place,
    service::Service,
};

/// How long a running service may take to see what was replaced, on a busy machine.
const SEEN: Duration = Duration::from_secs(30);

/// Puts a file in the place of another, as a careful program does.
fn replace(file: &Path, content: &[u8]) {
    let next = file.with_extension("next");
    fs::write(&next, content).unwrap();
    // Keys are refused that others may read.
    fs::set_permissions(&next, fs::metadata(file).unwrap().permissions()).unwrap();
    fs::rename(&next, file).unwrap();
}

/// Waits until a service has said so for the so manyth time.
fn said(service: &Service, message: &str, times: usize) {
    let heard = std::cell::Cell::new(0);
    service.wait_for_log(SEEN, |line| {
        let text = line["fields"]["message"].as_str();
        if text.is_some_and(|text| text.ends_with(message)) {
            heard.set(heard.get() + 1);
        }
        heard.get() == times
    });
}

/// Has a key of the gateway's certified anew, with the same names.
fn certify_gateway(place: &Place, usage: &str) -> Vec<u8> {
    certify_gateway_with(place, usage, &[])
}

/// The same, with more arguments.
fn certify_gateway_with(place: &Place, usage: &str, more: &[&str]) -> Vec<u8> {
    let csr = place.text(&format!("gateway/{usage}.request"));
    let out = place.path(&format!("gateway/{usage}.renewed"));
    place.gateway_cli(&["keys", "request", usage, "--csr", &csr]);
    let mut issue = vec![
        "issue", "--csr", &csr, "--role", "gateway", "--name", "main",
    ];
    issue.extend(["--usage", usage, "--out", out.to_str().unwrap()]);
    if usage == "tls" {
        issue.extend(["--dns", "localhost", "--ip", "127.0.0.1"]);
    }
    issue.extend(more);
    place.setup(&issue);
    let renewed = fs::read(&out).unwrap();
    for file in [csr.as_ref(), out.as_path()] {
        fs::remove_file(file).unwrap();
    }
    renewed
}

/// A merchant that asks without a pause, on kept connections and on new ones.
struct Asking {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    asking: JoinHandle<Vec<String>>,
}

impl Asking {
    fn start(parties: &Arc<Parties>, gateway: &Service) -> Self {
        let kept = parties.to_gateway(gateway);
        let (stop, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&answered));
        let address = gateway.address("merchants");
        let parties = Arc::clone(parties);
        let asking = tokio::spawn(async move {
            let mut failures = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let new = parties.at(address);
                for merchant in [&kept, &new] {
                    let purchase = parties.purchase(euros(1), parties.card.clone());
                    let answer = authorize(merchant, purchase.bytes()).await;
                    if answer.status == StatusCode::OK {
                        parties.accept_receipt(&purchase, &answer.body);
                    } else {
                        failures.push(String::from_utf8_lossy(&answer.body).into_owned());
                    }
                    counted.fetch_add(1, Ordering::Relaxed);
                }
            }
            failures
        });
        Self {
            stop,
            answered,
            asking,
        }
    }

    /// Waits until so many more were answered.
    async fn more(&self, count: usize) {
        let wanted = self.answered.load(Ordering::Relaxed) + count;
        while self.answered.load(Ordering::Relaxed) < wanted {
            assert!(!self.asking.is_finished());
            tokio::task::yield_now().await;
        }
    }

    async fn stop(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.asking.await.unwrap()
    }
}

/// Tells a service to read its files anew.
fn hang_up(service: &Service) {
    let pid = service.pid().to_string();
    let status = Command::new("kill").args(["-HUP", &pid]).status().unwrap();
    assert!(status.success());
}
