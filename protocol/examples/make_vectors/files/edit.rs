//! Changes to a message on its way to being sent, as changes of text.

use protocol::encoding;
use serde_json::Value;

/// A change. What comes out need not be what the format wants.
pub type Edit = Box<dyn Fn(String) -> String>;

/// Sets a member, or an element, by its JSON pointer (RFC 6901); adds it when it is not there.
pub fn set(pointer: &'static str, value: impl Into<Value>) -> Edit {
    let value = value.into();
    on_json(move |json| {
        if let Some(there) = json.pointer_mut(pointer) {
            *there = value.clone();
            return;
        }
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let parent = json.pointer_mut(parent).unwrap();
        parent
            .as_object_mut()
            .unwrap()
            .insert(name.to_owned(), value.clone());
    })
}

/// Takes a member away.
pub fn remove(pointer: &'static str) -> Edit {
    on_json(move |json| {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let parent = json.pointer_mut(parent).unwrap();
        parent.as_object_mut().unwrap().remove(name).unwrap();
    })
}

/// Puts the values of an object's members, in their order, in the place of the object.
pub fn as_array(pointer: &'static str) -> Edit {
    on_json(move |json| {
        let object = json.pointer_mut(pointer).unwrap();
        let values = object.as_object().unwrap().values().cloned();
        *object = Value::Array(values.collect());
    })
}

/// Changes JSON as a value; its members keep their order.
pub fn on_json(change: impl Fn(&mut Value) + 'static) -> Edit {
    Box::new(move |text| {
        let mut json = serde_json::from_str(&text).unwrap();
        change(&mut json);
        json.to_string()
    })
}

/// Writes a part of the text anew, once; for what no JSON writer writes.
pub fn put(from: &'static str, to: impl Into<String>) -> Edit {
    let to = to.into();
    Box::new(move |text| {
        assert!(text.contains(from), "{from} is not in {text}");
        text.replacen(from, &to, 1)
    })
}

/// Another text altogether.
pub fn whole(to: impl Into<String>) -> Edit {
    let to = to.into();
    Box::new(move |_| to.clone())
}

/// Text after it.
pub fn append(what: &'static str) -> Edit {
    Box::new(move |text| text + what)
}

/// Text before it.
pub fn prepend(what: &'static str) -> Edit {
    Box::new(move |text| format!("{what}{text}"))
}

/// Changes one part of a compact token.
pub fn part(number: usize, change: impl Fn(&str) -> String + 'static) -> Edit {
    Box::new(move |text| {
        let mut parts: Vec<String> = text.split('.').map(str::to_owned).collect();
        parts[number] = change(&parts[number]);
        parts.join(".")
    })
}

/// Changes the bytes behind one part of a compact token.
pub fn bytes_of_part(number: usize, change: impl Fn(&mut Vec<u8>) + 'static) -> Edit {
    part(number, move |text| {
        let mut bytes = encoding::base64url_decode(text).unwrap();
        change(&mut bytes);
        encoding::base64url(&bytes)
    })
}

/// The same bytes with the unused bits of the last character set: not canonical.
pub fn loosen(text: &str) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    assert_ne!(text.len() % 4, 0, "{text} has no unused bits");
    let (start, last) = text.split_at(text.len() - 1);
    let value = ALPHABET
        .iter()
        .position(|&letter| letter == last.as_bytes()[0])
        .unwrap();
    format!("{start}{}", ALPHABET[value | 1] as char)
}
