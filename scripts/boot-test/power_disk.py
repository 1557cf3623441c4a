"""A disk with a volatile write cache, for a power cut that is worth the name.

qemu reaches it over NBD on a Unix socket. What the guest writes lies in a cache until the guest flushes it (FLUSH, or a write
with FUA); at a power cut each sector that was not flushed is lost with probability 1/2, as seeded: writes are torn and reordered
as a real disk may tear and reorder them. A program that forgets a flush loses data here; killing qemu alone would not show it,
since the host's page cache outlives qemu.
"""

import os
import random
import socket
import struct
import threading
import time

SECTOR = 512

MAGIC, OPTION_MAGIC, REPLY_MAGIC = b"NBDMAGIC", b"IHAVEOPT", 0x3E889045565A9
REQUEST_MAGIC, SIMPLE_REPLY_MAGIC = 0x25609513, 0x67446698
FIXED_NEWSTYLE, NO_ZEROES = 1, 2
HAS_FLAGS, SEND_FLUSH, SEND_FUA = 1, 4, 8
OPT_EXPORT_NAME, OPT_ABORT, OPT_INFO, OPT_GO = 1, 2, 6, 7
REP_ACK, REP_INFO, REP_ERR_UNSUP = 1, 3, 0x80000001
READ, WRITE, DISCONNECT, FLUSH = 0, 1, 2, 3
FUA = 1
EINVAL = 22

# How long a flush takes, as flash memory of the cheaper kind does: a flush that takes no time is hardly ever cut off.
FLUSH_S = 0.03


class PowerDisk:
    """Serves a file as a disk on a socket, one machine after the other."""

    def __init__(self, file, socket_path):
        self.size = os.path.getsize(file)
        self.file = os.open(file, os.O_RDWR)
        self.pending = {}
        self.flushes = 0
        self.socket_path = socket_path
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(socket_path)
        self.listener.listen(1)
        self.idle = threading.Event()
        self.idle.set()
        threading.Thread(target=self.serve, name="power disk", daemon=True).start()

    def cut(self, random_source: random.Random):
        """The power is gone: what was not flushed survives by chance. Returns how many sectors were pending and how many are lost.

        To be called once the machine is dead; waits until its connection is closed.
        """
        self.idle.wait()
        lost = 0
        for sector, data in sorted(self.pending.items()):
            if random_source.random() < 0.5:
                lost += 1
            else:
                os.pwrite(self.file, data, sector * SECTOR)
        pending = len(self.pending)
        self.pending.clear()
        return pending, lost

    def settle(self):
        """An orderly end: the machine has flushed what it cares for; the rest had time to be written."""
        self.idle.wait()
        self.flush()

    def serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.idle.clear()
            try:
                with connection:
                    if self.shake_hands(connection):
                        self.answer(connection)
            except (ConnectionError, EOFError):
                pass  # the machine was killed
            finally:
                self.idle.set()

    def shake_hands(self, connection):
        connection.sendall(MAGIC + OPTION_MAGIC + struct.pack(">H", FIXED_NEWSTYLE | NO_ZEROES))
        receive(connection, 4)
        flags = HAS_FLAGS | SEND_FLUSH | SEND_FUA
        while True:
            _, option, length = struct.unpack(">8sII", receive(connection, 16))
            receive(connection, length)
            if option in (OPT_GO, OPT_INFO):
                reply(connection, option, REP_INFO, struct.pack(">HQH", 0, self.size, flags))
                reply(connection, option, REP_ACK)
                if option == OPT_GO:
                    return True
            elif option == OPT_EXPORT_NAME:
                connection.sendall(struct.pack(">QH", self.size, flags))
                return True
            elif option == OPT_ABORT:
                reply(connection, option, REP_ACK)
                return False
            else:
                reply(connection, option, REP_ERR_UNSUP)

    def answer(self, connection):
        while True:
            _, flags, command, handle, offset, length = struct.unpack(">IHHQQI", receive(connection, 28))
            error, data = 0, b""
            if command == READ:
                data = self.read(offset, length)
            elif command == WRITE:
                self.write(offset, receive(connection, length), flags & FUA)
            elif command == FLUSH:
                time.sleep(FLUSH_S)
                self.flush()
            elif command == DISCONNECT:
                return
            else:
                error = EINVAL
            connection.sendall(struct.pack(">IIQ", SIMPLE_REPLY_MAGIC, error, handle) + data)

    def read(self, offset, length):
        data = bytearray(os.pread(self.file, length, offset))
        if self.pending:
            for at in range(0, length, SECTOR):
                sector = self.pending.get((offset + at) // SECTOR)
                if sector is not None:
                    data[at : at + SECTOR] = sector
        return bytes(data)

    def write(self, offset, data, is_through):
        for at in range(0, len(data), SECTOR):
            sector = (offset + at) // SECTOR
            if is_through:
                self.pending.pop(sector, None)
            else:
                self.pending[sector] = data[at : at + SECTOR]
        if is_through:
            os.pwrite(self.file, data, offset)

    def flush(self):
        for sector, data in self.pending.items():
            os.pwrite(self.file, data, sector * SECTOR)
        self.pending.clear()
        self.flushes += 1


def reply(connection, option, kind, data=b""):
    connection.sendall(struct.pack(">QIII", REPLY_MAGIC, option, kind, len(data)) + data)


def receive(connection, length):
    data = bytearray()
    while len(data) < length:
        part = connection.recv(length - len(data))
        if not part:
            raise EOFError
        data += part
    return bytes(data)
