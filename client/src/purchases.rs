//! The purchases of this terminal on disk: each is there, durably, before a byte of it is sent. The
//! payment is in them only sealed to the gateway.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use protocol::{
    dual_signature::{DualSignature, split_merchant_half},
    identifiers::{Digest, Xid},
    json::{self, Version},
    jws::{Received, Verified},
    order_information::OrderInformation,
    pki::Trust,
    problem::{Problem, Refusal},
    purchase::{PayersView, PurchaseAnswer, PurchaseRequest, SignedPurchase},
    receipt::Receipt,
    sd_jwt::Disclosure,
    session::Session,
    time::{Skew, Timestamp},
};
use serde::{Deserialize, Serialize};

use crate::{
    outcome::{Outcome, Silence},
    told::Told,
};

/// What a file holds.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    pub(crate) version: Version,
    /// Where it was bought, as the person chose it.
    pub(crate) shop: String,
    /// The label of the instrument.
    pub(crate) instrument: String,
    /// The digest of the payer's certificate.
    pub(crate) client_x5t: Digest,
    /// Message 2, the shop's JWS.
    pub(crate) session: String,
    /// Message 3, byte for byte.
    pub(crate) request: String,
    /// The shop's JWS in message 6, once accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) purchase_response: Option<String>,
    /// The gateway's receipt, once accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) receipt: Option<String>,
    /// The receipts of what the shop had done since, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) after: Vec<String>,
    /// The body of the payer's cancellation, byte for byte, once one was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cancellation: Option<String>,
    /// The gateway's receipt of the cancellation. It decides no purchase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) withdrawn: Option<String>,
}

/// A purchase that was signed.
pub(crate) struct Purchase {
    record: Record,
    dual_signature: DualSignature,
    dsh: Digest,
    order: OrderInformation,
    merchant_name: String,
}

impl Purchase {
    /// A purchase that was signed just now.
    pub(crate) fn new(
        shop: &str,
        instrument: &str,
        session: &str,
        signed: SignedPurchase,
    ) -> Result<Self, Refusal> {
        let request = serde_json::to_string(&signed.request)
            .map_err(|error| Refusal::new(Problem::Internal, error.to_string()))?;
        Self::of(Record {
            version: Version,
            shop: shop.to_owned(),
            instrument: instrument.to_owned(),
            client_x5t: signed.client_x5t,
            session: session.to_owned(),
            request,
            purchase_response: None,
            receipt: None,
            after: Vec::new(),
            cancellation: None,
            withdrawn: None,
        })
    }

    /// Reads what was signed out of a record. The signature was made here, and is not verified again.
    pub(crate) fn of(record: Record) -> Result<Self, Refusal> {
        let request: PurchaseRequest = json::read(record.request.as_bytes())?;
        let (compact, disclosure) = split_merchant_half(&request.dual_signature)?;
        let received = Received::<DualSignature>::read(compact)?;
        let (_, order) = Disclosure::<OrderInformation>::read(disclosure)?.into_parts();
        let session = Received::<Session>::read(&record.session)?;
        Ok(Self {
            merchant_name: session.unverified().merchant.name.clone(),
            dual_signature: received.unverified().clone(),
            dsh: received.hash(),
            order,
            record,
        })
    }

    pub(crate) fn record(&self) -> &Record {
        &self.record
    }

    pub(crate) fn dual_signature(&self) -> &DualSignature {
        &self.dual_signature
    }

    /// `h(DS)`.
    pub(crate) fn dsh(&self) -> Digest {
        self.dsh
    }

    pub(crate) fn xid(&self) -> Xid {
        self.dual_signature.xid
    }

    pub(crate) fn order(&self) -> &OrderInformation {
        &self.order
    }

    /// What the shop calls itself, as it signed it.
    pub(crate) fn merchant_name(&self) -> &str {
        &self.merchant_name
    }

    fn view(&self) -> PayersView<'_> {
        PayersView {
            dual_signature: &self.dual_signature,
            dsh: self.dsh,
            client_x5t: self.record.client_x5t,
        }
    }

    /// Verifies the receipt of a decision by certificates as they are at a time, and holds it against
    /// everything that was signed.
    pub(crate) fn accept_receipt(
        &self,
        compact: &str,
        trust: &Trust,
        at: Timestamp,
    ) -> Result<Verified<Receipt>, Refusal> {
        let receipt = self.accept_told(compact, trust, at)?;
        self.view().check_receipt(receipt.claims())?;
        Ok(receipt)
    }

    /// Verifies a receipt of whatever action, and holds it against everything that was signed.
    pub(crate) fn accept_told(
        &self,
        compact: &str,
        trust: &Trust,
        at: Timestamp,
    ) -> Result<Verified<Receipt>, Refusal> {
        let receipt = Received::<Receipt>::read(compact)?.verify(trust, at)?;
        Skew::default().check_issued(receipt.claims().iat, at)?;
        self.view().check_about(receipt.claims())?;
        Ok(receipt)
    }

    /// Verifies the shop's answer, and that it says what the receipt says.
    pub(crate) fn accept_answer(
        &self,
        compact: &str,
        receipt: &Verified<Receipt>,
        trust: &Trust,
        now: Timestamp,
    ) -> Result<Verified<PurchaseAnswer>, Refusal> {
        let answer = Received::<PurchaseAnswer>::read(compact)?.verify(trust, now)?;
        self.view()
            .check_answer(&answer, self.order.order, receipt)?;
        Ok(answer)
    }

    /// Notes what was accepted: the receipt decides, with the shop's answer or without.
    pub(crate) fn set_decided(
        &mut self,
        receipt: &Verified<Receipt>,
        answer: Option<&Verified<PurchaseAnswer>>,
    ) {
        self.record.receipt = Some(receipt.compact().to_owned());
        self.record.purchase_response = answer.map(|answer| answer.compact().to_owned());
    }

    /// Notes the body of a cancellation, before it is sent.
    pub(crate) fn set_cancellation(&mut self, body: String) {
        self.record.cancellation = Some(body);
    }

    /// Notes what the gateway told. What is kept and holds stays: the gateway signs its receipts anew each
    /// time, and the shop's answer names one of them by its hash.
    pub(crate) fn note(&mut self, told: &Told, trust: &Trust) {
        let kept = self.told(trust);
        let compact = |receipt: &Verified<Receipt>| receipt.compact().to_owned();
        if kept.decision.is_none()
            && let Some(decision) = &told.decision
        {
            self.set_decided(decision, None);
        }
        if kept.withdrawn.is_none() {
            self.record.withdrawn = told.withdrawn.as_ref().map(compact);
        }
        let is_new = |receipt: &&Verified<Receipt>| {
            let jti = receipt.claims().jti;
            kept.after.iter().all(|known| known.claims().jti != jti)
        };
        let new = told.after.iter().filter(is_new);
        self.record.after = kept.after.iter().chain(new).map(compact).collect();
    }

    /// What the kept receipts say: each is verified each time, by certificates as they were when it was
    /// made.
    fn told(&self, trust: &Trust) -> Told {
        let record = &self.record;
        let mut told = Told::default();
        let kept = record.receipt.iter().chain(&record.withdrawn);
        for compact in kept.chain(&record.after) {
            let accepted = Received::<Receipt>::read(compact)
                .and_then(|receipt| self.accept_told(compact, trust, receipt.unverified().iat));
            match accepted {
                Ok(receipt) => told.add(receipt),
                Err(refusal) => told.doubts.push(refusal),
            }
        }
        told
    }

    /// What the file proves.
    pub(crate) fn outcome(&self, trust: &Trust) -> Outcome {
        let told = self.told(trust);
        let doubts = told.doubts.clone();
        told.outcome().unwrap_or_else(|| {
            Outcome::Unconfirmed(doubts.into_iter().map(Silence::DoesNotHold).collect())
        })
    }
}

/// The directory.
pub(crate) struct Purchases {
    directory: PathBuf,
}

/// The directory or a file in it can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PurchasesError {
    #[error(
        "{} can't be written: {source}; nothing was sent: make room or correct the permissions, and try again",
        path.display()
    )]
    NotWritten { path: PathBuf, source: io::Error },
    #[error("{} can't be read: {source}; check its permissions", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("there is no purchase {xid} in {}; see: twinseal-client list", directory.display())]
    None { xid: Xid, directory: PathBuf },
    #[error("{} is no stored purchase ({refusal}); restore it, or move it away", path.display())]
    Damaged { path: PathBuf, refusal: Refusal },
}

impl Purchases {
    /// The directory is made when the first purchase is kept.
    pub(crate) fn in_directory(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Where a purchase is kept.
    pub(crate) fn path(&self, xid: Xid) -> PathBuf {
        self.directory.join(format!("{xid}.json"))
    }

    /// Writes a purchase, new or again: when this returns, it survives a crash, and a crash before
    /// leaves what was there.
    pub(crate) fn keep(&self, purchase: &Purchase) -> Result<PathBuf, PurchasesError> {
        let path = self.path(purchase.xid());
        self.write(&path, purchase)
            .map(|()| path.clone())
            .map_err(|source| PurchasesError::NotWritten { path, source })
    }

    fn write(&self, path: &Path, purchase: &Purchase) -> io::Result<()> {
        const OWNER_ONLY: u32 = 0o600;
        if !self.directory.is_dir() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&self.directory)?;
            if let Some(parent) = self
                .directory
                .parent()
                .filter(|path| *path != Path::new(""))
            {
                File::open(parent)?.sync_all()?;
            }
        }
        let unfinished = path.with_extension("unfinished");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(OWNER_ONLY)
            .open(&unfinished)?;
        // One that was left behind keeps the mode that it had.
        file.set_permissions(Permissions::from_mode(OWNER_ONLY))?;
        file.write_all(&serde_json::to_vec_pretty(&purchase.record)?)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(&unfinished, path)?;
        File::open(&self.directory)?.sync_all()
    }

    /// A purchase by its transaction.
    pub(crate) fn find(&self, xid: Xid) -> Result<Purchase, PurchasesError> {
        let path = self.path(xid);
        if !path.is_file() {
            return Err(PurchasesError::None {
                xid,
                directory: self.directory.clone(),
            });
        }
        read(&path, xid)
    }

    /// Every purchase, the oldest first; files that can't be used are there with the reason.
    pub(crate) fn all(&self) -> Result<Vec<Result<Purchase, PurchasesError>>, PurchasesError> {
        let unreadable = |source| PurchasesError::Unreadable {
            path: self.directory.clone(),
            source,
        };
        let entries = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(unreadable)?,
        };
        let mut purchases = Vec::new();
        for entry in entries {
            let path = entry.map_err(unreadable)?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            if let Some(xid) = name
                .and_then(|name| name.strip_suffix(".json"))
                .and_then(|stem| stem.parse().ok())
            {
                purchases.push(read(&path, xid));
            }
        }
        purchases.sort_by_key(|purchase| {
            let signed = purchase
                .as_ref()
                .ok()
                .map(|purchase| purchase.dual_signature());
            signed.map(|signed| (signed.iat, signed.xid))
        });
        Ok(purchases)
    }
}

fn read(path: &Path, xid: Xid) -> Result<Purchase, PurchasesError> {
    let text = fs::read(path).map_err(|source| PurchasesError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    let damaged = |refusal| PurchasesError::Damaged {
        path: path.to_owned(),
        refusal,
    };
    let purchase = json::read_message(&text)
        .and_then(Purchase::of)
        .map_err(damaged)?;
    if purchase.xid() != xid {
        return Err(damaged(Refusal::new(
            Problem::ChallengeMismatch,
            "the file is named for another transaction",
        )));
    }
    Ok(purchase)
}

#[cfg(test)]
mod tests {
    use protocol::money::Amount;

    use super::*;
    use crate::vectors;

    fn purchases() -> (tempfile::TempDir, Purchases) {
        let directory = tempfile::tempdir().unwrap();
        let purchases = Purchases::in_directory(directory.path().join("purchases"));
        (directory, purchases)
    }

    fn unconfirmed() -> Purchase {
        Purchase::of(Record {
            purchase_response: None,
            receipt: None,
            ..vectors::record()
        })
        .unwrap()
    }

    #[test]
    fn a_purchase_is_kept_for_its_owner_alone_and_read_back_as_it_was() {
        let (_directory, purchases) = purchases();
        let purchase = unconfirmed();
        let path = purchases.keep(&purchase).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        let found = purchases.find(purchase.xid()).unwrap();
        assert!(found.record() == purchase.record());
        assert_eq!(found.record().request, vectors::purchase().message_3.body);
    }

    #[test]
    fn what_a_crash_left_half_written_is_no_purchase_and_no_obstacle() {
        let (_directory, purchases) = purchases();
        let purchase = Purchase::of(vectors::record()).unwrap();
        let path = purchases.keep(&unconfirmed()).unwrap();
        let half = path.with_extension("unfinished");
        fs::write(&half, b"{\"version\":1,\"sh").unwrap();
        fs::set_permissions(&half, Permissions::from_mode(0o644)).unwrap();

        let found = purchases.all().unwrap();
        assert_eq!(found.len(), 1);
        assert!(
            found[0]
                .as_ref()
                .is_ok_and(|found| found.record().receipt.is_none())
        );

        purchases.keep(&purchase).unwrap();
        assert!(!half.exists());
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert!(
            purchases
                .find(purchase.xid())
                .unwrap()
                .record()
                .receipt
                .is_some()
        );
    }

    #[test]
    fn a_damaged_file_is_told_and_does_not_hide_the_others() {
        let (_directory, purchases) = purchases();
        let path = purchases.keep(&unconfirmed()).unwrap();
        let xid = Xid::random().unwrap();
        fs::write(purchases.path(xid), &fs::read(&path).unwrap()[..100]).unwrap();
        let copied = Xid::random().unwrap();
        fs::copy(&path, purchases.path(copied)).unwrap();

        let found = purchases.all().unwrap();
        assert_eq!(found.len(), 3);
        assert_eq!(found.iter().filter(|purchase| purchase.is_ok()).count(), 1);
        assert!(matches!(
            purchases.find(xid),
            Err(PurchasesError::Damaged { .. })
        ));
        assert!(matches!(
            purchases.find(copied),
            Err(PurchasesError::Damaged { .. })
        ));
    }

    #[test]
    fn the_payment_is_on_disk_only_sealed() {
        let (_directory, purchases) = purchases();
        let path = purchases.keep(&unconfirmed()).unwrap();
        let text = fs::read_to_string(path).unwrap();
        let payment = vectors::purchase().message_3.pi.disclosure;
        assert!(!text.contains(&payment[..40]));
        assert!(!text.contains("4111111111111111"));
    }

    #[test]
    fn what_the_gateway_tells_again_replaces_nothing_that_is_kept() {
        let trust = vectors::trust("usual");
        let mut purchase = Purchase::of(vectors::record()).unwrap();
        let before = purchase.record().clone();
        let accept = |purchase: &Purchase, receipt: String| {
            purchase
                .accept_told(&receipt, &trust, vectors::NOW)
                .unwrap()
        };
        // The same claims, signed anew.
        let mut told = Told::default();
        told.add(accept(&purchase, vectors::other_receipt(|_| ())));
        told.add(accept(&purchase, vectors::captured(2000)));
        purchase.note(&told, &trust);
        assert!(purchase.record().receipt == before.receipt);
        assert!(purchase.record().purchase_response == before.purchase_response);
        let captured = purchase.record().after.clone();
        assert_eq!(captured.len(), 1);

        told.add(accept(&purchase, vectors::refunded(2000, 500)));
        purchase.note(&told, &trust);
        assert_eq!(purchase.record().after.len(), 2);
        assert_eq!(purchase.record().after[0], captured[0]);
    }

    #[test]
    fn only_a_receipt_about_this_very_purchase_decides_it() {
        let trust = vectors::trust("usual");
        let purchase = Purchase::of(vectors::record()).unwrap();
        assert!(matches!(purchase.outcome(&trust), Outcome::Decided(_)));
        let more = vectors::other_receipt(|receipt| {
            let currency = receipt.amount.currency();
            receipt.amount = Amount::new(receipt.amount.value() + 1, currency).unwrap();
        });
        let elsewhere = vectors::other_receipt(|receipt| receipt.xid = Xid::random().unwrap());
        for receipt in [more, elsewhere] {
            let refused = purchase.accept_receipt(&receipt, &trust, vectors::NOW);
            assert!(refused.is_err());
        }
        // The same receipt beside a purchase of another signature.
        let other = Purchase {
            dsh: Digest::of(b"another dual signature"),
            ..Purchase::of(vectors::record()).unwrap()
        };
        assert!(matches!(other.outcome(&trust), Outcome::Unconfirmed(_)));
        assert!(matches!(
            unconfirmed().outcome(&trust),
            Outcome::Unconfirmed(_)
        ));
    }
}
