"""Break the pool at one place at a time, and see whether its model finds it.

``make mutants``, or ``python -m tests.mutations``.  There are two lists of places in the file
of the pool:

1. Each call of ``_settle_down``.  The exit code is 1 if the model passes without any of these
   calls: the model has a hole there, or the call is not needed.
2. Each step inside ``_settle_down`` and ``_serve``: each call, each early return, and each
   write of an attribute.  This list is for information.  A step that the model does not miss
   either saves work only, or keeps a promise that the model does not check.

For each place a copy of the package in a temporary folder has ``None`` (of a return or a write:
``pass``) in its stead, and ``tests/test_pool_model.py`` and ``tests/test_lost_containers_model.py``
run against the copy.

Begin reading at `main`.
"""

from __future__ import annotations

import argparse
import ast
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
MODELS = (
    ROOT / "tests" / "test_pool_model.py",
    # Without its own mutants, which break the package in other ways.
    ROOT / "tests" / "test_lost_containers_model.py",
)

# Seconds after which the model is taken to hang, which counts as found: of the unbroken
# package, and as a multiple of what that took.
HANGS_AFTER = 1800.0
TIMES_UNBROKEN = 6.0


@dataclass(frozen=True)
class Site:
    """One call or statement, from the first byte of its line on."""

    function: str
    line: int
    column: int
    last_line: int
    last_column: int
    text: str
    value: str = "None"  # what stands in its place

    def __str__(self) -> str:
        return f"line {self.line}, in {self.function}: {self.text}"


@dataclass(frozen=True)
class Verdict:
    found: bool
    trouble: bool
    why: str
    seconds: float


def site_of(node: ast.expr | ast.stmt, function: str, value: str) -> Site:
    return Site(
        function,
        node.lineno,
        node.col_offset,
        node.end_lineno or node.lineno,
        node.end_col_offset or 0,
        ast.unparse(node),
        value,
    )


def functions_of(source: str) -> Iterator[ast.FunctionDef]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            yield node


def calls_of(source: str, method: str, value: str) -> Iterator[Site]:
    """The calls of `method` on a plain name, each once: functions may stand in functions."""
    seen: set[tuple[int, int]] = set()
    for function in functions_of(source):
        for node in ast.walk(function):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == method
                and isinstance(node.func.value, ast.Name)
                and (node.lineno, node.col_offset) not in seen
            ):
                seen.add((node.lineno, node.col_offset))
                yield site_of(node, function.name, value)


# Without these any step fails at once, whatever the model checks.
NEVER_MISSED = {"_now", "len", "partial"}


def steps_of(source: str, methods: Sequence[str], value: str) -> Iterator[Site]:
    """The steps inside `methods`, in the order of their lines."""
    for function in functions_of(source):
        if function.name not in methods:
            continue
        found: list[Site] = []
        for node in ast.walk(function):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func).rpartition(".")[2]
                if name not in NEVER_MISSED:
                    found.append(site_of(node, function.name, value))
            elif isinstance(node, ast.Return) or (
                isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute)
            ):
                found.append(site_of(node, function.name, "pass"))
        yield from sorted(found, key=lambda site: (site.line, site.column))


def broken_at(source: str, site: Site) -> str:
    """`source` with the value of `site` in its place."""
    lines = source.encode().splitlines(keepends=True)
    before = b"".join(lines[: site.line - 1]) + lines[site.line - 1][: site.column]
    after = lines[site.last_line - 1][site.last_column :] + b"".join(lines[site.last_line :])
    return (before + site.value.encode() + after).decode()


def judge(file: Path, source: str, examples: int, only: str, hangs_after: float) -> Verdict:
    """Run the model against a copy of the package in which `file` has this source."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "moorage"
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "src" / "moorage", package, ignore=ignored)
        (package / file.relative_to(ROOT / "src" / "moorage")).write_text(source)
        environment = {
            **os.environ,
            "PYTHONPATH": folder,
            "MOORAGE_EXAMPLES": str(examples),
            "MOORAGE_FIRST_FAILURE": "1",
        }
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
        command += ["-k", f"({only or 'Test'}) and not mutant", *map(str, MODELS)]
        try:
            ended = subprocess.run(
                command,
                cwd=ROOT,
                env=environment,
                timeout=hangs_after,
                capture_output=True,
                text=True,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Verdict(True, False, "it hangs", time.monotonic() - began)
    lines = [line for line in ended.stdout.splitlines() if line.startswith("FAILED")]
    why = lines[0] if lines else "\n".join(ended.stdout.splitlines()[-20:])
    found, trouble = ended.returncode == 1, ended.returncode not in (0, 1)
    return Verdict(found, trouble, why if found or trouble else "", time.monotonic() - began)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description=__doc__)
    parser.add_argument("--file", type=Path, default="src/moorage/runtime/pools/pool.py")
    parser.add_argument("--method", default="_settle_down")
    parser.add_argument(
        "--inside", nargs="*", default=["_settle_down", "_serve"], help="whose steps are broken"
    )
    parser.add_argument("--value", default="None", help="what stands in the place of a call")
    parser.add_argument("--examples", type=int, default=200, help="of each machine of the model")
    parser.add_argument("--at-once", type=int, default=2, help="runs at the same time")
    parser.add_argument("--only", default="", help="machines of the model, as pytest's -k")
    options = parser.parse_args()
    file = (ROOT / options.file).resolve()
    source = file.read_text()
    calls = list(calls_of(source, options.method, options.value))
    steps = list(steps_of(source, options.inside, options.value))
    if not calls:
        print(f"{options.file} has no call of {options.method}")
        return 2
    whole = judge(file, source, options.examples, options.only, HANGS_AFTER)
    if whole.found or whole.trouble:
        print(f"the model fails with the package as it is:\n{whole.why}")
        return 2
    print(f"unbroken: the model passes, {whole.seconds:.0f} s", flush=True)

    def survivors(title: str, broken: Sequence[Site]) -> int:
        """Judge each of `broken`; return how many are not found."""
        print(f"\n{title}", flush=True)
        left = 0
        with ThreadPoolExecutor(options.at_once) as threads:
            verdicts = threads.map(
                lambda site: judge(
                    file,
                    broken_at(source, site),
                    options.examples,
                    options.only,
                    whole.seconds * TIMES_UNBROKEN,
                ),
                broken,
            )
            for site, verdict in zip(broken, verdicts, strict=True):
                left += not verdict.found
                word = "found" if verdict.found else "TROUBLE" if verdict.trouble else "NOT FOUND"
                print(f"{word}, {verdict.seconds:.0f} s: {site}\n    {verdict.why}", flush=True)
        print(f"{left} of {len(broken)} are not found", flush=True)
        return left

    missed = survivors(f"without a call of {options.method}:", calls)
    if steps:
        survivors(f"without a step inside {' and '.join(options.inside)}:", steps)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
