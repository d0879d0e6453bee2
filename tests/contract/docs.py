"""Opens /docs in headless Chromium with the network cut, and uses it.

Fails if the page loads anything from elsewhere, writes an error to the console, breaks its own policy, leaves an operation
of the document out, or if "Try it out" does not write and read a key.
"""

import itertools
import json
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request

import websocket

PATIENCE_S = 60
BROWSERS = ["chromium", "chromium-browser", "google-chrome"]


class Page:
    """A tab, driven through the DevTools protocol."""

    def __init__(self, address):
        self.socket = websocket.create_connection(address, timeout=PATIENCE_S, suppress_origin=True)
        self.numbers = itertools.count(1)
        self.events = []

    def call(self, method, **params):
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = json.loads(self.socket.recv())
            if message.get("id") == number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return message["result"]
            if "method" in message:
                self.events.append(message)

    def run(self, script):
        """The value of a script."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{script}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def wait(self, script, what):
        """Waits until a script says true."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            if self.run(f"Boolean({script})"):
                return
            time.sleep(0.05)
        sys.exit(f"docs: waited in vain for {what}; the page says: {self.run('document.body.innerText')[:2000]}")


def start(profile):
    """Chromium, and where its DevTools listen. No name resolves but the server's own address."""
    program = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if program is None:
        sys.exit(f"docs: none of {', '.join(BROWSERS)} is installed")
    browser = subprocess.Popen(
        [
            program,
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--proxy-server=http://127.0.0.1:9",
            "--proxy-bypass-list=127.0.0.1",
            "--remote-debugging-port=0",
            "--remote-allow-origins=*",
            f"--user-data-dir={profile}",
            "about:blank",
        ],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    for line in browser.stderr:
        if "DevTools listening on ws://" in line:
            return browser, line.split("ws://")[1].split("/")[0]
    sys.exit("docs: Chromium did not start")


def tab(devtools):
    """The page's own DevTools address."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        with urllib.request.urlopen(f"http://{devtools}/json", timeout=PATIENCE_S) as answer:
            pages = [page for page in json.load(answer) if page["type"] == "page"]
        if pages:
            return pages[0]["webSocketDebuggerUrl"]
        time.sleep(0.05)
    sys.exit("docs: Chromium has no page")


def operation(operation_id):
    """The block of an operation."""
    return f"document.querySelector('[id$=\"-{operation_id}\"]')"


def fill(page, operation_id, selector, text):
    """Types into a field as React wants it; leaving the field makes it count at once."""
    page.run(
        f"""(() => {{
            const field = {operation(operation_id)}.querySelector({json.dumps(selector)});
            const kind = field.tagName === 'TEXTAREA' ? HTMLTextAreaElement : HTMLInputElement;
            field.focus();
            Object.getOwnPropertyDescriptor(kind.prototype, 'value').set.call(field, {json.dumps(text)});
            field.dispatchEvent(new Event('input', {{ bubbles: true }}));
            field.blur();
        }})()"""
    )


def execute(page, operation_id, key):
    """Opens an operation, tries it out on a key, and returns what the page shows of the answer."""
    block = operation(operation_id)
    page.run(f"{block}.querySelector('.opblock-summary-control').click()")
    page.wait(f"{block}.querySelector('.try-out__btn')", f"the button of {operation_id}")
    page.run(f"{block}.querySelector('.try-out__btn').click()")
    page.wait(f"{block}.querySelector('tr[data-param-name=\"key\"] input')", f"the field of {operation_id}")
    fill(page, operation_id, 'tr[data-param-name="key"] input', key)
    return block


def answer(page, block, what):
    page.run(f"{block}.querySelector('.execute').click()")
    status = f"{block}.querySelector('.live-responses-table .response .response-col_status')"
    page.wait(status, f"the answer to {what}")
    return page.run(f"{status}.innerText"), page.run(f"{block}.querySelector('.live-responses-table').innerText")


def check_operations(page, url):
    with urllib.request.urlopen(f"{url}/openapi.json", timeout=PATIENCE_S) as document:
        paths = json.load(document)["paths"]
    ids = [operation["operationId"] for path in paths.values() for operation in path.values()]
    page.wait(operation(ids[0]), "the first operation")
    missing = [operation_id for operation_id in ids if page.run(f"{operation(operation_id)} === null")]
    if missing:
        sys.exit(f"docs: not shown: {', '.join(missing)}")
    return len(ids)


def check_trying(page):
    key = "written-in-the-browser"
    block = execute(page, "deleteKey", key)
    status, shown = answer(page, block, "deleteKey")
    if "404" not in status:
        sys.exit(f"docs: deleteKey of an absent key showed {status}: {shown}")
    block = execute(page, "incrKey", key)
    status, shown = answer(page, block, "incrKey")
    if "200" not in status or '"version"' not in shown:
        sys.exit(f"docs: incrKey showed {status}: {shown}")
    block = execute(page, "getKeyTtl", key)
    status, shown = answer(page, block, "getKeyTtl")
    if "200" not in status or "ttl_ms" not in shown:
        sys.exit(f"docs: getKeyTtl showed {status}: {shown}")


def check_quiet(page, url):
    """Nothing was asked of anybody else, and nothing went wrong that was not asked for."""
    for event in page.events:
        params = event["params"]
        if event["method"] == "Network.requestWillBeSent":
            asked = params["request"]["url"]
            if not asked.startswith((url, "data:", "blob:", "about:")):
                sys.exit(f"docs: the page asked for {asked}")
        if event["method"] == "Runtime.exceptionThrown":
            sys.exit(f"docs: an exception: {params['exceptionDetails']}")
        if event["method"] == "Runtime.consoleAPICalled" and params["type"] in ("error", "assert"):
            sys.exit(f"docs: the console says: {params['args']}")
        if event["method"] == "Log.entryAdded" and params["entry"]["level"] == "error":
            # Chromium notes every answer of 4xx as an error: the absent key was asked for on purpose.
            wanted = params["entry"]["source"] == "network" and "written-in-the-browser" in params["entry"].get("url", "")
            if not wanted:
                sys.exit(f"docs: the log says: {params['entry']}")


def main():
    url = sys.argv[1]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        browser, devtools = start(profile)
        try:
            page = Page(tab(devtools))
            for domain in ("Page", "Runtime", "Network", "Log"):
                page.call(f"{domain}.enable")
            # A page that nobody looks at has no focus to lose.
            page.call("Emulation.setFocusEmulationEnabled", enabled=True)
            page.call("Page.navigate", url=f"{url}/docs")
            page.wait("document.querySelector('.swagger-ui .opblock')", "the page")
            count = check_operations(page, url)
            check_trying(page)
            # Whatever was said before this answer has arrived with it.
            page.run("1")
            check_quiet(page, url)
        finally:
            browser.terminate()
            browser.wait()
    print(f"docs: {count} operations shown, three tried out, nothing asked of anybody else")


main()
