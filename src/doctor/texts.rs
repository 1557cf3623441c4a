//! What the kernel and other programs write, read. Pure: text in, facts out; lines that make no sense are passed over.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// A file system as the kernel has mounted it: a line of `/proc/self/mountinfo`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where.
    pub at: PathBuf,
    /// Its type: ext4, tmpfs, nfs4.
    pub kind: String,
    /// What is mounted: a device, a server's path.
    pub source: String,
    /// Whether nothing can be written to it.
    pub is_read_only: bool,
}

/// The mounts, in their order.
pub fn mounts(mountinfo: &str) -> Vec<Mount> {
    mountinfo.lines().filter_map(mount).collect()
}

/// `36 35 98:0 /root /at rw,noatime shared:1 - ext4 /dev/sda1 rw,errors=continue`
fn mount(line: &str) -> Option<Mount> {
    let (of_mount, of_system) = line.split_once(" - ")?;
    let (mut of_mount, mut of_system) = (of_mount.split(' ').skip(4), of_system.split(' '));
    let (at, options) = (of_mount.next()?, of_mount.next()?);
    let (kind, source, system_options) = (of_system.next()?, of_system.next()?, of_system.next().unwrap_or_default());
    let is_read_only = [options, system_options]
        .iter()
        .any(|options| options.split(',').any(|option| option == "ro"));
    Some(Mount {
        at: unescaped(at).into(),
        kind: kind.to_owned(),
        source: unescaped(source),
        is_read_only,
    })
}

/// Without the octal escapes that the kernel writes for blanks: `\040`.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = (*first == b'\\')
            .then(|| after.get(..3))
            .flatten()
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        if let Some(code) = code {
            bytes.push(code);
            rest = &after[3..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The mount that a path is on: the deepest, and of those the last, which covers the others.
pub fn mount_of<'m>(mounts: &'m [Mount], path: &Path) -> Option<&'m Mount> {
    let depth = |mount: &Mount| mount.at.components().count();
    mounts
        .iter()
        .filter(|mount| path.starts_with(&mount.at))
        .max_by_key(|mount| depth(mount))
}

/// Who holds a lock on the whole of a file, by its inode and, where that is known, its device (major and minor): lines of `/proc/locks`. A
/// process of another namespace is 0.
pub fn lock_holders(locks: &str, inode: u64, device: Option<(u32, u32)>) -> Vec<u32> {
    // `1: FLOCK  ADVISORY  WRITE 6259 fe:00:5447723 0 EOF`; a line of who waits has `->` after its number.
    let holder = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, "FLOCK", _, "WRITE", process, file, ..] = words[..] else {
            return None;
        };
        let (of_device, of_inode) = file.rsplit_once(':')?;
        let (major, minor) = of_device.split_once(':')?;
        let of_device = (u32::from_str_radix(major, 16).ok()?, u32::from_str_radix(minor, 16).ok()?);
        let fits = of_inode.parse() == Ok(inode) && device.is_none_or(|device| device == of_device);
        fits.then(|| process.parse().unwrap_or(0))
    };
    locks.lines().filter_map(holder).collect()
}

/// A connection, or a socket that listens: a line of `/proc/net/tcp` or `tcp6`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Socket {
    /// This machine's side.
    pub local: SocketAddr,
    /// The other side.
    pub remote: SocketAddr,
    /// Whether it takes connections.
    pub listens: bool,
    /// Whether it is a connection that stands.
    pub is_connected: bool,
}

/// The sockets of `/proc/net/tcp` or `/proc/net/tcp6`.
pub fn sockets(table: &str) -> Vec<Socket> {
    table.lines().skip(1).filter_map(socket).collect()
}

fn socket(line: &str) -> Option<Socket> {
    const ESTABLISHED: &str = "01";
    const LISTEN: &str = "0A";
    let mut words = line.split_whitespace().skip(1);
    let (local, remote, state) = (socket_address(words.next()?)?, socket_address(words.next()?)?, words.next()?);
    Some(Socket {
        local,
        remote,
        listens: state == LISTEN,
        is_connected: state == ESTABLISHED,
    })
}

/// `0100007F:1F90` is 127.0.0.1:8080: 32-bit words as they lie in memory, which is little endian on every machine takt runs on.
fn socket_address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| u32::from_str_radix(address.get(at..at + 8)?, 16).ok().map(u32::to_le_bytes);
    let address = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            let mut bytes = [0; 16];
            bytes
                .iter_mut()
                .zip(words.as_flattened())
                .for_each(|(byte, of_word)| *byte = *of_word);
            IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(address, port))
}

/// Bytes of a line of `/proc/meminfo`, which is in KiB.
pub fn meminfo_bytes(meminfo: &str, name: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// The machine that an ELF file is for, as `uname -m` calls it; `None` if it is no ELF file. Needs its first 20 bytes.
pub fn elf_machine(head: &[u8]) -> Option<String> {
    let rest = head.strip_prefix(b"\x7fELF")?;
    let (class, order) = (*rest.first()?, *rest.get(1)?);
    let machine: [u8; 2] = head.get(18..20)?.try_into().ok()?;
    let machine = if order == 2 {
        u16::from_be_bytes(machine)
    } else {
        u16::from_le_bytes(machine)
    };
    // Numbers of the ELF specification (e_machine), class 1 is 32 bit.
    Some(match (machine, class) {
        (62, 2) => "x86_64".into(),
        (183, _) => "aarch64".into(),
        (3, _) => "i686".into(),
        (40, _) => "armv7l".into(),
        (243, _) => "riscv64".into(),
        (21, _) => "ppc64le".into(),
        (other, _) => format!("ELF machine {other}"),
    })
}

/// The files whose name has `stem` in it among those that a process has mapped, each once: `/proc/self/maps`.
pub fn mapped_files(maps: &str, stem: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = Vec::new();
    for line in maps.lines() {
        let Some(at) = line.find('/') else { continue };
        let path = Path::new(line[at..].trim_end_matches(" (deleted)"));
        let fits = path.file_name().is_some_and(|name| name.to_string_lossy().contains(stem));
        if fits && !files.iter().any(|file| file == path) {
            files.push(path.to_owned());
        }
    }
    files
}

/// A metric in the text format of Prometheus: the value of the first line with this name and, if given, this label.
pub fn metric(text: &str, name: &str, label: Option<(&str, &str)>) -> Option<f64> {
    text.lines().find_map(|line| {
        let rest = line.strip_prefix(name)?;
        let (labels, value) = match rest.strip_prefix('{') {
            Some(rest) => rest.split_once('}')?,
            None => ("", rest.strip_prefix(' ').map(|_| rest)?),
        };
        let wanted = label.is_none_or(|(name, value)| labels.contains(&format!("{name}=\"{value}\"")));
        wanted.then(|| value.split_whitespace().next()?.parse().ok())?
    })
}

/// The sum of a metric over all its labels.
pub fn metric_sum(text: &str, name: &str) -> Option<f64> {
    let values = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let value = rest.strip_prefix('{').map_or(Some(rest), |rest| Some(rest.split_once('}')?.1))?;
        value.strip_prefix(' ')?.split_whitespace().next()?.parse::<f64>().ok()
    });
    values.reduce(|sum, value| sum + value)
}

/// What `chronyc -c tracking` says.
#[derive(Debug, Clone, PartialEq)]
pub struct Tracking {
    /// The source of time; empty for none.
    pub source: String,
    /// Steps from a reference clock, 0 if not synchronised.
    pub stratum: u32,
    /// How far the clock is off, seconds.
    pub offset_s: f64,
}

/// `C0A80001,ntp.plant,3,1700000000.1,0.000012,...`
pub fn tracking(csv: &str) -> Option<Tracking> {
    let fields: Vec<&str> = csv.trim().split(',').collect();
    let [_, source, stratum, _, offset, ..] = fields[..] else {
        return None;
    };
    Some(Tracking {
        source: source.to_owned(),
        stratum: stratum.parse().ok()?,
        offset_s: offset.parse().ok()?,
    })
}

/// The number of the power mode in `/var/lib/nvpmodel/status` of a Jetson: `pmode:0002`.
pub fn power_mode(status: &str) -> Option<u32> {
    let (_, mode) = status.split_once("pmode:")?;
    let digits: String = mode.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// The name of a power mode in `/etc/nvpmodel.conf`: `< POWER_MODEL ID=2 NAME=30W >`.
pub fn power_mode_name(conf: &str, mode: u32) -> Option<String> {
    conf.lines().find_map(|line| {
        let mut words = line.trim().strip_prefix("< POWER_MODEL ")?.split_whitespace();
        let id: u32 = words.next()?.strip_prefix("ID=")?.parse().ok()?;
        let name = words.next()?.strip_prefix("NAME=")?;
        (id == mode).then(|| name.to_owned())
    })
}

/// How many cores a list of the kernel names: `0-3,5`.
pub fn cores(list: &str) -> Option<usize> {
    list.trim().split(',').try_fold(0, |count, range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (first.parse::<usize>().ok()?, last.parse::<usize>().ok()?);
        Some(count + last.checked_sub(first)? + 1)
    })
}

/// What a source's description names that can be looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourcePlace {
    /// A file in `/dev`.
    Device(PathBuf),
    /// A host and a port.
    Address(String, u16),
    /// A socket of this machine.
    Socket(PathBuf),
    /// Nothing.
    Nothing,
}

/// Where the pictures of a GStreamer source come from, as far as its description says so.
pub fn source_place(description: &str) -> SourcePlace {
    let property = |name: &str| {
        let words = description.split_whitespace();
        let mut values = words.filter_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        values.next().map(|value| value.trim_matches('"'))
    };
    if let Some(device) = property("device").filter(|device| device.starts_with("/dev/")) {
        return SourcePlace::Device(device.into());
    }
    if let Some(path) = property("socket-path") {
        return SourcePlace::Socket(path.into());
    }
    let of_url = property("location").or_else(|| property("uri")).and_then(url_address);
    let of_host = || Some((property("host")?.to_owned(), property("port")?.parse().ok()?));
    match of_url.or_else(of_host) {
        Some((host, port)) => SourcePlace::Address(host, port),
        None => SourcePlace::Nothing,
    }
}

/// Host and port of `rtsp://user:password@host:554/path`.
fn url_address(url: &str) -> Option<(String, u16)> {
    let (scheme, rest) = url.split_once("://")?;
    let usual = match scheme {
        "rtsp" | "rtspt" => 554,
        "rtsps" => 322,
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    let authority = rest.split(['/', '?']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    match host.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => Some((host.to_owned(), port.parse().ok()?)),
        _ => Some((host.to_owned(), usual)),
    }
}

/// When (Unix seconds) and what, of the first entry that `journalctl --output json` printed.
pub fn log_entry(json: &str) -> Option<(i64, String)> {
    let entry: serde_json::Value = serde_json::from_str(json.lines().next()?).ok()?;
    let micros: i64 = entry.get("__REALTIME_TIMESTAMP")?.as_str()?.parse().ok()?;
    Some((micros / 1_000_000, entry.get("MESSAGE")?.as_str()?.to_owned()))
}

/// The status and the body of an HTTP answer.
pub fn http_answer(answer: &str) -> Option<(u16, &str)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split_whitespace().nth(1)?.parse().ok()?;
    Some((status, body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MOUNTS: &str = "\
25 1 259:2 / / ro,relatime shared:1 - ext4 /dev/root rw
31 25 0:26 / /run rw,nosuid shared:5 - tmpfs tmpfs rw,size=1589148k
40 25 259:3 / /var/lib/takt rw,noatime shared:9 - ext4 /dev/mmcblk0p3 rw,prjquota
41 25 0:50 / /mnt/with\\040blank rw - nfs4 server:/a rw,hard
nonsense
";

    #[test]
    fn a_path_is_on_its_deepest_mount() {
        let mounts = mounts(MOUNTS);
        assert_eq!(mounts.len(), 4);
        let on = |path: &str| mount_of(&mounts, Path::new(path)).map(|mount| (mount.kind.as_str(), mount.is_read_only));
        assert_eq!(on("/var/lib/takt/journal"), Some(("ext4", false)));
        assert_eq!(on("/var/lib/taktics"), Some(("ext4", true)));
        assert_eq!(on("/run/takt"), Some(("tmpfs", false)));
        assert_eq!(on("/mnt/with blank/x"), Some(("nfs4", false)));
        assert_eq!(mount_of(&[], Path::new("/")), None);
    }

    #[test]
    fn who_holds_a_lock_is_known_and_who_waits_is_not_taken_for_it() {
        let locks = "1: FLOCK  ADVISORY  WRITE 6259 fe:00:5447723 0 EOF\n1: -> FLOCK  ADVISORY  WRITE 7000 fe:00:5447723 0 EOF\n\
            2: POSIX  ADVISORY  WRITE 1 fe:00:5447723 0 EOF\n3: FLOCK  ADVISORY  READ 5920 fe:00:9 0 EOF\n";
        assert_eq!(lock_holders(locks, 5_447_723, None), [6259]);
        assert_eq!(lock_holders(locks, 5_447_723, Some((0xfe, 0))), [6259]);
        assert!(lock_holders(locks, 5_447_723, Some((0, 26))).is_empty());
        assert!(lock_holders(locks, 9, None).is_empty());
    }

    #[test]
    fn sockets_are_read_as_the_kernel_writes_them() {
        let table = "  sl  local_address rem_address   st tx_queue\n   \
            0: 050AA8C0:01F6 00000000:0000 0A 00000000:00000000\n   1: 050AA8C0:01F6 140AA8C0:C350 01 00000000:00000000\n";
        let found = sockets(table);
        assert_eq!(found.len(), 2);
        assert!(found[0].listens && found[0].local == "192.168.10.5:502".parse().unwrap());
        assert!(found[1].is_connected && found[1].remote == "192.168.10.20:50000".parse().unwrap());
        let six = "head\n 0: 00000000000000000000000001000000:1F90 00000000000000000000000000000000:0000 0A 0\n\
            1: 0000000000000000FFFF00000100007F:1F90 00000000000000000000000000000000:0000 0A 0\n";
        let locals: Vec<String> = sockets(six).iter().map(|socket| socket.local.to_string()).collect();
        assert_eq!(locals, ["[::1]:8080", "127.0.0.1:8080"]);
    }

    #[test]
    fn an_elf_file_says_what_it_is_for() {
        let head = |machine: u8, class: u8| {
            let mut head = b"\x7fELF".to_vec();
            head.extend([class, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, machine, 0]);
            head
        };
        assert_eq!(elf_machine(&head(183, 2)).as_deref(), Some("aarch64"));
        assert_eq!(elf_machine(&head(62, 2)).as_deref(), Some("x86_64"));
        assert_eq!(elf_machine(&head(200, 2)).as_deref(), Some("ELF machine 200"));
        assert_eq!(elf_machine(b"#!/bin/sh"), None);
        assert_eq!(elf_machine(&head(62, 2)[..10]), None);
    }

    #[test]
    fn a_mapped_library_is_found_by_its_name() {
        let maps = "7f00-7f01 r-xp 00000000 fe:00 12 /usr/lib/takt/libonnxruntime.so.1.24.2\n7f01-7f02 rw-p 00000000 fe:00 12 /usr/lib/takt/libonnxruntime.so.1.24.2\n\
            7f03-7f04 r-xp 00000000 fe:00 13 /usr/lib/libc.so.6\n7f05-7f06 rw-p 0 00:00 0 [heap]\n";
        assert_eq!(
            mapped_files(maps, "libonnxruntime"),
            [Path::new("/usr/lib/takt/libonnxruntime.so.1.24.2")]
        );
    }

    #[test]
    fn metrics_are_found_by_name_and_label() {
        let text = "# HELP takt_parts Parts\ntakt_parts_total{verdict=\"ok\",reason=\"\"} 40\ntakt_parts_total{verdict=\"not_ok\",reason=\"anomaly\"} 2\n\
            takt_error_code 30\ntakt_error_code_other 9\ntakt_camera_up{camera=\"top\"} 1\n";
        assert_eq!(metric(text, "takt_error_code", None), Some(30.0));
        assert_eq!(metric(text, "takt_parts_total", Some(("verdict", "not_ok"))), Some(2.0));
        assert_eq!(metric(text, "takt_camera_up", Some(("camera", "side"))), None);
        assert_eq!(metric_sum(text, "takt_parts_total"), Some(42.0));
        assert_eq!(metric_sum(text, "takt_frames_total"), None);
    }

    #[test]
    fn short_texts_of_others_are_understood() {
        let csv = "C0A80001,ntp.plant,3,1700000000.123456789,-0.000012345,0.1,0.1,1.2,0.0,0.1,0.002,0.001,64.2,Normal\n";
        let tracked = tracking(csv).unwrap();
        assert_eq!((tracked.source.as_str(), tracked.stratum), ("ntp.plant", 3));
        assert!((tracked.offset_s + 0.000_012_345).abs() < 1e-12);
        assert_eq!(power_mode("fmode:quiet pmode:0002\n"), Some(2));
        let conf = "# c\n< POWER_MODEL ID=0 NAME=MAXN >\nCPU_ONLINE CORE_0 1\n< POWER_MODEL ID=2 NAME=MODE_30W >\n";
        assert_eq!(power_mode_name(conf, 2).as_deref(), Some("MODE_30W"));
        assert_eq!(
            (cores("0-3,5\n"), cores("0"), cores("3-1"), cores("")),
            (Some(5), Some(1), None, None)
        );
        assert_eq!(
            meminfo_bytes("MemTotal:       16 kB\nMemAvailable: 8 kB\n", "MemAvailable"),
            Some(8192)
        );
        let entry = "{\"__REALTIME_TIMESTAMP\":\"1700000000123456\",\"MESSAGE\":\"it broke\"}\n";
        assert_eq!(log_entry(entry), Some((1_700_000_000, "it broke".into())));
        assert_eq!(
            http_answer("HTTP/1.0 503 Service Unavailable\r\na: b\r\n\r\nnot ready\n"),
            Some((503, "not ready\n"))
        );
    }

    #[test]
    fn a_source_says_where_its_pictures_come_from() {
        for (description, place) in [
            (
                "v4l2src device=/dev/video0 ! video/x-raw,width=640",
                SourcePlace::Device("/dev/video0".into()),
            ),
            (
                "rtspsrc location=rtsp://user:pass@192.168.1.9/stream latency=0 ! decodebin",
                SourcePlace::Address("192.168.1.9".into(), 554),
            ),
            ("rtspsrc location=\"rtsp://cam:8554/a\"", SourcePlace::Address("cam".into(), 8554)),
            ("uridecodebin uri=http://[fe80::1]/x", SourcePlace::Address("[fe80::1]".into(), 80)),
            ("tcpclientsrc host=cam port=5000", SourcePlace::Address("cam".into(), 5000)),
            (
                "shmsrc socket-path=/tmp/a.sock is-live=true",
                SourcePlace::Socket("/tmp/a.sock".into()),
            ),
            ("videotestsrc", SourcePlace::Nothing),
            ("filesrc location=/a.mp4", SourcePlace::Nothing),
            ("rtspsrc location=rtsp://cam:x/", SourcePlace::Nothing),
        ] {
            assert_eq!(source_place(description), place, "{description}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_fall(text in "\\PC{0,200}", bytes: Vec<u8>) {
            let lines = format!("{text}\n{text} - {text} a b\n1: FLOCK a WRITE {text}\n< POWER_MODEL {text}");
            mounts(&lines);
            lock_holders(&lines, 1, None);
            source_place(&lines);
            sockets(&format!("h\n{lines}\n1: {text}:{text} {text} 01"));
            meminfo_bytes(&lines, "a");
            mapped_files(&lines, "a");
            metric(&lines, "a", Some(("b", "c")));
            metric_sum(&lines, "a");
            tracking(&text);
            power_mode(&format!("pmode:{text}"));
            power_mode_name(&lines, 1);
            cores(&text);
            http_answer(&text);
            log_entry(&text);
            elf_machine(&bytes);
            unescaped(&format!("\\{text}"));
        }
    }
}
