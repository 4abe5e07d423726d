"""Reading a model from a Python file: `model = "models/gateway.py:Gateway"` of a bench file."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import FieldrigError, UsageError
from ..units import nanoseconds
from .base import Model, Point
from .machine import Machine, summary

_KINDS = ("bool", "int", "float", "text")


class Loaded:
    """A model class with its settings: what it is made of, and a machine for each device that has it."""

    def __init__(self, model: type[Model], settings: Mapping[str, Any]) -> None:
        self.model = model
        self.settings = dict(settings)

    @property
    def definition(self) -> dict[str, Any]:
        """Name, points and faces, in the shape of a model file."""
        return {
            "model": {"name": self.model.__name__},
            "points": {name: point.table() for name, point in self.model.points.items()},
            "face": {name: dict(settings) for name, settings in self.model.faces.items()},
        }

    def machine(self, device: str, links: Sequence[tuple[str, ...]]) -> Machine:
        """What runs it on one device.

        Args:
            device: the name of the device.
            links: name, protocol, role (`"client"` or `"devices"`) and face of each of its links.

        Raises:
            UsageError: a link has a name that every model has something else for.
        """
        return Machine(self.model, self.settings, device, links)


def load(path: str, name: str, settings: Mapping[str, Any] | None = None) -> Loaded:
    """Reads a model class from a Python file. The file is run anew each time: what it keeps in globals is not shared.

    Its neighbours can be imported by name, at the top of the file.

    Args:
        path: the file.
        name: the class in it.
        settings: keyword arguments of the class.

    Raises:
        UsageError: there is no such file or class, the file cannot be run, the class is no model, is not whole, or does
            not take these settings.
    """
    module = _run(Path(path))
    return check(_find(module, name, path), settings or {})


def check(model: type[Model], settings: Mapping[str, Any]) -> Loaded:
    """The same for a class that is there already.

    Raises:
        UsageError: the class is not whole, or does not take these settings.
    """
    _check_points(model)
    _check_faces(model)
    _check_boot(model)
    _check_hooks(model)
    _check_settings(model, settings)
    return Loaded(model, settings)


def _run(path: Path) -> ModuleType:
    if not path.is_file():
        raise UsageError(f"{path}: there is no such file")
    name = f"fieldrig_model_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path}: a model in Python is a file that ends in .py")
    module = importlib.util.module_from_spec(spec)
    try:
        with _neighbours(path.parent.resolve()):
            sys.modules[name] = module
            spec.loader.exec_module(module)
    except SyntaxError as error:
        raise UsageError(f"{path}: line {error.lineno}: {error.msg}") from None
    except FieldrigError:
        raise
    except Exception as error:
        raise UsageError(f"{path}: cannot be run: {summary(error)}") from error
    finally:
        sys.modules.pop(name, None)
    return module


@contextmanager
def _neighbours(folder: Path) -> Iterator[None]:
    """The files of this folder can be imported meanwhile, and nothing of the same name from elsewhere.

    Afterwards it is as before: the next model may have neighbours of the same names in another folder.
    """
    names = {found.stem for found in folder.iterdir() if found.suffix == ".py" or (found / "__init__.py").is_file()}

    def take_out() -> dict[str, ModuleType]:
        return {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] in names}

    before = take_out()
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        take_out()
        sys.modules.update(before)


def _find(module: ModuleType, name: str, path: str) -> type[Model]:
    found = getattr(module, name, None)
    if found is None:
        models = [known for known, value in vars(module).items() if _is_model(value)]
        close = difflib.get_close_matches(name, models, 1)
        there = f"; it has: {', '.join(models)}" if models else "; no class in it derives from fieldrig.model.Model"
        raise UsageError(
            f"{path}: there is no class `{name}`{there}", hint=f"did you mean `{close[0]}`?" if close else None
        )
    if not _is_model(found):
        raise UsageError(f"{path}: `{name}` is no model", hint="derive it from fieldrig.model.Model")
    model: type[Model] = found
    return model


def _is_model(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Model) and value is not Model


def _check_points(model: type[Model]) -> None:
    where = f"{model.__name__}.points"
    if not isinstance(model.points, Mapping):
        raise UsageError(f"{where} is a {type(model.points).__name__}, a dict of Points is expected")
    for name, point in model.points.items():
        if not isinstance(point, Point):
            raise UsageError(f"{where}[{name!r}] is a {type(point).__name__}, a Point is expected")
        if point.kind not in _KINDS:
            known = ", ".join(f'"{kind}"' for kind in _KINDS)
            raise UsageError(f"{where}[{name!r}]: {point.kind!r} is no kind of point; there are: {known}")


def _check_faces(model: type[Model]) -> None:
    faces = model.faces
    where = f"{model.__name__}.faces"
    if not isinstance(faces, Mapping) or not all(isinstance(settings, Mapping) for settings in faces.values()):
        raise UsageError(f"{where} is a dict of dicts: the settings of each link, as [face.NAME] of a model file")


def _check_boot(model: type[Model]) -> None:
    try:
        nanoseconds(model.boot, "boot")
        for line in model.boot_lines:
            if not isinstance(line, str):
                nanoseconds(line.get("at", "0s"), "at")
                line["text"]
    except UsageError as error:
        raise UsageError(f"{model.__name__}.boot: {error.message}") from None
    except (KeyError, AttributeError, TypeError):
        shape = '{"at": "50ms", "text": ".."}'
        raise UsageError(f"{model.__name__}.boot_lines is a list of texts and of {shape}") from None


def _check_hooks(model: type[Model]) -> None:
    if not inspect.iscoroutinefunction(model.run):
        raise UsageError(f"{model.__name__}.run is no coroutine", hint="write `async def run(self)`, without a `yield`")


def _check_settings(model: type[Model], settings: Mapping[str, Any]) -> None:
    signature = inspect.signature(model)
    try:
        signature.bind(**settings)
    except TypeError as error:
        known = [name for name, given in signature.parameters.items() if given.kind is not given.VAR_KEYWORD]
        unknown = next((name for name in settings if name not in known), None)
        there = f"; it takes: {', '.join(known) or 'none'}"
        if unknown is None:
            raise UsageError(f"the settings of {model.__name__}: {error}{there}") from None
        close = difflib.get_close_matches(unknown, known, 1)
        hint = f"did you mean `{close[0]}`?" if close else None
        raise UsageError(f"{model.__name__} has no setting `{unknown}`{there}", hint=hint) from None
