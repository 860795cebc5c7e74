//! Which method at which path is which operation, by listener. The listeners route by these tables, and the
//! OpenAPI document is made of them.

use mtls::routes::Route;

/// What merchants can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ForMerchants {
    Authorize,
    Receipts,
    Capture,
    CaptureReversal,
    Reversal,
    Refund,
    RefundReversal,
    CloseBatch,
    Batch,
    Certificates,
    Document,
}

/// What payers can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ForPayers {
    Receipts,
    Cancel,
    Certificates,
    Document,
}

/// What operators can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ForOperators {
    Health,
    Ready,
    Metrics,
    Document,
}

const CERTIFICATES: &str = "/v1/certificates";

pub(crate) const MERCHANTS: &[Route<ForMerchants>] = &[
    Route::post("/v1/authorizations", ForMerchants::Authorize),
    Route::get("/v1/authorizations/{xid}", ForMerchants::Receipts),
    Route::post("/v1/captures", ForMerchants::Capture),
    Route::post("/v1/capture-reversals", ForMerchants::CaptureReversal),
    Route::post("/v1/reversals", ForMerchants::Reversal),
    Route::post("/v1/refunds", ForMerchants::Refund),
    Route::post("/v1/refund-reversals", ForMerchants::RefundReversal),
    Route::post("/v1/batches", ForMerchants::CloseBatch),
    Route::get("/v1/batches/{jti}", ForMerchants::Batch),
    Route::get(CERTIFICATES, ForMerchants::Certificates),
    Route::get(openapi::PATH, ForMerchants::Document),
];

pub(crate) const PAYERS: &[Route<ForPayers>] = &[
    Route::get("/v1/receipts/{xid}", ForPayers::Receipts),
    Route::post("/v1/cancellations", ForPayers::Cancel),
    Route::get(CERTIFICATES, ForPayers::Certificates),
    Route::get(openapi::PATH, ForPayers::Document),
];

pub(crate) const OPERATORS: &[Route<ForOperators>] = &[
    Route::get("/health", ForOperators::Health),
    Route::get("/ready", ForOperators::Ready),
    Route::get("/metrics", ForOperators::Metrics),
    Route::get(openapi::PATH, ForOperators::Document),
];
