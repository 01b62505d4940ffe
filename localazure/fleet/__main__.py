"""`python -m localazure.fleet`: one worker process of a simulated fleet, told by the daemon what to do.

Standard input has one JSON object a line: first `{"address", "port", "ca"}`, then `{"add": [host, device, key]}`,
`{"remove": [host, device]}`, `{"fail": share}`. Standard output has `{"connected", "failing"}` whenever they change. The end of standard
input is the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import ssl
import sys
from typing import Any

from localazure.fleet.agent import Agent, ended
from localazure.fleet.client import Place

_AT_THE_DOOR = 16
_REPORT_SECONDS = 1.0


class Worker:
    def __init__(self, place: Place) -> None:
        self._place = place
        self._door = asyncio.Semaphore(_AT_THE_DOOR)
        self._agents: dict[tuple[str, str], tuple[Agent, asyncio.Task[None]]] = {}
        self._share = 0.0

    async def do(self, command: dict[str, Any]) -> None:
        if "add" in command:
            host, device, key = command["add"]
            await self._remove((host, device))
            agent = Agent(self._place, host, device, key, self._door)
            agent.set_share(self._share)
            self._agents[host, device] = (agent, asyncio.create_task(agent.run()))
        elif "remove" in command:
            await self._remove(tuple(command["remove"]))
        elif "fail" in command:
            self._share = command["fail"]
            for agent, _ in self._agents.values():
                agent.set_share(self._share)

    async def stop(self) -> None:
        tasks = [task for _, task in self._agents.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def counts(self) -> dict[str, int]:
        agents = [agent for agent, _ in self._agents.values()]
        return {"connected": sum(one.connected for one in agents), "failing": sum(one.failing for one in agents)}

    async def _remove(self, key: Any) -> None:
        if key in self._agents:
            await ended(self._agents.pop(key)[1])


async def main() -> None:
    loop = asyncio.get_running_loop()
    commands = asyncio.StreamReader(limit=1 << 20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    first = json.loads(await commands.readline())
    worker = Worker(Place(first["address"], first["port"], ssl.create_default_context(cafile=first["ca"])))
    telling = asyncio.create_task(_tell(worker))
    while line := await commands.readline():
        await worker.do(json.loads(line))
    telling.cancel()
    await worker.stop()


async def _tell(worker: Worker) -> None:
    last: dict[str, int] = {}
    while True:
        counts = worker.counts()
        if counts != last:
            last = counts
            sys.stdout.write(json.dumps(counts) + "\n")
            sys.stdout.flush()
        await asyncio.sleep(_REPORT_SECONDS)


if __name__ == "__main__":
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s"
    )
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        asyncio.run(main())
