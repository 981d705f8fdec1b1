"""The command ``moorage``, also as ``python -m moorage``.

Owns only the message for a missing extra.  ``cli/command.py`` owns the commands.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line of this process, and exit."""
    try:
        import click  # noqa: F401  # pyright: ignore[reportUnusedImport]
    except ModuleNotFoundError as error:
        if error.name != "click":
            raise
        print(
            "moorage: the command line needs click, which is not installed; "
            'write pip install "moorage[cli]"',
            file=sys.stderr,
        )
        raise SystemExit(1) from None
    from .cli.command import moorage

    moorage.main(prog_name="moorage")


if __name__ == "__main__":
    main()
