//! The `[trust]` tables of the configurations in the provisioned directory: which issuing CAs they list, and their CRLs.

use std::{
    fs,
    path::{Path, PathBuf},
};

use protocol::names::Role;
use toml_edit::{Array, DocumentMut, Item, Value};

use crate::{
    Failure,
    ca::Ca,
    layout::{Layout, LockedLayout, Readers},
    say,
};

/// The configurations' names; they are in directories just below the provisioned one.
const NAMES: [&str; 3] = ["client.toml", "gateway.toml", "merchant.toml"];

/// A role's two lists, and the ending of the files in each.
fn lists(role: Role) -> [(String, &'static str); 2] {
    [
        (format!("{role}_ca"), "pem"),
        (format!("{role}_crl"), "crl"),
    ]
}

fn file(ca: Ca, ending: &str) -> String {
    format!("{}.{ending}", ca.file_stem())
}

/// A new configuration's text, which lists the first CA of each role, with those that there are.
pub(crate) fn as_they_are(layout: &Layout, text: &str) -> Result<String, Failure> {
    let mut changed = text.to_owned();
    for role in Role::ALL {
        let there = layout.issuing_cas(role);
        let first = Ca::first(Some(role));
        let mut former = first;
        for ca in &there {
            changed = with(&changed, role, former, *ca)?;
            former = *ca;
        }
        if !there.is_empty() && !there.contains(&first) {
            changed = without(&changed, role, first)?;
        }
    }
    Ok(changed)
}

/// Has every configuration list a CA beside a former one of its role, and tells those that it changed.
pub(crate) fn add(layout: &LockedLayout, role: Role, former: Ca, ca: Ca) -> Result<(), Failure> {
    change(layout, |text| with(text, role, former, ca))
}

/// Has no configuration list a CA, and tells those that it changed.
pub(crate) fn remove(layout: &LockedLayout, role: Role, ca: Ca) -> Result<(), Failure> {
    change(layout, |text| without(text, role, ca))
}

/// Whether every configuration that lists a former CA lists this one, too.
pub(crate) fn all_list(layout: &Layout, role: Role, former: Ca, ca: Ca) -> Result<bool, Failure> {
    for path in configurations(layout)? {
        let text = read(&path)?;
        if with(&text, role, former, ca)? != text {
            return Ok(false);
        }
    }
    Ok(true)
}

fn change(
    layout: &LockedLayout,
    changed: impl Fn(&str) -> Result<String, Failure>,
) -> Result<(), Failure> {
    let mut new = Vec::new();
    // What can't be changed is found before anything is.
    for path in configurations(layout)? {
        let text = read(&path)?;
        let changed =
            changed(&text).map_err(|error| Failure::new(format!("{}: {error}", path.display())))?;
        if changed != text {
            new.push((path, changed));
        }
    }
    for (path, text) in new {
        layout.replace(&path, text.as_bytes(), Readers::All)?;
        say(&format!("changed {}", path.display()));
    }
    Ok(())
}

fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|error| Failure::file(path, &error))
}

fn configurations(layout: &Layout) -> Result<Vec<PathBuf>, Failure> {
    let failed = |error: std::io::Error| Failure::file(layout.root(), &error);
    let mut found = Vec::new();
    for entry in fs::read_dir(layout.root()).map_err(failed)? {
        let directory = entry.map_err(failed)?.path();
        let named = NAMES.iter().map(|name| directory.join(name));
        found.extend(named.filter(|path| path.is_file()));
    }
    found.sort();
    Ok(found)
}

/// The text with a CA behind a former one in the lists that have that: as the same path with another file's name.
fn with(text: &str, role: Role, former: Ca, ca: Ca) -> Result<String, Failure> {
    edit(text, role, |list, ending| {
        let (former, new) = (file(former, ending), file(ca, ending));
        let has = |list: &Array, name: &str| list.iter().position(|path| is_called(path, name));
        let Some(at) = has(list, &former).filter(|_| has(list, &new).is_none()) else {
            return;
        };
        let path = list.get(at).and_then(Value::as_str).unwrap_or_default();
        let beside = Path::new(path).with_file_name(new);
        list.insert(at + 1, beside.to_string_lossy().into_owned());
    })
}

/// The text without a CA in its lists.
fn without(text: &str, role: Role, ca: Ca) -> Result<String, Failure> {
    edit(text, role, |list, ending| {
        let name = file(ca, ending);
        list.retain(|path| !is_called(path, &name));
    })
}

fn is_called(path: &Value, name: &str) -> bool {
    let path = path.as_str().map(Path::new);
    path.and_then(Path::file_name)
        .is_some_and(|found| found == name)
}

fn edit(
    text: &str,
    role: Role,
    change: impl Fn(&mut Array, &'static str),
) -> Result<String, Failure> {
    let mut document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| {
        Failure::new(format!("{}; correct it", error.message()))
    })?;
    for (member, ending) in lists(role) {
        let list = document
            .get_mut("trust")
            .and_then(|trust| trust.get_mut(&member))
            .and_then(Item::as_array_mut);
        if let Some(list) = list {
            change(list, ending);
        }
    }
    Ok(document.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# kept\n[trust] # kept, too\nroot = \"r.pem\"\nclient_ca = [\"../pki/client-ca.pem\"] # why\n\
                        client_crl = [\"../pki/client-ca.crl\"]\nmerchant_ca = [\"../pki/merchant-ca.pem\"]\n";

    fn ca(number: u32) -> Ca {
        Ca {
            role: Some(Role::Client),
            number,
        }
    }

    #[test]
    fn a_ca_comes_behind_the_former_one_and_goes_and_nothing_else_changes() {
        let both = with(TEXT, Role::Client, ca(1), ca(2)).unwrap();
        assert!(
            both.contains(
                r#"client_ca = ["../pki/client-ca.pem", "../pki/client-ca-2.pem"] # why"#
            ),
            "{both}"
        );
        assert!(
            both.contains(r#"client_crl = ["../pki/client-ca.crl", "../pki/client-ca-2.crl"]"#),
            "{both}"
        );
        assert_eq!(with(&both, Role::Client, ca(1), ca(2)).unwrap(), both);
        let alone = without(&both, Role::Client, ca(2)).unwrap();
        assert_eq!(alone, TEXT);
        let new = without(&both, Role::Client, ca(1)).unwrap();
        assert!(new.contains("client-ca-2.pem\"] # why"), "{new}");
        assert!(!new.contains("client-ca.pem"), "{new}");
        assert!(new.contains("merchant-ca.pem"), "{new}");
    }

    #[test]
    fn what_lists_no_ca_of_ours_stays_as_it_is() {
        for text in [
            "",
            "[trust]\nclient_ca = [\"/elsewhere/ca.pem\"]\n",
            "trust = 1\n",
        ] {
            assert_eq!(with(text, Role::Client, ca(1), ca(2)).unwrap(), text);
        }
        let error = with("[trust", Role::Client, ca(1), ca(2)).unwrap_err();
        assert!(error.to_string().ends_with("correct it"), "{error}");
    }
}
