//! The DER form of an ECDSA signature (RFC 3279 section 2.2.3), which TLS and X.509 use where PKCS#11 and
//! JWS have r‖s.

const INTEGER: u8 = 0x02;
const SEQUENCE: u8 = 0x30;

/// Writes r‖s as a SEQUENCE of two INTEGERs.
pub fn der(signature: &[u8; 64]) -> Vec<u8> {
    let (r, s) = signature.split_at(32);
    let mut integers = Vec::with_capacity(70);
    for number in [r, s] {
        push_integer(&mut integers, number);
    }
    let mut der = Vec::with_capacity(integers.len() + 2);
    der.push(SEQUENCE);
    // Two integers of at most 33 bytes need no long form.
    der.push(integers.len() as u8);
    der.append(&mut integers);
    der
}

fn push_integer(der: &mut Vec<u8>, number: &[u8]) {
    let zeros = number.iter().take_while(|&&byte| byte == 0).count();
    // Zero itself is one byte long.
    let digits = &number[zeros.min(number.len() - 1)..];
    let is_negative_looking = digits[0] & 0x80 != 0;
    der.push(INTEGER);
    der.push((digits.len() + usize::from(is_negative_looking)) as u8);
    if is_negative_looking {
        der.push(0);
    }
    der.extend_from_slice(digits);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_short_and_never_look_negative() {
        let mut signature = [0; 64];
        signature[31] = 0x7f;
        signature[32] = 0x80;
        let der = der(&signature);
        assert_eq!(der[..7], [0x30, 38, 2, 1, 0x7f, 2, 33]);
        assert_eq!(der[7..9], [0, 0x80]);
        assert_eq!(der.len(), 40);
    }
}
