"""Functions with checked options, the modules that hold these, and printing of objects as calls.

A module lists the options of its function as annotated fields, as a dataclass does, so that editors
see the signature of its constructor. Defaults and texts are those of the function.
"""

import inspect
import math
import re
from abc import ABC
from collections.abc import Callable, Mapping
from functools import wraps
from operator import attrgetter
from typing import Any, ClassVar, ParamSpec, TypeVar

from torch import nn
from typing_extensions import dataclass_transform

BELONG_TO_DATA = ("pairs", "target_pairs", "geometry")  # given by name, but not options
Check = Callable[[str, Any], Any]  # of a name and a value; returns another value, or None
Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def checked(
    checks: Mapping[str, Check], together: Callable[..., object] | None = None
) -> Callable[[Callable[Parameters, Result]], Callable[Parameters, Result]]:
    """Check the options of a function before each call, unless they are its defaults.

    Args:
        checks: The check of each option, by name.
        together: Raises if checked options do not fit each other. It takes all of them by name.
    """

    def decorate(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
        usual = function.__kwdefaults__ or {}

        def check(options: dict[str, Any]) -> None:
            usual_only = options.keys() <= usual.keys()  # else a required one is given
            for name, value in options.items():
                if name in checks and value is not usual.get(name, usual):
                    usual_only = False
                    found = checks[name](name, value)
                    options[name] = value if found is None else found
            if together is not None and not usual_only:
                together(**(usual | options))

        @wraps(function)
        def call(*data: Parameters.args, **options: Parameters.kwargs) -> Result:
            check(options)
            return function(*data, **options)

        call.check = check  # type: ignore[attr-defined]
        return call

    return decorate


@dataclass_transform(kw_only_default=True, eq_default=False)
class FunctionModule(nn.Module, ABC):
    """A module that holds the options of a function, checks them once, and calls it with them."""

    _names: ClassVar[tuple[str, ...]]

    def __init_subclass__(cls, function: Any = None) -> None:
        super().__init_subclass__()
        if function is None:  # a subclass of a user
            return
        every = inspect.signature(function)
        by_name = [p for p in every.parameters.values() if p.kind is p.KEYWORD_ONLY]
        own = inspect.Signature([p for p in by_name if p.name not in BELONG_TO_DATA])
        cls._names = tuple(own.parameters)
        for base in cls.__mro__:  # a field's value there would hide a filtration, a submodule
            for name in set(cls._names) & set(vars(base)):
                delattr(base, name)
        cls.__doc__ = _with_options(cls.__doc__ or "", function, cls._names)

        def initialise(self: FunctionModule, *data: Any, **options: Any) -> None:
            nn.Module.__init__(self)
            if data:
                which = f"`{self._names[0]}` and other options of {type(self).__name__}"
                raise TypeError(
                    f"{which} should have their names. Got {type(data[0]).__name__} without one. "
                    "Data belong to the call of the module."
                )
            try:
                bound = own.bind(**options)
            except TypeError as error:
                error.args = (f"{type(self).__name__}() {error}",)
                raise
            bound.apply_defaults()
            function.check(bound.arguments)
            for name, value in bound.arguments.items():
                setattr(self, name, value)

        def forward(self: FunctionModule, *data: Any, **found: Any) -> Any:
            return function(*data, **found, **self._options())

        me = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        others = [p for p in every.parameters.values() if p.name not in cls._names]
        initialise.__signature__ = own.replace(parameters=[me, *own.parameters.values()])  # type: ignore[attr-defined]
        forward.__signature__ = every.replace(parameters=[me, *others])  # type: ignore[attr-defined]
        kinds = function.__annotations__.items()
        forward.__annotations__ = {name: kind for name, kind in kinds if name not in cls._names}
        forward.__doc__ = f"Call :func:`{function.__name__}`, which describes the arguments."
        for name, method in {"__init__": initialise, "forward": forward}.items():
            setattr(cls, name, method)

    def _options(self) -> dict[str, Any]:
        """Return the options by name."""
        values = attrgetter(*self._names, "training")(self)  # two names at least: a tuple
        return dict(zip(self._names, values[:-1], strict=True))

    def __repr__(self) -> str:
        """Return the call that makes an equal module."""
        return constructor_call(self)


def constructor_call(instance: object) -> str:
    """Return the class name with the arguments that differ from their defaults.

    Every argument must be stored under its own name. Evaluating the result, with the names of
    ``topreg``, ``math`` and ``torch`` imported, gives an equal object. Exceptions are arguments
    that are functions, and a ``FlagFiltration``, whose edges are not printed.
    """
    parameters = inspect.signature(type(instance)).parameters.values()
    stated = [
        f"{p.name}={_literal(getattr(instance, p.name))}"
        for p in parameters
        if hasattr(instance, p.name)  # else it is one of a user's subclass
        and (p.default is inspect.Parameter.empty or getattr(instance, p.name) != p.default)
    ]
    return f"{type(instance).__name__}({', '.join(stated)})"


def _literal(value: object) -> str:
    """Return the value as a Python expression."""
    return "math.inf" if value == math.inf else repr(value)


def _with_options(docstring: str, function: Callable[..., object], names: tuple[str, ...]) -> str:
    """Return a docstring with the function's texts of some arguments after its first paragraph."""
    _, _, rest = (inspect.getdoc(function) or "").partition("\nArgs:\n")
    texts = re.split(r"\n(?=    \w)", rest.partition("\n\n")[0])
    chosen = [text for text in texts if text.strip().partition(":")[0] in names]
    first, gap, other = inspect.cleandoc(docstring).partition("\n\n")
    return "\n".join([first, "", "Args:", *chosen]) + gap + other
