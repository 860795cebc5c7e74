//! HAProxy with the configuration of deploy/haproxy, on ports of a test's own.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::fd::OwnedFd,
    process::{Child, Command, Stdio},
    sync::{Arc, Condvar, Mutex},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::files::deployed;

/// How long HAProxy may take to see that a server came or went.
const TOLD_TIME_MAX: Duration = Duration::from_secs(60);

/// A HAProxy that runs.
pub(crate) struct Balancer {
    child: Child,
    /// What it listens on: `bind :8443` and `bind :8444`, or `bind :8543` alone.
    pub(crate) addresses: Vec<SocketAddr>,
    said: Arc<(Mutex<Vec<String>>, Condvar)>,
    _directory: TempDir,
}

/// A part of the configuration, and what takes its place.
pub(crate) type Replaced<'a> = (&'a str, String);

impl Balancer {
    /// Starts HAProxy with deploy/haproxy/haproxy.cfg, in which servers and frontends are replaced. It gets one or two
    /// listening sockets as its standard input and output, `fd@0` and `fd@1` in its words, so that no other test has
    /// the port; what it says goes to standard error.
    pub(crate) fn start(replaced: &[Replaced<'_>], frontends: &[&str]) -> Self {
        let mut config = deployed("haproxy/haproxy.cfg");
        let mut replace = |from: &str, to: &str| {
            assert!(config.contains(from), "{from} is not in haproxy.cfg");
            config = config.replace(from, to);
        };
        for (from, to) in replaced {
            replace(from, to);
        }
        replace("log stdout", "log stderr");
        let mut sockets = Vec::new();
        for (number, frontend) in frontends.iter().enumerate() {
            replace(frontend, &format!("bind fd@{number}"));
            sockets.push(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        }
        let addresses = sockets
            .iter()
            .map(|socket| socket.local_addr().unwrap())
            .collect();
        // What nobody comes to listens where nobody else is disturbed.
        let directory = TempDir::new().unwrap();
        for (number, port) in [":8443", ":8444", ":8543"].iter().enumerate() {
            let unused = directory.path().join(format!("{number}.sock"));
            config = config.replace(
                &format!("bind {port}\n"),
                &format!("bind unix@{}\n", unused.display()),
            );
        }
        let file = directory.path().join("haproxy.cfg");
        fs::write(&file, config).unwrap();

        let mut sockets = sockets
            .into_iter()
            .map(|socket| Stdio::from(OwnedFd::from(socket)));
        let mut child = Command::new("haproxy")
            .arg("-db")
            .arg("-f")
            .arg(&file)
            .stdin(sockets.next().unwrap())
            .stdout(sockets.next().unwrap_or_else(Stdio::null))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("haproxy: {error}; softhsm-setup/install test installs it")
            });
        let said = Arc::new((Mutex::new(Vec::new()), Condvar::new()));
        let hears = Arc::clone(&said);
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                hears.0.lock().unwrap().push(line);
                hears.1.notify_all();
            }
        });
        Self {
            child,
            addresses,
            said,
            _directory: directory,
        }
    }

    /// Waits until HAProxy says of a server, `backend/server`, that it is `UP` or `DOWN`, or that a check passed.
    pub(crate) fn wait_until(&self, server: &str, state: &str) {
        let (said, changed) = &*self.said;
        let end = Instant::now() + TOLD_TIME_MAX;
        let mut lines = said.lock().unwrap();
        let is_it = |line: &String| line.contains(server) && line.contains(state);
        while !lines.iter().any(is_it) {
            let left = end.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "{server} is not {state}:\n{}",
                lines.join("\n")
            );
            lines = changed.wait_timeout(lines, left).unwrap().0;
        }
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
