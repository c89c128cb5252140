//! A reader of the Prometheus text format 0.0.4 that is independent of the code that writes it.

use std::collections::{BTreeMap, BTreeSet};

/// One series and its value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
}

/// Returns all samples on a page.
pub(crate) fn samples(page: &str) -> Vec<Sample> {
    page.lines().filter(|line| !line.starts_with('#')).map(sample).collect()
}

/// Returns the names of the metric families on a page.
pub(crate) fn families(page: &str) -> BTreeSet<String> {
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types.map(|rest| rest.split(' ').next().unwrap().to_owned()).collect()
}

/// Returns the sum of the samples that have this name and all these labels, or `None` if there are none.
pub(crate) fn value(page: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let has = |sample: &Sample| {
        let same = |(key, value): &(&str, &str)| sample.labels.get(*key).is_some_and(|is| is == value);
        sample.name == name && labels.iter().all(same)
    };
    let found: Vec<f64> = samples(page)
        .into_iter()
        .filter(has)
        .map(|sample| sample.value)
        .collect();
    found.into_iter().reduce(|a, b| a + b)
}

fn sample(line: &str) -> Sample {
    let (series, value) = line.rsplit_once(' ').unwrap();
    let value = value.parse().unwrap_or_else(|_| panic!("{line:?}"));
    let (name, labels) = match series.split_once('{') {
        None => (series, BTreeMap::new()),
        Some((name, rest)) => (name, self::labels(rest.strip_suffix('}').unwrap())),
    };
    Sample {
        name: name.to_owned(),
        labels,
        value,
    }
}

fn labels(text: &str) -> BTreeMap<String, String> {
    let (mut labels, mut rest) = (BTreeMap::new(), text.chars().peekable());
    while rest.peek().is_some() {
        let key: String = rest.by_ref().take_while(|c| *c != '=').collect();
        assert_eq!(rest.next(), Some('"'), "{text:?}");
        let mut value = String::new();
        loop {
            match rest.next().unwrap_or_else(|| panic!("{text:?}")) {
                '"' => break,
                '\\' => value.push(match rest.next() {
                    Some('n') => '\n',
                    Some(other @ ('\\' | '"')) => other,
                    other => panic!("{other:?} is escaped in {text:?}"),
                }),
                other => value.push(other),
            }
        }
        assert!(labels.insert(key, value).is_none(), "a duplicate label: {text:?}");
        assert!(matches!(rest.next(), None | Some(',')), "{text:?}");
    }
    labels
}

#[test]
fn the_reader_decodes_escaped_label_values() {
    let page = "# TYPE a gauge\na{x=\"1\",y=\"a\\\\b\\\"c\\nd} 2\"} 4.5\na 1\n";
    let all = samples(page);
    assert_eq!((all.len(), all[0].value), (2, 4.5));
    assert_eq!(all[0].labels["y"], "a\\b\"c\nd} 2");
    assert_eq!(value(page, "a", &[("x", "1")]), Some(4.5));
    assert_eq!(families(page).into_iter().collect::<Vec<_>>(), ["a"]);
}
