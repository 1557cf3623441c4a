//! `[[camera]]` of `station.toml`: where frames come from, and what their pixels mean.

use std::fs;
use std::path::Path;

use super::reader::{Answer, Table};
use super::station::{CameraClock, CameraConfig, CameraSource, DeviceSettings, StampPlace};
use super::value::{controls, description, name, number, one_of, path, whole, whole_u32};
use crate::capture::PixelFormat;
use crate::model::manifest::sha256_hex;
use crate::part::Region;
use crate::recipe::measure::{MM_PER_PX, Scale};
use crate::vision::calibration::file::Record;

/// Highest coordinate and length in a frame, pixels.
pub(super) const SIDE_PX_MAX: u32 = 65_535;

/// Most frames a second that a device is asked for.
const FRAME_RATE_HZ_MAX: u32 = 10_000;

/// Buffers of a camera that takt may hold, unless said otherwise.
const FRAMES_HELD: u64 = 8;

/// Most buffers of a camera that takt may hold. A driver may have fewer.
const FRAMES_HELD_MAX: u64 = 64;

pub(super) fn read_camera(table: &mut Table<'_>, folder: &Path) -> Answer<CameraConfig> {
    let name = table.required("name", name);
    let source = read_camera_source(table, folder);
    let stamp = table.inline("stamp", |table| {
        let x = table.required("x", whole_u32(0..=SIDE_PX_MAX));
        let y = table.required("y", whole_u32(0..=SIDE_PX_MAX));
        let cell_px = table.required("cell_px", whole_u32(1..=64));
        Ok(StampPlace {
            x: x?,
            y: y?,
            cell_px: cell_px?,
        })
    });
    let scale = read_scale(table, folder);
    let CameraScale {
        scale,
        calibrated_px,
        calibration_sha256,
    } = scale?;
    Ok(CameraConfig {
        name: name?,
        source: source?,
        scale,
        calibrated_px,
        calibration_sha256,
        stamp: stamp?,
    })
}

/// What pixels of a camera mean; width and height of the frames that it holds for, and the hash of its file, where a calibration says it.
#[derive(Default)]
struct CameraScale {
    scale: Option<Scale>,
    calibrated_px: Option<(u32, u32)>,
    calibration_sha256: Option<String>,
}

/// How large a pixel of a camera is in the plane of the part.
fn read_scale(table: &mut Table<'_>, folder: &Path) -> Answer<CameraScale> {
    let told = table.optional("mm_per_px", number(MM_PER_PX));
    let file = table.optional("calibration", path(folder));
    let (told, file) = (told?, file?);
    let Some(file) = file else {
        return Ok(CameraScale {
            scale: told.and_then(Scale::new),
            ..CameraScale::default()
        });
    };
    if told.is_some() {
        return Err(table.refuse(
            "calibration",
            "a calibration says how large a pixel is, and mm_per_px does too; leave one of them out",
        ));
    }
    let text = fs::read_to_string(&file)
        .map_err(|error| table.refuse("calibration", format!("{} cannot be read: {error}; check the path", file.display())))?;
    let record = Record::from_text(&text).map_err(|error| table.refuse("calibration", format!("{}: {error}", file.display())))?;
    let [width, height] = record.calibration.size_px;
    Ok(CameraScale {
        scale: Scale::calibrated(record.calibration),
        calibrated_px: Some((width, height)),
        calibration_sha256: Some(sha256_hex(text.as_bytes())),
    })
}

fn read_camera_source(table: &mut Table<'_>, folder: &Path) -> Answer<CameraSource> {
    if table.has("device") {
        return read_device(table, folder).map(CameraSource::Device);
    }
    let clocks = [
        ("pipeline", CameraClock::Pipeline),
        ("monotonic", CameraClock::Monotonic),
        ("arrival", CameraClock::Arrival),
    ];
    let description = table.optional("source", description);
    let images = table.optional("folder", path(folder));
    let clock = table.or("clock", CameraClock::Pipeline, one_of(clocks));
    let frames_held_max = table.or("frames_held_max", FRAMES_HELD, whole(1..=FRAMES_HELD_MAX));
    let (description, images, clock, frames_held_max) = (description?, images?, clock?, frames_held_max?);
    match (description, images) {
        (Some(description), None) => Ok(CameraSource::Pipeline {
            description,
            clock,
            frames_held_max: frames_held_max as usize,
        }),
        (None, Some(images)) => {
            for key in ["clock", "frames_held_max"].into_iter().filter(|key| table.has(key)) {
                table.refuse(key, format!("{key} is for cameras with a source, not for a folder; remove it"));
            }
            Ok(CameraSource::Folder(images))
        }
        (Some(_), Some(_)) => Err(table.refuse("folder", "it has both a source and a folder; keep one")),
        (None, None) => Err(table.refuse(
            "source",
            "source is missing; give the description of a GStreamer source, a device such as /dev/video0, or a folder of images",
        )),
    }
}

fn read_device(table: &mut Table<'_>, folder: &Path) -> Answer<DeviceSettings> {
    let others = [
        ("source", table.optional("source", description)?.is_some()),
        ("folder", table.optional("folder", path(folder))?.is_some()),
    ];
    for (key, _) in others.iter().filter(|(_, is_given)| *is_given) {
        table.refuse(key, format!("it has both a device and a {key}; keep one"));
    }
    let device = table.required("device", path(folder));
    let format = table.required("format", one_of(PixelFormat::ALL.map(|format| (format.name(), format))));
    let width = table.required("width", whole_u32(1..=SIDE_PX_MAX));
    let height = table.required("height", whole_u32(1..=SIDE_PX_MAX));
    let frame_rate_hz = table.optional("frame_rate_hz", whole_u32(1..=FRAME_RATE_HZ_MAX));
    let controls = table.or("controls", Vec::new(), controls);
    let clocks = [("monotonic", CameraClock::Monotonic), ("arrival", CameraClock::Arrival)];
    let clock = table.or("clock", CameraClock::Monotonic, one_of(clocks));
    let frames_held_max = table.or("frames_held_max", FRAMES_HELD, whole(1..=FRAMES_HELD_MAX));
    Ok(DeviceSettings {
        path: device?,
        format: format?,
        width: width?,
        height: height?,
        frame_rate_hz: frame_rate_hz?,
        controls: controls?,
        clock: clock?,
        frames_held_max: frames_held_max? as usize,
    })
}

/// A rectangle of a frame.
pub(super) fn read_region(table: &mut Table<'_>) -> Answer<Region> {
    let x = table.required("x", whole_u32(0..=SIDE_PX_MAX));
    let y = table.required("y", whole_u32(0..=SIDE_PX_MAX));
    let width = table.required("width", whole_u32(1..=SIDE_PX_MAX));
    let height = table.required("height", whole_u32(1..=SIDE_PX_MAX));
    Ok(Region {
        x: x?,
        y: y?,
        width: width?,
        height: height?,
    })
}
