"""A Runflow that needs no key and no money: the API of ``google/veo3.1``, its callbacks and its file host.

It behaves as docs.runflow.io describes; where the documentation contradicts itself there is a switch.
"""

from sandbox.runflow.run import SandboxRun
from sandbox.runflow.server import Received, RunflowSandbox
from sandbox.runflow.switches import MARKERS, Switches

__all__ = ["MARKERS", "Received", "RunflowSandbox", "SandboxRun", "Switches"]
