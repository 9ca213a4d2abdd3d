"""A client of the protocol in docs/protocol.md, with nothing but the standard library.

    from client import connect, errors

    client = connect("localhost", 8080)
    client.Checkout.quote([{"sku": "tea", "quantity": 2}])       # arguments by position
    client.pay(key="k", order="o", amount=amount, card=token)    # or by name; the one service with a `pay` is found
    for event in client.Checkout.events(0):                      # a stream, item by item
        print(event)
    client.Ledger.book("a", iter(rows))                          # an iterator is the stream that a method takes
    client.close()

It calls methods by their names, with JSON. One connection serves any number of threads: a thread of its own reads it
and hands each answer to its caller. A connection that is lost is made again by the next call.

Two kinds of exceptions, both `RpcError`s that say whether the method ran (`executed`: "no", "maybe" or "yes"):

* `ServiceError`, the method's own error, with its value. If the value is a variant of an enum, `{"declined": ..}` or
  `"conflict"`, the exception's class is named after it: `except errors.Declined as declined: print(declined.detail)`.
* `RpcError` itself, for everything else, with its `kind`.

What is not here: methods for the server to call.

Numbers in brackets are clauses of docs/protocol.md.
"""

import inspect
import json
import re
import select
import socket
import ssl
import struct
import sys
import threading
import time

__all__ = ["Client", "Items", "RpcError", "ServiceError", "connect", "errors"]

PREFACE = b"\xf5rpc\r\n\x01\x00"  # (2.1)

# Kinds of frames (3.3).
HELLO, REFUSED, BIND, BOUND, CALL, NOTIFY, REPLY, FAIL, ERROR, CALL_CHUNK, REPLY_CHUNK = range(1, 12)
CANCEL, PING, PONG, GO_AWAY, CALL_ITEMS, REPLY_ITEMS, CALL_END, CALL_CREDIT, REPLY_CREDIT, STOP = range(12, 22)
KNOWN = range(1, 22)

# Flags of frames (3.2), and the low bits of their first byte, the kind.
MORE, OPTIONS, SKIP, KIND = 0x20, 0x40, 0x80, 0x1F

# Optional parts of a call (5.6).
DEADLINE, METADATA, JSON, ITEMS, ITEMS_ALONG = 1, 2, 4, 8, 16

MAX_FRAME = 65_536  # (3.1)
MAX_HEAD = 64  # room for ids, numbers and options; metadata comes on top
MAX_NAME = 512  # (4.1)
MAX_BINDS = 4_096  # (4.3)
MAX_MESSAGE = 4 << 20  # what this end takes, as its hello says (2.2)
ASSEMBLY = 5 << 20  # of replies in chunks that are under way
WINDOW = 16_384  # of a stream's items that nobody has taken yet (7.3)
MARK = b"\x80\0"  # stands where items were left out (7.8)

CONNECT_TIMEOUT = 10.0  # (8.2)
CALL_TIMEOUT = 30.0
CLOSE_TIMEOUT = 30.0  # (8.2)
QUIET = 20.0  # without a byte from the server, until it is asked whether it is there (8.3)
GONE = 10.0  # until it has answered

KINDS = {  # (6.3)
    1: "cancelled",
    2: "deadline_exceeded",
    3: "overloaded",
    4: "unimplemented",
    5: "malformed",
    6: "too_large",
    7: "incompatible",
    8: "unauthenticated",
    9: "permission_denied",
    10: "draining",
    11: "internal",
}
EXECUTED = {0: "no", 2: "yes"}  # everything else is "maybe" (6.2)


# ---- errors


class RpcError(Exception):
    """A call failed, and not by an error of its method.

    `kind` is one of the names in the protocol's table of codes (6.3), "unavailable" without a connection, or "protocol" if
    the server broke the rules. `executed` says whether the method ran: "no", "maybe" or "yes". `retry_after` is how many
    seconds the server asks to wait, or None.
    """

    def __init__(self, kind, executed, message, retry_after=None):
        super().__init__(message)
        self.kind = kind
        self.executed = executed
        self.message = message
        self.retry_after = retry_after


class ServiceError(RpcError):
    """The method ran and returned an error of its own: `value`, as it came.

    Of a value that is a variant of an enum, `detail` is what the variant holds: "insufficient_funds" of
    {"declined": "insufficient_funds"}, and None of "conflict". Then the class is `errors.Declined`, `errors.Conflict`.
    """

    def __init__(self, method, value, detail=None):
        super().__init__("service", "yes", f"{method}: {json.dumps(value, ensure_ascii=False)}")
        self.value = value
        self.detail = detail


class _Errors:
    """Classes of `ServiceError`s by the name of the variant they stand for: `errors.Declined`."""

    def __init__(self):
        self._classes = {}

    def __getattr__(self, name):
        if not re.fullmatch(r"[A-Z][A-Za-z0-9]*", name):
            raise AttributeError(name)
        if name not in self._classes:
            # setdefault: two threads may ask at once, and have to get the same.
            self._classes.setdefault(name, type(name, (ServiceError,), {"__module__": __name__}))
        return self._classes[name]

    def of(self, method, value):
        """The exception for this value."""
        variant, detail = None, None
        if isinstance(value, str):
            variant = value
        elif isinstance(value, dict) and len(value) == 1:
            ((variant, detail),) = value.items()
        words = re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,63}", variant or "")
        if not words:
            return ServiceError(method, value)
        name = "".join(word[:1].upper() + word[1:] for word in variant.split("_"))
        # A class that nobody has asked for is caught by nobody: names come from the server, and are not kept without end.
        kind = self._classes.get(name)
        if kind is None:
            kind = getattr(self, name) if len(self._classes) < 1_000 else ServiceError
        return kind(method, value, detail)


errors = _Errors()


class _Violation(Exception):
    """The server broke the protocol."""


class _NotTaken(RpcError):
    """This connection takes no more calls; another may."""


# ---- bytes


def _varint(value):
    """An unsigned number, seven bits a byte, the lowest first (1.2)."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _text(text):
    """Its length, then UTF-8 (1.3)."""
    encoded = text.encode()
    return _varint(len(encoded)) + encoded


def _frame(kind, *parts):
    """Header and body (3.1). Flags are part of `kind`."""
    body = b"".join(parts)
    return struct.pack("<I", len(body) << 8 | kind) + body


class _Fields:
    """Reads the fields of a frame from its front."""

    def __init__(self, body):
        self.rest = memoryview(body)

    def varint(self):
        value = shift = 0
        for at, byte in enumerate(self.rest[:10]):
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                if (byte == 0 and at > 0) or value >= 1 << 64:
                    break
                self.rest = self.rest[at + 1 :]
                return value
        raise _Violation("a number is malformed")

    def bytes(self, count):
        if count > len(self.rest):
            raise _Violation("a frame ends within a field")
        taken, self.rest = self.rest[:count], self.rest[count:]
        return bytes(taken)

    def text(self):
        try:
            return self.bytes(self.varint()).decode()
        except UnicodeDecodeError:
            raise _Violation("a text is not UTF-8") from None

    def is_empty(self):
        return not self.rest


# ---- one connection


class _Call:
    """A call under way, and its answer once that is there."""

    def __init__(self, method, size, is_large, sequence):
        self.method = method
        self.size = size
        self.is_large = is_large
        self.sequence = sequence
        self.answered = threading.Event()
        self.kind = None  # of its answer: REPLY, FAIL, or None for `error`
        self.body = bytearray()
        self.total = None  # bytes of an answer in chunks
        self.error = None
        self.items = None  # of a stream: bytes that came and were not taken
        self.credit = WINDOW  # bytes of them that the server may still send
        self.is_begun = False  # there are items, or there will be
        self.room = None  # bytes of items that may be sent, of a call that takes some
        self.is_stopped = False  # the server takes no more of them
        self.fault = None  # why there are no more of them, if they were cut off

    def result(self):
        if self.fault is not None:
            raise self.fault
        if self.error is not None:
            raise self.error
        try:
            value = json.loads(self.body.decode())
        # Lists in lists in lists are too much for it, and are no ValueError.
        except (ValueError, RecursionError) as fault:
            raise RpcError("malformed", "yes", f"{self.method}: malformed reply: {fault}") from None
        if self.kind == FAIL:
            raise errors.of(self.method, value)
        return value


class _Connection:
    """One socket: calls go out from their callers' threads, answers come in by a thread of its own."""

    def __init__(self, sock):
        self._socket = sock
        self._read = bytearray()  # bytes that came and are not looked at yet
        self._reader = None
        # Held while bytes leave: frames of two threads do not mix.
        self._sending = threading.Lock()
        # Guards all that follows; told when a call has ended.
        self._changed = threading.Condition()
        self._calls = {}
        self._sequence = 0
        self._small_bytes = self._large_bytes = 0
        self._is_leaving = False  # no new calls
        self._accepted = None  # how many of our calls the server has read, as its go-away says
        self._end = None  # why there is no connection any more
        self._called = 0  # calls of the server
        self._numbers = {}  # of methods; under `_sending`, so that binds leave in the order of their numbers

        self._send(PREFACE + _frame(HELLO, _varint(1), _varint(MAX_MESSAGE), _varint(4), _varint(ASSEMBLY)))
        # A client need not wait for the server's hello (2.3). This one does: then it knows at once whom it talks to, and
        # needs no rules for the time before.
        self._socket.settimeout(CONNECT_TIMEOUT)
        self._read_preface()
        self._read_hello()
        self._socket.settimeout(None)
        self._reader = threading.Thread(target=self._read_all, name="rpc reader", daemon=True)
        self._reader.start()

    # -- calls

    def is_usable(self):
        with self._changed:
            return self._end is None and not self._is_leaving

    def watch(self, method, payload, deadline, metadata, along=None):
        """Sends a call whose answer is a stream, and waits until that has begun.

        Items that go along are sent by a thread of their own.
        """
        head = b"".join(_text(key) + _text(str(value)) for key, value in metadata.items())
        call_id, call = self._begin(method, len(payload), len(head), deadline)
        call.items = bytearray()
        items = Items(self, call_id, call, deadline)
        try:
            self._send_call(call_id, call, payload, head, len(metadata), deadline, along is not None)
            if along is not None:
                arguments = (call_id, call, along, deadline)
                threading.Thread(target=self._send_along, args=arguments, name="rpc items", daemon=True).start()
            self.wait_for(call, lambda: call.is_begun, deadline)
            if not call.is_begun and (call.fault is not None or call.error is not None or call.kind == FAIL):
                call.result()
        except BaseException:
            items.close()
            raise
        return items

    def wait_for(self, call, what, deadline):
        """Until there is this, or the call has ended."""
        with self._changed:
            if not self._changed.wait_for(lambda: what() or call.answered.is_set(), _left(deadline)):
                raise RpcError("deadline_exceeded", "maybe", f"{call.method}: deadline exceeded")

    def next_item(self, call_id, call, deadline):
        """The next item of a stream as bytes, and whether it only says how many were left out; None at the end (7.2)."""
        while True:
            with self._changed:
                start = len(MARK) if call.items.startswith(MARK) else 0
                before, length = _length(call.items, start)
                end = start + before + length
                is_here = before and end <= len(call.items)
                if is_here:
                    item = bytes(call.items[start + before : end])
                    del call.items[:end]
                elif call.answered.is_set():
                    return None
                have = len(call.items)
                # A long item is let pass; otherwise a window is filled up when half of it was taken (7.3).
                more = max(end - have - call.credit if before and not is_here else 0, 0)
                if have + call.credit + more <= WINDOW // 2:
                    more = WINDOW - have - call.credit
                is_open = self._calls.get(call_id) is call
                call.credit += more
            if more and is_open:
                self._give_credit(call_id, call, more)
            if is_here:
                return item, start > 0
            self.wait_for(call, lambda: len(call.items) > have, deadline)

    def _give_credit(self, call_id, call, more):
        with self._sending:
            with self._changed:
                is_open = self._calls.get(call_id) is call
            if is_open:
                self._write(_frame(REPLY_CREDIT, _varint(call_id), _varint(more)))

    def call(self, method, payload, deadline, metadata, along=None):
        """Sends a call, and the items that go along, and waits for its answer."""
        head = b"".join(_text(key) + _text(str(value)) for key, value in metadata.items())
        call_id, call = self._begin(method, len(payload), len(head), deadline)
        try:
            self._send_call(call_id, call, payload, head, len(metadata), deadline, along is not None)
            if along is not None:
                self._send_items(call_id, call, along, deadline)
            if call.answered.wait(_left(deadline)):
                return call.result()
        except BaseException:
            self._cancel(call_id, call)
            raise
        self._cancel(call_id, call)
        # It may have come in the meantime.
        if call.answered.is_set():
            return call.result()
        raise RpcError("deadline_exceeded", "maybe", f"{method}: deadline exceeded")

    def _send_along(self, call_id, call, items, deadline):
        """In a thread of its own: whoever reads the answer hears of what went wrong."""
        try:
            self._send_items(call_id, call, items, deadline)
        except Exception as fault:  # noqa: BLE001, raised by `result`
            with self._changed:
                call.fault = fault
            self._cancel(call_id, call)

    def _send_items(self, call_id, call, items, deadline):
        """Sends items as far as the server takes them, and that they have ended (7.2 to 7.5)."""
        for item in items:
            text = _json(item)
            if len(text) > self._most["max_message"]:
                most = self._most["max_message"]
                message = f"{call.method}: an item of {len(text)} bytes exceeds the server's limit of {most}"
                raise RpcError("too_large", "maybe", message)
            data = _varint(len(text)) + text
            while data:
                self.wait_for(call, lambda: call.room > 0 or call.is_stopped, deadline)
                with self._changed:
                    if call.is_stopped or call.answered.is_set():
                        return
                    count = min(call.room, len(data), MAX_FRAME - MAX_HEAD)
                    call.room -= count
                if not self._send_if_open(call_id, call, _frame(CALL_ITEMS, _varint(call_id), data[:count])):
                    return
                data = data[count:]
        self._send_if_open(call_id, call, _frame(CALL_END, _varint(call_id), _varint(0)))

    def _send_if_open(self, call_id, call, frame):
        """After its last frame nothing is sent for a call: its id may be another's (7.6)."""
        with self._sending:
            with self._changed:
                is_open = self._calls.get(call_id) is call and not call.is_stopped
            if is_open:
                self._write(frame)
        return is_open

    def _begin(self, method, length, head, deadline):
        """Takes an id and room for a call, as soon as there is some (5.1, 5.5)."""
        if length > self._most["max_message"]:
            message = f"{method}: arguments of {length} bytes exceed the server's limit of {self._most['max_message']}"
            raise RpcError("too_large", "no", message)
        is_large = length + head + MAX_HEAD > MAX_FRAME
        size = length if is_large else length + head + MAX_HEAD

        def has_room():
            used, most = (self._large_bytes, "assembly") if is_large else (self._small_bytes, "call_bytes")
            return len(self._calls) < self._most["in_flight"] and used + size <= self._most[most]

        with self._changed:
            while self._end is None and not self._is_leaving and not has_room():
                if not self._changed.wait(_left(deadline)):
                    raise RpcError("deadline_exceeded", "no", f"{method}: deadline exceeded")
            self._check_usable(method)
            call_id = next(number for number in range(len(self._calls) + 1) if number not in self._calls)
            call = self._calls[call_id] = _Call(method, size, is_large, None)
            if is_large:
                self._large_bytes += size
            else:
                self._small_bytes += size
        return call_id, call

    def _check_usable(self, method):
        if self._end is not None:
            # A server that has too much to do is not asked again at once.
            kind = _NotTaken if self._end.kind == "unavailable" else RpcError
            raise kind(self._end.kind, "no", f"{method}: {self._end.message}")
        if self._is_leaving:
            raise _NotTaken("unavailable", "no", f"{method}: the connection is being closed")

    def _send_call(self, call_id, call, payload, metadata, pairs, deadline, along):
        options = JSON if call.items is None else JSON | ITEMS
        if along:
            options |= ITEMS_ALONG
            # Behind arguments in chunks the server says when (7.3).
            call.room = 0 if call.is_large else WINDOW
        parts = b""
        left = _left(deadline)
        if left is not None and left <= 0:
            self._forget(call_id, call)
            raise RpcError("deadline_exceeded", "no", f"{call.method}: deadline exceeded")
        options |= DEADLINE
        # Zero means that there is none (5.2).
        parts += _varint(0 if left is None else max(1, int(left * 1_000_000)))
        if pairs:
            options |= METADATA
            parts += _varint(pairs) + metadata
        with self._sending:
            try:
                bind, number = self._number(call.method)
                # From here on it counts as sent (6.4).
                with self._changed:
                    self._check_usable(call.method)
                    call.sequence = self._sequence
                    self._sequence += 1
            except RpcError:
                self._forget(call_id, call)
                raise
            head = _varint(call_id) + _varint(number) + _varint(options) + parts
            if not call.is_large:
                self._write(bind + _frame(CALL | OPTIONS, head, payload))
                return
            # In chunks, with the total before the first (5.3).
            head += _varint(len(payload))
            at = MAX_FRAME - len(head)
            self._write(bind + _frame(CALL | OPTIONS | MORE, head, payload[:at]))
        call_id = _varint(call_id)
        while at < len(payload):
            end = at + MAX_FRAME - len(call_id)
            # One at a time, so that other calls go between.
            with self._sending:
                if call.answered.is_set():
                    # Refused before it was complete: the server drops the rest, and the id may be another's (5.3).
                    return
                self._write(_frame(CALL_CHUNK, call_id, payload[at:end]))
            at = end

    def _number(self, method):
        """The number of a method, and the bind that gives it one (4)."""
        known = self._numbers.get(method)
        if known is not None:
            return b"", known
        name = method.encode()
        if len(name) > MAX_NAME:
            raise RpcError("unimplemented", "no", f"{method[:100]}: no method has such a long name")
        if len(self._numbers) >= MAX_BINDS:
            raise RpcError("overloaded", "no", f"{method}: a connection takes no more than {MAX_BINDS} methods")
        number = self._numbers[method] = len(self._numbers)
        return _frame(BIND, _varint(number), b"\0", _text(method)), number

    def _cancel(self, call_id, call):
        """Nobody waits any more. The id is free again once the last frame has come (5.4)."""
        with self._sending:
            with self._changed:
                is_open = self._calls.get(call_id) is call and call.sequence is not None
            if is_open:
                self._write(_frame(CANCEL, _varint(call_id)))

    def _forget(self, call_id, call):
        """A call that was never sent."""
        with self._changed:
            self._end_call(call_id, call)

    def _end_call(self, call_id, call):
        """Under `_changed`: its id and its room are free."""
        if self._calls.get(call_id) is not call:
            # All calls have ended with the connection.
            return
        del self._calls[call_id]
        if call.is_large:
            self._large_bytes -= call.size
        else:
            self._small_bytes -= call.size
        self._changed.notify_all()

    # -- the end

    def close(self, timeout):
        """Says goodbye, lets the calls in flight end, and closes (6.4)."""
        with self._changed:
            was_leaving, self._is_leaving = self._is_leaving, True
            self._changed.notify_all()
            called = self._called
        if not was_leaving:
            self._send(_frame(GO_AWAY, _varint(0), _varint(called), _text("")))
        with self._changed:
            self._changed.wait_for(lambda: self._end is not None or not self._calls, timeout)
        self._lose(RpcError("unavailable", "maybe", "the client was closed"))
        self._reader.join(timeout)

    def _lose(self, error):
        """There is no connection any more: every call ends."""
        with self._changed:
            if self._end is None:
                self._end = error
            calls, self._calls = self._calls, {}
            self._small_bytes = self._large_bytes = 0
            self._changed.notify_all()
        for call in calls.values():
            # What was never sent, or sent after what the server has read, has not run (6.4).
            unread = self._accepted is not None and call.sequence is not None and call.sequence >= self._accepted
            executed = "no" if unread or call.sequence is None else error.executed
            call.error = RpcError(error.kind, executed, f"{call.method}: {error.message}")
            call.answered.set()
        with self._changed:
            # Those who wait for items.
            self._changed.notify_all()
        try:
            # It wakes the reader, and a sender that is held up.
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    # -- sending

    def _send(self, data):
        with self._sending:
            self._write(data)

    def _write(self, data):
        """Under `_sending`. Whoever waits for an answer hears of a failure from the reader."""
        try:
            self._socket.sendall(data)
        except OSError as error:
            self._lose(RpcError("unavailable", "maybe", f"the connection was lost: {error}"))

    # -- reading

    def _exactly(self, count):
        while len(self._read) < count:
            if self._reader is not None:
                self._wait_for_bytes()
            read = self._socket.recv(1 << 16)
            if read is None:
                # Half a record of TLS.
                continue
            if not read:
                raise ConnectionError("the server closed the connection")
            self._read += read
        taken = bytes(self._read[:count])
        del self._read[:count]
        return taken

    def _read_frame(self):
        header = struct.unpack("<I", self._exactly(4))[0]
        if header >> 8 > MAX_FRAME:
            raise _Violation(f"a frame of {header >> 8} bytes is too long")
        return header & 0xFF, _Fields(self._exactly(header >> 8))

    def _read_preface(self):
        preface = self._exactly(len(PREFACE))
        if preface[:6] != PREFACE[:6]:
            raise _Violation("the server speaks another protocol")

    def _read_hello(self):
        """What the server takes (2.2)."""
        kind, fields = self._read_frame()
        if kind == REFUSED:
            message = (
                f"the server speaks versions {fields.varint()} to {fields.varint()} of the protocol, this client version 1"
            )
            raise RpcError("incompatible", "no", message)
        if kind == GO_AWAY:
            self._on_go_away(fields)
            raise ConnectionError("the server has closed the connection")
        if kind != HELLO:
            raise _Violation("the server does not begin with a hello")
        keys = {1: "max_message", 2: "in_flight", 3: "call_bytes", 4: "assembly"}
        self._most = {"max_message": 65_536, "in_flight": 64, "call_bytes": 65_536, "assembly": 65_536}
        least = dict(self._most)
        while not fields.is_empty():
            key, value = fields.varint(), fields.varint()
            if key in keys:
                self._most[keys[key]] = min(max(value, least[keys[key]]), (1 << 32) - 1)
        self._most["in_flight"] = min(self._most["in_flight"], 1 << 20)
        self._most["max_message"] = min(self._most["max_message"], self._most["assembly"])

    def _read_all(self):
        """The reader's thread."""
        try:
            while True:
                self._on_frame(*self._read_frame())
        except _Violation as violation:
            self._send(_frame(GO_AWAY, _varint(1), _varint(self._called), _text(str(violation))))
            self._lose(RpcError("protocol", "maybe", f"the server broke the protocol: {violation}"))
        except RpcError as error:
            self._lose(error)
        except Exception as error:  # noqa: BLE001, nobody else would tell those who wait
            self._lose(RpcError("unavailable", "maybe", f"the connection was lost: {error}"))
        finally:
            self._socket.close()

    def _wait_for_bytes(self):
        """A server that is silent for long is asked whether it is there (8.3)."""
        for patience in (QUIET, GONE):
            if _is_readable(self._socket, patience):
                return
            if patience == QUIET:
                self._send(_frame(PING))
        raise RpcError("unavailable", "maybe", "the server is not there any more: it answers nothing")

    def _on_frame(self, first, fields):
        kind, flags = first & KIND, first & ~KIND
        if kind in (REPLY, FAIL):
            self._on_answer(kind, flags, fields)
        elif kind == REPLY_CHUNK:
            self._on_chunk(fields)
        elif kind == ERROR:
            self._on_error(fields)
        elif kind == REPLY_ITEMS:
            self._on_items(fields)
        elif kind in (CALL_CREDIT, STOP):
            self._on_credit(kind, fields)
        elif kind == PING:
            self._send(_frame(PONG, bytes(fields.rest)))
        elif kind == GO_AWAY:
            self._on_go_away(fields)
        elif kind == BIND:
            self._on_bind(fields)
        elif kind in (CALL, NOTIFY):
            self._on_call(kind, fields)
        elif kind in (HELLO, REFUSED) or (kind not in KNOWN and not flags & SKIP):
            raise _Violation(f"a frame of kind {kind} out of place")
        # What else there is needs no answer: a bound says only what the errors of calls say as well (4.2), and a pong has done
        # its work by coming.

    def _call_with(self, fields):
        call_id = fields.varint()
        call = self._calls.get(call_id)
        if call is None:
            raise _Violation("an answer to a call that was not made, or was answered")
        return call_id, call

    def _on_answer(self, kind, flags, fields):
        call_id, call = self._call_with(fields)
        if call.total is not None:
            raise _Violation("a second answer while the first is incomplete")
        call.kind = kind
        if flags & MORE:
            call.total = fields.varint()
            if call.total > MAX_MESSAGE:
                raise _Violation(f"a reply of {call.total} bytes is too long")
        self._add(call_id, call, fields)

    def _on_items(self, fields):
        call_id, call = self._call_with(fields)
        if call.items is None:
            raise _Violation("items of a call without a stream")
        with self._changed:
            call.credit -= len(fields.rest)
            if call.credit < 0:
                raise _Violation("more bytes of a stream than there was credit for")
            call.is_begun = True
            call.items += fields.rest
            self._changed.notify_all()

    def _on_credit(self, kind, fields):
        """For items of a call, or that no more of them are taken. Its answer may have come before (7.6)."""
        call, more = self._calls.get(fields.varint()), 0 if kind == STOP else fields.varint()
        if call is None or call.room is None:
            return
        with self._changed:
            call.room += more
            call.is_stopped |= kind == STOP
            self._changed.notify_all()

    def _on_chunk(self, fields):
        call_id, call = self._call_with(fields)
        if call.total is None:
            raise _Violation("a chunk of no reply")
        self._add(call_id, call, fields)

    def _add(self, call_id, call, fields):
        call.body += fields.rest
        if call.total is not None and len(call.body) > call.total:
            raise _Violation("more chunks of a reply than it said")
        if call.total is None or len(call.body) == call.total:
            self._answered(call_id, call)

    def _on_error(self, fields):
        call_id, call = self._call_with(fields)
        code, executed, retry_after = fields.varint(), fields.bytes(1)[0], fields.varint()
        message = fields.text()
        # A server may know the method, not its service.
        if not message.startswith(f"{call.method}:"):
            short = call.method.rpartition(".")[2] + ": "
            message = f"{call.method}: {message.removeprefix(short)}"
        wait = (retry_after - 1) / 1000 if retry_after else None
        call.error = RpcError(KINDS.get(code, "internal"), EXECUTED.get(executed, "maybe"), message, wait)
        self._answered(call_id, call)

    def _answered(self, call_id, call):
        with self._changed:
            call.answered.set()
            self._end_call(call_id, call)
            self._changed.notify_all()

    def _on_go_away(self, fields):
        code, accepted, message = fields.varint(), fields.varint(), fields.text()
        with self._changed:
            self._is_leaving = True
            self._accepted = accepted
            self._changed.notify_all()
        if code == 1:
            raise RpcError("protocol", "maybe", f"the server says that this client broke the protocol: {message}")
        if code == 2:
            raise RpcError("overloaded", "no", message)
        if code != 0:
            raise RpcError("unavailable", "maybe", f"the server closed the connection: {message}")

    # The server may call as well; there is nothing here for it (1, 4.2).

    def _on_bind(self, fields):
        first, what = fields.varint(), fields.bytes(1)
        fields.text()
        if what == b"\1":
            fields.bytes(16)
            statuses = b"\3" * min(fields.varint(), MAX_FRAME)
        else:
            statuses = b"\2"
        self._send(_frame(BOUND, _varint(first), statuses))

    def _on_call(self, kind, fields):
        with self._changed:
            self._called += 1
        if kind == CALL:
            call_id = fields.varint()
            answer = _varint(4) + b"\0" + _varint(0) + _text("this client serves nothing")
            self._send(_frame(ERROR, _varint(call_id), answer))


class _Secure:
    """TLS over a socket, for one thread that reads and others that write. (An `SSLSocket` is for one thread at a time.)"""

    def __init__(self, sock, context, host):
        self._socket = sock
        self._came, self._goes = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._lock = threading.Lock()
        self._tls = context.wrap_bio(self._came, self._goes, server_hostname=host)
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._flush()
                if not self._feed():
                    raise ConnectionError("the server closed the connection") from None
            except ssl.SSLError:
                # It says why it does not go on.
                self._flush()
                raise
        self._flush()

    def _flush(self):
        self._socket.sendall(self._goes.read())

    def _feed(self):
        read = self._socket.recv(1 << 16)
        with self._lock:
            if read:
                self._came.write(read)
            else:
                self._came.write_eof()
        return bool(read)

    def recv(self, count):
        """All that has come, or None if that is not enough to tell what it is.

        What TLS itself has to answer leaves with what is sent next.
        """
        # The end of the handshake may have brought some.
        data = self._opened(count)
        if data is None:
            self._feed()
            data = self._opened(count)
        return data

    def _opened(self, count):
        data = bytearray()
        with self._lock:
            while True:
                try:
                    some = self._tls.read(count)
                except ssl.SSLWantReadError:
                    return bytes(data) or None
                except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                    some = b""
                if not some:
                    return bytes(data)
                data += some

    def sendall(self, data):
        """Callers take turns already, so what is encrypted first leaves first."""
        with self._lock:
            self._tls.write(data)
            ready = self._goes.read()
        self._socket.sendall(ready)

    def settimeout(self, timeout):
        self._socket.settimeout(timeout)

    def shutdown(self, how):
        self._socket.shutdown(how)

    def close(self):
        self._socket.close()

    def fileno(self):
        return self._socket.fileno()


def _json(value):
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _left(deadline):
    return None if deadline is None else max(0.0, deadline - time.monotonic())


def _is_readable(sock, patience):
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        return bool(poll.poll(patience * 1000))
    return bool(select.select([sock], [], [], patience)[0])


def _length(data, start):
    """The length of the item that begins here, and how many bytes say so: none if they are not all here."""
    value = 0
    for place in range(5):
        if start + place >= len(data):
            return 0, 0
        byte = data[start + place]
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            if value > MAX_MESSAGE:
                break
            return place + 1, value
    raise RpcError("protocol", "maybe", "the server sent an item that is too long")


# ---- what programs use


def connect(host, port=None, *, timeout=CALL_TIMEOUT, metadata=None, service=None, tls=None):
    """Connects to a server: `connect("localhost", 8080)`, or `connect("localhost:8080")`.

    `timeout` is how many seconds a call may take, None for any number. `metadata` travels with every call. `service` is
    whose methods are meant by names without a service; without it the one service that has such a method is found, if the
    server tells what it serves. `tls=True` trusts whom this machine trusts; an `ssl.SSLContext` says whom, and who this is.
    """
    if tls is True:
        tls = ssl.create_default_context()
    if port is None:
        host, separator, port = host.rpartition(":")
        if not separator:
            raise ValueError("write `host:port`, or give the port as the second argument")
    link = _Link((host.strip("[]"), int(port)), tls or None)
    link.connection()
    return Client(link, timeout, dict(metadata or {}), service)


class _Link:
    """What a client and its views share: the address, the connection to it, and what is known of the server."""

    def __init__(self, address, tls):
        self._address = address
        self._tls = tls
        self._lock = threading.Lock()
        self._connection = None
        self._is_closed = False
        self._services = None
        self.streams = set()  # methods that are known to return one

    def connection(self):
        """The connection, made again if it was lost."""
        with self._lock:
            if self._is_closed:
                raise RpcError("unavailable", "no", "the client is closed")
            if self._connection is None or not self._connection.is_usable():
                self._connection = self._dial()
            return self._connection

    def _dial(self):
        sock = None
        try:
            sock = socket.create_connection(self._address, CONNECT_TIMEOUT)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # Until the hello is there the time for a connection counts.
            return _Connection(sock if self._tls is None else _Secure(sock, self._tls, self._address[0]))
        except BaseException as error:
            if sock is not None:
                sock.close()
            if isinstance(error, OSError):
                place = f"{self._address[0]}:{self._address[1]}"
                raise RpcError("unavailable", "no", f"{place}: no connection could be made: {error}") from error
            if isinstance(error, _Violation):
                raise RpcError("protocol", "no", str(error)) from None
            raise

    def close(self, timeout):
        with self._lock:
            self._is_closed = True
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.close(timeout)

    def services(self, client):
        """What the server says it serves, by name; nothing if it does not say."""
        if self._services is None:
            try:
                told = client.call("rpc.Reflection.services")
            except RpcError as error:
                if error.kind not in ("unimplemented", "unauthenticated", "permission_denied"):
                    raise
                told = []
            self._services = {service.get("name", ""): service for service in told if isinstance(service, dict)}
        return self._services


class Client:
    """A server's methods as methods: `client.Checkout.pay(..)`, or `client.pay(..)`. Made by `connect`.

    Arguments go by position or by keyword. Whatever JSON can write may be one. `dir` and `help` show what the server
    tells of its services. Any thread may use it.
    """

    def __init__(self, link, timeout, metadata, service, stream_timeout=None):
        self._link = link
        self._timeout = timeout
        self._stream_timeout = stream_timeout
        self._metadata = metadata
        self._service = service

    def call(self, method, /, *arguments, **named):
        """Calls a method by its full name: `client.call("Checkout.get", "order-1")`.

        One that returns a stream gives `Items`, if the server tells what it serves; otherwise there is `watch`. An argument
        that is an iterator is the stream that the method takes: its items are sent as the server takes them, until it ends or
        there is an answer.
        """
        takes = any(map(_is_iterator, [*arguments, *named.values()]))
        # What was taken out of an iterator could not be sent again.
        if method in self._link.streams or (takes and self._returns_a_stream(method)):
            return self.watch(method, *arguments, **named)
        if takes:
            return self._call("call", self._stream_timeout, method, arguments, named)
        try:
            return self._call("call", self._timeout, method, arguments, named)
        except RpcError as error:
            # It has not run. Who returns a stream is refused, unless it is asked for one (5.8).
            if error.kind != "unimplemented" or error.executed != "no" or not self._returns_a_stream(method):
                raise
        self._link.streams.add(method)
        return self.watch(method, *arguments, **named)

    def watch(self, method, /, *arguments, **named):
        """Calls a method that returns a stream by its full name: `for event in client.watch("Checkout.events", 0)`.

        A stream has no deadline but that of `options(timeout=..)`. Of one that takes a stream as well, an iterator among the
        arguments, a thread of its own sends the items.
        """
        return self._call("watch", self._stream_timeout, method, arguments, named)

    def _returns_a_stream(self, method):
        service, _, name = method.rpartition(".")
        told = _methods(self._link.services(self).get(service, {})) if service != "rpc.Reflection" else {}
        return bool(told.get(name, {}).get("items"))

    def _call(self, how, timeout, method, arguments, named):
        if arguments and named:
            raise TypeError(f"{method}: arguments go by position or by name, not both")
        along = [value for value in [*arguments, *named.values()] if _is_iterator(value)]
        if len(along) > 1:
            raise TypeError(f"{method}: a method takes one stream")
        # The stream is none of the arguments that travel (7.1).
        value = {name: value for name, value in named.items() if not _is_iterator(value)} if named else None
        payload = _json([value for value in arguments if not _is_iterator(value)] if value is None else value)
        deadline = None if timeout is None else time.monotonic() + timeout
        for _ in range(3):
            try:
                return getattr(self._link.connection(), how)(method, payload, deadline, self._metadata, *along)
            except _NotTaken as error:
                # It was not even sent: the server is leaving, or has left since. Another may be there.
                refused = error
        raise refused

    def options(self, *, timeout=..., metadata=None, service=...):
        """The same client with another timeout, more metadata, another service: `client.options(timeout=2).pay(..)`."""
        return Client(
            self._link,
            self._timeout if timeout is ... else timeout,
            {**self._metadata, **(metadata or {})},
            self._service if service is ... else service,
            self._stream_timeout if timeout is ... else timeout,
        )

    def close(self, timeout=CLOSE_TIMEOUT):
        """A graceful goodbye: no new calls, those in flight get their answers, and then the connection ends."""
        self._link.close(timeout)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        return Name(self, name)

    def __dir__(self):
        services = self._link.services(self)
        names = {name.split(".")[0] for name in services if name}
        names.update(method for service in services.values() for method in _methods(service))
        return sorted(names.union(super().__dir__()))

    def __repr__(self):
        return f"<client of {self._link._address[0]}:{self._link._address[1]}>"

    def _find(self, name):
        """The full name of a method, given without its service."""
        if "." in name:
            return name
        if self._service is not None:
            return f"{self._service}.{name}"
        services = self._link.services(self)
        homes = [service for service, told in services.items() if service and name in _methods(told)]
        is_free = name in _methods(services.get("", {}))
        if is_free or not homes:
            return name
        if len(homes) > 1:
            raise AttributeError(f"several services have a method `{name}`: {', '.join(sorted(homes))}")
        return f"{homes[0]}.{name}"


class Items:
    """What a stream gives, item by item: `for item in items`. Who does not read it to its end closes it, or drops it.

    It ends only if the method has ended it. Whatever cuts it off is an `RpcError`, or the method's own error. One of kind
    "missed" says how many items were left out, since they were not taken in time: `next` goes on behind it.
    """

    def __init__(self, connection, call_id, call, deadline):
        self._connection = connection
        self._call_id = call_id
        self._call = call
        self._deadline = deadline
        self._is_over = False

    def __iter__(self):
        return self

    def __next__(self):
        if self._is_over:
            raise StopIteration
        try:
            item = self._connection.next_item(self._call_id, self._call, self._deadline)
        except BaseException:
            self.close()
            raise
        method = self._call.method
        if item is None:
            self._is_over = True
            if self._call.fault is not None or self._call.error is not None or self._call.kind == FAIL:
                self._call.result()
            if self._call.items:
                raise RpcError("internal", "yes", f"{method}: the stream ended within an item")
            raise StopIteration
        data, is_mark = item
        if is_mark:
            count = _Fields(data).varint()
            raise RpcError("missed", "yes", f"{method}: the consumer was too slow, and {count} items were left out")
        try:
            return json.loads(data.decode())
        except ValueError as fault:
            raise RpcError("malformed", "yes", f"{method}: malformed item: {fault}") from None

    def close(self):
        """Nobody wants any more: cancels the call."""
        if not self._is_over:
            self._is_over = True
            self._connection._cancel(self._call_id, self._call)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __del__(self):
        if not self._is_over:
            self._is_over = True
            # Not here: whoever is interrupted by this may hold what a cancel takes.
            cancel, arguments = self._connection._cancel, (self._call_id, self._call)
            try:
                threading.Thread(target=cancel, args=arguments, daemon=True).start()
            except RuntimeError:
                pass  # The interpreter ends, and the connection with it.


class Name:
    """The name of a method, to be called, or of a service, to be asked for its methods."""

    def __init__(self, client, name):
        self._client = client
        self._name = name

    def __call__(self, /, *arguments, **named):
        return self._client.call(self._client._find(self._name), *arguments, **named)

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        return Name(self._client, f"{self._name}.{name}")

    def __dir__(self):
        services = self._client._link.services(self._client)
        inside = [name[len(self._name) + 1 :] for name in services if name.startswith(self._name + ".")]
        return sorted({name.split(".")[0] for name in inside}.union(_methods(services.get(self._name, {}))))

    def __repr__(self):
        method = self._method()
        return f"{self._name}{_signature(method)}" if method else self._name

    @property
    def __doc__(self):
        services = self._client._link.services(self._client)
        method = self._method()
        if method:
            lines = [f"{self._name}{_signature(method)}", "", str(method.get("docs") or "").strip()]
            if method.get("error"):
                lines += ["", f"Fails with {method['error']}."]
            if method.get("deprecated"):
                lines += ["", "Deprecated."]
            return "\n".join(lines)
        service = services.get(self._name)
        if service is None:
            return "The server tells nothing of this."
        listed = [f"    {name}{_signature(method)}" for name, method in _methods(service).items()]
        return "\n".join([str(service.get("docs") or "").strip(), "", *listed])

    @property
    def __signature__(self):
        method = self._method()
        if method is None:
            raise AttributeError("__signature__")
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        names = [str(argument.get("name", "")) for argument in _arguments(method)]
        return inspect.Signature([inspect.Parameter(name, kind) for name in names if name.isidentifier()])

    def _method(self):
        """What the server tells of this method."""
        service, _, name = self._client._find(self._name).rpartition(".")
        return _methods(self._client._link.services(self._client).get(service, {})).get(name)


def _methods(service):
    """The methods of a service by name. Whatever else stands there is somebody else's."""
    return {method["name"]: method for method in service.get("methods") or [] if isinstance(method, dict) and "name" in method}


def _arguments(method):
    return [argument for argument in method.get("arguments") or [] if isinstance(argument, dict)]


def _is_iterator(value):
    """A list is not one, nor is anything else that JSON can write."""
    return hasattr(value, "__next__")


def _signature(method):
    arguments = ", ".join(f"{argument.get('name')}: {argument.get('type')}" for argument in _arguments(method))
    items = method.get("items")
    returns = f"stream of {items}" if items else method.get("returns")
    return f"({arguments}) -> {returns}" if returns else f"({arguments})"


def main():
    """python3 client.py HOST:PORT METHOD [JSON]: calls a method and prints what it returns, of a stream one item a line."""
    if len(sys.argv) not in (3, 4):
        print(main.__doc__, file=sys.stderr)
        return 64
    address, method = sys.argv[1:3]
    try:
        arguments = json.loads(sys.argv[3]) if len(sys.argv) == 4 else []
    except ValueError as fault:
        print(f"the arguments are not JSON: {fault}", file=sys.stderr)
        return 64
    try:
        with connect(address) as client:
            named = isinstance(arguments, dict)
            result = client.call(method, **arguments) if named else client.call(method, *arguments)
            if isinstance(result, Items):
                with result:
                    for item in result:
                        print(json.dumps(item, ensure_ascii=False), flush=True)
                return 0
    except RpcError as error:
        # What a server says may be meant for the terminal.
        said = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in str(error))
        print(f"{type(error).__name__}: {said} (executed: {error.executed})", file=sys.stderr)
        return 1
    print(json.dumps(result, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
