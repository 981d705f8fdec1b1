"""moorage: Modal's decorators, running inside your own process.

Owns the list of public names; each is defined where its subject is.
"""

from .app import App as App
from .calls import FunctionCall as FunctionCall
from .cls import Cls as Cls
from .exception import Error as Error
from .functions import Function as Function
from .partial_function import concurrent as concurrent
from .partial_function import enter as enter
from .partial_function import exit as exit
from .partial_function import method as method
from .partial_function import parameter as parameter
from .retries import Retries as Retries
from .runtime.context import current_function_call_id as current_function_call_id
from .runtime.context import current_input_id as current_input_id
from .runtime.context import is_local as is_local

__version__ = "0.1.0"

# The cloud's objects: inert placeholders, each in the module of Modal's name for it.
from . import billing as billing
from .client import Client as Client
from .cloud_bucket_mount import CloudBucketMount as CloudBucketMount
from .cluster import Cluster as Cluster
from .dict import Dict as Dict
from .environments import Environment as Environment
from .file_pattern_matcher import FilePatternMatcher as FilePatternMatcher
from .image import Image as Image
from .network_file_system import NetworkFileSystem as NetworkFileSystem
from .proxy import Proxy as Proxy
from .queue import Queue as Queue
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
