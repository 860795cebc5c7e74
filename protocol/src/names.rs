//! The names of parties: `urn:twinseal:<role>:<id>`, a private, unregistered URN namespace.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

use crate::schema;

/// What a party is in a payment. Each role has an issuing CA of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// The payer's terminal.
    Client,
    /// The shop.
    Merchant,
    /// The payment gateway.
    Gateway,
}

impl Role {
    /// Every role, in the order of the exchange.
    pub const ALL: [Role; 3] = [Role::Client, Role::Merchant, Role::Gateway];

    /// The word in the URN.
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::Client => "client",
            Role::Merchant => "merchant",
            Role::Gateway => "gateway",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that is not the name of a party, or not of the wanted role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAName {
    /// Not of the form `urn:twinseal:<role>:<id>`.
    #[error(
        "not urn:twinseal:<client|merchant|gateway>:<id> with an id of [a-z0-9][a-z0-9-]{{0,62}}"
    )]
    Form,
    /// A party's name, but of another role.
    #[error("the name of a {found} where a {wanted}'s is wanted")]
    OtherRole {
        /// The role that was asked for.
        wanted: Role,
        /// The role in the name.
        found: Role,
    },
}

/// The name of a party of any role.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartyName {
    role: Role,
    urn: String,
}

const NAMESPACE: &str = "urn:twinseal:";

impl PartyName {
    /// Makes a name from its parts.
    ///
    /// # Errors
    /// When the id is not `[a-z0-9][a-z0-9-]{0,62}`.
    pub fn new(role: Role, id: &str) -> Result<Self, NotAName> {
        format!("{NAMESPACE}{role}:{id}").parse()
    }

    /// The role in the name.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The whole URN.
    pub fn as_str(&self) -> &str {
        &self.urn
    }

    /// What follows the role.
    pub fn id(&self) -> &str {
        self.urn.rsplit(':').next().unwrap_or_default()
    }
}

impl FromStr for PartyName {
    type Err = NotAName;
    fn from_str(urn: &str) -> Result<Self, NotAName> {
        let (role, id) = urn
            .strip_prefix(NAMESPACE)
            .and_then(|rest| rest.split_once(':'))
            .ok_or(NotAName::Form)?;
        let role = Role::ALL
            .into_iter()
            .find(|candidate| candidate.as_str() == role)
            .ok_or(NotAName::Form)?;
        let id_is_well_formed = (1..=63).contains(&id.len())
            && !id.starts_with('-')
            && id
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if !id_is_well_formed {
            return Err(NotAName::Form);
        }
        Ok(Self {
            role,
            urn: urn.to_owned(),
        })
    }
}

impl fmt::Display for PartyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.urn)
    }
}

impl fmt::Debug for PartyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.urn)
    }
}

const ID_PATTERN: &str = "[a-z0-9][a-z0-9-]{0,62}";

impl PartialSchema for PartyName {
    fn schema() -> RefOr<Schema> {
        let roles = Role::ALL.map(Role::as_str).join("|");
        schema::text(
            format!("^{NAMESPACE}({roles}):{ID_PATTERN}$"),
            "The name of a party of any role.",
        )
        .into()
    }
}

impl ToSchema for PartyName {}

impl Serialize for PartyName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.urn)
    }
}

impl<'de> Deserialize<'de> for PartyName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let urn = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        urn.parse().map_err(D::Error::custom)
    }
}

macro_rules! name_of_role {
    ($(#[doc = $doc:literal])* $name:ident, $role:expr) => {
        $(#[doc = $doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(PartyName);

        impl $name {
            /// Makes a name from its id.
            ///
            /// # Errors
            /// When the id is not `[a-z0-9][a-z0-9-]{0,62}`.
            pub fn new(id: &str) -> Result<Self, NotAName> {
                PartyName::new($role, id).map(Self)
            }

            /// The whole URN.
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }

            /// What follows the role.
            pub fn id(&self) -> &str {
                self.0.id()
            }

            /// The same name without its role's type.
            pub fn party(&self) -> &PartyName {
                &self.0
            }
        }

        impl TryFrom<PartyName> for $name {
            type Error = NotAName;
            fn try_from(name: PartyName) -> Result<Self, NotAName> {
                if name.role == $role {
                    Ok(Self(name))
                } else {
                    Err(NotAName::OtherRole { wanted: $role, found: name.role })
                }
            }
        }

        impl FromStr for $name {
            type Err = NotAName;
            fn from_str(urn: &str) -> Result<Self, NotAName> {
                urn.parse::<PartyName>()?.try_into()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let description = concat!($($doc),*).trim();
                schema::text(format!("^{NAMESPACE}{}:{ID_PATTERN}$", $role), description).into()
            }
        }

        impl ToSchema for $name {}

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let urn = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                urn.parse().map_err(D::Error::custom)
            }
        }
    };
}

name_of_role!(
    /// `urn:twinseal:client:<id>`; the id is random and says nothing of the person.
    ClientName,
    Role::Client
);
name_of_role!(
    /// `urn:twinseal:merchant:<id>`.
    MerchantName,
    Role::Merchant
);
name_of_role!(
    /// `urn:twinseal:gateway:<id>`.
    GatewayName,
    Role::Gateway
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_a_role_and_an_id() {
        let name: MerchantName = "urn:twinseal:merchant:books-4".parse().unwrap();
        assert_eq!(name.id(), "books-4");
        assert_eq!(name, MerchantName::new("books-4").unwrap());
    }

    #[test]
    fn look_alikes_upper_case_and_other_schemes_are_no_names() {
        for bad in [
            "urn:twinseal:merchant:Books",
            "URN:twinseal:merchant:books",
            "urn:twinseal:merchant:bооks",
            "urn:twinseal:merchant:-books",
            "urn:twinseal:merchant:books:2",
            "urn:twinseal:merchant:",
            "urn:twinseal:shop:books",
            "https://twinseal/merchant/books",
        ] {
            assert_eq!(bad.parse::<PartyName>(), Err(NotAName::Form), "{bad}");
        }
        let long = format!("urn:twinseal:client:{}", "a".repeat(64));
        assert_eq!(long.parse::<PartyName>(), Err(NotAName::Form));
    }

    #[test]
    fn a_name_of_another_role_does_not_pass() {
        assert_eq!(
            "urn:twinseal:client:a".parse::<GatewayName>(),
            Err(NotAName::OtherRole {
                wanted: Role::Gateway,
                found: Role::Client
            })
        );
    }
}
