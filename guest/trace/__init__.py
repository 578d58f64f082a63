"""The tracer: what ``forkyard trace`` prints is what strace prints.

It subscribes to ``kernel.events`` and knows a system call only by its declaration in ``kernel.syscalls``.
"""

from guest.trace.filters import ExpressionError, Filters
from guest.trace.options import TraceOptions
from guest.trace.tracer import Tracer

__all__ = ["ExpressionError", "Filters", "TraceOptions", "Tracer"]
