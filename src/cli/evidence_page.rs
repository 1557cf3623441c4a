//! The pictures of rejected parts, as the historian of a demo keeps them, for the page.

use std::path::Path;

use anyhow::Context;
use prost::Message;

use crate::historian::images::ImageFolder;
use crate::historian::queries::{RecordFile, query_records};
use crate::part::{Outcome, Reason, Verdict};
use crate::report::{EvidencePicture, Picture};
use crate::rpc::convert::outcome_of;
use crate::rpc::proto::{self, record::Body};

/// Pictures on the page; the others stay in their folder.
const SHOWN_MAX: usize = 8;

/// Records that are looked at: as many as a page of the historian holds.
const LOOKED_AT_MAX: u32 = 1000;

/// The first pictures, and how many more there are. `store` and `images` are the historian's, `page` is the folder that the page is in.
pub(super) fn evidence(store: &Path, images: &Path, page: &Path) -> anyhow::Result<(Vec<EvidencePicture>, usize)> {
    let file = RecordFile::open(store)?;
    let folder = ImageFolder::open(images)?;
    let rejects = proto::QueryRecordsRequest {
        filter: Some(proto::RecordFilter {
            verdicts: vec![proto::Verdict::NotOk.into(), proto::Verdict::NotDecidable.into()],
            ..proto::RecordFilter::default()
        }),
        order: proto::Order::OldestFirst.into(),
        page_size: LOOKED_AT_MAX,
        cursor: String::new(),
    };
    let (mut shown, mut more) = (Vec::new(), 0);
    for bytes in query_records(&file.connection, &rejects)?.records {
        let record = proto::Record::decode(bytes.as_slice()).context("failed to read a record of the historian")?;
        let Some(Body::Part(part)) = &record.body else { continue };
        let key = proto::RecordKey {
            station: record.station.clone(),
            epoch: record.epoch,
            sequence: record.sequence,
        };
        for image in file.images(&key)? {
            if shown.len() == SHOWN_MAX {
                more += 1;
                continue;
            }
            let path = folder.path_of(&key, &image.camera, &image.media_type);
            let bytes = std::fs::read(&path).with_context(|| format!("failed to read {}", path.display()))?;
            let file = path.strip_prefix(page).unwrap_or(&path).display().to_string();
            shown.push(EvidencePicture {
                picture: Picture { mime: "image/jpeg", bytes },
                file,
                caption: caption(part),
            });
        }
    }
    Ok((shown, more))
}

fn caption(part: &proto::Part) -> String {
    let outcome = part.outcome.map_or(Outcome::not_decidable(Reason::Internal), outcome_of);
    let verdict = match outcome.verdict {
        Verdict::Ok => "Ok",
        Verdict::NotOk => "NotOk",
        Verdict::NotDecidable => "NotDecidable",
    };
    let reason = outcome.reason.map_or("", Reason::name).replace('_', " ");
    let score = part.views.iter().find_map(|view| view.score.zip(view.threshold));
    let score = score.map_or_else(String::new, |(score, threshold)| {
        format!(", score {score:.2} (limit {threshold:.2})")
    });
    format!("cycle {}: {verdict}, {reason}{score}", part.cycle_id.unwrap_or(0))
}
