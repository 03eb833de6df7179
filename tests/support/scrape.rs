//! A process whose metrics are served, and what a scrape of them says.

#![allow(dead_code, reason = "each test crate uses its own part")]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that goes wrong should stop"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::daemon::{Daemon, Setup};

/// As the daemon is set up that these tests scrape.
pub fn measured(setup: Setup) -> Setup {
    setup.with(|config| config.metrics_listen = Some("127.0.0.1:0".parse().unwrap()))
}

/// A page in Prometheus' text format.
#[derive(Clone, Debug)]
pub struct Page {
    pub text: String,
    /// Each by its name and labels, such as `judged_mode{mode="SHADOW"}`.
    samples: BTreeMap<String, f64>,
    /// The type by the metric's name.
    pub types: BTreeMap<String, String>,
}

impl Page {
    pub async fn of(daemon: &Daemon) -> Page {
        Page::at(daemon.metrics_addr.unwrap()).await
    }

    pub async fn at(addr: SocketAddr) -> Page {
        let (kind, text) = get(addr, "/metrics", "").await.unwrap();
        assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
        Page::parse(text)
    }

    pub fn parse(text: String) -> Page {
        let mut page = Page {
            text: text.clone(),
            samples: BTreeMap::new(),
            types: BTreeMap::new(),
        };
        for line in text.lines() {
            if let Some(told) = line.strip_prefix("# TYPE ") {
                let (name, kind) = told.split_once(' ').unwrap();
                let before = page.types.insert(name.to_owned(), kind.to_owned());
                assert!(before.is_none(), "{name} stands twice");
            } else if !line.starts_with('#') {
                let (series, value) = line.rsplit_once(' ').unwrap();
                let value = value.parse().unwrap();
                let before = page.samples.insert(series.to_owned(), value);
                assert!(before.is_none(), "{series} stands twice");
            }
        }
        page
    }

    /// The value of a series, which must be there.
    pub fn value(&self, series: &str) -> f64 {
        let value = self.samples.get(series);
        *value.unwrap_or_else(|| panic!("no {series} in:\n{}", self.text))
    }

    pub fn find(&self, series: &str) -> Option<f64> {
        self.samples.get(series).copied()
    }

    /// The sum of all series of a name.
    pub fn sum(&self, name: &str) -> f64 {
        let series = self.series(name);
        series.map(|(_, value)| value).sum()
    }

    pub fn series(&self, name: &str) -> impl Iterator<Item = (&str, f64)> {
        let with_labels = format!("{name}{{");
        let own = self
            .samples
            .iter()
            .filter(move |(series, _)| series.as_str() == name || series.starts_with(&with_labels));
        own.map(|(series, value)| (series.as_str(), *value))
    }

    /// The one value of a label whose series is 1, while all others are 0.
    pub fn holds(&self, name: &str) -> String {
        let mut ones = Vec::new();
        for (series, value) in self.series(name) {
            assert!(value == 0.0 || value == 1.0, "{series} is {value}");
            if value == 1.0 {
                ones.push(series.split('"').nth(1).unwrap().to_owned());
            }
        }
        assert_eq!(ones.len(), 1, "{name} holds of {ones:?}");
        ones.remove(0)
    }

    pub fn names(&self) -> BTreeSet<&str> {
        self.types.keys().map(String::as_str).collect()
    }
}

/// The content type and the body, or the status of a failure.
pub async fn get(addr: SocketAddr, path: &str, accept: &str) -> Result<(String, String), u16> {
    let url = format!("http://{addr}{path}");
    let accept = accept.to_owned();
    let asked = tokio::task::spawn_blocking(move || {
        let mut answer = ureq::get(&url).header("accept", accept).call()?;
        let kind = answer.headers()["content-type"]
            .to_str()
            .unwrap()
            .to_owned();
        Ok((kind, answer.body_mut().read_to_string()?))
    });
    match asked.await.unwrap() {
        Ok(answer) => Ok(answer),
        Err(ureq::Error::StatusCode(code)) => Err(code),
        Err(error) => panic!("`{path}` of {addr}: {error}"),
    }
}
