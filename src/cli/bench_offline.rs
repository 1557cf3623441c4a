//! `takt bench offline`: weeks without a historian, lived through as fast as the disk allows, then everything is sent at once.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Args;
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::bench_record::part;
use super::evaluate::peak_rss_mib;
use super::validate::REJECT_SHARE;
use super::{Exit, Format, print, print_json};
use crate::capture::{Frame, PixelFormat, Plane};
use crate::config::station::{OK_SHARE, QUOTA_MIB};
use crate::flow::{self, WhenFull, bounded};
use crate::historian::images::ImageFolder;
use crate::historian::sqlite::SqliteStore;
use crate::journal::database::Journal;
use crate::journal::evidence::{self, EvidenceJob, FramePlaces, Why, is_sampled};
use crate::journal::log::RecordLog;
use crate::journal::retention::{self, Keeper, Load, Quota, RECORD_BYTES, Space, quota_for};
use crate::journal::writer::BATCH_MAX;
use crate::part::Nanos;
use crate::rpc::access::Access;
use crate::rpc::forwarder::{self, ForwarderState};
use crate::rpc::historian_service::{self, Historian};
use crate::twin::records;

#[derive(Debug, Args)]
pub(super) struct OfflineArgs {
    /// Folder on the disk to be used: twice what the journal takes; everything made there is removed again
    #[arg(long, default_value = ".", value_name = "DIR")]
    dir: PathBuf,
    /// Days without a historian
    #[arg(long, default_value_t = 14.0, value_name = "D")]
    days: f64,
    /// Parts in a second
    #[arg(long, default_value_t = 2.0, value_name = "R")]
    parts_per_s: f64,
    /// Side of the square pictures, pixels: noise, so a picture of 320 takes some 100 KiB
    #[arg(long, default_value_t = 320, value_name = "N", value_parser = clap::value_parser!(u32).range(8..=4096))]
    image_px: u32,
    /// How to print the result
    #[arg(long, value_enum, default_value_t = Format::default())]
    format: Format,
}

/// Images that wait to be written.
const IMAGES_MAX: usize = 64;

/// How often it is asked whether everything has arrived.
const POLL: Duration = Duration::from_millis(20);

/// The station that was offline.
const STATION: &str = "bench";

/// The journal's name for the camera.
const CAMERA: &str = "top";

/// Everything measured.
#[derive(Debug, Serialize)]
struct OfflineBench {
    days: f64,
    parts_per_s: f64,
    records: u64,
    images: u64,
    /// Mean size of an image.
    image_bytes: u64,
    /// The default quota.
    quota_mib: u64,
    /// What `takt validate` would say is needed for these records and images.
    bound_mib: u64,
    /// What the journal's folder took.
    journal_mib: u64,
    /// Whether nothing had to go.
    fits: bool,
    /// Time to record all of it.
    record_s: f64,
    /// Time until the historian had acknowledged all records, and all images, too.
    drain_records_s: f64,
    drain_s: f64,
    drained_records_per_s: f64,
    historian_records: u64,
    historian_images: u64,
    /// The most memory this process held before the historian came, and in the end: station and historian in one.
    rss_peak_mib_offline: Option<f64>,
    rss_peak_mib: Option<f64>,
}

pub(super) fn run(args: &OfflineArgs) -> anyhow::Result<Exit> {
    let folder = tempfile::tempdir_in(&args.dir).with_context(|| format!("failed to create a folder in {}", args.dir.display()))?;
    let parts = (args.days * 86_400.0 * args.parts_per_s) as u64;
    ensure!(
        parts > 0,
        "failed to find anything to record: --days times --parts-per-s is less than a part"
    );
    let started = Instant::now();
    let offline = Offline::live(&folder.path().join("journal"), args, parts)?;
    let record_s = started.elapsed().as_secs_f64();
    let journal_bytes = size_of(&folder.path().join("journal"))?;
    let rss_peak_mib_offline = peak_rss_mib();
    let drained = drain(&offline.journal, &folder.path().join("historian"))?;
    let image_bytes = offline.image_bytes / offline.images.max(1);
    let load = Load {
        parts_per_s: args.parts_per_s,
        reject_share: REJECT_SHARE,
        sampled_share: OK_SHARE,
        images_per_part: 1.0,
        image_bytes,
        record_bytes: RECORD_BYTES,
    };
    let bench = OfflineBench {
        days: args.days,
        parts_per_s: args.parts_per_s,
        records: parts,
        images: offline.images,
        image_bytes,
        quota_mib: QUOTA_MIB,
        bound_mib: quota_for(args.days, &load) >> 20,
        journal_mib: journal_bytes >> 20,
        fits: offline.fits,
        record_s,
        drain_records_s: drained.records_s,
        drain_s: drained.all_s,
        drained_records_per_s: parts as f64 / drained.records_s,
        historian_records: drained.records,
        historian_images: drained.images,
        rss_peak_mib_offline,
        rss_peak_mib: peak_rss_mib(),
    };
    match args.format {
        Format::Json => print_json(&bench)?,
        Format::Table => print(&told(&bench))?,
    }
    ensure!(
        bench.fits,
        "failed to keep everything: something had to go, or the journal was full"
    );
    ensure!(
        (bench.historian_records, bench.historian_images) == (bench.records, bench.images),
        "failed to drain the journal: the historian has {} of {} records and {} of {} images",
        bench.historian_records,
        bench.records,
        bench.historian_images,
        bench.images
    );
    Ok(Exit::Done)
}

/// A station that lived through the time.
struct Offline {
    journal: Journal,
    images: u64,
    image_bytes: u64,
    fits: bool,
}

impl Offline {
    fn live(folder: &Path, args: &OfflineArgs, parts: u64) -> anyhow::Result<Self> {
        let (mut journal, _) = Journal::open(folder, STATION, 1)?;
        let mut keeper = Keeper::new(Quota {
            bytes: QUOTA_MIB << 20,
            keep: Duration::ZERO,
            when_full: retention::WhenFull::Stop,
        });
        let reader = journal.reader()?;
        let (to_write, images) = bounded("evidence", IMAGES_MAX, WhenFull::Block);
        let writer = std::thread::spawn(move || {
            let mut lost = 0;
            evidence::run(&images, &reader, &mut |_| lost += 1);
            lost
        });
        let frame = noise(args.image_px);
        let began = flow::unix_now_ns() - (args.days * 86_400e9) as i64;
        let at = |number: u64| began + (number as f64 / args.parts_per_s * 1e9) as i64;
        let (mut images, mut fits) = (0, true);
        for first in (1..=parts).step_by(BATCH_MAX) {
            let numbers = first..(first + BATCH_MAX as u64).min(parts + 1);
            let batch: Vec<_> = numbers.clone().map(|number| part(number, is_reject(number), at(number))).collect();
            let appended = journal.append(&batch)?;
            for (number, stored) in numbers.zip(&appended.stored) {
                if is_reject(number) || is_sampled(1, number, OK_SHARE) {
                    let why = if is_reject(number) { Why::NotOk } else { Why::SampledOk };
                    let evidence = FramePlaces::default().hold(CAMERA, &frame, why);
                    images += 1;
                    let sequence = stored.sequence;
                    ensure!(
                        to_write.send(EvidenceJob { sequence, evidence }).is_ok(),
                        "failed to write images: their thread ended"
                    );
                }
            }
            fits &= keeper.keep(&mut journal)? == Space::Enough;
        }
        drop(to_write);
        let lost = writer.join().unwrap_or(u64::MAX);
        ensure!(lost == 0, "failed to write {lost} of {images} images; see the log");
        let image_bytes = size_of(&folder.join("evidence"))?;
        Ok(Self {
            journal,
            images,
            image_bytes,
            fits,
        })
    }
}

/// As many as `takt validate` assumes.
fn is_reject(number: u64) -> bool {
    number.is_multiple_of((1.0 / REJECT_SHARE) as u64)
}

/// The picture that is kept again and again: the hardest to compress.
fn noise(side: u32) -> Frame {
    let mut pixels = vec![0; (side * side) as usize];
    ChaCha8Rng::seed_from_u64(1).fill_bytes(&mut pixels);
    let plane = Plane {
        offset: 0,
        stride: side as usize,
    };
    Frame {
        pixels: Arc::new(pixels),
        format: PixelFormat::Gray8,
        width: side,
        height: side,
        planes: [plane, Plane::default(), Plane::default()],
        full_range: true,
        bt709: true,
        exposed_at: Nanos::default(),
        counter: None,
    }
}

/// What reached the historian, and when.
struct Drained {
    records_s: f64,
    all_s: f64,
    records: u64,
    images: u64,
}

/// Sends everything to a historian of its own, over TCP.
fn drain(journal: &Journal, folder: &Path) -> anyhow::Result<Drained> {
    let log: Arc<dyn RecordLog> = Arc::new(journal.reader()?);
    let images = folder.join("images");
    let store = folder.join("historian.sqlite");
    let runtime = tokio::runtime::Runtime::new().context("failed to start a runtime")?;
    let historian = Historian::new(SqliteStore::open(&store)?, ImageFolder::open(&images)?, Access::open());
    let (stop, everything) = (CancellationToken::new(), CancellationToken::new());
    let started = Instant::now();
    let records_s = runtime.block_on(async {
        let (listener, address) = historian_service::listen(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let serving = tokio::spawn(historian_service::serve(listener, historian, None, stop.clone()));
        let endpoint = forwarder::endpoint(&format!("http://{address}"), None).map_err(anyhow::Error::msg)?;
        let (state, _states) = watch::channel(ForwarderState::Starting);
        let sending = tokio::spawn(forwarder::forward(Arc::clone(&log), endpoint, state, everything.clone()));
        while log.acknowledged_below()? < *log.written_below().borrow() {
            tokio::time::sleep(POLL).await;
        }
        let records_s = started.elapsed().as_secs_f64();
        while !log.images_to_send(1)?.is_empty() {
            tokio::time::sleep(POLL).await;
        }
        everything.cancel();
        sending.await.context("failed to end the forwarder")?;
        stop.cancel();
        serving.await.context("failed to end the historian")??;
        anyhow::Ok(records_s)
    })?;
    let all_s = started.elapsed().as_secs_f64();
    Ok(Drained {
        records_s,
        all_s,
        records: records::count(&store, STATION),
        images: files_below(&images)?.len() as u64,
    })
}

fn files_below(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).with_context(|| format!("failed to read {}", folder.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    Ok(files)
}

/// Bytes of everything in a folder.
fn size_of(folder: &Path) -> anyhow::Result<u64> {
    files_below(folder)?.iter().try_fold(0, |sum, file| {
        Ok(sum + file.metadata().with_context(|| format!("failed to read {}", file.display()))?.len())
    })
}

fn told(bench: &OfflineBench) -> String {
    format!(
        "{} records and {} images of {} days took {} MiB (bound {} MiB, quota {} MiB), recorded in {:.0} s.\n\
         The historian had all records after {:.0} s ({:.0} per second), all images after {:.0} s.\n\
         Most memory: {:.0} MiB offline, {:.0} MiB in the end with the historian in the same process.\n",
        bench.records,
        bench.images,
        bench.days,
        bench.journal_mib,
        bench.bound_mib,
        bench.quota_mib,
        bench.record_s,
        bench.drain_records_s,
        bench.drained_records_per_s,
        bench.drain_s,
        bench.rss_peak_mib_offline.unwrap_or_default(),
        bench.rss_peak_mib.unwrap_or_default()
    )
}
