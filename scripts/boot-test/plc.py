"""A PLC on the host, which keeps its power when the machine loses its own: what it read is the evidence.

It triggers a part, waits for the outcome that is shown, acknowledges it, and goes on with the next CycleId, whatever happens to
the station meanwhile. Modbus TCP and the handshake are written out from docs/plc.md with the standard library alone.
"""

import socket
import struct
import threading
import time
from dataclasses import asdict, dataclass

ONLINE, TRIGGER_ENABLE, TRIGGER, RESULT_ACK, CLEAR_ERROR = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 7
TRIGGER_READY, TRIGGER_ACK, MISSED_TRIGGER, RESULT_VALID, ACCEPT = 1 << 1, 1 << 2, 1 << 4, 1 << 7, 1 << 13
VERDICTS = {0: "undefined", 1: "ok", 2: "not_ok", 3: "not_decidable"}

SCAN_S = 0.05
HEARTBEAT_S = 0.1
RESPONSE_S = 5.0


@dataclass
class Part:
    """What the PLC knows of a part."""

    cycle_id: int
    session: int
    boot_id: int
    triggered: float
    answer: str = "none"
    verdict: str = ""
    reason: int = 0
    accept: bool = False
    shown: float = 0.0


class LinkLost(Exception):
    """The connection broke, or an answer did not come in time."""


class Plc(threading.Thread):
    """The PLC program, from power-on to `stop`."""

    def __init__(self, port):
        super().__init__(name="plc", daemon=True)
        self.port = port
        self.parts = []
        self.is_triggering = threading.Event()
        self.is_clearing = threading.Event()
        self.is_over = threading.Event()
        self.status, self.block = 0, [0] * 44
        self.boot_id = 0
        self.session = 0
        self.cycle_id = 0
        self.violations = []
        self.connection = None
        self.transaction = 0
        self.out = [0] * 34
        self.beaten = 0.0
        self.part = None
        self.step = self.ready

    # --- what the test asks -----------------------------------------------------------------------------------------

    def decided(self):
        """The parts whose outcome was read."""
        return [part for part in list(self.parts) if part.verdict]

    def is_idle(self):
        """Whether no part is under way."""
        return self.step == self.ready

    def wait_for(self, condition, timeout, what):
        """Waits until a condition on this PLC holds."""
        deadline = time.monotonic() + timeout
        while not condition(self):
            if time.monotonic() > deadline:
                status, code = self.status, self.block[2]
                raise TimeoutError(f"the PLC did not see {what} within {timeout:.0f} s: status {status:#06x}, ErrorCode {code}, BootId {self.boot_id}")
            time.sleep(0.02)

    def wait_for_parts(self, count, timeout):
        """Waits for so many more outcomes; answers with them."""
        begun = len(self.decided())
        self.wait_for(lambda plc: len(plc.decided()) >= begun + count, timeout, f"{count} more outcomes")
        return self.decided()[begun:]

    def stop(self):
        self.is_over.set()
        self.join()

    def evidence(self):
        return [asdict(part) for part in self.parts]

    # --- the wire ---------------------------------------------------------------------------------------------------

    def ask(self, function, body):
        self.transaction = (self.transaction + 1) & 0xFFFF
        request = struct.pack(">HHHBB", self.transaction, 0, 2 + len(body), 1, function) + body
        try:
            self.connection.sendall(request)
            transaction, _, length, _ = struct.unpack(">HHHB", self.receive(7))
            answer = self.receive(length - 1)
        except (OSError, EOFError) as error:
            raise LinkLost(str(error)) from error
        if transaction != self.transaction or answer[0] != function:
            raise LinkLost(f"an answer to something else: {answer.hex()}")
        return answer[1:]

    def receive(self, length):
        data = b""
        while len(data) < length:
            part = self.connection.recv(length - len(data))
            if not part:
                raise EOFError("closed")
            data += part
        return data

    def read(self):
        answer = self.ask(4, struct.pack(">HH", 0, 44))
        return list(struct.unpack(">44H", answer[1:89]))

    def write(self):
        """Data before the control word."""
        self.ask(16, struct.pack(">HHB33H", 1, 33, 66, *self.out[1:34]))
        self.ask(6, struct.pack(">HH", 0, self.out[0]))

    def set_u32(self, at, value):
        self.out[at], self.out[at + 1] = value >> 16, value & 0xFFFF

    def u32(self, at):
        return self.block[at] << 16 | self.block[at + 1]

    # --- the program ------------------------------------------------------------------------------------------------

    def run(self):
        while not self.is_over.is_set():
            begun = time.monotonic()
            try:
                if self.connection is None:
                    self.connection = socket.create_connection(("127.0.0.1", self.port), timeout=RESPONSE_S)
                self.scan()
            except (LinkLost, OSError):
                self.disconnect()
            self.is_over.wait(max(0.0, begun + SCAN_S - time.monotonic()))
        self.disconnect()

    def disconnect(self):
        if self.connection is not None:
            self.connection.close()
        self.connection, self.status = None, 0
        self.begin_anew()

    def scan(self):
        self.block = self.read()
        now = time.monotonic()
        self.status = self.block[0]
        if self.u32(32) != 0x01020304:
            raise LinkLost("not a station")
        if self.boot_id != self.block[30]:
            self.station_started()
        if self.session == 0:
            self.session = self.block[31] % 0xFFFF + 1
        if self.status & ACCEPT and not (self.status & RESULT_VALID and self.block[10] == 1 and self.accepts(self.u32(4))):
            self.violations.append(f"Accept without a good part of this life: status {self.status:#06x}, EchoCycleId {self.u32(4)}")
        if now - self.beaten >= HEARTBEAT_S:
            self.beaten = now
            self.out[3] = (self.out[3] + 1) & 0xFFFF
        self.out[24] = self.session
        self.out[0] |= ONLINE | TRIGGER_ENABLE
        self.out[0] = self.out[0] | CLEAR_ERROR if self.is_clearing.is_set() else self.out[0] & ~CLEAR_ERROR
        self.step()
        self.write()

    def accepts(self, cycle_id):
        """Whether a part may be passed: the one at the gate, triggered in this life of the station."""
        return any(part.cycle_id == cycle_id and part.boot_id == self.boot_id for part in self.parts[-2:])

    def station_started(self):
        self.boot_id = self.block[30]
        self.begin_anew()

    def begin_anew(self):
        """Whatever was open is rejected: nobody knows what was seen of it. Its CycleId is not used again."""
        self.out[0] &= ~(TRIGGER | RESULT_ACK)
        self.part = None
        self.step = self.ready

    def ready(self):
        """Waits for TriggerReady, then presents the next CycleId."""
        self.out[0] &= ~RESULT_ACK
        if not (self.status & TRIGGER_READY and self.is_triggering.is_set()):
            return
        self.cycle_id += 1
        self.set_u32(4, self.cycle_id)
        self.set_u32(32, self.cycle_id)
        self.step = self.trigger

    def trigger(self):
        """A scan after the CycleId comes the edge."""
        self.part = Part(self.cycle_id, self.session, self.boot_id, time.monotonic())
        self.parts.append(self.part)
        self.out[0] |= TRIGGER
        self.step = self.answered

    def answered(self):
        if self.u32(36) != self.cycle_id or not self.status & (TRIGGER_ACK | MISSED_TRIGGER):
            return
        is_taken = bool(self.status & TRIGGER_ACK)
        self.part.answer = "ack" if is_taken else "missed"
        self.out[0] &= ~TRIGGER
        self.step = self.decide if is_taken else self.ready

    def decide(self):
        if not self.status & RESULT_VALID or self.u32(4) != self.cycle_id or self.u32(8) != self.u32(42):
            return
        self.part.verdict = VERDICTS[self.block[10]]
        self.part.reason = self.block[13]
        self.part.accept = bool(self.status & ACCEPT)
        self.part.shown = time.monotonic()
        self.set_u32(26, self.u32(8))
        self.out[0] |= RESULT_ACK
        self.step = self.acknowledged

    def acknowledged(self):
        if not self.status & RESULT_VALID:
            self.step = self.ready
            self.out[0] &= ~RESULT_ACK
