//! TLS to a database server: no party of the protocol, known by a CA of the operator's.

use std::{path::Path, sync::Arc};

use rustls::{ClientConfig, RootCertStore};

use crate::{pem::PemFileError, provider};

/// Why there is no TLS to the server.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseTlsError {
    /// The CA's file is not as it should be.
    #[error(transparent)]
    File(#[from] PemFileError),
    /// It holds something else than a CA certificate.
    #[error("the CA of the database can't be used: {0}")]
    Ca(#[from] rustls::Error),
}

/// TLS 1.3 with a server whose certificate a CA in this PEM file issued, for the host that is connected to.
///
/// # Errors
/// When the file holds no CA certificate.
pub fn database_tls(ca: &Path) -> Result<ClientConfig, DatabaseTlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in crate::pem::certificates(ca)? {
        roots.add(certificate)?;
    }
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}
