"""Blocking calls in notebooks and interactive shells do not warn; elsewhere they do."""

import importlib.util
import subprocess
import sys
import textwrap
import warnings

import pytest

needs_ipython = pytest.mark.skipif(
    not importlib.util.find_spec("IPython"), reason="IPython is not installed"
)
needs_kernel = pytest.mark.skipif(
    not (importlib.util.find_spec("ipykernel") and importlib.util.find_spec("jupyter_client")),
    reason="ipykernel is not installed",
)

# The functions that the cells of these tests call.
FUNCTIONS = textwrap.dedent(
    """
    import asyncio, threading
    import moorage

    app = moorage.App("cells")

    @app.function()
    def double(x):
        return 2 * x

    @app.function()
    def count(n):
        yield from range(n)

    @app.function()
    async def blocks():
        return double.remote(1)

    @app.cls()
    class Model:
        @moorage.method()
        def double(self, x):
            return 2 * x

    @app.local_entrypoint()
    async def main():
        return await double.remote.aio(4)

    async def coroutine():
        return double.remote(1)
    """
)

IN_CELLS = {
    "remote": "double.remote(2)",
    "method": "Model().double.remote(2)",
    "map": "list(double.map([1, 2]))",
    "map of an iterator": "list(double.map(iter([1, 2])))",
    "starmap": "list(double.starmap([(1,), (2,)]))",
    "for_each": "double.for_each([1, 2])",
    "remote_gen": "list(count.remote_gen(3))",
    "get": "double.spawn(2).get()",
    "gather": "moorage.FunctionCall.gather(double.spawn(2), double.spawn(3))",
    "run": "with app.run():\n    double.remote(2)",
    "entrypoint": "main()",
    "after a top-level await": "await asyncio.sleep(0)\ndouble.remote(2)",
    "coroutine": "await coroutine()",
}
# A callback on the kernel's loop, as that of a button is.
CALLBACK = (
    "done = asyncio.Event()\n"
    "def on_click():\n    print('clicked', double.remote(20)); done.set()\n"
    "asyncio.get_running_loop().call_soon(on_click)\n"
    "await done.wait()"
)
ELSEWHERE = {
    "a loop in a thread": (
        "def run(): asyncio.run(coroutine())\n"
        "thread = threading.Thread(target=run); thread.start(); thread.join()"
    ),
    "a container": "await blocks.remote.aio()",
}


@pytest.fixture(scope="module")
def kernel():
    from jupyter_client.manager import KernelManager

    # Without a kernel spec that is installed, the kernel is `sys.executable -m ipykernel_launcher`.
    manager = KernelManager(kernel_name="python3")
    with warnings.catch_warnings(action="ignore"):  # Jupyter's own
        yield from _kernel_of(manager)


def _kernel_of(manager):
    manager.start_kernel(stderr=subprocess.DEVNULL)
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=30)

        def run_cell(cell):
            said = []
            reply = client.execute_interactive(
                cell, timeout=30, output_hook=lambda message: said.append(str(message["content"]))
            )
            assert reply["content"]["status"] == "ok", reply["content"]
            return "\n".join(said)

        run_cell(FUNCTIONS)
        yield run_cell
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


@needs_kernel
@pytest.mark.parametrize("way", IN_CELLS)
def test_a_cell_of_jupyter_does_not_warn(kernel, way):
    assert "AsyncUsageWarning" not in kernel(IN_CELLS[way])


@needs_kernel
def test_a_callback_on_the_kernels_loop_does_not_warn(kernel):
    said = kernel(CALLBACK)
    assert "clicked 40" in said
    assert "AsyncUsageWarning" not in said


@needs_kernel
@pytest.mark.parametrize("place", ELSEWHERE)
def test_another_loop_in_a_notebook_warns(kernel, place):
    assert "AsyncUsageWarning" in kernel(ELSEWHERE[place])


def stderr_of(program, *, args=("-c",), **options):
    done = subprocess.run(
        [sys.executable, "-W", "always::moorage.exception.AsyncUsageWarning", *args, program],
        capture_output=True,
        text=True,
        timeout=60,
        **options,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


SHELL = FUNCTIONS + (
    "from IPython.core.interactiveshell import InteractiveShell\n"
    "shell = InteractiveShell.instance()\n"
    "shell.autoawait = True\n"
    "shell.user_ns.update(globals())\n"
    "result = shell.run_cell({!r})\n"
    "result.raise_error()\n"
)


@needs_ipython
@pytest.mark.parametrize("way", ["after a top-level await", "coroutine", "remote", "entrypoint"])
def test_autoawait_of_ipython_does_not_warn(way):
    assert "AsyncUsageWarning" not in stderr_of(SHELL.format(IN_CELLS[way]))


@needs_ipython
def test_asyncio_run_in_a_cell_of_ipython_warns():
    assert "AsyncUsageWarning" in stderr_of(SHELL.format("asyncio.run(coroutine())"))


@needs_ipython
def test_a_program_that_has_ipython_warns():
    shell = "from IPython.core.interactiveshell import InteractiveShell\n"
    for more in ("import IPython\n", shell + "InteractiveShell.instance()\n"):
        assert "AsyncUsageWarning" in stderr_of(more + FUNCTIONS + "asyncio.run(coroutine())\n")


def test_the_shell_of_asyncio_does_not_warn(tmp_path):
    (tmp_path / "cells.py").write_text(FUNCTIONS)
    lines = "from cells import *\nprint('got', double.remote(21))\nexit()\n"
    said = stderr_of("asyncio", args=("-m",), input=lines, cwd=tmp_path)
    assert "got 42" in said
    assert "AsyncUsageWarning" not in said
