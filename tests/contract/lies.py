"""Proof that the contract can be broken: falsifies answers on their way and expects schemathesis to see each lie.

A proxy stands between schemathesis and the node and changes what one operation says. Each lie names the operation that it
is told about, and the code of the check that must see it.
"""

import http.client
import http.server
import json
import os
import subprocess
import sys
import threading

PATIENCE_S = 120


def change_body(change):
    """A lie about a JSON body."""

    def lie(answer):
        document = json.loads(answer["body"])
        change(document)
        answer["body"] = json.dumps(document).encode()

    return lie


def change_header(name, value):
    """A lie about a header; without a value the header is left out."""

    def lie(answer):
        answer["headers"] = [pair for pair in answer["headers"] if pair[0].lower() != name.lower()]
        if value is not None:
            answer["headers"].append((name, value))

    return lie


def change_status(status):
    def lie(answer):
        answer["status"] = status

    return lie


def accept_all(answer):
    """What was refused is said to be well."""
    answer["status"] = 200
    answer["headers"] = [pair for pair in answer["headers"] if pair[0].lower() != "content-type"]
    answer["headers"].append(("Content-Type", "application/json"))
    answer["body"] = b'{"value":1,"version":1}'


# What is falsified: (name, method, end of the path or None, status that is falsified, the lie, code of the check)
LIES = [
    ("an error of the server", "GET", "/v1/stats", 200, change_status(500), "ST101"),
    ("a status that is not documented", "DELETE", None, 204, change_status(202), "ST103"),
    ("a content type that is not documented", "GET", "/v1/stats", 200, change_header("Content-Type", "text/html"), "ST105"),
    ("a field is missing", "GET", "/v1/stats", 200, change_body(lambda stats: stats.pop("node")), "ST108"),
    ("a field has another type", "POST", "/incr", 200, change_body(lambda sum: sum.update(version="7")), "ST108"),
    ("a problem without its code", "GET", None, 404, change_body(lambda problem: problem.pop("code", 0)), "ST108"),
    ("bad requests are accepted", "POST", "/incr", 400, accept_all, "ST201"),
    ("good requests are refused", "PUT", None, 201, change_status(400), "ST202"),
    ("405 without Allow", "*", "/v1/stats", 405, change_header("Allow", None), "ST204"),
    ("Allow names another method", "*", "/v1/stats", 405, change_header("Allow", "GET, PUT"), "ST205"),
    ("a method that is not documented works", "*", "/v1/stats", 405, change_status(200), "ST204"),
]


class Proxy(http.server.BaseHTTPRequestHandler):
    """Passes requests on, and lies about the answers."""

    protocol_version = "HTTP/1.1"
    node = None
    lie = None
    told = 0

    def pass_on(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else None
        connection = http.client.HTTPConnection(self.node, timeout=PATIENCE_S)
        headers = [(name, value) for name, value in self.headers.items() if name.lower() not in ("host", "connection")]
        connection.putrequest(self.command, self.path, skip_host=False, skip_accept_encoding=True)
        for name, value in headers:
            connection.putheader(name, value)
        connection.endheaders(body)
        response = connection.getresponse()
        skipped = ("content-length", "transfer-encoding", "connection", "date")
        answer = {
            "status": response.status,
            "headers": [pair for pair in response.getheaders() if pair[0].lower() not in skipped],
            "body": response.read(),
        }
        connection.close()
        _, method, path, status, lie, _ = Proxy.lie
        matches = path is None or self.path.split("?")[0].endswith(path)
        if method in ("*", self.command) and matches and answer["status"] == status:
            lie(answer)
            Proxy.told += 1
        self.send_response(answer["status"])
        for name, value in answer["headers"]:
            self.send_header(name, value)
        if answer["status"] != 204:
            self.send_header("Content-Length", str(len(answer["body"])))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer["body"])

    def log_message(self, *_):
        pass

    def __getattr__(self, name):
        if name.startswith("do_"):
            return self.pass_on
        raise AttributeError(name)


# What the requests of a lie are made for: the operations behind its method and path, so that a lie takes seconds.
OPERATIONS = {
    "/v1/stats": ["getStats"],
    "/incr": ["incrKey"],
    "DELETE": ["deleteKey", "incrKey"],
    "GET": ["getKey"],
    "PUT": ["putKey"],
}


def sees(lie, address, schemathesis):
    name, method, path, _, _, code = lie
    Proxy.lie, Proxy.told = lie, 0
    included = [f"--include-operation-id={operation}" for operation in OPERATIONS[path or method]]
    command = [schemathesis, "run", f"http://{address}/openapi.json", "--checks", "all"]
    command += ["--phases", "examples,coverage,fuzzing", "--seed", "1", "--max-examples", "10", "--warnings", "off", *included]
    run = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, env={**os.environ, "COLUMNS": "200"})
    seen = run.returncode == 1 and code in run.stdout
    print(f"{'seen' if seen else 'NOT SEEN':9} {name} ({code}; told {Proxy.told} times)")
    if not seen:
        print(run.stdout[-3000:])
    return seen and Proxy.told > 0


def main():
    url, schemathesis = sys.argv[1:]
    Proxy.node = url.removeprefix("http://")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"127.0.0.1:{server.server_address[1]}"
    results = [sees(lie, address, schemathesis) for lie in LIES]
    server.shutdown()
    if not all(results):
        sys.exit("lies: some were believed")


main()
