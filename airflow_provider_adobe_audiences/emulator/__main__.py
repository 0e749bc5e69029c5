# SPDX-License-Identifier: Apache-2.0
"""``python -m airflow_provider_adobe_audiences.emulator``: Adobe on localhost, from the command line."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys

EXTRA = """The emulator needs packages that are not installed ({missing} is missing).
Install them with: pip install 'airflow-provider-adobe-audiences[emulator]'"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    try:
        import fastapi  # noqa: F401
        import httptools  # noqa: F401
        import pyarrow  # noqa: F401
        import python_multipart  # noqa: F401
        import regex  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        print(EXTRA.format(missing=error.name), file=sys.stderr)
        return 2
    from .core import Emulator
    from .server import Server

    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_adobe_audiences.emulator",
        description=(
            "Adobe Experience Platform, Audience Manager and Target on localhost, for tests and "
            "demonstrations."
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="switches:\n" + "\n".join(_switch_lines(Emulator())),
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="loopback address to listen on (default: %(default)s)"
    )
    parser.add_argument("--port", type=_port, default=0, help="0 takes any free port (default: %(default)s)")
    parser.add_argument(
        "--switch", action="append", default=[], metavar="NAME=VALUE", help="set a switch; may be repeated"
    )
    parser.add_argument(
        "--switch-table", action="store_true", help="print the table of switches as Markdown and end"
    )
    options = parser.parse_args(arguments)
    if options.switch_table:
        print(Emulator().switches.markdown(), end="")
        return 0
    try:
        emulator = Emulator(**dict(_split(switch) for switch in options.switch))
        server = Server(emulator, options.host, options.port)
        asyncio.run(_serve(server))
    except (KeyError, ValueError, OSError) as error:
        print(f"cannot start: {error.args[0] if isinstance(error, KeyError) else error}", file=sys.stderr)
        return 2
    return 0


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text} is no port: 0 to 65535")
    return int(text)


def _split(switch: str) -> tuple[str, str]:
    name, equals, value = switch.partition("=")
    if not equals:
        raise ValueError(f"--switch {switch}: give NAME=VALUE")
    return name.strip(), value


def _switch_lines(emulator: object) -> list[str]:
    from .core import Emulator

    assert isinstance(emulator, Emulator)
    rows = emulator.switches.describe()
    return [
        f"  {row['name']} ({row['type']}; {row['default']!r})\n      {row['description']}".replace("%", "%%")
        for row in rows
    ]


async def _serve(server: object) -> None:
    from .server import Server

    assert isinstance(server, Server)
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    await server.start()
    print(f"Adobe emulator listening on {server.url}", flush=True)
    try:
        await ended.wait()
    finally:
        await server.stop()
        server.emulator.close()


if __name__ == "__main__":
    raise SystemExit(main())
