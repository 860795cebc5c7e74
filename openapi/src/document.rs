//! A whole document: the listeners of a service with their routes.

use std::{collections::BTreeMap, fmt::Write as _};

use hyper::{Method, StatusCode};
use mtls::{
    body::REQUEST_BYTES_MAX,
    exchange::{BODY_TIME_MAX, asks_to_wait},
    routes::Route,
    server::HEADER_BYTES_MAX,
};
use protocol::{
    inquiry::{self, InquiryJws},
    json::{DEPTH_MAX, INTEGER_MAX},
    problem::{Problem, ProblemDocument, Retry},
    schema,
};
use utoipa::openapi::{
    AllOfBuilder, ComponentsBuilder, Content, InfoBuilder, License, ObjectBuilder, OpenApi,
    OpenApiBuilder, Paths, RefOr, Required, Response, Schema, Tag, Type,
    header::HeaderBuilder,
    path::{Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn},
    request_body::RequestBodyBuilder,
    response::ResponseBuilder,
    security::{ApiKey, ApiKeyValue, SecurityRequirement, SecurityScheme},
    server::{Server, ServerBuilder, ServerVariableBuilder},
    tag::TagBuilder,
};

use crate::described::{Described, Shape};

/// Where a listener serves the document.
pub const PATH: &str = "/openapi.json";

const MERCHANT_CERTIFICATE: &str = "merchantCertificate";
const PROOF: &str = "payersProof";

/// Who is answered at a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Merchants, by mutual TLS.
    Merchants,
    /// Anybody, by TLS.
    Anybody,
    /// Operators, by plain HTTP on the loopback. Their answers that say no are text.
    Operators,
}

/// A listener of a service.
pub struct Listener {
    /// What its operations are grouped by.
    pub tag: &'static str,
    /// Who it is for.
    pub description: &'static str,
    /// Who is answered.
    pub access: Access,
    /// The port of the sample configuration.
    pub port: &'static str,
}

impl Listener {
    fn server(&self) -> Server {
        let scheme = match self.access {
            Access::Operators => "http",
            Access::Merchants | Access::Anybody => "https",
        };
        let variable = |default: &str, what: &str| {
            ServerVariableBuilder::new()
                .default_value(default)
                .description(Some(what))
        };
        ServerBuilder::new()
            .url(format!("{scheme}://{{host}}:{{port}}"))
            .description(Some(format!("{}: {}", self.tag, self.description)))
            .parameter("host", variable("localhost", "As it is configured."))
            .parameter("port", variable(self.port, "As it is configured."))
            .build()
    }

    fn security(&self, described: &Described) -> SecurityRequirement {
        match self.access {
            Access::Merchants => SecurityRequirement::new(MERCHANT_CERTIFICATE, [""; 0]),
            _ if described.has_proof => SecurityRequirement::new(PROOF, [""; 0]),
            _ => SecurityRequirement::default(),
        }
    }
}

/// A document that is being made.
pub struct Document {
    title: &'static str,
    introduction: &'static str,
    version: &'static str,
    tags: Vec<Tag>,
    servers: Vec<Server>,
    has_proof: bool,
    has_certificate: bool,
    paths: Paths,
    components: BTreeMap<String, RefOr<Schema>>,
}

impl Document {
    /// One without listeners.
    pub fn new(title: &'static str, introduction: &'static str, version: &'static str) -> Self {
        let mut document = Self {
            title,
            introduction,
            version,
            tags: Vec::new(),
            servers: Vec::new(),
            has_proof: false,
            has_certificate: false,
            paths: Paths::new(),
            components: BTreeMap::new(),
        };
        document.add(Shape::of::<ProblemDocument>());
        document
    }

    /// Adds a listener with the table that it routes by.
    #[must_use]
    pub fn listener<O: Copy>(
        mut self,
        listener: &Listener,
        routes: &[Route<O>],
        describe: impl Fn(O) -> Described,
    ) -> Self {
        self.tags.push(
            TagBuilder::new()
                .name(listener.tag)
                .description(Some(listener.description))
                .build(),
        );
        self.servers.push(listener.server());
        self.has_certificate |= listener.access == Access::Merchants;
        for route in routes {
            let described = describe(route.operation());
            self.has_proof |= described.has_proof;
            let item = self.paths.paths.entry(route.path().to_owned()).or_default();
            let place = if *route.method() == Method::GET {
                &mut item.get
            } else {
                &mut item.post
            };
            if let Some(operation) = place {
                also_at(operation, listener, &described);
                continue;
            }
            *place = Some(operation(listener, route, &described));
            let answers = described.answers.iter().filter_map(|answer| answer.shape);
            let proof = described.has_proof.then(Shape::of::<InquiryJws>);
            let shapes: Vec<Shape> = answers
                .chain(described.argument)
                .chain(described.body)
                .chain(proof)
                .collect();
            for shape in shapes {
                self.add(shape);
            }
        }
        self
    }

    fn add(&mut self, shape: Shape) {
        let mut found = Vec::new();
        (shape.components)(&mut found);
        for (name, schema) in found {
            let earlier = self.components.insert(name.clone(), schema.clone());
            debug_assert!(
                earlier.is_none_or(|earlier| earlier == schema),
                "two schemas have the name {name}; give one of them another with #[schema(as = …)]"
            );
        }
    }

    /// The document for programs, as it is served.
    ///
    /// # Errors
    /// When it can't be written as JSON.
    pub fn to_compact_json(self) -> Result<String, serde_json::Error> {
        serde_json::to_string(&self.finish())
    }

    /// The document for people, as it is checked in.
    ///
    /// # Errors
    /// When it can't be written as JSON.
    pub fn to_json(self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(&self.finish())
    }

    fn finish(self) -> OpenApi {
        let mut components = ComponentsBuilder::new();
        for (name, schema) in self.components {
            components = components.schema(name, schema);
        }
        if self.has_certificate {
            components = components.security_scheme(
                MERCHANT_CERTIFICATE,
                SecurityScheme::MutualTls {
                    description: Some(
                        "TLS 1.3 with a merchant's TLS certificate, of a merchant that the gateway has configured."
                            .to_owned(),
                    ),
                    deprecated: None,
                    extensions: None,
                },
            );
        }
        if self.has_proof {
            components = components.security_scheme(
                PROOF,
                SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(
                    proof_header(),
                    proof_meaning(),
                ))),
            );
        }
        let info = InfoBuilder::new()
            .title(self.title)
            .version(self.version)
            .description(Some(introduction(self.introduction)))
            .license(Some(
                License::builder()
                    .name("Apache-2.0")
                    .identifier(Some("Apache-2.0"))
                    .build(),
            ))
            .build();
        OpenApiBuilder::new()
            .info(info)
            .servers(Some(self.servers))
            .tags(Some(self.tags))
            .paths(self.paths)
            .components(Some(components.build()))
            .build()
    }
}

/// The same operation at a further listener.
fn also_at(operation: &mut Operation, listener: &Listener, described: &Described) {
    operation
        .tags
        .get_or_insert_default()
        .push(listener.tag.to_owned());
    operation
        .servers
        .get_or_insert_default()
        .push(listener.server());
    let requirements = operation.security.get_or_insert_default();
    let further = listener.security(described);
    if !requirements.contains(&further) {
        requirements.push(further);
    }
}

fn operation<O: Copy>(listener: &Listener, route: &Route<O>, described: &Described) -> Operation {
    let mut operation = OperationBuilder::new()
        .operation_id(Some(described.id))
        .tag(listener.tag)
        .summary(Some(described.summary))
        .description(Some(described.details))
        .servers(Some([listener.server()]))
        .security(listener.security(described));
    if let Some(shape) = described.argument {
        operation = operation.parameter(path_parameter(route.path(), shape));
    }
    if described.has_proof {
        operation = operation.parameter(
            ParameterBuilder::new()
                .name(proof_header())
                .parameter_in(ParameterIn::Header)
                .required(Required::True)
                .description(Some(proof_meaning()))
                .schema(Some(schema::reference::<InquiryJws>())),
        );
    }
    if let Some(shape) = described.body {
        operation = operation.request_body(Some(
            RequestBodyBuilder::new()
                .description(Some(format!(
                    "At most {} KiB, within {} s. Unknown members are {}.",
                    REQUEST_BYTES_MAX / 1024,
                    BODY_TIME_MAX.as_secs(),
                    if described.takes_unknown_members {
                        "passed over"
                    } else {
                        "refused"
                    }
                )))
                .required(Some(Required::True))
                .content("application/json", Content::new(Some((shape.reference)())))
                .build(),
        ));
    }
    for answer in &described.answers {
        let mut response = ResponseBuilder::new().description(answer.meaning);
        if let Some(shape) = answer.shape {
            let content = Content::new(Some((shape.reference)()));
            response = response.content(answer.media_type, content);
        }
        operation = operation.response(answer.status.as_str(), response.build());
    }
    for (status, response) in failures(described) {
        operation = operation.response(status.as_str(), response);
    }
    operation.build()
}

fn path_parameter(path: &str, shape: Shape) -> Parameter {
    let name = path
        .split_once('{')
        .and_then(|(_, rest)| rest.strip_suffix('}'))
        .unwrap_or_default();
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .schema(Some((shape.reference)()))
        .build()
}

/// The answers that say no, by their status.
fn failures(described: &Described) -> BTreeMap<StatusCode, Response> {
    let plain = described.plain_statuses();
    let mut by_status: BTreeMap<StatusCode, Vec<Problem>> =
        plain.iter().map(|&status| (status, Vec::new())).collect();
    for problem in described.all_problems() {
        let status =
            StatusCode::from_u16(problem.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        by_status.entry(status).or_default().push(problem);
    }
    by_status
        .into_iter()
        .map(|(status, problems)| (status, failure(status, &problems, plain.contains(&status))))
        .collect()
}

fn failure(status: StatusCode, problems: &[Problem], may_be_plain: bool) -> Response {
    let names: Vec<String> = problems
        .iter()
        .map(|problem| format!("`{problem}`"))
        .collect();
    let mut meaning = names.join(", ");
    if may_be_plain {
        if !meaning.is_empty() {
            meaning.push_str(", or ");
        }
        meaning.push_str(plain_meaning(status));
    }
    let types = problems
        .iter()
        .map(|problem| problem.urn())
        .chain(may_be_plain.then(|| ProblemDocument::BLANK.to_owned()));
    let retries = Retry::ALL
        .into_iter()
        .filter(|retry| problems.iter().any(|problem| problem.retry() == *retry))
        .map(Retry::as_str);
    let mut narrowed = ObjectBuilder::new()
        .property("type", enumerated(types))
        .property(
            "status",
            ObjectBuilder::new()
                .schema_type(Type::Integer)
                .enum_values(Some([status.as_u16()])),
        );
    if !problems.is_empty() {
        narrowed = narrowed.property("retry", enumerated(retries));
    }
    let schema = AllOfBuilder::new()
        .item(schema::reference::<ProblemDocument>())
        .item(narrowed);
    let mut response = ResponseBuilder::new().description(meaning).content(
        ProblemDocument::MEDIA_TYPE,
        Content::new(Some(RefOr::from(schema))),
    );
    if problems.iter().any(|&problem| asks_to_wait(problem)) {
        response = response.header(
            "Retry-After",
            HeaderBuilder::new()
                .description(Some(
                    "After how many seconds to send the same request again.",
                ))
                .schema(Some(schema::integer(0, INTEGER_MAX, "Seconds.")))
                .build(),
        );
    }
    response.build()
}

fn enumerated<T: Into<String>>(texts: impl Iterator<Item = T>) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(texts.map(Into::into).collect::<Vec<String>>()))
}

fn plain_meaning(status: StatusCode) -> &'static str {
    match status {
        StatusCode::BAD_REQUEST => "a body that breaks off",
        StatusCode::NOT_FOUND => "a path whose last part is of another form",
        StatusCode::REQUEST_TIMEOUT => "a body that does not arrive in time",
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "a body that is not application/json",
        _ => "what the status says",
    }
}

/// The header's name as people write it; names of headers know no case.
fn proof_header() -> String {
    inquiry::HEADER
        .split('-')
        .map(|word| {
            let (first, rest) = word.split_at(1);
            first.to_ascii_uppercase() + rest
        })
        .collect::<Vec<_>>()
        .join("-")
}

fn proof_meaning() -> String {
    format!(
        "The payer's proof that it may ask: a JWS (`InquiryJws`) of its own for this service and this transaction, \
         good for {} s. Without a good one the answer is that of a transaction that does not exist.",
        inquiry::LIFETIME_SECONDS
    )
}

fn introduction(of_service: &str) -> String {
    let mut text = format!(
        "{of_service}\n\n\
         docs/PROTOCOL.md is the specification; this document is generated from the code.\n\n\
         # Messages\n\n\
         HTTP/1.1 over TLS 1.3. Bodies are JSON (UTF-8, no member twice, no `null`, integers of 0..2^53-1 only, at \
         most {} levels; unknown members are refused), at most {} KiB; headers at most {} KiB (431 above it). A signed message is a \
         JWS in compact form, a text; its decoded header and claims are described by `contentSchema`, the claims also \
         as a component of their own. A question's answer stores nothing; a request that is sent again byte for byte \
         gets the same answer.\n\n\
         # Problems\n\n\
         What is refused is answered with `{}` (RFC 9457): `type`, `status`, `request_id` (quote it to the service's \
         operators: their log has the details under it), and `retry`. An unknown path is 404, a known one with another \
         method 405 with `Allow`, both `{}`. With `Retry-After` the same request may be sent again after so many seconds.\n\n\
         | type | status | retry |\n| --- | --- | --- |\n",
        DEPTH_MAX,
        REQUEST_BYTES_MAX / 1024,
        HEADER_BYTES_MAX / 1024,
        ProblemDocument::MEDIA_TYPE,
        ProblemDocument::BLANK,
    );
    for problem in Problem::ALL {
        let retry = problem.retry().as_str();
        // Writing to a text does not fail.
        let _ = writeln!(
            text,
            "| {} | {} | {retry} |",
            problem.urn(),
            problem.status()
        );
    }
    text
}
