"""What people use: the command line, the Python API (``guest.session``), the tracer, benchmarks, bundled programs."""

__version__ = "0.1.0"
