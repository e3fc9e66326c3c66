"""Groups of processes, by mpi4py and by torch.distributed: the same answers, and the same end."""

import os
import pickle
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from training_case import make_case

from deeph.files.folders import FolderExistsError, FullDiskError
from deeph.runtime import torch_group
from deeph.runtime.errors import DataError, DeephError, ModelError, UsageError
from deeph.runtime.processes import Group
from deeph.runtime.torch_group import sum_gradients, take_from_first, use_device
from deeph.training.signals import StoppedError

TORCH = """
from deeph.runtime.torch_group import find_launch, joined
with joined(find_launch()) as group:
"""
MPI = """
import os
from deeph.runtime.processes import find_group
group = find_group(os.environ)
if True:
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def two_processes(command: list[object], folder: Path, timeout: float = 120) -> list[tuple[int, str, str]]:
    """(exit code, stdout, stderr) of both ranks, started as srun would: nobody kills one when the other ends."""
    known = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    ranks = [
        subprocess.Popen(
            [sys.executable, *command], env={**known, "RANK": str(rank), "LOCAL_RANK": str(rank)}, cwd=folder,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip
    try:
        ends = [process.communicate(timeout=timeout) for process in ranks]
    finally:
        for process in ranks:
            process.kill()
    return [(process.returncode, *end) for process, end in zip(ranks, ends, strict=True)]


@pytest.fixture(params=["torch", "mpi"])
def run_two(request, tmp_path):
    """Run the body of a ``with`` block in two processes of a group; gives what they wrote, by rank."""

    def run(body: str) -> dict[int, str]:
        text = (TORCH if request.param == "torch" else MPI) + "\n".join(f"    {line}" for line in body.strip().splitlines())
        text += "\n    open(f'rank{group.rank}', 'w').write(repr(out))\n"
        (tmp_path / "body.py").write_text(text)
        if request.param == "torch":
            two_processes(["body.py"], tmp_path)
        else:
            mpirun = request.getfixturevalue("mpirun")
            subprocess.run([*mpirun, sys.executable, "body.py"], cwd=tmp_path, check=True, timeout=120, capture_output=True)
        return {rank: (tmp_path / f"rank{rank}").read_text() for rank in range(2)}

    return run


def test_both_kinds_give_the_same_answers(run_two):
    found = run_two("""
out = [
    group.size,
    group.is_main,
    group.by_first(lambda: "of the first" if group.rank == 0 else 1 / 0),
    group.gathered([group.rank, "x"]),
    group.maximum([group.rank, -group.rank]),
    group.total({"a": 1.0 + group.rank} if group.rank == 0 else {"a": 2.0, "b": 3.0}),
]
""")
    for rank in range(2):
        assert eval(found[rank]) == [2, rank == 0, "of the first", [0, "x", 1, "x"], [1, 0], {"a": 3.0, "b": 3.0}]  # noqa: S307


def test_an_error_in_one_is_raised_in_all(run_two):
    found = run_two("""
from deeph.files.folders import FullDiskError
from deeph.runtime.errors import DataError
errors = [DataError("bad folder"), FullDiskError("out", "No space left"), ZeroDivisionError("odd")]
out = []
def fail(error):
    raise error
for error in errors:
    for failing in (0, 1):
        try:
            with group.together():
                if group.rank == failing:
                    fail(error)
        except Exception as raised:
            out.append((type(raised).__name__, str(raised)))
    try:
        group.by_first(lambda: fail(error))
    except Exception as raised:
        out.append((type(raised).__name__, str(raised)))
""")
    full = "out cannot be written: No space left. Make room, or choose an output on another disk"
    for rank in range(2):
        seen = eval(found[rank])  # noqa: S307 - our own
        assert seen[:6] == 3 * [("DataError", "bad folder")] + 3 * [("FullDiskError", full)]
        for got, source in zip(seen[6:], (0, 1, 0), strict=True):
            unexpected = ("DeephError", f"process {source} ended with an unexpected ZeroDivisionError: odd")
            assert got == (("ZeroDivisionError", "odd") if rank == source else unexpected)


def test_errors_can_be_sent():
    for error in (
        DataError("a"),
        UsageError("b"),
        ModelError("c"),
        FolderExistsError("d"),
        FullDiskError(Path("e"), "f"),
        StoppedError("g", 15),
    ):
        back = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
        assert (type(back), str(back), back.exit_code) == (type(error), str(error), error.exit_code)
        assert str(back)


def test_one_process_alone():
    alone = Group()
    assert (alone.by_first(lambda: 3), alone.gathered([1]), alone.maximum([2.0]), alone.total({"a": 1.0})) == (3, [1], [2.0], {"a": 1.0})
    with pytest.raises(ZeroDivisionError), alone.together():
        raise ZeroDivisionError
    with pytest.raises(ZeroDivisionError):
        alone.by_first(lambda: 1 / 0)


class Fake:
    """Two processes, of which the other one says given things."""

    def __init__(self, *other: object) -> None:
        self.other, self.gradients = list(other), None

    def allgather(self, obj):
        return [obj, self.other.pop(0)]


def test_each_process_takes_its_gpu_and_gradients_travel_by_nccl(monkeypatch):
    """Without a GPU here: what torch is asked for. Objects stay with the group that was joined by gloo."""
    seen = []
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: seen.append(("set_device", device)))
    monkeypatch.setattr(torch.distributed, "new_group", lambda **options: seen.append(("group", options["backend"])) or "gpus")
    group = Group(0, 2, Fake(["cuda"]))
    use_device(group, torch.device("cuda", 1))
    assert seen == [("set_device", torch.device("cuda", 1)), ("group", "nccl")]
    assert group.communicator.gradients == "gpus"
    reduced = []
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda _, group: reduced.append(group))
    communicator = torch_group.TorchCommunicator()
    communicator.gradients = "gpus"
    parameter = torch.nn.Parameter(torch.ones(3))
    assert not sum_gradients(Group(0, 2, communicator), [parameter])
    assert reduced == ["gpus"]


def test_weights_that_drifted_apart_become_those_of_the_first_process():
    """Rounding on unlike processors; the sum over all of what the others set to zero."""
    drifted = {rank: [torch.full((2, 3), 1.0 + 1e-3 * rank), torch.arange(4.0) + rank] for rank in (0, 1)}
    sent = {}

    class Rank(torch_group.TorchCommunicator):
        def __init__(self, rank):
            super().__init__()
            self.rank = rank

        def add(self, tensor):
            sent[self.rank] = tensor.clone()
            tensor.add_(sent[0] if self.rank else 0.0)

    for rank, tensors in drifted.items():
        take_from_first(Group(rank, 2, Rank(rank)), tensors)
    assert not sent[1].any()
    for first, second in zip(drifted[0], drifted[1], strict=True):
        assert torch.equal(first, second)
    assert torch.equal(drifted[0][1], torch.arange(4.0))


def test_a_gpu_here_and_none_there_is_refused():
    with pytest.raises(UsageError, match="process 0 has a GPU, but process 1 sees none"):
        use_device(Group(0, 2, Fake(["cpu"])), torch.device("cuda", 0))


TRAIN = """
import os
import sys
from pathlib import Path
from deeph.files.config_file import load_config
from deeph.runtime.log import setup_logging
from deeph.training import evaluate, loop, run
from deeph.cli import train as command

rank, where, kind = int(sys.argv[1]), sys.argv[2], sys.argv[3]
places = {"step": (loop, "compute_loss"), "save": (loop, "save_state"), "begin": (run, "_begin"), "evaluate": (evaluate, "evaluate")}
owner, name = places[where]
plain, calls = getattr(owner, name), []

def failing(*args, **options):
    calls.append(1)
    if int(os.environ["RANK"]) == rank and len(calls) >= (2 if where in ("step", "save") else 1):
        raise OSError(28, "No space left on device", "the file") if kind == "disk" else ValueError("odd")
    return plain(*args, **options)

setattr(owner, name, failing)
command.main(["small.toml", "--out", "run", "--set", "train.epochs=3", "--set", "train.checkpoint_minutes=1e-6"])
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rank", "where", "kind"),
    [(0, "save", "disk"), (0, "begin", "odd"), (1, "step", "odd"), (1, "evaluate", "odd")],
)
def test_training_ends_in_all_processes_with_the_message_of_one(tmp_path, rank, where, kind):
    make_case(tmp_path)
    (tmp_path / "driver.py").write_text(TRAIN)
    ends = two_processes(["driver.py", str(rank), where, kind], tmp_path)
    assert [code for code, *_ in ends] == [1, 1]
    messages = ends[0][2]
    assert "No space left on device" in messages if kind == "disk" else "unexpected ValueError: odd" in messages
    assert "Traceback" not in ends[0][2] + ends[1][2]


def test_the_errors_of_a_group_are_those_of_the_project():
    group = Group(0, 2, Fake([None], [DataError("of the other")]))
    with pytest.raises(DeephError, match="mine"):
        group.raise_first(DataError("mine"))
    with pytest.raises(DataError, match="of the other"):
        group.raise_first(None)
