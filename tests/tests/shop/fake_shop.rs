//! A shop with the merchant's keys that lies: in message 2, or in message 6.

use std::{net::SocketAddr, pin::Pin, sync::Arc, thread::JoinHandle};

use hyper::{Method, Request, StatusCode, body::Incoming};
use mtls::{
    SharedTrust,
    client::HttpClient,
    exchange::{Answer, Failure, json, json_body, respond},
    server::{ClientAuth, Limits, Listener, ServerTls},
};
use protocol::{
    authorization::AuthorizationResponse,
    dual_signature::{DualSignature, split_merchant_half},
    identifiers::{Digest, OrderId},
    json::Version,
    jws::Received,
    order_information::{Item, OrderInformation, Quantity},
    purchase::{PurchaseAnswer, PurchaseRequest, PurchaseResponse, SignedPurchase},
    receipt::Decision,
    session::{Session, SessionRequest},
};
use serde_json::{Value, json as object};
use tokio::sync::oneshot;
use twinseal_tests::parties::{Parties, authorize, euros};

/// What is signed as message 2, made of honest claims.
pub(crate) type Message2 = Box<dyn Fn(&Parties, Session) -> String + Send + Sync>;

/// What is answered to message 3; nothing is an internal error.
pub(crate) type Message6 = fn(Arc<Shop>, SignedPurchase) -> Answering;

/// An answer that is being made.
pub(crate) type Answering = Pin<Box<dyn Future<Output = Option<PurchaseResponse>> + Send>>;

/// What the shop works with.
pub(crate) struct Shop {
    pub(crate) parties: Parties,
    pub(crate) gateway: Option<HttpClient>,
    order: OrderInformation,
    message_2: Message2,
    message_6: Message6,
}

/// A running shop that lies.
pub(crate) struct FakeShop {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl FakeShop {
    /// A shop whose message 2 is a lie.
    pub(crate) fn lying_in_message_2(parties: Parties, message_2: Message2) -> Self {
        Self::start(parties, None, message_2, |_, _| Box::pin(async { None }))
    }

    /// A shop whose message 2 is honest, and which can ask the gateway.
    pub(crate) fn lying_in_message_6(
        parties: Parties,
        gateway: HttpClient,
        message_6: Message6,
    ) -> Self {
        let honest: Message2 =
            Box::new(|parties, session| parties.merchant_key.sign(&session).unwrap());
        Self::start(parties, Some(gateway), honest, message_6)
    }

    fn start(
        parties: Parties,
        gateway: Option<HttpClient>,
        message_2: Message2,
        message_6: Message6,
    ) -> Self {
        let tls = ServerTls::new(
            &parties.tls,
            SharedTrust::clone(&parties.trust),
            ClientAuth::None,
        )
        .unwrap();
        let shop = Arc::new(Shop {
            parties,
            gateway,
            order: order(),
            message_2,
            message_6,
        });
        let (stop, stopped) = oneshot::channel();
        let (tell, told) = std::sync::mpsc::channel();
        // A runtime of its own: the terminal is waited for on the test's thread.
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async {
                let any = SocketAddr::from(([127, 0, 0, 1], 0));
                let listener = Listener::bind_tls(any, tls, Limits::default())
                    .await
                    .unwrap();
                tell.send(listener.local_address()).unwrap();
                let handler = move |peer, request| {
                    let shop = Arc::clone(&shop);
                    async move {
                        let route = async |request| shop.route(request).await;
                        respond("payers", &peer, request, route).await
                    }
                };
                listener
                    .serve(handler, async {
                        let _ = stopped.await;
                    })
                    .await;
            });
        });
        Self {
            address: told.recv().unwrap(),
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }
}

impl Drop for FakeShop {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// An order of one book.
fn order() -> OrderInformation {
    OrderInformation {
        order: OrderId::random().unwrap(),
        items: vec![Item {
            sku: "book-1".to_owned(),
            name: "A novel".to_owned(),
            quantity: Quantity::new(1).unwrap(),
            unit_price: 1250,
        }],
        delivery: None,
        total: euros(1250),
    }
}

impl Shop {
    async fn route(self: &Arc<Self>, request: Request<Incoming>) -> Result<Answer, Failure> {
        let path = request.uri().path().to_owned();
        match (request.method(), path.as_str()) {
            (&Method::GET, "/v1/catalogue") => json(StatusCode::OK, &self.catalogue()),
            (&Method::POST, "/v1/orders") => {
                json(StatusCode::CREATED, &object!({ "order": self.order }))
            }
            (&Method::POST, "/v1/sessions") => {
                let asked = SessionRequest::read(&json_body(request).await?)?;
                let honest = Session {
                    nc: asked.nc,
                    order: asked.order,
                    ..self.parties.session(self.order.total, mtls::now())
                };
                let session = (self.message_2)(&self.parties, honest);
                json(StatusCode::OK, &object!({ "session": session }))
            }
            (&Method::POST, "/v1/purchases") => {
                let body = json_body(request).await?;
                let signed = signed(serde_json::from_slice(&body).unwrap());
                match (self.message_6)(Arc::clone(self), signed).await {
                    Some(response) => json(StatusCode::OK, &response),
                    None => Err(Failure::Plain(StatusCode::INTERNAL_SERVER_ERROR)),
                }
            }
            _ => Err(Failure::Plain(StatusCode::NOT_FOUND)),
        }
    }

    fn catalogue(&self) -> Value {
        object!({
            "merchant": self.parties.merchant,
            "name": "A shop",
            "currency": "EUR",
            "items": [{ "sku": "book-1", "name": "A novel", "unit_price": 1250 }],
        })
    }

    /// Asks the gateway honestly, and gives its receipt.
    pub(crate) async fn ask_gateway(&self, signed: &SignedPurchase) -> String {
        let request = self.parties.request(signed, mtls::now());
        let body = serde_json::to_vec(&self.parties.body(&request, signed)).unwrap();
        let answer = authorize(self.gateway.as_ref().unwrap(), body).await;
        let response: AuthorizationResponse = serde_json::from_slice(&answer.body).unwrap();
        response.receipt
    }

    /// Message 6 with whatever receipt, said to be an approval.
    pub(crate) fn says_approved(
        &self,
        signed: &SignedPurchase,
        receipt: String,
    ) -> PurchaseResponse {
        let claims = &signed.dual_signature;
        let answer = PurchaseAnswer {
            version: Version,
            xid: claims.xid,
            sid: claims.sid,
            nc: claims.nc,
            order: self.order.order,
            status: Decision::Approved,
            receipt: Digest::of(receipt.as_bytes()),
        };
        PurchaseResponse {
            purchase_response: self.parties.merchant_key.sign(&answer).unwrap(),
            receipt,
        }
    }
}

/// What the payer signed, as its request shows it.
fn signed(request: PurchaseRequest) -> SignedPurchase {
    let (compact, _) = split_merchant_half(&request.dual_signature).unwrap();
    let received = Received::<DualSignature>::read(compact).unwrap();
    SignedPurchase {
        dual_signature: received.unverified().clone(),
        dsh: received.hash(),
        // Whose certificate it is, the gateway says.
        client_x5t: Digest::of(b""),
        request,
    }
}
