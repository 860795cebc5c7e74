//! The shop as this terminal talks to it: its catalogue and orders, and messages 1, 2, 3 and 6.

use hyper::{HeaderMap, Uri, body::Bytes};
use mtls::{
    SharedTrust,
    client::{ClientConfigError, HttpClient, Limits, Server},
};
use protocol::{
    money::Currency,
    names::{MerchantName, Role},
    order_information::OrderInformation,
    purchase::PurchaseResponse,
    session::SessionRequest,
};
use serde::{Deserialize, Serialize};

use crate::{
    basket::Basket,
    exchange::{self, NoAnswer},
    failure::Failure,
};

const WHO: &str = "the shop";

/// A shop at the host that the person chose.
pub(crate) struct Shop {
    url: String,
    host: String,
    http: HttpClient,
}

/// What a shop sells.
#[derive(Serialize, Deserialize)]
pub(crate) struct Catalogue {
    pub(crate) merchant: MerchantName,
    pub(crate) name: String,
    pub(crate) currency: Currency,
    pub(crate) items: Vec<CatalogueItem>,
}

/// One article.
#[derive(Serialize, Deserialize)]
pub(crate) struct CatalogueItem {
    pub(crate) sku: String,
    pub(crate) name: String,
    /// Of one, in minor units of the catalogue's currency.
    pub(crate) unit_price: u64,
}

impl Catalogue {
    /// An article by its number.
    pub(crate) fn find(&self, sku: &str) -> Option<&CatalogueItem> {
        self.items.iter().find(|item| item.sku == sku)
    }
}

#[derive(Serialize)]
struct NewOrder<'a> {
    items: Vec<NewItem<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery: Option<&'a str>,
}

#[derive(Serialize)]
struct NewItem<'a> {
    sku: &'a str,
    quantity: u32,
}

#[derive(Deserialize)]
struct PlacedOrder {
    order: OrderInformation,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OpenedSession {
    session: String,
}

impl Shop {
    /// The shop at `https://host[:port]`; its TLS certificate must be a merchant's, for this host.
    pub(crate) fn at(url: &str, trust: SharedTrust) -> Result<Self, Failure> {
        let url = url.trim_end_matches('/').to_owned();
        let host = url
            .parse::<Uri>()
            .ok()
            .and_then(|uri| uri.host().map(str::to_ascii_lowercase))
            .ok_or_else(|| Failure::ShopUrl { url: url.clone() })?;
        let server = Server {
            url: url.clone(),
            role: Role::Merchant,
            name: None,
            trust,
            identity: None,
        };
        let http = HttpClient::new(server, Limits::default()).map_err(|error| match error {
            ClientConfigError::Url { url } => Failure::ShopUrl { url },
            other => Failure::Tls(other),
        })?;
        Ok(Self { url, host, http })
    }

    /// Where it is.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The host that the person chose.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// What it sells.
    pub(crate) async fn catalogue(&self) -> Result<Catalogue, NoAnswer> {
        let answer = self.http.get("/v1/catalogue", HeaderMap::new()).await?;
        exchange::read(WHO, &answer)
    }

    /// Places an order. It is not to be paid before it was checked.
    pub(crate) async fn place_order(&self, basket: &Basket) -> Result<OrderInformation, NoAnswer> {
        let order = NewOrder {
            items: basket
                .items()
                .iter()
                .map(|item| NewItem {
                    sku: &item.sku,
                    quantity: item.quantity.get(),
                })
                .collect(),
            delivery: basket.delivery(),
        };
        let placed: PlacedOrder = self.post("/v1/orders", json_bytes(&order)).await?;
        Ok(placed.order)
    }

    /// Messages 1 and 2: the JWS that the shop answers, not yet checked.
    pub(crate) async fn open_session(&self, request: &SessionRequest) -> Result<String, NoAnswer> {
        let opened: OpenedSession = self.post("/v1/sessions", json_bytes(request)).await?;
        Ok(opened.session)
    }

    /// Messages 3 and 6. The same bytes are sent again while the shop says that this makes sense.
    pub(crate) async fn purchase(&self, request: &str) -> Result<PurchaseResponse, NoAnswer> {
        let bytes = Bytes::copy_from_slice(request.as_bytes());
        exchange::patiently(async || self.post("/v1/purchases", bytes.clone()).await).await
    }

    async fn post<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        body: Bytes,
    ) -> Result<T, NoAnswer> {
        let answer = self.http.post_json(path, body, HeaderMap::new()).await?;
        exchange::read(WHO, &answer)
    }
}

/// These types have text keys and whole numbers only, which JSON always can write.
fn json_bytes<T: Serialize>(message: &T) -> Bytes {
    serde_json::to_vec(message).unwrap_or_default().into()
}
