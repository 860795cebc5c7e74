//! A web server whose answers a test makes.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex},
    thread,
};

/// A server that gives what it was told to, byte for byte, and ends with the test.
pub(crate) struct Publisher {
    address: SocketAddr,
    pages: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
}

impl Publisher {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let pages = Arc::<Mutex<BTreeMap<String, Vec<u8>>>>::default();
        let published = Arc::clone(&pages);
        thread::spawn(move || {
            for connection in listener.incoming() {
                let mut connection = connection.unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    if connection.read(&mut byte).unwrap_or(0) == 0 {
                        break;
                    }
                    request.push(byte[0]);
                }
                let request = String::from_utf8(request).unwrap();
                let length = request
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: "));
                // What is posted is read, and taken no notice of.
                let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
                let _ = connection.read_exact(&mut body);
                let path = request.split(' ').nth(1).unwrap_or_default();
                if let Some(page) = published.lock().unwrap().get(path) {
                    // Who hangs up in the middle is not our concern.
                    let _ = connection.write_all(page);
                }
            }
        });
        Self { address, pages }
    }

    pub(crate) fn publish(&self, path: &str, answer: Vec<u8>) {
        self.pages.lock().unwrap().insert(path.to_owned(), answer);
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

/// What a server says that has it.
pub(crate) fn found(content: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
        content.len()
    );
    [head.as_bytes(), content].concat()
}
