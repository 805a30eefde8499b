"""gRPC through a proxy must be what it is without one: grpcio with generic handlers on both ends.

usage: grpcs.py serve                      prints its port and serves until its stdin ends
       grpcs.py compare DIRECT PROXIED     plays the same scenes at both addresses and compares what happened
"""

import json
import sys
import threading
import time
from concurrent import futures

import grpc

LARGE = 3 << 20
CONCURRENT = 40
OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
# Failing fast shows what the proxy did, waiting and trying again would hide it.
CHANNEL = OPTIONS + [("grpc.enable_retries", 0)]

cancelled = 0
cancelled_changed = threading.Condition()


def own(metadata):
    """What the ends themselves say; a proxy adds what it must."""
    return sorted([key, value.hex() if isinstance(value, bytes) else value] for key, value in metadata if key.startswith("j-"))


def unary(request, context):
    context.send_initial_metadata([("j-first", "1"), ("j-bytes-bin", b"\x00\xff")])
    context.set_trailing_metadata([("j-last", "2"), ("j-last", "3"), ("j-more-bin", b"\xfe")])
    return request[::-1]


def metadata(_request, context):
    return json.dumps(own(context.invocation_metadata())).encode()


def server_stream(request, _context):
    count, size = (int(word) for word in request.split())
    for number in range(count):
        yield bytes([number % 256]) * size


def client_stream(requests, _context):
    return json.dumps([len(request) for request in requests]).encode()


def both_streams(requests, _context):
    for request in requests:
        yield request + b"!"


def fail(request, context):
    context.set_trailing_metadata([("j-why", "asked"), ("j-why-bin", b"\x01")])
    context.abort(list(grpc.StatusCode)[int(request)], "it was asked for: žluť\n 100 %")


def fail_in_stream(_request, context):
    yield b"one"
    yield b"two"
    context.abort(grpc.StatusCode.DATA_LOSS, "after two")


def slow(_request, context):
    def ended():
        global cancelled
        with cancelled_changed:
            cancelled += 1
            cancelled_changed.notify_all()

    context.add_callback(ended)
    yield b"begun"
    while context.is_active():
        time.sleep(0.01)


def cancelled_so_far(request, _context):
    """How often `slow` has been cancelled, once it is so often or in vain."""
    with cancelled_changed:
        cancelled_changed.wait_for(lambda: cancelled >= int(request), 5)
        return str(cancelled).encode()


def has_deadline(_request, context):
    left = context.time_remaining()
    return b"none" if left is None or left > 1e6 else b"some" if 0 < left <= 60 else b"odd"


METHODS = {
    "/judge.Judge/Unary": grpc.unary_unary_rpc_method_handler(unary),
    "/judge.Judge/Metadata": grpc.unary_unary_rpc_method_handler(metadata),
    "/judge.Judge/ServerStream": grpc.unary_stream_rpc_method_handler(server_stream),
    "/judge.Judge/ClientStream": grpc.stream_unary_rpc_method_handler(client_stream),
    "/judge.Judge/BothStreams": grpc.stream_stream_rpc_method_handler(both_streams),
    "/judge.Judge/Fail": grpc.unary_unary_rpc_method_handler(fail),
    "/judge.Judge/FailInStream": grpc.unary_stream_rpc_method_handler(fail_in_stream),
    "/judge.Judge/Slow": grpc.unary_stream_rpc_method_handler(slow),
    "/judge.Judge/Cancelled": grpc.unary_unary_rpc_method_handler(cancelled_so_far),
    "/judge.Judge/HasDeadline": grpc.unary_unary_rpc_method_handler(has_deadline),
}


class Handler(grpc.GenericRpcHandler):
    def service(self, details):
        return METHODS.get(details.method)


def run_server():
    server = grpc.server(futures.ThreadPoolExecutor(CONCURRENT + 10), [Handler()], options=OPTIONS)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    sys.stdin.read()
    server.stop(None)


class Client:
    def __init__(self, address):
        self.channel = grpc.insecure_channel(address, options=CHANNEL)

    def __getattr__(self, name):
        kind = {
            "ServerStream": self.channel.unary_stream,
            "FailInStream": self.channel.unary_stream,
            "Slow": self.channel.unary_stream,
            "ClientStream": self.channel.stream_unary,
            "BothStreams": self.channel.stream_stream,
        }.get(name, self.channel.unary_unary)
        return kind(f"/judge.Judge/{name}")


def failure(error):
    return [error.code().name, error.details(), own(error.trailing_metadata() or [])]


def outcome(call):
    try:
        return call()
    except grpc.RpcError as error:
        return failure(error)


def unaries(client):
    answers = []
    for request in [b"", b"abc", bytes(range(256)) * 512, b"x" * LARGE]:
        answer, call = client.Unary.with_call(request, timeout=10)
        answers.append([answer == request[::-1], own(call.initial_metadata()), own(call.trailing_metadata())])
    return answers


def metadata_both_ways(client):
    sent = [("j-text", "plain  text, with, commas"), ("j-twice", "a"), ("j-twice", "b"), ("j-raw-bin", bytes(range(64)))]
    return json.loads(client.Metadata(b"", metadata=sent, timeout=10))


def server_streams(client):
    return [[len(part) for part in client.ServerStream(what, timeout=10)] for what in [b"0 1", b"1 0", b"100 1000", b"4 1000000"]]


def client_streams(client):
    sizes = [[], [0], [1] * 200, [100_000] * 20, [LARGE]]
    return [json.loads(client.ClientStream(iter([b"x" * size for size in each]), timeout=10)) for each in sizes]


def both_streams_in_turn(client):
    """Each message is sent only after the answer to the one before, so that nothing may be held back."""
    turn, answers = threading.Semaphore(1), []

    def requests():
        for number in range(30):
            turn.acquire()
            yield b"%d" % number

    for answer in client.BothStreams(requests(), timeout=10):
        answers.append(answer.decode())
        turn.release()
    return answers


def errors(client):
    codes = range(1, len(list(grpc.StatusCode)))
    return [outcome(lambda code=code: client.Fail(b"%d" % code, timeout=10)) for code in codes]


def error_in_a_stream(client):
    received, stream = [], client.FailInStream(b"", timeout=10)
    try:
        for part in stream:
            received.append(part.decode())
    except grpc.RpcError as error:
        received.append(failure(error))
    return received


def unknown_method(client):
    return outcome(lambda: client.Nothing(b"", timeout=10))


def deadlines(client):
    received = [client.HasDeadline(b"", timeout=30).decode(), client.HasDeadline(b"").decode()]
    before, stream = int(client.Cancelled(b"0", timeout=10)), client.Slow(b"", timeout=0.3)
    try:
        for part in stream:
            received.append(part.decode())
    except grpc.RpcError as error:
        received.append(error.code().name)
    received.append(int(client.Cancelled(b"%d" % (before + 1), timeout=10)) - before)
    return received


def cancellation(client):
    before, stream = int(client.Cancelled(b"0", timeout=10)), client.Slow(b"", timeout=20)
    received = [next(stream).decode()]
    stream.cancel()
    try:
        next(stream)
    except grpc.RpcError as error:
        received.append(error.code().name)
    received.append(int(client.Cancelled(b"%d" % (before + 1), timeout=10)) - before)
    return received


def compression(client):
    text = b"compressible " * 10_000
    return client.Unary(text, compression=grpc.Compression.Gzip, timeout=10) == text[::-1]


def concurrent(client):
    calls = [client.Unary.future(b"%d" % number * 100, timeout=20) for number in range(CONCURRENT * 10)]
    return all(call.result() == (b"%d" % number * 100)[::-1] for number, call in enumerate(calls))


SCENES = [
    unaries,
    metadata_both_ways,
    server_streams,
    client_streams,
    both_streams_in_turn,
    errors,
    error_in_a_stream,
    unknown_method,
    deadlines,
    cancellation,
    compression,
    concurrent,
]


def compare(direct, proxied):
    differing = 0
    for scene in SCENES:
        expected = scene(Client(direct))
        found = outcome(lambda: scene(Client(proxied)))
        print(f"{scene.__name__}: {'same' if found == expected else 'DIFFERENT'}")
        if found != expected:
            differing += 1
            print(f"  direct:  {json.dumps(expected)[:700]}\n  proxied: {json.dumps(found)[:700]}")
    print(f"{len(SCENES)} scenes, {differing} differing")
    return differing


if sys.argv[1] == "serve":
    run_server()
else:
    sys.exit(1 if compare(sys.argv[2], sys.argv[3]) else 0)
