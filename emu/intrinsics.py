"""The memory primitives of hot code as LLVM instructions. Imported by the compiling process only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = [
    "call1", "call2", "call3", "call4", "call5", "copy_bytes", "fill_bytes", "load8", "load16", "load32", "load64",
    "store8", "store16", "store32", "store64",
]

_I64 = ir.IntType(64)
_NUMBA_TYPES: dict[str, Any] = {"i64": types.int64, "i32": types.int32, "u32": types.uint32, "void": types.void}


def compile_hot(function: Callable[..., Any]) -> Any:
    """numba.njit with plain machine arithmetic: no exceptions on division."""
    return numba.njit(error_model="numpy")(function)


def compile_cfunc(result: str, args: list[str], function: Callable[..., Any]) -> Any:
    """A function that C can call."""
    signature = _NUMBA_TYPES[result](*[_NUMBA_TYPES[a] for a in args])
    return numba.cfunc(signature, error_model="numpy")(function)


def _accessors(bits: int, signed: bool) -> tuple[Any, Any]:
    kind = ir.IntType(bits)

    @intrinsic
    def load(_typing: Any, address: Any) -> Any:
        def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            value = builder.load(builder.inttoptr(args[0], kind.as_pointer()))
            value.align = 1
            if bits == 64:
                return value
            return builder.sext(value, _I64) if signed else builder.zext(value, _I64)

        return types.int64(types.int64), generate

    @intrinsic
    def store(_typing: Any, address: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            narrowed = args[1] if bits == 64 else builder.trunc(args[1], kind)
            builder.store(narrowed, builder.inttoptr(args[0], kind.as_pointer())).align = 1
            return context.get_dummy_value()

        return types.void(types.int64, types.int64), generate

    return load, store


load64, store64 = _accessors(64, True)
load32, store32 = _accessors(32, True)
load16, store16 = _accessors(16, True)
load8, store8 = _accessors(8, False)


@intrinsic
def copy_bytes(_typing: Any, target: Any, source: Any, count: Any) -> Any:
    def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        pointer = ir.IntType(8).as_pointer()
        cgutils.raw_memmove(builder, builder.inttoptr(args[0], pointer), builder.inttoptr(args[1], pointer), args[2], 1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), generate


@intrinsic
def fill_bytes(_typing: Any, target: Any, value: Any, count: Any) -> Any:
    def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        pointer = builder.inttoptr(args[0], ir.IntType(8).as_pointer())
        intrinsic_function = builder.module.declare_intrinsic(
            "llvm.memset", (pointer.type, args[2].type))
        builder.call(intrinsic_function,
                     [pointer, builder.trunc(args[1], ir.IntType(8)), args[2], ir.IntType(1)(0)])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), generate


def _caller(count: int) -> Any:
    """A call of the C function at an address with ``count`` 64-bit arguments."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(_I64, [_I64] * count)
        return builder.call(builder.inttoptr(args[0], kind.as_pointer()), list(args[1:]))

    i = types.int64
    if count == 1:
        @intrinsic
        def call(_t: Any, f: Any, a: Any) -> Any:
            return i(i, i), generate
    elif count == 2:
        @intrinsic
        def call(_t: Any, f: Any, a: Any, b: Any) -> Any:
            return i(i, i, i), generate
    elif count == 3:
        @intrinsic
        def call(_t: Any, f: Any, a: Any, b: Any, c: Any) -> Any:
            return i(i, i, i, i), generate
    elif count == 4:
        @intrinsic
        def call(_t: Any, f: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
            return i(i, i, i, i, i), generate
    else:
        @intrinsic
        def call(_t: Any, f: Any, a: Any, b: Any, c: Any, d: Any, e: Any) -> Any:
            return i(i, i, i, i, i, i), generate
    return call


call1, call2, call3, call4, call5 = (_caller(n) for n in range(1, 6))
