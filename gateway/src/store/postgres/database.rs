//! The PostgreSQL database: how it is reached, whose it is, its version, and whether what it acknowledges is
//! durable.

use std::{path::Path, time::Duration};

use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Pool, PoolError, RecyclingMethod, Runtime,
};
use tokio_postgres::{Client, IsolationLevel, NoTls, error::SqlState};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::{
    config::Postgres,
    store::{StoreError, tables::Fault},
};

/// What each version adds; a database is brought from the one it has to the last.
const MIGRATIONS: [&str; 3] = [
    include_str!("schema/1.sql"),
    include_str!("schema/2.sql"),
    include_str!("schema/3.sql"),
];

/// How long connecting may take, and waiting for a connection.
const CONNECT: Duration = Duration::from_secs(3);

/// For so long what is sent may stay unacknowledged by the other side.
const UNACKNOWLEDGED: Duration = Duration::from_secs(5);

/// How often opening is tried anew when replicas that start together meet in the schema.
const TRIES: u32 = 20;

/// What holds for every connection. All rows are found by their keys, whatever the planner believes of tables that
/// have just begun to grow; and whoever goes away in the middle of a transaction leaves no locks behind for long.
const SETTINGS: &str = "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; \
     SET default_transaction_isolation = 'read committed'; SET synchronous_commit = on; \
     SET statement_timeout = '10s'; SET lock_timeout = '3s'; \
     SET idle_in_transaction_session_timeout = '5s'";

impl From<tokio_postgres::Error> for Fault {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(Box::new(error))
    }
}

/// Connections to a database that is ours, of this version, and durable.
pub(super) async fn open(config: &Postgres, directory: &Path) -> Result<Pool, StoreError> {
    let unusable = |reason: String| StoreError::Unusable {
        path: config.to_string(),
        reason,
    };
    let pool = pool(config, directory).map_err(unusable)?;
    let mut client = pool.get().await.map_err(|error| {
        let told = match &error {
            PoolError::Backend(error) => told(error),
            error => told(error),
        };
        unusable(format!("{told}; is it running, and is the gateway let in?"))
    })?;
    check_durable(&client).await.map_err(unusable)?;
    for _ in 1..TRIES {
        match migrate(&mut client).await {
            Err(Migration::Met(error)) => {
                tracing::debug!(%error, "another gateway makes the schema, too");
            }
            Err(Migration::Refused(reason)) => return Err(unusable(reason)),
            Ok(()) => return Ok(pool),
        }
    }
    Err(unusable(
        "other gateways keep changing its schema; start again".to_owned(),
    ))
}

/// What an error says, in its cause's words where they say more.
pub(super) fn told(error: &(dyn std::error::Error + 'static)) -> String {
    let mut told = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let said = error.to_string();
        // A cause is often repeated, or announced without a word about it.
        if !told.contains(&said) && said != "db error" {
            told = match told.as_str() {
                "" => said,
                told if said.contains(told) => said,
                told => format!("{told}: {said}"),
            };
        }
        next = error.source();
    }
    told
}

fn pool(config: &Postgres, directory: &Path) -> Result<Pool, String> {
    let mut connect = tokio_postgres::Config::new();
    connect
        .port(config.port)
        .dbname(&config.database)
        .user(&config.user)
        .application_name("twinseal-gateway")
        .connect_timeout(CONNECT)
        .tcp_user_timeout(UNACKNOWLEDGED)
        .target_session_attrs(tokio_postgres::config::TargetSessionAttrs::ReadWrite);
    if let Some(file) = &config.password_file {
        let password =
            secret_file::read(&directory.join(file)).map_err(|error| error.to_string())?;
        connect.password(password.trim_end_matches('\n'));
    }
    let manager_config = ManagerConfig {
        recycling_method: RecyclingMethod::Fast,
    };
    let manager = match (&config.socket_directory, &config.host, &config.ca) {
        (Some(socket), None, None) => {
            connect.host_path(directory.join(socket));
            Manager::from_config(connect, NoTls, manager_config)
        }
        (None, Some(host), Some(ca)) => {
            connect
                .host(host)
                .ssl_mode(tokio_postgres::config::SslMode::Require);
            let tls = mtls::database::database_tls(&directory.join(ca))
                .map_err(|error| error.to_string())?;
            Manager::from_config(connect, MakeRustlsConnect::new(tls), manager_config)
        }
        _ => {
            return Err(
                "[store.postgres] has either `socket_directory`, or `host` and `ca`: over a network, \
                 the gateway speaks to a database that it knows by certificate"
                    .to_owned(),
            );
        }
    };
    Pool::builder(manager)
        .max_size(config.connections.get().into())
        .runtime(Runtime::Tokio1)
        .wait_timeout(Some(CONNECT))
        .create_timeout(Some(CONNECT))
        .recycle_timeout(Some(CONNECT))
        .post_create(Hook::async_fn(|client, _| {
            Box::pin(async move {
                client
                    .batch_execute(SETTINGS)
                    .await
                    .map_err(HookError::Backend)
            })
        }))
        .build()
        .map_err(|error| error.to_string())
}

/// Refuses a server whose acknowledgements are worth nothing, or that only repeats another.
async fn check_durable(client: &Client) -> Result<(), String> {
    let unreadable = |error: tokio_postgres::Error| told(&error);
    let row = client
        .query_one(
            "SELECT current_setting('fsync'), current_setting('full_page_writes'), \
                 pg_is_in_recovery(), current_setting('server_version_num')::int",
            &[],
        )
        .await
        .map_err(unreadable)?;
    let (fsync, full_pages): (String, String) = (row.get(0), row.get(1));
    if fsync != "on" || full_pages != "on" {
        return Err(
            "fsync or full_page_writes is off: it would lose what it acknowledged; turn them on"
                .to_owned(),
        );
    }
    if row.get::<_, bool>(2) {
        return Err("a standby; name the primary server".to_owned());
    }
    let version: i32 = row.get(3);
    if version < 130_000 {
        return Err(format!(
            "PostgreSQL {}, and 13 or newer is needed",
            version / 10_000
        ));
    }
    Ok(())
}

/// Why the schema is not as it should be.
enum Migration {
    /// Another gateway changes it at the same time.
    Met(tokio_postgres::Error),
    Refused(String),
}

impl From<tokio_postgres::Error> for Migration {
    fn from(error: tokio_postgres::Error) -> Self {
        let met = [
            SqlState::UNIQUE_VIOLATION,
            SqlState::DUPLICATE_TABLE,
            SqlState::T_R_SERIALIZATION_FAILURE,
            SqlState::T_R_DEADLOCK_DETECTED,
        ];
        if error.code().is_some_and(|code| met.contains(code)) {
            Self::Met(error)
        } else {
            Self::Refused(told(&error))
        }
    }
}

/// Makes the schema, or brings it up to date; refuses a database that is another program's, or newer. The row
/// of `twinseal` is locked meanwhile, so that gateways that start together do it once.
async fn migrate(client: &mut Client) -> Result<(), Migration> {
    let transaction = client
        .build_transaction()
        .isolation_level(IsolationLevel::ReadCommitted)
        .start()
        .await?;
    let tables: Vec<String> = transaction
        .query(
            "SELECT tablename::text FROM pg_tables WHERE schemaname = current_schema()",
            &[],
        )
        .await?
        .iter()
        .map(|row| row.get(0))
        .collect();
    if !tables.is_empty() && !tables.iter().any(|table| table == "twinseal") {
        return Err(Migration::Refused(
            "a database of another program; name an empty one in [store.postgres]".to_owned(),
        ));
    }
    if tables.is_empty() {
        transaction
            .batch_execute(
                "CREATE TABLE twinseal (id BIGINT PRIMARY KEY CHECK (id = 1), version BIGINT NOT NULL);
                 INSERT INTO twinseal VALUES (1, 0);",
            )
            .await?;
    }
    let version: i64 = transaction
        .query_one("SELECT version FROM twinseal WHERE id = 1 FOR UPDATE", &[])
        .await?
        .get(0);
    let known = MIGRATIONS.len() as i64;
    if version > known {
        return Err(Migration::Refused(format!(
            "made by a newer gateway (version {version}, this one knows {known}); run that one"
        )));
    }
    for migration in MIGRATIONS.iter().skip(version.unsigned_abs() as usize) {
        transaction.batch_execute(migration).await?;
    }
    if version < known {
        transaction
            .execute("UPDATE twinseal SET version = $1", &[&known])
            .await?;
    }
    transaction.commit().await?;
    Ok(())
}
