//! Checks of what outlives a module's C_Finalize, and a process.

use std::{env, process::Command};

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags},
    object::Attribute,
};
use hsm::{pin::Pin, provision::TokenAdmin, uri::Pkcs11Uri};

use crate::bench::{Bench, KEYS, LABEL, PIN};

pub(crate) fn keys_are_there_after_the_module_was_finalised(bench: &Bench) {
    let admin = bench.token_with_keys();
    let before = admin.list().unwrap();
    // A session that is closed after C_Initialize closes the one that has its number by then.
    drop(admin);
    let module = bench.bare_module();
    module.clone().finalize().unwrap();
    module
        .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
        .unwrap();
    let uri = Pkcs11Uri::for_token(LABEL);
    let admin = TokenAdmin::open(&bench.library(), &uri, &Pin::new(PIN)).unwrap();
    assert_eq!(admin.list().unwrap(), before);
    for (label, usage) in KEYS {
        let uri = Pkcs11Uri::for_key(label);
        let report = admin.report(&uri, usage, &bench.module.waivers()).unwrap();
        assert_eq!(report.wrong().count(), 0);
    }
    let index = bench.open().index_key(&Pkcs11Uri::for_key("index"));
    assert!(index.is_ok());
}

/// Tells the process that looks for the keys that it is it.
const LOOKS: &str = "TWINSEAL_TEST_LOOKS_FOR_KEYS";

pub(crate) fn keys_are_there_in_another_process(bench: &Bench) {
    if env::var_os(LOOKS).is_some() {
        // Our crate loads the module first.
        let token = bench.open();
        let session = bench.bare_session();
        for (label, _) in KEYS {
            let template = [Attribute::Label(label.into()), Attribute::Private(true)];
            assert_eq!(session.find_objects(&template).unwrap().len(), 1, "{label}");
        }
        assert!(token.index_key(&Pkcs11Uri::for_key("index")).is_ok());
        return;
    }
    let _admin = bench.token_with_keys();
    let status = Command::new(env::current_exe().unwrap())
        .args(env::args().skip(1))
        .env(LOOKS, "yes")
        .status()
        .unwrap();
    assert!(status.success());
}
