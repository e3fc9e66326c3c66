"""How long a command says nothing: every piece of its output is stamped, and the longest silences are named.

    python benchmarks/silence.py [--terminal] [--limit 5] [--worst 3] -- deeph-bands moire --path GMK --points 6 --n-bands 20

The output passes through, each piece with the seconds since the start. With --terminal the command believes that it writes to a terminal,
and draws bars. The exit code is that of the command, or 3 if it was silent for longer than the limit.
"""

import argparse
import os
import pty
import selectors
import subprocess
import sys
import time
from typing import NamedTuple


class Piece(NamedTuple):
    """What was read at once, and when, in seconds from the start."""

    seconds: float
    text: str


def stamped(command: list[str], *, terminal: bool = False, echo: bool = True) -> tuple[int, list[Piece]]:
    """Run a command and stamp what it writes to stdout and stderr; the last piece, without text, is its end."""
    start = time.monotonic()
    if terminal:
        reader, writer = pty.openpty()
        process = subprocess.Popen(command, stdout=writer, stderr=writer, stdin=subprocess.DEVNULL)  # noqa: S603 - what the user asks for
    else:
        reader, writer = os.pipe()
        process = subprocess.Popen(command, stdout=writer, stderr=writer, stdin=subprocess.DEVNULL)  # noqa: S603
    os.close(writer)
    pieces = []
    with selectors.DefaultSelector() as selector:
        selector.register(reader, selectors.EVENT_READ)
        while selector.select():
            try:
                read = os.read(reader, 65536)
            except OSError:  # how a terminal says that nobody writes to it any more
                break
            if not read:
                break
            pieces.append(Piece(time.monotonic() - start, read.decode(errors="replace")))
            if echo:
                sys.stdout.write(f"{pieces[-1].seconds:8.2f}  {pieces[-1].text.strip()}\n")
                sys.stdout.flush()
    os.close(reader)
    code = process.wait()
    return code, [*pieces, Piece(time.monotonic() - start, "")]


def silences(pieces: list[Piece]) -> list[tuple[float, float, str]]:
    """(length, start, last line before) of each silence, the longest first."""
    before = [Piece(0.0, "(the start)"), *pieces[:-1]]
    gaps = [(now.seconds - last.seconds, last.seconds, last.text) for last, now in zip(before, pieces, strict=True)]
    return sorted(((length, at, (text.split("\r")[-1].strip().splitlines() or [""])[-1]) for length, at, text in gaps), reverse=True)


def main() -> int:
    """Run, stamp, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--terminal", action="store_true", help="let the command write to a terminal")
    parser.add_argument("--limit", type=float, default=5.0, metavar="S", help="longest silence allowed (default: %(default)s s)")
    parser.add_argument("--worst", type=int, default=3, metavar="N", help="silences named in the end (default: %(default)s)")
    parser.add_argument("command", nargs="+", metavar="COMMAND")
    args = parser.parse_args()
    code, pieces = stamped(args.command, terminal=args.terminal)
    found = silences(pieces)
    print(f"{' '.join(args.command)}\n{pieces[-1].seconds:.1f} s, exit code {code}; longest silences:")
    for length, at, text in found[: args.worst]:
        print(f"  {length:6.2f} s from {at:8.2f} s, after: {text[:120]}")
    return code or (3 if found[0][0] > args.limit else 0)


if __name__ == "__main__":
    sys.exit(main())
