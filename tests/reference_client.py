#!/usr/bin/env python3
"""A client of the control plane, written from the API reference alone.

It knows only the published reference: endpoints, fields, types and permissions.
It calls every endpoint, prints one line for each that responds as documented
(`ok METHOD PATH`), and stops with exit code 1 at the first that does not. Fields that the reference
does not name are ignored. It uses only the Python standard library.
"""

import argparse
import csv
import io
import json
import re
import secrets
import sys
import urllib.error
import urllib.parse
import urllib.request
import xml.etree.ElementTree

TIMESTAMP = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z")
TIMEOUT_SECONDS = 30


class Mismatch(Exception):
    """The plane did not respond as documented."""


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """Refuses redirects, so that the token is not sent elsewhere."""

    def redirect_request(self, *_):
        return None


class Answer:
    def __init__(self, status, content_type, body):
        self.status = status
        self.content_type = content_type
        self.body = body

    def json(self):
        require(self.content_type == "application/json", f"Content-Type is {self.content_type}, not application/json")
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise Mismatch(f"the body is not JSON: {error}") from error


def require(condition, message):
    if not condition:
        raise Mismatch(message)


# The types in the reference's examples. In Python, a bool is also an int, but here it is never accepted as one.


def is_text(value):
    return isinstance(value, str)


def is_filled_text(value):
    return isinstance(value, str) and value != ""


def is_flag(value):
    return isinstance(value, bool)


def is_count(value):
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_time(value):
    return isinstance(value, str) and TIMESTAMP.fullmatch(value) is not None


def or_null(check):
    def either(value):
        return value is None or check(value)

    either.__name__ = f"{check.__name__}_or_null"
    return either


# A value is null if its event (a report, a handshake, a measured ping) has not happened yet.
STATUS = {
    "server_id": is_filled_text,
    "online": is_flag,
    "ping_ms": or_null(is_number),
    "peers": is_count,
    "transfer_rx": is_count,
    "transfer_tx": is_count,
    "reported_at": or_null(is_time),
}
HISTORY_POINT = {
    "server_id": is_filled_text,
    "ping_ms": or_null(is_number),
    "transfer_rx": is_count,
    "transfer_tx": is_count,
    "recorded_at": is_time,
}
NEW_PEER = {
    "id": is_filled_text,
    "name": is_filled_text,
    "enabled": is_flag,
    "address": is_filled_text,
    "publicKey": is_filled_text,
}
PEER = {
    **NEW_PEER,
    "latestHandshakeAt": or_null(is_time),
    "transferRx": is_count,
    "transferTx": is_count,
}
AUDIT_RECORD = {
    "id": is_count,
    "actor": is_filled_text,
    "action": is_filled_text,
    "target": is_text,
    "ip": is_text,
    "created_at": is_time,
}


def check_object(value, fields, what):
    require(isinstance(value, dict), f"{what} is not an object: {value!r}")
    for name, check in fields.items():
        require(name in value, f"{what} has no field {name!r}: {value!r}")
        require(check(value[name]), f"{what}: {name} is {value[name]!r}, which fails {check.__name__}")


def check_list(value, fields, what):
    require(isinstance(value, list), f"the response is not a list with items of type {what}: {value!r}")
    for index, item in enumerate(value):
        check_object(item, fields, f"{what} {index}")


class Plane:
    """The control plane at a base URL."""

    def __init__(self, url):
        self.url = url.rstrip("/")
        self.opener = urllib.request.build_opener(NoRedirect)

    def call(self, method, path, token=None, body=None):
        headers = {}
        data = None
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        if body is not None:
            headers["Content-Type"] = "application/json"
            data = json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, headers=headers, method=method)
        try:
            with self.opener.open(request, timeout=TIMEOUT_SECONDS) as response:
                return Answer(response.status, response.headers.get_content_type(), response.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.headers.get_content_type(), error.read())
        except OSError as error:
            raise Mismatch(f"no response from {self.url}: {error}") from error

    def success(self, method, path, token=None, body=None):
        answer = self.call(method, path, token, body)
        require(200 <= answer.status < 300, f"the response is {answer.status}: {answer.body[:500]!r}")
        return answer


class Run:
    """One pass through the reference, in an order in which each call finds the objects that it needs."""

    def __init__(self, arguments):
        self.plane = Plane(arguments.url)
        self.email = arguments.email
        self.password = first_line(arguments.password_file)
        self.server = arguments.server
        self.agent_token = first_line(arguments.agent_token_file)
        self.token = None
        self.peer = None
        self.name = f"reference-{secrets.token_hex(4)}"
        self.clients = f"/api/wg-clients/{urllib.parse.quote(self.server, safe='')}"

    def every_endpoint(self):
        self.step("POST", "/api/login", self.login)
        self.step("POST", "/api/report", self.report)
        self.step("GET", "/api/statuses", self.statuses)
        self.step("GET", "/api/history", self.history)
        self.step("POST", "/api/wg-clients/{serverID}", self.create)
        self.step("GET", "/api/wg-clients/{serverID}", self.list)
        self.step("POST", "/api/wg-clients/{serverID}/{clientID}/disable", lambda: self.switch("disable", False))
        self.step("POST", "/api/wg-clients/{serverID}/{clientID}/enable", lambda: self.switch("enable", True))
        self.step("GET", "/api/wg-clients/{serverID}/{clientID}/qrcode", self.qrcode)
        self.step("GET", "/api/audit", self.audit)
        self.step("GET", "/api/audit/export", self.export)

    def step(self, method, path, check):
        try:
            check()
        except Mismatch as error:
            raise Mismatch(f"{method} {path}: {error}") from error
        print(f"ok {method} {path}", flush=True)

    def protected(self, method, path, body=None):
        """Checks the documented rule that the response is 401 without a token or with a wrong one."""
        for token, what in ((None, "no token"), ("not-a-token", "a wrong token")):
            answer = self.plane.call(method, path, token, body)
            require(answer.status == 401, f"with {what}, the response is {answer.status}, not 401")

    def person_only(self, method, path, body=None):
        self.protected(method, path, body)
        answer = self.plane.call(method, path, self.agent_token, body)
        require(answer.status in (401, 403), f"with an agent's token, the response is {answer.status}")

    def login(self):
        wrong = {"email": self.email, "password": self.password + "x"}
        answer = self.plane.call("POST", "/api/login", body=wrong)
        require(answer.status == 401, f"with a wrong password, the response is {answer.status}, not 401")
        right = {"email": self.email, "password": self.password}
        answer = self.plane.success("POST", "/api/login", body=right).json()
        check_object(answer, {"token": is_filled_text}, "the response")
        require(len(answer["token"].split(".")) == 3, "the token is not a JWT")
        self.token = answer["token"]

    def report(self):
        body = {"server_id": self.server, "ping_ms": 12.4, "peers": 5, "transfer_rx": 1048576, "transfer_tx": 524288}
        self.protected("POST", "/api/report", body)
        answer = self.plane.call("POST", "/api/report", self.token, body)
        require(answer.status in (401, 403), f"with a person's token, the response is {answer.status}")
        self.plane.success("POST", "/api/report", self.agent_token, body)

    def statuses(self):
        self.person_only("GET", "/api/statuses")
        statuses = self.plane.success("GET", "/api/statuses", self.token).json()
        check_list(statuses, STATUS, "status")
        own = [status for status in statuses if status["server_id"] == self.server]
        require(len(own) == 1, f"{len(own)} statuses for {self.server}, not 1")
        require(own[0]["online"], f"{self.server} has just reported but is not online")
        require(own[0]["reported_at"] is not None, f"{self.server} has just reported but has no reported_at")

    def history(self):
        self.person_only("GET", "/api/history")
        history = self.plane.success("GET", "/api/history", self.token).json()
        check_list(history, HISTORY_POINT, "history point")

    def create(self):
        self.person_only("POST", self.clients, {"name": self.name})
        self.peer = self.plane.success("POST", self.clients, self.token, {"name": self.name}).json()
        check_object(self.peer, NEW_PEER, "the new peer")
        require(self.peer["name"] == self.name, f"the new peer's name is {self.peer['name']!r}, not {self.name!r}")
        require(self.peer["enabled"], "the new peer is not enabled")

    def list(self):
        self.person_only("GET", self.clients)
        check_list(self.peers(), PEER, "peer")
        listed = self.own_peer()
        for field in NEW_PEER:
            require(listed[field] == self.peer[field], f"{field} is {listed[field]!r}, created as {self.peer[field]!r}")

    def peers(self):
        return self.plane.success("GET", self.clients, self.token).json()

    def own_peer(self):
        found = [peer for peer in self.peers() if peer["id"] == self.peer["id"]]
        require(len(found) == 1, f"the new peer is listed {len(found)} times")
        return found[0]

    def client_path(self, action):
        return f"{self.clients}/{urllib.parse.quote(self.peer['id'], safe='')}/{action}"

    def switch(self, action, enabled):
        path = self.client_path(action)
        self.person_only("POST", path)
        self.plane.success("POST", path, self.token)
        require(self.own_peer()["enabled"] is enabled, f"after {action} the peer's enabled is not {enabled}")

    def qrcode(self):
        path = self.client_path("qrcode")
        self.person_only("GET", path)
        answer = self.plane.success("GET", path, self.token)
        require(answer.content_type == "image/svg+xml", f"Content-Type is {answer.content_type}, not image/svg+xml")
        try:
            root = xml.etree.ElementTree.fromstring(answer.body)
        except xml.etree.ElementTree.ParseError as error:
            raise Mismatch(f"the SVG is not XML: {error}") from error
        require(root.tag == "{http://www.w3.org/2000/svg}svg", f"the root element is {root.tag}, not svg")

    def audit(self):
        self.person_only("GET", "/api/audit")
        records = self.audit_page("")
        require(records, "the audit log is empty after a peer was created")
        created = [record for record in records if record["action"] == "wg_client_created"]
        target = f"{self.server}/{self.name}"
        require(any(record["target"] == target for record in created), f"no wg_client_created for {target}")
        record = next(record for record in created if record["target"] == target)
        require(record["actor"] == self.email.lower(), f"the actor is {record['actor']!r}, not {self.email!r}")
        # The log is read newest first, so pages of one record follow each other.
        first = self.audit_page("?limit=1")
        second = self.audit_page("?limit=1&offset=1")
        require(len(first) == 1, f"limit=1 gives {len(first)} records")
        require(len(second) == 1, f"limit=1&offset=1 gives {len(second)} records")
        require(first[0]["id"] != second[0]["id"], "offset=1 gives the same record as offset=0")

    def audit_page(self, query):
        records = self.plane.success("GET", f"/api/audit{query}", self.token).json()
        check_list(records, AUDIT_RECORD, "audit record")
        return records

    def export(self):
        self.person_only("GET", "/api/audit/export")
        answer = self.plane.success("GET", "/api/audit/export", self.token)
        require(answer.content_type == "text/csv", f"Content-Type is {answer.content_type}, not text/csv")
        rows = list(csv.reader(io.StringIO(answer.body.decode(), newline="")))
        require(rows, "the CSV is empty")
        require(all(len(row) == len(rows[0]) for row in rows), "the CSV's rows differ in length")
        text = [cell for row in rows for cell in row]
        require(any("wg_client_created" in cell for cell in text), "the export has no wg_client_created")
        require(any(self.name in cell for cell in text), f"the export does not name {self.name}")


def first_line(path):
    with open(path, encoding="utf-8") as file:
        return file.readline().rstrip("\r\n")


def arguments():
    parser = argparse.ArgumentParser(description="Calls every endpoint in the API reference and checks the responses.")
    parser.add_argument("--url", required=True, help="the control plane's base URL")
    parser.add_argument("--email", required=True, help="an admin")
    parser.add_argument("--password-file", required=True, help="a file with the admin's password")
    parser.add_argument("--server", required=True, help="a registered server's id")
    parser.add_argument("--agent-token-file", required=True, help="a file with that server's agent token")
    return parser.parse_args()


def main():
    try:
        Run(arguments()).every_endpoint()
    except Mismatch as error:
        print(f"reference_client: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"reference_client: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
