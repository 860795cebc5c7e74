//! A TLS connection with bytes of one's own on it, by `openssl s_client`: for requests that no HTTP
//! client would make.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::SocketAddr,
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

/// An open connection.
pub struct RawTls {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl RawTls {
    /// Connects, with the certificate and key of a directory where one is given.
    pub fn connect(address: SocketAddr, identity: Option<&Path>) -> Self {
        let mut command = Command::new("openssl");
        command
            .args(["s_client", "-quiet", "-tls1_3", "-alpn", "http/1.1"])
            .args(["-servername", "localhost", "-connect"])
            .arg(address.to_string());
        if let Some(directory) = identity {
            command
                .arg("-cert")
                .arg(directory.join("tls.pem"))
                .arg("-key")
                .arg(directory.join("tls.key"));
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            to: child.stdin.take().unwrap(),
            from: BufReader::new(child.stdout.take().unwrap()),
            child,
        }
    }

    /// Sends bytes as they are.
    pub fn write(&mut self, bytes: &[u8]) {
        self.to.write_all(bytes).unwrap();
        self.to.flush().unwrap();
    }

    /// Sends the head of a request that waits for the server's word before its body: with `100 Continue`
    /// the server says that it is at work on it.
    pub fn begin(&mut self, path: &str, body_bytes: usize) {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {body_bytes}\r\nExpect: 100-continue\r\n\r\n"
        );
        self.write(head.as_bytes());
        let said = self.read_head();
        assert!(said.starts_with("HTTP/1.1 100"), "{said}");
    }

    /// The next head, without the blank line.
    pub fn read_head(&mut self) -> String {
        let mut head = String::new();
        loop {
            let mut line = String::new();
            let count = self.from.read_line(&mut line).unwrap();
            if count == 0 || line == "\r\n" {
                return head;
            }
            head += &line;
        }
    }

    /// Everything until the server closes.
    pub fn read_to_end(&mut self) -> String {
        let mut rest = String::new();
        self.from.read_to_string(&mut rest).unwrap();
        rest
    }
}

impl Drop for RawTls {
    fn drop(&mut self) {
        // Ended by itself, when the server closed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
