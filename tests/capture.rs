//! Cameras: real GStreamer pipelines, real shared memory, real processes that are killed.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use takt::capture::CameraClock;
use takt::capture::folder::FolderCamera;
use takt::capture::gstreamer::{GstCamera, GstSettings};
use takt::capture::v4l::{DeviceSettings, V4lCamera, V4lSettings};
use takt::capture::{Camera, Capture, CaptureSink, Frame, PixelFormat};
use takt::flow;
use takt::part::{Nanos, Region, Verdict};
use takt::teach::detector::Method;
use takt::twin::camera::{TwinCamera, TwinCameraError};
use takt::vision::Image;
use takt::vision::inspector::{Inspector, Overrides};
use takt::vision::preprocess::Preprocessor;
use takt::vision::stamp::{self, StampPlace};
use takt::vision::{EngineOptions, encode};

use crate::parts::{self, Pixels};

/// Longer than anything here takes; a test that waits so long has failed.
const NEVER: Duration = Duration::from_mins(1);

const STAMP: StampPlace = StampPlace { x: 2, y: 4, cell_px: 3 };

/// Names the socket for the process that plays the twin.
const SOCKET: &str = "TAKT_TEST_CAMERA_SOCKET";

/// A camera's words, in order.
struct Heard(Receiver<Capture>);

impl Heard {
    fn sink() -> (CaptureSink, Self) {
        let (sender, receiver) = mpsc::channel();
        let sink: CaptureSink = Arc::new(move |capture| {
            let _ = sender.send(capture);
        });
        (sink, Self(receiver))
    }

    #[track_caller]
    fn next(&self) -> Capture {
        self.0.recv_timeout(NEVER).expect("the camera says nothing")
    }

    /// The next frame; nothing else may come before it.
    #[track_caller]
    fn frame(&self) -> Frame {
        match self.next() {
            Capture::Frame(frame) => frame,
            other => panic!("a frame should come, but it says {other:?}"),
        }
    }

    #[track_caller]
    fn up(&self) {
        let said = self.next();
        assert!(matches!(said, Capture::Up), "the camera should be up, but it says {said:?}");
    }

    /// The reason why the camera is down, after any frames.
    #[track_caller]
    fn down(&self) -> String {
        loop {
            match self.next() {
                Capture::Down { reason } => return reason,
                Capture::Frame(_) => {}
                Capture::Up => panic!("the camera should be down"),
            }
        }
    }

    /// The first frame after the camera came up again, whatever it says until then.
    #[track_caller]
    fn first_frame_after_up(&self) -> Frame {
        while !matches!(self.next(), Capture::Up) {}
        self.frame()
    }
}

fn settings(source: &str) -> GstSettings {
    GstSettings {
        name: "top".into(),
        source: source.into(),
        clock: CameraClock::Pipeline,
        frames_held_max: 8,
        is_triggered: false,
    }
}

/// A camera on the twin's shared memory.
fn on_shared_memory(socket: &Path) -> GstSettings {
    GstSettings {
        clock: CameraClock::Monotonic,
        is_triggered: true,
        ..settings(&format!("shmsrc socket-path={} is-live=true ! gdpdepay", socket.display()))
    }
}

fn capture(settings: GstSettings) -> (GstCamera, Heard) {
    let (sink, heard) = Heard::sink();
    (GstCamera::start(settings, sink).unwrap(), heard)
}

/// What is wrong with a description that is refused.
fn refused(source: &str) -> String {
    let (sink, _heard) = Heard::sink();
    GstCamera::start(settings(source), sink)
        .err()
        .unwrap_or_else(|| panic!("{source} should be refused"))
        .to_string()
}

/// A station and a twin, connected.
fn connected(twin: &TwinCamera, socket: &Path, frames_held_max: usize) -> (GstCamera, Heard) {
    let (camera, heard) = capture(GstSettings {
        frames_held_max,
        ..on_shared_memory(socket)
    });
    heard.up();
    // The twin takes the connection a moment after the station has made it.
    while twin.clients() == 0 {
        std::thread::yield_now();
    }
    (camera, heard)
}

fn gradient(width: u32, height: u32) -> Image {
    let pixels = (0..height).flat_map(|y| (0..width).map(move |x| [(x * 2) as u8, (y * 3) as u8, 90]));
    Image {
        width,
        height,
        rgb: pixels.flatten().collect(),
    }
}

fn bytes(frame: &Frame) -> &[u8] {
    (*frame.pixels).as_ref()
}

#[test]
fn every_format_of_every_source_has_the_colours_it_was_made_with() {
    for format in PixelFormat::ALL {
        let before = flow::now();
        // Rows of 62 pixels are padded in most formats.
        let (_camera, heard) = capture(settings(&format!(
            "videotestsrc is-live=true pattern=solid-color foreground-color=0xff2080c0 ! video/x-raw,format={},width=62,height=38,framerate=100/1",
            format.name()
        )));
        heard.up();
        let frames = [heard.frame(), heard.frame()];
        for frame in &frames {
            assert_eq!((frame.format, frame.width, frame.height), (format, 62, 38));
            assert!(
                (before..=flow::now()).contains(&frame.exposed_at),
                "{format:?}: exposed at another time"
            );
            let mut preprocessor = Preprocessor::new(62, 38);
            let rgb = preprocessor.resize_frame(frame, None).unwrap();
            let luma = 0.299 * 32.0 + 0.587 * 128.0 + 0.114 * 192.0;
            let expected = if format == PixelFormat::Gray8 {
                [luma as u8; 3]
            } else {
                [0x20, 0x80, 0xc0]
            };
            let worst = rgb
                .chunks_exact(3)
                .flat_map(|pixel| [0, 1, 2].map(|c| pixel[c].abs_diff(expected[c])))
                .max();
            assert!(
                worst <= Some(3),
                "{format:?}: off by {worst:?}, {:?} instead of {expected:?}",
                &rgb[..3]
            );
        }
        assert_eq!(frames[0].counter.map(|counter| counter + 1), frames[1].counter);
        assert!(frames[0].exposed_at < frames[1].exposed_at);
    }
}

#[test]
fn frames_of_the_twin_arrive_with_their_pixels_time_number_and_stamp() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("camera");
    for format in PixelFormat::ALL {
        let twin = TwinCamera::start(&socket, 102, 50, format).unwrap();
        let (_camera, heard) = connected(&twin, &socket, 8);
        for (counter, number) in [(7, 1), (8, u32::MAX), (u64::from(u32::MAX) + 9, 0)] {
            let mut image = gradient(102, 50);
            stamp::write(&mut image, STAMP, number);
            let exposed_at = Nanos(flow::now().0 + 1);
            twin.expose(&twin.prepare(&image), counter, exposed_at);
            let frame = heard.frame();
            assert_eq!((frame.exposed_at, frame.counter), (exposed_at, Some(counter)), "{format:?}");
            assert_eq!(stamp::read(&frame, STAMP), Some(number), "{format:?}");
            if format != PixelFormat::Gray8 {
                // Away from the stamp, whose edges spoil the colours beside them.
                let region = Region {
                    x: 40,
                    y: 4,
                    width: 60,
                    height: 40,
                };
                let mut preprocessor = Preprocessor::new(60, 40);
                let rgb = preprocessor.resize_frame(&frame, Some(region)).unwrap();
                let plain = |x: u32, y: u32| &image.rgb[3 * ((y + 4) * 102 + x + 40) as usize..][..3];
                let worst = (0..2400)
                    .flat_map(|i| [0, 1, 2].map(|c| rgb[3 * i + c].abs_diff(plain(i as u32 % 60, i as u32 / 60)[c])))
                    .max();
                assert!(worst <= Some(4), "{format:?}: off by {worst:?}");
            }
        }
    }
}

/// Not a test but the process that plays the twin in the next one, until it is killed.
#[test]
#[ignore = "it is run, and killed, by another test"]
fn a_twin_that_goes_on_until_it_is_killed() {
    let Some(socket) = std::env::var_os(SOCKET).map(PathBuf::from) else {
        return;
    };
    let twin = TwinCamera::start(&socket, 64, 48, PixelFormat::Rgb).unwrap();
    let mut image = gradient(64, 48);
    for counter in 0_u32.. {
        stamp::write(&mut image, STAMP, counter);
        twin.expose(&twin.prepare(&image), counter.into(), flow::now());
        // The pace of a camera.
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A process that is killed, for good when it goes out of scope.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
        // What it shared stays in memory otherwise.
        let prefix = format!("shmpipe.{:5}.", self.0.id());
        let shared = std::fs::read_dir("/dev/shm").into_iter().flatten().flatten();
        for file in shared.filter(|file| file.file_name().to_string_lossy().starts_with(&prefix)) {
            let _ = std::fs::remove_file(file.path());
        }
    }
}

fn twin_process(socket: &Path) -> Killed {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "capture::a_twin_that_goes_on_until_it_is_killed", "--ignored"]);
    command.env(SOCKET, socket).stdout(Stdio::null()).stderr(Stdio::null());
    Killed(command.spawn().unwrap())
}

#[test]
fn a_camera_that_is_killed_and_comes_back_is_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("camera");
    let (_camera, heard) = capture(on_shared_memory(&socket));
    let reason = heard.down();
    assert!(
        reason.contains("Could not open socket") && reason.contains("check that the camera is there"),
        "{reason}"
    );
    for _ in 0..2 {
        let twin = twin_process(&socket);
        let frame = heard.first_frame_after_up();
        assert_eq!(frame.counter, stamp::read(&frame, STAMP).map(u64::from));
        drop(twin);
        assert!(socket.exists(), "a killed twin leaves its socket behind");
        let reason = heard.down();
        assert!(reason.contains("Control socket has closed"), "{reason}");
    }
}

#[test]
fn a_station_that_comes_in_the_middle_of_the_stream_understands_it() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("camera");
    let twin = TwinCamera::start(&socket, 64, 48, PixelFormat::Nv12).unwrap();
    let prepared = twin.prepare(&gradient(64, 48));
    twin.expose(&prepared, 1, flow::now());
    for counter in 2..5 {
        let (camera, heard) = connected(&twin, &socket, 8);
        twin.expose(&prepared, counter, flow::now());
        assert_eq!(heard.frame().counter, Some(counter));
        drop(camera);
        while twin.clients() > 0 {
            std::thread::yield_now();
        }
    }
}

#[test]
fn two_twins_do_not_share_a_socket() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("camera");
    let _first = TwinCamera::start(&socket, 64, 48, PixelFormat::Rgb).unwrap();
    let second = TwinCamera::start(&socket, 64, 48, PixelFormat::Rgb).err();
    assert!(matches!(second, Some(TwinCameraError::InUse { .. })), "{second:?}");
    let file = folder.path().join("notes.txt");
    std::fs::write(&file, "dear").unwrap();
    let refusal = TwinCamera::start(&file, 64, 48, PixelFormat::Rgb).err().unwrap().to_string();
    assert!(refusal.contains("no socket") && file.exists(), "{refusal}");
    let nowhere = TwinCamera::start(&folder.path().join("no/such/camera"), 64, 48, PixelFormat::Rgb)
        .err()
        .unwrap();
    assert!(nowhere.to_string().contains("no/such/camera"), "{nowhere}");
}

#[test]
fn frames_beyond_the_limit_are_copied_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("camera");
    let twin = TwinCamera::start(&socket, 64, 48, PixelFormat::Rgb).unwrap();
    let (camera, heard) = connected(&twin, &socket, 2);
    let prepared = twin.prepare(&gradient(64, 48));
    let receive = |counter| {
        twin.expose(&prepared, counter, flow::now());
        heard.frame()
    };
    let mut held: Vec<Frame> = (0..5).map(receive).collect();
    assert_eq!(camera.frames_copied(), 3);
    assert!(held.iter().all(|frame| bytes(frame) == bytes(&held[0])));
    held.truncate(1);
    held.push(receive(5));
    assert_eq!(camera.frames_copied(), 3, "what was given back can be held again");
    held.push(receive(6));
    assert_eq!(camera.frames_copied(), 4);
    // Frames outlive the camera and its source.
    drop(camera);
    drop(twin);
    assert_eq!(bytes(&held[0])[..6], [0, 0, 90, 2, 0, 90]);
}

#[test]
fn a_size_that_changes_on_the_way_is_taken_as_it_comes() {
    let source = |side: u32| format!("videotestsrc num-buffers=2 ! video/x-raw,format=RGB,width={side},height={side} ! all.");
    let (_camera, heard) = capture(settings(&format!("{} {} concat name=all", source(64), source(32))));
    heard.up();
    let widths: Vec<u32> = (0..4).map(|_| heard.frame().width).collect();
    assert_eq!(widths, [64, 64, 32, 32]);
}

#[test]
fn a_source_that_ends_is_started_again() {
    let (camera, heard) = capture(settings("videotestsrc num-buffers=2 ! video/x-raw,format=GRAY8"));
    for _ in 0..2 {
        heard.up();
        let counters: Vec<Option<u64>> = (0..2).map(|_| heard.frame().counter).collect();
        assert_eq!(counters, [Some(0), Some(1)]);
        let reason = heard.down();
        assert!(reason.contains("end of stream"), "{reason}");
    }
    drop(camera);
    // Its sink is gone with it: nothing is left that could speak.
    while let Ok(capture) = heard.0.recv_timeout(NEVER) {
        drop(capture);
    }
    assert!(matches!(heard.0.try_recv(), Err(mpsc::TryRecvError::Disconnected)));
}

#[test]
fn descriptions_that_make_no_pipeline_are_refused_with_what_helps() {
    for (source, expected) in [
        ("nosuchsrc", "no element nosuchsrc"),
        ("videotestsrc pattern=nosuch", "gst-launch-1.0"),
        ("videotestsrc nosuch=1", "nosuch"),
        ("videotestsrc ! ! identity", "gst-launch-1.0"),
        ("", "gst-launch-1.0"),
    ] {
        let said = refused(source);
        assert!(said.starts_with("failed to set up camera \"top\""), "{said}");
        assert!(said.contains(expected), "{source}: {said}");
    }
}

#[test]
fn sources_whose_frames_takt_does_not_take_are_explained() {
    for (source, expected) in [
        ("videotestsrc ! video/x-raw,format=RGBA", ["RGBA", "add ! videoconvert"]),
        ("videotestsrc ! jpegenc", ["image/jpeg", "add ! jpegdec"]),
        ("fakesrc sizetype=fixed sizemax=100", ["not say what", "gdpdepay"]),
        ("v4l2src device=/dev/video-nosuch", ["/dev/video-nosuch", "cable"]),
    ] {
        let (_camera, heard) = capture(settings(source));
        let reason = heard.down();
        assert!(expected.iter().all(|part| reason.contains(part)), "{source}: {reason}");
    }
}

#[test]
fn a_panic_on_the_way_takes_the_camera_down_but_not_the_program() {
    let (sink, heard) = Heard::sink();
    let panics = AtomicBool::new(true);
    let fragile: CaptureSink = Arc::new(move |capture| {
        assert!(
            !matches!(capture, Capture::Frame(_)) || !panics.swap(false, Ordering::SeqCst),
            "a planted panic"
        );
        sink(capture);
    });
    let source = "videotestsrc is-live=true ! video/x-raw,format=GRAY8,width=64,height=64";
    let _camera = GstCamera::start(settings(source), fragile).unwrap();
    heard.up();
    let reason = heard.down();
    assert!(reason.contains("anic"), "{reason}");
    heard.up();
    heard.frame();
}

#[test]
fn a_folder_gives_an_image_for_each_trigger_round_and_round() {
    let folder = tempfile::tempdir().unwrap();
    for (name, width) in [("b.png", 20), ("a.png", 30)] {
        let png = encode::encode_png(width, 20, &gradient(width, 20).rgb).unwrap();
        std::fs::write(folder.path().join(name), png).unwrap();
    }
    std::fs::write(folder.path().join("c.png"), "no image").unwrap();
    std::fs::write(folder.path().join("notes.txt"), "no image either").unwrap();
    let (sink, heard) = Heard::sink();
    let camera = FolderCamera::start("top", folder.path(), sink).unwrap();
    heard.up();
    let before = flow::now();
    (0..6).for_each(|_| camera.trigger());
    let frames: Vec<Frame> = (0..4).map(|_| heard.frame()).collect();
    let seen: Vec<_> = frames.iter().map(|frame| (frame.width, frame.counter)).collect();
    assert_eq!(
        seen,
        [(30, Some(0)), (20, Some(1)), (30, Some(3)), (20, Some(4))],
        "c.png gives none"
    );
    assert_eq!(bytes(&frames[1]), gradient(20, 20).rgb);
    assert!(frames.iter().all(|frame| (before..flow::now()).contains(&frame.exposed_at)));
}

#[test]
fn folders_without_images_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (place, expected) in [
        (folder.path().to_owned(), "holds no image"),
        (folder.path().join("nosuch"), "cannot be read"),
    ] {
        let (sink, _heard) = Heard::sink();
        let said = FolderCamera::start("top", &place, sink).err().unwrap().to_string();
        assert!(said.contains(expected) && said.contains(place.to_str().unwrap()), "{said}");
    }
}

fn device(path: &Path) -> V4lSettings {
    V4lSettings {
        name: "top".into(),
        device: DeviceSettings {
            path: path.to_owned(),
            format: PixelFormat::Gray8,
            width: 640,
            height: 480,
            frame_rate_hz: None,
            controls: Vec::new(),
            clock: CameraClock::Monotonic,
            frames_held_max: 8,
        },
        is_triggered: false,
    }
}

/// What a device does when it is there is tested where there is one: docs/boot-test.md.
#[test]
fn a_device_that_is_no_camera_says_so_once_and_can_be_dropped() {
    let folder = tempfile::tempdir().unwrap();
    for (path, expected) in [
        (folder.path().join("video0"), "check cable and power, and the path"),
        ("/dev/null".into(), "is no video device"),
        (folder.path().to_owned(), "is no video device"),
    ] {
        let (sink, heard) = Heard::sink();
        let camera = V4lCamera::start(device(&path), sink).unwrap();
        let said = heard.down();
        assert!(said.contains(expected) && said.contains(path.to_str().unwrap()), "{said}");
        drop(camera);
        assert!(
            heard.0.try_recv().is_err(),
            "the same reason is told once, and nothing after the end"
        );
    }
}

#[test]
fn a_frame_is_judged_as_its_image_is() {
    let taught = parts::taught(Method::Patchcore);
    let mut inspector = Inspector::new(taught.package.clone().activate(EngineOptions::default()).unwrap());
    let rgb = parts::part(501, (96, 80), true, Pixels::Rgb8).into_rgb8().into_raw();
    let part = Image {
        width: 96,
        height: 80,
        rgb,
    };
    // The part somewhere in a larger black frame.
    let at = Region {
        x: 11,
        y: 7,
        width: 96,
        height: 80,
    };
    let mut image = Image {
        width: 128,
        height: 100,
        rgb: vec![0; 128 * 100 * 3],
    };
    for (row, pixels) in part.rgb.chunks_exact(3 * 96).enumerate() {
        let start = 3 * ((row + 7) * 128 + 11);
        image.rgb[start..start + pixels.len()].copy_from_slice(pixels);
    }
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("camera");
    let twin = TwinCamera::start(&socket, 128, 100, PixelFormat::Bgr).unwrap();
    let (_camera, heard) = connected(&twin, &socket, 8);
    twin.expose(&twin.prepare(&image), 1, flow::now());
    let frame = heard.frame();

    let plain = inspector.inspect(&part).unwrap();
    let seen = inspector.inspect_frame(&frame, Some(at), Overrides::default()).unwrap();
    assert_eq!((seen.verdict, seen.score, &seen.map), (Verdict::NotOk, plain.score, &plain.map));
    for (plain, seen) in plain.findings.iter().zip(&seen.findings) {
        assert_eq!((plain.x + 11, plain.y + 7, plain.width), (seen.x, seen.y, seen.width));
    }
    let lenient = Overrides {
        threshold: Some(plain.score),
        ..Overrides::default()
    };
    assert_eq!(inspector.inspect_frame(&frame, Some(at), lenient).unwrap().verdict, Verdict::Ok);
    let coarse = Overrides {
        min_area_px: 96 * 80 + 1,
        ..Overrides::default()
    };
    assert_eq!(inspector.inspect_frame(&frame, Some(at), coarse).unwrap().verdict, Verdict::Ok);
    let outside = Region { x: 60, ..at };
    let refusal = inspector.inspect_frame(&frame, Some(outside), coarse).unwrap_err().to_string();
    assert!(refusal.contains("128x100") && refusal.contains("96x80"), "{refusal}");
}

/// A silent camera is no fault, and triggers are no business of a pipeline.
#[test]
fn a_camera_that_is_only_silent_is_not_down() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("camera");
    let twin = TwinCamera::start(&socket, 64, 48, PixelFormat::Rgb).unwrap();
    let (camera, heard) = connected(&twin, &socket, 8);
    camera.trigger();
    assert_eq!(camera.name(), "top");
    drop(camera);
    let said: Vec<Capture> = heard.0.iter().collect();
    assert!(said.is_empty(), "{said:?}");
}
