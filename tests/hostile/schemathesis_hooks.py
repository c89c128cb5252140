"""Facts that schemathesis cannot know: the backup format, existing objects, and the caller's own account."""

import os
import random

import schemathesis
from schemathesis import GenerationMode

# The caller's own account. An admin who demoted or disabled it would be refused from then on.
ONESELF = os.environ.get("SENTRAZONE_USER")
# Existing objects, because otherwise all requests would name objects that do not exist.
THERE = {"server": "los-angeles", "client": os.environ.get("SENTRAZONE_CLIENT")}
CHANCE = random.Random(1)


@schemathesis.serializer("application/vnd.sentrazone.backup")
def backup(ctx, value):
    return value if isinstance(value, bytes) else str(value).encode()


@schemathesis.hook
def before_call(ctx, case, kwargs):
    named = case.path_parameters or {}
    if ONESELF and str(named.get("user")).lower() == ONESELF:
        named["user"] = "11111111-2222-4333-8444-555555555555"
    is_meant = case.meta is not None and case.meta.generation.mode == GenerationMode.POSITIVE
    # A request with a repeated key gets the first response again, even if the object has been removed in the meantime.
    # Requests that depend on that response would then fail, so each request gets a new key.
    if is_meant and case.headers and "Idempotency-Key" in case.headers:
        case.headers["Idempotency-Key"] = f"{CHANCE.getrandbits(128):032x}"
    if case.method.upper() == "DELETE":
        if named.get("server") == THERE["server"]:
            named["server"] = "tokyo"
    elif is_meant and CHANCE.random() < 0.7:
        for name, there in THERE.items():
            if there and name in named:
                named[name] = there
