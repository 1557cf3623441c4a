"""The machine under test: a qemu process, what it prints while it boots, and a root shell on its second serial port."""

import ctypes
import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

SHELL_WAIT_S = 300


class Failed(Exception):
    """Something did not happen as it should."""


class Skipped(Exception):
    """A step cannot be done here: why."""


class Machine:
    """One life of the machine: from power-on to power-off or power cut."""

    def __init__(self, work, root, data_socket, exchange, plc_port, memory_mib, processors, shell_path, is_bare=False):
        self.work = work
        self.begun = time.monotonic()
        self.console = work / "console.log"
        self.shell_path = shell_path
        self.shell_path.unlink(missing_ok=True)
        self.console.unlink(missing_ok=True)
        self.log = open(work / "shell.log", "ab")
        command = line(work, root, data_socket, exchange, plc_port, memory_mib, processors, self.console, self.shell_path, is_bare)
        with open(work / "qemu.log", "ab") as output:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, preexec_fn=end_with_parent)
        self.shell = None
        self.serial = 0
        self.received = b""
        self.used = 0.0

    def age(self):
        """Seconds since power-on."""
        return time.monotonic() - self.begun

    def processor_seconds(self):
        """Processor time that the emulation has used: says more than the clock on a host that is busy with other things."""
        if self.process.poll() is None:
            fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
            self.used = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return self.used

    # --- the shell --------------------------------------------------------------------------------------------------

    def connect(self):
        """Waits for the shell: the first thing that the machine starts."""
        deadline = time.monotonic() + SHELL_WAIT_S
        while self.shell is None:
            self.check_alive(deadline, "its serial port")
            try:
                connection = socket.socket(socket.AF_UNIX)
                connection.connect(str(self.shell_path))
                self.shell = connection
            except OSError:
                connection.close()
                time.sleep(0.1)
        # The shell says so when it is there; whatever is sent before would be lost or echoed.
        self.wait_for(rb"@@SHELL@@", SHELL_WAIT_S)

    def run(self, command, timeout=120.0, may_fail=False):
        """Runs a command line as root in the machine: what it prints."""
        if self.shell is None:
            self.connect()
        self.serial += 1
        begin, end = f"@@B{self.serial}@@", f"@@E{self.serial}:"
        # The mark is put together by printf, so that an echo of the command would not be taken for it.
        self.shell.sendall(f"printf '@@B%s@@\\n' {self.serial}; {{ {command}\n}} 2>&1; printf '\\n@@E%s:%s@@\\n' {self.serial} $?\n".encode())
        self.wait_for(begin.encode(), timeout)
        matched, before = self.wait_for(re.escape(end.encode()) + rb"(\d+)@@", timeout)
        output = before.decode(errors="replace").replace("\r", "").strip("\n")
        if matched.group(1) != b"0" and not may_fail:
            raise Failed(f"`{command}` gave {int(matched.group(1))}: {output[-600:]}")
        return output

    def wait_for(self, pattern, timeout):
        deadline = time.monotonic() + timeout
        while True:
            matched = re.search(pattern, self.received)
            if matched:
                before, self.received = self.received[: matched.start()], self.received[matched.end() :]
                return matched, before
            self.check_alive(deadline, pattern.decode(errors="replace"))
            self.shell.settimeout(1.0)
            try:
                data = self.shell.recv(65536)
            except TimeoutError:
                continue
            if not data:
                time.sleep(0.1)
            self.log.write(data)
            self.log.flush()
            self.received += data

    def until(self, command, wanted, timeout=180.0):
        """Runs a command again and again until what it prints fits; what it printed."""
        deadline = time.monotonic() + timeout
        while True:
            output = self.run(command, may_fail=True)
            if re.search(wanted, output):
                return output
            if time.monotonic() > deadline:
                raise Failed(f"`{command}` still says, after {timeout:.0f} s: {output[-600:]}")
            time.sleep(0.3)

    def check_alive(self, deadline, what):
        if self.process.poll() is not None:
            raise Failed(f"the machine is gone (qemu ended with {self.process.returncode}) while waiting for {what}; see {self.work}/qemu.log")
        if time.monotonic() > deadline:
            raise Failed(f"nothing came of {what}; see {self.console}")

    # --- its end ----------------------------------------------------------------------------------------------------

    def power_off(self, timeout=180.0):
        """Shuts down in order."""
        self.shell.sendall(b"systemctl poweroff\n")
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise Failed(f"the machine does not power off; see {self.console}") from None
        finally:
            self.cut()

    def cut(self):
        """Cuts the power: no instruction more is executed. Also what ends the process whatever happens."""
        self.processor_seconds()
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()
        if self.shell is not None:
            self.shell.close()
            self.shell = None
        self.log.close()


def end_with_parent():
    """The kernel ends qemu when whoever started it is gone, however it went."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def line(work, root, data_socket, exchange, plc_port, memory_mib, processors, console, shell, is_bare):
    """The command line of qemu: emulation in software alone, so that it runs the same on every host. Bare: the clock has lost its time, no camera is there."""
    # A host that is busy lets the machine stand still for moments that its kernel would take for broken timers and stuck processors. A panic ends qemu.
    patience = "no_timer_check nowatchdog rcupdate.rcu_cpu_stall_suppress=1 panic=-1"
    arguments = f"console=ttyS0 rw quiet loglevel=4 mitigations=off net.ifnames=0 random.trust_cpu=on systemd.show_status=1 systemd.log_color=0 {patience}"
    bare = []
    if is_bare:
        arguments += " modprobe.blacklist=vivid"
        bare = ["-rtc", "base=1970-01-01T00:00:00"]
    return [
        *("qemu-system-x86_64", "-machine", "q35", "-accel", "tcg,thread=multi,tb-size=512", "-cpu", "max"),
        *bare,
        *("-smp", str(processors), "-m", str(memory_mib), "-nodefaults", "-display", "none", "-no-reboot"),
        *("-kernel", str(work / "vmlinuz"), "-initrd", str(work / "initrd"), "-append", arguments),
        *("-drive", f"file={root},format=qcow2,if=virtio,cache=writeback"),
        *("-drive", f"driver=raw,file.driver=nbd,file.server.type=unix,file.server.path={data_socket},if=virtio,cache=writeback"),
        *("-drive", f"file={exchange},format=raw,if=virtio,cache=writeback"),
        *("-netdev", f"user,id=line,restrict=on,hostfwd=tcp:127.0.0.1:{plc_port}-:1502", "-device", "virtio-net-pci,netdev=line"),
        *("-device", "virtio-rng-pci"),
        *("-chardev", f"file,id=console,path={console}", "-serial", "chardev:console"),
        *("-chardev", f"socket,id=shell,path={shell},server=on,wait=off", "-serial", "chardev:shell"),
    ]
