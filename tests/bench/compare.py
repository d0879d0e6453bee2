#!/usr/bin/env python3
"""Compares Kvorum with its peers, side by side on this machine, and prints one markdown row per figure.

See README.md beside this file for what is measured and how. Python's standard library only. Peers that are not installed
are left out with a note; nothing is installed here.
"""

import argparse
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
MILLION = 1_000_000
START_TIMEOUT_S = 120
TTL_MS = 86_400_000
VALUE_BYTES = 64


def note(text):
    print(text, file=sys.stderr, flush=True)


def row(what, ours, peer, ratio, goal, method):
    print(f"| {what} | {ours} | {peer} | {ratio:.2f} | {goal} | {method} |", flush=True)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def key_of(number):
    return b"key:%012d" % number


def value_of(number):
    return b"%016d" % number * (VALUE_BYTES // 16)


# === Servers


class Server:
    """A process with a port of 127.0.0.1 and a directory of its own, ended with the `with` block."""

    name = ""

    def settle(self):
        """Whatever lets the server's memory come to rest before it is measured."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.port = free_port()
        self.process = None

    def command(self):
        """The command line and the environment to add."""
        raise NotImplementedError

    def is_ready(self):
        raise NotImplementedError

    def start(self):
        """Starts the process and returns how many seconds passed until it was ready."""
        command, environment = self.command()
        log = open(self.directory / f"{self.name}.log", "ab")
        started = time.monotonic()
        self.process = subprocess.Popen(
            command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.directory, env=os.environ | environment
        )
        while True:
            try:
                if self.is_ready():
                    return time.monotonic() - started
            except (OSError, http.client.HTTPException):
                pass
            if self.process.poll() is not None:
                tail = (self.directory / f"{self.name}.log").read_text(errors="replace")[-2000:]
                raise SystemExit(f"{self.name} ended with {self.process.returncode}:\n{tail}")
            if time.monotonic() - started > START_TIMEOUT_S:
                raise SystemExit(f"{self.name} was not ready within {START_TIMEOUT_S} s")
            time.sleep(0.005)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(timeout=START_TIMEOUT_S)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def resident_bytes(self):
        """Resident memory, once it has not moved by more than 1 % for two seconds."""
        before = 0
        for _ in range(30):
            status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
            now = int(re.search(r"^VmRSS:\s+(\d+) kB", status, re.M)[1]) * 1024
            if before and abs(now - before) < before / 100:
                return now
            before = now
            time.sleep(2)
        raise SystemExit(f"the memory of {self.name} does not settle")


class Kvorum(Server):
    """Everything that knows Kvorum's command line, settings and paths."""

    name = "kvorum"

    def command(self):
        settings = {
            "KVORUM_HTTP__LISTEN": f"127.0.0.1:{self.port}",
            "KVORUM_DATA__DIR": str(self.directory / "data"),
            "KVORUM_LOG__LEVEL": "warn",
            # Snapshots are taken when the comparison asks for one, not in the middle of another measurement.
            "KVORUM_SNAPSHOT__EVERY_BYTES": str(1 << 40),
            "KVORUM_SNAPSHOT__EVERY_ENTRIES": str(1 << 40),
        }
        return [str(build_kvorum()), "serve"], settings

    def call(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=START_TIMEOUT_S)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def is_ready(self):
        return self.call("GET", "/readyz")[0] == 200

    def count(self):
        return json.loads(self.call("GET", "/v1/stats")[1])["store"]["keys"]

    def settle(self):
        """Purges the log, whose index in memory (32 bytes an entry, bounded by wal.keep_bytes) is no part of a key, and
        gives the allocator time to return what it freed."""
        self.snapshot()
        time.sleep(2)

    def snapshot(self):
        status, body = self.call("POST", "/v1/admin/compact")
        if status >= 300:
            raise SystemExit(f"compact: {status} {body!r}")

    def fill(self, first, last, ttl):
        query = b"?ttl_ms=%d" % TTL_MS if ttl else b""
        head = b" HTTP/1.1\r\nHost: k\r\nContent-Length: %d\r\n\r\n" % VALUE_BYTES

        def request(number):
            return b"PUT /v1/kv/" + key_of(number) + query + head + value_of(number)

        def answered(text):
            good = text.count(b"HTTP/1.1 20")
            if good != text.count(b"HTTP/1.1 "):
                raise SystemExit(f"kvorum refused a write: {text[:500]!r}")
            return good

        fill(self.port, first, last, request, answered)


class Redis(Server):
    name = "redis-server"

    def command(self):
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.directory)]
        return [self.name, *options, "--save", "", "--appendonly", "no"], {}

    def call(self, *words):
        with socket.create_connection(("127.0.0.1", self.port), timeout=START_TIMEOUT_S) as connection:
            connection.sendall(resp(*words))
            return connection.makefile("rb").readline().strip()

    def is_ready(self):
        return self.call(b"PING") == b"+PONG"  # -LOADING until the file is read

    def count(self):
        return int(self.call(b"DBSIZE")[1:])

    def snapshot(self):
        if self.call(b"SAVE") != b"+OK":
            raise SystemExit(f"{self.name}: SAVE failed")

    def stop(self):
        try:
            self.call(b"SHUTDOWN", b"NOSAVE")
        except OSError:
            pass
        self.process.wait(timeout=START_TIMEOUT_S)

    def fill(self, first, last, ttl):
        lifetime = [b"PX", b"%d" % TTL_MS] if ttl else []

        def request(number):
            return resp(b"SET", key_of(number), value_of(number), *lifetime)

        def answered(text):
            if b"-" in text:
                raise SystemExit(f"{self.name} refused a write: {text[:500]!r}")
            return text.count(b"+OK\r\n")

        fill(self.port, first, last, request, answered)


class Valkey(Redis):
    name = "valkey-server"


class BareHyper(Server):
    """The server of hyper_bare.rs: hyper with a constant answer."""

    name = "hyper_bare"

    def command(self):
        return [str(build_hyper()), f"127.0.0.1:{self.port}"], {}

    def is_ready(self):
        with socket.create_connection(("127.0.0.1", self.port)):
            return True


def resp(*words):
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


def peers():
    found = [peer for peer in (Redis, Valkey) if shutil.which(peer.name)]
    for peer in (Redis, Valkey):
        if peer not in found:
            note(f"{peer.name} is not installed and left out")
    return found


# === Load

CONNECTIONS = 64
PIPELINE = 32


def fill(port, first, last, request, answered):
    """Sends the requests of all numbers over many connections, pipelined, and waits for every answer."""
    failures = []

    def work(numbers):
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=START_TIMEOUT_S) as connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for start in range(0, len(numbers), PIPELINE):
                    batch = numbers[start : start + PIPELINE]
                    connection.sendall(b"".join(map(request, batch)))
                    receive(connection, len(batch), answered)
        except BaseException as failure:  # a thread's exit does not end the program
            failures.append(failure)

    shares = [range(first + share, last, CONNECTIONS) for share in range(CONNECTIONS)]
    threads = [threading.Thread(target=work, args=(share,)) for share in shares]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise SystemExit(f"filling failed: {failures[0]!r}")


def receive(connection, count, answered):
    text = b""
    while answered(text) < count:
        part = connection.recv(1 << 16)
        if not part:
            raise SystemExit(f"connection closed after {text[-500:]!r}")
        text += part


def wrk(url, seconds, *, connections=32, script=None):
    """Requests per second, and the p99 of the latency in milliseconds."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency"]
    if script:
        command += ["-s", str(script)]
    output = subprocess.run([*command, url], check=True, capture_output=True, text=True).stdout
    errors = re.search(r"Socket errors: (.*)|Non-2xx or 3xx responses: (.*)", output)
    if errors:
        raise SystemExit(f"wrk {url}: {errors[0]}")
    amount, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)\b", output).groups()
    per_second = float(re.search(r"Requests/sec:\s+([\d.]+)", output)[1])
    return per_second, float(amount) * {"us": 0.001, "ms": 1, "s": 1000}[unit]


# === Builds


def built(kind, name):
    """Builds a target in release mode and returns the path of its program."""
    command = ["cargo", "build", "--release", "--locked", f"--{kind}", name, "--message-format=json"]
    output = subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.PIPE, text=True).stdout
    for line in reversed(output.splitlines()):
        message = json.loads(line)
        if message.get("executable") and message["target"]["name"] == name:
            return pathlib.Path(message["executable"])
    raise SystemExit(f"cargo built no {name}")


programs = {}


def build_kvorum():
    if "kvorum" not in programs:
        programs["kvorum"] = built("bin", "kvorum")
    return programs["kvorum"]


def build_hyper():
    if "hyper" not in programs:
        programs["hyper"] = built("bench", "hyper_bare")
    return programs["hyper"]


# === Comparisons


def memory(options):
    """Bytes resident per key: the slope from n to 2n keys, so that what a server needs anyway drops out."""

    def slope(kind, ttl):
        with tempfile.TemporaryDirectory(dir=options.dir) as directory, kind(directory) as server:
            sizes = []
            for step in (0, 1):
                server.fill(step * options.keys, (step + 1) * options.keys, ttl)
                if server.count() != (step + 1) * options.keys:
                    raise SystemExit(f"{server.name} holds {server.count()} keys")
                server.settle()
                sizes.append(server.resident_bytes())
            bytes_per_key = (sizes[1] - sizes[0]) / options.keys
            note(f"{server.name} ttl={ttl}: {sizes[0]} -> {sizes[1]} bytes, {bytes_per_key:.1f} a key")
            return bytes_per_key

    for ttl in (False, True):
        ours = slope(Kvorum, ttl)
        for peer in peers():
            theirs = slope(peer, ttl)
            what = f"bytes per key{' with a TTL' if ttl else ''} vs {peer.name}"
            method = f"RSS slope from {options.keys} to {2 * options.keys} keys of 16 + {VALUE_BYTES} bytes"
            goal = "<= 0.75" if peer is Redis else "reported"
            row(what, f"{ours:.0f}", f"{theirs:.0f}", ours / theirs, goal, method)


def restart(options):
    """Time from starting the process until it serves, with n keys in a snapshot."""

    def median(kind):
        with tempfile.TemporaryDirectory(dir=options.dir) as directory, kind(directory) as server:
            server.fill(0, options.keys, False)
            server.snapshot()
            times = []
            for _ in range(options.rounds):
                server.stop()
                times.append(server.start())
                if server.count() != options.keys:
                    raise SystemExit(f"{server.name} came back with {server.count()} keys")
            note(f"{server.name}: {', '.join(f'{t:.3f}' for t in times)} s")
            return statistics.median(times)

    ours = median(Kvorum)
    for peer in peers():
        theirs = median(peer)
        method = f"start of the process until ready, {options.keys} keys in a snapshot, median of {options.rounds}"
        goal = "<= 1.0" if peer is Redis else "reported"
        row(f"restart vs {peer.name}", f"{ours:.2f} s", f"{theirs:.2f} s", ours / theirs, goal, method)


def get(options):
    """HTTP GET of a 64-byte value against hyper with a constant answer, in turns."""
    with tempfile.TemporaryDirectory(dir=options.dir) as directory:
        with Kvorum(directory) as kvorum, BareHyper(directory) as hyper:
            kvorum.fill(0, 1000, False)
            path = "/v1/kv/" + key_of(7).decode()
            ours, theirs = [], []
            for _ in range(options.rounds):
                theirs.append(wrk(f"http://127.0.0.1:{hyper.port}{path}", options.seconds)[0])
                ours.append(wrk(f"http://127.0.0.1:{kvorum.port}{path}", options.seconds)[0])
            note(f"kvorum {ours}, hyper {theirs}")
    ours, theirs = statistics.median(ours), statistics.median(theirs)
    method = f"wrk, 1 thread, 32 connections, {options.rounds} x {options.seconds} s in turns, medians"
    row("HTTP GET vs bare hyper", f"{ours:.0f}/s", f"{theirs:.0f}/s", ours / theirs, ">= 0.8", method)


# Overwrites random keys of those that `fill` wrote.
PUT_SCRIPT = """
request = function()
  local key = string.format("/v1/kv/key:%%012d", math.random(0, %d))
  return wrk.format("PUT", key, nil, string.rep("v", 64))
end
"""


def snapshot(options):
    """p99 of durable writes over HTTP while snapshots are taken one after the other, against without."""
    with tempfile.TemporaryDirectory(dir=options.dir) as directory, Kvorum(directory) as kvorum:
        script = pathlib.Path(directory) / "put.lua"
        script.write_text(PUT_SCRIPT % (options.keys - 1))
        kvorum.fill(0, options.keys, False)
        url = f"http://127.0.0.1:{kvorum.port}/"
        quiet, busy, taken = [], [], 0
        for _ in range(options.rounds):
            quiet.append(wrk(url, options.seconds, script=script)[1])
            stop = threading.Event()
            counts = []
            taker = threading.Thread(target=take_snapshots, args=(kvorum, stop, counts))
            taker.start()
            busy.append(wrk(url, options.seconds, script=script)[1])
            stop.set()
            taker.join()
            taken += len(counts)
        if taken == 0:
            raise SystemExit("no snapshot was taken meanwhile")
        note(f"p99 without {quiet} ms, with {busy} ms, {taken} snapshots")
    ours, base = statistics.median(busy), statistics.median(quiet)
    method = f"wrk PUT over {options.keys} keys, 32 connections, {options.rounds} x {options.seconds} s, {taken} snapshots"
    row("p99 of writes during a snapshot vs without", f"{ours:.2f} ms", f"{base:.2f} ms", ours / base, "<= 2.0", method)


def take_snapshots(kvorum, stop, counts):
    while not stop.is_set():
        kvorum.snapshot()
        counts.append(1)


COMPARISONS = {"memory": memory, "restart": restart, "get": get, "snapshot": snapshot}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=[*COMPARISONS, "all"])
    parser.add_argument("--keys", type=int, default=MILLION, help="keys to work with (default 1000000)")
    parser.add_argument("--rounds", type=int, default=3, help="repetitions, of which the median counts (default 3)")
    parser.add_argument("--seconds", type=int, default=10, help="length of one wrk run (default 10)")
    parser.add_argument("--dir", help="where the servers keep their data (default: the system's temporary directory)")
    parser.add_argument("--kvorum", type=pathlib.Path, help="a kvorum binary (default: built from this checkout)")
    options = parser.parse_args()
    if options.kvorum:
        programs["kvorum"] = options.kvorum.resolve()
    print("| what | Kvorum | peer | ratio | goal | method |")
    print("|---|---|---|---|---|---|")
    for name in COMPARISONS if options.what == "all" else [options.what]:
        COMPARISONS[name](options)


if __name__ == "__main__":
    main()
