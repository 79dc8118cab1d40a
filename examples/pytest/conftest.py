"""A lap server for the tests: one per pytest run, or per worker of pytest-xdist."""

import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

AGENTS = "/api/v1/managed_agents/agents"
SESSIONS = "/api/v1/managed_agents/sessions"


class Lap:
    """What the tests ask of a running server."""

    def __init__(self, url, key):
        self.url, self.key = url, key

    def call(self, method, path, body=None):
        """Send a request and return what its JSON answer says. A status of 400 or more raises."""
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return json.loads(response.read() or "null")
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{method} {path}: {error.code} {error.read().decode()}") from error

    def agent(self, model):
        return self.call("POST", AGENTS, {"model": model, "harness_id": "lap"})

    def session(self, agent):
        """Open a session and wait until it takes messages."""
        session = self.call("POST", f"{AGENTS}/{agent['id']}/session", {})
        return self.wait_until(session, "ready")

    def wait_until(self, session, status, seconds=60):
        for _ in range(seconds * 20):
            session = self.call("GET", f"{SESSIONS}/{session['id']}")
            if session["status"] == status:
                return session
            if session["status"] in ("failed", "dead"):
                break
            time.sleep(0.05)
        raise AssertionError(f"the session is {session['status']}, not {status}: {session['failure_reason']}")

    def say(self, session, text):
        """Send a message and return the text of the reply."""
        reply = self.call("POST", f"{SESSIONS}/{session['id']}/message", {"text": text})
        return "".join(part["text"] for part in reply["parts"] if part["type"] == "text")

    def requests(self):
        """The calls that the model got, oldest first."""
        return self.call("GET", "/api/v1/fixture/requests")["data"]

    def advance(self, duration):
        """Move the clock of the server, as by "90m" or "25h"."""
        self.call("POST", "/api/v1/fixture/clock", {"advance": duration})

    def reset(self):
        self.call("POST", "/api/v1/fixture/reset", {})


@pytest.fixture(scope="session")
def lap_server():
    server = subprocess.Popen(
        [os.environ.get("LAP_BINARY", "lap"), "serve", "--ephemeral", "--fixture"],
        stdin=subprocess.PIPE,  # the server lives as long as this is open
        stdout=subprocess.PIPE,
        env={**os.environ, "LAP_SCRIPTS": str(Path(__file__).parent / "scripts")},
        text=True,
    )
    line = server.stdout.readline()
    assert line, "lap did not start; it says why above"
    ready = json.loads(line)
    yield Lap(ready["url"], ready["key"])
    server.stdin.close()
    server.wait(timeout=60)


@pytest.fixture
def lap(lap_server):
    yield lap_server
    lap_server.reset()
