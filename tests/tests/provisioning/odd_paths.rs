//! Paths with spaces, quotes and worse: the configurations are as good as ever, or it is refused.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt as _, fs::symlink},
    process::{Command, Output},
};

use twinseal_tests::service::program;

use crate::directory::Directory;

/// A name that is awkward in TOML, in SoftHSM's configuration and in a shell.
const ODD: &str = "it's \"a\" \\ b $x %s é";

/// The gateway on this configuration, for a command that needs no listener.
fn accounts(directory: &Directory) -> Output {
    Command::new(program("twinseal-gateway"))
        .arg("--config")
        .arg(directory.path("gateway/gateway.toml"))
        .args(["accounts", "add", "--from"])
        .arg(directory.path("gateway/accounts.toml"))
        .env("SOFTHSM2_CONF", directory.path("gateway/softhsm2.conf"))
        .output()
        .unwrap()
}

fn module(directory: &Directory) -> String {
    let text = fs::read_to_string(directory.path("gateway/gateway.toml")).unwrap();
    let table: toml::Table = text.parse().unwrap();
    table["token"]["module"].as_str().unwrap().to_owned()
}

#[test]
fn a_directory_and_a_module_with_spaces_and_quotes_in_their_names_serve_as_any_other() {
    let plain = Directory::provisioned();
    let directory = Directory::named(ODD);
    let link = plain.text(&format!("urn:twinseal:gateway:main {ODD}.so"));
    symlink(module(&plain), &link).unwrap();
    directory.done(&["init", "--module", &link]);
    directory.is_complete();
    assert_eq!(module(&directory), link);
    directory.done(&["crl"]);
    directory.done(&["client", "--out", "second"]);
    directory.done(&["merchant", "--name", "second", "--out", "shop-2"]);
    let output = accounts(&directory);
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_directory_that_softhsm_can_not_have_is_refused_before_anything_is_made() {
    let long = format!("{0}/{0}/{0}/{0}", "x".repeat(200));
    for name in ["a#b", "a=b", "a\nb", "a\rb", long.as_str()] {
        let directory = Directory::named(name);
        fs::create_dir_all(directory.path("")).unwrap();
        let told = directory.refused(&["init"]);
        assert!(told.contains("SoftHSM can't have its tokens in"), "{told}");
        assert!(told.contains("no #, = or line break"), "{told}");
        assert!(directory.files().is_empty());
    }
}

#[test]
fn a_path_that_is_not_utf_8_is_refused() {
    let odd = OsStr::from_bytes(b"\xff");
    let directory = Directory::empty();
    let path = directory.path("").join(odd);
    for (dir, module) in [
        (path.as_os_str(), OsStr::new("any.so")),
        (directory.path("").as_os_str(), odd),
    ] {
        let output = Command::new(program("softhsm-setup"))
            .args([OsStr::new("init"), OsStr::new("--dir"), dir])
            .args([OsStr::new("--module"), module])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.contains("is not UTF-8"), "{told}");
        assert!(told.contains("with another name"), "{told}");
    }
    assert!(directory.files().is_empty());
}
