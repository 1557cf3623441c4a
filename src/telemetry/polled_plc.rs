//! What is measured of a PLC that the station polls, told at each scrape. A station that is polled by its PLC has none of these.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use crate::plc::modbus::client::ClientCounters;

/// The counters of the client, once there is one.
#[derive(Debug, Clone, Default)]
pub(super) struct PolledPlc(Arc<OnceLock<Arc<ClientCounters>>>);

impl PolledPlc {
    /// There is a client; it counts for itself.
    pub(super) fn is_polled(&self, counters: Arc<ClientCounters>) {
        // A station has one client for as long as it lives.
        let _ = self.0.set(counters);
    }
}

impl Collector for PolledPlc {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let Some(counters) = self.0.get() else { return Ok(()) };
        let connected = counters.connected.load(Ordering::Relaxed);
        let counted = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let figures = [
            ("plc_polls", "Times that the PLC's registers were read", counted(&counters.polls)),
            (
                "plc_exchanges",
                "Requests that the PLC answered as it should: reads and writes",
                counted(&counters.exchanges),
            ),
            (
                "plc_timeouts",
                "Requests that the PLC did not answer in time: its connection was closed",
                counted(&counters.timeouts),
            ),
            ("plc_connections", "Connections to the PLC, the first among them", connected),
        ];
        for (name, help, count) in figures {
            let counter = ConstCounter::new(count);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        let spent = ConstCounter::new(counted(&counters.exchange_us) as f64 / 1e6);
        let help = "Time from requests to their answers; divided by takt_plc_exchanges it is the mean round trip";
        spent.encode(encoder.encode_descriptor("plc_exchange", help, Some(&Unit::Seconds), spent.metric_type())?)?;
        let slowest = ConstGauge::new(counted(&counters.write_us_max) as f64 / 1e6);
        let help = "The slowest of the last eight writes to the PLC; results must be ready so much before their deadline";
        slowest.encode(encoder.encode_descriptor("plc_write_max", help, Some(&Unit::Seconds), slowest.metric_type())?)
    }
}
