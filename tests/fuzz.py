"""Damage to input files at random, and what has to become of it: the project's own errors, at once, whatever the file holds.

A case builds a folder and reads it; :func:`strike` damages one file of it at a time and collects what went wrong.
"""

import random
import re
import resource
import shutil
import signal
import struct
import traceback
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from deeph.runtime.errors import DataError, DeephError
from preprocess.discover import Job, find_runs
from preprocess.pipeline import Options, convert

SECONDS = 20.0
"""What reading a damaged file may take; sound ones take 0.1 s."""
MEMORY = 8 * 2**30
"""Bytes beyond those in use that it may ask for."""
BINARY = (".scfout", ".HSX", ".TSHS", ".DM", ".npz", ".npy", ".h5", ".nc", ".traj")
WORDS = (
    *(b"nan", b"inf", b"-inf", b"1e999", b"0", b"-1", b"1", b"2", b"99999999999999999999", b"1e30", b"*****", b"x", b"", b"\xff\xfe"),
    b"1.d-2",
)
NUMBER = re.compile(rb"[-+]?\d+\.?\d*(?:[eEdD][-+]?\d+)?")


class Case(NamedTuple):
    """A folder of files and how they are read.

    Attributes
    ----------
    build : callable
        Fills a folder.
    read : callable
        Reads all of it; raises what the readers raise.
    spare : tuple of str
        Files that are left alone.
    """

    build: Callable[[Path], object]
    read: Callable[[Path], object]
    spare: tuple[str, ...] = ()


class Hang(BaseException):
    """Raised by the alarm; no reader catches it."""


class UnexpectedError(Exception):
    """An error that is not one of the project; carries its traceback."""


def converted(folder: Path) -> None:
    """Find and convert a run as ``deeph-preprocess --verify bands`` does."""
    for run in find_runs([folder]):
        outcome = convert(Job(run, folder.parent / "out"), Options(verify="bands", overwrite=True, positions=False))
        if outcome.trace:
            raise UnexpectedError(outcome.trace)
        if outcome.status == "failed":
            raise DataError(outcome.reason)


def strike(case: Case, folder: Path, seed: int, count: int) -> list[str]:
    """Damage a case ``count`` times, each time one file in one way.

    Returns
    -------
    list of str
        For each error that is not the project's, each hang and each want of memory: seed, file, damage and traceback.
    """
    source, work = folder / "sound", folder / "run"
    source.mkdir(parents=True)
    case.build(source)
    case.read(source)  # the sound one is read
    files = sorted(p.relative_to(source) for p in source.rglob("*") if p.is_file() and p.name not in case.spare)
    wrong = []
    for n in range(count):
        rng = random.Random(f"{seed}-{n}")  # noqa: S311 - no secret
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(source, work)
        name = rng.choice(files)
        what = damage(work / name, rng)
        try:
            with limits():
                case.read(work)
        except DeephError:
            pass
        except (Exception, Hang) as error:  # noqa: BLE001 - this is what is looked for
            text = str(error) if isinstance(error, UnexpectedError) else traceback.format_exc()
            wrong.append(f"seed {seed}-{n}, {name}: {what}\n{text}")
    return wrong


@contextmanager
def limits() -> Iterator[None]:
    """An end to time and memory; warnings of numpy on damaged numbers are no matter."""

    def ring(*_: object) -> None:
        raise Hang(f"took more than {SECONDS:g} s")

    old = signal.signal(signal.SIGALRM, ring)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() if Path("/proc/self/statm").is_file() else None
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        if in_use is not None:
            resource.setrlimit(resource.RLIMIT_AS, (in_use + MEMORY, hard))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, old)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def damage(path: Path, rng: random.Random) -> str:
    """Change a file in one way, and say how."""
    if rng.random() < 0.03:
        path.unlink()
        return "removed"
    content = path.read_bytes()
    if path.suffix == ".npz" and rng.random() < 0.8:
        return _damage_member(path, content, rng)
    name, content = _changed(content, rng, binary=path.suffix in BINARY)
    path.write_bytes(content)
    return name


def _damage_member(path: Path, content: bytes, rng: random.Random) -> str:
    """One array of an archive, which stays a sound archive."""
    with zipfile.ZipFile(BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice(sorted(members))
    if rng.random() < 0.1:
        what = "removed"
        del members[name]
    else:
        text = "info" in name
        what, members[name] = _changed(members[name], rng, binary=not text)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, data in members.items():
            archive.writestr(member, data)
    return f"{name} {what}"


def _changed(content: bytes, rng: random.Random, *, binary: bool) -> tuple[str, bytes]:
    """A changed content and what was done."""
    common = [_flip, _truncate, _drop, _double, _empty]
    if not content:
        return "one byte more", b"\0"
    change = rng.choice([*common, *([_word] * 6 if binary else [_number] * 4 + [_swap] * 2 + [_lines] * 4)])
    return change(content, rng)


def _flip(content: bytes, rng: random.Random) -> tuple[str, bytes]:
    out, places = bytearray(content), [rng.randrange(len(content)) for _ in range(rng.choice((1, 1, 3, 20)))]
    for place in places:
        out[place] ^= 1 << rng.randrange(8)
    return f"bits at {places} flipped", bytes(out)


def _truncate(content: bytes, rng: random.Random) -> tuple[str, bytes]:
    stop = rng.randrange(len(content))
    return f"cut at {stop}", content[:stop]


def _drop(content: bytes, rng: random.Random) -> tuple[str, bytes]:
    start, size = rng.randrange(len(content)), rng.choice((1, 4, 8, 100))
    return f"{size} bytes at {start} left out", content[:start] + content[start + size :]


def _double(content: bytes, rng: random.Random) -> tuple[str, bytes]:
    start, size = rng.randrange(len(content)), rng.choice((1, 4, 8, 100))
    return f"{size} bytes at {start} twice", content[: start + size] + content[start:]


def _empty(_content: bytes, _rng: random.Random) -> tuple[str, bytes]:
    return "emptied", b""


def _word(content: bytes, rng: random.Random) -> tuple[str, bytes]:
    """An integer or a real number of a binary file, more often in its head."""
    at = rng.randrange(min(len(content), rng.choice((64, 1000, len(content))))) // 4 * 4
    integers, reals = (0, 1, 2, -1, 7, 1000, 2**31 - 1, -(2**31)), (float("nan"), float("inf"), 0.0, -1.0, 1e300, 1e-300)
    order = rng.choice("<>")
    value = struct.pack(order + "i", rng.choice(integers)) if rng.random() < 0.6 else struct.pack(order + "d", rng.choice(reals))
    return f"{value!r} at {at}", content[:at] + value + content[at + len(value) :]


def _number(content: bytes, rng: random.Random) -> tuple[str, bytes]:
    found = [match.span() for match in NUMBER.finditer(content)]
    if not found:
        return _flip(content, rng)
    start, stop = rng.choice(found[: rng.choice((10, 100, len(found)))])
    word = rng.choice(WORDS)
    return f"{content[start:stop]!r} at {start} is {word!r}", content[:start] + word + content[stop:]


def _swap(content: bytes, rng: random.Random) -> tuple[str, bytes]:
    """Two numbers change places."""
    found = [match.span() for match in NUMBER.finditer(content)]
    if len(found) < 2:
        return _flip(content, rng)
    (a, b), (c, d) = sorted(rng.sample(found, 2))
    return f"numbers at {a} and {c} swapped", content[:a] + content[c:d] + content[b:c] + content[a:b] + content[d:]


def _lines(content: bytes, rng: random.Random) -> tuple[str, bytes]:
    """A line is left out, doubled, moved, emptied, or all end as in DOS."""
    lines = content.split(b"\n")
    n, m = rng.randrange(min(len(lines), rng.choice((20, len(lines))))), rng.randrange(len(lines))
    kind = rng.choice(("left out", "doubled", "exchanged", "emptied", "joined", "DOS"))
    if kind == "left out":
        del lines[n]
    elif kind == "doubled":
        lines.insert(n, lines[n])
    elif kind == "exchanged":
        lines[n], lines[m] = lines[m], lines[n]
    elif kind == "emptied":
        lines[n] = b""
    elif kind == "joined":
        lines[n : n + 2] = [b" ".join(lines[n : n + 2])]
    else:
        lines = [line + b"\r" for line in lines]
    return f"line {n + 1} {kind}" + (f" with {m + 1}" if kind == "exchanged" else ""), b"\n".join(lines)
