"""Tests of client.py: against a server spoken by hand, against the checkout and against the conformance server.

python3 test_client.py                                  the first alone
python3 test_client.py ADDR CONFORMANCE TLS CA          all; at TLS is a checkout whose certificate the file CA vouches for
"""

import inspect
import json
import pydoc
import socket
import ssl
import struct
import sys
import threading
import time
import unittest
import uuid

import client as rpc
from client import RpcError, ServiceError, connect, errors

CHECKOUT = CONFORMANCE = SECURE = AUTHORITY = None
# Keys of their own: what an earlier run has paid is answered at once.
RUN = uuid.uuid4().hex[:8]

CARD = {"number": "4242424242424242", "expiry": {"year": 2099, "month": 12}, "cvc": "123"}
# Its issuer takes a second to answer.
SLOW = {**CARD, "number": "4000000000006009"}
DECLINED = {**CARD, "number": "4000000000009995"}
AMOUNT = {"minor": 1990, "currency": "USD"}


def in_threads(count, work):
    """What `work(0)` to `work(count - 1)` return, each in a thread of its own."""
    results, failures = [None] * count, []

    def run(place):
        try:
            results[place] = work(place)
        except Exception as failure:  # noqa: BLE001, raised below
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(place,)) for place in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for failure in failures:
        raise failure
    return results


class AgainstTheCheckout(unittest.TestCase):
    def setUp(self):
        if CHECKOUT is None:
            self.skipTest("no address was given")
        self.client = connect(CHECKOUT)
        self.addCleanup(self.client.close)

    def key(self, name="key"):
        return f"{RUN}-{self.id()}-{name}"

    def token(self, card=CARD):
        return self.client.Checkout.tokenize(card)["token"]

    def test_an_order_is_quoted_and_paid(self):
        quote = self.client.Checkout.quote([{"sku": "tea", "quantity": 2}])
        self.assertEqual(quote["currency"], "EUR")
        self.assertGreater(quote["minor"], 0)
        arguments = {"key": self.key(), "order": self.key("order"), "amount": AMOUNT, "card": self.token()}
        receipt = self.client.Checkout.pay(**arguments)
        self.assertEqual((receipt["captured"], receipt["last_four"]), (AMOUNT, "4242"))
        # The same key again is the same payment.
        self.assertEqual(self.client.Checkout.pay(*arguments.values()), receipt)
        self.assertEqual(self.client.Checkout.status(arguments["key"]), {"captured": receipt})

    def test_names_without_a_service_are_those_of_a_service_that_was_chosen(self):
        shop = self.client.options(service="Checkout")
        self.assertGreaterEqual(shop.last_event(), 0)

    def test_a_decline_is_an_exception_of_its_own(self):
        with self.assertRaises(errors.Declined) as raised:
            self.client.Checkout.pay(self.key(), self.key("order"), AMOUNT, self.token(DECLINED))
        declined = raised.exception
        self.assertIsInstance(declined, ServiceError)
        self.assertEqual((declined.value, declined.detail), ({"declined": "insufficient_funds"}, "insufficient_funds"))
        self.assertEqual((declined.kind, declined.executed), ("service", "yes"))

    def test_a_conflict_is_another(self):
        arguments = [self.key(), self.key("order"), AMOUNT, self.token()]
        self.client.Checkout.pay(*arguments)
        with self.assertRaises(errors.Conflict):
            self.client.Checkout.pay(*arguments[:2], {**AMOUNT, "minor": 1}, arguments[3])

    def test_an_unknown_method_was_not_executed(self):
        for method in (self.client.Checkout.steal, self.client.Shop.pay, self.client.steal):
            with self.assertRaises(RpcError) as raised:
                method()
            self.assertEqual((raised.exception.kind, raised.exception.executed), ("unimplemented", "no"))
        # And the connection goes on.
        self.client.Checkout.last_event()

    def test_a_wrong_argument_is_named_by_its_path(self):
        with self.assertRaises(RpcError) as raised:
            self.client.Checkout.quote([{"sku": "tea", "quantity": 1}, {"sku": "tea", "quantity": -1}])
        error = raised.exception
        self.assertEqual((error.kind, error.executed), ("malformed", "no"))
        self.assertIn("[1].quantity", error.message)
        with self.assertRaises(RpcError) as raised:
            self.client.Checkout.quote(things=[])
        self.assertIn("things", raised.exception.message)
        with self.assertRaises(TypeError):
            self.client.Checkout.get("order", order="order")

    def test_threads_share_a_connection(self):
        token = self.token()

        def pay(number):
            return self.client.Checkout.pay(self.key(number), self.key(number), {**AMOUNT, "minor": number + 1}, token)

        receipts = in_threads(16, pay)
        self.assertEqual([receipt["captured"]["minor"] for receipt in receipts], list(range(1, 17)))
        self.assertEqual(len({receipt["id"] for receipt in receipts}), 16)

    def test_long_arguments_and_long_answers_go_in_chunks(self):
        skus = ["x" * 300_000, "y" * 70_000, "é" * 100_000]

        def quote(place):
            sku = skus[place % len(skus)]
            try:
                self.client.Checkout.quote([{"sku": sku, "quantity": 1}])
            except errors.UnknownSku as unknown:
                return unknown.detail == sku
            return False

        self.assertEqual(in_threads(9, quote), [True] * 9)
        with self.assertRaises(RpcError) as raised:
            self.client.Checkout.quote([{"sku": "x" * (5 << 20), "quantity": 1}])
        self.assertEqual((raised.exception.kind, raised.exception.executed), ("too_large", "no"))

    def test_a_long_list_comes_in_chunks(self):
        token = self.token()

        def pay(thread):
            for number in range(50):
                self.client.Checkout.pay(self.key((thread, number)), self.key(f"{thread:02}-{number:02}"), AMOUNT, token)

        in_threads(8, pay)
        payments = self.client.Checkout.list(self.key(""), 1000)
        self.assertGreater(len(json.dumps(payments)), 65_536)
        orders = [payment["order"] for payment in payments]
        self.assertEqual(orders, sorted(orders))
        self.assertEqual(len([order for order in orders if order.startswith(self.key(""))]), 400)

    def test_a_call_gives_up_at_its_deadline_and_the_truth_can_be_asked_for(self):
        arguments = [self.key(), self.key("order"), AMOUNT, self.token(SLOW)]
        with self.assertRaises(RpcError) as raised:
            self.client.options(timeout=0.5).Checkout.pay(*arguments)
        self.assertEqual((raised.exception.kind, raised.exception.executed), ("deadline_exceeded", "maybe"))
        receipt = self.client.Checkout.pay(*arguments)
        self.assertEqual(self.client.Checkout.status(arguments[0]), {"captured": receipt})

    def test_a_goodbye_lets_a_call_in_flight_end(self):
        client, token = connect(CHECKOUT), self.token(SLOW)
        outcome = []
        pays = threading.Thread(
            target=lambda: outcome.append(client.Checkout.pay(self.key(), self.key("order"), AMOUNT, token))
        )
        pays.start()
        connection = client._link.connection()
        while not connection._calls:
            time.sleep(0)
        client.close()
        pays.join()
        self.assertEqual(outcome[0]["captured"], AMOUNT)
        with self.assertRaises(RpcError) as raised:
            client.Checkout.last_event()
        self.assertEqual((raised.exception.kind, raised.exception.executed), ("unavailable", "no"))

    def test_events_come_as_they_happen(self):
        after = self.client.Checkout.last_event()
        keys = [self.key(number) for number in range(3)]
        token = self.token()
        self.client.Checkout.pay(keys[0], keys[0], AMOUNT, token)
        with self.client.Checkout.events(after) as events:
            seen = [next(events), next(events)]
            for key in keys[1:]:
                self.client.Checkout.pay(key, key, AMOUNT, token)
                seen += [next(events), next(events)]
        self.assertEqual([event["key"] for event in seen], [key for key in keys for _ in range(2)])
        self.assertEqual([event["sequence"] for event in seen], list(range(after + 1, after + 7)))
        with self.assertRaises(RpcError) as raised:
            list(self.client.options(timeout=0.5).Checkout.events(after))
        self.assertEqual(raised.exception.kind, "deadline_exceeded")
        with self.assertRaises(RpcError) as raised:
            self.client.watch("Checkout.last_event")
        self.assertEqual((raised.exception.kind, raised.exception.executed), ("unimplemented", "no"))
        # More than a window of them.
        for number in range(40):
            self.client.Checkout.pay(self.key(("more", number)), self.key(("more", number)), AMOUNT, token)
        last = self.client.Checkout.last_event()
        with self.client.Checkout.events(after) as events:
            self.assertEqual([next(events)["sequence"] for _ in range(last - after)], list(range(after + 1, last + 1)))

    def test_a_server_that_tells_nothing_of_itself_can_be_called_all_the_same(self):
        names = dir(self.client)
        self.assertIn("call", names)
        if "Checkout" not in names:
            self.assertEqual(dir(self.client.Checkout), [])
            return
        # It does tell.
        self.assertIn("pay", dir(self.client.Checkout))
        self.assertIn("pay", names)
        self.assertIn("captures", pydoc.render_doc(self.client.Checkout.pay))


class AgainstTheConformanceServer(unittest.TestCase):
    def setUp(self):
        if CONFORMANCE is None:
            self.skipTest("no address was given")
        self.client = connect(CONFORMANCE)
        self.addCleanup(self.client.close)

    def test_a_stream_goes_up_item_by_item(self):
        # More than any window, and one item that is longer than one.
        sizes = [27_182, 8, 1_828, 45_904] + [100] * 2_000
        uploaded = self.client.Conformance.upload([7] * size for size in sizes)
        self.assertEqual((uploaded["items"], uploaded["bytes"]), (len(sizes), sum(sizes)))
        self.assertEqual(self.client.Conformance.upload(iter([]))["items"], 0)
        self.assertEqual(self.client.Conformance.upload(items=iter([[1]]))["items"], 1)

    def test_a_stream_that_breaks_off_is_no_end(self):
        before = self.client.Conformance.count()

        def broken():
            yield [1]
            # A call that is cancelled before it has begun is none to the server.
            while self.client.Conformance.count()["taken"] == before["taken"]:
                pass
            raise KeyError("the tape is torn")

        with self.assertRaises(KeyError):
            self.client.Conformance.upload(broken())
        with self.assertRaises(RpcError) as raised:
            self.client.Conformance.upload(iter(["no bytes"]))
        self.assertEqual((raised.exception.kind, raised.exception.executed), ("service", "yes"))
        limit = time.monotonic() + 30
        while (count := self.client.Conformance.count())["aborted"] < before["aborted"] + 2:
            self.assertLess(time.monotonic(), limit)
        self.assertEqual(count["finished"], before["finished"])

    def test_streams_go_both_ways(self):
        said, heard = threading.Semaphore(1), []

        def lines():
            for number in range(4):
                said.acquire()
                yield [number] * (10_000 * number)

        for line in self.client.watch("Conformance.chat", lines()):
            heard.append(len(line))
            # Each is said when the one before has come back.
            said.release()
        self.assertEqual(heard, [0, 10_000, 20_000, 30_000])

    def test_an_item_that_is_too_long_fails_its_call_alone(self):
        with self.assertRaises(RpcError) as raised:
            self.client.Conformance.upload(iter(["x" * (5 << 20)]))
        self.assertEqual(raised.exception.kind, "too_large")
        self.assertEqual(self.client.Conformance.echo([1, 2]), [1, 2])


class OverTls(unittest.TestCase):
    def setUp(self):
        if SECURE is None:
            self.skipTest("no address was given")
        self.port = int(SECURE.rpartition(":")[2])

    def connect(self, host="localhost"):
        client = connect(host, self.port, tls=ssl.create_default_context(cafile=AUTHORITY))
        self.addCleanup(client.close)
        return client

    def test_threads_share_a_connection_that_is_encrypted(self):
        client = self.connect()
        things = [{"sku": "tea", "quantity": number + 1} for number in range(3_000)]

        def quote(number):
            # Long ones, in records between those of others.
            return client.Checkout.quote(things[: 1 + number * 180])["minor"]

        quotes = in_threads(16, quote)
        self.assertEqual(quotes, [sum(450 * thing["quantity"] for thing in things[: 1 + number * 180]) for number in range(16)])
        token = client.Checkout.tokenize(CARD)["token"]
        key = f"{RUN}-tls"
        client.Checkout.pay(key, key, AMOUNT, token)
        events = client.Checkout.events(0)
        self.assertEqual([next(events)["sequence"] for _ in range(2)], [1, 2])
        events.close()

    def test_whom_nobody_vouches_for_is_not_talked_to(self):
        with self.assertRaises(RpcError) as raised:
            connect("localhost", self.port, tls=True)
        self.assertEqual((raised.exception.kind, raised.exception.executed), ("unavailable", "no"))
        self.assertIn("certificate", raised.exception.message)
        with self.assertRaises(RpcError) as raised:
            self.connect("127.0.0.1")
        self.assertIn("127.0.0.1", raised.exception.message, "it is another's certificate")
        # Without TLS nothing is understood, by either.
        with self.assertRaises(RpcError):
            connect("localhost", self.port)


class Spoken:
    """A server spoken by hand, from the protocol's text: it reads frames and answers as it is told to."""

    def __init__(self, test):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = self.listener.getsockname()
        test.addCleanup(self.listener.close)
        self.numbers = {}

    def accept(self, hello=b"", preface=rpc.PREFACE):
        self.socket, _ = self.listener.accept()
        # Small frames do not wait for each other.
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.numbers = {}
        assert self.exactly(8) == rpc.PREFACE
        assert self.frame()[0] == rpc.HELLO
        self.socket.sendall(preface + rpc._frame(rpc.HELLO, hello))

    def exactly(self, count):
        data = b""
        while len(data) < count:
            read = self.socket.recv(count - len(data))
            if not read:
                raise EOFError
            data += read
        return data

    def frame(self):
        header = struct.unpack("<I", self.exactly(4))[0]
        return header & 0xFF, rpc._Fields(self.exactly(header >> 8))

    def call(self):
        """The next call: its id, the name of its method, its arguments. Binds before it are answered."""
        while True:
            first, fields = self.frame()
            if first == rpc.BIND:
                number, what, name = fields.varint(), fields.bytes(1), fields.text()
                assert (number, what) == (len(self.numbers), b"\0")
                self.numbers[number] = name
                self.send(rpc.BOUND, rpc._varint(number))
                continue
            if first == rpc.CALL_ITEMS:
                # Of a call that was answered, they met its answer on the way.
                continue
            assert first == rpc.CALL | rpc.OPTIONS, first
            call, number, options = fields.varint(), fields.varint(), fields.varint()
            assert options & rpc.JSON
            self.watches = bool(options & rpc.ITEMS)
            self.takes = bool(options & rpc.ITEMS_ALONG)
            if options & rpc.DEADLINE:
                fields.varint()
            self.metadata = {}
            if options & rpc.METADATA:
                for _ in range(fields.varint()):
                    key = fields.text()
                    self.metadata[key] = fields.text()
            return call, self.numbers[number], json.loads(bytes(fields.rest))

    def send(self, kind, *parts):
        self.socket.sendall(rpc._frame(kind, *parts))

    def reply(self, call, value):
        self.send(rpc.REPLY, rpc._varint(call), json.dumps(value).encode())

    def items(self, call, *values):
        texts = [json.dumps(value).encode() for value in values]
        self.send(rpc.REPLY_ITEMS, rpc._varint(call), *[rpc._varint(len(text)) + text for text in texts])

    def error(self, call, code, executed, retry_after=0, message="no"):
        self.send(
            rpc.ERROR, rpc._varint(call), rpc._varint(code), bytes([executed]), rpc._varint(retry_after), rpc._text(message)
        )

    def go_away(self, code, accepted):
        self.send(rpc.GO_AWAY, rpc._varint(code), rpc._varint(accepted), rpc._text("bye"))


class AgainstAServerSpokenByHand(unittest.TestCase):
    def serve(self, script, **options):
        """A client of a server that runs this script in a thread of its own."""
        server = Spoken(self)
        self.failures = []

        def run():
            try:
                script(server)
            except BaseException as failure:  # noqa: BLE001, reported by `check`
                self.failures.append(failure)
            finally:
                server.socket.close()

        self.thread = threading.Thread(target=run)
        self.thread.start()
        client = connect(*server.address, **options)
        self.addCleanup(self.check)
        self.addCleanup(client.close, 0)
        return client

    def check(self):
        self.thread.join()
        self.assertEqual(self.failures, [])

    def test_numbers_and_texts_are_those_of_the_protocol(self):
        self.assertEqual(rpc._varint(300), b"\xac\x02")
        self.assertEqual(rpc._Fields(b"\xac\x02").varint(), 300)
        self.assertEqual(rpc._Fields(rpc._varint((1 << 64) - 1)).varint(), (1 << 64) - 1)
        for malformed in (b"", b"\x80", b"\x80\x00", b"\xff" * 10, b"\xff" * 9 + b"\x02"):
            with self.assertRaises(rpc._Violation):
                rpc._Fields(malformed).varint()
        # The session at the end of docs/protocol.md.
        self.assertEqual(rpc._frame(rpc.REPLY, b"\0", b"\xad\x02"), bytes.fromhex("07 03 00 00 00 ad 02"))

    def test_pings_are_answered_and_unknown_frames_skipped_between_answers(self):
        def script(server):
            server.accept()
            call, name, arguments = server.call()
            assert (name, arguments) == ("add", [1, 2])
            server.send(rpc.PING, b"12345678")
            server.send(25 | rpc.SKIP, b"of a later version")
            first, fields = server.frame()
            assert (first, bytes(fields.rest)) == (rpc.PONG, b"12345678")
            server.reply(call, 3)

        self.assertEqual(self.serve(script).call("add", 1, 2), 3)

    def test_answers_come_in_any_order_and_in_chunks_between_each_other(self):
        def script(server):
            server.accept()
            calls = [server.call() for _ in range(3)]
            names.extend(arguments for _, _, arguments in calls)
            server.send(rpc.REPLY | rpc.MORE, rpc._varint(calls[0][0]), rpc._varint(9), b'"from')
            server.send(rpc.FAIL | rpc.MORE, rpc._varint(calls[1][0]), rpc._varint(5), b'"ba')
            server.reply(calls[2][0], calls[2][2])
            server.send(rpc.REPLY_CHUNK, rpc._varint(calls[1][0]), b'd"')
            server.send(rpc.REPLY_CHUNK, rpc._varint(calls[0][0]), b' 0"\n'[:4])

        names = []
        client = self.serve(script)

        def call(number):
            try:
                return client.call("echo", number)
            except errors.Bad as bad:
                return bad.value

        results = in_threads(3, call)
        self.assertEqual([results[arguments[0]] for arguments in names], ["from 0", "bad", names[2]])

    def test_errors_say_all_that_the_server_said(self):
        def script(server):
            server.accept()
            server.error(server.call()[0], 3, 0, 1501, "too much")
            server.error(server.call()[0], 99, 7)

        client = self.serve(script)
        with self.assertRaises(RpcError) as raised:
            client.Shop.work()
        error = raised.exception
        self.assertEqual(
            (error.kind, error.executed, error.retry_after, str(error)), ("overloaded", "no", 1.5, "Shop.work: too much")
        )
        with self.assertRaises(RpcError) as raised:
            client.Shop.work()
        self.assertEqual((raised.exception.kind, raised.exception.executed), ("internal", "maybe"))

    def test_metadata_travels_along(self):
        def script(server):
            server.accept()
            call, _, _ = server.call()
            assert server.metadata == {"api-key": "secret", "tenant": "a"}
            server.reply(call, None)

        client = self.serve(script, metadata={"api-key": "secret"})
        self.assertIsNone(client.options(metadata={"tenant": "a"}).Shop.look())

    def test_a_call_that_gives_up_is_cancelled_and_its_id_not_used_before_its_answer(self):
        def script(server):
            server.accept()
            first, _, _ = server.call()
            kind, fields = server.frame()
            assert (kind, fields.varint()) == (rpc.CANCEL, first)
            second, _, _ = server.call()
            assert second != first
            server.reply(first, "late")
            server.reply(second, "in time")
            third, _, _ = server.call()
            assert third == first
            server.reply(third, "again")

        client = self.serve(script)
        with self.assertRaises(RpcError) as raised:
            client.options(timeout=0.5).Shop.wait()
        self.assertEqual((raised.exception.kind, raised.exception.executed), ("deadline_exceeded", "maybe"))
        self.assertEqual(client.Shop.wait(), "in time")
        self.assertEqual(client.Shop.wait(), "again")

    def test_calls_wait_for_room(self):
        """Of 64 calls at most, and of 64 KiB: the least that a server may allow."""

        def script(server):
            server.accept()
            first = [server.call() for _ in range(2)]
            # What is too much for both together is not sent.
            server.socket.settimeout(0.05)
            try:
                server.frame()
                raise AssertionError("a third call came")
            except socket.timeout:
                server.socket.settimeout(None)
            for call, _, arguments in first:
                server.reply(call, len(arguments[0]))
            call, _, arguments = server.call()
            server.reply(call, len(arguments[0]))

        client = self.serve(script)
        self.assertEqual(in_threads(3, lambda _: client.call("len", "x" * 30_000)), [30_000] * 3)

    def test_what_the_server_did_not_read_before_it_left_was_not_executed(self):
        def script(server):
            server.accept()
            calls = [server.call(), server.call()]
            order.extend(arguments[0] for _, _, arguments in calls)
            # It has read one of them, it says, and is gone.
            server.go_away(0, 1)

        order = []
        client = self.serve(script)

        def call(number):
            try:
                client.call("work", number)
            except RpcError as error:
                return error.kind, error.executed

        results = in_threads(2, call)
        self.assertEqual([results[number] for number in order], [("unavailable", "maybe"), ("unavailable", "no")])

    def test_the_next_call_makes_another_connection(self):
        def script(server):
            server.accept()
            server.reply(server.call()[0], "first")
            server.go_away(0, 1)
            server.socket.close()
            # The client lets go of it, and comes back for its next call.
            server.accept()
            server.reply(server.call()[0], "second")

        client = self.serve(script)
        self.assertEqual(client.Shop.work(), "first")
        connection = client._link._connection
        with connection._changed:
            self.assertTrue(connection._changed.wait_for(lambda: connection._is_leaving, 30))
        self.assertEqual(client.Shop.work(), "second")

    def test_a_server_that_breaks_the_rules_ends_its_calls_and_is_told_why(self):
        faults = [
            lambda server, call: server.reply(call + 1, None),
            lambda server, call: server.send(rpc.REPLY_CHUNK, rpc._varint(call), b"x"),
            lambda server, call: server.send(rpc.REPLY | rpc.MORE, rpc._varint(call), rpc._varint(1), b"xx"),
            lambda server, call: server.send(rpc.REPLY | rpc.MORE, rpc._varint(call), rpc._varint(1 << 40)),
            lambda server, call: server.send(25),
            lambda server, call: server.send(rpc.HELLO),
            lambda server, call: server.send(rpc.ERROR, rpc._varint(call), b"\x80"),
            lambda server, call: server.socket.sendall(struct.pack("<I", 65_537 << 8 | rpc.PING)),
        ]
        for fault in faults:

            def script(server, fault=fault):
                server.accept()
                fault(server, server.call()[0])
                first, fields = server.frame()
                assert (first, fields.varint()) == (rpc.GO_AWAY, 1)

            client = self.serve(script)
            with self.assertRaises(RpcError) as raised:
                client.Shop.work()
            self.assertEqual((raised.exception.kind, raised.exception.executed), ("protocol", "maybe"))
            self.thread.join()

    def test_a_reply_that_is_no_json_fails_its_call_alone(self):
        def script(server):
            server.accept()
            for wrong in (b"\xff", b"[" * 60_000):
                server.send(rpc.REPLY, rpc._varint(server.call()[0]), wrong)
            server.reply(server.call()[0], 1)

        client = self.serve(script)
        for _ in range(2):
            with self.assertRaises(RpcError) as raised:
                client.Shop.work()
            self.assertEqual((raised.exception.kind, raised.exception.executed), ("malformed", "yes"))
        self.assertEqual(client.Shop.work(), 1)

    def test_a_server_that_calls_is_told_that_there_is_nothing(self):
        def script(server):
            server.accept()
            call, _, _ = server.call()
            server.send(rpc.BIND, rpc._varint(0), b"\0", rpc._text("confirm"))
            server.send(rpc.CALL | rpc.OPTIONS, rpc._varint(0), rpc._varint(0), rpc._varint(rpc.JSON), b"[]")
            first, fields = server.frame()
            assert (first, bytes(fields.rest)) == (rpc.BOUND, b"\0\2")
            first, fields = server.frame()
            assert (first, fields.varint(), fields.varint()) == (rpc.ERROR, 0, 4)
            server.reply(call, "done")

        self.assertEqual(self.serve(script).Shop.buy(), "done")

    def test_a_stream_is_read_item_by_item(self):
        def script(server):
            server.accept()
            call, name, arguments = server.call()
            assert (name, arguments, server.watches) == ("Far.count", [3], True)
            text = rpc._varint(7) + b'{"a":1}'
            server.send(rpc.REPLY_ITEMS, rpc._varint(call))
            server.send(rpc.REPLY_ITEMS, rpc._varint(call), text[:3])
            server.send(rpc.REPLY_ITEMS, rpc._varint(call), text[3:], rpc.MARK, b"\2", rpc._varint(300))
            server.items(call, "b")
            server.send(rpc.REPLY, rpc._varint(call))
            call, _, _ = server.call()
            server.send(rpc.REPLY, rpc._varint(call))
            call, _, _ = server.call()
            server.send(rpc.FAIL, rpc._varint(call), b'{"unknown":"tea"}')
            call, _, _ = server.call()
            server.items(call, 1)
            server.error(call, 11, 2)

        client = self.serve(script)
        items = client.watch("Far.count", 3)
        self.assertEqual(next(items), {"a": 1})
        with self.assertRaises(RpcError) as raised:
            next(items)
        self.assertEqual(raised.exception.kind, "missed")
        self.assertIn("300", raised.exception.message)
        self.assertEqual(list(items), ["b"])
        self.assertEqual(list(client.watch("Far.count", 0)), [])
        with self.assertRaises(errors.Unknown):
            client.watch("Far.count", 0)
        items = client.watch("Far.count", 0)
        self.assertEqual(next(items), 1)
        with self.assertRaises(RpcError) as raised:
            next(items)
        self.assertEqual((raised.exception.kind, raised.exception.executed), ("internal", "yes"))
        self.assertEqual(list(items), [])

    def test_a_stream_takes_a_window_and_no_more(self):
        def script(server):
            server.accept()
            call, _, _ = server.call()
            item = rpc._varint(1022) + json.dumps("x" * 1020).encode()
            for _ in range(16):
                server.send(rpc.REPLY_ITEMS, rpc._varint(call), item)
            # What is taken is given back.
            first, fields = server.frame()
            assert (first, fields.varint(), fields.varint()) == (rpc.REPLY_CREDIT, call, 8192)
            # An item that is longer than the window.
            long = rpc._varint(100_002) + json.dumps("y" * 100_000).encode()
            server.send(rpc.REPLY_ITEMS, rpc._varint(call), long[:8192])
            credit = 0
            while credit < len(long) - 8192:
                first, fields = server.frame()
                assert (first, fields.varint()) == (rpc.REPLY_CREDIT, call)
                credit += fields.varint()
            for at in range(8192, len(long), 50_000):
                server.send(rpc.REPLY_ITEMS, rpc._varint(call), long[at : at + 50_000])
            while True:
                first, fields = server.frame()
                if first != rpc.REPLY_CREDIT:
                    break
            assert (first, fields.varint()) == (rpc.CANCEL, call)
            server.error(call, 1, 1)
            # More than there is credit for.
            call, _, _ = server.call()
            server.send(rpc.REPLY_ITEMS, rpc._varint(call), b"\1" * 16_385)
            first, fields = server.frame()
            assert (first, fields.varint()) == (rpc.GO_AWAY, 1)

        client = self.serve(script)
        items = client.watch("Far.texts")
        self.assertEqual([len(next(items)) for _ in range(17)], [1020] * 16 + [100_000])
        items.close()
        self.assertEqual(list(items), [])
        with self.assertRaises(RpcError) as raised:
            for _ in client.watch("Far.texts"):
                pass
        self.assertIn(raised.exception.kind, ("protocol", "malformed"))

    def test_a_method_that_streams_is_known_by_what_the_server_tells(self):
        def script(server):
            server.accept()
            call, name, _ = server.call()
            assert (name, server.watches) == ("Far.count", False)
            server.error(call, 4, 0)
            call, name, _ = server.call()
            assert name == "rpc.Reflection.services"
            server.reply(call, [{"name": "Far", "methods": [{"name": "count", "items": "u32"}]}])
            for _ in range(2):
                call, name, _ = server.call()
                assert (name, server.watches) == ("Far.count", True)
                server.items(call, 1, 2)
                server.send(rpc.REPLY, rpc._varint(call))

        client = self.serve(script)
        self.assertEqual(list(client.Far.count()), [1, 2])
        self.assertEqual(list(client.Far.count()), [1, 2])
        self.assertIn("stream of u32", repr(client.Far.count))

    def test_a_stream_that_is_dropped_is_cancelled(self):
        def script(server):
            server.accept()
            call, _, _ = server.call()
            server.items(call, 1, 2)
            first, fields = server.frame()
            assert (first, fields.varint()) == (rpc.CANCEL, call)
            server.error(call, 1, 1)
            call, _, _ = server.call()
            server.items(call, 1)
            server.socket.close()

        client = self.serve(script)
        for item in client.watch("Far.count"):
            self.assertEqual(item, 1)
            break
        items = client.watch("Far.count")
        self.assertEqual(next(items), 1)
        with self.assertRaises(RpcError) as raised:
            next(items)
        self.assertEqual((raised.exception.kind, raised.exception.executed), ("unavailable", "maybe"))

    def test_a_stream_goes_up_within_its_credit(self):
        item = json.dumps("x" * 998).encode()
        framed = rpc._varint(len(item)) + item

        def script(server):
            server.accept()
            # What it does not tell is a method that returns no stream.
            call, name, arguments = server.call()
            assert name == "rpc.Reflection.services"
            server.error(call, 4, 0)
            call, name, arguments = server.call()
            assert (name, arguments, server.takes, server.watches) == ("Ledger.book", ["a"], True, False)
            # No more than a window, and then as much as it is given.
            came = b""
            while len(came) < rpc.WINDOW:
                first, fields = server.frame()
                assert (first, fields.varint()) == (rpc.CALL_ITEMS, call)
                came += bytes(fields.rest)
            assert len(came) == rpc.WINDOW
            server.send(rpc.PING, b"1")
            assert server.frame()[0] == rpc.PONG, "it waits"
            server.send(rpc.CALL_CREDIT, rpc._varint(call), rpc._varint(1_000_000))
            while True:
                first, fields = server.frame()
                assert fields.varint() == call
                if first == rpc.CALL_END:
                    break
                came += bytes(fields.rest)
            assert (came, fields.varint()) == (framed * 40, 0)
            server.reply(call, 40)
            # It takes no more of them, and answers all the same.
            call, _, _ = server.call()
            server.send(rpc.STOP, rpc._varint(call))
            while True:
                server.send(rpc.PING, b"2")
                while (frame := server.frame())[0] == rpc.CALL_ITEMS:
                    pass
                if frame[0] == rpc.PONG:
                    break
            server.send(rpc.CALL_CREDIT, rpc._varint(call), rpc._varint(1_000_000))
            server.reply(call, "enough")
            # It answers before the items have ended.
            call, _, _ = server.call()
            server.reply(call, "early")
            call, name, _ = server.call()
            assert name == "Ledger.last"
            server.reply(call, None)

        client = self.serve(script)
        self.assertEqual(client.Ledger.book("a", ("x" * 998 for _ in range(40))), 40)
        self.assertEqual(client.Ledger.book("a", ("x" * 998 for _ in range(1_000_000))), "enough")
        self.assertEqual(client.Ledger.book("a", ("x" * 998 for _ in range(1_000_000))), "early")
        with self.assertRaises(TypeError):
            client.Ledger.book(iter([]), iter([]))
        self.assertIsNone(client.call("Ledger.last"))

    def test_another_protocol_and_another_version_are_named(self):
        for preface, kind, words in [
            (b"HTTP/1.1 400 Bad", "protocol", "another protocol"),
            (b"\xf5rpc\r\n\x07\x00" + rpc._frame(rpc.REFUSED, b"\x05\x07"), "incompatible", "versions 5 to 7"),
        ]:
            server = Spoken(self)
            thread = threading.Thread(target=server.accept, kwargs={"preface": preface})
            thread.start()
            with self.assertRaises(RpcError) as raised:
                connect(*server.address)
            thread.join()
            server.socket.close()
            self.assertEqual((raised.exception.kind, raised.exception.executed), (kind, "no"))
            self.assertIn(words, raised.exception.message)

    def test_nobody_there_is_unavailable(self):
        server = Spoken(self)
        server.listener.close()
        with self.assertRaises(RpcError) as raised:
            connect(*server.address)
        self.assertEqual((raised.exception.kind, raised.exception.executed), ("unavailable", "no"))

    def test_dir_and_help_show_what_the_server_tells(self):
        price = {
            "name": "price",
            "docs": "What it costs.",
            "arguments": [{"name": "sku", "type": "&str", "later": 1}, {"name": "currency", "type": "Currency"}],
            "returns": "Money",
            "error": "PriceError",
            "later": {},
        }
        services = [{"name": "shop.v1", "docs": "Sells.", "methods": [price]}, {"name": "Till", "methods": [{"name": "open"}]}]

        def script(server):
            server.accept()
            call, name, arguments = server.call()
            assert (name, arguments) == ("rpc.Reflection.services", [])
            server.reply(call, services)
            call, name, arguments = server.call()
            assert (name, arguments) == ("shop.v1.price", {"sku": "tea", "currency": "EUR"})
            server.reply(call, 450)

        client = self.serve(script)
        self.assertTrue({"shop", "Till", "price", "open", "call", "close"}.issubset(dir(client)))
        self.assertEqual((dir(client.shop), dir(client.shop.v1), dir(client.Till)), (["v1"], ["price"], ["open"]))
        self.assertEqual(repr(client.shop.v1.price), "shop.v1.price(sku: &str, currency: Currency) -> Money")
        self.assertEqual(list(inspect.signature(client.price).parameters), ["sku", "currency"])
        shown = pydoc.render_doc(client.shop.v1.price)
        for words in ("price(sku: &str, currency: Currency) -> Money", "What it costs.", "Fails with PriceError."):
            self.assertIn(words, shown)
        self.assertIn("Sells.", pydoc.render_doc(client.shop.v1))
        # Asked for once; and the one service with a `price` is found.
        self.assertEqual(client.price(sku="tea", currency="EUR"), 450)


if __name__ == "__main__":
    if len(sys.argv) == 5:
        CHECKOUT, CONFORMANCE, SECURE, AUTHORITY = sys.argv[1:]
    elif len(sys.argv) != 1:
        sys.exit(__doc__)
    unittest.main(argv=sys.argv[:1])
