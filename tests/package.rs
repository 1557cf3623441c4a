//! The Debian package, as far as it can be checked without root: what is in it, what its scripts remove, and that a program which needs too new a system
//! is refused. `make deb-test` installs it for real.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::program::{Outcome, run, takt};
use crate::skip::skip;

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    command
}

fn exists(program: &str) -> bool {
    command(program)
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success())
}

/// Whether what the package is made with is here; `make deb` installs it, a test does not.
fn can_pack(test: &str) -> bool {
    let missing = ["dpkg-deb", "dpkg-shlibdeps", "readelf"]
        .into_iter()
        .find(|program| !exists(program));
    let reason = match missing {
        Some(program) => format!("there is no {program} here (Debian packages dpkg-dev, binutils)"),
        None if !project(".onnxruntime/libonnxruntime.so").exists() => "the library of ONNX Runtime was not fetched (make setup)".into(),
        None if !project("systemd/takt-station.service").exists() => "there is no systemd/ to pack".into(),
        None => return true,
    };
    skip(test, &reason);
    false
}

/// The package around the program under test, uncompressed, in `folder`.
fn pack(folder: &Path) -> PathBuf {
    let architecture = run(command("dpkg").arg("--print-architecture")).done().stdout;
    let architecture = architecture.trim();
    run(command(project("scripts/deb.sh"))
        .arg(architecture)
        .env("DEB_PROGRAM", env!("CARGO_BIN_EXE_takt"))
        .env("DEB_OUT", folder)
        .env("DEB_COMPRESSION", "none")
        .env("DEB_VERSION", "9.8.7"))
    .done();
    folder.join(format!("takt_9.8.7_{architecture}.deb"))
}

#[test]
fn the_package_holds_what_a_box_needs_and_no_configuration() {
    if !can_pack("the_package_holds_what_a_box_needs_and_no_configuration") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let package = pack(folder.path());
    let unpacked = folder.path().join("unpacked");
    run(command("dpkg-deb").arg("--raw-extract").arg(&package).arg(&unpacked)).done();
    for file in [
        "usr/bin/takt",
        "usr/lib/takt/libonnxruntime.so",
        "usr/lib/systemd/system/takt-station.service",
        "usr/lib/systemd/system/takt-historian.service",
        "usr/lib/systemd/system/takt-failsafe.service",
        "usr/lib/sysusers.d/takt.conf",
        "usr/share/doc/takt/copyright",
        "usr/share/doc/takt/third-party-notices.txt.gz",
        "usr/share/doc/takt/onnxruntime-ThirdPartyNotices.txt.gz",
        "usr/share/doc/takt/examples/usb-camera.toml",
        "usr/share/man/man1/takt.1.gz",
    ] {
        assert!(unpacked.join(file).is_file(), "{file} is missing");
    }
    // An upgrade replaces what is in a package: a station's configuration and data must not be.
    for folder in ["etc", "var", "run"] {
        assert!(!unpacked.join(folder).exists(), "the package holds {folder}");
    }
    let control = fs::read_to_string(unpacked.join("DEBIAN/control")).unwrap();
    for field in ["Version: 9.8.7", "libgstreamer1.0-0 (>=", "libc6 (>=", "gstreamer1.0-plugins-good"] {
        assert!(control.contains(field), "no {field} in {control}");
    }

    let program = command(unpacked.join("usr/bin/takt")).arg("--version").output().unwrap();
    assert!(program.status.success(), "the stripped program does not run: {program:?}");

    a_removal_keeps_everything_and_a_purge_takes_only_what_is_takts(&unpacked.join("DEBIAN"), &folder.path().join("system"));
}

/// Runs the package's own script on a system that is only a folder.
fn a_removal_keeps_everything_and_a_purge_takes_only_what_is_takts(scripts: &Path, system: &Path) {
    let ours = [
        "etc/takt/station.toml",
        "var/lib/takt/journal.db",
        "var/cache/takt/engine",
        "var/log/takt/x",
    ]
    .map(|file| system.join(file));
    let others = ["etc/taktfoo", "var/lib/other/data"].map(|file| system.join(file));
    for file in ours.iter().chain(&others) {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, "kept").unwrap();
    }
    let after = |action: &str| run(command("sh").arg(scripts.join("postrm")).arg(action).env("DPKG_ROOT", system)).done();
    after("remove");
    assert!(ours.iter().chain(&others).all(|file| file.exists()), "a removal took a file");
    after("purge");
    assert!(others.iter().all(|file| file.exists()), "a purge took what is not takt's");
    for file in &ours {
        assert!(!file.parent().unwrap().exists(), "a purge left {}", file.display());
    }
    after("purge");
}

/// The program under test, judged by a symbols file and by the newest C library it may need.
fn check_symbols(symbols: &Path, glibc_max: &str) -> Outcome {
    run(command(project("scripts/check-symbols.sh"))
        .arg(env!("CARGO_BIN_EXE_takt"))
        .arg(symbols)
        .env("GLIBC_MAX", glibc_max))
}

#[test]
fn a_program_that_needs_too_new_a_system_is_refused_by_the_name_of_the_symbol() {
    if !exists("readelf") {
        return skip(
            "a_program_that_needs_too_new_a_system_is_refused_by_the_name_of_the_symbol",
            "there is no readelf here (Debian package binutils)",
        );
    }
    let folder = tempfile::tempdir().unwrap();
    let symbols = folder.path().join("symbols");
    fs::write(&symbols, "").unwrap();
    // No package knows any of them.
    let unknown = check_symbols(&symbols, "99.0");
    assert_eq!(unknown.code, Some(1));
    let needed: BTreeSet<&str> = unknown
        .stderr
        .lines()
        .filter_map(|line| line.split(" needs ").nth(1)?.split_once(", which no package is known to have"))
        .map(|(name, _)| name)
        .collect();
    assert!(needed.contains("gst_buffer_map") && needed.contains("g_object_unref"), "{needed:?}");

    let write = |newer: Option<(&str, &str)>| {
        let line = |name: &&str| {
            let since = newer.filter(|(new, _)| new == name).map_or("1.0.0", |(_, since)| since);
            format!(" {name}@Base {since}\n")
        };
        fs::write(
            &symbols,
            format!("libany.so.0 libany0 #MINVER#\n{}", needed.iter().map(line).collect::<String>()),
        )
        .unwrap();
    };
    write(None);
    let fine = check_symbols(&symbols, "99.0").done();
    assert!(fine.stdout.contains("GStreamer 1.0.0"), "{}", fine.stdout);
    write(Some(("gst_buffer_map", "1.20.3-1")));
    check_symbols(&symbols, "99.0").done();
    for since in ["1.21.1", "1.22.0-2", "2.0"] {
        write(Some(("gst_buffer_map", since)));
        let refused = check_symbols(&symbols, "99.0");
        assert_eq!(refused.code, Some(1), "{since}");
        assert!(
            refused
                .stderr
                .contains(&format!("needs gst_buffer_map, which GStreamer has since {since}")),
            "{}",
            refused.stderr
        );
    }
    write(None);
    let refused = check_symbols(&symbols, "2.1");
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("of the C library, for:"), "{}", refused.stderr);
}

#[test]
fn the_manual_names_every_command() {
    let help = run(takt("help").env("COLUMNS", "200")).done().stdout;
    let manual = fs::read_to_string(project("scripts/debian/takt.1")).unwrap();
    let commands: Vec<&str> = help
        .lines()
        .skip_while(|line| !line.starts_with("Commands:"))
        .skip(1)
        .take_while(|line| line.starts_with("  "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(commands.len() > 5, "{help}");
    for name in commands {
        assert!(manual.contains(&format!(".B {name}\n")), "{name} is not in scripts/debian/takt.1");
    }
}
