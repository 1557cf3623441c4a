#!/usr/bin/env python3
"""A PLC program in Python: triggers parts at a station over Modbus TCP and decides which of them may pass.

It was written from the description of the interface alone, with a Modbus client of another make, so that what the station
and its own tests agree on is also what somebody else understands. Prints one line of JSON a part, and one with the summary.
Exit code 0: every part was decided and the station kept its promises; 1: it broke one; 2: it could not be used.
"""

import argparse
import json
import logging
import random
import sys
import time
from dataclasses import dataclass, field

from pymodbus.client import ModbusTcpClient
from pymodbus.exceptions import ModbusException

# Control word, holding register 0.
ONLINE, TRIGGER_ENABLE, TRIGGER, RESULT_ACK, BUFFER_ENABLE = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 4
# Status word, input register 0.
TRIGGER_READY, TRIGGER_ACK, MISSED_TRIGGER, RESULT_VALID, ACCEPT = 1 << 1, 1 << 2, 1 << 4, 1 << 7, 1 << 13
# Second status word, input register 28.
SIMULATED = 1 << 0

AUTO = 1
OK = 1
VERDICTS = {0: "undefined", 1: "ok", 2: "not_ok", 3: "not_decidable"}
LAST_CYCLE_ID = 2**31 - 1

RECONNECT_S, RECONNECT_MAX_S = 0.1, 1.0
HEARTBEAT_S = 0.1
ACK_TIME_S = 0.5


class LinkLost(Exception):
    """The connection broke, or an answer did not come in time."""


class StationRestarted(Exception):
    """The station runs, but it is not the run that was asked."""


class Unusable(Exception):
    """The station cannot be used at all."""


def u32(registers, at):
    return registers[at] << 16 | registers[at + 1]


def words(value):
    return [value >> 16, value & 0xFFFF]


@dataclass
class Part:
    """A part between camera and gate."""

    cycle_id: int
    session: int
    boot_id: int
    triggered: float | None = None
    answer: str = "none"
    verdict: int = 0
    reason: int = 0
    defect_code: int = 0
    result_id: int = 0
    passed: bool = False
    cause: str = ""
    decided: float | None = None


@dataclass
class Inputs:
    """What the station said in one reading (two in window mode); the program uses nothing but this copy."""

    block: list
    window: list

    def __post_init__(self):
        b = self.block
        self.status, self.heartbeat = b[0], b[3]
        self.echo_cycle_id, self.result_id, self.result_id_tail = u32(b, 4), u32(b, 8), u32(b, 42)
        self.verdict, self.defect_code, self.reason = b[10], b[11], b[13]
        self.boot_id, self.echo_session, self.mode = b[30], b[31], b[35]
        self.echo_trigger_id = u32(b, 36)

    def is_set(self, mask):
        return self.status & mask == mask


@dataclass
class Heartbeat:
    """Whether the station lives: after two changes, and until it stands still for too long."""

    timeout: float
    seen: int | None = None
    changes: int = 0
    changed: float = 0.0

    def look(self, value, now):
        if self.seen is not None and value != self.seen:
            self.changes += 1
            self.changed = now
        self.seen = value

    def alive(self, now):
        return self.changes >= 2 and now - self.changed < self.timeout


@dataclass
class Outputs:
    """What the PLC says. Everything is 0 after a start."""

    control: int = 0
    heartbeat: int = 0
    cycle_id: int = 0
    cycle_id_tail: int = 0
    session: int = 0
    ack_result_id: int = 0

    def block(self):
        """Holding registers 1 to 33, the control word being written by itself."""
        return (
            [0, 0, self.heartbeat]
            + words(self.cycle_id)
            + [0] * 2  # Encoder
            + [0] * 16  # Serial
            + [self.session, 0]
            + words(self.ack_result_id)
            + [0] * 4  # Disposition
            + words(self.cycle_id_tail)
        )


@dataclass
class Tally:
    station_restarts: int = 0
    plc_restarts: int = 0
    reconnects: int = 0
    violations: list = field(default_factory=list)


class Plc:
    def __init__(self, options):
        self.options = options
        self.random = random.Random(1)
        self.window_mode = options.mode == "window"
        self.buffered = options.mode == "buffered"
        self.ack_raised = 0.0
        self.made = 0
        self.result_seen = (0, 0.0)  # the result that waits to be acknowledged, and since when
        self.client = None
        self.out = Outputs()
        self.written = None
        self.inputs = None
        self.station = self.heartbeat()
        self.beaten = 0.0
        self.boot_id = None
        self.session = 0
        self.next_scan = time.monotonic()
        self.open = []
        self.done = []
        self.tally = Tally()
        self.results = {}
        self.restarted_before = 0  # parts of before the last station restart, by their place in all parts

    def heartbeat(self):
        return Heartbeat(self.options.heartbeat_timeout_ms / 1000)

    # --- the wire -------------------------------------------------------------------------------------------------

    def connect(self):
        """Connects, waiting longer from attempt to attempt."""
        wait = RECONNECT_S
        give_up = time.monotonic() + self.options.ready_timeout
        while True:
            timeout = self.options.response_timeout_ms / 1000
            client = ModbusTcpClient(self.options.host, port=self.options.port, timeout=timeout, retries=0)
            if client.connect():
                self.client, self.written = client, None
                return
            client.close()
            if time.monotonic() > give_up:
                raise Unusable(f"failed to connect to {self.options.host}:{self.options.port}")
            self.expire(time.monotonic())
            time.sleep(wait)
            wait = min(2 * wait, RECONNECT_MAX_S)

    def close(self):
        if self.client:
            self.client.close()
        self.client = None

    def asked(self, ask, *args, **kwargs):
        """An answer, or the end of the connection: a late answer must not be taken for that of the next request."""
        try:
            answer = ask(*args, **kwargs)
        except (ModbusException, OSError) as error:
            self.close()
            raise LinkLost(str(error)) from error
        if answer.isError():
            raise Unusable(f"the station refused {ask.__name__} {args}: {answer}")
        return answer

    def read(self, address, count):
        return self.asked(self.client.read_input_registers, address, count=count).registers

    def write(self):
        """Data before the control word. What the station has already is not written again."""
        block = self.out.block()
        if self.written is None or self.written[0] != block:
            self.asked(self.client.write_registers, 1, block)
        if self.written is None or self.written[1] != self.out.control:
            self.asked(self.client.write_register, 0, self.out.control)
        self.written = (block, self.out.control)

    # --- one scan -------------------------------------------------------------------------------------------------

    def scan(self):
        """Waits for the next scan; then reads, looks after all that goes on beside the parts, and writes."""
        if self.random.random() < self.options.drop_scan_share:
            self.close()
        while self.client is None:
            self.tally.reconnects += 1
            self.connect()
        self.next_scan = max(self.next_scan + self.options.poll_ms / 1000, time.monotonic())
        time.sleep(max(0.0, self.next_scan - time.monotonic()))
        try:
            self.inputs = Inputs(self.read(0, 44), self.read(100, 98) if self.window_mode else [])
            now = time.monotonic()
            self.station.look(self.inputs.heartbeat, now)
            if now - self.beaten >= HEARTBEAT_S:
                self.beaten = now
                self.out.heartbeat = (self.out.heartbeat + 1) & 0xFFFF
            self.check(self.inputs)
            if self.boot_id is not None and self.inputs.boot_id != self.boot_id:
                self.station_restarted()
            self.decide(now)
            if self.buffered:
                self.acknowledge(now)
            self.write()
        except LinkLost:
            # Voids nothing by itself: parts have their timers.
            self.expire(time.monotonic())

    def wait_for(self, condition, timeout):
        """Scans until the condition holds; False after the timeout."""
        give_up = time.monotonic() + timeout
        while True:
            self.scan()
            if self.client is not None and condition(self.inputs):
                return True
            if time.monotonic() > give_up:
                return False

    def station_restarted(self):
        """Nobody knows any more what was seen of the parts on their way."""
        self.tally.station_restarts += 1
        self.boot_id = self.inputs.boot_id
        self.station = self.heartbeat()
        self.reject_open("station_restart")
        self.restarted_before = len(self.done)
        self.out.control &= ~(TRIGGER | RESULT_ACK)
        self.write()
        raise StationRestarted

    # --- decisions ------------------------------------------------------------------------------------------------

    def decide(self, now):
        """The pass rule. What is not passed here is a reject."""
        for part in [part for part in self.open if part.triggered is not None]:
            if self.window_mode:
                self.decide_in_window(part, now)
            else:
                self.decide_single(part, now)
        self.expire(now)

    def decide_single(self, part, now):
        i = self.inputs
        if not i.is_set(RESULT_VALID) or i.echo_cycle_id != part.cycle_id or i.result_id != i.result_id_tail:
            return
        part.verdict, part.reason, part.defect_code, part.result_id = i.verdict, i.reason, i.defect_code, i.result_id
        may_pass = i.is_set(ACCEPT) and i.verdict == OK and self.station.alive(now) and not self.is_late(part, now)
        self.finish(part, may_pass, now)

    def acknowledge(self, now):
        """Buffered mode: whatever is shown is taken, known or not, after a while; else nothing else would ever be shown."""
        i = self.inputs
        if self.out.control & RESULT_ACK:
            # A ResultAck that a new connection finds set is no edge: it is lowered and raised once more.
            lost = now - self.ack_raised >= ACK_TIME_S
            if not i.is_set(RESULT_VALID) or i.result_id != self.out.ack_result_id or lost:
                self.out.control &= ~RESULT_ACK
        elif i.is_set(RESULT_VALID) and i.result_id == i.result_id_tail:
            if self.result_seen[0] != i.result_id:
                self.result_seen = (i.result_id, now)
            if now - self.result_seen[1] >= self.options.ack_delay_ms / 1000:
                self.out.ack_result_id = i.result_id
                self.out.control |= RESULT_ACK
                self.ack_raised = now

    def decide_in_window(self, part, now):
        window = self.inputs.window
        if window[97] != self.boot_id:
            return
        for at in range(0, 96, 6):
            if u32(window, at) != part.cycle_id or window[at + 4] == 0:
                continue
            part.result_id, part.verdict, part.defect_code = u32(window, at + 2), window[at + 4], window[at + 5]
            may_pass = part.verdict == OK and self.station.alive(now) and not self.is_late(part, now)
            self.finish(part, may_pass, now)
            return

    def is_late(self, part, now):
        return part.triggered is not None and now - part.triggered > self.options.timer_ms / 1000

    def expire(self, now):
        for part in list(self.open):
            if self.is_late(part, now):
                self.reject(part, "timer", now)

    def finish(self, part, may_pass, now):
        earlier = self.results.setdefault(part.result_id, part.cycle_id)
        if earlier != part.cycle_id:
            self.violated(f"ResultId {part.result_id} was used for {earlier} and {part.cycle_id}")
        if may_pass:
            part.passed, part.cause = True, "pass_rule"
            self.report(part, now)
        else:
            self.reject(part, "verdict" if part.verdict != OK else "pass_rule", now)

    def reject(self, part, cause, now):
        part.passed, part.cause = False, cause
        self.report(part, now)

    def reject_open(self, cause):
        for part in list(self.open):
            self.reject(part, cause, time.monotonic())

    def report(self, part, now):
        part.decided = now
        self.open.remove(part)
        self.done.append(part)
        line = {
            "cycle_id": part.cycle_id,
            "plc_session": part.session,
            "boot_id": part.boot_id,
            "answer": part.answer,
            "verdict": VERDICTS.get(part.verdict, str(part.verdict)),
            "reason_code": part.reason,
            "defect_code": part.defect_code,
            "result_id": part.result_id,
            "pass": part.passed,
            "cause": part.cause,
            "trigger_to_decision_ms": None if part.triggered is None else round((now - part.triggered) * 1000, 1),
        }
        print(json.dumps(line), flush=True)

    def violated(self, promise):
        if promise not in self.tally.violations:
            self.tally.violations.append(promise)

    def check(self, i):
        """What the station promises of every image."""
        if u32(i.block, 32) != 0x01020304 or i.block[34] != 1:
            raise Unusable(f"the map is another one: magic {u32(i.block, 32):#x}, version {i.block[34]}")
        if i.is_set(TRIGGER_ACK | MISSED_TRIGGER):
            self.violated("TriggerAck and MissedTrigger at once")
        if i.is_set(ACCEPT) and not (
            i.is_set(RESULT_VALID) and i.verdict == OK and i.mode == AUTO and not i.block[28] & SIMULATED
        ):
            self.violated(f"Accept without a good part: status {i.status:#06x}, verdict {i.verdict}, mode {i.mode}")
        if i.result_id != i.result_id_tail:
            self.violated(f"one reading from two images: ResultId {i.result_id}, tail {i.result_id_tail}")
        if self.window_mode and i.window[97] not in (i.boot_id, self.boot_id):
            self.violated(f"BootId {i.boot_id}, in the window {i.window[97]}")
        shown = {i.echo_cycle_id} if i.is_set(RESULT_VALID) and i.verdict == OK else set()
        shown |= {u32(i.window, at) for at in range(0, 96, 6) if i.window and i.window[at + 4] == OK}
        for part in self.done[: self.restarted_before]:
            if part.boot_id != i.boot_id and part.cycle_id in shown:
                self.violated(f"part {part.cycle_id} shown good by a run of the station that never saw it")

    # --- the program ----------------------------------------------------------------------------------------------

    def begin(self):
        """The first scan after a start of this program: a session of its own, then a live heartbeat, then Online."""
        self.out = Outputs()
        self.station = self.heartbeat()
        while True:
            if self.client is None:
                self.connect()
            try:
                self.inputs = Inputs(self.read(0, 44), [])
                break
            except LinkLost:
                self.tally.reconnects += 1
        self.boot_id = self.inputs.boot_id
        self.session = self.inputs.echo_session % 0xFFFF + 1
        self.out.session = self.session
        alive = False
        while not alive:
            try:
                alive = self.wait_for(lambda _: self.station.alive(time.monotonic()), self.options.ready_timeout)
                if not alive:
                    raise Unusable("the station's heartbeat stands still")
            except StationRestarted:
                # Nothing was triggered yet.
                pass
        if self.buffered:
            # Read while Online rises.
            self.out.control = BUFFER_ENABLE
            self.scan()
        self.out.control |= ONLINE | TRIGGER_ENABLE

    def restart(self):
        """As after a power cut: nothing of before is known, so nothing of before may pass."""
        self.tally.plc_restarts += 1
        self.close()
        self.reject_open("plc_restart")
        self.begin()

    def run_part(self, cycle_id, restarts):
        """One part from its trigger to its result (single mode) or to the end of the handshake (window mode)."""
        # A part that is triggered at a station not yet known to live could not pass.
        if not self.wait_for(lambda i: i.is_set(TRIGGER_READY) and self.station.alive(time.monotonic()), self.options.ready_timeout):
            raise Unusable(f"no TriggerReady, or no heartbeat: status {self.inputs.status:#06x}, ErrorCode {self.inputs.block[2]}")
        part = Part(cycle_id, self.session, self.boot_id)
        self.open.append(part)
        self.made += 1
        self.out.cycle_id = self.out.cycle_id_tail = cycle_id
        self.scan()
        # The block is at the station; the edge comes a scan later.
        self.out.control |= TRIGGER
        part.triggered = time.monotonic()
        self.wait_for(lambda i: self.answered(part, i) or part not in self.open, self.options.timer_ms / 1000)
        if part.answer == "missed" and part in self.open:
            self.reject(part, "missed", time.monotonic())
        if restarts:
            self.restart()
            return
        self.out.control &= ~TRIGGER
        self.wait_for(lambda i: not i.status & (TRIGGER_ACK | MISSED_TRIGGER), self.options.ready_timeout)
        if not self.window_mode and not self.buffered:
            self.take_result(part)

    @staticmethod
    def answered(part, i):
        if i.echo_trigger_id != part.cycle_id:
            return False
        if i.is_set(TRIGGER_ACK):
            part.answer = "ack"
        elif i.is_set(MISSED_TRIGGER):
            part.answer = "missed"
        return part.answer != "none"

    def take_result(self, part):
        """Waits until the part is decided and acknowledges its result, if it was shown."""
        self.wait_for(lambda _: part not in self.open, self.options.timer_ms / 1000 + 1)
        if part.result_id == 0:
            return
        self.out.ack_result_id = part.result_id
        self.out.control |= RESULT_ACK
        self.wait_for(lambda i: not i.is_set(RESULT_VALID) or i.result_id != part.result_id, self.options.ready_timeout)
        self.out.control &= ~RESULT_ACK
        self.scan()

    def run(self):
        self.begin()
        cycle_id = self.options.start_cycle
        while self.made < self.options.parts:
            begun, before = time.monotonic(), self.made
            try:
                self.run_part(cycle_id, before + 1 == self.options.restart_after)
                pause = begun + self.options.interval_ms / 1000
                self.wait_for(lambda _: time.monotonic() >= pause, self.options.interval_ms / 1000)
            except StationRestarted:
                # Its trigger, if there was one, is answered by nobody; the next part is a new one.
                pass
            if self.made > before:
                cycle_id = cycle_id % LAST_CYCLE_ID + 1
        while self.open:
            try:
                self.scan()
            except StationRestarted:
                pass
        self.out.control = 0
        self.scan()
        self.close()

    def summary(self):
        verdicts = [VERDICTS.get(part.verdict) for part in self.done]
        return {
            "summary": True,
            "mode": self.options.mode,
            "parts": len(self.done),
            "passed": sum(part.passed for part in self.done),
            "rejected": sum(not part.passed for part in self.done),
            "acknowledged": sum(part.answer == "ack" for part in self.done),
            "missed": sum(part.answer == "missed" for part in self.done),
            "unanswered": sum(part.answer == "none" for part in self.done),
            **{name: verdicts.count(name) for name in VERDICTS.values()},
            "station_restarts": self.tally.station_restarts,
            "plc_restarts": self.tally.plc_restarts,
            "reconnects": self.tally.reconnects,
            "violations": self.tally.violations,
        }


def parser():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=502)
    parser.add_argument("--parts", type=int, default=10, help="how many to trigger")
    parser.add_argument("--mode", choices=["single", "buffered", "window"], default="single", help="how results are taken")
    parser.add_argument("--ack-delay-ms", type=int, default=0, help="buffered: how long a result is left to stand before it is acknowledged")
    parser.add_argument("--start-cycle", type=int, default=1, help="first CycleId, 1 to 2147483647")
    parser.add_argument("--restart-after", type=int, default=0, help="restart this program at this part (1, 2, ...), once its trigger is answered")
    parser.add_argument("--drop-scan-share", type=float, default=0.0, help="share of scans before which the connection is dropped and made anew")
    parser.add_argument("--poll-ms", type=int, default=10, help="time between two scans")
    parser.add_argument("--interval-ms", type=int, default=0, help="smallest time between two triggers")
    parser.add_argument("--timer-ms", type=int, default=1000, help="from the trigger to the gate; later results do not pass")
    parser.add_argument("--heartbeat-timeout-ms", type=int, default=1000, help="a station that stands still for longer is dead")
    parser.add_argument("--response-timeout-ms", type=int, default=300, help="after this time without an answer the connection is closed")
    parser.add_argument("--ready-timeout", type=float, default=30.0, help="seconds to wait for the station before giving up")
    return parser


def main():
    # A connection that fails is tried again; that is no news.
    logging.getLogger("pymodbus").setLevel(logging.CRITICAL)
    logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)
    return report(Plc(parser().parse_args()))


def report(plc):
    """Runs a program and says how it went."""
    try:
        plc.run()
    except Unusable as error:
        print(f"plc_master: {error}", file=sys.stderr)
        plc.reject_open("gave_up")
        print(json.dumps(plc.summary()), flush=True)
        return 2
    print(json.dumps(plc.summary()), flush=True)
    return 1 if plc.tally.violations else 0


if __name__ == "__main__":
    sys.exit(main())
