//! What a document says of one operation.

use std::{borrow::Cow, collections::BTreeSet};

use hyper::StatusCode;
use mtls::exchange::Failure;
use protocol::{
    problem::Problem,
    schema::{self, one_of},
};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, Type},
};

/// The schema of a type, and the components that it refers to.
#[derive(Clone, Copy)]
pub struct Shape {
    pub(crate) reference: fn() -> RefOr<Schema>,
    pub(crate) components: fn(&mut Vec<(String, RefOr<Schema>)>),
}

impl Shape {
    /// That of a type with a component of its own.
    pub fn of<T: ToSchema>() -> Self {
        Self {
            reference: schema::reference::<T>,
            components: schema::components::<T>,
        }
    }
}

/// Any text.
pub(crate) enum Text {}

impl PartialSchema for Text {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(Type::String).into()
    }
}

/// An OpenAPI document, as far as one says it of itself.
pub(crate) enum OpenApi {}

impl PartialSchema for OpenApi {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::Object)
            .property("openapi", one_of(["3.1.0"], "Which OpenAPI."))
            .required("openapi")
            .description(Some("An OpenAPI document."))
            .into()
    }
}

impl ToSchema for OpenApi {
    fn name() -> Cow<'static, str> {
        "OpenApiDocument".into()
    }
}

pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    pub(crate) media_type: &'static str,
    /// None of an answer without a body.
    pub(crate) shape: Option<Shape>,
    pub(crate) meaning: &'static str,
}

/// What a document says of one operation.
pub struct Described {
    pub(crate) id: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) details: &'static str,
    pub(crate) argument: Option<Shape>,
    pub(crate) has_proof: bool,
    pub(crate) body: Option<Shape>,
    pub(crate) takes_unknown_members: bool,
    pub(crate) answers: Vec<Answered>,
    problems: Vec<&'static [Problem]>,
}

impl Described {
    /// An operation by its id, in a few words, and in more.
    pub fn new(id: &'static str, summary: &'static str, details: &'static str) -> Self {
        Self {
            id,
            summary,
            details,
            argument: None,
            has_proof: false,
            body: None,
            takes_unknown_members: false,
            answers: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// The document itself, which every listener serves.
    pub fn document(id: &'static str) -> Self {
        Self::new(
            id,
            "This document",
            "The OpenAPI document of the whole service, whichever listener is asked.",
        )
        .answers::<OpenApi>(StatusCode::OK, "The document.")
    }

    /// What its path's parameter is.
    #[must_use]
    pub fn argument<T: ToSchema>(mut self) -> Self {
        self.argument = Some(Shape::of::<T>());
        self
    }

    /// That it wants a payer's proof.
    #[must_use]
    pub fn proof(mut self) -> Self {
        self.has_proof = true;
        self
    }

    /// The JSON body that it reads.
    #[must_use]
    pub fn body<T: ToSchema>(mut self) -> Self {
        self.body = Some(Shape::of::<T>());
        self
    }

    /// The JSON body that it reads, of a specification that passes over members it does not know.
    #[must_use]
    pub fn open_body<T: ToSchema>(mut self) -> Self {
        self.takes_unknown_members = true;
        self.body::<T>()
    }

    /// A JSON answer.
    #[must_use]
    pub fn answers<T: ToSchema>(mut self, status: StatusCode, meaning: &'static str) -> Self {
        self.answers.push(Answered {
            status,
            media_type: "application/json",
            shape: Some(Shape::of::<T>()),
            meaning,
        });
        self
    }

    /// An answer of text.
    #[must_use]
    pub fn answers_text(mut self, media_type: &'static str, meaning: &'static str) -> Self {
        self.answers.push(Answered {
            status: StatusCode::OK,
            media_type,
            shape: Some(Shape {
                reference: Text::schema,
                components: |_| {},
            }),
            meaning,
        });
        self
    }

    /// An answer without a body.
    #[must_use]
    pub fn answers_nothing(mut self, status: StatusCode, meaning: &'static str) -> Self {
        self.answers.push(Answered {
            status,
            media_type: "",
            shape: None,
            meaning,
        });
        self
    }

    /// What it may be refused with.
    #[must_use]
    pub fn problems(mut self, problems: &'static [Problem]) -> Self {
        self.problems.push(problems);
        self
    }

    /// Each problem once, in the specification's order.
    pub(crate) fn all_problems(&self) -> impl Iterator<Item = Problem> {
        Problem::ALL.into_iter().filter(|problem| {
            self.problems
                .iter()
                .any(|problems| problems.contains(problem))
        })
    }

    /// The statuses that say by themselves what is wrong with a request whose path and method are known.
    pub(crate) fn plain_statuses(&self) -> BTreeSet<StatusCode> {
        let of_argument = self.argument.map(|_| vec![StatusCode::NOT_FOUND]);
        let of_body = self.body.map(|_| {
            vec![
                StatusCode::BAD_REQUEST,
                StatusCode::REQUEST_TIMEOUT,
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ]
        });
        of_argument.into_iter().chain(of_body).flatten().collect()
    }

    /// Logs a failure that the document does not say. It is told to the counterparty all the same.
    pub fn hold(&self, failure: &Failure) {
        let is_said = match failure {
            Failure::Refused(refusal) => self
                .all_problems()
                .any(|problem| problem == refusal.problem),
            Failure::Plain(status) => self.plain_statuses().contains(status),
            // Said before an operation is known, of its path.
            Failure::OtherMethod(_) => true,
        };
        if !is_said {
            tracing::error!(
                operation = self.id,
                ?failure,
                "not in the OpenAPI document: add it to the operation's description"
            );
        }
    }
}
