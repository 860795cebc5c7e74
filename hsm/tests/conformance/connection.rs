//! What is seen of a module whose token is elsewhere when the connection breaks: rows of the table, for the one
//! that has a connection.

use std::{env, fs};

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags},
    mechanism::Mechanism,
    object::{Attribute, ObjectClass, ObjectHandle},
    session::{Session, UserType},
    types::AuthPin,
};
use hsm::{pin::Pin, policy::KeyUse, provision::TokenAdmin, uri::Pkcs11Uri};

use crate::{
    bench::{Bench, LABEL, PIN},
    modules::{SERVER, Server},
    observations::{Row, subject::code},
};

const ROWS: [&str; 5] = [
    "C_Sign when the token's process was killed",
    "C_OpenSession when the token's process was killed",
    "C_Sign when that process runs again",
    "C_OpenSession when that process runs again",
    "C_Sign after C_Finalize, C_Initialize and C_Login",
];

pub(crate) fn observe(bench: &Bench) -> Vec<Row> {
    let Some(server) = env::var_os(SERVER) else {
        return ROWS.map(|what| Row::new(what, "no such process")).into();
    };
    let uri = Pkcs11Uri::for_token(LABEL);
    let admin = TokenAdmin::open(&bench.library(), &uri, &Pin::new(PIN)).unwrap();
    admin.generate_p256("connection", KeyUse::Sign).unwrap();
    let module = bench.bare_module();
    let slot = bench.slot(&module);
    let session = bench.bare_session();
    let key = private_key(&session);
    let sign = || code(session.sign(&Mechanism::Ecdsa, key, &[7; 32]));
    assert_eq!(sign(), "done");

    Server::kill(server.to_str().unwrap());
    let mut found = vec![sign(), code(module.open_rw_session(slot))];
    fs::remove_file(bench.directory.join("socket")).unwrap();
    let _server = Server::start(&bench.directory);
    found.extend([sign(), code(module.open_rw_session(slot))]);

    drop(module.clone().finalize());
    found.push(
        match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            Ok(()) => {
                let session = module.open_rw_session(bench.slot(&module)).unwrap();
                let pin = AuthPin::from(PIN.to_owned());
                session.login(UserType::User, Some(&pin)).unwrap();
                code(session.sign(&Mechanism::Ecdsa, private_key(&session), &[7; 32]))
            }
            error => code(error),
        },
    );
    ROWS.into_iter()
        .zip(found)
        .map(|(what, found)| Row::new(what, found))
        .collect()
}

fn private_key(session: &Session) -> ObjectHandle {
    let template = [
        Attribute::Class(ObjectClass::PRIVATE_KEY),
        Attribute::Label("connection".into()),
    ];
    session.find_objects(&template).unwrap()[0]
}
