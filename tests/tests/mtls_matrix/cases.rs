//! The table of the matrix: what is shown, and how docs/PROTOCOL.md section 1 has it judged.

use protocol::problem::Problem;
use rustls::AlertDescription;

use crate::pki::{Pki, Shown, Wanted};

/// One row: a certificate, and what is to come of it wherever it is shown.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) make: fn(&Pki, &Wanted) -> Shown,
    pub(crate) judged: Judged,
}

/// What comes of a certificate.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Judged {
    /// It is good.
    Taken,
    /// It is refused, and our log has this problem and this reason.
    Refused(Problem, &'static str),
    /// It may be good, but whoever shows it does not have its key.
    NotProven,
}

impl Judged {
    /// All that the other side is told. It is one alert whatever is wrong with a certificate.
    pub(crate) fn alert(self) -> Option<AlertDescription> {
        match self {
            Judged::Taken => None,
            Judged::Refused(..) => Some(AlertDescription::CertificateUnknown),
            Judged::NotProven => Some(AlertDescription::DecryptError),
        }
    }

    /// What our log has to say of why it is not taken.
    pub(crate) fn reason(self) -> Option<&'static str> {
        match self {
            Judged::Taken => None,
            Judged::Refused(_, reason) => Some(reason),
            Judged::NotProven => Some("BadSignature"),
        }
    }

    /// Holds what our log says of it against the table.
    pub(crate) fn check_log(self, said: &str) {
        let Some(reason) = self.reason() else { return };
        let what = match self {
            Judged::Refused(problem, _) => format!("{problem}: "),
            _ => "invalid peer certificate: ".to_owned(),
        };
        let (_, detail) = said
            .split_once(&what)
            .unwrap_or_else(|| panic!("{self:?}, but the log says: {said}"));
        assert!(
            detail.contains(reason),
            "{self:?}, but the log says: {said}"
        );
    }
}

/// A test for each row, made with the named macro.
macro_rules! every_certificate {
    ($judge:path) => {
        each! { $judge;
            a_valid_certificate_is_taken: valid => Taken;
            one_for_both_sides_of_tls_is_taken: for_both_sides => Taken;
            one_without_a_key_identifier_is_taken: without_key_identifier => Taken;

            // Dates hold to the second; no skew is allowed.
            one_that_begins_this_second_is_taken: begins_now => Taken;
            one_that_ends_in_a_minute_is_taken: ends_in_a_minute => Taken;
            one_that_ended_a_second_ago_is_refused: ended_a_second_ago
                => Refused(CertificateExpired, "CertExpired");
            one_that_begins_in_a_minute_is_refused: begins_in_a_minute
                => Refused(CertificateExpired, "CertNotValidYet");
            a_revoked_one_is_refused: revoked
                => Refused(CertificateRevoked, "was revoked");

            // Whom it leads to.
            one_of_another_role_s_ca_is_refused: of_another_roles_ca
                => Refused(RoleMismatch, "issued by a ");
            one_that_signed_itself_is_refused: self_signed
                => Refused(CertificateUntrusted, "UnknownIssuer");
            one_of_an_unknown_ca_is_refused: of_an_unknown_ca
                => Refused(CertificateUntrusted, "UnknownIssuer");
            one_of_another_ca_with_our_ca_s_name_and_key_identifier_is_refused: of_a_namesake
                => Refused(CertificateUntrusted, "InvalidSignatureForPublicKey");
            one_of_the_root_itself_is_refused: of_the_root
                => Refused(CertificateUntrusted, "UnknownIssuer");
            one_of_a_ca_below_the_issuing_ca_is_refused: below_the_issuing_ca
                => Refused(CertificateUntrusted, "above the anchor's path length");
            one_whose_path_is_too_long_for_a_ca_in_it_is_refused: above_a_path_length
                => Refused(CertificateUntrusted, "PathLenConstraintViolated");
            one_of_a_party_that_is_no_ca_is_refused: below_a_party
                => Refused(CertificateUntrusted, "EndEntityUsedAsCa");
            a_chain_that_is_too_long_is_refused: in_a_chain_of_five
                => Refused(CertificateUntrusted, "a chain of 5");
            one_with_its_ca_beside_it_is_refused: with_the_anchor
                => Refused(CertificateUntrusted, "not of the path");

            // What it is for.
            one_for_the_other_side_of_tls_is_refused: for_the_other_side
                => Refused(RoleMismatch, "used for Tls");
            one_that_signs_messages_is_refused: for_messages
                => Refused(RoleMismatch, "MessageSigning, used for Tls");
            one_with_a_further_purpose_is_refused: with_a_further_purpose
                => Refused(CertificateUntrusted, "the extended key usage is of no profile");
            one_for_any_purpose_is_refused: for_any_purpose
                => Refused(CertificateUntrusted, "the extended key usage is of no profile");
            one_without_a_purpose_is_refused: without_purpose
                => Refused(CertificateUntrusted, "without extended key usage");
            one_with_another_key_usage_is_refused: with_another_key_usage
                => Refused(CertificateUntrusted, "key usage [");
            one_with_a_further_key_usage_is_refused: with_a_further_key_usage
                => Refused(CertificateUntrusted, "key usage [");
            one_without_a_key_usage_is_refused: without_key_usage
                => Refused(CertificateUntrusted, "no key usage");
            a_ca_s_certificate_is_refused: of_a_ca
                => Refused(CertificateUntrusted, "CaUsedAsEndEntity");

            // Whose it is.
            one_with_another_role_s_name_is_refused: with_another_roles_name
                => Refused(RoleMismatch, "'s name is wanted");
            one_with_two_names_is_refused: with_two_names
                => Refused(CertificateUntrusted, "2 URI names, not one");
            one_without_a_urn_is_refused: without_urn
                => Refused(CertificateUntrusted, "0 URI names, not one");
            one_with_a_common_name_alone_is_refused: without_alternative_names
                => Refused(CertificateUntrusted, "no subject alternative name");

            // Its key.
            one_of_an_rsa_key_is_refused: of_rsa
                => Refused(CertificateUntrusted, "the public key is not one of P-256");
            one_of_a_p_384_key_is_refused: of_p384
                => Refused(CertificateUntrusted, "the public key is not one of P-256");
            one_of_an_ed25519_key_is_refused: of_ed25519
                => Refused(CertificateUntrusted, "the public key is not one of P-256");
            one_whose_key_somebody_else_has_is_refused: without_its_key => NotProven;

            what_is_no_certificate_is_refused: no_certificate
                => Refused(CertificateUntrusted, "BadDer");
        }
    };
}

/// The rows of [`every_certificate`] as tests.
macro_rules! each {
    ($judge:path; $($name:ident: $make:ident => $judged:expr;)*) => {
        $(
            #[test]
            fn $name() {
                #[allow(unused_imports, reason = "not every row needs all of it")]
                use {crate::cases::Judged::*, protocol::problem::Problem::*};
                $judge(&crate::cases::Case {
                    name: stringify!($name),
                    make: crate::certificates::$make,
                    judged: $judged,
                });
            }
        )*
    };
}
