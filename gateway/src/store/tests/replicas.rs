//! Several gateways on one database, none of them special; and a database that goes away.

use protocol::receipt::Action;

use super::{
    lifecycle::{approved, operation},
    *,
};

/// Gateways that share a database.
async fn replicas(place: &Place, count: usize) -> Vec<Arc<dyn Store>> {
    let mut replicas = Vec::new();
    for _ in 0..count {
        replicas.push(place.open().await);
    }
    replicas
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_that_start_together_make_one_schema() {
    let place = Place::postgres();
    let mut opening = tokio::task::JoinSet::new();
    let Place::Postgres { database } = &place else {
        unreachable!()
    };
    for _ in 0..4 {
        let configured = configured(database);
        opening.spawn(async move {
            PostgresStore::open(&configured, &PathBuf::new())
                .await
                .map(drop)
        });
    }
    for opened in opening.join_all().await {
        opened.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_request_sent_to_all_at_once_is_decided_once_and_answered_alike() {
    let place = Place::postgres();
    with_account(&place, 100_000).await;
    let replicas = replicas(&place, 3).await;
    for round in 1..=16 {
        let first = command(100);
        let mut asked = tokio::task::JoinSet::new();
        for replica in &replicas {
            let (replica, copy) = (Arc::clone(replica), again(&first));
            asked.spawn(async move { replica.authorize(copy, soon()).await.unwrap() });
        }
        let mut decisions = 0;
        let receipts: Vec<_> = asked
            .join_all()
            .await
            .into_iter()
            .map(|outcome| match outcome {
                Authorized::Decided(receipt) => {
                    decisions += 1;
                    receipt.receipt_jti
                }
                Authorized::Answered(receipt) => receipt.receipt_jti,
                _ => panic!("a copy of a request is the request"),
            })
            .collect();
        assert_eq!(decisions, 1);
        assert!(receipts.iter().all(|receipt| *receipt == receipts[0]));
        assert_eq!(place.books().await[1], round * 100);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_together_never_capture_or_refund_above_the_limits_and_hold_what_there_is() {
    let place = Place::postgres();
    let (_, xid) = approved(&place, 500).await;
    let replicas = replicas(&place, 3).await;
    let mut running = tokio::task::JoinSet::new();
    for number in 0..96 {
        let replica = Arc::clone(&replicas[number % 3]);
        running.spawn(async move {
            let action = [Action::Capture, Action::Refund, Action::Reversal][number / 3 % 3];
            let done = operation(action, xid, 40);
            replica.operate(done, soon()).await.unwrap();
            replica.authorize(command(60), soon()).await.unwrap();
        });
    }
    running.join_all().await;
    let store = &replicas[0];
    let payment = store.find_by_xid(xid).await.unwrap().unwrap();
    assert!(payment.payment.unwrap().totals().holds());
    assert_eq!(broken(&**store).await, [""; 0]);
    let [available, held, merchant, _] = place.books().await;
    assert!(available < 60, "more could have been approved");
    assert_eq!(available + held + merchant, 1000);
}

#[tokio::test(flavor = "multi_thread")]
async fn holds_that_are_over_are_ended_once_by_whichever_gateway() {
    let place = Place::postgres();
    let store = with_account(&place, 100_000).await;
    for _ in 0..300 {
        decided(store.authorize(command(10), soon()).await.unwrap());
    }
    let replicas = replicas(&place, 3).await;
    let mut running = tokio::task::JoinSet::new();
    for replica in &replicas {
        let replica = Arc::clone(replica);
        running.spawn(async move {
            let mut ended = 0;
            for _ in 0..4 {
                let due = end_holds(NOW.plus(100));
                ended += replica.end_holds(due, soon()).await.unwrap().len();
            }
            ended
        });
    }
    let ended: usize = running.join_all().await.into_iter().sum();
    assert_eq!(ended, 300);
    assert_eq!(place.books().await, [100_000, 0, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_restarts_under_load_costs_no_command() {
    let server = Server::start();
    let database = server.new_database();
    let configured: crate::config::Postgres = toml::from_str(&server.members(&database)).unwrap();
    let store: Arc<dyn Store> = Arc::new(
        PostgresStore::open(&configured, &PathBuf::new())
            .await
            .unwrap(),
    );
    add_account(&*store, 1_000_000).await;
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let store = Arc::clone(&store);
        running.spawn(async move {
            for _ in 0..100 {
                let asked = command(1);
                let decision = match store.authorize(asked, soon()).await.unwrap() {
                    // A command that was done again after a commit without an answer finds itself.
                    Authorized::Decided(decision) | Authorized::Answered(decision) => decision,
                    _ => panic!("it was told as another's"),
                };
                assert_eq!(decision.code, Code::Approved);
            }
        });
    }
    let restarts = tokio::task::spawn_blocking(move || {
        server.restart();
        server.restart();
        server
    });
    running.join_all().await;
    let server = restarts.await.unwrap();
    let held = server.query(
        &database,
        "SELECT sum(balance) FROM book WHERE kind = 'held'",
    );
    assert_eq!(held, "1600");
    assert_eq!(broken(&*store).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn over_a_network_the_database_is_known_by_its_certificate() {
    let server = Server::shared();
    let members = |ca: &std::path::Path| -> crate::config::Postgres {
        toml::from_str(&format!(
            "host = \"localhost\"\nca = {ca:?}\nport = {}\ndatabase = {:?}\nuser = \"twinseal\"",
            server.port(),
            server.new_database(),
        ))
        .unwrap()
    };
    let store = PostgresStore::open(&members(&server.ca()), &PathBuf::new())
        .await
        .unwrap();
    store.canary(soon()).await.unwrap();
    // Another CA than that of the server.
    let directory = TempDir::new().unwrap();
    let other = directory.path().join("other.pem");
    let made = std::process::Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt"])
        .args(["ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=other"])
        .args(["-keyout", "/dev/null", "-out"])
        .arg(&other)
        .output()
        .unwrap();
    assert!(made.status.success());
    let error = PostgresStore::open(&members(&other), &PathBuf::new())
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("certificate"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_a_newer_and_a_forgetful_database_are_refused() {
    let server = Server::shared();
    let refused = async |database: &str| {
        PostgresStore::open(&configured(database), &PathBuf::new())
            .await
            .err()
            .unwrap()
            .to_string()
    };
    let foreign = server.new_database();
    server.query(&foreign, "CREATE TABLE theirs (x int)");
    let error = refused(&foreign).await;
    assert!(error.contains("another program"), "{error}");
    let newer = server.new_database();
    drop(
        PostgresStore::open(&configured(&newer), &PathBuf::new())
            .await
            .unwrap(),
    );
    server.query(&newer, "UPDATE twinseal SET version = 99");
    let error = refused(&newer).await;
    assert!(error.contains("newer gateway"), "{error}");
    let error = refused("not_there").await;
    assert!(error.contains("does not exist"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_gone_is_told_by_the_deadline_and_what_was_told_as_not_done_is_never_done()
 {
    let server = Server::start();
    let database = server.new_database();
    let configured: crate::config::Postgres = toml::from_str(&server.members(&database)).unwrap();
    let store = PostgresStore::open(&configured, &PathBuf::new())
        .await
        .unwrap();
    add_account(&store, 1000).await;
    server.stop();
    let started = Instant::now();
    let canary = store.canary(started + Duration::from_millis(500)).await;
    assert!(matches!(canary, Err(StoreError::Unavailable(_))));
    let refused = store
        .authorize(command(400), Instant::now() + Duration::from_millis(500))
        .await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))));
    server.restart();
    decided(store.authorize(command(1), soon()).await.unwrap());
    assert_eq!(store.accounts(None).await.unwrap()[0].held, 1);
}
