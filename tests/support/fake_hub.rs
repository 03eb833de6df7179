//! A model hub on 127.0.0.1 that answers as it is told to, one reply a request.

use std::io::{BufRead, BufReader, Result, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

const ETAG: &str = "\"v1\"";

pub enum Reply {
    /// The file, or the range of it that is asked for.
    File,
    /// The file from its beginning, whatever is asked for.
    WithoutRanges,
    /// Only so many bytes, then the connection closes.
    Cut(usize),
    /// Only so many bytes, then silence.
    Stall(usize),
    /// The file after a while.
    Late(Duration),
    /// Other bytes than the file's, as such and with their length announced.
    Other(Vec<u8>),
    /// Other bytes, of which no length is announced.
    Endless(Vec<u8>),
    Status(u16),
    Redirect(String),
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    pub path: String,
    pub range: Option<String>,
    pub if_range: Option<String>,
    pub authorization: Option<String>,
}

pub struct FakeHub {
    pub url: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl FakeHub {
    /// Gives one reply after another, and then the file for good.
    pub fn start(file: &[u8], replies: impl IntoIterator<Item = Reply>) -> FakeHub {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (file, seen) = (file.to_vec(), requests.clone());
        let mut replies: Vec<_> = replies.into_iter().collect();
        replies.reverse();
        // The thread ends with the test's process; a client that left is no failure.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let Ok(request) = read_request(&stream) else {
                    continue;
                };
                seen.lock().unwrap().push(request.clone());
                let reply = replies.pop().unwrap_or(Reply::File);
                let _ = answer(stream, &request, reply, &file);
            }
        });
        FakeHub { url, requests }
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

fn read_request(stream: &TcpStream) -> Result<Request> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut request = Request {
        path,
        ..Request::default()
    };
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(": ") else {
            break;
        };
        let value = Some(value.to_owned());
        match name.to_ascii_lowercase().as_str() {
            "range" => request.range = value,
            "if-range" => request.if_range = value,
            "authorization" => request.authorization = value,
            _ => {}
        }
    }
    Ok(request)
}

fn answer(mut stream: TcpStream, request: &Request, reply: Reply, file: &[u8]) -> Result<()> {
    match reply {
        Reply::File => send_file(&mut stream, request, file, usize::MAX),
        Reply::WithoutRanges => send_file(&mut stream, &Request::default(), file, usize::MAX),
        Reply::Cut(bytes) => send_file(&mut stream, request, file, bytes),
        Reply::Stall(bytes) => {
            send_file(&mut stream, request, file, bytes)?;
            thread::spawn(move || {
                thread::sleep(Duration::from_secs(20));
                stream.shutdown(Shutdown::Both)
            });
            return Ok(());
        }
        Reply::Late(wait) => {
            thread::sleep(wait);
            send_file(&mut stream, request, file, usize::MAX)
        }
        Reply::Other(bytes) => {
            let length = format!("Content-Length: {}\r\n", bytes.len());
            head(&mut stream, 200, &length)?;
            stream.write_all(&bytes)
        }
        Reply::Endless(bytes) => {
            head(&mut stream, 200, "")?;
            stream.write_all(&bytes)
        }
        Reply::Status(status) => head(&mut stream, status, "Content-Length: 0\r\n"),
        Reply::Redirect(url) => head(
            &mut stream,
            302,
            &format!("Location: {url}\r\nContent-Length: 0\r\n"),
        ),
    }?;
    stream.shutdown(Shutdown::Write)
}

fn send_file(stream: &mut TcpStream, request: &Request, file: &[u8], most: usize) -> Result<()> {
    let same = request.if_range.as_deref().is_none_or(|tag| tag == ETAG);
    let asked = request.range.as_deref().filter(|_| same);
    let start = asked.and_then(|range| {
        range
            .strip_prefix("bytes=")?
            .strip_suffix('-')?
            .parse()
            .ok()
    });
    let from = start.unwrap_or(0);
    let mut headers = format!("ETag: {ETAG}\r\nContent-Length: {}\r\n", file.len() - from);
    if start.is_some() {
        let range = format!("bytes {from}-{}/{}", file.len() - 1, file.len());
        headers += &format!("Content-Range: {range}\r\n");
    }
    head(stream, if start.is_some() { 206 } else { 200 }, &headers)?;
    stream.write_all(&file[from..file.len().min(from.saturating_add(most))])
}

fn head(stream: &mut TcpStream, status: u16, headers: &str) -> Result<()> {
    write!(
        stream,
        "HTTP/1.1 {status} Reply\r\nConnection: close\r\n{headers}\r\n"
    )
}
