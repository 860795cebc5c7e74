//! What is refused, and what a migration leaves, on real files.

use std::os::unix::fs::PermissionsExt as _;

use tempfile::TempDir;

use super::*;

const FIRST: &str = "CREATE TABLE first (x INTEGER) STRICT;";
const SECOND: &str = "CREATE TABLE second (x INTEGER) STRICT;";
const BROKEN: &str =
    "CREATE TABLE second (x INTEGER) STRICT; INSERT INTO nothing_there VALUES (1);";

const fn of(migrations: &'static [&'static str]) -> Kind {
    Kind {
        program: "test",
        application_id: 0x5477_5374,
        migrations,
    }
}

const KIND: Kind = of(&[FIRST, SECOND]);

fn file(directory: &TempDir) -> PathBuf {
    directory.path().join("test.db")
}

fn refused(path: &Path) -> String {
    KIND.open_or_make(path).err().unwrap().to_string()
}

fn version_and_tables(connection: &Connection) -> (i64, i64) {
    let version = connection.pragma_query_value(None, "user_version", |row| row.get(0));
    let count = "SELECT count(*) FROM sqlite_schema WHERE type = 'table'";
    let tables = connection.query_row(count, [], |row| row.get(0));
    (version.unwrap(), tables.unwrap())
}

#[test]
fn a_new_file_is_its_owner_s_alone_and_has_the_last_version() {
    let directory = TempDir::new().unwrap();
    let connection = KIND.open_or_make(&file(&directory)).unwrap();
    assert_eq!(version_and_tables(&connection), (2, 2));
    for made in std::fs::read_dir(directory.path()).unwrap() {
        let made = made.unwrap();
        let mode = made.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", made.path().display());
    }
}

#[test]
fn what_is_no_database_is_refused_and_stays_as_it_is() {
    let directory = TempDir::new().unwrap();
    let letter = "a letter, not a database, and a long one at that";
    std::fs::write(file(&directory), letter).unwrap();
    let error = refused(&file(&directory));
    assert!(error.contains("not an SQLite database"), "{error}");
    assert_eq!(std::fs::read_to_string(file(&directory)).unwrap(), letter);
}

#[test]
fn another_program_s_and_a_newer_file_are_refused() {
    let directory = TempDir::new().unwrap();
    let path = file(&directory);
    Connection::open(&path)
        .unwrap()
        .execute_batch("CREATE TABLE theirs (x)")
        .unwrap();
    let error = refused(&path);
    assert!(error.contains("another program"), "{error}");
    std::fs::remove_file(&path).unwrap();
    let connection = KIND.open_or_make(&path).unwrap();
    for strange in [3, 99, -1] {
        connection
            .pragma_update(None, "user_version", strange)
            .unwrap();
        let error = refused(&path);
        assert!(error.contains("newer test"), "{error}");
    }
}

#[test]
fn a_file_that_another_process_writes_is_told_so() {
    let directory = TempDir::new().unwrap();
    let path = file(&directory);
    let first = of(&[FIRST]).open_or_make(&path).unwrap();
    first.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = refused(&path);
    assert!(error.contains("another process writes it"), "{error}");
}

#[test]
fn an_interrupted_migration_leaves_the_version_before_it_whole() {
    let directory = TempDir::new().unwrap();
    let path = file(&directory);
    let mut connection = of(&[FIRST]).open_or_make(&path).unwrap();
    assert_eq!(version_and_tables(&connection), (1, 1));
    assert!(of(&[FIRST, BROKEN]).migrate(&mut connection).is_err());
    assert_eq!(version_and_tables(&connection), (1, 1));
    // Nothing is in the way of the next start.
    drop(connection);
    let connection = KIND.open_or_make(&path).unwrap();
    assert_eq!(version_and_tables(&connection), (2, 2));
}

#[test]
fn processes_that_start_together_make_one_file() {
    for _ in 0..8 {
        let directory = TempDir::new().unwrap();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| KIND.open_or_make(&file(&directory)).unwrap());
            }
        });
        let connection = KIND.open_existing(&file(&directory)).unwrap();
        assert_eq!(version_and_tables(&connection), (2, 2));
    }
}
