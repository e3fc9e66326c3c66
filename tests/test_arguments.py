"""Mistakes on the command line: one line that says what was seen and what was expected, exit code 2, no usage."""

import importlib

import pytest
from test_layers import COMMANDS

from deeph.cli.common import make_parser, run_command


def refused(capsys, command: str, *arguments: str) -> str:
    module, function = COMMANDS[command].split(":")
    with pytest.raises(SystemExit) as end:
        getattr(importlib.import_module(module), function)(list(arguments))
    assert end.value.code == 2
    text = capsys.readouterr().err
    assert text.count("\n") == 1, text
    assert "usage" not in text
    assert text.startswith(f"{command}")
    return text


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("deeph-bands folder --npoints 20", "no option --npoints, did you mean --points?"),
        ("deeph-bands folder --points many", "--points many: expected a whole number"),
        ("deeph-bands folder --n_bands 4", "no option --n_bands, did you mean --n-bands?"),
        ("deeph-preprocess raw", "OUT is missing; expected deeph-preprocess RAW... OUT"),
        ("deeph-preprocess a b -j four", "--jobs four: expected a whole number"),
        ("deeph-preprocess a b --verify band", "invalid choice 'band', did you mean bands? Expected one of off, basic, bands"),
        ("deeph-pyscf --prnt-config", "no option --prnt-config, did you mean --print-config?"),
        ("deeph-pyscf a b c", "unexpected argument 'c'; expected deeph-pyscf JOB.toml OUT"),
        ("deeph-structures pertrub x", "COMMAND: invalid choice 'pertrub', did you mean perturb?"),
        ("deeph-structures", "COMMAND is missing"),
        ("deeph-structures perturb a b -n 2 --displ 0.1", "structures perturb: there is no option --displ, did you mean --displacement?"),
        ("deeph-structures perturb a b", "-n/--number is missing; expected deeph-structures perturb STRUCTURE OUT --number N"),
        ("deeph-structures twist x --mn 1", "--mn: expected 2 values, --mn M N"),
        ("deeph-structures twist x --mn 1 2 --angle 3", "--angle and --mn exclude each other"),
        ("deeph-structures twist x --mn 1 2 --frobnicate", "no option --frobnicate; deeph-structures twist --help lists them"),
        ("deeph-overlap x --basis f out --cutoff far", "--cutoff far: expected a number"),
        ("deeph-inspect x --json=yes", "--json takes no value, seen yes"),
    ],
)
def test_one_line_says_what_is_wrong(capsys, line, words):
    assert words in refused(capsys, *line.split())


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_refuses_an_unknown_option_in_one_line(capsys, command):
    assert "no option --frobnicate" in refused(capsys, command, "--frobnicate")


def test_what_follows_two_dashes_is_no_option(capsys):
    parser = make_parser("deeph-test", "A test.")
    parser.add_argument("word")
    with pytest.raises(SystemExit) as end:
        run_command(parser, lambda args: int(args.word != "--odd"), ["--", "--odd"])
    assert end.value.code == 0
