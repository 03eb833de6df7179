//! What is read at the moment of a scrape, written down by name.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeCounterValue, NoLabelSet};
use prometheus_client::metrics::MetricType;

/// Written to in the order of the page.
pub struct Sheet<'e>(pub DescriptorEncoder<'e>);

/// Names and values of labels.
pub type Labels<'l> = &'l [(&'l str, &'l str)];

impl Sheet<'_> {
    pub fn gauge(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        let kind = MetricType::Gauge;
        let mut metric = self.0.encode_descriptor(name, help, None, kind)?;
        metric.encode_gauge(&value)
    }

    /// Without a series where there is no value.
    pub fn gauge_if_known(&mut self, name: &str, help: &str, value: Option<f64>) -> fmt::Result {
        let kind = MetricType::Gauge;
        let mut metric = self.0.encode_descriptor(name, help, None, kind)?;
        value.map_or(Ok(()), |value| metric.encode_gauge(&value))
    }

    /// A row a value of the label.
    pub fn gauges<'l>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        rows: impl IntoIterator<Item = (&'l str, f64)>,
    ) -> fmt::Result {
        let kind = MetricType::Gauge;
        let mut metric = self.0.encode_descriptor(name, help, None, kind)?;
        for (value, number) in rows {
            metric
                .encode_family(&[(label, value)])?
                .encode_gauge(&number)?;
        }
        Ok(())
    }

    /// A gauge for each state, 1 for the one that holds.
    pub fn states(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        all: &[&str],
        holds: &str,
    ) -> fmt::Result {
        let rows = all.iter().map(|state| (*state, truth(*state == holds)));
        self.gauges(name, help, label, rows)
    }

    /// Always 1: what it tells is in its labels.
    pub fn info(&mut self, name: &str, help: &str, labels: Labels<'_>) -> fmt::Result {
        let kind = MetricType::Gauge;
        let mut metric = self.0.encode_descriptor(name, help, None, kind)?;
        metric.encode_family(&labels)?.encode_gauge(&1.0)
    }

    /// The name without its `_total`.
    pub fn counter(&mut self, name: &str, help: &str, count: u64) -> fmt::Result {
        self.count(name, help, &count)
    }

    pub fn seconds_counter(&mut self, name: &str, help: &str, seconds: f64) -> fmt::Result {
        self.count(name, help, &seconds)
    }

    pub fn counters<'l>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        rows: impl IntoIterator<Item = (&'l str, f64)>,
    ) -> fmt::Result {
        let kind = MetricType::Counter;
        let mut metric = self.0.encode_descriptor(name, help, None, kind)?;
        for (value, number) in rows {
            metric
                .encode_family(&[(label, value)])?
                .encode_counter::<NoLabelSet, f64, f64>(&number, None)?;
        }
        Ok(())
    }

    fn count(&mut self, name: &str, help: &str, value: &impl EncodeCounterValue) -> fmt::Result {
        let kind = MetricType::Counter;
        let mut metric = self.0.encode_descriptor(name, help, None, kind)?;
        metric.encode_counter::<NoLabelSet, _, f64>(value, None)
    }
}

pub fn truth(holds: bool) -> f64 {
    f64::from(u8::from(holds))
}
