//! Who answers: a journal on this machine, or a historian.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};

use super::text::plain;
use crate::historian::queries::{self, RecordFile};
use crate::journal::record_table;
use crate::rpc::historian_client::{HistorianClient, IMAGE_BYTES_MAX, TlsFiles};
use crate::rpc::proto;

/// Who is asked.
pub(super) enum Source {
    Journal(RecordFile),
    Historian(Box<HistorianClient>),
}

/// A record with what belongs to it.
pub(super) struct Shown {
    pub(super) bytes: Vec<u8>,
    pub(super) related: Vec<Vec<u8>>,
    pub(super) images: Vec<Evidence>,
}

/// An evidence image of a record.
pub(super) struct Evidence {
    pub(super) camera: String,
    /// Ending of its file's name.
    pub(super) ending: &'static str,
    /// SHA-256 of the file.
    pub(super) sha256: Vec<u8>,
    /// Where it lies, where a file is asked and it is there.
    file: Option<PathBuf>,
}

impl Source {
    pub(super) fn journal(path: &Path) -> anyhow::Result<Self> {
        Ok(Self::Journal(RecordFile::open(path)?))
    }

    pub(super) fn historian(address: &str, tls: TlsFiles) -> anyhow::Result<Self> {
        Ok(Self::Historian(Box::new(HistorianClient::connect(address, tls)?)))
    }

    /// A page: bytes of records, and where the next begins (empty if nowhere).
    pub(super) fn page(&mut self, request: &proto::QueryRecordsRequest) -> anyhow::Result<(Vec<Vec<u8>>, String)> {
        Ok(match self {
            Self::Journal(file) => {
                let page = queries::query_records(&file.connection, request)?;
                (page.records, page.next_cursor)
            }
            Self::Historian(client) => client.query_records(request.clone())?,
        })
    }

    pub(super) fn pareto(&mut self, request: proto::ParetoRequest) -> anyhow::Result<proto::ParetoResponse> {
        Ok(match self {
            Self::Journal(file) => queries::pareto(&file.connection, &request)?,
            Self::Historian(client) => client.pareto(request)?,
        })
    }

    pub(super) fn yield_steps(&mut self, request: proto::YieldRequest) -> anyhow::Result<proto::YieldResponse> {
        Ok(match self {
            Self::Journal(file) => queries::yield_steps(&file.connection, &request)?,
            Self::Historian(client) => client.yield_steps(request)?,
        })
    }

    pub(super) fn stations(&mut self) -> anyhow::Result<Vec<proto::StationSummary>> {
        Ok(match self {
            Self::Journal(file) => queries::stations(&file.connection)?,
            Self::Historian(client) => client.stations()?,
        })
    }

    /// One record; `None` if there is none.
    pub(super) fn record(&mut self, key: &proto::RecordKey) -> anyhow::Result<Option<Shown>> {
        match self {
            Self::Journal(file) => {
                let Some(found) = queries::get_record(&file.connection, key)? else {
                    return Ok(None);
                };
                let images = file.images(key)?.into_iter().map(|image| Evidence {
                    camera: image.camera,
                    ending: ending(&image.media_type),
                    sha256: image.sha256,
                    file: image.file,
                });
                Ok(Some(Shown {
                    bytes: found.bytes,
                    related: found.related,
                    images: images.collect(),
                }))
            }
            Self::Historian(client) => Ok(client.get_record(key.clone())?.map(|found| Shown {
                bytes: found.record,
                related: found.related,
                images: found.images.into_iter().map(evidence).collect(),
            })),
        }
    }

    /// The bytes of an evidence image, proven by their hash.
    pub(super) fn image(&mut self, key: &proto::RecordKey, evidence: &Evidence) -> anyhow::Result<Vec<u8>> {
        let bytes = match self {
            Self::Journal(_) => read_bounded(evidence)?,
            Self::Historian(client) => client.image(key.clone(), &evidence.camera)?,
        };
        ensure!(
            record_table::hash(&bytes).as_slice() == evidence.sha256.as_slice(),
            "failed to fetch the image of camera {}: its bytes are not those that were recorded; is the file damaged?",
            plain(&evidence.camera)
        );
        Ok(bytes)
    }
}

fn evidence(image: proto::ImageDescription) -> Evidence {
    Evidence {
        camera: image.camera,
        ending: ending(&image.media_type),
        sha256: image.sha256,
        file: None,
    }
}

fn ending(media_type: &str) -> &'static str {
    if media_type == "image/png" { "png" } else { "jpg" }
}

fn read_bounded(evidence: &Evidence) -> anyhow::Result<Vec<u8>> {
    let Some(file) = &evidence.file else {
        bail!(
            "failed to fetch the image of camera {}: it is gone from here; ask the historian (--historian)",
            plain(&evidence.camera)
        );
    };
    let reading = || format!("failed to read evidence image {}", file.display());
    let length = std::fs::metadata(file).with_context(reading)?.len();
    ensure!(
        length <= IMAGE_BYTES_MAX,
        "{}: it has {length} bytes, of at most {IMAGE_BYTES_MAX}",
        reading()
    );
    std::fs::read(file).with_context(reading)
}
