//! The schemas of what a merchant asks for: one Rust type stands for five requests, which differ in `typ` and in
//! whether they name a `target`.

use std::{borrow::Cow, marker::PhantomData};

use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

use super::{BatchRequest, LifecycleBody, LifecycleRequest, Operation};
use crate::schema::{self, Jws};

/// The claims of one operation's request.
pub struct ClaimsOf<O>(PhantomData<O>);

impl<O: Operation> PartialSchema for ClaimsOf<O> {
    fn schema() -> RefOr<Schema> {
        let any = LifecycleRequest::<O>::schema();
        schema::with_member(any, "target", O::ACTION.has_target())
    }
}

impl<O: Operation> ToSchema for ClaimsOf<O> {
    fn name() -> Cow<'static, str> {
        format!("{:?}Claims", O::ACTION).into()
    }

    fn schemas(found: &mut Vec<(String, RefOr<Schema>)>) {
        LifecycleRequest::<O>::schemas(found);
    }
}

/// One operation's request as it travels.
pub type OperationJws<O> = Jws<LifecycleRequest<O>, ClaimsOf<O>>;

/// The request that closes a batch, as it travels.
pub type BatchJws = Jws<BatchRequest>;

/// The body that a request travels in.
pub struct BodyOf<J>(PhantomData<J>);

impl<J: ToSchema> PartialSchema for BodyOf<J> {
    fn schema() -> RefOr<Schema> {
        schema::with_schema_of(LifecycleBody::schema(), "request", schema::reference::<J>())
    }
}

impl<J: ToSchema> ToSchema for BodyOf<J> {
    fn name() -> Cow<'static, str> {
        let compact = J::name();
        format!("{}Body", compact.strip_suffix("Jws").unwrap_or(&compact)).into()
    }

    fn schemas(found: &mut Vec<(String, RefOr<Schema>)>) {
        schema::components::<J>(found);
    }
}
