//! A canary: a text that no file, log or answer is to have, and the search for it.

use std::fs;

use crate::place::Place;

/// The files of a directory that a text stands in, as it is or as base64 has it.
pub fn found_in(place: &Place, directory: &str, text: &str) -> Vec<String> {
    place
        .files(directory)
        .into_iter()
        .filter(|path| is_in(&fs::read(path).unwrap(), text))
        .map(|path| path.display().to_string())
        .collect()
}

/// Whether a text stands in what was said, as it is or as base64 has it.
pub fn is_in(said: &[u8], text: &str) -> bool {
    forms(text)
        .iter()
        .any(|form| said.windows(form.len()).any(|window| window == form))
}

/// A text, and what of its base64url form does not depend on what stands before and after.
fn forms(text: &str) -> Vec<Vec<u8>> {
    let mut forms = vec![text.as_bytes().to_vec()];
    for shift in 0..3 {
        let shifted = ["", "xx", "x"][shift].to_owned() + text;
        let encoded = protocol::encoding::base64url(shifted.as_bytes());
        let inner = &encoded[4 * usize::from(shift > 0)..encoded.len() - 4];
        forms.push(inner.as_bytes().to_vec());
    }
    forms
}
