"""Jinja2's filters, those that are safe here, each within the budget.

Every filter that takes a list takes a single value as a list of one (`Budget.many`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from jinja2 import TemplateRuntimeError, pass_context, pass_environment
from jinja2.filters import FILTERS
from jinja2.runtime import Context
from jinja2.utils import _PassArg
from markupsafe import Markup

from .budget import Budget, budget_of, printed
from .missing import Missing

KEPT = frozenset(
    "abs attr batch capitalize center count d default dictsort e escape filesizeformat first float forceescape format"  # noqa: SIM905
    " groupby indent int items join last length list lower map max min reject rejectattr replace reverse round safe"
    " select selectattr slice sort string sum title tojson trim truncate unique upper urlencode wordcount"
    " wordwrap".split()
)
"""Left out: `random` and `pprint`, since the same event must always give the same message; `urlize` and `xmlattr`,
since they write HTML that the template does not show; `striptags`, since its time grows with the square of the text."""

SEQUENCES = frozenset(
    "batch count first groupby join last length list many map max min reject rejectattr reverse select selectattr slice"  # noqa: SIM905
    " sort sum unique".split()
)
ON_MISSING = frozenset({"default", "d"})
TESTS_ON_MISSING = frozenset({"defined", "undefined"})


def guarded_filters(filters: Mapping[str, Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
    return {name: _guarded(name, function) for name, function in filters.items()}


def _guarded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    call = _caller(function)
    sequence = name in SEQUENCES
    check = CHECKS.get(name)

    @pass_context
    def run(context: Context, value: Any = None, *args: Any, _path: str = "", **kwargs: Any) -> Any:
        budget = budget_of(context)
        budget.step()
        if isinstance(value, Missing) and name not in ON_MISSING:
            return value if value.lenient else value.refuse()
        try:
            if sequence:
                value = budget.many(value)
            if check is not None:
                check(budget, value, *args, **kwargs)
            result = call(context, value, *args, **kwargs)
            if sequence and not isinstance(result, str) and hasattr(result, "__next__"):
                result = list(result)
        except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
            at = f"{_path}|{name}" if _path else f"filter {name}"
            raise TemplateRuntimeError(f"{at}: {error}") from error
        return budget.check(result)

    return run


def guarded_tests(tests: Mapping[str, Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
    return {name: _guarded_test(name, test) for name, test in tests.items()}


def _guarded_test(name: str, test: Callable[..., Any]) -> Callable[..., Any]:
    call = _caller(test)

    @pass_context
    def run(context: Context, value: Any, *args: Any) -> Any:
        budget_of(context).step()
        if isinstance(value, Missing) and not value.lenient and name not in TESTS_ON_MISSING:
            value.refuse()
        return call(context, value, *args)

    return run


def _caller(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` as one that is always given the context first."""
    wanted = _PassArg.from_obj(function)
    if wanted is _PassArg.context:
        return function
    if wanted is _PassArg.eval_context:
        return lambda context, *args, **kwargs: function(context.eval_ctx, *args, **kwargs)
    if wanted is _PassArg.environment:
        return lambda context, *args, **kwargs: function(context.environment, *args, **kwargs)
    return lambda context, *args, **kwargs: function(*args, **kwargs)


# ------------------------------------------------------------------------- sizes known before the work is done


def _check_center(budget: Budget, value: Any, width: Any = 80) -> None:
    budget.small(width, "a width")


def _check_indent(budget: Budget, value: Any, width: Any = 4, *_: Any, **__: Any) -> None:
    step = len(width) if isinstance(width, str) else budget.small(width, "an indentation")
    budget.build((str(value).count("\n") + 1) * (abs(step) + 1) + len(str(value)))


def _check_wordwrap(
    budget: Budget, value: Any, width: Any = 79, break_long_words: Any = True, wrapstring: Any = None, *_: Any
) -> None:
    width = budget.small(width, "a width")
    if width < 1:
        raise ValueError("the width must be 1 or more")
    # Python's textwrap is slow: its work counts twenty times.
    budget.build(len(str(value)) * (20 + len(wrapstring or "\n") // width))


def _check_replace(budget: Budget, value: Any, old: Any, new: Any, count: Any = None) -> None:
    text, old = str(value), str(old)
    budget.build(len(text) + (text.count(old) if old else len(text) + 1) * len(str(new)) * 6)


def _check_join(budget: Budget, value: Any, d: Any = "", attribute: Any = None) -> None:
    size = len(str(d)) * len(value)
    if attribute is None:
        size += sum(len(item) if isinstance(item, str) else 0 for item in value)
    budget.build(size)


def _check_count(budget: Budget, value: Any, number: Any, *_: Any, **__: Any) -> None:
    if budget.small(number, "a count") < 1:
        raise ValueError("the number must be 1 or more")


def _check_round(budget: Budget, value: Any, precision: Any = 0, *_: Any) -> None:
    if abs(int(precision)) > 30:
        raise ValueError("at most 30 digits")


def _check_tojson(budget: Budget, value: Any, indent: Any = None) -> None:
    if indent is not None and not 0 <= int(indent) <= 8:
        raise ValueError("an indentation of 0 to 8")
    budget.weigh(value, texts=True)


def _check_texts(budget: Budget, value: Any, *args: Any, **kwargs: Any) -> None:
    """For filters that make a text of every item."""
    budget.weigh([value, args, kwargs], texts=True)


def _check_trim(budget: Budget, value: Any, chars: Any = None) -> None:
    budget.argument(chars)


def _check_filesizeformat(budget: Budget, value: Any, binary: Any = False) -> None:
    decimal(value)


_FORMAT = re.compile(r"%(?:\([^)]*\))?[#0\- +]*(\*|\d+)?(?:\.(\*|\d+)?)?")


def _check_format(budget: Budget, value: Any, *args: Any, **kwargs: Any) -> None:
    widest = 0
    places = 0
    for width, precision in _FORMAT.findall(str(value)):
        if "*" in (width, precision):
            raise ValueError("a width of * is not allowed")
        widest = max(widest, *(budget.small(number or 0, "a width") for number in (width, precision)))
        places += 1
    longest = max((len(printed(item)) for item in (*args, *kwargs.values())), default=0)
    budget.build(len(str(value)) + places * (widest + longest + 400))


CHECKS: Mapping[str, Callable[..., None]] = {
    "batch": _check_count,
    "center": _check_center,
    "filesizeformat": _check_filesizeformat,
    "format": _check_format,
    "groupby": _check_texts,
    "indent": _check_indent,
    "join": _check_join,
    "max": _check_texts,
    "min": _check_texts,
    "replace": _check_replace,
    "round": _check_round,
    "slice": _check_count,
    "sort": _check_texts,
    "tojson": _check_tojson,
    "trim": _check_trim,
    "unique": _check_texts,
    "url": _check_texts,
    "urlencode": _check_texts,
    "wordwrap": _check_wordwrap,
}


# ------------------------------------------------------------------------------------------ our own, and replaced


def decimal(value: Any) -> Decimal:
    """A number exactly as written, for calculating with texts: `price|decimal * 2`."""
    if isinstance(value, dict):
        value = printed(value)
    try:
        number = (
            Decimal(value) if isinstance(value, int) and not isinstance(value, bool) else Decimal(str(value).strip())
        )
    except InvalidOperation:
        raise ValueError(f"{_kind(value)} is not a number such as 89.90") from None
    if not number.is_finite() or abs(number.adjusted()) > 60:
        raise ValueError("a number out of range")
    return number


def _kind(value: Any) -> str:
    if value == "":
        return "an empty text"
    return "this text" if isinstance(value, str) else f"a {type(value).__name__}"


@pass_environment
def _sum(environment: Any, values: Any, attribute: Any = None, start: Any = 0) -> Any:
    """Numbers, also written as texts; whole numbers stay whole."""
    if attribute is not None:
        values = [_walk(environment, value, attribute) for value in values]
    numbers = [value if isinstance(value, int) else decimal(value) for value in [start, *values]]
    return sum(numbers)


def _walk(environment: Any, value: Any, attribute: Any) -> Any:
    path = ""
    for name in str(attribute).split("."):
        path = f"{path}.{name}" if path else name
        value = environment.getitem(value, int(name) if name.isdigit() else name, path)
    return value


@pass_environment
def _first(environment: Any, values: Any) -> Any:
    return values[0] if len(values) else environment.undefined("there is no first item: the list is empty")


@pass_environment
def _last(environment: Any, values: Any) -> Any:
    return values[-1] if len(values) else environment.undefined("there is no last item: the list is empty")


@pass_context
def _join(context: Context, values: Any, d: Any = "", attribute: Any = None) -> str:
    if attribute is not None:
        values = [_walk(context.environment, value, attribute) for value in values]
    texts = []
    for index, value in enumerate(values):
        texts += [d, printed(value)] if index else [printed(value)]
    return budget_of(context).join(context, texts)


@pass_environment
def _unique(environment: Any, values: Any, case_sensitive: bool = False, attribute: Any = None) -> list[Any]:
    """The first of every text, or of every text of an attribute."""
    found: dict[str, Any] = {}
    for value in values:
        text = printed(value if attribute is None else _walk(environment, value, attribute))
        found.setdefault(text if case_sensitive else text.lower(), value)
    return list(found.values())


def _items(value: Any) -> list[tuple[str, Any]]:
    """(name, value) pairs of an element's children and attributes."""
    if not isinstance(value, dict):
        raise TypeError("only an element or mapping has items")
    return [(key, item) for key, item in value.items() if key not in ("#order", "#text")]


@pass_environment
def _attr(environment: Any, value: Any, name: str) -> Any:
    return environment.getattr(value, str(name), str(name))


def _length(values: Any) -> int:
    return len(values)


def _list(values: Any) -> list[Any]:
    return list(values)


def _characters(value: Any) -> int:
    return len(printed(value))


def _safe(value: Any) -> Markup:
    return Markup(printed(value))  # noqa: S704


def _string(value: Any) -> str:
    return printed(value)


BUILT_IN: Mapping[str, Callable[..., Any]] = {
    **{name: function for name, function in FILTERS.items() if name in KEPT},
    "attr": _attr,
    "characters": _characters,
    "count": _length,
    "decimal": decimal,
    "first": _first,
    "items": _items,
    "join": _join,
    "last": _last,
    "length": _length,
    "list": _list,
    "many": _list,
    "safe": _safe,
    "string": _string,
    "sum": _sum,
    "unique": _unique,
}
