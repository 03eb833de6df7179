use std::io::ErrorKind;
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use ureq::config::RedirectAuthHeaders;
use ureq::http::{HeaderMap, Response, header};
use ureq::{Agent, Body, Timeout};

use super::error::{SourceError, chain};
use super::part::{HUB, Part, read_note, write_note};
use super::retry::Retry;
use super::{Job, PullOptions, Token};
use crate::models::bundle::HubSource;
use crate::models::progress::Progress;

/// So much new before patience starts afresh, or a server that gives one byte
/// a connection would be asked a billion times.
const WORTHWHILE: u64 = 1 << 20;

/// Downloads the file from a hub, going on where an earlier run stopped.
pub(super) fn fetch(hub: &HubSource, job: &mut Job<'_>) -> Result<u64, SourceError> {
    let url = url(hub, job.options);
    let agent = agent(job.options);
    let mut part = Part::open(job, HUB, u64::MAX, 0)?;
    let mut retry = Retry::new(job.options, job.last);
    let mut furthest = part.len();
    let mut began_anew = false;
    loop {
        let error = match download(&agent, &url, &mut part, job) {
            Ok(()) => {
                let pieced = part.is_pieced();
                match part.finish() {
                    // One of the pieces may be of something else.
                    Err(error @ SourceError::WrongChecksum { .. }) if pieced && !began_anew => {
                        began_anew = true;
                        part = Part::open(job, HUB, 0, 0)?;
                        retrying(job, Duration::ZERO, &error);
                        continue;
                    }
                    finished => return finished,
                }
            }
            Err(error) => error,
        };
        if part.len() >= furthest + WORTHWHILE {
            furthest = part.len();
            retry.progressed();
        }
        match retry.after(&error) {
            Some(wait) => retrying(job, wait, &error),
            None => return Err(error),
        }
    }
}

fn url(hub: &HubSource, options: &PullOptions) -> String {
    let HubSource {
        repo,
        revision,
        path,
    } = hub;
    format!("{}/{repo}/resolve/{revision}/{path}", options.hub_url())
}

fn retrying(job: &mut Job<'_>, wait: Duration, error: &SourceError) {
    (job.progress)(Progress::Retrying {
        wait,
        why: chain(error),
    });
    thread::sleep(wait);
}

/// The version of the file that a part began with. A weak tag does not promise
/// the same bytes and is not kept.
#[derive(Serialize, Deserialize)]
struct Note {
    etag: Option<String>,
}

/// One request: appends to the part until it is complete.
fn download(
    agent: &Agent,
    url: &str,
    part: &mut Part<'_>,
    job: &mut Job<'_>,
) -> Result<(), SourceError> {
    if part.is_complete() {
        return Ok(());
    }
    let mut request = agent.get(url).header(header::ACCEPT_ENCODING, "identity");
    if let Some(Token(token)) = &job.options.hub_token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    if part.len() > 0 {
        request = request.header(header::RANGE, format!("bytes={}-", part.len()));
        // Without a tag the pinned revision and the checksum must do.
        if let Some(Note { etag: Some(etag) }) = read_note(job, HUB) {
            request = request.header(header::IF_RANGE, etag);
        }
    }
    let mut response = request.call().map_err(|error| request_error(url, error))?;

    let status = response.status().as_u16();
    let announced = match status {
        200 => content_length(response.headers()),
        206 => match content_range(response.headers()) {
            Some((start, total)) if start == part.len() => total,
            _ => return start_again(url, part, "it sent another range than asked for"),
        },
        416 => return start_again(url, part, "it has no such range"),
        _ => return Err(status_error(url, status, &response)),
    };
    if let Some(got) = announced.filter(|got| *got != job.base.size) {
        return Err(SourceError::WrongSize {
            expected: job.base.size,
            got,
        });
    }
    match status {
        // All of it, asked or not: the server knows no ranges, or has another version.
        200 => part.restart()?,
        _ => part.join(),
    }
    let etag = header_text(response.headers(), header::ETAG);
    let etag = etag.filter(|etag| etag.starts_with('"')).map(str::to_owned);
    write_note(job, HUB, &Note { etag })?;

    let broken = |why: String| SourceError::Broken {
        url: url.to_owned(),
        why,
    };
    part.fill(
        &mut response.body_mut().as_reader(),
        job.progress,
        |error| {
            broken(match error.kind() {
                ErrorKind::TimedOut => "the connection stalled".to_owned(),
                _ => error.to_string(),
            })
        },
    )?;
    if part.is_complete() {
        Ok(())
    } else {
        Err(broken(format!(
            "it ended after {} of {} bytes",
            part.len(),
            job.base.size
        )))
    }
}

fn start_again(url: &str, part: &mut Part<'_>, why: &str) -> Result<(), SourceError> {
    part.restart()?;
    Err(SourceError::Broken {
        url: url.to_owned(),
        why: why.to_owned(),
    })
}

fn agent(options: &PullOptions) -> Agent {
    Agent::config_builder()
        .http_status_as_error(false)
        // A hub asked over TLS must not send us on to a plain address.
        .https_only(options.hub_url().starts_with("https://"))
        .redirect_auth_headers(RedirectAuthHeaders::Never)
        .user_agent(concat!("judged/", env!("CARGO_PKG_VERSION")))
        .timeout_resolve(Some(options.connect_timeout))
        .timeout_connect(Some(options.connect_timeout))
        .timeout_recv_response(Some(options.stall_timeout))
        .timeout_per_read(Some(options.stall_timeout))
        .timeout_per_write(Some(options.stall_timeout))
        .build()
        .into()
}

/// Sorts failures by what helps: another source, another try, or neither.
fn request_error(url: &str, error: ureq::Error) -> SourceError {
    let (url, why) = (url.to_owned(), error.to_string());
    match error {
        ureq::Error::HostNotFound
        | ureq::Error::ConnectionFailed
        | ureq::Error::ConnectProxyFailed(_)
        | ureq::Error::Timeout(Timeout::Resolve | Timeout::Connect) => {
            SourceError::Unreachable { url, why }
        }
        ureq::Error::Io(error) => match error.kind() {
            ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::UnexpectedEof
            | ErrorKind::TimedOut => SourceError::Broken { url, why },
            // Refused, no route, no such host: the system has many words for it.
            _ => SourceError::Unreachable { url, why },
        },
        ureq::Error::Timeout(_) | ureq::Error::Protocol(_) => SourceError::Broken { url, why },
        _ => SourceError::Refused { url, why },
    }
}

fn status_error(url: &str, status: u16, response: &Response<Body>) -> SourceError {
    // The other form, a date, is rare: our own wait serves as well.
    let seconds = header_text(response.headers(), header::RETRY_AFTER)
        .and_then(|text| text.trim().parse().ok());
    SourceError::Status {
        url: url.to_owned(),
        status,
        retry_after: seconds.map(Duration::from_secs),
    }
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    header_text(headers, header::CONTENT_LENGTH)?
        .trim()
        .parse()
        .ok()
}

/// `bytes 100-999/1000` as its start and, if told, its total.
fn content_range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let range = header_text(headers, header::CONTENT_RANGE)?.strip_prefix("bytes ")?;
    let (range, total) = range.split_once('/')?;
    let (start, _) = range.split_once('-')?;
    Some((start.trim().parse().ok()?, total.trim().parse().ok()))
}

fn header_text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}
