"""Shows what the mistakes lead to, or writes it down.

python -m tests.errors [--update] [NAME ...]
"""

from __future__ import annotations

import argparse

from . import harness


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.errors", description=__doc__)
    parser.add_argument("--update", action="store_true", help="write the golden files anew")
    parser.add_argument("names", nargs="*", metavar="NAME")
    arguments = parser.parse_args()
    wanted: list[str] = arguments.names or harness.names()
    for name, seen in harness.run(wanted).items():
        if not arguments.update:
            print(f"== {name} (exit code {seen.exit})\n{seen.text}")
        elif not harness.golden(name).exists() or harness.golden(name).read_text() != seen.text:
            harness.golden(name).write_text(seen.text)
            print(f"wrote {name}")
    if arguments.update and not arguments.names:
        for path in harness.GOLDEN.glob("*.txt"):
            if path.stem not in harness.names():
                path.unlink()
                print(f"removed {path.stem}")


if __name__ == "__main__":
    main()
