//! What a station may deliver: its Hello against what is held, and every batch against its Hello. Pure.
//!
//! A station's records are a chain. Two chains under one name and epoch come from a clone, or from a station whose backup was restored: both
//! are refused, and nothing of what is held changes. A time that cannot be right is no reason to refuse a record.

use prost::Message as _;

use super::held::Held;
use super::store::{Batch, ChainKey};
use crate::journal::record_table::{self, SEQUENCES, Stored};
use crate::rpc::proto::{self, record::Body};

/// Version of takt.v1 records that this historian stores.
pub const FORMAT_VERSION: u32 = 1;

/// Longest name of a station or camera, bytes.
pub const NAME_BYTES_MAX: usize = 64;

/// Largest record, bytes: a part with 16 cameras and all findings that are kept has a tenth of it. A larger one is refused.
pub const RECORD_BYTES_MAX: usize = 1 << 20;

/// Largest batch, bytes of records. A larger one is refused.
pub const BATCH_BYTES_MAX: usize = 2 << 20;

/// Most classes and tags of a record; one with more is refused.
pub const LABELS_MAX: usize = 4096;

/// Most ranges of a chain that are held. A batch that would make another is refused: the gaps are to be filled first.
pub const RANGES_MAX: usize = 1024;

/// Why a station's records are not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// What was sent makes no sense.
    #[error("failed to read {what}: {reason}")]
    Malformed {
        /// What was sent.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The station writes records that this historian does not know.
    #[error(
        "failed to take records of station {station}: they have format {format}, this historian knows {FORMAT_VERSION}; update the historian"
    )]
    Newer {
        /// The station.
        station: String,
        /// Its format.
        format: u32,
    },
    /// The station is not the one whose records are held.
    #[error(
        "failed to take records of station {station}, epoch {epoch}: {reason}; is it a copy of another station, or was a backup restored? \
         It needs a new epoch: move its state directory aside and start it again"
    )]
    OtherChain {
        /// The station.
        station: String,
        /// Its epoch.
        epoch: u64,
        /// What does not fit.
        reason: String,
    },
}

fn malformed(what: impl Into<String>, reason: impl Into<String>) -> Refusal {
    Refusal::Malformed {
        what: what.into(),
        reason: reason.into(),
    }
}

/// The chain a Hello speaks of.
///
/// # Errors
/// When the Hello makes no sense, or its records are of a later format.
pub fn chain_of(hello: &proto::Hello) -> Result<ChainKey, Refusal> {
    let what = "Hello";
    check_name(what, "station", &hello.station)?;
    if hello.format_version == 0 {
        return Err(malformed(what, "it has no format_version"));
    }
    if hello.format_version > FORMAT_VERSION {
        return Err(Refusal::Newer {
            station: hello.station.clone(),
            format: hello.format_version,
        });
    }
    if i64::try_from(hello.epoch).is_err() {
        return Err(malformed(what, format!("epoch {} is above 2^63 - 1", hello.epoch)));
    }
    if hello.next_sequence == 0 || hello.next_sequence > hello.written_below || hello.written_below > SEQUENCES {
        let reason = format!(
            "1 <= next_sequence ({}) <= written_below ({}) <= 2^40 does not hold",
            hello.next_sequence, hello.written_below
        );
        return Err(malformed(what, reason));
    }
    if !matches!(hello.last_acknowledged_hash.len(), 0 | 32) {
        return Err(malformed(what, "last_acknowledged_hash has neither 32 bytes nor none"));
    }
    Ok(ChainKey {
        station: hello.station.clone(),
        epoch: hello.epoch,
    })
}

/// Whether the station continues what is held. `last_hash` is that of record `next_sequence - 1` if it is held. A historian that holds less
/// than it once acknowledged takes what the station still has.
///
/// # Errors
/// When it does not.
pub fn check_hello(hello: &proto::Hello, held: &Held, last_hash: Option<[u8; 32]>) -> Result<(), Refusal> {
    let other = |reason| {
        Err(Refusal::OtherChain {
            station: hello.station.clone(),
            epoch: hello.epoch,
            reason,
        })
    };
    if let Some(last) = held.last().filter(|last| *last >= hello.written_below) {
        return other(format!(
            "record {last} is held, but the station is only about to write record {}",
            hello.written_below
        ));
    }
    match last_hash {
        Some(hash) if !hello.last_acknowledged_hash.is_empty() && hello.last_acknowledged_hash != hash => {
            other(format!("record {} is held and is another one", hello.next_sequence - 1))
        }
        _ => Ok(()),
    }
}

/// Bytes of records in a batch.
pub fn batch_bytes(batch: &proto::RecordBatch) -> usize {
    batch.records.iter().map(Vec::len).sum()
}

/// The records of a batch: those of the chain, one after the other, each with the hash of the one before.
///
/// # Errors
/// When they are not.
pub fn read_batch(chain: &ChainKey, batch: proto::RecordBatch) -> Result<Batch, Refusal> {
    let first = batch.first_sequence;
    let what = format!("the batch that begins with record {first}");
    let bytes = batch_bytes(&batch);
    if batch.records.is_empty() {
        return Err(malformed(what, "it is empty"));
    }
    if bytes > BATCH_BYTES_MAX {
        return Err(malformed(what, format!("it has {bytes} bytes of at most {BATCH_BYTES_MAX}")));
    }
    let end = first.saturating_add(batch.records.len() as u64);
    if first == 0 || end > SEQUENCES {
        return Err(malformed(what, "sequences are from 1 to 2^40 - 1"));
    }
    let mut records: Vec<Stored> = Vec::with_capacity(batch.records.len());
    for (sequence, bytes) in (first..).zip(batch.records) {
        let stored = read_record(chain, sequence, bytes)?;
        let before = match records.last() {
            Some(before) => Some(before.hash),
            None if sequence == 1 => Some([0; 32]),
            None => None,
        };
        if before.is_some_and(|before| stored.record.previous_hash != before) {
            return Err(broken_link(chain, sequence));
        }
        records.push(stored);
    }
    Ok(Batch {
        chain: chain.clone(),
        records,
    })
}

/// What is said of a record whose `previous_hash` is not the hash of the record before it.
pub fn broken_link(chain: &ChainKey, sequence: u64) -> Refusal {
    Refusal::OtherChain {
        station: chain.station.clone(),
        epoch: chain.epoch,
        reason: format!("record {sequence} does not follow the record before it"),
    }
}

/// What is said of a record that is held with other bytes.
pub fn conflict(chain: &ChainKey, sequence: u64) -> Refusal {
    Refusal::OtherChain {
        station: chain.station.clone(),
        epoch: chain.epoch,
        reason: format!("record {sequence} is held and is another one"),
    }
}

fn read_record(chain: &ChainKey, sequence: u64, bytes: Vec<u8>) -> Result<Stored, Refusal> {
    let refuse = |reason: String| Err(malformed(format!("record {sequence} of station {}", chain.station), reason));
    if bytes.len() > RECORD_BYTES_MAX {
        return refuse(format!("it has {} bytes of at most {RECORD_BYTES_MAX}", bytes.len()));
    }
    let record = match proto::Record::decode(bytes.as_slice()) {
        Ok(record) => record,
        Err(error) => return refuse(error.to_string()),
    };
    if record.station != chain.station || record.epoch != chain.epoch || record.sequence != sequence {
        return refuse(format!(
            "it says that it is record {} of epoch {} of another station, epoch or place than {} announced",
            record.sequence, record.epoch, chain
        ));
    }
    if record.previous_hash.len() != 32 {
        return refuse("previous_hash has not 32 bytes".into());
    }
    match &record.body {
        None => return refuse("it says nothing that this historian knows".into()),
        Some(Body::Lost(lost)) if lost.from == 0 || lost.from > lost.to || lost.to >= sequence => {
            return refuse(format!("records {} to {} cannot have been lost before it", lost.from, lost.to));
        }
        Some(Body::Part(part)) if labels(part) > LABELS_MAX => {
            return refuse(format!("it has more than {LABELS_MAX} findings and tags"));
        }
        Some(_) => {}
    }
    Ok(Stored {
        sequence,
        hash: record_table::hash(&bytes),
        bytes,
        record,
    })
}

fn labels(part: &proto::Part) -> usize {
    part.tags.len() + part.views.iter().map(|view| view.findings.len()).sum::<usize>()
}

/// A name as it fits into file names, messages and metrics.
///
/// # Errors
/// When it does not.
pub fn check_name(what: &str, field: &str, name: &str) -> Result<(), Refusal> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        let reason = format!("{field} must have 1 to {NAME_BYTES_MAX} bytes and no control characters");
        return Err(malformed(what, reason));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::historian::chains::{chain, part};

    fn hello() -> proto::Hello {
        proto::Hello {
            station: "top".into(),
            epoch: 7,
            next_sequence: 11,
            last_acknowledged_hash: vec![1; 32],
            written_below: 21,
            format_version: 1,
            takt_version: "0.1.0".into(),
        }
    }

    fn key() -> ChainKey {
        ChainKey {
            station: "top".into(),
            epoch: 7,
        }
    }

    fn batch(records: &[Stored]) -> proto::RecordBatch {
        proto::RecordBatch {
            lane: 1,
            first_sequence: records[0].sequence,
            records: records.iter().map(|record| record.bytes.clone()).collect(),
        }
    }

    fn refusal(batch: proto::RecordBatch) -> String {
        read_batch(&key(), batch).unwrap_err().to_string()
    }

    type Change = fn(&mut proto::Hello);

    #[test]
    fn a_hello_that_makes_no_sense_is_told_why() {
        assert_eq!(chain_of(&hello()), Ok(key()));
        let wrong: [(&str, Change); 8] = [
            ("station must have", |hello| hello.station.clear()),
            ("station must have", |hello| hello.station = "x".repeat(10_000_000)),
            ("station must have", |hello| hello.station = "a\n".into()),
            ("does not hold", |hello| hello.next_sequence = 0),
            ("does not hold", |hello| hello.next_sequence = 22),
            ("does not hold", |hello| hello.written_below = u64::MAX),
            ("epoch", |hello| hello.epoch = u64::MAX),
            ("last_acknowledged_hash", |hello| hello.last_acknowledged_hash.truncate(31)),
        ];
        for (said, change) in wrong {
            let mut hello = hello();
            change(&mut hello);
            let refusal = chain_of(&hello).unwrap_err();
            assert!(refusal.to_string().contains(said), "{refusal}");
            assert!(refusal.to_string().len() < 300);
        }
        let later = proto::Hello {
            format_version: FORMAT_VERSION + 1,
            ..hello()
        };
        assert!(chain_of(&later).unwrap_err().to_string().contains("update the historian"));
    }

    #[test]
    fn a_station_that_went_back_in_time_or_is_another_is_refused() {
        let held = |last| [1..=last].into_iter().collect::<Held>();
        assert_eq!(check_hello(&hello(), &Held::default(), None), Ok(()));
        assert_eq!(check_hello(&hello(), &held(10), Some([1; 32])), Ok(()));
        // Acknowledgements got lost on the way: more is held than the station knows.
        assert_eq!(check_hello(&hello(), &held(20), Some([1; 32])), Ok(()));
        // The historian went back in time: it takes again what the station has.
        assert_eq!(check_hello(&hello(), &held(3), None), Ok(()));
        let back = check_hello(&hello(), &held(21), Some([1; 32])).unwrap_err().to_string();
        assert!(back.contains("record 21 is held") && back.contains("needs a new epoch"), "{back}");
        let other = check_hello(&hello(), &held(10), Some([2; 32])).unwrap_err().to_string();
        assert!(other.contains("record 10 is held and is another one"), "{other}");
        let first = proto::Hello {
            next_sequence: 1,
            last_acknowledged_hash: Vec::new(),
            ..hello()
        };
        assert_eq!(check_hello(&first, &held(10), None), Ok(()));
    }

    #[test]
    fn a_batch_is_read_as_it_was_written() {
        let records = chain("top", 7, 20, |_| {});
        let read = read_batch(&key(), batch(&records[4..9])).unwrap();
        assert_eq!((read.chain, read.records), (key(), records[4..9].to_vec()));
    }

    #[test]
    fn records_from_1970_are_taken() {
        let records = chain("top", 7, 3, |record| {
            record.recorded_unix_ns = 12_000_000_000;
            record.clock_quality = proto::ClockQuality::Implausible.into();
        });
        assert_eq!(read_batch(&key(), batch(&records)).unwrap().records, records);
    }

    #[test]
    fn hostile_batches_are_refused() {
        let records = chain("top", 7, 20, |_| {});
        let good = batch(&records);
        let empty = proto::RecordBatch {
            records: Vec::new(),
            ..good.clone()
        };
        assert!(refusal(empty).contains("it is empty"));
        for first_sequence in [0, 2, SEQUENCES - 3, u64::MAX] {
            refusal(proto::RecordBatch {
                first_sequence,
                ..good.clone()
            });
        }
        for (station, epoch) in [("side", 7), ("top", 8)] {
            assert!(refusal(batch(&chain(station, epoch, 2, |_| {}))).contains("another station, epoch or place"));
        }
        let mut garbled = good.clone();
        garbled.records[3] = vec![0xff; 40];
        assert!(refusal(garbled).contains("record 4 of station top"));
        let mut swapped = records.clone();
        swapped[5] = chain("top", 7, 20, |record| record.recorded_unix_ns = 5)[5].clone();
        assert!(refusal(batch(&swapped)).contains("record 6 does not follow"));
        let orphan = chain("top", 7, 1, |record| record.previous_hash = vec![9; 32]);
        assert!(refusal(batch(&orphan)).contains("record 1 does not follow"));
        let unlinked = chain("top", 7, 1, |record| record.previous_hash = vec![0; 31]);
        assert!(refusal(batch(&unlinked)).contains("previous_hash"));
        let silent = chain("top", 7, 1, |record| record.body = None);
        assert!(refusal(batch(&silent)).contains("nothing that this historian knows"));
        for (from, to) in [(0, 0), (2, 1), (1, 1), (1, u64::MAX)] {
            let lost = chain("top", 7, 1, |record| {
                record.body = Some(Body::Lost(proto::Lost { from, to, reason: 1 }));
            });
            assert!(refusal(batch(&lost)).contains("cannot have been lost"));
        }
    }

    #[test]
    fn records_and_batches_beyond_their_size_are_refused() {
        let serial = |length: usize| {
            chain("top", 7, 3, move |record| {
                part(record).serial = "s".repeat(length);
            })
        };
        assert!(refusal(batch(&serial(10 << 20))).contains("of at most 2097152"));
        assert!(refusal(batch(&serial(RECORD_BYTES_MAX)[..1])).contains("of at most 1048576"));
        read_batch(&key(), batch(&serial(BATCH_BYTES_MAX / 3 - 1000))).unwrap();
        let tagged = chain("top", 7, 1, |record| {
            part(record).tags = vec![proto::Tag::default(); LABELS_MAX + 1];
        });
        assert!(refusal(batch(&tagged)).contains("findings and tags"));
    }
}
