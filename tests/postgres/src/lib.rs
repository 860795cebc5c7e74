//! A PostgreSQL server of one's own, for tests: a new cluster, gone with the process that started it.

#![allow(
    clippy::unwrap_used,
    reason = "a fixture: a test that can't have its server fails"
)]

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

/// The user that owns the cluster and needs no password on the socket.
pub const USER: &str = "twinseal";

/// A running server.
pub struct Server {
    directory: PathBuf,
    port: u16,
    script: Mutex<Script>,
    databases: AtomicU32,
}

/// It ends when its standard input does: when this is dropped, and with this process at the latest.
struct Script {
    /// None only while it is dropped.
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    child: Child,
}

impl Server {
    /// Makes a cluster and starts it.
    ///
    /// # Panics
    /// When there is no PostgreSQL, or it does not start.
    pub fn start() -> Self {
        let mut child = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/serve"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut answers = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        answers.read_line(&mut line).unwrap();
        let mut words = line.split_whitespace();
        assert_eq!(words.next(), Some("ready"), "the server did not start");
        Self {
            directory: words.next().unwrap().into(),
            port: words.next().unwrap().parse().unwrap(),
            databases: AtomicU32::new(0),
            script: Mutex::new(Script {
                commands: child.stdin.take(),
                answers,
                child,
            }),
        }
    }

    /// The one server of this process.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Server> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// Makes an empty database, and gives its name.
    pub fn new_database(&self) -> String {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{number}");
        self.ask(&format!("createdb {name}"));
        name
    }

    /// Stops the server as a crash would, and starts it again: connections are cut, what was acknowledged is
    /// there.
    pub fn restart(&self) {
        self.ask("restart");
    }

    /// Stops the server as a crash would; [`Server::restart`] starts it again.
    pub fn stop(&self) {
        self.ask("stop");
    }

    fn ask(&self, command: &str) {
        let mut script = self.script.lock().unwrap();
        writeln!(script.commands.as_ref().unwrap(), "{command}").unwrap();
        let mut line = String::new();
        script.answers.read_line(&mut line).unwrap();
        assert!(line.starts_with("done"), "{command} failed");
    }

    /// The directory of its Unix socket.
    pub fn socket_directory(&self) -> &Path {
        &self.directory
    }

    /// Its port, on `localhost` with TLS, and on the socket.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The CA of its certificate.
    pub fn ca(&self) -> PathBuf {
        self.directory.join("ca.pem")
    }

    /// The members of a gateway's `[store.postgres]` for a database, over the socket.
    pub fn members(&self, database: &str) -> String {
        format!(
            "socket_directory = {:?}\nport = {}\ndatabase = {database:?}\nuser = {USER:?}\n",
            self.directory, self.port
        )
    }

    /// Runs SQL with `psql`, and gives what it prints, rows of bare values.
    pub fn query(&self, database: &str, sql: &str) -> String {
        let output = Command::new("psql")
            .args(["--no-psqlrc", "--tuples-only", "--no-align", "--quiet"])
            .args([
                "-v",
                "ON_ERROR_STOP=1",
                "-U",
                USER,
                "-d",
                database,
                "-c",
                sql,
            ])
            .arg("-h")
            .arg(&self.directory)
            .args(["-p", &self.port.to_string()])
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{sql}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.commands = None;
        // One that failed has ended, too.
        let _ = self.child.wait();
    }
}
