#!/usr/bin/env python3
"""Boots a machine with takt's Debian package and checks what a box must do; docs/boot-test.md says what each step proves.

Prints a table of the steps with their times. Exit code 0: all passed; 1: one failed; what the machine printed is in the work folder.
"""

import argparse
import io
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time
import traceback
from pathlib import Path

from gate import gate
from machine import Failed, Machine, Skipped
from plc import TRIGGER_READY, Plc
from power_disk import PowerDisk

HERE = Path(__file__).resolve().parent
EXCHANGE_MIB, DATA_MIB = 256, 512
MEMORY_MIB, PROCESSORS = 1024, 2
WIDTH, HEIGHT = 320, 180

# Under emulation seconds become minutes when the host is busy; a step that hangs shall still end.
READY_S, PARTS_S = 600, 600

# ErrorCode, docs/station.md.
CONFIG_INVALID, STATE_UNAVAILABLE, CAMERA_LOST, CLOCK_NOT_SET = 12, 13, 20, 82

DEVICE_CAMERA = f"""device = "/dev/video0"
format = "GRAY8"
width = {WIDTH}
height = {HEIGHT}
frame_rate_hz = 5
controls = {{ brightness = @BRIGHTNESS@, osd_text_mode = "None", test_pattern = "75% Colorbar" }}"""
PIPELINE_CAMERA = f'source = "v4l2src device=/dev/video0 ! video/x-raw,format=GRAY8,width={WIDTH},height={HEIGHT},framerate=5/1"'


def need(condition, what):
    """A check of a step."""
    if not condition:
        raise Failed(what)


class Box:
    """The box under test over all its lives: its disks, the machine that runs now, the PLC beside it."""

    def __init__(self, options, work):
        self.options = options
        self.work = work
        self.random = random.Random(options.seed)
        self.root = work / "box.qcow2"
        self.exchange = work / "exchange.img"
        self.data = work / "data.img"
        self.plc_port = free_port()
        self.machine = None
        self.used_before = 0.0
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(work / "root.img"), "-F", "raw", str(self.root)], check=True)
        for image, size in ((self.exchange, EXCHANGE_MIB), (self.data, DATA_MIB)):
            image.unlink(missing_ok=True)
            with image.open("wb") as file:
                file.truncate(size << 20)
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-L", "takt-data", str(self.data)], check=True)
        # A path of a socket has at most 107 characters, wherever the work folder is.
        self.sockets = Path(tempfile.mkdtemp(prefix="boot-test-"))
        self.disk = PowerDisk(self.data, str(self.sockets / "data.sock"))
        self.plc = Plc(self.plc_port)

    def boot(self, is_bare=False):
        """Powers the machine on; bare: its clock has lost its time, and no camera is there."""
        self.machine = Machine(
            self.work, self.root, self.sockets / "data.sock", self.exchange, self.plc_port, MEMORY_MIB, PROCESSORS, self.sockets / "shell.sock", is_bare
        )
        self.machine.connect()

    def processor_seconds(self):
        """Processor time of the emulation, over all lives of the machine."""
        return self.used_before + (self.machine.processor_seconds() if self.machine else 0.0)

    def forget_machine(self):
        self.used_before = self.processor_seconds()
        self.machine = None

    def run(self, command, **options):
        return self.machine.run(command, **options)

    def power_off(self):
        self.machine.power_off()
        self.disk.settle()
        self.forget_machine()

    def cut(self):
        """Cuts the power; how many sectors were not flushed, and how many of these are lost."""
        self.machine.cut()
        self.forget_machine()
        return self.disk.cut(self.random)

    def end(self):
        if self.machine is not None:
            self.machine.cut()
        if self.plc.is_alive():
            self.plc.stop()
        shutil.rmtree(self.sockets, ignore_errors=True)

    # --- files across the exchange disk -----------------------------------------------------------------------------

    def send(self, files):
        """Lays files into the machine, at /run/exchange: names to bytes or paths."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for name, content in files.items():
                if isinstance(content, Path):
                    archive.add(content, name)
                else:
                    entry = tarfile.TarInfo(name)
                    entry.size, entry.mode = len(content), 0o644
                    archive.addfile(entry, io.BytesIO(content))
        blocks = (len(packed.getvalue()) + (1 << 20) - 1) >> 20
        need(blocks <= EXCHANGE_MIB, f"{blocks} MiB do not fit onto the exchange disk")
        with self.exchange.open("r+b") as disk:
            disk.write(packed.getvalue())
        self.run(f"rm -rf /run/exchange && mkdir /run/exchange && dd if=/dev/vdc bs=1M count={blocks} iflag=direct 2>/dev/null | tar -xf - -C /run/exchange")

    def fetch(self, command):
        """What a command in the machine prints, over the exchange disk: the serial port is slow."""
        size = self.run(
            f"({command}) >/run/fetched; stat -c %s /run/fetched; "
            "dd if=/run/fetched of=/dev/vdc bs=1M iflag=fullblock oflag=direct conv=sync 2>/dev/null; rm -f /run/fetched"
        )
        with self.exchange.open("rb") as disk:
            return disk.read(int(size.split()[-1]))

    # --- the station ------------------------------------------------------------------------------------------------

    def configure(self, camera, brightness=128):
        """Lays down a station.toml with a camera."""
        text = (HERE / "files/station.toml").read_text().replace("@CAMERA@", camera).replace("@BRIGHTNESS@", str(brightness))
        self.send({"station.toml": text.encode()})
        self.run("install -m 0640 -g takt /run/exchange/station.toml /etc/takt/station.toml")

    def restart(self):
        self.run("systemctl restart takt-station", timeout=READY_S)

    def wait_ready(self):
        """Waits until the station is ready by the service manager's word and takes parts by the PLC's."""
        self.machine.until("systemctl is-active takt-station", r"^active", READY_S)
        self.wait_trigger_ready()

    def wait_error(self, code, what):
        """Waits for an ErrorCode; nothing passes then."""
        self.plc.wait_for(lambda plc: plc.block[2] == code, READY_S, f"ErrorCode {what}")

    def examined(self, *checks):
        """What `takt doctor` finds of these checks: check to status and fact of the worst."""
        report = json.loads(self.run("takt doctor --format json", may_fail=True, timeout=READY_S).split("\n", 1)[0])
        order = ("ok", "unknown", "warning", "failed")
        worst = {}
        for finding in sorted(report["findings"], key=lambda finding: order.index(finding["status"])):
            worst[finding["check"]] = (finding["status"], finding["fact"])
        return [worst[check] for check in checks]

    def wait_trigger_ready(self):
        self.plc.wait_for(lambda plc: plc.status & TRIGGER_READY, READY_S, "TriggerReady")

    def inspect(self, count):
        """Lets the PLC trigger parts; the outcomes it read."""
        self.plc.is_triggering.set()
        try:
            return self.plc.wait_for_parts(count, PARTS_S)
        finally:
            self.pause()

    def pause(self):
        """No more parts; the one under way runs to its end."""
        self.plc.is_triggering.clear()
        self.plc.wait_for(lambda plc: plc.is_idle(), PARTS_S, "the end of the part under way")

    def main_pid(self):
        return int(self.run("systemctl show -P MainPID takt-station"))

    def log(self, pattern):
        """Lines of the station's log."""
        return self.run(f"journalctl -b -u takt-station --no-pager -o cat | grep -E '{pattern}' | tail -n 20", may_fail=True)

    def records(self, journal="/var/lib/takt/journal"):
        """The records of parts, in order."""
        text = self.fetch(f"runuser -u takt -- takt query records --journal {journal} --format json --limit 100000")
        records = [record for line in text.splitlines() if (record := json.loads(line))["kind"] == "part"]
        return sorted(records, key=lambda record: (record["epoch"], record["sequence"]))

    def settled_records(self):
        """The records once those of the parts that the PLC has seen the end of are among them."""
        deadline = time.monotonic() + PARTS_S
        last = self.plc.decided()[-1]
        while True:
            records = self.records()
            if any((record["plc_session"], record["cycle_id"]) == (last.session, last.cycle_id) for record in records):
                return records
            need(time.monotonic() < deadline, f"part {last.cycle_id} does not reach the journal")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def verdicts(parts):
    return [part.verdict for part in parts]


# --- the steps ----------------------------------------------------------------------------------------------------------


def first_boot(box):
    """A machine without takt comes up."""
    box.boot()
    box.machine.until("systemctl is-system-running", "running|degraded", READY_S)
    return f"shell after {box.machine.age():.0f} s"


def install(box):
    """The package installs on a running system: user, units, and no station where there is no station.toml."""
    box.send({"takt.deb": box.options.deb})
    box.run("DEBIAN_FRONTEND=noninteractive dpkg -i /run/exchange/takt.deb", timeout=READY_S)
    need("video" in box.run("id takt"), "the user takt is not in the group video")
    enabled = box.run("systemctl is-enabled takt-station takt-failsafe takt-historian", may_fail=True).split()
    need(enabled == ["enabled"] * 3, f"units are {enabled}")
    need("ConditionResult=no" in box.run("systemctl show takt-station -p ConditionResult"), "a station started without a station.toml")
    need(box.run("stat -c %U /var/lib/takt") == "takt", "/var/lib/takt is not takt's")
    return box.run("takt --version")


def teach(box):
    """Pictures of the virtual camera become a model, taught on the host by the package's own program."""
    captured = []
    box.run("modprobe vivid; udevadm settle")
    for brightness in range(120, 138, 2):
        captured.append(
            f"v4l2-ctl -c brightness={brightness},osd_text_mode=2,test_pattern=0 "
            f"--set-fmt-video=width={WIDTH},height={HEIGHT},pixelformat=GREY --stream-mmap --stream-skip=1 --stream-count=3 "
            "--stream-to=/run/frames.part >/dev/null 2>&1; cat /run/frames.part"
        )
    raw = box.fetch("; ".join(captured))
    size = WIDTH * HEIGHT
    need(len(raw) == 27 * size, f"the virtual camera gave {len(raw)} bytes instead of {27 * size}")
    model = box.work / "model"
    with tempfile.TemporaryDirectory(dir=box.work) as folder:
        good = Path(folder) / "good"
        good.mkdir()
        for index in range(27):
            pixels = raw[index * size : (index + 1) * size]
            (good / f"{index:02}.pgm").write_bytes(f"P5 {WIDTH} {HEIGHT} 255\n".encode() + pixels)
        shutil.rmtree(model, ignore_errors=True)
        package_run(box, folder, "teach", "--good", str(good), "--out", str(model), "--name", "bars", "--size", "64x64", "--method", "padim")
    return "27 pictures"


def package_run(box, folder, *arguments):
    """Runs the program of the package on the host; the package is unpacked into the folder."""
    package = Path(folder) / "package"
    if not package.exists():
        subprocess.run(["dpkg-deb", "-x", box.options.deb, package], check=True)
    environment = {**os.environ, "ORT_DYLIB_PATH": str(package / "usr/lib/takt/libonnxruntime.so")}
    ran = subprocess.run([package / "usr/bin/takt", *arguments], env=environment, capture_output=True, text=True, check=False)
    need(ran.returncode == 0, f"takt {arguments[0]} failed: {ran.stderr[-600:]}")


def commission(box):
    """Model and configuration are laid down, `takt validate` agrees."""
    box.send({"model": box.work / "model"})
    box.run("rm -rf /var/lib/takt/models/bars && mkdir -p /var/lib/takt/models && cp -r /run/exchange/model /var/lib/takt/models/bars && chown -R takt:takt /var/lib/takt/models")
    box.configure(DEVICE_CAMERA)
    return box.run("takt validate --config /etc/takt/station.toml", timeout=READY_S).splitlines()[0][:70]


def power_on(box):
    """From power-on to inspecting, with nobody at a keyboard: failsafe first, then the station, ready only after the golden gate."""
    box.power_off()
    box.boot()
    box.plc.start()
    box.wait_ready()
    shown = box.run(
        "systemctl show takt-failsafe takt-station -p Id -p ActiveEnterTimestampMonotonic -p ExecMainStartTimestampMonotonic -p Result --timestamp=us"
    )
    units = [dict(line.split("=", 1) for line in unit.splitlines() if "=" in line) for unit in shown.split("\n\n")]
    failsafe, station = units[0], units[1]
    need(failsafe["Result"] == "success", f"takt-failsafe: {failsafe}")
    begun, ready = int(station["ExecMainStartTimestampMonotonic"]), int(station["ActiveEnterTimestampMonotonic"])
    need(0 < int(failsafe["ActiveEnterTimestampMonotonic"]) <= begun, "takt-failsafe was not done before takt-station began")
    (gate,) = box.examined("golden_gate")
    need(gate[0] == "ok", f"doctor says {gate}")
    return f"station begins at {begun / 1e6:.1f} s, ready {(ready - begun) / 1e6:.1f} s later (emulated)"


def sandbox(box):
    """The station runs as its own user, without privileges, behind a system call filter, on a read-only system."""
    status = box.run(f"cat /proc/{box.main_pid()}/status")
    fields = dict(re.findall(r"^(\w+):\s*(.*)$", status, re.M))
    user = box.run("id -u takt")
    need(fields["Uid"].split() == [user] * 4, f"it runs as {fields['Uid']}")
    need(fields["NoNewPrivs"] == "1", "NoNewPrivs is off")
    need(fields["Seccomp"] == "2", "it has no system call filter")
    need(int(fields["CapEff"], 16) == 0 and int(fields["CapBnd"], 16) == 0, f"it has capabilities {fields['CapEff']}")
    written = box.run(f"nsenter -t {box.main_pid()} -m touch /usr/takt-was-here", may_fail=True)
    need("Read-only" in written, f"/usr can be written: {written}")
    rated = box.run("systemd-analyze security takt-station --threshold=20 --no-pager | tail -n 1", timeout=READY_S)
    return rated.encode("ascii", "ignore").decode().strip()


def v4l_adapter(box):
    """Parts are inspected through takt's own V4L2 adapter, inside the sandbox: a good one passes, a bad one does not."""
    good = box.inspect(3)
    need(verdicts(good) == ["ok"] * 3 and all(part.accept for part in good), f"good parts were {good}")
    box.run("v4l2-ctl -c test_pattern=4")
    bad = box.inspect(2)[1:]
    box.run("v4l2-ctl -c test_pattern=0")
    need(verdicts(bad) == ["not_ok"] and not bad[0].accept, f"a bad part was {bad}")
    box.inspect(1)
    views = [view for record in box.records() for view in record.get("views", [])]
    counters = [view["frame_counter"] for view in views if view.get("frame_counter") is not None]
    need(counters == sorted(counters) and len(set(counters)) == len(counters), f"frame counters are {counters}")
    return f"3 ok, 1 not_ok, frames {counters[0]} to {counters[-1]}"


def controls(box):
    """A control out of its range keeps the camera from being used, and is named with what it may be."""
    box.configure(DEVICE_CAMERA, brightness=9999)
    box.restart()
    box.wait_error(CAMERA_LOST, "camera_lost")
    said = box.machine.until("journalctl -b -u takt-station --no-pager -o cat | grep brightness", "control brightness is 9999; give a whole number from 0 to 255", READY_S)
    box.configure(DEVICE_CAMERA)
    box.restart()
    box.wait_ready()
    return re.search(r"control brightness.*?255", said).group(0)


def unplug(box):
    """The camera is unplugged while the station runs: nothing passes, ErrorCode says why; plugged in again, it is used again by itself."""
    pid = box.main_pid()
    box.run("echo vivid.0 >/sys/bus/platform/drivers/vivid/unbind")
    box.plc.wait_for(lambda plc: plc.block[2] == CAMERA_LOST and not plc.status & TRIGGER_READY, READY_S, "ErrorCode camera_lost")
    box.run("echo vivid.0 >/sys/bus/platform/drivers/vivid/bind")
    begun = time.monotonic()
    box.wait_trigger_ready()
    good = box.inspect(2)
    need(verdicts(good) == ["ok"] * 2, f"parts after it are {good}")
    need(box.main_pid() == pid, "the station was restarted")
    return f"back after {time.monotonic() - begun:.0f} s"


def gstreamer_source(box):
    """The same parts through GStreamer's v4l2src, inside the same sandbox."""
    box.configure(PIPELINE_CAMERA)
    box.restart()
    box.wait_ready()
    good = box.inspect(2)
    need(verdicts(good) == ["ok"] * 2, f"good parts are {good}")
    box.configure(DEVICE_CAMERA)
    box.restart()
    box.wait_ready()
    return "2 ok"


def twin(box):
    """Parts of the virtual line (its PLC, its camera) are inspected by the station of the service, inside the sandbox."""
    demo = box.work / "demo"
    with tempfile.TemporaryDirectory(dir=box.work) as folder:
        shutil.rmtree(demo, ignore_errors=True)
        package_run(box, folder, "demo", "--out", str(demo))
        package_run(box, folder, "teach", "--good", str(demo / "rendered/train/good"), "--out", f"{folder}/flange", "--name", "flange", "--size", "128x128", "--method", "padim")
        files = {name: HERE / "files" / name for name in ("twin-station.toml", "twin-line.toml")}
        box.send({**files, "flange": Path(folder) / "flange"})
    shutil.rmtree(demo)
    box.run("rm -rf /var/lib/takt/models/flange && cp -r /run/exchange/flange /var/lib/takt/models/ && chown -R takt:takt /var/lib/takt/models")
    box.run("install -m 0640 -g takt /run/exchange/twin-station.toml /etc/takt/station.toml")
    box.restart()
    told = box.run("cd /run/exchange && runuser -u takt -- takt twin --config twin-line.toml --format json", timeout=PARTS_S).splitlines()
    summary = json.loads(told[-1])
    outcomes = summary["outcomes"]
    need(outcomes["ok"] and outcomes["not_ok"] and not outcomes["not_decidable"] and not outcomes["unknown"], f"the virtual line saw {outcomes}")
    need(not summary["escapes"] and not summary["false_rejects"] and not summary["untriggered"], f"the virtual line saw {summary}")
    kept = [record["verdict"] for record in box.records("/var/lib/takt/twin/journal")]
    need(sorted(kept) == ["not_ok"] * outcomes["not_ok"] + ["ok"] * outcomes["ok"], f"the virtual line saw {outcomes}, recorded is {kept}")
    box.configure(DEVICE_CAMERA)
    box.restart()
    box.wait_ready()
    slowest = summary["trigger_to_verdict_us_max"] / 1e6
    return f"{outcomes['ok']} ok, {outcomes['not_ok']} not_ok, as they were; {slowest:.1f} s from trigger to verdict at most (emulated)"


def half_written(box):
    """The configuration is cut off half-way: the stand-in tells the PLC, doctor and the log say where; mended, the station runs again."""
    box.run("cp -p /etc/takt/station.toml /run/whole.toml && truncate -s 300 /etc/takt/station.toml && systemctl restart takt-station", may_fail=True, timeout=READY_S)
    box.wait_error(CONFIG_INVALID, "config_invalid")
    need(not box.plc.status & TRIGGER_READY and box.plc.boot_id == 0, "it is not the stand-in that answers")
    need("station.toml:" in box.log("station.toml:"), "the log does not say what is wrong")
    (config,) = box.examined("config")
    need(config[0] == "failed", f"doctor says {config}")
    box.run("cp -p /run/whole.toml /etc/takt/station.toml && systemctl start takt-station", timeout=READY_S)
    box.wait_ready()
    return f"ErrorCode 12; doctor: {config[1]}"[:100]


def full_disk(box):
    """The data partition is full, then read-only, when the station starts: the stand-in says so; with room again, the station runs."""
    box.run("systemctl stop takt-station", timeout=READY_S)
    box.run("dd if=/dev/zero of=/var/lib/takt/full bs=1M 2>/dev/null; dd if=/dev/zero of=/var/lib/takt/rest bs=1k 2>/dev/null; sync; df /var/lib/takt | tail -n 1")
    box.run("systemctl start takt-station", may_fail=True, timeout=READY_S)
    box.wait_error(STATE_UNAVAILABLE, "state_unavailable")
    (full,) = box.examined("disk")
    need(full[0] == "failed", f"doctor says {full} of a full disk")
    box.run("systemctl stop takt-standin && rm /var/lib/takt/full /var/lib/takt/rest && mount -o remount,ro /var/lib/takt", timeout=READY_S)
    box.run("systemctl reset-failed takt-station; systemctl start takt-station", may_fail=True, timeout=READY_S)
    box.wait_error(STATE_UNAVAILABLE, "state_unavailable")
    (read_only,) = box.examined("disk")
    need(read_only[0] == "failed", f"doctor says {read_only} of a disk that is read-only")
    box.run("mount -o remount,rw /var/lib/takt && systemctl start takt-station", timeout=READY_S)
    box.wait_ready()
    box.inspect(1)
    return f"ErrorCode 13 twice; {account(box)}"


def bare(box):
    """Power-on with a clock that has lost its time and no camera: the station comes up, passes nothing, says why; with a camera it inspects."""
    box.power_off()
    box.boot(is_bare=True)
    box.wait_error(CAMERA_LOST, "camera_lost")
    box.machine.until("systemctl is-active takt-station", r"^active", READY_S)
    camera, clock, station = box.examined("camera", "clock", "station")
    need(camera[0] == "failed" and clock[0] != "ok", f"doctor says {camera}, {clock}")
    need("20" in station[1], f"the station says {station}")
    # systemd does not let a clock stand before the day on which systemd was built; a box without it has 1970.
    began = box.run("date -u +%F; date -u -s @86400 >/dev/null")
    (clock,) = box.examined("clock")
    need(clock[0] == "failed", f"doctor says {clock} of 1970")
    box.run("modprobe vivid")
    box.wait_trigger_ready()
    box.wait_error(CLOCK_NOT_SET, "clock_not_set")
    good = box.inspect(2)
    need(verdicts(good) == ["ok"] * 2, f"parts without a clock are {good}")
    said = account(box)
    box.power_off()
    box.boot()
    box.wait_ready()
    return f"the clock began at {began}, then 1970; ErrorCode 20, then 82 and 2 ok; {said}"


def killed(box):
    """kill -9 while a part is open: the service manager restarts it, and every part has exactly one outcome."""
    before = box.plc.boot_id
    box.plc.is_triggering.set()
    box.plc.wait_for(lambda plc: plc.part is not None and plc.part.answer == "ack" and not plc.part.verdict, PARTS_S, "an open part")
    box.run("systemctl kill -s KILL --kill-whom=main takt-station")
    box.plc.is_triggering.clear()
    box.plc.wait_for(lambda plc: plc.boot_id not in (0, before), READY_S, "another BootId")
    box.wait_ready()
    box.inspect(1)
    return account(box)


def hung(box):
    """The verdict path stands still (SIGSTOP): the watchdog notices and restarts the station."""
    before = box.plc.boot_id
    begun = time.monotonic()
    box.run("systemctl kill -s STOP --kill-whom=main takt-station")
    box.plc.wait_for(lambda plc: plc.boot_id not in (0, before), READY_S, "another BootId")
    need("watchdog" in box.log("[Ww]atchdog").lower(), "the restart was not the watchdog's")
    box.wait_ready()
    box.inspect(1)
    return f"inspects again after {time.monotonic() - begun:.0f} s; {account(box)}"


def upgrade(box):
    """The package is upgraded while parts run: every part has exactly one outcome, configuration and models stay."""
    kept = "sha256sum /etc/takt/station.toml /var/lib/takt/models/bars/model.toml"
    before, boot_id = box.run(kept), box.plc.boot_id
    newer = box.work / "newer.deb"
    with tempfile.TemporaryDirectory(dir=box.work) as folder:
        subprocess.run(["dpkg-deb", "-R", box.options.deb, f"{folder}/package"], check=True)
        control = Path(folder) / "package/DEBIAN/control"
        control.write_text(re.sub(r"^(Version: .*)$", r"\1+boottest1", control.read_text(), flags=re.M))
        subprocess.run(["dpkg-deb", "-Znone", "--root-owner-group", "-b", f"{folder}/package", newer], check=True, stdout=subprocess.DEVNULL)
    box.send({"newer.deb": newer})
    newer.unlink()
    box.plc.is_triggering.set()
    box.run("DEBIAN_FRONTEND=noninteractive dpkg -i /run/exchange/newer.deb", timeout=READY_S)
    box.plc.wait_for(lambda plc: plc.boot_id not in (0, boot_id), READY_S, "another BootId")
    box.wait_ready()
    box.pause()
    box.inspect(1)
    need(box.run(kept) == before, "configuration or model changed")
    version = box.run("dpkg-query -W -f '${Version}' takt")
    need(version.endswith("+boottest1"), f"version {version} is installed")
    return account(box)


def power_cuts(box):
    """The power is cut at random moments: the next boot is ready, and every part has exactly one outcome that agrees with what the PLC saw."""
    boots, pending, lost = [], 0, 0
    for number in range(1, box.options.cuts + 1):
        box.plc.is_triggering.set()
        box.plc.wait_for_parts(1 + box.random.randrange(3), PARTS_S)
        time.sleep(box.random.uniform(0.0, 3.0))  # the random moment
        cut = box.cut()
        box.plc.is_triggering.clear()
        pending, lost = pending + cut[0], lost + cut[1]
        box.plc.wait_for(lambda plc: plc.connection is None, PARTS_S, "the end of the connection")
        box.boot()
        box.wait_ready()
        boots.append(box.machine.age())
        # The next part's CycleId tells the station which parts it has forgotten.
        box.inspect(1)
        said = account(box)
        kept = box.examined("journal", "black_box")
        need(all(status == "ok" for status, _ in kept), f"doctor says {kept}")
        print(f"boot-test: power cut {number} of {box.options.cuts}: inspecting after {boots[-1]:.0f} s; {said}", file=sys.stderr, flush=True)
    return f"{len(boots)} cuts, inspecting again after {min(boots):.0f} to {max(boots):.0f} s, {lost} of {pending} unflushed sectors lost; {said}"


def account(box):
    """Holds what the PLC saw against the journal: each part once, as it was shown. What a power cut took are the last parts before it."""
    records = box.settled_records()
    by_part = {}
    for record in records:
        by_part.setdefault((record["plc_session"], record["cycle_id"]), []).append(record)
    keys = [(record["epoch"], record["sequence"]) for record in records]
    need(len(set(keys)) == len(keys), "two records have one sequence")
    forgotten, kept = [], 0
    for part in box.plc.parts:
        found = by_part.get((part.session, part.cycle_id), [])
        need(len(found) == 1, f"part {part.cycle_id} has {len(found)} records")
        verdict, reason = found[0]["verdict"], found[0]["reason"]
        if not part.verdict:
            continue  # nobody was shown an outcome: whatever is recorded is the only word
        if verdict == part.verdict:
            kept += 1
            need(not forgotten or forgotten[-1].boot_id != part.boot_id, f"part {part.cycle_id} is kept, but {forgotten[-1:]} before it is not")
        else:
            need((verdict, reason) == ("not_decidable", "power_loss"), f"part {part.cycle_id} was shown {part.verdict}, recorded {verdict} ({reason})")
            forgotten.append(part)
    need(not box.plc.violations, f"the PLC saw {box.plc.violations}")
    box.run("runuser -u takt -- takt journal verify /var/lib/takt/journal", timeout=READY_S)
    return f"{kept} outcomes as shown, {len(forgotten)} lost to power cuts"


STEPS = [
    *(first_boot, install, teach, commission, power_on, sandbox, v4l_adapter, controls, unplug, gstreamer_source, twin, gate),
    *(killed, hung, half_written, full_disk, bare, power_cuts, upgrade),
]

# What every other step begins with: a box that inspects.
FIRST_STEPS = STEPS[:5]


class Table:
    """The steps as they went."""

    def __init__(self):
        self.rows = []

    def run(self, box, step):
        title = step.__doc__.strip().splitlines()[0]
        begun, used = time.monotonic(), box.processor_seconds()
        print(f"boot-test: {step.__name__}: {title}", file=sys.stderr, flush=True)
        skipped = False
        try:
            said, passed = step(box) or "", True
        except Skipped as reason:
            said, passed, skipped = str(reason), True, True
        except (Failed, TimeoutError, subprocess.CalledProcessError, OSError, KeyError, ValueError, IndexError) as error:
            if not isinstance(error, (Failed, TimeoutError)):
                traceback.print_exc()
            said, passed = str(error), False
        result, took = "skip" if skipped else "pass" if passed else "FAIL", time.monotonic() - begun
        self.rows.append((step.__name__, result, took, box.processor_seconds() - used, said))
        print(f"boot-test: {step.__name__}: {result} after {took:.0f} s: {said}", file=sys.stderr, flush=True)
        return passed

    def print(self):
        width = max(len(row[0]) for row in self.rows)
        print(f"{'step':{width}}  result  seconds  qemu's  what was seen")
        for name, result, seconds, used, said in self.rows:
            print(f"{name:{width}}  {result:6}  {seconds:7.1f} {used:7.1f}  {said}")
        print(f"{'all':{width}}          {sum(row[2] for row in self.rows):7.1f} {sum(row[3] for row in self.rows):7.1f}")
        passed, failed, skipped = (sum(row[1] == result for row in self.rows) for result in ("pass", "FAIL", "skip"))
        print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
        return failed == 0


def read_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder of kernel, ramdisk and root disk, and of what is left")
    parser.add_argument("--deb", type=Path, required=True, help="the package under test")
    parser.add_argument("--quick", action="store_true", help="three power cuts")
    names = [step.__name__ for step in STEPS]
    parser.add_argument("--only", choices=names, help="this step alone, after those that set the box up")
    parser.add_argument("--cuts", type=int, help="power cuts (20)")
    parser.add_argument("--seed", type=int, default=1, help="of the moments of the power cuts and of what they lose")
    parser.add_argument("--keep", action="store_true", help="keep the disks of the box")
    options = parser.parse_args()
    if options.cuts is None:
        options.cuts = 3 if options.quick else 20
    return options


def steps(only):
    """The steps to run: all of them, or those that set the box up and one."""
    return [step for step in STEPS if only is None or step in FIRST_STEPS or step.__name__ == only]


def main():
    options = read_options()
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, lambda number, _: sys.exit(128 + number))
    table = Table()
    box = Box(options, options.work)
    try:
        for step in steps(options.only):
            if not table.run(box, step):
                break
    finally:
        box.end()
        if not options.keep:
            for file in (box.root, box.data, box.exchange):
                file.unlink(missing_ok=True)
    (options.work / "plc.json").write_text(json.dumps(box.plc.evidence(), indent=1))
    return 0 if table.print() else 1


if __name__ == "__main__":
    sys.exit(main())
