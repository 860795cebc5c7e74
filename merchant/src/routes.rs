//! Which method at which path is which operation. The listener routes by this table, and the OpenAPI document is
//! made of it.

use mtls::routes::Route;

/// What payers can ask for, and what the gateway tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ForPayers {
    Catalogue,
    Order,
    OpenSession,
    Purchase,
    Inquire,
    Notice,
    Document,
}

pub(crate) const PAYERS: &[Route<ForPayers>] = &[
    Route::get("/v1/catalogue", ForPayers::Catalogue),
    Route::post("/v1/orders", ForPayers::Order),
    Route::post("/v1/sessions", ForPayers::OpenSession),
    Route::post("/v1/purchases", ForPayers::Purchase),
    Route::get("/v1/purchases/{xid}", ForPayers::Inquire),
    Route::post("/webhooks", ForPayers::Notice),
    Route::get(openapi::PATH, ForPayers::Document),
];
