"""Servers, load and builds for compare.py."""

import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
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

    def __init__(self, directory, **settings):
        self.directory = pathlib.Path(directory)
        self.port = free_port()
        self.process = None
        self.settings = settings

    def command(self):
        """The command line and the environment to add."""
        raise NotImplementedError

    def is_ready(self):
        raise NotImplementedError

    def start(self):
        """Starts the process and returns how many seconds passed until it was ready."""
        command, environment = self.command()
        log = open(self.directory / f"{self.name}.log", "ab")
        self.process = subprocess.Popen(
            command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.directory, env=os.environ | environment
        )
        return self.wait_until_ready()

    def wait_until_ready(self):
        """Returns how many seconds passed."""
        started = time.monotonic()
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

    def cpu_seconds(self):
        """Time that all its threads have had of a processor."""
        return cpu_seconds(self.process.pid)

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


def cpu_seconds(process):
    fields = pathlib.Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Kvorum(Server):
    """Everything that knows Kvorum's command line, settings and paths."""

    name = "kvorum"

    def command(self):
        settings = {
            "KVORUM_HTTP__LISTEN": f"127.0.0.1:{self.port}",
            "KVORUM_DATA__DIR": str(self.directory / "data"),
            "KVORUM_OPS__LISTEN": "",
            "KVORUM_LOG__LEVEL": "warn",
            # Snapshots are taken when the comparison asks for one, not in the middle of another measurement.
            "KVORUM_SNAPSHOT__EVERY_BYTES": str(1 << 40),
            "KVORUM_SNAPSHOT__EVERY_ENTRIES": str(1 << 40),
            **self.settings,
        }
        return [str(build_kvorum()), "serve"], settings

    def call(self, method, path, body=None, headers={}):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=START_TIMEOUT_S)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def is_ready(self):
        return self.call("GET", "/readyz")[0] == 200

    def stats(self):
        return json.loads(self.call("GET", "/v1/stats")[1])

    def count(self):
        return self.stats()["store"]["keys"]

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
        head = b" HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % VALUE_BYTES

        def request(number):
            return b"PUT /v1/kv/" + key_of(number) + query + head + value_of(number)

        def answered(text):
            good = text.count(b"HTTP/1.1 20")
            if good != text.count(b"HTTP/1.1 "):
                raise SystemExit(f"kvorum refused a write: {text[:500]!r}")
            return good

        fill(self.port, first, last, request, answered)


def http_connection(server):
    return http.client.HTTPConnection("127.0.0.1", server.port, timeout=START_TIMEOUT_S)


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
    """Builds a target as the image is built and returns the path of its program."""
    command = ["cargo", "build", "--profile", "dist", "--locked", f"--{kind}", name, "--message-format=json"]
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
