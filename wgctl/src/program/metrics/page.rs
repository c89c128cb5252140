//! The metrics page, in the text format 0.0.4.
//!
//! Owns the encoding of the page, and its first metrics: those of the build and of the process.

use std::fmt;

use prometheus_client::encoding::prometheus_text;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::process;

/// The path of the page.
pub const PATH: &str = "/metrics";

/// The `Content-Type` of the page.
pub use prometheus_client::encoding::prometheus_text::CONTENT_TYPE;

/// All metrics that a program exposes.
#[derive(Debug)]
pub struct Page {
    registry: Registry,
}

impl Page {
    /// Creates the page of a program, with the metrics of its build and its process.
    #[must_use]
    pub fn new(component: &'static str, version: &'static str) -> Self {
        let mut registry = Registry::default();
        let build = Info::new([("component", component), ("version", version)]);
        let help = "The running component: always 1, with the component and its version as labels";
        registry.register("sentrazone_build", help, build);
        registry.register_collector(Box::new(process::Process::begun_now()));
        Self { registry }
    }

    /// Returns the registry for further metrics.
    pub const fn registry(&mut self) -> &mut Registry {
        &mut self.registry
    }

    /// Returns the text of the page.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        self.write(&mut text)?;
        Ok(text)
    }

    /// Appends the text of the page to `text`.
    pub fn write(&self, text: &mut String) -> fmt::Result {
        prometheus_text::encode(text, &self.registry)
    }
}

/// Appends metrics that are collected only for this page.
pub fn write_once(text: &mut String, collector: impl prometheus_client::collector::Collector) -> fmt::Result {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(collector));
    prometheus_text::encode(text, &registry)
}

/// Creates a histogram for seconds, from a millisecond to half a minute.
#[must_use]
pub fn seconds() -> Histogram {
    Histogram::new([0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 30.0])
}

#[cfg(test)]
mod tests {
    use prometheus_client::collector::Collector;
    use prometheus_client::encoding::DescriptorEncoder;

    use super::super::number::{Kind, number};
    use super::*;

    #[derive(Debug)]
    struct Strange;

    impl Collector for Strange {
        fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
            let mut metric = encoder.encode_descriptor("strange", "a\nb", None, Kind::Counter.metric_type())?;
            Kind::Counter.write(metric.encode_family(&[("name", "a\"b\\c\nd")])?, number(3))
        }
    }

    #[test]
    fn characters_that_would_end_a_label_or_a_line_are_escaped() {
        let mut text = String::new();
        write_once(&mut text, Strange).unwrap();
        assert!(
            text.ends_with("strange_total{name=\"a\\\"b\\\\c\\nd\"} 3.0\n"),
            "{text}"
        );
        assert_eq!(text.lines().count(), 3, "{text}");
    }

    #[test]
    fn the_page_describes_the_build_and_the_process() {
        let page = Page::new("plane", "1.2.3").text().unwrap();
        assert!(
            page.contains("sentrazone_build_info{component=\"plane\",version=\"1.2.3\"} 1\n"),
            "{page}"
        );
        for name in [
            "process_start_time_seconds",
            "process_resident_memory_bytes",
            "process_cpu_seconds_total",
        ] {
            assert!(page.contains(&format!("\n{name} ")), "{page}");
        }
    }
}
