//! Crashes on purpose: the real gateway under concurrent load of all its operations is killed at random
//! moments and started again, and everything that it ever acknowledged has to be true for ever.
//!
//! A [`Harness`] runs rounds. In each one the gateway is started; what was left unanswered is sent again, byte
//! for byte; some of what was answered is asked again and has to get the same claims; then all
//! workers send what they like until the gateway is killed with SIGKILL. After each kill the ledger has to
//! balance; at the end every acknowledged receipt has to be among those that the gateway tells.
//!
//! Several gateways on one PostgreSQL database are held to the same, one killed while the others go on.
//!
//! What was written outlives a killed process. A [`Disk`] can lose with each kill, too, what was not synced: the
//! library of `tests/power-loss` in the gateway notes what that is, and the harness undoes some of it.

mod asked;
mod loss;
pub mod making;
mod power;
mod random;
mod workers;

use std::{
    collections::HashMap,
    os::unix::process::ExitStatusExt as _,
    process::ExitStatus,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use hyper::HeaderMap;
use protocol::{
    identifiers::Xid,
    inquiry::Receipts,
    jws::Received,
    receipt::{Action, Decision, Receipt},
};
use test_postgres::Server;
use tokio::{runtime::Runtime, task::JoinSet};

use self::{
    asked::{Answered, Asked},
    power::Power,
    random::Random,
    workers::{Links, Worker},
};
use crate::{parties::Parties, place::Place, service::Service};

/// How many answered requests are asked again after each restart.
const ASKED_AGAIN: usize = 24;

/// Every second of them is among so many of the latest: if something was lost, it is there.
const LATEST: u64 = 200;

/// How many answers a round waits for, how long at most, and between two looks.
const ANSWERS_MIN: usize = 12;
const ANSWERS_WAIT: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(10);

/// How many gateways share a database.
const REPLICAS: usize = 3;

/// What becomes of writes when the gateway is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disk {
    /// They stay: only the process ends.
    KeepsPower,
    /// Those that were not synced may be lost.
    LosesPower,
    /// They stay, and are a PostgreSQL server's: three gateways share its database, one of them is killed while the
    /// others go on, and in every second round the server restarts under load as after a crash.
    Shared,
    /// All those since the gateway was started may be lost: the disk had lied about every sync. The harness has
    /// to find that out.
    Lies,
}

/// What is done.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// How often the gateway is killed.
    pub kills: u32,
    /// Requests under way at once.
    pub workers: usize,
    /// What all chances follow from, but for those of threads and disks.
    pub seed: u64,
    /// What the store is on.
    pub disk: Disk,
}

/// What came of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Kills.
    pub kills: u32,
    /// Requests that were answered with a receipt.
    pub acknowledged: usize,
    /// Those of them whose first answer was lost, and that were answered when they were sent again.
    pub answered_later: usize,
    /// Answers that were compared with the first one.
    pub compared: usize,
    /// Purchases that were approved.
    pub approved: usize,
    /// Purchases that their payers withdrew in time.
    pub withdrawn: usize,
    /// Captures, reversals, refunds and bookings undone.
    pub operations: usize,
    /// Requests that were refused, by a limit for example.
    pub refused: usize,
    /// Restarts of a shared database under load.
    pub restarts: u32,
    /// Sectors that had something older after a loss of power.
    pub sectors_undone: usize,
    /// Files that had vanished or come back after a loss of power.
    pub names_undone: usize,
    /// Losses of power while the log was brought back into the database.
    pub losses_in_checkpoint: usize,
}

/// Everything that was sent, shared by the workers.
#[derive(Default)]
struct Record {
    /// Answered with a receipt.
    acknowledged: Vec<Answered>,
    /// Sent, and nobody knows what became of it.
    unanswered: Vec<Asked>,
    refused: usize,
    answered_later: usize,
    compared: usize,
}

/// A deployment that is going to be killed.
pub struct Harness {
    place: Place,
    parties: Arc<Parties>,
    record: Arc<Mutex<Record>>,
    random: Random,
    runtime: Runtime,
    plan: Plan,
    power: Option<Power>,
    /// Of a shared database.
    server: Option<Server>,
    /// What is known before the end.
    summary: Summary,
}

impl Harness {
    /// Provisions a deployment.
    pub fn new(plan: Plan) -> Self {
        let place = Place::new();
        place.edit("gateway/gateway.toml", |config| {
            config["limits"]["requests_per_second"] = 1_000_000.into();
            config["limits"]["declines_per_minute"] = 1_000_000.into();
            config["limits"]["cancellations_per_minute"] = 1_000_000.into();
        });
        let power = match plan.disk {
            Disk::KeepsPower | Disk::Shared => None,
            Disk::LosesPower => Some(Power::over(&place, false)),
            Disk::Lies => Some(Power::over(&place, true)),
        };
        let server = (plan.disk == Disk::Shared).then(|| {
            let server = Server::start();
            place.use_postgres(&server, &server.new_database());
            server
        });
        place.add_account(
            "crash",
            workers::PAN,
            workers::EXPIRY,
            "funds = 1000000000000\nstatus = \"active\"",
        );
        Self {
            parties: Arc::new(Parties::of(&place)),
            place,
            record: Arc::default(),
            random: Random::new(plan.seed),
            runtime: tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()
                .unwrap(),
            plan,
            power,
            server,
            summary: Summary::default(),
        }
    }

    /// Runs the next round; false when all are done.
    ///
    /// # Panics
    /// When something that was acknowledged is not true any more.
    pub fn round(&mut self) -> bool {
        if self.summary.kills == self.plan.kills {
            return false;
        }
        let mut gateways = self.start_gateways();
        let links = Links::to(&gateways, &self.parties);
        self.look_at_the_store();
        self.finish_what_is_open(&links);
        self.ask_again(&links);
        let life = Duration::from_millis(20 + self.random.below(380));
        if let Some(power) = &self.power {
            power.fail_in_checkpoint(&mut self.random);
        }
        let workers = self.start_workers(&links);
        if let Some(server) = &self.server {
            self.live(life);
            let one = self.random.below(gateways.len() as u64) as usize;
            gateways.swap_remove(one).kill();
            if self.summary.kills % 2 == 1 {
                server.restart();
                self.summary.restarts += 1;
            }
        }
        self.live(life);
        let ended: Vec<_> = gateways
            .into_iter()
            .map(|gateway| self.end(gateway))
            .collect();
        self.runtime.block_on(workers.join_all());
        for status in ended {
            assert!(status.success() || status.signal() == Some(9), "{status}");
        }
        self.summary.kills += 1;
        if let Some(power) = &mut self.power {
            let (undone, is_in_checkpoint) = power.off(&mut self.random);
            self.summary.sectors_undone += undone.sectors;
            self.summary.names_undone += undone.names;
            self.summary.losses_in_checkpoint += usize::from(is_in_checkpoint);
        }
        true
    }

    /// Lets the workers work: for a time, and on a busy machine until something was answered.
    fn live(&self, time: Duration) {
        let acknowledged = || self.record.lock().unwrap().acknowledged.len();
        let wanted = acknowledged() + ANSWERS_MIN;
        let latest = Instant::now() + ANSWERS_WAIT;
        self.runtime.block_on(async {
            tokio::time::sleep(time).await;
            // A gateway whose power failed by now answers nothing.
            while acknowledged() < wanted && Instant::now() < latest {
                tokio::time::sleep(LOOK).await;
            }
        });
    }

    /// As the last gateway left it, or the one that runs found it.
    fn look_at_the_store(&self) {
        self.place.gateway_cli(&["ledger", "check"]);
        if self.power.is_some() {
            self.place.gateway_cli(&["check"]);
        }
    }

    fn start_gateways(&mut self) -> Vec<Service> {
        if self.server.is_some() {
            return (0..REPLICAS).map(|_| self.place.start_gateway()).collect();
        }
        let Some(power) = &mut self.power else {
            return vec![self.place.start_gateway()];
        };
        power.on(&mut self.random);
        vec![self.place.start_gateway_with(&power.environment())]
    }

    /// Kills the gateway. Where the power fails, it is asked to stop in some of the rounds, and the power fails
    /// while it brings the log back into the database; in the others the log grows until that is done under
    /// load. Not on a disk that lies: it would damage the file before what it lost is asked for.
    fn end(&self, gateway: Service) -> ExitStatus {
        let number = self.summary.kills % 40;
        if self.plan.disk == Disk::LosesPower && number < 20 && number % 2 == 1 {
            return gateway.stop().0;
        }
        gateway.kill()
    }

    /// Holds everything against what the gateway tells at the end.
    ///
    /// # Panics
    /// When something that was acknowledged is not true any more.
    pub fn finish(mut self) -> Summary {
        let gateways = self.start_gateways();
        let links = Links::to(&gateways, &self.parties);
        self.finish_what_is_open(&links);
        let record = self.record.lock().unwrap();
        let mut summary = Summary {
            acknowledged: record.acknowledged.len(),
            answered_later: record.answered_later,
            compared: record.compared,
            refused: record.refused,
            ..self.summary
        };
        for (xid, receipts) in by_transaction(&record.acknowledged) {
            check_alone(xid, &receipts, &mut summary);
            let told = self.told(&links, xid);
            for receipt in receipts {
                assert!(
                    receipt.action == Action::Cancellation || told.contains(receipt),
                    "an acknowledged {} of {xid} is lost or was changed: {receipt:?}\ntold: {told:?}",
                    receipt.action
                );
            }
        }
        for gateway in gateways {
            assert!(gateway.stop().0.success());
        }
        self.look_at_the_store();
        summary
    }

    /// Sends what has no answer again, until it has one.
    fn finish_what_is_open(&self, links: &Links) {
        let open = std::mem::take(&mut self.record.lock().unwrap().unanswered);
        for asked in open {
            let links = links.another_s();
            let answer = self.runtime.block_on(asked.send(&links));
            let mut record = self.record.lock().unwrap();
            match answer {
                asked::Outcome::Receipt(receipt) => {
                    record.answered_later += 1;
                    record.acknowledged.push(Answered { asked, receipt });
                }
                asked::Outcome::Refused => record.refused += 1,
                asked::Outcome::Unknown(why) => {
                    panic!("a running gateway gives no answer: {why}")
                }
            }
        }
    }

    /// Asks some of what was answered again: the claims are the same.
    fn ask_again(&mut self, links: &Links) {
        let count = self.record.lock().unwrap().acknowledged.len();
        for turn in 0..ASKED_AGAIN.min(count) {
            let among = match turn % 2 {
                0 => count as u64,
                _ => LATEST.min(count as u64),
            };
            let chosen = count - 1 - self.random.below(among) as usize;
            let answered = self.record.lock().unwrap().acknowledged[chosen].clone();
            let asked::Outcome::Receipt(again) = self
                .runtime
                .block_on(answered.asked.send(&links.another_s()))
            else {
                panic!(
                    "{} was acknowledged and is refused now",
                    answered.asked.path
                );
            };
            assert_eq!(again, answered.receipt, "an acknowledged answer changed");
            self.record.lock().unwrap().compared += 1;
        }
    }

    fn start_workers(&mut self, links: &Links) -> JoinSet<()> {
        let mut running = JoinSet::new();
        for _ in 0..self.plan.workers {
            let worker = Worker {
                links: links.another_s(),
                parties: Arc::clone(&self.parties),
                record: Arc::clone(&self.record),
                random: Random::new(self.random.next()),
            };
            running.spawn_on(worker.run(), self.runtime.handle());
        }
        running
    }

    /// Every receipt that the gateway has of a transaction.
    fn told(&self, links: &Links, xid: Xid) -> Vec<Receipt> {
        let path = format!("/v1/authorizations/{xid}");
        let answer = self
            .runtime
            .block_on(links.merchant().get(&path, HeaderMap::new()))
            .unwrap();
        if answer.status != 200 {
            return Vec::new();
        }
        let receipts: Receipts = serde_json::from_slice(&answer.body).unwrap();
        receipts
            .receipts
            .iter()
            .map(|receipt| {
                Received::<Receipt>::read(receipt)
                    .unwrap()
                    .unverified()
                    .clone()
            })
            .collect()
    }
}

fn by_transaction(acknowledged: &[Answered]) -> HashMap<Xid, Vec<&Receipt>> {
    let mut receipts: HashMap<Xid, Vec<&Receipt>> = HashMap::new();
    for answered in acknowledged {
        receipts
            .entry(answered.receipt.xid)
            .or_default()
            .push(&answered.receipt);
    }
    receipts
}

/// What the receipts of one transaction say to one another: one decision, and no approval of what was
/// withdrawn.
fn check_alone(xid: Xid, receipts: &[&Receipt], summary: &mut Summary) {
    let of = |action| {
        receipts
            .iter()
            .filter(move |receipt| receipt.action == action)
    };
    let decisions: Vec<_> = of(Action::Authorization).collect();
    assert!(
        decisions.windows(2).all(|two| two[0] == two[1]),
        "{xid} was decided twice: {decisions:?}"
    );
    let is_approved = decisions
        .iter()
        .any(|decision| decision.decision == Decision::Approved);
    let is_withdrawn = of(Action::Cancellation).next().is_some();
    assert!(
        !(is_approved && is_withdrawn),
        "{xid} was withdrawn and approved"
    );
    summary.approved += usize::from(is_approved);
    summary.withdrawn += usize::from(is_withdrawn);
    summary.operations += receipts
        .iter()
        .filter(|receipt| !matches!(receipt.action, Action::Authorization | Action::Cancellation))
        .count();
}
