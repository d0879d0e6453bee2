"""Three nodes beside three of etcd, on this machine and the same disk."""

import json
import pathlib
import re
import shutil
import statistics
import subprocess
import tempfile
import time

from rig import Kvorum, Server, build_kvorum, built, free_port, http_connection, note, programs, row

CLIENTS = 64


class Members:
    """Three servers that know one another, ended with the `with` block."""

    def __init__(self, servers):
        self.servers = servers

    def __enter__(self):
        # None is ready before a majority is there.
        ready = [server.is_ready for server in self.servers]
        for server in self.servers:
            server.is_ready = lambda: True
            server.start()
        for server, is_ready in zip(self.servers, ready):
            server.is_ready = is_ready
            server.wait_until_ready()
        return self

    def __exit__(self, *_):
        for server in self.servers:
            server.__exit__()

    def urls(self):
        return ",".join(f"http://127.0.0.1:{server.port}" for server in self.servers)

    def leader(self):
        """The number of the one that leads, once one does."""
        for _ in range(1_000):
            roles = [server.stats().get("role") for server in self.servers]
            if "leader" in roles:
                return roles.index("leader")
            time.sleep(0.01)
        raise SystemExit("nobody leads")

    def cpu_seconds(self):
        return [server.cpu_seconds() for server in self.servers]


class Etcd(Server):
    name = "etcd"

    def __init__(self, directory, peers, number):
        super().__init__(directory)
        self.peers, self.number = peers, number

    def command(self):
        peer = f"http://127.0.0.1:{self.peers[self.number]}"
        client = f"http://127.0.0.1:{self.port}"
        cluster = ",".join(f"n{n}=http://127.0.0.1:{port}" for n, port in enumerate(self.peers))
        options = {
            "name": f"n{self.number}",
            "data-dir": str(self.directory / "data"),
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "initial-cluster": cluster,
            "log-level": "error",
        }
        return ["etcd", *(f"--{name}={value}" for name, value in options.items())], {}

    def is_ready(self):
        probe = ["curl", "-sf", "-m", "1", f"http://127.0.0.1:{self.port}/health"]
        return b'"true"' in subprocess.run(probe, capture_output=True).stdout


def kvorums(directory):
    peers = [free_port() for _ in range(3)]
    seeds = ",".join(f"127.0.0.1:{port}" for port in peers)
    servers = []
    for number, port in enumerate(peers):
        own = pathlib.Path(directory) / f"kvorum{number}"
        own.mkdir()
        settings = {"KVORUM_PEER__LISTEN": f"127.0.0.1:{port}", "KVORUM_CLUSTER__SEEDS": seeds}
        servers.append(Kvorum(own, **settings))
    return Members(servers)


def etcds(directory):
    peers = [free_port() for _ in range(3)]
    servers = []
    for number in range(3):
        own = pathlib.Path(directory) / f"etcd{number}"
        own.mkdir()
        servers.append(Etcd(own, peers, number))
    return Members(servers)


def loaded(command):
    answer = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return answer


def cluster(options):
    """Durable writes and linearizable reads of 64 clients on three nodes, in turns with etcd."""
    if not shutil.which("etcd"):
        note("etcd is not installed and left out")
        return
    if "etcd_load" not in programs:
        programs["etcd_load"] = built("bench", "etcd_load")
    with tempfile.TemporaryDirectory(dir=options.dir) as directory:
        with kvorums(directory) as ours, etcds(directory) as theirs:
            for work, mix, goal in (("put", "set=100", ">= 5"), ("get", "get=100", ">= 5")):
                compare(options, ours, theirs, work, mix, goal)


def compare(options, ours, theirs, work, mix, goal):
    rates, costs = ([], []), ([], [])
    for _ in range(options.rounds):
        before = ours.cpu_seconds()
        entries, syncs, wire = written(ours), synced(ours), loopback_bytes()
        command = [str(build_kvorum()), "bench", "--url", ours.urls(), "--mix", mix, "--connections", str(CLIENTS)]
        told = loaded([*command, "--keys", "100000", "--value-size", "64", "--duration", f"{options.seconds}s", "--json"])
        spent = [after - then for after, then in zip(ours.cpu_seconds(), before)]
        rates[0].append(told["requests"] / options.seconds)
        costs[0].append([share / told["requests"] * 1e6 for share in spent])
        if work == "put":
            writes, entries = told["requests"], written(ours) - entries
            each = [f"{entries / max(after - then, 1):.2f}" for after, then in zip(synced(ours), syncs)]
            clients = (told["sent_bytes_per_s"] + told["received_bytes_per_s"]) * options.seconds
            wire = (loopback_bytes() - wire) / writes
            note(
                f"{writes / entries:.1f} writes an entry, {', '.join(each)} entries a sync on each node; {wire:.0f} bytes a "
                f"write on the loopback with all headers, {clients / writes:.0f} of them what clients sent and received; "
                f"leader {ours.leader()}"
            )
        before = theirs.cpu_seconds()
        command = [str(programs["etcd_load"]), work, str(CLIENTS), str(options.seconds), theirs.urls()]
        told = loaded(command)
        spent = [after - then for after, then in zip(theirs.cpu_seconds(), before)]
        rates[1].append(told["requests"] / told["seconds"])
        costs[1].append([share / max(told["requests"], 1) * 1e6 for share in spent])
    note(f"{work}: rates {rates}, processor time a request on each node in microseconds {costs}")
    what = "durable writes" if work == "put" else "linearizable reads"
    mine, other = statistics.median(rates[0]), statistics.median(rates[1])
    version = re.search(r"Version: (\S+)", subprocess.run(["etcd", "--version"], capture_output=True, text=True).stdout)
    method = f"{CLIENTS} clients over three nodes each, values of 64 bytes, {options.rounds} x {options.seconds} s in turns, medians"
    row(f"three nodes: {what} vs etcd {version[1]}", f"{mine:.0f}/s", f"{other:.0f}/s", mine / other, goal, method)
    cpu = [statistics.median(sum(round_) for round_ in of) for of in costs]
    row(f"three nodes: {what}, processor time of all nodes", f"{cpu[0]:.0f} us", f"{cpu[1]:.0f} us", cpu[0] / cpu[1], "reported", method)


def synced(members):
    return [server.stats()["wal"]["syncs"] for server in members.servers]


def loopback_bytes():
    """Bytes that went over the loopback since the machine started: of everything that runs."""
    lines = pathlib.Path("/proc/net/dev").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.lstrip().startswith("lo:"))


def written(members):
    return members.servers[0].stats()["raft"]["commit_index"]


def failover(options):
    """From the end of a leader that is killed to the first acknowledged write, worst and median of `--kills`."""
    gaps = []
    with tempfile.TemporaryDirectory(dir=options.dir) as directory, kvorums(directory) as members:
        for _ in range(options.kills):
            leader = members.servers[members.leader()]
            others = [server for server in members.servers if server is not leader]
            connection = http_connection(others[0])
            connection.request("PUT", "/v1/kv/before", b"v")
            connection.getresponse().read()
            leader.process.kill()
            leader.process.wait()
            killed = time.monotonic()
            while True:
                connection.request("PUT", "/v1/kv/after", b"v")
                answer = connection.getresponse()
                answer.read()
                if answer.status < 300:
                    break
            gaps.append(time.monotonic() - killed)
            connection.close()
            leader.start()
            time.sleep(1)
    note(f"gaps {', '.join(f'{gap:.2f}' for gap in gaps)} s")
    median, worst = statistics.median(gaps), max(gaps)
    method = f"kill -9 of the leader, until a write on another node is acknowledged; {options.kills} times"
    row("writes resume after the leader is killed: median", f"{median:.2f} s", "1 s", median / 1.0, "<= 1.0", method)
    row("the same: worst", f"{worst:.2f} s", "1.5 s", worst / 1.5, "<= 1.0", method)
