"""A line controller of another make: its messages are generated from the protos by grpcio-tools, the rest is written from proto/takt/v1 alone.

Gives cycles, waits for each verdict, acknowledges it. With --drop-after N it loses its connection after the answer to the cycle after the Nth,
connects again and resumes. Prints one JSON object for each result and one in the end; its "violations" are what the station must never do.
"""

import argparse
import importlib
import json
import pathlib
import queue
import sys
import tempfile
import threading

import grpc
from grpc_tools import protoc

VERDICTS = {1: "ok", 2: "not_ok", 3: "not_decidable"}
HEARTBEAT_S = 0.1


def generated(protos, folder):
    """The generated modules of station.proto: messages and client."""
    files = [str(path.relative_to(protos)) for path in sorted(protos.glob("takt/v1/*.proto"))]
    # google/protobuf is not needed: the contract stands alone.
    failed = protoc.main(["protoc", f"-I{protos}", f"--python_out={folder}", f"--grpc_python_out={folder}", *files])
    if failed:
        sys.exit(f"protoc refused the protos: {failed}")
    sys.path.insert(0, str(folder))
    return importlib.import_module("takt.v1.station_pb2"), importlib.import_module("takt.v1.station_pb2_grpc")


def channel(args):
    if not args.ca:
        return grpc.insecure_channel(args.target)
    read = lambda path: pathlib.Path(path).read_bytes() if path else None
    return grpc.secure_channel(args.target, grpc.ssl_channel_credentials(read(args.ca), read(args.key), read(args.certificate)))


class Connection:
    """One call of Control: what is sent goes through a queue, a thread says that we live."""

    def __init__(self, pb, stub):
        self.pb = pb
        self.requests = queue.Queue()
        self.ended = threading.Event()
        self.call = stub.Control(iter(self.requests.get, None))
        self.alive = threading.Thread(target=self.beat, daemon=True)

    def attach(self, session, resume_after):
        self.send(attach=self.pb.Attach(plc_session=session, resume_after_result_id=resume_after, resume_session=True))
        self.alive.start()

    def beat(self):
        while not self.ended.wait(HEARTBEAT_S):
            self.send(heartbeat=self.pb.Heartbeat())

    def send(self, **message):
        self.requests.put(self.pb.ControlRequest(**message))

    def messages(self):
        for response in self.call:
            kind = response.WhichOneof("message")
            yield kind, getattr(response, kind)

    def close(self):
        self.ended.set()
        self.alive.join()
        self.requests.put(None)
        self.call.cancel()


class Controller:
    def __init__(self, args, pb, stub):
        self.args, self.pb, self.stub = args, pb, stub
        self.last_result = args.resume_after
        self.seen, self.violations = {}, []
        self.answered = self.passed = self.repeated = self.reconnects = 0

    def connect(self):
        connection = Connection(self.pb, self.stub)
        connection.attach(self.args.session, self.last_result)
        messages = connection.messages()
        self.until(messages, lambda kind, message: kind == "attached" and self.may_give(message))
        self.until(messages, lambda kind, message: kind == "ready" and message.ready)
        return connection, messages

    def may_give(self, attached):
        if not attached.gives_cycles:
            sys.exit(f"the station takes no cycles here: {attached.refusal}")
        return True

    def until(self, messages, found):
        """Reads messages until one is what is waited for. Results are noted whenever they come."""
        for kind, message in messages:
            if kind == "result":
                self.note(message)
            if found(kind, message):
                return
        sys.exit("the station ended the call without a reason")

    def note(self, result):
        verdict = VERDICTS.get(result.outcome.verdict, "not_decidable")
        if result.cycle_id in self.seen and not result.repeated:
            self.violations.append(f"cycle {result.cycle_id} has two outcomes")
        if self.passes(result) and (verdict != "ok" or result.repeated):
            self.violations.append(f"cycle {result.cycle_id} passes as {verdict}, repeated {result.repeated}")
        before = self.seen.get(result.cycle_id)
        if before and before != (result.result_id, verdict):
            self.violations.append(f"cycle {result.cycle_id} was {before}, is {(result.result_id, verdict)}")
        self.seen[result.cycle_id] = (result.result_id, verdict)
        self.passed += self.passes(result)
        self.repeated += result.repeated
        if result.result_id:
            self.last_result = result.result_id
        line = {"cycle_id": result.cycle_id, "result_id": result.result_id, "verdict": verdict, "pass": self.passes(result), "repeated": result.repeated}
        print(json.dumps(line), flush=True)

    @staticmethod
    def passes(result):
        # `pass` is a word of Python's own.
        return getattr(result, "pass")

    def run(self):
        connection, messages = self.connect()
        for count in range(self.args.cycles):
            cycle_id = self.args.start_cycle + count
            connection.send(cycle=self.pb.Cycle(cycle_id=cycle_id, encoder=cycle_id, serial=f"P{cycle_id}"))

            def answered(kind, message):
                if kind != "answer":
                    return False
                if message.cycle_id != cycle_id or not message.acknowledged:
                    self.violations.append(f"cycle {cycle_id} was answered by {message}")
                self.answered += 1
                return True

            self.until(messages, answered)
            if self.args.drop_after == count:
                connection.close()
                self.reconnects += 1
                connection, messages = self.connect()
            if cycle_id not in self.seen:
                self.until(messages, lambda kind, message: cycle_id in self.seen)
            connection.send(ack=self.pb.ResultAck(result_id=self.seen[cycle_id][0]))
        connection.close()
        print(json.dumps({
            "answered": self.answered,
            "results": len(self.seen),
            "passed": self.passed,
            "repeated": self.repeated,
            "reconnects": self.reconnects,
            "violations": self.violations,
        }), flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--target", required=True, help="host:port")
    parser.add_argument("--protos", required=True, type=pathlib.Path, help="folder that takt/v1 lies in")
    parser.add_argument("--cycles", type=int, default=10)
    parser.add_argument("--start-cycle", type=int, default=1)
    parser.add_argument("--session", type=int, default=1)
    parser.add_argument("--resume-after", type=int, default=0)
    parser.add_argument("--drop-after", type=int, default=-1)
    parser.add_argument("--ca")
    parser.add_argument("--certificate")
    parser.add_argument("--key")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        pb, services = generated(args.protos, folder)
        with channel(args) as connected:
            Controller(args, pb, services.StationServiceStub(connected)).run()


if __name__ == "__main__":
    main()
