"""What intake is compared with: PushEvent by plain spyne behind aiohttp, under uvloop, that answers an id and stores
nothing. A program of its own."""

from __future__ import annotations

import argparse
import asyncio
import itertools
import signal
from typing import Any

import uvloop
from aiohttp import web
from petitbleu_soap_ingest import compat  # noqa: F401 - lets spyne be imported on every Python
from spyne import AnyXml, Application, Long, MethodContext, Service, Unicode, rpc
from spyne.protocol.soap import Soap11
from spyne.server import ServerBase

_ids = itertools.count(1)


class Events(Service):  # type: ignore[misc]  # spyne has no types
    @rpc(Unicode, AnyXml, _returns=Long, _out_variable_name="plId")  # type: ignore[untyped-decorator]
    def PushEvent(ctx: Any, sessiontoken: str, domEvent: Any) -> int:
        return next(_ids)


class Endpoint(ServerBase):  # type: ignore[misc]
    transport = "http://schemas.xmlsoap.org/soap/http"

    async def handle(self, request: web.Request) -> web.Response:
        first = MethodContext(self, MethodContext.SERVER)
        first.in_string = [await request.read()]
        (ctx,) = self.generate_contexts(first, "utf-8")
        if ctx.in_error is None:
            self.get_in_object(ctx)
        if ctx.in_error is None:
            self.get_out_object(ctx)
        else:
            ctx.out_error = ctx.in_error
        self.get_out_string(ctx)
        status = 200 if ctx.out_error is None else 500
        return web.Response(status=status, body=b"".join(ctx.out_string), content_type="text/xml", charset="utf-8")


async def serve(port: int) -> None:
    application = Application([Events], tns="urn:nms:rtEvent", in_protocol=Soap11(), out_protocol=Soap11())
    app = web.Application()
    app.router.add_post("/nl/jsp/soaprouter.jsp", Endpoint(application).handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await web.TCPSite(runner, "127.0.0.1", port, backlog=1000).start()
    await stop.wait()
    await runner.cleanup()


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.spyne_echo", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    uvloop.run(serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
