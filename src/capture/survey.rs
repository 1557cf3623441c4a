//! What GStreamer has on this machine: for `takt doctor`. No pipeline runs and no camera is opened.

use gstreamer as gst;

use super::gstreamer::package;

/// An element that is not here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingElement {
    /// Its name.
    pub element: String,
    /// The Debian package that has it, where that is known.
    pub package: Option<&'static str>,
}

/// What became of the description of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Description {
    /// Every element of it is here.
    Complete,
    /// These are not.
    Missing(Vec<MissingElement>),
    /// GStreamer does not understand it; in its words.
    Wrong(String),
}

/// GStreamer's version.
///
/// # Errors
/// When it does not start; in its words.
pub fn version() -> Result<String, String> {
    gst::init().map_err(|error| error.to_string())?;
    let (major, minor, micro, _) = gst::version();
    Ok(format!("{major}.{minor}.{micro}"))
}

/// Whether everything that a source's description names is here. Its elements are made and thrown away, none is started.
///
/// # Errors
/// When GStreamer does not start; in its words.
pub fn look_at(source: &str) -> Result<Description, String> {
    gst::init().map_err(|error| error.to_string())?;
    let mut context = gst::ParseContext::new();
    let made = gst::parse::launch_full(&format!("{source} ! appsink"), Some(&mut context), gst::ParseFlags::FATAL_ERRORS);
    let mut missing = context.missing_elements();
    // It also names elements whose properties are wrong.
    missing.retain(|element| gst::ElementFactory::find(element).is_none());
    Ok(match made {
        _ if !missing.is_empty() => Description::Missing(
            missing
                .into_iter()
                .map(|element| MissingElement {
                    package: package(&element),
                    element,
                })
                .collect(),
        ),
        Ok(_) => Description::Complete,
        Err(error) => Description::Wrong(error.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_its_package() {
        assert!(version().unwrap().starts_with("1."));
        assert_eq!(look_at("videotestsrc ! video/x-raw,width=64").unwrap(), Description::Complete);
        let missing = look_at("nvarguscamerasrc ! nvvidconv").unwrap();
        let Description::Missing(missing) = missing else {
            panic!("{missing:?}")
        };
        assert_eq!(
            missing[0],
            MissingElement {
                element: "nvarguscamerasrc".into(),
                package: Some("nvidia-l4t-gstreamer")
            }
        );
        assert!(matches!(look_at("videotestsrc nosuch=1").unwrap(), Description::Wrong(_)));
    }
}
