//! What is sent at the gateway while it lives: purchases, replays, operations on what was approved, and
//! cancellations that race with them.

use std::{
    marker::PhantomData,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use mtls::client::HttpClient;
use protocol::{
    authorization::Capture as When,
    identifiers::Jti,
    json::Version,
    lifecycle::{
        Capture, CaptureReversal, LifecycleBody, LifecycleRequest, Operation, Refund,
        RefundReversal, Reversal,
    },
    receipt::{Action, Receipt},
};
use tokio::task::JoinSet;

use super::{
    Record,
    asked::{Answered, Asked, Outcome, Sender},
    random::Random,
};
use crate::{
    parties::{Parties, Purchase, card, euros},
    service::Service,
};

/// The card of the account that is paid from.
pub(super) const PAN: &str = "6011000000000004";
pub(super) const EXPIRY: &str = "2031-12";

const CENTS: u64 = 1000;

/// The ways to running gateways, of which a sender uses one.
#[derive(Clone)]
pub(super) struct Links {
    /// A merchant's and a payer's, of each gateway.
    ways: Arc<[(HttpClient, HttpClient)]>,
    own: usize,
    next: Arc<AtomicUsize>,
}

impl Links {
    pub(super) fn to(gateways: &[Service], parties: &Parties) -> Self {
        let way = |gateway| {
            (
                parties.to_gateway(gateway),
                parties.to_payer_listener(gateway),
            )
        };
        Self {
            ways: gateways.iter().map(way).collect(),
            own: 0,
            next: Arc::default(),
        }
    }

    /// Those of a sender that uses the next gateway.
    pub(super) fn another_s(&self) -> Self {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        Self {
            own: next % self.ways.len(),
            ..self.clone()
        }
    }

    /// Those of senders to each of the gateways.
    fn all(&self) -> impl Iterator<Item = Self> {
        (0..self.ways.len()).map(|own| Self {
            own,
            ..self.clone()
        })
    }

    pub(super) fn merchant(&self) -> &HttpClient {
        &self.ways[self.own].0
    }

    pub(super) fn payer(&self) -> &HttpClient {
        &self.ways[self.own].1
    }
}

/// One sender among several.
pub(super) struct Worker {
    pub(super) links: Links,
    pub(super) parties: Arc<Parties>,
    pub(super) record: Arc<Mutex<Record>>,
    pub(super) random: Random,
}

/// The gateway is gone.
struct Gone;

impl Worker {
    /// Sends until the gateway is gone.
    pub(super) async fn run(mut self) {
        while self.step().await.is_ok() {}
    }

    async fn step(&mut self) -> Result<(), Gone> {
        match self.random.below(10) {
            0..=3 => self.buy().await,
            4 => self.buy_and_withdraw().await,
            5 => self.buy_twice().await,
            6 => self.buy_everywhere().await,
            _ => self.operate().await,
        }
    }

    async fn buy(&mut self) -> Result<(), Gone> {
        let mut purchase = self.purchase();
        if self.random.below(4) == 0 {
            purchase.request.capture = When::Now;
            purchase.body = self.parties.body(&purchase.request, &purchase.signed);
        }
        self.ask(authorization(&purchase)).await
    }

    /// The same request to all gateways at once: one decision, one answer.
    async fn buy_everywhere(&mut self) -> Result<(), Gone> {
        let asked = authorization(&self.purchase());
        let all = self.links.all().map(|links| (links, asked.clone()));
        self.ask_all(all.collect()).await
    }

    fn purchase(&self) -> Purchase {
        self.parties.purchase(euros(CENTS), card(PAN, EXPIRY))
    }

    /// One signed purchase in two requests at once: one decision.
    async fn buy_twice(&mut self) -> Result<(), Gone> {
        let purchase = self.purchase();
        let again = self.parties.request(&purchase.signed, mtls::now());
        let again = Asked {
            sender: Sender::Merchant,
            path: "/v1/authorizations",
            jti: Some(again.jti),
            body: serde_json::to_vec(&self.parties.body(&again, &purchase.signed))
                .unwrap()
                .into(),
        };
        self.ask_at_once([authorization(&purchase), again]).await
    }

    async fn buy_and_withdraw(&mut self) -> Result<(), Gone> {
        let purchase = self.purchase();
        let withdrawal = Asked {
            sender: Sender::Payer,
            path: "/v1/cancellations",
            jti: None,
            body: self.parties.cancellation(&purchase).into(),
        };
        self.ask_at_once([authorization(&purchase), withdrawal])
            .await
    }

    /// Something with a payment that was acknowledged, allowed or not.
    async fn operate(&mut self) -> Result<(), Gone> {
        let Some(receipt) = self.any_acknowledged() else {
            return self.buy().await;
        };
        let cents = 1 + self.random.below(CENTS / 2);
        let target = self.target_of(&receipt);
        let asked = match (self.random.below(5), target) {
            (0, _) => self.asked::<Reversal>("/v1/reversals", &receipt, cents, None),
            (1, _) => self.asked::<Refund>("/v1/refunds", &receipt, cents, None),
            (2, Some(target)) if receipt.action == Action::Refund => {
                let path = "/v1/refund-reversals";
                self.asked::<RefundReversal>(path, &receipt, cents, Some(target))
            }
            (2, Some(target)) => {
                let path = "/v1/capture-reversals";
                self.asked::<CaptureReversal>(path, &receipt, cents, Some(target))
            }
            _ => self.asked::<Capture>("/v1/captures", &receipt, cents, None),
        };
        self.ask(asked).await
    }

    fn any_acknowledged(&mut self) -> Option<Receipt> {
        let record = self.record.lock().unwrap();
        let count = record.acknowledged.len() as u64;
        // The latest are the most likely to have something left.
        let back = self.random.below(count.clamp(1, 200));
        let index = count.checked_sub(1 + back)?;
        Some(Receipt::clone(&record.acknowledged[index as usize].receipt))
    }

    /// The `jti` of the request behind a receipt, to be undone.
    fn target_of(&self, receipt: &Receipt) -> Option<Jti> {
        let record = self.record.lock().unwrap();
        let answered = record
            .acknowledged
            .iter()
            .rev()
            .find(|answered| answered.receipt.jti == receipt.jti)?;
        answered.asked.jti
    }

    fn asked<O: Operation>(
        &self,
        path: &'static str,
        receipt: &Receipt,
        cents: u64,
        target: Option<Jti>,
    ) -> Asked {
        let now = mtls::now();
        let claims = LifecycleRequest::<O> {
            version: Version,
            jti: Jti::at(now).unwrap(),
            iat: now,
            merchant: self.parties.merchant.clone(),
            gateway: self.parties.gateway.clone(),
            xid: receipt.xid,
            amount: euros(cents),
            target,
            operation: PhantomData,
        };
        let request = self.parties.merchant_key.sign(&claims).unwrap();
        Asked {
            sender: Sender::Merchant,
            path,
            jti: Some(claims.jti),
            body: serde_json::to_vec(&LifecycleBody { request })
                .unwrap()
                .into(),
        }
    }

    async fn ask_at_once(&mut self, both: [Asked; 2]) -> Result<(), Gone> {
        self.ask_all(both.map(|asked| (self.links.clone(), asked)).into())
            .await
    }

    async fn ask_all(&mut self, all: Vec<(Links, Asked)>) -> Result<(), Gone> {
        let mut running = JoinSet::new();
        for (links, asked) in all {
            let record = Arc::clone(&self.record);
            running.spawn(async move { ask(&links, &record, asked).await });
        }
        // All are waited for, whatever comes of the first.
        let outcomes = running.join_all().await;
        if outcomes.iter().any(Result::is_err) {
            return Err(Gone);
        }
        Ok(())
    }

    async fn ask(&mut self, asked: Asked) -> Result<(), Gone> {
        ask(&self.links, &self.record, asked).await
    }
}

fn authorization(purchase: &Purchase) -> Asked {
    Asked {
        sender: Sender::Merchant,
        path: "/v1/authorizations",
        jti: Some(purchase.request.jti),
        body: purchase.bytes().into(),
    }
}

/// Sends a request and notes what became of it.
async fn ask(links: &Links, record: &Mutex<Record>, asked: Asked) -> Result<(), Gone> {
    let outcome = asked.send(links).await;
    let mut record = record.lock().unwrap();
    match outcome {
        Outcome::Receipt(receipt) => {
            record.acknowledged.push(Answered { asked, receipt });
            Ok(())
        }
        Outcome::Refused => {
            record.refused += 1;
            Ok(())
        }
        Outcome::Unknown(_) => {
            record.unanswered.push(asked);
            Err(Gone)
        }
    }
}
