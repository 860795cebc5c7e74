//! `--soak MINUTES`: the same load for long, signed on the way, and what becomes of memory and latency.

use std::{
    fs,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use mtls::client::HttpClient;
use tokio::{runtime::Runtime, task::JoinSet};
use twinseal_tests::parties::{Parties, authorize, euros};

/// How often it is told how things are.
const INTERVAL: Duration = Duration::from_secs(30);

/// What memory was at some moment, and how many authorizations there had been.
struct Moment {
    authorizations: usize,
    resident: u64,
}

/// Sends purchases over all links until the time is over. `leak` is what the module alone loses with each derivation, in
/// bytes: that is not ours.
pub(crate) fn run(
    runtime: &Runtime,
    parties: &Arc<[Parties]>,
    links: &[HttpClient],
    gateway: u32,
    minutes: u64,
    leak: f64,
) {
    let end = Instant::now() + Duration::from_secs(60 * minutes);
    let latencies: Arc<Mutex<Vec<Duration>>> = Arc::default();
    let mut done = 0;
    let mut moments = Vec::new();
    println!("  minute  authorizations  median ms  99 of 100 ms  slowest ms  memory MiB");
    runtime.block_on(async {
        let mut senders = JoinSet::new();
        for (number, link) in links.iter().enumerate() {
            let (link, parties) = (link.clone(), Arc::clone(parties));
            let latencies = Arc::clone(&latencies);
            senders.spawn(async move {
                let payer = &parties[number % parties.len()];
                while Instant::now() < end {
                    let purchase = payer.purchase(euros(1), payer.card.clone());
                    let sent = Instant::now();
                    let answer = authorize(&link, purchase.bytes()).await;
                    assert_eq!(answer.status, 200, "{:?}", answer.body);
                    latencies.lock().unwrap().push(sent.elapsed());
                }
            });
        }
        let began = Instant::now();
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.tick().await;
        while Instant::now() < end {
            ticks.tick().await;
            let mut seen = std::mem::take(&mut *latencies.lock().unwrap());
            seen.sort_unstable();
            done += seen.len();
            let at = |part: usize| {
                let found = seen.get((seen.len() * part / 100).min(seen.len().saturating_sub(1)));
                found.map_or(0.0, |latency| latency.as_secs_f64() * 1000.0)
            };
            let resident = resident_bytes(gateway);
            println!(
                "{:>8.1}  {done:>14}  {:>9.1}  {:>12.1}  {:>10.1}  {:>10.1}",
                began.elapsed().as_secs_f64() / 60.0,
                at(50),
                at(99),
                at(100),
                resident as f64 / 1_048_576.0,
            );
            moments.push(Moment {
                authorizations: done,
                resident,
            });
        }
        senders.join_all().await;
    });
    tell_growth(&moments, leak);
}

/// From the first third on, when caches have what they keep.
fn tell_growth(moments: &[Moment], leak: f64) {
    let (Some(first), Some(last)) = (moments.get(moments.len() / 3), moments.last()) else {
        return;
    };
    let authorizations = (last.authorizations - first.authorizations).max(1) as f64;
    let growth = last.resident as f64 - first.resident as f64;
    println!(
        "growth of the gateway, an authorization {:>9.0} bytes",
        growth / authorizations
    );
    println!("of the module alone, a derivation       {leak:>9.0} bytes");
}

/// What a process has in memory (proc(5), statm).
fn resident_bytes(pid: u32) -> u64 {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap();
    let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * rustix::param::page_size() as u64
}
