"""Lines of keyword files."""

from collections.abc import Callable, Iterable


def keyword_lines(pairs: Iterable[tuple[str, str]], extra: str, plain: Callable[[str], str] = str.lower) -> list[str]:
    """``keyword value`` lines without those whose keyword is in the extra lines, and then the extra lines.

    Parameters
    ----------
    pairs : iterable of (keyword, value)
        Ours.
    extra : str
        Lines of the user.
    plain : function
        Brings a keyword into the form in which the code compares it.
    """
    extra = extra.strip("\n")
    replaced = {plain(" ".join(words[: 2 if words[0] == "%block" else 1])) for line in extra.splitlines() if (words := line.split())}
    ours = [f"{keyword:<26} {value}" for keyword, value in pairs if plain(keyword) not in replaced]
    return [line.rstrip() for line in "\n".join(ours).splitlines()] + ([extra] if extra else [])


def numbers(row: Iterable[float]) -> str:
    """Numbers with twelve decimals in columns."""
    return " ".join(f"{round(x, 12) + 0.0:18.12f}" for x in row)
