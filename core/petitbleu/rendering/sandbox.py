"""The Jinja2 environment that templates run in: plain data, an allow-list of attributes, and a budget for everything.

`SafeCode` compiles templates so that whatever could run long or grow large asks the `Budget` first, and so that every
lookup knows the path it was written as.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from types import BuiltinMethodType, MappingProxyType
from typing import Any

from jinja2 import BaseLoader, TemplateNotFound, TemplateRuntimeError, nodes, pass_context
from jinja2.compiler import CodeGenerator, Frame
from jinja2.environment import TemplateModule
from jinja2.nodes import EvalContext
from jinja2.runtime import BlockReference, Context, LoopContext, Macro, TemplateReference
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Cycler, Joiner, Namespace, missing
from markupsafe import Markup

from ..data import MISSING, Element, lookup
from .budget import BUDGET, Budget, budget_of
from .filters import BUILT_IN, guarded_filters, guarded_tests
from .missing import Missing

ATTRIBUTES: Mapping[type, frozenset[str]] = {
    LoopContext: frozenset(
        "changed cycle depth depth0 first index index0 last length nextitem previtem revindex revindex0".split()  # noqa: SIM905
    ),
    Cycler: frozenset({"current", "next", "reset"}),
    BlockReference: frozenset({"super"}),
    Macro: frozenset({"name", "arguments"}),
}
TEXT_METHODS = frozenset(
    "capitalize casefold count endswith find isalnum isalpha isdecimal isdigit islower isspace isupper lower lstrip"  # noqa: SIM905
    " partition removeprefix removesuffix rfind rpartition rsplit rstrip split splitlines startswith strip swapcase"
    " title upper".split()
)
"""None of them makes more text than there was; `replace`, `join`, `format` and padding are filters."""


class SafeCode(CodeGenerator):
    """Emits calls to the `Budget` (as the local `budget`) and gives lookups their path."""

    def write_commons(self) -> None:
        super().write_commons()
        self.writeline("budget = context.parent[' budget']")
        self.writeline("concat = budget.concat")
        self.writeline("element = environment.element")

    def _make_finalize(self) -> Any:
        return self._FinalizeInfo(None, "budget.output(")

    def _output_child_pre(self, node: nodes.Expr, frame: Frame, finalize: Any) -> None:
        if frame.eval_ctx.autoescape and not frame.eval_ctx.volatile:
            self.write("(budget.escaped(")
        else:
            super()._output_child_pre(node, frame, finalize)

    def visit_For(self, node: nodes.For, frame: Frame) -> None:
        node.iter = nodes.Call(nodes.EnvironmentAttribute("many"), [node.iter], [], None, None, lineno=node.lineno)
        super().visit_For(node, frame)

    def visit_Include(self, node: nodes.Include, frame: Frame) -> None:
        self.writeline("budget.step()", node)
        node.with_context = True
        super().visit_Include(node, frame)

    def visit_Import(self, node: nodes.Import, frame: Frame) -> None:
        node.with_context = True
        super().visit_Import(node, frame)

    def visit_FromImport(self, node: nodes.FromImport, frame: Frame) -> None:
        node.with_context = True
        super().visit_FromImport(node, frame)

    def visit_Getattr(self, node: nodes.Getattr, frame: Frame) -> None:
        if node.ctx == "call":
            self.write("environment.method(")
            self.visit(node.node, frame)
            self.write(f", {node.attr!r}, {_path(node)!r})")
            return
        # what nearly always holds is written out, elements all the way to a child or attribute: no call, no loop
        first, chain = _chain(node)
        names, paths = tuple(link.attr for link in chain), tuple(_path(link) for link in chain)
        self.write("(_found if (_first := ")
        self.visit(first, frame)
        self.write(").__class__ is element")
        holder = "_first"
        for name in names[:-1]:
            self.write(f" and (_found := {holder}.get({name!r})).__class__ is element")
            holder = "_found"
        last = names[-1]
        self.write(f" and (_found := {holder}.get({last!r}, {holder}.get({'@' + last!r}))) is not None")
        self.write(f" else environment.walk(_first, {names!r}, {paths!r}))")

    def visit_Getitem(self, node: nodes.Getitem, frame: Frame) -> None:
        if isinstance(node.arg, nodes.Slice):
            super().visit_Getitem(node, frame)
            return
        self.write("environment.getitem(")
        self.visit(node.node, frame)
        self.write(", ")
        self.visit(node.arg, frame)
        self.write(f", {_path(node)!r})")

    def visit_Call(self, node: nodes.Call, frame: Frame, forward_caller: bool = False) -> None:
        if isinstance(node.node, nodes.EnvironmentAttribute):
            self.write(f"budget.{node.node.name}(")
            self.visit(node.args[0], frame)
            self.write(")")
            return
        if isinstance(node.node, nodes.Getattr):
            node.node.ctx = "call"
        super().visit_Call(node, frame, forward_caller=forward_caller)

    def visit_Filter(self, node: nodes.Filter, frame: Frame) -> None:
        path = _path(node.node) if node.node is not None else ""
        if path:
            keyword: Any = nodes.Keyword("_path", nodes.Const(path))
            node.kwargs = [*node.kwargs, keyword]
        super().visit_Filter(node, frame)

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:
        self.write("budget.join(context, (")
        for item in node.nodes:
            self.visit(item, frame)
            self.write(", ")
        self.write("))")

    def visit_Compare(self, node: nodes.Compare, frame: Frame) -> None:
        self.write("(budget.step() or ")
        super().visit_Compare(node, frame)
        self.write(")")

    def visit_List(self, node: nodes.List, frame: Frame) -> None:
        self._weighed(super().visit_List, node, frame, node.items)

    def visit_Tuple(self, node: nodes.Tuple, frame: Frame) -> None:
        if node.ctx == "load":
            self._weighed(super().visit_Tuple, node, frame, node.items)
        else:
            super().visit_Tuple(node, frame)

    def visit_Dict(self, node: nodes.Dict, frame: Frame) -> None:
        self._weighed(super().visit_Dict, node, frame, [pair.value for pair in node.items])

    def visit_Name(self, node: nodes.Name, frame: Frame) -> None:
        if node.ctx == "load" and node.name in ("varargs", "kwargs"):
            self._weighed(super().visit_Name, node, frame, [node])
        else:
            super().visit_Name(node, frame)

    def _weighed(
        self, visit: Callable[[Any, Frame], None], node: nodes.Expr, frame: Frame, items: Iterable[nodes.Expr]
    ) -> None:
        if all(isinstance(item, nodes.Const) for item in items):
            visit(node, frame)
            return
        self.write("budget.check(")
        visit(node, frame)
        self.write(")")


def _chain(node: nodes.Getattr) -> tuple[nodes.Expr, list[nodes.Getattr]]:
    """What a chain of attributes begins with, and its links from there."""
    links: list[nodes.Getattr] = []
    found: nodes.Expr = node
    while isinstance(found, nodes.Getattr):
        links.insert(0, found)
        found = found.node
    return found, links


def _path(node: nodes.Expr) -> str:
    """A lookup as its author wrote it, nothing for other expressions."""
    if isinstance(node, nodes.Name):
        return node.name
    if isinstance(node, nodes.Getattr):
        return f"{_path(node.node) or '…'}.{node.attr}"
    if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
        return f"{_path(node.node) or '…'}[{node.arg.value!r}]"
    return ""


class SafeEnvironment(ImmutableSandboxedEnvironment):
    """One per template version and way of escaping. Nothing is read from disk, nothing is compiled but templates."""

    code_generator_class = SafeCode
    element = Element
    """For compiled templates."""
    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})

    def __init__(self, loader: BaseLoader, escape: bool, undefined: type[Missing], filters: Mapping[str, Any]) -> None:
        """`filters` are added to the built-in ones; call `guard` once plugins have added theirs."""
        super().__init__(
            loader=loader,
            autoescape=escape,
            undefined=undefined,
            auto_reload=False,
            cache_size=-1,
        )
        self.filters = {**BUILT_IN, **filters}
        self.globals = dict(GLOBALS)

    def guard(self) -> None:
        """Once every filter and test is there."""
        self.filters.update(guarded_filters(self.filters))
        self.tests.update(guarded_tests(dict[str, Any](self.tests)))

    def getattr(self, obj: Any, attribute: str, path: str = "") -> Any:
        if isinstance(obj, dict):
            found = lookup(obj, attribute)
            return found if found is not MISSING else self._missing(obj, attribute, path)
        if isinstance(obj, TemplateModule) and not attribute.startswith("_"):
            found = vars(obj).get(attribute, MISSING)
        elif isinstance(obj, Namespace) and not attribute.startswith("_"):
            found = getattr(obj, attribute, MISSING)
        elif isinstance(obj, TemplateReference):
            try:
                found = obj[attribute]
            except KeyError:
                found = MISSING
        elif attribute in ATTRIBUTES.get(type(obj), ()) or _is_group(obj, attribute):
            found = getattr(obj, attribute)
        else:
            found = MISSING
        return found if found is not MISSING else self._missing(obj, attribute, path)

    def walk(self, obj: Any, names: tuple[str, ...], paths: tuple[str, ...]) -> Any:
        """`getattr` for every name in turn."""
        for name, path in zip(names, paths, strict=True):
            obj = self.getattr(obj, name, path)
        return obj

    def getitem(self, obj: Any, argument: Any, path: str = "") -> Any:
        if isinstance(argument, str):
            return self.getattr(obj, str(argument), path)
        if isinstance(obj, dict):
            # One child walks like a list of one.
            found = obj.get(argument, obj if argument in (0, -1) else MISSING)
            return found if found is not MISSING else self._missing(obj, argument, path)
        if isinstance(obj, list | tuple | range | str) and isinstance(argument, int):
            try:
                return obj[argument]
            except IndexError:
                return self._missing(obj, argument, path)
        return self._missing(obj, argument, path)

    def method(self, obj: Any, attribute: str, path: str = "") -> Any:
        """An attribute that is called at once: only then do texts have methods, so that data never turns into one."""
        if isinstance(obj, str) and attribute in TEXT_METHODS:
            return getattr(obj, attribute)
        return self.getattr(obj, attribute, path)

    def _missing(self, obj: Any, name: Any, path: str) -> Any:
        origin = obj.origin if isinstance(obj, Missing) else ""
        return self.undefined(obj=obj, name=name, path=path, origin=origin)  # type: ignore[call-arg]

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        budget: Budget = context.parent[BUDGET]
        budget.step()
        if obj.__class__ is Macro:  # what the general way comes to, with a look at what `obj` is at every turn
            kwargs.pop("_loop_vars", None)
            kwargs.pop("_block_vars", None)
            text = _of_macro(obj, context.eval_ctx, args, kwargs)
            budget.build(len(text))
            return text
        if isinstance(obj, LoopContext):
            args = (budget.many(args[0]), *args[1:])
        elif isinstance(obj, BuiltinMethodType):
            for argument in args:
                budget.argument(argument)
        return budget.check(super().call(context, obj, *args, **kwargs))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        budget = budget_of(context)
        if isinstance(left, Missing):
            return self.binop_table[operator](left, right)
        if isinstance(right, Missing):
            return right if right.lenient else right.refuse()
        if isinstance(left, _NUMBER) and isinstance(right, _NUMBER):
            return budget.check(self.binop_table[operator](*_alike(budget, operator, left, right)))
        if operator == "+" and isinstance(left, str) and isinstance(right, str):
            budget.build(len(left) + len(right))
        elif operator == "+" and type(left) is type(right) and isinstance(left, list | tuple):
            return budget.check(left + right)
        elif operator == "*" and isinstance(left, str | list | tuple) and isinstance(right, int):
            budget.build(len(left) * max(right, 0))
        elif operator == "*" and isinstance(left, int) and isinstance(right, str | list | tuple):
            budget.build(max(left, 0) * len(right))
        else:
            raise TemplateRuntimeError(
                f"cannot calculate {_kind(left)} {operator} {_kind(right)}: make numbers of texts with the filter"
                " decimal or int, join texts with ~"
            )
        return budget.check(self.binop_table[operator](left, right))


def _of_macro(macro: Macro, eval_ctx: EvalContext, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """As Jinja2 calls a macro, in one step where it takes just the parameters it names."""
    rest = macro.arguments[len(args) :]
    special = macro.catch_kwargs or macro.catch_varargs or macro.caller or len(args) > len(macro.arguments)
    if special or (kwargs and not all(name in rest for name in kwargs)):
        return macro(eval_ctx, *args, **kwargs)
    text: str = macro._func(*args, *[kwargs.get(name, missing) for name in rest])
    return str.__new__(Markup, text) if eval_ctx.autoescape else text


_NUMBER = (int, float, Decimal)


def _alike(budget: Budget, operator: str, left: Any, right: Any) -> tuple[Any, Any]:
    """Operands that Python calculates with, once the result is known to stay small."""
    if isinstance(left, int) and isinstance(right, int):
        if operator == "*":
            budget.bits(left.bit_length() + right.bit_length())
        elif operator == "**":
            budget.bits(max(left.bit_length(), 1) * abs(right))
    elif isinstance(left, Decimal) and isinstance(right, float):
        return left, Decimal(repr(right))
    elif isinstance(left, float) and isinstance(right, Decimal):
        return Decimal(repr(left)), right
    return left, right


def _kind(value: Any) -> str:
    if isinstance(value, str):
        return "text"
    if isinstance(value, dict):
        return "an element"
    return "a list" if isinstance(value, list | tuple) else type(value).__name__


def _is_group(obj: Any, attribute: str) -> bool:
    """The (grouper, list) pairs of the filter groupby."""
    return isinstance(obj, tuple) and attribute in ("grouper", "list") and attribute in getattr(obj, "_fields", ())


@pass_context
def _range(context: Context, *bounds: int) -> range:
    numbers = range(*bounds)
    budget_of(context).small(len(numbers) if numbers else 0, "a range")
    return numbers


GLOBALS: Mapping[str, Any] = MappingProxyType(
    {"range": _range, "namespace": Namespace, "cycler": Cycler, "joiner": Joiner}
)
"""What every template can call."""


class FrozenLoader(BaseLoader):
    """Sources by name, with the file name errors show; nothing else can be loaded."""

    def __init__(self, sources: Mapping[str, tuple[str, str]]) -> None:
        self._sources = sources

    def get_source(self, environment: Any, template: str) -> tuple[str, str, None]:
        try:
            source, file = self._sources[template]
        except KeyError:
            raise TemplateNotFound(template) from None
        return source, file, None
