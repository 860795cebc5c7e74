//! A running program: started, heard until it listens, stopped.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex},
    time::{Duration, Instant},
};

use serde_json::Value;

/// How long a program may take until it listens: a cold, busy machine included.
const START_TIME_MAX: Duration = Duration::from_secs(60);

/// The path of one of our programs, or of a library to be loaded into one, beside the test that runs.
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    // target/<profile>/deps/<test>, or target/<profile>/<program>.
    let path = test
        .ancestors()
        .skip(1)
        .map(|directory| directory.join(name))
        .find(|path| path.is_file());
    path.unwrap_or_else(|| panic!("{name} is not built: run `cargo build --workspace`"))
}

/// A program of ours that serves.
pub struct Service {
    child: Child,
    log: Arc<Log>,
    /// What it listens on, by the listener's name.
    addresses: BTreeMap<String, SocketAddr>,
}

#[derive(Default)]
struct Log {
    heard: Mutex<Heard>,
    changed: Condvar,
}

#[derive(Default)]
struct Heard {
    lines: Vec<String>,
    is_over: bool,
}

impl Service {
    /// Starts a program and waits until it said of each listener where it listens.
    pub fn start(
        name: &str,
        config: &Path,
        environment: &[(&str, PathBuf)],
        listeners: &[&str],
    ) -> Self {
        let mut command = Command::new(program(name));
        command
            .args(["--log", "json", "--config"])
            .arg(config)
            .arg("serve");
        Self::start_command(command, environment, listeners)
    }

    /// Starts a program in another way, and waits as [`Service::start`] does.
    pub fn start_command(
        mut command: Command,
        environment: &[(&str, PathBuf)],
        listeners: &[&str],
    ) -> Self {
        let mut child = command
            .env("RUST_LOG", "debug,hyper=info,rustls=info")
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Log::default());
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let written = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                written.heard.lock().unwrap().lines.push(line);
                written.changed.notify_all();
            }
            written.heard.lock().unwrap().is_over = true;
            written.changed.notify_all();
        });
        let mut service = Self {
            child,
            log,
            addresses: BTreeMap::new(),
        };
        for listener in listeners {
            let line = service.wait_for_log(START_TIME_MAX, |line| {
                let fields = &line["fields"];
                fields["message"] == "listening" && fields["listener"] == *listener
            });
            let address = line["fields"]["address"].as_str().unwrap().parse().unwrap();
            service.addresses.insert((*listener).to_owned(), address);
        }
        service
    }

    /// Where a listener of it is.
    pub fn address(&self, listener: &str) -> SocketAddr {
        self.addresses[listener]
    }

    /// The URL of a TLS listener of it.
    pub fn url(&self, listener: &str) -> String {
        format!("https://localhost:{}", self.address(listener).port())
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line of its log, from the first on.
    pub fn wait_for_log(&self, time_max: Duration, is_it: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + time_max;
        let mut seen = 0;
        let mut heard = self.log.heard.lock().unwrap();
        loop {
            for line in &heard.lines[seen..] {
                if let Ok(line) = serde_json::from_str::<Value>(line)
                    && is_it(&line)
                {
                    return line;
                }
            }
            seen = heard.lines.len();
            let left = end.saturating_duration_since(Instant::now());
            if heard.is_over || left.is_zero() {
                panic!("it was never logged; the log:\n{}", heard.lines.join("\n"));
            }
            heard = self.log.changed.wait_timeout(heard, left).unwrap().0;
        }
    }

    /// Everything that it logged so far.
    pub fn log(&self) -> String {
        self.log.heard.lock().unwrap().lines.join("\n")
    }

    /// Asks it to stop, and waits until it heard that.
    pub fn ask_to_stop(&self) {
        self.signal("TERM");
        self.wait_for_log(START_TIME_MAX, |line| {
            let message = line["fields"]["message"].as_str();
            message.is_some_and(|message| message.starts_with("stopping"))
        });
    }

    /// Asks it to stop, waits until it has, and gives its whole log.
    pub fn stop(self) -> (ExitStatus, String) {
        self.signal("TERM");
        self.wait_until_it_ends()
    }

    /// Waits until it ends by itself, and gives its whole log.
    pub fn wait_until_it_ends(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().unwrap();
        let mut heard = self.log.heard.lock().unwrap();
        while !heard.is_over {
            heard = self.log.changed.wait(heard).unwrap();
        }
        let log = heard.lines.join("\n");
        drop(heard);
        (status, log)
    }

    /// Kills it as a crash would, and tells how it ended: it may have been before.
    pub fn kill(mut self) -> ExitStatus {
        self.child.kill().unwrap();
        self.child.wait().unwrap()
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill")
            .arg(format!("-{signal}"))
            .arg(self.child.id().to_string())
            .status()
            .unwrap();
        assert!(status.success(), "kill -{signal}");
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Already gone when it was stopped or killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            return;
        }
        let log = self.log();
        let undescribed = log
            .lines()
            .find(|line| line.contains("not in the OpenAPI document"));
        assert!(undescribed.is_none(), "{undescribed:?}");
    }
}

/// Asks a plain HTTP listener for a path, and gives the whole answer.
pub fn plain_get(address: SocketAddr, path: &str) -> String {
    plain(
        address,
        &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"),
    )
}

/// Sends a request that ends its connection to a plain HTTP listener, and gives the whole answer.
pub fn plain(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
