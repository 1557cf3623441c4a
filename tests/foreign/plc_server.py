#!/usr/bin/env python3
"""The same PLC program (plc_master.py) in a PLC that is the Modbus server: the station polls it and writes into its registers.

The server is pymodbus; the program looks at its own memory and never at the wire. On request it drops the station's connection now and then, and
restarts with a memory of zeros. Prints and exits as plc_master.py does.
"""

import asyncio
import logging
import random
import sys
import threading
import time

from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

import plc_master
from plc_master import Plc, Unusable

READ_HOLDING, WRITE_HOLDING = 3, 16
REGISTERS = 2000
MAGIC_AT = 32


class Memory:
    """A server with holding registers, on a thread of its own. Closing it loses what it held."""

    def __init__(self, host, port):
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.server = self.ask(self.listen(host, port))

    async def listen(self, host, port):
        registers = SimData(0, values=0, count=REGISTERS, datatype=DataType.REGISTERS)
        server = ModbusTcpServer(SimDevice(1, simdata=[registers]), address=(host, port))
        await server.serve_forever(background=True)
        return server

    def ask(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(10)

    def get(self, address, count):
        return self.ask(self.server.async_getValues(1, READ_HOLDING, address, count))

    def put(self, address, values):
        self.ask(self.server.async_setValues(1, WRITE_HOLDING, address, values))

    def drop(self):
        """The cable is pulled, and put back."""

        async def close():
            for connection in list(self.server.active_connections.values()):
                connection.close()

        self.ask(close())

    def close(self):
        self.ask(self.server.shutdown())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()


class ServerPlc(Plc):
    """A PLC whose wire is its own memory."""

    def __init__(self, options):
        super().__init__(options)
        self.drops = random.Random(options.seed)
        self.dropped = 0

    def connect(self):
        give_up = time.monotonic() + self.options.ready_timeout
        while True:
            try:
                self.client = Memory(self.options.host, self.options.port)
                break
            except RuntimeError as error:
                # The port of before may not be free yet.
                if time.monotonic() > give_up:
                    raise Unusable(f"failed to listen on {self.options.host}:{self.options.port}: {error}") from error
                time.sleep(0.05)
        self.written = None
        # Nothing is decided by a memory that the station has not written yet.
        while plc_master.u32(self.client.get(self.options.write_base + MAGIC_AT, 2), 0) == 0:
            if time.monotonic() > give_up:
                raise Unusable("the station writes nothing")
            self.expire(time.monotonic())
            time.sleep(0.005)

    def read(self, address, count):
        return self.client.get(self.options.write_base + address, count)

    def write(self):
        """Data before the control word."""
        self.client.put(self.options.read_base + 1, self.out.block())
        self.client.put(self.options.read_base, [self.out.control])

    def scan(self):
        if self.options.drop_share and self.client and self.drops.random() < self.options.drop_share:
            self.client.drop()
            self.dropped += 1
        super().scan()

    def summary(self):
        return {**super().summary(), "dropped": self.dropped}


def main():
    logging.getLogger("pymodbus").setLevel(logging.CRITICAL)
    logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)
    parser = plc_master.parser()
    parser.add_argument("--read-base", type=int, default=0, help="first register that the station reads")
    parser.add_argument("--write-base", type=int, default=1000, help="first register that the station writes")
    parser.add_argument("--drop-share", type=float, default=0.0, help="share of scans in which the station's connection is dropped")
    parser.add_argument("--seed", type=int, default=1, help="of these scans")
    return plc_master.report(ServerPlc(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
