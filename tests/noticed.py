"""Prints by which world each guard of the worlds is noticed now, for `NOTICED_BY` in `tests.test_worlds`."""

from __future__ import annotations

import asyncio
import re

from tests.test_worlds import GUARDS, worlds_without


async def main() -> None:
    """One line for each guard, as it stands in that list."""
    for guard in GUARDS:
        _, story, _ = await worlds_without(guard)
        found = re.search(r"^seed (\d+): ", story, re.M)
        print(f'    "{guard.name}": {found[1] if found else None},', flush=True)


if __name__ == "__main__":
    asyncio.run(main())
