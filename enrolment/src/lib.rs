//! Enrolment: how a party gets its certificate, and gets it renewed, over EST (RFC 7030, RFC 8951).
//!
//! - [`asked`]: what the command line and the configuration of a party's program say of it;
//! - [`label`]: what can be enrolled for, by the label in EST's paths;
//! - [`wire`]: EST's paths, media types and base64;
//! - [`certs_only`]: certificates in a PKCS#7 message without signers (RFC 5652);
//! - [`request`]: a new key, and a PKCS#10 request (RFC 2986) that it signs;
//! - [`service`]: the enrolment service as a party asks it;
//! - [`pair`]: a key and its certificate in files, replaced together;
//! - [`renewal`]: enrolling once, and renewing when it is time.
//!
//! The service itself is `softhsm-setup serve`. Neither side decides here who may have a certificate.

pub mod asked;
pub mod certs_only;
mod der;
pub mod label;
pub mod pair;
pub mod renewal;
pub mod request;
pub mod service;
pub mod wire;
