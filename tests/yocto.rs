//! The Yocto layer, as far as it can be judged without a build host: the linter for recipes, bitbake's own parser, kas, and what of the image runs anywhere.
//! What cannot be judged so is named in docs/yocto.md.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use serde_json::Value;
use tempfile::TempDir;

use crate::foreign::packages;
use crate::skip::skip;

const BOARDS: [&str; 5] = [
    "jetson-orin-nano-devkit",
    "jetson-orin-nano-devkit-nvme",
    "jetson-agx-orin-devkit",
    "jetson-agx-thor-devkit",
    "qemuarm64",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn layer() -> PathBuf {
    root().join("yocto/meta-takt")
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Python with oelint-adv, kas and bitbake's parser; said to be skipped where it cannot be had.
fn python(test: &str) -> Option<Command> {
    match packages("../yocto/requirements.txt") {
        Ok(packages) => {
            let mut python = Command::new("python3");
            python.env("PYTHONPATH", packages).current_dir(root());
            Some(python)
        }
        Err(reason) => {
            skip(test, &reason);
            None
        }
    }
}

#[track_caller]
fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// Whether a program can be run; said to be skipped where it cannot.
fn exists(test: &str, program: &str) -> bool {
    let found = Command::new("sh")
        .args(["-c", "command -v \"$1\"", "sh", program])
        .env("PATH", path())
        .output();
    let found = found.is_ok_and(|output| output.status.success());
    if !found {
        skip(test, &format!("there is no {program}"));
    }
    found
}

/// Programs of the system's administrator are not in everybody's PATH.
fn path() -> String {
    format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default())
}

/// The layer as bitbake's parser reads it for a machine: `qemuarm64` or any `jetson`.
fn parsed(test: &str, machine: &str) -> Option<&'static Value> {
    static QEMU: OnceLock<Value> = OnceLock::new();
    static JETSON: OnceLock<Value> = OnceLock::new();
    let mut python = python(test)?;
    let parsed = if machine == "jetson" { &JETSON } else { &QEMU };
    Some(parsed.get_or_init(|| {
        let output = run(python.arg("tests/yocto/parse_layer.py").arg(layer()).arg(machine));
        serde_json::from_slice(&output.stdout).unwrap()
    }))
}

/// What a recipe's `do_install` puts into an image, from its own files or from other sources.
fn installed(test: &str, machine: &str, recipe: &str, sources: &Path) -> Option<TempDir> {
    let image = tempfile::tempdir().unwrap();
    let mut python = python(test)?;
    python
        .arg("tests/yocto/parse_layer.py")
        .arg(layer())
        .args([machine, recipe])
        .arg(sources)
        .arg(image.path());
    run(&mut python);
    Some(image)
}

fn words<'a>(recipe: &'a Value, variable: &str) -> Vec<&'a str> {
    recipe[variable].as_str().unwrap_or_default().split_whitespace().collect()
}

/// Name, version and checksum of each crate that is locked.
fn locked_crates() -> BTreeSet<(String, String)> {
    let lock: toml::Table = read("Cargo.lock").parse().unwrap();
    let packages = lock["package"].as_array().unwrap().iter();
    let fetched = packages.filter(|package| package.get("source").is_some());
    let text = |package: &toml::Value, key: &str| package[key].as_str().unwrap().to_owned();
    fetched
        .map(|package| {
            (
                format!("{}-{}.crate", text(package, "name"), text(package, "version")),
                text(package, "checksum"),
            )
        })
        .collect()
}

#[test]
fn the_list_of_crates_is_what_is_locked() {
    const TEST: &str = "the_list_of_crates_is_what_is_locked";
    run(Command::new("python3").arg(root().join("scripts/yocto-crates.py")).arg("--check"));
    let Some(layer) = parsed(TEST, "qemuarm64") else { return };
    let text = |address: &Value, key: &str| address[key].as_str().unwrap_or_default().to_owned();
    let addresses = layer["recipes"]["takt"]["addresses"].as_array().unwrap();
    let crates = addresses.iter().filter(|address| address["kind"] == "crate");
    let fetched: BTreeSet<(String, String)> = crates.map(|address| (text(address, "file"), text(address, "sha256"))).collect();
    let locked = locked_crates();
    assert!(locked.len() > 100, "{} crates", locked.len());
    assert_eq!(fetched, locked, "as bitbake's fetcher understands the list");
}

#[test]
fn the_linter_for_recipes_finds_nothing() {
    let Some(mut python) = python("the_linter_for_recipes_finds_nothing") else {
        return;
    };
    let home = tempfile::tempdir().unwrap();
    python.args([
        "-m",
        "oelint_adv",
        "--quiet",
        "--jobs",
        "1",
        "--release",
        "blacksail",
        "--mode",
        "all",
        "--relpaths",
    ]);
    python.args([
        "--extra-layer",
        "openembedded-layer",
        "meta-python",
        "networking-layer",
        "multimedia-layer",
    ]);
    python.args(["--constantmods", "+yocto/oelint-constants.json"]);
    let suppressed = read("yocto/oelint-suppressed.txt");
    for line in suppressed.lines().filter(|line| !line.starts_with('#')) {
        let (rule, reason) = line.split_once(' ').unwrap();
        assert!(!reason.trim().is_empty(), "{rule} is suppressed without a reason");
        python.args(["--suppress", rule]);
    }
    python.arg("--").args(files_to_lint()).env("HOME", home.path());
    let output = run(&mut python);
    let said = [output.stdout, output.stderr].concat();
    assert!(said.is_empty(), "{}", String::from_utf8_lossy(&said));
}

fn files_to_lint() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![layer()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let extension = path.extension().and_then(|extension| extension.to_str());
            let configuration = path.strip_prefix(layer()).unwrap().starts_with("conf");
            if matches!(extension, Some("bb" | "bbappend" | "inc")) || (extension == Some("conf") && configuration) {
                files.push(path);
            }
        }
    }
    assert!(files.len() > 10, "{files:?}");
    files
}

#[test]
fn bitbake_reads_the_layer_and_its_recipes_name_what_is_there() {
    const TEST: &str = "bitbake_reads_the_layer_and_its_recipes_name_what_is_there";
    let Some(layer) = parsed(TEST, "qemuarm64") else { return };
    let takt = &layer["recipes"]["takt"];
    assert_eq!(takt["PV"], format!("{}+git", env!("CARGO_PKG_VERSION")));
    assert_eq!(takt["LICENSE"], "MIT OR Apache-2.0");
    for entry in words(takt, "LIC_FILES_CHKSUM") {
        let (file, md5) = entry.trim_start_matches("file://").split_once(";md5=").unwrap();
        let sum = run(Command::new("md5sum").arg(root().join(file)));
        assert!(String::from_utf8_lossy(&sum.stdout).starts_with(md5), "{file} has changed: {entry}");
    }
    // The source is the commit that is checked out in this very repository.
    let git = takt["addresses"]
        .as_array()
        .unwrap()
        .iter()
        .find(|address| address["kind"] == "git")
        .unwrap();
    assert_eq!(Path::new(git["path"].as_str().unwrap()), root().canonicalize().unwrap());
    assert_eq!(git["parameters"]["usehead"], "1");
    // Nobody logs into a plant's image, whatever came in by mistake.
    let (plant, lab) = (&layer["recipes"]["takt-image"], &layer["recipes"]["takt-image-dev"]);
    assert_eq!(words(plant, "IMAGE_FEATURES"), ["read-only-rootfs"]);
    assert!(words(plant, "ROOTFS_POSTPROCESS_COMMAND").contains(&"lock_out_everybody"));
    assert_eq!(words(lab, "IMAGE_FEATURES"), ["read-only-rootfs", "ssh-server-openssh"]);
    assert!(words(lab, "ROOTFS_POSTPROCESS_COMMAND").contains(&"let_keys_in"));
    // No package has the name of the distribution: as an override, one would give its variables to all packages of its recipe.
    assert!(layer["recipes"].get("takt-appliance").is_none());
}

#[test]
fn each_machine_gets_the_runtime_library_that_was_made_for_it() {
    const TEST: &str = "each_machine_gets_the_runtime_library_that_was_made_for_it";
    let Some(qemu) = parsed(TEST, "qemuarm64") else { return };
    let jetson = parsed(TEST, "jetson").unwrap();
    let library = |layer: &Value| {
        let takt = &layer["recipes"]["takt"];
        let needs = words(takt, "RDEPENDS:${PN}").join(" ");
        (needs, takt["TAKT_ONNXRUNTIME_LIBRARY"].as_str().unwrap().to_owned())
    };
    assert_eq!(
        library(qemu),
        ("onnxruntime-prebuilt".into(), "/usr/lib/takt/libonnxruntime.so".into())
    );
    assert_eq!(library(jetson), ("onnxruntime".into(), "/usr/lib/libonnxruntime.so.1".into()));
    assert_eq!(jetson["recipes"]["onnxruntime-prebuilt"]["COMPATIBLE_MACHINE"], "(^$)");
    assert_eq!(qemu["recipes"]["onnxruntime-prebuilt"]["COMPATIBLE_MACHINE"], Value::Null);
    let configuration = |layer: &Value, variable: &str| layer["configuration"][variable].clone();
    assert_eq!(
        (
            configuration(jetson, "USE_REDUNDANT_FLASH_LAYOUT"),
            configuration(jetson, "KERNEL_ARGS")
        ),
        ("1".into(), " ro".into())
    );
    assert_eq!(configuration(qemu, "WKS_FILE"), "takt-qemu.wks");
    // The same wheel as for development.
    let (setup, hashes) = (read("scripts/setup.sh"), read("scripts/onnxruntime-requirements.txt"));
    let recipe = read("yocto/meta-takt/recipes-takt/onnxruntime/onnxruntime-prebuilt_1.31.1.bb");
    let sha256 = recipe.split("SRC_URI[sha256sum] = \"").nth(1).unwrap().split('"').next().unwrap();
    assert!(
        setup.contains("ORT_VERSION=1.31.1 ") && hashes.contains(sha256),
        "the recipe fetches another ONNX Runtime than scripts/setup.sh"
    );
}

#[test]
fn kas_accepts_each_board_and_gives_it_the_layers_it_needs() {
    const TEST: &str = "kas_accepts_each_board_and_gives_it_the_layers_it_needs";
    for board in BOARDS {
        let Some(mut python) = python(TEST) else { return };
        let work = tempfile::tempdir().unwrap();
        python.args(["-m", "kas", "--log-level", "error", "dump", "--format", "json"]);
        for step in [
            "repo_setup_loop",
            "finish_setup_repos",
            "repos_checkout",
            "repos_apply_patches",
            "setup_environ",
            "write_bbconfig",
        ] {
            python.args(["--skip", step]);
        }
        python
            .arg(format!("yocto/kas/{board}.yml:yocto/kas/dev.yml"))
            .env("KAS_WORK_DIR", work.path());
        let dump: Value = serde_json::from_slice(&run(&mut python).stdout).unwrap();
        assert_eq!(
            (&dump["machine"], &dump["distro"], &dump["target"]),
            (&board.into(), &"takt-appliance".into(), &"takt-image-dev".into())
        );
        let repos: BTreeSet<&str> = dump["repos"].as_object().unwrap().keys().map(String::as_str).collect();
        assert!(
            repos.is_superset(&["takt", "bitbake", "openembedded-core", "meta-openembedded"].into()),
            "{repos:?}"
        );
        assert_eq!(
            repos.contains("meta-tegra") && repos.contains("meta-tegra-community"),
            board.starts_with("jetson"),
            "{board}"
        );
        for layer in ["meta-oe", "meta-python", "meta-networking"] {
            assert!(
                dump["repos"]["meta-openembedded"]["layers"].get(layer).is_some(),
                "LAYERDEPENDS asks for {layer}"
            );
        }
    }
}

#[test]
fn the_recipe_installs_units_user_and_the_path_of_the_library() {
    const TEST: &str = "the_recipe_installs_units_user_and_the_path_of_the_library";
    let sources = tempfile::tempdir().unwrap();
    symlink(root(), sources.path().join(format!("takt-{}+git", env!("CARGO_PKG_VERSION")))).unwrap();
    for file in ["50-onnxruntime.conf.in", "takt-profile.sh.in"] {
        symlink(layer().join("recipes-takt/takt/takt").join(file), sources.path().join(file)).unwrap();
    }
    let Some(image) = installed(TEST, "jetson", "takt", sources.path()) else {
        return;
    };
    let units = image.path().join("usr/lib/systemd/system");
    let recipe = &parsed(TEST, "jetson").unwrap()["recipes"]["takt"];
    for unit in words(recipe, "SYSTEMD_SERVICE:${PN}") {
        assert!(units.join(unit).is_file(), "systemd/ has no {unit}");
    }
    let drop_in = |name: &str| fs::read_to_string(units.join("takt-station.service.d").join(name)).unwrap();
    assert_eq!(
        drop_in("50-onnxruntime.conf"),
        "[Service]\nEnvironment=ORT_DYLIB_PATH=/usr/lib/libonnxruntime.so.1\n"
    );
    assert!(drop_in("50-jit.conf").contains("MemoryDenyWriteExecute=no"));
    // Image assembly compares what the recipe makes with what sysusers.d asks for.
    let asked = read("systemd/takt.sysusers");
    let user = asked.lines().find(|line| line.starts_with('u') || line.starts_with("u!")).unwrap();
    let parameters = words(recipe, "USERADD_PARAM:${PN}").join(" ");
    for word in user.split_whitespace().filter(|word| word.starts_with('/')) {
        assert!(
            parameters.contains(word),
            "{word} of systemd/takt.sysusers is not in USERADD_PARAM: {parameters}"
        );
    }
    for group in asked.lines().filter_map(|line| line.strip_prefix("m takt ")) {
        assert!(parameters.contains(group.trim()), "takt is not made a member of {group}");
    }
    assert!(image.path().join("usr/share/doc/takt/examples/usb-camera.toml").is_file());
}

#[test]
fn the_box_has_the_units_that_mount_its_data() {
    const TEST: &str = "the_box_has_the_units_that_mount_its_data";
    let Some(image) = installed(TEST, "qemuarm64", "takt-box", &layer().join("recipes-takt/box/takt-box")) else {
        return;
    };
    let units = image.path().join("usr/lib/systemd/system");
    let recipe = &parsed(TEST, "qemuarm64").unwrap()["recipes"]["takt-box"];
    for unit in words(recipe, "SYSTEMD_SERVICE:${PN}") {
        assert!(units.join(unit).is_file(), "{unit} is enabled and not installed");
    }
    for (unit, place) in [("etc-takt", "/etc/takt"), ("var-lib-takt", "/var/lib/takt"), ("data", "/data")] {
        let text = fs::read_to_string(units.join(format!("{unit}.mount"))).unwrap();
        assert!(text.contains(&format!("\nWhere={place}\n")), "{unit}.mount must mount {place}");
    }
    let station = fs::read_to_string(units.join("takt-station.service.d/40-data.conf")).unwrap();
    assert!(station.contains("Requires=etc-takt.mount var-lib-takt.mount"), "{station}");
    assert!(
        units
            .join("dev-disk-by\\x2dpartlabel-takt\\x2ddata.device.d/50-takt.conf")
            .is_file()
    );
    if !exists(TEST, "systemd-analyze") {
        return;
    }
    let escaped = run(Command::new("systemd-escape").args(["--path", "--suffix=device", "/dev/disk/by-partlabel/takt-data"]));
    let preparation = fs::read_to_string(units.join("takt-data.service")).unwrap();
    assert!(
        preparation.contains(String::from_utf8_lossy(&escaped.stdout).trim()),
        "{preparation}"
    );
    // Programs of the image are not on this machine; anything else that systemd finds is an error in a unit.
    let mut verify = Command::new("systemd-analyze");
    verify
        .args(["verify", "--man=no"])
        .env("SYSTEMD_UNIT_PATH", format!("{}:", units.display()));
    verify.args(
        [
            "takt-data.service",
            "takt-folders.service",
            "takt-firewall.service",
            "takt-ptp.service",
        ]
        .map(|unit| units.join(unit)),
    );
    verify.args(
        [
            "data.mount",
            "etc-takt.mount",
            "var-lib-takt.mount",
            "var-cache-takt.mount",
            "etc-systemd-network.mount",
        ]
        .map(|unit| units.join(unit)),
    );
    let said = verify.output().unwrap().stderr;
    let said = String::from_utf8_lossy(&said);
    let ours = said.lines().filter(|line| line.contains("takt") || line.contains("data.mount"));
    let wrong: Vec<&str> = ours
        .filter(|line| !line.contains("is not executable: No such file or directory"))
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// A data partition, as a file.
struct Disk {
    folder: TempDir,
}

impl Disk {
    fn blank() -> Self {
        let disk = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        fs::File::create(disk.file()).unwrap().set_len(32 << 20).unwrap();
        disk
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    /// What the box does at boot; its output if it succeeds.
    fn prepare(&self, kernel_has_quotas: &str) -> Result<String, String> {
        let mut script = Command::new("sh");
        script.arg(layer().join("recipes-takt/box/takt-box/takt-data")).arg(self.file());
        let output = script
            .env("TAKT_KERNEL_HAS_QUOTAS", kernel_has_quotas)
            .env("PATH", path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        if output.status.success() { Ok(said) } else { Err(said) }
    }

    fn ask(&self, program: &str, options: &[&str]) -> String {
        let output = run(Command::new(program).args(options).arg(self.file()).env("PATH", path()));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn uuid(&self) -> String {
        self.ask("blkid", &["-p", "-s", "UUID", "-o", "value"])
    }

    /// Zeroes the superblock, 1 KiB from the start.
    fn lose_superblock(&self) {
        use std::os::unix::fs::FileExt;
        let disk = fs::OpenOptions::new().write(true).open(self.file()).unwrap();
        disk.write_all_at(&[0; 1024], 1024).unwrap();
    }
}

#[test]
fn a_new_data_partition_is_formatted_once_and_keeps_to_quotas_where_the_kernel_can() {
    const TEST: &str = "a_new_data_partition_is_formatted_once_and_keeps_to_quotas_where_the_kernel_can";
    if !exists(TEST, "mke2fs") {
        return;
    }
    let disk = Disk::blank();
    disk.prepare("yes").unwrap();
    let (first, settings) = (disk.uuid(), disk.ask("tune2fs", &["-l"]));
    assert!(settings.contains(" project") && settings.contains("prjquota"), "{settings}");
    disk.prepare("yes").unwrap();
    assert_eq!(disk.uuid(), first, "formatted again");
    // Power failed after formatting, before quotas were to be kept to: made good at the next boot.
    disk.ask("tune2fs", &["-E", "mount_opts="]);
    assert!(!disk.ask("tune2fs", &["-l"]).contains("prjquota"));
    disk.prepare("yes").unwrap();
    assert!(disk.ask("tune2fs", &["-l"]).contains("prjquota"));

    let without = Disk::blank();
    without.prepare("no").unwrap();
    let settings = without.ask("tune2fs", &["-l"]);
    assert!(!settings.contains(" project") && !settings.contains("prjquota"), "{settings}");
}

#[test]
fn a_data_partition_with_records_is_never_formatted() {
    const TEST: &str = "a_data_partition_with_records_is_never_formatted";
    if !exists(TEST, "mke2fs") {
        return;
    }
    let disk = Disk::blank();
    disk.prepare("yes").unwrap();
    let records = disk.folder.path().join("records");
    fs::write(&records, "4711 Ok").unwrap();
    let put_in = format!("write {} records", records.display());
    disk.ask("debugfs", &["-w", "-R", &put_in]);
    let uuid = disk.uuid();
    disk.lose_superblock();
    let said = disk.prepare("yes").unwrap();
    assert!(said.contains("had lost its superblock; repaired"), "{said}");
    assert_eq!(
        (disk.uuid(), disk.ask("debugfs", &["-R", "cat records"])),
        (uuid, "4711 Ok".to_owned())
    );

    // What belongs to somebody else.
    let foreign = Disk::blank();
    foreign.ask("mkswap", &["--quiet"]);
    let said = foreign.prepare("yes").unwrap_err();
    assert!(said.contains("it holds swap, not ext4; nothing was changed"), "{said}");
    assert_eq!(foreign.ask("blkid", &["-p", "-s", "TYPE", "-o", "value"]), "swap");

    let missing = Disk::blank();
    fs::remove_file(missing.file()).unwrap();
    let said = missing.prepare("yes").unwrap_err();
    assert!(said.contains("there is no such partition"), "{said}");
}

#[test]
fn the_configuration_in_the_image_is_copied_once_and_never_overwrites_the_box() {
    const TEST: &str = "the_configuration_in_the_image_is_copied_once_and_never_overwrites_the_box";
    if !exists(TEST, "systemd-tmpfiles") {
        return;
    }
    let image = tempfile::tempdir().unwrap();
    let at = |path: &str| image.path().join(path);
    for folder in ["data", "etc/takt/network", "etc/takt/model"] {
        fs::create_dir_all(at(folder)).unwrap();
    }
    fs::write(at("etc/takt/station.toml"), "the image's").unwrap();
    fs::write(at("etc/passwd"), "root:x:0:0::/:/bin/sh\ntakt:x:990:990::/:/bin/sh\n").unwrap();
    fs::write(at("etc/group"), "root:x:0:\ntakt:x:990:\n").unwrap();
    let boot = || {
        let mut tmpfiles = Command::new("systemd-tmpfiles");
        tmpfiles.arg("--create").arg(format!("--root={}", image.path().display()));
        tmpfiles.arg(layer().join("recipes-takt/box/takt-box/data-partition.conf"));
        tmpfiles.output().unwrap()
    };
    let first = boot();
    if !first.status.success() && String::from_utf8_lossy(&first.stderr).contains("not permitted") {
        skip(TEST, "only root may give folders to another user");
        return;
    }
    assert!(first.status.success(), "{}", String::from_utf8_lossy(&first.stderr));
    assert_eq!(fs::read_to_string(at("data/config/station.toml")).unwrap(), "the image's");
    for folder in ["data/config/model", "data/config/network", "data/state", "data/cache"] {
        assert!(at(folder).is_dir(), "{folder}");
    }
    fs::write(at("data/config/station.toml"), "the box's").unwrap();
    assert!(boot().status.success());
    assert_eq!(fs::read_to_string(at("data/config/station.toml")).unwrap(), "the box's");
}

/// As NVIDIA's layouts are made: the boot chain on one device, and a disk whose root file systems lie behind the partition for user data. The second
/// device is `other`.
fn layout(uda: &str, other: &str) -> String {
    let partition = |name: &str, attribute: &str| {
        format!(
            "<partition name=\"{name}\" type=\"data\"><size> 1 </size><allocation_attribute> {attribute} </allocation_attribute></partition>"
        )
    };
    let disk = ["primary_gpt", "APP", "APP_b"].map(|name| partition(name, "8")).concat();
    format!(
        "<?xml version=\"1.0\"?>\n<!-- NVIDIA's own -->\n<partition_layout version=\"01.00.0000\"><device type=\"spi\">{}</device><device type=\"external\">{disk}{}{}</device></partition_layout>\n",
        partition("mb1", "8"),
        partition("UDA", uda),
        partition(other, "8")
    )
}

/// The partitions of the disk after the layer changed the layout, with their attributes; or what it says to a layout that it cannot change.
fn changed(layout: &str) -> Result<Vec<(String, u32)>, String> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("flash.xml"), layout).unwrap();
    fs::write(
        folder.path().join("boot-chain-only.xml"),
        "<partition_layout><device type=\"spi\"/></partition_layout>",
    )
    .unwrap();
    let program = "import sys, pathlib, flash_layout, xml.etree.ElementTree as ET\n\
                   folder = pathlib.Path(sys.argv[1])\n\
                   try:\n    names = flash_layout.add_data_partition(folder, 'takt-data')\n\
                   except flash_layout.NoPlace as error:\n    sys.exit(str(error))\n\
                   assert names == ['flash.xml'], names\n\
                   disk = ET.parse(folder / 'flash.xml').getroot().find(\"device[@type='external']\")\n\
                   for partition in disk.iter('partition'):\n    print(partition.get('name'), int(partition.find('allocation_attribute').text, 0))\n";
    let mut python = Command::new("python3");
    python
        .args(["-c", program])
        .arg(folder.path())
        .env("PYTHONPATH", layer().join("lib/takt"))
        .env("PYTHONDONTWRITEBYTECODE", "1");
    let output = python.output().unwrap();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let text = String::from_utf8(output.stdout).unwrap();
    let line = |line: &str| {
        let (name, attribute) = line.split_once(' ').unwrap();
        (name.to_owned(), attribute.parse().unwrap())
    };
    Ok(text.lines().map(line).collect())
}

#[test]
fn the_partition_for_records_comes_last_and_fills_the_disk() {
    // UDA as on NVMe, of a fixed size; and as on eMMC, where it would fill the disk itself.
    for uda in ["8", "0x808"] {
        let partitions = changed(&layout(uda, "secondary_gpt")).unwrap();
        let names: Vec<&str> = partitions.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["primary_gpt", "APP", "APP_b", "UDA", "takt-data", "secondary_gpt"]);
        let filling: Vec<&str> = partitions
            .iter()
            .filter(|(_, attribute)| attribute & 0x800 != 0)
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(filling, ["takt-data"]);
    }
    let said = changed(&layout("8", "something_else")).unwrap_err();
    assert!(said.contains("secondary_gpt"), "{said}");
    let said = changed("<partition_layout><device type=\"spi\"/></partition_layout>").unwrap_err();
    assert!(said.contains("APP"), "{said}");
}

#[test]
fn the_firewall_lets_in_what_a_station_serves_and_nothing_else() {
    const TEST: &str = "the_firewall_lets_in_what_a_station_serves_and_nothing_else";
    let Some(image) = installed(TEST, "qemuarm64", "takt-box", &layer().join("recipes-takt/box/takt-box")) else {
        return;
    };
    if !["nft", "ip", "unshare"].iter().all(|program| exists(TEST, program)) {
        return;
    }
    let usable = Command::new("unshare")
        .args(["--net", "nft", "list", "ruleset"])
        .env("PATH", path())
        .output();
    if !usable.is_ok_and(|output| output.status.success()) {
        skip(
            TEST,
            "network namespaces or nftables cannot be used here (not root, or not in this kernel)",
        );
        return;
    }
    // Two hosts in namespaces of their own; the plant's asks the box's ports, which listen all.
    let script = r#"
        set -eu
        ip link set lo up
        ip link add plant type veth peer name box
        unshare --net sleep 60 & other=$!
        until [ "$(readlink /proc/$other/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do :; done
        trap 'kill $other' EXIT
        ip link set plant netns $other
        ip address add 192.0.2.1/24 dev box
        ip link set box up
        nsenter --target $other --net sh -c 'ip address add 192.0.2.2/24 dev plant && ip link set plant up'
        nft -f "$1/firewall.nft"
        [ -z "$2" ] || nft -f "$1/firewall.d/$2"
        nft list chain inet takt input | grep -q 'policy drop'
        # What falls through to the end is told so at once instead of being dropped: the test need not wait for silence.
        nft add rule inet takt site meta l4proto tcp reject with tcp reset
        python3 - $other <<'PYTHON'
import socket, subprocess, sys
PORTS = 22, 80, 502, 1502, 7443, 7444, 9184
held = []
for port in PORTS:
    listener = socket.create_server(("192.0.2.1", port))
    held.append(listener)
ask = """
import socket, sys
for port in map(int, sys.argv[1:]):
    try:
        socket.create_connection(("192.0.2.1", port), timeout=60).close()
        print(port)
    except OSError:
        pass
"""
subprocess.run(["nsenter", "--target", sys.argv[1], "--net", "python3", "-c", ask, *map(str, PORTS)], check=True)
PYTHON
    "#;
    let open = |beside: &str| {
        let rules = image.path().join("usr/share/takt");
        let output = run(Command::new("unshare")
            .args(["--net", "sh", "-c", script, "sh"])
            .arg(rules)
            .arg(beside)
            .env("PATH", path()));
        let ports: Vec<u16> = String::from_utf8_lossy(&output.stdout)
            .lines()
            .map(|line| line.parse().unwrap())
            .collect();
        ports
    };
    assert_eq!(open(""), [502, 7444, 9184]);
    assert_eq!(open("ssh.nft"), [22, 502, 7444, 9184]);
}
