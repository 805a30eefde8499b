//! A strict reader of Prometheus' text format, as a judge of what the router writes.

use std::collections::{BTreeMap, BTreeSet};

/// A page of metrics that kept the rules.
#[derive(Debug)]
pub(crate) struct Exposition {
    /// Values by series, labels in the order written, such as `name{a="b"}`.
    samples: BTreeMap<String, f64>,
    /// Kinds by family.
    pub(crate) families: BTreeMap<String, String>,
}

impl Exposition {
    /// Reads a page, and panics with the offending line where it breaks a rule.
    pub(crate) fn read(text: &str) -> Self {
        let mut page = Self { samples: BTreeMap::new(), families: BTreeMap::new() };
        let mut family = String::new();
        let mut helped = BTreeSet::new();
        assert!(text.ends_with('\n'), "the last line ends");
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect(line);
                assert!(!help.is_empty() && helped.insert(name.to_owned()), "one help a family: {line}");
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect(line);
                assert!(helped.contains(name), "help before type: {line}");
                assert!(page.families.insert(name.to_owned(), kind.to_owned()).is_none(), "one type a family: {line}");
                check_family(name, kind);
                family = name.to_owned();
            } else {
                page.sample(&family, line);
            }
        }
        page.check_histograms();
        page
    }

    /// The value of a series as written; panics when there is none.
    pub(crate) fn value(&self, series: &str) -> f64 {
        *self.samples.get(series).unwrap_or_else(|| panic!("no {series} in {:#?}", self.samples))
    }

    /// How many series begin so.
    pub(crate) fn count(&self, prefix: &str) -> usize {
        self.samples.keys().filter(|series| series.starts_with(prefix)).count()
    }

    fn sample(&mut self, family: &str, line: &str) {
        let end = line.find(['{', ' ']).expect(line);
        let name = &line[..end];
        let own = match self.families.get(family).map(String::as_str) {
            Some("histogram") => name.strip_prefix(family).is_some_and(|s| ["_bucket", "_sum", "_count"].contains(&s)),
            _ => name == family,
        };
        assert!(own, "a sample stands below its family `{family}`: {line}");
        let (labels, rest) = read_labels(&line[end..]);
        let names: BTreeSet<&String> = labels.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), labels.len(), "a label stands once: {line}");
        let value: f64 = rest.strip_prefix(' ').expect(line).parse().expect(line);
        assert!(value >= 0.0, "nothing here is negative: {line}");
        let series = &line[..line.len() - rest.len()];
        assert!(self.samples.insert(series.to_owned(), value).is_none(), "a series stands once: {line}");
    }

    /// Buckets rise to `+Inf`, which equals the count.
    fn check_histograms(&self) {
        let mut buckets: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
        for (series, value) in &self.samples {
            if let Some((name, labels)) = series.split_once("_bucket{") {
                let (rest, bound) = labels.split_once("le=\"").expect(series);
                let bound = bound.trim_end_matches("\"}").replace("+Inf", "inf").parse().expect(series);
                let labels = rest.trim_end_matches(',');
                let key = match labels {
                    "" => format!("{name}_count"),
                    labels => format!("{name}_count{{{labels}}}"),
                };
                buckets.entry(key).or_default().push((bound, *value));
            }
        }
        for (count, mut values) in buckets {
            values.sort_by(|left, right| left.0.total_cmp(&right.0));
            assert!(values.is_sorted_by_key(|(_, value)| *value), "cumulative: {count} {values:?}");
            let (bound, last) = *values.last().expect("not empty");
            assert!(bound.is_infinite(), "{count} has +Inf");
            assert!((last - self.value(&count)).abs() < 0.5, "{count} equals +Inf");
        }
    }
}

fn check_family(name: &str, kind: &str) {
    assert!(name.starts_with("banyan_"), "{name}");
    assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'), "{name}");
    assert!(["counter", "gauge", "histogram"].contains(&kind), "{name} {kind}");
    assert_eq!(kind == "counter", name.ends_with("_total"), "counters and only they end in _total: {name}");
    assert!(!name.contains("_ms") && !name.contains("millisecond"), "seconds, not milliseconds: {name}");
}

/// Reads `{name="value",…}` with its escapes; gives the labels and what stands behind them.
fn read_labels(text: &str) -> (Vec<(String, String)>, &str) {
    let mut labels = Vec::new();
    let Some(mut rest) = text.strip_prefix('{') else {
        return (labels, text);
    };
    loop {
        let (name, behind) = rest.split_once("=\"").expect(text);
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') && !name.is_empty(), "{text}");
        let mut value = String::new();
        let mut letters = behind.char_indices();
        let end = loop {
            match letters.next().expect(text) {
                (at, '"') => break at,
                (_, '\\') => match letters.next().expect(text).1 {
                    'n' => value.push('\n'),
                    plain @ ('\\' | '"') => value.push(plain),
                    other => panic!("no such escape \\{other}: {text}"),
                },
                (_, plain) => value.push(plain),
            }
        };
        labels.push((name.to_owned(), value));
        rest = &behind[end + 1..];
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None => return (labels, rest.strip_prefix('}').expect(text)),
        }
    }
}
