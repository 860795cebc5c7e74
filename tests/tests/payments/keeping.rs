//! The database as an operator keeps it: copies, checks, and what is refused.

use std::{
    fs::{self, OpenOptions},
    io::{Seek as _, SeekFrom, Write as _},
    os::unix::fs::PermissionsExt as _,
    process::{Command, Output},
};

use twinseal_tests::{
    parties::{Parties, authorize, euros},
    place::Place,
    service::program,
};

fn gateway(place: &Place, arguments: &[&str]) -> Output {
    Command::new(program("twinseal-gateway"))
        .arg("--config")
        .arg(place.path("gateway/gateway.toml"))
        .args(arguments)
        .envs(place.token_environment())
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[tokio::test]
async fn a_copy_made_while_payments_go_on_answers_as_the_original() {
    let place = Place::new();
    let parties = Parties::of(&place);
    let service = place.start_gateway();
    let merchant = parties.to_gateway(&service);
    let purchase = parties.purchase(euros(1250), parties.card.clone());
    let before = authorize(&merchant, purchase.bytes()).await;
    let before = parties.accept_receipt(&purchase, &before.body);

    let copy = place.text("copy.db");
    let (copied, _) = tokio::join!(
        tokio::task::spawn_blocking({
            let arguments = ["backup".to_owned(), "--to".to_owned(), copy.clone()];
            let config = place.path("gateway/gateway.toml");
            move || {
                Command::new(program("twinseal-gateway"))
                    .arg("--config")
                    .arg(config)
                    .args(arguments)
                    .output()
                    .unwrap()
            }
        }),
        async {
            for _ in 0..20 {
                let other = parties.purchase(euros(10), parties.card.clone());
                authorize(&merchant, other.bytes()).await;
            }
        }
    );
    let copied = copied.unwrap();
    assert!(copied.status.success(), "{}", said(&copied));
    let mode = fs::metadata(&copy).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);

    // A file that is there stays as it is.
    let again = gateway(&place, &["backup", "--to", &copy]);
    assert_eq!(again.status.code(), Some(1));
    assert!(said(&again).contains("stays as it is"), "{}", said(&again));

    // Restored, it knows what was decided.
    assert!(service.stop().0.success());
    for file in ["gateway.db", "gateway.db-wal", "gateway.db-shm"] {
        let _ = fs::remove_file(place.path(&format!("gateway/{file}")));
    }
    fs::rename(&copy, place.path("gateway/gateway.db")).unwrap();
    assert!(gateway(&place, &["check"]).status.success());
    assert!(gateway(&place, &["ledger", "check"]).status.success());
    let service = place.start_gateway();
    let after = authorize(&parties.to_gateway(&service), purchase.bytes()).await;
    let after = parties.accept_receipt(&purchase, &after.body);
    assert_eq!(before.claims(), after.claims());
}

#[tokio::test]
async fn a_damaged_database_is_found_and_never_copied() {
    let place = Place::new();
    let parties = Parties::of(&place);
    let service = place.start_gateway();
    let merchant = parties.to_gateway(&service);
    for _ in 0..50 {
        let purchase = parties.purchase(euros(10), parties.card.clone());
        authorize(&merchant, purchase.bytes()).await;
    }
    assert!(service.stop().0.success());
    let path = place.path("gateway/gateway.db");
    let bytes = fs::metadata(&path).unwrap().len();
    let mut file = OpenOptions::new().write(true).open(&path).unwrap();
    file.seek(SeekFrom::Start(bytes / 2)).unwrap();
    file.write_all(&[0xa5; 8192]).unwrap();
    drop(file);

    let checked = gateway(&place, &["check"]);
    assert!(!checked.status.success(), "{}", said(&checked));
    let copy = place.text("copy.db");
    let copied = gateway(&place, &["backup", "--to", &copy]);
    assert_eq!(copied.status.code(), Some(1), "{}", said(&copied));
    assert!(!fs::exists(&copy).unwrap());
    assert!(!fs::exists(format!("{copy}.unfinished")).unwrap());
}

#[test]
fn a_copy_that_can_t_be_written_leaves_nothing_behind() {
    let place = Place::new();
    let nowhere = place.text("no/such/directory/copy.db");
    let copied = gateway(&place, &["backup", "--to", &nowhere]);
    assert_eq!(copied.status.code(), Some(1));
    assert!(
        said(&copied).contains("name another directory"),
        "{}",
        said(&copied)
    );
    // A directory is no database.
    place.edit("gateway/gateway.toml", |config| {
        config["store"]["path"] = "../pki".into();
    });
    let refused = gateway(&place, &["check"]);
    assert_eq!(refused.status.code(), Some(1));
}
