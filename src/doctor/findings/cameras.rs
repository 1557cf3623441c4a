//! Cameras, and GStreamer for those that need it.

use std::path::PathBuf;

use crate::doctor::{Check, Finding, Status};

/// An element that a camera needs and that is not here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lacking {
    /// The camera.
    pub camera: String,
    /// The element.
    pub element: String,
    /// The Debian package that has it.
    pub package: Option<&'static str>,
}

/// GStreamer on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GStreamerFacts {
    /// Its version, or why it does not start.
    pub version: Option<Result<String, String>>,
    /// Cameras whose descriptions were looked at.
    pub cameras: usize,
    /// What they lack.
    pub lacking: Vec<Lacking>,
    /// Descriptions that it does not understand: camera, and its words.
    pub wrong: Vec<(String, String)>,
}

/// Whether it has what the cameras need.
pub fn gstreamer(facts: &GStreamerFacts) -> Vec<Finding> {
    let version = match &facts.version {
        Some(Ok(version)) => version,
        Some(Err(error)) => {
            let fact = format!("GStreamer does not start: {error}");
            return vec![Finding::new(Check::GStreamer, Status::Failed, fact).remedy("install libgstreamer1.0-0")];
        }
        None => return Vec::new(),
    };
    let lacking = facts.lacking.iter().map(|lacking| {
        let Lacking { camera, element, package } = lacking;
        let remedy = match package {
            Some(package) => format!("apt-get install {package}"),
            None => format!("check the spelling of {element}, or install the plugin that has it"),
        };
        Finding::new(Check::GStreamer, Status::Failed, format!("there is no element {element}"))
            .remedy(remedy)
            .of(camera.as_str())
            .value("element", element.as_str())
            .value("package", *package)
    });
    let wrong = facts.wrong.iter().map(|(camera, words)| {
        Finding::new(Check::GStreamer, Status::Failed, format!("its source is not understood: {words}"))
            .remedy("correct source of that camera; try it with gst-launch-1.0 SOURCE ! fakesink")
            .of(camera.as_str())
    });
    let found: Vec<Finding> = lacking.chain(wrong).collect();
    if !found.is_empty() {
        return found;
    }
    let needs = match facts.cameras {
        0 => "no camera needs it".to_owned(),
        1 => "it has what the camera needs".to_owned(),
        cameras => format!("it has what the {cameras} cameras need"),
    };
    let fact = format!("GStreamer {version}, {needs}");
    vec![Finding::new(Check::GStreamer, Status::Ok, fact).value("version", version.as_str())]
}

/// A video device that the kernel knows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VideoDevice {
    /// Its file, `/dev/video0`.
    pub node: String,
    /// What its driver calls it.
    pub name: String,
    /// Which of the camera's devices; 0 gives pictures.
    pub index: u32,
    /// Whether its file is there.
    pub has_node: bool,
}

/// Video devices.
pub fn video_devices(devices: &[VideoDevice]) -> Finding {
    let cameras: Vec<&VideoDevice> = devices.iter().filter(|device| device.index == 0).collect();
    let told: Vec<String> = cameras.iter().map(|camera| format!("{} {}", camera.node, camera.name)).collect();
    let lost = cameras.iter().find(|camera| !camera.has_node);
    let finding = match (lost, cameras.is_empty()) {
        (_, true) => Finding::new(
            Check::VideoDevices,
            Status::Unknown,
            "the kernel knows no video device; cameras of the network are none",
        ),
        (Some(lost), _) => Finding::new(
            Check::VideoDevices,
            Status::Warning,
            format!("{}; {} has no file", told.join(", "), lost.node),
        )
        .remedy("check udev; in a container, pass the device on"),
        (None, false) => Finding::new(Check::VideoDevices, Status::Ok, told.join(", ")),
    };
    let nodes: Vec<&str> = cameras.iter().map(|camera| camera.node.as_str()).collect();
    finding.value("devices", nodes)
}

/// Where a camera's pictures come from, and whether that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CameraPlace {
    /// A video device: its file, and what is wrong with it.
    Device(String, Option<DeviceFault>),
    /// A host and port; and what the network says.
    Address(String, Option<String>),
    /// A socket of this machine; and whether it is there.
    Socket(PathBuf, bool),
    /// A folder; how many images it has, or why not.
    Folder(PathBuf, Result<usize, String>),
    /// Its description names nothing that can be looked for.
    Elsewhere,
}

/// What is wrong with a video device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceFault {
    /// It is not there.
    Missing,
    /// This user may not use it.
    Forbidden,
    /// Something else has its name.
    NoDevice,
}

/// Whether a camera can be reached. `delivers`: what the running station says of it.
pub fn camera(name: &str, place: &CameraPlace, delivers: Option<bool>) -> Finding {
    let (status, fact, remedy) = camera_place(place);
    let (status, fact, remedy) = match delivers {
        Some(true) => (Status::Ok, format!("it delivers; {fact}"), String::new()),
        Some(false) => {
            let remedy = if remedy.is_empty() {
                "check cable and power; the station's log says what is wrong".into()
            } else {
                remedy
            };
            (Status::Failed, format!("the station says that it does not deliver; {fact}"), remedy)
        }
        None => (status, fact, remedy),
    };
    let finding = Finding::new(Check::Camera, status, fact).remedy(remedy).of(name);
    match delivers {
        Some(delivers) => finding.value("delivers", delivers),
        None => finding,
    }
}

fn camera_place(place: &CameraPlace) -> (Status, String, String) {
    match place {
        CameraPlace::Device(node, None) => (Status::Ok, format!("{node} is there"), String::new()),
        CameraPlace::Device(node, Some(DeviceFault::Missing)) => (
            Status::Failed,
            format!("{node} is not there"),
            "check cable and power; see video_devices for what is there; a name below /dev/v4l/by-id stays the same".into(),
        ),
        CameraPlace::Device(node, Some(DeviceFault::Forbidden)) => (
            Status::Unknown,
            format!("{node} is there, and this user may not use it; the station's user must be in the group video"),
            String::new(),
        ),
        CameraPlace::Device(node, Some(DeviceFault::NoDevice)) => (
            Status::Failed,
            format!("{node} is no device"),
            "name the camera's device, see video_devices".into(),
        ),
        CameraPlace::Address(address, None) => (Status::Ok, format!("{address} answers"), String::new()),
        CameraPlace::Address(address, Some(error)) => (
            Status::Failed,
            format!("{address} does not answer: {error}"),
            "check the camera's power, its address, and the network between".into(),
        ),
        CameraPlace::Socket(path, true) => (Status::Ok, format!("socket {} is there", path.display()), String::new()),
        CameraPlace::Socket(path, false) => (
            Status::Failed,
            format!("there is no socket {}", path.display()),
            "start the program that gives the pictures".into(),
        ),
        CameraPlace::Folder(path, Ok(0)) => (
            Status::Failed,
            format!("there is no image in {}", path.display()),
            "put PNG, JPEG, BMP, TIFF or WebP files there".into(),
        ),
        CameraPlace::Folder(path, Ok(images)) => (Status::Ok, format!("{images} images in {}", path.display()), String::new()),
        CameraPlace::Folder(path, Err(error)) => (
            Status::Failed,
            format!("{} cannot be read: {error}", path.display()),
            "make the folder, or name another".into(),
        ),
        CameraPlace::Elsewhere => (
            Status::Unknown,
            "its source names nothing that can be looked for without starting it".into(),
            String::new(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::findings::is;

    #[test]
    fn what_gstreamer_lacks_is_named_for_each_camera() {
        let facts = GStreamerFacts {
            version: Some(Ok("1.22.0".into())),
            cameras: 2,
            ..GStreamerFacts::default()
        };
        is(
            &gstreamer(&facts)[0],
            Status::Ok,
            &["GStreamer 1.22.0, it has what the 2 cameras need"],
        );
        let lacking = GStreamerFacts {
            lacking: vec![Lacking {
                camera: "top".into(),
                element: "rtspsrc".into(),
                package: Some("gstreamer1.0-plugins-good"),
            }],
            ..facts.clone()
        };
        is(
            &gstreamer(&lacking)[0],
            Status::Failed,
            &["no element rtspsrc", "apt-get install gstreamer1.0-plugins-good"],
        );
        let broken = GStreamerFacts {
            version: Some(Err("no memory".into())),
            ..facts
        };
        is(&gstreamer(&broken)[0], Status::Failed, &["does not start: no memory"]);
        assert_eq!(gstreamer(&GStreamerFacts::default()), []);
    }

    #[test]
    fn a_camera_is_there_or_it_is_said_where_it_was_looked_for() {
        let device = |fault| CameraPlace::Device("/dev/video0".into(), fault);
        is(&camera("top", &device(None), None), Status::Ok, &["/dev/video0 is there"]);
        is(
            &camera("top", &device(Some(DeviceFault::Missing)), None),
            Status::Failed,
            &["not there", "cable"],
        );
        is(
            &camera("top", &device(Some(DeviceFault::Forbidden)), None),
            Status::Unknown,
            &["group video"],
        );
        is(
            &camera("top", &device(Some(DeviceFault::NoDevice)), None),
            Status::Failed,
            &["no device"],
        );
        is(
            &camera("top", &device(Some(DeviceFault::Forbidden)), Some(true)),
            Status::Ok,
            &["it delivers"],
        );
        is(
            &camera("top", &device(None), Some(false)),
            Status::Failed,
            &["does not deliver", "cable"],
        );
        let address = |error: Option<&str>| CameraPlace::Address("cam:554".into(), error.map(str::to_owned));
        is(&camera("top", &address(None), None), Status::Ok, &["cam:554 answers"]);
        is(
            &camera("top", &address(Some("timed out")), None),
            Status::Failed,
            &["timed out", "power"],
        );
        is(
            &camera("top", &CameraPlace::Socket("/tmp/a".into(), false), None),
            Status::Failed,
            &["no socket /tmp/a"],
        );
        is(
            &camera("top", &CameraPlace::Folder("/i".into(), Ok(0)), None),
            Status::Failed,
            &["no image in /i"],
        );
        is(
            &camera("top", &CameraPlace::Elsewhere, None),
            Status::Unknown,
            &["nothing that can be looked for"],
        );
        let found = VideoDevice {
            node: "/dev/video0".into(),
            name: "UVC".into(),
            index: 0,
            has_node: true,
        };
        let second = VideoDevice { index: 1, ..found.clone() };
        is(&video_devices(&[found.clone(), second]), Status::Ok, &["/dev/video0 UVC"]);
        is(
            &video_devices(&[VideoDevice { has_node: false, ..found }]),
            Status::Warning,
            &["no file"],
        );
        is(&video_devices(&[]), Status::Unknown, &["no video device"]);
    }
}
