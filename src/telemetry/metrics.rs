//! Counters, gauges and histograms in the text format of Prometheus (OpenMetrics 1.0). Never a cycle ID as a label.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::log;
use super::polled_plc::PolledPlc;
use crate::part::{Delivery, PartRecord};
use crate::plc::modbus::client::ClientCounters;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PartLabels {
    verdict: &'static str,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StageLabels {
    stage: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EventLabels {
    event: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DeliveryLabels {
    delivery: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CameraLabels {
    camera: String,
}

/// Upper bounds of the latency buckets, seconds.
const SECONDS: [f64; 13] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0];

/// Everything that is counted.
pub struct Metrics {
    registry: Registry,
    parts: Family<PartLabels, Counter>,
    stages: Family<StageLabels, Histogram, fn() -> Histogram>,
    events: Family<EventLabels, Counter>,
    frames: Family<CameraLabels, Counter>,
    camera_up: Family<CameraLabels, Gauge>,
    records_dropped: Counter,
    lines_dropped: Counter,
    images_dropped: Counter,
    log_lines_dropped: Counter,
    records: Counter,
    model_activations: Family<ResultLabels, Counter>,
    error_code: Gauge,
    ready: Gauge,
    models_loading: Gauge,
    ready_flag: AtomicU64,
    deliveries: Family<DeliveryLabels, Counter>,
    polled_plc: PolledPlc,
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("takt"),
            parts: Family::default(),
            stages: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            events: Family::default(),
            frames: Family::default(),
            camera_up: Family::default(),
            records_dropped: Counter::default(),
            lines_dropped: Counter::default(),
            images_dropped: Counter::default(),
            log_lines_dropped: Counter::default(),
            records: Counter::default(),
            model_activations: Family::default(),
            error_code: Gauge::default(),
            ready: Gauge::default(),
            models_loading: Gauge::default(),
            ready_flag: AtomicU64::new(0),
            deliveries: Family::default(),
            polled_plc: PolledPlc::default(),
        };
        let registry = &mut metrics.registry;
        registry.register("parts", "Parts by verdict and reason", metrics.parts.clone());
        registry.register_with_unit("stage", "Time per part and stage", Unit::Seconds, metrics.stages.clone());
        registry.register("line_events", "What happened at the line besides parts", metrics.events.clone());
        registry.register("frames", "Frames that arrived", metrics.frames.clone());
        registry.register("camera_up", "Whether the camera delivers", metrics.camera_up.clone());
        for (name, help, counter) in [
            (
                "records_dropped",
                "Records that found the journal too slow",
                &metrics.records_dropped,
            ),
            (
                "lines_dropped",
                "Lines that found the reader of standard output too slow",
                &metrics.lines_dropped,
            ),
            (
                "images_dropped",
                "Evidence images that are not kept, by a fault",
                &metrics.images_dropped,
            ),
            (
                "log_lines_dropped",
                "Lines of the log that found its reader too slow",
                &metrics.log_lines_dropped,
            ),
        ] {
            registry.register(name, help, counter.clone());
        }
        registry.register("records", "Records committed to the journal", metrics.records.clone());
        registry.register(
            "model_activations",
            "Models that were asked for while the station ran, by what came of it",
            metrics.model_activations.clone(),
        );
        registry.register("error_code", "Lowest active ErrorCode, 0 for none", metrics.error_code.clone());
        registry.register(
            "models_loading",
            "Models that are not loaded and proven yet, of the engine that started last",
            metrics.models_loading.clone(),
        );
        registry.register("ready", "Whether the station inspects", metrics.ready.clone());
        registry.register(
            "plc_results",
            "Results that were written to the PLC, by whether it is known to have them",
            metrics.deliveries.clone(),
        );
        registry.register_collector(Box::new(metrics.polled_plc.clone()));
        metrics
    }

    /// A part has its outcome.
    pub fn part(&self, record: &PartRecord) {
        if record.late_findings {
            return self.event("late_findings", 1);
        }
        let labels = PartLabels {
            verdict: record.verdict.name(),
            reason: record.reason.map_or("", |reason| reason.name()),
        };
        self.parts.get_or_create(&labels).inc();
        if let Some(delivery) = record.delivery {
            let delivery = match delivery {
                Delivery::Confirmed => "confirmed",
                Delivery::Unconfirmed => "unconfirmed",
            };
            self.deliveries.get_or_create(&DeliveryLabels { delivery }).inc();
        }
        if record.result_id == 0 {
            return;
        }
        let stages = &record.stages;
        for (stage, micros) in [
            ("frame", stages.frame_us),
            ("queue", stages.queue_us),
            ("preprocess", stages.preprocess_us),
            ("infer", stages.infer_us),
            ("postprocess", stages.postprocess_us),
            ("total", stages.total_us),
        ] {
            self.stages.get_or_create(&StageLabels { stage }).observe(micros as f64 / 1e6);
        }
    }

    /// The station polls its PLC, and this is what it counts.
    pub fn polls_plc(&self, counters: Arc<ClientCounters>) {
        self.polled_plc.is_polled(counters);
    }

    /// Something happened at the line.
    pub fn event(&self, event: &'static str, count: u64) {
        self.events.get_or_create(&EventLabels { event }).inc_by(count);
    }

    /// A frame arrived.
    pub fn frame(&self, camera: &str) {
        self.frames.get_or_create(&CameraLabels { camera: camera.into() }).inc();
    }

    /// A camera delivers, or does not.
    pub fn camera_up(&self, camera: &str, up: bool) {
        self.camera_up
            .get_or_create(&CameraLabels { camera: camera.into() })
            .set(i64::from(up));
    }

    /// Records were committed.
    pub fn recorded(&self, count: u64) {
        self.records.inc_by(count);
    }

    /// A model was asked for while the station ran: `activated`, `unchanged`, `refused` for its own sake, or `not_now`.
    pub fn model_asked(&self, result: &'static str) {
        self.model_activations.get_or_create(&ResultLabels { result }).inc();
    }

    /// A record found the journal too slow.
    pub fn record_dropped(&self) {
        self.records_dropped.inc();
    }

    /// A line found its reader too slow.
    pub fn line_dropped(&self) {
        self.lines_dropped.inc();
    }

    /// An image that should have been kept is not.
    pub fn image_dropped(&self) {
        self.images_dropped.inc();
    }

    /// The lowest active error, and whether the station inspects.
    pub fn state(&self, ready: bool, error_code: u16) {
        self.error_code.set(i64::from(error_code));
        self.ready.set(i64::from(ready));
        self.ready_flag.store(u64::from(ready), std::sync::atomic::Ordering::Relaxed);
    }

    /// So many models are still to be loaded and proven.
    pub fn models_loading(&self, count: usize) {
        self.models_loading.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Whether the station inspects.
    pub fn is_ready(&self) -> bool {
        self.ready_flag.load(std::sync::atomic::Ordering::Relaxed) != 0
    }

    /// The text a scraper reads.
    pub fn text(&self) -> String {
        // The log counts for itself: it is older than any station.
        self.log_lines_dropped.inner().store(log::lines_dropped(), Ordering::Relaxed);
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_polled_plc_is_measured_where_there_is_one() {
        let metrics = Metrics::new();
        assert!(!metrics.text().contains("takt_plc_polls"), "{}", metrics.text());
        let counters = Arc::new(ClientCounters::default());
        metrics.polls_plc(Arc::clone(&counters));
        counters.polls.store(7, Ordering::Relaxed);
        counters.connected.store(2, Ordering::Relaxed);
        counters.exchange_us.store(1_500_000, Ordering::Relaxed);
        counters.write_us_max.store(2_000, Ordering::Relaxed);
        let text = metrics.text();
        for line in [
            "takt_plc_polls_total 7",
            "takt_plc_exchanges_total 0",
            "takt_plc_timeouts_total 0",
            "takt_plc_connections_total 2",
            "takt_plc_exchange_seconds_total 1.5",
            "takt_plc_write_max_seconds 0.002",
        ] {
            assert!(text.lines().any(|said| said == line), "{line} is missing:\n{text}");
        }
    }
}
