"""The controller's proxy alone in a process: what `bench_proxy` takes the CPU time of.

    python -m tests.bench.proxy_server AGENT_PORT

It prints its port, then serves until it is ended. The routes are those of an empty application.
"""

from __future__ import annotations

import asyncio
import sys

from aiohttp import web

from holdfast.kernel.clock import SystemClock
from holdfast.machine.controller.log import Log
from holdfast.machine.controller.proxy.proofs import Proofs
from holdfast.machine.controller.proxy.proxy import Proxy
from holdfast.machine.controller.settings import Proxying
from holdfast.wire.address import Address


async def serve(agent_port: int) -> None:
    runner = web.AppRunner(web.Application(), access_log=None)
    await runner.setup()
    assert runner.server is not None
    clock = SystemClock()
    proxy = Proxy(
        Proxying(require_token=True),
        agent=Address("127.0.0.1", agent_port),
        ready=lambda: True,
        proofs=Proofs(
            lambda _: False,
            lambda token: token == b"proxy-token",
            public=frozenset(),
            clock=clock,
            log=Log(clock),
        ),
        control=runner.server,
    )
    server = await asyncio.get_running_loop().create_server(proxy, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
