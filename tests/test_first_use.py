"""``import moorage`` imports little; the rest is imported at its first use, and nobody notices."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import moorage
from moorage.as_modal import MODULES

SOURCES = str(Path(moorage.__file__).parent.parent)

# What the import itself needs: the standard library before it is patched, and the settings.
AT_ONCE = {"client_config", "config", "exception", "runtime", "runtime.real"}


def run_python(source: str) -> str:
    """Run a program of its own interpreter, and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {SOURCES!r})\n{source}"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_import_loads_the_settings_and_the_standard_library_alone():
    printed = run_python("import moorage; print(*(name for name in sys.modules))")
    ours = {name.removeprefix("moorage.") for name in printed.split() if "moorage." in name}
    assert ours == AT_ONCE
    others = {name.partition(".")[0] for name in printed.split()} - {"moorage", "__main__"}
    ours_beside = {name for name in others if name.startswith("_moorage")}
    # Files of the environment (.pth) may import what they like.
    at_start = set(run_python("print(*(n.partition('.')[0] for n in sys.modules))").split())
    assert others - ours_beside - at_start <= set(sys.stdlib_module_names)


def test_modules_of_the_package_are_its_attributes():
    names = sorted({*MODULES, "advice", "runtime", "calling", "simulate"})
    said = run_python(f"import moorage\nfor n in {names}: print(getattr(moorage, n).__name__)")
    assert said.split() == [f"moorage.{name}" for name in names]


def test_what_is_no_name_of_the_package_is_an_attribute_error():
    names = ["cli", "mypy_plugin", "pytest_plugin", "nothing", "_nothing"]
    said = run_python(
        "import moorage\n"
        f"for name in {names}:\n"
        "    try: getattr(moorage, name)\n"
        "    except AttributeError as error: print(error)\n"
        "    assert f'moorage.{name}' not in sys.modules"
    )
    assert said.splitlines() == [f"module 'moorage' has no attribute '{name}'" for name in names]


def test_the_first_use_of_a_name_is_kept():
    said = run_python(
        "import moorage\n"
        "before = 'App' in vars(moorage)\n"
        "app = moorage.App\n"
        "print(before, vars(moorage)['App'] is app is moorage.app.App)"
    )
    assert said == "False True\n"


def test_all_public_names_are_listed_before_their_first_use():
    said = run_python("import moorage; print(*dir(moorage))")
    assert set(moorage.__all__) <= set(said.split())


def test_a_star_takes_all_public_names():
    said = run_python("from moorage import *; print(*globals())")
    assert set(moorage.__all__) <= set(said.split())


def test_as_modal_imports_at_first_use_too():
    said = run_python(
        "import os; os.environ['MOORAGE_AS_MODAL'] = '1'\n"
        "import moorage, modal\n"
        "print('moorage.app' in sys.modules, modal.App is moorage.App)\n"
        "import modal.image\n"
        "print(modal.image is moorage.image, modal.volume.__name__)"
    )
    assert said == "False True\nTrue moorage.volume\n"


def test_strict_mode_is_that_of_the_import():
    said = run_python(
        "import os; os.environ['MOORAGE_STRICT'] = '1'\n"
        "import moorage\n"
        "del os.environ['MOORAGE_STRICT']\n"
        "print(moorage.config.strict, hasattr(moorage, 'Stub'))"
    )
    assert said == "True False\n"


def test_a_pickled_function_of_the_package_comes_back_in_a_fresh_interpreter():
    said = run_python(
        "import pickle, subprocess, moorage\n"
        "data = pickle.dumps([moorage.current_input_id, moorage.App, moorage.Image])\n"
        "code = 'import pickle, sys; print(pickle.loads(sys.stdin.buffer.read())[1].__name__)'\n"
        f"environment = {{**__import__('os').environ, 'PYTHONPATH': {SOURCES!r}}}\n"
        "print(subprocess.run([sys.executable, '-c', code], input=data, capture_output=True,\n"
        "                     env=environment).stdout.decode(), end='')"
    )
    assert said == "App\n"


def test_many_threads_get_the_same_object_at_once():
    said = run_python(
        "import threading, moorage\n"
        "barrier, found = threading.Barrier(8), []\n"
        "def take():\n"
        "    barrier.wait()\n"
        "    found.append((moorage.App, moorage.Cls, moorage.method, moorage.Queue))\n"
        "threads = [threading.Thread(target=take) for _ in range(8)]\n"
        "for each in threads: each.start()\n"
        "for each in threads: each.join()\n"
        "print(len(found), len(set(found)))"
    )
    assert said == "8 1\n"


def test_no_name_of_a_module_hides_a_public_name():
    public = {name for name in moorage.__all__ if not name.startswith("_")}
    for name in public - {"billing", "experimental", "types"}:
        assert not isinstance(getattr(moorage, name), ModuleType)


def test_a_small_program_imports_no_part_that_it_does_not_use():
    said = run_python(
        "import moorage\n"
        "app = moorage.App('small')\n"
        "@app.function(serialized=True)\n"
        "def double(x): return 2 * x\n"
        "with app.run(): print(double.remote(2))\n"
        "print(*sys.modules)"
    )
    first, _, names = said.partition("\n")
    loaded = {name.removeprefix("moorage.") for name in names.split() if "moorage." in name}
    assert first == "4"
    rare = {"types", "image", "secret", "volume", "network_file_system", "schedule", "mount"}
    rare |= {"cloud_bucket_mount", "running.mounts", "runtime.pools.statistics", "stores.trees"}
    assert not loaded & rare
