//! Evidence images, as files below a folder. Calls block on the disk.
//!
//! ```text
//! FOLDER/.incoming/                                         what is being received; emptied at the start
//! FOLDER/STATION/EPOCH/THOUSAND/SEQUENCE-CAMERA.jpg         THOUSAND is SEQUENCE / 1000, so that no folder grows without end
//! ```
//!
//! An image is received into a temporary file; its length and hash are checked; then fsync, rename, fsync of the folder. Its row in the store
//! comes after that, so a row always has its file. One historian at a time uses a folder.
//!
//! Names are made of letters, digits, `_` and `-`; every other byte of a station's or camera's name is written as `%` and two hex digits. So no
//! name leads out of the folder, and no two images share a file.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

use super::ingest::{self, Refusal};
use crate::journal::durable;
use crate::journal::record_table::SEQUENCES;
use crate::rpc::proto;

/// Largest image, bytes. A larger one is refused.
pub const IMAGE_BYTES_MAX: u64 = 64 << 20;

/// Largest chunk of an image on the wire, bytes.
pub const CHUNK_BYTES_MAX: usize = 256 << 10;

/// Most pixels of a side.
const SIDE_PX_MAX: u32 = 1 << 16;

/// Where images are received.
const INCOMING: &str = ".incoming";

/// Why an image is not kept or not given.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// What was sent makes no sense.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The bytes are not those that were described.
    #[error(
        "failed to receive {image}: its bytes do not have the length or SHA-256 that was announced; the file at the station is damaged"
    )]
    Damaged {
        /// Which one.
        image: String,
    },
    /// The file is gone, or is not what was stored.
    #[error("failed to read {image}: {path} is gone or damaged; restore the historian's image folder from a backup")]
    Lost {
        /// Which one.
        image: String,
        /// Its file.
        path: PathBuf,
    },
    /// The disk does not take or give it.
    #[error("failed to use the image folder {folder}: {source}; check that its disk has space and may be written")]
    Disk {
        /// The folder.
        folder: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// A folder of evidence images.
#[derive(Debug, Clone)]
pub struct ImageFolder {
    root: PathBuf,
}

impl ImageFolder {
    /// Opens a folder, or makes it, and sweeps what was being received when the last historian ended.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn open(root: &Path) -> Result<Self, ImageError> {
        let folder = Self { root: root.to_owned() };
        let incoming = folder.incoming();
        let sweep = || -> io::Result<()> {
            durable::make_folder(&incoming)?;
            incoming.read_dir()?.try_for_each(|entry| fs::remove_file(entry?.path()))
        };
        sweep().map_err(|error| folder.disk(error))?;
        Ok(folder)
    }

    /// Begins to receive an image.
    ///
    /// # Errors
    /// When its description makes no sense, or the disk does not take it.
    pub fn receive(&self, description: &proto::ImageDescription) -> Result<Receiving, ImageError> {
        check(description)?;
        let file = NamedTempFile::new_in(self.incoming()).map_err(|error| self.disk(error))?;
        Ok(Receiving {
            folder: self.clone(),
            description: description.clone(),
            file,
            hash: Sha256::new(),
            bytes: 0,
        })
    }

    /// Opens an image that is kept.
    ///
    /// # Errors
    /// When it is gone.
    pub fn read(&self, description: &proto::ImageDescription) -> Result<Reading, ImageError> {
        let path = self.root.join(place(description));
        let lost = || ImageError::Lost {
            image: name(description),
            path: path.clone(),
        };
        match File::open(&path) {
            Ok(file) => Ok(Reading {
                description: description.clone(),
                file,
                path: path.clone(),
                hash: Sha256::new(),
                left: description.size_bytes,
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(lost()),
            Err(error) => Err(self.disk(error)),
        }
    }

    /// Where the image of a record lies, if it is kept.
    pub fn path_of(&self, key: &proto::RecordKey, camera: &str, media_type: &str) -> PathBuf {
        self.root.join(place(&proto::ImageDescription {
            station: key.station.clone(),
            epoch: key.epoch,
            sequence: key.sequence,
            camera: camera.into(),
            media_type: media_type.into(),
            ..proto::ImageDescription::default()
        }))
    }

    fn incoming(&self) -> PathBuf {
        self.root.join(INCOMING)
    }

    fn disk(&self, source: io::Error) -> ImageError {
        ImageError::Disk {
            folder: self.root.clone(),
            source,
        }
    }
}

/// An image that is being received; dropping it forgets it.
#[derive(Debug)]
pub struct Receiving {
    folder: ImageFolder,
    description: proto::ImageDescription,
    file: NamedTempFile,
    hash: Sha256,
    bytes: u64,
}

impl Receiving {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// When they are more than was announced, or the disk does not take them.
    pub fn write(&mut self, chunk: &[u8]) -> Result<(), ImageError> {
        if chunk.len() > CHUNK_BYTES_MAX {
            let reason = format!("a chunk has {} bytes of at most {CHUNK_BYTES_MAX}", chunk.len());
            return Err(malformed(&self.description, reason).into());
        }
        self.bytes += chunk.len() as u64;
        if self.bytes > self.description.size_bytes {
            return Err(self.damaged());
        }
        self.hash.update(chunk);
        self.file.write_all(chunk).map_err(|error| self.folder.disk(error))
    }

    /// Puts the image into its place; when this returns it is on the disk.
    ///
    /// # Errors
    /// When it is not what was announced, or the disk does not take it.
    pub fn finish(self) -> Result<(), ImageError> {
        if self.bytes != self.description.size_bytes || self.hash.clone().finalize().as_slice() != self.description.sha256 {
            return Err(self.damaged());
        }
        let place = place(&self.description);
        let put = || -> io::Result<()> {
            self.file.as_file().sync_all()?;
            let path = self.folder.root.join(&place);
            let folder = path.parent().unwrap_or(&self.folder.root);
            durable::make_folder(folder)?;
            self.file.persist(&path).map_err(|error| error.error)?;
            durable::sync_folder(folder)
        };
        put().map_err(|source| ImageError::Disk {
            folder: self.folder.root.clone(),
            source,
        })
    }

    fn damaged(&self) -> ImageError {
        ImageError::Damaged {
            image: name(&self.description),
        }
    }
}

/// An image that is being read.
#[derive(Debug)]
pub struct Reading {
    description: proto::ImageDescription,
    file: File,
    path: PathBuf,
    hash: Sha256,
    left: u64,
}

impl Reading {
    /// The next bytes, at most [`CHUNK_BYTES_MAX`]; `None` after the last.
    ///
    /// # Errors
    /// When they are not those that were stored. What came before is not to be trusted then.
    pub fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, ImageError> {
        if self.left == 0 {
            let whole = self.hash.clone().finalize().as_slice() == self.description.sha256;
            return if whole { Ok(None) } else { Err(self.lost()) };
        }
        let mut chunk = vec![0; self.left.min(CHUNK_BYTES_MAX as u64) as usize];
        self.file.read_exact(&mut chunk).map_err(|_| self.lost())?;
        self.left -= chunk.len() as u64;
        self.hash.update(&chunk);
        Ok(Some(chunk))
    }

    fn lost(&self) -> ImageError {
        ImageError::Lost {
            image: name(&self.description),
            path: self.path.clone(),
        }
    }
}

/// Whether a description makes sense.
///
/// # Errors
/// When it does not.
pub fn check(description: &proto::ImageDescription) -> Result<(), Refusal> {
    let what = "the description of an image";
    ingest::check_name(what, "station", &description.station)?;
    ingest::check_name(what, "camera", &description.camera)?;
    let side = |px| (1..=SIDE_PX_MAX).contains(&px);
    let reason = if description.sequence == 0 || description.sequence >= SEQUENCES || i64::try_from(description.epoch).is_err() {
        "sequence or epoch is out of range".into()
    } else if ending(&description.media_type).is_none() {
        "media_type must be image/jpeg or image/png".into()
    } else if !(1..=IMAGE_BYTES_MAX).contains(&description.size_bytes) {
        format!("size_bytes must be from 1 to {IMAGE_BYTES_MAX}")
    } else if description.sha256.len() != 32 {
        "sha256 has not 32 bytes".into()
    } else if !side(description.width_px) || !side(description.height_px) {
        format!("width_px and height_px must be from 1 to {SIDE_PX_MAX}")
    } else {
        return Ok(());
    };
    Err(malformed(description, reason))
}

fn malformed(description: &proto::ImageDescription, reason: String) -> Refusal {
    Refusal::Malformed {
        what: name(description),
        reason,
    }
}

/// How messages name an image.
fn name(description: &proto::ImageDescription) -> String {
    format!(
        "the image of record {} of station {}, camera {}",
        description.sequence, description.station, description.camera
    )
}

fn ending(media_type: &str) -> Option<&'static str> {
    match media_type {
        "image/jpeg" => Some("jpg"),
        "image/png" => Some("png"),
        _ => None,
    }
}

/// Where an image lies in the folder.
fn place(description: &proto::ImageDescription) -> PathBuf {
    let file = format!(
        "{}-{}.{}",
        description.sequence,
        plain(&description.camera),
        ending(&description.media_type).unwrap_or("image")
    );
    let folders = [
        plain(&description.station),
        description.epoch.to_string(),
        (description.sequence / 1000).to_string(),
        file,
    ];
    folders.iter().collect()
}

/// A name without anything that a file system might understand.
fn plain(name: &str) -> String {
    let mut plain = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-') {
            plain.push(byte.into());
        } else {
            // Writing to a string does not fail.
            let _ = write!(plain, "%{byte:02x}");
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn described(bytes: &[u8]) -> proto::ImageDescription {
        proto::ImageDescription {
            station: "cell 4/top".into(),
            epoch: 7,
            sequence: 12_345,
            camera: "../../etc".into(),
            media_type: "image/jpeg".into(),
            size_bytes: bytes.len() as u64,
            sha256: Sha256::digest(bytes).to_vec(),
            width_px: 640,
            height_px: 480,
        }
    }

    fn picture(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at * 7 % 251) as u8).collect()
    }

    fn files(folder: &Path) -> Vec<PathBuf> {
        let entries = folder.read_dir().unwrap().map(|entry| entry.unwrap().path());
        let (folders, mut files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
        files.extend(folders.iter().flat_map(|folder| self::files(folder)));
        files
    }

    #[test]
    fn an_image_is_kept_as_it_came() {
        let folder = tempfile::tempdir().unwrap();
        let images = ImageFolder::open(folder.path()).unwrap();
        let bytes = picture(CHUNK_BYTES_MAX * 2 + 77);
        let description = described(&bytes);
        let mut receiving = images.receive(&description).unwrap();
        bytes.chunks(CHUNK_BYTES_MAX).for_each(|chunk| receiving.write(chunk).unwrap());
        receiving.finish().unwrap();
        let path = folder.path().join("cell%204%2ftop/7/12/12345-%2e%2e%2f%2e%2e%2fetc.jpg");
        assert_eq!(files(folder.path()), std::slice::from_ref(&path));
        let mut reading = images.read(&description).unwrap();
        let read: Vec<Vec<u8>> = std::iter::from_fn(|| reading.next_chunk().unwrap()).collect();
        assert!(read.iter().all(|chunk| chunk.len() <= CHUNK_BYTES_MAX));
        assert!(read.concat() == bytes);

        fs::write(&path, picture(bytes.len() - 1)).unwrap();
        let mut reading = images.read(&description).unwrap();
        assert!(
            (0..4)
                .map(|_| reading.next_chunk())
                .any(|chunk| matches!(chunk, Err(ImageError::Lost { .. })))
        );
        fs::remove_file(path).unwrap();
        assert!(matches!(images.read(&description), Err(ImageError::Lost { .. })));
    }

    #[test]
    fn what_is_not_what_was_announced_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let images = ImageFolder::open(folder.path()).unwrap();
        let bytes = picture(1000);
        let description = described(&bytes);
        for sent in [&bytes[..999], &picture(1001)[1..]] {
            let mut receiving = images.receive(&description).unwrap();
            receiving.write(sent).unwrap();
            assert!(matches!(receiving.finish(), Err(ImageError::Damaged { .. })));
        }
        let mut receiving = images.receive(&description).unwrap();
        assert!(matches!(receiving.write(&picture(1001)), Err(ImageError::Damaged { .. })));
        assert!(matches!(
            receiving.write(&picture(CHUNK_BYTES_MAX + 1)),
            Err(ImageError::Refused(_))
        ));
        drop(receiving);
        assert_eq!(files(folder.path()), [] as [PathBuf; 0]);
    }

    #[test]
    fn what_a_killed_historian_was_receiving_is_swept() {
        let folder = tempfile::tempdir().unwrap();
        ImageFolder::open(folder.path()).unwrap();
        fs::write(folder.path().join(INCOMING).join("half"), "half").unwrap();
        ImageFolder::open(folder.path()).unwrap();
        assert_eq!(files(folder.path()), [] as [PathBuf; 0]);
    }

    #[test]
    fn a_folder_that_cannot_be_used_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let refused = ImageFolder::open(&file.join("images")).unwrap_err().to_string();
        assert!(
            refused.contains("failed to use the image folder") && refused.contains("file/images"),
            "{refused}"
        );
    }

    #[test]
    fn hostile_descriptions_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let images = ImageFolder::open(folder.path()).unwrap();
        let wrong: [fn(&mut proto::ImageDescription); 9] = [
            |image| image.station.clear(),
            |image| image.camera = "c".repeat(65),
            |image| image.camera = "a\0b".into(),
            |image| image.sequence = 0,
            |image| image.sequence = u64::MAX,
            |image| image.size_bytes = IMAGE_BYTES_MAX + 1,
            |image| image.sha256.clear(),
            |image| image.media_type = "text/html".into(),
            |image| image.width_px = 0,
        ];
        for change in wrong {
            let mut description = described(b"x");
            change(&mut description);
            assert!(
                matches!(images.receive(&description), Err(ImageError::Refused(_))),
                "{description:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_name_leads_out_of_the_folder_and_no_two_share_a_file(names in prop::collection::btree_set(".{1,8}", 2..6)) {
            let places: Vec<PathBuf> = names
                .iter()
                .map(|name| {
                    place(&proto::ImageDescription { station: name.clone(), camera: name.clone(), ..described(b"x") })
                })
                .collect();
            for (at, place) in places.iter().enumerate() {
                prop_assert_eq!(place.components().filter(|part| matches!(part, std::path::Component::Normal(_))).count(), 4);
                prop_assert_eq!(place.components().count(), 4);
                prop_assert!(!places[..at].contains(place));
            }
        }
    }
}
