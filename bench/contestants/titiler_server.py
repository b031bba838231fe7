"""Titiler's STAC endpoints on any free port; its address is the first line that it prints.

Runs in an environment of its own, in which nothing of this repository is installed.
"""

import socket
import sys
import threading

import uvicorn
from fastapi import FastAPI
from rio_tiler.io import STACReader
from titiler.core.factory import MultiBaseTilerFactory


def main() -> None:
    """Serve until the standard input ends."""
    app = FastAPI()
    app.include_router(MultiBaseTilerFactory(reader=STACReader).router)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    sys.stdout.write("http://127.0.0.1:{1}\n".format(*listener.getsockname()))
    sys.stdout.flush()
    sys.stdin.read()
    server.should_exit = True
    thread.join()


if __name__ == "__main__":
    main()
