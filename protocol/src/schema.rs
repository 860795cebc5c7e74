//! JSON Schema (2020-12) of what serde can't tell a derive: compact signed and sealed messages, texts of
//! fixed-length bytes, bounded integers. The schemas of plain members are derived beside their types.
//!
//! The services' OpenAPI documents are made of these; nothing is checked with them.

use std::{borrow::Cow, marker::PhantomData};

use serde_json::{Value, json};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        Object, ObjectBuilder, Ref, RefOr, Schema, Type,
        extensions::Extensions,
        schema::{ArrayBuilder, SchemaType},
    },
};

use crate::{
    dual_signature::DualSignature,
    json::INTEGER_MAX,
    jws::{ALG, Message, X5C_MAX},
    order_information::{DISCLOSURE_BYTES_MAX, OrderInformation},
    payment_information::PaymentInformation,
    sd_jwt::{DisclosedClaim, SALT_CHARACTERS},
    sealed_payment,
};

/// The characters of base64url without padding.
const BASE64URL: &str = "[A-Za-z0-9_-]";

/// ES256: 64 bytes are 86 characters.
const SIGNATURE_CHARACTERS: usize = 86;

/// A text of a pattern.
pub fn text(pattern: impl Into<String>, description: impl Into<String>) -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some(pattern.into()))
        .description(Some(description.into()))
        .build()
}

/// One of some texts.
pub fn one_of(texts: impl IntoIterator<Item = &'static str>, description: &str) -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(texts))
        .description(Some(description))
        .build()
}

/// An integer within bounds, both included.
pub fn integer(minimum: u64, maximum: u64, description: &str) -> Object {
    let bound = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(bound(minimum)))
        .maximum(Some(bound(maximum)))
        .description(Some(description))
        .build()
}

/// The pattern of canonical base64url of so many bytes: the unused bits of its last character are zero.
pub fn base64url_pattern(bytes: usize) -> String {
    let whole = bytes / 3 * 4;
    match bytes % 3 {
        1 => format!("^{BASE64URL}{{{}}}[AQgw]$", whole + 1),
        2 => format!("^{BASE64URL}{{{}}}[AEIMQUYcgkosw048]$", whole + 2),
        _ => format!("^{BASE64URL}{{{whole}}}$"),
    }
}

/// The reference to a type's component.
pub fn reference<T: ToSchema>() -> RefOr<Schema> {
    RefOr::Ref(Ref::from_schema_name(T::name()))
}

/// A type's own component and those that it refers to.
pub fn components<T: ToSchema>(components: &mut Vec<(String, RefOr<Schema>)>) {
    components.push((T::name().into_owned(), T::schema()));
    T::schemas(components);
}

/// Any integer that a message may have: 0..2^53-1.
pub enum Integer {}

impl PartialSchema for Integer {
    fn schema() -> RefOr<Schema> {
        integer(
            0,
            INTEGER_MAX,
            "A whole number that every JSON reader keeps exact.",
        )
        .into()
    }
}

impl ToSchema for Integer {}

/// A DER certificate or CRL in standard base64 with padding.
pub enum Base64Der {}

impl PartialSchema for Base64Der {
    fn schema() -> RefOr<Schema> {
        let mut schema = text(
            "^([A-Za-z0-9+/]{4})+([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$",
            "DER in standard base64 with padding.",
        );
        schema.content_encoding = "base64".to_owned();
        schema.into()
    }
}

impl ToSchema for Base64Der {}

/// A certificate chain in standard base64, leaf first, anchor left out.
pub enum Chain {}

impl PartialSchema for Chain {
    fn schema() -> RefOr<Schema> {
        ArrayBuilder::new()
            .items(reference::<Base64Der>())
            .min_items(Some(1))
            .max_items(Some(X5C_MAX))
            .description(Some("A certificate chain: leaf first, anchor left out."))
            .build()
            .into()
    }
}

impl ToSchema for Chain {
    fn schemas(found: &mut Vec<(String, RefOr<Schema>)>) {
        components::<Base64Der>(found);
    }
}

/// A signed message in compact form, whose claims are a component of their own: the message's schema, or another
/// that says more.
pub struct Jws<T, C = T>(PhantomData<(T, C)>);

impl<T: Message, C: ToSchema> PartialSchema for Jws<T, C> {
    fn schema() -> RefOr<Schema> {
        let compact = text(
            format!("^{BASE64URL}+\\.{BASE64URL}+\\.{BASE64URL}{{{SIGNATURE_CHARACTERS}}}$"),
            format!(
                "A JWS in compact form (RFC 7515), {ALG}, `typ` `{}`, signed by the {}. Its payload is `{}`.",
                T::TYP,
                T::SIGNER,
                C::name()
            ),
        );
        let content = [header::<T>(), referred::<C>()];
        encoded(compact, T::TYP, &content).into()
    }
}

impl<T: Message, C: ToSchema> ToSchema for Jws<T, C> {
    fn name() -> Cow<'static, str> {
        let claims = C::name();
        format!("{}Jws", claims.strip_suffix("Claims").unwrap_or(&claims)).into()
    }

    fn schemas(found: &mut Vec<(String, RefOr<Schema>)>) {
        components::<C>(found);
        components::<Chain>(found);
    }
}

/// `<DS>~`: the dual signature as the gateway gets it, no disclosure beside it.
pub enum GatewayHalf {}

impl PartialSchema for GatewayHalf {
    fn schema() -> RefOr<Schema> {
        let half = text(
            format!("^{BASE64URL}+\\.{BASE64URL}+\\.{BASE64URL}{{{SIGNATURE_CHARACTERS}}}~$"),
            format!(
                "`<DS>~`: the dual signature, the signed part of an SD-JWT (RFC 9901), {ALG}, `typ` `{}`, signed by \
                 the payer. Its payload is `{}`. No disclosure is beside it: PI is sealed.",
                DualSignature::TYP,
                DualSignature::name()
            ),
        );
        let content = [header::<DualSignature>(), referred::<DualSignature>()];
        encoded(half, DualSignature::TYP, &content).into()
    }
}

impl ToSchema for GatewayHalf {
    fn name() -> Cow<'static, str> {
        "DualSignature".into()
    }

    fn schemas(found: &mut Vec<(String, RefOr<Schema>)>) {
        components::<DualSignature>(found);
        components::<Chain>(found);
    }
}

/// `<DS>~<OI disclosure>~`: the dual signature as the merchant gets it.
pub enum MerchantHalf {}

impl PartialSchema for MerchantHalf {
    fn schema() -> RefOr<Schema> {
        let half = text(
            format!(
                "^{BASE64URL}+\\.{BASE64URL}+\\.{BASE64URL}{{{SIGNATURE_CHARACTERS}}}~{BASE64URL}+~$"
            ),
            format!(
                "`<DS>~<OI disclosure>~`: an SD-JWT (RFC 9901), {ALG}, `typ` `{}`, signed by the payer. Its payload is \
                 `{}`; the disclosure is base64url of `[salt, \"{}\", OrderInformation]`, at most \
                 {DISCLOSURE_BYTES_MAX} characters.",
                DualSignature::TYP,
                DualSignature::name(),
                OrderInformation::NAME
            ),
        );
        let content = [
            header::<DualSignature>(),
            referred::<DualSignature>(),
            disclosure::<OrderInformation>(),
        ];
        encoded(half, DualSignature::TYP, &content).into()
    }
}

impl ToSchema for MerchantHalf {
    fn name() -> Cow<'static, str> {
        "DualSignatureWithOrder".into()
    }

    fn schemas(found: &mut Vec<(String, RefOr<Schema>)>) {
        components::<DualSignature>(found);
        components::<OrderInformation>(found);
        components::<Chain>(found);
    }
}

/// The sealed PI, a compact JWE.
pub enum SealedPaymentInformation {}

impl PartialSchema for SealedPaymentInformation {
    fn schema() -> RefOr<Schema> {
        let compact = text(
            format!(
                "^{BASE64URL}+\\.\\.{BASE64URL}{{16}}\\.{BASE64URL}+\\.{BASE64URL}{{21}}[AQgw]$"
            ),
            format!(
                "PI sealed to the gateway: a compact JWE (RFC 7516), `typ` `{}`. Its plaintext is base64url of \
                 `[salt, \"{}\", PaymentInformation]`, padded on the right with `~` to a multiple of {} bytes, at most \
                 {}.",
                sealed_payment::TYP,
                PaymentInformation::NAME,
                sealed_payment::BLOCK_BYTES,
                sealed_payment::PLAINTEXT_BYTES_MAX
            ),
        );
        let content = [json!({ "$ref": "#/components/schemas/SealedPaymentHeader" })];
        encoded(compact, sealed_payment::TYP, &content).into()
    }
}

impl ToSchema for SealedPaymentInformation {
    fn schemas(found: &mut Vec<(String, RefOr<Schema>)>) {
        sealed_payment::header_components(found);
        components::<PaymentInformation>(found);
    }
}

/// A text whose decoded parts are described too, as JSON Schema does for a JWT (validation, section 8.6).
fn encoded(mut text: Object, typ: &str, content: &[Value]) -> Object {
    // A `typ` without a slash leaves out `application/` (RFC 7515 section 4.1.9).
    text.content_media_type = format!("application/{typ}");
    let mut schema = json!({
        "type": "array",
        "description": "Its parts, decoded.",
        "prefixItems": content,
        "minItems": content.len(),
    });
    // serde_json keeps the order of members when anything in the build asks it to; the text must not depend on that.
    schema.sort_all_objects();
    text.extensions = Some(Extensions::from_iter([("contentSchema", schema)]));
    text
}

fn referred<T: ToSchema>() -> Value {
    json!({ "$ref": format!("#/components/schemas/{}", T::name()) })
}

fn header<T: Message>() -> Value {
    json!({
        "type": "object",
        "properties": {
            "alg": { "const": ALG },
            "typ": { "const": T::TYP },
            "x5c": referred::<Chain>(),
        },
        "required": ["alg", "typ", "x5c"],
        "additionalProperties": false,
    })
}

fn disclosure<T: DisclosedClaim + ToSchema>() -> Value {
    json!({
        "type": "array",
        "prefixItems": [
            {
                "type": "string",
                "pattern": format!("^{BASE64URL}+$"),
                "minLength": SALT_CHARACTERS.start(),
                "maxLength": SALT_CHARACTERS.end(),
            },
            { "const": T::NAME },
            referred::<T>(),
        ],
        "minItems": 3,
        "maxItems": 3,
    })
}

/// The same object, with a member that must be there, or that is not.
pub(crate) fn with_member(schema: RefOr<Schema>, member: &str, is_there: bool) -> RefOr<Schema> {
    let RefOr::T(Schema::Object(mut object)) = schema else {
        return schema;
    };
    if is_there {
        object.required.push(member.to_owned());
    } else {
        object.properties.remove(member);
    }
    object.into()
}

/// The same object, with another schema of a member.
pub(crate) fn with_schema_of(
    schema: RefOr<Schema>,
    member: &str,
    other: RefOr<Schema>,
) -> RefOr<Schema> {
    let RefOr::T(Schema::Object(mut object)) = schema else {
        return schema;
    };
    object.properties.insert(member.to_owned(), other);
    object.into()
}

/// An object of exactly these members, all of them there.
pub(crate) fn object(
    members: impl IntoIterator<Item = (&'static str, RefOr<Schema>)>,
    description: &str,
) -> Object {
    let mut object = Object::with_type(SchemaType::new(Type::Object));
    object.description = Some(description.to_owned());
    object.additional_properties = Some(Box::new(
        utoipa::openapi::schema::AdditionalProperties::FreeForm(false),
    ));
    for (name, schema) in members {
        object.properties.insert(name.to_owned(), schema);
        object.required.push(name.to_owned());
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_have_as_many_characters_as_the_texts() {
        assert_eq!(base64url_pattern(16), "^[A-Za-z0-9_-]{21}[AQgw]$");
        assert_eq!(
            base64url_pattern(32),
            "^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$"
        );
    }
}
