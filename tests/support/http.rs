//! A client of the relay's HTTP listener.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// The status code, the head, and the body of the answer to a request for `path`. `headers` are further lines of the
/// request, each with its line break; the request names 127.0.0.1 as its host unless they contain another.
pub fn get(port: u16, path: &str, headers: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the listener accepts");
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .expect("a time limit");
    let host = match headers.to_ascii_lowercase().contains("host:") {
        true => String::new(),
        false => format!("Host: 127.0.0.1:{port}\r\n"),
    };
    let request = format!("GET {path} HTTP/1.1\r\n{host}{headers}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let is_chunked = head
        .to_ascii_lowercase()
        .contains("transfer-encoding: chunked");
    let body = match is_chunked {
        true => whole(body),
        false => body.to_owned(),
    };
    (status.expect("a status code"), head.to_owned(), body)
}

/// A body that was sent in chunks, each after its length in hexadecimal (RFC 9112, 7.1).
fn whole(mut chunks: &str) -> String {
    let mut body = String::new();
    loop {
        let (length, rest) = chunks.split_once("\r\n").expect("the length of a chunk");
        let length = usize::from_str_radix(length.trim(), 16).expect("a hexadecimal length");
        if length == 0 {
            return body;
        }
        body.push_str(&rest[..length]);
        chunks = rest[length..]
            .strip_prefix("\r\n")
            .expect("the end of a chunk");
    }
}
