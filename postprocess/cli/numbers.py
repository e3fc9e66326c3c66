"""Numbers of bands as typed."""


def parse_bands(text: str | None, option: str = "--bands") -> list[int]:
    """Numbers of bands, counted from 0, of a text such as 25-26 or 3,5-7; UsageError if they are none."""
    from deeph.runtime.errors import UsageError

    numbers: list[int] = []
    for part in (text or "").split(",") if text else []:
        low, _, high = part.partition("-")
        if not (low.strip().isdigit() and (high or low).strip().isdigit()) or not 0 < int(low) <= int(high or low):
            raise UsageError(f"{option} {text}: expected numbers from 1, such as 25-26 or 3,5-7")
        numbers += range(int(low) - 1, int(high or low))
    return sorted(set(numbers))
