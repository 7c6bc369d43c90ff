"""Qt as Slicer's PythonQt shows it, over PySide6: properties are attributes, signals are connected by their signature.

Strict: a property, method or signal that Qt's own meta-object system does not know is an `AttributeError`.
"""

import types

from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets

MODULES = (QtCore, QtGui, QtWidgets)


class Object:
    """A QObject under PythonQt's rules."""

    def __init__(self, real):
        object.__setattr__(self, "real", real)

    def __getattr__(self, name):
        real = self.real
        # PythonQt calls the object's name so as well.
        name = "objectName" if name == "name" else name
        if _property(real, name) is not None:
            return wrap(real.property(name))
        found = getattr(type(real), name, None)
        if found is None or isinstance(found, QtCore.Signal):
            raise AttributeError(f"{type(real).__name__} has no {name}")
        if not callable(found):
            return wrap(getattr(real, name))
        method = getattr(real, name)
        return lambda *arguments: wrap(method(*map(unwrap, arguments)))

    def __setattr__(self, name, value):
        known = _property(self.real, name)
        if known is None or not known.isWritable():
            raise AttributeError(f"{type(self.real).__name__} has no property {name} to set")
        assert self.real.setProperty(name, unwrap(value)), f"{type(self.real).__name__}.{name} does not take {value!r}"

    def connect(self, signature, slot):
        real = self.real
        vtk_signals = getattr(real, "VTK_SIGNALS", {})
        if signature in vtk_signals:
            getattr(real, vtk_signals[signature]).connect(slot)
            return
        normalized = QtCore.QMetaObject.normalizedSignature(signature).data().decode()
        index = real.metaObject().indexOfSignal(normalized)
        if index < 0:
            raise AttributeError(f"{type(real).__name__} has no signal {signature}")
        count = real.metaObject().method(index).parameterCount()
        name = normalized.split("(")[0]
        getattr(real, name).connect(lambda *arguments: slot(*map(wrap, arguments[:count])))


def _property(real, name):
    if not isinstance(name, str):
        return None
    index = real.metaObject().indexOfProperty(name)
    return real.metaObject().property(index) if index >= 0 else None


def wrap(value):
    if not isinstance(value, QtCore.QObject):
        return [wrap(one) for one in value] if isinstance(value, list) else value
    return Object(value)


def unwrap(value):
    return value.real if isinstance(value, Object) else value


class Class:
    """A class of Qt: made, its objects are under PythonQt's rules; its enumerations and static functions are as they are."""

    def __init__(self, real):
        self.real = real

    def __call__(self, *arguments):
        return wrap(self.real(*map(unwrap, arguments)))

    def __getattr__(self, name):
        return getattr(self.real, name)


class QtModule(types.ModuleType):
    """`import qt`."""

    def __init__(self, loader):
        super().__init__("qt")
        self.QUiLoader = loader

    def __getattr__(self, name):
        for module in MODULES:
            if hasattr(module, name):
                found = getattr(module, name)
                return Class(found) if isinstance(found, type) else found
        raise AttributeError(f"Qt has no {name}")


def ui_loader(custom_widgets: dict, connect_vtk):
    """A class like QUiLoader that knows these widgets; `connect_vtk(widget, path)` makes the connections of vtk's types."""

    class Loader:
        def load(self, file):
            loader = QtUiTools.QUiLoader()
            for one in custom_widgets.values():
                loader.registerCustomWidget(one)
            real = unwrap(file)
            widget = loader.load(real)
            if widget is None:
                raise RuntimeError(loader.errorString())
            connect_vtk(widget, real.fileName())
            return wrap(widget)

    return Loader
