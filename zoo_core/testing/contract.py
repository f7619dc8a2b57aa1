"""A part under test, and how a broken promise is told."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from zoo_core.errors import SpecError, ZooError
from zoo_core.recipes import override
from zoo_core.specs import ComponentSpec, Slot, validate

Part = str | Mapping[str, Any] | ComponentSpec
"""A registered name, a dict with ``type``, or a spec."""


class ContractError(ZooError, AssertionError):
    """A part does not keep a promise. The text names the part, the case, what was found, and what was promised."""


class Contract:
    """The promises of one part; knows which case is being tried, for messages."""

    def __init__(self, subject: str) -> None:
        self.subject = subject
        self._cases: list[str] = []

    def broken(self, what: str) -> ContractError:
        """Return the error that says what was found and what was promised."""
        return ContractError(f"{', '.join([self.subject, *self._cases])}: {what}")

    def demand(self, holds: object, what: str) -> None:
        """Raise unless `holds`."""
        if not holds:
            raise self.broken(what)

    @contextmanager
    def case(self, name: str) -> Iterator[None]:
        """Name the case that is tried; whatever the part raises in it is a broken promise."""
        self._cases.append(name)
        try:
            yield
        except ContractError:
            raise
        except Exception as error:
            raise self.broken(f"{type(error).__name__}: {error}") from error
        finally:
            self._cases.pop()

    @contextmanager
    def refusal(self, of: str) -> Iterator[None]:
        """Demand that the block raises a `ZooError`."""
        try:
            yield
        except ContractError:
            raise
        except ZooError:
            return
        except Exception as error:
            raise self.broken(f"{of} must raise a ZooError, not a {type(error).__name__}: {error}") from error
        raise self.broken(f"{of} must raise a ZooError, and is taken")


def checked_spec(kind: str, part: Part, options: Mapping[str, Any]) -> tuple[Contract, ComponentSpec]:
    """Return the contract and the spec of a part, after the promises that every spec makes.

    Raises:
        SpecError: the part or the options that the caller asks for do not exist.
    """
    if isinstance(part, ComponentSpec):
        spec = Slot(kind).resolve(override(part, options))
    else:
        spec = Slot(kind).resolve({"type": part, **options} if isinstance(part, str) else {**part, **options})
    contract = Contract(f"{kind.replace('_', ' ')} '{spec.type}'")
    check_spec(contract, spec)
    return contract, spec


def check_spec(contract: Contract, spec: ComponentSpec) -> None:
    """Check that a spec survives JSON and pickling, and refuses what it does not know."""
    with contract.case("options through JSON"):
        data = json.loads(json.dumps(spec.model_dump(mode="json"), allow_nan=False))
        contract.demand(validate(type(spec), data) == spec, f"{type(spec).__name__} differs from what its JSON is read as")
    with contract.case("options through pickle"):
        contract.demand(pickle.loads(pickle.dumps(spec)) == spec, f"{type(spec).__name__} differs after pickling")
    with contract.case("an option that does not exist"):
        try:
            validate(type(spec), {**data, "no_such_option": 1})
        except SpecError:
            return
        raise contract.broken(f"{type(spec).__name__} takes it; unknown options must be refused (extra='forbid')")
