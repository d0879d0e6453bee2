#!/usr/bin/env python3
"""Compares Kvorum with its peers, side by side on this machine, and prints one markdown row per figure.

See README.md beside this file for what is measured and how. Python's standard library only. Peers that are not installed
are left out with a note; nothing is installed here.
"""

import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import tempfile
import threading
import time

from cluster import cluster, failover
from rig import (
    MILLION,
    VALUE_BYTES,
    BareHyper,
    Kvorum,
    Redis,
    build_kvorum,
    http_connection,
    key_of,
    note,
    peers,
    programs,
    row,
    value_of,
    wrk,
)


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


# Writes random keys of those that `fill` wrote.
PUT_SCRIPT = """
request = function()
  local key = string.format("/v1/kv/key:%%012d", math.random(0, %d))
  return wrk.format("PUT", key, nil, string.rep("v", 64))
end
"""


def in_turns(servers, options, path, script=None):
    """Requests per second and processor time per request in microseconds of each server, the medians of rounds in turns."""
    rates, costs = [[] for _ in servers], [[] for _ in servers]
    for _ in range(options.rounds):
        for number, server in enumerate(servers):
            before = server.cpu_seconds()
            rate = wrk(f"http://127.0.0.1:{server.port}{path}", options.seconds, script=script)[0]
            rates[number].append(rate)
            costs[number].append((server.cpu_seconds() - before) / (rate * options.seconds) * 1e6)
    note(f"rates {rates}, microseconds of processor time {costs}")
    return [(statistics.median(rate), statistics.median(cost)) for rate, cost in zip(rates, costs)]


def http(options):
    """HTTP GET and PUT of 64-byte values against hyper with a constant answer, in turns."""
    method = f"wrk, 1 thread, 32 connections, {options.rounds} x {options.seconds} s in turns, medians"

    def report(what, ours, theirs, goal):
        row(what, f"{ours[0]:.0f}/s", f"{theirs[0]:.0f}/s", ours[0] / theirs[0], goal, method)
        row(f"{what}: processor time", f"{ours[1]:.1f} us", f"{theirs[1]:.1f} us", ours[1] / theirs[1], "reported", method)

    interval = {"KVORUM_WAL__DURABILITY": "interval"}
    with (
        tempfile.TemporaryDirectory(dir=options.dir) as directory,
        tempfile.TemporaryDirectory(dir=options.dir) as other,
        Kvorum(directory) as kvorum,
        Kvorum(other, **interval) as unsynced,
        BareHyper(directory) as hyper,
    ):
        kvorum.fill(0, 1000, False)
        ours, theirs = in_turns([kvorum, hyper], options, "/v1/kv/" + key_of(7).decode())
        report("HTTP GET vs bare hyper", ours, theirs, ">= 0.8")
        script = pathlib.Path(directory) / "put.lua"
        script.write_text(PUT_SCRIPT % 999)
        durable, fast, theirs = in_turns([kvorum, unsynced, hyper], options, "/", script)
        report("HTTP PUT, synced every 100 ms, vs bare hyper that reads the body", fast, theirs, ">= 0.8")
        report("HTTP PUT, on disk before it is answered, vs the same", durable, theirs, "reported")


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


def scan(options):
    """p99 of durable writes over HTTP while n keys are scanned again and again, against without."""
    with tempfile.TemporaryDirectory(dir=options.dir) as directory, Kvorum(directory) as kvorum:
        script = pathlib.Path(directory) / "put.lua"
        script.write_text(PUT_SCRIPT % (options.keys - 1))
        kvorum.fill(0, options.keys, False)
        url = f"http://127.0.0.1:{kvorum.port}/"
        quiet, busy, seen = [], [], []
        for _ in range(options.rounds):
            quiet.append(wrk(url, options.seconds, script=script)[1])
            stop = threading.Event()
            scanner = threading.Thread(target=scan_keys, args=(kvorum, stop, seen))
            scanner.start()
            busy.append(wrk(url, options.seconds, script=script)[1])
            stop.set()
            scanner.join()
        note(f"p99 without {quiet} ms, with {busy} ms, {sum(seen)} keys were read")
    if sum(seen) < options.keys:
        raise SystemExit(f"only {sum(seen)} keys were scanned meanwhile")
    ours, base = statistics.median(busy), statistics.median(quiet)
    method = f"wrk PUT over {options.keys} keys, 32 connections, {options.rounds} x {options.seconds} s, {sum(seen)} keys read"
    row("p99 of writes during a scan vs without", f"{ours:.2f} ms", f"{base:.2f} ms", ours / base, "<= 2.0", method)


def scan_keys(kvorum, stop, seen):
    """Reads page after page on one connection, from the start again at the end."""
    connection = http_connection(kvorum)
    cursor = None
    while not stop.is_set():
        connection.request("GET", "/v1/kv?limit=1000" + (f"&cursor={cursor}" if cursor else ""))
        page = json.loads(connection.getresponse().read())
        cursor = page["cursor"]
        seen.append(len(page["items"]))
    connection.close()


BATCH = 10_000


def batch(options):
    """A batch of 10,000 sets: how long it takes until it is answered, and in how many log entries it is applied."""
    steps = [{"op": "set", "key": key_of(n).decode(), "value": value_of(n).decode()} for n in range(BATCH)]
    body = json.dumps({"steps": steps}).encode()
    times = []
    with tempfile.TemporaryDirectory(dir=options.dir) as directory, Kvorum(directory) as kvorum:
        connection = http_connection(kvorum)
        for _ in range(10 * options.rounds):
            before = kvorum.stats()["raft"]["applied_index"]
            started = time.monotonic()
            connection.request("POST", "/v1/batch", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            results = json.loads(answer.read())["results"]
            times.append((time.monotonic() - started) * 1000)
            entries = kvorum.stats()["raft"]["applied_index"] - before
            if answer.status != 200 or len(results) != BATCH or entries != 1:
                raise SystemExit(f"batch: {answer.status}, {len(results)} results, {entries} entries")
        connection.close()
    note(f"batches took {', '.join(f'{t:.1f}' for t in times)} ms")
    ours = statistics.median(times)
    method = f"one POST /v1/batch of {BATCH} sets, {len(body)} bytes of JSON, one log entry; median of {len(times)}"
    row("a batch of 10,000 sets", f"{ours:.1f} ms", "50 ms", ours / 50, "<= 1.0", method)


def client(options):
    """`kvorum bench` against wrk: what a request costs the load generator."""
    connections = 32
    with tempfile.TemporaryDirectory(dir=options.dir) as directory, BareHyper(directory) as hyper:
        url = f"http://127.0.0.1:{hyper.port}"
        get = ["--mix", "get=100", "--keys", "1000", "--connections", str(connections), "--duration", f"{options.seconds}s"]
        commands = {
            "kvorum bench": [str(build_kvorum()), "bench", "--url", url, *get, "--json"],
            "wrk": ["wrk", "-t1", f"-c{connections}", f"-d{options.seconds}s", url + "/v1/kv/x"],
        }
        costs = {name: [] for name in commands}
        for _ in range(options.rounds):
            for name, command in commands.items():
                before = os.times()
                output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                after = os.times()
                spent = after.children_user + after.children_system - before.children_user - before.children_system
                costs[name].append(spent / requests_of(output) * 1e6)
    note(f"microseconds of processor time a request: {costs}")
    ours, theirs = statistics.median(costs["kvorum bench"]), statistics.median(costs["wrk"])
    method = f"GET of bare hyper, {connections} connections, {options.rounds} x {options.seconds} s in turns, medians"
    row("kvorum bench vs wrk: processor time a request", f"{ours:.1f} us", f"{theirs:.1f} us", ours / theirs, "reported", method)


def requests_of(output):
    """How many requests a load generator says that it made."""
    if output.lstrip().startswith("{"):
        return json.loads(output)["requests"]
    return int(re.search(r"(\d+) requests in", output)[1])


COMPARISONS = {
    "memory": memory,
    "restart": restart,
    "http": http,
    "snapshot": snapshot,
    "scan": scan,
    "batch": batch,
    "client": client,
    "cluster": cluster,
    "failover": failover,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=[*COMPARISONS, "all"])
    parser.add_argument("--keys", type=int, default=MILLION, help="keys to work with (default 1000000)")
    parser.add_argument("--rounds", type=int, default=3, help="repetitions, of which the median counts (default 3)")
    parser.add_argument("--seconds", type=int, default=10, help="length of one wrk run (default 10)")
    parser.add_argument("--kills", type=int, default=20, help="leaders that are killed (default 20)")
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
