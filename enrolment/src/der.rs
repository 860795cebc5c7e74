//! The little of DER (X.690) that EST needs: a tag, a length, contents.

pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(crate) const UTF8_STRING: u8 = 0x0c;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;
/// `[0]` with contents of its own elements.
pub(crate) const CONTEXT_0: u8 = 0xa0;

/// An element.
pub(crate) fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
    let mut written = vec![tag];
    let length = contents.len().to_be_bytes();
    let significant = length
        .iter()
        .position(|byte| *byte != 0)
        .unwrap_or(length.len() - 1);
    let significant = &length[significant..];
    if contents.len() > 127 {
        // At most eight bytes of length: their number fits.
        written.push(0x80 | significant.len() as u8);
    }
    written.extend_from_slice(significant);
    written.extend_from_slice(contents);
    written
}

/// An element of these others.
pub(crate) fn elements(tag: u8, others: &[&[u8]]) -> Vec<u8> {
    element(tag, &others.concat())
}

/// Elements, one after the other.
pub(crate) struct Reader<'a>(&'a [u8]);

/// An element that was read.
pub(crate) struct Element<'a> {
    pub(crate) tag: u8,
    pub(crate) contents: &'a [u8],
    /// With tag and length.
    pub(crate) whole: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }

    /// The next element: `None` at the end, and for what is not one.
    pub(crate) fn next(&mut self) -> Option<Element<'a>> {
        let (&tag, rest) = self.0.split_first()?;
        // Tags of several bytes are of nothing that is read here.
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x84 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                let length = bytes
                    .iter()
                    .fold(0, |length: usize, byte| (length << 8) | usize::from(*byte));
                (length, rest)
            }
            _ => return None,
        };
        let (contents, rest) = rest.split_at_checked(length)?;
        let whole = &self.0[..self.0.len() - rest.len()];
        self.0 = rest;
        Some(Element {
            tag,
            contents,
            whole,
        })
    }

    /// The contents of the next element, which must have this tag.
    pub(crate) fn contents_of(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next()
            .filter(|element| element.tag == tag)
            .map(|element| element.contents)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_whatever_its_length() {
        for length in [0, 1, 127, 128, 255, 256, 65_536] {
            let contents = vec![7; length];
            let written = element(SEQUENCE, &contents);
            let mut reader = Reader::new(&written);
            let element = reader.next().unwrap();
            assert_eq!((element.tag, element.contents), (SEQUENCE, &contents[..]));
            assert_eq!(element.whole, written);
            assert!(reader.is_at_end());
            // One byte less, and it is none.
            assert!(Reader::new(&written[..written.len() - 1]).next().is_none());
        }
    }

    #[test]
    fn lengths_that_are_not_definite_or_too_long_are_refused() {
        for bytes in [
            &[0x30][..],
            &[0x30, 0x80, 0, 0],
            &[0x30, 0x85, 0, 0, 0, 0, 0],
            &[0x1f, 0],
        ] {
            assert!(Reader::new(bytes).next().is_none(), "{bytes:?}");
        }
    }
}
