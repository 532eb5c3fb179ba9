"""Values that a template asks for and the event does not have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, NoReturn

from jinja2 import TemplateRuntimeError, Undefined, UndefinedError
from jinja2.utils import missing as absent


class Missing(Undefined):
    """Policy `strict`: any use but `is defined` and `default` raises and names the whole path."""

    __slots__ = ("origin", "path")
    lenient: ClassVar[bool] = False

    def __init__(
        self,
        hint: str | None = None,
        obj: Any = absent,
        name: str | None = None,
        exc: type[TemplateRuntimeError] = UndefinedError,
        path: str = "",
        origin: str = "",
    ) -> None:
        super().__init__(hint, obj, name, exc)
        self.path = path or str(name)
        self.origin = origin or self.path

    @property
    def _undefined_message(self) -> str:
        if self._undefined_hint:
            return self._undefined_hint
        if self.origin != self.path:
            return f"{self.path} is missing (there is no {self.origin})"
        if isinstance(self._undefined_obj, list | tuple) and isinstance(self._undefined_name, str):
            return f"{self.path} is missing: what it is asked of is a list, so loop over it or use the filter first"
        return f"{self.path} is missing"

    def refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise self._undefined_exception(self._undefined_message)

    def __str__(self) -> str:
        self.refuse()

    def __html__(self) -> str:
        self.refuse()

    def __iter__(self) -> Iterator[Any]:
        self.refuse()

    def __len__(self) -> int:
        self.refuse()

    def __bool__(self) -> bool:
        self.refuse()

    def __contains__(self, item: Any) -> bool:
        self.refuse()

    def __hash__(self) -> int:
        self.refuse()

    def __eq__(self, other: Any) -> bool:
        self.refuse()

    def __ne__(self, other: Any) -> bool:
        self.refuse()


class LenientMissing(Missing):
    """Policies `empty` and `default`: prints its text, iterates nothing, is false, and stays itself in arithmetic."""

    __slots__ = ()
    lenient = True
    text: ClassVar[str] = ""

    def __str__(self) -> str:
        return self.text

    def __html__(self) -> str:
        return self.text

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __bool__(self) -> bool:
        return False

    def __contains__(self, item: Any) -> bool:
        return False

    def __hash__(self) -> int:
        return hash(LenientMissing)

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, LenientMissing)

    def __ne__(self, other: Any) -> bool:
        return not self == other

    def _less(self, other: Any) -> bool:
        return False

    def _same(self, *_: Any) -> LenientMissing:
        return self

    __lt__ = __le__ = __gt__ = __ge__ = _less  # type: ignore[assignment]
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _same  # type: ignore[assignment]
    __truediv__ = __rtruediv__ = __floordiv__ = __rfloordiv__ = _same  # type: ignore[assignment]
    __mod__ = __rmod__ = __pow__ = __rpow__ = __pos__ = __neg__ = _same  # type: ignore[assignment]


def missing_type(default: str | None) -> type[Missing]:
    """Strict for `None`, else a type whose values print `default`."""
    if default is None:
        return Missing
    return type("LenientMissing", (LenientMissing,), {"__slots__": (), "text": default})
