//! Evidence: the pictures of parts, as JPEG files beside the journal.
//!
//! A frame is held from the outcome until its file is written, at most [`FRAMES_HELD_MAX`] of them at a time: they lie in the cameras' own
//! memory. The order of writing: the record; the file under a temporary name, fsync, rename, fsync of the folder; its row. So a row's file
//! is whole, and a file without a row is left over from a crash and is removed at start.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use jpeg_encoder::{ColorType, Encoder};
use rusqlite::{Connection, params};
use sha2::{Digest, Sha256};

use super::database::{JournalReader, Shared};
use super::set_aside::EVIDENCE;
use super::tables;
use crate::capture::Frame;
use crate::flow::Receiver;
use crate::part::Verdict;
use crate::vision::preprocess::Preprocessor;

/// Frames that wait to become files; the images of a part that finds none free are not kept, which its row says.
pub const FRAMES_HELD_MAX: usize = 8;

/// Quality of the JPEG files, 1 to 100. At 90 the noise of a camera is changed more than an edge.
pub const JPEG_QUALITY: u8 = 90;

/// Sequences whose images share a folder: 2^10.
const GROUP_BITS: u32 = 10;

/// Letters of a camera's name in the name of a file.
const NAME_LETTERS_MAX: usize = 40;

const MEDIA_TYPE: &str = "image/jpeg";

/// Why an image is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Why {
    /// The part has a defect.
    NotOk = 1,
    /// The part could not be judged.
    NotDecidable = 2,
    /// The part is good, and was drawn.
    SampledOk = 3,
}

impl Why {
    /// Why images of such an outcome are kept.
    pub fn of(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Ok => Self::SampledOk,
            Verdict::NotOk => Self::NotOk,
            Verdict::NotDecidable => Self::NotDecidable,
        }
    }

    pub(super) fn from_code(code: i64) -> Self {
        match code {
            1 => Self::NotOk,
            3 => Self::SampledOk,
            _ => Self::NotDecidable,
        }
    }
}

/// What became of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It is on the disk, and not at the historian.
    Kept = 1,
    /// It is on the disk and at the historian, or is not to be sent.
    Sent = 2,
    /// It was removed for want of space.
    Removed = 3,
    /// Its file is gone.
    Gone = 4,
    /// It was never kept: too many frames were waiting, or the disk did not take it.
    NeverKept = 5,
}

impl State {
    pub(super) fn from_code(code: i64) -> Self {
        match code {
            1 => Self::Kept,
            2 => Self::Sent,
            3 => Self::Removed,
            5 => Self::NeverKept,
            _ => Self::Gone,
        }
    }
}

/// What the journal knows of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageRow {
    /// Sequence of its record.
    pub sequence: u64,
    /// Name of the camera.
    pub camera: String,
    /// Its file, below the folder of evidence; empty if it was never kept.
    pub file: String,
    /// Media type.
    pub media_type: String,
    /// Length of the file.
    pub size_bytes: u64,
    /// SHA-256 of the file.
    pub sha256: [u8; 32],
    /// Pixels per row, and rows.
    pub size_px: (u32, u32),
    /// Why it was to be kept.
    pub why: Why,
    /// What became of it.
    pub state: State,
}

/// Whether images of an Ok part are kept, where a share of them is: the same parts whenever it is asked.
pub fn is_sampled(epoch: u64, part_sequence: u64, share: f64) -> bool {
    // SplitMix64 (Steele, Lea, Flood 2014) of both numbers.
    let mix = |number: u64| {
        let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ (number >> 31)
    };
    // 53 bits, as many as a double has.
    let drawn = (mix(mix(epoch) ^ part_sequence) >> 11) as f64 / (1_u64 << 53) as f64;
    drawn < share
}

/// Frames that may be held for evidence. Cloning it shares the places.
#[derive(Debug, Clone)]
pub struct FramePlaces {
    free: Arc<AtomicUsize>,
    refused: Arc<AtomicU64>,
}

impl Default for FramePlaces {
    fn default() -> Self {
        Self {
            free: Arc::new(AtomicUsize::new(FRAMES_HELD_MAX)),
            refused: Arc::default(),
        }
    }
}

impl FramePlaces {
    /// Holds a frame for evidence; where no place is free it is let go, and counted. Never waits.
    pub fn hold(&self, camera: &str, frame: &Frame, why: Why) -> Evidence {
        let taken = self
            .free
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |free| free.checked_sub(1))
            .is_ok();
        if !taken {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        Evidence {
            camera: camera.to_owned(),
            why,
            frame: taken.then(|| HeldFrame {
                frame: frame.clone(),
                free: Arc::clone(&self.free),
            }),
        }
    }

    /// Frames that found no place.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

/// What a camera showed of a part, to be kept.
#[derive(Debug)]
pub struct Evidence {
    camera: String,
    why: Why,
    frame: Option<HeldFrame>,
}

impl Evidence {
    /// Lets the frame go.
    pub(super) fn forget(&mut self) {
        self.frame = None;
    }
}

/// A frame in a place of its own, which becomes free when this is dropped.
#[derive(Debug)]
struct HeldFrame {
    frame: Frame,
    free: Arc<AtomicUsize>,
}

impl Drop for HeldFrame {
    fn drop(&mut self) {
        self.free.fetch_add(1, Ordering::AcqRel);
    }
}

/// An image of a record that is committed.
#[derive(Debug)]
pub struct EvidenceJob {
    /// Sequence of the record.
    pub sequence: u64,
    /// What is to be kept.
    pub evidence: Evidence,
}

/// Why an image was not kept.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// The frame cannot become a picture.
    #[error("failed to encode the image of record {sequence} from camera {camera}: {reason}")]
    Encode {
        /// Sequence of the record.
        sequence: u64,
        /// Name of the camera.
        camera: String,
        /// What is wrong.
        reason: String,
    },
    /// The disk does not take it.
    #[error("failed to write {path}: {source}; check that the disk has space and may be written")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The journal does not take its row.
    #[error("failed to note the image of record {sequence}: {source}")]
    Row {
        /// Sequence of the record.
        sequence: u64,
        /// What SQLite says.
        source: rusqlite::Error,
    },
}

/// Writes images until nobody sends any more. `refused` is told of every image that could not be kept.
pub fn run(jobs: &Receiver<EvidenceJob>, journal: &JournalReader, refused: &mut dyn FnMut(&EvidenceError)) {
    while let Some(EvidenceJob { sequence, evidence }) = jobs.receive() {
        let (camera, why) = (evidence.camera.clone(), evidence.why);
        if let Err(error) = keep(journal, sequence, evidence) {
            tracing::error!(%error, "an image is not kept");
            refused(&error);
            if let Err(error) = never_kept(journal, sequence, &camera, why) {
                tracing::error!(%error, "nor is noted that it is not");
            }
        }
    }
}

/// Keeps an image: its file, then its row.
fn keep(journal: &JournalReader, sequence: u64, evidence: Evidence) -> Result<(), EvidenceError> {
    let Evidence { camera, why, frame } = evidence;
    let Some(held) = frame else {
        return never_kept(journal, sequence, &camera, why);
    };
    let encoded = encode(&held.frame);
    let size_px = (held.frame.width, held.frame.height);
    // Before the disk is waited for: the camera needs its memory.
    drop(held);
    let bytes = encoded.map_err(|reason| EvidenceError::Encode {
        sequence,
        camera: camera.clone(),
        reason,
    })?;
    let file = file_name(journal.shared().epoch, sequence, &camera);
    let path = journal.evidence_folder().join(&file);
    write_whole(&path, &bytes).map_err(|source| EvidenceError::Write { path, source })?;
    let row = ImageRow {
        sequence,
        camera,
        file,
        media_type: MEDIA_TYPE.into(),
        size_bytes: bytes.len() as u64,
        sha256: Sha256::digest(&bytes).into(),
        size_px,
        why,
        state: State::Kept,
    };
    note(journal, &row)
}

/// Notes that an image was not kept.
fn never_kept(journal: &JournalReader, sequence: u64, camera: &str, why: Why) -> Result<(), EvidenceError> {
    let row = ImageRow {
        sequence,
        camera: camera.to_owned(),
        file: String::new(),
        media_type: String::new(),
        size_bytes: 0,
        sha256: [0; 32],
        size_px: (0, 0),
        why,
        state: State::NeverKept,
    };
    note(journal, &row)
}

fn note(journal: &JournalReader, row: &ImageRow) -> Result<(), EvidenceError> {
    let record = tables::id(journal.shared().chain, row.sequence);
    let noted = journal.change(|connection| insert(connection, record, row));
    noted.map_err(|source| EvidenceError::Row {
        sequence: row.sequence,
        source,
    })
}

fn insert(connection: &Connection, record: i64, row: &ImageRow) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR IGNORE INTO images VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)")?
        .execute(params![
            record,
            row.camera,
            row.file,
            row.media_type,
            row.size_bytes as i64,
            row.sha256,
            row.size_px.0,
            row.size_px.1,
            row.why as i64,
            row.state as i64,
        ])?;
    Ok(())
}

/// The frame as a JPEG file.
///
/// # Errors
/// When its bytes do not fit its size, or it has more than 65,535 pixels a side.
pub fn encode(frame: &Frame) -> Result<Vec<u8>, String> {
    let side = |pixels: u32| u16::try_from(pixels).ok().filter(|side| *side > 0);
    let (Some(width), Some(height)) = (side(frame.width), side(frame.height)) else {
        return Err(format!("a JPEG file cannot have {}x{} pixels", frame.width, frame.height));
    };
    let mut converter = Preprocessor::new(frame.width, frame.height);
    let rgb = converter.resize_frame(frame, None).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    let encoder = Encoder::new(&mut bytes, JPEG_QUALITY);
    encoder
        .encode(rgb, width, height, ColorType::Rgb)
        .map_err(|error| error.to_string())?;
    Ok(bytes)
}

/// The file of an image, below the folder of evidence.
fn file_name(epoch: u64, sequence: u64, camera: &str) -> String {
    format!("{epoch}/{}/{sequence}-{}.jpg", sequence >> GROUP_BITS, safe_name(camera))
}

/// A camera's name as part of a file's name: letters, digits, - and _. One that has others gets a number that tells it from its like.
fn safe_name(camera: &str) -> String {
    let is_safe = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
    let safe: String = camera
        .chars()
        .map(|letter| if is_safe(letter) { letter } else { '_' })
        .take(NAME_LETTERS_MAX)
        .collect();
    if safe == camera && !safe.is_empty() {
        safe
    } else {
        format!("{safe}-{:08x}", crc32fast::hash(camera.as_bytes()))
    }
}

/// Writes a file that is there as a whole or not at all.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()
}

/// Removes files that belong to no image, and marks images whose file is gone. Returns how many of each. Failing is no reason not to
/// start: what is left over is met again at the next.
pub(super) fn sweep(shared: &Shared, connection: &mut Connection) -> (u64, u64) {
    let evidence = shared.folder.join(EVIDENCE);
    match swept(&evidence, connection) {
        Ok(counts) => {
            if counts != (0, 0) {
                tracing::warn!(orphans_removed = counts.0, images_gone = counts.1, folder = %evidence.display(), "evidence was swept");
            }
            counts
        }
        Err(error) => {
            tracing::error!(folder = %evidence.display(), %error, "failed to sweep the evidence; it is tried again at the next start");
            (0, 0)
        }
    }
}

fn swept(evidence: &Path, connection: &mut Connection) -> rusqlite::Result<(u64, u64)> {
    let (mut removed, mut gone) = (0, 0);
    let chains: HashMap<String, i64> = connection
        .prepare("SELECT epoch, id FROM chains")?
        .query_map([], |row| Ok(((row.get::<_, i64>(0)? as u64).to_string(), row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let mut groups: Vec<i64> = connection
        .prepare("SELECT DISTINCT record >> ?1 FROM images WHERE state <= 2")?
        .query_map([GROUP_BITS], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for epoch in entries(evidence) {
        let chain = epoch.file_name().and_then(|name| chains.get(name.to_str()?)).copied();
        for folder in entries(&epoch) {
            let number = folder.file_name().and_then(|name| name.to_str()?.parse::<u64>().ok());
            let group = chain
                .zip(number)
                .map(|(chain, number)| (tables::id(chain as u64, 0) >> GROUP_BITS) | number as i64);
            groups.retain(|other| Some(*other) != group);
            let counts = sweep_group(connection, &folder, group)?;
            (removed, gone) = (removed + counts.0, gone + counts.1);
        }
    }
    // Groups whose folder is gone altogether.
    for group in groups {
        gone += sweep_group(connection, Path::new(""), Some(group))?.1;
    }
    Ok((removed, gone))
}

/// Compares the files of a folder with the images of its group.
fn sweep_group(connection: &mut Connection, folder: &Path, group: Option<i64>) -> rusqlite::Result<(u64, u64)> {
    let mut files: HashMap<String, PathBuf> = entries(folder)
        .into_iter()
        .filter_map(|path| Some((path.file_name()?.to_str()?.to_owned(), path)))
        .collect();
    let mut gone = Vec::new();
    if let Some(group) = group {
        let mut statement =
            connection.prepare_cached("SELECT record, camera, file FROM images WHERE state <= 2 AND record BETWEEN ?1 AND ?2")?;
        let mut rows = statement.query([group << GROUP_BITS, ((group + 1) << GROUP_BITS) - 1])?;
        while let Some(row) = rows.next()? {
            let file: String = row.get(2)?;
            if files.remove(file.rsplit('/').next().unwrap_or_default()).is_none() {
                gone.push((row.get::<_, i64>(0)?, row.get::<_, String>(1)?));
            }
        }
    }
    for (record, camera) in &gone {
        connection
            .prepare_cached("UPDATE images SET state = ?1 WHERE record = ?2 AND camera = ?3")?
            .execute(params![State::Gone as i64, record, camera])?;
    }
    let removed = files.values().filter(|path| fs::remove_file(path).is_ok()).count();
    Ok((removed as u64, gone.len() as u64))
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect()
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use super::super::database::tests::{journal_of, open};
    use super::super::log::RecordLog;
    use super::super::verify::verify;
    use super::*;
    use crate::capture::{PixelFormat, Plane};
    use crate::flow::{WhenFull, bounded};
    use crate::part::Nanos;

    /// A grey frame of 64x48 pixels.
    pub(in crate::journal) fn frame() -> Frame {
        frame_of(PixelFormat::Gray8, 64, 48)
    }

    /// All of one level: mid grey in every format.
    fn frame_of(format: PixelFormat, width: u32, height: u32) -> Frame {
        let mut planes = [Plane::default(); 3];
        let mut offset = 0;
        for (plane, (bytes, rows)) in planes.iter_mut().zip(format.plane_sizes(width, height)) {
            *plane = Plane { offset, stride: bytes };
            offset += bytes * rows;
        }
        Frame {
            pixels: Arc::new(vec![128_u8; offset]),
            format,
            width,
            height,
            planes,
            full_range: true,
            bt709: false,
            exposed_at: Nanos(0),
            counter: None,
        }
    }

    fn keep_all(journal: &JournalReader, evidence: Vec<(u64, Evidence)>) -> u64 {
        let (jobs, waiting) = bounded("evidence", 64, WhenFull::DropNewest);
        for (sequence, evidence) in evidence {
            assert!(jobs.send(EvidenceJob { sequence, evidence }).is_ok());
        }
        drop(jobs);
        let mut refused = 0;
        run(&waiting, journal, &mut |_| refused += 1);
        refused
    }

    #[test]
    fn every_format_becomes_a_picture_of_its_size_and_level() {
        for format in PixelFormat::ALL {
            let bytes = encode(&frame_of(format, 61, 47)).unwrap();
            let image = image::load_from_memory(&bytes).unwrap().to_rgb8();
            assert_eq!(image.dimensions(), (61, 47), "{format:?}");
            assert!(
                image.pixels().all(|pixel| pixel.0.iter().all(|level| level.abs_diff(128) <= 3)),
                "{format:?}"
            );
        }
    }

    #[test]
    fn frames_that_are_no_picture_are_refused() {
        assert!(encode(&frame_of(PixelFormat::Gray8, 65_536, 1)).unwrap_err().contains("65536x1"));
        let mut short = frame();
        short.pixels = Arc::new(vec![0_u8; 10]);
        assert!(encode(&short).is_err());
    }

    #[test]
    fn an_image_is_sent_once_its_record_is_acknowledged() {
        let (folder, journal) = journal_of(3);
        let (reader, places) = (journal.reader().unwrap(), FramePlaces::default());
        let evidence = vec![
            (2, places.hold("top", &frame(), Why::NotOk)),
            (3, places.hold("side/é", &frame(), Why::SampledOk)),
        ];
        assert_eq!(keep_all(&reader, evidence), 0);
        assert_eq!(reader.images_to_send(9).unwrap(), []);
        reader.acknowledge(&[1..=2]).unwrap();
        let images = reader.images_to_send(9).unwrap();
        assert_eq!((images.len(), images[0].sequence, images[0].size_px), (1, 2, (64, 48)));
        let bytes = fs::read(&images[0].path).unwrap();
        assert_eq!(
            (bytes.len() as u64, <[u8; 32]>::from(Sha256::digest(&bytes))),
            (images[0].size_bytes, images[0].sha256)
        );
        reader.image_sent(2, "top").unwrap();
        assert_eq!(reader.images_to_send(9).unwrap(), []);
        assert_eq!(reader.images_of(2).unwrap()[0].state, State::Sent);
        reader.acknowledge(&[3..=3]).unwrap();
        let image = &reader.images_to_send(9).unwrap()[0];
        assert!(image.camera == "side/é" && image.path.is_file());
        fs::remove_file(&image.path).unwrap();
        reader.image_sent(3, "side/é").unwrap();
        assert_eq!(reader.images_of(3).unwrap()[0].state, State::Gone);
        assert!(verify(folder.path()).unwrap().is_whole());
    }

    #[test]
    fn frames_beyond_their_places_are_let_go_and_their_rows_say_so() {
        let (_folder, journal) = journal_of(20);
        let (reader, places) = (journal.reader().unwrap(), FramePlaces::default());
        let evidence = (1..=10)
            .map(|sequence| (sequence, places.hold("top", &frame(), Why::NotOk)))
            .collect();
        assert_eq!(places.refused(), 2);
        assert_eq!(keep_all(&reader, evidence), 0);
        let state = |sequence| reader.images_of(sequence).unwrap()[0].state;
        assert_eq!((state(8), state(9), state(10)), (State::Kept, State::NeverKept, State::NeverKept));
        // The places are free again.
        let evidence = (11..=18)
            .map(|sequence| (sequence, places.hold("top", &frame(), Why::NotOk)))
            .collect();
        keep_all(&reader, evidence);
        assert_eq!((places.refused(), state(18)), (2, State::Kept));
    }

    #[test]
    fn an_image_that_the_disk_does_not_take_is_told_and_noted() {
        let (folder, journal) = journal_of(1);
        fs::write(folder.path().join(EVIDENCE), "in the way").unwrap();
        let reader = journal.reader().unwrap();
        assert_eq!(
            keep_all(&reader, vec![(1, FramePlaces::default().hold("top", &frame(), Why::NotOk))]),
            1
        );
        assert_eq!(reader.images_of(1).unwrap()[0].state, State::NeverKept);
    }

    #[test]
    fn a_crash_leaves_neither_files_without_rows_nor_rows_without_files() {
        let (folder, journal) = journal_of(2000);
        let (reader, places) = (journal.reader().unwrap(), FramePlaces::default());
        let evidence = [1, 2, 1500].map(|sequence| (sequence, places.hold("top", &frame(), Why::NotOk)));
        keep_all(&reader, evidence.into());
        let path = |sequence| reader.evidence_folder().join(&reader.images_of(sequence).unwrap()[0].file);
        // The file was renamed, its row was not written; a file was not finished; one was deleted; a folder was.
        let orphan = path(1).with_file_name("7-top.jpg");
        let unfinished = path(1).with_file_name(".tmpAbC");
        fs::copy(path(1), &orphan).unwrap();
        fs::write(&unfinished, "half").unwrap();
        fs::remove_file(path(2)).unwrap();
        fs::remove_dir_all(path(1500).parent().unwrap()).unwrap();
        drop((reader, journal));
        let (journal, found) = open(folder.path());
        assert_eq!((found.orphans_removed, found.images_gone), (2, 2));
        assert!(!orphan.exists() && !unfinished.exists());
        let reader = journal.reader().unwrap();
        let states = [1, 2, 1500].map(|sequence| reader.images_of(sequence).unwrap()[0].state);
        assert_eq!(states, [State::Kept, State::Gone, State::Gone]);
        assert!(verify(folder.path()).unwrap().is_whole());
        drop((reader, journal));
        let (_, found) = open(folder.path());
        assert_eq!((found.orphans_removed, found.images_gone), (0, 0));
    }

    #[test]
    fn names_of_cameras_cannot_leave_their_folder_nor_meet() {
        assert_eq!(safe_name("top_1-a"), "top_1-a");
        let odd = ["../../etc", "..", "", "a b", "a/b", &"x".repeat(300), "ä"].map(safe_name);
        for (index, name) in odd.iter().enumerate() {
            assert!(!name.contains(['/', '.', ' ']) && (1..=60).contains(&name.len()), "{name}");
            assert!(!odd[..index].contains(name), "{name}");
        }
    }

    #[test]
    fn samples_are_as_many_as_asked_and_the_same_every_time() {
        let drawn = |share| (0..100_000).filter(|part| is_sampled(7, *part, share)).count();
        assert_eq!((drawn(0.0), drawn(1.0)), (0, 100_000));
        // Four standard deviations of a binomial draw.
        assert!(drawn(0.01).abs_diff(1000) < 126, "{}", drawn(0.01));
        assert!((0..1000).all(|part| !is_sampled(7, part, 0.1) || is_sampled(7, part, 0.2)));
        // A change of the hash would draw others.
        let first: Vec<u64> = (0..1000).filter(|part| is_sampled(1, *part, 0.005)).collect();
        assert_eq!(first, (0..1000).filter(|part| is_sampled(1, *part, 0.005)).collect::<Vec<_>>());
        assert_ne!(first, (0..1000).filter(|part| is_sampled(2, *part, 0.005)).collect::<Vec<_>>());
    }
}
