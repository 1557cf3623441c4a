//! A virtual cell in a folder: configuration files of a station and of the line around it, for `takt demo` and `takt bench station`.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use anyhow::Context;
use tempfile::TempDir;

use crate::twin::Settings;

/// Rows above the part where its number is stamped.
pub(super) const STAMP_ROWS: u32 = 32;

/// Folder of the historian, beside the files of the cell.
pub(super) const HISTORIAN: &str = "historian";

/// What is different from cell to cell.
pub(super) struct CellPlan<'a> {
    /// Package folder.
    pub(super) model: &'a Path,
    /// Images of parts in the layout of MVTec AD; rendered parts without.
    pub(super) dataset: Option<&'a Path>,
    /// Camera, pixels; the part is below the stamp.
    pub(super) frame_px: (u32, u32),
    /// `[parts] rate_hz` as TOML.
    pub(super) rate: String,
    /// Parts.
    pub(super) count: u32,
    /// Share of defective parts.
    pub(super) defect_share: f64,
    /// The PLC's poll and scan, milliseconds; 0 is without wait.
    pub(super) poll_ms: u32,
    /// The PLC's scan, milliseconds.
    pub(super) scan_ms: u32,
    /// Smallest time between two parts, milliseconds.
    pub(super) part_interval_ms_min: u32,
    /// From the trigger to the outcome, milliseconds.
    pub(super) deadline_ms: u32,
    /// How long Accept stays, milliseconds.
    pub(super) accept_hold_ms: u32,
    /// A historian, and a cut of the network to it: at which part, and how long, milliseconds.
    pub(super) historian: Option<(u32, u32)>,
}

/// A cell that was written, and the folder its sockets and black box are in while it runs.
pub(super) struct VirtualCell {
    pub(super) settings: Settings,
    /// Sockets have short names; a folder of the user's may have a long one.
    _runtime: TempDir,
}

/// Writes the cell's files into `folder` and reads them back as anybody else would.
pub(super) fn write(folder: &Path, plan: &CellPlan) -> anyhow::Result<VirtualCell> {
    fs::create_dir_all(folder).with_context(|| format!("failed to create folder {}", folder.display()))?;
    let runtime = TempDir::with_prefix("takt-").context("failed to create a folder for sockets")?;
    let station = folder.join("station.toml");
    let line = folder.join("line.toml");
    // What an earlier cell recorded is none of this one's.
    for earlier in ["state", HISTORIAN]
        .map(|name| folder.join(name))
        .into_iter()
        .filter(|earlier| earlier.exists())
    {
        fs::remove_dir_all(&earlier).with_context(|| format!("failed to remove {}", earlier.display()))?;
    }
    let network = plan.historian.map(|_| free_port()).transpose()?;
    put(&station, &station_toml(plan, runtime.path(), network)?)?;
    put(&line, &line_toml(plan, network)?)?;
    Ok(VirtualCell {
        settings: Settings::read(&line)?,
        _runtime: runtime,
    })
}

fn put(file: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(file, text).with_context(|| format!("failed to write {}", file.display()))
}

/// A path as a TOML string, absolute.
fn quoted(path: &Path) -> anyhow::Result<String> {
    let absolute: PathBuf = std::path::absolute(path).with_context(|| format!("failed to find {}", path.display()))?;
    let text = absolute
        .to_str()
        .with_context(|| format!("failed to use {}: its name is not UTF-8", absolute.display()))?;
    Ok(toml::Value::from(text).to_string())
}

fn station_toml(plan: &CellPlan, runtime: &Path, network: Option<u16>) -> anyhow::Result<String> {
    let port = free_port()?;
    let socket = runtime.join("top.sock");
    let pipeline = format!("shmsrc socket-path=\"{}\" is-live=true ! gdpdepay", socket.display());
    let (width, height) = plan.frame_px;
    Ok(format!(
        "config_version = 1\n\n\
         [station]\nid = \"demo-1\"\nstate_directory = \"state\"\nruntime_directory = {runtime}\n\n\
         [plc]\nlisten = \"127.0.0.1:{port}\"\nwriters = [\"127.0.0.1\"]\npoll_ms = {poll}\nscan_ms = {scan}\n\n\
         # Each trigger of the PLC exposes.\n\
         [trigger]\nsource = \"plc\"\nframe_window_ms = {window}\npart_interval_ms_min = {interval}\n\n\
         [result]\nmode = \"window\"\naccept_hold_ms = {hold}\n\n\
         [timing]\ndeadline_ms = {deadline}\ntrigger_to_gate_ms = {gate}\ngate_actuation_ms = 20\nmargin_ms = 10\n\n\
         [[camera]]\nname = \"top\"\nsource = {pipeline}\nclock = \"monotonic\"\nstamp = {{ x = 0, y = 0, cell_px = 4 }}\n\n\
         [recipe]\nnumber = 1\nname = \"demo\"\n\n\
         [[recipe.inspection]]\nname = \"surface\"\ncamera = \"top\"\nmodel = {model}\n\
         region = {{ x = 0, y = {STAMP_ROWS}, width = {width}, height = {part_height} }}\ndefect_code = 1\n\n\
         [engine]\nthreads = 1\nworkers = 1\n{historian}",
        runtime = quoted(runtime)?,
        poll = plan.poll_ms.max(5),
        scan = plan.scan_ms.max(1),
        window = plan.deadline_ms,
        interval = plan.part_interval_ms_min,
        hold = plan.accept_hold_ms,
        deadline = plan.deadline_ms,
        gate = plan.deadline_ms + 100 + 4 * plan.poll_ms,
        pipeline = toml::Value::from(pipeline),
        model = quoted(plan.model)?,
        part_height = height.saturating_sub(STAMP_ROWS),
        historian = network.map_or_else(String::new, |port| format!("\n[historian]\nurl = \"http://127.0.0.1:{port}\"\n")),
    ))
}

fn line_toml(plan: &CellPlan, network: Option<u16>) -> anyhow::Result<String> {
    let (width, height) = plan.frame_px;
    let dataset = plan
        .dataset
        .map(|dataset| quoted(dataset).map(|path| format!("dataset = {path}\n")))
        .transpose()?;
    Ok(format!(
        "config_version = 1\n\n\
         [station]\nconfig = \"station.toml\"\nstart = true\n\n\
         [plc]\npoll_ms = {poll}\nscan_ms = {scan}\n\n\
         [camera]\nwidth = {width}\nheight = {height}\nformat = \"RGB\"\nexposure_delay_ms = 0\ntransfer_ms = 0\n\n\
         [parts]\ncount = {count}\nrate_hz = {rate}\nseed = 1\ndefect_share = {share:?}\n{dataset}\n\
         [encoder]\npitch = 1000\n{historian}",
        poll = plan.poll_ms,
        scan = plan.scan_ms,
        count = plan.count,
        rate = plan.rate,
        share = plan.defect_share,
        dataset = dataset.unwrap_or_default(),
        historian = network.zip(plan.historian).map_or_else(String::new, |(port, (part, cut_ms))| {
            format!(
                "\n# The network between station and historian, whose cable is pulled once.\n[historian]\nnetwork = \"127.0.0.1:{port}\"\n\
                 directory = \"{HISTORIAN}\"\nnetwork_cut_at_part = {part}\nnetwork_cut_ms = {cut_ms}\n"
            )
        }),
    ))
}

/// A port nobody listens on now.
fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("failed to find a free port")?;
    Ok(listener.local_addr().context("failed to find a free port")?.port())
}
