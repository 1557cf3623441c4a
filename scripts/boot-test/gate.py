"""The step `gate`: a gate of the station's own, on lines of the kernel's simulated GPIO chips, with a belt that is turned by hand."""

import json
from pathlib import Path

from machine import Failed, Skipped

FILES = Path(__file__).resolve().parent / "files"
IO = "/usr/local/sbin/gate-io.sh"

# ErrorCode, docs/station.md.
GATE_FAILING, PART_NOT_EJECTED, PART_UNTRACKED = 62, 64, 71
# Lines of gate.toml.
SENSOR, CONFIRM, GATE, STOP, READY = 2, 3, 4, 5, 6
# One that nothing is wired to.
SPARE = 7
# Lengths of gate.toml, counts: to the sensor, from there to the gate, of a part.
TO_SENSOR, TO_GATE, PART = 80, 40, 3
STOP_REQUEST = 1 << 2
WAIT_S = 120.0
# By its place, whatever number the kernel gives the chip: another one when it comes back while somebody still holds the old one.
UDEV_RULE = 'SUBSYSTEM=="gpio", KERNEL=="gpiochip*", DEVPATH=="*/gpio-sim.0/*", GROUP="gpio", MODE="0660", SYMLINK+="gate-io"\n'


def need(condition, what):
    if not condition:
        raise Failed(what)


class Belt:
    """The belt, its sensors, and what the gate does."""

    def __init__(self, box):
        self.box = box

    def io(self, *words):
        return self.box.run(" ".join((IO, *map(str, words))), timeout=WAIT_S)

    def go(self, counts, is_open=None):
        """Forward; `is_open`: whether the gate may be, or must never be, open on the way."""
        seen = int(self.io("go", counts))
        need(is_open is not False or seen == 0, f"the gate was open for {seen} of {counts} counts")
        return seen

    def bring_to_sensor(self, counts):
        """So far, and then a part comes to the sensor and is by."""
        self.go(counts, is_open=False)
        self.io("set", SENSOR, 1)
        self.go(PART, is_open=False)
        self.io("set", SENSOR, 0)

    def confirm(self):
        self.io("set", CONFIRM, 1)
        self.io("set", CONFIRM, 0)

    def wait_line(self, line, level, what):
        try:
            self.box.machine.until(f"{IO} see {line}", f"^{level}$", WAIT_S)
        except Failed:
            raise Failed(f"{what}: line {line} is not {level}") from None

    def wait_open(self, is_open, what):
        self.wait_line(GATE, int(is_open), what)


def gate(box):
    """The station's own gate on GPIO lines: good parts pass, nothing else does; an ejection that is not confirmed, a chip that goes, kill -9 and a power cut."""
    module = box.work / "gpio-sim.ko"
    missing = box.work / "gpio-sim.ko.missing"
    if not module.exists():
        raise Skipped(missing.read_text().strip() if missing.exists() else f"there is no {module}")
    wire_up(box, module)
    belt = Belt(box)
    said = [part(box, belt) for part in (good_and_bad, nobodys_part, chip_gone, killed_open, power_cut_open, bench)]
    take_down(box)
    return "; ".join(said)


def wire_up(box, module):
    """The board is there, and the station that runs moves the gate by it."""
    station = (box.run("cat /etc/takt/station.toml") + "\n" + (FILES / "gate.toml").read_text()).encode()
    box.send({
        "station.toml": station,
        "gpio-sim.ko": module,
        **{name: FILES / name for name in ("gate-io.sh", "gate-io.service")},
        "gate-io.rules": UDEV_RULE.encode(),
    })
    box.run(
        "cp -p /etc/takt/station.toml /etc/takt/station.toml.plc && cd /run/exchange && install -D -m 0644 gpio-sim.ko /usr/local/lib/gpio-sim.ko "
        "&& install -m 0755 gate-io.sh /usr/local/sbin/ && install -m 0644 gate-io.service /etc/systemd/system/ "
        "&& install -m 0644 gate-io.rules /etc/udev/rules.d/60-gate-io.rules && udevadm control --reload && systemctl daemon-reload "
        "&& systemctl --quiet enable gate-io && systemctl start gate-io && install -m 0640 -g takt station.toml /etc/takt/station.toml "
        "&& sync",
        timeout=WAIT_S,
    )
    box.run("takt validate --config /etc/takt/station.toml", timeout=WAIT_S)
    box.restart()
    box.wait_ready()


def take_down(box):
    """The PLC moves the gate again, as in every other step."""
    box.run("rm -f /run/gate.watched && mv /etc/takt/station.toml.plc /etc/takt/station.toml && systemctl --quiet disable gate-io")
    box.restart()
    box.wait_ready()


def trigger(box, verdict):
    """One part, at the trigger where the belt stands."""
    before = len(box.plc.parts)
    box.plc.is_triggering.set()
    # The next one could come only after the outcome of this one.
    box.plc.wait_for(lambda plc: len(plc.parts) > before, WAIT_S, "a trigger")
    box.pause()
    part = box.plc.parts[-1]
    need(part.verdict == verdict, f"a part that is {verdict} was {part}")
    return part


def clear_error(box):
    box.plc.is_clearing.set()
    box.plc.wait_for(lambda plc: plc.block[2] == 0, WAIT_S, "no ErrorCode")
    box.plc.is_clearing.clear()
    box.wait_trigger_ready()


def opens_for(belt, what):
    """A part whose end has just left the sensor is good: the gate opens before it, and is shut behind it."""
    belt.go(TO_GATE - PART - 4, is_open=False)
    belt.go(4)
    belt.wait_open(True, f"{what} is at the gate, which must be open")


def shuts_behind(belt, what):
    belt.go(8)
    belt.wait_open(False, f"{what} is through")


def good_and_bad(box, belt):
    """A good part, a bad one whose ejection is confirmed, a bad one whose is not."""
    belt.wait_line(READY, 1, "the station inspects")
    belt.wait_line(STOP, 1, "nothing must stop")
    belt.wait_open(False, "no part is there")
    # What lay before the gate when the station started has gone by.
    belt.go(TO_GATE + 10, is_open=False)
    good = trigger(box, "ok")
    box.run("v4l2-ctl -c test_pattern=4")
    belt.go(30, is_open=False)
    confirmed = trigger(box, "not_ok")
    belt.go(30, is_open=False)
    unconfirmed = trigger(box, "not_ok")
    box.run("v4l2-ctl -c test_pattern=0")

    belt.bring_to_sensor(20)
    belt.bring_to_sensor(27)
    belt.go(3, is_open=False)
    belt.go(4)
    belt.wait_open(True, "the good part is at the gate")
    box.plc.wait_for(lambda plc: plc.u32(40) == good.cycle_id, WAIT_S, "GateFireCycleId")
    shuts_behind(belt, "the good part")
    belt.bring_to_sensor(12)
    belt.go(7, is_open=False)
    belt.confirm()
    need(box.plc.block[2] == 0, f"ErrorCode {box.plc.block[2]} with an ejection that was confirmed")
    belt.go(45, is_open=False)
    box.wait_error(PART_NOT_EJECTED, "part_not_ejected")
    need(box.plc.block[28] & STOP_REQUEST, "no StopRequest")
    belt.wait_line(STOP, 0, "the line must stop")
    told = box.log("a part was not ejected")
    need(told.count("not ejected") == 1 and str(unconfirmed.cycle_id) in told, f"the log says {told}, not ejected is {unconfirmed.cycle_id}")
    clear_error(box)
    belt.wait_line(STOP, 1, "the error is cleared")
    return f"part {good.cycle_id} passed, {confirmed.cycle_id} and {unconfirmed.cycle_id} rejected, the last without confirmation: ErrorCode 64, StopRequest"


def nobodys_part(box, belt):
    """A part that nobody announced does not pass."""
    belt.bring_to_sensor(30)
    box.wait_error(PART_UNTRACKED, "part_untracked")
    belt.go(TO_GATE, is_open=False)
    belt.confirm()
    belt.go(12, is_open=False)
    clear_error(box)
    return "one that nobody announced did not"


def chip_gone(box, belt):
    """The chip goes away with a good part on the belt, and comes back: nothing passes, then parts do again, by the same process."""
    pid = box.main_pid()
    trigger(box, "ok")
    belt.bring_to_sensor(TO_SENSOR)
    box.run("echo gpio-sim.0 >/sys/bus/platform/drivers/gpio-sim/unbind")
    box.wait_error(GATE_FAILING, "gate_failing")
    box.run("echo gpio-sim.0 >/sys/bus/platform/drivers/gpio-sim/bind; udevadm settle; echo 0 >/run/belt")
    box.plc.wait_for(lambda plc: plc.block[2] == 0, WAIT_S, "the gate's return")
    box.wait_trigger_ready()
    belt.go(TO_GATE + 10, is_open=False)
    good = trigger(box, "ok")
    belt.bring_to_sensor(TO_SENSOR)
    opens_for(belt, f"part {good.cycle_id}")
    shuts_behind(belt, f"part {good.cycle_id}")
    need(box.main_pid() == pid, "the station was restarted")
    return "the chip went and came back: ErrorCode 62, nothing passed, then parts did again"


def open_gate(box, belt):
    trigger(box, "ok")
    belt.bring_to_sensor(TO_SENSOR)
    opens_for(belt, "a good part")


def stays_shut(box, belt, what):
    """The station is back with the part still at the gate: it does not pass."""
    box.wait_ready()
    belt.wait_line(READY, 1, what)
    need("open" not in box.run("cat /run/gate.watched"), f"{what}: the gate was open")
    belt.go(TO_GATE + 10, is_open=False)


def killed_open(box, belt):
    """kill -9 with the gate open: gpio-sim gives a line that nobody holds back to its pull, as a board with pull-downs does."""
    open_gate(box, belt)
    before, pid = box.plc.boot_id, box.main_pid()
    levels = box.run(
        f"kill -9 {pid}; while kill -0 {pid} 2>/dev/null; do :; done; {IO} see {GATE}; {IO} see {STOP}; : >/run/gate.watched"
    ).split()
    need(levels == ["0", "0"], f"after kill -9 gate and stop are {levels}")
    box.plc.wait_for(lambda plc: plc.boot_id not in (0, before), WAIT_S, "another BootId")
    stays_shut(box, belt, "after kill -9")
    return "after kill -9 it shut"


def power_cut_open(box, belt):
    """The power is cut with the gate open: from power-on it is shut, and stays so."""
    open_gate(box, belt)
    box.cut()
    box.plc.wait_for(lambda plc: plc.connection is None, WAIT_S, "the end of the connection")
    box.boot()
    stays_shut(box, belt, "after power-on")
    good = trigger(box, "ok")
    belt.bring_to_sensor(TO_SENSOR)
    opens_for(belt, f"part {good.cycle_id}")
    shuts_behind(belt, f"part {good.cycle_id}")
    return "after a power cut too"


def bench(box, _):
    """How long it takes from a verdict to the line, as gpio-sim's own file shows it. Of an emulated machine: it says nothing of a box, but that the bench runs."""
    file = f"$(echo /sys/devices/platform/gpio-sim.0/gpiochip*/sim_gpio{SPARE}/value)"
    told = box.run(f"takt bench gpio --chip /dev/gate-io --output {SPARE} --level-file {file} --parts 200 --format json", timeout=WAIT_S)
    figures = json.loads(next(line for line in told.splitlines() if line.startswith("{")))
    need(figures["parts"] == 200 and figures["decided_to_seen_us_p50"] >= figures["bare_ioctl_us_p50"] > 0, f"the bench said {told}")
    line, bare = (f"{figures[key + '_us_p50'] / 1e3:.1f} ms, p99 {figures[key + '_us_p99'] / 1e3:.1f}" for key in ("decided_to_seen", "bare_ioctl"))
    return f"from verdict to line p50 {line}, of that the ioctl {bare} (emulated)"
