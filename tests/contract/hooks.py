"""What schemathesis has to be told beside the document: MessagePack, and rules that OpenAPI cannot say."""

import ipaddress
import itertools
import re

import msgpack
import schemathesis
from schemathesis import GenerationMode


# What the document says of `If-Match`.
TAGS = re.compile(r'(\*|(W/)?"[!#-~]*"(, (W/)?"[!#-~]*")*)\Z')


@schemathesis.serializer("application/msgpack")
def pack(ctx, value):
    return value if isinstance(value, bytes) else msgpack.packb(representable(value))


def representable(value):
    """MessagePack has no integers beyond 64 bits: what JSON writes as one becomes a float, or a text."""
    if isinstance(value, dict):
        return {representable(key): representable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [representable(item) for item in value]
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        try:
            return float(value)
        except OverflowError:
            return str(value)
    return value


@schemathesis.deserializer("application/msgpack")
def unpack(ctx, response):
    return msgpack.unpackb(response.content)


NUMBERS = itertools.count()


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    """Gives what is created a key of its own, to which only links lead.

    Otherwise a key that one chain of requests has removed is there again because another one has created it.
    """
    key = (path_parameters or {}).get("key")
    if context.operation.definition.raw.get("operationId") in ("putKey", "incrKey") and isinstance(key, str) and key:
        path_parameters["key"] = f"{key}-{next(NUMBERS)}"
    return path_parameters


def is_address(text):
    """Host and port. The document has a pattern of it that is for people, and takes more."""
    host, _, port = str(text).rpartition(":")
    if not re.fullmatch("[0-9]{1,5}", port) or not 0 < int(port) < 2**16:
        return False
    try:
        return bool(ipaddress.IPv6Address(host[1:-1]) if host.startswith("[") else ipaddress.IPv4Address(host))
    except ValueError:
        labels = host.split(".")
        return all(re.fullmatch("[A-Za-z0-9_-]{1,63}", label) for label in labels) and not labels[-1].isdigit()


@schemathesis.hook
def filter_case(context, case):
    """Leaves out what the parameters of an operation allow one by one and exclude together, and what no pattern can say.

    The document says it in words: `ttl_ms` and `keep_ttl=true`, and `If-Match` and `If-None-Match` of a write. And
    schemathesis turns a quoted header, as its pattern wants it, into an empty one and takes that for a good request. Cases
    that are meant to be refused stay.
    """
    if case.meta is not None and case.meta.generation.mode != GenerationMode.POSITIVE:
        return True
    if isinstance(case.body, dict) and isinstance(case.body.get("max_value_bytes"), int):
        # A limit of one byte is a good setting, with which every later write of a value is refused.
        return case.body["max_value_bytes"] >= 8 << 20
    if isinstance(case.body, dict) and "address" in case.body:
        return is_address(case.body["address"])
    query, headers = case.query or {}, case.headers or {}
    if "ttl_ms" in query and str(query.get("keep_ttl")).lower() == "true":
        return False
    conditions = [str(headers[name]) for name in ("If-Match", "If-None-Match") if name in headers]
    if not all(TAGS.match(condition) for condition in conditions):
        return False
    return case.method.upper() in ("GET", "HEAD") or len(conditions) < 2
