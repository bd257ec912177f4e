"""A local Runflow that needs no API key and no money: the API of ``google/veo3.1``, its callbacks and its file host.

It behaves as docs.runflow.io says. Where the docs contradict themselves, a switch selects the behavior.
"""

from sandbox.runflow.front import Received
from sandbox.runflow.run import SandboxRun
from sandbox.runflow.server import RunflowSandbox
from sandbox.runflow.switches import MARKERS, Switches

__all__ = ["MARKERS", "Received", "RunflowSandbox", "SandboxRun", "Switches"]
