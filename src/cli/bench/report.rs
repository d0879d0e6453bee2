//! What a run is told as: a table for people, JSON for programs.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::mix::Operation;
use super::tally::{Latencies, Tally};

/// What came out of a run.
pub(super) struct Report {
    /// What was asked for, in words.
    pub(super) what: String,
    pub(super) seed: u64,
    pub(super) connections: usize,
    pub(super) rate: Option<u64>,
    /// From the first request until the last answer.
    pub(super) elapsed: Duration,
    pub(super) longest_gap: Duration,
    /// Whether it ended before its time, and why.
    pub(super) cut_short: Option<&'static str>,
    pub(super) tally: Tally,
}

/// The percentiles of a report, as JSON names them.
const SHARES: [(&str, f64); 4] = [("p50_us", 0.5), ("p95_us", 0.95), ("p99_us", 0.99), ("p99_9_us", 0.999)];

impl Report {
    /// One JSON object.
    pub(super) fn json(&self) -> Value {
        let tally = &self.tally;
        let mut operations = Map::new();
        for operation in Operation::ALL {
            let (requests, measured) = tally.of(operation);
            if requests > 0 || measured.count() > 0 {
                operations.insert(operation.name().to_owned(), latencies(requests, measured));
            }
        }
        json!({
            "seed": self.seed,
            "connections": self.connections,
            "rate": self.rate,
            "elapsed_ms": self.elapsed.as_millis() as u64,
            "cut_short": self.cut_short,
            "requests": tally.requests(),
            "succeeded": tally.succeeded(),
            "failed": tally.failed,
            "unsent": tally.unsent,
            "requests_per_s": self.per_s(tally.succeeded()),
            "sent_bytes_per_s": self.per_s(tally.sent_bytes),
            "received_bytes_per_s": self.per_s(tally.received_bytes),
            "hits": tally.hits,
            "misses": tally.misses,
            "hit_ratio": self.hit_ratio(),
            "errors": tally.errors,
            "longest_gap_ms": self.longest_gap.as_millis() as u64,
            "refused_connections": tally.refused_connections,
            "reconnections": tally.reconnections,
            "operations": operations,
            "total": latencies(tally.requests(), &tally.total()),
        })
    }

    /// A text of several lines.
    pub(super) fn text(&self) -> String {
        let tally = &self.tally;
        let (requests, elapsed) = (grouped(tally.requests()), self.elapsed.as_secs_f64());
        let mut text = format!("{}\n", self.what);
        if let Some(reason) = self.cut_short {
            text += &format!("cut short: {reason}\n");
        }
        text += &format!("\nrequests      {requests} in {elapsed:.1} s: ");
        text += &format!("{} succeeded a second\n", grouped(self.per_s(tally.succeeded()) as u64));
        text += &format!("sent          {}/s\n", bytes(self.per_s(tally.sent_bytes)));
        text += &format!("received      {}/s\n", bytes(self.per_s(tally.received_bytes)));
        if let Some(ratio) = self.hit_ratio() {
            text += &format!("hits          {:.1} %\n", ratio * 100.0);
        }
        text += &format!("longest gap   {} ms without a success\n", self.longest_gap.as_millis());
        if tally.unsent > 0 {
            text += &format!("unsent        {} were due and not sent in time\n", grouped(tally.unsent));
        }
        if tally.refused_connections + tally.reconnections > 0 {
            let (refused, again) = (tally.refused_connections, tally.reconnections);
            text += &format!("connections   {again} made again, {refused} attempts failed\n");
        }
        text += &format!("errors        {}\n", grouped(tally.failed));
        for (code, count) in &tally.errors {
            text += &format!("  {code}: {}\n", grouped(*count));
        }
        text + &self.table()
    }

    fn table(&self) -> String {
        let mut rows = Vec::new();
        for operation in Operation::ALL {
            let (requests, measured) = self.tally.of(operation);
            if requests > 0 || measured.count() > 0 {
                rows.push((operation.name(), requests, measured.clone()));
            }
        }
        rows.push(("total", self.tally.requests(), self.tally.total()));
        let from = if self.rate.is_some() { ", from when the request was due" } else { "" };
        let mut text = format!("\nlatency in ms{from}\n");
        let heads = ["requests", "mean", "p50", "p95", "p99", "p99.9", "max"];
        text += &format!("{:6}", "");
        heads.iter().for_each(|head| text += &format!("{head:>11}"));
        for (name, requests, measured) in rows {
            text += &format!("\n{name:6}{:>11}", grouped(requests));
            let quantiles = SHARES.map(|(_, share)| measured.quantile(share));
            let all = [measured.mean()].into_iter().chain(quantiles).chain([measured.max()]);
            all.for_each(|latency| text += &format!("{:>11.3}", latency.as_secs_f64() * 1_000.0));
        }
        text + "\n"
    }

    fn per_s(&self, count: u64) -> f64 {
        let per_s = count as f64 / self.elapsed.as_secs_f64().max(1e-9);
        (per_s * 10.0).round() / 10.0
    }

    /// The share of reads that found something; none without reads.
    fn hit_ratio(&self) -> Option<f64> {
        let reads = self.tally.hits + self.tally.misses;
        (reads > 0).then(|| self.tally.hits as f64 / reads as f64)
    }
}

fn latencies(requests: u64, measured: &Latencies) -> Value {
    let mut fields = Map::new();
    fields.insert("requests".to_owned(), requests.into());
    fields.insert("mean_us".to_owned(), (measured.mean().as_micros() as u64).into());
    for (name, share) in SHARES {
        fields.insert(name.to_owned(), (measured.quantile(share).as_micros() as u64).into());
    }
    fields.insert("max_us".to_owned(), (measured.max().as_micros() as u64).into());
    Value::Object(fields)
}

/// A number with a comma before every three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn bytes(count: f64) -> String {
    let units = [("GB", 1e9), ("MB", 1e6), ("kB", 1e3)];
    let unit = units.iter().find(|(_, size)| count >= *size);
    unit.map_or_else(|| format!("{count:.0} B"), |(name, size)| format!("{:.1} {name}", count / size))
}

#[cfg(test)]
mod tests {
    use super::super::tally::Ending;
    use super::*;

    /// Goal: the text says what was measured, in a form that people can read.
    #[test]
    fn the_text() {
        let mut tally = Tally::new();
        for ms in 1..=1_000 {
            let ending = Ending::Success { missed: ms % 4 == 0 };
            tally.count(Operation::Get, ending, Duration::from_millis(ms));
        }
        tally.count(Operation::Set, Ending::Error("no-leader".to_owned()), Duration::ZERO);
        tally.sent_bytes = 3_000_000;
        let report = Report {
            what: "what".to_owned(),
            seed: 1,
            connections: 2,
            rate: Some(500),
            elapsed: Duration::from_secs(2),
            longest_gap: Duration::from_millis(7),
            cut_short: Some("interrupted"),
            tally,
        };
        let text = report.text();
        for part in [
            "what\ncut short: interrupted\n",
            "requests      1,001 in 2.0 s: 500 succeeded a second\n",
            "sent          1.5 MB/s\nreceived      0 B/s\n",
            "hits          75.0 %\n",
            "longest gap   7 ms",
            "errors        1\n  no-leader: 1\n",
            "latency in ms, from when the request was due\n",
        ] {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
        let row: Vec<&str> =
            text.lines().find(|line| line.starts_with("get")).expect("a row").split_whitespace().collect();
        assert_eq!(row[..2], ["get", "1,000"]);
        let p99: f64 = row[5].parse().expect("a number");
        assert!((p99 - 990.0).abs() < 1.0, "{row:?}");
        assert_eq!(report.json()["operations"]["set"]["requests"], 1);
        assert_eq!(
            (grouped(0), grouped(12), grouped(1_234_567)),
            ("0".into(), "12".into(), "1,234,567".into())
        );
    }
}
