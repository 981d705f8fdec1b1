"""Modal's decorators, running inside your own process.

Begin like this::

    import moorage

    app = moorage.App("example")

    @app.function()
    @moorage.concurrent(max_inputs=100, target_inputs=80)
    async def double(x: int) -> int:
        return 2 * x

    with app.run():
        print(double.remote(21))               # run one input, wait for its result
        print(list(double.map(range(1000))))   # run many, at most 100 in a container
        call = double.spawn(4)                 # go on at once; call.get() gives the result

``help(moorage.App.function)`` has all arguments, ``help(moorage.concurrent)`` the two limits.
`moorage.testing` has the fake container and the virtual clock, and `moorage.describe` prints what a
program is doing.  A program that says ``import modal`` runs after `moorage.install_as_modal`.

This file owns the list of public names.  Each name is defined in the file of its subject, and
imported from there at its first use (`_AT_FIRST_USE`, `__getattr__`): no program needs all of them.
What must be as it is when moorage is imported is imported at once: the standard library before
anybody patches it (``runtime/real.py``), and the settings.
"""

import os as _os
import typing as _typing

from . import config as _config
from .runtime.real import import_late as _import_late

if _typing.TYPE_CHECKING:
    from . import billing as billing
    from . import experimental as experimental
    from . import types as types
    from .app import App as App
    from .as_modal import install_as_modal as install_as_modal
    from .calling.function_call import FunctionCall as FunctionCall
    from .client import Client as Client
    from .cloud_bucket_mount import CloudBucketMount as CloudBucketMount
    from .cls import Cls as Cls
    from .cluster import Cluster as Cluster
    from .describing.describe import describe as describe
    from .describing.describe import describe_on_signal as describe_on_signal
    from .dict import Dict as Dict
    from .environments import Environment as Environment
    from .exception import Error as Error
    from .file_pattern_matcher import FilePatternMatcher as FilePatternMatcher
    from .functions import Function as Function
    from .image import Image as Image
    from .network_file_system import NetworkFileSystem as NetworkFileSystem
    from .output import enable_output as enable_output
    from .output import interact as interact
    from .partial_function import asgi_app as asgi_app
    from .partial_function import batched as batched
    from .partial_function import clustered as clustered
    from .partial_function import concurrent as concurrent
    from .partial_function import enter as enter
    from .partial_function import exit as exit
    from .partial_function import fastapi_endpoint as fastapi_endpoint
    from .partial_function import method as method
    from .partial_function import parameter as parameter
    from .partial_function import sessioned as sessioned
    from .partial_function import web_endpoint as web_endpoint
    from .partial_function import web_server as web_server
    from .partial_function import wsgi_app as wsgi_app
    from .placing.processes import Processes as Processes
    from .proxy import Proxy as Proxy
    from .queue import Queue as Queue
    from .retries import Retries as Retries
    from .runtime.context import current_function_call_id as current_function_call_id
    from .runtime.context import current_input_id as current_input_id
    from .runtime.context import is_local as is_local
    from .runtime.guards.cancelling import check_cancelled as check_cancelled
    from .runtime.guards.cancelling import cooperative as cooperative
    from .runtime.guards.cancelling import shield as shield
    from .runtime.pools.batching import current_input_ids as current_input_ids
    from .sandbox import Probe as Probe
    from .sandbox import Sandbox as Sandbox
    from .sandbox import SandboxSnapshot as SandboxSnapshot
    from .schedule import Cron as Cron
    from .schedule import Period as Period
    from .scheduler_placement import SchedulerPlacement as SchedulerPlacement
    from .secret import Secret as Secret
    from .server import Server as Server
    from .tunnel import Tunnel as Tunnel
    from .tunnel import forward as forward
    from .volume import Volume as Volume
    from .workspace import Workspace as Workspace

__version__ = "0.1.0"

__all__ = [
    "App",
    "Client",
    "CloudBucketMount",
    "Cls",
    "Cluster",
    "Cron",
    "Dict",
    "Environment",
    "Error",
    "FilePatternMatcher",
    "Function",
    "FunctionCall",
    "Image",
    "NetworkFileSystem",
    "Period",
    "Probe",
    "Processes",
    "Proxy",
    "Queue",
    "Retries",
    "Sandbox",
    "SandboxSnapshot",
    "SchedulerPlacement",
    "Secret",
    "Server",
    "Tunnel",
    "Volume",
    "Workspace",
    "__version__",
    "asgi_app",
    "batched",
    "billing",
    "check_cancelled",
    "clustered",
    "concurrent",
    "cooperative",
    "current_function_call_id",
    "current_input_id",
    "current_input_ids",
    "describe",
    "describe_on_signal",
    "enable_output",
    "enter",
    "exit",
    "experimental",
    "fastapi_endpoint",
    "forward",
    "install_as_modal",
    "interact",
    "is_local",
    "method",
    "parameter",
    "sessioned",
    "shield",
    "types",
    "web_endpoint",
    "web_server",
    "wsgi_app",
]

# Names that Modal once had, and what to write today.  Lenient mode has those of `_OLD`, too.
_GONE: _typing.Final = {
    "Stub": "write modal.App(...), its name today",
    "Mount": "write image.add_local_dir(...) and its like",
    "NetworkFileSystemMount": "write volumes={...}",
    "SharedVolume": "write modal.Volume",
    "build": "write image.run_function(...), or @modal.enter()",
    "container_app": "write @modal.enter() hooks, and modal.is_local()",
    "create_package_mounts": "write image.add_local_python_source(...)",
    "gpu": 'write gpu="A100:2" and the like, a string',
    "web_method": "write @modal.fastapi_endpoint()",
}
# The old name to the module that has the object, and the object's name there ("" for the module).
_OLD: _typing.Final = {
    "Stub": ("app", "App"),
    "Mount": ("mount", "Mount"),
    "SharedVolume": ("network_file_system", "SharedVolume"),
    "build": ("partial_function", "_build"),
    "create_package_mounts": ("mount", "_create_package_mounts"),
    "gpu": ("old.gpu", ""),
    "web_method": ("partial_function", "fastapi_endpoint"),
}


if not _typing.TYPE_CHECKING:
    # The public names by the modules that define them.  () for the module itself.
    _AT_FIRST_USE = {
        "app": ("App",),
        "as_modal": ("install_as_modal",),
        "billing": (),
        "calling.function_call": ("FunctionCall",),
        "client": ("Client",),
        "cloud_bucket_mount": ("CloudBucketMount",),
        "cls": ("Cls",),
        "cluster": ("Cluster",),
        "describing.describe": ("describe", "describe_on_signal"),
        "dict": ("Dict",),
        "environments": ("Environment",),
        "exception": ("Error",),
        "experimental": (),
        "file_pattern_matcher": ("FilePatternMatcher",),
        "functions": ("Function",),
        "image": ("Image",),
        "network_file_system": ("NetworkFileSystem",),
        "output": ("enable_output", "interact"),
        "partial_function": (
            *("asgi_app", "batched", "clustered", "concurrent", "enter", "exit"),
            *("fastapi_endpoint", "method", "parameter", "sessioned", "web_endpoint"),
            *("web_server", "wsgi_app"),
        ),
        "placing.processes": ("Processes",),
        "proxy": ("Proxy",),
        "queue": ("Queue",),
        "retries": ("Retries",),
        "runtime.context": ("current_function_call_id", "current_input_id", "is_local"),
        "runtime.guards.cancelling": ("check_cancelled", "cooperative", "shield"),
        "runtime.pools.batching": ("current_input_ids",),
        "sandbox": ("Probe", "Sandbox", "SandboxSnapshot"),
        "schedule": ("Cron", "Period"),
        "scheduler_placement": ("SchedulerPlacement",),
        "secret": ("Secret",),
        "server": ("Server",),
        "tunnel": ("Tunnel", "forward"),
        "types": (),
        "volume": ("Volume",),
        "workspace": ("Workspace",),
    }
    _HOMES = {
        name: module for module, names in _AT_FIRST_USE.items() for name in names or (module,)
    }
    # Modules that are no attributes before somebody imports them, because they need an extra.
    _NEED_AN_EXTRA = ("cli", "mypy_plugin", "pytest_plugin")

    def __getattr__(name):
        module = _HOMES.get(name)
        if module is not None:
            found = _import_late(f".{module}", __name__)
            value = globals()[name] = found if module == name else getattr(found, name)
            return value
        if name in _GONE:
            if name not in _OLD or _config.strict:
                raise AttributeError(f"modal.{name} is gone from Modal; {_GONE[name]}")
            return _old_name(name)
        # `import moorage` and `moorage.exception.InputCancellation`: the import sets the attribute.
        if not name.startswith("_") and name not in _NEED_AN_EXTRA:
            try:
                return _import_late(f".{name}", __name__)
            except ModuleNotFoundError as error:
                if error.name != f"{__name__}.{name}":
                    raise
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def _old_name(name):
        _import_late(".old.names", __name__).accept_old_spelling(f"modal.{name}", _GONE[name])
        module, attribute = _OLD[name]
        found = _import_late(f".{module}", __name__)
        return getattr(found, attribute) if attribute else found

    def __dir__():
        return sorted({*globals(), *_HOMES})


if _os.environ.get("MOORAGE_DESCRIBE_SIGNAL"):
    _import_late(".describing.describe", __name__)  # which sets the handler
if _os.environ.get("MOORAGE_AS_MODAL", "") not in ("", "0"):
    _import_late(".as_modal", __name__).install_as_modal()
