"""Keys and values as bytes.

A codec has ``encode`` and ``decode``, and a ``tag`` of one byte that goes before each value, so
that a client with another codec refuses the value instead of misreading it. There is no pickle, and
will be none: to read a value must never run the code of whoever wrote it.
"""

from __future__ import annotations

import json
from typing import Any, Final, Protocol, TypeVar

from .._checks import text

T = TypeVar("T")


class Codec(Protocol[T]):
    """How keys or values become bytes, and what they were again.

    What ``encode`` raises comes out of the operation, which has changed nothing then. What
    ``decode`` raises comes out as the cause of an `UndecodableError`. Two keys are the same if
    their bytes are.
    """

    @property
    def tag(self) -> bytes:
        """One byte that names the format; upper case is for codecs of your own."""

    def encode(self, thing: T, /) -> bytes: ...

    def decode(self, data: bytes, /) -> T: ...


class Text:
    """``str`` as UTF-8: the codec of keys, unless another is given."""

    tag: Final = b"t"

    def encode(self, thing: str, /) -> bytes:
        if not isinstance(thing, str):
            raise TypeError(
                f"a str is needed, not {text(thing)}: convert it, or give the queue another codec"
            )
        return thing.encode()

    def decode(self, data: bytes, /) -> str:
        return data.decode()


class Json:
    """JSON by the standard library: the codec of values, unless another is given.

    What JSON does not know comes back as what it does: a tuple as a list, an int key of a dict as a
    str. NaN and the infinities are a ValueError.
    """

    tag: Final = b"j"

    def __init__(self) -> None:
        encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        self._encode = encoder.encode
        self._decode = json.JSONDecoder().decode

    def encode(self, thing: Any, /) -> bytes:
        return self._encode(thing).encode()

    def decode(self, data: bytes, /) -> Any:
        return self._decode(data.decode())


class MsgPack:
    """MessagePack by the package ``msgpack``, which must be installed (ImportError otherwise)."""

    tag: Final = b"m"

    def __init__(self) -> None:
        import msgpack  # noqa: PLC0415 (an extra of the user's choice)

        self._pack, self._unpack = msgpack.packb, msgpack.unpackb

    def encode(self, thing: Any, /) -> bytes:
        data: bytes = self._pack(thing)
        return data

    def decode(self, data: bytes, /) -> Any:
        return self._unpack(data)


class MsgSpec:
    """JSON by the package ``msgspec``, which must be installed (ImportError otherwise).

    ``type``: what values are, such as a ``msgspec.Struct``, a dataclass or ``list[int]``; what was
    put is checked against it when it is decoded. It reads and writes what `Json` does.
    """

    tag: Final = b"j"

    def __init__(self, type: Any = Any) -> None:  # noqa: A002 (msgspec's own name for it)
        import msgspec  # noqa: PLC0415 (an extra of the user's choice)

        self._encode = msgspec.json.Encoder().encode
        self._decode = msgspec.json.Decoder(type).decode

    def encode(self, thing: Any, /) -> bytes:
        return self._encode(thing)

    def decode(self, data: bytes, /) -> Any:
        return self._decode(data)
