//! Records whose results are on their way to a PLC that the station writes to: each waits until it is known whether the PLC has its result, and so what the
//! record says of that. Where the PLC reads results itself, nothing waits here.

use std::collections::VecDeque;
use std::time::Duration;

use crate::journal::evidence::Evidence;
use crate::part::{Delivery, Nanos, PartRecord, Verdict};
use crate::plc::delivery::{Offer, REPEAT_MAX, WAITING_MAX};
use crate::plc::modbus::client::ResultPort;

/// How much longer than the client may take a record waits: a client that says nothing any more stands still.
const GRACE: Duration = Duration::from_secs(1);

/// A record that waits.
#[derive(Debug)]
pub struct Waiting {
    /// The record.
    pub record: PartRecord,
    /// Its pictures.
    pub evidence: Vec<Evidence>,
    /// Whether the image that showed it passed its part.
    pub passed: bool,
}

impl Waiting {
    fn leaves_by(&self) -> Nanos {
        self.record.deadline_ns.max(self.record.shown_ns + REPEAT_MAX) + GRACE
    }

    /// The record, with what is known now.
    #[must_use]
    pub fn told(mut self, delivery: Delivery) -> Self {
        self.record.delivery = Some(delivery);
        self
    }
}

/// The records that wait, at most [`WAITING_MAX`]: beyond that the oldest leaves as not confirmed.
#[derive(Debug, Default)]
pub struct Undelivered {
    port: Option<ResultPort>,
    waiting: VecDeque<Waiting>,
}

impl Undelivered {
    /// Nothing waits; `port` is the client that writes results, where there is one.
    pub fn new(port: Option<ResultPort>) -> Self {
        Self {
            port,
            waiting: VecDeque::new(),
        }
    }

    /// Whether a record waits for its result to be delivered.
    pub fn concerns(&self, record: &PartRecord) -> bool {
        self.port.is_some() && record.result_id != 0 && !record.late_findings
    }

    /// Offers the results of these records to the client. Before the image is swapped that shows them.
    pub fn offer<'a>(&self, records: impl IntoIterator<Item = &'a PartRecord>, now: Nanos) {
        let Some(port) = &self.port else { return };
        for record in records.into_iter().filter(|record| self.concerns(record)) {
            port.offer(Offer {
                result_id: record.result_id,
                passes: record.verdict == Verdict::Ok && !record.test_part,
                deadline: record.deadline_ns,
                offered_at: now,
            });
        }
    }

    /// The image was swapped.
    pub fn swapped(&self) {
        if let Some(port) = &self.port {
            port.swapped();
        }
    }

    /// A record begins to wait. Returns another that leaves for want of room.
    pub fn hold(&mut self, waiting: Waiting) -> Option<Waiting> {
        let is_full = self.waiting.len() == WAITING_MAX;
        let oldest = if is_full { self.waiting.pop_front() } else { None };
        self.waiting.push_back(waiting);
        oldest.map(|oldest| oldest.told(Delivery::Unconfirmed))
    }

    /// The record of a result, which stays.
    pub fn record_of(&mut self, result_id: u32) -> Option<&mut PartRecord> {
        let mut records = self.waiting.iter_mut().map(|waiting| &mut waiting.record);
        records.find(|record| record.result_id == result_id)
    }

    /// The record of a result leaves.
    pub fn release(&mut self, result_id: u32, delivery: Delivery) -> Option<Waiting> {
        let place = self.waiting.iter().position(|waiting| waiting.record.result_id == result_id)?;
        self.waiting.remove(place).map(|waiting| waiting.told(delivery))
    }

    /// A record that has waited for too long, or any where `all` are to leave.
    pub fn overdue(&mut self, now: Nanos, all: bool) -> Option<Waiting> {
        let oldest = self.waiting.front()?;
        if !all && now < oldest.leaves_by() {
            return None;
        }
        self.waiting.pop_front().map(|waiting| waiting.told(Delivery::Unconfirmed))
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}
