//! What any store must do, checked through the port alone.

use super::chains::{chain, part};
use super::ingest::{RANGES_MAX, Refusal};
use super::store::{Batch, ChainKey, Store, StoreError};
use crate::journal::record_table::Stored;
use crate::rpc::proto::{self, record::Body};

/// Runs the contract. `open` opens the same store again, `other` an empty one.
pub(crate) async fn is_kept<S: Store>(open: impl Fn() -> S, other: impl Fn() -> S) {
    what_was_committed_is_there_after_opening_again(&open).await;
    what_does_not_fit_changes_nothing(&other()).await;
    gaps_close_whatever_the_order(&other()).await;
    lost_records_are_settled(&other()).await;
    pieces_are_bounded(&other()).await;
    writes_at_the_same_moment_stand_for_themselves(&other()).await;
    images_belong_to_records(&other()).await;
}

fn key(station: &str) -> ChainKey {
    ChainKey {
        station: station.into(),
        epoch: 7,
    }
}

fn batch(records: &[Stored]) -> Batch {
    Batch {
        chain: key(&records[0].record.station),
        records: records.to_vec(),
    }
}

fn record_key(station: &str, sequence: u64) -> proto::RecordKey {
    proto::RecordKey {
        station: station.into(),
        epoch: 7,
        sequence,
    }
}

async fn held<S: Store>(store: &S, station: &str) -> Vec<std::ops::RangeInclusive<u64>> {
    store.held(&key(station)).await.unwrap().ranges().to_vec()
}

async fn what_was_committed_is_there_after_opening_again<S: Store>(open: &impl Fn() -> S) {
    let records = chain("top", 7, 40, |record| part(record).test_part = record.sequence == 3);
    let store = open();
    assert_eq!(held(&store, "top").await, []);
    assert_eq!(store.hash_of(&record_key("top", 1)).await.unwrap(), None);
    store.commit(batch(&records[..30])).await.unwrap();
    // Again, and overlapping: only what is new counts.
    store.commit(batch(&records[..30])).await.unwrap();
    store.commit(batch(&records[20..])).await.unwrap();
    drop(store);
    let store = open();
    assert_eq!(held(&store, "top").await, [1..=40]);
    for stored in &records {
        let found = store.record(record_key("top", stored.sequence)).await.unwrap().unwrap();
        assert_eq!((&found.bytes, found.hash), (&stored.bytes, stored.hash));
        assert_eq!(store.hash_of(&record_key("top", stored.sequence)).await.unwrap(), Some(stored.hash));
    }
    let stations = store.stations().await.unwrap();
    assert_eq!(
        stations,
        [proto::StationSummary {
            station: "top".into(),
            epoch: 7,
            records: 40,
            held: vec![proto::SequenceRange { first: 1, last: 40 }],
            last_recorded_unix_ns: records[39].record.recorded_unix_ns,
            counts: Some(proto::Counts {
                ok: 35,
                not_ok: 4,
                not_decidable: 0
            }),
        }]
    );
}

async fn what_does_not_fit_changes_nothing<S: Store>(store: &S) {
    let records = chain("top", 7, 40, |_| {});
    let other = chain("top", 7, 40, |record| record.recorded_unix_ns += i64::from(record.sequence > 8));
    store.commit(batch(&records[..10])).await.unwrap();
    store.commit(batch(&records[19..30])).await.unwrap();
    let before = store.stations().await.unwrap();
    // Record 9 is held with other bytes; record 11 does not follow; record 20 does not follow what comes before it.
    for (wrong, said) in [
        (&other[6..19], "record 9 is held and is another one"),
        (&other[10..12], "record 11 does not follow"),
        (&other[15..19], "record 20 does not follow"),
    ] {
        let refused = store.commit(batch(wrong)).await.unwrap_err();
        assert!(matches!(refused, StoreError::Refused(Refusal::OtherChain { .. })), "{refused:?}");
        assert!(refused.to_string().contains(said), "{refused}");
    }
    assert_eq!(store.stations().await.unwrap(), before);
    assert_eq!(held(store, "top").await, [1..=10, 20..=30]);
    assert_eq!(store.hash_of(&record_key("top", 16)).await.unwrap(), None);
    // The same sequences of another station and of another epoch are other chains.
    store.commit(batch(&chain("side", 7, 40, |_| {}))).await.unwrap();
    let epoch = Batch {
        chain: ChainKey { epoch: 8, ..key("top") },
        records: chain("top", 8, 5, |_| {}),
    };
    store.commit(epoch).await.unwrap();
    assert_eq!(held(store, "top").await, [1..=10, 20..=30]);
}

async fn gaps_close_whatever_the_order<S: Store>(store: &S) {
    let records = chain("top", 7, 40, |_| {});
    for range in [30..40, 10..20, 0..5, 20..30] {
        store.commit(batch(&records[range])).await.unwrap();
    }
    assert_eq!(held(store, "top").await, [1..=5, 11..=40]);
    store.commit(batch(&records[4..12])).await.unwrap();
    assert_eq!(held(store, "top").await, [1..=40]);
}

async fn lost_records_are_settled<S: Store>(store: &S) {
    let records = chain("top", 7, 40, |record| {
        if record.sequence == 31 {
            record.body = Some(Body::Lost(proto::Lost {
                from: 11,
                to: 30,
                reason: 1,
            }));
        }
    });
    store.commit(batch(&records[..10])).await.unwrap();
    store.commit(batch(&records[30..])).await.unwrap();
    assert_eq!(held(store, "top").await, [1..=40]);
    // Some of them turn up after all.
    store.commit(batch(&records[10..20])).await.unwrap();
    assert_eq!(store.hash_of(&record_key("top", 15)).await.unwrap(), Some(records[14].hash));
}

async fn pieces_are_bounded<S: Store>(store: &S) {
    let records = chain("top", 7, 2 * RANGES_MAX as u64 + 2, |_| {});
    for stored in records.iter().step_by(2).take(RANGES_MAX) {
        store.commit(batch(std::slice::from_ref(stored))).await.unwrap();
    }
    let last = &records[2 * RANGES_MAX..=2 * RANGES_MAX];
    let refused = store.commit(batch(last)).await.unwrap_err();
    assert!(matches!(refused, StoreError::Scattered { max: RANGES_MAX, .. }), "{refused}");
    store.commit(batch(&records[1..2])).await.unwrap();
    store.commit(batch(last)).await.unwrap();
}

async fn writes_at_the_same_moment_stand_for_themselves<S: Store>(store: &S) {
    let stations = ["a", "b", "c", "d"].map(|station| chain(station, 7, 50, |_| {}));
    let wrong = chain("b", 7, 50, |record| record.recorded_unix_ns += 1);
    store.commit(batch(&stations[1][..10])).await.unwrap();
    let [a, b, c, d] = stations.each_ref().map(|records| store.commit(batch(&records[10..])));
    let (a, wrong, b, c, d) = tokio::join!(a, store.commit(batch(&wrong[5..])), b, c, d);
    assert_eq!([a, b, c, d], [const { Ok(()) }; 4]);
    assert!(wrong.is_err());
    for station in ["a", "c", "d"] {
        assert_eq!(held(store, station).await, [11..=50]);
    }
    assert_eq!(held(store, "b").await, [1..=50]);
}

async fn images_belong_to_records<S: Store>(store: &S) {
    store.commit(batch(&chain("top", 7, 3, |_| {}))).await.unwrap();
    let image = |sequence, camera: &str| proto::ImageDescription {
        station: "top".into(),
        epoch: 7,
        sequence,
        camera: camera.into(),
        media_type: "image/jpeg".into(),
        size_bytes: 1000,
        sha256: vec![3; 32],
        width_px: 640,
        height_px: 480,
    };
    for camera in ["side", "top", "side"] {
        store.note_image(image(2, camera)).await.unwrap();
    }
    assert_eq!(
        store.images(&record_key("top", 2)).await.unwrap(),
        [image(2, "side"), image(2, "top")]
    );
    assert_eq!(store.images(&record_key("top", 3)).await.unwrap(), []);
    assert!(store.note_image(image(4, "top")).await.is_err());
}
