//! Certificates alone in a PKCS#7 message: SignedData without signers (RFC 5652 section 5.1), as EST answers.

use rustls_pki_types::CertificateDer;

use crate::der::{
    self, CONTEXT_0, INTEGER, OBJECT_IDENTIFIER, Reader, SEQUENCE, SET, element, elements,
};

/// id-signedData.
const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 2];

/// id-data.
const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1];

/// More than any answer of ours has.
const CERTIFICATES_MAX: usize = 16;

/// The bytes are no certs-only message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a PKCS#7 message of certificates alone")]
pub struct NotCertsOnly;

/// Writes certificates, in DER.
pub fn write(certificates: &[CertificateDer<'_>]) -> Vec<u8> {
    // DER orders the elements of a set (X.690 section 11.6).
    let mut sorted: Vec<&[u8]> = certificates.iter().map(AsRef::as_ref).collect();
    sorted.sort_unstable();
    let signed_data = elements(
        SEQUENCE,
        &[
            &element(INTEGER, &[1]),
            &element(SET, &[]),
            &elements(SEQUENCE, &[&element(OBJECT_IDENTIFIER, DATA)]),
            &elements(CONTEXT_0, &sorted),
            &element(SET, &[]),
        ],
    );
    elements(
        SEQUENCE,
        &[
            &element(OBJECT_IDENTIFIER, SIGNED_DATA),
            &elements(CONTEXT_0, &[&signed_data]),
        ],
    )
}

/// Reads certificates; nothing is said of what they are good for.
///
/// # Errors
/// When it is another message, or has none or too many.
pub fn read(message: &[u8]) -> Result<Vec<CertificateDer<'static>>, NotCertsOnly> {
    certificates(message)
        .filter(|found| (1..=CERTIFICATES_MAX).contains(&found.len()))
        .ok_or(NotCertsOnly)
}

fn certificates(message: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let mut outer = Reader::new(message);
    let mut content_info = Reader::new(outer.contents_of(SEQUENCE)?);
    if !outer.is_at_end() || content_info.contents_of(OBJECT_IDENTIFIER)? != SIGNED_DATA {
        return None;
    }
    let mut explicit = Reader::new(content_info.contents_of(CONTEXT_0)?);
    let mut signed_data = Reader::new(explicit.contents_of(SEQUENCE)?);
    signed_data.contents_of(INTEGER)?;
    signed_data.contents_of(SET)?;
    signed_data.contents_of(SEQUENCE)?;
    let mut set = Reader::new(signed_data.contents_of(CONTEXT_0)?);
    let mut found = Vec::new();
    while !set.is_at_end() {
        let der::Element { tag, whole, .. } = set.next()?;
        if tag != SEQUENCE {
            return None;
        }
        found.push(CertificateDer::from(whole.to_vec()));
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(filling: u8, length: usize) -> CertificateDer<'static> {
        element(SEQUENCE, &vec![filling; length]).into()
    }

    #[test]
    fn certificates_are_read_again_in_the_order_of_der() {
        let long = certificate(1, 700);
        let short = certificate(2, 3);
        let message = write(&[long.clone(), short.clone()]);
        assert_eq!(read(&message).unwrap(), [short, long]);
    }

    #[test]
    fn what_is_cut_off_empty_or_another_message_is_refused() {
        let message = write(&[certificate(1, 700)]);
        for length in 0..message.len() {
            assert_eq!(read(&message[..length]), Err(NotCertsOnly), "{length}");
        }
        assert_eq!(read(&write(&[])), Err(NotCertsOnly));
        let many = vec![certificate(1, 3); CERTIFICATES_MAX + 1];
        assert_eq!(read(&write(&many)), Err(NotCertsOnly));
        let mut longer = message.clone();
        longer.push(0);
        assert_eq!(read(&longer), Err(NotCertsOnly));
        assert_eq!(read(&certificate(1, 700)), Err(NotCertsOnly));
    }
}
