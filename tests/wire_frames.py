"""Frames that the wire tests send, and what comes out of the decoder for one."""

from __future__ import annotations

from broker.wire import Bad, Request, decode


def one(data: bytes) -> Request | Bad:
    """The only frame of a message."""
    (result,) = decode(data)
    return result


def refused(data: bytes) -> Bad:
    """The only frame of a message, which is bad."""
    result = one(data)
    assert isinstance(result, Bad), result
    assert not result.error.retryable
    return result


def code_of(data: bytes) -> str:
    """The code of the only frame of a message, which is bad."""
    return refused(data).error.code


def send(body: bytes = b"1", more: bytes = b"", to: bytes = b'"bob"') -> bytes:
    """A `mail.send` of id 7."""
    return b'{"op":"mail.send","id":7,"to":' + to + b',"body":' + body + more + b"}"


def ack(output: bytes) -> bytes:
    """A `mail.ack` of id 7 with one output."""
    return b'{"op":"mail.ack","id":7,"delivery":"d","claim":"c","outputs":[' + output + b"]}"
