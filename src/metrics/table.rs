//! Metric families as rows of a table, and the collector that exports such a table.
//!
//! Owns the way into the `prometheus` crate's model; the tables stand in `collector` and
//! `process`. Everything is read at scrape time: nothing here is touched while a message is
//! served.

use super::snapshot::Distribution;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};
use std::collections::HashMap;

/// One metric family: what it is called, what it says, and how it is read from an `S`.
pub(crate) struct Row<S> {
    /// The name behind the prefix.
    pub(crate) name: &'static str,
    /// Whether it may fall.
    pub(crate) kind: Kind,
    /// The names of its labels.
    pub(crate) labels: &'static [&'static str],
    /// The help text. `{prefix}` stands for the prefix, so that it can name another metric.
    pub(crate) help: &'static str,
    /// Its samples in one reading. A family without samples is left out of the scrape.
    pub(crate) read: for<'a> fn(&'a S) -> Samples<'a>,
}

/// The samples of a family: the values of its labels, in the row's order, and what was measured.
pub(crate) type Samples<'a> = Vec<(Vec<&'a str>, Value<'a>)>;

/// What was measured.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Value<'a> {
    /// A count or a level. Whole numbers are exact up to 2^53.
    Number(f64),
    /// A histogram's buckets.
    Spread(&'a Distribution),
}

/// The types of family in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Never falls while the process lives.
    Counter,
    /// A level.
    Gauge,
    /// A distribution in buckets.
    Histogram,
}

/// The collector over a table: `source` is read once per scrape, so that the families of one
/// scrape belong together.
pub(crate) struct Table<S: 'static> {
    rows: &'static [Row<S>],
    descs: Vec<Desc>,
    source: Box<dyn Fn() -> S + Send + Sync>,
}

impl<S> Table<S> {
    /// `rows` as read from `source`, with `prefix` and an underscore before each name; an empty
    /// prefix adds neither.
    ///
    /// # Errors
    ///
    /// If `prefix` makes no valid metric names.
    pub(crate) fn new(
        prefix: &str,
        rows: &'static [Row<S>],
        source: impl Fn() -> S + Send + Sync + 'static,
    ) -> prometheus::Result<Self> {
        let before = if prefix.is_empty() { String::new() } else { format!("{prefix}_") };
        let desc = |row: &Row<S>| {
            let labels = row.labels.iter().map(|label| (*label).to_owned()).collect();
            let help = row.help.replace("{prefix}", prefix);
            Desc::new(format!("{before}{}", row.name), help, labels, HashMap::new())
        };
        let descs = rows.iter().map(desc).collect::<prometheus::Result<_>>()?;
        Ok(Self { rows, descs, source: Box::new(source) })
    }
}

impl<S> Collector for Table<S> {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let reading = (self.source)();
        let families = self.rows.iter().zip(&self.descs);
        families.map(|(row, desc)| row.family(desc, (row.read)(&reading))).collect()
    }
}

impl<S> Row<S> {
    fn family(&self, desc: &Desc, samples: Samples<'_>) -> MetricFamily {
        let mut family = MetricFamily::default();
        family.set_name(desc.fq_name.clone());
        family.set_help(desc.help.clone());
        family.set_field_type(match self.kind {
            Kind::Counter => MetricType::COUNTER,
            Kind::Gauge => MetricType::GAUGE,
            Kind::Histogram => MetricType::HISTOGRAM,
        });
        family.set_metric(samples.into_iter().map(|sample| self.metric(sample)).collect());
        family
    }

    fn metric(&self, (values, value): (Vec<&str>, Value<'_>)) -> Metric {
        let pair = |(name, value): (&&str, &str)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value(value.to_owned());
            pair
        };
        let mut metric = Metric::from_label(self.labels.iter().zip(values).map(pair).collect());
        match (self.kind, value) {
            (Kind::Counter, Value::Number(number)) => {
                let mut counter = Counter::default();
                counter.set_value(number);
                metric.set_counter(counter);
            }
            (Kind::Gauge, Value::Number(number)) => {
                let mut gauge = Gauge::default();
                gauge.set_value(number);
                metric.set_gauge(gauge);
            }
            (Kind::Histogram, Value::Spread(spread)) => metric.set_histogram(histogram(spread)),
            (kind, value) => unreachable!("{} is a {kind:?}, not {value:?}", self.name),
        }
        metric
    }
}

/// Cumulative buckets; the one above all bounds is the count.
fn histogram(spread: &Distribution) -> Histogram {
    let mut below = 0;
    let bucket = |(bound, count): (&f64, &u64)| {
        below += count;
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(*bound);
        bucket.set_cumulative_count(below);
        bucket
    };
    let mut histogram = Histogram::default();
    histogram.set_bucket(spread.bounds.iter().zip(&spread.counts).map(bucket).collect());
    histogram.set_sample_count(spread.count());
    histogram.set_sample_sum(spread.sum);
    histogram
}
