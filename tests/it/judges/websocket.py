"""WebSockets through a proxy must be what they are without one: the `websockets` library on both ends.

usage: websocket.py serve                 prints its port and echoes until its stdin ends
       websocket.py compare DIRECT PROXIED   plays the same scenes on both URLs and compares what happened
"""

import asyncio
import http
import json
import sys

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Frame, Opcode

LARGE = 1 << 20
SIZES = [0, 1, 125, 126, 127, 65535, 65536, LARGE]
CONCURRENT = 50


async def echo(connection):
    """Echoes with the fragments of the sender; texts that begin with a word below do something else."""
    while True:
        try:
            fragments = [fragment async for fragment in connection.recv_streaming()]
        except ConnectionClosed:
            return
        first = fragments[0] if len(fragments) == 1 else None
        if isinstance(first, str) and first.startswith("close "):
            _, code, reason = first.split(" ", 2)
            await connection.close(int(code), reason)
        elif first == "abort":
            connection.transport.abort()
        elif first == "ping":
            await (await connection.ping(b"from the server"))
            await connection.send("pong came")
        elif first == "flood":
            for number in range(64):
                await connection.send(bytes([number]) * (LARGE // 8))
        else:
            await connection.send(fragments if len(fragments) > 1 else fragments[0])


def admit(connection, request):
    if request.path == "/refused":
        return connection.respond(http.HTTPStatus.FORBIDDEN, "not you\n")
    return None


def choose(_connection, offered):
    return next((known for known in ["chat.v2", "chat.v1"] if known in offered), None)


async def run_server():
    async with serve(
        echo, "127.0.0.1", 0, process_request=admit, max_size=4 * LARGE, select_subprotocol=choose
    ) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


async def ending(connection):
    """How a connection ends, as its client sees it."""
    try:
        while True:
            await connection.recv()
    except ConnectionClosed:
        return [connection.close_code, connection.close_reason]


async def texts(url):
    async with connect(url) as connection:
        said = ["", "plain", "žluťoučký kůň 🐎", "\0\r\n", "x" * LARGE]
        for text in said:
            await connection.send(text)
        return [await connection.recv() == text for text in said]


async def binaries(url):
    async with connect(url, compression=None, max_size=None) as connection:
        answers = []
        for size in SIZES:
            data = bytes(index % 251 for index in range(size))
            await connection.send(data)
            answers.append(await connection.recv() == data)
        return answers


async def fragments(url):
    async with connect(url, max_size=None) as connection:
        sent = [["a", "b", "", "c"], [b"\x00" * 70000, b"", b"\xff"], ["x" * LARGE, "y"]]
        answers = []
        for parts in sent:
            await connection.send(parts)
            answers.append([len(part) async for part in connection.recv_streaming()])
        return answers


async def pings(url):
    async with connect(url) as connection:
        for payload in [b"", b"x", b"\x00" * 125]:
            await (await connection.ping(payload))
        await connection.send("ping")
        return await connection.recv()


async def ping_between_fragments(url):
    async with connect(url) as connection:

        async def parts():
            yield "before "
            await (await connection.ping(b"in between"))
            yield "after"

        await connection.send(parts())
        return await connection.recv()


async def closes_by_the_server(url):
    answers = []
    for code, reason in [(1000, "bye"), (1001, ""), (1011, "ž" * 40), (3000, "r"), (4999, "private")]:
        async with connect(url) as connection:
            await connection.send(f"close {code} {reason}")
            answers.append(await ending(connection))
    return answers


async def closes_by_the_client(url):
    answers = []
    for code, reason in [(1000, ""), (1001, "going"), (3001, "ž"), (4000, "own")]:
        async with connect(url) as connection:
            await connection.close(code, reason)
            answers.append([connection.close_code, connection.close_reason])
    return answers


async def abort(url):
    async with connect(url) as connection:
        await connection.send("abort")
        return await ending(connection)


async def violations(url):
    """Frames that the server must answer with 1007, 1002 and 1009."""
    answers = []
    invalid = [Frame(Opcode.TEXT, b"\xff\xfe"), Frame(Opcode.CONT, b"nothing to continue"), None]
    for frame in invalid:
        connection = await connect(url, compression=None)
        try:
            if frame is None:
                await connection.send(b"x" * (4 * LARGE + 1))
            else:
                connection.transport.write(frame.serialize(mask=True))
        except ConnectionClosed:
            pass
        answers.append((await ending(connection))[0])
    return answers


async def negotiation(url):
    """What the handshake agrees on: extensions with their parameters, and the subprotocol."""
    answers = []
    offers = [
        {"compression": None},
        {"compression": "deflate"},
        {"compression": None, "extensions": [ClientPerMessageDeflateFactory(server_no_context_takeover=True)]},
        {"compression": None, "extensions": [ClientPerMessageDeflateFactory(server_max_window_bits=10)]},
        {"subprotocols": ["chat.v1"]},
        {"subprotocols": ["chat.v1", "chat.v2"]},
    ]
    for offer in offers:
        async with connect(url, **offer) as connection:
            for _ in range(3):
                await connection.send("compressible " * 1000)
                await connection.recv()
            answers.append([repr(connection.protocol.extensions), connection.subprotocol])
    return answers


async def backpressure(url):
    async with connect(url, max_queue=1, max_size=None) as connection:
        await connection.send("flood")
        received = []
        for _ in range(64):
            message = await connection.recv()
            received.append([message[0], len(message)])
        return received


async def refusal(url):
    try:
        async with connect(url + "refused"):
            return "accepted"
    except InvalidStatus as refused:
        return [refused.response.status_code, refused.response.body.decode()]


async def concurrent(url):
    async def one(number):
        async with connect(url) as connection:
            for turn in range(20):
                text = f"{number} {turn} " + "z" * (number * turn)
                await connection.send(text)
                if await connection.recv() != text:
                    return False
            return True

    return all(await asyncio.gather(*[one(number) for number in range(CONCURRENT)]))


SCENES = [
    texts,
    binaries,
    fragments,
    pings,
    ping_between_fragments,
    closes_by_the_server,
    closes_by_the_client,
    abort,
    violations,
    negotiation,
    backpressure,
    refusal,
    concurrent,
]


async def compare(direct, proxied):
    differing = 0
    for scene in SCENES:
        expected = await asyncio.wait_for(scene(direct), 20)
        found = await asyncio.wait_for(scene(proxied), 20)
        print(f"{scene.__name__}: {'same' if found == expected else 'DIFFERENT'}")
        if found != expected:
            differing += 1
            print(f"  direct:  {json.dumps(expected)[:500]}\n  proxied: {json.dumps(found)[:500]}")
    print(f"{len(SCENES)} scenes, {differing} differing")
    return differing


if sys.argv[1] == "serve":
    asyncio.run(run_server())
else:
    sys.exit(1 if asyncio.run(compare(sys.argv[2], sys.argv[3])) else 0)
