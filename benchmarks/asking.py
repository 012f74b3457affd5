"""Clients of a service: PORT KEY CLIENTS REQUESTS; prints the seconds of each request. Every text is another one."""

import asyncio
import json
import sys
import time

WORDS = "a warm and funny film with a dull story that nobody should miss although it is far too long".split()


async def client(number: int, port: int, key: str, count: int) -> list[float]:
    """Ask one after the other over one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    seconds = []
    for turn in range(count):
        text = " ".join([*WORDS[turn % 9 :], str(number), str(turn), str(time.time_ns())])
        body = json.dumps({"texts": [text]}).encode()
        head = (
            f"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        start = time.perf_counter()
        writer.write(head.encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        if not answer.startswith((b"HTTP/1.1 200", b"HTTP/1.0 200")):
            raise SystemExit(answer.decode())
        length = next(line for line in answer.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.partition(b":")[2]))
        seconds.append(time.perf_counter() - start)
    writer.close()
    return seconds


async def main() -> None:
    """Run the clients side by side."""
    port, key, clients, requests = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    found = await asyncio.gather(*(client(number, port, key, requests // clients) for number in range(clients)))
    print(json.dumps([one for some in found for one in some]))


asyncio.run(main())
